/* SPDX-License-Identifier: MIT
 *
 * gradient.c: the optimisers that take one step for each gradient g. x is a flat array;
 * everything is element by element, rate is the step's.
 *
 * SGD with momentum mu (Polyak 1964, in the form of Sutskever et al. 2013 and PyTorch):
 *
 *     v <- mu v + g
 *     x <- x - rate v
 *
 * Adam (Kingma & Ba 2015, algorithm 1), t = 1 at the first step:
 *
 *     m <- b1 m + (1 - b1) g               mh = m / (1 - b1^t)
 *     v <- b2 v + (1 - b2) g^2             vh = v / (1 - b2^t)
 *     x <- x - rate mh / (sqrt(vh) + eps)
 *
 * Adam with decay (AdamW, Loshchilov & Hutter 2019, algorithm 2) first makes
 *
 *     x <- (1 - rate decay) x
 *
 * Muon, which looks at weights as a matrix, is in muon.c.
 *
 * The state (v, or m and v) is float32 and zero at the start. Without momentum v is g.
 */
#include "kernel/reduce.h"
#include "optim/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct imp_gradient {
    imp_ctx *ctx;
    size_t count;
    imp_gradient_options options;
    float *m, *v;          /* count, rounded up to 16; NULL where not needed */
    float b1, b2;          /* Adam's, as the kernel has them */
    double power1, power2; /* b1^t, b2^t */
    imp_muon *muon;        /* which has the state then */
};

static bool is_fraction(double a) {
    return a >= 0 && a < 1; /* false for NaN */
}

static imp_status check(imp_ctx *ctx, size_t count, const imp_gradient_options *o) {
    if (o->kind != IMP_SGD && o->kind != IMP_ADAM && o->kind != IMP_MUON)
        return imp_fail(ctx, IMP_ERR_ARG,
            "optimiser: expected SGD, Adam or Muon, found kind %d", (int)o->kind);
    if (count == 0 || count > SIZE_MAX / 16)
        return imp_fail(
            ctx, IMP_ERR_ARG, "optimiser: cannot work on %zu numbers", count);
    if (!is_fraction(o->momentum))
        return imp_fail(ctx, IMP_ERR_ARG,
            "optimiser: momentum: expected 0 or more and less than 1, found %g",
            o->momentum);
    if (!is_fraction(o->beta1) || !is_fraction(o->beta2) || !(o->eps >= 0))
        return imp_fail(ctx, IMP_ERR_ARG,
            "optimiser: expected betas of 0 or more and less than 1 and eps of 0 or "
            "more, "
            "found %g, %g and %g",
            o->beta1, o->beta2, o->eps);
    if (o->kind == IMP_MUON &&
        (o->weights.layout != IMP_WEIGHT || imp_blocked_count(o->weights) != count))
        return imp_fail(ctx, IMP_ERR_ARG,
            "optimiser: weights: Muon expected a shape of weights of %zu blocked "
            "numbers, found %zu",
            count, o->weights.layout == IMP_WEIGHT ? imp_blocked_count(o->weights) : 0);
    if (!isfinite(o->decay) || o->decay < 0 || (o->decay > 0 && o->kind == IMP_SGD))
        return imp_fail(ctx, IMP_ERR_ARG,
            "optimiser: decay: expected 0 or more, and 0 with SGD, found %g", o->decay);
    return IMP_OK;
}

imp_status imp_gradient_new(imp_ctx *ctx, imp_gradient **out, size_t count,
    const imp_gradient_options *options) {
    *out = NULL;
    imp_status s = check(ctx, count, options);
    if (s) return s;
    imp_gradient *o = calloc(1, sizeof *o);
    if (!o) return imp_fail(ctx, IMP_ERR_LIMIT, "optimiser: no memory");
    *o = (imp_gradient){
        .ctx = ctx, .count = count, .options = *options, .power1 = 1, .power2 = 1};
    if (o->options.beta1 == 0 && o->options.beta2 == 0 && o->options.eps == 0) {
        o->options.beta1 = 0.9;
        o->options.beta2 = 0.999;
        o->options.eps = 1e-8;
    }
    o->b1 = (float)o->options.beta1;
    o->b2 = (float)o->options.beta2;
    if (o->options.kind == IMP_MUON) {
        s = imp_muon_new(ctx, &o->muon, &o->options.weights,
            o->options.momentum > 0 ? o->options.momentum : 0.95);
        if (s)
            imp_gradient_free(o);
        else
            *out = o;
        return s;
    }
    size_t bytes = imp_round16(count) * sizeof(float);
    bool adam = options->kind == IMP_ADAM, v = adam || options->momentum > 0;
    if (v) o->v = imp_alloc(bytes);
    if (adam) o->m = imp_alloc(bytes);
    if ((v && !o->v) || (adam && !o->m)) {
        imp_gradient_free(o);
        return imp_fail(ctx, IMP_ERR_LIMIT,
            "optimiser: no memory for the state of %zu numbers", count);
    }
    *out = o;
    return IMP_OK;
}

void imp_gradient_free(imp_gradient *o) {
    if (!o) return;
    imp_muon_free(o->muon);
    imp_release(o->m);
    imp_release(o->v);
    free(o);
}

typedef struct step_job {
    const imp_gradient *o;
    float *x;
    const float *g;
    float rate, c1, c2, keep; /* keep: 1 - rate decay */
} step_job;

static void step(const step_job *j, size_t n, float *x, size_t state, const float *g) {
    const imp_gradient *o = j->o;
    const imp_kernels *k = o->ctx->kernels;
    if (!o->v)
        k->axpy(n, -j->rate, g, x);
    else if (o->options.kind == IMP_SGD)
        k->sgd(n, x, o->v + state, g, j->rate, (float)o->options.momentum);
    else {
        if (o->options.decay > 0) k->scale(n, j->keep, x, x);
        k->adam(n, x, o->m + state, o->v + state, g, j->rate, o->b1, o->b2,
            (float)o->options.eps, j->c1, j->c2);
    }
}

static void step_task(void *arg, size_t task, int thread) {
    (void)thread;
    const step_job *j = arg;
    imp_chunk k = imp_chunk_of(j->o->count, task);
    size_t whole = k.count / 16 * 16, rest = k.count - whole;
    step(j, whole, j->x + k.first, k.first, j->g + k.first);
    if (rest == 0) return;
    /* Fewer than 16 at the very end: kernels take 16, the caller's arrays have not. */
    float x[16] = {0}, g[16] = {0};
    size_t at = k.first + whole;
    memcpy(x, j->x + at, rest * sizeof *x);
    memcpy(g, j->g + at, rest * sizeof *g);
    step(j, 16, x, at, g);
    memcpy(j->x + at, x, rest * sizeof *x);
}

void imp_gradient_step(imp_gradient *o, float *x, const float *g, double rate) {
    step_job j = {.o = o,
        .x = x,
        .g = g,
        .rate = (float)rate,
        .keep = (float)(1 - rate * o->options.decay)};
    if (o->muon) {
        if (o->options.decay > 0) o->ctx->kernels->scale(o->count, j.keep, x, x);
        imp_muon_step(o->muon, x, g, rate);
        return;
    }
    if (o->options.kind == IMP_ADAM) {
        /* The corrections are those of the betas that the kernel has: 1 - 0.999f is off
         * by 1e-5 from 0.001, and would not cancel at the first steps. */
        o->power1 *= (double)o->b1;
        o->power2 *= (double)o->b2;
        j.c1 = (float)(1 / (1 - o->power1));
        j.c2 = (float)(1 / (1 - o->power2));
    }
    imp_parallel(o->ctx, imp_chunk_count(o->count), step_task, &j);
}

void imp_gradient_state(const imp_gradient *o, float **m, float **v) {
    *m = o->muon ? imp_muon_state(o->muon) : o->m;
    *v = o->v;
}

void imp_gradient_resume(imp_gradient *o, size_t steps) {
    o->power1 = o->power2 = 1;
    for (size_t t = 0; t < steps; t++) { /* as the steps did, rounding and all */
        o->power1 *= (double)o->b1;
        o->power2 *= (double)o->b2;
    }
}

double imp_gradient_clip(
    imp_ctx *ctx, float *g, size_t n, double limit, double *partial) {
    double norm = sqrt(imp_reduce_dot(ctx, n, g, g, partial));
    if (norm > limit && isfinite(norm))
        ctx->kernels->scale(n, (float)(limit / norm), g, g);
    return norm;
}
