/* SPDX-License-Identifier: MIT
 *
 * dense.h: square matrices in panels of 16 columns, what a matrix function is made of. wide,
 * the number of rows, is a multiple of 16; element (i, j) stands at (j/16 wide + i) 16 + j%16.
 * In double where digits cancel, in float32 where it must be fast.
 */
#ifndef IMP_DENSE_H
#define IMP_DENSE_H

#include "op/op.h"

static inline size_t imp_dense_at(size_t wide, size_t i, size_t j) {
    return (j / 16 * wide + i) * 16 + j % 16;
}

/* out = alpha a' b + beta I, out neither a nor b. symmetric: a' b is known to be, and half of
 * it is computed. */
typedef struct imp_dense_product {
    imp_ctx *ctx;
    size_t wide;
    const float *a, *b;
    float *out;
    float alpha, beta;
    bool symmetric;
} imp_dense_product;
void imp_dense_multiply(const imp_dense_product *p);

void imp_dense_multiply_double(imp_ctx *ctx, size_t wide, const double *a,
    const double *b, double *out, bool symmetric); /* out = a' b */

/* a <- its inverse; a is symmetric, positive definite. Where it is not, numbers that are not
 * finite may come out. [scratch] imp_dense_inverse_count(wide) doubles. */
size_t imp_dense_inverse_count(size_t wide);
void imp_dense_inverse(imp_ctx *ctx, size_t wide, double *a, double *scratch);

#endif
