/* SPDX-License-Identifier: MIT
 *
 * optim.h: inside the optimisers: what a training job keeps, restores and limits.
 */
#ifndef IMP_OPTIM_H
#define IMP_OPTIM_H

#include "base/base.h"

/* What an optimiser keeps, count floats each, its own: to be read or written. Adam's two moments;
 * m Muon's, v SGD's momentum; NULL: there is none. */
void imp_gradient_state(const imp_gradient *o, float **m, float **v);
/* As if so many steps had been made: what they leave beside that. */
void imp_gradient_resume(imp_gradient *o, size_t steps);

/* g <- g min(1, limit / |g|) (Pascanu et al. 2013, algorithm 1). Returns |g| as it was; where
 * that is not finite g stays. n is a multiple of 16, g aligned to 64. [scratch] partial:
 * imp_chunk_count(n) doubles (kernel/reduce.h). */
double imp_gradient_clip(
    imp_ctx *ctx, float *g, size_t n, double limit, double *partial);

/* --- muon.c: a step of weights, blocked --- */

typedef struct imp_muon imp_muon;
imp_status imp_muon_new(
    imp_ctx *ctx, imp_muon **out, const imp_shape *weights, double momentum);
void imp_muon_free(imp_muon *o); /* NULL is fine */
void imp_muon_step(imp_muon *o, float *w, const float *g, double rate);
float *imp_muon_state(const imp_muon *o); /* the momentum */

#endif
