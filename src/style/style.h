/* SPDX-License-Identifier: MIT
 *
 * style.h: inside a style job: the layers, the scene at one scale, the objective as a graph,
 * its targets.
 */
#ifndef IMP_STYLE_H
#define IMP_STYLE_H

#include "base/base.h"
#include "impasto/style.h"
#include "style/match.h"

#define IMP_MAX_TAPS (3 * IMP_STYLE_MAX_LAYERS)

/* --- layers.c --- */

/* The layers that an objective uses, content first, then style, then nearest, after those
 * that the model lacks have been dropped. */
typedef struct imp_style_layers {
    const char *name[IMP_MAX_TAPS];
    size_t n_content, n_style, n_nearest;
    double weight[IMP_STYLE_MAX_LAYERS]; /* w_l of the objective, of each style layer */
    const char *last;                    /* the deepest */
    size_t least_side;                   /* pixels that the pools before it ask for */
} imp_style_layers;

/* Errors: IMP_ERR_MODEL for a layer that the user named and the model lacks, and where none
 * is left. */
imp_status imp_style_layers_choose(imp_ctx *ctx, imp_style_layers *out,
    const imp_model *model, const imp_style_options *options);

/* --- scene.c: the pictures of a job, and what they are at one scale --- */

static inline size_t imp_longest(size_t width, size_t height) {
    return width > height ? width : height;
}

/* A painting as it is looked at. Planes are NULL in an estimate. */
typedef struct imp_view {
    size_t width, height;
    const float *planes;
    const float *mask; /* one plane of 0..1; NULL: everywhere */
    bool masked;
    double share; /* of its region's style; the shares of a region sum to 1 */
    size_t region;
    size_t source; /* of the caller's, from 0 */
} imp_view;

/* Without masks there is one region, all of the picture, that takes every style. */
typedef struct imp_scene {
    size_t width, height; /* of the painted picture */
    const float *content;
    imp_view views[IMP_STYLE_MAX_SOURCES];
    size_t n_views, n_regions;
    bool masked;
    const float *mask[IMP_STYLE_MAX_SOURCES]; /* of each region, a plane of 0..1 */
    double strength[IMP_STYLE_MAX_SOURCES];   /* of each region's style */
    float *owned[4 * IMP_STYLE_MAX_SOURCES];  /* what was made for this scale alone */
    size_t n_owned;
} imp_scene;

/* The scene at the last scale, of the sizes alone (without planes). Errors: IMP_ERR_ARG for
 * sources that do not go together. */
imp_status imp_scene_measure(imp_ctx *ctx, imp_scene *s, size_t width, size_t height,
    const imp_style_source *sources, size_t n, const imp_style_options *options);
/* Its planes, with the colours that the options ask for; the scene owns them. color: the
 * content's own, if it is wanted later; else NULL. */
imp_status imp_scene_load(imp_ctx *ctx, imp_scene *s, const imp_picture *content,
    const imp_style_source *sources, size_t n, imp_colors colors, float **color);
/* Another scale of it: out borrows from s what has the size. */
imp_status imp_scene_at(
    imp_ctx *ctx, imp_scene *out, const imp_scene *s, size_t width, size_t height);
/* Floats of its planes. */
size_t imp_scene_floats(const imp_scene *s);
void imp_scene_free(imp_scene *s);

/* *out: the planes at a size, Lanczos, clamped to 0..high where that changes the size;
 * malloc'd. */
imp_status imp_fit_planes(imp_ctx *ctx, float **out, size_t width, size_t height,
    const float *in, size_t channels, size_t in_width, size_t in_height, float high);

/* --- guides.c: masks as maps of a graph --- */

typedef struct imp_guides {
    size_t width, height; /* of the masks */
    const float *const *mask;
    const imp_view *views; /* mask k is of views[k], and whose: for messages */
    const char *whose;     /* "content" or "style" */
    struct {
        size_t mask;
        bool root; /* the square root of the weights */
        imp_id id;
    } map[256];
    size_t n;
} imp_guides;

/* x times the weights of mask k at its resolution: of mean 1; or their square roots. */
imp_id imp_guides_apply(
    imp_graph *g, imp_guides *guides, size_t k, imp_id x, bool root);
/* Write the maps into the planned graph. IMP_ERR_DATA: a mask is black. */
imp_status imp_guides_fill(imp_ctx *ctx, imp_graph *g, const imp_guides *guides);
/* Could they be written? */
imp_status imp_guides_check(imp_ctx *ctx, imp_graph *g, const imp_guides *guides);

/* --- objective.c --- */

typedef enum imp_loss_kind {
    IMP_LOSS_CONTENT,
    IMP_LOSS_GRAM,
    IMP_LOSS_MEAN,
    IMP_LOSS_COV,
    IMP_LOSS_BURES,
    IMP_LOSS_NEAREST,
} imp_loss_kind;

/* One loss of the graph. Its weight in the total is unit times that of content or style. */
typedef struct imp_loss_node {
    imp_loss_kind kind;
    size_t layer;  /* of the layers' names */
    size_t region; /* style: whose; bures: view says of which painting */
    size_t view;
    imp_id value, target, loss;
    double unit;
} imp_loss_node;

typedef struct imp_objective_state {
    const imp_model *model;
    imp_style_options options;
    imp_style_layers layers;
    const imp_scene *scene; /* borrowed */
    size_t width, height;
    size_t target_bytes; /* the most that the targets take before the graph is there */
    size_t match_bytes;  /* that they still take while it is */
    imp_graph *graph;
    imp_guides guides;
    imp_match match; /* empty unless places will be matched anew */
    uint32_t
        *found; /* nearest: which place of each painting was found for each place of the
                        picture; what is there is taken for it; NULL: to be found */
    imp_id x;   /* the picture in the network's own space */
    imp_id rgb; /* the picture itself, for total variation; IMP_NONE */
    imp_id tap[IMP_MAX_TAPS];
    imp_id inside; /* nearest, with masks: the places of regions; else IMP_NONE */
    imp_loss_node *losses;
    size_t n_losses;
    imp_id variation; /* the total variation's loss, or IMP_NONE */
    double range;     /* weight of the excess over 0..255 */
    double *partial;  /* for its sum */
    double scale;     /* the optimiser sees loss and gradient times this */
} imp_objective_state;

/* Build the graph, without memory yet. */
imp_status imp_objective_build(imp_ctx *ctx, imp_objective_state *o,
    const imp_model *model, const imp_style_options *options,
    const imp_style_layers *layers, const imp_scene *scene);
/* The most that the targets or the graph will take at once. */
size_t imp_objective_bytes(const imp_objective_state *o);
/* The unscaled objective of planes rgb, and its parts; drgb, where not NULL: its gradient
 * times o->scale. */
double imp_objective_evaluate(imp_ctx *ctx, imp_objective_state *o, const float *rgb,
    float *drgb, imp_style_progress *parts);
/* The network on planes rgb, forward alone. */
void imp_objective_see(imp_ctx *ctx, imp_objective_state *o, const float *rgb);
void imp_objective_free(imp_objective_state *o);

/* A map of a nearest layer on the grid where places are matched. */
typedef struct imp_grid {
    size_t height, width;
} imp_grid;
imp_grid imp_nearest_grid(
    const imp_graph *g, imp_id picture, const imp_id *taps, size_t n);
imp_id imp_nearest_map(imp_graph *g, imp_id tap, imp_grid grid);

/* --- job.c --- */

/* Of the present scale; lent. */
imp_graph *imp_style_graph(const imp_style *job);

/* --- targets.c --- */

/* Set target_bytes and match_bytes. */
imp_status imp_targets_estimate(imp_ctx *ctx, imp_objective_state *o);
/* IMP_ERR_DATA: nothing is left of a mask where it is looked at. */
imp_status imp_targets_check(imp_ctx *ctx, const imp_objective_state *o);
/* Compute the targets from the scene, get the graph's memory, set the weights. image: what
 * will be painted on, or NULL for the content itself. */
imp_status imp_targets_prepare(
    imp_ctx *ctx, imp_objective_state *o, const float *image);
/* Find the image's places anew. */
imp_status imp_targets_rematch(
    imp_ctx *ctx, imp_objective_state *o, const float *image);

/* --- precondition.c: M of L-BFGS for a picture of three planes --- */

typedef struct imp_precondition {
    imp_ctx *ctx;
    size_t width, height;
    double gain;
    float *smooth, *columns;
} imp_precondition;

/* p: holds nothing yet. gain: 1 or more. Errors: IMP_ERR_LIMIT. */
imp_status imp_precondition_init(
    imp_ctx *ctx, imp_precondition *p, size_t width, size_t height, double gain);
void imp_precondition_free(imp_precondition *p);
void imp_precondition_apply(
    void *user, const float *x, float *y); /* user: one of these */

/* --- range.c: n values; [scratch] partial: imp_chunk_count(n) numbers --- */

double imp_range(imp_ctx *ctx, const float *x, size_t n, double *partial);
void imp_range_gradient(
    imp_ctx *ctx, const float *x, size_t n, double weight, float *dx); /* added */

/* --- colors.c: planes of 0..255 --- */

/* Luminance: grey planes in place of the colours (ITU-R BT.601). */
void imp_colors_to_grey(float *planes, size_t count);
/* The style's luminance moved to the mean and deviation of the content's, both grey. */
void imp_colors_match_grey(
    float *style, size_t count, const float *content, size_t content_count);
/* The style's colours moved to the mean and covariance of the content's. */
void imp_colors_match(
    float *style, size_t count, const float *content, size_t content_count);
/* The painted luminance, of values clamped first, with the content's chroma; where no colour of 0..255 has both, the
 * luminance gives way. */
void imp_colors_restore(float *painted, const float *content, size_t count);

#endif
