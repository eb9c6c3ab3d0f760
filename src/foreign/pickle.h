/* SPDX-License-Identifier: MIT
 *
 * pickle.h: Python's pickles as values, nothing executed. Protocols 2 to 5, as far as
 * PyTorch's state dicts use them: every opcode and every global that is not in a table of
 * pickle.c is refused.
 */
#ifndef IMP_FOREIGN_PICKLE_H
#define IMP_FOREIGN_PICKLE_H

#include "foreign/foreign.h"

typedef enum imp_pickle_kind {
    IMP_PICKLE_NONE,
    IMP_PICKLE_BOOL, /* number: 0 or 1 */
    IMP_PICKLE_INT,  /* number */
    IMP_PICKLE_LONG, /* text: more than 8 bytes, little endian */
    IMP_PICKLE_FLOAT,
    IMP_PICKLE_TEXT, /* text, its n bytes in the file, without a zero */
    IMP_PICKLE_TUPLE,
    IMP_PICKLE_LIST,
    IMP_PICKLE_DICT,   /* its items: key, value, key, value; a key may come twice */
    IMP_PICKLE_GLOBAL, /* global */
    IMP_PICKLE_CALL,   /* global, its items are the arguments */
    IMP_PICKLE_ID,     /* a persistent id, a tuple of these items */
} imp_pickle_kind;

typedef enum imp_pickle_role {
    IMP_PICKLE_ORDERED_DICT, /* a call of it is a DICT */
    IMP_PICKLE_TENSOR,       /* (storage, offset, sizes, strides, ...) */
    IMP_PICKLE_PARAMETER,    /* (tensor, ...) */
    IMP_PICKLE_STORAGE,
} imp_pickle_role;

/* What a pickle may name. */
typedef struct imp_pickle_global {
    const char *module, *name;
    imp_pickle_role role;
    size_t size; /* STORAGE: bytes of an element */
    imp_dtype dtype;
} imp_pickle_global;

typedef struct imp_pickle_value {
    imp_pickle_kind kind;
    uint32_t n; /* bytes of text; items */
    union {
        int64_t number;
        const char *text;
        uint32_t last; /* cell of the last item; the cells are a ring */
    } is;
    const imp_pickle_global *global;
} imp_pickle_value;

typedef struct imp_pickle_cell {
    uint32_t value, next;
} imp_pickle_cell;

/* An array of uint32_t that grows. */
typedef struct imp_pickle_array {
    uint32_t *at;
    size_t n, room;
} imp_pickle_array;

typedef struct imp_pickle {
    imp_pickle_value *values;
    imp_pickle_cell *cells;
    size_t n_values, values_room, n_cells, cells_room;
    imp_pickle_array stack, marks, memo;
    size_t memorised;
    const imp_pickle_value *root;
    size_t end; /* where the bytes after it begin */
} imp_pickle;

/* The pickle in data[at..size-1]; name: its place, for messages. p: zero before. To be freed,
 * also after an error. Errors: IMP_ERR_MODEL (opcode, byte, global), IMP_ERR_LIMIT. */
imp_status imp_pickle_read(imp_foreign *f, imp_pickle *p, const char *name,
    const uint8_t *data, size_t size, size_t at);
void imp_pickle_free(imp_pickle *p);

/* Item i of v; NULL: there is none. Costs i steps. */
const imp_pickle_value *imp_pickle_item(
    const imp_pickle *p, const imp_pickle_value *v, size_t i);

/* All items of v in turn: for (c = first(p, v); c; c = next(p, v, c)) value(p, c). */
const imp_pickle_cell *imp_pickle_first(const imp_pickle *p, const imp_pickle_value *v);
const imp_pickle_cell *imp_pickle_next(
    const imp_pickle *p, const imp_pickle_value *v, const imp_pickle_cell *c);
const imp_pickle_value *imp_pickle_of(const imp_pickle *p, const imp_pickle_cell *c);

bool imp_pickle_is_text(const imp_pickle_value *v, const char *text);
const char *imp_pickle_kind_name(
    const imp_pickle_value *v); /* "a tuple"; NULL: "nothing" */

#endif
