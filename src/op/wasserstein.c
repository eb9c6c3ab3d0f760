/* SPDX-License-Identifier: MIT
 *
 * wasserstein.c: how far a covariance C is from a target's, the covariances' part of the
 * squared 2-Wasserstein distance of two normal distributions (Dowson & Landau 1982; for style
 * Vacher et al. 2020, "Texture interpolation"). S: the symmetric root of the target, given,
 * without a gradient (imp_matrix_root of eigen.h); both are n, C, C, 1; over n the mean:
 *
 *     L  = tr C + tr S^2 - 2 tr (M^(1/2) - eps^(1/2) I),  M = S C S + eps I
 *     dC = (I - S M^(-1/2) S) dL,         eps = 1e-4 (tr S^2 / C)^2
 *
 * eps makes L smooth where C has no full rank, as maps of fewer places than channels have.
 * Rounding VGG-19's covariances to float32 then changes dC by 1e-3 of its norm at most; with an
 * eps 100 times smaller it was 14 % at relu5_1. L is never below the distance itself, and of
 * the target at most 2 C eps^(1/2) above 0, 2 % of tr S^2.
 *
 * M is made in double, for its small eigenvalues; its root: inverse_root.c.
 */
#include "kernel/reduce.h"
#include "op/inverse_root.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPS 1e-4

static imp_status wasserstein_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)attr, (void)n_in;
    const imp_shape *x = &in[0], *s = &in[1];
    *out = (imp_shape){1, 1, 1, 1, IMP_MAP};
    if (x->h != x->c || x->w != 1)
        return imp_fail(ctx, IMP_ERR_ARG,
            "wasserstein: expected a covariance [%zu, %zu, %zu, 1], found [%zu, %zu, "
            "%zu, %zu]",
            x->n, x->c, x->c, x->n, x->c, x->h, x->w);
    if (x->n == s->n && x->c == s->c && x->h == s->h && x->w == s->w) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_ARG,
        "wasserstein: covariances are [%zu, %zu, %zu, %zu], roots [%zu, %zu, %zu, %zu]",
        x->n, x->c, x->h, x->w, s->n, s->c, s->h, s->w);
}

/* --- reference: by eigenvalues; what is not symmetric in C has no influence --- */

typedef struct reference {
    double *m, *vectors, *values, *work, loss;
} reference;

static void product_ref(size_t C, const double *a, const double *b, double *out) {
    memset(out, 0, C * C * sizeof *out);
    for (size_t i = 0; i < C; i++)
        for (size_t k = 0; k < C; k++)
            for (size_t j = 0; j < C; j++)
                out[i * C + j] += a[i * C + k] * b[k * C + j];
}

/* Of one sample: the loss, eigenvectors of M and the roots of its eigenvalues. */
static void solve_ref(reference *r, size_t C, const double *x, const double *root) {
    double square = 0, trace = 0;
    for (size_t i = 0; i < C * C; i++) square += root[i] * root[i];
    for (size_t i = 0; i < C; i++)
        for (size_t j = 0; j < C; j++)
            r->vectors[i * C + j] = (x[i * C + j] + x[j * C + i]) / 2;
    product_ref(C, r->vectors, root, r->work);
    product_ref(C, root, r->work, r->m);
    imp_eigen(C, r->m, r->vectors, r->values, r->work);
    double eps = EPS * (square / (double)C) * (square / (double)C);
    r->loss = square;
    for (size_t i = 0; i < C; i++) {
        r->values[i] = sqrt(fmax(r->values[i] + eps, eps * 1e-3));
        trace += r->values[i];
        r->loss += x[i * C + i];
    }
    r->loss -= 2 * (trace - (double)C * sqrt(eps));
}

static reference reference_new(size_t C) {
    double *p = calloc(3 * C * C + C, sizeof *p);
    if (!p) abort(); /* the tests alone call it */
    return (reference){p, p + C * C, p + 3 * C * C, p + 2 * C * C, 0};
}

static void wasserstein_forward_ref(const imp_ref_call *c) {
    size_t C = c->in[0].c, N = c->in[0].n;
    reference r = reference_new(C);
    c->y[0] = 0;
    for (size_t n = 0; n < N; n++) {
        solve_ref(&r, C, c->x[0] + n * C * C, c->x[1] + n * C * C);
        c->y[0] += r.loss / (double)N;
    }
    free(r.m);
}

static void wasserstein_backward_ref(const imp_ref_call *c) {
    size_t C = c->in[0].c, N = c->in[0].n;
    if (!c->dx[0]) return;
    reference r = reference_new(C);
    for (size_t n = 0; n < N; n++) {
        double *dx = c->dx[0] + n * C * C;
        solve_ref(&r, C, c->x[0] + n * C * C, c->x[1] + n * C * C);
        product_ref(C, r.vectors, c->x[1] + n * C * C, r.work);
        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < C; j++) {
                double d = i == j;
                for (size_t k = 0; k < C; k++)
                    d -= r.work[k * C + i] * r.work[k * C + j] / r.values[k];
                dx[i * C + j] += d * c->dy[0] / (double)N;
            }
    }
    free(r.m);
}

/* --- fast --- */

typedef struct sample {
    imp_inverse_root solver;
    const float *x, *root;
    float *gradient; /* I - S M^(-1/2) S, or NULL */
} sample;

static imp_need wasserstein_need(const imp_ctx *ctx, const void *attr,
    const imp_shape *in, const imp_shape *out, unsigned want) {
    (void)ctx, (void)attr, (void)out;
    return (imp_need){.saved = want ? imp_blocked_count(*in) * sizeof(float) : 0,
        .scratch = imp_inverse_root_bytes(in->c)};
}

static double half_sum(const float *x, size_t C, size_t i, size_t j) {
    return ((double)x[(i / 16 * C + j) * 16 + i % 16] +
               (double)x[(j / 16 * C + i) * 16 + j % 16]) /
           2;
}

/* Panel j: C where M will be, S where R will be, both in double. */
static void load_task(void *arg, size_t panel, int thread) {
    (void)thread;
    const sample *s = arg;
    size_t C = s->solver.C, wide = s->solver.wide;
    for (size_t i = 0; i < wide; i++)
        for (size_t j = panel * 16; j < panel * 16 + 16; j++) {
            size_t at = imp_dense_at(wide, i, j);
            bool inside = i < C && j < C;
            s->solver.m[at] = inside ? half_sum(s->x, C, i, j) : 0;
            s->solver.r[at] = inside ? half_sum(s->root, C, i, j) : 0;
        }
}

/* Panel j of S in float32, to spare[0]. */
static void root_task(void *arg, size_t panel, int thread) {
    (void)thread;
    const sample *s = arg;
    size_t C = s->solver.C, wide = s->solver.wide;
    for (size_t i = 0; i < wide; i++)
        for (size_t j = panel * 16; j < panel * 16 + 16; j++)
            s->solver.spare[0][imp_dense_at(wide, i, j)] =
                i < C && j < C ? (float)half_sum(s->root, C, i, j) : 0;
}

/* I - S Z1 Z S / scale^(1/2): a panel is a block of the map, but for its last rows. */
static void keep_gradient(sample *s) {
    const imp_inverse_root *q = &s->solver;
    size_t panels = q->wide / 16;
    float *root = q->spare[0], *inverse = q->spare[1], *product = q->spare[2];
    imp_parallel(q->ctx, panels, root_task, s);
    imp_dense_multiply(
        &(imp_dense_product){q->ctx, q->wide, q->z1, q->z, inverse, 1, 0, true});
    imp_dense_multiply(
        &(imp_dense_product){q->ctx, q->wide, inverse, root, product, 1, 0, false});
    imp_dense_multiply(&(imp_dense_product){
        q->ctx, q->wide, product, root, q->z, (float)(-1 / sqrt(q->scale)), 1, true});
    for (size_t k = 0; k < panels; k++)
        memcpy(s->gradient + k * q->C * 16, q->z + k * q->wide * 16,
            q->C * 16 * sizeof *q->z);
}

static double distance(sample *s) {
    imp_inverse_root *q = &s->solver;
    double square = q->ctx->kernels->dot(q->wide * q->C, s->root, s->root);
    double variance = square / (double)q->C, loss = square;
    double eps = fmax(EPS * variance * variance, 1e-60);
    for (size_t i = 0; i < q->C; i++) loss += half_sum(s->x, q->C, i, i);
    imp_parallel(q->ctx, q->wide / 16, load_task, s);
    imp_dense_multiply_double(q->ctx, q->wide, q->m, q->r, q->square, false);
    imp_dense_multiply_double(q->ctx, q->wide, q->r, q->square, q->m, true);
    loss -= 2 * (imp_inverse_root_solve(q, eps) - (double)q->C * sqrt(eps));
    if (s->gradient) keep_gradient(s);
    return loss;
}

static void wasserstein_forward(const imp_call *c) {
    size_t N = c->in[0].n, C = c->in[0].c, size = imp_round16(C) * C;
    double loss = 0;
    for (size_t n = 0; n < N; n++) {
        sample s = {imp_inverse_root_in(c->ctx, C, c->scratch), c->x[0] + n * size,
            c->x[1] + n * size, c->saved ? (float *)c->saved + n * size : NULL};
        loss += distance(&s);
    }
    *c->loss = loss / (double)N;
}

static void wasserstein_backward_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    imp_chunk k = imp_chunk_of(imp_blocked_count(c->in[0]), task);
    const float *gradient = (const float *)c->saved + k.first;
    (c->add[0] ? c->ctx->kernels->axpy : c->ctx->kernels->scale)(
        k.count, (float)(c->dloss / (double)c->in[0].n), gradient, c->dx[0] + k.first);
}

static void wasserstein_backward(const imp_call *c) {
    size_t chunks = imp_chunk_count(imp_blocked_count(c->in[0]));
    if (c->dx[0])
        imp_parallel(c->ctx, chunks, wasserstein_backward_task, (void *)(uintptr_t)c);
}

const imp_op imp_op_wasserstein = {.name = "wasserstein",
    .scalar = true,
    .shape = wasserstein_shape,
    .need = wasserstein_need,
    .forward = wasserstein_forward,
    .backward = wasserstein_backward,
    .forward_ref = wasserstein_forward_ref,
    .backward_ref = wasserstein_backward_ref};
