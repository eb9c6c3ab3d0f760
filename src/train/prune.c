/* SPDX-License-Identifier: MIT
 *
 * prune.c: a network that a student starts from, with fewer channels. Of those that it has
 * learnt of a map, the ones that tell most of the others stay (channels.c). What the next layer
 * got from another, d, it gets from the best linear guess of it (He, Zhang & Sun 2017, section
 * 3.1, with the teacher's maps for the network's own):
 *
 *     x(d)    ~  sum_k L(d,k) x(k)          L M(k,k) = M(d,k), M: second moments
 *     W(o,k)  <- W(o,k) + sum_d W(o,d) L(d,k)
 *
 * Between the two lies a pool at most, for which the guess is taken as well.
 */
#include "train/train.h"

#include <math.h>
#include <stdlib.h>

#define RIDGE 1e-6 /* of a channel's own moment: kept channels can be alike */

/* A map's channels: those that stay, as numbers of those that were, and the guess of all that
 * were from those, had x n; of one that stays, itself. */
typedef struct channels {
    size_t had, n;
    size_t *kept;
    double *guess;
} channels;

static void free_channels(channels *c) {
    free(c->kept);
    free(c->guess);
    *c = (channels){0};
}

/* a = L L', n x n, to L in its lower half. A channel of which nothing is left counts as one of
 * which little is. */
static void factorise(size_t n, double *a) {
    for (size_t j = 0; j < n; j++) {
        double least = RIDGE * a[j * (n + 1)];
        for (size_t i = j; i < n; i++) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < j; k++) sum -= a[i * n + k] * a[j * n + k];
            a[i * n + j] = i == j ? sqrt(fmax(sum, least)) : sum / a[j * (n + 1)];
        }
    }
}

/* x <- (L L')^-1 x. */
static void solve(size_t n, const double *l, double *x) {
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) x[i] -= l[i * n + k] * x[k];
        x[i] /= l[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; k++) x[i] -= l[k * n + i] * x[k];
        x[i] /= l[i * n + i];
    }
}

static void make_guess(channels *c, const imp_picks *had, const imp_picks *picks,
    const double *moments, double *a) {
    size_t n = c->n, of = had->of;
    for (size_t i = 0; i < n; i++) {
        const double *row = moments + (size_t)picks->values[2 * i] * of;
        for (size_t j = 0; j < n; j++) a[i * n + j] = row[(size_t)picks->values[2 * j]];
        a[i * (n + 1)] += fmax(RIDGE * a[i * (n + 1)], 1e-12);
    }
    factorise(n, a);
    for (size_t d = 0, k = 0; d < c->had; d++) {
        double *guess = c->guess + d * n;
        if (k < n && had->values[2 * d] == picks->values[2 * k]) {
            guess[k] = 1;
            c->kept[k++] = d;
            continue;
        }
        const double *row = moments + (size_t)had->values[2 * d] * of;
        for (size_t i = 0; i < n; i++) guess[i] = row[(size_t)picks->values[2 * i]];
        solve(n, a, guess);
    }
}

static imp_status new_channels(
    const imp_features *job, size_t map, const double *moments, channels *c) {
    const imp_picks *had = &job->had[map], *picks = &job->picks[map];
    *c = (channels){.had = had->n, .n = picks->n};
    double *a = malloc(c->n * c->n * sizeof *a);
    c->kept = malloc(c->n * sizeof *c->kept);
    c->guess = calloc(c->had * c->n, sizeof *c->guess);
    bool good = a && c->kept && c->guess;
    if (good) make_guess(c, had, picks, moments, a);
    free(a);
    return good ? IMP_OK : imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
}

/* in, out: of the maps before and behind; NULL: what a factor of low rank makes, which stays. */
static void prune_kernel(
    const channels *in, const channels *out, const imp_tensor *from, imp_tensor *to) {
    const imp_shape *s = &to->shape;
    for (size_t o = 0; o < s->n; o++)
        for (size_t k = 0; k < s->c; k++)
            for (size_t tap = 0; tap < s->h * s->w; tap++) {
                size_t row = out ? out->kept[o] : o, h = tap / s->w, w = tap % s->w;
                double sum = 0;
                for (size_t c = in ? 0 : k; c < (in ? in->had : k + 1); c++)
                    sum += (in ? in->guess[c * in->n + k] : 1) *
                           (double)from
                               ->blocked[imp_weight_offset(&from->shape, row, c, h, w)];
                to->blocked[imp_weight_offset(s, o, k, h, w)] = (float)sum;
            }
}

static void prune_bias(const channels *out, const imp_tensor *from, imp_tensor *to) {
    for (size_t o = 0; o < to->shape.c; o++)
        to->blocked[o] = from->blocked[out ? out->kept[o] : o];
}

static bool narrows(const imp_features *job) {
    for (size_t i = 0; i <= job->layers && job->start; i++)
        if (job->had[i].n != job->picks[i].n) return true;
    return false;
}

imp_status imp_features_prune(imp_features *job, double *const *moments) {
    size_t widths[IMP_FEATURES_LAYERS], ranks[IMP_FEATURES_LAYERS];
    if (!narrows(job)) return IMP_OK;
    const imp_model *from = job->start;
    imp_zoo_widths(from, widths, ranks, IMP_FEATURES_LAYERS);
    channels in = {0}, out = {0};
    imp_status s = imp_features_student(job, ranks, &job->pruned);
    if (!s) s = new_channels(job, 0, moments[0], &in);
    for (size_t l = 0, t = 0, map = 0; l < from->n_layers && !s; l++) {
        if (!imp_layer_has_weights(&from->layers[l])) continue;
        bool factor = imp_layer_is_factor(&from->layers[l]);
        if (!factor) map++, s = new_channels(job, map, moments[map], &out);
        if (s) break;
        imp_tensor *to = job->pruned->tensors + t;
        prune_kernel(in.n ? &in : NULL, factor ? NULL : &out, from->tensors + t, to);
        prune_bias(factor ? NULL : &out, from->tensors + t + 1, to + 1);
        t += 2;
        free_channels(&in);
        in = out;
        out = (channels){0};
    }
    free_channels(&in);
    free_channels(&out);
    if (!s) job->start = job->pruned;
    return s;
}
