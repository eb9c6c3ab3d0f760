/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "files.h"
#include "foreign_files.h"
#include "foreign_pytorch.h"

#ifdef IMP_WITH_ZIP

/* --- good files --- */

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
    imp_safetensors *st = golden_tensors("vgg19.safetensors");
    imp_foreign f = foreign_golden(&imp_reader_npz, file);
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

/* --- headers and members --- */

/* A member of `version` with this header, filled up as NumPy does, and n floats. */
static blob npy(int version, const char *header, size_t n) {
    blob b = {0};
    PUT(&b, "\x93NUMPY");
    put_number(&b, (uint64_t)version, 2);
    size_t length = strlen(header) + 1, first = version == 1 ? 10 : 12;
    size_t fill = (64 - (first + length) % 64) % 64;
    put_number(&b, length + fill, version == 1 ? 2 : 4);
    put(&b, header, length - 1);
    for (size_t i = 0; i < fill; i++) PUT(&b, " ");
    PUT(&b, "\n");
    put_floats(&b, n);
    return b;
}

static blob npz(const blob *member, bool deflate) {
    const zip_item items[] = {
        {.name = "w.npy", .data = member->data, .n = member->n, .deflated = deflate},
        {.name = "README", .data = "no array", .n = 8}};
    return zip_of(items, 2);
}

static void good_headers(void **state) {
    (void)state;
    static const struct {
        int version;
        const char *header;
        size_t floats, count, ndim;
        imp_dtype dtype;
        bool column_major;
    } cases[] = {
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 6, 6, 2,
            IMP_DTYPE_F32, false},
        {2, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 6, 6, 2,
            IMP_DTYPE_F32, true},
        {3, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", 6, 3, 1,
            IMP_DTYPE_F64, false},
        {1, "{'shape': (12L,), 'descr': '<f2', 'fortran_order': False}", 6, 12, 1,
            IMP_DTYPE_F16, false},
        {1, "{'descr':'<f4','fortran_order':False,'shape':()}", 1, 1, 0, IMP_DTYPE_F32,
            false},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9), }", 0, 0, 2,
            IMP_DTYPE_F32, false},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        blob member =
            npy(cases[i / 2].version, cases[i / 2].header, cases[i / 2].floats);
        blob b = npz(&member, i % 2);
        imp_foreign f = foreign_blob(&imp_reader_npz, b.data, b.n);
        assert_int_equal(f.n, 1);
        const imp_foreign_tensor *t = &f.tensors[0];
        assert_string_equal(t->name, "w");
        assert_int_equal(t->count, cases[i / 2].count);
        assert_int_equal(t->ndim, cases[i / 2].ndim);
        assert_int_equal(t->dtype, cases[i / 2].dtype);
        assert_true(
            t->column_major == cases[i / 2].column_major && t->inside == !(i % 2));
        float *x = foreign_floats(&imp_reader_npz, &f, 0);
        if (t->dtype == IMP_DTYPE_F32)
            assert_memory_equal(x, member.data + member.n - 4 * t->count, 4 * t->count);
        free(x);
        foreign_close(&imp_reader_npz, &f);
        blob_free(&b);
        blob_free(&member);
    }
}

static void skips_whole_numbers(void **state) {
    (void)state;
    static const char *const descr[] = {
        "<i8", "|u1", "|b1", "<c8", "<U5", "|S5", ">i4"};
    for (size_t i = 0; i < sizeof descr / sizeof *descr; i++) {
        char header[128];
        snprintf(header, sizeof header,
            "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }", descr[i]);
        blob member = npy(1, header, 2), b = npz(&member, false);
        imp_foreign f = foreign_blob(&imp_reader_npz, b.data, b.n);
        assert_int_equal(f.n, 0);
        foreign_close(&imp_reader_npz, &f);
        blob_free(&b);
        blob_free(&member);
    }
}

static void lying_headers(void **state) {
    (void)state;
#define REST     ", 'fortran_order': False, 'shape': (2,), }"
#define SHAPE(s) "{'descr': '<f4', 'fortran_order': False, 'shape': " s ", }"
    static const char *const cases[][2] = {
        {"{'descr': '>f4'" REST, "expected <f2, <f4 or <f8, found >f4"},
        {"{'descr': '<f16'" REST, "found <f16"},
        {"{'descr': '|O'" REST, "found Python objects"},
        {"{'descr': 'f4'" REST, "a dtype as NumPy writes it"},
        {"{'descr': ''" REST, "a dtype as NumPy writes it"},
        {"{'descr': [('a', '<f4')]" REST, "one kind of number"},
        {"{'descr': '<f\\x34'" REST, "one kind of number"},
        {"{'descr': '<f4", "one kind of number"},
        {"{'descr': \"<f4\"" REST, "one kind of number"},
        {"{'descr': '<f4', 'descr': '<f4'" REST, "each once"},
        {"{'descr': '<f4', 'other': 1" REST, "each once"},
        {"{'descr': '<f4', 'shape': (2,), }", "descr, fortran_order and shape"},
        {"{'fortran_order': False, 'shape': (2,), }", "descr, fortran_order and shape"},
        {"{}", "descr, fortran_order and shape"},
        {"{'descr': '<f4'" REST " x", "an end after the dict"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (2,), }", "a comma"},
        {"{'descr' '<f4'" REST, "a key"},
        {"{, 'descr': '<f4'" REST, "a key"},
        {"['descr': '<f4'" REST, "a dict"},
        {"", "a dict"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }", "True or False"},
        {SHAPE("(2)"), "a shape of"},
        {SHAPE("(,)"), "a shape of"},
        {SHAPE("[2]"), "a shape of"},
        {SHAPE("(-2,)"), "a shape of"},
        {SHAPE("(2.0,)"), "a shape of"},
        {SHAPE("(1 2)"), "a shape of"},
        {SHAPE("(2"), "a shape of"},
        {SHAPE("(1, 1, 1, 1, 1, 1, 1, 1, 2)"), "a shape of"},
        {SHAPE("(99999999999999999999,)"), "a shape of"},
        {SHAPE("(3,)"), "shape: expected one of 8 bytes"},
        {SHAPE("(1,)"), "shape: expected one of 8 bytes"},
        {SHAPE("(4611686018427387904, 4)"), "shape: expected one of 8 bytes"},
        {SHAPE("(4294967296, 4294967296, 2)"), "shape: expected one of 8 bytes"},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        blob member = npy(1, cases[i / 2][0], 2), b = npz(&member, i % 2);
        foreign_refused(&imp_reader_npz, b.data, b.n, cases[i / 2][1]);
        blob_free(&b);
        blob_free(&member);
    }
}

static void lying_members(void **state) {
    (void)state;
    static const struct {
        size_t at;
        const char *bytes;
        size_t n;
        const char *words;
    } cases[] = {
        {1, "M", 1, "w.npy: expected NumPy's array"},
        {6, "\4", 1, "version 1.0 to 3.0"},
        {6, "\0", 1, "version 1.0 to 3.0"},
        {7, "\1", 1, "version 1.0 to 3.0"},
        {8, "\xff\xff", 2, "header: expected at most 126 bytes, found 65535"},
        {8, "\1\0", 2, "header: expected "},
        {6, "\2\0\xff\xff\xff\xff", 6, "found 4294967295"},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        blob member = npy(1, SHAPE("(2,)"), 2);
        memcpy(member.data + cases[i / 2].at, cases[i / 2].bytes, cases[i / 2].n);
        blob b = npz(&member, i % 2);
        foreign_refused(&imp_reader_npz, b.data, b.n, cases[i / 2].words);
        blob_free(&b);
        blob_free(&member);
    }
    for (size_t n = 0; n < 90; n += 7) { /* a short member */
        blob member = npy(1, SHAPE("(2,)"), 2);
        member.n = n;
        blob b = npz(&member, false);
        foreign_refused(&imp_reader_npz, b.data, b.n, "w.npy: ");
        blob_free(&b);
        blob_free(&member);
    }
    blob member = npy(1, SHAPE("(2,)"), 2);
    const zip_item twice[] = {{.name = "w.npy", .data = member.data, .n = member.n},
        {.name = "w.npy", .data = member.data, .n = member.n}};
    blob b = zip_of(twice, 2);
    foreign_refused(&imp_reader_npz, b.data, b.n, "zip: directory: ");
    blob_free(&b);
    const zip_item nameless = {.name = ".npy", .data = member.data, .n = member.n};
    b = zip_of(&nameless, 1);
    foreign_refused(&imp_reader_npz, b.data, b.n, "name of a tensor");
    blob_free(&b);
    const zip_item lying_sum = {.name = "w.npy",
        .data = member.data,
        .n = member.n,
        .deflated = true,
        .crc = 1};
    b = zip_of(&lying_sum, 1);
    foreign_refused(&imp_reader_npz, b.data, b.n, "zip: w.npy: ");
    blob_free(&b);
    blob_free(&member);
}

static void many_entries(void **state) {
    (void)state;
    zip_item *items = calloc(17000, sizeof *items);
    char(*names)[12] = calloc(17000, sizeof *names);
    assert_true(items && names);
    for (size_t i = 0; i < 17000; i++) {
        snprintf(names[i], sizeof *names, "%zu.npy", i);
        items[i].name = names[i];
        items[i].data = "";
    }
    blob b = zip_of(items, 17000);
    foreign_refused(&imp_reader_npz, b.data, b.n, "expected at most 16384 entries");
    blob_free(&b);
    free(names);
    free(items);
}
static void cut_files(void **state) {
    (void)state;
    truncated(&imp_reader_npz, "vgg19-packed.npz");
    truncated(&imp_reader_npz, "vgg19.npz");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_numpy),
        cmocka_unit_test(good_headers),
        cmocka_unit_test(skips_whole_numbers),
        cmocka_unit_test(lying_headers),
        cmocka_unit_test(lying_members),
        cmocka_unit_test(many_entries),
        cmocka_unit_test(cut_files),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}

#else

static void wants_libzip(void **state) {
    (void)state;
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wants_libzip),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}

#endif
