/* SPDX-License-Identifier: MIT
 *
 * linear.c: the fully connected layer. X is N x m, W m x n, b n:
 *
 *     Y = X W + 1 b
 *     dX = dY W',  dW = X' dY,  db = column sums of dY
 *
 * (For one sample y = W'x + b. Some course texts print dx = W'dy; with W of m x n the shapes
 * only fit dx = W dy.) Files keep W as O, I: n x m, and so do the reference pair's weights.
 */
#include "op/matmul.h"

#include <string.h>

static imp_status linear_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)attr;
    const imp_shape *x = &in[0], *w = &in[1];
    if (x->h != 1 || x->w != 1)
        return imp_fail(ctx, IMP_ERR_ARG,
            "linear: expected rows of features, found a map of %zu x %zu: flatten "
            "first",
            x->h, x->w);
    if (w->h != 1 || w->w != 1 || w->c != x->c)
        return imp_fail(ctx, IMP_ERR_ARG,
            "linear: input has %zu features, weights are [%zu, %zu, %zu, %zu]", x->c,
            w->n, w->c, w->h, w->w);
    if (n_in == 3 && imp_plain_count(in[2]) != w->n)
        return imp_fail(ctx, IMP_ERR_ARG,
            "linear: bias has %zu values, weights %zu outputs", imp_plain_count(in[2]),
            w->n);
    *out = (imp_shape){x->n, w->n, 1, 1, IMP_MAP};
    return IMP_OK;
}

/* --- reference --- */

static void linear_forward_ref(const imp_ref_call *c) {
    size_t N = c->in[0].n, m = c->in[0].c, n = c->out.c;
    for (size_t s = 0; s < N; s++)
        for (size_t o = 0; o < n; o++) {
            double sum = c->x[2] ? c->x[2][o] : 0.0;
            for (size_t i = 0; i < m; i++)
                sum += c->x[0][s * m + i] * c->x[1][o * m + i];
            c->y[s * n + o] = sum;
        }
}

static void linear_backward_ref(const imp_ref_call *c) {
    size_t N = c->in[0].n, m = c->in[0].c, n = c->out.c;
    for (size_t s = 0; s < N; s++)
        for (size_t o = 0; o < n; o++) {
            double dy = c->dy[s * n + o];
            for (size_t i = 0; i < m; i++) {
                if (c->dx[0]) c->dx[0][s * m + i] += dy * c->x[1][o * m + i];
                if (c->dx[1]) c->dx[1][o * m + i] += dy * c->x[0][s * m + i];
            }
            if (c->dx[2]) c->dx[2][o] += dy;
        }
}

/* --- fast --- */

static imp_need linear_need(const imp_ctx *ctx, const void *attr,
    const imp_shape *in, const imp_shape *out, unsigned want) {
    (void)ctx;
    const imp_linear_attr *a = attr;
    imp_need need = {.thread_scratch = IMP_GEMM_SCRATCH};
    if (want & 1u) {
        need.backward_reads |= 2u;
        need.scratch = imp_transposed_count(&in[1]) * sizeof(float);
    }
    if (want & 2u) need.backward_reads |= 1u;
    if (a->relu && want) need.saved = imp_blocked_count(*out) / 16 * sizeof(uint16_t);
    return need;
}

typedef struct rows_source {
    const float *x;
    size_t step; /* floats from row to row */
} rows_source;

static void pack_rows(const void *source, size_t row0, size_t rows, size_t tap0,
    size_t taps, float *a, size_t a_tap) {
    const rows_source *s = source;
    for (size_t t = 0; t < taps; t++)
        for (size_t r = 0; r < rows; r++)
            memcpy(a + t * a_tap + r * 16,
                s->x + (row0 + r) * s->step + (tap0 + t) * 16, 16 * sizeof(float));
}

/* y (+)= x b: x N x depth, b in panels, y N x 16 panels. */
static imp_product rows_product(
    const rows_source *x, size_t n, const float *b, float *y, size_t outputs) {
    size_t wide = imp_round16(outputs);
    return (imp_product){.gemm = {.pack = pack_rows,
                             .taps = x->step / 16,
                             .b = b,
                             .y = y,
                             .y_row = wide,
                             .y_panel = 16},
        .samples = 1,
        .rows = n,
        .panels = wide / 16,
        .source_base = (const char *)x};
}

static void linear_forward(const imp_call *c) {
    const imp_linear_attr *a = c->attr;
    rows_source x = {c->x[0], imp_round16(c->in[0].c)};
    imp_product p = rows_product(&x, c->in[0].n, c->x[1], c->y, c->out.c);
    p.gemm.bias = c->x[2];
    p.relu = a->relu;
    p.mask = c->saved;
    imp_product_run(c, &p);
}

typedef struct weights_job {
    const imp_call *c;
    size_t m, n; /* features in and out, rounded up to blocks */
} weights_job;

/* dW, all outputs of 16 inputs: a sum over the samples of outer products. */
static void weights_task(void *arg, size_t tap, int thread) {
    (void)thread;
    const weights_job *j = arg;
    const imp_call *c = j->c;
    for (size_t panel = 0; panel < j->n / 16; panel++)
        c->ctx->kernels->outer(c->in[0].n, c->x[0] + tap * 16, j->m, c->dy + panel * 16,
            j->n, c->dx[1] + (panel * j->m + tap * 16) * 16, c->add[1]);
}

static void linear_backward(const imp_call *c) {
    const imp_linear_attr *a = c->attr;
    if (a->relu) imp_mask_gradient(c->ctx, imp_blocked_count(c->out), c->dy, c->saved);
    if (c->dx[2]) imp_bias_gradient(c->ctx, &c->out, c->dy, c->dx[2], c->add[2]);
    if (c->dx[1]) {
        weights_job j = {c, imp_round16(c->in[0].c), imp_round16(c->out.c)};
        imp_parallel(c->ctx, j.m / 16, weights_task, &j);
    }
    if (c->dx[0]) {
        imp_transpose_weights(c->ctx, &c->in[1], c->x[1], c->scratch);
        rows_source dy = {c->dy, imp_round16(c->out.c)};
        imp_product p = rows_product(&dy, c->in[0].n, c->scratch, c->dx[0], c->in[0].c);
        p.gemm.add = c->add[0];
        imp_product_run(c, &p);
    }
}

const imp_op imp_op_linear = {"linear", false, linear_shape, linear_need,
    linear_forward, linear_backward, linear_forward_ref, linear_backward_ref};
