/* SPDX-License-Identifier: MIT
 *
 * Classifiers of three channels: made of another network's convolutions, trained from scratch, by
 * the head alone and in part, written, read and tested.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "album.h"

/* The same but for a factor a channel? */
static bool same_directions(const imp_tensor *a, const imp_tensor *b) {
    for (size_t o = 0; o < a->shape.n; o++) {
        double factor = 0;
        for (size_t i = 0; i < a->shape.c * 9; i++) {
            size_t at = imp_weight_offset(&a->shape, o, i / 9, i / 3 % 3, i % 3);
            double ratio = (double)b->blocked[at] / (double)a->blocked[at];
            if (i == 0) factor = ratio;
            if (!(ratio > 0) || fabs(ratio / factor - 1) > 1e-5) return false;
        }
    }
    return true;
}

static bool same_numbers(const imp_tensor *a, const imp_tensor *b) {
    return !memcmp(a->blocked, b->blocked, imp_blocked_count(a->shape) * sizeof(float));
}

/* --- learning --- */

static const char *const parts[] = {NULL, "mean", "relu1_1", "relu1_2"};

static void learns(void **state) {
    (void)state;
    for (size_t k = 0; k < 4; k++) {
        imp_model *m = make_classifier(1), *before = make_classifier(1);
        imp_dataset *set = make_set(m, 1), *other = make_set(m, 99);
        imp_train_options o = quick(parts[k]);
        imp_train_progress p = train(ctx, m, set, &o);
        imp_test_result r;
        assert_int_equal(imp_test(ctx, m, other, &r, NULL), IMP_OK);
        print_message("frozen %s: %.3f learnt, %.3f held out, %.3f of another set\n",
            parts[k] ? parts[k] : "none", p.accuracy, p.validation_accuracy,
            r.accuracy);
        assert_true(p.accuracy > 0.9 && p.validation_accuracy > 0.9);
        assert_true(p.validation_count == COUNT / 4 && r.accuracy > 0.9);
        assert_true(same_numbers(&before->tensors[0], &m->tensors[0]) == (k > 0));
        assert_true(
            same_directions(&before->tensors[2], &m->tensors[2]) == (k % 2 == 1));
        imp_dataset_free(set);
        imp_dataset_free(other);
        imp_model_free(m);
        imp_model_free(before);
    }
}

static uint8_t *trained_file(int threads, const imp_train_options *o, size_t *size) {
    imp_ctx *c;
    imp_file f;
    assert_int_equal(imp_ctx_new(&c, &(imp_ctx_options){.threads = threads}), IMP_OK);
    imp_model *m = make_classifier(1);
    imp_dataset *set = make_set(m, 1);
    train(c, m, set, o);
    const char *path = in_folder("trained");
    assert_int_equal(
        imp_model_save(c, m, path, &(imp_save_options){.overwrite = true}), IMP_OK);
    imp_dataset_free(set);
    imp_model_free(m);
    imp_ctx_free(c);
    assert_int_equal(imp_file_open(ctx, &f, path, IMP_ERR_MODEL), IMP_OK);
    uint8_t *bytes = memcpy(malloc(f.size), f.data, f.size);
    *size = f.size;
    imp_file_close(&f);
    return bytes;
}

static void threads_change_no_byte(void **state) {
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        imp_train_options o = quick(parts[k]);
        size_t size, again;
        o.epochs = 2;
        uint8_t *one = trained_file(1, &o, &size), *three = trained_file(3, &o, &again);
        assert_int_equal(size, again);
        assert_memory_equal(one, three, size);
        free(one);
        free(three);
    }
}

/* Each of these shows in the weights. */
static void options_matter(void **state) {
    (void)state;
    imp_train_options o[8];
    uint8_t *bytes[8];
    size_t size;
    for (size_t i = 0; i < 8; i++) {
        o[i] = quick("mean");
        o[i].epochs = 3;
    }
    o[1].seed = 2;
    o[2].validation = 0;
    o[3].mirror = false;
    o[4].shift = 0;
    o[5].decay = 1;
    o[6].views = 3;
    o[7].rate *= 2;
    for (size_t i = 0; i < 8; i++) bytes[i] = trained_file(1, &o[i], &size);
    for (size_t i = 1; i < 8; i++) assert_true(memcmp(bytes[0], bytes[i], size));
    for (size_t i = 0; i < 8; i++) free(bytes[i]);
}

/* --- what goes before the first epoch --- */

static float *probabilities(const imp_model *m) {
    static float p[CLASSES];
    static imp_picture picture;
    imp_photo photo;
    album a = {.seed = 5};
    read_photo(&a, 4, &photo);
    assert_int_equal(imp_picture_new(ctx, &picture, photo.width, photo.height), IMP_OK);
    size_t pixels = photo.width * photo.height;
    for (size_t k = 0; k < 3 * pixels; k++)
        picture.planes[k % 3 * pixels + k / 3] = (float)photo.rgb[k];
    assert_int_equal(imp_classify(ctx, m, &picture, IMP_FIT_MODEL, p), IMP_OK);
    imp_picture_free(&picture);
    return p;
}

/* Features of rms 1, and the same probabilities. */
static void preparing_changes_no_answer(void **state) {
    (void)state;
    imp_model *m = make_classifier(1);
    imp_dataset *set = make_set(m, 1);
    imp_train_options o = quick("mean");
    float before[CLASSES];
    imp_train *job;
    train(ctx, m, set, &o);
    for (size_t i = 0; i < imp_blocked_count(m->tensors[2].shape); i++)
        m->tensors[2].blocked[i] *= 3;
    memcpy(before, probabilities(m), sizeof before);
    assert_true(fabs((double)before[0] - 1.0 / 3) > 0.01);
    imp_tensor scaled = m->tensors[2];
    float first = scaled.blocked[0];
    assert_int_equal(imp_train_new(ctx, &job, m, set, &o), IMP_OK);
    assert_int_equal(imp_train_prepare(job), IMP_OK);
    assert_true(fabs((double)scaled.blocked[0] / (double)first - 1) > 0.1);
    for (size_t c = 0; c < CLASSES; c++)
        assert_true(fabsf(probabilities(m)[c] - before[c]) < 1e-5f);
    imp_train_free(job);
    imp_dataset_free(set);
    imp_model_free(m);
}

typedef struct calls {
    size_t seen, stop;
} calls;

static bool count_calls(void *user, size_t done, size_t of) {
    calls *c = user;
    assert_true(done >= 1 && done <= of);
    return ++c->seen != c->stop;
}

/* Stopped after its first pictures, it does no epoch; then it goes on, to the same bits. */
static void a_stop_while_preparing(void **state) {
    (void)state;
    imp_model *m[2];
    imp_train_options o = quick("mean");
    o.views = 8; /* more rows than are made at once */
    for (size_t stop = 0; stop < 2; stop++) {
        m[stop] = make_classifier(1);
        imp_dataset *set = make_set(m[stop], 1);
        imp_train *job;
        imp_train_progress p;
        calls c = {.stop = stop};
        assert_int_equal(imp_train_new(ctx, &job, m[stop], set, &o), IMP_OK);
        imp_train_on_batch(job, count_calls, &c);
        if (stop) {
            assert_int_equal(imp_train_epoch(job, &p), IMP_OK);
            assert_true(c.seen == 1 && p.epoch == 0 && isnan(p.loss));
        }
        assert_int_equal(imp_train_epoch(job, &p), IMP_OK);
        assert_int_equal(p.epoch, 1);
        imp_train_free(job);
        imp_dataset_free(set);
    }
    assert_same_tensors(m[0], m[1]);
    imp_model_free(m[0]);
    imp_model_free(m[1]);
}

/* --- testing --- */

/* Each picture alone, through imp_classify. */
static void tests_as_it_classifies(void **state) {
    (void)state;
    imp_model *m = make_classifier(1);
    imp_dataset *set = make_set(m, 1);
    imp_train_options o = quick("mean");
    o.epochs = 2;
    train(ctx, m, set, &o);
    imp_test_result r;
    size_t confusion[CLASSES][CLASSES], found[CLASSES][CLASSES] = {{0}};
    double loss = 0;
    album a = {.seed = 1};
    assert_int_equal(imp_test(ctx, m, set, &r, confusion[0]), IMP_OK);
    for (size_t i = 0; i < COUNT; i++) {
        imp_photo photo;
        imp_picture picture;
        float p[CLASSES];
        size_t best = 0;
        read_photo(&a, i, &photo);
        assert_int_equal(
            imp_picture_new(ctx, &picture, photo.width, photo.height), IMP_OK);
        size_t pixels = photo.width * photo.height;
        for (size_t k = 0; k < 3 * pixels; k++)
            picture.planes[k % 3 * pixels + k / 3] = (float)photo.rgb[k];
        assert_int_equal(imp_classify(ctx, m, &picture, IMP_FIT_MODEL, p), IMP_OK);
        for (size_t c = 1; c < CLASSES; c++)
            if (p[c] > p[best]) best = c;
        found[label_of(i)][best]++;
        loss -= log((double)p[label_of(i)]) / COUNT;
        imp_picture_free(&picture);
    }
    assert_memory_equal(confusion, found, sizeof found);
    assert_int_equal(r.correct, found[0][0] + found[1][1] + found[2][2]);
    assert_true(fabs(r.loss / loss - 1) < 0.01); /* the set has whole bytes */
    imp_dataset_free(set);
    imp_model_free(m);
}

/* --- files --- */

static void written_and_read(void **state) {
    (void)state;
    static const char *const first[] = {"relu1_1"};
    imp_model *m = make_classifier(1), *again, *part;
    imp_dataset *set = make_set(m, 1);
    imp_train_options o = quick("mean");
    train(ctx, m, set, &o);
    const char *path = in_folder("classifier");
    assert_int_equal(imp_model_save(ctx, m, path, NULL), IMP_OK);
    again = load_model(path);
    assert_same_tensors(m, again);
    imp_model_info info = imp_model_describe(again);
    assert_true(info.classes == CLASSES && info.input.size == 16 && !info.random);
    for (size_t c = 0; c < CLASSES; c++)
        assert_string_equal(imp_model_label(again, c), labels[c]);
    float p[CLASSES];
    memcpy(p, probabilities(m), sizeof p);
    assert_memory_equal(p, probabilities(again), sizeof p);
    assert_int_equal(imp_model_load_layers(ctx, &part, path, first, 1), IMP_OK);
    assert_int_equal(imp_model_describe(part).classes, 0);
    assert_int_equal(part->n_tensors, 2);
    imp_model_free(part);
    imp_model_free(again);
    imp_model_free(m);
    imp_dataset_free(set);
}

static void files_refused(void **state) {
    (void)state;
    imp_model *m = make_classifier(1), *other;
    imp_safetensors_pair max[] = {{"channels", "6,20"}, {"head", "max"}},
                         mean[] = {{"channels", "6,20"}, {"head", "mean"}},
                         labelled[] = {{"channels", "6,20"}, {"head", "mean"},
                             {"classes", "[\"a\",\"b\"]"}};
    const char *path =
        write_model(m, "max", &(model_file){.metadata = max, .n_metadata = 2});
    assert_failed(
        imp_model_load(ctx, &other, path), IMP_ERR_MODEL, "head: expected mean");
    path = write_model(m, "no-fc",
        &(model_file){.skip = "fc.weight", .metadata = mean, .n_metadata = 2});
    assert_failed(imp_model_load(ctx, &other, path), IMP_ERR_MODEL, "fc.weight");
    path =
        write_model(m, "labels", &(model_file){.metadata = labelled, .n_metadata = 3});
    assert_failed(imp_model_load(ctx, &other, path), IMP_ERR_MODEL, "3 labels");
    imp_model_free(m);
    m = make_model((imp_model_options){.architecture = "vgg16", .divisor = 64});
    path = write_model(m, "two", &(model_file){.metadata = mean + 1, .n_metadata = 1});
    assert_failed(
        imp_model_load(ctx, &other, path), IMP_ERR_MODEL, "with a classifier");
    imp_model_free(m);
    m = make_model((imp_model_options){.architecture = "lenet"});
    path =
        write_model(m, "lenet", &(model_file){.metadata = mean + 1, .n_metadata = 1});
    assert_failed(imp_model_load(ctx, &other, path), IMP_ERR_MODEL, "of lenet");
    imp_model_free(m);
}

/* --- making one of another network --- */

static void takes_what_it_is_told(void **state) {
    (void)state;
    imp_model *features = make_model(
        (imp_model_options){.architecture = "vgg16", .divisor = 64, .seed = 3});
    imp_classifier_options o = {.labels = labels, .classes = CLASSES};
    imp_model *m, *again;
    assert_int_equal(imp_model_classifier(ctx, &m, features, &o), IMP_OK);
    assert_int_equal(m->n_tensors, 2 * 13 + 2); /* without fc6 .. fc8 */
    assert_int_equal(imp_model_describe(m).input.size, 224);
    assert_true(same_numbers(&features->tensors[24], &m->tensors[24]));
    imp_model_free(m);
    o.last = "relu2_1";
    o.size = 32;
    assert_int_equal(imp_model_classifier(ctx, &m, features, &o), IMP_OK);
    assert_int_equal(m->n_tensors, 2 * 3 + 2);
    assert_int_equal(imp_model_describe(m).input.size, 32);
    /* its own head is taken where the classes are the same */
    m->tensors[6].blocked[0] = 7;
    o.last = NULL;
    assert_int_equal(imp_model_classifier(ctx, &again, m, &o), IMP_OK);
    assert_same_tensors(m, again);
    imp_model_free(again);
    o.labels = (const char *const[]){"lying", "plain", "round"};
    assert_int_equal(imp_model_classifier(ctx, &again, m, &o), IMP_OK);
    assert_true(again->tensors[6].blocked[0] == 0);
    imp_model_free(again);
    imp_model_free(m);
    imp_model_free(features);
}

static void makes_refused(void **state) {
    (void)state;
    imp_model *m,
        *vgg = make_model((imp_model_options){
            .architecture = "vgg19", .divisor = 64, .features = true}),
        *lenet = make_model((imp_model_options){.architecture = "lenet"});
    const imp_classifier_options good = {.labels = labels, .classes = CLASSES};
    imp_classifier_options o = good;
    assert_failed(imp_model_classifier(ctx, &m, lenet, &o), IMP_ERR_MODEL, "lenet");
    assert_null(m);
    o.classes = 1;
    assert_failed(imp_model_classifier(ctx, &m, vgg, &o), IMP_ERR_ARG, "classes");
    o = good;
    o.size = 15;
    assert_failed(imp_model_classifier(ctx, &m, vgg, &o), IMP_ERR_ARG, "size");
    o.size = 1025;
    assert_failed(imp_model_classifier(ctx, &m, vgg, &o), IMP_ERR_ARG, "1025");
    o = good;
    o.last = "pool1";
    assert_failed(imp_model_classifier(ctx, &m, vgg, &o), IMP_ERR_MODEL, "pool1");
    o.last = "relu9_9";
    assert_failed(imp_model_classifier(ctx, &m, vgg, &o), IMP_ERR_MODEL, "relu9_9");
    o = good;
    o.labels = (const char *const[]){"a", "\xff", "c"};
    assert_failed(imp_model_classifier(ctx, &m, vgg, &o), IMP_ERR_ARG, "label 1");
    imp_model_free(vgg);
    imp_model_free(lenet);
}

/* --- jobs that do not fit --- */

static void jobs_refused(void **state) {
    (void)state;
    imp_model *m = make_classifier(1);
    imp_dataset *set = make_set(m, 1), *small;
    imp_train *job;
    imp_train_options o = quick(NULL);
    assert_int_equal(imp_dataset_new(ctx, &small, 9, 3, 16, 16, CLASSES), IMP_OK);
    assert_failed(imp_train_new(ctx, &job, m, small, &o), IMP_ERR_DATA, "18 x 18");
    imp_dataset_free(small);
    assert_int_equal(imp_dataset_new(ctx, &small, 9, 3, 18, 18, 4), IMP_OK);
    assert_failed(imp_train_new(ctx, &job, m, small, &o), IMP_ERR_MODEL, "4 classes");
    imp_dataset_free(small);
    for (size_t i = 0; i < 2; i++) {
        o.frozen = i ? "relu9_9" : "fc"; /* its last: nothing would learn */
        assert_failed(imp_train_new(ctx, &job, m, set, &o), IMP_ERR_ARG, o.frozen);
        assert_null(job);
    }
    o = quick(NULL);
    for (size_t i = 0; i < 3; i++) {
        o.validation = (const double[]){1, -0.1, NAN}[i];
        assert_failed(imp_train_new(ctx, &job, m, set, &o), IMP_ERR_ARG, "validation");
    }
    o = quick("mean");
    o.views = 0;
    assert_failed(imp_train_new(ctx, &job, m, set, &o), IMP_ERR_ARG, "views");
    o = quick("mean");
    o.batch = COUNT; /* a quarter of which is held out */
    assert_failed(imp_train_new(ctx, &job, m, set, &o), IMP_ERR_ARG, "1 to 36");
    imp_dataset_free(set);
    imp_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns),
        cmocka_unit_test(threads_change_no_byte),
        cmocka_unit_test(options_matter),
        cmocka_unit_test(preparing_changes_no_answer),
        cmocka_unit_test(a_stop_while_preparing),
        cmocka_unit_test(tests_as_it_classifies),
        cmocka_unit_test(written_and_read),
        cmocka_unit_test(files_refused),
        cmocka_unit_test(takes_what_it_is_told),
        cmocka_unit_test(makes_refused),
        cmocka_unit_test(jobs_refused),
    };
    return cmocka_run_group_tests_name(
        "classifier", tests, album_setup, files_teardown);
}
