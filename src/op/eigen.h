/* SPDX-License-Identifier: MIT
 *
 * eigen.h: eigenvalues and roots of symmetric matrices, in double, by one thread: for what is
 * computed once (targets), and for references. Matrices are n x n, row by row.
 */
#ifndef IMP_EIGEN_H
#define IMP_EIGEN_H

#include <stddef.h>

/* The symmetric a = sum_k values[k] v_k v_k', v_k the rows of vectors. a is destroyed.
 * [scratch] e: n doubles. */
void imp_eigen(size_t n, double *a, double *vectors, double *values, double *e);

/* a <- its symmetric root; a is symmetric and positive semidefinite up to rounding: negative
 * eigenvalues count as 0. [scratch] work: n * n + 2 * n doubles. */
void imp_matrix_root(size_t n, double *a, double *work);

#endif
