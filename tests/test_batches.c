/* SPDX-License-Identifier: MIT
 *
 * Batches of pictures: which are held out, views, rows of features, data sets of one's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "album.h"

/* --- which are held out --- */

/* A share of each class, rounded, never all of it. */
static void a_share_is_held_out(void **state) {
    (void)state;
    static const size_t counts[CLASSES] = {1, 2, 11}, held[] = {0, 1, 6};
    static uint8_t image[3 * 18 * 18];
    imp_model *m = make_classifier(1);
    imp_dataset *set;
    imp_train_progress p;
    size_t n = 0;
    assert_int_equal(imp_dataset_new(ctx, &set, 14, 3, 18, 18, CLASSES), IMP_OK);
    for (size_t c = 0; c < CLASSES; c++)
        for (size_t k = 0; k < counts[c]; k++)
            assert_int_equal(imp_dataset_put(ctx, set, n++, c, image), IMP_OK);
    imp_train_options o = quick(NULL);
    o.validation = 0.5;
    o.epochs = 1;
    o.batch = 7; /* all the others */
    p = train(ctx, m, set, &o);
    assert_int_equal(p.validation_count, held[0] + held[1] + held[2]);
    o.validation = 0;
    p = train(ctx, m, set, &o);
    assert_true(p.validation_count == 0 && isnan(p.validation_accuracy));
    imp_dataset_free(set);
    imp_model_free(m);
}

/* Which ones the seed says: the loss of a network that hardly moves tells them apart. */
static void the_seed_says_which(void **state) {
    (void)state;
    double losses[3];
    for (size_t k = 0; k < 3; k++) {
        imp_model *m = make_classifier(1);
        imp_dataset *set = make_set(m, 1);
        imp_train_options o = quick("mean");
        o.epochs = 1;
        o.rate = 1e-9;
        o.seed = k < 2 ? 1 : 2;
        for (size_t i = 0; i < 60; i++)
            m->tensors[4].blocked[imp_weight_offset(&m->tensors[4].shape, i / 20,
                i % 20, 0, 0)] = (float)imp_normal(9, i) / 50;
        losses[k] = train(ctx, m, set, &o).validation_loss;
        imp_dataset_free(set);
        imp_model_free(m);
    }
    assert_true(losses[0] == losses[1]);
    assert_true(fabs(losses[0] / losses[2] - 1) > 1e-4);
}

/* --- rows of features --- */

static double rms_of(const imp_bank *bank, size_t c) {
    double squares = 0;
    for (size_t i = 0; i < bank->n; i++)
        squares += pow((double)bank->rows[i * bank->width + c], 2);
    return sqrt(squares / (double)bank->n);
}

static void bank(void **state) {
    (void)state;
    imp_model *m = make_classifier(1);
    imp_dataset *set = make_set(m, 1);
    imp_bank bank, again;
    imp_batch b;
    imp_source source = {.m = m, .set = set, .seed = 1};
    assert_int_equal(imp_bank_new(ctx, &bank, m, COUNT), IMP_OK);
    assert_int_equal(imp_bank_new(ctx, &again, m, COUNT), IMP_OK);
    for (size_t i = 0; i < COUNT; i++)
        bank.samples[i] = again.samples[i] = (imp_sample){i, IMP_PLAIN};
    for (size_t i = 0; i < 9 * 6; i++) /* all but silent */
        m->tensors[2].blocked[imp_weight_offset(
            &m->tensors[2].shape, 5, i / 9, i / 3 % 3, i % 3)] *= 1e-6f;
    assert_int_equal(imp_bank_fill(ctx, &bank, &source, NULL, NULL), IMP_OK);
    assert_true(bank.done == COUNT && bank.width == 20);
    double before[20], most = 0;
    for (size_t c = 0; c < 20; c++) most = fmax(most, before[c] = rms_of(&bank, c));
    assert_true(before[5] < most / 100 && before[6] > most / 100);
    imp_bank_scale(&bank, m, COUNT);
    assert_int_equal(imp_bank_fill(ctx, &again, &source, NULL, NULL), IMP_OK);
    for (size_t c = 0; c < 20; c++) {
        double expected = before[c] < most / 100 ? 100 * before[c] / most : 1;
        assert_true(fabs(rms_of(&bank, c) - expected) < 1e-5);
        for (size_t i = 0; i < COUNT; i++)
            assert_true(fabsf(bank.rows[i * 20 + c] - again.rows[i * 20 + c]) < 1e-5f);
    }
    size_t first[COUNT] = {[3] = 7, [4] = 9}; /* rows 7 and 8 are views of picture 3 */
    source.rows = bank.rows;
    source.width = 20;
    source.views = 2;
    source.first_row = first;
    assert_int_equal(
        imp_batch_new(ctx, &b, &source, 3, &(imp_network_options){.after = "mean"}),
        IMP_OK);
    assert_int_equal(imp_batch_write(ctx, &b, &source,
                         (imp_sample[]){{3, 0}, {3, 5}, {4, IMP_PLAIN}}),
        IMP_OK);
    assert_memory_equal(b.values, bank.rows + 7 * 20, 3 * 20 * sizeof(float));
    imp_batch_free(&b);
    imp_bank_free(&bank);
    imp_bank_free(&again);
    imp_dataset_free(set);
    imp_model_free(m);
}

/* --- views --- */

/* Ramps, each channel at a height of its own, as batches show them: blue first. */
static void views(void **state) {
    (void)state;
    enum { SIZE = 16, SIDE = 18 };
    static uint8_t image[3 * SIDE * SIDE];
    imp_model *m = make_classifier(1);
    imp_dataset *set;
    imp_batch b;
    imp_sample sample[3] = {{0, IMP_PLAIN}, {0, 0}, {0, 1}};
    for (size_t i = 0; i < sizeof image; i++)
        image[i] = (uint8_t)(i % SIDE + 60 * (i / (SIDE * SIDE)));
    assert_int_equal(imp_dataset_new(ctx, &set, 1, 3, SIDE, SIDE, CLASSES), IMP_OK);
    assert_int_equal(imp_dataset_put(ctx, set, 0, 2, image), IMP_OK);
    imp_source source = {.m = m, .set = set, .mirror = true, .seed = 1};
    assert_int_equal(
        imp_batch_new(ctx, &b, &source, 3, &(imp_network_options){0}), IMP_OK);
    assert_int_equal(imp_batch_write(ctx, &b, &source, sample), IMP_OK);
    const float *plain = b.values, *one = plain + b.width, *two = one + b.width;
    bool odd = memcmp(plain, one, b.width * sizeof *plain) != 0;
    for (size_t x = 0; x < SIZE; x++) {
        assert_true(fabsf(plain[x] + 103.939f - (float)(121 + x)) < 1e-4f);
        assert_true((odd ? two : one)[x] == plain[x]);
        assert_true((odd ? one : two)[x] == plain[SIZE - 1 - x]);
    }
    source.shift = 4; /* past the edge: black */
    source.mirror = false;
    float least = 0;
    for (size_t v = 0; v < 20; v++) {
        sample[1].view = v;
        assert_int_equal(imp_batch_write(ctx, &b, &source, sample), IMP_OK);
        for (size_t k = 0; k < SIZE; k++) least = fminf(least, one[k] - plain[k]);
        assert_true(b.classes[1] == 2);
    }
    assert_true(least < -120); /* what comes in is black */
    imp_batch_free(&b);
    imp_dataset_free(set);
    imp_model_free(m);
}

/* --- data sets that cannot be --- */

static void sets_refused(void **state) {
    (void)state;
    imp_model *m = make_classifier(1), *lenet;
    imp_dataset *set;
    album a = {.broken = 7};
    imp_photos photos = {COUNT, read_photo, &a};
    uint8_t image[3] = {0};
    assert_failed(imp_dataset_from_photos(ctx, &set, m, &photos, classes_of),
        IMP_ERR_DATA, "picture 7");
    assert_null(set);
    a.broken = COUNT;
    classes_of[9] = CLASSES;
    assert_failed(imp_dataset_from_photos(ctx, &set, m, &photos, classes_of),
        IMP_ERR_ARG, "number 9 of class 3");
    classes_of[9] = label_of(9);
    lenet = make_model((imp_model_options){.architecture = "lenet"});
    assert_failed(imp_dataset_from_photos(ctx, &set, lenet, &photos, classes_of),
        IMP_ERR_MODEL, "3 channels");
    imp_model_free(lenet);
    imp_model_free(m);
    assert_failed(imp_dataset_new(ctx, &set, 2, 2, 1, 1, 4), IMP_ERR_ARG, "channels");
    assert_failed(imp_dataset_new(ctx, &set, SIZE_MAX / 2, 3, 9, 9, 4), IMP_ERR_LIMIT,
        "too many");
    assert_int_equal(imp_dataset_new(ctx, &set, 2, 3, 1, 1, 4), IMP_OK);
    assert_failed(imp_dataset_put(ctx, set, 2, 0, image), IMP_ERR_ARG, "number 2");
    assert_failed(imp_dataset_put(ctx, set, 0, 4, image), IMP_ERR_ARG, "class 4");
    imp_dataset_free(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_is_held_out),
        cmocka_unit_test(the_seed_says_which),
        cmocka_unit_test(bank),
        cmocka_unit_test(views),
        cmocka_unit_test(sets_refused),
    };
    return cmocka_run_group_tests_name("batches", tests, album_setup, files_teardown);
}
