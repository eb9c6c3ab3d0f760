/* SPDX-License-Identifier: MIT
 *
 * objective.c: the objective of style transfer as one graph, all its gradients in a single
 * backward pass. X: the painted picture's features, Y: the content's; of a style layer g is
 * the Gram matrix divided by its places, m the mean, V = g - m m' the covariance, and a, n, U
 * are those of the painting.
 *
 *     plain       L = alpha mean Lc + beta sum_l w_l Ll + gamma Ltv
 *                 Lc = 1/(2NCHW) sum (X - Y)^2,  Ll = 1/(4 N C^2) sum (g - a)^2
 *                 (Gatys, Ecker & Bethge 2016, eq. 1 to 7, with means for sums)
 *     normalised  L = cw mean sum (X - Y)^2 / sum Y^2 + sw S + tv Ltv / 255^2 + rw R / 255^2
 *                 every term divided by what it would be for an empty picture, so that one
 *                 weight suits every picture and network
 *
 * S is a sum of terms, each with its share:
 *
 *     gram         sum_l w_l sum (g - a)^2 / sum a^2
 *     cov          sum_l w_l (|m - n|^2 / |n|^2 + sum (V - U)^2 / sum U^2) / 2
 *     wasserstein  sum_l w_l (|m - n|^2 + B(V, U)) / (|n|^2 + tr U),
 *                  B = tr V + tr U - 2 tr (U^1/2 V U^1/2 + e)^1/2: the distance of two
 *                  Gaussians, smoothed (op/wasserstein.c)
 *     nearest      sum_l s_l sum (P - T)^2 / sum_l s_l sum T^2
 *                  P: features on the grid of the third block, T: those of the painting's
 *                  place that is most like it (match.c), s_l: 1 / mean square length of
 *                  the first painting's columns in that layer
 *
 * R is the mean square of what pixels are below 0 or above 255 (range.c): what a file will
 * clamp away must not carry the style.
 *
 * A region of a mask has its own of the first three, times its share of the picture and its
 * strength: the weight of its style, divided by the mean of all. In nearest the squares at the
 * places of a region are taken times its strength, those at places of no region are left out.
 * The operations compute squared distances and B; all else is their weights (targets.c).
 */
#include "graph/graph.h"
#include "kernel/reduce.h"
#include "model/model.h"
#include "style/style.h"

#include <stdlib.h>
#include <string.h>

/* --- building --- */

static imp_loss_node *add_loss(
    imp_objective_state *o, imp_loss_kind kind, size_t layer, imp_id value) {
    imp_loss_node *n = &o->losses[o->n_losses++];
    *n = (imp_loss_node){.kind = kind, .layer = layer, .value = value};
    n->target =
        imp_graph_input(o->graph, "target", imp_graph_shape(o->graph, value), false);
    bool matrix = kind == IMP_LOSS_GRAM || kind == IMP_LOSS_COV;
    n->loss = kind == IMP_LOSS_BURES ? imp_wasserstein(o->graph, value, n->target)
              : matrix               ? imp_style_loss(o->graph, value, n->target)
                                     : imp_content_loss(o->graph, value, n->target);
    imp_graph_loss(o->graph, n->loss, 0.0); /* until the targets are known */
    return n;
}

/* Its value is to be read when the graph has run on the content. */
static void make_lasting(imp_objective_state *o, imp_id value) {
    if (!o->graph->status) o->graph->nodes[value].lasting = true;
}

static void add_content(imp_objective_state *o) {
    for (size_t i = 0; i < o->layers.n_content; i++) {
        add_loss(o, IMP_LOSS_CONTENT, i, o->tap[i]);
        make_lasting(o, o->tap[i]);
    }
}

/* The statistics of one style layer of one region, and their losses. */
static void add_statistics(imp_objective_state *o, size_t layer, size_t region) {
    const double *share = o->options.terms;
    imp_graph *g = o->graph;
    imp_id x = o->tap[layer], y = x, mean, cov;
    bool wants_cov = share[IMP_TERM_COV] > 0 || share[IMP_TERM_WASSERSTEIN] > 0;
    if (share[IMP_TERM_GRAM] <= 0 && !wants_cov) return;
    if (o->scene->masked) y = imp_guides_apply(g, &o->guides, region, x, true);
    imp_id gram = imp_gram(g, y);
    if (share[IMP_TERM_GRAM] > 0)
        add_loss(o, IMP_LOSS_GRAM, layer, gram)->region = region;
    if (!wants_cov) return;
    if (o->scene->masked) x = imp_guides_apply(g, &o->guides, region, x, false);
    mean = imp_mean(g, x);
    cov = imp_centre(g, gram, mean);
    add_loss(o, IMP_LOSS_MEAN, layer, mean)->region = region;
    if (share[IMP_TERM_COV] > 0) add_loss(o, IMP_LOSS_COV, layer, cov)->region = region;
    for (size_t v = 0; v < o->scene->n_views && share[IMP_TERM_WASSERSTEIN] > 0; v++) {
        if (o->scene->views[v].region != region) continue;
        imp_loss_node *n = add_loss(o, IMP_LOSS_BURES, layer, cov);
        n->region = region;
        n->view = v;
    }
}

/* Places are matched where a quarter of the picture's rows and columns meet: on the grid of
 * the third block, or of the deepest layer before it. */
imp_grid imp_nearest_grid(
    const imp_graph *g, imp_id picture, const imp_id *taps, size_t n) {
    size_t quarter = imp_graph_shape(g, picture).h / 4;
    imp_grid grid = {0, 0};
    for (size_t i = 0; i < n; i++) {
        imp_shape s = imp_graph_shape(g, taps[i]);
        if (grid.height == 0 || (s.h < grid.height && s.h >= quarter))
            grid = (imp_grid){s.h, s.w};
    }
    return grid;
}

imp_id imp_nearest_map(imp_graph *g, imp_id tap, imp_grid grid) {
    imp_shape s = imp_graph_shape(g, tap);
    if (s.h < grid.height || s.w < grid.width)
        return imp_resample(g, tap, grid.height, grid.width, IMP_BICUBIC);
    if (s.h == grid.height) return tap;
    size_t kernel = 2; /* what the pools between them do to the sides, odd ones too */
    while (s.h / kernel > grid.height) kernel *= 2;
    return imp_pool2d(g, tap, (imp_pool){IMP_POOL_AVG, kernel, kernel});
}

static void add_nearest(imp_objective_state *o) {
    size_t first = o->layers.n_content + o->layers.n_style, n = o->layers.n_nearest;
    imp_grid grid = imp_nearest_grid(o->graph, o->x, o->tap + first, n);
    o->inside = IMP_NONE;
    if (n && o->scene->masked)
        o->inside = imp_graph_input(o->graph, "inside",
            (imp_shape){1, 1, grid.height, grid.width, IMP_MAP}, false);
    for (size_t i = 0; i < n; i++) {
        imp_id map = imp_nearest_map(o->graph, o->tap[first + i], grid);
        if (o->inside != IMP_NONE) map = imp_guide(o->graph, map, o->inside);
        add_loss(o, IMP_LOSS_NEAREST, first + i, map);
        make_lasting(o, map);
    }
}

static imp_shape picture_shape(size_t width, size_t height) {
    return (imp_shape){1, 3, height, width, IMP_PICTURE};
}

/* The total variation of R, G, B: a network that sees them less a mean has it before it. */
static void add_variation(imp_objective_state *o) {
    imp_input_spec spec = imp_model_describe(o->model).input;
    imp_graph *g = o->graph;
    o->rgb = o->variation = IMP_NONE;
    if (o->options.tv_weight <= 0.0) return;
    bool before_it = spec.range == 255.0f;
    for (size_t k = 0; k < 3; k++) before_it &= spec.std[k] == 1.0f;
    if (!before_it)
        o->rgb = imp_graph_input(g, "rgb", picture_shape(o->width, o->height), true);
    o->variation = imp_total_variation(g, before_it ? o->x : o->rgb);
    imp_graph_loss(g, o->variation, 0.0);
}

/* The graph that is run in every iteration. The content's features are what it makes of the
 * content itself. */
static void build_losses(imp_objective_state *o) {
    const imp_style_layers *l = &o->layers;
    imp_graph *g = o->graph;
    g->thrifty = true;
    o->x = imp_graph_input(g, "picture", picture_shape(o->width, o->height), true);
    imp_network_options network = {
        .last = l->last, .first = o->options.first, .pooling = o->options.pooling};
    imp_network(g, o->model, o->x, &network, l->name, o->tap,
        l->n_content + l->n_style + l->n_nearest);
    add_content(o);
    for (size_t i = 0; i < l->n_style; i++)
        for (size_t r = 0; r < o->scene->n_regions; r++)
            add_statistics(o, l->n_content + i, r);
    add_nearest(o);
    add_variation(o);
}

static imp_status check_side(
    imp_ctx *ctx, const imp_style_layers *l, const char *what, size_t w, size_t h) {
    if (w >= l->least_side && h >= l->least_side) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_DATA,
        "%s: expected at least %zu x %zu for layer %s, found %zu x %zu", what,
        l->least_side, l->least_side, l->last, w, h);
}

static imp_status check_sides(imp_ctx *ctx, const imp_objective_state *o) {
    const imp_scene *scene = o->scene;
    imp_status s =
        check_side(ctx, &o->layers, "painted picture", scene->width, scene->height);
    for (size_t i = 0; i < scene->n_views && !s; i++)
        s = check_side(
            ctx, &o->layers, "style", scene->views[i].width, scene->views[i].height);
    return s;
}

imp_status imp_objective_build(imp_ctx *ctx, imp_objective_state *o,
    const imp_model *model, const imp_style_options *options,
    const imp_style_layers *layers, const imp_scene *scene) {
    *o = (imp_objective_state){.model = model,
        .options = *options,
        .layers = *layers,
        .scene = scene,
        .width = scene->width,
        .height = scene->height};
    imp_status s = check_sides(ctx, o);
    if (s) return s;
    const imp_style_layers *l = &o->layers;
    size_t statistics = l->n_style * (3 * scene->n_regions + scene->n_views);
    o->guides = (imp_guides){.width = scene->width,
        .height = scene->height,
        .mask = scene->mask,
        .views = scene->views,
        .whose = "content"};
    o->partial = calloc(
        imp_chunk_count(3 * scene->width * scene->height) + 1, sizeof *o->partial);
    o->losses = calloc(l->n_content + statistics + l->n_nearest + 1, sizeof *o->losses);
    o->graph = imp_graph_new(ctx);
    if (!o->graph || !o->losses || !o->partial)
        return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    build_losses(o);
    s = imp_graph_estimate(o->graph, true);
    return s ? s : imp_targets_estimate(ctx, o);
}

size_t imp_objective_bytes(const imp_objective_state *o) {
    size_t painting = imp_graph_bytes(o->graph) + o->match_bytes;
    return painting > o->target_bytes ? painting : o->target_bytes;
}

/* --- running --- */

void imp_objective_see(imp_ctx *ctx, imp_objective_state *o, const float *rgb) {
    imp_input_spec spec = imp_model_describe(o->model).input;
    imp_input_to_picture(
        ctx, &spec, o->width * o->height, rgb, imp_graph_data(o->graph, o->x));
    static const imp_input_spec as_it_is = {
        .channels = 3, .range = 255.0f, .std = {1.0f, 1.0f, 1.0f}};
    if (o->rgb != IMP_NONE)
        imp_input_to_picture(ctx, &as_it_is, o->width * o->height, rgb,
            imp_graph_data(o->graph, o->rgb));
}

/* The parts of the loss, without the weights of content and style. */
static void report(const imp_objective_state *o, imp_style_progress *parts) {
    parts->content = parts->style = 0.0;
    for (size_t i = 0; i < o->n_losses; i++) {
        const imp_loss_node *n = &o->losses[i];
        double part = n->unit * imp_graph_loss_value(o->graph, n->loss);
        if (n->kind == IMP_LOSS_CONTENT)
            parts->content += part;
        else
            parts->style += part;
    }
}

double imp_objective_evaluate(imp_ctx *ctx, imp_objective_state *o, const float *rgb,
    float *drgb, imp_style_progress *parts) {
    imp_input_spec spec = imp_model_describe(o->model).input;
    imp_objective_see(ctx, o, rgb);
    double loss = imp_graph_forward(o->graph) / o->scale;
    report(o, parts);
    if (o->range > 0.0)
        loss += o->range * imp_range(ctx, rgb, 3 * o->width * o->height, o->partial);
    parts->loss = loss;
    if (!drgb) return loss;
    imp_graph_backward(o->graph);
    imp_input_gradient_from_picture(ctx, &spec, o->width * o->height,
        imp_graph_gradient(o->graph, o->x), imp_graph_gradient(o->graph, o->rgb), drgb);
    if (o->range > 0.0)
        imp_range_gradient(
            ctx, rgb, 3 * o->width * o->height, o->range * o->scale, drgb);
    return loss;
}

void imp_objective_free(imp_objective_state *o) {
    imp_graph_free(o->graph);
    imp_match_free(&o->match);
    free(o->found);
    free(o->losses);
    free(o->partial);
}
