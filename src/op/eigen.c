/* SPDX-License-Identifier: MIT
 *
 * eigen.c: a symmetric matrix to a tridiagonal one by Householder's reflections (Golub & Van
 * Loan, Matrix Computations, algorithm 8.3.1), the tridiagonal one to a diagonal one by the
 * implicit QL method (Bowdler, Martin, Reinsch & Wilkinson 1968, tql2). Eigenvectors are kept
 * as rows, so that every inner loop runs over neighbours.
 */
#include "op/eigen.h"

#include <float.h>
#include <math.h>
#include <string.h>

static double dot(size_t n, const double *a, const double *b) {
    double sum[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t l = 0; l < 4; l++) sum[l] += a[i + l] * b[i + l];
    for (; i < n; i++) sum[0] += a[i] * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* The m numbers x to v with (I - v v') x = (alpha, 0, ..., 0); returns alpha. */
static double reflection(size_t m, double *x) {
    double norm = 0;
    for (size_t i = 0; i < m; i++) norm = hypot(norm, x[i]);
    if (!(norm > 0)) return 0;
    double alpha = x[0] > 0 ? -norm : norm;
    double scale = sqrt(1 + fabs(x[0]) / norm);
    for (size_t i = 0; i < m; i++) x[i] = x[i] / norm / scale;
    x[0] -= alpha / norm / scale;
    return alpha;
}

/* a to T = Q' a Q, with diagonal d and e below it (e[i] at row i + 1); vectors: Q'. */
static void tridiagonal(size_t n, double *a, double *vectors, double *d, double *e) {
    double *w = d; /* its first numbers are set last */
    for (size_t k = 0; k + 2 < n; k++) {
        size_t m = n - k - 1;
        double *v = a + k * n + k + 1;
        e[k] = reflection(m, v);
        for (size_t i = 0; i < m; i++) w[i] = dot(m, a + (k + 1 + i) * n + k + 1, v);
        double half = dot(m, v, w) / 2;
        for (size_t i = 0; i < m; i++) w[i] -= half * v[i];
        for (size_t i = 0; i < m; i++) {
            double *row = a + (k + 1 + i) * n + k + 1, vi = v[i], wi = w[i];
            for (size_t j = 0; j < m; j++) row[j] -= vi * w[j] + wi * v[j];
        }
    }
    if (n > 1) e[n - 2] = a[(n - 1) * n + n - 2];
    e[n - 1] = 0;
    for (size_t i = 0; i < n; i++) d[i] = a[i * n + i];
    memset(vectors, 0, n * n * sizeof *vectors);
    for (size_t i = 0; i < n; i++) vectors[i * n + i] = 1;
    for (size_t k = n - 1; k-- > 0;) {
        const double *v = a + k * n + k + 1;
        for (size_t r = k + 1; k + 2 < n && r < n; r++) {
            double *row = vectors + r * n + k + 1, s = dot(n - k - 1, row, v);
            for (size_t j = 0; j < n - k - 1; j++) row[j] -= s * v[j];
        }
    }
}

/* One sweep from row m up to row l; the rotations are done to the vectors, too. */
static void ql_sweep(
    size_t n, size_t l, size_t m, double *d, double *e, double *vectors) {
    double g = (d[l + 1] - d[l]) / (2 * e[l]), r = hypot(g, 1), s = 1, c = 1, p = 0;
    g = d[m] - d[l] + e[l] / (g + (g < 0 ? -r : r));
    for (size_t i = m; i-- > l;) {
        double f = s * e[i], b = c * e[i];
        e[i + 1] = r = hypot(f, g);
        if (!(r > 0)) { /* an eigenvalue stands alone already */
            d[i + 1] -= p;
            e[m] = 0;
            return;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        double *x = vectors + i * n, *y = x + n;
        for (size_t k = 0; k < n; k++) {
            double t = y[k];
            y[k] = s * x[k] + c * t;
            x[k] = c * x[k] - s * t;
        }
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0;
}

#define SWEEPS 60 /* for one eigenvalue; two are usual. NaN never converges */

void imp_eigen(size_t n, double *a, double *vectors, double *values, double *e) {
    tridiagonal(n, a, vectors, values, e);
    for (size_t l = 0; l < n; l++)
        for (int sweep = 0; sweep < SWEEPS; sweep++) {
            size_t m = l;
            while (m + 1 < n && !(fabs(e[m]) <= DBL_EPSILON * (fabs(values[m]) +
                                                                  fabs(values[m + 1]))))
                m++;
            if (m == l) break;
            ql_sweep(n, l, m, values, e, vectors);
        }
}

void imp_matrix_root(size_t n, double *a, double *work) {
    double *vectors = work, *values = work + n * n;
    imp_eigen(n, a, vectors, values, values + n);
    memset(a, 0, n * n * sizeof *a);
    for (size_t k = 0; k < n; k++) {
        const double *v = vectors + k * n;
        double root = values[k] < 0 ? 0 : sqrt(values[k]); /* NaN stays */
        for (size_t i = 0; i < n; i++) {
            double f = root * v[i];
            for (size_t j = 0; j <= i; j++) a[i * n + j] += f * v[j];
        }
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) a[j * n + i] = a[i * n + j];
}
