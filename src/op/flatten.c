/* SPDX-License-Identifier: MIT
 *
 * flatten.c: a map N, C, H, W as N rows of C H W features, the door from convolutions
 * to fully connected layers. The order of the features is the order in which the
 * weights behind them were trained:
 *
 *     chw (PyTorch, Caffe):            y(n, (c H + h) W + w) = x(n,c,h,w)
 *     hwc (TensorFlow, MatConvNet):    y(n, (h W + w) C + c) = x(n,c,h,w)
 *
 * and dx(n,c,h,w) is dy at the same place.
 */
#include "op/op.h"

#include <string.h>

static imp_status flatten_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)attr, (void)n_in;
    size_t features;
    if (!imp_mul(&features, in[0].c, in[0].h) || !imp_mul(&features, features, in[0].w))
        return imp_fail(ctx, IMP_ERR_LIMIT,
            "flatten: a map of %zu x %zu x %zu has too many features", in[0].c, in[0].h,
            in[0].w);
    *out = (imp_shape){in[0].n, features, 1, 1, IMP_MAP};
    return IMP_OK;
}

static size_t feature_of(
    imp_flatten_order order, const imp_shape *x, size_t c, size_t h, size_t w) {
    return order == IMP_FLATTEN_CHW ? (c * x->h + h) * x->w + w
                                    : (h * x->w + w) * x->c + c;
}

/* --- reference --- */

static void flatten_ref(const imp_ref_call *call, bool forward) {
    const imp_flatten_attr *a = call->attr;
    const imp_shape *x = &call->in[0];
    for (size_t n = 0; n < x->n; n++)
        for (size_t c = 0; c < x->c; c++)
            for (size_t h = 0; h < x->h; h++)
                for (size_t w = 0; w < x->w; w++) {
                    size_t from = ((n * x->c + c) * x->h + h) * x->w + w;
                    size_t to = n * call->out.c + feature_of(a->order, x, c, h, w);
                    if (forward)
                        call->y[to] = call->x[0][from];
                    else
                        call->dx[0][from] += call->dy[to];
                }
}

static void flatten_forward_ref(const imp_ref_call *c) {
    flatten_ref(c, true);
}

static void flatten_backward_ref(const imp_ref_call *c) {
    if (c->dx[0]) flatten_ref(c, false);
}

/* --- fast: a task is one sample. A blocked row of features is a plain row, filled up
 * --- */

static imp_need flatten_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx;
    (void)attr, (void)in, (void)out, (void)want;
    return (imp_need){0};
}

static void flatten_forward_task(void *arg, size_t n, int thread) {
    (void)thread;
    const imp_call *call = arg;
    const imp_flatten_attr *a = call->attr;
    const imp_shape *x = &call->in[0];
    size_t wide = imp_round16(call->out.c);
    float *y = call->y + n * wide;
    for (size_t c = 0; c < x->c; c++)
        for (size_t h = 0; h < x->h; h++) {
            const float *from = call->x[0] + imp_map_offset(x, n, c, h, 0);
            for (size_t w = 0; w < x->w; w++)
                y[feature_of(a->order, x, c, h, w)] = from[w * 16];
        }
    for (size_t i = call->out.c; i < wide; i++) y[i] = 0;
}

static void flatten_forward(const imp_call *c) {
    imp_parallel(c->ctx, c->in[0].n, flatten_forward_task, (void *)c);
}

static void flatten_backward_task(void *arg, size_t n, int thread) {
    (void)thread;
    const imp_call *call = arg;
    const imp_flatten_attr *a = call->attr;
    const imp_shape *x = &call->in[0];
    size_t sample = imp_round16(x->c) * x->h * x->w;
    const float *dy = call->dy + n * imp_round16(call->out.c);
    if (!call->add[0]) memset(call->dx[0] + n * sample, 0, sample * sizeof(float));
    for (size_t c = 0; c < x->c; c++)
        for (size_t h = 0; h < x->h; h++) {
            float *dx = call->dx[0] + imp_map_offset(x, n, c, h, 0);
            for (size_t w = 0; w < x->w; w++)
                dx[w * 16] += dy[feature_of(a->order, x, c, h, w)];
        }
}

static void flatten_backward(const imp_call *c) {
    if (c->dx[0]) imp_parallel(c->ctx, c->in[0].n, flatten_backward_task, (void *)c);
}

const imp_op imp_op_flatten = {.name = "flatten",
    .shape = flatten_shape,
    .need = flatten_need,
    .forward = flatten_forward,
    .backward = flatten_backward,
    .forward_ref = flatten_forward_ref,
    .backward_ref = flatten_backward_ref};
