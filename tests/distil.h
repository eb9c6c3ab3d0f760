/* SPDX-License-Identifier: MIT
 *
 * distil.h: jobs that distil features, with made-up pictures and a narrow teacher of random
 * weights. Include after files.h and model_files.h.
 */
#ifndef TESTS_DISTIL_H
#define TESTS_DISTIL_H

#include <math.h>

#include "train/train.h"

/* --- pictures: of one colour each, or of stripes and noise --- */

#define PHOTOS 43
#define WIDE   52
#define HIGH   40

typedef struct album {
    uint8_t rgb[HIGH * WIDE * 3];
    bool plain;
    size_t broken;       /* the number of one that cannot be read */
    size_t read[PHOTOS]; /* how often */
} album;

static inline uint8_t byte_of(const album *a, size_t i, size_t y, size_t x, size_t c) {
    if (a->plain) return (uint8_t)(5 * i + c);
    double stripe = 90 * sin((double)(x * (i % 5 + 1) + y * (c + i % 3)) / 4);
    return (uint8_t)(128 + stripe + 30 * imp_uniform(i, (y * WIDE + x) * 3 + c));
}

static inline bool read_photo(void *user, size_t i, imp_photo *out) {
    album *a = user;
    a->read[i]++;
    for (size_t k = 0; k < sizeof a->rgb; k++)
        a->rgb[k] = byte_of(a, i, k / 3 / WIDE, k / 3 % WIDE, k % 3);
    *out = (imp_photo){WIDE, HIGH, a->rgb};
    return i != a->broken;
}

static inline imp_photos photos_of(album *a) {
    return (imp_photos){PHOTOS, read_photo, a};
}

/* --- jobs --- */

static album shown = {.broken = PHOTOS};
static imp_model *teacher;

static inline imp_features_options quick(size_t steps) {
    imp_features_options o = imp_features_defaults();
    o.crop = 32;
    o.batch = 2;
    o.steps = steps;
    return o;
}

static inline imp_features *make_job(imp_ctx *c, const imp_features_options *o) {
    imp_features *job;
    imp_photos photos = photos_of(&shown);
    if (imp_features_new(c, &job, teacher, &photos, o) != IMP_OK)
        fail_msg("%s", imp_ctx_error(c));
    return job;
}

static inline imp_features_progress steps(imp_ctx *c, imp_features *job, size_t n) {
    imp_features_progress p = {0};
    for (size_t i = 0; i < n; i++)
        if (imp_features_step(job, &p) != IMP_OK) fail_msg("%s", imp_ctx_error(c));
    return p;
}

/* The network of a job, as its file gives it back. */
static inline imp_model *from_file(const imp_features *job) {
    imp_model *model;
    assert_int_equal(imp_features_model(job, &model), IMP_OK);
    assert_int_equal(imp_model_save(ctx, model, in_folder("start"),
                         &(imp_save_options){.overwrite = true}),
        IMP_OK);
    imp_model_free(model);
    return load_model(in_folder("start"));
}

static inline int distil_setup(void **state) {
    if (files_setup(state)) return -1;
    teacher = make_model((imp_model_options){
        .architecture = "vgg19", .divisor = 16, .last = "relu5_1", .seed = 2});
    return 0;
}

static inline int distil_teardown(void **state) {
    imp_model_free(teacher);
    return files_teardown(state);
}

#endif
