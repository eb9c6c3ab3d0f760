/* SPDX-License-Identifier: MIT
 *
 * mat.h: MAT-files of level 5 (MathWorks, "MAT-File Format"), read by ourselves: elements, of
 * which some are matrices, which hold elements again. All that is not asked for is passed over
 * by its size, so nothing here calls itself. Errors: IMP_ERR_MODEL, with the place that
 * `where` names; IMP_ERR_LIMIT for memory.
 */
#ifndef IMP_FOREIGN_MAT_H
#define IMP_FOREIGN_MAT_H

#include "foreign/foreign.h"

#define IMP_MAT_FIELDS 64 /* of a struct at most */
#define IMP_MAT_FIELD  64 /* bytes of a field's name, the last one zero */

enum { /* types of elements */
    IMP_MAT_INT8 = 1,
    IMP_MAT_UINT8,
    IMP_MAT_INT16,
    IMP_MAT_UINT16,
    IMP_MAT_INT32,
    IMP_MAT_UINT32,
    IMP_MAT_SINGLE,
    IMP_MAT_DOUBLE = 9,
    IMP_MAT_INT64 = 12,
    IMP_MAT_UINT64,
    IMP_MAT_MATRIX,
    IMP_MAT_PACKED,
    IMP_MAT_UTF8
};
enum { /* classes of matrices */
    IMP_MAT_CELL_CLASS = 1,
    IMP_MAT_STRUCT_CLASS,
    IMP_MAT_CHAR_CLASS = 4,
    IMP_MAT_DOUBLE_CLASS = 6,
    IMP_MAT_SINGLE_CLASS
};

/* --- bytes of a variable (mat_source.c) --- */

typedef struct imp_mat_packed imp_mat_packed;

/* Those of the file, or those that come out of a packed element. */
typedef struct imp_mat_source {
    imp_foreign *f;
    const uint8_t *data;    /* plain: pos and end are in it */
    size_t pos, end;        /* packed: in what comes out, whose end is not known */
    imp_mat_packed *packed; /* NULL: plain */
} imp_mat_source;

uint32_t imp_mat_word(const uint8_t *p);
/* data from pos to end. */
imp_mat_source imp_mat_plain(
    imp_foreign *f, const uint8_t *data, size_t pos, size_t end);
/* What comes out of the file's bytes from start to stop; to be closed, also after an error. */
imp_status imp_mat_unpack(imp_mat_source *s, imp_foreign *f, size_t start, size_t stop);
void imp_mat_close(imp_mat_source *s);

imp_status imp_mat_bytes(imp_mat_source *s, void *out, size_t size);
/* Go on to pos, which is not before. */
imp_status imp_mat_go_to(imp_mat_source *s, size_t pos);
/* To the end of a packed variable, which is to be there, and where its sum is compared. */
imp_status imp_mat_drain(imp_mat_source *s, size_t end);

/* --- elements and what they hold (mat_array.c) --- */

/* Its bytes are at the source, the next element at end. */
typedef struct imp_mat_element {
    uint32_t type;
    size_t size, end;
} imp_mat_element;

/* A matrix up to its contents. */
typedef struct imp_mat_matrix {
    unsigned class;
    bool complex;
    size_t ndim, shape[IMP_SAFETENSORS_DIMS], count;
    char name[64];
    size_t end;
} imp_mat_matrix;

/* The element at the source, inside what ends at `end`. */
imp_status imp_mat_next(
    imp_mat_source *s, const char *where, size_t end, imp_mat_element *e);
/* A matrix's flags, dimensions and name (of 63 bytes at most, as MATLAB has it); e is its
 * element, which may be empty: an array 0 x 0. */
imp_status imp_mat_open(
    imp_mat_source *s, const char *where, const imp_mat_element *e, imp_mat_matrix *m);

/* Numbers as they are written: MATLAB takes the narrowest type that holds all. */
typedef struct imp_mat_run {
    const uint8_t *data; /* NULL: of a packed variable */
    size_t pos, size;    /* bytes */
    uint32_t type;
    size_t count;
} imp_mat_run;

/* A matrix's real numbers, at which the source then is, and the type that they stand for: F32
 * or F64. */
imp_status imp_mat_find_numbers(imp_mat_source *s, const char *where,
    const imp_mat_matrix *m, imp_dtype *dtype, imp_mat_run *out);
/* Are they of that type in the file? */
bool imp_mat_as_is(const imp_mat_run *at, imp_dtype dtype);
/* n numbers more, as dtype, little endian. */
typedef imp_status (*imp_mat_piece_fn)(void *user, const uint8_t *numbers, size_t n);
/* All numbers of the run at which the source is, in pieces. */
imp_status imp_mat_numbers(imp_mat_source *s, imp_dtype dtype, const imp_mat_run *at,
    imp_mat_piece_fn piece, void *user);

typedef struct imp_mat_names {
    size_t n;
    char names[IMP_MAT_FIELDS][IMP_MAT_FIELD];
} imp_mat_names;

/* The names of a struct's fields, which follow: one struct, not an array of them. */
imp_status imp_mat_read_names(
    imp_mat_source *s, const char *where, const imp_mat_matrix *m, imp_mat_names *out);
/* Stand at the field `name` of a struct; *there: it has one. */
imp_status imp_mat_find_field(imp_mat_source *s, const char *where,
    const imp_mat_matrix *m, const char *name, imp_mat_element *e, bool *there);
/* Characters, below room of them, of which those that are not of ASCII become '?'. */
imp_status imp_mat_text(imp_mat_source *s, const char *where, const imp_mat_matrix *m,
    char *out, size_t room);

#endif
