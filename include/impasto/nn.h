/* SPDX-License-Identifier: MIT
 *
 * nn.h: a network as a graph of operations, planned once, then run forward and
 * backward.
 *
 *     imp_shape picture = {.n = 1, .c = 3, .h = 8, .w = 8};
 *     imp_shape half = {.n = 1, .c = 3, .h = 4, .w = 4};
 *     imp_pool window = {.kind = IMP_POOL_MAX, .kernel = 2, .stride = 2};
 *     imp_graph *g = imp_graph_new(ctx);
 *     imp_id x = imp_graph_input(g, "x", picture, true);
 *     imp_id t = imp_graph_input(g, "t", half, false);
 *     imp_id y = imp_pool2d(g, imp_relu(g, x), window);
 *     imp_graph_loss(g, imp_content_loss(g, y, t), 1.0);
 *     if (imp_graph_plan(g, true) != IMP_OK) return 1;
 *     if (imp_graph_write(g, x, image) != IMP_OK) return 1;
 *     if (imp_graph_write(g, t, target) != IMP_OK) return 1;
 *     printf("loss %g\n", imp_graph_forward(g));
 *     imp_graph_backward(g);
 *     if (imp_graph_read_gradient(g, x, dx) != IMP_OK) return 1;
 *     imp_graph_free(g);
 *
 * Builders return ids and make the graph's first error sticky: imp_graph_plan reports
 * it. Outside a graph values are plain float32 N, C, H, W (weights O, I, KH, KW);
 * inside they are blocked by 16 channels, pictures by 4: see ARCHITECTURE.md.
 */
#ifndef IMPASTO_NN_H
#define IMPASTO_NN_H

#include "impasto/impasto.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum imp_layout {
    IMP_MAP,    /* N, C, H, W; inside a graph N, C/16, H, W, 16 */
    IMP_WEIGHT, /* O, I, KH, KW; inside a graph see base.h, imp_weight_offset */
    IMP_PICTURE /* N, C <= 4, H, W; inside a graph N, H, W, 4: a quarter of a map. An input for
                 * total variation, and for convolutions of 3 x 3 with stride 1 */
} imp_layout;

/* n samples, c channels, h rows, w columns; weights: n outputs, c inputs, h x w taps. A
 * row of features is c with h = w = 1; a Gram matrix of C channels is c = C, h = C, w
 * = 1. */
typedef struct imp_shape {
    size_t n, c, h, w;
    imp_layout layout;
} imp_shape;

typedef struct imp_graph imp_graph;
typedef int imp_id; /* a value of a graph; negative: none */
#define IMP_NONE (-1)

IMP_API imp_graph *imp_graph_new(imp_ctx *ctx); /* NULL: no memory */
IMP_API void imp_graph_free(imp_graph *g);

/* A value that the caller writes: a picture, a target, labels. gradient: backward is to
 * compute the loss's derivative by it. */
IMP_API imp_id imp_graph_input(
    imp_graph *g, const char *name, imp_shape shape, bool gradient);

/* A parameter: weights (shape O, I, KH, KW, layout IMP_WEIGHT) or a bias (n = h = w =
 * 1). blocked: its storage in the blocked layout, imp_blocked_count(shape) floats,
 * borrowed. */
IMP_API imp_id imp_graph_parameter(imp_graph *g, const char *name, imp_shape shape,
    const float *blocked, bool gradient);

typedef enum imp_padding { IMP_PAD_ZERO, IMP_PAD_REPLICATE } imp_padding;
typedef struct imp_conv {
    size_t stride, pad;
    imp_padding padding;
} imp_conv;

typedef enum imp_pool_kind { IMP_POOL_MAX, IMP_POOL_AVG } imp_pool_kind;
typedef struct imp_pool {
    imp_pool_kind kind;
    size_t kernel, stride;
} imp_pool;

typedef enum imp_flatten_order { IMP_FLATTEN_CHW, IMP_FLATTEN_HWC } imp_flatten_order;

/* Builders, one per operation; equations and sources stand in src/op/. b may be
 * IMP_NONE. */
IMP_API imp_id imp_conv2d(imp_graph *g, imp_id x, imp_id w, imp_id b, imp_conv attr);
IMP_API imp_id imp_linear(
    imp_graph *g, imp_id x, imp_id w, imp_id b); /* w: O, I, 1, 1 */
IMP_API imp_id imp_relu(imp_graph *g, imp_id x);
IMP_API imp_id imp_pool2d(imp_graph *g, imp_id x, imp_pool attr);
IMP_API imp_id imp_flatten(imp_graph *g, imp_id x, imp_flatten_order order);
IMP_API imp_id imp_add(imp_graph *g, imp_id a, imp_id b);
IMP_API imp_id imp_softmax(imp_graph *g, imp_id x);
IMP_API imp_id imp_resample(
    imp_graph *g, imp_id x, size_t height, size_t width, imp_filter filter);
IMP_API imp_id imp_gram(imp_graph *g, imp_id x); /* divided by H W: n, C, C, 1 */
IMP_API imp_id imp_mean(imp_graph *g, imp_id x); /* over H W: n, C, 1, 1 */
IMP_API imp_id imp_centre(
    imp_graph *g, imp_id gram, imp_id mean); /* the covariance: gram - mean mean' */
IMP_API imp_id imp_guide(
    imp_graph *g, imp_id x, imp_id m); /* x times m, n, 1, H, W, without a gradient */
/* Channels of x, each times a number: n, K, H, W. picks: 1, K, 2, 1, without a gradient: the
 * channels' numbers, from 0, then the factors. */
IMP_API imp_id imp_select(imp_graph *g, imp_id x, imp_id picks);
/* Losses: one number. */
IMP_API imp_id imp_cross_entropy(
    imp_graph *g, imp_id x, imp_id labels); /* labels: n,1,1,1 */
IMP_API imp_id imp_content_loss(imp_graph *g, imp_id x, imp_id target);
/* As the content loss of max(0, x), but convex in x: op/matching_loss.c. */
IMP_API imp_id imp_matching_loss(imp_graph *g, imp_id x, imp_id target);
IMP_API imp_id imp_style_loss(imp_graph *g, imp_id gram, imp_id target);
IMP_API imp_id imp_total_variation(imp_graph *g, imp_id x);
IMP_API imp_id imp_wasserstein(imp_graph *g, imp_id covariance,
    imp_id root); /* root: of the target's covariance, without a gradient */

/* The graph's total is the sum of weight * loss over the losses told to it here. The
 * weight may be changed at any time, between runs too. */
IMP_API void imp_graph_loss(imp_graph *g, imp_id loss, double weight);

/* Keep a value readable after a run. To be said before imp_graph_plan. */
IMP_API void imp_graph_keep(imp_graph *g, imp_id id);

/* Check, fuse, place every value in one block of memory and get the block.
 * backward: gradients will be asked for.
 * Errors: the first one of a builder; IMP_ERR_LIMIT where the memory is not to be had.
 */
IMP_API IMP_MUST_USE imp_status imp_graph_plan(imp_graph *g, bool backward);
/* As imp_graph_plan without getting the memory: for an estimate. */
IMP_API IMP_MUST_USE imp_status imp_graph_estimate(imp_graph *g, bool backward);
IMP_API size_t imp_graph_bytes(const imp_graph *g); /* of the block, after either */

IMP_API imp_shape imp_graph_shape(const imp_graph *g, imp_id id);
/* The input or parameter of this name; IMP_NONE: there is none. */
IMP_API imp_id imp_graph_find(const imp_graph *g, const char *name);
/* Plain values in, and out: an input, a kept value, or a gradient that was asked for.
 */
IMP_API IMP_MUST_USE imp_status imp_graph_write(
    imp_graph *g, imp_id id, const float *plain);
IMP_API IMP_MUST_USE imp_status imp_graph_read(imp_graph *g, imp_id id, float *plain);
IMP_API IMP_MUST_USE imp_status imp_graph_read_gradient(
    imp_graph *g, imp_id id, float *plain);
/* A parameter's gradient in the blocked layout, the graph's own; NULL: none. */
IMP_API const float *imp_graph_gradient(const imp_graph *g, imp_id id);

/* Run. forward returns the weighted total of the losses (0 without); backward needs a
 * forward before it. Neither can fail; a graph that is
 * not planned gives NaN and does nothing. Gradients last until the next forward. */
IMP_API double imp_graph_forward(imp_graph *g);
IMP_API void imp_graph_backward(imp_graph *g);
IMP_API double imp_graph_loss_value(const imp_graph *g, imp_id loss); /* unweighted */

/* Floats that a value of this shape takes in the blocked layout, tails included (they
 * are zero), and the two conversions. */
IMP_API size_t imp_blocked_count(imp_shape shape);
IMP_API size_t imp_plain_count(imp_shape shape);
IMP_API void imp_to_blocked(imp_shape shape, const float *plain, float *blocked);
IMP_API void imp_from_blocked(imp_shape shape, const float *blocked, float *plain);

/* Optimisers over a flat array of count floats.
 * SGD: v <- momentum v + g; x <- x - rate v.
 * Adam (Kingma & Ba 2015, algorithm 1): m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2;
 * x <- x - rate mh / (sqrt(vh) + eps), mh = m/(1-b1^t), vh = v/(1-b2^t); with decay first
 * x <- (1 - rate decay) x (AdamW, Loshchilov & Hutter 2019).
 * Muon (Jordan et al. 2024), for weights O, I, KH, KW as a matrix of O rows: momentum whose step
 * has all its singular values brought near 1: src/optim/muon.c. Biases want Adam beside it. */
typedef enum imp_optimizer { IMP_SGD, IMP_ADAM, IMP_LBFGS, IMP_MUON } imp_optimizer;
typedef struct imp_gradient_options {
    imp_optimizer kind;       /* any but IMP_LBFGS */
    double momentum;          /* SGD; Muon, 0: 0.95 */
    double beta1, beta2, eps; /* Adam; all zero: 0.9, 0.999, 1e-8 */
    double decay;             /* Adam, Muon: of x itself, decoupled */
    imp_shape weights;        /* Muon: whose blocked numbers x and g are */
} imp_gradient_options;

typedef struct imp_gradient imp_gradient;
IMP_API IMP_MUST_USE imp_status imp_gradient_new(imp_ctx *ctx, imp_gradient **out,
    size_t count, const imp_gradient_options *options);
IMP_API void imp_gradient_free(imp_gradient *o);
/* [inout] x, [in] g: count floats. */
IMP_API void imp_gradient_step(imp_gradient *o, float *x, const float *g, double rate);

/* L-BFGS (Nocedal & Wright, Numerical Optimization, algorithms 7.4 and 7.5) with a
 * backtracking line search that accepts no step of a higher loss: see
 * src/optim/lbfgs.c. */
typedef double (*imp_loss_fn)(void *user, const float *x, float *g); /* loss; fills g */
typedef struct imp_lbfgs imp_lbfgs;
IMP_API IMP_MUST_USE imp_status imp_lbfgs_new(
    imp_ctx *ctx, imp_lbfgs **out, size_t count, size_t history);
IMP_API void imp_lbfgs_free(imp_lbfgs *o);
/* y = M x, count floats each: M symmetric, positive definite, the same at every call; a guess of
 * how far a step may go in each direction, up to a factor. Set it before the first step. */
typedef void (*imp_precondition_fn)(void *user, const float *x, float *y);
IMP_API void imp_lbfgs_precondition(imp_lbfgs *o, imp_precondition_fn fn, void *user);
/* Before a step on another loss, that bends much as the one before: the pairs are kept, the loss
 * and its gradient computed anew. */
IMP_API void imp_lbfgs_renew(imp_lbfgs *o);
/* One iteration on x, with at least one evaluation. *loss: that of the new x.
 * Returns IMP_ERR_NUMERIC where the loss is not finite at the start, or no step along
 * the steepest descent lowers it (converged as far as float32 goes): x is then
 * unchanged. */
IMP_API IMP_MUST_USE imp_status imp_lbfgs_step(
    imp_lbfgs *o, float *x, imp_loss_fn fn, void *user, double *loss);

#ifdef __cplusplus
}
#endif
#endif
