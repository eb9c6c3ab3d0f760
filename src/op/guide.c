/* SPDX-License-Identifier: MIT
 *
 * guide.c: a map times a guide, one channel of weights over the places. A region's Gram
 * matrix is that of its guided map (Gatys et al. 2017, "Controlling perceptual factors in
 * neural style transfer", section 4.1, F_r = T_r o F):
 *
 *     y(c,p)  = x(c,p) m(p)
 *     dx(c,p) = dy(c,p) m(p)
 *
 * The guide m, n, 1, H, W, is given: it has no gradient.
 */
#include "op/op.h"

static imp_status guide_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)attr, (void)n_in;
    const imp_shape *x = &in[0], *m = &in[1];
    *out = *x;
    if (m->n == x->n && m->c == 1 && m->h == x->h && m->w == x->w) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_ARG,
        "guide: expected one channel [%zu, 1, %zu, %zu], found [%zu, %zu, %zu, %zu]",
        x->n, x->h, x->w, m->n, m->c, m->h, m->w);
}

/* --- reference --- */

static void guide_ref(const imp_ref_call *c, const double *from, double *to, bool add) {
    size_t C = c->in[0].c, P = c->in[0].h * c->in[0].w;
    for (size_t i = 0; i < c->in[0].n * C; i++)
        for (size_t p = 0; p < P; p++) {
            double product = from[i * P + p] * c->x[1][i / C * P + p];
            to[i * P + p] = add ? to[i * P + p] + product : product;
        }
}

static void guide_forward_ref(const imp_ref_call *c) {
    guide_ref(c, c->x[0], c->y, false);
}

static void guide_backward_ref(const imp_ref_call *c) {
    if (c->dx[0]) guide_ref(c, c->dy, c->dx[0], true);
}

/* --- fast: a task is PART places of every block of a sample, so that the guide is fetched
 * once. The guide, too, is blocked: its number stands in lane 0 of 16 --- */

#define PART 256

static size_t part_count(const imp_shape *x) {
    return imp_divide_up(x->h * x->w, PART);
}

static imp_need guide_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx, (void)attr, (void)in, (void)out;
    return (imp_need){.backward_reads = want ? 2u : 0u, .in_place = true};
}

typedef struct guide_job {
    const imp_call *c;
    const float *from;
    float *to; /* may be from, unless add */
    bool add;
} guide_job;

static void guide_task(void *arg, size_t task, int thread) {
    (void)thread;
    const guide_job *job = arg;
    const imp_shape *x = &job->c->in[0];
    const imp_kernels *k = job->c->ctx->kernels;
    size_t blocks = imp_round16(x->c) / 16, parts = part_count(x), P = x->h * x->w;
    size_t n = task / parts, p = task % parts * PART;
    size_t count = imp_least(P - p, PART);
    const float *m = job->c->x[1] + (n * P + p) * 16;
    for (size_t b = 0; b < blocks; b++) {
        size_t at = ((n * blocks + b) * P + p) * 16;
        const float *from = job->from + at;
        float *to = job->to + at;
        for (size_t i = 0; i < count * 16; i += 16)
            (job->add ? k->axpy : k->scale)(16, m[i], from + i, to + i);
    }
}

static void guide_run(guide_job job) {
    imp_parallel(
        job.c->ctx, job.c->in[0].n * part_count(&job.c->in[0]), guide_task, &job);
}

static void guide_forward(const imp_call *c) {
    guide_run((guide_job){c, c->x[0], c->y, false});
}

static void guide_backward(const imp_call *c) {
    if (c->dx[0]) guide_run((guide_job){c, c->dy, c->dx[0], c->add[0]});
}

const imp_op imp_op_guide = {.name = "guide",
    .shape = guide_shape,
    .need = guide_need,
    .forward = guide_forward,
    .backward = guide_backward,
    .forward_ref = guide_forward_ref,
    .backward_ref = guide_backward_ref};
