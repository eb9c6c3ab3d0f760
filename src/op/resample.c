/* SPDX-License-Identifier: MIT
 *
 * resample.c: antialiased resizing, as PIL defines it (Pillow,
 * src/libImaging/Resample.c; cubic convolution: Keys 1981; windowed sinc: Turkowski
 * 1990). One axis of n pixels becomes one of m: output i is a weighted mean of the
 * inputs around its centre,
 *
 *     y(i)   = sum_j R(i,j) x(j)
 *     R(i,j) = f((j + 0.5 - centre) / wide) / sum of these over j
 *     centre = (i + 0.5) n/m
 *     wide   = max(1, n/m): the filter is widened when shrinking
 *
 * over the j from max(0, trunc(centre - reach + 0.5)) up to, not including,
 * min(n, trunc(centre + reach + 0.5)), reach = wide times 2 (bicubic) or 3 (Lanczos),
 * with
 *
 *     bicubic:  f(u) = 1.5 |u|^3 - 2.5 |u|^2 + 1              |u| < 1
 *                      -0.5 |u|^3 + 2.5 |u|^2 - 4 |u| + 2     |u| < 2     (a = -0.5)
 *     Lanczos:  f(u) = sinc(u) sinc(u/3)                      |u| < 3
 *
 * In two dimensions Y = Rv X Rh': rows first, then columns; an axis that keeps its size
 * is left alone. The gradient is the transposed map, dX = Rv' dY Rh.
 */
#include "op/op.h"

#include <stdlib.h>
#include <string.h>

/* --- the filters and the weights of one axis, in double --- */

/* sin(pi u), |u| <= 3, without libm, which differs from machine to machine: Taylor
 * around the nearest integer; the next term is below 1e-17. */
static double sin_pi(double u) {
    int nearest = (int)(u < 0 ? u - 0.5 : u + 0.5);
    double t = 3.14159265358979323846 * (u - nearest), z = t * t, s = 0;
    for (int k = 21; k >= 3; k -= 2) s = (s + 1) * -z / (k * (k - 1));
    s = t + t * s;
    return nearest % 2 ? -s : s;
}

static double sinc(double u) {
    return u == 0 ? 1 : sin_pi(u) / (3.14159265358979323846 * u);
}

static double filter_value(imp_filter filter, double u) {
    if (u < 0) u = -u;
    if (filter == IMP_LANCZOS) return u < 3 ? sinc(u) * sinc(u / 3) : 0;
    if (u < 1) return (1.5 * u - 2.5) * u * u + 1;
    return u < 2 ? ((-0.5 * u + 2.5) * u - 4) * u + 2 : 0;
}

/* What output i reads: inputs first .. end-1. */
typedef struct window {
    imp_filter filter;
    double centre, wide, sum;
    size_t first, end;
} window;

static double unscaled(const window *v, size_t j) {
    return filter_value(v->filter, ((double)j + 0.5 - v->centre) / v->wide);
}

static double weight(const window *v, size_t j) { /* R(i,j) */
    return unscaled(v, j) / v->sum;
}

static window window_of(imp_filter filter, size_t n, size_t m, size_t i) {
    double scale = (double)n / (double)m;
    window v = {.filter = filter, .centre = ((double)i + 0.5) * scale, .wide = 1};
    if (n == m) { /* identity */
        v.first = i, v.end = i + 1, v.sum = 1;
        return v;
    }
    if (scale > 1) v.wide = scale;
    double reach = v.wide * (filter == IMP_LANCZOS ? 3 : 2);
    double first = v.centre - reach + 0.5, end = v.centre + reach + 0.5;
    v.first = first > 0 ? (size_t)first : 0;
    v.end = end < (double)n ? (size_t)end : n;
    for (size_t j = v.first; j < v.end; j++) v.sum += unscaled(&v, j);
    return v;
}

static imp_status resample_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)n_in;
    const imp_resample_attr *a = attr;
    if (a->height == 0 || a->width == 0)
        return imp_fail(ctx, IMP_ERR_ARG,
            "resample: expected a size of at least 1 x 1, found %zu x %zu", a->height,
            a->width);
    *out = (imp_shape){in[0].n, in[0].c, a->height, a->width, IMP_MAP};
    return IMP_OK;
}

/* --- reference: both ways are one sum over all i, j, h, w --- */

static void resample_ref(const imp_ref_call *c, bool forward) {
    imp_filter filter = ((const imp_resample_attr *)c->attr)->filter;
    const imp_shape *x = &c->in[0], *y = &c->out;
    for (size_t i = 0; i < y->h; i++)
        for (size_t j = 0; j < y->w; j++) {
            window v = window_of(filter, x->h, y->h, i);
            window u = window_of(filter, x->w, y->w, j);
            for (size_t nc = 0; nc < x->n * x->c; nc++) {
                size_t at = (nc * y->h + i) * y->w + j;
                if (forward) c->y[at] = 0;
                for (size_t h = v.first; h < v.end; h++)
                    for (size_t w = u.first; w < u.end; w++) {
                        double r = weight(&v, h) * weight(&u, w);
                        size_t from = (nc * x->h + h) * x->w + w;
                        if (forward)
                            c->y[at] += r * c->x[0][from];
                        else
                            c->dx[0][from] += r * c->dy[at];
                    }
            }
        }
}

static void resample_forward_ref(const imp_ref_call *c) {
    resample_ref(c, true);
}

static void resample_backward_ref(const imp_ref_call *c) {
    if (c->dx[0]) resample_ref(c, false);
}

/* --- fast: one axis as a band matrix --- */

/* Output i is the sum over k < end[i] - first[i] of weight[i * width + k] times input
 * first[i] + k. It lies in memory of the caller: band_bytes. */
typedef struct band {
    size_t n, m, width;
    size_t *first, *end;
    float *weight;
} band;

/* An upper bound of the inputs that one output reads. */
static size_t band_width(size_t n, size_t m) {
    size_t width = n > m ? 6 * (n / m + 1) + 1 : 7;
    return imp_least(width, n);
}

/* An upper bound of the outputs that read one input: the width of the transposed band.
 */
static size_t band_width_transposed(size_t n, size_t m) {
    size_t width = n < m ? 8 * (m / n + 1) + 2 : 10;
    return imp_least(width, m);
}

static size_t band_bytes(size_t m, size_t width) {
    return imp_round64(m * (2 * sizeof(size_t) + width * sizeof(float)));
}

static band band_in(void *memory, size_t n, size_t m, size_t width) {
    size_t *first = memory;
    return (band){n, m, width, first, first + m, (float *)(first + 2 * m)};
}

static band band_make(void *memory, imp_filter filter, size_t n, size_t m) {
    band b = band_in(memory, n, m, band_width(n, m));
    for (size_t i = 0; i < m; i++) {
        window v = window_of(filter, n, m, i);
        b.first[i] = v.first;
        b.end[i] = v.end;
        for (size_t j = v.first; j < v.end; j++)
            b.weight[i * b.width + j - v.first] = (float)weight(&v, j);
    }
    return b;
}

/* The transposed matrix: input j gathers from the outputs that read it, a range since
 * the windows move on with i. */
static band band_make_transposed(void *memory, imp_filter filter, size_t n, size_t m) {
    band b = band_in(memory, m, n, band_width_transposed(n, m));
    for (size_t j = 0; j < n; j++) b.first[j] = b.end[j] = 0;
    for (size_t i = 0; i < m; i++) {
        window v = window_of(filter, n, m, i);
        for (size_t j = v.first; j < v.end; j++) {
            if (b.end[j] == 0) b.first[j] = i;
            b.end[j] = i + 1;
            b.weight[j * b.width + i - b.first[j]] = (float)weight(&v, j);
        }
    }
    return b;
}

/* --- fast: the two passes. A map is `planes` planes of rows of pixels of `lanes`
 * floats: 16 in a blocked map, 1 in a plain one --- */

typedef struct pass {
    const band *b;
    size_t
        other; /* rows of a plane (pass along rows), pixels of a row (along columns) */
    size_t lanes;
    const float *x;
    float *y;
    bool add;
} pass;

static inline void resample_row(const pass *p, const float *x, float *y, size_t lanes) {
    const band *b = p->b;
    for (size_t i = 0; i < b->m; i++, y += lanes) {
        float sum[16] = {0};
        const float *w = b->weight + i * b->width;
        const float *from = x + b->first[i] * lanes;
        for (size_t k = 0; k < b->end[i] - b->first[i]; k++, from += lanes)
            for (size_t l = 0; l < lanes; l++) sum[l] += w[k] * from[l];
        for (size_t l = 0; l < lanes; l++) y[l] = p->add ? y[l] + sum[l] : sum[l];
    }
}

static void rows_task(void *arg, size_t row, int thread) {
    (void)thread;
    const pass *p = arg;
    const float *x = p->x + row * p->b->n * p->lanes;
    float *y = p->y + row * p->b->m * p->lanes;
    if (p->lanes == 16) /* a constant for the compiler */
        resample_row(p, x, y, 16);
    else
        resample_row(p, x, y, 1);
}

static void columns_task(void *arg, size_t task, int thread) {
    (void)thread;
    const pass *p = arg;
    const band *b = p->b;
    size_t plane = task / b->m, i = task % b->m, row = p->other * p->lanes;
    const float *x = p->x + (plane * b->n + b->first[i]) * row;
    const float *w = b->weight + i * b->width;
    float *restrict y = p->y + task * row;
    if (!p->add) memset(y, 0, row * sizeof *y);
    for (size_t k = 0; k < b->end[i] - b->first[i]; k++, x += row)
        for (size_t l = 0; l < row; l++) y[l] += w[k] * x[l];
}

/* y (+)= the planes of x, n rows by n columns, through the bands of rows and of
 * columns; NULL: that axis stays. [scratch] between: planes x rows of x x columns of y.
 */
typedef struct resampling {
    const band *columns, *rows;          /* of the height, of the width */
    size_t planes, height, width, lanes; /* of x */
    float *between;
} resampling;

static void run(imp_ctx *ctx, const resampling *r, const float *x, float *y, bool add) {
    const band *v = r->columns, *u = r->rows;
    if (u) {
        pass p = {u, r->height, r->lanes, x, v ? r->between : y, v ? false : add};
        imp_parallel(ctx, r->planes * r->height, rows_task, &p);
    }
    if (v) {
        pass p = {v, u ? u->m : r->width, r->lanes, u ? r->between : x, y, add};
        imp_parallel(ctx, r->planes * v->m, columns_task, &p);
    }
}

static size_t between_count(const imp_shape *in, const imp_shape *out, bool back) {
    if (in->h == out->h || in->w == out->w) return 0;
    const imp_shape *x = back ? out : in, *y = back ? in : out;
    return in->n * imp_round16(in->c) * x->h * y->w;
}

/* Scratch: the band of the height, that of the width, the map between the passes. */
static size_t axis_bytes(size_t n, size_t m, bool back) {
    return back ? band_bytes(n, band_width_transposed(n, m))
                : band_bytes(m, band_width(n, m));
}

static size_t call_bytes(const imp_shape *in, const imp_shape *out, bool back) {
    return axis_bytes(in->h, out->h, back) + axis_bytes(in->w, out->w, back) +
           between_count(in, out, back) * sizeof(float);
}

static imp_need resample_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx;
    (void)attr;
    size_t forward = call_bytes(in, out, false);
    size_t backward = want ? call_bytes(in, out, true) : 0;
    return (imp_need){.scratch = forward > backward ? forward : backward};
}

static void resample_call(
    const imp_call *c, const float *from, float *to, bool back, bool add) {
    imp_filter filter = ((const imp_resample_attr *)c->attr)->filter;
    const imp_shape *x = &c->in[0], *y = &c->out, *source = back ? y : x;
    band (*make)(void *, imp_filter, size_t, size_t) =
        back ? band_make_transposed : band_make;
    char *memory = c->scratch;
    band v, u;
    resampling r = {.planes = x->n * (imp_round16(x->c) / 16),
        .height = source->h,
        .width = source->w,
        .lanes = 16};
    if (x->h != y->h) v = make(memory, filter, x->h, y->h), r.columns = &v;
    memory += axis_bytes(x->h, y->h, back);
    if (x->w != y->w) u = make(memory, filter, x->w, y->w), r.rows = &u;
    memory += axis_bytes(x->w, y->w, back);
    r.between = (float *)memory;
    size_t count = imp_blocked_count(*x);
    if (r.columns || r.rows)
        run(c->ctx, &r, from, to, add);
    else if (add)
        c->ctx->kernels->add(count, to, from, to);
    else
        memcpy(to, from, count * sizeof *to);
}

static void resample_forward(const imp_call *c) {
    resample_call(c, c->x[0], c->y, false, false);
}

static void resample_backward(const imp_call *c) {
    if (c->dx[0]) resample_call(c, c->dy, c->dx[0], true, c->add[0]);
}

/* --- on plain planes: impasto.h --- */

/* The sizes of imp_resize: floats of x, of y and between, bytes of scratch; false:
 * overflow. */
static bool sizes(
    const imp_shape *in, const imp_shape *out, size_t *count, size_t *bytes) {
    size_t between, all;
    const size_t most = SIZE_MAX / 256;
    if (in->h > most || in->w > most || out->h > most || out->w > most) return false;
    if (!imp_mul(count, in->c, in->h) || !imp_mul(&between, *count, out->w))
        return false;
    if (!imp_mul(count, *count, in->w) || !imp_mul(&all, in->c, out->h)) return false;
    if (!imp_mul(&all, all, out->w) || all > most || *count > most) return false;
    if (!imp_mul(bytes, between, sizeof(float))) return false;
    return imp_add_size(bytes, *bytes, axis_bytes(in->h, out->h, false)) &&
           imp_add_size(bytes, *bytes, axis_bytes(in->w, out->w, false));
}

imp_status imp_resize(imp_ctx *ctx, float *y, size_t new_height, size_t new_width,
    const float *x, size_t channels, size_t height, size_t width, imp_filter filter) {
    if (!channels || !height || !width || !new_height || !new_width)
        return imp_fail(ctx, IMP_ERR_ARG,
            "resize: sizes must be 1 or more, found %zu planes of %zu x %zu to %zu x "
            "%zu",
            channels, width, height, new_width, new_height);
    imp_shape in = {1, channels, height, width, IMP_MAP};
    imp_shape out = {1, channels, new_height, new_width, IMP_MAP};
    size_t count, bytes;
    if (!sizes(&in, &out, &count, &bytes))
        return imp_fail(ctx, IMP_ERR_LIMIT,
            "resize: %zu x %zu to %zu x %zu is too large", width, height, new_width,
            new_height);
    if (height == new_height && width == new_width) {
        memcpy(y, x, count * sizeof *y);
        return IMP_OK;
    }
    char *memory = imp_alloc(bytes);
    if (!memory)
        return imp_fail(ctx, IMP_ERR_LIMIT, "resize: no memory (%zu bytes)", bytes);
    size_t first = axis_bytes(height, new_height, false);
    size_t second = axis_bytes(width, new_width, false);
    band v = band_make(memory, filter, height, new_height);
    band u = band_make(memory + first, filter, width, new_width);
    resampling r = {.columns = height != new_height ? &v : NULL,
        .rows = width != new_width ? &u : NULL,
        .planes = channels,
        .height = height,
        .width = width,
        .lanes = 1,
        .between = (float *)(memory + first + second)};
    run(ctx, &r, x, y, false);
    imp_release(memory);
    return IMP_OK;
}

const imp_op imp_op_resample = {.name = "resample",
    .shape = resample_shape,
    .need = resample_need,
    .forward = resample_forward,
    .backward = resample_backward,
    .forward_ref = resample_forward_ref,
    .backward_ref = resample_backward_ref};
