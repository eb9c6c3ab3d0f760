/* SPDX-License-Identifier: MIT
 *
 * select.c: some channels of a map, each times a number of its own, in any order:
 *
 *     y(n,k,p)  = scale(k) x(n, channel(k), p)
 *     dx(n,i,p) = sum of scale(k) dy(n,k,p) over the k whose channel(k) is i
 *
 * The picks, 1, K, 2, 1, are given: row 0 is the channel, a whole number, row 1 the scale.
 * They have no gradient. A channel that x does not have gives zeros.
 */
#include "op/op.h"

#include <string.h>

static imp_status select_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)attr, (void)n_in;
    const imp_shape *x = &in[0], *picks = &in[1];
    *out = (imp_shape){x->n, picks->c, x->h, x->w, IMP_MAP};
    if (picks->n == 1 && picks->h == 2 && picks->w == 1) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_ARG,
        "select: picks: expected [1, %zu, 2, 1], found [%zu, %zu, %zu, %zu]", picks->c,
        picks->n, picks->c, picks->h, picks->w);
}

/* A channel's number of a map of C; C: none of them. */
static size_t channel_of(double number, size_t C) {
    return number >= 0 && number < (double)C ? (size_t)number : C;
}

/* --- reference --- */

static void select_forward_ref(const imp_ref_call *c) {
    size_t C = c->in[0].c, K = c->out.c, P = c->out.h * c->out.w;
    for (size_t n = 0; n < c->out.n; n++)
        for (size_t k = 0; k < K; k++) {
            size_t i = channel_of(c->x[1][2 * k], C);
            for (size_t p = 0; p < P; p++)
                c->y[(n * K + k) * P + p] =
                    i < C ? c->x[1][2 * k + 1] * c->x[0][(n * C + i) * P + p] : 0;
        }
}

static void select_backward_ref(const imp_ref_call *c) {
    size_t C = c->in[0].c, K = c->out.c, P = c->out.h * c->out.w;
    if (!c->dx[0]) return;
    for (size_t n = 0; n < c->out.n; n++)
        for (size_t k = 0; k < K; k++) {
            size_t i = channel_of(c->x[1][2 * k], C);
            for (size_t p = 0; p < P && i < C; p++)
                c->dx[0][(n * C + i) * P + p] +=
                    c->x[1][2 * k + 1] * c->dy[(n * K + k) * P + p];
        }
}

/* --- fast: a task is PART places of a sample, of every channel --- */

#define PART 256

static size_t part_count(const imp_shape *x) {
    return imp_divide_up(x->h * x->w, PART);
}

static imp_need select_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx, (void)attr, (void)in, (void)out;
    return (imp_need){.backward_reads = want ? 2u : 0u};
}

/* The k-th pick: its scale, and its channel; NULL: x does not have it. */
static const float *picked(const imp_call *c, size_t k, size_t *channel) {
    const float *pick = c->x[1] + (k / 16 * 2) * 16 + k % 16;
    *channel = channel_of((double)pick[0], c->in[0].c);
    return *channel < c->in[0].c ? pick + 16 : NULL;
}

static void forward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    size_t n = task / part_count(&c->out), first = task % part_count(&c->out) * PART;
    size_t end = imp_least(c->out.h * c->out.w, first + PART), i;
    for (size_t k = 0; k < imp_round16(c->out.c); k++) {
        const float *scale = k < c->out.c ? picked(c, k, &i) : NULL;
        const float *x = c->x[0] + (scale ? imp_map_offset(&c->in[0], n, i, 0, 0) : 0);
        float *y = c->y + imp_map_offset(&c->out, n, k, 0, 0);
        for (size_t p = first * 16; p < end * 16; p += 16)
            y[p] = scale ? *scale * x[p] : 0;
    }
}

static void select_forward(const imp_call *c) {
    imp_parallel(c->ctx, c->out.n * part_count(&c->out), forward_task, (void *)c);
}

static void backward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    const imp_shape *s = &c->in[0];
    size_t n = task / part_count(s), first = task % part_count(s) * PART;
    size_t end = imp_least(s->h * s->w, first + PART), i;
    for (size_t block = 0; block < s->c && !c->add[0]; block += 16)
        memset(c->dx[0] + imp_map_offset(s, n, block, 0, 0) + first * 16, 0,
            (end - first) * 16 * sizeof(float));
    for (size_t k = 0; k < c->out.c; k++) {
        const float *scale = picked(c, k, &i);
        if (!scale) continue;
        float *dx = c->dx[0] + imp_map_offset(s, n, i, 0, 0);
        const float *dy = c->dy + imp_map_offset(&c->out, n, k, 0, 0);
        for (size_t p = first * 16; p < end * 16; p += 16) dx[p] += *scale * dy[p];
    }
}

static void select_backward(const imp_call *c) {
    if (!c->dx[0]) return;
    imp_parallel(c->ctx, c->in[0].n * part_count(&c->in[0]), backward_task, (void *)c);
}

const imp_op imp_op_select = {.name = "select",
    .shape = select_shape,
    .need = select_need,
    .forward = select_forward,
    .backward = select_backward,
    .forward_ref = select_forward_ref,
    .backward_ref = select_backward_ref};
