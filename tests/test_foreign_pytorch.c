/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "files.h"
#include "foreign_files.h"
#include "foreign_pytorch.h"

/* --- good files --- */

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
    imp_safetensors *st = golden_tensors(model);
    imp_foreign f = foreign_golden(reader, file);
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
    imp_safetensors *st = golden_tensors("vgg19.safetensors");
    imp_foreign f = foreign_golden(&imp_reader_pth_legacy, "vgg_conv.pth");
    assert_int_equal(f.n, 32);
    for (size_t i = 0; i < f.n; i++)
        assert_same(&imp_reader_pth_legacy, &f, f.tensors[i].name,
            imp_safetensors_find(st, f.tensors[i].name));
    foreign_close(&imp_reader_pth_legacy, &f);
    imp_safetensors_close(st);
}

/* --- what PyTorch can also write --- */

static void other_orders(void **state) {
    (void)state;
    static const lie tensors[] = {
        {"plain", "FloatStorage", "0", 12, 0, 2, 2, {2, 6}, {6, 1}},
        {"part", "FloatStorage", "0", 12, 4, 3, 3, {2, 1, 2}, {2, 99, 1}},
        {"transposed", "FloatStorage", "0", 12, 1, 2, 2, {2, 3}, {1, 2}},
        {"channels_last", "FloatStorage", "0", 12, 0, 4, 4, {1, 2, 2, 3},
            {12, 1, 6, 2}},
        {"repeated", "FloatStorage", "0", 12, 3, 1, 1, {3}, {0}},
        {"none", "FloatStorage", "0", 12, 12, 2, 2, {0, 3}, {3, 1}},
        {"one", "FloatStorage", "0", 12, 11, 0, 0, {0}, {0}},
    };
    const imp_reader *r = &imp_reader_pth_legacy;
    blob object = state_dict(tensors, 7), b = legacy(&object, 12);
    imp_foreign f = foreign_blob(r, b.data, b.n);
    const float x[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    assert_int_equal(f.n, 7);
    assert_numbers(r, &f, "plain", true, x, 12);
    assert_numbers(r, &f, "part", true, x + 4, 4);
    assert_numbers(r, &f, "transposed", false, (float[]){1, 3, 5, 2, 4, 6}, 6);
    assert_numbers(r, &f, "channels_last", false,
        (float[]){0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11}, 12);
    assert_numbers(r, &f, "repeated", false, (float[]){3, 3, 3}, 3);
    assert_numbers(r, &f, "none", true, x, 0);
    assert_numbers(r, &f, "one", true, x + 11, 1);
    foreign_close(r, &f);
    blob_free(&object);
    blob_free(&b);
}

/* More than a piece of numbers in another order. */
static void large_transposed(void **state) {
    (void)state;
    static const lie t = {
        "w", "FloatStorage", "0", 300 * 200, 0, 2, 2, {300, 200}, {1, 300}};
    const imp_reader *r = &imp_reader_pth_legacy;
    blob object = state_dict(&t, 1), b = legacy(&object, 300 * 200);
    imp_foreign f = foreign_blob(r, b.data, b.n);
    float *x = foreign_floats(r, &f, 0);
    for (size_t i = 0; i < 300; i++)
        for (size_t j = 0; j < 200; j++)
            assert_true(x[i * 200 + j] == (float)(j * 300 + i));
    free(x);
    foreign_close(r, &f);
    blob_free(&object);
    blob_free(&b);
}

/* Around the same tensor: what older versions, Python 2, later protocols and scripts that save
 * more than the weights write. */
static void other_pickles(void **state) {
    (void)state;
    blob objects[6] = {0}, tensor = {0};
    pickle_tensor(&tensor, &pair);

    PUT(&objects[0], "\x80\2ccollections\nOrderedDict\n(]](U\1w"); /* Python 2 */
    PUT(&objects[0],
        "ctorch._utils\n_rebuild_tensor\n((U\7storagectorch\nFloatStorage\n"
        "T\1\0\0\0000U\3cpuK\2NtQK\0(K\2t(K\1ttReatR}U\11_metadata}sb.");

    PUT(&objects[1], "\x80\4\x95\5\0\0\0\0\0\0\0"); /* protocol 4 */
    PUT(&objects[1],
        "\x8c\13collections\x94\x8c\13OrderedDict\x94\x93\x94)R\x94\x8c\1w\x94"
        "\x8c\14torch._utils\x94\x8c\22_rebuild_tensor_v2\x94\x93\x94"
        "((\x8c\7storage\x94\x8c\5torch\x94\x8c\14FloatStorage\x94\x93\x94"
        "\x8c\1"
        "0\x8c\3cpuJ\2\0\0\0t\x94QK\0K\2\x85K\1\x85\x89h\2)Rt\x94Rs.");

    PUT(&objects[2], "\x80\2}("); /* a checkpoint */
    pickle_text(&objects[2], "epoch");
    PUT(&objects[2], "M\1\1");
    pickle_text(&objects[2], "loss");
    PUT(&objects[2], "G01234567");
    pickle_text(&objects[2], "state_dict");
    PUT(&objects[2], "}");
    pickle_text(&objects[2], "w");
    put(&objects[2], tensor.data, tensor.n);
    PUT(&objects[2], "su.");

    PUT(&objects[3], "\x80\2}"); /* parameters */
    pickle_text(&objects[3], "w");
    PUT(&objects[3], "ctorch._utils\n_rebuild_parameter\n");
    put(&objects[3], tensor.data, tensor.n);
    PUT(&objects[3], "\x88}\x87Rs.");

    PUT(&objects[4], "\x80\2}("); /* a counter beside it */
    pickle_text(&objects[4], "num_batches_tracked");
    pickle_tensor(&objects[4], &(lie){"", "LongStorage", "1", 1, 0, 0, 0, {0}, {0}});
    pickle_text(&objects[4], "w");
    put(&objects[4], tensor.data, tensor.n);
    PUT(&objects[4], "u.");

    PUT(&objects[5], "\x80\2}\x94"); /* by the memo, and itself in itself */
    pickle_text(&objects[5], "model");
    PUT(&objects[5], "h\0s(");
    pickle_text(&objects[5], "w");
    PUT(&objects[5], "r\0\3\0\0");
    put(&objects[5], tensor.data, tensor.n);
    PUT(&objects[5], "r\0\4\0\0");
    pickle_text(&objects[5], "again");
    PUT(&objects[5], "j\0\4\0\0u.");

    for (size_t i = 0; i < 6; i++) {
        blob b = legacy(&objects[i], 2);
        if (i == 4) { /* one more storage: an int64 */
            blob_free(&b);
            b = legacy_head();
            put(&b, objects[i].data, objects[i].n);
            PUT(&b, "\x80\2](X\1\0\0\0001X\1\0\0\0000e.\1\0\0\0\0\0\0\0"
                    "8bytes..");
            put_number(&b, 2, 8);
            put_floats(&b, 2);
        }
        imp_foreign f = foreign_blob(&imp_reader_pth_legacy, b.data, b.n);
        assert_int_equal(f.n, i == 5 ? 2 : 1);
        assert_numbers(&imp_reader_pth_legacy, &f, "w", true, (float[]){0, 1}, 2);
        foreign_close(&imp_reader_pth_legacy, &f);
        blob_free(&b);
        blob_free(&objects[i]);
    }
    blob_free(&tensor);
}

/* --- the legacy container --- */

static void lying_storages(void **state) {
    (void)state;
    static const char one[] = "\x80\2]X\1\0\0\0000a.\2\0\0\0\0\0\0\0"
                              "8bytes..";
    static const struct {
        const char *rest;
        size_t n;
        const char *words;
    } cases[] = {
        {one, sizeof one - 2, "storage 0: expected 8 bytes, found 7"},
        {one, sizeof one, "expected the end after the storages, found 1 bytes more"},
        {one, 14, "storage 0: expected its size, found the end"},
        {"\x80\2]X\1\0\0\0000a.\3\0\0\0\0\0\0\0"
         "8bytes..more",
            31, "expected 2 elements, found 3"},
        {"\x80\2]X\1\0\0\0000a.\2\0\0\0\0\0\0\x80", 19, "found 9223372036854775810"},
        {"\x80\2].", 4, "storage 0: expected it in the file, found it nowhere"},
        {"\x80\2].\x80", 5, "expected the end"},
        {"\x80\2}.", 4, "keys of storages: expected a list, found a dict"},
        {"\x80\2]Na.", 6, "keys of storages: expected a string, found None"},
        {"\x80\2](X\1\0\0\0001e.", 12, "storage 1: expected one that a tensor has"},
        {"", 0, "keys of storages: byte"},
    };
    blob object = state_dict(&pair, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        blob b = legacy_head();
        put(&b, object.data, object.n);
        put(&b, cases[i].rest, cases[i].n);
        foreign_refused(&imp_reader_pth_legacy, b.data, b.n, cases[i].words);
        blob_free(&b);
    }
    blob b = legacy_head();
    put(&b, object.data, object.n);
    PUT(&b, "\x80\2](X\1\0\0\0000X\1\0\0\0000e.");
    for (int i = 0; i < 2; i++)
        PUT(&b, "\2\0\0\0\0\0\0\0"
                "8bytes..");
    foreign_refused(
        &imp_reader_pth_legacy, b.data, b.n, "expected it once, found it twice");
    blob_free(&b);
    blob_free(&object);
    lie two[] = {pair, pair};
    two[1].name = "v";
    two[1].n = 1;
    object = state_dict(two, 2);
    b = legacy(&object, 2);
    foreign_refused(&imp_reader_pth_legacy, b.data, b.n, "expected one type and size");
    blob_free(&b);
    blob_free(&object);
}

static void other_systems(void **state) {
    (void)state;
    static const char magic[] =
        "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    static const struct {
        const char *rest;
        size_t n;
        const char *words;
    } cases[] = {
        {"\x80\2M\xea\3.", 6, "protocol: expected 1001, found another"},
        {"\x80\2N.", 4, "protocol: expected 1001, found another"},
        {"\x80\2M\xe9\3.\x80\2}U\15little_endian\x89s.", 27, "little-endian"},
        {"\x80\2M\xe9\3.\x80\2].", 10, "system: expected a dict, found a list"},
        {"", 0, "protocol: byte 15: expected a pickle"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        blob b = {0};
        PUT(&b, magic);
        put(&b, cases[i].rest, cases[i].n);
        foreign_refused(&imp_reader_pth_legacy, b.data, b.n, cases[i].words);
        blob_free(&b);
    }
    assert_null(imp_reader_of((const uint8_t *)magic, sizeof magic - 2));
}

static void truncated_files(void **state) {
    (void)state;
    truncated(&imp_reader_pth_legacy, "vgg_conv.pth");
#ifdef IMP_WITH_ZIP
    truncated(&imp_reader_pth_zip, "vgg16.zip.pth");
#endif
}

#ifdef IMP_WITH_ZIP

/* --- the zip container --- */

/* a/data.pkl of one tensor w of two floats, and a/data/0. */
typedef struct archive {
    blob object, numbers;
    zip_item items[4];
} archive;

static archive archive_of(const lie *t, size_t n) {
    archive a = {.object = state_dict(t, 1)};
    put_floats(&a.numbers, n);
    a.items[0] =
        (zip_item){.name = "a/data.pkl", .data = a.object.data, .n = a.object.n};
    a.items[1] =
        (zip_item){.name = "a/data/0", .data = a.numbers.data, .n = a.numbers.n};
    a.items[2] = (zip_item){.name = "a/byteorder", .data = "little", .n = 6};
    a.items[3] = (zip_item){.name = "a/version", .data = "3\n", .n = 2};
    return a;
}

static void archive_free(archive *a) {
    blob_free(&a->object);
    blob_free(&a->numbers);
}

static void archive_refused(archive *a, const char *words) {
    blob b = zip_of(a->items, 4);
    foreign_refused(&imp_reader_pth_zip, b.data, b.n, words);
    blob_free(&b);
    archive_free(a);
}

static void packed_archives(void **state) {
    (void)state;
    const lie part = {"w", "FloatStorage", "0", 60000, 20000, 1, 1, {40000}, {1}};
    for (int k = 0; k < 4; k++) { /* the pickle deflated, the numbers deflated */
        archive a = archive_of(&part, 60000);
        a.items[0].deflated = k & 1;
        a.items[1].deflated = k & 2;
        if (!(k & 2))
            a.items[1].crc = 1; /* where it is stored PyTorch may write none */
        blob b = zip_of(a.items, k ? 4 : 2);
        imp_foreign f = foreign_blob(&imp_reader_pth_zip, b.data, b.n);
        assert_int_equal(f.n, 1);
        assert_numbers(&imp_reader_pth_zip, &f, "w", !(k & 2),
            (float *)(void *)a.numbers.data + 20000, 40000);
        foreign_close(&imp_reader_pth_zip, &f);
        blob_free(&b);
        archive_free(&a);
    }
    const lie turned = {"w", "FloatStorage", "0", 4, 0, 2, 2, {2, 2}, {1, 2}};
    archive a = archive_of(&turned, 4);
    blob b = zip_of(a.items, 4);
    imp_foreign f = foreign_blob(&imp_reader_pth_zip, b.data, b.n);
    assert_numbers(&imp_reader_pth_zip, &f, "w", false, (float[]){0, 2, 1, 3}, 4);
    foreign_close(&imp_reader_pth_zip, &f);
    blob_free(&b);
    a.items[1].deflated = true;
    archive_refused(&a, "save it as tensor.contiguous()");
}

static void lying_archives(void **state) {
    (void)state;
#define LIE(change, words)                                                             \
    do {                                                                               \
        archive a = archive_of(&pair, 2);                                              \
        zip_item *e = a.items;                                                         \
        change;                                                                        \
        archive_refused(&a, words);                                                    \
    } while (0)
    LIE(e[1].flags = 1, "entry a/data/0: expected one that is not encrypted");
    LIE(e[1].method = 12, "expected it stored or deflated");
    LIE(e[1].size = 7, "it is stored: expected one size, found two");
    LIE(e[1].packed = 9, "zip: ");
    LIE(e[3].packed = 0x7fffffff, "zip: ");
    LIE(e[1].name = "a/data/1", "zip: expected an entry a/data/0, found none");
    LIE(e[1].n = 4, "a/data/0: expected 8 bytes, found 4");
    LIE(e[1].name = "a/data.pkl", "zip: directory: ");
    LIE(e[1].name = "b/data.pkl",
        "expected one entry NAME/data.pkl as PyTorch writes it");
    LIE(e[0].name = "data.pkl", "expected one entry NAME/data.pkl");
    LIE(e[0].name = "a/b/data.pkl", "expected one entry NAME/data.pkl");
    LIE(e[2].name = "a/code/__torch__.py", "found a TorchScript program");
    LIE((e[2].data = "big", e[2].n = 3), "a/byteorder: expected little");
    LIE(e[2].data = "middle", "a/byteorder: expected little");
    LIE((e[0].deflated = true, e[0].crc = 1), "a/data.pkl: ");
    LIE((e[0].deflated = true, e[0].size = 9), "a/data.pkl: ");
    LIE((e[0].deflated = true, e[0].size = 999), "a/data.pkl: ");
    LIE((e[0].method = 8), "a/data.pkl: ");
    LIE((e[1].deflated = true, e[1].crc = 1), "a/data/0: ");
    LIE((e[1].method = 8), "a/data/0: ");
    LIE(e[0].n = 9, "data.pkl: GLOBAL");
    LIE(e[0].n = 0, "data.pkl: byte 0: expected a pickle");
#undef LIE
}

/* 42 KB that claim to be a gigabyte, and what deflate can do at best. */
static void bombs(void **state) {
    (void)state;
    size_t n = (size_t)42 << 20;
    void *zeros = calloc(n, 1);
    assert_non_null(zeros);
    archive a = archive_of(&pair, 2);
    a.items[0].deflated = true;
    a.items[0].data = zeros;
    a.items[0].n = n;
    a.items[0].size = 1u << 30;
    archive_refused(&a, "zip: entry a/data.pkl: expected at most ");
    a = archive_of(&pair, 2);
    a.items[0].deflated = true;
    a.items[0].data = zeros;
    a.items[0].n = n;
    archive_refused(&a, "expected at most 16777216 bytes, found 44040192 claimed");
    const lie large = {"w", "FloatStorage", "0", 42 << 18, 0, 1, 1, {42 << 18}, {1}};
    a = archive_of(&large, 2);
    a.items[1].deflated = true;
    a.items[1].data = zeros;
    a.items[1].n = n;
    archive_refused(&a, "cannot hold");
    free(zeros);
}

/* An entry whose bytes are another's header and bytes, and one in them. */
static void overlapping(void **state) {
    (void)state;
    archive a = archive_of(&pair, 2);
    zip_item inner = {.name = "a/data/1", .data = "8bytes..", .n = 8};
    blob within = zip_of(&inner, 1); /* its local header comes first */
    a.items[0].name = "a/data/9";    /* the first, so that its place is known: 30 + 8 */
    a.items[0].data = within.data;
    a.items[0].n = 30 + 8 + 8;
    inner.header = 30 + 8 + 1;
    a.items[3] = inner;
    archive_refused(&a, "entry a/data/1: it lies over another entry");
    blob_free(&within);
    a = archive_of(&pair, 2);
    a.items[3] = a.items[0];
    a.items[3].header = 1;
    archive_refused(&a, "zip: "); /* the same entry twice */
    a = archive_of(&pair, 2);
    a.items[3].header = 0x7fffffff;
    archive_refused(&a, "zip: ");
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_pytorch),
        cmocka_unit_test(reads_convolutions_alone),
        cmocka_unit_test(other_orders),
        cmocka_unit_test(large_transposed),
        cmocka_unit_test(other_pickles),
        cmocka_unit_test(lying_storages),
        cmocka_unit_test(other_systems),
        cmocka_unit_test(truncated_files),
#ifdef IMP_WITH_ZIP
        cmocka_unit_test(packed_archives),
        cmocka_unit_test(lying_archives),
        cmocka_unit_test(bombs),
        cmocka_unit_test(overlapping),
#endif
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
