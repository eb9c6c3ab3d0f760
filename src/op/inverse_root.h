/* SPDX-License-Identifier: MIT
 *
 * inverse_root.h: (M + eps I)^(-1/2) of a symmetric positive semidefinite M, from double to
 * float32. Matrices are in panels (dense.h), wide x wide, zero beyond C.
 */
#ifndef IMP_INVERSE_ROOT_H
#define IMP_INVERSE_ROOT_H

#include "op/dense.h"

typedef struct imp_inverse_root {
    imp_ctx *ctx;
    size_t C, wide;
    double *m;                     /* M, the caller's to fill */
    double *r, *square;            /* free before, R and R^2 after */
    float *z1, *z;                 /* (M + eps I)^(-1/2) = z1 z / scale^(1/2) */
    float *spare[3];               /* the caller's, after */
    double *sweep, *sums;          /* sums: one a panel */
    double scale, shift, p, q, c1; /* of M / scale + shift; c1: the c of the formula */
    float first;                   /* the first step's r */
} imp_inverse_root;

size_t imp_inverse_root_bytes(size_t C);
imp_inverse_root imp_inverse_root_in(imp_ctx *ctx, size_t C, void *scratch);
/* Returns tr (M + eps I)^(1/2). eps > 0. Where M is too far from semidefinite for eps, a
 * larger one is taken. m is kept. */
double imp_inverse_root_solve(imp_inverse_root *s, double eps);

#endif
