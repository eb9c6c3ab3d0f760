/* SPDX-License-Identifier: MIT
 *
 * album.h: pictures of three classes, and a small network that learns to tell them. Include after
 * cmocka.h.
 */
#ifndef TESTS_ALBUM_H
#define TESTS_ALBUM_H

#include <math.h>

#include "files.h"
#include "model_files.h"
#include "train/train.h"

/* --- pictures: lying stripes, upright ones, plain --- */

#define CLASSES 3
#define COUNT   48
#define MOST    40 /* longest side */

static const char *const labels[] = {"lying", "plain", "upright"};

typedef struct album {
    uint64_t seed;
    size_t broken; /* the number of one that cannot be read */
    uint8_t rgb[MOST * MOST * 3];
} album;

static inline size_t label_of(size_t i) {
    return i % CLASSES;
}

static inline bool read_photo(void *user, size_t i, imp_photo *out) {
    album *a = user;
    size_t w = 22 + i % 17, h = 20 + i % 19, phase = (size_t)imp_random(a->seed, i) % 6;
    for (size_t k = 0; k < 3 * w * h; k++) {
        size_t along = label_of(i) == 0 ? k / 3 / w : k / 3 % w;
        double light = label_of(i) == 1 ? 120 : (along + phase) % 6 < 3 ? 60 : 180;
        a->rgb[k] = (uint8_t)(light + 40 * imp_uniform(a->seed + i, k));
    }
    *out = (imp_photo){w, h, a->rgb};
    return i != a->broken;
}

static size_t classes_of[COUNT];

static inline imp_dataset *make_set(const imp_model *m, uint64_t seed) {
    album a = {.seed = seed, .broken = COUNT};
    imp_photos photos = {COUNT, read_photo, &a};
    imp_dataset *set;
    if (imp_dataset_from_photos(ctx, &set, m, &photos, classes_of) != IMP_OK)
        fail_msg("%s", imp_ctx_error(ctx));
    return set;
}

static const size_t channels[] = {6, 20};

/* Two convolutions of random weights and a head. */
static inline imp_model *make_classifier(uint64_t seed) {
    imp_model *features = make_model((imp_model_options){
        .architecture = "vgg19", .channels = channels, .n_channels = 2, .seed = seed});
    imp_classifier_options o = {.labels = labels, .classes = CLASSES, .size = 16};
    imp_model *m;
    assert_int_equal(imp_model_classifier(ctx, &m, features, &o), IMP_OK);
    imp_model_free(features);
    return m;
}

static inline imp_train_options quick(const char *frozen) {
    imp_train_options o = imp_train_defaults("vgg19", IMP_ADAM);
    o.epochs = frozen ? 20 : 12;
    o.batch = 6;
    o.rate = frozen ? 0.02 : 0.005;
    o.decay = 0.1;
    o.shift = 1;
    o.validation = 0.25;
    o.frozen = frozen;
    return o;
}

/* To the end; the last epoch's progress. */
static inline imp_train_progress train(
    imp_ctx *c, imp_model *m, const imp_dataset *set, const imp_train_options *o) {
    imp_train *job;
    imp_train_progress p = {0};
    if (imp_train_new(c, &job, m, set, o) != IMP_OK) fail_msg("%s", imp_ctx_error(c));
    for (size_t e = 0; e < o->epochs; e++)
        if (imp_train_epoch(job, &p) != IMP_OK) fail_msg("%s", imp_ctx_error(c));
    imp_train_free(job);
    return p;
}

static inline int album_setup(void **state) {
    for (size_t i = 0; i < COUNT; i++) classes_of[i] = label_of(i);
    return files_setup(state);
}

#endif
