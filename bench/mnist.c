/* SPDX-License-Identifier: MIT
 *
 * mnist.c: an epoch of training on MNIST, or on noise of its size: the perceptron
 * 784-256-128-10 and LeNet, batches of 100, no shifts of the pictures.
 */
#include "bench.h"

#include "data/idx.h"
#include "impasto/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT  60000
#define SIDE   28
#define PIXELS (SIDE * SIDE)
#define BATCH  100

static void put_numbers(uint8_t *out, const uint32_t *numbers, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 4; k++)
            out[4 * i + k] = (uint8_t)(numbers[i] >> (24 - 8 * k));
}

/* An IDX pair of noise: a fifth of the pixels lit, as in MNIST; labels at random. */
static imp_status make_noise(imp_ctx *ctx, imp_dataset **out) {
    size_t image_bytes = 16 + (size_t)COUNT * PIXELS, label_bytes = 8 + COUNT;
    uint8_t *images = malloc(image_bytes), *labels = malloc(label_bytes);
    imp_status s =
        images && labels ? IMP_OK : imp_fail(ctx, IMP_ERR_LIMIT, "mnist: no memory");
    if (!s) {
        put_numbers(images, (uint32_t[]){2051, COUNT, SIDE, SIDE}, 4);
        put_numbers(labels, (uint32_t[]){2049, COUNT}, 2);
        for (size_t i = 16; i < image_bytes; i++) {
            uint64_t r = imp_random(1, i);
            images[i] = r % 5 ? 0 : (uint8_t)(r >> 32);
        }
        for (size_t i = 8; i < label_bytes; i++)
            labels[i] = (uint8_t)(imp_random(2, i) % 10);
        s = imp_idx_parse(ctx, out, (imp_idx_bytes){"images", images, image_bytes},
            (imp_idx_bytes){"labels", labels, label_bytes});
    }
    free(images);
    free(labels);
    return s;
}

static imp_status train(imp_ctx *ctx, const bench_settings *s, const char *net,
    const imp_dataset *set, double *seconds) {
    static const size_t hidden[] = {256, 128};
    bool mlp = !strcmp(net, "mlp");
    imp_model *model = NULL;
    imp_train *job = NULL;
    imp_train_options o = imp_train_defaults(net, s->optimizer);
    o.batch = BATCH;
    o.epochs = s->iterations;
    o.shift = 0;
    imp_status status = imp_model_init(ctx, &model,
        &(imp_model_options){.architecture = net,
            .hidden = mlp ? hidden : NULL,
            .n_hidden = mlp ? 2 : 0,
            .seed = 1});
    if (!status) status = imp_train_new(ctx, &job, model, set, &o);
    for (size_t i = 0; i < s->iterations && !status; i++) {
        imp_train_progress p;
        double start = bench_now();
        status = imp_train_epoch(job, &p);
        seconds[i] = bench_now() - start;
    }
    imp_train_free(job);
    imp_model_free(model);
    return status;
}

static void tell(
    const imp_ctx *ctx, const bench_settings *s, const char *net, double seconds) {
    const char *optimizer = s->optimizer == IMP_ADAM ? "adam" : "sgd";
    if (s->json) {
        bench_json(ctx, "mnist");
        printf(",\"net\":\"%s\",\"optimizer\":\"%s\",\"seconds_per_epoch\":%.6f}\n",
            net, optimizer, seconds);
    } else {
        printf("mnist %s, %s: %.3f s an epoch\n", net, optimizer, seconds);
    }
    fflush(stdout);
}

int bench_mnist(imp_ctx *ctx, const bench_settings *s) {
    static const char *const nets[] = {"mlp", "lenet"};
    imp_dataset *set = NULL;
    double *seconds = calloc(s->iterations, sizeof *seconds);
    imp_status status =
        seconds ? IMP_OK : imp_fail(ctx, IMP_ERR_LIMIT, "mnist: no memory");
    if (!status)
        status = s->data ? imp_mnist_load(ctx, &set, s->data, IMP_MNIST_TRAIN)
                         : make_noise(ctx, &set);
    for (size_t i = 0; i < 2 && !status; i++) {
        if (s->net && strcmp(s->net, nets[i])) continue;
        status = train(ctx, s, nets[i], set, seconds);
        if (!status) tell(ctx, s, nets[i], bench_median(seconds, s->iterations));
    }
    imp_dataset_free(set);
    free(seconds);
    return status ? bench_fail(ctx) : 0;
}
