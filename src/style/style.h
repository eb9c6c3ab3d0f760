/* SPDX-License-Identifier: MIT
 *
 * style.h: inside a style job: the layers, the objective as a graph, its targets.
 */
#ifndef IMP_STYLE_H
#define IMP_STYLE_H

#include "base/base.h"
#include "impasto/style.h"

#define IMP_MAX_TAPS (2 * IMP_STYLE_MAX_LAYERS)

/* The layers that an objective uses, content first, after those that the model lacks have
 * been dropped. */
typedef struct imp_style_layers {
    const char *name[IMP_MAX_TAPS];
    size_t n_content, n_style;
    double weight[IMP_STYLE_MAX_LAYERS]; /* w_l of the objective, of each style layer */
    double reported[IMP_STYLE_MAX_LAYERS]; /* w_l of the style figure of the progress */
    const char *last;                      /* the deepest */
    size_t least_side;                     /* pixels that the pools before it ask for */
} imp_style_layers;

/* layers.c. Errors: IMP_ERR_MODEL for a layer that the user named and the model lacks, and
 * where none is left. */
imp_status imp_style_layers_choose(imp_ctx *ctx, imp_style_layers *out,
    const imp_model *model, const imp_style_options *options);

/* objective.c */
typedef struct imp_objective_state {
    const imp_model *model;
    imp_style_options options;
    imp_style_layers layers;
    size_t width, height, style_width, style_height;
    size_t style_bytes; /* of the graph that computes the style's targets */
    imp_graph *graph;
    imp_id x;                    /* the picture in the network's own space */
    imp_id rgb;                  /* the picture itself, for total variation; IMP_NONE */
    imp_id tap[IMP_MAX_TAPS];    /* of each layer: its activation */
    imp_id loss[IMP_MAX_TAPS];   /* of each layer */
    imp_id target[IMP_MAX_TAPS]; /* of each layer */
    imp_id variation;            /* the total variation's loss, or IMP_NONE */
    double scale;                /* the optimiser sees loss and gradient times this */
} imp_objective_state;

/* Build the graph, without memory yet, for a painted picture and a style of these sizes. */
imp_status imp_objective_build(imp_ctx *ctx, imp_objective_state *o,
    const imp_model *model, const imp_style_options *options, size_t width,
    size_t height, size_t style_width, size_t style_height);
/* The most that the targets or the graph will take at once. */
size_t imp_objective_bytes(const imp_objective_state *o);
/* Compute the targets from planes R, G, B of those sizes, get the memory, set the weights. */
imp_status imp_objective_prepare(
    imp_ctx *ctx, imp_objective_state *o, const float *content, const float *style);
/* The unscaled objective of planes rgb, and its parts; drgb, where not NULL: its gradient
 * times o->scale. */
double imp_objective_evaluate(imp_ctx *ctx, imp_objective_state *o, const float *rgb,
    float *drgb, imp_style_progress *parts);
void imp_objective_free(imp_objective_state *o);

#endif
