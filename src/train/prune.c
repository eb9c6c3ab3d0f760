/* SPDX-License-Identifier: MIT
 *
 * prune.c: a network that a student starts from, with fewer channels. Of those that it has
 * learnt of a map, the ones that tell most of the others stay (channels.c). What the next layer
 * got from another, d, it gets from the kept ones, interpolated by least squares over the teacher's
 * maps, whose second moments are M (Chee, Renz, Damle & De Sa 2021, interpolative decompositions):
 *
 *     x(d)    ~  sum_k T(d,k) x(k)          T(d,:) M(k,k) = M(d,k)
 *     W(o,k)  <- W(o,k) + sum_d W(o,d) T(d,k)
 *
 * There is no constant term: the border's zeros stay zeros. Where a pool lies between the two,
 * it is taken for linear.
 */
#include "train/train.h"

#include <math.h>
#include <stdlib.h>

/* Of a channel's own moment: what is added to it, and what a pivot has at least. Kept channels can
 * be alike, and moments are rounded. */
#define RIDGE  1e-6
#define SILENT 1e-12 /* a second moment below this is none */

/* Of a map's channels: the kept ones' numbers, and T, of x n; a kept one's row is its own. */
typedef struct channels {
    size_t of, n;
    size_t *kept;
    double *t;
} channels;

static void free_channels(channels *c) {
    free(c->kept);
    free(c->t);
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

/* a: room for n x n. */
static void interpolate(channels *c, const imp_picks *before, const imp_picks *picks,
    const double *moments, double *a) {
    size_t n = c->n;
    for (size_t i = 0; i < n; i++) {
        const double *row = moments + (size_t)picks->values[2 * i] * picks->of;
        for (size_t j = 0; j < n; j++) a[i * n + j] = row[(size_t)picks->values[2 * j]];
        a[i * (n + 1)] += fmax(RIDGE * a[i * (n + 1)], SILENT);
    }
    factorise(n, a);
    for (size_t d = 0, k = 0; d < c->of; d++) {
        double *t = c->t + d * n;
        if (k < n && before->values[2 * d] == picks->values[2 * k]) {
            t[k] = 1;
            c->kept[k++] = d;
            continue;
        }
        const double *row = moments + (size_t)before->values[2 * d] * picks->of;
        for (size_t i = 0; i < n; i++) t[i] = row[(size_t)picks->values[2 * i]];
        solve(n, a, t);
    }
}

static imp_status new_channels(
    const imp_features *job, size_t map, const double *moments, channels *c) {
    const imp_picks *before = &job->start_picks[map], *picks = &job->picks[map];
    *c = (channels){.of = before->n, .n = picks->n};
    double *a = malloc(c->n * c->n * sizeof *a);
    c->kept = malloc(c->n * sizeof *c->kept);
    c->t = calloc(c->of * c->n, sizeof *c->t);
    bool good = a && c->kept && c->t;
    if (good) interpolate(c, before, picks, moments, a);
    free(a);
    return good ? IMP_OK : imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
}

/* The weight from kept channel k of `in` to what was output o; in NULL: nothing was pruned. */
static float pruned_weight(const channels *in, const imp_tensor *from, size_t o,
    size_t k, size_t h, size_t w) {
    double sum = 0;
    if (!in) return from->blocked[imp_weight_offset(&from->shape, o, k, h, w)];
    for (size_t c = 0; c < in->of; c++)
        sum += in->t[c * in->n + k] *
               (double)from->blocked[imp_weight_offset(&from->shape, o, c, h, w)];
    return (float)sum;
}

/* Weights and bias of a layer. in, out: of the maps before and behind it; NULL: what a factor of
 * low rank makes, which stays. */
static void prune_layer(
    const channels *in, const channels *out, const imp_tensor *from, imp_tensor *to) {
    const imp_shape *s = &to->shape;
    for (size_t o = 0; o < s->n; o++) {
        size_t row = out ? out->kept[o] : o;
        to[1].blocked[o] = from[1].blocked[row];
        for (size_t k = 0; k < s->c; k++)
            for (size_t h = 0; h < s->h; h++)
                for (size_t w = 0; w < s->w; w++)
                    to->blocked[imp_weight_offset(s, o, k, h, w)] =
                        pruned_weight(in, from, row, k, h, w);
    }
}

static bool narrows(const imp_features *job) {
    for (size_t i = 0; i <= job->layers && job->start; i++)
        if (job->start_picks[i].n != job->picks[i].n) return true;
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
        if (!factor) {
            map++;
            s = new_channels(job, map, moments[map], &out);
        }
        if (s) break;
        prune_layer(in.n ? &in : NULL, factor ? NULL : &out, from->tensors + t,
            job->pruned->tensors + t);
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
