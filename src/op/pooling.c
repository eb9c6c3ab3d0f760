/* SPDX-License-Identifier: MIT
 *
 * pooling.c: the maximum or the mean of K x K windows, stride s, without padding. X is
 * N, C, H, W; Y is N, C, OH, OW with OH = floor((H - K)/s) + 1, OW likewise; rows and
 * columns that no window reaches are not read, and their gradient is 0:
 *
 *     maximum:  Y(n,c,i,j) = max over kh, kw < K of X(n,c, i s + kh, j s + kw)
 *               dX(n,c, i s + kh, j s + kw) += dY(n,c,i,j) for the kh, kw of it
 *     mean:     Y(n,c,i,j) = 1/K^2 sum over kh, kw < K of X(n,c, i s + kh, j s + kw)
 *               dX(n,c, i s + kh, j s + kw) += dY(n,c,i,j) / K^2 for all kh, kw < K
 *
 * Of equal maxima the first takes the gradient, rows first. Where windows overlap (s <
 * K) their gradients add. (Maximum: Riesenhuber & Poggio 1999; mean: LeCun et al.
 * 1998.)
 */
#include "op/op.h"

#include <string.h>

#define MAX_KERNEL 16 /* of maximum pooling: a position is kept in 8 bits */

static imp_status pool2d_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)n_in;
    const imp_pool *a = attr;
    const imp_shape *x = &in[0];
    if (a->kernel == 0 || a->stride == 0)
        return imp_fail(ctx, IMP_ERR_ARG,
            "pool2d: window and stride must be 1 or more, found %zu and %zu", a->kernel,
            a->stride);
    if (x->h < a->kernel || x->w < a->kernel)
        return imp_fail(ctx, IMP_ERR_ARG,
            "pool2d: window %zu does not fit in %zu x %zu", a->kernel, x->h, x->w);
    if (a->kind == IMP_POOL_MAX && a->kernel > MAX_KERNEL)
        return imp_fail(ctx, IMP_ERR_ARG,
            "pool2d: window %zu of maximum pooling is wider than %d", a->kernel,
            MAX_KERNEL);
    *out = (imp_shape){x->n, x->c, (x->h - a->kernel) / a->stride + 1,
        (x->w - a->kernel) / a->stride + 1, IMP_MAP};
    return IMP_OK;
}

/* --- reference --- */

/* Offset of the first maximum of the window whose corner is x, in rows of w numbers. */
static size_t first_maximum(const double *x, size_t kernel, size_t w) {
    size_t best = 0;
    for (size_t kh = 0; kh < kernel; kh++)
        for (size_t kw = 0; kw < kernel; kw++)
            if (x[kh * w + kw] > x[best]) best = kh * w + kw;
    return best;
}

static void pool2d_forward_ref(const imp_ref_call *c) {
    const imp_pool *a = c->attr;
    const imp_shape *x = &c->in[0];
    double *y = c->y;
    for (size_t nc = 0; nc < x->n * x->c; nc++)
        for (size_t i = 0; i < c->out.h; i++)
            for (size_t j = 0; j < c->out.w; j++) {
                const double *window =
                    c->x[0] + (nc * x->h + i * a->stride) * x->w + j * a->stride;
                double sum = 0;
                for (size_t kh = 0; kh < a->kernel; kh++)
                    for (size_t kw = 0; kw < a->kernel; kw++)
                        sum += window[kh * x->w + kw];
                *y++ = a->kind == IMP_POOL_MAX
                           ? window[first_maximum(window, a->kernel, x->w)]
                           : sum / (double)(a->kernel * a->kernel);
            }
}

static void pool2d_backward_ref(const imp_ref_call *c) {
    const imp_pool *a = c->attr;
    const imp_shape *x = &c->in[0];
    const double *dy = c->dy;
    if (!c->dx[0]) return;
    for (size_t nc = 0; nc < x->n * x->c; nc++)
        for (size_t i = 0; i < c->out.h; i++)
            for (size_t j = 0; j < c->out.w; j++, dy++) {
                size_t at = (nc * x->h + i * a->stride) * x->w + j * a->stride;
                double *dx = c->dx[0] + at;
                if (a->kind == IMP_POOL_MAX) {
                    dx[first_maximum(c->x[0] + at, a->kernel, x->w)] += *dy;
                    continue;
                }
                for (size_t kh = 0; kh < a->kernel; kh++)
                    for (size_t kw = 0; kw < a->kernel; kw++)
                        dx[kh * x->w + kw] += *dy / (double)(a->kernel * a->kernel);
            }
}

/* --- fast: a task is a row of one block of 16 channels. The common case, the maximum of
 * 2 x 2 without overlap, has kernels of its own --- */

static bool is_max2(const imp_pool *a) {
    return a->kind == IMP_POOL_MAX && a->kernel == 2 && a->stride == 2;
}

static imp_need pool2d_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx;
    (void)in;
    const imp_pool *a = attr;
    bool positions = want && a->kind == IMP_POOL_MAX;
    return (imp_need){.saved = positions ? imp_blocked_count(*out) : 0};
}

/* Maximum of one window of 16 channels; position: kh K + kw of the first one, or NULL.
 */
static inline void max_window(const float *x, size_t row, size_t kernel,
    float *restrict y, uint8_t *restrict position) {
    float best[16];
    int32_t at[16] = {0};
    memcpy(best, x, sizeof best);
    for (size_t kh = 0; kh < kernel; kh++)
        for (size_t kw = 0; kw < kernel; kw++) {
            const float *v = x + kh * row + kw * 16;
            int32_t here = (int32_t)(kh * kernel + kw);
            for (size_t l = 0; l < 16; l++) {
                bool more = v[l] > best[l];
                at[l] = more ? here : at[l];
                best[l] = more ? v[l] : best[l];
            }
        }
    memcpy(y, best, sizeof best);
    for (size_t l = 0; position && l < 16; l++) position[l] = (uint8_t)at[l];
}

static inline void mean_window(
    const float *x, size_t row, size_t kernel, float *restrict y) {
    float sum[16] = {0};
    for (size_t kh = 0; kh < kernel; kh++)
        for (size_t kw = 0; kw < kernel; kw++)
            for (size_t l = 0; l < 16; l++) sum[l] += x[kh * row + kw * 16 + l];
    for (size_t l = 0; l < 16; l++) y[l] = sum[l] / (float)(kernel * kernel);
}

/* An output row. */
static void forward_row(
    const imp_call *c, const float *x, float *y, uint8_t *position) {
    const imp_pool *a = c->attr;
    size_t row = c->in[0].w * 16, kernel = a->kernel;
    for (size_t j = 0; j < c->out.w; j++, x += a->stride * 16, y += 16) {
        if (a->kind == IMP_POOL_MAX)
            max_window(x, row, kernel, y, position ? position + j * 16 : NULL);
        else
            mean_window(x, row, kernel, y);
    }
}

static void forward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    const imp_pool *a = c->attr;
    size_t block = task / c->out.h, i = task % c->out.h, at = task * c->out.w * 16;
    const float *x = c->x[0] + (block * c->in[0].h + i * a->stride) * c->in[0].w * 16;
    uint8_t *position = c->saved ? (uint8_t *)c->saved + at : NULL;
    if (is_max2(a))
        c->ctx->kernels->max2(c->out.w, x, x + c->in[0].w * 16, c->y + at, position);
    else
        forward_row(c, x, c->y + at, position);
}

static size_t block_count(const imp_shape *s) {
    return s->n * (imp_round16(s->c) / 16);
}

static void pool2d_forward(const imp_call *c) {
    imp_parallel(c->ctx, block_count(&c->out) * c->out.h, forward_task, (void *)c);
}

/* What output row i gives to row kh of its windows, a row of dx. */
static void backward_row(const imp_call *c, const float *dy, const uint8_t *position,
    size_t kh, float *restrict dx) {
    const imp_pool *a = c->attr;
    size_t kernel = a->kernel;
    float area = (float)(kernel * kernel);
    for (size_t j = 0; j < c->out.w; j++, dy += 16, dx += a->stride * 16)
        for (size_t kw = 0; kw < kernel; kw++) {
            if (a->kind == IMP_POOL_AVG) {
                for (size_t l = 0; l < 16; l++) dx[kw * 16 + l] += dy[l] / area;
                continue;
            }
            uint8_t here = (uint8_t)(kh * kernel + kw);
            for (size_t l = 0; l < 16; l++)
                dx[kw * 16 + l] += position[j * 16 + l] == here ? dy[l] : 0.0f;
        }
}

/* Row h of dx, max2: one output row reaches it, or none. */
static void backward_max2(const imp_call *c, size_t block, size_t h, float *dx) {
    size_t i = h / 2, n = c->out.w, done = i < c->out.h ? 2 * n * 16 : 0;
    size_t at = (block * c->out.h + i) * n * 16;
    if (done)
        c->ctx->kernels->unmax2(n, c->dy + at, (const uint8_t *)c->saved + at,
            (unsigned)h % 2, dx, c->add[0]);
    if (!c->add[0]) memset(dx + done, 0, (c->in[0].w * 16 - done) * sizeof *dx);
}

/* A row of dx gathers from the output rows i whose windows reach it: i s <= h < i s +
 * K. */
static void backward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    const imp_pool *a = c->attr;
    size_t block = task / c->in[0].h, h = task % c->in[0].h, row = c->out.w * 16;
    float *dx = c->dx[0] + task * c->in[0].w * 16;
    if (is_max2(a)) {
        backward_max2(c, block, h, dx);
        return;
    }
    if (!c->add[0]) memset(dx, 0, c->in[0].w * 16 * sizeof *dx);
    size_t first = h < a->kernel ? 0 : (h - a->kernel) / a->stride + 1;
    for (size_t i = first; i < c->out.h && i * a->stride <= h; i++) {
        size_t at = (block * c->out.h + i) * row, kh = h - i * a->stride;
        const uint8_t *position = c->saved ? (const uint8_t *)c->saved + at : NULL;
        backward_row(c, c->dy + at, position, kh, dx);
    }
}

static void pool2d_backward(const imp_call *c) {
    if (!c->dx[0]) return;
    imp_parallel(c->ctx, block_count(&c->in[0]) * c->in[0].h, backward_task, (void *)c);
}

const imp_op imp_op_pool2d = {.name = "pool2d",
    .shape = pool2d_shape,
    .need = pool2d_need,
    .forward = pool2d_forward,
    .backward = pool2d_backward,
    .forward_ref = pool2d_forward_ref,
    .backward_ref = pool2d_backward_ref};
