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
 * learnt from random weights take several times as many steps as one kernel.
 */
#include "op/eigen.h"
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Is convolution i of the start one layer that is to be two? */
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

/* The first factor: its row k is the sum over o of u(k,o) times row o of the kernel. */
static imp_status fill_first(imp_ctx *ctx, const imp_tensor *from, const double *rows,
    const size_t *order, imp_tensor *to) {
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
    for (size_t k = 0; k < K; k++, out += length) {
        const double *u = rows + order[k] * C;
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

/* to[0..3]: kernel and bias of the first factor, then of the second; from: kernel and bias. rows:
 * the eigenvectors, of which order names the first. */
static imp_status fill(imp_ctx *ctx, const imp_tensor *from, const double *rows,
    const size_t *order, imp_tensor *to) {
    size_t C = from->shape.n, K = to[0].shape.n;
    memset(to[1].blocked, 0, imp_blocked_count(to[1].shape) * sizeof(float));
    memcpy(
        to[3].blocked, from[1].blocked, imp_blocked_count(to[3].shape) * sizeof(float));
    for (size_t k = 0; k < K; k++)
        for (size_t o = 0; o < C; o++)
            to[2].blocked[imp_weight_offset(&to[2].shape, o, k, 0, 0)] =
                (float)rows[order[k] * C + o];
    return fill_first(ctx, from, rows, order, to);
}

/* The K largest of C values, none of them negative; each is set to -1. Returns their sum. */
static double take_largest(double *values, size_t C, size_t K, size_t *order) {
    double sum = 0;
    for (size_t k = 0; k < K; k++) {
        order[k] = 0;
        for (size_t i = 1; i < C; i++)
            if (values[i] > values[order[k]]) order[k] = i;
        sum += values[order[k]];
        values[order[k]] = -1;
    }
    return sum;
}

/* moments: of the answers of convolution i; destroyed. */
static imp_status split(imp_features *job, size_t i, const imp_tensor *from,
    double *moments, imp_tensor *to) {
    size_t C = from->shape.n, K = to[0].shape.n;
    double *rows = malloc((C * C + 2 * C) * sizeof *rows), *values = rows + C * C;
    size_t *order = malloc(K * sizeof *order);
    double all = 0;
    imp_status s = IMP_OK;
    if (!rows || !order) {
        s = imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
        goto done;
    }
    imp_eigen(C, moments, rows, values, values + C);
    for (size_t k = 0; k < C; k++) all += values[k] = fmax(values[k], 0);
    double kept = take_largest(values, C, K, order);
    imp_note(job->ctx, "%s: rank %zu of %zu leaves out %.3f of its answers' energy",
        imp_features_layer(job->teacher, i), K, C, 1 - kept / fmax(all, 1e-300));
    s = fill(job->ctx, from, rows, order, to);
done:
    free(order);
    free(rows);
    return s;
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
        for (size_t k = 0; k < (before[i] ? 4 : 2); k++)
            memcpy(to[k].blocked, from[k].blocked,
                imp_blocked_count(to[k].shape) * sizeof(float));
    }
    imp_survey_free(&v);
    return s;
}

imp_status imp_features_take(imp_features *job) {
    size_t channels[IMP_FEATURES_LAYERS], before[IMP_FEATURES_LAYERS];
    imp_model *whole;
    if (!job->start) return IMP_OK;
    imp_zoo_widths(job->start, channels, before, IMP_FEATURES_LAYERS);
    imp_status s = imp_features_student(job, before, &whole);
    if (s) return s;
    imp_features_copy(job, job->start, whole, true);
    s = take(job, whole, before);
    imp_model_free(whole);
    return s;
}
