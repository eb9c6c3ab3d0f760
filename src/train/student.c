/* SPDX-License-Identifier: MIT
 *
 * student.c: the network that learns: how wide it is, what it learns in a graph with its
 * teacher, and how it becomes an ordinary model.
 *
 * The student works in units (survey.c): every channel of a map is divided by one, the input's
 * too. ReLU and the pools pass positive factors through, so
 * with u the units of a layer's outputs and v those of its inputs
 *
 *     W(o,i) u(o) / v(i)  and  b(o) u(o)
 *
 * is the same network in the teacher's own units. What comes out of the first factor
 * of a convolution of low rank has the unit 1.
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
        if (*teacher->layers[l].activation && n++ == i)
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

size_t imp_features_tensor(const size_t *ranks, size_t i) {
    size_t t = 0;
    for (size_t k = 0; k < i; k++) t += ranks[k] ? 4 : 2;
    return t;
}

/* The options', the start's, or by width. */
static void choose_widths(imp_features *job) {
    const imp_features_options *o = &job->options;
    if (job->start)
        imp_zoo_widths(job->start, job->channels, job->ranks, IMP_FEATURES_LAYERS);
    for (size_t i = 0; i < job->layers; i++) {
        job->start_picks[i + 1].n = job->channels[i];
        if (o->n_channels)
            job->channels[i] = o->channels[i];
        else if (!job->start)
            job->channels[i] = kept_of(i, job->all[i], o->width);
        if (o->n_ranks && o->ranks[i]) job->ranks[i] = o->ranks[i];
    }
}

/* As many convolutions as the teacher has to its last tap? */
static imp_status check_depth(const imp_features *job) {
    const imp_features_options *o = &job->options;
    const imp_model *start = job->start, *teacher = job->teacher;
    size_t widths[2][IMP_FEATURES_LAYERS];
    size_t depth =
        start ? imp_zoo_widths(start, widths[0], widths[1], IMP_FEATURES_LAYERS)
              : job->layers;
    if (start && (strcmp(start->architecture, teacher->architecture) != 0 ||
                     depth != job->layers || start->info.classes))
        return imp_fail(job->ctx, IMP_ERR_MODEL,
            "start: expected a %s of %zu convolutions alone, found a %s of %zu%s",
            teacher->architecture, job->layers, start->architecture, depth,
            start->info.classes ? " with a classifier" : "");
    if (start && (start->info.input.bgr != teacher->info.input.bgr ||
                     start->info.input.range != teacher->info.input.range))
        return imp_fail(job->ctx, IMP_ERR_MODEL,
            "start: input: expected as the teacher's, found another order or range");
    if (o->n_channels && o->n_channels != job->layers)
        return imp_fail(job->ctx, IMP_ERR_ARG,
            "channels: expected %zu, one a convolution to " LAST ", found %zu",
            job->layers, o->n_channels);
    if (o->n_ranks && o->n_ranks != job->layers)
        return imp_fail(job->ctx, IMP_ERR_ARG,
            "ranks: expected %zu, one a convolution to " LAST ", found %zu",
            job->layers, o->n_ranks);
    return IMP_OK;
}

imp_status imp_features_channels(imp_features *job) {
    imp_status s = check_depth(job);
    if (!s) choose_widths(job);
    for (size_t i = 0; i < job->layers && !s; i++) {
        size_t n = job->channels[i];
        bool given = job->options.n_channels > 0;
        size_t most = job->start && given ? job->start_picks[i + 1].n : job->all[i];
        if (n < 1 || n > most)
            s = imp_fail(job->ctx, given || !job->start ? IMP_ERR_ARG : IMP_ERR_MODEL,
                "channels: %s: expected 1 to %zu, found %zu",
                imp_features_layer(job->teacher, i), most, n);
        else if (job->ranks[i] > n)
            s = imp_fail(job->ctx, IMP_ERR_ARG,
                "ranks: %s: expected 0 to %zu, found %zu",
                imp_features_layer(job->teacher, i), n, job->ranks[i]);
    }
    return s;
}

imp_status imp_features_student(
    const imp_features *job, const size_t *ranks, imp_model **out) {
    imp_model_options o = {.architecture = job->teacher->architecture,
        .channels = job->channels,
        .n_channels = job->layers,
        .ranks = ranks,
        .seed = job->options.seed};
    imp_status s = imp_model_init(job->ctx, out, &o);
    if (s) return s;
    (*out)->info.input = job->teacher->info.input;
    (*out)->info.random = false;
    return IMP_OK;
}

/* --- graph --- */

imp_id imp_features_teacher(
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

imp_id imp_features_targets(const imp_features *job, imp_graph *g,
    imp_id picks[IMP_FEATURES_LAYERS + 1], imp_id maps[IMP_FEATURES_LAYERS + 1]) {
    imp_id x = imp_features_teacher(job, g, maps);
    for (size_t i = 0; i <= job->layers; i++) {
        picks[i] = imp_graph_input(
            g, "picks", (imp_shape){1, job->picks[i].n, 2, 1, IMP_MAP}, false);
        maps[i] = imp_select(g, maps[i], picks[i]);
    }
    return x;
}

imp_status imp_features_write_picks(const imp_features *job, imp_graph *g,
    const imp_id picks[IMP_FEATURES_LAYERS + 1]) {
    imp_status s = IMP_OK;
    for (size_t i = 0; i <= job->layers && !s; i++)
        s = imp_graph_write(g, picks[i], job->picks[i].values);
    return s;
}

static void add_loss(imp_features_graph *graph, imp_id id, imp_id gram, double weight) {
    imp_graph_loss(graph->g, id, weight);
    graph->losses[graph->n_losses++] = (imp_feature_loss){id, gram, weight};
}

/* x: a convolution of the student; y: its ReLU. Alone, every layer's mean error counts 1. End
 * to end a tap's counts 2, that of any other, which is a hint and no more, 1/20, and four times
 * the relative error of a tap's Gram matrix is added: a picture painted by the student can match
 * the teacher's matrices no better than that. The error is the matching loss: most of what is to
 * be learnt is 0, and behind a ReLU the first steps would push units below it for good, of
 * relu4_2 seven in eight. */
static void add_losses(imp_features_graph *graph, const char *layer, bool whole,
    imp_id x, imp_id y, imp_id target) {
    imp_graph *g = graph->g;
    bool tap = is_tap(layer);
    double weight = !whole ? 1 : tap ? 2 : 0.05;
    add_loss(graph, imp_matching_loss(g, x, target), IMP_NONE, 2 * weight);
    if (!whole || !tap) return;
    imp_id gram = imp_gram(g, target);
    imp_graph_keep(g, gram);
    add_loss(graph, imp_style_loss(g, imp_gram(g, y), gram), gram, 4);
}

/* A layer of the student, whose weights are its t-th tensor. */
static imp_id add_convolution(const imp_features *job, imp_features_graph *graph,
    const imp_layer *layer, size_t t, imp_id x) {
    imp_id *parameters = graph->parameters + t;
    for (size_t k = 0; k < 2; k++) {
        const imp_tensor *tensor = &job->student->tensors[t + k];
        parameters[k] = imp_graph_parameter(
            graph->g, tensor->name, tensor->shape, tensor->blocked, true);
    }
    imp_conv conv = {1, layer->pad, IMP_PAD_ZERO};
    return imp_conv2d(graph->g, x, parameters[0], parameters[1], conv);
}

/* The graph of a part of the training; not planned yet. */
static imp_status describe(imp_features *job, bool whole) {
    imp_features_graph *graph = &job->graph;
    imp_id targets[IMP_FEATURES_LAYERS + 1];
    imp_graph_free(graph->g);
    *graph = (imp_features_graph){.g = imp_graph_new(job->ctx)};
    imp_graph *g = graph->g;
    if (!g) return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    graph->x = imp_features_targets(job, g, graph->picks, targets);
    imp_id x = targets[0];
    for (size_t l = 0, i = 0, t = 0; l < job->student->n_layers; l++) {
        const imp_layer *layer = &job->student->layers[l];
        if (layer->kind == IMP_LAYER_POOL) {
            x = imp_pool2d(g, x, (imp_pool){IMP_POOL_MAX, 2, 2});
            continue;
        }
        imp_id before = x = add_convolution(job, graph, layer, t, x);
        t += 2;
        if (imp_layer_is_factor(layer)) continue;
        i++;
        x = whole ? imp_relu(g, before) : targets[i];
        add_losses(graph, layer->activation, whole, before, x, targets[i]);
    }
    return IMP_OK;
}

imp_status imp_features_build(imp_features *job) {
    imp_status s = describe(job, job->step >= job->whole_from);
    if (!s) s = imp_graph_plan(job->graph.g, true);
    if (!s) s = imp_features_write_picks(job, job->graph.g, job->graph.picks);
    return s;
}

imp_status imp_features_measure(imp_features *job, size_t *bytes) {
    *bytes = 0;
    for (int whole = 0; whole < 2; whole++) {
        imp_status s = describe(job, whole);
        if (!s) s = imp_graph_estimate(job->graph.g, true);
        if (s) return s;
        if (imp_graph_bytes(job->graph.g) > *bytes)
            *bytes = imp_graph_bytes(job->graph.g);
    }
    return IMP_OK;
}

/* --- the model --- */

/* Weights, or bias (v NULL), of a layer from inputs of the units 1 / v to outputs of 1 / u (NULL:
 * 1): to the teacher's units, or from them. */
static void change_units(
    const imp_picks *v, const imp_picks *u, bool from_teacher, imp_tensor *t) {
    const imp_shape *s = &t->shape;
    bool bias = s->layout == IMP_MAP;
    for (size_t o = 0; o < (bias ? s->c : s->n); o++)
        for (size_t c = 0; c < (bias ? 1 : s->c); c++)
            for (size_t k = 0; k < s->h * s->w; k++) {
                float *w = t->blocked +
                           (bias ? o : imp_weight_offset(s, o, c, k / s->w, k % s->w));
                float factor =
                    (v ? v->values[2 * c + 1] : 1) / (u ? u->values[2 * o + 1] : 1);
                *w = from_teacher ? *w / factor : *w * factor;
            }
}

void imp_features_copy(
    const imp_features *job, const imp_model *from, imp_model *to, bool from_teacher) {
    const imp_picks *v = &job->picks[0],
                    *next = v; /* of what the layer sees; of its map */
    for (size_t l = 0, t = 0; l < to->n_layers; l++) {
        if (!imp_layer_has_weights(&to->layers[l])) continue;
        bool factor = imp_layer_is_factor(&to->layers[l]);
        const imp_picks *u = factor ? NULL : ++next;
        for (size_t k = 0; k < 2; k++, t++) {
            memcpy(to->tensors[t].blocked, from->tensors[t].blocked,
                imp_blocked_count(to->tensors[t].shape) * sizeof(float));
            change_units(k ? NULL : v, u, from_teacher, &to->tensors[t]);
        }
        v = u;
    }
}

imp_status imp_features_model(const imp_features *job, imp_model **out) {
    imp_status s = imp_features_student(job, job->ranks, out);
    if (s) return s;
    imp_features_copy(job, job->student, *out, false);
    s = imp_picks_write(job, &(*out)->taught);
    if (s) {
        imp_model_free(*out);
        *out = NULL;
    }
    return s;
}
