/* SPDX-License-Identifier: MIT */
#include "op_case.h"

#include "bench.h"

static imp_status get(imp_ctx *ctx, void *out, size_t size) {
    float **p = out;
    *p = size ? imp_alloc(size) : NULL;
    return *p || !size ? IMP_OK : imp_fail(ctx, IMP_ERR_LIMIT, "bench: no memory");
}

imp_status op_case_new(imp_ctx *ctx, op_case *c, const imp_op *op, const void *attr,
    const imp_shape *in, size_t n_in) {
    *c = (op_case){ctx, op, {.ctx = ctx, .attr = attr, .n_in = n_in}, {NULL}};
    imp_status s = op->shape(ctx, attr, in, n_in, &c->call.out);
    size_t bytes = imp_blocked_count(c->call.out) * sizeof(float);
    for (size_t i = 0; i < n_in && !s; i++) {
        c->call.in[i] = in[i];
        s = get(ctx, &c->x[i], imp_blocked_count(in[i]) * sizeof(float));
        c->call.x[i] = c->x[i];
    }
    if (!s) s = get(ctx, &c->call.y, bytes);
    return s ? s : get(ctx, &c->call.dy, bytes);
}

static void drop_wanted(op_case *c) {
    for (size_t i = 0; i < IMP_MAX_INPUTS; i++) {
        imp_release(c->call.dx[i]);
        c->call.dx[i] = NULL;
    }
    imp_release(c->call.saved);
    imp_release(c->call.scratch);
    imp_release(c->call.thread_scratch);
    c->call.saved = c->call.scratch = NULL;
    c->call.thread_scratch = NULL;
}

imp_status op_case_want(op_case *c, unsigned want) {
    imp_call *k = &c->call;
    imp_need need = c->op->need(c->ctx, k->attr, k->in, &k->out, want);
    imp_status s = IMP_OK;
    drop_wanted(c);
    for (size_t i = 0; i < k->n_in && !s; i++)
        if (want >> i & 1u)
            s = get(c->ctx, &k->dx[i], imp_blocked_count(k->in[i]) * sizeof(float));
    k->thread_bytes = imp_round64(need.thread_scratch);
    if (!s) s = get(c->ctx, &k->saved, need.saved);
    if (!s) s = get(c->ctx, &k->scratch, need.scratch);
    if (!s)
        s = get(c->ctx, &k->thread_scratch,
            k->thread_bytes * (size_t)imp_ctx_threads(c->ctx));
    return s;
}

void op_case_forward(void *arg) {
    op_case *c = arg;
    c->op->forward(&c->call);
}

void op_case_backward(void *arg) {
    op_case *c = arg;
    c->op->backward(&c->call);
}

void op_case_free(op_case *c) {
    drop_wanted(c);
    for (size_t i = 0; i < IMP_MAX_INPUTS; i++) imp_release(c->x[i]);
    imp_release(c->call.y);
    imp_release(c->call.dy);
}

size_t op_case_offset(const imp_shape *s, size_t n, size_t c, size_t h, size_t w) {
    return s->layout == IMP_WEIGHT ? imp_weight_offset(s, n, c, h, w)
                                   : imp_map_offset(s, n, c, h, w);
}

void op_case_fill(
    const imp_shape *s, float *x, uint64_t seed, double scale, bool positive) {
    for (size_t n = 0; n < s->n; n++)
        for (size_t c = 0; c < s->c; c++)
            for (size_t h = 0; h < s->h; h++)
                for (size_t w = 0; w < s->w; w++) {
                    size_t i = op_case_offset(s, n, c, h, w);
                    float v = (float)scale * bench_value(seed, i);
                    x[i] = positive && v < 0.0f ? 0.0f : v;
                }
}
