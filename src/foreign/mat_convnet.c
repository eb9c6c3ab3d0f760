/* SPDX-License-Identifier: MIT
 *
 * mat_convnet.c: MatConvNet's networks in MAT-files: of a cell `layers`, each layer's name and
 * weights; of `normalization` or `meta.normalization`, the mean. Numbers out of packed variables
 * are held, since to inflate them once more would take as long as all else.
 */
#include "foreign/mat.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER    128
#define VARIABLES 4096    /* of a file at most */
#define CELLS     1000000 /* layers at most */

typedef struct found { /* one of a layer's two arrays */
    bool there;
    imp_foreign_tensor tensor;
    imp_mat_run run;
} found;

typedef struct state {
    size_t entered; /* bytes of the variables that are read */
    size_t used;    /* of the shared memory */
    imp_mat_run runs[IMP_FOREIGN_COUNT];
} state;

/* --- layers --- */

/* Keep the numbers at the source, which is packed. */
static imp_status hold(imp_mat_source *s, const char *where, imp_mat_run *at) {
    state *st = s->f->state;
    imp_foreign *f = s->f;
    if (!f->shared) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    if (!imp_in_range(st->used, at->size, f->shared_size))
        return imp_foreign_fail(f,
            "%s: with those before it expected at most %zu bytes, found more", where,
            f->shared_size);
    at->data = f->shared;
    at->pos = st->used;
    st->used += imp_least(
        imp_divide_up(at->size, 8) * 8, f->shared_size - st->used); /* aligned */
    return imp_mat_bytes(s, f->shared + at->pos, at->size);
}

/* Filters H x W x I x O (those of 1 at the end may be missing) or a vector of biases. */
static imp_status read_array(imp_mat_source *s, const char *where,
    const imp_mat_element *e, bool bias, found *out) {
    imp_mat_matrix m;
    imp_status status = imp_mat_open(s, where, e, &m);
    if (status || m.count == 0) return status;
    imp_foreign_tensor *t = &out->tensor;
    *t = (imp_foreign_tensor){.column_major = true, .ndim = bias ? 1 : 4};
    if ((status = imp_mat_find_numbers(s, where, &m, &t->dtype, &out->run)))
        return status;
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
    if (s->packed && (status = hold(s, where, &out->run))) return status;
    bool as_is = imp_mat_as_is(&out->run, t->dtype);
    t->inside = as_is && !s->packed;
    t->shared = as_is && s->packed;
    t->offset = as_is ? out->run.pos : 0;
    out->there = true;
    return IMP_OK;
}

/* {filters, biases}, or {}. */
static imp_status read_weights(
    imp_mat_source *s, const char *where, const imp_mat_element *e, found arrays[2]) {
    imp_mat_matrix m;
    imp_status status = imp_mat_open(s, where, e, &m);
    if (status || m.count == 0) return status;
    if (m.class != IMP_MAT_CELL_CLASS || m.count > 2)
        return imp_foreign_fail(s->f,
            "%s: expected a cell of filters and biases, found %zu of class %u", where,
            m.count, m.class);
    for (size_t i = 0; i < m.count; i++) {
        imp_mat_element inner;
        if ((status = imp_mat_next(s, where, m.end, &inner))) return status;
        if ((status = read_array(s, where, &inner, i == 1, &arrays[i]))) return status;
        if ((status = imp_mat_go_to(s, inner.end))) return status;
    }
    return IMP_OK;
}

static imp_status add_layer(
    imp_mat_source *s, const char *where, const char *name, found arrays[2]) {
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
static imp_status read_layer(
    imp_mat_source *s, const char *where, const imp_mat_element *e) {
    imp_mat_matrix m, text;
    imp_mat_names names;
    found arrays[2] = {0};
    char name[IMP_FOREIGN_NAME] = "", place[160];
    imp_status status = imp_mat_open(s, where, e, &m);
    if (!status) status = imp_mat_read_names(s, where, &m, &names);
    for (size_t i = 0; !status && i < names.n; i++) {
        imp_mat_element field;
        const char *what = names.names[i];
        snprintf(place, sizeof place, "%s.%s", where, what);
        if ((status = imp_mat_next(s, place, m.end, &field))) return status;
        if (!strcmp(what, "name")) {
            status = imp_mat_open(s, place, &field, &text);
            if (!status && text.count)
                status = imp_mat_text(s, place, &text, name, sizeof name);
        } else if (!strcmp(what, "weights"))
            status = read_weights(s, place, &field, arrays);
        else if (!strcmp(what, "filters"))
            status = read_array(s, place, &field, false, &arrays[0]);
        else if (!strcmp(what, "biases"))
            status = read_array(s, place, &field, true, &arrays[1]);
        if (!status) status = imp_mat_go_to(s, field.end);
    }
    return status ? status : add_layer(s, where, name, arrays);
}

static imp_status read_layers(imp_mat_source *s, const imp_mat_matrix *m) {
    char place[40];
    if (m->class != IMP_MAT_CELL_CLASS || m->count > CELLS)
        return imp_foreign_fail(s->f,
            "layers: expected a cell, as a SimpleNN of MatConvNet has, found %zu of "
            "class "
            "%u",
            m->count, m->class);
    for (size_t i = 0; i < m->count; i++) {
        imp_mat_element e;
        snprintf(place, sizeof place, "layers{%zu}", i + 1);
        imp_status status = imp_mat_next(s, place, m->end, &e);
        if (!status) status = read_layer(s, place, &e);
        if (!status) status = imp_mat_go_to(s, e.end);
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
    for (size_t k = 0; k < n; k++) {
        double twice;
        float single;
        if (s->dtype == IMP_DTYPE_F64)
            memcpy(&twice, p + 8 * k, 8);
        else {
            memcpy(&single, p + 4 * k, 4);
            twice = (double)single;
        }
        s->sum[s->i++ / s->each] += twice;
    }
    return IMP_OK;
}

/* H x W x 3 or a vector of 3: the mean of each channel. */
static imp_status read_average(
    imp_mat_source *s, const char *where, const imp_mat_element *e) {
    imp_mat_matrix m;
    imp_mat_run at;
    sums sum = {0};
    imp_foreign *f = s->f;
    imp_status status = imp_mat_open(s, where, e, &m);
    if (status || m.count == 0) return status;
    if ((status = imp_mat_find_numbers(s, where, &m, &sum.dtype, &at))) return status;
    bool picture = m.ndim == 3 && m.shape[2] == 3;
    if (!picture && m.count != 3)
        return imp_foreign_fail(f,
            "%s: expected H x W x 3 or 3 numbers, found %zu dimensions, %zu numbers",
            where, m.ndim, m.count);
    sum.each = m.count / 3;
    if ((status = imp_mat_numbers(s, sum.dtype, &at, sum_up, &sum))) return status;
    for (int c = 0; c < 3; c++) {
        f->mean[c] = (float)(sum.sum[c] / (double)sum.each);
        if (!isfinite(f->mean[c]))
            return imp_foreign_fail(
                f, "%s: channel %d: expected a number, found none", where, c);
    }
    f->has_mean = true;
    return IMP_OK;
}

static imp_status read_normalization(
    imp_mat_source *s, const char *where, const imp_mat_matrix *m) {
    imp_mat_element e;
    bool there;
    char place[80];
    if (m->count == 0) return IMP_OK;
    imp_status status = imp_mat_find_field(s, where, m, "averageImage", &e, &there);
    if (status || !there) return status;
    snprintf(place, sizeof place, "%s.averageImage", where);
    return read_average(s, place, &e);
}

static imp_status read_meta(imp_mat_source *s, const imp_mat_matrix *m) {
    imp_mat_element e;
    imp_mat_matrix inner;
    bool there;
    imp_status status = imp_mat_find_field(s, "meta", m, "normalization", &e, &there);
    if (status || !there) return status;
    status = imp_mat_open(s, "meta.normalization", &e, &inner);
    return status ? status : read_normalization(s, "meta.normalization", &inner);
}

/* --- the file --- */

/* The variable at the source; *end: where it ends, 0 where it was none of ours. */
static imp_status read_variable(
    imp_mat_source *s, const imp_mat_element *e, size_t *end) {
    imp_mat_matrix m;
    state *st = s->f->state;
    imp_status status = imp_mat_open(s, "a variable", e, &m);
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

static imp_status read_packed(imp_foreign *f, size_t start, size_t stop) {
    imp_mat_source s;
    imp_mat_element e;
    size_t end;
    imp_status status = imp_mat_unpack(&s, f, start, stop);
    if (status) return status;
    status = imp_mat_next(&s, "a packed variable", s.end, &e);
    if (!status) status = read_variable(&s, &e, &end);
    if (!status && end) status = imp_mat_drain(&s, end);
    imp_mat_close(&s);
    return status;
}

/* The element at *pos of the file. Unlike those within matrices a packed one has no bytes
 * after it to fill up eight. */
static imp_status read_top(imp_foreign *f, size_t *pos) {
    size_t end, size;
    imp_mat_element e;
    if (!imp_in_range(*pos, 8, f->size))
        return imp_foreign_fail(
            f, "byte %zu: expected a variable, found the file's end", *pos);
    if (imp_mat_word(f->data + *pos) == IMP_MAT_PACKED) {
        size = imp_mat_word(f->data + *pos + 4);
        if (!imp_in_range(*pos + 8, size, f->size))
            return imp_foreign_fail(f,
                "packed variable at byte %zu: expected %zu bytes, found %zu", *pos,
                size, f->size - *pos - 8);
        imp_status status = read_packed(f, *pos + 8, *pos + 8 + size);
        *pos += 8 + size;
        return status;
    }
    imp_mat_source s = imp_mat_plain(f, f->data, *pos, f->size);
    imp_status status = imp_mat_next(&s, "a variable", f->size, &e);
    if (status) return status;
    *pos = e.end;
    return e.type == IMP_MAT_MATRIX ? read_variable(&s, &e, &end) : IMP_OK;
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
    const imp_mat_run *at = &st->runs[i];
    imp_dtype dtype = f->tensors[i].dtype;
    void *user[] = {f, &f->tensors[i]};
    imp_mat_source from = imp_mat_plain(f, at->data, at->pos, at->pos + at->size);
    return imp_mat_numbers(&from, dtype, at, send, user);
}

static void close_file(imp_foreign *f) {
    free(f->state);
    f->state = NULL;
}

const imp_reader imp_reader_mat = {.format = "MatConvNet",
    .shares = true,
    .recognise = recognise,
    .open = open_file,
    .read = read_tensor,
    .close = close_file};
