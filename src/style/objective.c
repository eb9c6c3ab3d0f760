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
#include "style/style.h"

#include <stdlib.h>
#include <string.h>

static imp_shape picture_shape(size_t width, size_t height) {
    return (imp_shape){1, 3, height, width, IMP_MAP};
}

/* A graph from a picture to activations (content layers) or Gram matrices (style layers). */
static imp_graph *build_targets(imp_ctx *ctx, const imp_objective_state *o, bool style,
    size_t width, size_t height, imp_id *x, imp_id *ids) {
    imp_graph *g = imp_graph_new(ctx);
    if (!g) return NULL;
    const imp_style_layers *l = &o->layers;
    size_t first = style ? l->n_content : 0, n = style ? l->n_style : l->n_content;
    imp_network_options options = {
        .last = l->last, .first = o->options.first, .pooling = o->options.pooling};
    *x = imp_graph_input(g, "picture", picture_shape(width, height), false);
    imp_network(g, o->model, *x, &options, l->name + first, ids, n);
    for (size_t i = 0; i < n; i++) {
        if (style) ids[i] = imp_gram(g, ids[i]);
        imp_graph_keep(g, ids[i]);
    }
    return g;
}

static void build_losses(imp_objective_state *o) {
    const imp_style_layers *l = &o->layers;
    imp_graph *g = o->graph;
    imp_id taps[IMP_MAX_TAPS];
    imp_network_options options = {
        .last = l->last, .first = o->options.first, .pooling = o->options.pooling};
    o->x = imp_graph_input(g, "picture", picture_shape(o->width, o->height), true);
    imp_network(g, o->model, o->x, &options, l->name, taps, l->n_content + l->n_style);
    for (size_t i = 0; i < l->n_content + l->n_style; i++) {
        bool style = i >= l->n_content;
        imp_id value = style ? imp_gram(g, taps[i]) : taps[i];
        o->target[i] = imp_graph_input(g, "target", imp_graph_shape(g, value), false);
        o->loss[i] = style ? imp_style_loss(g, value, o->target[i])
                           : imp_content_loss(g, value, o->target[i]);
        imp_graph_loss(g, o->loss[i], 0.0); /* until the targets are known */
    }
    o->rgb = o->variation = IMP_NONE;
    if (o->options.tv_weight <= 0.0) return;
    o->rgb = imp_graph_input(g, "rgb", picture_shape(o->width, o->height), true);
    o->variation = imp_total_variation(g, o->rgb);
    imp_graph_loss(g, o->variation, 0.0);
}

/* Bytes of the graph that computes the targets of one kind. */
static imp_status target_bytes(imp_ctx *ctx, const imp_objective_state *o, bool style,
    size_t width, size_t height, size_t *bytes) {
    imp_id x, ids[IMP_STYLE_MAX_LAYERS];
    imp_graph *g = build_targets(ctx, o, style, width, height, &x, ids);
    if (!g) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    imp_status s = imp_graph_estimate(g, false);
    if (imp_graph_bytes(g) > *bytes) *bytes = imp_graph_bytes(g);
    imp_graph_free(g);
    return s;
}

static imp_status check_side(
    imp_ctx *ctx, const imp_style_layers *l, const char *what, size_t w, size_t h) {
    if (w >= l->least_side && h >= l->least_side) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_DATA,
        "%s: expected at least %zu x %zu for layer %s, found %zu x %zu", what,
        l->least_side, l->least_side, l->last, w, h);
}

imp_status imp_objective_build(imp_ctx *ctx, imp_objective_state *o,
    const imp_model *model, const imp_style_options *options, size_t width,
    size_t height, size_t style_width, size_t style_height, size_t *bytes) {
    memset(o, 0, sizeof *o);
    o->model = model;
    o->options = *options;
    o->width = width;
    o->height = height;
    o->style_width = style_width;
    o->style_height = style_height;
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
    *bytes = imp_graph_bytes(o->graph);
    if (!s) s = target_bytes(ctx, o, false, width, height, bytes);
    if (!s) s = target_bytes(ctx, o, true, style_width, style_height, bytes);
    return s;
}

/* Targets of one kind: values[i] is made here, plain, the caller's. */
static imp_status compute_targets(imp_ctx *ctx, imp_objective_state *o, bool style,
    const float *rgb, size_t width, size_t height, float **values) {
    imp_input_spec spec = imp_model_describe(o->model).input;
    imp_id x, ids[IMP_STYLE_MAX_LAYERS];
    size_t count = width * height, n = style ? o->layers.n_style : o->layers.n_content;
    if (n == 0) return IMP_OK;
    imp_graph *g = build_targets(ctx, o, style, width, height, &x, ids);
    float *work = malloc(3 * count * sizeof *work);
    imp_status s =
        g && work ? IMP_OK : imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    if (!s) imp_input_from_rgb(&spec, count, rgb, work);
    if (!s) s = imp_graph_plan(g, false);
    if (!s) s = imp_graph_write(g, x, work);
    if (!s) imp_graph_forward(g);
    for (size_t i = 0; i < n && !s; i++) {
        values[i] = malloc(imp_plain_count(imp_graph_shape(g, ids[i])) * sizeof(float));
        s = values[i] ? imp_graph_read(g, ids[i], values[i])
                      : imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    }
    free(work);
    imp_graph_free(g);
    return s;
}

static double sum_of_squares(const float *x, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

/* The weight of each loss in the total, from the options and the targets' own size. */
static void set_weights(imp_objective_state *o, float *const *targets) {
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
            double count = (double)imp_plain_count(s);
            double square = sum_of_squares(targets[i], imp_plain_count(s));
            double divisor = style ? 4.0 * (double)s.c * (double)s.c : 2.0 * count;
            weight *= square > 0.0 ? divisor / square : 0.0;
        }
        imp_graph_loss(o->graph, o->loss[i], weight * o->scale);
    }
    double tv = normalised ? opt->tv_weight / (255.0 * 255.0) : opt->tv_weight;
    if (o->variation != IMP_NONE) imp_graph_loss(o->graph, o->variation, tv * o->scale);
}

imp_status imp_objective_prepare(
    imp_ctx *ctx, imp_objective_state *o, const float *content, const float *style) {
    float *targets[IMP_MAX_TAPS] = {0};
    size_t n_content = o->layers.n_content, n = n_content + o->layers.n_style;
    imp_status s =
        compute_targets(ctx, o, false, content, o->width, o->height, targets);
    if (!s)
        s = compute_targets(
            ctx, o, true, style, o->style_width, o->style_height, targets + n_content);
    if (!s) s = imp_graph_plan(o->graph, true);
    if (!s) set_weights(o, targets);
    for (size_t i = 0; i < n && !s; i++)
        s = imp_graph_write(o->graph, o->target[i], targets[i]);
    for (size_t i = 0; i < n; i++) free(targets[i]);
    if (s) return s;
    o->work = malloc(3 * o->width * o->height * sizeof *o->work);
    return o->work ? IMP_OK : imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
}

/* Ids and sizes are the graph's own, so its edges cannot refuse them. */
static void write_edge(imp_graph *g, imp_id id, const float *plain) {
    imp_status s = imp_graph_write(g, id, plain);
    (void)s;
}

static void read_edge(imp_graph *g, imp_id id, float *plain) {
    imp_status s = imp_graph_read_gradient(g, id, plain);
    (void)s;
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

double imp_objective_evaluate(
    imp_objective_state *o, const float *rgb, float *drgb, imp_style_progress *parts) {
    size_t count = o->width * o->height;
    imp_input_spec spec = imp_model_describe(o->model).input;
    imp_input_from_rgb(&spec, count, rgb, o->work);
    write_edge(o->graph, o->x, o->work);
    if (o->rgb != IMP_NONE) write_edge(o->graph, o->rgb, rgb);
    double loss = imp_graph_forward(o->graph) / o->scale;
    report(o, parts);
    parts->loss = loss;
    if (!drgb) return loss;
    imp_graph_backward(o->graph);
    read_edge(o->graph, o->x, o->work);
    imp_input_gradient_to_rgb(&spec, count, o->work, drgb);
    if (o->rgb == IMP_NONE) return loss;
    read_edge(o->graph, o->rgb, o->work);
    for (size_t i = 0; i < 3 * count; i++) drgb[i] += o->work[i];
    return loss;
}

void imp_objective_free(imp_objective_state *o) {
    imp_graph_free(o->graph);
    free(o->work);
}
