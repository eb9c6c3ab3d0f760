/* SPDX-License-Identifier: MIT
 *
 * dense.c: products and the inverse of square matrices in panels. A task is a square of 16 x
 * 16; its sums run in one order.
 */
#include "op/dense.h"

#include <string.h>

#define RUN 64 /* rows of two panels that stay in the first cache, in double */

typedef double pair __attribute__((vector_size(16), aligned(8), may_alias));

/* g(i,j) += sum over p < count of a(p,i) b(p,j), 4 x 4 numbers in registers. */
static void outer_double(size_t count, const double *a, const double *b, double *g) {
    for (size_t i = 0; i < 16; i += 4)
        for (size_t j = 0; j < 16; j += 4) {
            pair s[4][2] = {{{0}}};
            const double *left = a + i, *right = b + j;
            for (size_t p = 0; p < count; p++, left += 16, right += 16) {
                pair r0 = *(const pair *)right, r1 = *(const pair *)(right + 2);
                for (size_t k = 0; k < 4; k++) {
                    s[k][0] += left[k] * r0;
                    s[k][1] += left[k] * r1;
                }
            }
            for (size_t k = 0; k < 4; k++)
                for (size_t l = 0; l < 4; l++)
                    g[(i + k) * 16 + j + l] += s[k][l / 2][l % 2];
        }
}

/* Which square is a task: all of them row by row, or those on and below the diagonal. */
static void square_of(size_t task, size_t wide, bool symmetric, size_t *i, size_t *j) {
    *i = symmetric ? 0 : task / (wide / 16);
    *j = symmetric ? task : task % (wide / 16);
    for (; symmetric && *j > *i; ++*i) *j -= *i + 1;
}

static size_t square_count(size_t wide, bool symmetric) {
    size_t n = wide / 16;
    return symmetric ? n * (n + 1) / 2 : n * n;
}

static void multiply_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_dense_product *q = arg;
    size_t i, j;
    float g[256] __attribute__((aligned(64)));
    square_of(task, q->wide, q->symmetric, &i, &j);
    for (size_t p = 0; p < q->wide; p += RUN) {
        size_t run = imp_least(q->wide - p, RUN);
        q->ctx->kernels->outer(run, q->a + (i * q->wide + p) * 16, 16,
            q->b + (j * q->wide + p) * 16, 16, NULL, g, p > 0);
    }
    for (size_t k = 0; k < 256; k++) g[k] *= q->alpha;
    for (size_t k = 0; i == j && k < 16; k++) g[k * 17] += q->beta;
    memcpy(q->out + (j * q->wide + i * 16) * 16, g, sizeof g);
    if (!q->symmetric || i == j) return;
    float *mirror = q->out + (i * q->wide + j * 16) * 16;
    for (size_t k = 0; k < 256; k++) mirror[k] = g[k % 16 * 16 + k / 16];
}

void imp_dense_multiply(const imp_dense_product *p) {
    imp_parallel(p->ctx, square_count(p->wide, p->symmetric), multiply_task,
        (void *)(uintptr_t)p);
}

typedef struct double_job {
    size_t wide;
    const double *a, *b;
    double *out;
    bool symmetric;
} double_job;

static void double_task(void *arg, size_t task, int thread) {
    (void)thread;
    const double_job *q = arg;
    size_t i, j;
    double g[256] = {0};
    square_of(task, q->wide, q->symmetric, &i, &j);
    for (size_t p = 0; p < q->wide; p += RUN)
        outer_double(imp_least(q->wide - p, RUN), q->a + (i * q->wide + p) * 16,
            q->b + (j * q->wide + p) * 16, g);
    memcpy(q->out + (j * q->wide + i * 16) * 16, g, sizeof g);
    if (!q->symmetric || i == j) return;
    double *mirror = q->out + (i * q->wide + j * 16) * 16;
    for (size_t k = 0; k < 256; k++) mirror[k] = g[k % 16 * 16 + k / 16];
}

void imp_dense_multiply_double(imp_ctx *ctx, size_t wide, const double *a,
    const double *b, double *out, bool symmetric) {
    double_job job = {wide, a, b, out, symmetric};
    imp_parallel(ctx, square_count(wide, symmetric), double_task, &job);
}

/* --- the inverse: Gauss-Jordan by blocks, the sweep operator (Beaton 1964). Of a symmetric
 * matrix only the squares on and below the diagonal are kept. The sweep of block k, K its
 * square, P = K^-1, B(j) the square in row k and column j:
 *
 *     K <- -P,  B(j) <- P B(j),  A(i,j) <- A(i,j) - B(i)' P B(j)
 *
 * After all of them stands -A^-1. Positive pivots need no exchange of rows. --- */

typedef struct sweep_job {
    size_t wide, k;
    double *a, *row, *weighted; /* row: B(j); weighted: P B(j); 256 numbers each */
    double pivot[256];          /* P */
} sweep_job;

static double *square_at(const sweep_job *s, size_t i, size_t j) {
    return s->a + (j * s->wide + i * 16) * 16;
}

/* The inverse of one square. */
static void invert_square(double *a) {
    for (size_t k = 0; k < 16; k++) {
        double pivot = 1 / a[k * 17], row[16];
        for (size_t j = 0; j < 16; j++) row[j] = a[k * 16 + j] * pivot;
        row[k] = pivot;
        for (size_t i = 0; i < 16; i++) {
            double f = a[i * 16 + k];
            if (i == k) continue;
            a[i * 16 + k] = 0;
            for (size_t j = 0; j < 16; j++) a[i * 16 + j] -= f * row[j];
        }
        memcpy(a + k * 16, row, sizeof row);
    }
}

static void row_task(void *arg, size_t j, int thread) {
    (void)thread;
    const sweep_job *s = arg;
    double *row = s->row + j * 256, *weighted = s->weighted + j * 256;
    const double *from = j <= s->k ? square_at(s, s->k, j) : square_at(s, j, s->k);
    for (size_t l = 0; l < 256; l++)
        row[l] = j <= s->k ? from[l] : from[l % 16 * 16 + l / 16];
    memset(weighted, 0, 256 * sizeof *weighted);
    outer_double(16, s->pivot, row, weighted);
}

/* Row i of squares, up to the diagonal. */
static void update_task(void *arg, size_t task, int thread) {
    (void)thread;
    const sweep_job *s = arg;
    size_t i = s->wide / 16 - 1 - task; /* the longest first */
    for (size_t j = 0; j <= i; j++) {
        double *a = square_at(s, i, j), g[256] = {0};
        if (i == s->k && j == s->k) {
            for (size_t l = 0; l < 256; l++) a[l] = -s->pivot[l];
        } else if (i == s->k)
            memcpy(a, s->weighted + j * 256, sizeof g);
        else if (j == s->k)
            for (size_t l = 0; l < 256; l++)
                a[l] = s->weighted[i * 256 + l % 16 * 16 + l / 16];
        else {
            outer_double(16, s->weighted + i * 256, s->row + j * 256, g);
            for (size_t l = 0; l < 256; l++) a[l] -= g[l];
        }
    }
}

/* Row i of squares: the other sign, and the mirror image. */
static void finish_task(void *arg, size_t i, int thread) {
    (void)thread;
    const sweep_job *s = arg;
    for (size_t j = 0; j <= i; j++) {
        double *a = square_at(s, i, j), *mirror = square_at(s, j, i);
        for (size_t l = 0; l < 256; l++) a[l] = -a[l];
        for (size_t l = 0; l < 256 && i != j; l++) mirror[l] = a[l % 16 * 16 + l / 16];
    }
}

size_t imp_dense_inverse_count(size_t wide) {
    return 2 * wide * 16;
}

void imp_dense_inverse(imp_ctx *ctx, size_t wide, double *a, double *scratch) {
    size_t blocks = wide / 16;
    sweep_job s = {
        .wide = wide, .a = a, .row = scratch, .weighted = scratch + wide * 16};
    for (s.k = 0; s.k < blocks; s.k++) {
        memcpy(s.pivot, square_at(&s, s.k, s.k), sizeof s.pivot);
        invert_square(s.pivot);
        imp_parallel(ctx, blocks, row_task, &s);
        imp_parallel(ctx, blocks, update_task, &s);
    }
    imp_parallel(ctx, blocks, finish_task, &s);
}
