/* SPDX-License-Identifier: MIT
 *
 * activation.c: the rectified linear unit, ReLU (Nair & Hinton 2010), element by
 * element on a map of any shape:
 *
 *     y  = max(0, x)
 *     dx = dy where y > 0, else 0
 *
 * At x = 0 the function has no derivative and any number from 0 to 1 would do: we take
 * 0, so that one bit for each element, y > 0, is all that backward has to know.
 *
 * This is the file to read first. Every operation has one like it, in the same order:
 * the equation; the shape of the output; the reference pair, which is the equation
 * written as loops over doubles; the fast pair, which is what runs; the table that a
 * graph sees.
 */
#include "kernel/reduce.h"
#include "op/op.h"

static imp_status relu_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)ctx, (void)attr, (void)n_in;
    *out = in[0];
    return IMP_OK;
}

/* --- reference: double, plain N, C, H, W --- */

static void relu_forward_ref(const imp_ref_call *c) {
    size_t count = imp_plain_count(c->in[0]);
    for (size_t i = 0; i < count; i++) c->y[i] = 0 > c->x[0][i] ? 0 : c->x[0][i];
}

static void relu_backward_ref(const imp_ref_call *c) {
    size_t count = imp_plain_count(c->in[0]);
    if (!c->dx[0]) return;
    for (size_t i = 0; i < count; i++)
        if (c->y[i] > 0) c->dx[0][i] += c->dy[i];
}

/* --- fast: float32, blocked by 16 channels --- */

/* Forward leaves the bits of y > 0 behind, 16 to a word, and backward reads nothing
 * else: y may overwrite x, and whoever comes next may overwrite y. */
static imp_need relu_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx;
    (void)attr, (void)out;
    size_t words = imp_blocked_count(in[0]) / 16;
    return (imp_need){.in_place = true, .saved = want ? words * sizeof(uint16_t) : 0};
}

/* One chunk of the map, by whichever thread is free. A filling lane holds 0: so does y.
 */
static void relu_forward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    imp_chunk k = imp_chunk_of(imp_blocked_count(c->in[0]), task);
    uint16_t *bits = c->saved;
    c->ctx->kernels->relu(
        k.count, c->x[0] + k.first, c->y + k.first, bits ? bits + k.first / 16 : NULL);
}

static void relu_forward(const imp_call *c) {
    size_t chunks = imp_chunk_count(imp_blocked_count(c->in[0]));
    imp_parallel(c->ctx, chunks, relu_forward_task, (void *)c);
}

static void relu_backward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    imp_chunk k = imp_chunk_of(imp_blocked_count(c->in[0]), task);
    const uint16_t *bits = c->saved;
    c->ctx->kernels->mask(
        k.count, c->dy + k.first, bits + k.first / 16, c->dx[0] + k.first, c->add[0]);
}

static void relu_backward(const imp_call *c) {
    if (!c->dx[0]) return;
    size_t chunks = imp_chunk_count(imp_blocked_count(c->in[0]));
    imp_parallel(c->ctx, chunks, relu_backward_task, (void *)c);
}

const imp_op imp_op_relu = {.name = "relu",
    .shape = relu_shape,
    .need = relu_need,
    .forward = relu_forward,
    .backward = relu_backward,
    .forward_ref = relu_forward_ref,
    .backward_ref = relu_backward_ref};
