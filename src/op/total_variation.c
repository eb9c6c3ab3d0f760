/* SPDX-License-Identifier: MIT
 *
 * total_variation.c: how much neighbouring pixels of x differ, squared (the anisotropic
 * form, as in Mahendran & Vedaldi 2015, eq. 4 with beta 2); a small weight on it
 * smooths a picture. The differences are those inside the picture:
 *
 *     L = 1/(N C H W) (sum (x(n,c,h+1,w) - x(n,c,h,w))^2
 *                    + sum (x(n,c,h,w+1) - x(n,c,h,w))^2)
 *     dx(n,c,h,w) = 2/(N C H W) dL sum_q (x(n,c,h,w) - x(q)), q its neighbours, up to four
 */
#include "kernel/reduce.h"
#include "op/op.h"

#include <string.h>

static imp_status total_variation_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)ctx, (void)attr, (void)in, (void)n_in;
    *out = (imp_shape){1, 1, 1, 1, IMP_MAP};
    return IMP_OK;
}

static double count_of(const imp_shape *x) {
    return (double)x->n * (double)x->c * (double)x->h * (double)x->w;
}

/* --- reference --- */

static void total_variation_forward_ref(const imp_ref_call *c) {
    size_t H = c->in[0].h, W = c->in[0].w;
    double sum = 0;
    for (size_t nc = 0; nc < c->in[0].n * c->in[0].c; nc++)
        for (size_t h = 0; h < H; h++)
            for (size_t w = 0; w < W; w++) {
                const double *x = c->x[0] + (nc * H + h) * W + w;
                double down = h + 1 < H ? x[W] - x[0] : 0;
                double right = w + 1 < W ? x[1] - x[0] : 0;
                sum += down * down + right * right;
            }
    c->y[0] = sum / count_of(&c->in[0]);
}

static void total_variation_backward_ref(const imp_ref_call *c) {
    size_t H = c->in[0].h, W = c->in[0].w;
    double k = 2 / count_of(&c->in[0]) * c->dy[0];
    if (!c->dx[0]) return;
    for (size_t nc = 0; nc < c->in[0].n * c->in[0].c; nc++)
        for (size_t h = 0; h < H; h++)
            for (size_t w = 0; w < W; w++) {
                size_t at = (nc * H + h) * W + w;
                const double *x = c->x[0] + at;
                double sum = 0;
                if (h > 0) sum += x[0] - *(x - W);
                if (h + 1 < H) sum += x[0] - x[W];
                if (w > 0) sum += x[0] - *(x - 1);
                if (w + 1 < W) sum += x[0] - x[1];
                c->dx[0][at] += k * sum;
            }
}

/* --- fast: a task is a row of one block of channels --- */

static size_t row_count(const imp_shape *x) {
    return x->n * (imp_round16(x->c) / 16) * x->h;
}

/* As the kernels, of any number of floats. */
static double distance(const imp_kernels *k, size_t n, const float *a, const float *b) {
    size_t whole = n / 16 * 16;
    double sum = k->distance(whole, a, b);
    for (size_t i = whole; i < n; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum;
}

static void add_difference(const imp_kernels *k, size_t n, float alpha, const float *a,
    const float *b, float *dx) {
    size_t whole = n / 16 * 16;
    k->difference(whole, alpha, a, b, dx, true);
    for (size_t i = whole; i < n; i++) dx[i] += alpha * (a[i] - b[i]);
}

static imp_need total_variation_need(const imp_ctx *ctx, const void *attr,
    const imp_shape *in, const imp_shape *out, unsigned want) {
    (void)ctx;
    (void)attr, (void)out;
    return (imp_need){
        .backward_reads = want ? 1u : 0u, .scratch = row_count(in) * sizeof(double)};
}

static void total_variation_forward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    const imp_kernels *k = c->ctx->kernels;
    size_t pixel = imp_lanes(&c->in[0]), row = c->in[0].w * pixel;
    const float *x = c->x[0] + task * row;
    double sum = distance(k, row - pixel, x + pixel, x); /* to the right */
    if (task % c->in[0].h + 1 < c->in[0].h) sum += distance(k, row, x + row, x);
    ((double *)c->scratch)[task] = sum;
}

static void total_variation_forward(const imp_call *c) {
    size_t rows = row_count(&c->in[0]);
    imp_parallel(c->ctx, rows, total_variation_forward_task, (void *)c);
    *c->loss = imp_reduce_join(c->scratch, rows) / count_of(&c->in[0]);
}

static void total_variation_backward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    const imp_kernels *k = c->ctx->kernels;
    size_t pixel = imp_lanes(&c->in[0]), row = c->in[0].w * pixel;
    size_t h = task % c->in[0].h;
    const float *x = c->x[0] + task * row;
    float *dx = c->dx[0] + task * row;
    float alpha = (float)(2 / count_of(&c->in[0]) * c->dloss);
    if (!c->add[0]) memset(dx, 0, row * sizeof *dx);
    if (h > 0) add_difference(k, row, alpha, x, x - row, dx);
    if (h + 1 < c->in[0].h) add_difference(k, row, alpha, x, x + row, dx);
    add_difference(k, row - pixel, alpha, x + pixel, x, dx + pixel);
    add_difference(k, row - pixel, alpha, x, x + pixel, dx);
}

static void total_variation_backward(const imp_call *c) {
    if (!c->dx[0]) return;
    size_t rows = row_count(&c->in[0]);
    imp_parallel(c->ctx, rows, total_variation_backward_task, (void *)c);
}

const imp_op imp_op_total_variation = {.name = "total_variation",
    .scalar = true,
    .shape = total_variation_shape,
    .need = total_variation_need,
    .forward = total_variation_forward,
    .backward = total_variation_backward,
    .forward_ref = total_variation_forward_ref,
    .backward_ref = total_variation_backward_ref};
