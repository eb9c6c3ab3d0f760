/* SPDX-License-Identifier: MIT
 *
 * inverse_root.c: the root of a matrix and its inverse by products. M's eigenvalues may differ
 * by 10^9: in float32 alone the small ones would become negative, and what follows diverge. So,
 * with M divided by more than its largest eigenvalue, first one step of QDWH (Nakatsukasa, Bai
 * & Gygi 2010) in double, which leaves eigenvalues that differ by 10^6 at most, mostly by 100:
 *
 *     R = (I + c M)^-1,  Z1 = p I + q R
 *     A = Z1 M Z1 = p^2 M + (2pq (I - R) + q^2 (R - R^2)) / c
 *
 * then Newton and Schulz's coupled iteration in float32, from Y = A, Z = I, with r the best
 * scaling for what is known of the least eigenvalue (Chen & Chow 2014), about 6 steps:
 *
 *     T = 3/2 r I - 1/2 r^3 Z Y,  Y <- Y T,  Z <- Z T
 *     M^(-1/2) = Z1 Z,  tr M^(1/2) = tr M Z1 Z,  M Z1 = p M + q/c (I - R)
 */
#include "op/inverse_root.h"

#include "kernel/reduce.h"

#include <math.h>

size_t imp_inverse_root_bytes(size_t C) {
    size_t wide = imp_round16(C), doubles = 3 * wide * wide + wide / 16;
    return (doubles + imp_dense_inverse_count(wide)) * sizeof(double) +
           5 * wide * wide * sizeof(float);
}

imp_inverse_root imp_inverse_root_in(imp_ctx *ctx, size_t C, void *scratch) {
    size_t wide = imp_round16(C), matrix = wide * wide;
    imp_inverse_root s = {.ctx = ctx, .C = C, .wide = wide, .m = scratch};
    s.r = s.m + matrix;
    s.square = s.r + matrix;
    s.z1 = (float *)(s.square + matrix);
    s.z = s.z1 + matrix;
    for (size_t i = 0; i < 3; i++) s.spare[i] = s.z + (i + 1) * matrix;
    s.sweep = (double *)(s.spare[2] + matrix);
    s.sums = s.sweep + imp_dense_inverse_count(wide);
    return s;
}

/* An element of M / scale + shift, which the head calls M. */
static double m_of(const imp_inverse_root *s, size_t at, bool diagonal) {
    return s->m[at] / s->scale + (diagonal ? s->shift : 0);
}

/* Panel j of I + c M. */
static void resolvent_task(void *arg, size_t panel, int thread) {
    (void)thread;
    const imp_inverse_root *s = arg;
    for (size_t i = 0; i < s->wide; i++)
        for (size_t j = panel * 16; j < panel * 16 + 16; j++) {
            size_t at = imp_dense_at(s->wide, i, j);
            s->r[at] = (i == j) + s->c1 * m_of(s, at, i == j);
        }
}

/* Panel j of Y = A, for now where Z1 will be, and of Z = T after the first step's T, where the old Z is I. */
static void start_task(void *arg, size_t panel, int thread) {
    (void)thread;
    const imp_inverse_root *s = arg;
    double p = s->p, q = s->q;
    float r = s->first;
    for (size_t i = 0; i < s->wide; i++)
        for (size_t j = panel * 16; j < panel * 16 + 16; j++) {
            size_t at = imp_dense_at(s->wide, i, j);
            double one = i == j, R = s->r[at];
            double a = p * p * m_of(s, at, i == j) +
                       (2 * p * q * (one - R) + q * q * (R - s->square[at])) / s->c1;
            s->z1[at] = (float)a;
            s->z[at] = 1.5f * r * (float)one - 0.5f * r * r * r * (float)a;
        }
}

/* sums[panel]: its part of tr M^(1/2) = tr (M Z1) Z, with M R = (I - R) / c. z1: Z1. */
static void trace_task(void *arg, size_t panel, int thread) {
    (void)thread;
    const imp_inverse_root *s = arg;
    double sum = 0;
    for (size_t i = 0; i < s->wide; i++)
        for (size_t j = panel * 16; j < panel * 16 + 16; j++) {
            size_t at = imp_dense_at(s->wide, i, j);
            double one = i == j, R = s->r[at];
            double root = s->p * m_of(s, at, i == j) + s->q / s->c1 * (one - R);
            if (i < s->C && j < s->C) sum += root * (double)s->z[at];
            s->z1[at] = (float)(s->p * one + s->q * R);
        }
    s->sums[panel] = sum;
}

/* sums[panel]: how far T, in spare[2], is from I. */
static void residual_task(void *arg, size_t panel, int thread) {
    (void)thread;
    const imp_inverse_root *s = arg;
    double sum = 0;
    for (size_t i = 0; i < s->wide; i++)
        for (size_t j = panel * 16; j < panel * 16 + 16; j++) {
            double d = (double)s->spare[2][imp_dense_at(s->wide, i, j)] - (i == j);
            sum += d * d;
        }
    s->sums[panel] = sum;
}

static double sum_of(imp_inverse_root *s, imp_task_fn task) {
    size_t panels = s->wide / 16;
    imp_parallel(s->ctx, panels, task, s);
    return imp_reduce_join(s->sums, panels);
}

static void multiply(const imp_inverse_root *s, const float *a, const float *b,
    float *out, float alpha, float beta) {
    imp_dense_product p = {s->ctx, s->wide, a, b, out, alpha, beta, true};
    imp_dense_multiply(&p);
}

/* x: the least singular value so far, at most 1; r: the scaling that brings it nearest to 1,
 * a little less, lest a rounding turn a 1 to a negative number. Returns the next x. */
static double scale_step(double x, float *r) {
    double square = fmin(3 / (1 + x + x * x), 2.98), scale = sqrt(square);
    *r = (float)scale;
    return fmin(scale * x * (3 - square * x * x), scale * (3 - square)) / 2;
}

#define STEPS 24

static void swap(float **a, float **b) {
    float *c = *a;
    *a = *b, *b = c;
}

/* Y = A to I by Newton and Schulz, Z to A^(-1/2). Where A has a negative eigenvalue that one
 * runs away, and T with it. */
static bool iterate(imp_inverse_root *s, double x) {
    float r, **y = &s->z1, **z = &s->z, *t = s->spare[2];
    bool last = false;
    x = scale_step(x, &s->first);
    imp_parallel(s->ctx, s->wide / 16, start_task, s);
    multiply(s, *y, *z, s->spare[0], 1, 0);
    swap(y, &s->spare[0]);
    for (int step = 1; step < STEPS && !last; step++) {
        last = x > 1 - 1e-4;
        x = scale_step(x, &r);
        multiply(s, *z, *y, t, -0.5f * r * r * r, 1.5f * r);
        multiply(s, *z, t, s->spare[0], 1, 0);
        if (!last) multiply(s, *y, t, s->spare[1], 1, 0);
        swap(z, &s->spare[0]);
        if (!last) swap(y, &s->spare[1]);
    }
    return sum_of(s, residual_task) <= 1e-3 * (double)s->wide;
}

/* The coefficients of QDWH for singular values in [x, 1]; returns the next x. */
static double first_step(imp_inverse_root *s, double x) {
    double d = cbrt(4 * (1 - x * x) / (x * x * x * x)), e = sqrt(1 + d);
    double a = e + sqrt(8 - 4 * d + 8 * (2 - x * x) / (x * x * e)) / 2;
    double b = (a - 1) * (a - 1) / 4;
    s->c1 = a + b - 1;
    s->p = b / s->c1;
    s->q = a - s->p;
    return fmin(x * (a + b * x * x) / (1 + s->c1 * x * x), 1);
}

/* R, Z1, Z and tr M^(1/2); false: M + eps I was not positive definite. */
static bool solve(imp_inverse_root *s, double norm, double eps, double *trace) {
    imp_ctx *ctx = s->ctx;
    size_t panels = s->wide / 16;
    s->scale = norm + eps; /* no eigenvalue is larger */
    s->shift = eps / s->scale;
    double x = first_step(s, fmax(sqrt(s->shift), 1e-8));
    imp_parallel(ctx, panels, resolvent_task, s);
    imp_dense_inverse(ctx, s->wide, s->r, s->sweep);
    imp_dense_multiply_double(ctx, s->wide, s->r, s->r, s->square, true);
    bool good = iterate(s, x);
    *trace = sum_of(s, trace_task) * sqrt(s->scale);
    return good;
}

/* sums[panel]: of the squares of M. */
static void norm_task(void *arg, size_t panel, int thread) {
    (void)thread;
    const imp_inverse_root *s = arg;
    double sum = 0;
    const double *m = s->m + panel * s->wide * 16;
    for (size_t k = 0; k < s->wide * 16; k++) sum += m[k] * m[k];
    s->sums[panel] = sum;
}

#define TRIES 6

double imp_inverse_root_solve(imp_inverse_root *s, double eps) {
    double trace = 0, norm = sqrt(sum_of(s, norm_task)), more = 0;
    for (int t = 0; t < TRIES && !solve(s, norm, eps + more, &trace); t++)
        more = norm * ldexp(1, 6 * t - 24); /* at last more than the norm */
    return trace;
}
