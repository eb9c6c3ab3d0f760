/* SPDX-License-Identifier: MIT
 *
 * What a style job does with sizes, starts, layers, options and losses, above all with
 * those that are not what they should be. The numbers are test_style.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "style/style.h"
#include "files.h"
#include "model_files.h"

static imp_model *narrow;  /* VGG-19, channels / 16 */
static imp_picture photo;  /* 48 x 40 */
static imp_picture canvas; /* 32 x 36 */
static char notes[2048];   /* what was logged, a line each */

static void keep_note(void *user, const char *message) {
    (void)user;
    size_t used = strlen(notes);
    snprintf(notes + used, sizeof notes - used, "%s\n", message);
}

static size_t floats_of(const imp_picture *p) {
    return 3 * p->width * p->height;
}

/* Smooth and a little noisy; some values lie outside of 0..255. */
static imp_picture make_picture(size_t width, size_t height, uint64_t seed) {
    imp_picture p;
    assert_int_equal(imp_picture_new(ctx, &p, width, height), IMP_OK);
    for (size_t i = 0; i < floats_of(&p); i++) {
        double x = (double)(i % width), y = (double)(i / width);
        p.planes[i] = (float)(127 + 100 * sin(0.3 * x + 0.2 * y + (double)seed) +
                              20 * imp_normal(seed, i));
    }
    return p;
}

static imp_style_options adam_options(void) {
    imp_style_options o = imp_style_preset("classic");
    o.init = IMP_INIT_CONTENT;
    return o;
}

static imp_status try_job(imp_style **job, const imp_model *model,
    const imp_picture *content, const imp_picture *style, const imp_style_options *o) {
    imp_style_source source = {.picture = style, .weight = 1};
    imp_status s = imp_style_new(ctx, job, model, content, &source, 1, NULL, o);
    assert_true((s == IMP_OK) == (*job != NULL));
    return s;
}

static imp_style *new_job(const imp_style_options *o, const imp_picture *init) {
    imp_style *job;
    imp_style_source source = {.picture = &canvas, .weight = 1};
    if (imp_style_new(ctx, &job, narrow, &photo, &source, 1, init, o) != IMP_OK)
        fail_msg("%s", imp_ctx_error(ctx));
    return job;
}

static imp_picture picture_of(const imp_style *job) {
    imp_picture p;
    assert_int_equal(imp_style_picture(job, &p), IMP_OK);
    return p;
}

static void assert_picture(const imp_style *job, const imp_picture *expected) {
    imp_picture p = picture_of(job);
    assert_int_equal(p.width, expected->width);
    assert_int_equal(p.height, expected->height);
    assert_memory_equal(p.planes, expected->planes, floats_of(&p) * sizeof(float));
    imp_picture_free(&p);
}

/* --- sizes --- */

static void sizes(void **state) {
    (void)state;
    static const size_t cases[][5] = {/* width, height, size, width, height */
        {600, 400, 512, 512, 341}, {400, 600, 512, 341, 512},
        {1024, 513, 512, 512, 257}, {1000, 333, 500, 500, 167}, {3, 2, 2, 2, 1},
        {512, 512, 512, 512, 512}, {100, 50, 512, 100, 50}, {1, 1, 512, 1, 1},
        {1, 2000, 512, 1, 512}, {2000, 1, 100, 100, 1}, {2000, 9, 100, 100, 1},
        {7, 7, 1, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t *c = cases[i];
        size_t w, h;
        imp_style_size(c[0], c[1], c[2], &w, &h);
        if (w != c[3] || h != c[4])
            fail_msg("%zu x %zu at %zu: expected %zu x %zu, found %zu x %zu", c[0],
                c[1], c[2], c[3], c[4], w, h);
    }
}

/* A picture that has the size is not resampled, nor clamped. */
static void pictures_of_the_size(void **state) {
    (void)state;
    static const size_t wanted[] = {48, 49, 512};
    imp_picture init = make_picture(48, 40, 9);
    for (size_t i = 0; i < 3; i++) {
        imp_style_options o = adam_options();
        imp_style_progress now;
        o.size = wanted[i];
        imp_style *job = new_job(&o, NULL);
        assert_int_equal(imp_style_evaluate(job, &now), IMP_OK);
        assert_true(now.iteration == 0 && imp_style_done(job) == 0);
        assert_true(now.content == 0 && now.style > 0 && now.loss > 0);
        assert_picture(job, &photo);
        imp_style_free(job);
        o.init = IMP_INIT_PICTURE;
        job = new_job(&o, &init);
        assert_picture(job, &init);
        imp_style_free(job);
    }
    imp_picture_free(&init);
}

static void pictures_of_other_sizes(void **state) {
    (void)state;
    imp_picture init = make_picture(91, 20, 9);
    imp_style_options o = adam_options();
    o.size = 37;
    o.style_size = 20;
    o.init = IMP_INIT_PICTURE;
    imp_style *job = new_job(&o, &init);
    imp_picture p = picture_of(job);
    assert_true(p.width == 37 && p.height == 31);
    for (size_t i = 0; i < floats_of(&p); i++)
        assert_true(p.planes[i] >= 0 && p.planes[i] <= 255);
    imp_picture_free(&p);
    imp_picture_free(&init);
    imp_style_free(job);
}

static void too_small(void **state) {
    (void)state;
    static const size_t small[][2] = {{1, 1}, {1, 2000}, {2000, 1}, {15, 64}, {64, 15}};
    imp_style_options o = adam_options();
    imp_style *job;
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        imp_picture p = make_picture(small[i][0], small[i][1], 3);
        assert_failed(try_job(&job, narrow, &p, &canvas, &o), IMP_ERR_DATA, "16 x 16");
        assert_failed(try_job(&job, narrow, &photo, &p, &o), IMP_ERR_DATA, "style");
        imp_picture_free(&p);
    }
    o.size = 12;
    assert_failed(try_job(&job, narrow, &photo, &canvas, &o), IMP_ERR_DATA, "relu5_1");
    imp_picture least = make_picture(16, 16, 4), line = make_picture(1, 1, 5);
    o.size = 512;
    assert_int_equal(try_job(&job, narrow, &least, &least, &o), IMP_OK);
    imp_style_free(job);
    o.content_layers[0] = "relu1_2"; /* nothing is pooled: any size will do */
    o.style_layers[0] = "relu1_1";
    o.style_layers[1] = NULL;
    assert_int_equal(try_job(&job, narrow, &line, &line, &o), IMP_OK);
    imp_style_progress now;
    assert_int_equal(imp_style_step(job, &now), IMP_OK);
    imp_style_free(job);
    imp_picture_free(&least);
    imp_picture_free(&line);
}

/* --- starts --- */

static void seeds(void **state) {
    (void)state;
    static const imp_init inits[] = {IMP_INIT_NOISE, IMP_INIT_MIX};
    for (size_t i = 0; i < 2; i++) {
        imp_style_options o = adam_options();
        imp_picture p[3];
        o.init = inits[i];
        for (size_t k = 0; k < 3; k++) {
            o.seed = k == 2 ? 8 : 7;
            imp_style *job = new_job(&o, NULL);
            p[k] = picture_of(job);
            imp_style_free(job);
        }
        size_t n = floats_of(&p[0]), differ = 0;
        assert_memory_equal(p[0].planes, p[1].planes, n * sizeof(float));
        for (size_t q = 0; q < n; q++) differ += p[0].planes[q] != p[2].planes[q];
        assert_true(differ > n * 99 / 100);
        static const double means[3] = {
            123.68, 116.779, 103.939}; /* red, green, blue */
        for (size_t q = 0; q < n; q++) {
            double mean = means[q / (n / 3)], share = i ? 0.5 : 0;
            double centre = mean + share * ((double)photo.planes[q] - mean);
            double u = ((double)p[0].planes[q] - centre) / (1 - share);
            assert_true(fabs(u) <= 20.001);
        }
        for (size_t k = 0; k < 3; k++) imp_picture_free(&p[k]);
    }
}

/* --- layers --- */

static void layers_named(void **state) {
    (void)state;
    imp_style_options o = adam_options();
    imp_style *job;
    o.content_layers[0] = "relu9_9";
    o.content_named = true;
    assert_failed(try_job(&job, narrow, &photo, &canvas, &o), IMP_ERR_MODEL, "relu9_9");
    o = adam_options();
    o.style_layers[1] = "pool1"; /* not an activation */
    o.style_named = true;
    assert_failed(try_job(&job, narrow, &photo, &canvas, &o), IMP_ERR_MODEL, "pool1");
    o.style_layers[1] = "relu1_2";
    assert_int_equal(try_job(&job, narrow, &photo, &canvas, &o), IMP_OK);
    imp_style_free(job);
}

/* Default layers that a model lacks: said, and left out or replaced. */
static void layers_missing(void **state) {
    (void)state;
    size_t n = 0;
    while (strcmp(narrow->tensors[n].name, "conv3_3.weight")) n++;
    model_file file = {.n = n};
    imp_model *model = load_model(write_model(narrow, "short.safetensors", &file));
    imp_style_options o = adam_options();
    imp_style *job;
    imp_style_progress now;
    notes[0] = 0;
    assert_int_equal(try_job(&job, model, &photo, &canvas, &o), IMP_OK);
    assert_non_null(strstr(notes, "no relu4_2: content from relu3_2"));
    assert_non_null(strstr(notes, "no relu4_1: left out"));
    assert_non_null(strstr(notes, "no relu5_1: left out"));
    assert_null(strstr(notes, "relu3_1"));
    assert_int_equal(imp_style_step(job, &now), IMP_OK);
    imp_style_free(job);
    o.terms[IMP_TERM_NEAREST] = 1;
    o.nearest_layers[2] = "relu4_3";
    assert_int_equal(try_job(&job, model, &photo, &canvas, &o), IMP_OK);
    assert_non_null(strstr(notes, "no relu4_3: left out"));
    imp_style_free(job);
    o.content_named = true;
    assert_failed(try_job(&job, model, &photo, &canvas, &o), IMP_ERR_MODEL, "relu4_2");
    imp_model_free(model);
    model = make_model((imp_model_options){.architecture = "lenet"});
    assert_failed(try_job(&job, model, &photo, &canvas, &o), IMP_ERR_MODEL, "three");
    imp_model_free(model);
}

/* --- options --- */

static void expect_bad(imp_style_options o, const char *text) {
    imp_style *job;
    assert_failed(try_job(&job, narrow, &photo, &canvas, &o), IMP_ERR_ARG, text);
}

static void options_out_of_range(void **state) {
    (void)state;
    static const double bad[] = {-1, NAN, INFINITY};
    imp_style_options o = adam_options();
    o.size = 0;
    expect_bad(o, "size");
    o = adam_options();
    o.optimizer = IMP_SGD;
    expect_bad(o, "optimizer");
    o = adam_options();
    o.optimizer = IMP_LBFGS;
    o.history = 0;
    expect_bad(o, "history");
    o = adam_options();
    o.first_size = 20;
    o.size = 48;
    o.scale_iterations = 0;
    expect_bad(o, "scale_iterations");
    o = adam_options();
    o.init = IMP_INIT_PICTURE; /* and none is given */
    expect_bad(o, "picture");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double *fields[] = {&o.layer_weights[2], &o.content_weight, &o.style_weight,
            &o.tv_weight, &o.rate, &o.terms[0], &o.terms[IMP_STYLE_TERMS - 1]};
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
            o = adam_options();
            o.layer_weights_given = k == 0;
            *fields[k] = bad[i];
            expect_bad(o, "weight");
        }
    }
    assert_null(imp_style_preset("impressionist").preset);
    size_t n = 0;
    for (const char *name; (name = imp_style_preset_name(n)); n++) {
        assert_string_equal(imp_style_preset(name).preset, name);
        assert_true(imp_style_preset(name).scale_iterations > 0);
    }
    assert_int_equal(n, 8);
    imp_style_free(NULL);
}

static void layer_weights(void **state) {
    (void)state;
    imp_style_options o = adam_options();
    imp_style_progress equal, given, none;
    imp_style *job = new_job(&o, NULL);
    assert_int_equal(imp_style_evaluate(job, &equal), IMP_OK);
    imp_style_free(job);
    o.layer_weights_given = true;
    for (size_t i = 0; i < 5; i++) o.layer_weights[i] = 0.2;
    job = new_job(&o, NULL);
    assert_int_equal(imp_style_evaluate(job, &given), IMP_OK);
    imp_style_free(job);
    assert_true(fabs(given.style - equal.style) <= 1e-12 * equal.style);
    assert_true(fabs(given.loss - equal.loss) <= 1e-12 * equal.loss);
    for (size_t i = 0; i < 5; i++) o.layer_weights[i] = 0;
    job = new_job(&o, NULL);
    assert_int_equal(imp_style_evaluate(job, &none), IMP_OK);
    imp_style_free(job);
    assert_true(none.style == 0 && none.loss == 0);
}

/* --- losses --- */

/* A rate beyond all reason, halved a few times, still is: the best image comes back. */
static void adam_diverges(void **state) {
    (void)state;
    imp_style_options o = adam_options();
    imp_style_progress now;
    imp_status s = IMP_OK;
    o.rate = 1e30;
    imp_style *job = new_job(&o, NULL);
    notes[0] = 0;
    for (int i = 0; i < 20 && !s; i++) s = imp_style_step(job, &now);
    assert_failed(s, IMP_ERR_NUMERIC, "lower rate");
    assert_non_null(strstr(notes, "back to the best"));
    assert_picture(job, &photo);
    imp_style_free(job);
}

/* A rate that is only too large is halved until it will do. */
static void adam_recovers(void **state) {
    (void)state;
    imp_style_options o = adam_options();
    imp_style_progress first, now;
    o.rate = 300;
    imp_style *job = new_job(&o, NULL);
    notes[0] = 0;
    assert_int_equal(imp_style_step(job, &first), IMP_OK);
    for (int i = 0; i < 40; i++) assert_int_equal(imp_style_step(job, &now), IMP_OK);
    assert_non_null(strstr(notes, "back to the best"));
    assert_true(now.loss < first.loss);
    imp_style_free(job);
}

static void not_a_number(void **state) {
    (void)state;
    imp_picture init = make_picture(48, 40, 2);
    init.planes[100] = NAN;
    for (int kind = IMP_ADAM; kind <= IMP_LBFGS; kind++) {
        imp_style_options o = adam_options();
        imp_style_progress now;
        o.optimizer = (imp_optimizer)kind;
        o.init = IMP_INIT_PICTURE;
        imp_style *job = new_job(&o, &init);
        assert_failed(imp_style_evaluate(job, &now), IMP_ERR_NUMERIC, "finite");
        assert_failed(imp_style_step(job, &now), IMP_ERR_NUMERIC, "loss");
        assert_picture(job, &init);
        imp_style_free(job);
        o.init = IMP_INIT_CONTENT;
        o.style_weight = 1e308; /* the loss is infinite */
        job = new_job(&o, NULL);
        assert_failed(imp_style_step(job, &now), IMP_ERR_NUMERIC, "loss");
        assert_picture(job, &photo);
        imp_style_free(job);
    }
    imp_picture_free(&init);
}

/* The content alone, from the content: the loss is 0 and nothing can better it. */
static void converged(void **state) {
    (void)state;
    imp_style_options o = imp_style_preset("gatys");
    imp_style_progress now;
    o.style_weight = 0;
    imp_style *job = new_job(&o, NULL);
    assert_false(imp_style_converged(job));
    assert_int_equal(imp_style_step(job, &now), IMP_OK);
    assert_true(imp_style_converged(job) && now.loss == 0);
    assert_picture(job, &photo);
    imp_style_free(job);
}

/* --- memory --- */

static double first_loss(const imp_model *model, const imp_style_options *o) {
    imp_style *job;
    imp_style_progress now;
    assert_int_equal(try_job(&job, model, &photo, &canvas, o), IMP_OK);
    assert_int_equal(imp_style_step(job, &now), IMP_OK);
    imp_style_free(job);
    return now.loss;
}

/* A model loaded for a job: without what is deeper, and the same job. All of it where a layer
 * is missing, as another will take its place. */
static void model_for_a_job(void **state) {
    (void)state;
    imp_style_options o = adam_options();
    const char *path = in_folder("job.safetensors");
    imp_model *model;
    assert_int_equal(
        imp_model_save(ctx, narrow, path, &(imp_save_options){.overwrite = true}),
        IMP_OK);
    assert_int_equal(imp_style_load(ctx, &model, path, &o), IMP_OK);
    assert_string_equal(model->layers[model->n_layers - 1].name, "conv5_1");
    assert_true(first_loss(model, &o) == first_loss(narrow, &o));
    imp_model_free(model);
    o.style_layers[4] = "relu6_1";
    assert_int_equal(imp_style_load(ctx, &model, path, &o), IMP_OK);
    assert_int_equal(model->n_tensors, narrow->n_tensors);
    imp_model_free(model);
    assert_failed(
        imp_style_load(ctx, &model, "/no/such", &o), IMP_ERR_MODEL, "/no/such");
}

/* The first activation is made again for backward, but not where it is the content. */
static void content_of_the_first_layer(void **state) {
    (void)state;
    imp_style_options o = adam_options();
    imp_style_progress now;
    o.content_layers[0] = "relu1_1";
    imp_style *job = new_job(&o, NULL);
    assert_int_equal(imp_style_step(job, &now), IMP_OK);
    assert_true(now.content == 0 && now.style > 0);
    assert_int_equal(imp_style_step(job, &now), IMP_OK);
    assert_true(now.content > 0);
    imp_style_free(job);
}

static double variation_of(const imp_picture *p) {
    double sum = 0;
    for (size_t c = 0; c < 3; c++)
        for (size_t y = 0; y < p->height; y++)
            for (size_t x = 0; x < p->width; x++) {
                const float *v = p->planes + (c * p->height + y) * p->width + x;
                double right = x + 1 < p->width ? (double)(v[1] - v[0]) : 0;
                double below = y + 1 < p->height ? (double)(v[p->width] - v[0]) : 0;
                sum += right * right + below * below;
            }
    return sum / (double)floats_of(p);
}

/* Total variation is that of 0..255, whatever the network wants to see. */
static void variation_of_any_input(void **state) {
    (void)state;
    imp_input_spec spec = narrow->info.input;
    for (int scaled = 0; scaled < 2; scaled++) {
        imp_style_options o = adam_options();
        imp_style_progress first, now;
        o.content_weight = o.style_weight = 0;
        o.tv_weight = 2;
        for (size_t k = 0; k < 3 && scaled; k++)
            narrow->info.input.mean[k] = narrow->info.input.std[k] = 0.25f;
        if (scaled) narrow->info.input.range = 1;
        imp_style *job = new_job(&o, NULL);
        assert_int_equal(imp_style_step(job, &first), IMP_OK);
        double expected = 2 * variation_of(&photo);
        assert_true(fabs(first.loss - expected) <= 1e-5 * expected);
        for (int i = 0; i < 3; i++) assert_int_equal(imp_style_step(job, &now), IMP_OK);
        assert_true(now.loss < first.loss);
        imp_style_free(job);
        narrow->info.input = spec;
    }
}

/* A picture that was fitted before is the picture that the job would have made of it. */
static void fitted_pictures(void **state) {
    (void)state;
    imp_style_options o = adam_options();
    o.size = 30;
    imp_style *job = new_job(&o, NULL);
    imp_picture p = make_picture(48, 40, 1);
    assert_int_equal(imp_style_fit(ctx, &p, 30, 25), IMP_OK);
    assert_picture(job, &p);
    assert_int_equal(imp_style_fit(ctx, &p, 30, 25), IMP_OK);
    assert_picture(job, &p);
    assert_failed(imp_style_fit(ctx, &p, 0, 25), IMP_ERR_ARG, "picture");
    assert_true(p.width == 30 && p.planes);
    imp_picture_free(&p);
    imp_style_free(job);
}

static void estimate(void **state) {
    (void)state;
    static const size_t asked[] = {32, 48, 512};
    imp_picture wide = {900, 900, NULL}, small = {100, 100, NULL};
    imp_style_source source = {.picture = &wide, .weight = 1};
    size_t bytes;
    for (size_t i = 0; i < 3; i++) {
        imp_style_options o = imp_style_preset("gatys");
        size_t w, h;
        o.size = asked[i];
        o.history = 10;
        assert_int_equal(
            imp_style_estimate(ctx, narrow, 600, 400, &source, 1, &o, &bytes), IMP_OK);
        imp_style_size(600, 400, o.size, &w, &h);
        assert_true(bytes >= 25 * 3 * w * h * sizeof(float));
        o.terms[IMP_TERM_NEAREST] = 1; /* targets and places more */
        size_t more;
        assert_int_equal(
            imp_style_estimate(ctx, narrow, 600, 400, &source, 1, &o, &more), IMP_OK);
        assert_true(more > bytes);
    }
    imp_style_options o = adam_options(); /* nothing of it is allocated */
    o.size = 100000;
    source.picture = &small;
    assert_int_equal(
        imp_style_estimate(ctx, narrow, 100000, 100000, &source, 1, &o, &bytes),
        IMP_OK);
    assert_true(bytes > (size_t)1 << 40);
    o.size = 16;
    assert_failed(imp_style_estimate(ctx, narrow, 100, 50, &source, 1, &o, &bytes),
        IMP_ERR_DATA, "16 x 16");
}

/* --- the program --- */

static int setup(void **state) {
    if (files_setup(state)) return -1;
    imp_ctx_free(ctx);
    imp_ctx_options options = {.threads = 2, .log = keep_note};
    if (imp_ctx_new(&ctx, &options) != IMP_OK) return -1;
    imp_model_options m = {.architecture = "vgg19", .divisor = 16, .features = true};
    if (imp_model_init(ctx, &narrow, &m) != IMP_OK) return -1;
    photo = make_picture(48, 40, 1);
    canvas = make_picture(32, 36, 2);
    return 0;
}

static int teardown(void **state) {
    imp_picture_free(&photo);
    imp_picture_free(&canvas);
    imp_model_free(narrow);
    return files_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(pictures_of_the_size),
        cmocka_unit_test(pictures_of_other_sizes),
        cmocka_unit_test(too_small),
        cmocka_unit_test(seeds),
        cmocka_unit_test(layers_named),
        cmocka_unit_test(layers_missing),
        cmocka_unit_test(options_out_of_range),
        cmocka_unit_test(layer_weights),
        cmocka_unit_test(adam_diverges),
        cmocka_unit_test(adam_recovers),
        cmocka_unit_test(not_a_number),
        cmocka_unit_test(converged),
        cmocka_unit_test(model_for_a_job),
        cmocka_unit_test(content_of_the_first_layer),
        cmocka_unit_test(variation_of_any_input),
        cmocka_unit_test(fitted_pictures),
        cmocka_unit_test(estimate),
    };
    return cmocka_run_group_tests_name("style job", tests, setup, teardown);
}
