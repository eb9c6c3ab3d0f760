/* SPDX-License-Identifier: MIT
 *
 * gram.h: the parts of a Gram matrix, for a convolution that sums it while it makes the map
 * (direct.c), and adds its gradient while it goes back (narrow.c): the first map of a network is
 * the largest, and each time that it goes through memory counts.
 */
#ifndef IMP_GRAM_H
#define IMP_GRAM_H

#include "op/op.h"

/* Doubles of the sums of one part of one sample of x. */
size_t imp_gram_sums(const imp_shape *x);
/* sums += the products of count places; the blocks of 16 channels lie step floats apart. */
void imp_gram_sum(const imp_kernels *k, const imp_shape *x, const float *map,
    size_t step, size_t count, double *sums);
/* G of all samples from sums[(sample * parts + part) * imp_gram_sums(x)], in that order. */
void imp_gram_join(
    imp_ctx *ctx, const imp_shape *x, size_t parts, const double *sums, float *g);

/* Floats of s, of all samples. */
size_t imp_gram_slopes(const imp_shape *x);
/* s = (dG + dG')/P, so that dX = X s; as panels: n, i/16, j, 16. */
void imp_gram_slope(imp_ctx *ctx, const imp_shape *x, const float *dg, float *s);

#endif
