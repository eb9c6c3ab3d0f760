/* SPDX-License-Identifier: MIT
 *
 * conv2d.c: two-dimensional convolution (cross-correlation, as the field has it) of any
 * kernel, stride s and padding p. X is N, C, H, W; W is O, C, KH, KW; Y is N, O, OH, OW with
 * OH = (H + 2p - KH)/s + 1:
 *
 *     Xpad(n,c,h,w) = X(n,c,h-p,w-p) inside; outside 0, or the nearest pixel (replicate)
 *     Y(n,o,i,j)    = b(o) + sum_c sum_kh sum_kw W(o,c,kh,kw) Xpad(n,c, i s + kh, j s + kw)
 *     dW(o,c,kh,kw) = sum_n sum_ij dY(n,o,i,j) Xpad(n,c, i s + kh, j s + kw)
 *     db(o)         = sum_n sum_ij dY(n,o,i,j)
 *     dXpad(n,c, i s + kh, j s + kw) += sum_o dY(n,o,i,j) W(o,c,kh,kw)
 *
 * dX is dXpad without its border; with replicate padding the border is added to the pixel
 * that it repeats. (LeCun et al. 1998; the gradients follow from the sum by inspection.)
 *
 * Fast: a matrix product of pixels by taps (packed on the way, 16 channels of one pixel a
 * tap) with taps by outputs. The gradient by the input is the same product with the weights
 * transposed; the one by the weights is a sum over the pixels of outer products.
 */
#include "op/direct.h"
#include "op/matmul.h"
#include "op/narrow.h"
#include "op/weights.h"
#include "op/winograd.h"

#include <string.h>

static imp_shape output_shape(
    const imp_conv *a, const imp_shape *x, const imp_shape *w) {
    return (imp_shape){x->n, w->n, (x->h + 2 * a->pad - w->h) / a->stride + 1,
        (x->w + 2 * a->pad - w->w) / a->stride + 1, IMP_MAP};
}

static imp_status conv2d_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    const imp_conv *a = &((const imp_conv_attr *)attr)->conv;
    const imp_shape *x = &in[0], *w = &in[1];
    if (w->c != x->c)
        return imp_fail(ctx, IMP_ERR_ARG, "conv2d: input has %zu channels, weights %zu",
            x->c, w->c);
    if (n_in == 3 && imp_plain_count(in[2]) != w->n)
        return imp_fail(ctx, IMP_ERR_ARG,
            "conv2d: bias has %zu values, weights %zu outputs", imp_plain_count(in[2]),
            w->n);
    if (a->pad > SIZE_MAX / 4 || a->stride == 0 || x->h + 2 * a->pad < w->h ||
        x->w + 2 * a->pad < w->w)
        return imp_fail(ctx, IMP_ERR_ARG,
            "conv2d: a kernel of %zu x %zu (stride %zu, padding %zu) does not fit a "
            "map of "
            "%zu x %zu",
            w->h, w->w, a->stride, a->pad, x->h, x->w);
    if (x->layout == IMP_PICTURE && !imp_narrow_fits(a, w))
        return imp_fail(ctx, IMP_ERR_ARG,
            "conv2d: expected a kernel of 3 x 3 and stride 1 for a picture, found %zu "
            "x "
            "%zu and stride %zu",
            w->h, w->w, a->stride);
    *out = output_shape(a, x, w);
    return IMP_OK;
}

/* --- reference --- */

/* The source of padded coordinate i on a side of n pixels; n where there is none (zero). */
static size_t source_of(size_t i, size_t pad, size_t n, imp_padding padding) {
    if (i >= pad && i - pad < n) return i - pad;
    if (padding == IMP_PAD_ZERO) return n;
    return i < pad ? 0 : n - 1;
}

static double *at(
    const double *t, const imp_shape *s, size_t n, size_t c, size_t h, size_t w) {
    return (double *)t + ((n * s->c + c) * s->h + h) * s->w + w;
}

/* Visit every product of the sum: f(y or dy, x or dx, w or dw offsets). */
#define FOR_EACH_PRODUCT(c)                                                            \
    for (size_t n = 0; n < (c)->out.n; n++)                                            \
        for (size_t o = 0; o < (c)->out.c; o++)                                        \
            for (size_t i = 0; i < (c)->out.h; i++)                                    \
                for (size_t j = 0; j < (c)->out.w; j++)                                \
                    for (size_t ci = 0; ci < (c)->in[0].c; ci++)                       \
                        for (size_t kh = 0; kh < (c)->in[1].h; kh++)                   \
                            for (size_t kw = 0; kw < (c)->in[1].w; kw++)

static void conv2d_forward_ref(const imp_ref_call *c) {
    const imp_conv *a = &((const imp_conv_attr *)c->attr)->conv;
    const imp_shape *x = &c->in[0], *w = &c->in[1];
    for (size_t i = 0; i < imp_plain_count(c->out); i++)
        c->y[i] = c->x[2] ? c->x[2][i / (c->out.h * c->out.w) % c->out.c] : 0.0;
    FOR_EACH_PRODUCT(c) {
        size_t h = source_of(i * a->stride + kh, a->pad, x->h, a->padding);
        size_t v = source_of(j * a->stride + kw, a->pad, x->w, a->padding);
        if (h == x->h || v == x->w) continue;
        *at(c->y, &c->out, n, o, i, j) +=
            *at(c->x[1], w, o, ci, kh, kw) * *at(c->x[0], x, n, ci, h, v);
    }
}

static void conv2d_backward_ref(const imp_ref_call *c) {
    const imp_conv *a = &((const imp_conv_attr *)c->attr)->conv;
    const imp_shape *x = &c->in[0], *w = &c->in[1];
    if (c->dx[2])
        for (size_t i = 0; i < imp_plain_count(c->out); i++)
            c->dx[2][i / (c->out.h * c->out.w) % c->out.c] += c->dy[i];
    FOR_EACH_PRODUCT(c) {
        size_t h = source_of(i * a->stride + kh, a->pad, x->h, a->padding);
        size_t v = source_of(j * a->stride + kw, a->pad, x->w, a->padding);
        if (h == x->h || v == x->w) continue;
        double dy = *at(c->dy, &c->out, n, o, i, j);
        if (c->dx[0])
            *at(c->dx[0], x, n, ci, h, v) += dy * *at(c->x[1], w, o, ci, kh, kw);
        if (c->dx[1])
            *at(c->dx[1], w, o, ci, kh, kw) += dy * *at(c->x[0], x, n, ci, h, v);
    }
}

/* --- fast: packing the left side --- */

/* Rows are the pixels of a grid of `wide` a row. Forward: the grid of outputs, taps of x.
 * Backward: the grid of padded (replicate) or plain inputs, taps of dy. */
typedef struct pixels {
    const float *map; /* one sample, blocked */
    size_t c, h, w;   /* of the map */
    size_t kh, kw;    /* of the kernel */
    size_t wide;      /* the grid's pixels a row */
    size_t stride, pad;
    imp_padding padding;
    size_t origin; /* backward: padded coordinate of the grid's first pixel */
    const uint16_t
        *mask; /* backward: of the sample's ReLU; NULL: none, or applied already */
    const imp_kernels *kernels;
} pixels;

#define ABSENT SIZE_MAX

static size_t forward_source(const pixels *s, size_t out, size_t k, size_t n) {
    size_t i = source_of(out * s->stride + k, s->pad, n, s->padding);
    return i == n ? ABSENT : i;
}

static size_t backward_source(const pixels *s, size_t in, size_t k, size_t n) {
    size_t i = in + s->origin; /* = out * stride + k */
    if (i < k) return ABSENT;
    size_t out = i - k;
    if (s->stride > 1) { /* divisions are slow, and rarely needed */
        if (out % s->stride) return ABSENT;
        out /= s->stride;
    }
    return out < n ? out : ABSENT;
}

typedef size_t (*source_fn)(const pixels *s, size_t i, size_t k, size_t n);

/* `run` pixels of 16 channels from number `from` of the map on. */
static inline void copy_pixels(const pixels *s, size_t from, size_t run, float *a) {
    const float *map = s->map + from * 16;
    if (s->mask)
        s->kernels->mask(run * 16, map, s->mask + from, a, false);
    else
        memcpy(a, map, run * 16 * sizeof(float));
}

/* One tap (16 channels of block cb, kernel position kh, kw) of `rows` pixels from grid row
 * i, column j on. */
static inline void pack_tap(const pixels *s, source_fn source, size_t i, size_t j,
    size_t rows, size_t cb, size_t kh, size_t kw, float *a) {
    size_t map = cb * s->h * s->w;
    while (rows > 0) {
        size_t run = imp_least(s->wide - j, rows);
        size_t h = source(s, i, kh, s->h);
        size_t first = source(s, j, kw, s->w), last = source(s, j + run - 1, kw, s->w);
        if (h == ABSENT)
            memset(a, 0, run * 16 * sizeof(float));
        else if (first != ABSENT && last != ABSENT && last - first == run - 1)
            copy_pixels(s, map + h * s->w + first, run, a);
        else
            for (size_t r = 0; r < run; r++) {
                size_t w = source(s, j + r, kw, s->w);
                if (w == ABSENT)
                    memset(a + r * 16, 0, 16 * sizeof(float));
                else
                    copy_pixels(s, map + h * s->w + w, 1, a + r * 16);
            }
        a += run * 16;
        rows -= run;
        i++;
        j = 0;
    }
}

static inline void pack_taps(const pixels *s, source_fn source, size_t row0,
    size_t rows, size_t tap0, size_t taps, float *a, size_t a_tap) {
    size_t kw = tap0 % s->kw, kh = tap0 / s->kw % s->kh, cb = tap0 / s->kw / s->kh;
    size_t i = row0 / s->wide, j = row0 % s->wide;
    for (size_t t = 0; t < taps; t++, a += a_tap) {
        pack_tap(s, source, i, j, rows, cb, kh, kw, a);
        if (++kw < s->kw) continue;
        kw = 0;
        if (++kh < s->kh) continue;
        kh = 0;
        cb++;
    }
}

static void pack_forward(const void *source, size_t row0, size_t rows, size_t tap0,
    size_t taps, float *a, size_t a_tap) {
    pack_taps(source, forward_source, row0, rows, tap0, taps, a, a_tap);
}

static void pack_backward(const void *source, size_t row0, size_t rows, size_t tap0,
    size_t taps, float *a, size_t a_tap) {
    pack_taps(source, backward_source, row0, rows, tap0, taps, a, a_tap);
}

/* --- fast: 3 x 3 and 5 x 5 with stride 1 by Winograd --- */

static imp_winograd forward_winograd(const imp_conv *a, const imp_shape *in) {
    imp_shape y = output_shape(a, &in[0], &in[1]);
    return (imp_winograd){.samples = y.n,
        .c = in[0].c,
        .h = in[0].h,
        .w = in[0].w,
        .k = y.c,
        .oh = y.h,
        .ow = y.w,
        .origin = -(ptrdiff_t)a->pad,
        .replicate = a->padding == IMP_PAD_REPLICATE,
        .weights_shape = &in[1]};
}

/* dX, or with replicate padding dXpad, which has its border. */
static imp_winograd backward_winograd(const imp_conv *a, const imp_shape *in) {
    imp_shape y = output_shape(a, &in[0], &in[1]);
    bool replicate = a->padding == IMP_PAD_REPLICATE;
    size_t border = replicate ? 2 * a->pad : 0;
    return (imp_winograd){.samples = y.n,
        .c = y.c,
        .h = y.h,
        .w = y.w,
        .k = in[0].c,
        .oh = in[0].h + border,
        .ow = in[0].w + border,
        .origin = (replicate ? 0 : (ptrdiff_t)a->pad) - (ptrdiff_t)(in[1].h - 1),
        .weights_shape = &in[1],
        .backward = true};
}

bool imp_conv2d_can_pool(
    const imp_ctx *ctx, const imp_conv_attr *a, const imp_shape *in) {
    if (!imp_winograd_fits(&a->conv, &in[1])) return false;
    imp_winograd forward = forward_winograd(&a->conv, in);
    imp_winograd backward = backward_winograd(&a->conv, in);
    return imp_winograd_tile(ctx, &forward) && imp_winograd_tile(ctx, &backward) &&
           forward.oh >= 2 && forward.ow >= 2;
}

bool imp_conv2d_can_gram(const imp_conv_attr *a, const imp_shape *in) {
    return imp_narrow_fits(&a->conv, &in[1]);
}

static bool forward_by_winograd(const imp_call *c, imp_winograd *p) {
    const imp_conv_attr *a = c->attr;
    if (!imp_winograd_fits(&a->conv, &c->in[1])) return false;
    *p = forward_winograd(&a->conv, c->in);
    return imp_winograd_tile(c->ctx, p) != 0;
}

static bool backward_by_winograd(const imp_call *c, imp_winograd *p) {
    const imp_conv_attr *a = c->attr;
    if (!imp_winograd_fits(&a->conv, &c->in[1])) return false;
    *p = backward_winograd(&a->conv, c->in);
    return imp_winograd_tile(c->ctx, p) != 0;
}

/* --- fast: the three products --- */

/* dX with replicate padding is first made with its border, then folded. */
static size_t padded_count(const imp_conv *a, const imp_shape *x) {
    if (a->padding == IMP_PAD_ZERO) return 0;
    return imp_blocked_count(
        (imp_shape){x->n, x->c, x->h + 2 * a->pad, x->w + 2 * a->pad, x->layout});
}

static imp_need conv2d_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    const imp_conv_attr *a = attr;
    bool fits = imp_winograd_fits(&a->conv, &in[1]);
    imp_need need = {.thread_scratch = IMP_GEMM_SCRATCH};
    imp_winograd p = forward_winograd(&a->conv, in);
    if (fits) imp_winograd_need(ctx, &p, &need);
    if (in[0].c < 16) imp_direct_need(a, in, out, &need);
    if (want & 1u) {
        imp_need backward = {0};
        need.backward_reads |= 2u;
        p = backward_winograd(&a->conv, in);
        if (fits && imp_winograd_tile(ctx, &p)) {
            imp_winograd_need(ctx, &p, &backward);
        } else if (imp_narrow_fits(&a->conv, &in[1])) {
            imp_narrow_need(a, in, &backward);
            if (a->gram) need.backward_reads |= 5u; /* to make y again */
        } else {
            backward.scratch = imp_transposed_count(&in[1]) * sizeof(float);
        }
        backward.scratch += padded_count(&a->conv, &in[0]) * sizeof(float);
        if (need.scratch < backward.scratch) need.scratch = backward.scratch;
        if (need.thread_scratch < backward.thread_scratch)
            need.thread_scratch = backward.thread_scratch;
    }
    if (want & 2u) {
        need.backward_reads |= 1u;
        imp_weights_need(ctx, &a->conv, in, out, &need);
    }
    if (a->pool && want)
        need.saved = imp_blocked_count(*out); /* a byte an element */
    else if (a->relu && want && !a->gram)
        need.saved = imp_blocked_count(*out) / 16 * sizeof(uint16_t);
    return need;
}

/* The source of every sample's product, one after the other, for imp_product. */
static pixels input_pixels(const imp_call *c, size_t sample) {
    const imp_conv *a = &((const imp_conv_attr *)c->attr)->conv;
    const imp_shape *x = &c->in[0];
    return (pixels){.map = c->x[0] + sample * imp_round16(x->c) * x->h * x->w,
        .c = x->c,
        .h = x->h,
        .w = x->w,
        .kh = c->in[1].h,
        .kw = c->in[1].w,
        .wide = c->out.w,
        .stride = a->stride,
        .pad = a->pad,
        .padding = a->padding};
}

static size_t map_count(const imp_shape *s) { /* of one sample */
    return imp_round16(s->c) * s->h * s->w;
}

#define SAMPLES_AT_ONCE 64

static void conv2d_forward(const imp_call *c) {
    const imp_conv_attr *a = c->attr;
    imp_winograd w;
    if (forward_by_winograd(c, &w)) {
        w.x = c->x[0];
        w.weights = c->x[1];
        w.bias = c->x[2];
        w.y = c->y;
        w.y_mask = a->relu && !a->pool ? c->saved : NULL;
        w.y_position = a->pool ? c->saved : NULL;
        w.relu = a->relu;
        w.pool = a->pool;
        imp_winograd_run(c, &w);
        return;
    }
    if (c->in[0].c < 16) {
        imp_direct_forward(c);
        return;
    }
    pixels sources[SAMPLES_AT_ONCE];
    size_t pixels_out = c->out.h * c->out.w;
    for (size_t n0 = 0; n0 < c->out.n; n0 += SAMPLES_AT_ONCE) {
        size_t n = imp_least(c->out.n - n0, SAMPLES_AT_ONCE);
        for (size_t i = 0; i < n; i++) sources[i] = input_pixels(c, n0 + i);
        size_t y0 = n0 * map_count(&c->out);
        imp_product p = {.gemm = {.pack = pack_forward,
                             .taps = imp_weight_depth(&c->in[1]) / 16,
                             .b = c->x[1],
                             .bias = c->x[2],
                             .y = c->y + y0,
                             .y_row = 16,
                             .y_panel = pixels_out * 16},
            .samples = n,
            .rows = pixels_out,
            .panels = imp_round16(c->out.c) / 16,
            .y_sample = map_count(&c->out),
            .source_base = (const char *)sources,
            .source_size = sizeof *sources,
            .relu = a->relu,
            .mask = c->saved ? (uint16_t *)c->saved + y0 / 16 : NULL};
        imp_product_run(c, &p);
    }
}

/* dX, or dXpad: grid is c->in[0] or it with its border. mask: of dY's ReLU, or NULL. */
static void input_gradient(const imp_call *c, const imp_shape *grid,
    const uint16_t *mask, float *dx, bool add) {
    const imp_conv *a = &((const imp_conv_attr *)c->attr)->conv;
    const imp_shape *y = &c->out;
    pixels sources[SAMPLES_AT_ONCE];
    imp_transpose_weights(c->ctx, &c->in[1], c->x[1], c->scratch);
    for (size_t n0 = 0; n0 < y->n; n0 += SAMPLES_AT_ONCE) {
        size_t n = imp_least(y->n - n0, SAMPLES_AT_ONCE);
        for (size_t i = 0; i < n; i++)
            sources[i] = (pixels){.map = c->dy + (n0 + i) * map_count(y),
                .c = y->c,
                .h = y->h,
                .w = y->w,
                .kh = c->in[1].h,
                .kw = c->in[1].w,
                .wide = grid->w,
                .stride = a->stride,
                .origin = a->padding == IMP_PAD_ZERO ? a->pad : 0,
                .mask = mask ? mask + (n0 + i) * map_count(y) / 16 : NULL,
                .kernels = c->ctx->kernels};
        imp_product p = {.gemm = {.pack = pack_backward,
                             .taps = imp_round16(y->c) / 16 * c->in[1].h * c->in[1].w,
                             .b = c->scratch,
                             .y = dx + n0 * map_count(grid),
                             .y_row = 16,
                             .y_panel = grid->h * grid->w * 16,
                             .add = add},
            .samples = n,
            .rows = grid->h * grid->w,
            .panels = imp_round16(grid->c) / 16,
            .y_sample = map_count(grid),
            .source_base = (const char *)sources,
            .source_size = sizeof *sources};
        imp_product_run(c, &p);
    }
}

typedef struct fold_job {
    const imp_call *c;
    const float *padded;
    size_t pad;
} fold_job;

/* One block of 16 channels of one sample: every padded pixel to the pixel it repeats. */
static void fold_task(void *arg, size_t task, int thread) {
    (void)thread;
    const fold_job *j = arg;
    const imp_shape *x = &j->c->in[0];
    size_t high = x->h + 2 * j->pad, wide = x->w + 2 * j->pad, lanes = imp_lanes(x);
    float *dx = j->c->dx[0] + task * x->h * x->w * lanes;
    const float *padded = j->padded + task * high * wide * lanes;
    if (!j->c->add[0]) memset(dx, 0, x->h * x->w * lanes * sizeof(float));
    for (size_t h = 0; h < high; h++)
        for (size_t w = 0; w < wide; w++, padded += lanes) {
            float *to = dx + (source_of(h, j->pad, x->h, IMP_PAD_REPLICATE) * x->w +
                                 source_of(w, j->pad, x->w, IMP_PAD_REPLICATE)) *
                                 lanes;
            for (size_t l = 0; l < lanes; l++) to[l] += padded[l];
        }
}

static void fold_border(const imp_call *c, const float *padded) {
    fold_job j = {c, padded, ((const imp_conv_attr *)c->attr)->conv.pad};
    imp_parallel(c->ctx, c->in[0].n * imp_round16(c->in[0].c) / 16, fold_task, &j);
}

/* masked: dY has been masked already. */
static void input_gradient_direct(const imp_call *c, bool masked) {
    const imp_conv *a = &((const imp_conv_attr *)c->attr)->conv;
    bool relu = ((const imp_conv_attr *)c->attr)->relu;
    const uint16_t *mask = relu && !masked ? c->saved : NULL;
    if (a->padding == IMP_PAD_ZERO) {
        input_gradient(c, &c->in[0], mask, c->dx[0], c->add[0]);
        return;
    }
    imp_shape grid = c->in[0];
    grid.h += 2 * a->pad;
    grid.w += 2 * a->pad;
    float *padded = (float *)c->scratch + imp_transposed_count(&c->in[1]);
    input_gradient(c, &grid, mask, padded, false);
    fold_border(c, padded);
}

/* w: as backward_by_winograd left it. masked: dY has been masked already. */
static void input_gradient_winograd(const imp_call *c, imp_winograd *w, bool masked) {
    const imp_conv_attr *a = c->attr;
    bool replicate = a->conv.padding == IMP_PAD_REPLICATE;
    /* The border's pixels lie at the end of the scratch, after what the run takes. */
    imp_need need = {0};
    imp_winograd_need(c->ctx, w, &need);
    float *padded = (float *)((char *)c->scratch + need.scratch);
    w->x = c->dy;
    w->mask = a->relu && !a->pool && !masked ? c->saved : NULL;
    w->position = a->pool ? c->saved : NULL;
    w->weights = c->x[1];
    w->y = replicate ? padded : c->dx[0];
    w->add = !replicate && c->add[0];
    imp_winograd_run(c, w);
    if (replicate) fold_border(c, padded);
}

/* masked: dY has been masked already. */
static void input_gradient_narrow(const imp_call *c, bool masked) {
    const imp_conv_attr *a = c->attr;
    const uint16_t *mask = a->relu && !masked ? c->saved : NULL;
    if (a->conv.padding == IMP_PAD_ZERO) {
        imp_narrow_backward(c, mask, c->dx[0], c->add[0]);
        return;
    }
    /* The border's pixels lie behind what the gradient itself takes of the scratch. */
    imp_need need = {0};
    imp_narrow_need(a, c->in, &need);
    float *padded = (float *)((char *)c->scratch + need.scratch);
    imp_narrow_backward(c, mask, padded, false);
    fold_border(c, padded);
}

/* Where the weights are frozen, dY is masked, and that of a pooled convolution unpooled, on the
 * way. */
static void conv2d_backward(const imp_call *c) {
    const imp_conv_attr *a = c->attr;
    imp_winograd w;
    bool winograd = backward_by_winograd(c, &w);
    bool narrow = imp_narrow_fits(&a->conv, &c->in[1]);
    bool mask_here = a->relu && !a->pool && (c->dx[1] || c->dx[2]);
    if (mask_here)
        imp_mask_gradient(c->ctx, imp_blocked_count(c->out), c->dy, c->saved);
    if (c->dx[2]) imp_bias_gradient(c->ctx, &c->out, c->dy, c->dx[2], c->add[2]);
    if (c->dx[1]) imp_weights_gradient(c);
    if (c->dx[0] && winograd)
        input_gradient_winograd(c, &w, mask_here);
    else if (c->dx[0] && narrow)
        input_gradient_narrow(c, mask_here);
    else if (c->dx[0])
        input_gradient_direct(c, mask_here);
}

const imp_op imp_op_conv2d = {"conv2d", false, conv2d_shape, conv2d_need,
    conv2d_forward, conv2d_backward, conv2d_forward_ref, conv2d_backward_ref};
