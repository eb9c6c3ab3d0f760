/* SPDX-License-Identifier: MIT */
#include "kernel/reduce.h"

#include <math.h>

typedef double (*chunk_fn)(size_t n, const float *a, const float *b);

typedef struct reduce_job {
    chunk_fn sum;
    size_t n;
    const float *a, *b;
    double *partial;
} reduce_job;

static void reduce_task(void *arg, size_t task, int thread) {
    (void)thread;
    const reduce_job *j = arg;
    imp_chunk k = imp_chunk_of(j->n, task);
    j->partial[task] = j->sum(k.count, j->a + k.first, j->b + k.first);
}

static double reduce(imp_ctx *ctx, reduce_job job) {
    size_t chunks = imp_chunk_count(job.n);
    imp_parallel(ctx, chunks, reduce_task, &job);
    return imp_reduce_join(job.partial, chunks);
}

double imp_reduce_join(const double *partial, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += partial[i];
    return sum;
}

double imp_reduce_dot(
    imp_ctx *ctx, size_t n, const float *a, const float *b, double *partial) {
    return reduce(ctx, (reduce_job){ctx->kernels->dot, n, a, b, partial});
}

double imp_reduce_distance(
    imp_ctx *ctx, size_t n, const float *a, const float *b, double *partial) {
    return reduce(ctx, (reduce_job){ctx->kernels->distance, n, a, b, partial});
}

static double sum_abs(size_t n, const float *a, const float *b) {
    (void)b;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabs((double)a[i]);
    return sum;
}

double imp_reduce_abs(imp_ctx *ctx, size_t n, const float *a, double *partial) {
    return reduce(ctx, (reduce_job){sum_abs, n, a, a, partial});
}
