/* SPDX-License-Identifier: MIT
 *
 * train.h: train a classifier, and test it.
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
 *     if (imp_test(ctx, model, test_set, &r) != IMP_OK) return 1;
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

typedef enum imp_schedule { IMP_COSINE, IMP_CONSTANT } imp_schedule;

typedef struct imp_train_options {
    size_t epochs, batch;
    imp_optimizer optimizer;
    double rate;     /* at the first batch; cosine: falls to 0 at the last */
    double momentum; /* SGD */
    imp_schedule schedule;
    size_t shift;  /* each picture is moved by up to this many pixels, at random */
    uint64_t seed; /* the order of the samples */
} imp_train_options;

/* Good values for an architecture ("mlp", "lenet") and an optimiser. */
IMP_API imp_train_options imp_train_defaults(
    const char *architecture, imp_optimizer kind);

typedef struct imp_train_progress {
    size_t epoch;    /* epochs done */
    double loss;     /* mean over the epoch's samples, as they were met */
    double accuracy; /* the same, 0..1 */
} imp_train_progress;

typedef struct imp_train imp_train;

/* A job that trains model on set; both borrowed until imp_train_free.
 * Errors: IMP_ERR_ARG where sizes do not fit or an option is out of range. */
IMP_API IMP_MUST_USE imp_status imp_train_new(imp_ctx *ctx, imp_train **out,
    imp_model *model, const imp_dataset *set, const imp_train_options *options);
/* One pass over the set in whole batches, in an order of its own; what is left over (less
 * than a batch) waits for the next epoch's order. The callback, where there is one, is
 * told the batches done and the batches of the epoch; false from it ends the epoch
 * early. Errors: IMP_ERR_NUMERIC where the loss is not finite. */
IMP_API IMP_MUST_USE imp_status imp_train_epoch(
    imp_train *job, imp_train_progress *out);
IMP_API void imp_train_on_batch(
    imp_train *job, bool (*callback)(void *user, size_t done, size_t of), void *user);
IMP_API void imp_train_free(imp_train *job);

typedef struct imp_test_result {
    size_t count, correct;
    double accuracy, loss;
    size_t confusion[10][10]; /* [label][prediction] */
} imp_test_result;
IMP_API IMP_MUST_USE imp_status imp_test(
    imp_ctx *ctx, const imp_model *model, const imp_dataset *set, imp_test_result *out);

#ifdef __cplusplus
}
#endif
#endif
