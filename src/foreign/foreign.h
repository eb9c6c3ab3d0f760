/* SPDX-License-Identifier: MIT
 *
 * foreign.h: weight files that other programs wrote. A reader tells which tensors a file has
 * and where their numbers lie; it knows nothing of networks. It runs in a child process that
 * has no rights (child.c), and what it says is checked again here, in the parent.
 *
 * This folder is linked into the command alone, not into the library.
 */
#ifndef IMP_FOREIGN_H
#define IMP_FOREIGN_H

#include "base/base.h"
#include "model/safetensors.h"

#define IMP_FOREIGN_NAME  160  /* bytes of a tensor's name, the last one zero */
#define IMP_FOREIGN_COUNT 4096 /* tensors of a file at most */

/* A tensor of numbers: F64, F32, F16 or BF16. Others (counters, strings) are not told of. */
typedef struct imp_foreign_tensor {
    char name[IMP_FOREIGN_NAME];
    imp_dtype dtype;
    bool column_major; /* the first dimension runs fastest, not the last */
    size_t ndim, shape[IMP_SAFETENSORS_DIMS];
    size_t count; /* product of shape */
    /* The numbers lie as they are, little endian, without gaps: in the file, or in the memory
     * that child and parent share. */
    bool inside, shared;
    size_t offset; /* of the first one there; 0: neither */
} imp_foreign_tensor;

typedef struct imp_foreign imp_foreign;

/* --- what a reader is given, and calls --- */

struct imp_foreign {
    imp_ctx *ctx;     /* for imp_fail */
    const char *path; /* for messages alone: a reader may open nothing */
    const uint8_t *data;
    size_t size; /* the file, mapped */
    uint8_t *shared;
    size_t shared_size; /* a reader that shares: as much as it may hold; else NULL, 0 */
    bool has_mean;      /* does it tell the mean of what it was trained on? */
    float mean[3];      /* in the order of the network's channels, 0..255 */
    imp_foreign_tensor *tensors;
    size_t n, room;
    void *state; /* the reader's own */
    imp_status (*sink)(void *user, const void *bytes, size_t n);
    void *user; /* sink's */
};

/* One format. All functions run in the child, prepare before its rights are taken. */
typedef struct imp_reader {
    const char *format; /* for people: "PyTorch (zip)" */
    const char
        *lacks;  /* the package without which impasto was built, and no functions */
    bool shares; /* does it want f->shared? */
    /* Do the file's first bytes say so? Nothing but size bytes may be looked at. */
    bool (*recognise)(const uint8_t *data, size_t size);
    imp_status (*prepare)(
        imp_foreign *f); /* what a library would open later; NULL: nothing */
    /* Find the tensors, imp_foreign_add each. Errors: IMP_ERR_MODEL, with path, place,
     * expected, found; IMP_ERR_LIMIT. */
    imp_status (*open)(imp_foreign *f);
    /* Send all numbers of tensor i, which is neither inside nor shared: little endian, in the
     * order that it has there, in pieces (imp_foreign_send). NULL: there is none. */
    imp_status (*read)(imp_foreign *f, size_t i);
    void (*close)(imp_foreign *f); /* also after a failed open; NULL: nothing */
} imp_reader;

/* Keep a copy of t; its count is filled in here. Errors: IMP_ERR_MODEL for a name that is
 * empty, too long or there already, a dtype that is no number's, a product that overflows, a
 * place outside the file, or one byte more in all than a file of this size may hold
 * (imp_foreign_allowance). */
imp_status imp_foreign_add(imp_foreign *f, const imp_foreign_tensor *t);
/* Set t->name, by a format. Errors: IMP_ERR_MODEL where it is too long. */
imp_status imp_foreign_name(
    imp_foreign *f, imp_foreign_tensor *t, const char *format, ...) IMP_PRINTF(3, 4);
imp_status imp_foreign_send(imp_foreign *f, const void *bytes, size_t n);
/* IMP_ERR_MODEL, the text after the file's path. */
imp_status imp_foreign_fail(const imp_foreign *f, const char *format, ...)
    IMP_PRINTF(2, 3);

/* The same for a format whose library was not there when impasto was built. */
imp_status imp_foreign_lacks(const imp_foreign *f, const char *package);

size_t imp_dtype_size(imp_dtype dtype); /* of one of the four; 0: another */
/* Bytes of numbers, and of a reader's memory, that a file of this size may ask for: weights
 * cannot be packed tightly, so whoever claims more is lying. */
size_t imp_foreign_allowance(size_t file_size);

/* --- the readers, one a file --- */

extern const imp_reader imp_reader_pth_zip, imp_reader_pth_legacy, imp_reader_npz,
    imp_reader_mat, imp_reader_h5, imp_reader_onnx, imp_reader_caffe;

/* The one whose recognise says yes; NULL: none. */
const imp_reader *imp_reader_of(const uint8_t *data, size_t size);

#endif
