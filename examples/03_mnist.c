/* SPDX-License-Identifier: MIT
 *
 * 03_mnist.c: train a perceptron of 784-32-16-10 on handwritten digits, and test it.
 *
 *     03_mnist FOLDER [EPOCHS [OUT.safetensors]]
 *
 * FOLDER has the four MNIST files, plain or gzip.
 */
#include "impasto/train.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct session {
    imp_ctx *ctx;
    imp_dataset *train_set, *test_set;
    imp_model *model;
    imp_train *job;
} session;

static imp_status prepare(session *s, const char *folder, imp_train_options *o) {
    size_t hidden[] = {32, 16};
    imp_model_options net = {
        .architecture = "mlp", .hidden = hidden, .n_hidden = 2, .seed = o->seed};
    imp_status r = imp_ctx_new(&s->ctx, NULL);
    if (!r) r = imp_mnist_load(s->ctx, &s->train_set, folder, IMP_MNIST_TRAIN);
    if (!r) r = imp_mnist_load(s->ctx, &s->test_set, folder, IMP_MNIST_TEST);
    if (!r) r = imp_model_init(s->ctx, &s->model, &net);
    return r ? r : imp_train_new(s->ctx, &s->job, s->model, s->train_set, o);
}

static imp_status train_and_test(session *s, size_t epochs) {
    imp_test_result t;
    size_t confusion[10][10]; /* [label][prediction] */
    for (size_t i = 0; i < epochs; i++) {
        imp_train_progress p;
        imp_status r = imp_train_epoch(s->job, &p);
        if (r) return r;
        printf("epoch %2zu  loss %.4f  accuracy %.4f\n", p.epoch, p.loss, p.accuracy);
    }
    imp_status r = imp_test(s->ctx, s->model, s->test_set, &t, confusion[0]);
    if (r) return r;
    printf("test      loss %.4f  accuracy %.4f (%zu of %zu)\n", t.loss, t.accuracy,
        t.correct, t.count);
    for (size_t label = 0; label < 10; label++) { /* what is each digit taken for? */
        size_t wrong = label == 0;
        for (size_t k = 0; k < 10; k++)
            if (k != label && confusion[label][k] > confusion[label][wrong]) wrong = k;
        printf("%zu: right %4zu, most often mistaken for %zu (%zu)\n", label,
            confusion[label][label], wrong, confusion[label][wrong]);
    }
    return IMP_OK;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: 03_mnist FOLDER [EPOCHS [OUT.safetensors]]\n");
        return IMP_ERR_ARG;
    }
    session s = {0};
    imp_train_options o = imp_train_defaults("mlp", IMP_SGD);
    if (argc > 2) o.epochs = (size_t)strtoul(argv[2], NULL, 10);
    imp_status r = prepare(&s, argv[1], &o);
    if (!r) r = train_and_test(&s, o.epochs);
    if (!r && argc > 3) r = imp_model_save(s.ctx, s.model, argv[3], NULL);
    if (r) fprintf(stderr, "03_mnist: %s\n", imp_ctx_error(s.ctx));
    imp_train_free(s.job);
    imp_model_free(s.model);
    imp_dataset_free(s.train_set);
    imp_dataset_free(s.test_set);
    imp_ctx_free(s.ctx);
    return (int)r;
}
