/* SPDX-License-Identifier: MIT
 *
 * range.c: the price of values that no picture file can hold. For n values x
 *
 *     e(i) = min(x(i), 0) + max(x(i) - 255, 0)
 *     R    = 1/n sum e^2,  dR/dx(i) = 2/n e(i)
 *
 * Without it the optimiser puts a part of the style beyond black and white, where it is lost
 * when the picture is written.
 */
#include <stdlib.h>

#include "kernel/reduce.h"
#include "style/style.h"

typedef struct range_job {
    const float *x;
    size_t n;
    float factor, *dx; /* NULL: the sum alone */
    double *partial;
} range_job;

static float excess(float x) {
    return x < 0.0f ? x : x > 255.0f ? x - 255.0f : 0.0f;
}

static void range_task(void *arg, size_t task, int thread) {
    (void)thread;
    const range_job *j = arg;
    imp_chunk k = imp_chunk_of(j->n, task);
    double sum = 0;
    for (size_t i = k.first; i < k.first + k.count; i++) {
        float e = excess(j->x[i]);
        if (j->dx)
            j->dx[i] += j->factor * e;
        else
            sum += (double)(e * e);
    }
    if (!j->dx) j->partial[task] = sum;
}

double imp_range(imp_ctx *ctx, const float *x, size_t n, double *partial) {
    range_job j = {.x = x, .n = n, .partial = partial};
    imp_parallel(ctx, imp_chunk_count(n), range_task, &j);
    return imp_reduce_join(partial, imp_chunk_count(n)) / (double)n;
}

void imp_range_gradient(
    imp_ctx *ctx, const float *x, size_t n, double weight, float *dx) {
    range_job j = {
        .x = x, .n = n, .factor = (float)(2.0 * weight / (double)n), .dx = dx};
    imp_parallel(ctx, imp_chunk_count(n), range_task, &j);
}
