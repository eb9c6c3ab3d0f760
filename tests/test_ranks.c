/* SPDX-License-Identifier: MIT
 *
 * Students some of whose convolutions are of low rank: two layers, a kernel to few numbers and
 * one of 1 x 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "files.h"
#include "model_files.h"

#include "distil.h"

/* Where the student is the teacher, with two factors of full rank, its kernel and the identity,
 * nothing is lost. */
static void teacher_through_factors(void **state) {
    (void)state;
    static const size_t all[13] = {4, 4, 8, 8, 16, 16, 16, 16, 32, 32, 32, 32, 32};
    static const size_t ranks[13] = {0, 4, 0, 0, 16, 0, 0, 0, 0, 0, 32, 32, 32};
    imp_features_options o = quick(1);
    o.channels = all;
    o.n_channels = 13;
    o.ranks = ranks;
    o.n_ranks = 13;
    for (int whole = 0; whole < 2; whole++) {
        o.alone = !whole;
        imp_features *job = make_job(ctx, &o);
        imp_model *model;
        for (size_t i = 0, t = 0; i < 13; i++) {
            const imp_tensor *from = &teacher->tensors[2 * i];
            const float *v = job->picks[i].values, *u = job->picks[i + 1].values;
            imp_tensor *to = &job->student->tensors[t];
            t += ranks[i] ? 4 : 2;
            imp_tensor *bias = &job->student->tensors[t - 1];
            for (size_t c = 0; c < all[i]; c++)
                bias->blocked[c] = from[1].blocked[c] * u[2 * c + 1];
            for (size_t k = 0; k < imp_plain_count(from->shape); k++) {
                size_t r = k % 9, c = k / 9 % from->shape.c, n = k / 9 / from->shape.c;
                size_t at = imp_weight_offset(&from->shape, n, c, r / 3, r % 3);
                to->blocked[at] =
                    from->blocked[at] / v[2 * c + 1] * (ranks[i] ? 1 : u[2 * n + 1]);
            }
            for (size_t k = 0; k < all[i] * all[i] && ranks[i]; k++)
                to[2].blocked[imp_weight_offset(&to[2].shape, k / all[i], k % all[i], 0,
                    0)] = k / all[i] == k % all[i] ? u[2 * (k % all[i]) + 1] : 0;
        }
        imp_features_progress p = steps(ctx, job, 1);
        if (!(p.loss < 1e-8)) fail_msg("whole %d: a loss of %g", whole, p.loss);
        assert_int_equal(imp_features_model(job, &model), IMP_OK);
        assert_string_equal(model->tensors[2].name, "factor1_2.weight");
        assert_int_equal(model->tensors[2].shape.h, 3);
        assert_string_equal(model->tensors[4].name, "conv1_2.weight");
        assert_int_equal(model->tensors[4].shape.h, 1);
        imp_model_free(model);
        imp_features_free(job);
    }
}

/* A teacher may have factors itself. */
static void teacher_of_low_rank(void **state) {
    (void)state;
    static const size_t widths[13] = {3, 2, 4, 3, 6, 4, 4, 4, 8, 8, 8, 8, 18};
    static const size_t ranks[13] = {[1] = 2, [3] = 2, [12] = 3};
    imp_features *job, *again;
    imp_photos photos = photos_of(&shown);
    imp_features_options o = quick(2);
    o.width = 0.5;
    imp_model *m = make_model((imp_model_options){.architecture = "vgg19",
        .channels = widths,
        .n_channels = 13,
        .ranks = ranks,
        .seed = 2});
    assert_int_equal(imp_features_new(ctx, &job, m, &photos, &o), IMP_OK);
    steps(ctx, job, 1);
    for (size_t i = 0; i < 13; i++) assert_int_equal(job->picks[i + 1].of, widths[i]);
    assert_int_equal(job->student->tensors[24].shape.n, 9);
    assert_int_equal(
        imp_features_checkpoint(job, in_folder("low rank"), false), IMP_OK);
    assert_int_equal(
        imp_features_resume(ctx, &again, m, &photos, &o, in_folder("low rank")),
        IMP_OK);
    imp_features_free(again);
    m->tensors[m->n_tensors - 1].blocked[0] +=
        1; /* the last bias is of the teacher too */
    assert_failed(
        imp_features_resume(ctx, &again, m, &photos, &o, in_folder("low rank")),
        IMP_ERR_MODEL, "metadata teacher");
    imp_features_free(job);
    imp_model_free(m);
}

static double weight(const imp_tensor *t, size_t o, size_t i, size_t h, size_t w) {
    return (double)t->blocked[imp_weight_offset(&t->shape, o, i, h, w)];
}

/* The network that a job of such widths and ranks (NULL: none) begins with, from its file. */
static imp_model *start_of(const size_t *widths, const size_t *ranks) {
    imp_features_options o = quick(1);
    o.channels = widths;
    o.n_channels = 13;
    o.ranks = ranks;
    o.n_ranks = ranks ? 13 : 0;
    imp_features *job = make_job(ctx, &o);
    imp_model *start = from_file(job);
    imp_features_free(job);
    return start;
}

/* What a job makes of a start before its first step. */
static imp_model *with_ranks(const imp_model *start, const size_t *ranks) {
    imp_features_options o = quick(1);
    imp_model *model;
    o.start = start;
    o.alone = 0;
    o.ranks = ranks;
    o.n_ranks = 13;
    imp_features *job = make_job(ctx, &o);
    assert_int_equal(imp_features_model(job, &model), IMP_OK);
    imp_features_free(job);
    return model;
}

/* A start's convolution of one layer becomes two: of as many numbers as channels, the same one;
 * of fewer, the same where its kernel has no higher rank; else the nearest. */
static void splits_a_start(void **state) {
    (void)state;
    static const size_t widths[13] = {3, 2, 4, 3, 6, 4, 4, 4, 8, 8, 8, 8, 18};
    static const size_t before[13] = {[3] = 2},
                        ranks[13] = {[3] = 2, [4] = 6, [12] = 3};
    imp_model *start = start_of(widths, before);
    imp_tensor *conv5_1 = &start->tensors[26];
    const imp_shape *shape = &conv5_1->shape;
    assert_string_equal(conv5_1->name, "conv5_1.weight");
    for (size_t n = 3; n < 18; n++) /* mixtures of the first three */
        for (size_t k = 0; k < 8 * 9; k++) {
            double sum = 0;
            for (size_t i = 0; i < 3; i++)
                sum += sin((double)(n + 2 * i)) *
                       weight(conv5_1, i, k / 9, k % 9 / 3, k % 3);
            size_t at = imp_weight_offset(shape, n, k / 9, k % 9 / 3, k % 3);
            conv5_1->blocked[at] = (float)sum;
        }
    imp_model *model = with_ranks(start, ranks);
    assert_int_equal(model->n_tensors, start->n_tensors + 4);
    for (size_t i = 0, t = 0; i < start->n_tensors; i += 2, t += 2) {
        const imp_tensor *a = &start->tensors[i], *b = &model->tensors[t];
        bool split = i == 10 || i == 26; /* conv3_1, conv5_1 */
        const imp_tensor *second = split ? b + 2 : b;
        t += split ? 2 : 0;
        for (size_t k = 0; k < imp_plain_count(a->shape); k++) {
            size_t area = a->shape.h * a->shape.w, p = k % area;
            size_t c = k / area % a->shape.c, n = k / area / a->shape.c;
            size_t r = p / a->shape.w, q = p % a->shape.w;
            double w = 0;
            for (size_t m = 0; m < b->shape.n && split; m++)
                w += weight(second, n, m, 0, 0) * weight(b, m, c, r, q);
            if (!split) w = weight(b, n, c, r, q);
            double expected = weight(a, n, c, r, q);
            if (!(fabs(w - expected) <= 2e-5 * (1 + fabs(expected))))
                fail_msg("%s: %g for %g", a->name, w, expected);
        }
        for (size_t k = 0; k < a[1].shape.c; k++)
            assert_true(fabsf(a[1].blocked[k] - second[1].blocked[k]) <= 1e-6f);
    }
    imp_model_free(model);
    imp_model_free(start);
}

/* Of rank 1 is left what answers most, whichever channel that is. */
static void split_keeps_the_strongest(void **state) {
    (void)state;
    static const size_t widths[13] = {3, 2, 4, 3, 6, 4, 4, 4, 8, 8, 8, 5, 8};
    static const size_t ranks[13] = {[11] = 1};
    for (size_t strong = 0; strong < 5; strong++) {
        imp_model *start = start_of(widths, NULL);
        imp_tensor *conv4_4 = &start->tensors[22];
        for (size_t k = 0; k < 8 * 9; k++)
            conv4_4->blocked[imp_weight_offset(
                &conv4_4->shape, strong, k / 9, k % 9 / 3, k % 3)] *= 1000;
        imp_model *model = with_ranks(start, ranks);
        for (size_t k = 0; k < 8 * 9; k++) {
            size_t c = k / 9, h = k % 9 / 3, w = k % 3;
            double product = weight(&model->tensors[24], strong, 0, 0, 0) *
                             weight(&model->tensors[22], 0, c, h, w);
            double expected = weight(conv4_4, strong, c, h, w);
            assert_true(fabs(product - expected) <= 1e-2 * (1 + fabs(expected)));
        }
        imp_model_free(model);
        imp_model_free(start);
    }
}

/* A start of rank 2 is given rank 4, which changes nothing, or 1: the stronger half is left, and the
 * bias between the factors goes to the second's. */
static void another_rank(void **state) {
    (void)state;
    static const size_t widths[13] = {3, 2, 4, 3, 6, 4, 4, 4, 8, 8, 8, 8, 8};
    static const size_t had[13] = {[2] = 2, [12] = 2};
    for (size_t rank = 1; rank <= 4; rank += 3) {
        size_t ranks[13] = {[12] = rank};
        imp_model *start = start_of(widths, had);
        const imp_tensor *a = &start->tensors[start->n_tensors - 4];
        assert_string_equal(a->name, "factor5_1.weight");
        for (size_t k = 0; k < 8 * 9; k++) { /* of the two one is much the weaker */
            size_t at = imp_weight_offset(&a->shape, 1, k / 9, k % 9 / 3, k % 3);
            a->blocked[at] *= 1e-3f;
        }
        a[1].blocked[0] = 0.5f;
        a[1].blocked[1] = -2;
        imp_model *model = with_ranks(start, ranks);
        assert_int_equal(model->n_tensors, start->n_tensors);
        const imp_tensor *b = &model->tensors[model->n_tensors - 4];
        assert_int_equal(b->shape.n, rank);
        assert_int_equal(model->tensors[4].shape.n, 2); /* factor2_1, as it was */
        for (size_t n = 0; n < 8; n++) {
            double bias = (double)a[3].blocked[n] + 0.5 * weight(&a[2], n, 0, 0, 0) -
                          2 * weight(&a[2], n, 1, 0, 0);
            assert_true(fabs((double)b[3].blocked[n] - bias) <= 1e-5);
            for (size_t k = 0; k < 8 * 9; k++) {
                size_t c = k / 9, h = k % 9 / 3, w = k % 3;
                double expected = 0, found = 0;
                for (size_t r = 0; r < 2; r++)
                    expected += weight(&a[2], n, r, 0, 0) * weight(&a[0], r, c, h, w);
                for (size_t r = 0; r < rank; r++)
                    found += weight(&b[2], n, r, 0, 0) * weight(&b[0], r, c, h, w);
                double most = rank == 1 ? 1e-3 : 2e-5;
                if (!(fabs(found - expected) <= most * (1 + fabs(expected))))
                    fail_msg("rank %zu: %g for %g", rank, found, expected);
            }
        }
        imp_model_free(model);
        imp_model_free(start);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(teacher_through_factors),
        cmocka_unit_test(teacher_of_low_rank),
        cmocka_unit_test(splits_a_start),
        cmocka_unit_test(split_keeps_the_strongest),
        cmocka_unit_test(another_rank),
    };
    return cmocka_run_group_tests(tests, distil_setup, distil_teardown);
}
