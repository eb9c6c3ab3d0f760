/* SPDX-License-Identifier: MIT
 *
 * Students that start from a network of more channels. The teacher has channels that others tell
 * all of; a start that is the teacher can lose them, and stays the same function.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "files.h"
#include "model_files.h"

#include "distil.h"

static const size_t all[13] = {4, 4, 8, 8, 16, 16, 16, 16, 32, 32, 32, 32, 32};
static const size_t fewer[13] = {4, 4, 7, 8, 15, 16, 16, 15, 32, 31, 32, 31, 32};

/* Of convolution i, channel `to` becomes channel a times f plus channel b times g. */
static void mix(size_t i, size_t to, size_t a, float f, size_t b, float g) {
    imp_tensor *t = &teacher->tensors[2 * i];
    for (size_t c = 0; c < t->shape.c; c++)
        for (size_t k = 0; k < 9; k++) {
            float *w = t->blocked;
            const imp_shape *s = &t->shape;
            w[imp_weight_offset(s, to, c, k / 3, k % 3)] =
                f * w[imp_weight_offset(s, a, c, k / 3, k % 3)] +
                g * w[imp_weight_offset(s, b, c, k / 3, k % 3)];
        }
    float *bias = t[1].blocked;
    bias[to] = f * bias[a] + g * bias[b];
}

/* Channels that are another, and one that is the sum of two, which are above zero everywhere. */
typedef struct twins {
    size_t layer, channels[3]; /* any of them can go: the others tell it */
} twins;

static const twins same[] = {{2, {5, 1, 1}}, {4, {12, 2, 6}}, {7, {0, 15, 15}},
    {9, {30, 7, 7}}, {11, {3, 4, 4}}};
#define TWINS (sizeof same / sizeof *same)

static int prune_setup(void **state) {
    if (distil_setup(state)) return -1;
    for (size_t i = 0; i < TWINS; i++) {
        const twins *t = &same[i];
        bool sum = t->channels[1] != t->channels[2];
        float *bias = teacher->tensors[2 * t->layer + 1].blocked;
        for (size_t k = 0; k < 32 && t->layer == 11; k++)
            bias[k] = 1000; /* none dead */
        for (size_t k = 1; k < 3 && sum; k++) bias[t->channels[k]] = 1500;
        mix(t->layer, t->channels[0], t->channels[1], 1, t->channels[2], sum);
    }
    return 0;
}

/* The teacher as a start, its last convolution but one as two factors, exactly. */
static imp_model *teacher_as_start(void) {
    imp_features_options o = quick(1);
    imp_model *factored;
    size_t ranks[13] = {[11] = 31}; /* 3 is a multiple of 4 there */
    o.channels = all;
    o.n_channels = 13;
    imp_features *job = make_job(ctx, &o);
    imp_model *start = from_file(job);
    imp_features_free(job);
    for (size_t t = 0; t < start->n_tensors; t++)
        memcpy(start->tensors[t].blocked, teacher->tensors[t].blocked,
            imp_blocked_count(teacher->tensors[t].shape) * sizeof(float));
    o = quick(1);
    o.start = start;
    o.alone = 0;
    o.ranks = ranks;
    o.n_ranks = 13;
    job = make_job(ctx, &o);
    assert_int_equal(imp_features_model(job, &factored), IMP_OK);
    imp_features_free(job);
    imp_model_free(start);
    return factored;
}

/* A student of fewer channels, nothing learnt yet. */
static imp_features_options pruned(
    const imp_model *start, const size_t *channels, size_t n_steps) {
    imp_features_options o = quick(n_steps);
    o.start = start;
    o.alone = 0;
    o.channels = channels;
    o.n_channels = 13;
    return o;
}

#define PIXELS 32

/* relu5_1 of a picture, plain; to be freed. */
static float *last_map(const imp_model *m, size_t *count) {
    static float picture[3 * PIXELS * PIXELS];
    imp_graph *g = imp_graph_new(ctx);
    imp_shape shape = {1, 3, PIXELS, PIXELS, IMP_MAP};
    imp_id x = imp_graph_input(g, "x", shape, false);
    imp_id y = imp_network(g, m, x, &(imp_network_options){0}, NULL, NULL, 0);
    for (size_t i = 0; i < sizeof picture / sizeof *picture; i++)
        picture[i] = (float)(200 * imp_uniform(5, i) - 100);
    imp_graph_keep(g, y);
    assert_int_equal(imp_graph_plan(g, false), IMP_OK);
    assert_int_equal(imp_graph_write(g, x, picture), IMP_OK);
    imp_graph_forward(g);
    *count = imp_plain_count(imp_graph_shape(g, y));
    float *map = malloc(*count * sizeof *map);
    assert_int_equal(imp_graph_read(g, y, map), IMP_OK);
    imp_graph_free(g);
    return map;
}

/* The one channel that is not picked. */
static size_t went(const imp_picks *p) {
    size_t k = 0;
    assert_int_equal(p->n + 1, p->of);
    while (k < p->n && (size_t)p->values[2 * k] == k) k++;
    return k;
}

static void nothing_is_lost_that_others_tell(void **state) {
    (void)state;
    imp_model *start = teacher_as_start(), *model;
    imp_features_options o = pruned(start, fewer, 1);
    imp_features *job = make_job(ctx, &o);
    assert_int_equal(imp_features_model(job, &model), IMP_OK);
    for (size_t i = 0; i < TWINS; i++) {
        size_t gone = went(&job->picks[same[i].layer + 1]);
        if (gone != same[i].channels[0] && gone != same[i].channels[1] &&
            gone != same[i].channels[2])
            fail_msg("layer %zu: channel %zu went", same[i].layer, gone);
    }
    size_t n, n_found;
    float *whole = last_map(teacher, &n), *found = last_map(model, &n_found);
    assert_int_equal(n_found, n);
    double errors = 0, squares = 0;
    for (size_t k = 0; k < n; k++) {
        errors += pow((double)(whole[k] - found[k]), 2);
        squares += pow((double)whole[k], 2);
    }
    print_message("squared error %g of %g\n", errors, squares);
    assert_true(errors < 1e-6 * squares);
    for (size_t i = 0; i < 13; i++) assert_int_equal(job->picks[i + 1].n, fewer[i]);
    assert_string_equal(model->tensors[22].name, "factor4_4.weight");
    assert_int_equal(model->tensors[22].shape.n, 31);
    assert_int_equal(model->tensors[24].shape.n, 31);
    free(whole);
    free(found);
    imp_model_free(model);
    imp_features_free(job);
    imp_model_free(start);
}

/* What cannot be told is guessed: better than without. */
static void a_guess_is_nearer_than_nothing(void **state) {
    (void)state;
    size_t half[13];
    imp_model *start = teacher_as_start(), *model;
    imp_features_options o = pruned(start, half, 1);
    for (size_t i = 0; i < 13; i++) half[i] = i == 10 ? 8 : all[i]; /* conv4_3 */
    imp_features *job = make_job(ctx, &o);
    assert_int_equal(imp_features_model(job, &model), IMP_OK);
    double errors[2] = {0, 0};
    for (size_t without = 0; without < 2; without++) {
        size_t n;
        float *whole = last_map(teacher, &n), *found = last_map(model, &n);
        for (size_t i = 0; i < n; i++)
            errors[without] += pow((double)(whole[i] - found[i]), 2);
        free(whole);
        free(found);
        const imp_tensor *from = &start->tensors[22];
        imp_tensor *to = &model->tensors[22]; /* factor4_4, of what is left as it was */
        for (size_t k = 0; k < imp_plain_count(to->shape); k++) {
            size_t row = k / 9 / 8, h = k % 9 / 3, w = k % 3;
            size_t c = (size_t)job->picks[11].values[2 * (k / 9 % 8)];
            to->blocked[imp_weight_offset(&to->shape, row, k / 9 % 8, h, w)] =
                from->blocked[imp_weight_offset(&from->shape, row, c, h, w)];
        }
    }
    print_message("squared error %g, without the guess %g\n", errors[0], errors[1]);
    assert_true(errors[0] < 0.5 * errors[1]);
    imp_model_free(model);
    imp_features_free(job);
    imp_model_free(start);
}

/* The same bits after a stop: the checkpoint knows the start that was asked for. */
static void goes_on(void **state) {
    (void)state;
    imp_photos photos = photos_of(&shown);
    imp_model *start = teacher_as_start(), *models[2];
    imp_features_options o = pruned(start, fewer, 3);
    o.rate = 1e-4;
    imp_features *job = make_job(ctx, &o);
    steps(ctx, job, 1);
    assert_int_equal(imp_features_checkpoint(job, in_folder("one"), false), IMP_OK);
    for (size_t i = 0; i < 2; i++) {
        if (i)
            assert_int_equal(
                imp_features_resume(ctx, &job, teacher, &photos, &o, in_folder("one")),
                IMP_OK);
        steps(ctx, job, 2);
        assert_int_equal(imp_features_model(job, &models[i]), IMP_OK);
        imp_features_free(job);
    }
    for (size_t t = 0; t < models[0]->n_tensors; t++)
        assert_memory_equal(models[0]->tensors[t].blocked,
            models[1]->tensors[t].blocked,
            imp_blocked_count(models[0]->tensors[t].shape) * sizeof(float));
    imp_model_free(models[0]);
    imp_model_free(models[1]);
    imp_model_free(start);
}

static void expect_refused(const imp_features_options *o, const char *text) {
    imp_features *job;
    imp_photos photos = photos_of(&shown);
    size_t bytes;
    assert_failed(imp_features_new(ctx, &job, teacher, &photos, o), IMP_ERR_ARG, text);
    assert_null(job);
    assert_failed(imp_features_estimate(ctx, teacher, o, &bytes), IMP_ERR_ARG, text);
}

/* More channels than the start has, or fewer than a rank of it; where the rank is given as well,
 * the start is pruned and split anew. */
static void channels_and_ranks(void **state) {
    (void)state;
    size_t narrow[13], ranks[13] = {[11] = 10}, bytes, fewer_bytes;
    imp_features_options o = quick(1);
    imp_model *start = teacher_as_start();
    o.alone = 0;
    o.start = start;
    assert_int_equal(imp_features_estimate(ctx, teacher, &o, &bytes), IMP_OK);
    for (size_t i = 0; i < 13; i++) narrow[i] = all[i] / 2;
    o.channels = narrow;
    o.n_channels = 13;
    expect_refused(&o, "ranks: relu4_4: expected 0 to 16, found 31");
    o.ranks = ranks;
    o.n_ranks = 13;
    assert_int_equal(imp_features_estimate(ctx, teacher, &o, &fewer_bytes), IMP_OK);
    assert_true(fewer_bytes < bytes);
    imp_features *job = make_job(ctx, &o);
    imp_model *smaller = from_file(job);
    assert_int_equal(smaller->tensors[22].shape.n, 10); /* factor4_4 */
    assert_int_equal(smaller->tensors[24].shape.n, 16);
    imp_features_free(job);
    o.start = smaller;
    o.channels = all;
    expect_refused(&o, "channels: relu1_1: expected 1 to 2, found 4");
    imp_model_free(smaller);
    imp_model_free(start);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_that_others_tell),
        cmocka_unit_test(a_guess_is_nearer_than_nothing),
        cmocka_unit_test(goes_on),
        cmocka_unit_test(channels_and_ranks),
    };
    return cmocka_run_group_tests(tests, prune_setup, distil_teardown);
}
