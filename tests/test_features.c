/* SPDX-License-Identifier: MIT
 *
 * Distilling a teacher's features: which channels, crops, rates, and whole jobs with a narrow
 * teacher of random weights.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "files.h"
#include "model_files.h"

#include "distil.h"

/* --- channels --- */

/* Second moments of channels that are mixtures of independent ones of variance 1. */
static void mix_moments(size_t C, size_t sources, const double *mixture, double *m) {
    for (size_t i = 0; i < C; i++)
        for (size_t j = 0; j < C; j++) {
            m[i * C + j] = 0;
            for (size_t s = 0; s < sources; s++)
                m[i * C + j] += mixture[i * sources + s] * mixture[j * sources + s];
        }
}

static void telling_channels(void **state) {
    (void)state;
    enum { C = 6 };
    /* 0 is silent, 1 and 3 are one source, 2 and 5 another, 4 both together */
    static const double mixture[C * 2] = {0, 0, 5, 0, 0, 0.1, -2, 0, 3, 3, 0, 7};
    double m[C * C], left;
    size_t chosen[C];
    mix_moments(C, 2, mixture, m);
    assert_int_equal(imp_channels_choose(ctx, m, C, 1, chosen, &left), IMP_OK);
    assert_int_equal(chosen[0], 4);  /* which has half of each other one */
    double others = 5 + 0.1 + 2 + 7; /* their rms */
    assert_true(fabs(left - others / 2 / (others + sqrt(18))) < 1e-12);
    assert_int_equal(imp_channels_choose(ctx, m, C, 2, chosen, &left), IMP_OK);
    assert_true(chosen[0] == 4 || chosen[1] == 4); /* and one of four, alike by then */
    assert_true(left < 1e-12);
    /* nothing is left to tell: the first ones, each once */
    assert_int_equal(imp_channels_choose(ctx, m, C, 4, chosen, &left), IMP_OK);
    assert_true(chosen[0] == 0 && chosen[1] == 1);
    assert_true(chosen[2] < chosen[3] && chosen[3] == 4);
    assert_int_equal(imp_channels_choose(ctx, m, C, C, chosen, &left), IMP_OK);
    for (size_t k = 0; k < C; k++) assert_int_equal(chosen[k], k);
}

/* --- rates --- */

static void rates(void **state) {
    (void)state;
    double last = 0;
    assert_true(fabs(imp_rate_at(2, 4, 0, 100) - 0.5) < 1e-3);
    for (size_t i = 0; i < 4; i++) { /* up */
        assert_true(imp_rate_at(2, 4, i, 100) > last);
        last = imp_rate_at(2, 4, i, 100);
    }
    for (size_t i = 4; i <= 100; i++) { /* down */
        assert_true(imp_rate_at(2, 4, i, 100) < last);
        last = imp_rate_at(2, 4, i, 100);
    }
    assert_true(imp_rate_at(2, 0, 0, 100) == 2);
    assert_true(fabs(imp_rate_at(2, 4, 50, 100) - 1) < 1e-12);
    assert_true(imp_rate_at(2, 4, 100, 100) == 0 && imp_rate_at(2, 4, 101, 100) == 0);
}

/* --- crops --- */

#define SIDE  16
#define BATCH 5
#define COUNT (BATCH * 3 * SIDE * SIDE)

static const imp_input_spec spec = {.channels = 3,
    .bgr = true,
    .range = 255,
    .mean = {100, 110, 120},
    .std = {1, 1, 1}};

static void crops_depend_on_seed_and_number(void **state) {
    (void)state;
    static album a = {.broken = PHOTOS};
    static float first[COUNT], other[COUNT];
    imp_photos photos = photos_of(&a);
    imp_crops crops = {&photos, &spec, SIDE, BATCH, 0.45, 7}, reseeded = crops;
    reseeded.seed = 8;
    assert_int_equal(imp_crops_batch(ctx, &crops, IMP_LEARNT, 3, first), IMP_OK);
    assert_int_equal(imp_crops_batch(ctx, &crops, IMP_LEARNT, 3, other), IMP_OK);
    assert_memory_equal(first, other, sizeof first);
    assert_int_equal(imp_crops_batch(ctx, &crops, IMP_LEARNT, 4, other), IMP_OK);
    assert_true(memcmp(first, other, sizeof first));
    assert_int_equal(imp_crops_batch(ctx, &crops, IMP_SURVEYED, 3, other), IMP_OK);
    assert_true(memcmp(first, other, sizeof first));
    assert_int_equal(imp_crops_batch(ctx, &reseeded, IMP_LEARNT, 3, other), IMP_OK);
    assert_true(memcmp(first, other, sizeof first));
}

/* Each picture but those held out is met, and of those none; and the other way round. */
static void held_out_is_apart(void **state) {
    (void)state;
    static float x[COUNT];
    for (int held_out = 0; held_out < 2; held_out++) {
        static album a;
        a = (album){.broken = PHOTOS, .plain = true};
        imp_photos photos = photos_of(&a);
        imp_crops crops = {&photos, &spec, SIDE, BATCH, 0.45, 7};
        for (size_t b = 0; b < 100; b++)
            assert_int_equal(imp_crops_batch(ctx, &crops,
                                 held_out ? IMP_HELD_OUT : IMP_LEARNT, b, x),
                IMP_OK);
        for (size_t i = 0; i < PHOTOS; i++)
            assert_true((a.read[i] > 0) == ((i % 20 == 0) == (held_out == 1)));
    }
}

/* Of plain pictures, an unchanged crop is plain, whatever its scale: 55 % of them; and a mixture
 * and other colours are too. All stay in -20..275, in the network's order and range. */
static void crops_are_in_range(void **state) {
    (void)state;
    static album a = {.broken = PHOTOS, .plain = true};
    static float x[COUNT];
    imp_photos photos = photos_of(&a);
    imp_crops crops = {&photos, &spec, SIDE, BATCH, 0.45, 7};
    size_t plain = 0, unchanged = 0, pixels = SIDE * SIDE;
    for (size_t b = 0; b < 100; b++) {
        assert_int_equal(imp_crops_batch(ctx, &crops, IMP_LEARNT, b, x), IMP_OK);
        for (size_t i = 0; i < BATCH; i++) {
            const float *crop = x + i * 3 * pixels;
            bool same = true;
            for (size_t c = 0; c < 3; c++)
                for (size_t p = 0; p < pixels; p++) {
                    float v = crop[c * pixels + p] + spec.mean[c];
                    assert_true(v >= -20.001f && v <= 275.001f);
                    same &= fabsf(crop[c * pixels + p] - crop[c * pixels]) < 1e-3f;
                }
            float blue = crop[0] + 100, red = crop[2 * pixels] + 120;
            plain += same;
            unchanged += same && fabsf(blue - red - 2) < 1e-3f &&
                         fabsf(blue - roundf(blue)) < 1e-3f;
        }
    }
    print_message("%zu of 500 plain, %zu unchanged\n", plain, unchanged);
    assert_in_range(plain, 400, 450);     /* 85 % expected, deviation 8 */
    assert_in_range(unchanged, 240, 310); /* 55 %, deviation 11 */
}

static void unreadable_picture(void **state) {
    (void)state;
    static album a = {.broken = 20};
    static float x[COUNT];
    imp_photos photos = photos_of(&a);
    imp_crops crops = {&photos, &spec, SIDE, BATCH, 0.45, 7};
    imp_status s = IMP_OK;
    for (size_t b = 0; b < 20 && !s; b++)
        s = imp_crops_batch(ctx, &crops, IMP_HELD_OUT, b, x);
    assert_failed(s, IMP_ERR_DATA, "picture 20: cannot be read");
}

/* --- jobs --- */

static imp_features *resume_job(const imp_features_options *o, const char *path) {
    imp_features *job;
    imp_photos photos = photos_of(&shown);
    if (imp_features_resume(ctx, &job, teacher, &photos, o, path) != IMP_OK)
        fail_msg("%s", imp_ctx_error(ctx));
    return job;
}

static void learns(void **state) {
    (void)state;
    imp_features_options o = quick(120);
    o.alone = 0.5;
    o.rate = 6e-3;
    imp_features *job = make_job(ctx, &o);
    imp_features_progress p = steps(ctx, job, 60);
    assert_true(!p.whole && p.step == 60 && p.point && p.norm > 0);
    p = steps(ctx, job, 60);
    assert_true(p.whole && p.step == 120 && p.point);
    size_t n, from;
    const imp_features_point *at = imp_features_curve(job, &n, &from);
    assert_true(n == 60 && from == 60 && imp_features_done(job) == 120);
    for (size_t i = 0; i < n; i++) assert_int_equal(at[i].step, 2 * (i + 1));
    print_message("held out: alone %.3f to %.3f, end to end %.3f to %.3f\n",
        (double)at[0].held_out, (double)at[29].held_out, (double)at[30].held_out,
        (double)at[59].held_out);
    assert_true(at[29].held_out < 0.7f * at[0].held_out);
    assert_true(at[59].held_out < 0.9f * at[30].held_out);
    assert_failed(imp_features_step(job, &p), IMP_ERR_ARG, "all 120 steps");
    imp_features_free(job);
}

/* Where the student is the teacher, whole and in units, nothing is lost, in either part; and
 * the model is the teacher again. */
static void teacher_is_its_own_best_student(void **state) {
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        imp_features_options o = quick(1);
        o.width = 1;
        o.alone = !whole;
        imp_features *job = make_job(ctx, &o);
        imp_model *model;
        for (size_t t = 0; t < job->student->n_tensors; t++)
            memcpy(job->student->tensors[t].blocked, teacher->tensors[t].blocked,
                imp_blocked_count(teacher->tensors[t].shape) * sizeof(float));
        assert_int_equal(imp_features_model(job, &model), IMP_OK);
        for (size_t t = 0; t < model->n_tensors;
             t++) { /* the way back: w w / (w u/v) */
            size_t count = imp_blocked_count(model->tensors[t].shape);
            float *w = job->student->tensors[t].blocked;
            const float *scaled = model->tensors[t].blocked;
            for (size_t i = 0; i < count; i++)
                if (scaled[i] != 0) w[i] *= w[i] / scaled[i];
        }
        imp_model_free(model);
        assert_int_equal(imp_features_model(job, &model), IMP_OK);
        for (size_t t = 0; t < model->n_tensors; t++)
            for (size_t i = 0; i < imp_blocked_count(model->tensors[t].shape); i++) {
                float w = teacher->tensors[t].blocked[i];
                assert_true(
                    fabsf(model->tensors[t].blocked[i] - w) <= 1e-6f * fabsf(w));
            }
        imp_features_progress p = steps(ctx, job, 1);
        if (!(p.loss < 1e-8)) fail_msg("whole %d: a loss of %g", whole, p.loss);
        imp_model_free(model);
        imp_features_free(job);
    }
}

static void model_is_an_ordinary_one(void **state) {
    (void)state;
    imp_features_options o = quick(2);
    imp_features *job = make_job(ctx, &o);
    imp_model *model;
    steps(ctx, job, 2);
    assert_int_equal(imp_features_model(job, &model), IMP_OK);
    const char *path = in_folder("model");
    assert_int_equal(imp_model_save(ctx, model, path, NULL), IMP_OK);
    imp_model *loaded = load_model(path);
    assert_same_tensors(model, loaded);
    imp_model_info info = imp_model_describe(loaded);
    assert_true(info.listed && !info.random && info.input.bgr);
    assert_int_equal(loaded->n_tensors, 26);
    assert_int_equal(loaded->tensors[0].shape.n, teacher->tensors[0].shape.n);
    assert_int_equal(loaded->tensors[2].shape.n, teacher->tensors[2].shape.n / 2);
    assert_int_equal(loaded->tensors[24].shape.n, teacher->tensors[24].shape.n / 4);
    assert_string_equal(imp_model_layer(loaded, 12), "relu5_1");
    assert_null(imp_model_layer(loaded, 13));
    imp_model_free(loaded);
    imp_model_free(model);
    imp_features_free(job);
}

/* The checkpoint of job as bytes; it holds all that the model is made from. */
static imp_file saved(const imp_features *job, const char *name) {
    const char *path = in_folder(name);
    imp_file f;
    assert_int_equal(imp_features_checkpoint(job, path, true), IMP_OK);
    assert_int_equal(imp_file_open(ctx, &f, path, IMP_ERR_MODEL), IMP_OK);
    return f;
}

static void threads_change_no_bit(void **state) {
    (void)state;
    imp_ctx *many;
    imp_ctx_options threads = {.threads = 3};
    imp_features_options o = quick(6);
    assert_int_equal(imp_ctx_new(&many, &threads), IMP_OK);
    imp_features *one = make_job(ctx, &o), *three = make_job(many, &o);
    steps(ctx, one, 6);
    steps(many, three, 6);
    imp_file a = saved(one, "one"), b = saved(three, "three");
    assert_true(a.size == b.size && !memcmp(a.data, b.data, a.size));
    imp_file_close(&a);
    imp_file_close(&b);
    imp_features_free(one);
    imp_features_free(three);
    imp_ctx_free(many);
}

/* Six steps, of which two alone, with a stop after any of them: the same bits. */
static void expect_resumed(imp_optimizer optimizer) {
    imp_features_options o = quick(6);
    o.optimizer = optimizer;
    static const size_t widths[13] = {2, 2, 3, 3, 4, 4, 4, 4, 8, 8, 8, 8, 8};
    static const size_t ranks[13] = {0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 6};
    o.channels = widths;
    o.n_channels = 13;
    o.ranks = ranks;
    o.n_ranks = 13;
    o.decay = 0.01;
    o.clip = 0.5;
    imp_features *job = make_job(ctx, &o);
    steps(ctx, job, 6);
    imp_file whole = saved(job, "whole");
    imp_features_free(job);
    for (size_t stop = 0; stop <= 6; stop++) {
        job = make_job(ctx, &o);
        steps(ctx, job, stop);
        imp_file half = saved(job, "half");
        imp_file_close(&half);
        imp_features_free(job);
        job = resume_job(&o, in_folder("half"));
        assert_int_equal(imp_features_done(job), stop);
        steps(ctx, job, 6 - stop);
        imp_file again = saved(job, "again");
        assert_int_equal(again.size, whole.size);
        if (memcmp(again.data, whole.data, whole.size))
            fail_msg("other bits after a stop at step %zu", stop);
        imp_file_close(&again);
        imp_features_free(job);
    }
    imp_file_close(&whole);
}

static void resumes(void **state) {
    (void)state;
    expect_resumed(IMP_ADAM);
    expect_resumed(IMP_MUON);
}

/* A job that starts from another's network has its channels and, but for rounding in the change
 * of units, its weights and its loss. */
static void goes_on_from_a_network(void **state) {
    (void)state;
    static const size_t widths[13] = {3, 2, 4, 3, 6, 4, 4, 4, 12, 11, 10, 9, 8};
    static const size_t ranks[13] = {0, 2, 0, 0, 0, 0, 4, 0, 0, 0, 0, 3, 8};
    imp_features_options o = quick(12), more = quick(1);
    o.channels = widths;
    o.n_channels = 13;
    o.ranks = ranks;
    o.n_ranks = 13;
    imp_features *job = make_job(ctx, &o);
    steps(ctx, job, 11);
    imp_model *start = from_file(job);
    more.start = start;
    more.alone = 0;
    imp_features *next = make_job(ctx, &more);
    for (size_t i = 0; i <= 13; i++) {
        assert_int_equal(next->picks[i].n, i ? widths[i - 1] : 3);
        assert_memory_equal(job->picks[i].values, next->picks[i].values,
            2 * next->picks[i].n * sizeof(float));
    }
    assert_int_equal(start->n_tensors, 34);
    for (size_t t = 0; t < start->n_tensors; t++) {
        const imp_tensor *a = &job->student->tensors[t],
                         *b = &next->student->tensors[t];
        assert_int_equal(imp_plain_count(a->shape), imp_plain_count(b->shape));
        for (size_t i = 0; i < imp_blocked_count(a->shape); i++)
            assert_true(
                fabsf(a->blocked[i] - b->blocked[i]) <= 1e-6f * fabsf(a->blocked[i]));
    }
    imp_features_free(next);
    imp_features_free(job);
    imp_model_free(start);
}

/* --- what is refused --- */

static void bad_options(void **state) {
    (void)state;
    imp_photos photos = photos_of(&shown), one = {1, read_photo, &shown};
    imp_features *job;
    imp_features_options good = quick(6), bad[17];
    for (size_t i = 0; i < 17; i++) bad[i] = good;
    bad[0].width = 0, bad[1].width = 1.5, bad[2].width = (double)NAN;
    bad[3].crop = 0, bad[4].crop = 40, bad[5].crop = 1040, bad[6].batch = 0;
    bad[7].steps = 0, bad[8].alone = -0.1, bad[9].alone = 1.1, bad[10].rate = 0;
    bad[11].rate = (double)INFINITY, bad[12].clip = 0, bad[13].decay = -1;
    bad[14].augment = -0.1, bad[15].augment = 1.1;
    bad[16].optimizer = IMP_SGD;
    for (size_t i = 0; i < 17; i++) {
        assert_failed(imp_features_new(ctx, &job, teacher, &photos, &bad[i]),
            IMP_ERR_ARG, "expected");
        assert_null(job);
    }
    assert_failed(imp_features_new(ctx, &job, teacher, &one, &good), IMP_ERR_DATA,
        "at least 2, found 1");
    imp_model *lenet = make_model((imp_model_options){.architecture = "lenet"});
    assert_failed(imp_features_new(ctx, &job, lenet, &photos, &good), IMP_ERR_MODEL,
        "relu5_1, found lenet");
    imp_model *flat = make_model(
        (imp_model_options){.architecture = "vgg19", .divisor = 16, .last = "relu4_4"});
    assert_failed(
        imp_features_new(ctx, &job, flat, &photos, &good), IMP_ERR_MODEL, "without it");
    static album broken = {.broken = 5};
    imp_photos unread = photos_of(&broken);
    assert_failed(imp_features_new(ctx, &job, teacher, &unread, &good), IMP_ERR_DATA,
        "picture 5");
    assert_null(job);
    imp_features_free(NULL);
    imp_model_free(lenet);
    imp_model_free(flat);
}

static void expect_bad(
    const imp_features_options *o, imp_status status, const char *text) {
    imp_features *job;
    imp_photos photos = photos_of(&shown);
    assert_failed(imp_features_new(ctx, &job, teacher, &photos, o), status, text);
    assert_null(job);
}

static void bad_widths_and_starts(void **state) {
    (void)state;
    size_t widths[13] = {4, 4, 8, 8, 16, 16, 16, 16, 32, 32, 32, 32, 33};
    imp_features_options o = quick(2);
    o.channels = widths;
    o.n_channels = 12;
    expect_bad(&o, IMP_ERR_ARG, "channels: expected 13");
    o.n_channels = 13;
    expect_bad(&o, IMP_ERR_ARG, "relu5_1: expected 1 to 32, found 33");
    widths[12] = 0;
    expect_bad(&o, IMP_ERR_ARG, "relu5_1: expected 1 to 32, found 0");
    size_t ranks[13] = {[12] = 9};
    widths[12] = 8;
    o.ranks = ranks;
    o.n_ranks = 12;
    expect_bad(&o, IMP_ERR_ARG, "ranks: expected 13, one a convolution");
    o.n_ranks = 13;
    expect_bad(&o, IMP_ERR_ARG, "ranks: relu5_1: expected 0 to 8, found 9");
    o.n_ranks = 0;
    o.n_channels = 0;
    o.start = teacher;
    expect_bad(
        &o, IMP_ERR_MODEL, "teacher.channels: expected rising channels of relu1_1");
    imp_model *m = make_model((imp_model_options){.architecture = "lenet"});
    o.start = m;
    expect_bad(
        &o, IMP_ERR_MODEL, "a vgg19 of 13 convolutions alone, found a lenet of 2");
    imp_model_free(m);
    o.start = NULL;
    imp_features *job = make_job(ctx, &o);
    imp_model *start = from_file(job);
    o.start = start;
    o.n_channels = 13;
    expect_bad(&o, IMP_ERR_ARG, "channels: relu1_2: expected 1 to 2, found 4");
    o.n_channels = 0;
    start->taught[0] = '9'; /* not a channel of four */
    expect_bad(&o, IMP_ERR_MODEL, "rising channels of relu1_1, found others");
    start->info.input.bgr = false;
    expect_bad(&o, IMP_ERR_MODEL, "another order or range");
    imp_model_free(start);
    imp_features_free(job);
}

static void diverges(void **state) {
    (void)state;
    imp_features_options o = quick(50);
    o.rate = 1e30;
    imp_features *job = make_job(ctx, &o);
    imp_features_progress p;
    imp_status s = IMP_OK;
    for (size_t i = 0; i < 50 && !s; i++) s = imp_features_step(job, &p);
    assert_failed(s, IMP_ERR_NUMERIC, "not finite");
    imp_features_free(job);
}

static void expect_refused(
    const imp_features_options *o, const imp_model *m, const char *text) {
    imp_features *job;
    imp_photos photos = photos_of(&shown);
    assert_failed(imp_features_resume(ctx, &job, m, &photos, o, in_folder("state")),
        IMP_ERR_MODEL, text);
    assert_null(job);
}

static void bad_checkpoints(void **state) {
    (void)state;
    imp_features_options o = quick(6), other = o;
    imp_features *job = make_job(ctx, &o);
    steps(ctx, job, 3);
    assert_int_equal(imp_features_checkpoint(job, in_folder("state"), false), IMP_OK);
    assert_failed(
        imp_features_checkpoint(job, in_folder("state"), false), IMP_ERR_FILE, "state");
    other.seed = 2;
    expect_refused(&other, teacher, "metadata seed: expected 2, found 1");
    other = o, other.batch = 3;
    expect_refused(&other, teacher, "metadata batch: expected 3, found 2");
    static const size_t widths[13] = {4, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8};
    static const size_t ranks[13] = {[12] = 5};
    other = o, other.channels = widths, other.n_channels = 13, other.ranks = ranks,
    other.n_ranks = 13;
    expect_refused(
        &other, teacher, "metadata ranks: expected 0,0,0,0,0,0,0,0,0,0,0,0,5");
    other = o, other.optimizer = IMP_MUON;
    expect_refused(&other, teacher, "metadata optimizer: expected muon, found adam");
    other = o, other.rate = 0.25;
    expect_refused(&other, teacher, "metadata rate: expected 0.25, found 0.0015");
    imp_model *m = make_model((imp_model_options){
        .architecture = "vgg19", .divisor = 16, .last = "relu5_1", .seed = 3});
    expect_refused(&o, m, "metadata teacher");
    imp_model_free(m);
    job->picks[4].values[0] = 1e6f; /* what the job itself would never write */
    assert_int_equal(imp_features_checkpoint(job, in_folder("state"), true), IMP_OK);
    expect_refused(&o, teacher, "tensor relu2_2.picks: row 0: expected a channel");
    imp_features_free(job);
    assert_int_equal(imp_model_save(ctx, teacher, in_folder("state"),
                         &(imp_save_options){.overwrite = true}),
        IMP_OK);
    expect_refused(&o, teacher, "metadata checkpoint: expected impasto features 1");
    make_file("state", "no", 2);
    expect_refused(&o, teacher, "state");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(telling_channels),
        cmocka_unit_test(rates),
        cmocka_unit_test(crops_depend_on_seed_and_number),
        cmocka_unit_test(held_out_is_apart),
        cmocka_unit_test(crops_are_in_range),
        cmocka_unit_test(unreadable_picture),
        cmocka_unit_test(learns),
        cmocka_unit_test(teacher_is_its_own_best_student),
        cmocka_unit_test(model_is_an_ordinary_one),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(resumes),
        cmocka_unit_test(goes_on_from_a_network),
        cmocka_unit_test(bad_options),
        cmocka_unit_test(bad_widths_and_starts),
        cmocka_unit_test(diverges),
        cmocka_unit_test(bad_checkpoints),
    };
    return cmocka_run_group_tests(tests, distil_setup, distil_teardown);
}
