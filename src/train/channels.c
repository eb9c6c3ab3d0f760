/* SPDX-License-Identifier: MIT
 *
 * channels.c: which channels of a map tell most of the others. Greedy, by the pivoted Cholesky
 * factorisation of the second moments M (Harbrecht, Peters & Schneider 2012); but the pivot is
 * the channel that explains most of what is left of all, not the one of which most is left:
 *
 *     A(i,j) = M(i,j) / (M(i,i) M(j,j))^(1/4)
 *     next   = argmax over j of sum_i A(i,j)^2 / A(j,j)
 *     A      <- A - A(:,next) A(next,:) / A(next,next)
 *
 * A(i,i) is at first the rms of channel i. Scaled by it, a channel that is hardly ever there
 * would count as much as the strongest; not scaled, a Gram matrix's few strongest would be all.
 * The trace of A is then what no linear combination of the chosen explains.
 */
#include "train/train.h"

#include <math.h>
#include <stdlib.h>

#define SILENT 1e-9 /* a second moment below this is none */
#define SPENT  1e-6 /* of the mean channel: nothing new is left in it */

static double root(double moment) {
    return sqrt(sqrt(fmax(moment, SILENT)));
}

/* A, in units of its mean on the diagonal. */
static void scale(const double *moments, size_t C, double *a) {
    double mean = 0;
    for (size_t i = 0; i < C; i++) {
        double r = root(moments[i * (C + 1)]);
        mean += moments[i * (C + 1)] / (r * r) / (double)C;
    }
    for (size_t i = 0; i < C; i++)
        for (size_t j = 0; j < C; j++)
            a[i * C + j] = moments[i * C + j] / root(moments[i * (C + 1)]) /
                           root(moments[j * (C + 1)]) / fmax(mean, SILENT);
}

/* The channel not yet taken that explains most; where none explains anything, the first. */
static size_t most_telling(const double *a, size_t C, const bool *taken) {
    size_t best = C;
    double most = 0;
    for (size_t j = 0; j < C; j++) {
        double explained = -1, left = a[j * C + j];
        if (taken[j]) continue;
        if (left > SPENT) {
            explained = 0;
            for (size_t i = 0; i < C; i++) explained += a[j * C + i] * a[j * C + i];
            explained /= left;
        }
        if (best != C && explained <= most) continue;
        best = j;
        most = explained;
    }
    return best;
}

static void take(double *a, size_t C, size_t j, double *row) {
    double left = a[j * C + j];
    if (left <= SPENT) return;
    for (size_t i = 0; i < C; i++) row[i] = a[j * C + i];
    for (size_t i = 0; i < C; i++)
        for (size_t k = 0; k < C; k++) a[i * C + k] -= row[i] * row[k] / left;
}

imp_status imp_channels_choose(imp_ctx *ctx, const double *moments, size_t C, size_t K,
    size_t *chosen, double *unexplained) {
    double *a = malloc((C + 1) * C * sizeof *a), trace = 0;
    bool *taken = calloc(C, sizeof *taken);
    imp_status s = IMP_OK;
    if (!a || !taken) s = imp_fail(ctx, IMP_ERR_LIMIT, "channels: no memory");
    if (!s) scale(moments, C, a);
    for (size_t k = 0; k < K && !s; k++) {
        size_t next = most_telling(a, C, taken);
        taken[next] = true;
        take(a, C, next, a + C * C);
    }
    for (size_t i = 0, k = 0; i < C && !s; i++) {
        if (taken[i]) chosen[k++] = i;
        trace += fmax(a[i * C + i], 0);
    }
    *unexplained = trace / (double)C;
    free(a);
    free(taken);
    return s;
}
