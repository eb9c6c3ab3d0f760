/* SPDX-License-Identifier: MIT
 *
 * style.h: paint one picture in the style of another.
 *
 *     imp_style_options options = imp_style_preset("painterly");
 *     imp_style *job;
 *     imp_style_progress p;
 *     imp_picture out;
 *     imp_status s = imp_style_new(ctx, &job, model, &content, &style, NULL, &options);
 *     if (s != IMP_OK) return 1;
 *     while (imp_style_done(job) < options.iterations && !imp_style_converged(job)) {
 *         if (imp_style_step(job, &p) != IMP_OK) break;
 *         printf("iteration %zu, loss %g\n", p.iteration, p.loss);
 *     }
 *     if (imp_style_picture(job, &out) != IMP_OK) return 1;
 *     imp_picture_free(&out);
 *     imp_style_free(job);
 */
#ifndef IMPASTO_STYLE_H
#define IMPASTO_STYLE_H

#include "impasto/model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define IMP_STYLE_MAX_LAYERS 32

typedef enum imp_objective { IMP_NORMALISED, IMP_PLAIN } imp_objective;
typedef enum imp_init {
    IMP_INIT_CONTENT,
    IMP_INIT_NOISE,
    IMP_INIT_MIX,
    IMP_INIT_PICTURE
} imp_init;

typedef struct imp_style_options {
    const char *preset; /* its name */
    imp_objective objective;
    size_t size; /* longest side of the painted picture; never above the content's */
    size_t style_size; /* longest side of the style; 0: size */
    size_t iterations;
    imp_optimizer optimizer; /* IMP_ADAM or IMP_LBFGS */
    size_t history;          /* L-BFGS pairs */
    double rate;             /* Adam's step, in values of 0..255 */
    double content_weight, style_weight, tv_weight;
    const char *content_layers[IMP_STYLE_MAX_LAYERS]; /* "relu4_2", ... NULL-ended */
    const char *style_layers[IMP_STYLE_MAX_LAYERS];
    double layer_weights[IMP_STYLE_MAX_LAYERS]; /* of the style layers */
    bool layer_weights_given; /* else 1 (normalised), 1/layers (plain) */
    bool content_named,
        style_named; /* by the user: a layer the model lacks is an error */
    imp_pool_kind pooling;
    imp_padding first; /* padding of the first convolution */
    imp_init init;
    uint64_t seed;
} imp_style_options;

/* "painterly", "classic", "gatys"; preset NULL in the result: unknown name. */
IMP_API imp_style_options imp_style_preset(const char *name);
IMP_API const char *imp_style_preset_name(size_t i); /* NULL: beyond */

typedef struct imp_style_progress {
    size_t iteration;
    double loss;    /* the objective, unscaled */
    double content; /* mean of Lc over the content layers: src/style/objective.c */
    double style;   /* sum of w_l Ll, w_l = 1/layers unless given */
} imp_style_progress;

typedef struct imp_style imp_style;

/* Sides of the painted picture for a content of this size: the longest side at most
 * `size`, the other rounded to the nearest integer, at least 1. */
IMP_API void imp_style_size(
    size_t width, size_t height, size_t size, size_t *out_width, size_t *out_height);

/* As imp_model_load, without the layers that a job with these options does not look at:
 * what lies behind the deepest of them is not even read. */
IMP_API IMP_MUST_USE imp_status imp_style_load(
    imp_ctx *ctx, imp_model **out, const char *path, const imp_style_options *options);

/* The picture at another size, in its place, as imp_style_new would resize it: so that a
 * large one need not be held while the job is made. */
IMP_API IMP_MUST_USE imp_status imp_style_fit(
    imp_ctx *ctx, imp_picture *picture, size_t width, size_t height);

/* Bytes that the job will need at its peak, without doing it: with the weights of the layers
 * that it looks at, and the pictures that it is made from, at the sizes that it works at;
 * without the program itself. */
IMP_API IMP_MUST_USE imp_status imp_style_estimate(imp_ctx *ctx, const imp_model *model,
    size_t width, size_t height, size_t style_width, size_t style_height,
    const imp_style_options *options, size_t *bytes);

/* Prepare: pictures resized, targets computed, the graph planned. Pictures are read
 * during the call alone; the model is borrowed until imp_style_free. init: the picture
 * to start from, for IMP_INIT_PICTURE. Errors: IMP_ERR_MODEL for a named layer that the
 * model lacks, IMP_ERR_DATA for a picture too small for the layers, IMP_ERR_LIMIT. */
IMP_API IMP_MUST_USE imp_status imp_style_new(imp_ctx *ctx, imp_style **out,
    const imp_model *model, const imp_picture *content, const imp_picture *style,
    const imp_picture *init, const imp_style_options *options);
IMP_API void imp_style_free(imp_style *job);

/* The loss at the present image. */
IMP_API IMP_MUST_USE imp_status imp_style_evaluate(
    imp_style *job, imp_style_progress *out);
/* One iteration. *out: with Adam the loss at its start, with L-BFGS at its end. Where Adam's
 * loss is not finite or ten times the best, it goes back to the best image with half the
 * rate. Errors: IMP_ERR_NUMERIC after five of these; the image is then the best one. */
IMP_API IMP_MUST_USE imp_status imp_style_step(imp_style *job, imp_style_progress *out);
/* After the last step: *out is the loss of the image as it is. A last step of Adam that was
 * a bad one is taken back. */
IMP_API IMP_MUST_USE imp_status imp_style_finish(
    imp_style *job, imp_style_progress *out);
IMP_API size_t imp_style_done(const imp_style *job); /* iterations done */
/* No iteration can better the image: L-BFGS found no lower loss. */
IMP_API bool imp_style_converged(const imp_style *job);
/* A copy of the image, not clamped; the caller's: imp_picture_free. */
IMP_API IMP_MUST_USE imp_status imp_style_picture(
    const imp_style *job, imp_picture *out);

#ifdef __cplusplus
}
#endif
#endif
