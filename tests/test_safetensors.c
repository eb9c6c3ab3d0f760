/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "files.h"
#include "model/safetensors.h"

/* --- reading --- */

/* A file in memory of exactly its size, so that AddressSanitizer sees a byte too many.
 */
static imp_status parse(imp_safetensors **st, const char *header, const void *data,
    size_t size, uint8_t **file) {
    size_t length = strlen(header);
    uint8_t *p = *file = malloc(8 + length + size);
    assert_non_null(p);
    for (size_t i = 0; i < 8; i++) p[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(p + 8, header, length);
    if (size) memcpy(p + 8 + length, data, size);
    return imp_safetensors_parse(ctx, st, "a.st", p, 8 + length + size);
}

/* size bytes of zeros after this header are refused with this text. */
static void refuse(const char *header, size_t size, const char *text) {
    static const uint8_t zeros[256];
    imp_safetensors *st;
    uint8_t *file;
    assert_failed(parse(&st, header, zeros, size, &file), IMP_ERR_MODEL, text);
    assert_null(st);
    free(file);
}

static void reads_entries(void **state) {
    (void)state;
    static const uint8_t data[] = {1, 2, 3, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0xff, 0};
    imp_safetensors *st;
    uint8_t *file;
    imp_status status = parse(&st,
        "{\"b\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[3,11]},"
        "\"__metadata__\":{\"format\":\"pt\",\"empty\":\"\"},"
        "\"a\":{\"shape\":[3],\"data_offsets\":[0,3],\"dtype\":\"U8\"},"
        "\"none\":{\"dtype\":\"F64\",\"shape\":[0,7],\"data_offsets\":[11,11]},"
        "\"one\":{\"dtype\":\"I16\",\"shape\":[],\"data_offsets\":[11,13]}}   ",
        data, sizeof data, &file);
    if (status) fail_msg("%s", imp_ctx_error(ctx));
    assert_int_equal(imp_safetensors_count(st), 4);
    static const char *const names[] = {"a", "b", "none", "one"};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(imp_safetensors_at(st, i)->name, names[i]);
        assert_ptr_equal(imp_safetensors_find(st, names[i]), imp_safetensors_at(st, i));
    }
    const imp_safetensors_entry *b = imp_safetensors_find(st, "b");
    assert_int_equal(b->dtype, IMP_DTYPE_F32);
    assert_int_equal(b->ndim, 2);
    assert_int_equal(b->shape[0], 2);
    assert_int_equal(b->shape[1], 1);
    assert_int_equal(b->count, 2);
    assert_memory_equal(b->data, data + 3, 8);
    float x[2];
    assert_int_equal(imp_safetensors_floats(ctx, st, b, 0, 2, x), IMP_OK);
    assert_true(x[0] == 1 && x[1] == -2);
    assert_int_equal(imp_safetensors_floats(ctx, st, b, 1, 1, x), IMP_OK);
    assert_true(x[0] == -2);
    assert_int_equal(imp_safetensors_floats(ctx, st, b, 2, 0, x), IMP_OK);
    assert_failed(
        imp_safetensors_floats(ctx, st, b, 1, 2, x), IMP_ERR_INTERNAL, "asked for");
    assert_failed(
        imp_safetensors_floats(ctx, st, b, SIZE_MAX, 2, x), IMP_ERR_INTERNAL, "");
    assert_failed(imp_safetensors_floats(ctx, st, imp_safetensors_at(st, 0), 0, 1, x),
        IMP_ERR_MODEL,
        "a.st: tensor a: dtype: expected F64, F32, F16 or BF16, found U8");
    assert_int_equal(imp_safetensors_find(st, "one")->count, 1);
    assert_int_equal(imp_safetensors_find(st, "none")->count, 0);
    assert_null(imp_safetensors_find(st, "c"));
    assert_null(imp_safetensors_find(st, "__metadata__"));
    assert_null(imp_safetensors_at(st, 4));
    assert_string_equal(imp_safetensors_metadata(st, "format"), "pt");
    assert_string_equal(imp_safetensors_metadata(st, "empty"), "");
    assert_null(imp_safetensors_metadata(st, "other"));
    assert_string_equal(imp_safetensors_path(st), "a.st");
    assert_string_equal(imp_dtype_name(IMP_DTYPE_BF16), "BF16");
    imp_safetensors_close(st);
    imp_safetensors_close(NULL);
    free(file);
}

static void reads_no_tensors(void **state) {
    (void)state;
    imp_safetensors *st;
    uint8_t *file;
    assert_int_equal(parse(&st, "{}", NULL, 0, &file), IMP_OK);
    assert_int_equal(imp_safetensors_count(st), 0);
    assert_null(imp_safetensors_metadata(st, "format"));
    imp_safetensors_close(st);
    free(file);
    refuse("{}", 1, "size: expected 0 bytes of tensors, found 1");
}

static void refuses_lengths(void **state) {
    (void)state;
    static const uint8_t lengths[][8] = {{3}, {0, 0, 0, 0, 0, 0, 0, 0x80},
        {0, 0, 0, 0, 1}, {255, 255, 255, 255, 255, 255, 255, 255},
        {248, 255, 255, 255, 255, 255, 255, 255}};
    imp_safetensors *st;
    for (size_t n = 0; n < 8; n++)
        assert_failed(imp_safetensors_parse(ctx, &st, "a.st", lengths[0], n),
            IMP_ERR_MODEL, "size: expected at least 8 bytes");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint8_t file[10] = "........{}";
        memcpy(file, lengths[i], 8);
        assert_failed(imp_safetensors_parse(ctx, &st, "a.st", file, sizeof file),
            IMP_ERR_MODEL, "header length: expected at most 2, found");
    }
}

static void refuses_other_json(void **state) {
    (void)state;
    static const char *const headers[][2] = {
        {"", "expected a JSON object"},
        {"    ", "expected a JSON object"},
        {"[]", "expected a JSON object"},
        {" {}", "expected a JSON object"},
        {"{} x", "expected a JSON object"},
        {"{}\n", "expected a JSON object"},
        {"{} {}", "header: byte"},
        {"{\"a\":}", "header: byte"},
        {"{'a':1}", "header: byte"},
        {"{\"a\":1,}", "header: byte"},
        {"{\"\xff\":{}}", "header: byte"},
        {"{\"\\u0000\":{}}", "header: byte"},
        {"{\"a\":1e999}", "header: byte"},
        {"{\"__metadata__\":[]}", "__metadata__: expected an object, found an array"},
        {"{\"__metadata__\":{\"a\":1}}",
            "__metadata__: a: expected a string, found an int"},
        {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", "duplicate"},
        {"{\"a\":3}", "tensor a: entry: expected an object, found an integer"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        refuse(headers[i][0], 0, headers[i][1]);
    char *deep = malloc(200001); /* the parser must not run out of stack */
    memset(deep, '[', 200000);
    memcpy(deep, "{\"a\":", 5);
    deep[199999] = '}';
    deep[200000] = 0;
    refuse(deep, 0, "header: byte");
    free(deep);
}

/* An entry "w" over 8 bytes: right but for one field. */
static void refuses_entries(void **state) {
    (void)state;
    static const char *const entries[][2] = {
        {"'shape':[2],'data_offsets':[0,8]", "dtype: expected a value, found nothing"},
        {"'dtype':'F32','data_offsets':[0,8]",
            "shape: expected a value, found nothing"},
        {"'dtype':'F32','shape':[2]", "data_offsets: expected a value, found nothing"},
        {"'dtype':'F32','shape':[2],'data_offsets':[0,8],'x':1", "alone, found x"},
        {"'dtype':'F32','dtype':'F32','shape':[2],'data_offsets':[0,8]", "duplicate"},
        {"'dtype':'f32','shape':[2],'data_offsets':[0,8]", "BOOL, found f32"},
        {"'dtype':'F8_E4M3','shape':[8],'data_offsets':[0,8]", "BOOL, found F8_E4M3"},
        {"'dtype':4,'shape':[2],'data_offsets':[0,8]", "BOOL, found an integer"},
        {"'dtype':null,'shape':[2],'data_offsets':[0,8]", "BOOL, found null"},
        {"'dtype':'F32','shape':2,'data_offsets':[0,8]", "8 sizes, found an integer"},
        {"'dtype':'F32','shape':{},'data_offsets':[0,8]", "8 sizes, found an object"},
        {"'dtype':'F32','shape':[2,1,1,1,1,1,1,1,1],'data_offsets':[0,8]",
            "found more"},
        {"'dtype':'F32','shape':[-2],'data_offsets':[0,8]",
            "at least 0, found another"},
        {"'dtype':'F32','shape':[2.0],'data_offsets':[0,8]", "found a fraction"},
        {"'dtype':'F32','shape':['2'],'data_offsets':[0,8]", "found a string"},
        {"'dtype':'F32','shape':[true],'data_offsets':[0,8]", "found a truth value"},
        {"'dtype':'F32','shape':[18446744073709551618],'data_offsets':[0,8]",
            "too big"},
        /* products that wrap to 2, to 0, and a product that fits whose bytes wrap to 8
         */
        {"'dtype':'F32','shape':[6148914691236517206,3],'data_offsets':[0,8]",
            "a larger"},
        {"'dtype':'F32','shape':[4294967296,4294967296],'data_offsets':[0,8]",
            "a larger"},
        {"'dtype':'F32','shape':[4611686018427387906],'data_offsets':[0,8]",
            "found 8 bytes"},
        {"'dtype':'F32','shape':[2],'data_offsets':8", "at least 0, found an integer"},
        {"'dtype':'F32','shape':[2],'data_offsets':[8]", "at least 0, found others"},
        {"'dtype':'F32','shape':[2],'data_offsets':[0,8,8]",
            "at least 0, found others"},
        {"'dtype':'F32','shape':[2],'data_offsets':[-8,0]", "at least 0, found others"},
        {"'dtype':'F32','shape':[2],'data_offsets':[0,8.0]",
            "at least 0, found others"},
        {"'dtype':'F32','shape':[2],'data_offsets':[8,0]",
            "inside [0, 8], found [8, 0]"},
        {"'dtype':'F32','shape':[2],'data_offsets':[1,9]",
            "inside [0, 8], found [1, 9]"},
        {"'dtype':'F32','shape':[2],'data_offsets':[0,9223372036854775807]",
            "inside [0, 8]"},
        {"'dtype':'F32','shape':[2],'data_offsets':[0,4]",
            "2 numbers of F32, found 4 bytes"},
        {"'dtype':'F16','shape':[2],'data_offsets':[0,8]",
            "2 numbers of F16, found 8 bytes"},
        {"'dtype':'F32','shape':[0],'data_offsets':[0,8]",
            "0 numbers of F32, found 8 bytes"},
        {"'dtype':'F32','shape':[1],'data_offsets':[0,4]",
            "expected 4 bytes of tensors"},
        {"'dtype':'F32','shape':[1],'data_offsets':[4,8]",
            "begin at 0, found 4: a hole"},
    };
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        char header[300];
        snprintf(header, sizeof header, "{'w':{%s}}", entries[i][0]);
        for (char *p = header; *p; p++)
            if (*p == '\'') *p = '"';
        refuse(header, 8, entries[i][1]);
    }
}

#define ENTRY(name, begin, end)                                                        \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[" begin "," end "]}"

static void refuses_bad_neighbours(void **state) {
    (void)state;
    refuse("{" ENTRY("a", "0", "4") "," ENTRY("b", "3", "7") "}", 7,
        "tensor b: data_offsets: expected to begin at 4, found 3: tensors overlap");
    refuse("{" ENTRY("b", "0", "4") "," ENTRY("a", "0", "4") "}", 4, "tensors overlap");
    refuse("{" ENTRY("a", "0", "4") "," ENTRY("b", "5", "9") "}", 9, "found 5: a hole");
    refuse("{" ENTRY("a", "0", "4") "," ENTRY("a", "4", "8") "}", 8, "duplicate");
    refuse("{" ENTRY("a", "0", "4") "," ENTRY("b", "4", "8") "}", 9,
        "expected 8 bytes of tensors, found 9");
    refuse("{" ENTRY("a\\u001b[2J", "1", "5") "}", 5, "tensor a?[2J: data_offsets");
}

/* --- numbers --- */

/* What a binary16 is worth, straight from the format. */
static double half_value(unsigned h) {
    int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
    double x = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -x : x;
}

static const char one_of[] = "{\"x\":{\"dtype\":\"%s\",\"shape\":[%d],"
                             "\"data_offsets\":[0,%d]}}";

static imp_status floats_of(
    const char *dtype, const void *data, int n, int size, float *x) {
    char header[100];
    imp_safetensors *st;
    uint8_t *file;
    snprintf(header, sizeof header, one_of, dtype, n, n * size);
    assert_int_equal(parse(&st, header, data, (size_t)(n * size), &file), IMP_OK);
    imp_status status =
        imp_safetensors_floats(ctx, st, imp_safetensors_at(st, 0), 0, (size_t)n, x);
    imp_safetensors_close(st);
    free(file);
    return status;
}

static void every_half_is_exact(void **state) {
    (void)state;
    static uint8_t data[2 * 0x10000];
    static float x[0x10000];
    int n = 0;
    for (unsigned h = 0; h < 0x10000; h++)
        if ((h & 0x7c00) != 0x7c00) {
            data[2 * n] = (uint8_t)h;
            data[2 * n++ + 1] = (uint8_t)(h >> 8);
        }
    assert_int_equal(floats_of("F16", data, n, 2, x), IMP_OK);
    for (int i = 0; i < n; i++) {
        double expected =
            half_value((unsigned)data[2 * i] | (unsigned)data[2 * i + 1] << 8);
        assert_true((double)x[i] == expected);
        assert_int_equal(!!signbit(x[i]), !!signbit(expected));
    }
}

static void other_dtypes(void **state) {
    (void)state;
    float x[3];
    const double d[] = {0.1, -1e-300, 3e38};
    assert_int_equal(floats_of("F64", d, 3, 8, x), IMP_OK);
    assert_true(x[0] == 0.1f && x[1] == 0 && x[2] == 3e38f);
    const float f[] = {0.1f, -1e-44f, 3e38f};
    assert_int_equal(floats_of("F32", f, 3, 4, x), IMP_OK);
    assert_memory_equal(x, f, sizeof x);
    const uint16_t b[] = {0x3f80, 0xc0a0, 0x0001};
    assert_int_equal(floats_of("BF16", b, 3, 2, x), IMP_OK);
    assert_true(x[0] == 1 && x[1] == -5 && x[2] == 0x1p-133f);
}

static void only_finite_numbers(void **state) {
    (void)state;
    float x[3];
    const float f[] = {1, NAN, INFINITY};
    assert_failed(floats_of("F32", f, 3, 4, x), IMP_ERR_MODEL,
        "a.st: tensor x: values: expected finite numbers, found nan at index 1 (2 "
        "such)");
    const double d[] = {1, 2, 1e39}; /* finite, but not in float32 */
    assert_failed(
        floats_of("F64", d, 3, 8, x), IMP_ERR_MODEL, "inf at index 2 (1 such)");
    const uint16_t h[] = {0xfc00, 0x7bff, 0x7c01};
    assert_failed(
        floats_of("F16", h, 3, 2, x), IMP_ERR_MODEL, "-inf at index 0 (2 such)");
    const uint16_t b[] = {0x7f7f, 0x7f80, 0x3f80};
    assert_failed(
        floats_of("BF16", b, 3, 2, x), IMP_ERR_MODEL, "inf at index 1 (1 such)");
}

static void opens_files(void **state) {
    (void)state;
    imp_safetensors *st;
    assert_failed(imp_safetensors_open(ctx, &st, in_folder("none")), IMP_ERR_MODEL,
        "none: cannot open: No such file");
    assert_failed(imp_safetensors_open(ctx, &st, folder), IMP_ERR_MODEL, "a folder");
    assert_failed(imp_safetensors_open(ctx, &st, make_file("empty", "", 0)),
        IMP_ERR_MODEL, "is empty");
    assert_failed(imp_safetensors_open(ctx, &st, make_file("short", "1234567", 7)),
        IMP_ERR_MODEL, "short: size: expected at least 8 bytes, found 7");
    assert_null(st);
}

/* --- writing --- */

static const imp_safetensors_item items[] = {
    {"conv.weight", IMP_DTYPE_F32, 4, {2, 3, 1, 1}}, {"nothing", IMP_DTYPE_F32, 1, {0}},
    {"half", IMP_DTYPE_F16, 1, {5}}, {"scalar", IMP_DTYPE_F32, 0, {0}},
    {"void", IMP_DTYPE_F16, 2, {3, 0}}};
static const float values[] = {1, 2, 3, 4, 5, 6, 0.1f, -65504, 1e-7f, 0, -2, 9};
static const imp_safetensors_pair pairs[] = {{"architecture", "vgg19"}, {"a", "\"\n"}};

static imp_status write_all(const char *path, size_t piece) {
    static const size_t counts[] = {6, 5, 1};
    imp_safetensors_writer w;
    const float *x = values;
    imp_status status = imp_safetensors_begin(&w, ctx, path, true, items, 5, pairs, 2);
    for (size_t i = 0; i < 3; i++)
        for (size_t done = 0; status == IMP_OK && done < counts[i];) {
            size_t n = counts[i] - done < piece ? counts[i] - done : piece;
            status = imp_safetensors_put(&w, x, n);
            x += n;
            done += n;
        }
    if (status == IMP_OK) status = imp_safetensors_commit(&w);
    imp_safetensors_abort(&w);
    return status;
}

static void written_is_read(void **state) {
    (void)state;
    const char *path = in_folder("out.safetensors");
    imp_safetensors *st;
    float x[6];
    assert_int_equal(write_all(path, 100), IMP_OK);
    assert_int_equal(imp_safetensors_open(ctx, &st, path), IMP_OK);
    assert_int_equal(imp_safetensors_count(st), 5);
    assert_string_equal(imp_safetensors_metadata(st, "a"), "\"\n");
    const imp_safetensors_entry *e = imp_safetensors_find(st, "conv.weight");
    assert_int_equal((uintptr_t)e->data % 8, 0);
    assert_int_equal(e->ndim, 4);
    assert_int_equal(imp_safetensors_floats(ctx, st, e, 0, 6, x), IMP_OK);
    assert_memory_equal(x, values, sizeof x);
    e = imp_safetensors_find(st, "half");
    assert_int_equal(imp_safetensors_floats(ctx, st, e, 0, 5, x), IMP_OK);
    assert_true(x[0] == 0x1.998p-4f && x[1] == -65504 && x[2] == 0x1p-23f);
    assert_true(x[3] == 0 && x[4] == -2);
    imp_safetensors_close(st);
    imp_file a, b; /* the same bytes, in whatever pieces */
    const char *again = in_folder("again.safetensors");
    assert_int_equal(write_all(again, 1), IMP_OK);
    assert_int_equal(imp_file_open(ctx, &a, path, IMP_ERR_DATA), IMP_OK);
    assert_int_equal(imp_file_open(ctx, &b, again, IMP_ERR_DATA), IMP_OK);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    imp_file_close(&a);
    imp_file_close(&b);
    assert_no_temporary();
}

static uint16_t half_of(float x) {
    const imp_safetensors_item item = {"x", IMP_DTYPE_F16, 0, {0}};
    imp_safetensors_writer w;
    imp_file f;
    const char *path = in_folder("half.safetensors");
    assert_int_equal(
        imp_safetensors_begin(&w, ctx, path, true, &item, 1, NULL, 0), IMP_OK);
    assert_int_equal(imp_safetensors_put(&w, &x, 1), IMP_OK);
    assert_int_equal(imp_safetensors_commit(&w), IMP_OK);
    assert_int_equal(imp_file_open(ctx, &f, path, IMP_ERR_DATA), IMP_OK);
    uint16_t h = (uint16_t)(f.data[f.size - 2] | f.data[f.size - 1] << 8);
    imp_file_close(&f);
    return h;
}

/* To nearest, ties to even: at halves, and just beside them. */
static void halves_are_rounded(void **state) {
    (void)state;
    static const uint16_t below[] = {
        0, 1, 2, 0x3fe, 0x3ff, 0x400, 0x401, 0x3bff, 0x3c00, 0x3c01, 0x7bfe, 0x5bff};
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        uint16_t h = below[i], up = (uint16_t)(h + 1);
        float middle = (float)((half_value(h) + half_value(up)) / 2);
        assert_int_equal(half_of((float)half_value(h)), h);
        assert_int_equal(half_of(middle), h & 1 ? up : h);
        assert_int_equal(half_of(nextafterf(middle, 0)), h);
        assert_int_equal(half_of(nextafterf(middle, 1e9f)), up);
        assert_int_equal(half_of(-middle), 0x8000 | (h & 1 ? up : h));
    }
    assert_int_equal(half_of(0x1p-149f), 0);
    assert_int_equal(half_of(65519.99f), 0x7bff);
}

static void refuses_to_write(void **state) {
    (void)state;
    static const imp_safetensors_item bad[][2] = {
        {{"a", IMP_DTYPE_F32, 0, {0}}, {"a", IMP_DTYPE_F32, 0, {0}}},
        {{"__metadata__", IMP_DTYPE_F32, 0, {0}}, {"a", IMP_DTYPE_F32, 0, {0}}},
        {{"\xff", IMP_DTYPE_F32, 0, {0}}, {"a", IMP_DTYPE_F32, 0, {0}}},
        {{"a", IMP_DTYPE_U8, 0, {0}}, {"b", IMP_DTYPE_F32, 0, {0}}},
        {{"a", IMP_DTYPE_F32, 9, {0}}, {"b", IMP_DTYPE_F32, 0, {0}}},
        {{"a", IMP_DTYPE_F32, 1, {SIZE_MAX / 2}}, {"b", IMP_DTYPE_F32, 0, {0}}},
        {{"a", IMP_DTYPE_F32, 2, {0, SIZE_MAX}}, {"b", IMP_DTYPE_F32, 0, {0}}},
        {{"a", IMP_DTYPE_F16, 1, {SIZE_MAX / 4}},
            {"b", IMP_DTYPE_F16, 1, {SIZE_MAX / 4}}},
    };
    const char *path = in_folder("never.safetensors");
    imp_safetensors_writer w;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_failed(imp_safetensors_begin(&w, ctx, path, false, bad[i], 2, NULL, 0),
            IMP_ERR_ARG, "never.safetensors: tensor");
        imp_safetensors_abort(&w);
    }
    const imp_safetensors_pair twice[] = {{"k", "1"}, {"k", "2"}},
                               other = {"k", "\xff"};
    assert_failed(imp_safetensors_begin(&w, ctx, path, false, items, 5, twice, 2),
        IMP_ERR_ARG, "metadata k");
    assert_failed(imp_safetensors_begin(&w, ctx, path, false, items, 5, &other, 1),
        IMP_ERR_ARG, "metadata k");
    assert_failed(
        imp_safetensors_begin(&w, ctx, in_folder("no/x"), false, items, 5, NULL, 0),
        IMP_ERR_FILE, "No such file");
    imp_safetensors_abort(&w);
    assert_int_equal(access(path, F_OK), -1);
    assert_no_temporary();
}

static imp_status put(size_t n, const float *x, imp_status expected, const char *text) {
    imp_safetensors_writer w;
    assert_int_equal(imp_safetensors_begin(&w, ctx, in_folder("put.safetensors"), false,
                         items + 2, 1, NULL, 0),
        IMP_OK);
    imp_status status = imp_safetensors_put(&w, x, n);
    if (status == IMP_OK) status = imp_safetensors_commit(&w);
    assert_failed(status, expected, text);
    status = imp_safetensors_put(&w, x, 1); /* it sticks */
    assert_int_not_equal(imp_safetensors_commit(&w), IMP_OK);
    imp_safetensors_abort(&w);
    return status;
}

static void refuses_numbers(void **state) {
    (void)state;
    const float large[] = {1, 65520, 1, 1, 1}, nan[] = {1, 2, 3, 4, NAN};
    const float good[6] = {0};
    assert_int_not_equal(
        put(5, large, IMP_ERR_NUMERIC, "found 65520 at index 1"), IMP_OK);
    assert_int_not_equal(put(5, nan, IMP_ERR_NUMERIC, "found nan at index 4"), IMP_OK);
    assert_int_not_equal(
        put(6, good, IMP_ERR_INTERNAL, "more than the header"), IMP_OK);
    assert_int_not_equal(put(4, good, IMP_ERR_INTERNAL, "5 numbers, found 4"), IMP_OK);
    assert_int_equal(access(in_folder("put.safetensors"), F_OK), -1);
    assert_no_temporary();
}

static void reads_vgg19(void **state) {
    (void)state;
    const char *data = getenv("IMPASTO_DATA");
    if (!data) skip();
    static const char *const files[] = {
        "vgg19-block1-3", "vgg19-conv", "vgg19-classifier-u8"};
    for (size_t f = 0; f < 3; f++) {
        char path[4096];
        imp_safetensors *st;
        snprintf(path, sizeof path, "%s/vgg19/%s.safetensors", data, files[f]);
        if (imp_safetensors_open(ctx, &st, path)) fail_msg("%s", imp_ctx_error(ctx));
        for (size_t i = 0; i < imp_safetensors_count(st); i++) {
            const imp_safetensors_entry *e = imp_safetensors_at(st, i);
            if (e->dtype == IMP_DTYPE_U8) continue;
            float *x = malloc(e->count * sizeof *x);
            assert_non_null(x);
            assert_int_equal(
                imp_safetensors_floats(ctx, st, e, 0, e->count, x), IMP_OK);
            free(x);
        }
        imp_safetensors_close(st);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_entries),
        cmocka_unit_test(reads_no_tensors),
        cmocka_unit_test(refuses_lengths),
        cmocka_unit_test(refuses_other_json),
        cmocka_unit_test(refuses_entries),
        cmocka_unit_test(refuses_bad_neighbours),
        cmocka_unit_test(every_half_is_exact),
        cmocka_unit_test(other_dtypes),
        cmocka_unit_test(only_finite_numbers),
        cmocka_unit_test(opens_files),
        cmocka_unit_test(written_is_read),
        cmocka_unit_test(halves_are_rounded),
        cmocka_unit_test(refuses_to_write),
        cmocka_unit_test(refuses_numbers),
        cmocka_unit_test(reads_vgg19),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
