/* SPDX-License-Identifier: MIT
 *
 * train.h: train a classifier, and test it; distil a feature network.
 *
 *     imp_model *model;
 *     size_t hidden[] = {32, 16};
 *     if (imp_model_init(ctx, &model, &(imp_model_options){.architecture = "mlp",
 *         .hidden = hidden, .n_hidden = 2, .seed = 1}) != IMP_OK) return 1;
 *     imp_train_options options = imp_train_defaults("mlp", IMP_SGD);
 *     imp_train *job;
 *     if (imp_train_new(ctx, &job, model, train_set, &options) != IMP_OK) return 1;
 *     imp_train_progress p;
 *     for (size_t e = 0; e < options.epochs; e++)
 *         if (imp_train_epoch(job, &p) != IMP_OK) return 1;
 *     imp_train_free(job);
 *     imp_test_result r;
 *     if (imp_test(ctx, model, test_set, &r, NULL) != IMP_OK) return 1;
 *     printf("accuracy %.4f\n", r.accuracy);
 *     imp_model_free(model);
 */
#ifndef IMPASTO_TRAIN_H
#define IMPASTO_TRAIN_H

#include "impasto/data.h"
#include "impasto/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A decoded picture: height rows of width pixels, each the bytes R, G, B. */
typedef struct imp_photo {
    size_t width, height;
    const uint8_t *rgb;
} imp_photo;

/* Where pictures come from: numbers 0 .. count-1. read is called by one thread at a time; what it
 * gives is borrowed until the next call. false: cannot be read; who asked for it then ends with
 * IMP_ERR_DATA. */
typedef struct imp_photos {
    size_t count;
    bool (*read)(void *user, size_t i, imp_photo *out);
    void *user;
} imp_photos;

/* Pictures of any size as a data set for model, a classifier of three channels: each is read
 * once, fitted as the model wants it (imp_classify), and kept with what a crop leaves around its
 * centre, so that a view can be moved. labels: the class of each picture, below the model's
 * classes. Errors: IMP_ERR_DATA for one that cannot be read or cropped, IMP_ERR_ARG for a label
 * out of range, IMP_ERR_MODEL for another model, IMP_ERR_LIMIT. */
IMP_API IMP_MUST_USE imp_status imp_dataset_from_photos(imp_ctx *ctx, imp_dataset **out,
    const imp_model *model, const imp_photos *photos, const size_t *labels);

typedef enum imp_schedule { IMP_COSINE, IMP_CONSTANT } imp_schedule;

typedef struct imp_train_options {
    size_t epochs, batch;
    imp_optimizer optimizer;
    double rate;     /* at the first batch; cosine: falls to 0 at the last */
    double momentum; /* SGD */
    double decay;    /* Adam: of the weights, not of the biases (nn.h) */
    imp_schedule schedule;
    size_t shift; /* each picture is moved by up to this many pixels, at random */
    bool mirror;  /* and mirrored in every other epoch */
    double
        validation; /* share of each class that is held out, never learnt from: 0 to below 1 */
    const char
        *frozen; /* this layer and those before it stay as they are, but for a factor a
                           channel: see imp_train_prepare; NULL: none; borrowed */
    size_t
        views; /* frozen to the last layer but one: different views of a picture, 1 to 64 */
    uint64_t seed; /* which samples are held out, their order and views */
} imp_train_options;

/* Good values for an architecture ("mlp", "lenet", "vgg19") and an optimiser. */
IMP_API imp_train_options imp_train_defaults(
    const char *architecture, imp_optimizer kind);

typedef struct imp_train_progress {
    size_t epoch;            /* epochs done */
    double loss;             /* mean over the epoch's samples, as they were met */
    double accuracy;         /* the same, 0..1 */
    size_t validation_count; /* pictures held out; 0: none */
    double validation_loss,
        validation_accuracy; /* theirs, after the epoch; NaN: none */
} imp_train_progress;

typedef struct imp_train imp_train;

/* A job that trains model on set; both borrowed until imp_train_free. The set's classes and
 * channels are the model's; its pictures are as high and wide as the model's input, those for
 * cropping of three channels 8/7 of that (imp_dataset_from_photos).
 * Errors: IMP_ERR_ARG for an option out of range, IMP_ERR_MODEL, IMP_ERR_DATA where model and set
 * do not fit. */
IMP_API IMP_MUST_USE imp_status imp_train_new(imp_ctx *ctx, imp_train **out,
    imp_model *model, const imp_dataset *set, const imp_train_options *options);
/* Told what is done, of how much; false from it ends that early. */
typedef bool (*imp_train_callback)(void *user, size_t done, size_t of);
/* What goes before the first epoch; nothing for most networks. A model of imp_model_classifier is
 * run over pictures, and each channel of its last map multiplied by 1 / (its mean's rms over
 * them, at least a hundredth of the largest), the last layer's weights divided by it: the same
 * function, of features of one size. Where
 * its convolutions are frozen, all pictures in all views are run, and what comes out is kept, to
 * be learnt from in all epochs. The callback is told the views done; false: the rest is done by
 * the next call. Errors: IMP_ERR_LIMIT. */
IMP_API IMP_MUST_USE imp_status imp_train_prepare(imp_train *job);
/* One pass over the set in whole batches, in an order of its own; what is left over (less
 * than a batch) waits for the next epoch's order. Prepares where that is not done; where the
 * callback ends that early, no epoch is done. The callback, where there is one, is
 * told the batches done and the batches of the epoch; false from it ends the epoch
 * early, without validation. Errors: IMP_ERR_NUMERIC where the loss is not finite. */
IMP_API IMP_MUST_USE imp_status imp_train_epoch(
    imp_train *job, imp_train_progress *out);
IMP_API void imp_train_on_batch(
    imp_train *job, imp_train_callback callback, void *user);
IMP_API void imp_train_free(imp_train *job);

typedef struct imp_test_result {
    size_t count, correct;
    double accuracy, loss;
} imp_test_result;
/* [out] confusion: classes x classes counts, row by row: of each label the predictions; NULL: not
 * wanted. Errors: as imp_train_new, of model and set. */
IMP_API IMP_MUST_USE imp_status imp_test(imp_ctx *ctx, const imp_model *model,
    const imp_dataset *set, imp_test_result *out, size_t *confusion);

/* --- features: a narrow network that has learnt a teacher's feature maps --- */

typedef struct imp_features_options {
    double
        width; /* share of the teacher's channels to keep, above 0, at most 1; conv1_1
                     keeps all of them, conv1_2 at least half */
    const size_t
        *channels; /* of each convolution instead, at most the teacher's, and the
                               start's; borrowed by the call */
    size_t
        n_channels; /* as many as there are to relu5_1; 0: the start's, or by width */
    const size_t
        *ranks; /* of each convolution, as of imp_model_options; borrowed by the call */
    size_t n_ranks; /* as many as there are to relu5_1; 0: none, or as the start's */
    const imp_model
        *start;  /* go on from this network, which imp_features_model gave: its
                               channels, its weights; where channels are fewer than there,
                               those stay that tell most of the others; a convolution of
                               another rank than there is split in two, with as little
                               change as its answers to the teacher's maps allow; of rank 0
                               it stays as it is; borrowed; NULL: random weights */
    size_t crop; /* side of what is learnt from, pixels: a multiple of 16, 16 to 1024 */
    size_t batch, steps;     /* crops of a step; steps in all */
    imp_optimizer optimizer; /* IMP_ADAM, or IMP_MUON with Adam for the biases */
    double
        alone; /* share of the steps, 0..1, in which every layer learns alone, fed with the
                     teacher's maps; then all learn end to end */
    double
        rate; /* the highest, end to end; alone it is 8/3 of it; warm-up, then a cosine */
    double
        augment; /* share of the crops, 0..1, that get noise, another picture mixed in, or
                       other colours, as a picture has that is being painted */
    double decay;  /* of the weights (nn.h) */
    double clip;   /* the gradient's norm at most */
    uint64_t seed; /* weights, crops */
} imp_features_options;

/* A quarter, 128, 4, 5400, Adam, a third, 1.5e-3, 0.45, 0, 10, 1. */
IMP_API imp_features_options imp_features_defaults(void);

typedef struct imp_features imp_features;

/* A job that distils teacher, a VGG of three channels, up to relu5_1: each layer of the new
 * network learns a telling subset of that layer's channels in the teacher. Runs the teacher over
 * 24 batches to choose them. Of the photos, at least 2, every 20th, from number 0 on, is held out,
 * never learnt from; they are read in a thread of the job's own. All are borrowed until
 * imp_features_free.
 * Errors: IMP_ERR_ARG for an option out of range, IMP_ERR_MODEL for another teacher,
 * IMP_ERR_DATA for pictures that cannot be read. */
IMP_API IMP_MUST_USE imp_status imp_features_new(imp_ctx *ctx, imp_features **out,
    const imp_model *teacher, const imp_photos *photos,
    const imp_features_options *options);
/* The same, going on from a checkpoint: the same bits as if it had never stopped.
 * Errors: also IMP_ERR_MODEL where the file is none, or of other options, another teacher or
 * another number of pictures (file, field, expected, found). */
IMP_API IMP_MUST_USE imp_status imp_features_resume(imp_ctx *ctx, imp_features **out,
    const imp_model *teacher, const imp_photos *photos,
    const imp_features_options *options, const char *path);
IMP_API void imp_features_free(imp_features *job); /* NULL is fine */
/* The memory that a job will take, without teacher and pictures. Errors: as
 * imp_features_new's for its arguments. */
IMP_API IMP_MUST_USE imp_status imp_features_estimate(imp_ctx *ctx,
    const imp_model *teacher, const imp_features_options *options, size_t *bytes);

typedef struct imp_features_progress {
    size_t step; /* steps done */
    bool whole;  /* this one was end to end */
    bool point;  /* it ended with a new point of the curve */
    double loss; /* of this step's batch */
    double rate; /* of this step */
    double norm; /* of its gradient, before clipping */
} imp_features_progress;

/* One step. Errors: IMP_ERR_NUMERIC where loss or gradient is not finite, IMP_ERR_ARG after the
 * last step. */
IMP_API IMP_MUST_USE imp_status imp_features_step(
    imp_features *job, imp_features_progress *out);
IMP_API size_t imp_features_done(const imp_features *job); /* steps */

/* The losses, alone and end to end two different sums. A point every hundredth of the steps:
 * loss is the mean over the steps since the point before, held_out that of pictures held out,
 * always the same crops. */
typedef struct imp_features_point {
    size_t step;
    float loss, held_out;
} imp_features_point;
/* The points so far, the job's own; *n: how many. *whole_from: steps before the first one end
 * to end; NULL: not wanted. */
IMP_API const imp_features_point *imp_features_curve(
    const imp_features *job, size_t *n, size_t *whole_from);

/* Write all that imp_features_resume needs. Errors: IMP_ERR_FILE. */
IMP_API IMP_MUST_USE imp_status imp_features_checkpoint(
    const imp_features *job, const char *path, bool overwrite);
/* The network as it is now, owned by the caller: a VGG with channels of its own, whose features
 * are the teacher's, in the teacher's units, of the teacher's input. */
IMP_API IMP_MUST_USE imp_status imp_features_model(
    const imp_features *job, imp_model **out);

#ifdef __cplusplus
}
#endif
#endif
