/* SPDX-License-Identifier: MIT
 *
 * centre.c: the covariance of the channels of a map from its second moments G (gram.c) and
 * its means mu (mean.c), E[x x'] - E[x] E[x]':
 *
 *     y(i,j)  = G(i,j) - mu(i) mu(j)
 *     dG      = dy
 *     dmu(i)  = -sum_j (dy(i,j) + dy(j,i)) mu(j)
 *
 * G and y have the shape n, C, C, 1, mu n, C, 1, 1. Where the means are large beside the
 * deviations the difference cancels: y is then no better than G, a float32 number, allows,
 * so the fast pair adds one rounding and no more.
 */
#include "op/op.h"

#include <string.h>

static imp_status centre_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)attr, (void)n_in;
    const imp_shape *g = &in[0], *mu = &in[1];
    *out = *g;
    if (g->h != g->c || g->w != 1)
        return imp_fail(ctx, IMP_ERR_ARG,
            "centre: expected a Gram matrix [%zu, %zu, %zu, 1], found [%zu, %zu, %zu, "
            "%zu]",
            g->n, g->c, g->c, g->n, g->c, g->h, g->w);
    if (mu->n != g->n || mu->c != g->c || mu->h != 1 || mu->w != 1)
        return imp_fail(ctx, IMP_ERR_ARG,
            "centre: expected means [%zu, %zu, 1, 1], found [%zu, %zu, %zu, %zu]", g->n,
            g->c, mu->n, mu->c, mu->h, mu->w);
    return IMP_OK;
}

/* --- reference --- */

static void centre_forward_ref(const imp_ref_call *c) {
    size_t C = c->in[0].c;
    for (size_t n = 0; n < c->in[0].n; n++)
        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < C; j++) {
                size_t at = (n * C + i) * C + j;
                const double *mu = c->x[1] + n * C;
                c->y[at] = c->x[0][at] - mu[i] * mu[j];
            }
}

static void centre_backward_ref(const imp_ref_call *c) {
    size_t C = c->in[0].c;
    for (size_t n = 0; n < c->in[0].n; n++)
        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < C; j++) {
                const double *dy = c->dy + n * C * C, *mu = c->x[1] + n * C;
                if (c->dx[0]) c->dx[0][(n * C + i) * C + j] += dy[i * C + j];
                if (c->dx[1])
                    c->dx[1][n * C + i] -= (dy[i * C + j] + dy[j * C + i]) * mu[j];
            }
}

/* --- fast: a task is 16 channels i of one sample, all rows j; its numbers lie together --- */

static size_t task_count(const imp_call *c) {
    return c->in[0].n * (imp_round16(c->in[0].c) / 16);
}

static imp_need centre_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx, (void)attr, (void)in, (void)out;
    return (imp_need){.backward_reads = want & 2u, .in_place = true};
}

static void centre_forward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    size_t C = c->in[0].c, wide = imp_round16(C);
    const float *g = c->x[0] + task * C * 16, *own = c->x[1] + task * 16;
    const float *mu = c->x[1] + task / (wide / 16) * wide;
    float *y = c->y + task * C * 16;
    for (size_t j = 0; j < C; j++)
        for (size_t l = 0; l < 16; l++)
            y[j * 16 + l] =
                (float)((double)g[j * 16 + l] - (double)own[l] * (double)mu[j]);
}

static void centre_forward(const imp_call *c) {
    imp_parallel(c->ctx, task_count(c), centre_forward_task, (void *)(uintptr_t)c);
}

/* dmu of 16 channels; dy, mu: of their sample. */
static void add_means(
    const imp_call *c, const float *dy, const float *mu, size_t block, float *dmu) {
    size_t C = c->in[0].c;
    double sum[16] = {0};
    for (size_t j = 0; j < C; j++)
        for (size_t l = 0; l < 16; l++)
            sum[l] += (double)dy[(block * C + j) * 16 + l] * (double)mu[j];
    for (size_t l = 0; l < 16 && block * 16 + l < C; l++)
        for (size_t j = 0; j < imp_round16(C); j++)
            sum[l] +=
                (double)dy[(j / 16 * C + block * 16 + l) * 16 + j % 16] * (double)mu[j];
    for (size_t l = 0; l < 16; l++)
        dmu[l] = (float)((c->add[1] ? (double)dmu[l] : 0.0) - sum[l]);
}

static void centre_backward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    size_t C = c->in[0].c, blocks = imp_round16(C) / 16, n = task / blocks;
    const float *dy = c->dy + task * C * 16;
    float *dg = c->dx[0] ? c->dx[0] + task * C * 16 : NULL;
    if (c->dx[1])
        add_means(c, c->dy + n * blocks * C * 16, c->x[1] + n * blocks * 16,
            task % blocks, c->dx[1] + task * 16);
    if (dg && c->add[0])
        c->ctx->kernels->add(C * 16, dg, dy, dg);
    else if (dg)
        memcpy(dg, dy, C * 16 * sizeof *dg);
}

static void centre_backward(const imp_call *c) {
    imp_parallel(c->ctx, task_count(c), centre_backward_task, (void *)(uintptr_t)c);
}

const imp_op imp_op_centre = {.name = "centre",
    .shape = centre_shape,
    .need = centre_need,
    .forward = centre_forward,
    .backward = centre_backward,
    .forward_ref = centre_forward_ref,
    .backward_ref = centre_backward_ref};
