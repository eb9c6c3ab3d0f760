/* SPDX-License-Identifier: MIT
 *
 * matching_loss.c: the matching loss of ReLU (Auer, Herbster & Warmuth 1996): x before the
 * ReLU, a target t >= 0 of what comes out of it, of the same shape and without a gradient:
 *
 *     L  = k sum of (x - t)^2   where x > 0,   t^2 - 2 t x   elsewhere,   k = 1/(2 N C H W)
 *     dx = 2 k (max(0, x) - t) dL
 *
 * It is 0 where max(0, x) = t, and convex in x. The squared error behind a ReLU is flat where
 * x < 0: a unit that has come to lie there for every input never comes back.
 */
#include "kernel/reduce.h"
#include "op/op.h"

static imp_status matching_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)attr, (void)n_in;
    const imp_shape *x = &in[0], *t = &in[1];
    *out = (imp_shape){1, 1, 1, 1, IMP_MAP};
    if (x->n == t->n && x->c == t->c && x->h == t->h && x->w == t->w) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_ARG,
        "matching loss: values are [%zu, %zu, %zu, %zu], target [%zu, %zu, %zu, %zu]",
        x->n, x->c, x->h, x->w, t->n, t->c, t->h, t->w);
}

static double coefficient(const imp_shape *x) {
    return 1 / (2.0 * (double)x->n * (double)x->c * (double)x->h * (double)x->w);
}

static double loss_of(double x, double t) {
    return x > 0 ? (x - t) * (x - t) : t * (t - 2 * x);
}

/* --- reference --- */

static void matching_forward_ref(const imp_ref_call *c) {
    size_t count = imp_plain_count(c->in[0]);
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += loss_of(c->x[0][i], c->x[1][i]);
    c->y[0] = coefficient(&c->in[0]) * sum;
}

static void matching_backward_ref(const imp_ref_call *c) {
    size_t count = imp_plain_count(c->in[0]);
    double k = 2 * coefficient(&c->in[0]) * c->dy[0];
    for (size_t i = 0; c->dx[0] && i < count; i++) {
        double x = c->x[0][i];
        c->dx[0][i] += k * ((x > 0 ? x : 0) - c->x[1][i]);
    }
}

/* --- fast: chunks; the filling of both is 0, and so is its loss --- */

static imp_need matching_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx, (void)attr, (void)out;
    return (imp_need){.backward_reads = want ? 3u : 0u,
        .gradient_in_place = true,
        .scratch = imp_chunk_count(imp_blocked_count(in[0])) * sizeof(double)};
}

static void matching_forward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    imp_chunk k = imp_chunk_of(imp_blocked_count(c->in[0]), task);
    const float *x = c->x[0] + k.first, *t = c->x[1] + k.first;
    double sum = 0;
    for (size_t i = 0; i < k.count; i++) sum += loss_of((double)x[i], (double)t[i]);
    ((double *)c->scratch)[task] = sum;
}

static void matching_forward(const imp_call *c) {
    size_t chunks = imp_chunk_count(imp_blocked_count(c->in[0]));
    imp_parallel(c->ctx, chunks, matching_forward_task, (void *)c);
    *c->loss = coefficient(&c->in[0]) * imp_reduce_join(c->scratch, chunks);
}

static void matching_backward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    imp_chunk k = imp_chunk_of(imp_blocked_count(c->in[0]), task);
    const float *x = c->x[0] + k.first, *t = c->x[1] + k.first;
    float alpha = (float)(2 * coefficient(&c->in[0]) * c->dloss);
    float *dx = c->dx[0] + k.first;
    for (size_t i = 0; i < k.count; i++) {
        float d = alpha * ((x[i] > 0 ? x[i] : 0) - t[i]);
        dx[i] = c->add[0] ? dx[i] + d : d;
    }
}

static void matching_backward(const imp_call *c) {
    if (!c->dx[0]) return;
    size_t chunks = imp_chunk_count(imp_blocked_count(c->in[0]));
    imp_parallel(c->ctx, chunks, matching_backward_task, (void *)c);
}

const imp_op imp_op_matching_loss = {.name = "matching_loss",
    .scalar = true,
    .shape = matching_shape,
    .need = matching_need,
    .forward = matching_forward,
    .backward = matching_backward,
    .forward_ref = matching_forward_ref,
    .backward_ref = matching_backward_ref};
