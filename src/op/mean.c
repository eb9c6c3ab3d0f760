/* SPDX-License-Identifier: MIT
 *
 * mean.c: the mean of each channel of a feature map over its P = H W places. With the Gram
 * matrix it makes the covariance (centre.c): both are moments of the places' distribution
 * (Li et al. 2017, "Demystifying neural style transfer", section 4).
 *
 *     y(c)     = 1/P sum_p x(c,p)
 *     dx(c,p)  = 1/P dy(c)
 *
 * y is a value of shape n, C, 1, 1. Backward reads nothing of x.
 */
#include "op/op.h"

static imp_status mean_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)ctx, (void)attr, (void)n_in;
    *out = (imp_shape){in[0].n, in[0].c, 1, 1, IMP_MAP};
    return IMP_OK;
}

/* --- reference --- */

static void mean_forward_ref(const imp_ref_call *c) {
    size_t maps = c->in[0].n * c->in[0].c, P = c->in[0].h * c->in[0].w;
    for (size_t i = 0; i < maps; i++) {
        double sum = 0;
        for (size_t p = 0; p < P; p++) sum += c->x[0][i * P + p];
        c->y[i] = sum / (double)P;
    }
}

static void mean_backward_ref(const imp_ref_call *c) {
    size_t maps = c->in[0].n * c->in[0].c, P = c->in[0].h * c->in[0].w;
    for (size_t i = 0; c->dx[0] && i < maps; i++)
        for (size_t p = 0; p < P; p++) c->dx[0][i * P + p] += c->dy[i] / (double)P;
}

/* --- fast: a task is PART places of one block of 16 channels; RUN places are summed in
 * float32, these sums in double, and the parts joined in order --- */

#define PART 1024
#define RUN  16

static size_t part_count(const imp_shape *x) {
    return imp_divide_up(x->h * x->w, PART);
}

static size_t block_count(const imp_shape *x) { /* of all samples */
    return x->n * (imp_round16(x->c) / 16);
}

static imp_need mean_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx, (void)attr, (void)out, (void)want;
    return (imp_need){
        .scratch = block_count(in) * part_count(in) * 16 * sizeof(double)};
}

/* Part task % parts of block task / parts: its first place in the whole map, and how many. */
static size_t places_of(const imp_shape *x, size_t task, size_t *first) {
    size_t P = x->h * x->w, p = task % part_count(x) * PART;
    *first = task / part_count(x) * P + p;
    return imp_least(P - p, PART);
}

static void mean_forward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    size_t first, count = places_of(&c->in[0], task, &first);
    const float *x = c->x[0] + first * 16;
    double sum[16] = {0};
    for (size_t done = 0; done < count; done += RUN) {
        size_t run = imp_least(count - done, RUN);
        float s[16] = {0};
        for (size_t p = 0; p < run; p++, x += 16)
            for (size_t l = 0; l < 16; l++) s[l] += x[l];
        for (size_t l = 0; l < 16; l++) sum[l] += (double)s[l];
    }
    double *kept = (double *)c->scratch + task * 16;
    for (size_t l = 0; l < 16; l++) kept[l] = sum[l];
}

static void mean_forward(const imp_call *c) {
    const imp_shape *x = &c->in[0];
    size_t parts = part_count(x), blocks = block_count(x);
    const double *sums = c->scratch;
    imp_parallel(c->ctx, blocks * parts, mean_forward_task, (void *)(uintptr_t)c);
    for (size_t i = 0; i < blocks * 16; i++) {
        double sum = 0;
        for (size_t k = 0; k < parts; k++)
            sum += sums[(i / 16 * parts + k) * 16 + i % 16];
        c->y[i] = (float)(sum / (double)(x->h * x->w));
    }
}

static void mean_backward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    const imp_shape *x = &c->in[0];
    size_t first, count = places_of(x, task, &first);
    const float *dy = c->dy + task / part_count(x) * 16;
    float *dx = c->dx[0] + first * 16, d[16];
    for (size_t l = 0; l < 16; l++)
        d[l] = (float)((double)dy[l] / (double)(x->h * x->w));
    for (size_t p = 0; p < count && c->add[0]; p++, dx += 16)
        for (size_t l = 0; l < 16; l++) dx[l] += d[l];
    for (size_t p = 0; p < count && !c->add[0]; p++, dx += 16)
        for (size_t l = 0; l < 16; l++) dx[l] = d[l];
}

static void mean_backward(const imp_call *c) {
    size_t tasks = block_count(&c->in[0]) * part_count(&c->in[0]);
    if (c->dx[0]) imp_parallel(c->ctx, tasks, mean_backward_task, (void *)(uintptr_t)c);
}

const imp_op imp_op_mean = {.name = "mean",
    .shape = mean_shape,
    .need = mean_need,
    .forward = mean_forward,
    .backward = mean_backward,
    .forward_ref = mean_forward_ref,
    .backward_ref = mean_backward_ref};
