/* SPDX-License-Identifier: MIT
 *
 * MatConvNet's .mat and Keras's .h5. The lying files are the fuzzers' seeds
 * (tests/fuzz/make_corpus.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "files.h"
#include "foreign_files.h"

#define CORPUS GOLDEN_DIR "/../fuzz/corpus/"

/* libhdf5 itself forgets memory where a file is cut; a reader's process ends soon after. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"), used)) const char *__lsan_default_suppressions(
    void) {
    return "leak:libhdf5";
}

/* --- a small VGG in a format and by our names --- */

typedef struct pair {
    const imp_reader *reader;
    imp_foreign f;
    imp_safetensors *ours;
} pair;

static pair pair_open(const imp_reader *reader, const char *file, const char *ours) {
    char path[4096];
    pair p = {.reader = reader};
    snprintf(path, sizeof path, "%s/foreign/%s", GOLDEN_DIR, file);
    p.f = foreign_map(path);
    assert_ptr_equal(imp_reader_of(p.f.data, p.f.size), reader);
    if (foreign_open(reader, &p.f)) fail_msg("%s", imp_ctx_error(ctx));
    snprintf(path, sizeof path, "%s/foreign/%s", GOLDEN_DIR, ours);
    assert_int_equal(imp_safetensors_open(ctx, &p.ours, path), IMP_OK);
    return p;
}

static void pair_close(pair *p) {
    foreign_close(p->reader, &p->f);
    imp_safetensors_close(p->ours);
}

static float *our_floats(const pair *p, const imp_safetensors_entry *e) {
    float *out = malloc(e->count * sizeof *out);
    assert_non_null(out);
    assert_int_equal(imp_safetensors_floats(ctx, p->ours, e, 0, e->count, out), IMP_OK);
    return out;
}

/* What the format calls one of ours, and where there is that number of ours which stands at
 * o, i, h, w; classifier: fc6 to fc8. */
typedef void (*name_fn)(const char *ours, char *out, size_t size);
typedef size_t (*at_fn)(const size_t shape[4], const size_t at[4]);

/* All numbers of one tensor, bit for bit; sides: of fc6's pictures. */
static void same(
    pair *p, const imp_safetensors_entry *e, const char *name, at_fn where) {
    size_t i = foreign_find(&p->f, name), n[4], k[4], flat = 0;
    bool fc6 = !strcmp(e->name, "fc6.weight");
    float *ours = our_floats(p, e), *theirs = foreign_floats(p->reader, &p->f, i);
    assert_int_equal(e->count, p->f.tensors[i].count);
    n[0] = e->shape[0];
    n[1] = e->ndim == 1 ? 1 : fc6 ? e->shape[1] / 49 : e->shape[1];
    n[2] = n[3] = e->ndim == 4 ? 3 : fc6 ? 7 : 1;
    for (k[0] = 0; k[0] < n[0]; k[0]++)
        for (k[1] = 0; k[1] < n[1]; k[1]++)
            for (k[2] = 0; k[2] < n[2]; k[2]++)
                for (k[3] = 0; k[3] < n[3]; k[3]++)
                    if (memcmp(&ours[flat++], &theirs[where(n, k)], 4))
                        fail_msg("%s: number %zu differs", name, flat - 1);
    free(ours);
    free(theirs);
}

static void same_network(pair *p, name_fn rename, at_fn where, bool classifier) {
    char name[IMP_FOREIGN_NAME];
    size_t expected = 0;
    for (size_t i = 0; i < imp_safetensors_count(p->ours); i++) {
        const imp_safetensors_entry *e = imp_safetensors_at(p->ours, i);
        if (!classifier && !strncmp(e->name, "fc", 2)) continue;
        rename(e->name, name, sizeof name);
        same(p, e, name, where);
        expected++;
    }
    assert_int_equal(p->f.n, expected);
}

/* --- MatConvNet --- */

static void mat_name(const char *ours, char *out, size_t size) {
    snprintf(out, size, "%s", ours);
}

/* H, W, I, O, the first running fastest. */
static size_t mat_at(const size_t n[4], const size_t k[4]) {
    return k[2] + n[2] * (k[3] + n[3] * (k[1] + n[1] * k[0]));
}

static void check_mat(
    const char *file, const char *ours, bool packed, const float mean[3]) {
    pair p = pair_open(&imp_reader_mat, file, ours);
    same_network(&p, mat_name, mat_at, true);
    assert_true(p.f.has_mean);
    assert_memory_equal(p.f.mean, mean, 12);
    const imp_foreign_tensor *fc6 = &p.f.tensors[foreign_find(&p.f, "fc6.weight")];
    const size_t shape[] = {7, 7, 8, 64};
    assert_int_equal(fc6->ndim, 4);
    assert_memory_equal(fc6->shape, shape, sizeof shape);
    assert_true(fc6->column_major);
    assert_int_equal(fc6->inside, !packed);
    const imp_foreign_tensor *one = &p.f.tensors[foreign_find(&p.f, "conv1_1.weight")];
    const size_t one_shape[] = {3, 3, 3, 1}; /* the last one may be missing */
    assert_memory_equal(one->shape, one_shape, sizeof one_shape);
    assert_int_equal(p.f.tensors[foreign_find(&p.f, "fc8.bias")].ndim, 1);
    pair_close(&p);
}

static void reads_matconvnet(void **state) {
    (void)state;
    const float mean[] = {123.68f, 116.779f, 103.939f};
    check_mat("vgg19-old.mat", "vgg19.safetensors", false, mean);
    check_mat("vgg19-new.mat", "vgg19.safetensors", true, mean);
    check_mat("vgg16-new.mat", "vgg16.safetensors", false, mean);
}

/* Packed tensors may be asked for in any order. */
static void reads_backwards(void **state) {
    (void)state;
    pair p = pair_open(&imp_reader_mat, "vgg19-new.mat", "vgg19.safetensors");
    for (size_t i = imp_safetensors_count(p.ours); i-- > 0;) {
        const imp_safetensors_entry *e = imp_safetensors_at(p.ours, i);
        same(&p, e, e->name, mat_at);
    }
    pair_close(&p);
}

/* A seed of the fuzzers, open. */
static imp_foreign seed(const imp_reader *reader, const char *file) {
    char path[4096];
    snprintf(path, sizeof path, CORPUS "%s", file);
    imp_foreign f = foreign_map(path);
    assert_true(reader->recognise(f.data, f.size));
    if (foreign_open(reader, &f)) fail_msg("%s: %s", file, imp_ctx_error(ctx));
    return f;
}

static void holds(const imp_reader *reader, imp_foreign *f, const char *name,
    imp_dtype dtype, size_t n, const float *numbers) {
    size_t i = foreign_find(f, name);
    float *found = foreign_floats(reader, f, i);
    assert_int_equal(f->tensors[i].dtype, dtype);
    assert_int_equal(f->tensors[i].count, n);
    assert_memory_equal(found, numbers, n * sizeof *numbers);
    free(found);
}

static void reads_small_mat(void **state) {
    (void)state;
    const float six[] = {0, 1, 2, 3, 4, 5}, two[] = {1, 2}, wide[] = {-1, 0, 300};
    static const char *const same_ones[] = {"mat/good", "mat/packed", "mat/skipped"};
    for (size_t i = 0; i < 3; i++) {
        imp_foreign f = seed(&imp_reader_mat, same_ones[i]);
        assert_int_equal(f.n, 2);
        holds(&imp_reader_mat, &f, "conv1_1.weight", IMP_DTYPE_F32, 6, six);
        holds(&imp_reader_mat, &f, "conv1_1.bias", IMP_DTYPE_F32, 2, two);
        assert_int_equal(f.has_mean, i < 2);
        if (i < 2) assert_true(f.mean[0] == 100.5f && f.mean[2] == 121);
        foreign_close(&imp_reader_mat, &f);
    }
    imp_foreign f = seed(&imp_reader_mat, "mat/separate"); /* the oldest fields */
    holds(&imp_reader_mat, &f, "fc8.weight", IMP_DTYPE_F32, 2, two);
    foreign_close(&imp_reader_mat, &f);
    f = seed(&imp_reader_mat, "mat/meta"); /* of class double, written as integers */
    holds(&imp_reader_mat, &f, "conv1_1.weight", IMP_DTYPE_F64, 3, wide);
    assert_true(f.has_mean && f.mean[0] == 120 && f.mean[1] == 110);
    foreign_close(&imp_reader_mat, &f);
}

/* --- Keras --- */

static const char *keras_layer(const char *ours, char layer[40]) {
    static const char *const tops[] = {"fc1", "fc2", "predictions"};
    if (!strncmp(ours, "fc", 2))
        snprintf(layer, 40, "%s", tops[ours[2] - '6']);
    else
        snprintf(layer, 40, "block%c_conv%c", ours[4], ours[6]);
    return strchr(ours, '.') + 1;
}

static void old_name(const char *ours, char *out, size_t size) {
    char layer[40];
    const char *what = keras_layer(ours, layer);
    snprintf(out, size, "%s/%s_%c_1:0", layer, layer, *what == 'w' ? 'W' : 'b');
}

static void new_name(const char *ours, char *out, size_t size) {
    char layer[40];
    const char *what = keras_layer(ours, layer);
    snprintf(out, size, "%s/%s/%s:0", layer, layer, *what == 'w' ? "kernel" : "bias");
}

/* H, W, I, O, the last running fastest; fc6's inputs are H, W, I too. */
static size_t keras_at(const size_t n[4], const size_t k[4]) {
    return ((k[2] * n[3] + k[3]) * n[1] + k[1]) * n[0] + k[0];
}

static void reads_keras(void **state) {
    (void)state;
    const imp_reader *reader = &imp_reader_h5;
    if (!reader->prepare) skip(); /* built without libhdf5 */
    pair p = pair_open(reader, "vgg19-old.h5", "vgg19.safetensors");
    same_network(&p, old_name, keras_at, true);
    assert_true(p.f.tensors[0].inside && !p.f.tensors[0].column_major);
    assert_false(p.f.has_mean);
    pair_close(&p);
    p = pair_open(reader, "vgg19-notop.h5", "vgg19.safetensors");
    same_network(&p, new_name, keras_at, false);
    pair_close(&p);
    p = pair_open(reader, "vgg16-model.h5", "vgg16.safetensors");
    same_network(&p, new_name, keras_at, true);
    const imp_foreign_tensor *fc1 =
        &p.f.tensors[foreign_find(&p.f, "fc1/fc1/kernel:0")];
    assert_true(!fc1->inside && fc1->ndim == 2 && fc1->shape[0] == 392);
    pair_close(&p);
}

static void reads_small_h5(void **state) {
    (void)state;
    const imp_reader *reader = &imp_reader_h5;
    if (!reader->prepare) skip();
    float count[35] = {0};
    const float none[6] = {0};
    for (int i = 0; i < 35; i++) count[i] = (float)i;
    static const char *const same_ones[] = {
        "h5/good", "h5/user-block", "h5/latest", "h5/model"};
    for (size_t i = 0; i < 4; i++) {
        imp_foreign f = seed(reader, same_ones[i]);
        assert_int_equal(f.n, 4);
        holds(reader, &f, "fc1/fc1/kernel:0", IMP_DTYPE_F32, 6, count);
        holds(reader, &f, "fc1/fc1/bias:0", IMP_DTYPE_F64, 3, count);
        holds(reader, &f, "half", IMP_DTYPE_F16, 2, count);
        holds(reader, &f, "one", IMP_DTYPE_F32, 1, count);
        foreign_close(reader, &f);
    }
    imp_foreign f = seed(reader, "h5/chunked");
    holds(reader, &f, "a", IMP_DTYPE_F32, 35, count);
    holds(reader, &f, "b", IMP_DTYPE_F32, 6, none);
    foreign_close(reader, &f);
    f = seed(reader, "h5/compact");
    holds(reader, &f, "a", IMP_DTYPE_F32, 6, count);
    foreign_close(reader, &f);
    f = seed(reader, "h5/empty");
    holds(reader, &f, "a", IMP_DTYPE_F32, 0, none);
    foreign_close(reader, &f);
}

/* --- lying files --- */

static void seed_refused(
    const imp_reader *reader, const char *file, const char *words) {
    char path[4096];
    imp_file in;
    snprintf(path, sizeof path, CORPUS "%s", file);
    assert_int_equal(imp_file_open(ctx, &in, path, IMP_ERR_MODEL), IMP_OK);
    foreign_refused(reader, in.data, in.size, words);
    imp_file_close(&in);
}

static void lying_mat(void **state) {
    (void)state;
    static const struct {
        const char *file, *words;
    } cases[] = {
        {"mat/deep",
            "layers{1}.weights: expected real numbers of class single or double"},
        {"mat/overflow", "layers{1}.weights: dimensions"},
        {"mat/negative", "dimensions"},
        {"mat/dimensions", "expected type 5, at most 32 bytes, found type 5, 36 bytes"},
        {"mat/five", "filters of at most 4 dimensions, found 5"},
        {"mat/cells", "layers{2}: an element: expected at most"},
        {"mat/more-cells", "layers: expected a cell"},
        {"mat/beyond", "a variable: an element: expected at most"},
        {"mat/beyond-inside", "layers{1}.weights: an element: expected at most"},
        {"mat/numbers", "expected 4 numbers as its dimensions say, found 12 bytes"},
        {"mat/complex", "found complex ones"},
        {"mat/text", "class single or double, found class 4"},
        {"mat/biases", "expected a vector of biases, found 2 dimensions, 4 numbers"},
        {"mat/three", "expected a cell of filters and biases, found 3"},
        {"mat/nameless", "layers{1}: expected a name, as it has weights"},
        {"mat/long-name", "layers{1}.name: expected below 160 characters"},
        {"mat/twice", "tensor conv1_1.weight: there twice"},
        {"mat/fields", "layers{1}: fields: expected at most 64"},
        {"mat/dag", "a SimpleNN of MatConvNet"},
        {"mat/nothing", "expected a variable `layers`"},
        {"mat/average", "expected H x W x 3"},
        {"mat/nan", "channel 1: expected a number"},
        {"mat/bomb", "layers: with those before it expected at most"},
        {"mat/more", "found more bytes"},
        {"mat/cut", "packed variable at byte 128: expected"},
        {"mat/cut-inside", "it is cut short"},
        {"mat/damaged", "packed variable at byte 136"},
        {"mat/newer", "7.3 (HDF5)"},
        {"mat/big-endian", "byte order"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        seed_refused(&imp_reader_mat, cases[i].file, cases[i].words);
}

static void lying_h5(void **state) {
    (void)state;
    if (!imp_reader_h5.prepare) skip();
    static const struct {
        const char *file, *words;
    } cases[] = {
        {"h5/external-link", "a: expected an object, found a link to another file"},
        {"h5/soft-link", "a: expected an object, found a link to another place"},
        {"h5/soft-loop", "found a link to another place"},
        {"h5/model-link", "model_weights: expected a group, found a link"},
        {"h5/external-storage", "found external storage"},
        {"h5/virtual", "found a virtual dataset"},
        {"h5/loop", "groups at most 8 deep"},
        {"h5/deep", "groups at most 8 deep"},
        {"h5/lzf", "filters: expected gzip, shuffle or fletcher32, found number 32000"},
        {"h5/scale-offset", "found number 6"},
        {"h5/big-endian", "found another type"},
        {"h5/complex", "found another type"},
        {"h5/text", "found another type"},
        {"h5/reference", "found another type"},
        {"h5/keras3", "Keras 3's .weights.h5"},
        {"h5/long-name", "name of a tensor"},
        {"h5/unwritten", "expected 24 bytes of numbers, found fewer"},
        {"h5/chunk-beyond", "chunk size must be < 4GB"},
        {"h5/chunk-zero", "chunk dimension must be positive"},
        {"h5/gzip-damaged", "inflate() failed"},
        {"h5/contiguous-huge", "its product is beyond all memory"},
        {"h5/contiguous-large", "expected 140000 bytes of numbers, found fewer"},
        {"h5/compact-less", "expected 240 bytes of numbers, found fewer"},
        {"h5/cut", "superblock: expected an HDF5 file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        seed_refused(&imp_reader_h5, cases[i].file, cases[i].words);
}

static void cut_anywhere(const imp_reader *reader, const char *file, size_t step) {
    char path[4096];
    imp_file in;
    snprintf(path, sizeof path, CORPUS "%s", file);
    assert_int_equal(imp_file_open(ctx, &in, path, IMP_ERR_MODEL), IMP_OK);
    for (size_t n = 128; n < in.size; n += step)
        foreign_refused(reader, in.data, n, "");
    imp_file_close(&in);
}

static void cut_files(void **state) {
    (void)state;
    cut_anywhere(&imp_reader_mat, "../../golden/foreign/vgg19-new.mat", 97);
    cut_anywhere(&imp_reader_mat, "mat/separate", 8);
    if (!imp_reader_h5.prepare) return;
    cut_anywhere(&imp_reader_h5, "h5/good", 97);
    cut_anywhere(&imp_reader_h5, "h5/chunked", 97);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_matconvnet),
        cmocka_unit_test(reads_backwards),
        cmocka_unit_test(reads_small_mat),
        cmocka_unit_test(reads_keras),
        cmocka_unit_test(reads_small_h5),
        cmocka_unit_test(lying_mat),
        cmocka_unit_test(lying_h5),
        cmocka_unit_test(cut_files),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
