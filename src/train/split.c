/* SPDX-License-Identifier: MIT
 *
 * split.c: a network that a student starts from, some of its convolutions made two of low rank
 * (Zhang, Zou, He & Sun 2016, section 2.1.1). Let y = W x be what a convolution answers to the
 * teacher's maps, without its bias, in units, and the rows of U the first eigenvectors of the
 * mean of y y'. Then
 *
 *     W x  is nearest to  U' (U W) x
 *
 * of all kernels of that rank: U W is the first factor, U' the 1 x 1 kernel behind it. Two factors
 * learnt from random weights take several times as many steps as one kernel. What the start has
 * as two factors of another rank is made one kernel first.
 */
#include "op/eigen.h"
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* before: the start's ranks. Is convolution i to be two layers, and one before? */
static bool is_split(const imp_features *job, const size_t *before, size_t i) {
    return job->ranks[i] && !before[i];
}

/* A survey of the answers of those that are split. whole: the start, in units. */
static imp_status survey_answers(
    imp_features *job, const imp_model *whole, const size_t *before, imp_survey *v) {
    imp_id picks[IMP_FEATURES_LAYERS + 1], maps[IMP_FEATURES_LAYERS + 1];
    imp_graph *g = v->g;
    v->x = imp_features_targets(job, g, picks, maps);
    imp_id x = maps[0];
    for (size_t l = 0, i = 0; l < whole->n_layers; l++) {
        const imp_layer *layer = &whole->layers[l];
        if (layer->kind == IMP_LAYER_POOL)
            x = imp_pool2d(g, x, (imp_pool){IMP_POOL_MAX, 2, 2});
        if (layer->kind != IMP_LAYER_CONV || imp_layer_is_factor(layer)) continue;
        if (is_split(job, before, i)) {
            const imp_tensor *w = &whole->tensors[imp_features_tensor(before, i)];
            imp_id kernel =
                imp_graph_parameter(g, w->name, w->shape, w->blocked, false);
            imp_conv conv = {1, layer->pad, IMP_PAD_ZERO};
            imp_survey_add(v, imp_conv2d(g, x, kernel, IMP_NONE, conv));
        }
        x = maps[++i];
    }
    imp_status s = imp_survey_plan(job, v);
    if (!s) s = imp_features_write_picks(job, g, picks);
    return s ? s : imp_survey_run(job, v);
}

/* Row k of to is the sum over o of u(k,o) times row o of from: kernels with a row an output. */
static imp_status combine(
    imp_ctx *ctx, const double *u, const imp_tensor *from, imp_tensor *to) {
    size_t C = from->shape.n, K = to->shape.n,
           length = imp_plain_count(from->shape) / C;
    float *kernel = malloc((C + K) * length * sizeof *kernel);
    double *sum = malloc(length * sizeof *sum);
    imp_status s = IMP_OK;
    if (!kernel || !sum) {
        s = imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory");
        goto done;
    }
    float *out = kernel + C * length;
    imp_from_blocked(from->shape, from->blocked, kernel);
    for (size_t k = 0; k < K; k++, u += C, out += length) {
        memset(sum, 0, length * sizeof *sum);
        for (size_t o = 0; o < C; o++)
            for (size_t j = 0; j < length; j++)
                sum[j] += u[o] * (double)kernel[o * length + j];
        for (size_t j = 0; j < length; j++) out[j] = (float)sum[j];
    }
    imp_to_blocked(to->shape, kernel + C * length, to->blocked);
done:
    free(kernel);
    free(sum);
    return s;
}

/* from: kernel and bias of the first factor, then of the second; to: of the one layer that
 * they are,
 *
 *     W = W2 W1,  b = W2 b1 + b2 */
static imp_status merge(imp_ctx *ctx, const imp_tensor *from, imp_tensor *to) {
    size_t C = to[0].shape.n, K = from[0].shape.n;
    double *second = malloc(C * K * sizeof *second);
    if (!second) return imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory");
    for (size_t o = 0; o < C; o++) {
        double bias = (double)from[3].blocked[o];
        for (size_t k = 0; k < K; k++) {
            size_t at = imp_weight_offset(&from[2].shape, o, k, 0, 0);
            second[o * K + k] = (double)from[2].blocked[at];
            bias += second[o * K + k] * (double)from[1].blocked[k];
        }
        to[1].blocked[o] = (float)bias;
    }
    imp_status s = combine(ctx, second, &from[0], &to[0]);
    free(second);
    return s;
}

/* to[0..3]: kernel and bias of the first factor, then of the second; from: kernel and bias. u:
 * as many rows as the rank. */
static imp_status fill(
    imp_ctx *ctx, const imp_tensor *from, const double *u, imp_tensor *to) {
    size_t C = from->shape.n, K = to[0].shape.n;
    memset(to[1].blocked, 0, imp_blocked_count(to[1].shape) * sizeof(float));
    memcpy(
        to[3].blocked, from[1].blocked, imp_blocked_count(to[3].shape) * sizeof(float));
    for (size_t k = 0; k < K; k++)
        for (size_t o = 0; o < C; o++)
            to[2].blocked[imp_weight_offset(&to[2].shape, o, k, 0, 0)] =
                (float)u[k * C + o];
    return combine(ctx, u, from, to);
}

/* The rows of the K largest of C values, none of them negative, to chosen; these values are set
 * to -1. Returns their sum. */
static double take_largest(
    size_t C, size_t K, const double *rows, double *values, double *chosen) {
    double sum = 0;
    for (size_t k = 0; k < K; k++) {
        size_t best = 0;
        for (size_t i = 1; i < C; i++)
            if (values[i] > values[best]) best = i;
        memcpy(chosen + k * C, rows + best * C, C * sizeof *chosen);
        sum += values[best];
        values[best] = -1;
    }
    return sum;
}

/* moments: of the answers of convolution i; destroyed. */
static imp_status split(imp_features *job, size_t i, const imp_tensor *from,
    double *moments, imp_tensor *to) {
    size_t C = from->shape.n, K = to[0].shape.n;
    double *rows = malloc((C * C + K * C + 2 * C) * sizeof *rows), all = 0;
    if (!rows) return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    double *chosen = rows + C * C, *values = chosen + K * C;
    imp_eigen(C, moments, rows, values, values + C);
    for (size_t k = 0; k < C; k++) all += values[k] = fmax(values[k], 0);
    double kept = take_largest(C, K, rows, values, chosen);
    imp_note(job->ctx, "%s: rank %zu of %zu leaves out %.3f of its answers' energy",
        imp_features_layer(job->teacher, i), K, C, 1 - kept / fmax(all, 1e-300));
    imp_status s = fill(job->ctx, from, chosen, to);
    free(rows);
    return s;
}

static void copy_tensors(const imp_tensor *from, size_t n, imp_tensor *to) {
    for (size_t k = 0; k < n; k++)
        memcpy(to[k].blocked, from[k].blocked,
            imp_blocked_count(to[k].shape) * sizeof(float));
}

/* All tensors of whole to the student, in units already. */
static imp_status take(
    imp_features *job, const imp_model *whole, const size_t *before) {
    imp_survey v;
    size_t splits = 0;
    for (size_t i = 0; i < job->layers; i++) splits += is_split(job, before, i);
    imp_status s = imp_survey_new(job, &v);
    if (!s && splits) s = survey_answers(job, whole, before, &v);
    for (size_t i = 0, n = 0; i < job->layers && !s; i++) {
        const imp_tensor *from = &whole->tensors[imp_features_tensor(before, i)];
        imp_tensor *to = &job->student->tensors[imp_features_tensor(job->ranks, i)];
        if (is_split(job, before, i)) {
            s = split(job, i, from, v.moments[n++], to);
            continue;
        }
        copy_tensors(from, before[i] ? 4 : 2, to);
    }
    imp_survey_free(&v);
    return s;
}

/* The start in units, as *whole of ranks `before`: what gets another rank is one layer there. */
static imp_status start_in_units(imp_features *job, size_t *before, imp_model **whole) {
    size_t channels[IMP_FEATURES_LAYERS], had[IMP_FEATURES_LAYERS];
    imp_model *units = NULL;
    imp_zoo_widths(job->start, channels, had, IMP_FEATURES_LAYERS);
    for (size_t i = 0; i < job->layers; i++)
        before[i] = had[i] == job->ranks[i] ? had[i] : 0;
    *whole = NULL;
    imp_status s = imp_features_student(job, had, &units);
    if (!s) s = imp_features_student(job, before, whole);
    if (!s) imp_features_copy(job, job->start, units, true);
    for (size_t i = 0; i < job->layers && !s; i++) {
        const imp_tensor *from = &units->tensors[imp_features_tensor(had, i)];
        imp_tensor *to = &(*whole)->tensors[imp_features_tensor(before, i)];
        if (had[i] == before[i])
            copy_tensors(from, had[i] ? 4 : 2, to);
        else
            s = merge(job->ctx, from, to);
    }
    imp_model_free(units);
    return s;
}

imp_status imp_features_take(imp_features *job) {
    size_t before[IMP_FEATURES_LAYERS];
    imp_model *whole;
    if (!job->start) return IMP_OK;
    imp_status s = start_in_units(job, before, &whole);
    if (!s) s = take(job, whole, before);
    imp_model_free(whole);
    imp_model_free(job->pruned);
    job->pruned = NULL;
    job->start = job->options.start;
    return s;
}
