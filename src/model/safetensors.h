/* SPDX-License-Identifier: MIT
 *
 * safetensors.h: the container, without knowledge of networks. Eight bytes, the length
 * of the header, little endian; the header, JSON; the tensors' bytes, little endian,
 * without overlap and without holes (github.com/huggingface/safetensors, README,
 * "Format").
 */
#ifndef IMP_SAFETENSORS_H
#define IMP_SAFETENSORS_H

#include "base/base.h"

#define IMP_SAFETENSORS_DIMS 8

typedef enum imp_dtype {
    IMP_DTYPE_F64,
    IMP_DTYPE_F32,
    IMP_DTYPE_F16,
    IMP_DTYPE_BF16,
    IMP_DTYPE_I64,
    IMP_DTYPE_I32,
    IMP_DTYPE_I16,
    IMP_DTYPE_I8,
    IMP_DTYPE_U64,
    IMP_DTYPE_U32,
    IMP_DTYPE_U16,
    IMP_DTYPE_U8,
    IMP_DTYPE_BOOL,
} imp_dtype;

const char *imp_dtype_name(imp_dtype dtype); /* "F32" */
/* out[0..n-1] <- n numbers of F64, F32, F16 or BF16, little endian, not aligned; false for
 * another dtype. */
bool imp_dtype_floats(imp_dtype dtype, const uint8_t *p, size_t n, float *out);

/* --- reading --- */

typedef struct imp_safetensors imp_safetensors;

typedef struct imp_safetensors_entry {
    const char *name; /* these pointers live as long as the imp_safetensors */
    imp_dtype dtype;
    size_t ndim; /* 0: one number */
    size_t shape[IMP_SAFETENSORS_DIMS];
    size_t count;        /* product of shape */
    size_t offset;       /* of data, from the first tensor byte */
    const uint8_t *data; /* not aligned */
} imp_safetensors_entry;

/* Map the file and check all of the header; the tensors' bytes are not touched. A file
 * that another process cuts short while it is open raises SIGBUS.
 * Errors: IMP_ERR_MODEL ("file: tensor NAME: field: expected X, found Y"),
 * IMP_ERR_LIMIT. */
imp_status imp_safetensors_open(imp_ctx *ctx, imp_safetensors **out, const char *path);
/* The same from memory, borrowed; name: for the messages. */
imp_status imp_safetensors_parse(imp_ctx *ctx, imp_safetensors **out, const char *name,
    const uint8_t *data, size_t size);
void imp_safetensors_close(imp_safetensors *st); /* NULL is fine */

const char *imp_safetensors_path(const imp_safetensors *st); /* or name: for messages */
size_t imp_safetensors_count(const imp_safetensors *st);
/* Number i, in the order of the data. */
const imp_safetensors_entry *imp_safetensors_at(const imp_safetensors *st, size_t i);
const imp_safetensors_entry *imp_safetensors_find(
    const imp_safetensors *st, const char *name); /* NULL: none */
const char *imp_safetensors_metadata(
    const imp_safetensors *st, const char *key); /* NULL: none */

/* out[0..n-1] <- numbers first .. first+n-1 of a tensor of F64, F32, F16 or BF16.
 * Errors: IMP_ERR_MODEL for another dtype, and where one is not finite as float32
 * (tensor, first index, how many of these n); IMP_ERR_INTERNAL where the range is not
 * inside. */
imp_status imp_safetensors_floats(imp_ctx *ctx, const imp_safetensors *st,
    const imp_safetensors_entry *entry, size_t first, size_t n, float *out);
/* Its pages of the file are not needed any more; they come back where they are read. */
void imp_safetensors_forget(
    const imp_safetensors *st, const imp_safetensors_entry *entry);

/* --- writing --- */

typedef struct imp_safetensors_item {
    const char *name;
    imp_dtype dtype; /* IMP_DTYPE_F32 or IMP_DTYPE_F16 */
    size_t ndim;
    size_t shape[IMP_SAFETENSORS_DIMS];
} imp_safetensors_item;

typedef struct imp_safetensors_pair {
    const char *key, *value;
} imp_safetensors_pair;

typedef struct imp_safetensors_writer {
    imp_writer file;
    const imp_safetensors_item *items;
    size_t n, item; /* items, the one that is being written */
    size_t done;    /* its numbers written */
} imp_safetensors_writer;

/* Write the header: n items, in that order, borrowed until commit or abort, and
 * metadata. The same arguments and numbers give the same bytes. Then put every item's
 * numbers, an item in one piece or several, and commit. After an error every later call
 * returns one; abort is always right, also after commit. Errors: IMP_ERR_FILE;
 * IMP_ERR_ARG for a name twice, not UTF-8, or of no dtype or shape that can be written;
 * put: IMP_ERR_NUMERIC for a number that is not finite, or not in F16. */
imp_status imp_safetensors_begin(imp_safetensors_writer *w, imp_ctx *ctx,
    const char *path, bool overwrite, const imp_safetensors_item *items, size_t n,
    const imp_safetensors_pair *metadata, size_t n_metadata);
imp_status imp_safetensors_put(imp_safetensors_writer *w, const float *x, size_t n);
imp_status imp_safetensors_commit(imp_safetensors_writer *w);
void imp_safetensors_abort(imp_safetensors_writer *w);

#endif
