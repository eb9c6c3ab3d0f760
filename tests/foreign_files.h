/* SPDX-License-Identifier: MIT
 *
 * foreign_files.h: a reader on bytes or on a file, in this process. Include after files.h.
 */
#ifndef TESTS_FOREIGN_FILES_H
#define TESTS_FOREIGN_FILES_H

#include <fcntl.h>
#include <sys/mman.h>

#include "foreign/foreign.h"

/* What a tensor's read has sent so far. */
typedef struct foreign_bytes {
    uint8_t *data;
    size_t n, room;
} foreign_bytes;

static inline imp_status foreign_collect(void *user, const void *bytes, size_t n) {
    foreign_bytes *b = user;
    assert_true(n <= b->room - b->n);
    memcpy(b->data + b->n, bytes, n);
    b->n += n;
    return IMP_OK;
}

/* The file at path as a reader sees it; foreign_close gives all back. */
static inline imp_foreign foreign_map(const char *path) {
    struct stat st;
    imp_foreign f = {.ctx = ctx, .path = path};
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    f.size = (size_t)st.st_size;
    void *data = mmap(NULL, f.size ? f.size : 1, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    assert_true(data != MAP_FAILED);
    f.data = data;
    f.shared_size = imp_foreign_allowance(f.size);
    f.shared = mmap(NULL, f.shared_size, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(f.shared != MAP_FAILED);
    return f;
}

static inline imp_status foreign_open(const imp_reader *reader, imp_foreign *f) {
    imp_status s = reader->prepare ? reader->prepare(f) : IMP_OK;
    return s ? s : reader->open(f);
}

static inline void foreign_close(const imp_reader *reader, imp_foreign *f) {
    if (reader->close) reader->close(f);
    munmap((void *)(uintptr_t)f->data, f->size ? f->size : 1);
    munmap(f->shared, f->shared_size);
    free(f->tensors);
}

static inline size_t foreign_find(const imp_foreign *f, const char *name) {
    for (size_t i = 0; i < f->n; i++)
        if (!strcmp(f->tensors[i].name, name)) return i;
    fail_msg("no tensor %s", name);
    return 0;
}

/* All numbers of tensor i as float32, in the order that they have in the file; to be freed. */
static inline float *foreign_floats(
    const imp_reader *reader, imp_foreign *f, size_t i) {
    const imp_foreign_tensor *t = &f->tensors[i];
    size_t bytes = t->count * imp_dtype_size(t->dtype);
    float *out = malloc(t->count * sizeof *out + 1);
    foreign_bytes b = {.data = malloc(bytes + 1), .room = bytes};
    assert_true(out && b.data);
    if (t->inside || t->shared)
        foreign_collect(&b, (t->inside ? f->data : f->shared) + t->offset, bytes);
    else {
        f->sink = foreign_collect;
        f->user = &b;
        assert_int_equal(reader->read(f, i), IMP_OK);
    }
    assert_int_equal(b.n, bytes);
    assert_true(imp_dtype_floats(t->dtype, b.data, t->count, out));
    free(b.data);
    return out;
}

/* These bytes are refused, with words in the message, and nothing is left behind. */
static inline void foreign_refused(
    const imp_reader *reader, const void *bytes, size_t n, const char *words) {
    const char *path = make_file("foreign", bytes, n);
    imp_foreign f = foreign_map(path);
    imp_status s = foreign_open(reader, &f);
    for (size_t i = 0; i < f.n && !s; i++) {
        foreign_bytes b = {
            .data = malloc(f.tensors[i].count * 8 + 1), .room = f.tensors[i].count * 8};
        f.sink = foreign_collect;
        f.user = &b;
        if (!f.tensors[i].inside && !f.tensors[i].shared) s = reader->read(&f, i);
        free(b.data);
    }
    foreign_close(reader, &f);
    assert_int_equal(s, IMP_ERR_MODEL);
    if (!strstr(imp_ctx_error(ctx), words))
        fail_msg("expected '%s' in '%s'", words, imp_ctx_error(ctx));
}

/* --- files of tests/golden/foreign/, and made ones --- */

static inline imp_safetensors *golden_tensors(const char *name) {
    imp_safetensors *st;
    char path[512];
    snprintf(path, sizeof path, GOLDEN_DIR "/foreign/%s", name);
    assert_int_equal(imp_safetensors_open(ctx, &st, path), IMP_OK);
    return st;
}

static inline imp_foreign foreign_opened(const imp_reader *reader, const char *path) {
    imp_foreign f = foreign_map(path);
    assert_ptr_equal(imp_reader_of(f.data, f.size), reader);
    if (foreign_open(reader, &f)) fail_msg("%s", imp_ctx_error(ctx));
    return f;
}

static inline imp_foreign foreign_golden(const imp_reader *reader, const char *name) {
    char path[512];
    snprintf(path, sizeof path, GOLDEN_DIR "/foreign/%s", name);
    return foreign_opened(reader, path);
}

static inline imp_foreign foreign_blob(
    const imp_reader *reader, const uint8_t *data, size_t n) {
    return foreign_opened(reader, make_file("good", data, n));
}

/* The tensor of this name has these numbers. */
static inline void assert_floats(const imp_reader *reader, imp_foreign *f,
    const char *name, const float *x, size_t n) {
    size_t i = foreign_find(f, name);
    assert_int_equal(f->tensors[i].count, n);
    float *found = foreign_floats(reader, f, i);
    assert_memory_equal(found, x, n * sizeof *x);
    free(found);
}

/* The same, and they lie in the file or not. */
static inline void assert_numbers(const imp_reader *reader, imp_foreign *f,
    const char *name, bool inside, const float *x, size_t n) {
    assert_true(f->tensors[foreign_find(f, name)].inside == inside);
    assert_floats(reader, f, name, x, n);
}

/* A file cut after every 97th byte: refused. */
static inline void truncated(const imp_reader *reader, const char *name) {
    char path[512];
    snprintf(path, sizeof path, GOLDEN_DIR "/foreign/%s", name);
    imp_foreign whole = foreign_map(path);
    for (size_t n = 0; n < whole.size; n += 97) {
        uint8_t *copy = malloc(n ? n : 1); /* so that a sanitizer sees its end */
        assert_non_null(copy);
        memcpy(copy, whole.data, n);
        imp_foreign f = {.ctx = ctx, .path = name, .data = copy, .size = n};
        if (n > 300) assert_true(reader->recognise(copy, n));
        imp_status s = n > 300 ? foreign_open(reader, &f) : IMP_ERR_MODEL;
        if (s != IMP_ERR_MODEL) fail_msg("%s cut at %zu: status %d", name, n, (int)s);
        reader->close(&f);
        free(f.tensors);
        free(copy);
    }
    foreign_close(reader, &whole);
}

#endif
