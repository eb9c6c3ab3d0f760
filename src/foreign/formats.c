/* SPDX-License-Identifier: MIT
 *
 * formats.c: which reader a file wants, and what every reader says through.
 */
#include "foreign/foreign.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The looser a format's sign is, the later it is asked: a caffemodel has none but its fields. */
const imp_reader *imp_reader_of(const uint8_t *data, size_t size) {
    static const imp_reader *const readers[] = {&imp_reader_h5, &imp_reader_mat,
        &imp_reader_pth_zip, &imp_reader_npz, &imp_reader_pth_legacy, &imp_reader_onnx,
        &imp_reader_caffe};
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (readers[i]->recognise(data, size)) return readers[i];
    return NULL;
}

size_t imp_dtype_size(imp_dtype dtype) {
    switch (dtype) {
    case IMP_DTYPE_F64:
        return 8;
    case IMP_DTYPE_F32:
        return 4;
    case IMP_DTYPE_F16:
    case IMP_DTYPE_BF16:
        return 2;
    default:
        return 0;
    }
}

size_t imp_foreign_allowance(size_t file_size) {
    size_t four, sum;
    return imp_mul(&four, file_size, 4) && imp_add_size(&sum, four, (size_t)1 << 24)
               ? sum
               : SIZE_MAX;
}

imp_status imp_foreign_fail(const imp_foreign *f, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return imp_fail(f->ctx, IMP_ERR_MODEL, "%s: %s", f->path, text);
}

imp_status imp_foreign_name(
    imp_foreign *f, imp_foreign_tensor *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof t->name) return IMP_OK;
    return imp_foreign_fail(f, "name of a tensor: expected 1 to %zu bytes, found %d",
        sizeof t->name - 1, n);
}

/* Bytes that all tensors claim; false: more than can be. */
static bool claimed(const imp_foreign *f, size_t *bytes) {
    *bytes = 0;
    for (size_t i = 0; i < f->n; i++)
        if (!imp_add_size(bytes, *bytes,
                f->tensors[i].count * imp_dtype_size(f->tensors[i].dtype)))
            return false;
    return true;
}

static imp_status check(imp_foreign *f, imp_foreign_tensor *t) {
    size_t size = imp_dtype_size(t->dtype), bytes;
    if (!memchr(t->name, 0, sizeof t->name) || !t->name[0])
        return imp_foreign_fail(f, "a tensor without a name");
    if (size == 0 || t->ndim > IMP_SAFETENSORS_DIMS)
        return imp_foreign_fail(f,
            "tensor %s: expected floating-point numbers of at most %d dimensions",
            t->name, IMP_SAFETENSORS_DIMS);
    t->count = 1;
    bool fits = true;
    for (size_t i = 0; i < t->ndim; i++)
        fits = fits && imp_mul(&t->count, t->count, t->shape[i]);
    if (!fits || !imp_mul(&bytes, t->count, size))
        return imp_foreign_fail(
            f, "tensor %s: shape: its product is beyond all memory", t->name);
    if (t->inside && !imp_in_range(t->offset, bytes, f->size))
        return imp_foreign_fail(f,
            "tensor %s: expected %zu bytes from %zu on, found a file of %zu", t->name,
            bytes, t->offset, f->size);
    if (t->shared && (t->inside || !imp_in_range(t->offset, bytes, f->shared_size)))
        return imp_foreign_fail(f,
            "tensor %s: expected %zu bytes from %zu on, found memory of %zu", t->name,
            bytes, t->offset, f->shared_size);
    return IMP_OK;
}

static bool is_known(const imp_foreign *f, const char *name) {
    for (size_t i = 0; i < f->n; i++)
        if (!strcmp(f->tensors[i].name, name)) return true;
    return false;
}

static imp_status grow(imp_foreign *f) {
    if (f->n < f->room) return IMP_OK;
    size_t room = f->room ? 2 * f->room : 64;
    imp_foreign_tensor *grown = realloc(f->tensors, room * sizeof *grown);
    if (!grown) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    f->tensors = grown;
    f->room = room;
    return IMP_OK;
}

imp_status imp_foreign_add(imp_foreign *f, const imp_foreign_tensor *given) {
    imp_foreign_tensor t = *given;
    size_t bytes;
    imp_status s = check(f, &t);
    if (s) return s;
    if (is_known(f, t.name))
        return imp_foreign_fail(f, "tensor %s: there twice", t.name);
    if (f->n == IMP_FOREIGN_COUNT)
        return imp_foreign_fail(
            f, "expected at most %d tensors, found more", IMP_FOREIGN_COUNT);
    if ((s = grow(f))) return s;
    f->tensors[f->n++] = t;
    if (claimed(f, &bytes) && bytes <= imp_foreign_allowance(f->size)) return IMP_OK;
    return imp_foreign_fail(f,
        "tensor %s: the numbers up to it would fill more than %zu bytes, which a file "
        "of "
        "%zu cannot hold",
        t.name, imp_foreign_allowance(f->size), f->size);
}

imp_status imp_foreign_send(imp_foreign *f, const void *bytes, size_t n) {
    return f->sink(f->user, bytes, n);
}

imp_status imp_foreign_lacks(const imp_foreign *f, const char *package) {
    return imp_foreign_fail(f,
        "expected an impasto built with %s, found one without: install that package of "
        "Debian and build again",
        package);
}
