/* SPDX-License-Identifier: MIT
 *
 * survey.c: which channels of the teacher are learnt, and in what units: a survey of what it
 * does on some batches.
 */
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCHES 24 /* that the teacher is surveyed on */

/* --- second moments of maps over some batches --- */

imp_status imp_survey_new(const imp_features *job, imp_survey *v) {
    *v = (imp_survey){.g = imp_graph_new(job->ctx)};
    return v->g ? IMP_OK : imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
}

void imp_survey_add(imp_survey *v, imp_id map) {
    v->grams[v->n] = imp_gram(v->g, map);
    imp_graph_keep(v->g, v->grams[v->n++]);
}

void imp_survey_free(imp_survey *v) {
    for (size_t i = 0; i < v->n; i++) free(v->moments[i]);
    imp_graph_free(v->g);
}

imp_status imp_survey_plan(const imp_features *job, imp_survey *v) {
    imp_status s = imp_graph_plan(v->g, false);
    for (size_t i = 0; i < v->n && !s; i++) {
        size_t C = imp_graph_shape(v->g, v->grams[i]).c;
        v->moments[i] = calloc(C * C, sizeof(double));
        if (!v->moments[i]) s = imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    }
    return s;
}

static imp_status survey_batch(imp_features *job, imp_survey *v, size_t number) {
    const float *x;
    imp_status s =
        imp_loader_take(job->loader, IMP_SURVEYED, number, number + 1 < BATCHES, &x);
    if (!s) s = imp_graph_write(v->g, v->x, x);
    if (s) return s;
    imp_graph_forward(v->g);
    for (size_t i = 0; i < v->n && !s; i++) {
        size_t C = imp_graph_shape(v->g, v->grams[i]).c;
        s = imp_graph_read(v->g, v->grams[i], job->gram);
        for (size_t k = 0; k < job->options.batch * C * C && !s; k++)
            v->moments[i][k % (C * C)] +=
                (double)job->gram[k] / (double)(BATCHES * job->options.batch);
    }
    return s;
}

imp_status imp_survey_run(imp_features *job, imp_survey *v) {
    imp_status s = IMP_OK;
    for (size_t b = 0; b < BATCHES && !s; b++) s = survey_batch(job, v, b);
    return s;
}

/* --- which channels --- */

/* Of the teacher's, the i-th that is to be chosen from. */
static size_t channel_of(const imp_features *job, size_t map, size_t i) {
    return job->start ? (size_t)job->start_picks[map].values[2 * i] : i;
}

/* The channels of one map: the most telling of all, or of those that the start has learnt. */
static imp_status choose(
    imp_features *job, size_t map, const double *moments, size_t *chosen) {
    const imp_picks *p = &job->picks[map];
    size_t from = job->start ? job->start_picks[map].n : p->of;
    double unexplained = 0;
    for (size_t k = 0; k < p->n; k++) chosen[k] = channel_of(job, map, k);
    if (p->n == from) return IMP_OK;
    double *among = malloc(from * from * sizeof *among);
    if (!among) return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    for (size_t i = 0; i < from; i++)
        for (size_t j = 0; j < from; j++)
            among[i * from + j] =
                moments[channel_of(job, map, i) * p->of + channel_of(job, map, j)];
    imp_status s =
        imp_channels_choose(job->ctx, among, from, p->n, chosen, &unexplained);
    free(among);
    if (s) return s;
    for (size_t k = 0; k < p->n; k++) chosen[k] = channel_of(job, map, chosen[k]);
    imp_note(job->ctx, "%s: %zu of %zu channels leave %.3f of the others unexplained",
        imp_features_layer(job->teacher, map - 1), p->n, from, unexplained);
    return IMP_OK;
}

/* And their units: the geometric mean of the channel's rms and the whole map's, so that a strong
 * channel's error counts more than a faint one's, but not by its square. A channel that is never
 * there keeps its unit finite. */
static imp_status pick(imp_features *job, size_t map, const double *moments) {
    imp_picks *p = &job->picks[map];
    double mean = 0;
    for (size_t c = 0; c < p->of; c++) mean += moments[c * (p->of + 1)] / (double)p->of;
    size_t *chosen = malloc(p->n * sizeof *chosen);
    if (!chosen) return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    imp_status s = choose(job, map, moments, chosen);
    for (size_t k = 0; k < p->n && !s; k++) {
        p->values[2 * k] = (float)chosen[k];
        double own = moments[chosen[k] * (p->of + 1)];
        p->values[2 * k + 1] = (float)(1 / sqrt(sqrt(fmax(own * mean, 1e-12))));
    }
    free(chosen);
    return s;
}

imp_status imp_features_survey(imp_features *job) {
    imp_survey v;
    imp_id maps[IMP_FEATURES_LAYERS + 1];
    imp_status s = imp_survey_new(job, &v);
    if (s) return s;
    v.x = imp_features_teacher(job, v.g, maps);
    for (size_t i = 0; i <= job->layers; i++) imp_survey_add(&v, maps[i]);
    s = imp_survey_plan(job, &v);
    if (!s) s = imp_survey_run(job, &v);
    for (size_t i = 0; i <= job->layers && !s; i++) s = pick(job, i, v.moments[i]);
    if (!s) s = imp_features_prune(job, v.moments);
    imp_survey_free(&v);
    return s;
}

/* --- as text, in a model's metadata: "0,3,7;1,2": maps of convolutions, their channels --- */

imp_status imp_picks_write(const imp_features *job, char **out) {
    size_t n = 1;
    for (size_t i = 1; i <= job->layers; i++) n += 6 * job->picks[i].n;
    char *text = *out = malloc(n), *at = text;
    if (!text) return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    for (size_t i = 1; i <= job->layers; i++)
        for (size_t k = 0; k < job->picks[i].n; k++)
            at += sprintf(at, "%s%u",
                k       ? ","
                : i > 1 ? ";"
                        : "",
                (unsigned)job->picks[i].values[2 * k] % 65536);
    return IMP_OK;
}

/* Numbers that rise, the last of them followed by the separator. */
static bool read_map(imp_picks *p, const char **at, char separator) {
    for (size_t k = 0; k < p->n; k++) {
        char *end;
        unsigned long channel = strtoul(*at, &end, 10);
        if (end == *at || channel >= p->of ||
            (k > 0 && (float)channel <= p->values[2 * k - 2]) ||
            *end != (k + 1 < p->n ? ',' : separator))
            return false;
        p->values[2 * k] = (float)channel;
        *at = end + 1;
    }
    return true;
}

imp_status imp_picks_read(imp_features *job) {
    const char *at = job->start->taught;
    for (size_t i = 1; i <= job->layers; i++)
        if (!at || !read_map(&job->start_picks[i], &at, i < job->layers ? ';' : 0))
            return imp_fail(job->ctx, IMP_ERR_MODEL,
                "start: metadata teacher.channels: expected rising channels of %s, "
                "found "
                "%s",
                imp_features_layer(job->teacher, i - 1),
                job->start->taught ? "others" : "none");
    for (size_t c = 0; c < 3; c++) job->start_picks[0].values[2 * c] = (float)c;
    return IMP_OK;
}
