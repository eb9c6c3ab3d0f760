/* SPDX-License-Identifier: MIT
 *
 * targets.c: what the losses of objective.c aim at, and the weights that follow from it. The
 * paintings are looked at one after the other, each by a graph that is run once and thrown
 * away; only then the memory for painting is got.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "model/model.h"
#include "op/op.h"
#include "style/style.h"

/* --- one painting --- */

typedef struct looker {
    imp_graph *graph;
    imp_guides guides;
    imp_id x;
    imp_id gram[IMP_STYLE_MAX_LAYERS], mean[IMP_STYLE_MAX_LAYERS];
    imp_id map[IMP_STYLE_MAX_LAYERS];
    imp_grid grid;
} looker;

static bool wants_mean(const imp_objective_state *o) {
    return o->options.terms[IMP_TERM_COV] > 0 ||
           o->options.terms[IMP_TERM_WASSERSTEIN] > 0;
}

static bool wants_gram(const imp_objective_state *o) {
    return o->options.terms[IMP_TERM_GRAM] > 0 || wants_mean(o);
}

/* A graph from a painting to all that the losses compare with. */
static imp_status build_looker(
    imp_ctx *ctx, const imp_objective_state *o, const imp_view *view, looker *k) {
    const imp_style_layers *l = &o->layers;
    imp_id tap[IMP_MAX_TAPS];
    *k = (looker){.graph = imp_graph_new(ctx),
        .guides = {view->width, view->height, &view->mask, view, "style", .n = 0}};
    imp_graph *g = k->graph;
    if (!g) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    k->x = imp_graph_input(g, "painting",
        (imp_shape){1, 3, view->height, view->width, IMP_PICTURE}, false);
    imp_network_options network = {
        .last = l->last, .first = o->options.first, .pooling = o->options.pooling};
    imp_network(g, o->model, k->x, &network, l->name + l->n_content, tap,
        l->n_style + l->n_nearest);
    for (size_t i = 0; i < l->n_style && wants_gram(o); i++) {
        imp_id x = tap[i], y = x;
        if (view->masked) y = imp_guides_apply(g, &k->guides, 0, x, true);
        imp_graph_keep(g, k->gram[i] = imp_gram(g, y));
        if (!wants_mean(o)) continue;
        if (view->masked) x = imp_guides_apply(g, &k->guides, 0, x, false);
        imp_graph_keep(g, k->mean[i] = imp_mean(g, x));
    }
    k->grid = imp_nearest_grid(g, k->x, tap + l->n_style, l->n_nearest);
    for (size_t i = 0; i < l->n_nearest; i++) {
        k->map[i] = imp_nearest_map(g, tap[l->n_style + i], k->grid);
        imp_graph_keep(g, k->map[i]);
    }
    return g->status;
}

/* A loss whose target is made of the paintings alone. */
static bool is_statistic(const imp_loss_node *n) {
    return n->kind != IMP_LOSS_CONTENT && n->kind != IMP_LOSS_NEAREST;
}

/* --- estimate --- */

static size_t held_bytes(const imp_objective_state *o) {
    size_t sum = 0;
    for (size_t i = 0; i < o->n_losses; i++) {
        if (is_statistic(&o->losses[i]))
            sum += imp_blocked_count(imp_graph_shape(o->graph, o->losses[i].target));
    }
    return sum * sizeof(float);
}

static void init_match(const imp_objective_state *o, const looker *k, imp_match *m) {
    size_t channels[IMP_STYLE_MAX_LAYERS];
    for (size_t i = 0; i < o->layers.n_nearest; i++)
        channels[i] = imp_graph_shape(k->graph, k->map[i]).c;
    imp_match_init(m, channels, o->layers.n_nearest);
}

imp_status imp_targets_estimate(imp_ctx *ctx, imp_objective_state *o) {
    size_t pools = 0, most = 0;
    imp_status s = IMP_OK;
    for (size_t i = 0; i < o->scene->n_views && !s; i++) {
        looker k;
        imp_match m;
        s = build_looker(ctx, o, &o->scene->views[i], &k);
        if (!s) s = imp_graph_estimate(k.graph, false);
        if (!s && o->layers.n_nearest) {
            init_match(o, &k, &m);
            pools += imp_match_pool_bytes(&m, k.grid.height * k.grid.width);
        }
        if (!s && imp_graph_bytes(k.graph) + pools > most)
            most = imp_graph_bytes(k.graph) + pools;
        imp_graph_free(k.graph);
    }
    o->target_bytes = most + held_bytes(o);
    o->match_bytes = pools;
    return s;
}

/* --- statistics of the paintings --- */

/* A target while it is put together: the mean of the paintings', weighted. */
typedef struct held {
    float *value; /* as the graph's: blocked */
    double weight;
} held;

typedef struct statistics {
    imp_shape shape;   /* of the Gram matrix */
    const float *gram; /* blocked */
    const float *mean; /* blocked; or NULL */
    float *cov;        /* blocked, ours; or NULL */
    double gram_square, mean_square, cov_square, trace;
} statistics;

static double square_of(const float *x, imp_shape s) { /* what fills up a block is 0 */
    double sum = 0.0;
    for (size_t i = 0; i < imp_blocked_count(s); i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

/* All zero: the term is left out. */
static double over(double a, double b) {
    return b > 0.0 ? a / b : 0.0;
}

static imp_status find_statistics(
    imp_ctx *ctx, const looker *k, size_t layer, bool mean, statistics *out) {
    imp_shape s = imp_graph_shape(k->graph, k->gram[layer]);
    *out = (statistics){.shape = s, .gram = imp_graph_data(k->graph, k->gram[layer])};
    out->gram_square = square_of(out->gram, s);
    if (!mean) return IMP_OK;
    out->mean = imp_graph_data(k->graph, k->mean[layer]);
    out->mean_square = square_of(out->mean, (imp_shape){1, s.c, 1, 1, IMP_MAP});
    out->cov = calloc(imp_blocked_count(s), sizeof *out->cov);
    if (!out->cov) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    for (size_t j = 0; j < s.c; j++)
        for (size_t i = 0; i < s.c; i++) {
            size_t at = imp_map_offset(&s, 0, i, j, 0);
            out->cov[at] = out->gram[at] - out->mean[i] * out->mean[j];
            if (i == j) out->trace += (double)out->cov[at];
        }
    out->cov_square = square_of(out->cov, s);
    return IMP_OK;
}

/* The symmetric root of the covariance, over it. */
static imp_status root_in_place(imp_ctx *ctx, statistics *t) {
    size_t C = t->shape.c;
    double *a = malloc((2 * C * C + 2 * C) * sizeof *a); /* and what its root wants */
    if (!a) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    for (size_t j = 0; j < C; j++)
        for (size_t i = 0; i < C; i++)
            a[j * C + i] = (double)t->cov[imp_map_offset(&t->shape, 0, i, j, 0)];
    imp_matrix_root(C, a, a + C * C);
    for (size_t j = 0; j < C; j++)
        for (size_t i = 0; i < C; i++)
            t->cov[imp_map_offset(&t->shape, 0, i, j, 0)] = (float)a[j * C + i];
    free(a);
    return IMP_OK;
}

/* What a painting of this share adds to a loss: how much it weighs, and what it aims at. */
static double weigh(const imp_objective_state *o, const imp_loss_node *n,
    const statistics *t, const float **target) {
    const double *share = o->options.terms;
    double C = (double)t->shape.c, all = t->mean_square + t->trace;
    switch (n->kind) {
    case IMP_LOSS_GRAM:
        *target = t->gram;
        if (o->options.objective == IMP_PLAIN) return share[IMP_TERM_GRAM];
        return share[IMP_TERM_GRAM] * over(4 * C * C, t->gram_square);
    case IMP_LOSS_MEAN:
        *target = t->mean;
        return 2 * C *
               (over(0.5 * share[IMP_TERM_COV], t->mean_square) +
                   over(share[IMP_TERM_WASSERSTEIN], all));
    case IMP_LOSS_COV:
        *target = t->cov;
        return 0.5 * share[IMP_TERM_COV] * over(4 * C * C, t->cov_square);
    default: /* bures: of one painting alone */
        *target = t->cov;
        return over(share[IMP_TERM_WASSERSTEIN], all);
    }
}

static void add_target(held *h, imp_shape s, const float *target, double weight) {
    size_t count = imp_blocked_count(s);
    double sum = h->weight + weight;
    if (h->weight <= 0.0)
        memcpy(h->value, target, count * sizeof *target);
    else
        for (size_t i = 0; i < count; i++)
            h->value[i] += (target[i] - h->value[i]) * (float)(weight / sum);
    h->weight = sum;
}

/* What one layer of a painting is to each loss that looks at it. */
static imp_status add_layer(imp_ctx *ctx, const imp_objective_state *o, const looker *k,
    size_t view, size_t layer, held *holds) {
    const imp_view *v = &o->scene->views[view];
    statistics t;
    imp_status s = find_statistics(ctx, k, layer, wants_mean(o), &t);
    for (int last = 0; last < 2 && !s;
         last++) { /* the roots take the covariances' place */
        if (last && o->options.terms[IMP_TERM_WASSERSTEIN] > 0)
            s = root_in_place(ctx, &t);
        for (size_t i = 0; i < o->n_losses && !s; i++) {
            const imp_loss_node *n = &o->losses[i];
            bool ours = is_statistic(n) && n->layer == o->layers.n_content + layer &&
                        n->region == v->region &&
                        (n->kind != IMP_LOSS_BURES || n->view == view);
            const float *target;
            if (!ours || (n->kind == IMP_LOSS_BURES) != last) continue;
            double weight = v->share * weigh(o, n, &t, &target);
            add_target(&holds[i], imp_graph_shape(o->graph, n->target), target, weight);
        }
    }
    free(t.cov);
    return s;
}

/* *out: which places of the grid are inside of the painting's mask, to be freed; NULL: all.
 * IMP_ERR_DATA: none is. */
static imp_status find_inside(
    imp_ctx *ctx, const imp_view *v, imp_grid grid, bool **out) {
    size_t places = grid.height * grid.width, n = 0;
    *out = NULL;
    if (!v->mask) return IMP_OK;
    bool *inside = *out = malloc(places * sizeof *inside);
    if (!inside) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    for (size_t p = 0; p < places; p++) {
        size_t y = (2 * (p / grid.width) + 1) * v->height / (2 * grid.height);
        size_t x = (2 * (p % grid.width) + 1) * v->width / (2 * grid.width);
        inside[p] = v->mask[y * v->width + x] >= 0.5f;
        n += inside[p];
    }
    if (n) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_DATA,
        "style mask %zu: expected something white at %zu x %zu, found nothing",
        v->source + 1, grid.width, grid.height);
}

/* The places of the painting, of those inside of its mask. */
static imp_status add_pool(
    imp_ctx *ctx, imp_objective_state *o, const looker *k, const imp_view *v) {
    const float *maps[IMP_STYLE_MAX_LAYERS];
    bool *inside;
    if (o->match.depth == 0) init_match(o, k, &o->match);
    for (size_t i = 0; i < o->layers.n_nearest; i++)
        maps[i] = imp_graph_data(k->graph, k->map[i]);
    imp_status s = find_inside(ctx, v, k->grid, &inside);
    if (!s)
        s = imp_match_add(ctx, &o->match, maps, k->grid.height * k->grid.width, inside,
            v->region, v->share);
    free(inside);
    return s;
}

static imp_status look_at(
    imp_ctx *ctx, imp_objective_state *o, size_t view, held *holds) {
    const imp_view *v = &o->scene->views[view];
    looker k;
    imp_status s = build_looker(ctx, o, v, &k);
    if (!s) s = imp_graph_plan(k.graph, false);
    if (!s) s = imp_guides_fill(ctx, k.graph, &k.guides);
    if (!s) {
        imp_input_spec spec = imp_model_describe(o->model).input;
        imp_input_to_picture(
            ctx, &spec, v->width * v->height, v->planes, imp_graph_data(k.graph, k.x));
        imp_graph_forward(k.graph);
    }
    for (size_t i = 0; i < o->layers.n_style && wants_gram(o) && !s; i++)
        s = add_layer(ctx, o, &k, view, i, holds);
    if (!s && o->layers.n_nearest) s = add_pool(ctx, o, &k, v);
    imp_graph_free(k.graph);
    return s;
}

imp_status imp_targets_check(imp_ctx *ctx, const imp_objective_state *o) {
    imp_status s = imp_guides_check(ctx, o->graph, &o->guides);
    for (size_t i = 0; i < o->scene->n_views && !s; i++) {
        const imp_view *v = &o->scene->views[i];
        bool *inside = NULL;
        looker k;
        if (!v->masked) continue;
        s = build_looker(ctx, o, v, &k);
        if (!s) s = imp_guides_check(ctx, k.graph, &k.guides);
        if (!s && o->layers.n_nearest) s = find_inside(ctx, v, k.grid, &inside);
        free(inside);
        imp_graph_free(k.graph);
    }
    return s;
}

/* --- targets of the painting graph --- */

/* The share of the picture that a region has. */
static double area_of(const imp_scene *s, size_t region) {
    double sum = 0;
    size_t count = s->width * s->height;
    if (!s->masked) return 1.0;
    for (size_t i = 0; i < count; i++) sum += (double)s->mask[region][i];
    return s->strength[region] * sum / (double)count;
}

static void set_statistics(imp_objective_state *o, const held *holds) {
    for (size_t i = 0; i < o->n_losses; i++) {
        imp_loss_node *n = &o->losses[i];
        if (!is_statistic(n)) continue;
        memcpy(imp_graph_data(o->graph, n->target), holds[i].value,
            imp_blocked_count(imp_graph_shape(o->graph, n->target)) * sizeof(float));
        n->unit = holds[i].weight * o->layers.weight[n->layer - o->layers.n_content] *
                  area_of(o->scene, n->region);
    }
}

/* The weight of each loss in the total. */
static void set_weights(imp_objective_state *o) {
    const imp_style_options *opt = &o->options;
    bool normalised = opt->objective == IMP_NORMALISED;
    o->scale = normalised ? 3.0 * (double)o->width * (double)o->height : 1.0;
    for (size_t i = 0; i < o->n_losses; i++) {
        const imp_loss_node *n = &o->losses[i];
        double weight =
            n->kind == IMP_LOSS_CONTENT ? opt->content_weight : opt->style_weight;
        imp_graph_loss(o->graph, n->loss, weight * n->unit * o->scale);
    }
    o->range = normalised ? opt->range_weight / (255.0 * 255.0) : opt->range_weight;
    double tv = normalised ? opt->tv_weight / (255.0 * 255.0) : opt->tv_weight;
    if (o->variation != IMP_NONE) imp_graph_loss(o->graph, o->variation, tv * o->scale);
}

static void set_content(imp_objective_state *o) {
    for (size_t i = 0; i < o->n_losses; i++) {
        imp_loss_node *n = &o->losses[i];
        if (n->kind != IMP_LOSS_CONTENT) continue;
        imp_shape s = imp_graph_shape(o->graph, n->target);
        float *target = imp_graph_data(o->graph, n->target);
        memcpy(target, imp_graph_data(o->graph, n->value),
            imp_blocked_count(s) * sizeof *target);
        n->unit = 1.0 / (double)o->layers.n_content;
        if (o->options.objective == IMP_NORMALISED)
            n->unit *= over(2.0 * (double)imp_plain_count(s), square_of(target, s));
    }
}

/* --- nearest --- */

#define CONTENT_SHARE 0.75f /* of what is looked for; the rest is the picture so far */

static size_t nearest_maps(const imp_objective_state *o, imp_loss_node **nodes,
    float **maps, imp_shape *shape) {
    size_t n = 0;
    *shape = (imp_shape){0};
    for (size_t i = 0; i < o->n_losses; i++) {
        imp_loss_node *node = &o->losses[i];
        if (node->kind != IMP_LOSS_NEAREST) continue;
        *shape = imp_graph_shape(o->graph, node->target);
        maps[n] = imp_graph_data(o->graph, node->target);
        nodes[n++] = node;
    }
    return n;
}

/* maps (+)= share times what the graph has just seen. */
static void take_maps(
    imp_ctx *ctx, const imp_objective_state *o, float share, bool add) {
    imp_loss_node *nodes[IMP_STYLE_MAX_LAYERS];
    float *maps[IMP_STYLE_MAX_LAYERS];
    imp_shape s;
    size_t n = nearest_maps(o, nodes, maps, &s);
    for (size_t i = 0; i < n; i++) {
        size_t count = imp_blocked_count(imp_graph_shape(o->graph, nodes[i]->target));
        const float *from = imp_graph_data(o->graph, nodes[i]->value);
        if (add)
            ctx->kernels->axpy(count, share, from, maps[i]);
        else
            ctx->kernels->scale(count, share, from, maps[i]);
    }
}

#define NO_REGION 255

/* The region of each place: that of the whitest mask there. Tell the graph which places have
 * one. *out: NULL without masks. */
static imp_status find_regions(
    imp_ctx *ctx, const imp_objective_state *o, uint8_t **out) {
    const imp_scene *scene = o->scene;
    *out = NULL;
    if (o->inside == IMP_NONE) return IMP_OK;
    imp_shape s = imp_graph_shape(o->graph, o->inside);
    float *inside = imp_graph_data(o->graph, o->inside);
    uint8_t *region = *out = malloc(s.h * s.w);
    if (!region) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    memset(inside, 0, imp_blocked_count(s) * sizeof *inside);
    for (size_t p = 0; p < s.h * s.w; p++) {
        size_t y = (2 * (p / s.w) + 1) * scene->height / (2 * s.h); /* its middle */
        size_t x = (2 * (p % s.w) + 1) * scene->width / (2 * s.w);
        float most = 1.0f / 512;
        region[p] = NO_REGION;
        for (size_t r = 0; r < scene->n_regions; r++) {
            float white = scene->mask[r][y * scene->width + x];
            if (white <= most) continue;
            most = white;
            region[p] = (uint8_t)r;
            inside[p * 16] = 1.0f;
        }
    }
    return IMP_OK;
}

/* The maps hold what is looked for: put what is found into their place, and weigh it. */
static imp_status match_places(
    imp_ctx *ctx, imp_objective_state *o, const uint8_t *region) {
    imp_loss_node *nodes[IMP_STYLE_MAX_LAYERS];
    float *maps[IMP_STYLE_MAX_LAYERS] = {0};
    imp_shape s;
    size_t n = nearest_maps(o, nodes, maps, &s);
    bool known = o->found != NULL;
    if (!known) o->found = malloc(o->match.n_pools * s.h * s.w * sizeof *o->found);
    if (!o->found) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    imp_status status =
        imp_match_replace(ctx, &o->match, maps, s.h * s.w, region, o->found, known);
    double sum = 0;
    for (size_t i = 0; i < n && !status; i++) {
        double scale = (double)o->match.scale[i];
        sum += scale * scale *
               square_of(maps[i], imp_graph_shape(o->graph, nodes[i]->target));
    }
    for (size_t i = 0; i < n && !status; i++) {
        double scale = (double)o->match.scale[i];
        double count =
            (double)imp_plain_count(imp_graph_shape(o->graph, nodes[i]->target));
        nodes[i]->unit =
            o->options.terms[IMP_TERM_NEAREST] * over(2.0 * count * scale * scale, sum);
    }
    return status;
}

/* Places count by the strength of their region: the square root on both sides of the
 * difference. Matching and units are without it, as if all were equal. */
static void weigh_places(
    imp_ctx *ctx, const imp_objective_state *o, const uint8_t *region) {
    imp_loss_node *nodes[IMP_STYLE_MAX_LAYERS];
    float *maps[IMP_STYLE_MAX_LAYERS], *inside = imp_graph_data(o->graph, o->inside);
    imp_shape s;
    size_t n = nearest_maps(o, nodes, maps, &s), places = s.h * s.w;
    for (size_t p = 0; p < places; p++) {
        if (region[p] == NO_REGION) continue;
        float root = sqrtf((float)o->scene->strength[region[p]]);
        inside[p * 16] = root;
        for (size_t i = 0; i < n; i++) {
            size_t c = imp_round16(imp_graph_shape(o->graph, nodes[i]->target).c);
            for (float *x = maps[i] + p * 16, *end = maps[i] + c * places; x < end;
                 x += places * 16)
                ctx->kernels->scale(16, root, x, x);
        }
    }
}

/* --- all of it --- */

/* What the content gives: its features, and, with the image, what is looked for. */
static imp_status look_for(
    imp_ctx *ctx, imp_objective_state *o, const float *image, bool content) {
    bool nearest = o->layers.n_nearest > 0;
    uint8_t *region;
    if (!nearest && o->layers.n_content == 0) return IMP_OK;
    imp_status s = find_regions(ctx, o, &region);
    if (s) return s;
    imp_objective_see(ctx, o, o->scene->content);
    imp_graph_forward(o->graph);
    if (content) set_content(o);
    if (nearest) take_maps(ctx, o, image ? CONTENT_SHARE : 1.0f, false);
    if (nearest && image && !o->found) {
        imp_objective_see(ctx, o, image);
        imp_graph_forward(o->graph);
        take_maps(ctx, o, 1.0f - CONTENT_SHARE, true);
    }
    if (nearest) s = match_places(ctx, o, region);
    if (!s && region) weigh_places(ctx, o, region);
    free(region);
    return s;
}

imp_status imp_targets_prepare(
    imp_ctx *ctx, imp_objective_state *o, const float *image) {
    held *holds = calloc(o->n_losses + 1, sizeof *holds);
    imp_status s = holds ? IMP_OK : imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    for (size_t i = 0; i < o->n_losses && !s; i++) {
        const imp_loss_node *n = &o->losses[i];
        if (!is_statistic(n)) continue;
        holds[i].value = malloc(
            imp_blocked_count(imp_graph_shape(o->graph, n->target)) * sizeof(float));
        if (!holds[i].value) s = imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    }
    for (size_t i = 0; i < o->scene->n_views && !s; i++) s = look_at(ctx, o, i, holds);
    if (!s) s = imp_graph_plan(o->graph, true);
    if (!s) s = imp_guides_fill(ctx, o->graph, &o->guides);
    if (!s) set_statistics(o, holds);
    for (size_t i = 0; holds && i < o->n_losses; i++) free(holds[i].value);
    free(holds);
    if (!s) s = look_for(ctx, o, image, true);
    if (!o->options.rematch) imp_match_free(&o->match);
    if (!s) set_weights(o);
    return s;
}

imp_status imp_targets_rematch(
    imp_ctx *ctx, imp_objective_state *o, const float *image) {
    free(o->found);
    o->found = NULL;
    imp_status s = look_for(ctx, o, image, false);
    if (!s) set_weights(o);
    return s;
}
