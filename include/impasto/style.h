/* SPDX-License-Identifier: MIT
 *
 * style.h: paint one picture in the style of another.
 *
 *     imp_style_options options = imp_style_preset("painterly");
 *     imp_style_source source = {.picture = &style, .weight = 1.0};
 *     imp_style *job;
 *     imp_style_progress p;
 *     imp_picture out;
 *     imp_style_suit(&options, model);
 *     imp_status s =
 *         imp_style_new(ctx, &job, model, &content, &source, 1, NULL, &options);
 *     if (s != IMP_OK) return 1;
 *     while (imp_style_done(job) < imp_style_total(job)) {
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

#define IMP_STYLE_MAX_LAYERS  32
#define IMP_STYLE_MAX_SOURCES 16

typedef enum imp_objective { IMP_NORMALISED, IMP_PLAIN } imp_objective;
typedef enum imp_init {
    IMP_INIT_CONTENT,
    IMP_INIT_NOISE,
    IMP_INIT_MIX,
    IMP_INIT_PICTURE
} imp_init;

/* Style losses, summed with weights: src/style/objective.c has the equations. Of a layer's
 * features gram compares the second moments, cov mean and covariance apart, wasserstein the
 * two Gaussians; nearest draws every place to the place of the painting that looks most
 * like it. */
typedef enum imp_style_term {
    IMP_TERM_GRAM,
    IMP_TERM_COV,
    IMP_TERM_WASSERSTEIN,
    IMP_TERM_NEAREST,
    IMP_STYLE_TERMS
} imp_style_term;

/* Whose colours: the painting's; the content's own chroma under the painted luminance; the
 * painting's, moved first to the mean and covariance of the content's. */
typedef enum imp_colors {
    IMP_COLORS_STYLE,
    IMP_COLORS_LUMINANCE,
    IMP_COLORS_MATCH
} imp_colors;

typedef struct imp_style_options {
    const char *preset; /* its name */
    imp_objective objective;
    size_t size; /* longest side of the painted picture; never above the content's */
    size_t style_size;  /* longest side of the style; 0: size times style_scale */
    double style_scale; /* 0: 1 */
    /* The picture is painted at scales, each sqrt 2 times the one before, from the smallest
     * of at least first_size up to size; each starts from the one before. */
    size_t first_size;       /* 0: at one scale alone */
    size_t iterations;       /* at the last scale */
    size_t scale_iterations; /* at each before it; at least 1 if there are any */
    double tolerance; /* ten iterations that gain less than this share of the loss end
                         their scale, or what `turn` leaves between two: on to the next, or done */
    size_t rematch; /* nearest: match anew every so many iterations; 0: once a scale */
    size_t
        turn; /* a network that has learnt from a larger one sees the pictures mirrored or turned
                    otherwise every so many iterations, as they are at last; 0: never */
    imp_optimizer optimizer; /* IMP_ADAM or IMP_LBFGS */
    size_t history;          /* L-BFGS pairs */
    double precondition;     /* L-BFGS: gain an octave (precondition.c); 0, 1: none */
    double rate;             /* Adam's step, in values of 0..255 */
    double content_weight, style_weight;
    double tv_weight;              /* of the total variation: smoother */
    double range_weight;           /* of values below 0 and above 255 */
    double terms[IMP_STYLE_TERMS]; /* of the style: shares of style_weight */
    const char *content_layers[IMP_STYLE_MAX_LAYERS]; /* "relu4_2", ... NULL-ended */
    const char *style_layers[IMP_STYLE_MAX_LAYERS];   /* of the terms but nearest */
    const char *nearest_layers[IMP_STYLE_MAX_LAYERS];
    double layer_weights[IMP_STYLE_MAX_LAYERS]; /* of the style layers */
    bool layer_weights_given; /* else 1 (normalised), 1/layers (plain) */
    bool content_named, style_named,
        nearest_named; /* by the user: a layer the model lacks is an error */
    imp_pool_kind pooling;
    imp_padding first; /* padding of the first convolution */
    imp_init init;
    imp_colors colors;
    uint64_t seed;
} imp_style_options;

/* A picture to take the style from. With several, their statistics and matches are mixed
 * by weight; weight 0 leaves one out. With masks each style is that of a region: mask says
 * where in the painting it is looked at (NULL: everywhere), content_mask which part of the
 * painted picture takes it (NULL: all of it; either all sources have one or none), weight how
 * strongly, beside the others. A mask belongs where it is white; any size, stretched over its picture. Borrowed during
 * imp_style_new alone. */
typedef struct imp_style_source {
    const imp_picture *picture;
    double weight;
    const imp_picture *content_mask, *mask;
} imp_style_source;

/* "painterly", "faithful", "bold", "texture", "photo", "fast", "classic", "gatys"; preset NULL
 * in the result: unknown name. */
IMP_API imp_style_options imp_style_preset(const char *name);
IMP_API const char *imp_style_preset_name(size_t i); /* NULL: beyond */
/* What imp_style_preset gave, as it suits the model: call it before anything else is changed.
 * Random features do not bring back what a smaller scale has lost of the content: one scale. A
 * network that has learnt from a larger one is cheap, knows relu1_1 best, and is turned: more
 * iterations, and under the normalised objective relu1_1 counts 3 times, content 1.05 times. Any
 * other is not turned. */
IMP_API void imp_style_suit(imp_style_options *options, const imp_model *model);

typedef struct imp_style_progress {
    size_t iteration;     /* of all scales */
    size_t scale, scales; /* 0, 1 ... of so many */
    size_t width, height; /* of this scale */
    double loss;          /* the objective, unscaled */
    double content; /* mean of Lc over the content layers: src/style/objective.c */
    double style;   /* S, or sum of w_l Ll (plain) */
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
 * without the program itself. Of content and sources only the sizes are read. */
IMP_API IMP_MUST_USE imp_status imp_style_estimate(imp_ctx *ctx, const imp_model *model,
    size_t width, size_t height, const imp_style_source *sources, size_t n,
    const imp_style_options *options, size_t *bytes);

/* Prepare: pictures resized, targets of the first scale computed, its graph planned. Pictures
 * are read during the call alone; the model is borrowed until imp_style_free. init: the
 * picture to start from, for IMP_INIT_PICTURE. Errors: IMP_ERR_ARG for options and sources
 * out of range, IMP_ERR_MODEL for a named layer that the model lacks, a model without any of
 * the layers or not of three channels, IMP_ERR_DATA for a picture too small for the layers and
 * for a mask of which nothing white is left at some scale, IMP_ERR_LIMIT. */
IMP_API IMP_MUST_USE imp_status imp_style_new(imp_ctx *ctx, imp_style **out,
    const imp_model *model, const imp_picture *content, const imp_style_source *sources,
    size_t n, const imp_picture *init, const imp_style_options *options);
IMP_API void imp_style_free(imp_style *job);
/* Would imp_style_new refuse these, for another cause than memory? */
IMP_API IMP_MUST_USE imp_status imp_style_check(imp_ctx *ctx, const imp_model *model,
    const imp_picture *content, const imp_style_source *sources, size_t n,
    const imp_picture *init, const imp_style_options *options);

/* The loss at the present image. */
IMP_API IMP_MUST_USE imp_status imp_style_evaluate(
    imp_style *job, imp_style_progress *out);
/* One iteration; the first one of a scale prepares it. *out: with Adam the loss at its start,
 * with L-BFGS at its end. Where Adam's loss is not finite or ten times the best, it goes back
 * to the best image with half the rate. Errors: IMP_ERR_NUMERIC after five of these; the
 * image is then the best one. */
IMP_API IMP_MUST_USE imp_status imp_style_step(imp_style *job, imp_style_progress *out);
/* After the last step: *out is the loss of the image as it is. A last step of Adam that was
 * a bad one is taken back. */
IMP_API IMP_MUST_USE imp_status imp_style_finish(
    imp_style *job, imp_style_progress *out);
IMP_API size_t imp_style_done(const imp_style *job); /* iterations done */
/* Iterations in all: fewer where a scale ends early, since no step betters the image or too
 * little is gained. */
IMP_API size_t imp_style_total(const imp_style *job);
/* The last scale ended early. */
IMP_API bool imp_style_converged(const imp_style *job);
/* A copy of the image at the size of the painted picture, not clamped; the caller's:
 * imp_picture_free. */
IMP_API IMP_MUST_USE imp_status imp_style_picture(
    const imp_style *job, imp_picture *out);

#ifdef __cplusplus
}
#endif
#endif
