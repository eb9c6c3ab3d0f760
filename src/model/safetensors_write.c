/* SPDX-License-Identifier: MIT
 *
 * The safetensors container, written: the header at once, then the numbers as they
 * come.
 */
#include "model/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 4096 /* numbers converted at a time */

static size_t size_of(imp_dtype dtype) {
    return dtype == IMP_DTYPE_F16 ? 2 : 4;
}

static imp_status no_memory(const imp_safetensors_writer *w) {
    return imp_fail(w->file.ctx, IMP_ERR_LIMIT, "%s: out of memory", w->file.path);
}

/* Numbers of an item, checked once by the header. */
static size_t count_of(const imp_safetensors_item *item) {
    size_t n = 1;
    for (size_t i = 0; i < item->ndim; i++) n *= item->shape[i];
    return n;
}

/* --- the header --- */

/* Bytes of an item; false: no dtype or shape that can be written. */
static bool bytes_of(const imp_safetensors_item *item, size_t *out) {
    if (item->dtype != IMP_DTYPE_F32 && item->dtype != IMP_DTYPE_F16) return false;
    if (item->ndim > IMP_SAFETENSORS_DIMS) return false;
    *out = size_of(item->dtype);
    for (size_t i = 0; i < item->ndim; i++)
        if (item->shape[i] > INT64_MAX || !imp_mul(out, *out, item->shape[i]))
            return false;
    return true;
}

static json_t *entry_of(const imp_safetensors_item *item, size_t begin, size_t end) {
    json_t *shape = json_array();
    for (size_t i = 0; i < item->ndim; i++)
        if (json_array_append_new(shape, json_integer((json_int_t)item->shape[i])) !=
            0) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", imp_dtype_name(item->dtype),
        "shape", shape, "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/* Why Jansson did not take the string: it tells the two reasons apart only here. */
static imp_status refused(imp_ctx *ctx, const char *path, const char *what,
    const char *key, const char *text) {
    json_error_t error;
    json_t *string = json_pack_ex(&error, 0, "s", text);
    bool utf8 = string || json_error_code(&error) != json_error_invalid_utf8;
    json_decref(string);
    if (utf8) return imp_fail(ctx, IMP_ERR_LIMIT, "%s: out of memory", path);
    return imp_fail(ctx, IMP_ERR_ARG,
        "%s: %s %.200s: expected UTF-8, found other bytes", path, what, key);
}

static imp_status add_items(imp_ctx *ctx, const char *path, json_t *root,
    const imp_safetensors_item *items, size_t n) {
    size_t at = 0, bytes, end;
    for (size_t i = 0; i < n; i++) {
        const imp_safetensors_item *item = &items[i];
        if (json_object_get(root, item->name) ||
            strcmp(item->name, "__metadata__") == 0)
            return imp_fail(ctx, IMP_ERR_ARG,
                "%s: tensor %.200s: name: expected a new one, found it twice", path,
                item->name);
        if (!bytes_of(item, &bytes) || !imp_add_size(&end, at, bytes) ||
            end > INT64_MAX)
            return imp_fail(ctx, IMP_ERR_ARG,
                "%s: tensor %.200s: cannot be written: dtype or shape", path,
                item->name);
        if (json_object_set_new(root, item->name, entry_of(item, at, end)) != 0)
            return refused(ctx, path, "tensor", item->name, item->name);
        at = end;
    }
    return IMP_OK;
}

static imp_status add_metadata(imp_ctx *ctx, const char *path, json_t *root,
    const imp_safetensors_pair *pairs, size_t n) {
    json_t *metadata = json_object();
    imp_status status = IMP_OK;
    for (size_t i = 0; i < n && status == IMP_OK; i++) {
        const char *key = pairs[i].key, *value = pairs[i].value;
        if (json_object_get(metadata, key))
            status = imp_fail(ctx, IMP_ERR_ARG,
                "%s: metadata %.200s: expected a new key, found it twice", path, key);
        else if (json_object_set_new(metadata, key, json_string(value)) != 0)
            status = refused(ctx, path, "metadata", key, value);
    }
    if (status != IMP_OK) {
        json_decref(metadata);
        return status;
    }
    if (json_object_set_new(root, "__metadata__", metadata) != 0)
        return imp_fail(ctx, IMP_ERR_LIMIT, "%s: out of memory", path);
    return IMP_OK;
}

/* The header's text, keys sorted: the same bytes for the same model. Measured first:
 * where json_dumps runs out of memory it can drop a piece and not say so. */
static char *dump(const json_t *root) {
    const size_t flags = JSON_COMPACT | JSON_SORT_KEYS;
    size_t size = json_dumpb(root, NULL, 0, flags);
    char *text = size ? calloc(size + 1, 1) : NULL;
    if (text && json_dumpb(root, text, size, flags) == size) return text;
    free(text);
    return NULL;
}

/* Length, header, spaces: the tensors then begin at a multiple of 8. */
static imp_status put_header(imp_safetensors_writer *w, const char *text) {
    size_t length = strlen(text), padded = (length + 7) & ~(size_t)7;
    uint8_t size[8];
    for (size_t i = 0; i < 8; i++) size[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    imp_status status = imp_writer_put(&w->file, size, sizeof size);
    if (status == IMP_OK) status = imp_writer_put(&w->file, text, length);
    if (status == IMP_OK) status = imp_writer_put(&w->file, "       ", padded - length);
    return status;
}

/* To the first item that still wants numbers: an empty one wants none. */
static void next_item(imp_safetensors_writer *w) {
    while (w->item < w->n && w->done == count_of(&w->items[w->item])) {
        w->item++;
        w->done = 0;
    }
}

imp_status imp_safetensors_begin(imp_safetensors_writer *w, imp_ctx *ctx,
    const char *path, bool overwrite, const imp_safetensors_item *items, size_t n,
    const imp_safetensors_pair *metadata, size_t n_metadata) {
    char *text = NULL;
    json_t *root = NULL;
    *w = (imp_safetensors_writer){.items = items, .n = n};
    imp_status status = imp_writer_open(&w->file, ctx, path, overwrite);
    if (status != IMP_OK) return status;
    root = json_object();
    if (!root) {
        status = no_memory(w);
        goto done;
    }
    status = add_items(ctx, path, root, items, n);
    if (status == IMP_OK && n_metadata)
        status = add_metadata(ctx, path, root, metadata, n_metadata);
    if (status != IMP_OK) goto done;
    text = dump(root);
    status = text ? put_header(w, text) : no_memory(w);
    next_item(w);
done:
    if (status != IMP_OK) imp_safetensors_abort(w);
    free(text);
    json_decref(root);
    return status;
}

/* --- the numbers --- */

/* binary32 to binary16, to nearest, ties to even. */
static uint16_t to_half(float x) {
    static const float half = 0.5f;
    uint32_t bits, unit, a, h;
    memcpy(&bits, &x, sizeof bits);
    a = bits & 0x7fffffff;
    if (a >= 0x47800000) { /* 65536 and above, infinite, NaN */
        h = 0x7c00;
    } else if (a >= 0x38800000) { /* normal in 16 bits; 65520 carries into infinity */
        h = (a + 0xfff + (a >> 13 & 1) - (112u << 23)) >> 13;
    } else { /* subnormal: the sum rounds to units of 2^-24, which are ours too */
        float sum;
        memcpy(&sum, &a, sizeof sum);
        sum += half;
        memcpy(&h, &sum, sizeof h);
        memcpy(&unit, &half, sizeof unit);
        h -= unit;
    }
    return (uint16_t)((bits >> 16 & 0x8000) | h);
}

/* The bytes of n <= CHUNK numbers; n, or the first that cannot be written. */
static size_t encode(imp_dtype dtype, const float *x, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        if ((bits & 0x7f800000) == 0x7f800000) return i;
        if (dtype == IMP_DTYPE_F16) {
            uint16_t h = to_half(x[i]);
            if ((h & 0x7c00) == 0x7c00) return i;
            out[2 * i] = (uint8_t)h;
            out[2 * i + 1] = (uint8_t)(h >> 8);
        } else {
            for (size_t b = 0; b < 4; b++) out[4 * i + b] = (uint8_t)(bits >> (8 * b));
        }
    }
    return n;
}

imp_status imp_safetensors_put(imp_safetensors_writer *w, const float *x, size_t n) {
    uint8_t bytes[4 * CHUNK];
    imp_status status = IMP_OK;
    if (!w->file.temporary)
        return IMP_ERR_FILE; /* it failed before, the text is kept */
    if (n == 0) return IMP_OK;
    if (w->item == w->n || n > count_of(&w->items[w->item]) - w->done)
        status = imp_fail(w->file.ctx, IMP_ERR_INTERNAL,
            "%s: %zu numbers more than the header has", w->file.path, n);
    while (status == IMP_OK && n) {
        const imp_safetensors_item *item = &w->items[w->item];
        size_t now = n < CHUNK ? n : CHUNK, good = encode(item->dtype, x, now, bytes);
        if (good < now) {
            status = imp_fail(w->file.ctx, IMP_ERR_NUMERIC,
                "%s: tensor %.200s: expected numbers of %s, found %g at index %zu",
                w->file.path, item->name, imp_dtype_name(item->dtype), (double)x[good],
                w->done + good);
            break;
        }
        status = imp_writer_put(&w->file, bytes, now * size_of(item->dtype));
        w->done += now;
        x += now;
        n -= now;
    }
    if (status == IMP_OK)
        next_item(w);
    else
        imp_safetensors_abort(w);
    return status;
}

imp_status imp_safetensors_commit(imp_safetensors_writer *w) {
    if (!w->file.temporary) return IMP_ERR_FILE;
    if (w->item == w->n) return imp_writer_commit(&w->file);
    imp_status status = imp_fail(w->file.ctx, IMP_ERR_INTERNAL,
        "%s: tensor %.200s: expected %zu numbers, found %zu", w->file.path,
        w->items[w->item].name, count_of(&w->items[w->item]), w->done);
    imp_safetensors_abort(w);
    return status;
}

void imp_safetensors_abort(imp_safetensors_writer *w) {
    imp_writer_abort(&w->file);
}
