/* SPDX-License-Identifier: MIT
 *
 * train.h: inside training.
 */
#ifndef IMP_TRAIN_H
#define IMP_TRAIN_H

#include "base/base.h"
#include "impasto/train.h"
#include "model/model.h"

/* --- rates.c --- */

/* The rate of step `step` of `steps`, from 0: rises linearly to `rate` over the first warm
 * steps, falls to 0 along half a cosine over all (Loshchilov & Hutter 2017, eq. 5). */
double imp_rate_at(double rate, size_t warm, size_t step, size_t steps);

/* --- channels.c --- */

/* K of C channels that tell most of all: chosen[0..K-1], rising. moments: C x C, the means of
 * x(i) x(j). *unexplained, 0..1: what a linear guess from those K lacks of the others' second
 * moments, mean over channels. Errors: IMP_ERR_LIMIT. */
imp_status imp_channels_choose(imp_ctx *ctx, const double *moments, size_t C, size_t K,
    size_t *chosen, double *unexplained);

/* --- crops.c --- */

typedef enum imp_stream { IMP_LEARNT, IMP_HELD_OUT, IMP_SURVEYED } imp_stream;

/* What crops are made from, and how. */
typedef struct imp_crops {
    const imp_photos *photos;
    const imp_input_spec *spec;
    size_t side, batch;
    uint64_t seed;
} imp_crops;

/* Batch `number` of a stream as the network wants it, batch x 3 x side x side: a function of
 * the arguments alone. ctx: of one thread. Errors: IMP_ERR_DATA, IMP_ERR_LIMIT. */
imp_status imp_crops_batch(
    imp_ctx *ctx, const imp_crops *crops, imp_stream stream, size_t number, float *out);

/* --- loader.c: the next batch is made by a thread while this one is learnt --- */

typedef struct imp_loader imp_loader;
imp_status imp_loader_new(imp_ctx *ctx, imp_loader **out, const imp_crops *crops);
void imp_loader_free(imp_loader *l);
/* Batch `number`, good until the next call; next: number + 1 will be asked for next. */
imp_status imp_loader_take(
    imp_loader *l, imp_stream stream, size_t number, bool next, const float **batch);

/* --- features.c, student.c, checkpoint.c --- */

#define IMP_FEATURES_LAYERS 16 /* convolutions at most */
#define IMP_FEATURES_POINTS 101
#define IMP_FEATURES_HELD   2 /* batches held out */

/* What of a map of the teacher is learnt: n of its channels, each times a factor that makes its
 * rms 1. values: 1, n, 2, 1, as imp_select wants it: the channels, then the factors. */
typedef struct imp_picks {
    size_t of, n;
    float *values;
} imp_picks;

/* A loss of the graph. gram: the teacher's Gram matrix, whose squared norm the loss is divided
 * by; IMP_NONE: it is not. */
typedef struct imp_feature_loss {
    imp_id id, gram;
    double weight;
} imp_feature_loss;

typedef struct imp_features_graph {
    imp_graph *g;
    imp_id x, picks[IMP_FEATURES_LAYERS + 1], parameters[2 * IMP_FEATURES_LAYERS];
    imp_feature_loss losses[2 * IMP_FEATURES_LAYERS];
    size_t n_losses;
} imp_features_graph;

struct imp_features {
    imp_ctx *ctx;
    const imp_model *teacher;
    imp_photos photos;
    imp_features_options options;
    size_t layers; /* convolutions */
    size_t whole_from;
    imp_picks
        picks[IMP_FEATURES_LAYERS + 1]; /* of the input, then of each convolution */
    imp_model *student; /* its features are in units of each channel's rms */
    imp_loader *loader;
    imp_features_graph graph;
    imp_gradient *optimiser[2 * IMP_FEATURES_LAYERS]; /* one a tensor of the student */
    float *gradient; /* of all tensors, one behind the other */
    size_t numbers;  /* how many those are */
    double *partial;
    float *gram; /* room for the largest one of the teacher's */
    float *held[IMP_FEATURES_HELD];
    size_t step;
    imp_features_point points[IMP_FEATURES_POINTS];
    size_t n_points;
    float sum; /* of the losses since the last point */
};

/* The name of the activation of convolution i, as the teacher has it; NULL: beyond relu5_1. */
const char *imp_features_layer(const imp_model *teacher, size_t i);
/* The student with random weights, and its picks' sizes. */
imp_status imp_features_student(const imp_features *job, imp_model **out);
/* Build and plan the graph of the part that the job is in. */
imp_status imp_features_build(imp_features *job);
/* The picks' values from what the teacher does. */
imp_status imp_features_survey(imp_features *job);
/* All but what a survey or a checkpoint brings. */
imp_status imp_features_create(imp_ctx *ctx, imp_features **out,
    const imp_model *teacher, const imp_photos *photos,
    const imp_features_options *options);
/* Once the picks have their values: graph, optimisers and the crops held out. */
imp_status imp_features_begin(imp_features *job);

#endif
