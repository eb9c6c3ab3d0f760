/* SPDX-License-Identifier: MIT
 *
 * student.c: the network that learns: how wide it is, what it learns in a graph with its
 * teacher, and how it becomes an ordinary model.
 *
 * The student works in units: every channel of a map is divided by the rms that the channel it
 * learns has in the teacher, the input too. ReLU and the pools pass positive factors through, so
 * with u the units of a layer's outputs and v those of its inputs
 *
 *     W(o,i) u(o) / v(i)  and  b(o) u(o)
 *
 * is the same network in the teacher's own units.
 */
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LAST "relu5_1"

/* What style transfer looks at. */
static bool is_tap(const char *layer) {
    static const char *const taps[] = {
        "relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", LAST};
    for (size_t i = 0; i < sizeof taps / sizeof *taps; i++)
        if (!strcmp(layer, taps[i])) return true;
    return false;
}

const char *imp_features_layer(const imp_model *teacher, size_t i) {
    size_t last = imp_zoo_find(teacher, LAST), n = 0;
    for (size_t l = 0; l < teacher->n_layers && l <= last; l++)
        if (teacher->layers[l].kind == IMP_LAYER_CONV && n++ == i)
            return teacher->layers[l].activation;
    return NULL;
}

/* --- width --- */

/* Convolutions 0 and 1 see colours and edges, which are few and cheap, and all else is made of
 * them. */
static size_t kept_of(size_t convolution, size_t channels, double width) {
    if (convolution == 0) return channels;
    if (convolution == 1 && width < 0.5) width = 0.5;
    size_t n = (size_t)((double)channels * width + 0.5);
    return n ? n : 1;
}

imp_status imp_features_student(const imp_features *job, imp_model **out) {
    size_t channels[IMP_FEATURES_LAYERS];
    for (size_t i = 0; i < job->layers; i++)
        channels[i] =
            kept_of(i, job->teacher->tensors[2 * i].shape.n, job->options.width);
    imp_model_options o = {.architecture = job->teacher->architecture,
        .channels = channels,
        .n_channels = job->layers,
        .seed = job->options.seed};
    imp_status s = imp_model_init(job->ctx, out, &o);
    if (s) return s;
    (*out)->info.input = job->teacher->info.input;
    (*out)->info.random = false;
    return IMP_OK;
}

/* --- graph --- */

/* A batch of pictures, and what the teacher makes of it: the input, then the map of each
 * convolution. */
static imp_id add_teacher(
    const imp_features *job, imp_graph *g, imp_id maps[IMP_FEATURES_LAYERS + 1]) {
    const char *names[IMP_FEATURES_LAYERS];
    size_t side = job->options.crop;
    for (size_t i = 0; i < job->layers; i++)
        names[i] = imp_features_layer(job->teacher, i);
    imp_network_options o = {.last = LAST};
    imp_id x = imp_graph_input(
        g, "pictures", (imp_shape){job->options.batch, 3, side, side, IMP_MAP}, false);
    imp_network(g, job->teacher, x, &o, names, maps + 1, job->layers);
    return maps[0] = x;
}

static void add_loss(imp_features_graph *graph, imp_id id, imp_id gram, double weight) {
    imp_graph_loss(graph->g, id, weight);
    graph->losses[graph->n_losses++] = (imp_feature_loss){id, gram, weight};
}

/* Alone, every layer's mean squared error counts 1. End to end a tap's counts 2, any other's
 * 1/2, and half the relative error of a tap's Gram matrix is added. A content loss is half a
 * mean squared error. */
static void add_losses(
    imp_features_graph *graph, const char *layer, bool whole, imp_id y, imp_id target) {
    imp_graph *g = graph->g;
    bool tap = is_tap(layer);
    double weight = !whole ? 1 : tap ? 2 : 0.5;
    add_loss(graph, imp_content_loss(g, y, target), IMP_NONE, 2 * weight);
    if (!whole || !tap) return;
    imp_id gram = imp_gram(g, target);
    imp_graph_keep(g, gram);
    add_loss(graph, imp_style_loss(g, imp_gram(g, y), gram), gram, 0.5);
}

/* One convolution with its ReLU; the student's i-th. */
static imp_id add_convolution(
    const imp_features *job, imp_features_graph *graph, size_t i, imp_id x) {
    imp_id *parameters = graph->parameters + 2 * i;
    for (size_t k = 0; k < 2; k++) {
        const imp_tensor *t = &job->student->tensors[2 * i + k];
        parameters[k] =
            imp_graph_parameter(graph->g, t->name, t->shape, t->blocked, true);
    }
    imp_conv conv = {1, 1, IMP_PAD_ZERO};
    return imp_relu(
        graph->g, imp_conv2d(graph->g, x, parameters[0], parameters[1], conv));
}

imp_status imp_features_build(imp_features *job) {
    imp_features_graph *graph = &job->graph;
    bool whole = job->step >= job->whole_from;
    imp_id targets[IMP_FEATURES_LAYERS + 1];
    imp_graph_free(graph->g);
    *graph = (imp_features_graph){.g = imp_graph_new(job->ctx)};
    imp_graph *g = graph->g;
    if (!g) return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    graph->x = add_teacher(job, g, targets);
    for (size_t i = 0; i <= job->layers; i++) { /* of each map the picked channels */
        graph->picks[i] = imp_graph_input(
            g, "picks", (imp_shape){1, job->picks[i].n, 2, 1, IMP_MAP}, false);
        targets[i] = imp_select(g, targets[i], graph->picks[i]);
    }
    imp_id x = targets[0];
    for (size_t l = 0, i = 0; l < job->student->n_layers; l++) {
        if (job->student->layers[l].kind == IMP_LAYER_POOL) {
            x = imp_pool2d(g, x, (imp_pool){IMP_POOL_MAX, 2, 2});
            continue;
        }
        imp_id y = add_convolution(job, graph, i++, x);
        add_losses(graph, job->student->layers[l].activation, whole, y, targets[i]);
        x = whole ? y : targets[i];
    }
    imp_status s = imp_graph_plan(g, true);
    for (size_t i = 0; i <= job->layers && !s; i++)
        s = imp_graph_write(g, graph->picks[i], job->picks[i].values);
    return s;
}

/* --- which channels --- */

#define BATCHES 24 /* that the teacher is surveyed on */

/* The second moments of each map: sums over the batches of Gram matrices. */
typedef struct survey {
    imp_graph *g;
    imp_id x, grams[IMP_FEATURES_LAYERS + 1];
    double *moments[IMP_FEATURES_LAYERS + 1];
} survey;

static imp_status survey_new(const imp_features *job, survey *v) {
    imp_id maps[IMP_FEATURES_LAYERS + 1];
    imp_graph *g = v->g = imp_graph_new(job->ctx);
    if (!g) return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    v->x = add_teacher(job, g, maps);
    for (size_t i = 0; i <= job->layers; i++) {
        size_t C = job->picks[i].of;
        v->grams[i] = imp_gram(g, maps[i]);
        imp_graph_keep(g, v->grams[i]);
        v->moments[i] = calloc(C * C, sizeof(double));
        if (!v->moments[i])
            return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    }
    return imp_graph_plan(g, false);
}

static void survey_free(const imp_features *job, survey *v) {
    for (size_t i = 0; i <= job->layers; i++) free(v->moments[i]);
    imp_graph_free(v->g);
}

static imp_status survey_batch(imp_features *job, survey *v, size_t number) {
    const float *x;
    imp_status s =
        imp_loader_take(job->loader, IMP_SURVEYED, number, number + 1 < BATCHES, &x);
    if (!s) s = imp_graph_write(v->g, v->x, x);
    if (s) return s;
    imp_graph_forward(v->g);
    for (size_t i = 0; i <= job->layers && !s; i++) {
        size_t C = job->picks[i].of;
        s = imp_graph_read(v->g, v->grams[i], job->gram);
        for (size_t k = 0; k < job->options.batch * C * C && !s; k++)
            v->moments[i][k % (C * C)] +=
                (double)job->gram[k] / (double)(BATCHES * job->options.batch);
    }
    return s;
}

/* The channels of one map, and what makes their rms 1. A channel that is never there keeps its
 * unit finite. */
static imp_status pick(imp_features *job, size_t map, const double *moments) {
    imp_picks *p = &job->picks[map];
    size_t *chosen = malloc(p->n * sizeof *chosen);
    double unexplained = 0;
    if (!chosen) return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    imp_status s =
        imp_channels_choose(job->ctx, moments, p->of, p->n, chosen, &unexplained);
    for (size_t k = 0; k < p->n && !s; k++) {
        p->values[2 * k] = (float)chosen[k];
        p->values[2 * k + 1] =
            (float)(1 / sqrt(fmax(moments[chosen[k] * (p->of + 1)], 1e-6)));
    }
    free(chosen);
    if (!s && map > 0)
        imp_note(job->ctx,
            "%s: %zu of %zu channels leave %.3f of the others unexplained",
            imp_features_layer(job->teacher, map - 1), p->n, p->of, unexplained);
    return s;
}

imp_status imp_features_survey(imp_features *job) {
    survey v = {0};
    imp_status s = survey_new(job, &v);
    for (size_t b = 0; b < BATCHES && !s; b++) s = survey_batch(job, &v, b);
    for (size_t i = 0; i <= job->layers && !s; i++) s = pick(job, i, v.moments[i]);
    survey_free(job, &v);
    return s;
}

/* --- the model --- */

/* Weights or bias of convolution i, to the teacher's units. */
static void to_units(const imp_features *job, size_t i, bool bias, imp_tensor *t) {
    const imp_shape *s = &t->shape;
    const float *v = job->picks[i].values, *u = job->picks[i + 1].values;
    for (size_t c = 0; c < s->c && bias; c++) t->blocked[c] /= u[2 * c + 1];
    for (size_t o = 0; o < s->n && !bias; o++)
        for (size_t c = 0; c < s->c; c++)
            for (size_t k = 0; k < s->h * s->w; k++)
                t->blocked[imp_weight_offset(s, o, c, k / s->w, k % s->w)] *=
                    v[2 * c + 1] / u[2 * o + 1];
}

imp_status imp_features_model(const imp_features *job, imp_model **out) {
    imp_status s = imp_features_student(job, out);
    if (s) return s;
    for (size_t t = 0; t < (*out)->n_tensors; t++) {
        imp_tensor *to = &(*out)->tensors[t];
        memcpy(to->blocked, job->student->tensors[t].blocked,
            imp_blocked_count(to->shape) * sizeof(float));
        to_units(job, t / 2, t % 2, to);
    }
    return IMP_OK;
}
