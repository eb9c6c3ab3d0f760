/* SPDX-License-Identifier: MIT
 *
 * reduce.h: long arrays in chunks of a constant size: how element-wise work is shared
 * among the threads, and sums over arrays whose bits do not depend on how many threads
 * there are. A chunk is one task. A sum is taken chunk by chunk, in double, into
 * partial, which holds imp_chunk_count(n) doubles, and the partial sums are joined in
 * order.
 */
#ifndef IMP_REDUCE_H
#define IMP_REDUCE_H

#include "kernel/kernel.h"

#define IMP_CHUNK ((size_t)16384) /* floats: a multiple of 16; 64 KiB */

static inline size_t imp_chunk_count(size_t n) {
    return n / IMP_CHUNK + (n % IMP_CHUNK != 0);
}

typedef struct imp_chunk {
    size_t first, count;
} imp_chunk;

/* The chunk of n floats that task number `task` does; count < IMP_CHUNK in the last. */
static inline imp_chunk imp_chunk_of(size_t n, size_t task) {
    size_t first = task * IMP_CHUNK;
    return (imp_chunk){first, n - first < IMP_CHUNK ? n - first : IMP_CHUNK};
}

/* n a multiple of 16, as everywhere among the kernels. [scratch] partial. */
double imp_reduce_dot(
    imp_ctx *ctx, size_t n, const float *a, const float *b, double *partial);
double imp_reduce_distance(/* sum (a-b)^2 */
    imp_ctx *ctx, size_t n, const float *a, const float *b, double *partial);
double imp_reduce_abs(imp_ctx *ctx, size_t n, const float *a, double *partial);

/* partial[0] + partial[1] + ..., from the left. */
double imp_reduce_join(const double *partial, size_t n);

#endif
