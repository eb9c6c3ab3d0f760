/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <zlib.h>

#include "files.h"
#include "foreign_files.h"

/* --- good files --- */

static imp_safetensors *golden(const char *name) {
    imp_safetensors *st;
    char path[512];
    snprintf(path, sizeof path, GOLDEN_DIR "/foreign/%s", name);
    assert_int_equal(imp_safetensors_open(ctx, &st, path), IMP_OK);
    return st;
}

static imp_foreign opened(const imp_reader *reader, const char *path) {
    imp_foreign f = foreign_map(path);
    assert_ptr_equal(imp_reader_of(f.data, f.size), reader);
    if (foreign_open(reader, &f)) fail_msg("%s", imp_ctx_error(ctx));
    return f;
}

static imp_foreign opened_golden(const imp_reader *reader, const char *name) {
    char path[512];
    snprintf(path, sizeof path, GOLDEN_DIR "/foreign/%s", name);
    return opened(reader, path);
}

/* Tensor `name` holds the numbers of e, bit for bit. */
static void assert_same(const imp_reader *reader, imp_foreign *f, const char *name,
    const imp_safetensors_entry *e) {
    size_t i = foreign_find(f, name);
    const imp_foreign_tensor *t = &f->tensors[i];
    assert_true(t->inside && t->dtype == IMP_DTYPE_F32 && !t->column_major);
    assert_int_equal(t->ndim, e->ndim);
    assert_memory_equal(t->shape, e->shape, e->ndim * sizeof *e->shape);
    float *x = foreign_floats(reader, f, i);
    assert_memory_equal(x, e->data, e->count * sizeof *x);
    free(x);
}

/* The file holds all tensors of a safetensors file, by the names of another in the same order
 * of layers; classifier: numbers of torchvision's fully connected layers. */
static void assert_torchvision(const imp_reader *reader, const char *file,
    const char *model, const int classifier[3]) {
    imp_safetensors *st = golden(model);
    imp_foreign f = opened_golden(reader, file);
    assert_int_equal(f.n, imp_safetensors_count(st));
    int number = 0, block = 1;
    for (size_t i = 0; i < imp_safetensors_count(st); i++) {
        const imp_safetensors_entry *e = imp_safetensors_at(st, i);
        const char *what = strchr(e->name, '.') + 1;
        char name[64];
        if (e->name[0] == 'f') {
            snprintf(name, sizeof name, "classifier.%d.%s",
                classifier[e->name[2] - '6'], what);
        } else {
            if (e->name[4] - '0' != block) block++, number++;
            snprintf(name, sizeof name, "features.%d.%s", number, what);
            if (what[0] == 'b') number += 2;
        }
        assert_same(reader, &f, name, e);
    }
    foreign_close(reader, &f);
    imp_safetensors_close(st);
}

static void reads_pytorch(void **state) {
    (void)state;
    static const int plain[] = {0, 3, 6}, caffe[] = {1, 4, 6};
    assert_torchvision(
        &imp_reader_pth_legacy, "vgg19.legacy.pth", "vgg19.safetensors", plain);
#ifdef IMP_WITH_ZIP
    assert_torchvision(
        &imp_reader_pth_zip, "vgg19.zip.pth", "vgg19.safetensors", plain);
    assert_torchvision(
        &imp_reader_pth_zip, "vgg16.zip.pth", "vgg16.safetensors", plain);
    assert_torchvision(
        &imp_reader_pth_zip, "vgg19-d01eb7cb.pth", "vgg19.safetensors", caffe);
#else
    (void)caffe;
#endif
}

static void reads_convolutions_alone(void **state) {
    (void)state;
    imp_safetensors *st = golden("vgg19.safetensors");
    imp_foreign f = opened_golden(&imp_reader_pth_legacy, "vgg_conv.pth");
    assert_int_equal(f.n, 32);
    for (size_t i = 0; i < f.n; i++)
        assert_same(&imp_reader_pth_legacy, &f, f.tensors[i].name,
            imp_safetensors_find(st, f.tensors[i].name));
    foreign_close(&imp_reader_pth_legacy, &f);
    imp_safetensors_close(st);
}

#ifdef IMP_WITH_ZIP

/* Where number k of NumPy's array is in ours. */
static size_t npz_index(const imp_safetensors_entry *e, size_t k) {
    const size_t *s = e->shape;
    if (e->ndim == 1) return k;
    size_t o = k % s[0], rest = k / s[0];
    if (e->ndim == 4) { /* KH, KW, I, O */
        size_t i = rest % s[1], place = rest / s[1];
        return (o * s[1] + i) * s[2] * s[3] + place;
    }
    if (!strncmp(e->name, "fc6", 3)) { /* row, column, channel */
        size_t channels = s[1] / 49;
        rest = rest % channels * 49 + rest / channels;
    }
    return o * s[1] + rest;
}

static void assert_npz(const char *file, size_t n, bool inside) {
    imp_safetensors *st = golden("vgg19.safetensors");
    imp_foreign f = opened_golden(&imp_reader_npz, file);
    assert_int_equal(f.n, n);
    for (size_t i = 0; i < n; i++) { /* the members are in the network's order */
        const imp_safetensors_entry *e = imp_safetensors_at(st, i);
        size_t layer = (size_t)(strchr(e->name, '.') - e->name);
        char name[64];
        snprintf(name, sizeof name, "%.*s_%c", (int)layer, e->name,
            e->ndim == 1 ? 'b' : 'W');
        size_t at = foreign_find(&f, name);
        const imp_foreign_tensor *t = &f.tensors[at];
        assert_true(
            t->inside == inside && t->dtype == IMP_DTYPE_F32 && !t->column_major);
        assert_int_equal(t->ndim, e->ndim);
        assert_int_equal(t->count, e->count);
        assert_int_equal(t->shape[t->ndim - 1], e->shape[0]);
        float *x = foreign_floats(&imp_reader_npz, &f, at);
        for (size_t k = 0; k < e->count; k++)
            assert_memory_equal(&x[k], e->data + 4 * npz_index(e, k), 4);
        free(x);
    }
    foreign_close(&imp_reader_npz, &f);
    imp_safetensors_close(st);
}

static void reads_numpy(void **state) {
    (void)state;
    assert_npz("vgg19.npz", 38, true);
    assert_npz("vgg19-packed.npz", 32, false);
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_pytorch),
        cmocka_unit_test(reads_convolutions_alone),
#ifdef IMP_WITH_ZIP
        cmocka_unit_test(reads_numpy),
#endif
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
