/* SPDX-License-Identifier: MIT
 *
 * mat_array.c: elements of a MAT-file, and the matrices, numbers, structs and texts in them.
 */
#include "foreign/mat.h"

#include <string.h>

#define PIECE 65536

/* --- elements --- */

static imp_status beyond(
    const imp_mat_source *s, const char *where, size_t size, size_t end) {
    return imp_foreign_fail(s->f,
        "%s: an element: expected at most %zu bytes, found %zu", where,
        end - imp_least(end, s->pos), size);
}

imp_status imp_mat_next(
    imp_mat_source *s, const char *where, size_t end, imp_mat_element *e) {
    uint8_t tag[8];
    size_t start = s->pos, padded;
    if (!imp_in_range(start, 8, end)) return beyond(s, where, 8, end);
    imp_status status = imp_mat_bytes(s, tag, 4);
    if (status) return status;
    if (imp_mat_word(tag) >>
        16) { /* small: type and size in two bytes each, four of data */
        *e = (imp_mat_element){
            .type = imp_mat_word(tag) & 0xffff, .size = imp_mat_word(tag) >> 16};
        e->end = start + 8;
        return e->size <= 4 ? IMP_OK : beyond(s, where, e->size, s->pos + 4);
    }
    if ((status = imp_mat_bytes(s, tag + 4, 4))) return status;
    *e = (imp_mat_element){.type = imp_mat_word(tag), .size = imp_mat_word(tag + 4)};
    if (!imp_add_size(&padded, e->size, 7) ||
        !imp_in_range(s->pos, padded & ~(size_t)7, end))
        return beyond(s, where, e->size, end);
    e->end = s->pos + (padded & ~(size_t)7);
    return IMP_OK;
}

/* The element's bytes, at most size of them; then go on to its end. */
static imp_status take(imp_mat_source *s, const char *where, const imp_mat_element *e,
    uint32_t type, void *out, size_t size) {
    if (e->type != type || e->size > size)
        return imp_foreign_fail(s->f,
            "%s: an element: expected type %u, at most %zu bytes, found type %u, %zu "
            "bytes",
            where, (unsigned)type, size, (unsigned)e->type, e->size);
    imp_status status = imp_mat_bytes(s, out, e->size);
    return status ? status : imp_mat_go_to(s, e->end);
}

static imp_status read_shape(imp_mat_source *s, const char *where, imp_mat_matrix *m) {
    uint8_t sizes[4 * IMP_SAFETENSORS_DIMS];
    imp_mat_element e;
    imp_status status = imp_mat_next(s, where, m->end, &e);
    if (!status) status = take(s, where, &e, IMP_MAT_INT32, sizes, sizeof sizes);
    if (status) return status;
    m->ndim = e.size / 4;
    m->count = 1;
    bool fits = e.size % 4 == 0 && m->ndim > 0;
    for (size_t i = 0; fits && i < m->ndim; i++) {
        m->shape[i] = imp_mat_word(sizes + 4 * i);
        fits = m->shape[i] <= INT32_MAX && imp_mul(&m->count, m->count, m->shape[i]);
    }
    if (fits) return IMP_OK;
    return imp_foreign_fail(s->f,
        "%s: dimensions: expected a product that memory can hold, found another",
        where);
}

imp_status imp_mat_open(
    imp_mat_source *s, const char *where, const imp_mat_element *e, imp_mat_matrix *m) {
    uint8_t flags[8];
    imp_mat_element part;
    *m = (imp_mat_matrix){.class = IMP_MAT_DOUBLE_CLASS, .ndim = 2, .end = e->end};
    if (e->type != IMP_MAT_MATRIX)
        return imp_foreign_fail(s->f, "%s: expected a matrix (type %d), found type %u",
            where, IMP_MAT_MATRIX, (unsigned)e->type);
    if (e->size == 0) return IMP_OK;
    imp_status status = imp_mat_next(s, where, m->end, &part);
    if (!status) status = take(s, where, &part, IMP_MAT_UINT32, flags, sizeof flags);
    if (status) return status;
    if (part.size != sizeof flags)
        return imp_foreign_fail(
            s->f, "%s: flags: expected 8 bytes, found %zu", where, part.size);
    m->class = flags[0];
    m->complex = flags[1] & 8;
    if ((status = read_shape(s, where, m))) return status;
    if ((status = imp_mat_next(s, where, m->end, &part))) return status;
    return take(s, where, &part, IMP_MAT_INT8, m->name, sizeof m->name - 1);
}

/* --- numbers --- */

static size_t width(uint32_t type) {
    switch (type) {
    case IMP_MAT_INT8:
    case IMP_MAT_UINT8:
        return 1;
    case IMP_MAT_INT16:
    case IMP_MAT_UINT16:
        return 2;
    case IMP_MAT_INT32:
    case IMP_MAT_UINT32:
    case IMP_MAT_SINGLE:
        return 4;
    case IMP_MAT_DOUBLE:
    case IMP_MAT_INT64:
    case IMP_MAT_UINT64:
        return 8;
    default:
        return 0;
    }
}

/* A number as it was written. */
static double number(uint32_t type, const uint8_t *p) {
    size_t size = width(type);
    uint64_t low = size == 1   ? p[0]
                   : size == 2 ? (uint64_t)p[1] << 8 | p[0]
                               : imp_mat_word(p);
    uint64_t x = size == 8 ? (uint64_t)imp_mat_word(p + 4) << 32 | low : low;
    uint32_t bits = (uint32_t)x;
    float single;
    double twice;
    memcpy(&single, &bits, sizeof single);
    memcpy(&twice, &x, sizeof twice);
    switch (type) {
    case IMP_MAT_INT8:
        return (int8_t)x;
    case IMP_MAT_INT16:
        return (int16_t)x;
    case IMP_MAT_INT32:
        return (int32_t)x;
    case IMP_MAT_INT64:
        return (double)(int64_t)x;
    case IMP_MAT_SINGLE:
        return single;
    case IMP_MAT_DOUBLE:
        return twice;
    default:
        return (double)x;
    }
}

bool imp_mat_as_is(const imp_mat_run *at, imp_dtype dtype) {
    return at->type == (dtype == IMP_DTYPE_F64 ? IMP_MAT_DOUBLE : IMP_MAT_SINGLE);
}

static void convert(
    imp_dtype dtype, uint32_t type, const uint8_t *from, size_t n, uint8_t *out) {
    size_t size = width(type);
    for (size_t i = 0; i < n; i++) {
        double x = number(type, from + i * size);
        float single = (float)x;
        if (dtype == IMP_DTYPE_F64)
            memcpy(out + 8 * i, &x, 8);
        else
            memcpy(out + 4 * i, &single, 4);
    }
}

imp_status imp_mat_numbers(imp_mat_source *s, imp_dtype dtype, const imp_mat_run *at,
    imp_mat_piece_fn piece, void *user) {
    uint8_t from[PIECE], out[PIECE];
    size_t size = width(at->type), most = PIECE / 8;
    bool as_is = imp_mat_as_is(at, dtype);
    for (size_t i = 0, n; i < at->count; i += n) {
        n = imp_least(at->count - i, as_is ? PIECE / size : most);
        imp_status status = imp_mat_bytes(s, from, n * size);
        if (status) return status;
        if (!as_is) convert(dtype, at->type, from, n, out);
        if ((status = piece(user, as_is ? from : out, n))) return status;
    }
    return IMP_OK;
}

imp_status imp_mat_find_numbers(imp_mat_source *s, const char *where,
    const imp_mat_matrix *m, imp_dtype *dtype, imp_mat_run *out) {
    imp_mat_element e;
    if (m->complex ||
        (m->class != IMP_MAT_SINGLE_CLASS && m->class != IMP_MAT_DOUBLE_CLASS))
        return imp_foreign_fail(s->f,
            "%s: expected real numbers of class single or double, found %sclass %u",
            where, m->complex ? "complex ones of " : "", m->class);
    *dtype = m->class == IMP_MAT_DOUBLE_CLASS ? IMP_DTYPE_F64 : IMP_DTYPE_F32;
    imp_status status = imp_mat_next(s, where, m->end, &e);
    if (status) return status;
    size_t size = width(e.type), expected;
    if (size == 0 || !imp_mul(&expected, m->count, size) || expected != e.size)
        return imp_foreign_fail(s->f,
            "%s: expected %zu numbers as its dimensions say, found %zu bytes of type "
            "%u",
            where, m->count, e.size, (unsigned)e.type);
    *out = (imp_mat_run){.data = s->data,
        .pos = s->pos,
        .size = e.size,
        .type = e.type,
        .count = m->count};
    return IMP_OK;
}

/* --- structs and cells --- */

imp_status imp_mat_read_names(
    imp_mat_source *s, const char *where, const imp_mat_matrix *m, imp_mat_names *out) {
    uint8_t size[4];
    imp_mat_element e;
    out->n = 0;
    if (m->class != IMP_MAT_STRUCT_CLASS || m->count != 1)
        return imp_foreign_fail(s->f, "%s: expected one struct, found %zu of class %u",
            where, m->count, m->class);
    imp_status status = imp_mat_next(s, where, m->end, &e);
    if (!status) status = take(s, where, &e, IMP_MAT_INT32, size, sizeof size);
    if (status) return status;
    size_t each = e.size == 4 ? imp_mat_word(size) : 0;
    if ((status = imp_mat_next(s, where, m->end, &e))) return status;
    if (e.type != IMP_MAT_INT8 || each == 0 || each > IMP_MAT_FIELD || e.size % each ||
        e.size / each > IMP_MAT_FIELDS)
        return imp_foreign_fail(s->f,
            "%s: fields: expected at most %d, of names below %d bytes, found %zu bytes "
            "by %zu",
            where, IMP_MAT_FIELDS, IMP_MAT_FIELD, e.size, each);
    for (size_t i = 0; i < e.size / each; i++) {
        if ((status = imp_mat_bytes(s, out->names[i], each))) return status;
        out->names[i][each - 1] = 0;
        out->n++;
    }
    return imp_mat_go_to(s, e.end);
}

imp_status imp_mat_find_field(imp_mat_source *s, const char *where,
    const imp_mat_matrix *m, const char *name, imp_mat_element *e, bool *there) {
    imp_mat_names names;
    imp_status status = imp_mat_read_names(s, where, m, &names);
    *there = false;
    for (size_t i = 0; !status && i < names.n && !*there; i++) {
        if ((status = imp_mat_next(s, where, m->end, e))) return status;
        *there = !strcmp(names.names[i], name);
        if (!*there) status = imp_mat_go_to(s, e->end);
    }
    return status;
}

imp_status imp_mat_text(imp_mat_source *s, const char *where, const imp_mat_matrix *m,
    char *out, size_t room) {
    uint8_t text[2 * IMP_FOREIGN_NAME];
    imp_mat_element e;
    imp_status status = imp_mat_next(s, where, m->end, &e);
    if (status) return status;
    size_t size = e.type == IMP_MAT_UINT16 ? 2 : 1;
    bool fits =
        m->class == IMP_MAT_CHAR_CLASS && e.size <= sizeof text && e.size / size < room;
    if (!fits || (e.type != IMP_MAT_UINT16 && e.type != IMP_MAT_UINT8 &&
                     e.type != IMP_MAT_INT8 && e.type != IMP_MAT_UTF8))
        return imp_foreign_fail(s->f,
            "%s: expected below %zu characters, found %zu bytes of type %u", where,
            room, e.size, (unsigned)e.type);
    if ((status = imp_mat_bytes(s, text, e.size))) return status;
    size_t n = e.size / size;
    for (size_t i = 0; i < n; i++) {
        bool ascii = text[size * i] < 127 && text[size * i] > 32 &&
                     (size == 1 || text[size * i + 1] == 0);
        out[i] = (char)(ascii ? text[size * i] : '?');
    }
    out[n] = 0;
    return IMP_OK;
}
