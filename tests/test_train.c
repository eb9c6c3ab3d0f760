/* SPDX-License-Identifier: MIT
 *
 * Training and testing on ten simple patterns, and on MNIST where IMPASTO_DATA has it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "impasto/train.h"
#include "files.h"
#include "model_files.h"

#define SIDE   28
#define PIXELS (SIDE * SIDE)
#define COUNT  203 /* no multiple of a batch */

static imp_dataset *set, *other, *few; /* the same patterns, other noise */
static const size_t hidden[] = {32, 16};
static const imp_model_options nets[] = {
    {.architecture = "mlp", .hidden = hidden, .n_hidden = 2, .seed = 1},
    {.architecture = "lenet", .seed = 1}};

/* --- the data, as IDX files --- */

static void put32(uint8_t *p, size_t x) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(x >> (24 - 8 * i));
}

/* Pattern k: a bar, upright or lying, at a place of its own; moved and noisy. */
static uint8_t pixel(size_t label, size_t y, size_t x, uint64_t seed, size_t i) {
    size_t shift = (size_t)imp_random(seed, i) % 2;
    size_t along = label % 2 ? y : x, place = 4 + label / 2 * 4 + shift;
    double bright = along >= place && along < place + 3 ? 200 : 20;
    return (uint8_t)(bright + 40 * imp_uniform(seed + 1, i * PIXELS + y * SIDE + x));
}

static size_t label_of(size_t i) {
    return i * 7 % 10;
}

static void write_part(const char *part, size_t count, size_t side, uint64_t seed) {
    char name[64];
    uint8_t *images = malloc(16 + count * side * side), *labels = malloc(8 + count);
    put32(images, 2051);
    put32(images + 4, count);
    put32(images + 8, side);
    put32(images + 12, side);
    put32(labels, 2049);
    put32(labels + 4, count);
    for (size_t i = 0; i < count; i++) {
        labels[8 + i] = (uint8_t)label_of(i);
        for (size_t p = 0; p < side * side; p++)
            images[16 + i * side * side + p] =
                pixel(label_of(i), p / side, p % side, seed, i);
    }
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", part);
    make_file(name, images, 16 + count * side * side);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", part);
    make_file(name, labels, 8 + count);
    free(images);
    free(labels);
}

static imp_dataset *load_set(const char *dir, imp_mnist_part part) {
    imp_dataset *d;
    if (imp_mnist_load(ctx, &d, dir, part) != IMP_OK)
        fail_msg("%s", imp_ctx_error(ctx));
    return d;
}

/* --- training --- */

static imp_train_options quick(const char *net, imp_optimizer kind) {
    imp_train_options o = imp_train_defaults(net, kind);
    o.epochs = strcmp(net, "lenet") ? 8 : 3; /* it learns faster, and is slower */
    o.batch = 20;
    return o;
}

/* Trains to the end; the last epoch's progress. */
static imp_train_progress train(
    imp_ctx *c, imp_model *m, const imp_dataset *d, const imp_train_options *o) {
    imp_train *job;
    imp_train_progress p = {0};
    if (imp_train_new(c, &job, m, d, o) != IMP_OK) fail_msg("%s", imp_ctx_error(c));
    double first = 0;
    for (size_t e = 0; e < o->epochs; e++) {
        if (imp_train_epoch(job, &p) != IMP_OK) fail_msg("%s", imp_ctx_error(c));
        assert_int_equal(p.epoch, e + 1);
        assert_true(isfinite(p.loss) && p.accuracy >= 0 && p.accuracy <= 1);
        if (e == 0) first = p.loss;
    }
    if (o->epochs > 1) assert_true(p.loss < first);
    imp_train_free(job);
    return p;
}

static size_t confusion[10][10]; /* of the last test: [label][prediction] */

static imp_test_result test(const imp_model *m, const imp_dataset *d) {
    imp_test_result r;
    assert_int_equal(imp_test(ctx, m, d, &r, confusion[0]), IMP_OK);
    return r;
}

static void learns(void **state) {
    (void)state;
    for (size_t n = 0; n < 2; n++)
        for (int kind = IMP_SGD; kind <= IMP_ADAM; kind++) {
            imp_model *m = make_model(nets[n]);
            imp_train_options o = quick(nets[n].architecture, (imp_optimizer)kind);
            double before = test(m, other).accuracy;
            imp_train_progress p = train(ctx, m, set, &o);
            double after = test(m, other).accuracy;
            print_message("%s %s: %.3f of the set, %.3f of the other, %.3f before\n",
                nets[n].architecture, kind == IMP_SGD ? "sgd" : "adam", p.accuracy,
                after, before);
            assert_true(p.accuracy > 0.95 && after > 0.95 && before < 0.5);
            imp_model_free(m);
        }
}

/* The bytes of the saved model, to be freed. */
static uint8_t *trained_file(int threads, const imp_model_options *net,
    const imp_dataset *d, const imp_train_options *o, size_t *size) {
    imp_ctx *c;
    imp_model *m;
    imp_file f;
    imp_ctx_options options = {.threads = threads};
    assert_int_equal(imp_ctx_new(&c, &options), IMP_OK);
    assert_int_equal(imp_model_init(c, &m, net), IMP_OK);
    train(c, m, d, o);
    const char *path = in_folder("trained");
    assert_int_equal(
        imp_model_save(c, m, path, &(imp_save_options){.overwrite = true}), IMP_OK);
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
    static const int counts[] = {2, 3, 7};
    for (size_t n = 0; n < 2; n++)
        for (int kind = IMP_SGD; kind <= IMP_ADAM; kind++) {
            imp_train_options o = quick(nets[n].architecture, (imp_optimizer)kind);
            size_t size, again;
            o.epochs = 1;
            o.batch = 23;
            uint8_t *one = trained_file(1, &nets[n], few, &o, &size);
            for (size_t i = 0; i < 3; i++) {
                uint8_t *bytes = trained_file(counts[i], &nets[n], few, &o, &again);
                assert_int_equal(again, size);
                assert_memory_equal(bytes, one, size);
                free(bytes);
            }
            free(one);
        }
}

/* Seed, schedule and rate each show in the result. */
static void options_matter(void **state) {
    (void)state;
    imp_train_options o[4];
    uint8_t *bytes[4];
    size_t size;
    for (size_t i = 0; i < 4; i++) {
        o[i] = quick("mlp", IMP_SGD);
        o[i].epochs = 2;
    }
    o[1].seed = 2;
    o[2].schedule = IMP_CONSTANT;
    o[3].rate *= 1.5;
    for (size_t i = 0; i < 4; i++)
        bytes[i] = trained_file(1, &nets[0], set, &o[i], &size);
    for (size_t i = 1; i < 4; i++) assert_true(memcmp(bytes[0], bytes[i], size));
    for (size_t i = 0; i < 4; i++) free(bytes[i]);
}

typedef struct calls {
    size_t seen, last, of, stop;
} calls;

static bool count_calls(void *user, size_t done, size_t of) {
    calls *c = user;
    c->seen++;
    c->last = done;
    c->of = of;
    return done != c->stop;
}

static void callback(void **state) {
    (void)state;
    imp_model *m = make_model(nets[0]);
    imp_train_options o = quick("mlp", IMP_SGD);
    imp_train_progress p;
    imp_train *job;
    calls c = {0};
    assert_int_equal(imp_train_new(ctx, &job, m, set, &o), IMP_OK);
    imp_train_on_batch(job, count_calls, &c);
    assert_int_equal(imp_train_epoch(job, &p), IMP_OK);
    assert_true(c.seen == 10 && c.last == 10 && c.of == 10 && p.epoch == 1);
    c = (calls){.stop = 3};
    assert_int_equal(imp_train_epoch(job, &p), IMP_OK);
    assert_true(c.seen == 3 && c.last == 3 && c.of == 10 && p.epoch == 2);
    assert_true(fabs(p.accuracy * 60 - round(p.accuracy * 60)) < 1e-9); /* of 60 */
    imp_train_free(job);
    imp_train_free(NULL);
    imp_model_free(m);
}

/* --- refused --- */

static void expect_bad(imp_train_options o, const char *text) {
    imp_model *m = make_model(nets[0]);
    imp_train *job;
    assert_failed(imp_train_new(ctx, &job, m, set, &o), IMP_ERR_ARG, text);
    assert_null(job);
    imp_model_free(m);
}

static void bad_options(void **state) {
    (void)state;
    static const double rates[] = {0, -1, NAN, INFINITY}, momenta[] = {1, -0.1, NAN};
    imp_train_options good = quick("mlp", IMP_SGD), o;
    for (size_t i = 0; i < 4; i++) {
        o = good;
        o.rate = rates[i];
        expect_bad(o, "rate");
    }
    for (size_t i = 0; i < 3; i++) {
        o = good;
        o.momentum = momenta[i];
        expect_bad(o, "momentum");
    }
    o = good;
    o.batch = 0;
    expect_bad(o, "batch");
    o.batch = COUNT + 1;
    expect_bad(o, "203");
    o = good;
    o.epochs = 0;
    expect_bad(o, "epochs");
    o = good;
    o.optimizer = IMP_LBFGS;
    expect_bad(o, "optimizer");
    imp_model *m = make_model(nets[0]);
    o = good;
    o.batch = COUNT; /* the whole set: one step an epoch */
    train(ctx, m, set, &o);
    imp_model_free(m);
}

static void bad_sets(void **state) {
    (void)state;
    imp_test_result r;
    imp_train *job;
    imp_train_options o = quick("mlp", IMP_SGD);
    write_part("t10k", 30, 20, 5);
    imp_dataset *small = load_set(folder, IMP_MNIST_TEST);
    imp_model *m = make_model(nets[1]);
    assert_failed(imp_train_new(ctx, &job, m, small, &o), IMP_ERR_DATA, "28 x 28");
    assert_failed(imp_test(ctx, m, small, &r, NULL), IMP_ERR_DATA, "20 x 20");
    imp_model_free(m);
    imp_dataset_free(small);
    for (int features = 0; features < 2; features++) {
        m = make_model((imp_model_options){
            .architecture = "vgg16", .divisor = 64, .features = features});
        assert_failed(
            imp_train_new(ctx, &job, m, set, &o), IMP_ERR_MODEL, "10 classes");
        assert_failed(imp_test(ctx, m, set, &r, NULL), IMP_ERR_MODEL, "10 classes");
        imp_model_free(m);
    }
}

static void diverges(void **state) {
    (void)state;
    imp_model *m = make_model(nets[0]);
    imp_train_options o = quick("mlp", IMP_SGD);
    imp_train_progress p;
    imp_train *job;
    o.rate = 1e30;
    assert_int_equal(imp_train_new(ctx, &job, m, set, &o), IMP_OK);
    assert_failed(imp_train_epoch(job, &p), IMP_ERR_NUMERIC, "lower rate");
    imp_train_free(job);
    imp_model_free(m);
}

/* --- testing --- */

static void check_result(const imp_test_result *r, const imp_dataset *d) {
    size_t sum = 0, right = 0, of_label[10] = {0};
    for (size_t i = 0; i < imp_dataset_count(d); i++)
        of_label[imp_dataset_label(d, i)]++;
    for (size_t i = 0; i < 10; i++) {
        size_t row = 0;
        for (size_t k = 0; k < 10; k++) row += confusion[i][k];
        assert_int_equal(row, of_label[i]);
        right += confusion[i][i];
        sum += row;
    }
    assert_int_equal(r->count, imp_dataset_count(d));
    assert_int_equal(sum, r->count);
    assert_int_equal(right, r->correct);
    assert_true(r->accuracy == (double)r->correct / (double)r->count);
}

/* Each picture alone, through imp_classify. */
static void counts(void **state) {
    (void)state;
    imp_model *m = make_model(nets[1]);
    imp_train_options o = quick("lenet", IMP_ADAM);
    o.epochs = 1;
    train(ctx, m, set, &o);
    imp_test_result r = test(m, other);
    check_result(&r, other);
    size_t correct = 0;
    double loss = 0;
    imp_picture p;
    assert_int_equal(imp_picture_new(ctx, &p, SIDE, SIDE), IMP_OK);
    for (size_t i = 0; i < COUNT; i++) {
        float q[10];
        size_t best = 0, label = (size_t)imp_dataset_label(other, i);
        assert_int_equal(label, label_of(i));
        for (size_t k = 0; k < 3 * PIXELS; k++)
            p.planes[k] = (float)imp_dataset_image(other, i)[k % PIXELS];
        assert_int_equal(imp_classify(ctx, m, &p, IMP_FIT_MODEL, q), IMP_OK);
        for (size_t k = 1; k < 10; k++)
            if (q[k] > q[best]) best = k;
        correct += best == label;
        loss -= log((double)q[label]) / COUNT;
    }
    assert_int_equal(r.correct, correct);
    assert_true(fabs(r.loss / loss - 1) < 1e-4);
    imp_picture_free(&p);
    imp_model_free(m);
}

/* --- the real set --- */

static void mnist(void **state) {
    (void)state;
    const char *data = getenv("IMPASTO_DATA");
    if (!data || !*data) {
        print_message("no IMPASTO_DATA: skipped\n");
        skip();
    }
    char dir[4096];
    snprintf(dir, sizeof dir, "%s/mnist", data);
    imp_dataset *real = load_set(dir, IMP_MNIST_TRAIN),
                *unseen = load_set(dir, IMP_MNIST_TEST);
    imp_model *m = make_model(nets[0]);
    imp_train_options o = imp_train_defaults("mlp", IMP_SGD);
    o.epochs = 1;
    train(ctx, m, real, &o);
    imp_test_result r = test(m, unseen);
    check_result(&r, unseen);
    print_message("MNIST, mlp, one epoch: %.4f\n", r.accuracy);
    assert_true(r.count == 10000 && r.accuracy > 0.90);
    imp_model_free(m);
    imp_dataset_free(real);
    imp_dataset_free(unseen);
}

static int setup(void **state) {
    if (files_setup(state)) return -1;
    write_part("train", COUNT, SIDE, 1);
    write_part("t10k", 61, SIDE, 5);
    few = load_set(folder, IMP_MNIST_TEST);
    write_part("t10k", COUNT, SIDE, 3);
    set = load_set(folder, IMP_MNIST_TRAIN);
    other = load_set(folder, IMP_MNIST_TEST);
    return 0;
}

static int teardown(void **state) {
    imp_dataset_free(set);
    imp_dataset_free(other);
    imp_dataset_free(few);
    return files_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns),
        cmocka_unit_test(threads_change_no_byte),
        cmocka_unit_test(options_matter),
        cmocka_unit_test(callback),
        cmocka_unit_test(bad_options),
        cmocka_unit_test(bad_sets),
        cmocka_unit_test(diverges),
        cmocka_unit_test(counts),
        cmocka_unit_test(mnist),
    };
    return cmocka_run_group_tests_name("train", tests, setup, teardown);
}
