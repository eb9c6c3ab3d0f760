/* SPDX-License-Identifier: MIT
 *
 * lbfgs.c: limited-memory BFGS (Nocedal & Wright, Numerical Optimization, 2nd edition,
 * algorithms 7.4 and 7.5). The last steps s and the changes of the gradient y that they
 * made stand for the inverse of the second derivatives, H; an iteration is
 *
 *     d = -H g                       two-loop recursion, with H0 = M s'y / y'My of the
 *                                    newest pair; without pairs d = -M g / mean |M g|
 *     x <- x + t d                   t by a line search
 *     s = t d,  y = g_new - g        kept if s'y > 1e-10 |s| |y|, whatever the scales
 *                                    of loss and x; the oldest pair dropped
 *
 * M, the preconditioner, is the identity unless the caller has a better guess. It is the
 * same as taking the steps in z with x = M^1/2 z.
 *
 * Line search: t = 1 first. A step is accepted when its loss is finite and
 *
 *     f(x + t d) <= f(x) + 1e-4 t g'd            (sufficient decrease, Armijo 1966)
 *
 * else t moves to the minimum of the parabola through f(x), g'd and f(x + t d),
 *
 *     -g'd t^2 / (2 (f(x + t d) - f(x) - t g'd))
 *
 * held between 0.1 t and 0.5 t (0.1 t where the loss was not finite), at most 20 times.
 * If d does not point downhill, or no step along it is accepted, the pairs are
 * forgotten and the steepest descent is tried in the same iteration. So a higher loss
 * is never accepted.
 *
 * Vectors are float32, dot products double in chunks of a constant size joined in
 * order: the path is the same for any number of threads.
 */
#include "kernel/reduce.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TRIALS          20
#define SUFFICIENT_DECREASE 1e-4
#define LEAST_CURVATURE     1e-10

typedef struct pair {
    float *s, *y;
    double sy, yy; /* s'y, y'y */
    double alpha;  /* of the two loops */
} pair;

struct imp_lbfgs {
    imp_ctx *ctx;
    size_t count, n;   /* n: count rounded up to 16; what is beyond count is zero */
    size_t room, kept; /* pairs: allocated; in use, pairs[0] the oldest */
    pair *pairs;
    float *x, *g; /* accepted point and its gradient */
    float *trial, *g_trial, *d;
    double *partial;                  /* of sums: three for each chunk */
    imp_precondition_fn precondition; /* NULL: M is the identity */
    void *user;
    double f;
    bool started;
};

/* --- vectors: chunk by chunk, so that what follows a chunk finds it in the cache --- */

typedef struct vector_job {
    const imp_lbfgs *o;
    float alpha;
    const float *a, *b, *z;
    float *y;
} vector_job;

static void combine(const vector_job *j, imp_chunk k) {
    const imp_kernels *kernels = j->o->ctx->kernels;
    if (!j->b)
        kernels->scale(k.count, j->alpha, j->a + k.first, j->y + k.first);
    else {
        if (j->b != j->y)
            memcpy(j->y + k.first, j->b + k.first, k.count * sizeof *j->y);
        kernels->axpy(k.count, j->alpha, j->a + k.first, j->y + k.first);
    }
}

static void combine_task(void *arg, size_t task, int thread) {
    (void)thread;
    const vector_job *j = arg;
    imp_chunk k = imp_chunk_of(j->o->n, task);
    combine(j, k);
    if (j->z)
        j->o->partial[task] =
            j->o->ctx->kernels->dot(k.count, j->z + k.first, j->y + k.first);
}

/* y = alpha a + b; b NULL: zero, b may be y, and y may be a where b is not. Returns z'y, 0
 * where z is NULL. */
static double combine_dot(const imp_lbfgs *o, float *y, double alpha, const float *a,
    const float *b, const float *z) {
    vector_job j = {o, (float)alpha, a, b, z, y};
    size_t chunks = imp_chunk_count(o->n);
    imp_parallel(o->ctx, chunks, combine_task, &j);
    return z ? imp_reduce_join(o->partial, chunks) : 0;
}

static double dot(const imp_lbfgs *o, const float *a, const float *b) {
    return imp_reduce_dot(o->ctx, o->n, a, b, o->partial);
}

/* --- life --- */

static bool get_memory(imp_lbfgs *o) {
    size_t bytes = o->n * sizeof(float);
    float **vectors[] = {&o->x, &o->g, &o->trial, &o->g_trial, &o->d};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        if (!(*vectors[i] = imp_alloc(bytes))) return false;
    o->pairs = calloc(o->room, sizeof *o->pairs);
    o->partial = malloc(3 * imp_chunk_count(o->n) * sizeof *o->partial);
    if (!o->pairs || !o->partial) return false;
    for (size_t i = 0; i < o->room; i++) {
        o->pairs[i].s = imp_alloc(bytes);
        o->pairs[i].y = imp_alloc(bytes);
        if (!o->pairs[i].s || !o->pairs[i].y) return false;
    }
    return true;
}

imp_status imp_lbfgs_new(imp_ctx *ctx, imp_lbfgs **out, size_t count, size_t history) {
    *out = NULL;
    if (count == 0 || count > SIZE_MAX / 16 || history == 0 || history > 1000)
        return imp_fail(ctx, IMP_ERR_ARG,
            "lbfgs: expected at least one number and a history of 1 to 1000, found %zu "
            "and %zu",
            count, history);
    imp_lbfgs *o = calloc(1, sizeof *o);
    if (!o) return imp_fail(ctx, IMP_ERR_LIMIT, "lbfgs: no memory");
    *o = (imp_lbfgs){
        .ctx = ctx, .count = count, .n = imp_round16(count), .room = history};
    if (!get_memory(o)) {
        imp_lbfgs_free(o);
        return imp_fail(ctx, IMP_ERR_LIMIT,
            "lbfgs: no memory for a history of %zu times %zu numbers", history, count);
    }
    *out = o;
    return IMP_OK;
}

void imp_lbfgs_precondition(imp_lbfgs *o, imp_precondition_fn fn, void *user) {
    o->precondition = fn;
    o->user = user;
}

void imp_lbfgs_renew(imp_lbfgs *o) {
    o->started = false;
}

void imp_lbfgs_free(imp_lbfgs *o) {
    if (!o) return;
    for (size_t i = 0; o->pairs && i < o->room; i++) {
        imp_release(o->pairs[i].s);
        imp_release(o->pairs[i].y);
    }
    float *vectors[] = {o->x, o->g, o->trial, o->g_trial, o->d};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        imp_release(vectors[i]);
    free(o->pairs);
    free(o->partial);
    free(o);
}

/* --- direction --- */

/* M v: v itself, or `trial`, which is free between two line searches. */
static const float *preconditioned(const imp_lbfgs *o, const float *v) {
    if (!o->precondition) return v;
    o->precondition(o->user, v, o->trial);
    return o->trial;
}

/* d, and the slope along it, g'd. */
static double steepest_descent(imp_lbfgs *o) {
    const float *down = preconditioned(o, o->g);
    double mean = imp_reduce_abs(o->ctx, o->n, down, o->partial) / (double)o->count;
    o->kept = 0;
    return combine_dot(o, o->d, -1 / mean, down, NULL, o->g);
}

/* d = -H g (algorithm 7.4, on q = -g: both loops are linear). Each pass over d takes the dot
 * product along that the next one needs. Returns the slope g'd. */
static double two_loops(imp_lbfgs *o) {
    const pair *newest = &o->pairs[o->kept - 1];
    double next = combine_dot(o, o->d, -1, o->g, NULL, newest->s);
    for (size_t i = o->kept; i-- > 0;) {
        pair *p = &o->pairs[i];
        p->alpha = next / p->sy;
        next = combine_dot(
            o, o->d, -p->alpha, p->y, o->d, i > 0 ? o->pairs[i - 1].s : NULL);
    }
    double ymy = newest->yy;
    if (o->precondition) ymy = dot(o, newest->y, preconditioned(o, newest->y));
    next = combine_dot(
        o, o->d, newest->sy / ymy, preconditioned(o, o->d), NULL, o->pairs[0].y);
    for (size_t i = 0; i < o->kept; i++) {
        pair *p = &o->pairs[i];
        double beta = next / p->sy;
        next = combine_dot(o, o->d, p->alpha - beta, p->s, o->d,
            i + 1 < o->kept ? o->pairs[i + 1].y : o->g);
    }
    return next;
}

/* --- line search --- */

static double next_step(double t, double f, double f_trial, double slope) {
    if (!isfinite(f_trial)) return 0.1 * t;
    double next = -slope * t * t / (2 * (f_trial - f - t * slope));
    if (!(next > 0.1 * t)) return 0.1 * t;
    return next < 0.5 * t ? next : 0.5 * t;
}

/* Find t; then trial, g_trial, *f_trial are those of x + t d. 0: no step was accepted.
 */
static double line_search(
    imp_lbfgs *o, imp_loss_fn fn, void *user, double slope, double *f_trial) {
    double t = 1;
    if (!(slope < 0)) return 0; /* the gradient is zero or not a number */
    for (int i = 0; i < MAX_TRIALS; i++) {
        combine_dot(o, o->trial, t, o->d, o->x, NULL);
        double f = fn(user, o->trial, o->g_trial);
        bool enough = isfinite(f) && f <= o->f + SUFFICIENT_DECREASE * t * slope;
        if (enough && isfinite(dot(o, o->g_trial, o->g_trial))) {
            *f_trial = f;
            return t;
        }
        t = next_step(t, o->f, enough ? (double)NAN : f, slope);
    }
    return 0;
}

static void swap(float **a, float **b) {
    float *c = *a;
    *a = *b;
    *b = c;
}

typedef struct pair_job {
    const imp_lbfgs *o;
    float t;
} pair_job;

/* One chunk of s, in place of d, and of y, in place of the old gradient. */
static void pair_task(void *arg, size_t task, int thread) {
    (void)thread;
    const pair_job *j = arg;
    const imp_lbfgs *o = j->o;
    const imp_kernels *kernels = o->ctx->kernels;
    imp_chunk k = imp_chunk_of(o->n, task);
    float *s = o->d + k.first, *y = o->g + k.first;
    double *partial = o->partial + task;
    size_t chunks = imp_chunk_count(o->n);
    kernels->scale(k.count, j->t, s, s);
    kernels->difference(k.count, 1, o->g_trial + k.first, y, y, false);
    partial[0] = kernels->dot(k.count, s, y);
    partial[chunks] = kernels->dot(k.count, y, y);
    partial[2 * chunks] = kernels->dot(k.count, s, s);
}

/* Move to the trial point, and keep its pair if it bends upwards: d and the old gradient
 * become the pair, and the memory of the oldest (or of one not yet used) takes their place. */
static void accept_step(imp_lbfgs *o, double t, double f) {
    pair_job j = {o, (float)t};
    size_t chunks = imp_chunk_count(o->n);
    imp_parallel(o->ctx, chunks, pair_task, &j);
    pair p = {.s = o->d,
        .y = o->g,
        .sy = imp_reduce_join(o->partial, chunks),
        .yy = imp_reduce_join(o->partial + chunks, chunks)};
    double ss = imp_reduce_join(o->partial + 2 * chunks, chunks);
    if (p.sy > LEAST_CURVATURE * sqrt(ss * p.yy)) {
        if (o->kept == o->room) {
            pair oldest = o->pairs[0];
            memmove(o->pairs, o->pairs + 1, (o->room - 1) * sizeof *o->pairs);
            o->pairs[--o->kept] = oldest;
        }
        o->d = o->pairs[o->kept].s;
        o->g = o->pairs[o->kept].y;
        o->pairs[o->kept++] = p;
    }
    o->f = f;
    swap(&o->x, &o->trial);
    swap(&o->g, &o->g_trial);
}

/* The loss and the gradient at the caller's x, at the first step on this loss. */
static imp_status start(imp_lbfgs *o, const float *x, imp_loss_fn fn, void *user) {
    memcpy(o->x, x, o->count * sizeof *x);
    o->f = fn(user, o->x, o->g);
    if (!isfinite(o->f) || !isfinite(dot(o, o->g, o->g)))
        return imp_fail(o->ctx, IMP_ERR_NUMERIC,
            "lbfgs: the loss at the start is %g, or its gradient is not finite", o->f);
    o->started = true;
    return IMP_OK;
}

imp_status imp_lbfgs_step(
    imp_lbfgs *o, float *x, imp_loss_fn fn, void *user, double *loss) {
    if (!o->started) {
        imp_status s = start(o, x, fn, user);
        *loss = o->f;
        if (s) return s;
    }
    double f = 0, t = 0;
    if (o->kept > 0) {
        double slope = two_loops(o);
        t = line_search(o, fn, user, slope, &f);
    }
    if (t == 0) {
        double slope = steepest_descent(o);
        t = line_search(o, fn, user, slope, &f);
    }
    *loss = o->f;
    if (t == 0)
        return imp_fail(o->ctx, IMP_ERR_NUMERIC,
            "lbfgs: no step downhill lowers the loss of %.9g", o->f);
    accept_step(o, t, f);
    memcpy(x, o->x, o->count * sizeof *x);
    *loss = o->f;
    return IMP_OK;
}
