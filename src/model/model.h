/* SPDX-License-Identifier: MIT
 *
 * model.h: inside a model: a table of layers, and a tensor for each parameter.
 */
#ifndef IMP_MODEL_H
#define IMP_MODEL_H

#include "base/base.h"
#include "impasto/model.h"

typedef enum imp_layer_kind {
    IMP_LAYER_CONV, /* stride 1; with ReLU, but for a factor */
    IMP_LAYER_POOL, /* 2 x 2, stride 2 */
    IMP_LAYER_FLATTEN,
    IMP_LAYER_MEAN,   /* over all places: a number a channel */
    IMP_LAYER_LINEAR, /* with ReLU, but for the last */
} imp_layer_kind;

typedef struct imp_layer {
    imp_layer_kind kind;
    char name[16];       /* "conv1_1", "fc6"; its activation is "relu1_1", "relu6" */
    char activation[16]; /* empty: none */
    size_t outputs;      /* channels, features; before the divisor */
    size_t kernel, pad;
} imp_layer;

#define IMP_NUMBER_SIZE  8
#define IMP_MAX_CHANNELS 65536 /* of a convolution in a list of channels */
#define IMP_MAX_LISTED   32    /* convolutions in such a list */

typedef struct imp_tensor {
    char name[24]; /* "conv1_1.weight" */
    imp_shape shape;
    bool linear; /* of a fully connected layer: files write its weights as O, I */
    float *blocked;
} imp_tensor;

struct imp_model {
    imp_model_info info;
    char architecture[16];
    imp_layer *layers;
    size_t n_layers;
    imp_tensor *tensors; /* weight and bias of each layer that has them, in order */
    size_t n_tensors;
    char **labels; /* info.classes of them, or NULL: ImageNet's, or the index */
    char
        *taught; /* which channels of a teacher's these have learnt: train.h; or NULL */
    char *numbers; /* the indices as text, IMP_NUMBER_SIZE bytes each */
};

/* --- zoo.c: architectures as tables --- */

/* Fill in layers, input and architecture; tensors are not made yet.
 * Errors: IMP_ERR_ARG for an unknown architecture or widths that cannot be. */
imp_status imp_zoo_build(imp_ctx *ctx, imp_model *m, const imp_model_options *options);
/* Drop all layers from number n on. */
void imp_zoo_cut(imp_model *m, size_t n);
/* Drop all behind the last convolution's activation. */
void imp_zoo_cut_classifier(imp_model *m);
/* Behind the last map its mean, and a fully connected layer to the classes: "mean", "fc".
 * Errors: IMP_ERR_LIMIT. */
imp_status imp_zoo_add_head(imp_ctx *ctx, imp_model *m, size_t classes);
/* Does it end so? */
bool imp_zoo_has_head(const imp_model *m);
/* Make the tensors of the layers there are: first names and shapes, then memory (zero). */
imp_status imp_zoo_shapes(imp_ctx *ctx, imp_model *m);
imp_status imp_zoo_allocate(imp_ctx *ctx, imp_model *m);
bool imp_layer_has_weights(const imp_layer *l);
/* Is it the first factor of a convolution of low rank (imp_model_options, ranks)? It is then called
 * "factor5_1", and the next layer, of 1 x 1, is "conv5_1". */
bool imp_layer_is_factor(const imp_layer *l);
/* Channels and ranks of its convolutions (imp_model_options), at most so many of each.
 * Returns how many there are. */
size_t imp_zoo_widths(const imp_model *m, size_t *channels, size_t *ranks, size_t most);
/* Number of the first layer of this name, or of this activation; n_layers: none. */
size_t imp_zoo_find(const imp_model *m, const char *name);

extern const char *const imp_imagenet_labels[1000]; /* imagenet.c */

/* --- input.c --- */

/* The shape of n samples: a map, or rows where the first layer is fully connected. */
imp_shape imp_model_input_shape(const imp_model *m, size_t n);

/* As imp_input_from_rgb and imp_input_gradient_to_rgb, for networks of three channels, to and
 * from an IMP_PICTURE of a graph. more: a gradient by R, G, B that is added; or NULL. */
void imp_input_to_picture(imp_ctx *ctx, const imp_input_spec *spec, size_t count,
    const float *rgb, float *picture);
void imp_input_gradient_from_picture(imp_ctx *ctx, const imp_input_spec *spec,
    size_t count, const float *dx, const float *more, float *drgb);

/* --- classify.c --- */

/* Pixels of a picture's short side, of which a crop shows the centre size x size. */
size_t imp_crop_side(size_t size);
/* A picture as a network of size x size sees it, brought to that size or to imp_crop_side by
 * bicubic resizing; [out] rgb: its centre of side x side, planes R, G, B of 0..255. side: size;
 * of a crop up to imp_crop_side. Errors: IMP_ERR_DATA for a picture too narrow to crop. */
imp_status imp_fit_picture(imp_ctx *ctx, const imp_picture *picture, imp_fit fit,
    size_t size, size_t side, float *rgb);

/* --- turn.c --- */

/* How a picture is seen: transposed last. All eight sums are one symmetry of the square each. */
enum { IMP_TURN_COLUMNS = 1, IMP_TURN_ROWS = 2, IMP_TURN_TRANSPOSE = 4 };

/* *twin: m as it sees pictures turned so; what it says of them is turned back. Made where it is
 * NULL, and then the caller's; else made for the same m. */
imp_status imp_model_turn(
    imp_ctx *ctx, imp_model **twin, const imp_model *m, unsigned turn);

/* --- load.c --- */

/* As imp_model_load, without what lies behind the deepest of the n layers named; where the
 * model lacks one of them, all of it. */
imp_status imp_model_load_layers(imp_ctx *ctx, imp_model **out, const char *path,
    const char *const *layers, size_t n);

#endif
