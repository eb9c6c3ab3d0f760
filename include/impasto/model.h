/* SPDX-License-Identifier: MIT
 *
 * model.h: architectures, weights, safetensors, classification.
 *
 *     imp_model *model;
 *     if (imp_model_load(ctx, &model, "vgg19.safetensors") != IMP_OK) return 1;
 *     imp_model_info info = imp_model_describe(model);
 *     float *p = malloc(info.classes * sizeof *p);
 *     if (imp_classify(ctx, model, &picture, IMP_FIT_MODEL, p) != IMP_OK) return 1;
 *     printf("%s: tabby %.3f\n", info.architecture, p[281]);
 *     free(p);
 *     imp_model_free(model);
 */
#ifndef IMPASTO_MODEL_H
#define IMPASTO_MODEL_H

#include "impasto/nn.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct imp_model imp_model;

typedef enum imp_fit { IMP_FIT_MODEL, IMP_FIT_CROP, IMP_FIT_SQUASH } imp_fit;

/* How a network wants its input. In that order of channels and range. */
typedef struct imp_input_spec {
    size_t channels; /* 1 or 3 */
    bool bgr;        /* channels 3: blue first */
    float range;     /* 1 or 255 */
    float mean[3], std[3];
    size_t size; /* 224, 28 */
    imp_fit fit; /* crop: centre of short side x 8/7; squash */
    imp_flatten_order flatten;
} imp_input_spec;

typedef struct imp_model_info {
    const char
        *architecture; /* "mlp", "lenet", "vgg16", "vgg19"; the model's own string */
    size_t divisor;    /* channels of the architecture divided by this */
    bool listed;       /* no: its channels are its own, layer by layer; divisor 1 */
    size_t classes;    /* 0: features alone */
    size_t parameters; /* numbers */
    bool random;       /* seeded random features, not trained */
    bool student; /* has learnt the features of a larger one (train.h): it sees less */
    imp_input_spec input;
} imp_model_info;

/* Read a safetensors file: every size checked against the file before anything is
 * allocated, every weight finite. Architecture and input come from the metadata
 * (`architecture`, `width.divisor` or `channels` and `ranks`, `head`, `input.order`, `input.range`,
 * `input.mean`, `input.std`, `input.size`, `input.fit`, `flatten`, `classes`), else from the names:
 * torchvision's and timm's VGG as theirs, conv1_1.weight as Oxford's. A VGG may lack
 * its deeper layers and its classifier; or have another classifier, `head` `mean`: see
 * imp_model_classifier. Errors: IMP_ERR_MODEL (file, tensor, expected,
 * found). */
IMP_API IMP_MUST_USE imp_status imp_model_load(
    imp_ctx *ctx, imp_model **out, const char *path);

/* The network that comes with the library: a narrow VGG-19 to relu5_1 that has learnt the
 * features of a whole one (data/builtin.md). Errors: IMP_ERR_LIMIT. */
IMP_API IMP_MUST_USE imp_status imp_model_builtin(imp_ctx *ctx, imp_model **out);

typedef struct imp_model_options {
    const char *architecture; /* "mlp", "lenet", "vgg16", "vgg19" */
    size_t divisor;           /* VGG: channels divided by this; 0: 1 */
    const size_t
        *channels;     /* VGG: of each convolution, the first n_channels there are, */
    size_t n_channels; /* and nothing behind them; 0: by divisor */
    const size_t
        *ranks; /* n_channels of them; 0: that convolution is one layer; else two,
                            its kernel to so many numbers, without a ReLU, then 1 x 1 to its
                            channels (Zhang, Zou, He & Sun 2016, section 2.1); NULL: all 0 */
    const size_t *hidden; /* MLP: widths between input and output */
    size_t n_hidden;
    bool features;    /* VGG: the convolutions alone */
    const char *last; /* nothing behind this layer or activation; NULL: all */
    uint64_t seed;
} imp_model_options;

/* Make a network with He weights: normal, deviation sqrt(2 / fan-in) (He et al. 2015,
 * eq. 10), biases zero. The same seed gives the same bits anywhere. */
IMP_API IMP_MUST_USE imp_status imp_model_init(
    imp_ctx *ctx, imp_model **out, const imp_model_options *options);
IMP_API void imp_model_free(imp_model *model);

typedef struct imp_classifier_options {
    const char *const *labels; /* of each class, UTF-8 */
    size_t classes;            /* 2 to 65536 */
    const char
        *last; /* the last convolution to take, or its activation; NULL: the deepest */
    size_t size; /* sides of what it sees, 16 to 1024; 0: as features */
} imp_classifier_options;

/* A classifier of pictures, owned by the caller: the convolutions of features, a VGG of three
 * channels, their weights copied; the mean of each channel over all places (Lin, Chen & Yan 2014,
 * section 3.2); a fully connected layer to the classes, to be trained (train.h). Its weights are
 * zero, or those of features, where that is such a classifier of the same layers and labels.
 * Errors: IMP_ERR_ARG for an option out of range, IMP_ERR_MODEL for other features. */
IMP_API IMP_MUST_USE imp_status imp_model_classifier(imp_ctx *ctx, imp_model **out,
    const imp_model *features, const imp_classifier_options *options);

typedef struct imp_save_options {
    bool overwrite; /* replace the file where it exists */
    bool half;      /* float16, rounded to nearest, ties to even; else float32 */
} imp_save_options;

/* Write as safetensors, our names, metadata complete; the same model gives the same bytes.
 * options: NULL: none. Errors: IMP_ERR_FILE; IMP_ERR_NUMERIC for a number that is not finite,
 * or not as float16. */
IMP_API IMP_MUST_USE imp_status imp_model_save(imp_ctx *ctx, const imp_model *model,
    const char *path, const imp_save_options *options);

IMP_API imp_model_info imp_model_describe(const imp_model *model);
IMP_API const char *imp_model_label(
    const imp_model *model, size_t id); /* NULL: beyond */

/* The parameters, in order: name, plain shape (O, I, KH, KW; a bias 1, C, 1, 1) and
 * values in the blocked layout of nn.h. Indices 0 .. count-1. */
IMP_API size_t imp_model_tensor_count(const imp_model *model);
IMP_API const char *imp_model_tensor_name(const imp_model *model, size_t i);
IMP_API imp_shape imp_model_tensor_shape(const imp_model *model, size_t i);
IMP_API const float *imp_model_tensor_blocked(const imp_model *model, size_t i);

/* The names of its activations, outermost first, "relu1_1", "relu1_2", ... ; NULL:
 * beyond. */
IMP_API const char *imp_model_layer(const imp_model *model, size_t i);

/* Append the network to g, from x (in the network's own input space) to the activation
 * named last, or to the logits where last is NULL. taps: n names whose ids are wanted,
 * or IMP_NONE where the network has none of that name before last. first: padding of
 * the first convolution; pooling: as the architecture has it (max) or average. Returns
 * the id of the last value. */
typedef struct imp_network_options {
    const char *last;
    imp_padding first;
    imp_pool_kind pooling;
    bool gradients; /* of the parameters */
    const char
        *frozen; /* but for those of this layer and the ones before it; NULL: of all */
    const char
        *after; /* x is the value of this layer, and those before it are left out */
} imp_network_options;
IMP_API imp_id imp_network(imp_graph *g, const imp_model *model, imp_id x,
    const imp_network_options *options, const char *const *taps, imp_id *ids, size_t n);

/* Planes R, G, B (0..255) to the network's input, and a gradient by the input back to
 * one by the planes. count: pixels a plane. dst and src may not overlap. */
IMP_API void imp_input_from_rgb(
    const imp_input_spec *spec, size_t count, const float *rgb, float *x);
IMP_API void imp_input_gradient_to_rgb(
    const imp_input_spec *spec, size_t count, const float *dx, float *drgb);

/* Probabilities of a picture. The picture is fitted to the network's size by bicubic
 * resizing: squash, or the centre of a short side of size x 8/7. A network of one
 * channel gets 0.299 R + 0.587 G + 0.114 B. [out] p: classes floats. Errors:
 * IMP_ERR_MODEL where the model has no classifier. */
IMP_API IMP_MUST_USE imp_status imp_classify(imp_ctx *ctx, const imp_model *model,
    const imp_picture *picture, imp_fit fit, float *p);

#ifdef __cplusplus
}
#endif
#endif
