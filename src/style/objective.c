/* SPDX-License-Identifier: MIT
 *
 * objective.c: the objective of style transfer as one graph, all its gradients in a single
 * backward pass. X: the painted picture's features, Y: the content's, g and a: the Gram
 * matrices of the painted picture and of the style, divided by their places.
 *
 *     plain       L = alpha mean Lc + beta sum_l w_l Ll + gamma Ltv
 *                 Lc = 1/(2NCHW) sum (X - Y)^2,  Ll = 1/(4 N C^2) sum (g - a)^2
 *                 (Gatys, Ecker & Bethge 2016, eq. 1 to 7, with means for sums)
 *     normalised  L = cw mean sum (X - Y)^2 / sum Y^2
 *                     + sw sum_l w_l sum (g - a)^2 / sum a^2 + tv Ltv / 255^2
 *                 every term divided by what it would be for an empty picture, so that one
 *                 weight suits every picture and network
 *
 * The operations compute Lc, Ll and Ltv; all else is their weights.
 */
#include "graph/graph.h"
#include "model/model.h"
#include "style/style.h"

#include <stdlib.h>
#include <string.h>

static imp_shape picture_shape(size_t width, size_t height) {
    return (imp_shape){1, 3, height, width, IMP_MAP};
}

static imp_id build_network(
    imp_graph *g, const imp_objective_state *o, imp_id x, size_t first, imp_id *taps) {
    const imp_style_layers *l = &o->layers;
    imp_network_options options = {
        .last = l->last, .first = o->options.first, .pooling = o->options.pooling};
    return imp_network(g, o->model, x, &options, l->name + first, taps,
        l->n_content + l->n_style - first);
}

/* A graph from the style to its Gram matrices: run once and thrown away. */
static imp_graph *build_style(
    imp_ctx *ctx, const imp_objective_state *o, imp_id *x, imp_id *grams) {
    imp_graph *g = imp_graph_new(ctx);
    if (!g) return NULL;
    *x = imp_graph_input(
        g, "picture", picture_shape(o->style_width, o->style_height), false);
    build_network(g, o, *x, o->layers.n_content, grams);
    for (size_t i = 0; i < o->layers.n_style; i++) {
        grams[i] = imp_gram(g, grams[i]);
        imp_graph_keep(g, grams[i]);
    }
    return g;
}

/* The graph that is run in every iteration. The content's features are what it makes of the
 * content itself. */
static void build_losses(imp_objective_state *o) {
    const imp_style_layers *l = &o->layers;
    imp_graph *g = o->graph;
    g->thrifty = true;
    o->x = imp_graph_input(g, "picture", picture_shape(o->width, o->height), true);
    build_network(g, o, o->x, 0, o->tap);
    for (size_t i = 0; i < l->n_content + l->n_style; i++) {
        bool style = i >= l->n_content;
        imp_id value = style ? imp_gram(g, o->tap[i]) : o->tap[i];
        o->target[i] = imp_graph_input(g, "target", imp_graph_shape(g, value), false);
        o->loss[i] = style ? imp_style_loss(g, value, o->target[i])
                           : imp_content_loss(g, value, o->target[i]);
        imp_graph_loss(g, o->loss[i], 0.0); /* until the targets are known */
        if (!style && !g->status) g->nodes[o->tap[i]].lasting = true;
    }
    o->rgb = o->variation = IMP_NONE;
    if (o->options.tv_weight <= 0.0) return;
    o->rgb = imp_graph_input(g, "rgb", picture_shape(o->width, o->height), true);
    o->variation = imp_total_variation(g, o->rgb);
    imp_graph_loss(g, o->variation, 0.0);
}

static imp_status check_side(
    imp_ctx *ctx, const imp_style_layers *l, const char *what, size_t w, size_t h) {
    if (w >= l->least_side && h >= l->least_side) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_DATA,
        "%s: expected at least %zu x %zu for layer %s, found %zu x %zu", what,
        l->least_side, l->least_side, l->last, w, h);
}

static imp_status estimate_style(imp_ctx *ctx, imp_objective_state *o) {
    imp_id x, grams[IMP_STYLE_MAX_LAYERS];
    imp_graph *g = build_style(ctx, o, &x, grams);
    if (!g) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    imp_status s = imp_graph_estimate(g, false);
    o->style_bytes = imp_graph_bytes(g);
    imp_graph_free(g);
    return s;
}

imp_status imp_objective_build(imp_ctx *ctx, imp_objective_state *o,
    const imp_model *model, const imp_style_options *options, size_t width,
    size_t height, size_t style_width, size_t style_height) {
    *o = (imp_objective_state){.model = model,
        .options = *options,
        .width = width,
        .height = height,
        .style_width = style_width,
        .style_height = style_height};
    if (imp_model_describe(model).input.channels != 3)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "model %s: expected a network of three channels",
            imp_model_describe(model).architecture);
    imp_status s = imp_style_layers_choose(ctx, &o->layers, model, options);
    if (!s) s = check_side(ctx, &o->layers, "painted picture", width, height);
    if (!s) s = check_side(ctx, &o->layers, "style", style_width, style_height);
    if (s) return s;
    o->graph = imp_graph_new(ctx);
    if (!o->graph) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    build_losses(o);
    s = imp_graph_estimate(o->graph, true);
    return s ? s : estimate_style(ctx, o);
}

size_t imp_objective_bytes(const imp_objective_state *o) {
    size_t painting = imp_graph_bytes(o->graph);
    return painting > o->style_bytes ? painting : o->style_bytes;
}

static void write_picture(
    imp_ctx *ctx, imp_graph *g, imp_id x, imp_input_spec spec, const float *rgb) {
    imp_shape s = imp_graph_shape(g, x);
    imp_input_to_blocked(ctx, &spec, s.h * s.w, rgb, imp_graph_data(g, x));
}

/* The Gram matrices of the style; values[i] is made here, blocked, the caller's. Nothing else
 * of the graph is left: the memory is got for the painting only then. */
static imp_status compute_style(
    imp_ctx *ctx, const imp_objective_state *o, const float *style, float **values) {
    imp_id x, grams[IMP_STYLE_MAX_LAYERS];
    if (o->layers.n_style == 0) return IMP_OK;
    imp_graph *g = build_style(ctx, o, &x, grams);
    if (!g) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    imp_status s = imp_graph_plan(g, false);
    if (!s) {
        write_picture(ctx, g, x, imp_model_describe(o->model).input, style);
        imp_graph_forward(g);
    }
    for (size_t i = 0; i < o->layers.n_style && !s; i++) {
        size_t bytes = imp_blocked_count(imp_graph_shape(g, grams[i])) * sizeof(float);
        values[i] = malloc(bytes);
        if (values[i])
            memcpy(values[i], imp_graph_data(g, grams[i]), bytes);
        else
            s = imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    }
    imp_graph_free(g);
    return s;
}

static double sum_of_squares(const float *x, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

/* The weight of each loss in the total, from the options and the targets' own size. */
static void set_weights(imp_objective_state *o) {
    const imp_style_options *opt = &o->options;
    const imp_style_layers *l = &o->layers;
    bool normalised = opt->objective == IMP_NORMALISED;
    o->scale = normalised ? 3.0 * (double)o->width * (double)o->height : 1.0;
    for (size_t i = 0; i < l->n_content + l->n_style; i++) {
        imp_shape s = imp_graph_shape(o->graph, o->target[i]);
        bool style = i >= l->n_content;
        double weight = style ? opt->style_weight * l->weight[i - l->n_content]
                              : opt->content_weight / (double)l->n_content;
        if (normalised) {
            double count = (double)imp_plain_count(s); /* what fills up a block is 0 */
            double square = sum_of_squares(
                imp_graph_data(o->graph, o->target[i]), imp_blocked_count(s));
            double divisor = style ? 4.0 * (double)s.c * (double)s.c : 2.0 * count;
            weight *= square > 0.0 ? divisor / square : 0.0;
        }
        imp_graph_loss(o->graph, o->loss[i], weight * o->scale);
    }
    double tv = normalised ? opt->tv_weight / (255.0 * 255.0) : opt->tv_weight;
    if (o->variation != IMP_NONE) imp_graph_loss(o->graph, o->variation, tv * o->scale);
}

/* from: blocked, as large as the target. */
static void set_target(imp_objective_state *o, size_t layer, const float *from) {
    imp_id target = o->target[layer];
    memcpy(imp_graph_data(o->graph, target), from,
        imp_blocked_count(imp_graph_shape(o->graph, target)) * sizeof *from);
}

imp_status imp_objective_prepare(
    imp_ctx *ctx, imp_objective_state *o, const float *content, const float *style) {
    float *grams[IMP_STYLE_MAX_LAYERS] = {0};
    size_t n_content = o->layers.n_content;
    imp_status s = compute_style(ctx, o, style, grams);
    if (!s) s = imp_graph_plan(o->graph, true);
    for (size_t i = 0; i < o->layers.n_style; i++) {
        if (!s) set_target(o, n_content + i, grams[i]);
        free(grams[i]);
    }
    if (s) return s;
    if (n_content > 0) {
        imp_input_spec spec = imp_model_describe(o->model).input;
        write_picture(ctx, o->graph, o->x, spec, content);
        imp_graph_forward(o->graph);
    }
    for (size_t i = 0; i < n_content; i++)
        set_target(o, i, imp_graph_data(o->graph, o->tap[i]));
    set_weights(o);
    return IMP_OK;
}

static void report(const imp_objective_state *o, imp_style_progress *parts) {
    const imp_style_layers *l = &o->layers;
    parts->content = parts->style = 0.0;
    for (size_t i = 0; i < l->n_content; i++)
        parts->content +=
            imp_graph_loss_value(o->graph, o->loss[i]) / (double)l->n_content;
    for (size_t i = 0; i < l->n_style; i++)
        parts->style +=
            l->reported[i] * imp_graph_loss_value(o->graph, o->loss[l->n_content + i]);
}

double imp_objective_evaluate(imp_ctx *ctx, imp_objective_state *o, const float *rgb,
    float *drgb, imp_style_progress *parts) {
    imp_input_spec spec = imp_model_describe(o->model).input;
    imp_graph *g = o->graph;
    static const imp_input_spec as_it_is = {
        .channels = 3, .range = 255.0f, .std = {1.0f, 1.0f, 1.0f}};
    write_picture(ctx, g, o->x, spec, rgb);
    if (o->rgb != IMP_NONE) write_picture(ctx, g, o->rgb, as_it_is, rgb);
    double loss = imp_graph_forward(g) / o->scale;
    report(o, parts);
    parts->loss = loss;
    if (!drgb) return loss;
    imp_graph_backward(g);
    imp_input_gradient_from_blocked(ctx, &spec, o->width * o->height,
        imp_graph_gradient(g, o->x), imp_graph_gradient(g, o->rgb), drgb);
    return loss;
}

void imp_objective_free(imp_objective_state *o) {
    imp_graph_free(o->graph);
}
