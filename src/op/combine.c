/* SPDX-License-Identifier: MIT
 *
 * combine.c: the sum of two maps of one shape, element by element (the shortcut of a
 * residual block, He et al. 2016, eq. 1):
 *
 *     y = a + b
 *     da = dy,  db = dy
 */
#include "kernel/reduce.h"
#include "op/op.h"

#include <string.h>

static imp_status add_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)attr, (void)n_in;
    const imp_shape *a = &in[0], *b = &in[1];
    if (a->n != b->n || a->c != b->c || a->h != b->h || a->w != b->w)
        return imp_fail(ctx, IMP_ERR_ARG,
            "add: the summands are [%zu, %zu, %zu, %zu] and [%zu, %zu, %zu, %zu]", a->n,
            a->c, a->h, a->w, b->n, b->c, b->h, b->w);
    *out = *a;
    return IMP_OK;
}

/* --- reference --- */

static void add_forward_ref(const imp_ref_call *c) {
    size_t count = imp_plain_count(c->out);
    for (size_t i = 0; i < count; i++) c->y[i] = c->x[0][i] + c->x[1][i];
}

static void add_backward_ref(const imp_ref_call *c) {
    size_t count = imp_plain_count(c->out);
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; c->dx[k] && i < count; i++) c->dx[k][i] += c->dy[i];
}

/* --- fast --- */

static imp_need add_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx;
    (void)attr, (void)in, (void)out, (void)want;
    return (imp_need){.in_place = true};
}

static void add_forward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    imp_chunk k = imp_chunk_of(imp_blocked_count(c->out), task);
    c->ctx->kernels->add(k.count, c->x[0] + k.first, c->x[1] + k.first, c->y + k.first);
}

static void add_forward(const imp_call *c) {
    size_t chunks = imp_chunk_count(imp_blocked_count(c->out));
    imp_parallel(c->ctx, chunks, add_forward_task, (void *)c);
}

/* Both gradients of one chunk: in a + a they are the same memory, and add[1] is set. */
static void add_backward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    imp_chunk k = imp_chunk_of(imp_blocked_count(c->out), task);
    const float *dy = c->dy + k.first;
    for (size_t i = 0; i < 2; i++) {
        if (!c->dx[i]) continue;
        float *dx = c->dx[i] + k.first;
        if (c->add[i])
            c->ctx->kernels->add(k.count, dx, dy, dx);
        else
            memcpy(dx, dy, k.count * sizeof *dx);
    }
}

static void add_backward(const imp_call *c) {
    size_t chunks = imp_chunk_count(imp_blocked_count(c->out));
    imp_parallel(c->ctx, chunks, add_backward_task, (void *)c);
}

const imp_op imp_op_add = {.name = "add",
    .shape = add_shape,
    .need = add_need,
    .forward = add_forward,
    .backward = add_backward,
    .forward_ref = add_forward_ref,
    .backward_ref = add_backward_ref};
