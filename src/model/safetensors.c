/* SPDX-License-Identifier: MIT
 *
 * The safetensors container. No byte of a file is believed: every number of the header
 * is checked against the file's size, by arithmetic that cannot wrap, before it is
 * used.
 */
#include "model/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MOST_HEADER 100000000u /* bytes, as the format's own library has it */

struct imp_safetensors {
    imp_file file; /* data NULL: the memory is someone else's */
    char *path;
    json_t *root, *metadata; /* names and metadata stay in the parsed header */
    size_t count;
    imp_safetensors_entry *entries;
};

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [IMP_DTYPE_F64] = {"F64", 8},
    [IMP_DTYPE_F32] = {"F32", 4},
    [IMP_DTYPE_F16] = {"F16", 2},
    [IMP_DTYPE_BF16] = {"BF16", 2},
    [IMP_DTYPE_I64] = {"I64", 8},
    [IMP_DTYPE_I32] = {"I32", 4},
    [IMP_DTYPE_I16] = {"I16", 2},
    [IMP_DTYPE_I8] = {"I8", 1},
    [IMP_DTYPE_U64] = {"U64", 8},
    [IMP_DTYPE_U32] = {"U32", 4},
    [IMP_DTYPE_U16] = {"U16", 2},
    [IMP_DTYPE_U8] = {"U8", 1},
    [IMP_DTYPE_BOOL] = {"BOOL", 1},
};

const char *imp_dtype_name(imp_dtype dtype) {
    return dtypes[dtype].name;
}

/* --- numbers --- */

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LE16(x) __builtin_bswap16(x)
#define LE32(x) __builtin_bswap32(x)
#define LE64(x) __builtin_bswap64(x)
#else
#define LE16(x) (x)
#define LE32(x) (x)
#define LE64(x) (x)
#endif

static uint16_t load16(const uint8_t *p) {
    uint16_t x;
    memcpy(&x, p, sizeof x);
    return LE16(x);
}

static uint32_t load32(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return LE32(x);
}

static uint64_t load64(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return LE64(x);
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* binary16 to binary32, exact. Without branches, so that the loop becomes vector code.
 */
static float from_half(uint16_t h) {
    uint32_t sign = (h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    uint32_t normal = (magnitude << 13) + (112u << 23); /* the bias: 15 to 127 */
    normal += magnitude >= 0x7c00 ? 112u << 23 : 0;     /* infinite, NaN stay so */
    uint32_t small = bits_of((float)(int32_t)magnitude * 0x1p-24f); /* subnormal */
    return float_of(sign | (magnitude < 0x400 ? small : normal));
}

/* By its bits: no compiler option can argue this away. */
static bool is_finite(float x) {
    return (bits_of(x) & 0x7f800000) != 0x7f800000;
}

/* --- the header's values --- */

/* A refusal: "file: tensor NAME: field: expected ..., found ...". */
static imp_status bad(imp_ctx *ctx, const imp_safetensors *st, const char *name,
    const char *field, const char *expected, const char *found) {
    return imp_fail(ctx, IMP_ERR_MODEL,
        "%s: tensor %.200s: %s: expected %s, found %.200s", st->path, name, field,
        expected, found);
}

static const char *kind_of(const json_t *value) {
    if (!value) return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a fraction";
    case JSON_NULL:
        return "null";
    default:
        return "a truth value";
    }
}

static bool size_of(const json_t *value, size_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    if ((uintmax_t)json_integer_value(value) > SIZE_MAX) return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static imp_status read_dtype(
    imp_ctx *ctx, const imp_safetensors *st, imp_safetensors_entry *e, json_t *value) {
    const char *text = json_string_value(value);
    for (size_t i = 0; text && i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(text, dtypes[i].name) == 0) {
            e->dtype = (imp_dtype)i;
            return IMP_OK;
        }
    return bad(ctx, st, e->name, "dtype",
        "F64, F32, F16, BF16, I8 to I64, U8 to U64 or BOOL",
        text ? text : kind_of(value));
}

static imp_status read_shape(
    imp_ctx *ctx, const imp_safetensors *st, imp_safetensors_entry *e, json_t *value) {
    const char *expected = "an array of at most 8 sizes";
    if (!json_is_array(value))
        return bad(ctx, st, e->name, "shape", expected, kind_of(value));
    if (json_array_size(value) > IMP_SAFETENSORS_DIMS)
        return bad(ctx, st, e->name, "shape", expected, "more");
    e->ndim = json_array_size(value);
    e->count = 1;
    for (size_t i = 0; i < e->ndim; i++) {
        if (!size_of(json_array_get(value, i), &e->shape[i]))
            return bad(ctx, st, e->name, "shape", "integers of at least 0",
                json_is_integer(json_array_get(value, i))
                    ? "another"
                    : kind_of(json_array_get(value, i)));
        if (!imp_mul(&e->count, e->count, e->shape[i]))
            return bad(ctx, st, e->name, "shape", "a product that can be addressed",
                "a larger one");
    }
    return IMP_OK;
}

/* total: bytes after the header. */
static imp_status read_offsets(imp_ctx *ctx, const imp_safetensors *st,
    imp_safetensors_entry *e, json_t *value, const uint8_t *data, size_t total) {
    size_t end, bytes;
    if (!json_is_array(value) || json_array_size(value) != 2 ||
        !size_of(json_array_get(value, 0), &e->offset) ||
        !size_of(json_array_get(value, 1), &end))
        return bad(ctx, st, e->name, "data_offsets", "two integers of at least 0",
            json_is_array(value) ? "others" : kind_of(value));
    if (e->offset > end || end > total)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "%s: tensor %.200s: data_offsets: expected inside [0, %zu], found [%zu, "
            "%zu]",
            st->path, e->name, total, e->offset, end);
    if (!imp_mul(&bytes, e->count, dtypes[e->dtype].size) || bytes != end - e->offset)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "%s: tensor %.200s: data_offsets: expected %zu numbers of %s, found %zu "
            "bytes",
            st->path, e->name, e->count, dtypes[e->dtype].name, end - e->offset);
    e->data = data + e->offset;
    return IMP_OK;
}

static imp_status read_entry(imp_ctx *ctx, const imp_safetensors *st,
    imp_safetensors_entry *e, json_t *value, const uint8_t *data, size_t total) {
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    if (!json_is_object(value))
        return bad(ctx, st, e->name, "entry", "an object", kind_of(value));
    for (size_t i = 0; i < 3; i++)
        if (!json_object_get(value, fields[i]))
            return bad(ctx, st, e->name, fields[i], "a value", "nothing");
    const char *key;
    json_t *field;
    json_object_foreach(value, key, field) if (strcmp(key, fields[0]) &&
                                               strcmp(key, fields[1]) &&
                                               strcmp(key, fields[2])) return bad(ctx,
        st, e->name, "entry", "dtype, shape and data_offsets alone", key);
    imp_status status = read_dtype(ctx, st, e, json_object_get(value, fields[0]));
    if (status == IMP_OK)
        status = read_shape(ctx, st, e, json_object_get(value, fields[1]));
    if (status != IMP_OK) return status;
    return read_offsets(ctx, st, e, json_object_get(value, fields[2]), data, total);
}

static imp_status read_metadata(imp_ctx *ctx, const imp_safetensors *st) {
    if (!json_is_object(st->metadata))
        return imp_fail(ctx, IMP_ERR_MODEL,
            "%s: __metadata__: expected an object, found %s", st->path,
            kind_of(st->metadata));
    const char *key;
    json_t *value;
    json_object_foreach(
        st->metadata, key, value) if (!json_is_string(value)) return imp_fail(ctx,
        IMP_ERR_MODEL, "%s: __metadata__: %.200s: expected a string, found %s",
        st->path, key, kind_of(value));
    return IMP_OK;
}

/* --- the header --- */

static int by_offset(const void *a, const void *b) {
    const imp_safetensors_entry *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1; /* empty ones first */
    return strcmp(x->name, y->name);
}

static size_t end_of(const imp_safetensors_entry *e) {
    return e->offset + e->count * dtypes[e->dtype].size;
}

/* Sorted by place, each tensor must begin where the one before it ends. */
static imp_status check_places(imp_ctx *ctx, const imp_safetensors *st, size_t total) {
    size_t at = 0;
    for (size_t i = 0; i < st->count; i++) {
        const imp_safetensors_entry *e = &st->entries[i];
        if (e->offset != at)
            return imp_fail(ctx, IMP_ERR_MODEL,
                "%s: tensor %.200s: data_offsets: expected to begin at %zu, found %zu: "
                "%s",
                st->path, e->name, at, e->offset,
                e->offset < at ? "tensors overlap" : "a hole");
        at = end_of(e);
    }
    if (at != total)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "%s: size: expected %zu bytes of tensors, found %zu", st->path, at, total);
    return IMP_OK;
}

/* The header's text: an object and nothing after it but spaces. */
static imp_status parse_json(
    imp_ctx *ctx, imp_safetensors *st, const uint8_t *data, size_t length) {
    json_error_t error;
    while (length && data[length - 1] == ' ') length--;
    if (!length || data[0] != '{' || data[length - 1] != '}')
        return imp_fail(ctx, IMP_ERR_MODEL,
            "%s: header: expected a JSON object, found something else", st->path);
    st->root = json_loadb((const char *)data, length, JSON_REJECT_DUPLICATES, &error);
    if (st->root) return IMP_OK;
    if (json_error_code(&error) == json_error_out_of_memory || !*error.text)
        return imp_fail(ctx, IMP_ERR_LIMIT, "%s: out of memory", st->path);
    return imp_fail(ctx, IMP_ERR_MODEL, "%s: header: byte %d: %s", st->path,
        error.position, error.text);
}

static imp_status read_header(imp_ctx *ctx, imp_safetensors *st, const uint8_t *data,
    size_t length, size_t total) {
    imp_status status = parse_json(ctx, st, data, length);
    if (status != IMP_OK) return status;
    st->metadata = json_object_get(st->root, "__metadata__");
    if (st->metadata) status = read_metadata(ctx, st);
    if (status != IMP_OK) return status;
    /* At least one: calloc(0) may be NULL. */
    st->entries = calloc(json_object_size(st->root) + 1, sizeof *st->entries);
    if (!st->entries)
        return imp_fail(ctx, IMP_ERR_LIMIT, "%s: out of memory", st->path);
    const char *name;
    json_t *value;
    json_object_foreach(st->root, name, value) {
        if (value == st->metadata) continue;
        imp_safetensors_entry *e = &st->entries[st->count];
        e->name = name;
        status = read_entry(ctx, st, e, value, data + length, total);
        if (status != IMP_OK) return status;
        st->count++;
    }
    qsort(st->entries, st->count, sizeof *st->entries, by_offset);
    return check_places(ctx, st, total);
}

static imp_status parse(
    imp_ctx *ctx, imp_safetensors *st, const uint8_t *data, size_t size) {
    if (size < 8)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "%s: size: expected at least 8 bytes, found %zu", st->path, size);
    uint64_t length = load64(data);
    bool too_long = length > MOST_HEADER || length > size - 8;
    if (too_long && size > 8 && data[8] != '{')
        return imp_fail(ctx, IMP_ERR_MODEL,
            "%s: format: expected safetensors, found another", st->path);
    if (too_long)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "%s: header length: expected at most %zu, found %llu", st->path,
            size - 8 < MOST_HEADER ? size - 8 : (size_t)MOST_HEADER,
            (unsigned long long)length);
    return read_header(ctx, st, data + 8, (size_t)length, size - 8 - (size_t)length);
}

static imp_status new_reader(imp_ctx *ctx, imp_safetensors **out, const char *path) {
    *out = calloc(1, sizeof **out);
    if (*out) (*out)->path = strdup(path);
    if (*out && (*out)->path) return IMP_OK;
    imp_safetensors_close(*out);
    *out = NULL;
    return imp_fail(ctx, IMP_ERR_LIMIT, "%s: out of memory", path);
}

imp_status imp_safetensors_parse(imp_ctx *ctx, imp_safetensors **out, const char *name,
    const uint8_t *data, size_t size) {
    imp_status status = new_reader(ctx, out, name);
    if (status == IMP_OK) status = parse(ctx, *out, data, size);
    if (status == IMP_OK) return IMP_OK;
    imp_safetensors_close(*out);
    *out = NULL;
    return status;
}

imp_status imp_safetensors_open(imp_ctx *ctx, imp_safetensors **out, const char *path) {
    imp_status status = new_reader(ctx, out, path);
    if (status == IMP_OK)
        status = imp_file_open(ctx, &(*out)->file, path, IMP_ERR_MODEL);
    if (status == IMP_OK)
        status = parse(ctx, *out, (*out)->file.data, (*out)->file.size);
    if (status == IMP_OK) return IMP_OK;
    imp_safetensors_close(*out);
    *out = NULL;
    return status;
}

void imp_safetensors_close(imp_safetensors *st) {
    if (!st) return;
    json_decref(st->root);
    imp_file_close(&st->file);
    free(st->entries);
    free(st->path);
    free(st);
}

const char *imp_safetensors_path(const imp_safetensors *st) {
    return st->path;
}

size_t imp_safetensors_count(const imp_safetensors *st) {
    return st->count;
}

const imp_safetensors_entry *imp_safetensors_at(const imp_safetensors *st, size_t i) {
    return i < st->count ? &st->entries[i] : NULL;
}

const imp_safetensors_entry *imp_safetensors_find(
    const imp_safetensors *st, const char *name) {
    for (size_t i = 0; i < st->count; i++)
        if (strcmp(st->entries[i].name, name) == 0) return &st->entries[i];
    return NULL;
}

const char *imp_safetensors_metadata(const imp_safetensors *st, const char *key) {
    return json_string_value(json_object_get(st->metadata, key));
}

bool imp_dtype_floats(imp_dtype dtype, const uint8_t *p, size_t n, float *out) {
    switch (dtype) {
    case IMP_DTYPE_F64:
        for (size_t i = 0; i < n; i++) {
            uint64_t bits = load64(p + 8 * i);
            double x;
            memcpy(&x, &bits, sizeof x);
            out[i] = (float)x;
        }
        return true;
    case IMP_DTYPE_F32:
        for (size_t i = 0; i < n; i++) out[i] = float_of(load32(p + 4 * i));
        return true;
    case IMP_DTYPE_F16:
        for (size_t i = 0; i < n; i++) out[i] = from_half(load16(p + 2 * i));
        return true;
    case IMP_DTYPE_BF16:
        for (size_t i = 0; i < n; i++)
            out[i] = float_of((uint32_t)load16(p + 2 * i) << 16);
        return true;
    default:
        return false;
    }
}

void imp_safetensors_forget(const imp_safetensors *st, const imp_safetensors_entry *e) {
    if (st->file.data)
        imp_file_forget(&st->file, (size_t)(e->data - st->file.data),
            e->count * dtypes[e->dtype].size);
}

imp_status imp_safetensors_floats(imp_ctx *ctx, const imp_safetensors *st,
    const imp_safetensors_entry *e, size_t first, size_t n, float *out) {
    if (!imp_in_range(first, n, e->count))
        return imp_fail(ctx, IMP_ERR_INTERNAL,
            "%s: tensor %.200s: asked for %zu numbers from %zu on, of %zu", st->path,
            e->name, n, first, e->count);
    if (!imp_dtype_floats(e->dtype, e->data + first * dtypes[e->dtype].size, n, out))
        return bad(
            ctx, st, e->name, "dtype", "F64, F32, F16 or BF16", dtypes[e->dtype].name);
    size_t n_bad = 0, at = 0;
    for (size_t i = 0; i < n; i++) n_bad += !is_finite(out[i]);
    if (n_bad == 0) return IMP_OK;
    while (is_finite(out[at])) at++;
    return imp_fail(ctx, IMP_ERR_MODEL,
        "%s: tensor %.200s: values: expected finite numbers, found %g at index %zu "
        "(%zu "
        "such)",
        st->path, e->name, (double)out[at], first + at, n_bad);
}
