/* SPDX-License-Identifier: MIT
 *
 * From a picture to a network's input, through the network, to probabilities.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "files.h"
#include "model_files.h"

static imp_picture photo; /* 60 x 45 */

static const imp_input_spec specs[] = {
    {.channels = 3, .range = 1, .mean = {0.4f, 0.5f, 0.6f}, .std = {0.2f, 0.3f, 0.4f}},
    {.channels = 3,
        .bgr = true,
        .range = 255,
        .mean = {104, 117, 124},
        .std = {1, 1, 1}},
    {.channels = 3, .bgr = true, .range = 1, .std = {1, 2, 4}},
    {.channels = 1, .range = 1, .mean = {0.1307f}, .std = {0.3081f}},
    {.channels = 1, .range = 255, .mean = {100}, .std = {50}}};
#define SPECS (sizeof specs / sizeof *specs)

/* --- input --- */

#define COUNT 37 /* pixels */

static double input_of(const imp_input_spec *s, const float *rgb, size_t k, size_t i) {
    double r = (double)rgb[i], g = (double)rgb[COUNT + i],
           b = (double)rgb[2 * COUNT + i];
    double v = s->bgr == (k == 2) ? r : b;
    if (k == 1) v = g;
    if (s->channels == 1) v = 0.299 * r + 0.587 * g + 0.114 * b;
    return (v * (double)s->range / 255 - (double)s->mean[k]) / (double)s->std[k];
}

static void input(void **state) {
    (void)state;
    for (size_t n = 0; n < SPECS; n++) {
        const imp_input_spec *s = &specs[n];
        float rgb[3 * COUNT], x[3 * COUNT];
        for (size_t i = 0; i < 3 * COUNT; i++)
            rgb[i] = (float)(255 * imp_uniform(n, i));
        imp_input_from_rgb(s, COUNT, rgb, x);
        for (size_t i = 0; i < s->channels * COUNT; i++) {
            double expected = input_of(s, rgb, i / COUNT, i % COUNT);
            double largest = (double)s->range / (double)s->std[i / COUNT];
            if (!(fabs((double)x[i] - expected) <= 1e-6 * largest))
                fail_msg("spec %zu [%zu]: expected %g, found %g", n, i, expected,
                    (double)x[i]);
        }
    }
}

/* sum w x */
static double weighted(const imp_input_spec *s, const float *rgb, const float *w) {
    float x[3 * COUNT];
    double sum = 0;
    imp_input_from_rgb(s, COUNT, rgb, x);
    for (size_t i = 0; i < s->channels * COUNT; i++) sum += (double)x[i] * (double)w[i];
    return sum;
}

static void input_gradient(void **state) {
    (void)state;
    for (size_t n = 0; n < SPECS; n++) {
        const imp_input_spec *s = &specs[n];
        float rgb[3 * COUNT], w[3 * COUNT], drgb[3 * COUNT];
        for (size_t i = 0; i < 3 * COUNT; i++) {
            rgb[i] = (float)(255 * imp_uniform(n, i));
            w[i] = (float)imp_normal(n, i);
        }
        imp_input_gradient_to_rgb(s, COUNT, w, drgb);
        for (size_t i = 0; i < 3 * COUNT; i++) {
            float kept = rgb[i];
            rgb[i] = kept + 64;
            double high = weighted(s, rgb, w), step = (double)rgb[i];
            rgb[i] = kept - 64;
            double slope = (high - weighted(s, rgb, w)) / (step - (double)rgb[i]);
            rgb[i] = kept;
            double unit = (double)s->range / 255 / (double)s->std[0];
            if (!(fabs((double)drgb[i] - slope) <= 1e-5 * unit))
                fail_msg("spec %zu [%zu]: expected %g, found %g", n, i, slope,
                    (double)drgb[i]);
        }
    }
}

/* --- network --- */

static void taps(void **state) {
    (void)state;
    static const char *const names[] = {
        "relu1_1", "pool1", "relu7_7", "conv2_1", "fc8"};
    imp_model *m = make_model(
        (imp_model_options){.architecture = "vgg16", .divisor = 16, .seed = 3});
    imp_id ids[5];
    imp_graph *g = imp_graph_new(ctx);
    imp_id x = imp_graph_input(g, "x", (imp_shape){2, 3, 224, 224, IMP_MAP}, false);
    imp_network_options o = {.last = "relu2_1"};
    imp_id last = imp_network(g, m, x, &o, names, ids, 5);
    assert_true(ids[0] >= 0 && ids[1] > ids[0] && ids[3] > ids[1] && last > ids[3]);
    assert_true(ids[2] == IMP_NONE && ids[4] == IMP_NONE);
    assert_int_equal(imp_graph_shape(g, ids[1]).h, 112);
    assert_int_equal(imp_graph_shape(g, last).c, 8);
    o.last = NULL;
    last = imp_network(g, m, x, &o, names, ids, 5);
    assert_int_equal(last, ids[4]);
    assert_int_equal(imp_graph_shape(g, last).c, 1000);
    assert_int_equal(imp_graph_shape(g, last).n, 2);
    imp_graph_free(g);
    imp_model_free(m);
}

/* --- classification --- */

static float *classify(const imp_model *m, const imp_picture *p, imp_fit fit) {
    size_t n = imp_model_describe(m).classes;
    float *out = malloc(n * sizeof *out);
    if (imp_classify(ctx, m, p, fit, out) != IMP_OK) fail_msg("%s", imp_ctx_error(ctx));
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(out[i] >= 0 && out[i] <= 1);
        sum += (double)out[i];
    }
    assert_true(fabs(sum - 1) < 1e-5);
    return out;
}

static double distance(const float *a, const float *b, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)(a[i] - b[i])));
    return worst;
}

static void probabilities(void **state) {
    (void)state;
    static const imp_model_options kinds[] = {
        {.architecture = "vgg16", .divisor = 16, .seed = 3},
        {.architecture = "vgg19", .divisor = 32, .seed = 3},
        {.architecture = "lenet", .seed = 3}, {.architecture = "mlp", .seed = 3}};
    imp_picture dot;
    assert_int_equal(imp_picture_new(ctx, &dot, 1, 1), IMP_OK);
    for (size_t k = 0; k < 4; k++) {
        imp_model *m = make_model(kinds[k]);
        imp_model_info info = imp_model_describe(m);
        float *crop = classify(m, &photo, IMP_FIT_CROP),
              *squash = classify(m, &photo, IMP_FIT_SQUASH),
              *as_model = classify(m, &photo, IMP_FIT_MODEL);
        bool cropped = info.input.fit == IMP_FIT_CROP;
        assert_true(cropped == (k < 2));
        assert_memory_equal(
            as_model, cropped ? crop : squash, info.classes * sizeof *crop);
        assert_true(distance(crop, squash, info.classes) > 1e-4);
        free(classify(m, &dot, IMP_FIT_CROP));
        free(crop);
        free(squash);
        free(as_model);
        imp_model_free(m);
    }
    imp_picture_free(&dot);
}

/* The same function with its features in the other order. */
static void flatten_orders(void **state) {
    (void)state;
    static const imp_safetensors_pair hwc = {"flatten", "hwc"};
    imp_model *m = make_model(
        (imp_model_options){.architecture = "vgg16", .divisor = 16, .seed = 4});
    model_file f = {.metadata = &hwc, .n_metadata = 1};
    imp_model *other = load_model(write_model(m, "hwc", &f));
    assert_int_equal(imp_model_describe(other).input.flatten, IMP_FLATTEN_HWC);
    float *expected = classify(m, &photo, IMP_FIT_MODEL),
          *mixed = classify(other, &photo, IMP_FIT_MODEL);
    assert_true(distance(expected, mixed, 1000) > 1e-3);
    const imp_tensor *from = &m->tensors[26], *to = &other->tensors[26];
    assert_string_equal(to->name, "fc6.weight");
    size_t channels = 32, places = 49;
    for (size_t o = 0; o < to->shape.n; o++)
        for (size_t i = 0; i < to->shape.c; i++) {
            size_t chw = i % channels * places + i / channels;
            to->blocked[imp_weight_offset(&to->shape, o, i, 0, 0)] =
                from->blocked[imp_weight_offset(&from->shape, o, chw, 0, 0)];
        }
    float *same = classify(other, &photo, IMP_FIT_MODEL);
    assert_true(distance(expected, same, 1000) < 1e-5);
    free(expected);
    free(mixed);
    free(same);
    imp_model_free(other);
    imp_model_free(m);
}

static void refused(void **state) {
    (void)state;
    imp_picture line;
    float p[1000];
    imp_model *m = make_model(
        (imp_model_options){.architecture = "vgg19", .divisor = 64, .features = true});
    assert_failed(
        imp_classify(ctx, m, &photo, IMP_FIT_MODEL, p), IMP_ERR_MODEL, "classifier");
    imp_model_free(m);
    m = make_model((imp_model_options){.architecture = "lenet"});
    assert_int_equal(imp_picture_new(ctx, &line, 1, 2000), IMP_OK);
    assert_failed(imp_classify(ctx, m, &line, IMP_FIT_CROP, p), IMP_ERR_DATA, "squash");
    free(classify(m, &line, IMP_FIT_SQUASH));
    imp_picture_free(&line);
    imp_model_free(m);
}

static int setup(void **state) {
    if (files_setup(state) || imp_picture_new(ctx, &photo, 60, 45) != IMP_OK) return -1;
    for (size_t i = 0; i < 3 * 60 * 45; i++)
        photo.planes[i] =
            (float)(127 + 100 * sin((double)(i % 60) * 0.1) + 20 * imp_uniform(1, i));
    return 0;
}

static int teardown(void **state) {
    imp_picture_free(&photo);
    return files_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input),
        cmocka_unit_test(input_gradient),
        cmocka_unit_test(taps),
        cmocka_unit_test(probabilities),
        cmocka_unit_test(flatten_orders),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests_name("classify", tests, setup, teardown);
}
