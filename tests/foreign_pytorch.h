/* SPDX-License-Identifier: MIT
 *
 * foreign_pytorch.h: pickles and zip archives, good or lying, byte by byte. Include after
 * foreign_files.h.
 */
#ifndef TESTS_FOREIGN_PYTORCH_H
#define TESTS_FOREIGN_PYTORCH_H

#include <zlib.h>

typedef struct blob {
    uint8_t *data;
    size_t n, room;
} blob;

static inline void put(blob *b, const void *data, size_t n) {
    if (b->n + n > b->room) {
        b->room = 2 * (b->n + n);
        b->data = realloc(b->data, b->room);
        assert_non_null(b->data);
    }
    if (n) memcpy(b->data + b->n, data, n);
    b->n += n;
}

#define PUT(b, literal) put(b, literal, sizeof literal - 1)

/* The lowest n bytes of x, little endian. */
static inline void put_number(blob *b, uint64_t x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)(i < 8 ? x >> 8 * i : 0);
        put(b, &byte, 1);
    }
}

static inline void put_floats(blob *b, size_t n) { /* 0, 1, 2, ... */
    for (size_t i = 0; i < n; i++) {
        float x = (float)i;
        put(b, &x, sizeof x);
    }
}

static inline void blob_free(blob *b) {
    free(b->data);
    *b = (blob){0};
}

/* --- pickles --- */

static inline void pickle_text(blob *b, const char *text) {
    PUT(b, "X");
    put_number(b, strlen(text), 4);
    put(b, text, strlen(text));
}

static inline void pickle_int(blob *b, int64_t x) {
    PUT(b, "\x8a\x08");
    put_number(b, (uint64_t)x, 8);
}

typedef struct lie { /* a tensor as the pickle tells it */
    const char *name, *type, *key;
    int64_t n, offset;
    int ndim, n_strides;
    int64_t shape[9], stride[9];
} lie;

static const lie pair = {"w", "FloatStorage", "0", 2, 0, 1, 1, {2}, {1}};

static inline void pickle_ints(blob *b, const int64_t *x, int n) {
    PUT(b, "(");
    for (int i = 0; i < n; i++) pickle_int(b, x[i]);
    PUT(b, "t");
}

static inline void pickle_tensor(blob *b, const lie *t) {
    PUT(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(b, "storage");
    PUT(b, "ctorch\n");
    put(b, t->type, strlen(t->type));
    PUT(b, "\n");
    pickle_text(b, t->key);
    pickle_text(b, "cpu");
    pickle_int(b, t->n);
    PUT(b, "NtQ");
    pickle_int(b, t->offset);
    pickle_ints(b, t->shape, t->ndim);
    pickle_ints(b, t->stride, t->n_strides);
    PUT(b, "\x89"
           "ccollections\nOrderedDict\n)RtR");
}

/* OrderedDict of n tensors. */
static inline blob state_dict(const lie *t, size_t n) {
    blob b = {0};
    PUT(&b, "\x80\2ccollections\nOrderedDict\n)R(");
    for (size_t i = 0; i < n; i++) {
        pickle_text(&b, t[i].name);
        pickle_tensor(&b, &t[i]);
    }
    PUT(&b, "u.");
    return b;
}

static inline blob legacy_head(void) {
    blob b = {0};
    PUT(&b, "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3."
            "\x80\2}(");
    pickle_text(&b, "little_endian");
    PUT(&b, "\x88u.");
    return b;
}

/* A legacy file of this pickle, with one storage "0" of n floats 0, 1, 2, ... */
static inline blob legacy(const blob *object, size_t n) {
    blob b = legacy_head();
    put(&b, object->data, object->n);
    PUT(&b, "\x80\2]");
    pickle_text(&b, "0");
    PUT(&b, "a.");
    put_number(&b, n, 8);
    put_floats(&b, n);
    return b;
}

/* --- zip archives --- */

typedef struct zip_item {
    const char *name;
    const void *data;
    size_t n;
    bool deflated;
    /* lies; 0: none */
    uint32_t size, packed, crc;
    uint16_t flags, method;
    size_t header; /* of another local header, from the file's beginning, plus 1 */
} zip_item;

static inline void zip_header(blob *b, const zip_item *e, size_t n, size_t packed) {
    put_number(b, 20, 2);
    put_number(b, e->flags, 2);
    put_number(b, e->method ? e->method : e->deflated ? 8 : 0, 2);
    put_number(b, 0x21 << 16, 4); /* 1 January 1980 */
    put_number(b, e->crc ? e->crc : crc32(0, e->data, (uInt)n), 4);
    put_number(b, e->packed ? e->packed : packed, 4);
    put_number(b, e->size ? e->size : n, 4);
    put_number(b, strlen(e->name), 2);
    put_number(b, 0, 2);
}

/* deflate's bytes without a header; *n: their number. */
static inline uint8_t *deflated(const void *data, size_t size, size_t *n) {
    z_stream z = {0};
    size_t room = size + size / 1000 + 64;
    uint8_t *out = malloc(room);
    assert_non_null(out);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    *n = room - z.avail_out;
    deflateEnd(&z);
    return out;
}

static inline blob zip_of(const zip_item *items, size_t n) {
    blob b = {0}, directory = {0};
    for (size_t i = 0; i < n; i++) {
        const zip_item *e = &items[i];
        size_t packed = e->n, at = b.n;
        uint8_t *bytes = e->deflated ? deflated(e->data, e->n, &packed) : NULL;
        if (!e->header) {
            PUT(&b, "PK\3\4");
            zip_header(&b, e, e->n, packed);
            put(&b, e->name, strlen(e->name));
            put(&b, bytes ? bytes : e->data, packed);
        }
        PUT(&directory, "PK\1\2\x14\0");
        zip_header(&directory, e, e->n, packed);
        put_number(&directory, 0, 10);
        put_number(&directory, e->header ? e->header - 1 : at, 4);
        put(&directory, e->name, strlen(e->name));
        free(bytes);
    }
    size_t at = b.n;
    put(&b, directory.data, directory.n);
    PUT(&b, "PK\5\6\0\0\0\0");
    put_number(&b, n, 2);
    put_number(&b, n, 2);
    put_number(&b, directory.n, 4);
    put_number(&b, at, 4);
    put_number(&b, 0, 2);
    blob_free(&directory);
    return b;
}

#endif
