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

/* Backward's scratch: dW needs dy in panels; dX needs the transposes of dy and dx. */
static size_t panels_count(const imp_shape *s) { /* 16 features, all samples, 16 */
    return imp_blocked_count(*s);
}

static size_t transposed_count(const imp_shape *s) { /* 16 samples, all features, 16 */
    return imp_round16(s->n) * imp_round16(s->c);
}

static imp_need linear_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx;
    const imp_linear_attr *a = attr;
    imp_need need = {.thread_scratch = IMP_GEMM_SCRATCH};
    size_t scratch = 0;
    if (want & 1u) {
        need.backward_reads |= 2u;
        scratch = transposed_count(out) + transposed_count(&in[0]);
    }
    if (want & 2u) {
        need.backward_reads |= 1u;
        if (scratch < panels_count(out)) scratch = panels_count(out);
    }
    need.scratch = scratch * sizeof(float);
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

static void linear_forward(const imp_call *c) {
    const imp_linear_attr *a = c->attr;
    size_t outputs = imp_round16(c->out.c);
    rows_source x = {c->x[0], imp_round16(c->in[0].c)};
    imp_product p = {.gemm = {.pack = pack_rows,
                         .taps = x.step / 16,
                         .b = c->x[1],
                         .bias = c->x[2],
                         .y = c->y,
                         .y_row = outputs,
                         .y_panel = 16},
        .samples = 1,
        .rows = c->in[0].n,
        .panels = outputs / 16,
        .source_base = (const char *)&x,
        .relu = a->relu,
        .mask = c->saved};
    imp_product_run(c, &p);
}

/* --- dW: a sum over the samples of outer products, both sides in panels of 16 features,
 * so that the sum reads without gaps --- */

#define SAMPLES 128 /* whose two panels stay in the first cache */

static void copy_panel(const float *x, size_t step, size_t rows, float *panel) {
    for (size_t r = 0; r < rows; r++)
        memcpy(panel + r * 16, x + r * step, 16 * sizeof *x);
}

static void panel_task(void *arg, size_t panel, int thread) {
    (void)thread;
    const imp_call *c = arg;
    size_t n = c->out.n;
    copy_panel(c->dy + panel * 16, imp_round16(c->out.c), n,
        (float *)c->scratch + panel * n * 16);
}

/* dW, all outputs of 16 inputs. */
static void weights_task(void *arg, size_t tap, int thread) {
    const imp_call *c = arg;
    size_t n = c->out.n, depth = imp_round16(c->in[0].c),
           end = imp_round16(c->out.c) / 16;
    float *a = imp_call_scratch(c, thread);
    for (size_t first = 0; first < n; first += SAMPLES) {
        size_t count = imp_least(n - first, SAMPLES);
        copy_panel(c->x[0] + first * depth + tap * 16, depth, count, a);
        for (size_t panel = 0; panel < end; panel++)
            c->ctx->kernels->outer(count, a, 16,
                (const float *)c->scratch + (panel * n + first) * 16, 16, NULL,
                c->dx[1] + (panel * depth + tap * 16) * 16, c->add[1] || first > 0);
    }
}

/* --- dX, transposed: dX' = W' dY'. Weights in panels are the packed left side already: a
 * tap is 16 outputs of one input. The right side, dY', has panels of 16 samples --- */

static void pack_weights(const void *source, size_t row0, size_t rows, size_t tap0,
    size_t taps, float *a, size_t a_tap) {
    const rows_source *w = source; /* step: floats from panel to panel */
    for (size_t t = 0; t < taps; t++)
        memcpy(a + t * a_tap, w->x + (tap0 + t) * w->step + row0 * 16,
            rows * 16 * sizeof(float));
}

/* dY' of 16 outputs; samples that are not there are zero. */
static void transpose_dy_task(void *arg, size_t block, int thread) {
    (void)thread;
    const imp_call *c = arg;
    size_t n = c->out.n, outputs = imp_round16(c->out.c);
    for (size_t s = 0; s < imp_round16(n); s++) {
        float *to = (float *)c->scratch + (s / 16 * outputs + block * 16) * 16 + s % 16;
        const float *dy = c->dy + s * outputs + block * 16;
        for (size_t l = 0; l < 16; l++) to[l * 16] = s < n ? dy[l] : 0.0f;
    }
}

/* dX from dX', 16 inputs. */
static void transpose_dx_task(void *arg, size_t block, int thread) {
    (void)thread;
    const imp_call *c = arg;
    size_t inputs = imp_round16(c->in[0].c);
    const float *transposed = (const float *)c->scratch + transposed_count(&c->out);
    for (size_t s = 0; s < c->in[0].n; s++) {
        const float *from = transposed + (s / 16 * inputs + block * 16) * 16 + s % 16;
        float *dx = c->dx[0] + s * inputs + block * 16;
        for (size_t l = 0; l < 16; l++)
            dx[l] = c->add[0] ? dx[l] + from[l * 16] : from[l * 16];
    }
}

static void input_gradient(const imp_call *c) {
    size_t inputs = imp_round16(c->in[0].c), outputs = imp_round16(c->out.c);
    float *scratch = c->scratch;
    rows_source w = {c->x[1], inputs * 16};
    imp_product p = {.gemm = {.pack = pack_weights,
                         .taps = outputs / 16,
                         .b = scratch,
                         .y = scratch + transposed_count(&c->out),
                         .y_row = 16,
                         .y_panel = inputs * 16},
        .samples = 1,
        .rows = inputs,
        .panels = imp_round16(c->out.n) / 16,
        .source_base = (const char *)&w};
    imp_parallel(c->ctx, outputs / 16, transpose_dy_task, (void *)(uintptr_t)c);
    imp_product_run(c, &p);
    imp_parallel(c->ctx, inputs / 16, transpose_dx_task, (void *)(uintptr_t)c);
}

static void linear_backward(const imp_call *c) {
    const imp_linear_attr *a = c->attr;
    if (a->relu) imp_mask_gradient(c->ctx, imp_blocked_count(c->out), c->dy, c->saved);
    if (c->dx[2]) imp_bias_gradient(c->ctx, &c->out, c->dy, c->dx[2], c->add[2]);
    if (c->dx[1]) {
        imp_parallel(
            c->ctx, imp_round16(c->out.c) / 16, panel_task, (void *)(uintptr_t)c);
        imp_parallel(
            c->ctx, imp_round16(c->in[0].c) / 16, weights_task, (void *)(uintptr_t)c);
    }
    if (c->dx[0]) input_gradient(c);
}

const imp_op imp_op_linear = {"linear", false, linear_shape, linear_need,
    linear_forward, linear_backward, linear_forward_ref, linear_backward_ref};
