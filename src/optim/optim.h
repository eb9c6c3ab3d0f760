/* SPDX-License-Identifier: MIT
 *
 * optim.h: inside the optimisers: what a training job keeps, restores and limits.
 */
#ifndef IMP_OPTIM_H
#define IMP_OPTIM_H

#include "base/base.h"

/* Adam's two moments, count floats each, the optimiser's own: to be read or written. */
void imp_adam_state(const imp_gradient *o, float **m, float **v);
/* As if so many steps had been made: what they leave beside the moments. */
void imp_adam_resume(imp_gradient *o, size_t steps);

/* g <- g min(1, limit / |g|) (Pascanu et al. 2013, algorithm 1). Returns |g| as it was; where
 * that is not finite g stays. n is a multiple of 16, g aligned to 64. [scratch] partial:
 * imp_chunk_count(n) doubles (kernel/reduce.h). */
double imp_gradient_clip(
    imp_ctx *ctx, float *g, size_t n, double limit, double *partial);

#endif
