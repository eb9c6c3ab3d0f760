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

/* --- batch.c: batches of a data set, and a network that is run on them --- */

/* A picture in a view: a number that says how it is moved and mirrored. */
#define IMP_PLAIN SIZE_MAX /* as it is */
typedef struct imp_sample {
    size_t id, view;
} imp_sample;

/* Where batches come from: pictures, or what a bank has of them. */
typedef struct imp_source {
    const imp_model *m;
    const imp_dataset *set;
    size_t shift;
    bool mirror;
    uint64_t seed;
    const float *rows;       /* NULL: the pictures themselves */
    size_t width;            /* of a row */
    size_t views;            /* rows of a picture that has more than one */
    const size_t *first_row; /* of each picture */
} imp_source;

/* A network for batches of one size. */
typedef struct imp_batch {
    imp_graph *g;
    imp_id x, labels, logits,
        loss; /* labels, loss: IMP_NONE where it ends before its last layer */
    size_t size, width,
        outputs; /* pictures; numbers of one, and what comes out of it */
    float *values, *classes, *scores; /* of one batch, plain */
} imp_batch;

/* The part of the model that o tells. To be freed in any case. */
imp_status imp_batch_new(imp_ctx *ctx, imp_batch *b, const imp_source *from,
    size_t size, const imp_network_options *o);
void imp_batch_free(imp_batch *b);
imp_status imp_batch_write(imp_ctx *ctx, const imp_batch *b, const imp_source *from,
    const imp_sample *samples);
/* The class of picture i by the scores. */
size_t imp_batch_best(const imp_batch *b, size_t i);
/* Pictures at once where nothing is learnt. */
size_t imp_batch_forward_size(const imp_source *from);
/* Test on n pictures, as they are; ids: NULL: 0 .. n-1. confusion: as imp_test, added to. */
imp_status imp_batch_evaluate(imp_ctx *ctx, const imp_source *from,
    const imp_network_options *o, const size_t *ids, size_t n, imp_test_result *out,
    size_t *confusion);

/* --- bank.c: what all layers but the last one make of pictures --- */

typedef struct imp_bank {
    size_t n, width, done; /* rows, numbers of a row, rows that are there */
    imp_sample *samples;   /* what each row is of */
    float *rows;
} imp_bank;

/* Room for n rows. To be freed in any case. */
imp_status imp_bank_new(imp_ctx *ctx, imp_bank *bank, const imp_model *m, size_t n);
void imp_bank_free(imp_bank *bank);
/* The rows that are not there yet, until callback (may be NULL) says false. */
imp_status imp_bank_fill(imp_ctx *ctx, imp_bank *bank, const imp_source *from,
    imp_train_callback callback, void *user);
/* Make the rms of each column over the first n rows 1, by the weights of m around its mean; that
 * of one below a hundredth of the largest is taken for that much. */
void imp_bank_scale(imp_bank *bank, imp_model *m, size_t n);

/* --- channels.c --- */

/* K of C channels that tell most of all: chosen[0..K-1], rising. moments: C x C, the means of
 * x(i) x(j). *unexplained, 0..1: what a linear guess from those K lacks of all of them, of the
 * sum of their rms. Errors: IMP_ERR_LIMIT. */
imp_status imp_channels_choose(imp_ctx *ctx, const double *moments, size_t C, size_t K,
    size_t *chosen, double *unexplained);

/* --- crops.c --- */

typedef enum imp_stream { IMP_LEARNT, IMP_HELD_OUT, IMP_SURVEYED } imp_stream;

/* What crops are made from, and how. */
typedef struct imp_crops {
    const imp_photos *photos;
    const imp_input_spec *spec;
    size_t side, batch;
    double
        changed; /* share of the crops, 0..1, that are noisy, mixed or of other colours */
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

/* --- features.c, student.c, survey.c, prune.c, split.c, checkpoint.c --- */

#define IMP_FEATURES_LAYERS  16                        /* convolutions at most */
#define IMP_FEATURES_TENSORS (4 * IMP_FEATURES_LAYERS) /* where all have ranks */
#define IMP_FEATURES_POINTS  101
#define IMP_FEATURES_HELD    2 /* batches held out */

/* What of a map of the teacher is learnt: n of its channels, each times a factor, one over its
 * unit. values: 1, n, 2, 1, as imp_select wants it: the channels, then the factors. */
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
    imp_id x, picks[IMP_FEATURES_LAYERS + 1], parameters[IMP_FEATURES_TENSORS];
    imp_feature_loss losses[2 * IMP_FEATURES_LAYERS];
    size_t n_losses;
} imp_features_graph;

struct imp_features {
    imp_ctx *ctx;
    const imp_model *teacher, *start; /* start: NULL: random weights */
    imp_model
        *pruned; /* what start points to from the survey on until it is taken, where it
                           has more channels than the student */
    imp_photos photos;
    imp_features_options options;
    size_t layers;                                                   /* convolutions */
    size_t all[IMP_FEATURES_LAYERS], all_ranks[IMP_FEATURES_LAYERS]; /* the teacher's */
    size_t channels[IMP_FEATURES_LAYERS]; /* the student's, as of imp_model_options */
    size_t ranks[IMP_FEATURES_LAYERS];
    size_t whole_from;
    imp_picks
        picks[IMP_FEATURES_LAYERS + 1]; /* of the input, then of each convolution */
    imp_picks
        start_picks[IMP_FEATURES_LAYERS + 1]; /* the start's channels; no factors */
    imp_model *student;                       /* its features are in units */
    imp_loader *loader;
    imp_features_graph graph;
    imp_gradient *optimiser[IMP_FEATURES_TENSORS]; /* one a tensor of the student */
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
/* Channels and ranks of the student's convolutions. Errors: IMP_ERR_ARG; IMP_ERR_MODEL of a
 * start. */
imp_status imp_features_channels(imp_features *job);
/* The student with random weights; ranks: of each convolution. */
imp_status imp_features_student(
    const imp_features *job, const size_t *ranks, imp_model **out);
/* The first tensor of convolution i in a model of such ranks. */
size_t imp_features_tensor(const size_t *ranks, size_t i);
/* Build and plan the graph of the part that the job is in. */
imp_status imp_features_build(imp_features *job);
/* The bytes of the larger one of both parts' graphs. */
imp_status imp_features_measure(imp_features *job, size_t *bytes);
/* Append the teacher to g: a batch of pictures, then the map of each convolution. Returns the
 * pictures' id. */
imp_id imp_features_teacher(
    const imp_features *job, imp_graph *g, imp_id maps[IMP_FEATURES_LAYERS + 1]);
/* The same of what is picked of each map. picks: inputs of g, to be written by
 * imp_features_write_picks once it is planned. */
imp_id imp_features_targets(const imp_features *job, imp_graph *g,
    imp_id picks[IMP_FEATURES_LAYERS + 1], imp_id maps[IMP_FEATURES_LAYERS + 1]);
imp_status imp_features_write_picks(
    const imp_features *job, imp_graph *g, const imp_id picks[IMP_FEATURES_LAYERS + 1]);
/* Second moments of maps: the means of their Gram matrices over the batches of a survey. */
typedef struct imp_survey {
    imp_graph *g;
    imp_id x; /* the batch of pictures */
    size_t n;
    imp_id grams[IMP_FEATURES_LAYERS + 1];
    double *moments[IMP_FEATURES_LAYERS + 1]; /* C x C */
} imp_survey;
/* In order: begin, add maps of v->g, plan, write what else it wants, run; free in any case. */
imp_status imp_survey_new(const imp_features *job, imp_survey *v);
void imp_survey_add(imp_survey *v, imp_id map);
imp_status imp_survey_plan(const imp_features *job, imp_survey *v);
imp_status imp_survey_run(imp_features *job, imp_survey *v);
void imp_survey_free(imp_survey *v);

/* The picks' values from what the teacher does, and the start's where there is one, which is
 * pruned to them. */
imp_status imp_features_survey(imp_features *job);
/* The picks' channels as text, to be freed; and those that the start had from it. Errors of the
 * latter: IMP_ERR_MODEL. */
imp_status imp_picks_write(const imp_features *job, char **out);
imp_status imp_picks_read(imp_features *job);
/* Where the student has fewer channels than the start, make the start such a network; prune.c.
 * moments: of the teacher's maps, as a survey has them. */
imp_status imp_features_prune(imp_features *job, double *const *moments);
/* The start's weights to the student, once the picks have their values; split.c. */
imp_status imp_features_take(imp_features *job);
/* Copy a network's weights, from the teacher's units to the student's, or back. */
void imp_features_copy(
    const imp_features *job, const imp_model *from, imp_model *to, bool from_teacher);
/* All but what a survey or a checkpoint brings. Pictures that cannot be read (read: NULL) will
 * do to measure. */
imp_status imp_features_create(imp_ctx *ctx, imp_features **out,
    const imp_model *teacher, const imp_photos *photos,
    const imp_features_options *options);
/* Once the picks have their values: graph, optimisers and the crops held out. */
imp_status imp_features_begin(imp_features *job);

#endif
