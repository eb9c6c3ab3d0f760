/* SPDX-License-Identifier: MIT
 *
 * mat.c: MatConvNet's networks: MAT-files of level 5 (MathWorks, "MAT-File Format"), read by
 * ourselves: of a cell `layers`, each layer's name and weights; of `normalization` or
 * `meta.normalization`, the mean. All else is passed over by its size, so nothing here
 * calls itself.
 */
#include "foreign/foreign.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define HEADER    128
#define VARIABLES 4096    /* of a file at most */
#define CELLS     1000000 /* layers at most */
#define FIELDS    64      /* of a struct at most */
#define FIELD     64      /* bytes of a field's name, the last one zero */
#define PIECE     65536
#define INFLATED  (2 * PIECE)
#define FORGET    ((size_t)8 << 20)

enum { /* types of elements */
    INT8 = 1,
    UINT8,
    INT16,
    UINT16,
    INT32,
    UINT32,
    SINGLE,
    DOUBLE = 9,
    INT64 = 12,
    UINT64,
    MATRIX,
    PACKED,
    UTF8
};
enum { CELL_CLASS = 1, STRUCT_CLASS, CHAR_CLASS = 4, DOUBLE_CLASS = 6, SINGLE_CLASS };

/* A variable's bytes: those of the file, or those that come out of a packed element. */
typedef struct source {
    imp_foreign *f;
    const uint8_t *data; /* not packed: pos and end are in it */
    bool packed;
    size_t pos, end;    /* packed: in what comes out, whose end is not known */
    size_t start, stop; /* packed: where it lies in the file */
    size_t given, kept; /* packed: up to where zlib has it; from where pages are kept */
    z_stream z;
    bool ended;
    uint8_t *out; /* packed: pos is at out + taken of n bytes */
    size_t taken, n;
} source;

/* An element: its numbers are at pos, the next element at end. */
typedef struct element {
    uint32_t type;
    size_t size, end;
} element;

/* A matrix up to its contents. */
typedef struct matrix {
    unsigned class;
    bool complex;
    size_t ndim, shape[IMP_SAFETENSORS_DIMS], count;
    char name[FIELD];
    size_t end;
} matrix;

/* Where numbers are: in the file, or out of a packed variable in memory of our own, since to
 * inflate it once more would take as long as all else. */
typedef struct run {
    const uint8_t *data;
    size_t pos, size; /* bytes */
    uint32_t type;
    size_t count;
} run;

typedef struct found { /* one of a layer's two arrays */
    bool there;
    imp_foreign_tensor tensor;
    run run;
} found;

typedef struct state {
    size_t entered; /* bytes of the variables that are read */
    run runs[IMP_FOREIGN_COUNT];
    uint8_t *held[IMP_FOREIGN_COUNT]; /* numbers out of packed variables */
    size_t n_held;
} state;

/* --- bytes --- */

static uint32_t word(const uint8_t *p) {
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static void close_source(source *s) {
    if (s->packed && s->out) inflateEnd(&s->z);
    free(s->out);
    s->out = NULL;
}

/* The plain bytes from pos to end, or what comes out of those from start to stop. */
static source plain(imp_foreign *f, const uint8_t *data, size_t pos, size_t end) {
    return (source){.f = f, .data = data, .pos = pos, .end = end};
}

static imp_status unpack(source *s, imp_foreign *f, size_t start, size_t stop) {
    *s = (source){.f = f,
        .packed = true,
        .end = SIZE_MAX,
        .start = start,
        .stop = stop,
        .given = start,
        .kept = start,
        .out = malloc(INFLATED)};
    if (s->out && inflateInit(&s->z) == Z_OK) return IMP_OK;
    free(s->out);
    s->out = NULL;
    return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
}

/* What zlib has had of a large file need not stay in memory. */
static void forget(source *s) {
    if (s->given - s->kept < FORGET) return;
    imp_file_forget(&(imp_file){s->f->data, s->f->size}, s->kept, s->given - s->kept);
    s->kept = s->given;
}

/* Some more of a packed element into out, which is used up. */
static imp_status inflate_some(source *s) {
    s->taken = s->n = 0;
    while (s->n == 0 && !s->ended) {
        size_t give = imp_least(s->stop - s->given, (size_t)1 << 30);
        s->z.next_in = (Bytef *)(uintptr_t)(s->f->data + s->given);
        s->z.avail_in = (uInt)give;
        s->z.next_out = s->out;
        s->z.avail_out = INFLATED;
        int code = inflate(&s->z, Z_NO_FLUSH);
        s->given += give - s->z.avail_in;
        forget(s);
        s->n = INFLATED - s->z.avail_out;
        s->ended = code == Z_STREAM_END;
        if (code == Z_MEM_ERROR)
            return imp_fail(s->f->ctx, IMP_ERR_LIMIT, "%s: no memory", s->f->path);
        if (code != Z_OK && code != Z_STREAM_END)
            return imp_foreign_fail(s->f, "packed variable at byte %zu: %s", s->start,
                code == Z_BUF_ERROR ? "it is cut short"
                : s->z.msg          ? s->z.msg
                                    : "damaged");
    }
    return IMP_OK;
}

/* The next bytes, at most n and at least one, stay where they are: *p. */
static imp_status some(source *s, const uint8_t **p, size_t *n) {
    if (!s->packed) {
        *n = imp_least(*n, s->end - s->pos);
        *p = s->data + s->pos;
    } else {
        if (s->taken == s->n) {
            imp_status status = inflate_some(s);
            if (status) return status;
        }
        *n = imp_least(*n, s->n - s->taken);
        *p = s->out + s->taken;
        s->taken += *n;
    }
    s->pos += *n;
    if (*n) return IMP_OK;
    return imp_foreign_fail(s->f, "expected more bytes at %zu%s, found the end", s->pos,
        s->packed ? " of a packed variable" : "");
}

static imp_status bytes(source *s, void *out, size_t size) {
    uint8_t *to = out;
    while (size) {
        const uint8_t *p;
        size_t n = size;
        imp_status status = some(s, &p, &n);
        if (status) return status;
        memcpy(to, p, n);
        to += n;
        size -= n;
    }
    return IMP_OK;
}

/* Go on to pos, which is not before. */
static imp_status go_to(source *s, size_t pos) {
    if (!s->packed) {
        if (pos > s->end)
            return imp_foreign_fail(s->f,
                "an element's end: expected at most byte %zu, found %zu", s->end, pos);
        s->pos = pos;
        return IMP_OK;
    }
    while (s->pos < pos) {
        const uint8_t *p;
        size_t n = pos - s->pos;
        imp_status status = some(s, &p, &n);
        if (status) return status;
    }
    return IMP_OK;
}

/* --- elements, one after another inside what ends at `end` --- */

static imp_status beyond(const source *s, const char *where, size_t size, size_t end) {
    return imp_foreign_fail(s->f,
        "%s: an element: expected at most %zu bytes, found %zu", where,
        end - imp_least(end, s->pos), size);
}

static imp_status next_element(source *s, const char *where, size_t end, element *e) {
    uint8_t tag[8];
    size_t start = s->pos, padded;
    if (!imp_in_range(start, 8, end)) return beyond(s, where, 8, end);
    imp_status status = bytes(s, tag, 4);
    if (status) return status;
    if (word(tag) >> 16) { /* small: type and size in two bytes each, four of data */
        *e = (element){.type = word(tag) & 0xffff, .size = word(tag) >> 16};
        e->end = start + 8;
        return e->size <= 4 ? IMP_OK : beyond(s, where, e->size, s->pos + 4);
    }
    if ((status = bytes(s, tag + 4, 4))) return status;
    *e = (element){.type = word(tag), .size = word(tag + 4)};
    if (!imp_add_size(&padded, e->size, 7) ||
        !imp_in_range(s->pos, padded & ~(size_t)7, end))
        return beyond(s, where, e->size, end);
    e->end = s->pos + (padded & ~(size_t)7);
    return IMP_OK;
}

/* The element's bytes, at most size of them; then go on to its end. */
static imp_status take(source *s, const char *where, const element *e, uint32_t type,
    void *out, size_t size) {
    if (e->type != type || e->size > size)
        return imp_foreign_fail(s->f,
            "%s: an element: expected type %u, at most %zu bytes, found type %u, %zu "
            "bytes",
            where, (unsigned)type, size, (unsigned)e->type, e->size);
    imp_status status = bytes(s, out, e->size);
    return status ? status : go_to(s, e->end);
}

static imp_status read_shape(source *s, const char *where, matrix *m) {
    uint8_t sizes[4 * IMP_SAFETENSORS_DIMS];
    element e;
    imp_status status = next_element(s, where, m->end, &e);
    if (!status) status = take(s, where, &e, INT32, sizes, sizeof sizes);
    if (status) return status;
    m->ndim = e.size / 4;
    m->count = 1;
    bool fits = e.size % 4 == 0 && m->ndim > 0;
    for (size_t i = 0; fits && i < m->ndim; i++) {
        m->shape[i] = word(sizes + 4 * i);
        fits = m->shape[i] <= INT32_MAX && imp_mul(&m->count, m->count, m->shape[i]);
    }
    if (fits) return IMP_OK;
    return imp_foreign_fail(s->f,
        "%s: dimensions: expected a product that memory can hold, found another",
        where);
}

/* A matrix's flags, dimensions and name (of 63 bytes at most, as MATLAB has it); e is its
 * element, which may be empty: an array 0 x 0. */
static imp_status open_matrix(
    source *s, const char *where, const element *e, matrix *m) {
    uint8_t flags[8];
    element part;
    *m = (matrix){.class = DOUBLE_CLASS, .ndim = 2, .end = e->end};
    if (e->type != MATRIX)
        return imp_foreign_fail(s->f, "%s: expected a matrix (type %d), found type %u",
            where, MATRIX, (unsigned)e->type);
    if (e->size == 0) return IMP_OK;
    imp_status status = next_element(s, where, m->end, &part);
    if (!status) status = take(s, where, &part, UINT32, flags, sizeof flags);
    if (status) return status;
    if (part.size != sizeof flags)
        return imp_foreign_fail(
            s->f, "%s: flags: expected 8 bytes, found %zu", where, part.size);
    m->class = flags[0];
    m->complex = flags[1] & 8;
    if ((status = read_shape(s, where, m))) return status;
    if ((status = next_element(s, where, m->end, &part))) return status;
    return take(s, where, &part, INT8, m->name, sizeof m->name - 1);
}

/* --- numbers --- */

static size_t width(uint32_t type) {
    switch (type) {
    case INT8:
    case UINT8:
        return 1;
    case INT16:
    case UINT16:
        return 2;
    case INT32:
    case UINT32:
    case SINGLE:
        return 4;
    case DOUBLE:
    case INT64:
    case UINT64:
        return 8;
    default:
        return 0;
    }
}

/* A number as it was written: MATLAB takes the narrowest type that holds all. */
static double number(uint32_t type, const uint8_t *p) {
    uint64_t low = type == INT8 || type == UINT8     ? p[0]
                   : type == INT16 || type == UINT16 ? (uint64_t)p[1] << 8 | p[0]
                                                     : word(p);
    uint64_t x = width(type) == 8 ? (uint64_t)word(p + 4) << 32 | low : low;
    uint32_t bits = (uint32_t)x;
    float single;
    double twice;
    memcpy(&single, &bits, sizeof single);
    memcpy(&twice, &x, sizeof twice);
    switch (type) {
    case INT8:
        return (int8_t)x;
    case INT16:
        return (int16_t)x;
    case INT32:
        return (int32_t)x;
    case INT64:
        return (double)(int64_t)x;
    case SINGLE:
        return single;
    case DOUBLE:
        return twice;
    default:
        return (double)x;
    }
}

/* Numbers in pieces, as dtype (F32 or F64), little endian. */
typedef imp_status (*piece_fn)(void *user, const uint8_t *numbers, size_t n);

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

static imp_status numbers(
    source *s, imp_dtype dtype, const run *at, piece_fn piece, void *user) {
    uint8_t from[PIECE], out[PIECE];
    size_t size = width(at->type), most = PIECE / 8;
    bool as_is = at->type == (dtype == IMP_DTYPE_F64 ? DOUBLE : SINGLE);
    for (size_t i = 0, n; i < at->count; i += n) {
        n = imp_least(at->count - i, as_is ? PIECE / size : most);
        imp_status status = bytes(s, from, n * size);
        if (status) return status;
        if (!as_is) convert(dtype, at->type, from, n, out);
        if ((status = piece(user, as_is ? from : out, n))) return status;
    }
    return IMP_OK;
}

/* The place of a matrix's real numbers, at which the source then is. */
static imp_status find_numbers(
    source *s, const char *where, const matrix *m, imp_dtype *dtype, run *out) {
    element e;
    if (m->complex || (m->class != SINGLE_CLASS && m->class != DOUBLE_CLASS))
        return imp_foreign_fail(s->f,
            "%s: expected real numbers of class single or double, found %sclass %u",
            where, m->complex ? "complex ones of " : "", m->class);
    *dtype = m->class == DOUBLE_CLASS ? IMP_DTYPE_F64 : IMP_DTYPE_F32;
    imp_status status = next_element(s, where, m->end, &e);
    if (status) return status;
    size_t size = width(e.type), expected;
    if (size == 0 || !imp_mul(&expected, m->count, size) || expected != e.size)
        return imp_foreign_fail(s->f,
            "%s: expected %zu numbers as its dimensions say, found %zu bytes of type "
            "%u",
            where, m->count, e.size, (unsigned)e.type);
    *out = (run){.data = s->data,
        .pos = s->pos,
        .size = e.size,
        .type = e.type,
        .count = m->count};
    return IMP_OK;
}

/* --- structs and cells --- */

typedef struct fields {
    size_t n;
    char names[FIELDS][FIELD];
} fields;

/* The names of a struct's fields: one struct, not an array of them. */
static imp_status read_fields(
    source *s, const char *where, const matrix *m, fields *out) {
    uint8_t size[4];
    element e;
    out->n = 0;
    if (m->class != STRUCT_CLASS || m->count != 1)
        return imp_foreign_fail(s->f, "%s: expected one struct, found %zu of class %u",
            where, m->count, m->class);
    imp_status status = next_element(s, where, m->end, &e);
    if (!status) status = take(s, where, &e, INT32, size, sizeof size);
    if (status) return status;
    size_t each = e.size == 4 ? word(size) : 0;
    if ((status = next_element(s, where, m->end, &e))) return status;
    if (e.type != INT8 || each == 0 || each > FIELD || e.size % each ||
        e.size / each > FIELDS)
        return imp_foreign_fail(s->f,
            "%s: fields: expected at most %d, of names below %d bytes, found %zu bytes "
            "by %zu",
            where, FIELDS, FIELD, e.size, each);
    for (size_t i = 0; i < e.size / each; i++) {
        if ((status = bytes(s, out->names[i], each))) return status;
        out->names[i][each - 1] = 0;
        out->n++;
    }
    return go_to(s, e.end);
}

/* Characters, of which only those of ASCII are taken. */
static imp_status read_text(
    source *s, const char *where, const matrix *m, char *out, size_t room) {
    uint8_t text[2 * IMP_FOREIGN_NAME];
    element e;
    imp_status status = next_element(s, where, m->end, &e);
    if (status) return status;
    size_t size = e.type == UINT16 ? 2 : 1;
    bool fits = m->class == CHAR_CLASS && e.size <= sizeof text && e.size / size < room;
    if (!fits ||
        (e.type != UINT16 && e.type != UINT8 && e.type != INT8 && e.type != UTF8))
        return imp_foreign_fail(s->f,
            "%s: expected below %zu characters, found %zu bytes of type %u", where,
            room, e.size, (unsigned)e.type);
    if ((status = bytes(s, text, e.size))) return status;
    size_t n = e.size / size;
    for (size_t i = 0; i < n; i++) {
        bool ascii = text[size * i] < 127 && text[size * i] > 32 &&
                     (size == 1 || text[size * i + 1] == 0);
        out[i] = (char)(ascii ? text[size * i] : '?');
    }
    out[n] = 0;
    return IMP_OK;
}

/* --- layers --- */

/* Keep the numbers at the source, which is packed. */
static imp_status hold(source *s, const char *where, run *at) {
    state *st = s->f->state;
    if (st->n_held == IMP_FOREIGN_COUNT)
        return imp_foreign_fail(s->f, "%s: expected at most %d arrays, found more",
            where, IMP_FOREIGN_COUNT);
    uint8_t *held = malloc(at->size ? at->size : 1);
    if (!held) return imp_fail(s->f->ctx, IMP_ERR_LIMIT, "%s: no memory", s->f->path);
    st->held[st->n_held++] = held;
    at->data = held;
    at->pos = 0;
    return bytes(s, held, at->size);
}

/* Filters H x W x I x O (those of 1 at the end may be missing) or a vector of biases. */
static imp_status read_array(
    source *s, const char *where, const element *e, bool bias, found *out) {
    matrix m;
    imp_status status = open_matrix(s, where, e, &m);
    if (status || m.count == 0) return status;
    imp_foreign_tensor *t = &out->tensor;
    *t = (imp_foreign_tensor){.column_major = true, .ndim = bias ? 1 : 4};
    if ((status = find_numbers(s, where, &m, &t->dtype, &out->run))) return status;
    size_t longest = 0;
    for (size_t i = 0; i < m.ndim; i++)
        if (m.shape[i] > longest) longest = m.shape[i];
    if (bias ? longest != m.count : m.ndim > 4)
        return imp_foreign_fail(s->f,
            "%s: expected %s, found %zu dimensions, %zu numbers", where,
            bias ? "a vector of biases" : "filters of at most 4 dimensions", m.ndim,
            m.count);
    for (size_t i = 0; i < 4; i++) t->shape[i] = i < m.ndim ? m.shape[i] : 1;
    if (bias) t->shape[0] = m.count;
    t->inside =
        !s->packed && out->run.type == (t->dtype == IMP_DTYPE_F64 ? DOUBLE : SINGLE);
    t->offset = t->inside ? out->run.pos : 0;
    out->there = true;
    return s->packed ? hold(s, where, &out->run) : IMP_OK;
}

/* {filters, biases}, or {}. */
static imp_status read_weights(
    source *s, const char *where, const element *e, found arrays[2]) {
    matrix m;
    imp_status status = open_matrix(s, where, e, &m);
    if (status || m.count == 0) return status;
    if (m.class != CELL_CLASS || m.count > 2)
        return imp_foreign_fail(s->f,
            "%s: expected a cell of filters and biases, found %zu of class %u", where,
            m.count, m.class);
    for (size_t i = 0; i < m.count; i++) {
        element inner;
        if ((status = next_element(s, where, m.end, &inner))) return status;
        if ((status = read_array(s, where, &inner, i == 1, &arrays[i]))) return status;
        if ((status = go_to(s, inner.end))) return status;
    }
    return IMP_OK;
}

static imp_status add_layer(
    source *s, const char *where, const char *name, found arrays[2]) {
    static const char *const whats[] = {"weight", "bias"};
    imp_foreign *f = s->f;
    state *st = f->state;
    for (int i = 0; i < 2; i++) {
        if (!arrays[i].there) continue;
        if (!name[0])
            return imp_foreign_fail(f, "%s: expected a name, as it has weights", where);
        imp_status status =
            imp_foreign_name(f, &arrays[i].tensor, "%s.%s", name, whats[i]);
        if (!status) status = imp_foreign_add(f, &arrays[i].tensor);
        if (status) return status;
        st->runs[f->n - 1] = arrays[i].run;
    }
    return IMP_OK;
}

/* A layer: its weights as {filters, biases} or as fields of these names. */
static imp_status read_layer(source *s, const char *where, const element *e) {
    matrix m, text;
    fields names;
    found arrays[2] = {0};
    char name[IMP_FOREIGN_NAME] = "", place[160];
    imp_status status = open_matrix(s, where, e, &m);
    if (!status) status = read_fields(s, where, &m, &names);
    for (size_t i = 0; !status && i < names.n; i++) {
        element field;
        const char *what = names.names[i];
        snprintf(place, sizeof place, "%s.%s", where, what);
        if ((status = next_element(s, place, m.end, &field))) return status;
        if (!strcmp(what, "name")) {
            status = open_matrix(s, place, &field, &text);
            if (!status && text.count)
                status = read_text(s, place, &text, name, sizeof name);
        } else if (!strcmp(what, "weights"))
            status = read_weights(s, place, &field, arrays);
        else if (!strcmp(what, "filters"))
            status = read_array(s, place, &field, false, &arrays[0]);
        else if (!strcmp(what, "biases"))
            status = read_array(s, place, &field, true, &arrays[1]);
        if (!status) status = go_to(s, field.end);
    }
    return status ? status : add_layer(s, where, name, arrays);
}

static imp_status read_layers(source *s, const matrix *m) {
    char place[40];
    if (m->class != CELL_CLASS || m->count > CELLS)
        return imp_foreign_fail(s->f,
            "layers: expected a cell, as a SimpleNN of MatConvNet has, found %zu of "
            "class "
            "%u",
            m->count, m->class);
    for (size_t i = 0; i < m->count; i++) {
        element e;
        snprintf(place, sizeof place, "layers{%zu}", i + 1);
        imp_status status = next_element(s, place, m->end, &e);
        if (!status) status = read_layer(s, place, &e);
        if (!status) status = go_to(s, e.end);
        if (status) return status;
    }
    return IMP_OK;
}

/* --- the mean --- */

typedef struct sums {
    imp_dtype dtype;
    size_t i, each; /* numbers seen, numbers of a channel */
    double sum[3];
} sums;

static imp_status sum_up(void *user, const uint8_t *p, size_t n) {
    sums *s = user;
    uint32_t type = s->dtype == IMP_DTYPE_F64 ? DOUBLE : SINGLE;
    for (size_t k = 0; k < n; k++)
        s->sum[s->i++ / s->each] += number(type, p + k * width(type));
    return IMP_OK;
}

/* H x W x 3 or a vector of 3: the mean of each channel. */
static imp_status read_average(source *s, const char *where, const element *e) {
    matrix m;
    run at;
    sums sum = {0};
    imp_foreign *f = s->f;
    imp_status status = open_matrix(s, where, e, &m);
    if (status || m.count == 0) return status;
    if ((status = find_numbers(s, where, &m, &sum.dtype, &at))) return status;
    bool picture = m.ndim == 3 && m.shape[2] == 3;
    if (!picture && m.count != 3)
        return imp_foreign_fail(f,
            "%s: expected H x W x 3 or 3 numbers, found %zu dimensions, %zu numbers",
            where, m.ndim, m.count);
    sum.each = m.count / 3;
    if ((status = numbers(s, sum.dtype, &at, sum_up, &sum))) return status;
    for (int c = 0; c < 3; c++) {
        f->mean[c] = (float)(sum.sum[c] / (double)sum.each);
        if (!isfinite(f->mean[c]))
            return imp_foreign_fail(
                f, "%s: channel %d: expected a number, found none", where, c);
    }
    f->has_mean = true;
    return IMP_OK;
}

/* Stand at the field `name` of a struct; *there: it has one. */
static imp_status find_field(source *s, const char *where, const matrix *m,
    const char *name, element *e, bool *there) {
    fields names;
    imp_status status = read_fields(s, where, m, &names);
    *there = false;
    for (size_t i = 0; !status && i < names.n && !*there; i++) {
        if ((status = next_element(s, where, m->end, e))) return status;
        *there = !strcmp(names.names[i], name);
        if (!*there) status = go_to(s, e->end);
    }
    return status;
}

static imp_status read_normalization(source *s, const char *where, const matrix *m) {
    element e;
    bool there;
    char place[80];
    if (m->count == 0) return IMP_OK;
    imp_status status = find_field(s, where, m, "averageImage", &e, &there);
    if (status || !there) return status;
    snprintf(place, sizeof place, "%s.averageImage", where);
    return read_average(s, place, &e);
}

static imp_status read_meta(source *s, const matrix *m) {
    element e;
    matrix inner;
    bool there;
    imp_status status = find_field(s, "meta", m, "normalization", &e, &there);
    if (status || !there) return status;
    status = open_matrix(s, "meta.normalization", &e, &inner);
    return status ? status : read_normalization(s, "meta.normalization", &inner);
}

/* --- the file --- */

/* The variable at the source; *end: where it ends, 0 where it was none of ours. */
static imp_status read_variable(source *s, const element *e, size_t *end) {
    matrix m;
    state *st = s->f->state;
    imp_status status = open_matrix(s, "a variable", e, &m);
    *end = 0;
    if (status) return status;
    bool layers = !strcmp(m.name, "layers"), meta = !strcmp(m.name, "meta");
    if (!layers && !meta && strcmp(m.name, "normalization")) return IMP_OK;
    if (!imp_add_size(&st->entered, st->entered, e->size) ||
        st->entered > imp_foreign_allowance(s->f->size))
        return imp_foreign_fail(s->f,
            "%s: with those before it expected at most %zu bytes, found %zu", m.name,
            imp_foreign_allowance(s->f->size), st->entered);
    *end = e->end;
    return layers ? read_layers(s, &m)
           : meta ? read_meta(s, &m)
                  : read_normalization(s, m.name, &m);
}

/* To the end of a packed variable, where zlib compares its sum. */
static imp_status drain(source *s, size_t end) {
    imp_status status = go_to(s, end);
    while (!status && s->taken == s->n && !s->ended) status = inflate_some(s);
    if (status || s->taken == s->n) return status;
    return imp_foreign_fail(s->f,
        "packed variable at byte %zu: expected its end at %zu, found more bytes",
        s->start, end);
}

static imp_status read_packed(imp_foreign *f, size_t start, size_t stop) {
    source s;
    element e;
    size_t end;
    imp_status status = unpack(&s, f, start, stop);
    if (status) return status;
    status = next_element(&s, "a packed variable", s.end, &e);
    if (!status) status = read_variable(&s, &e, &end);
    if (!status && end) status = drain(&s, end);
    close_source(&s);
    return status;
}

/* The element at *pos of the file. Unlike those within matrices a packed one has no bytes
 * after it to fill up eight. */
static imp_status read_top(imp_foreign *f, size_t *pos) {
    size_t end, size;
    element e;
    if (!imp_in_range(*pos, 8, f->size))
        return imp_foreign_fail(
            f, "byte %zu: expected a variable, found the file's end", *pos);
    if (word(f->data + *pos) == PACKED) {
        size = word(f->data + *pos + 4);
        if (!imp_in_range(*pos + 8, size, f->size))
            return imp_foreign_fail(f,
                "packed variable at byte %zu: expected %zu bytes, found %zu", *pos,
                size, f->size - *pos - 8);
        imp_status status = read_packed(f, *pos + 8, *pos + 8 + size);
        *pos += 8 + size;
        return status;
    }
    source s = plain(f, f->data, *pos, f->size);
    imp_status status = next_element(&s, "a variable", f->size, &e);
    if (status) return status;
    *pos = e.end;
    return e.type == MATRIX ? read_variable(&s, &e, &end) : IMP_OK;
}

static bool recognise(const uint8_t *data, size_t size) {
    return size >= HEADER && !memcmp(data, "MATLAB ", 7) &&
           ((data[126] == 'I' && data[127] == 'M') ||
               (data[126] == 'M' && data[127] == 'I'));
}

static imp_status open_file(imp_foreign *f) {
    unsigned version = f->data[126] == 'I' ? f->data[125] : f->data[124];
    if (version != 1)
        return imp_foreign_fail(f, "version: expected a MAT-file of level 5, found %s",
            version == 2 ? "one of 7.3 (HDF5): save it in MATLAB by save -v7"
                         : "another");
    if (f->data[126] != 'I')
        return imp_foreign_fail(f, "byte order: expected little endian, found big");
    if (!(f->state = calloc(1, sizeof(state))))
        return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    size_t variables = 0;
    for (size_t pos = HEADER; pos < f->size;) {
        imp_status status = read_top(f, &pos);
        if (status) return status;
        if (++variables > VARIABLES)
            return imp_foreign_fail(
                f, "expected at most %d variables, found more", VARIABLES);
    }
    return f->n ? IMP_OK
                : imp_foreign_fail(f, "expected a variable `layers` with weights");
}

static imp_status send(void *user, const uint8_t *p, size_t n) {
    const imp_foreign_tensor *t = ((void **)user)[1];
    return imp_foreign_send(((void **)user)[0], p, n * imp_dtype_size(t->dtype));
}

static imp_status read_tensor(imp_foreign *f, size_t i) {
    const state *st = f->state;
    const run *at = &st->runs[i];
    imp_dtype dtype = f->tensors[i].dtype;
    if (at->type == (dtype == IMP_DTYPE_F64 ? DOUBLE : SINGLE))
        return imp_foreign_send(f, at->data + at->pos, at->size);
    void *user[] = {f, &f->tensors[i]};
    source from = plain(f, at->data, at->pos, at->pos + at->size);
    return numbers(&from, dtype, at, send, user);
}

static void close_file(imp_foreign *f) {
    state *st = f->state;
    for (size_t i = 0; st && i < st->n_held; i++) free(st->held[i]);
    free(st);
    f->state = NULL;
}

const imp_reader imp_reader_mat = {.format = "MatConvNet",
    .recognise = recognise,
    .open = open_file,
    .read = read_tensor,
    .close = close_file};
