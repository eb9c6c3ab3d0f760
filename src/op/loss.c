/* SPDX-License-Identifier: MIT
 *
 * loss.c: the weighted squared distance of x to a target t of the same shape, which has
 * no gradient. Both losses of style transfer are of this kind (Gatys, Ecker & Bethge
 * 2016):
 *
 *     L  = k sum (x - t)^2
 *     dx = 2 k (x - t) dL
 *
 * content (eq. 1): x, t are features N, C, H, W;             k = 1/(2 N C H W)
 * style (eq. 4):   x, t are Gram matrices N, C, C, 1 that
 *                  are divided by their places (gram.c);     k = 1/(4 N C^2)
 *
 * The paper's content loss has k = 1/2, and its style loss the 1/(H W)^2 of undivided
 * Gram matrices; means over everything do not depend on the size of the picture.
 */
#include "kernel/reduce.h"
#include "op/op.h"

static imp_status squared_error_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)n_in;
    const imp_squared_error_attr *a = attr;
    const imp_shape *x = &in[0], *t = &in[1];
    const char *name = a->style ? "style loss" : "content loss";
    *out = (imp_shape){1, 1, 1, 1, IMP_MAP};
    if (x->n != t->n || x->c != t->c || x->h != t->h || x->w != t->w)
        return imp_fail(ctx, IMP_ERR_ARG,
            "%s: values are [%zu, %zu, %zu, %zu], target [%zu, %zu, %zu, %zu]", name,
            x->n, x->c, x->h, x->w, t->n, t->c, t->h, t->w);
    if (a->style && (x->h != x->c || x->w != 1))
        return imp_fail(ctx, IMP_ERR_ARG,
            "%s: expected a Gram matrix [%zu, %zu, %zu, 1], found [%zu, %zu, %zu, %zu]",
            name, x->n, x->c, x->c, x->n, x->c, x->h, x->w);
    return IMP_OK;
}

static double coefficient(const imp_squared_error_attr *a, const imp_shape *x) {
    double n = (double)x->n, c = (double)x->c, hw = (double)x->h * (double)x->w;
    return a->style ? 1 / (4 * n * c * c) : 1 / (2 * n * c * hw);
}

/* --- reference --- */

static void squared_error_forward_ref(const imp_ref_call *c) {
    size_t count = imp_plain_count(c->in[0]);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double d = c->x[0][i] - c->x[1][i];
        sum += d * d;
    }
    c->y[0] = coefficient(c->attr, &c->in[0]) * sum;
}

static void squared_error_backward_ref(const imp_ref_call *c) {
    size_t count = imp_plain_count(c->in[0]);
    double k = coefficient(c->attr, &c->in[0]);
    for (size_t i = 0; c->dx[0] && i < count; i++)
        c->dx[0][i] += 2 * k * (c->x[0][i] - c->x[1][i]) * c->dy[0];
}

/* --- fast: chunks; the filling of both is 0, and so is its difference --- */

static imp_need squared_error_need(const imp_ctx *ctx, const void *attr,
    const imp_shape *in, const imp_shape *out, unsigned want) {
    (void)ctx;
    (void)attr, (void)out;
    return (imp_need){.backward_reads = want ? 3u : 0u,
        .gradient_in_place = true,
        .scratch = imp_chunk_count(imp_blocked_count(in[0])) * sizeof(double)};
}

static void squared_error_forward(const imp_call *c) {
    double sum = imp_reduce_distance(
        c->ctx, imp_blocked_count(c->in[0]), c->x[0], c->x[1], c->scratch);
    *c->loss = coefficient(c->attr, &c->in[0]) * sum;
}

static void squared_error_backward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    imp_chunk k = imp_chunk_of(imp_blocked_count(c->in[0]), task);
    float alpha = (float)(2 * coefficient(c->attr, &c->in[0]) * c->dloss);
    c->ctx->kernels->difference(k.count, alpha, c->x[0] + k.first, c->x[1] + k.first,
        c->dx[0] + k.first, c->add[0]);
}

static void squared_error_backward(const imp_call *c) {
    if (!c->dx[0]) return;
    size_t chunks = imp_chunk_count(imp_blocked_count(c->in[0]));
    imp_parallel(c->ctx, chunks, squared_error_backward_task, (void *)c);
}

const imp_op imp_op_squared_error = {.name = "squared_error",
    .scalar = true,
    .shape = squared_error_shape,
    .need = squared_error_need,
    .forward = squared_error_forward,
    .backward = squared_error_backward,
    .forward_ref = squared_error_forward_ref,
    .backward_ref = squared_error_backward_ref};
