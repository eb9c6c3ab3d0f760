/* SPDX-License-Identifier: MIT
 *
 * softmax.c: rows of N x C scores x to probabilities, and the loss that teaches them
 * (Bridle 1990). With m(i) the maximum of row i, so that no exponential is above 1:
 *
 *     p(i,j)  = exp(x(i,j) - m(i)) / sum_l exp(x(i,l) - m(i))
 *     dx(i,j) = p(i,j) (dp(i,j) - sum_l dp(i,l) p(i,l))
 *
 * Cross-entropy joins softmax and the logarithm, so that there is no log of 0. With
 * t(i) the class of row i (a label, given as a number) and Y(i,j) = 1 where j = t(i),
 * else 0:
 *
 *     L  = -1/N sum_ij Y(i,j) ln p(i,j)
 *        = 1/N sum_i (m(i) + ln sum_l exp(x(i,l) - m(i)) - x(i,t(i)))
 *     dx = 1/N (p - Y)
 *
 * The fast pair, too, computes a row in double.
 */
#include "kernel/reduce.h"
#include "op/op.h"

#include <math.h>
#include <string.h>

static imp_status rows_only(imp_ctx *ctx, const char *op, const imp_shape *x) {
    if (x->h == 1 && x->w == 1) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_ARG,
        "%s: expected rows of scores, found a map of %zu x %zu: flatten first", op,
        x->h, x->w);
}

static imp_status softmax_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)attr, (void)n_in;
    *out = in[0];
    return rows_only(ctx, "softmax", &in[0]);
}

static imp_status cross_entropy_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)attr, (void)n_in;
    const imp_shape *t = &in[1];
    *out = (imp_shape){1, 1, 1, 1, IMP_MAP};
    if (t->n != in[0].n || t->c != 1 || t->h != 1 || t->w != 1)
        return imp_fail(ctx, IMP_ERR_ARG,
            "cross_entropy: %zu rows of scores need labels [%zu, 1, 1, 1], found "
            "[%zu, %zu, %zu, %zu]",
            in[0].n, in[0].n, t->n, t->c, t->h, t->w);
    return rows_only(ctx, "cross_entropy", &in[0]);
}

/* --- reference --- */

static double maximum_ref(const double *x, size_t C) {
    double m = x[0];
    for (size_t j = 1; j < C; j++)
        if (x[j] > m) m = x[j];
    return m;
}

/* sum_l exp(x(l) - m) */
static double sum_ref(const double *x, size_t C, double m) {
    double sum = 0;
    for (size_t l = 0; l < C; l++) sum += exp(x[l] - m);
    return sum;
}

static void softmax_forward_ref(const imp_ref_call *c) {
    size_t C = c->in[0].c;
    for (size_t i = 0; i < c->in[0].n; i++) {
        const double *x = c->x[0] + i * C;
        double m = maximum_ref(x, C), sum = sum_ref(x, C, m);
        for (size_t j = 0; j < C; j++) c->y[i * C + j] = exp(x[j] - m) / sum;
    }
}

static void softmax_backward_ref(const imp_ref_call *c) {
    size_t C = c->in[0].c;
    if (!c->dx[0]) return;
    for (size_t i = 0; i < c->in[0].n; i++) {
        const double *p = c->y + i * C, *dp = c->dy + i * C;
        double dot = 0;
        for (size_t l = 0; l < C; l++) dot += dp[l] * p[l];
        for (size_t j = 0; j < C; j++) c->dx[0][i * C + j] += p[j] * (dp[j] - dot);
    }
}

static void cross_entropy_forward_ref(const imp_ref_call *c) {
    size_t N = c->in[0].n, C = c->in[0].c;
    double loss = 0;
    for (size_t i = 0; i < N; i++) {
        const double *x = c->x[0] + i * C;
        double m = maximum_ref(x, C);
        loss += m + log(sum_ref(x, C, m)) - x[(size_t)c->x[1][i]];
    }
    c->y[0] = loss / (double)N;
}

static void cross_entropy_backward_ref(const imp_ref_call *c) {
    size_t N = c->in[0].n, C = c->in[0].c;
    if (!c->dx[0]) return;
    for (size_t i = 0; i < N; i++) {
        const double *x = c->x[0] + i * C;
        double m = maximum_ref(x, C), sum = sum_ref(x, C, m);
        for (size_t j = 0; j < C; j++) {
            double p = exp(x[j] - m) / sum, y = j == (size_t)c->x[1][i];
            c->dx[0][i * C + j] += (p - y) / (double)N * c->dy[0];
        }
    }
}

/* --- fast: a task is a row; rows are contiguous, filled up to a multiple of 16 --- */

/* exp x for x <= 0, to about 2^-52 of the result, 0 below -708. x = k ln 2 + r with
 * |r| <= ln 2 / 2, and e^r by Taylor, whose next term is below 1e-17. libm's differs
 * from machine to machine, and with it the bits of a trained model. */
static double own_exp(double x) {
    static const double inverse[] = {0, 1, 1.0 / 2, 1.0 / 3, 1.0 / 4, 1.0 / 5, 1.0 / 6,
        1.0 / 7, 1.0 / 8, 1.0 / 9, 1.0 / 10, 1.0 / 11, 1.0 / 12, 1.0 / 13};
    static const double ln2_high = 0x1.62e42fefa38p-1, ln2_low = 0x1.ef35793c7673p-45;
    if (!(x >= -708)) return x < 0 ? 0 : x; /* NaN stays */
    double k = floor(x * 1.4426950408889634 + 0.5);
    double r = x - k * ln2_high - k * ln2_low, e = 1;
    for (int i = 13; i >= 1; i--) e = 1 + e * r * inverse[i];
    uint64_t bits = (uint64_t)(1023 + (int64_t)k) << 52; /* 2^k: k >= -1022 */
    double power;
    memcpy(&power, &bits, sizeof power);
    return e * power;
}

static double row_maximum(const float *x, size_t C) {
    double m = (double)x[0];
    for (size_t j = 1; j < C; j++)
        if ((double)x[j] > m) m = (double)x[j];
    return m;
}

static double row_sum(const float *x, size_t C, double m) {
    double sum = 0;
    for (size_t l = 0; l < C; l++) sum += own_exp((double)x[l] - m);
    return sum;
}

static imp_need softmax_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx;
    (void)attr, (void)in, (void)out;
    return (imp_need){.backward_reads = want ? IMP_READS_OUTPUT : 0};
}

static void softmax_forward_task(void *arg, size_t i, int thread) {
    (void)thread;
    const imp_call *c = arg;
    size_t C = c->in[0].c, wide = imp_round16(C);
    const float *x = c->x[0] + i * wide;
    float *y = c->y + i * wide;
    double m = row_maximum(x, C), sum = row_sum(x, C, m);
    for (size_t j = 0; j < C; j++) y[j] = (float)(own_exp((double)x[j] - m) / sum);
    for (size_t j = C; j < wide; j++) y[j] = 0;
}

static void softmax_forward(const imp_call *c) {
    imp_parallel(c->ctx, c->in[0].n, softmax_forward_task, (void *)c);
}

static void softmax_backward_task(void *arg, size_t i, int thread) {
    (void)thread;
    const imp_call *c = arg;
    size_t C = c->in[0].c, wide = imp_round16(C);
    const float *p = c->y + i * wide, *dp = c->dy + i * wide;
    float *dx = c->dx[0] + i * wide;
    double dot = 0;
    for (size_t l = 0; l < C; l++) dot += (double)dp[l] * (double)p[l];
    for (size_t j = 0; j < wide; j++) {
        float d = j < C ? (float)((double)p[j] * ((double)dp[j] - dot)) : 0.0f;
        dx[j] = c->add[0] ? dx[j] + d : d;
    }
}

static void softmax_backward(const imp_call *c) {
    if (c->dx[0]) imp_parallel(c->ctx, c->in[0].n, softmax_backward_task, (void *)c);
}

static imp_need cross_entropy_need(const imp_ctx *ctx, const void *attr,
    const imp_shape *in, const imp_shape *out, unsigned want) {
    (void)ctx;
    (void)attr, (void)out;
    return (imp_need){
        .backward_reads = want ? 3u : 0u, .scratch = in[0].n * sizeof(double)};
}

/* The class of row i; C where the label is none of 0 .. C-1 (such a row's loss is NaN).
 */
static size_t class_of(const imp_call *c, size_t i) {
    float label = c->x[1][i * 16];
    return label >= 0 && label < (float)c->in[0].c ? (size_t)label : c->in[0].c;
}

static void cross_entropy_forward_task(void *arg, size_t i, int thread) {
    (void)thread;
    const imp_call *c = arg;
    size_t C = c->in[0].c, t = class_of(c, i);
    const float *x = c->x[0] + i * imp_round16(C);
    double m = row_maximum(x, C), log_sum = log(row_sum(x, C, m));
    ((double *)c->scratch)[i] = t < C ? m - (double)x[t] + log_sum : (double)NAN;
}

static void cross_entropy_forward(const imp_call *c) {
    size_t N = c->in[0].n;
    imp_parallel(c->ctx, N, cross_entropy_forward_task, (void *)c);
    *c->loss = imp_reduce_join(c->scratch, N) / (double)N;
}

static void cross_entropy_backward_task(void *arg, size_t i, int thread) {
    (void)thread;
    const imp_call *c = arg;
    size_t C = c->in[0].c, wide = imp_round16(C), t = class_of(c, i);
    const float *x = c->x[0] + i * wide;
    float *dx = c->dx[0] + i * wide;
    double m = row_maximum(x, C), sum = row_sum(x, C, m);
    double scale = c->dloss / (double)c->in[0].n;
    for (size_t j = 0; j < wide; j++) {
        double p = j < C ? own_exp((double)x[j] - m) / sum : 0;
        float d = (float)(scale * (p - (j < C && j == t)));
        dx[j] = c->add[0] ? dx[j] + d : d;
    }
}

static void cross_entropy_backward(const imp_call *c) {
    if (c->dx[0])
        imp_parallel(c->ctx, c->in[0].n, cross_entropy_backward_task, (void *)c);
}

const imp_op imp_op_softmax = {.name = "softmax",
    .shape = softmax_shape,
    .need = softmax_need,
    .forward = softmax_forward,
    .backward = softmax_backward,
    .forward_ref = softmax_forward_ref,
    .backward_ref = softmax_backward_ref};

const imp_op imp_op_cross_entropy = {.name = "cross_entropy",
    .scalar = true,
    .shape = cross_entropy_shape,
    .need = cross_entropy_need,
    .forward = cross_entropy_forward,
    .backward = cross_entropy_backward,
    .forward_ref = cross_entropy_forward_ref,
    .backward_ref = cross_entropy_backward_ref};
