/* SPDX-License-Identifier: MIT
 *
 * Every format and naming of tests/golden/foreign/ becomes the same numbers, bit for bit, and
 * is told for what it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "files.h"
#include "foreign/convert.h"
#include "foreign/recognise.h"
#include "model/model.h"

typedef struct file {
    const char *name, *format, *naming;
    bool bgr;
    float range;
    bool conv_only; /* it has no classifier */
} file;

static const file files[] = {
    {"vgg19.safetensors", "safetensors", "", true, 255, false},
    {"vgg16.safetensors", "safetensors", "", true, 255, false},
    {"vgg19-torchvision.safetensors", "safetensors", "", false, 1, false},
    {"vgg19-timm.safetensors", "safetensors", "", false, 1, false},
    {"vgg19.legacy.pth", "PyTorch (legacy)", "torchvision", false, 1, false},
    {"vgg19.zip.pth", "PyTorch (zip)", "torchvision", false, 1, false},
    {"vgg16.zip.pth", "PyTorch (zip)", "torchvision", false, 1, false},
    {"vgg19-d01eb7cb.pth", "PyTorch (zip)", "torchvision, from Caffe", true, 255,
        false},
    {"vgg_conv.pth", "PyTorch (legacy)", "Oxford", true, 255, true},
    {"vgg19.npz", "NumPy (npz)", "Oxford (arrays of W and b)", false, 255, false},
    {"vgg19-packed.npz", "NumPy (npz)", "Oxford (arrays of W and b)", false, 255, true},
    {"vgg19-old.mat", "MatConvNet", "Oxford", false, 255, false},
    {"vgg19-new.mat", "MatConvNet", "Oxford", false, 255, false},
    {"vgg16-new.mat", "MatConvNet", "Oxford", false, 255, false},
    {"vgg19-old.h5", "Keras (HDF5)", "Keras", true, 255, false},
    {"vgg19-notop.h5", "Keras (HDF5)", "Keras", true, 255, true},
    {"vgg16-model.h5", "Keras (HDF5)", "Keras", true, 255, false},
    {"vgg19.onnx", "ONNX", "order of the graph", false, 1, false},
    {"vgg19-zoo.onnx", "ONNX", "order of the graph", false, 1, false},
    {"vgg16.onnx", "ONNX", "order of the graph", false, 1, false},
    {"vgg19-v1.caffemodel", "Caffe", "Oxford", true, 255, false},
    {"vgg19-v2.caffemodel", "Caffe", "Oxford", true, 255, false},
    {"vgg16-v1.caffemodel", "Caffe", "Oxford", true, 255, false},
};

static const char *golden(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, GOLDEN_DIR "/foreign/%s", name);
    return path;
}

static const imp_convert_options plain = {.bgr = -1, .overwrite = true};

static imp_model *converted(
    const char *name, const imp_convert_options *o, imp_converted *c) {
    const char *out = in_folder("out.safetensors");
    imp_model *m = NULL;
    if (imp_convert(ctx, golden(name), out, o, c) != IMP_OK ||
        imp_model_load(ctx, &m, out) != IMP_OK)
        fail_msg("%s", imp_ctx_error(ctx));
    return m;
}

/* The n first tensors. */
static void assert_same(const imp_model *a, const imp_model *b, size_t n) {
    assert_true(n > 0 && n <= a->n_tensors && n <= b->n_tensors);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(a->tensors[i].name, b->tensors[i].name);
        assert_memory_equal(
            &a->tensors[i].shape, &b->tensors[i].shape, sizeof(imp_shape));
        assert_memory_equal(a->tensors[i].blocked, b->tensors[i].blocked,
            imp_blocked_count(a->tensors[i].shape) * sizeof(float));
    }
}

static void test_same_numbers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const file *f = &files[i];
        imp_model *truth;
        const char *architecture = strncmp(f->name, "vgg16", 5) ? "vgg19" : "vgg16";
        char name[40];
        snprintf(name, sizeof name, "%s.safetensors", architecture);
        assert_int_equal(imp_model_load(ctx, &truth, golden(name)), IMP_OK);
        imp_converted c;
        imp_model *m = converted(f->name, &plain, &c);
        assert_int_equal(m->n_tensors, truth->n_tensors - (f->conv_only ? 6 : 0));
        assert_same(m, truth, m->n_tensors);
        assert_string_equal(c.format, f->format);
        assert_string_equal(c.naming, f->naming);
        assert_string_equal(c.architecture, architecture);
        assert_int_equal(c.divisor, 64);
        assert_int_equal(c.classes, f->conv_only ? 0 : 10);
        assert_int_equal(c.parameters, m->info.parameters);
        assert_int_equal(c.input.bgr, f->bgr);
        assert_true(c.input.range == f->range);
        /* and the file says the same */
        assert_memory_equal(c.input.mean, m->info.input.mean, sizeof c.input.mean);
        assert_memory_equal(c.input.std, m->info.input.std, sizeof c.input.std);
        assert_int_equal(m->info.input.bgr, f->bgr);
        assert_true(m->info.input.range == f->range);
        imp_model_free(m);
        imp_model_free(truth);
    }
}

static void assert_floats(const float *x, float a, float b, float c) {
    if (fabsf(x[0] - a) + fabsf(x[1] - b) + fabsf(x[2] - c) > 1e-4f)
        fail_msg("expected %g %g %g, found %g %g %g", (double)a, (double)b, (double)c,
            (double)x[0], (double)x[1], (double)x[2]);
}

/* What a network wants to see: each naming's own, MatConvNet's from the file. */
static void test_means(void **state) {
    (void)state;
    imp_converted c;
    imp_model_free(converted("vgg19.npz", &plain, &c));
    assert_floats(c.input.mean, 123.68f, 116.779f, 103.939f);
    imp_model_free(converted("vgg19-new.mat", &plain, &c));
    assert_floats(c.input.mean, 123.68f, 116.779f, 103.939f);
    imp_model_free(converted("vgg19-v1.caffemodel", &plain, &c));
    assert_floats(c.input.mean, 103.939f, 116.779f, 123.68f);
    assert_floats(c.input.std, 1, 1, 1);
    imp_model_free(converted("vgg19.zip.pth", &plain, &c));
    assert_floats(c.input.mean, 0.485f, 0.456f, 0.406f);
    assert_floats(c.input.std, 0.229f, 0.224f, 0.225f);
}

static void test_options(void **state) {
    (void)state;
    static const char *const names[] = {
        "vgg19.zip.pth", "vgg19-torchvision.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        imp_converted c;
        imp_convert_options o = plain;
        o.conv_only = o.half = true;
        o.bgr = 1;
        o.range = 255;
        imp_model *m = converted(names[i], &o, &c),
                  *whole = converted(names[i], &plain, NULL);
        assert_int_equal(m->n_tensors, 32);
        assert_int_equal(m->info.classes, 0);
        assert_true(m->info.input.bgr && m->info.input.range > 1);
        assert_floats(m->info.input.mean, 0.406f, 0.456f, 0.485f);
        const imp_tensor *a = &m->tensors[20], *b = &whole->tensors[20];
        float most = 0;
        for (size_t k = 0; k < imp_blocked_count(a->shape); k++)
            most = fmaxf(most, fabsf(a->blocked[k] - b->blocked[k]));
        assert_true(most > 0 && most < 1e-3f); /* as float16 */
        imp_model_free(m);
        imp_model_free(whole);
    }
    imp_converted c;
    imp_convert_options o = plain;
    o.mean = (const float[]){1, 2, 3};
    o.std = (const float[]){4, 5, 6};
    imp_model_free(converted("vgg_conv.pth", &o, &c));
    assert_floats(c.input.mean, 1, 2, 3);
    assert_floats(c.input.std, 4, 5, 6);
}

static void test_is_foreign(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_int_equal(imp_convert_is_foreign(golden(files[i].name)),
            strcmp(files[i].format, "safetensors") != 0);
    assert_false(imp_convert_is_foreign(in_folder("absent")));
    assert_false(imp_convert_is_foreign(make_file("text", "hello", 5)));
}

static bool at_once(void) {
    return true;
}

static void test_refused(void **state) {
    (void)state;
    const char *out = in_folder("new.safetensors");
    imp_convert_options o = plain;
    o.stop = at_once;
    assert_int_equal(
        imp_convert(ctx, golden("vgg19.zip.pth"), out, &o, NULL), IMP_ERR_FILE);
    assert_int_equal(access(out, F_OK), -1);
    assert_int_equal(imp_convert(ctx, make_file("text", "hello", 5), out, &plain, NULL),
        IMP_ERR_MODEL);
    assert_non_null(strstr(imp_ctx_error(ctx), "format: expected"));
    make_file("new.safetensors", "old", 3);
    o = plain;
    o.overwrite = false;
    assert_int_equal(
        imp_convert(ctx, golden("vgg19.zip.pth"), out, &o, NULL), IMP_ERR_FILE);
}

static void test_no_turned_kernels(void **state) {
    (void)state;
    imp_model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    imp_origin origins[IMP_ORIGINS];
    const char *naming;
    imp_foreign f = {.ctx = ctx, .path = "th_kernels.h5"};
    imp_foreign_tensor w = {.name = "block1_conv1/block1_conv1_W_1:0",
        .dtype = IMP_DTYPE_F32,
        .ndim = 4,
        .shape = {64, 3, 3, 3}};
    imp_foreign_tensor b = {.name = "block1_conv1/block1_conv1_b_1:0",
        .dtype = IMP_DTYPE_F32,
        .ndim = 1,
        .shape = {64}};
    assert_int_equal(imp_foreign_add(&f, &w), IMP_OK);
    assert_int_equal(imp_foreign_add(&f, &b), IMP_OK);
    assert_int_equal(
        imp_recognise(&f, "Keras", false, m, origins, &naming), IMP_ERR_MODEL);
    assert_non_null(strstr(imp_ctx_error(ctx), "found Theano's"));
    imp_model_free(m);
    free(f.tensors);
}

/* VGG-19's own biases to two digits, VGG-16's, and torchvision's. */
static void test_oxford_by_numbers(void **state) {
    (void)state;
    static const float biases[][16] = {
        {0.73f, 0.06f, 0.03f, 0.83f, 0.26f, 0.55f, -0.01f, 0.35f, 0.55f, 0.06f, 0.61f,
            0.27f, 0.65f, 0.17f, 0.48f, 0.38f},
        {0.73f, 0.09f, 0.07f, 0.89f, 0.26f, 0.66f, -0.02f, 0.32f, 0.69f, 0.06f, 0.58f,
            0.24f, 0.70f, 0.19f, 0.49f, 0.45f},
        {0.40f, 0.38f, 0.46f, -0.32f, 0.39f, -0.40f, 0.40f, -0.55f, 0.27f, -0.76f,
            -0.35f, 0.23f, -1.32f, -0.17f, 0.39f, -0.10f},
        {0}};
    float weight[16 * 27] = {0.65f};
    for (size_t i = 0; i < 4; i++) {
        imp_model m = {.info.input = {.channels = 3, .range = 1, .mean = {0.485f}}};
        weight[5] = 37; /* made to see 0..1 */
        assert_false(imp_recognise_oxford(&m, weight, biases[i], 16));
        weight[5] = 0;
        assert_false(imp_recognise_oxford(&m, weight, biases[i], 15));
        assert_int_equal(imp_recognise_oxford(&m, weight, biases[i], 16), i < 2);
        assert_int_equal(m.info.input.bgr, i < 2);
        assert_true(m.info.input.mean[0] == (i < 2 ? 103.939f : 0.485f));
        m.info.input.range = 255; /* Keras, Caffe: known already */
        assert_false(imp_recognise_oxford(&m, weight, biases[0], 16));
    }
}

static void test_no_normalisation(void **state) {
    (void)state;
    imp_model m = {0};
    imp_origin origins[IMP_ORIGINS];
    const char *naming;
    imp_foreign f = {.ctx = ctx, .path = "vgg19_bn.pth"};
    static const char *const names[] = {"features.0.weight", "features.1.running_mean"};
    for (size_t i = 0; i < 2; i++) {
        imp_foreign_tensor t = {.dtype = IMP_DTYPE_F32, .ndim = 1, .shape = {64}};
        strcpy(t.name, names[i]);
        assert_int_equal(imp_foreign_add(&f, &t), IMP_OK);
    }
    assert_int_equal(
        imp_recognise(&f, "PyTorch", false, &m, origins, &naming), IMP_ERR_MODEL);
    assert_string_equal(imp_ctx_error(ctx),
        "vgg19_bn.pth: tensor features.1.running_mean: expected a VGG without batch "
        "normalisation, found one with");
    free(f.tensors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_numbers),
        cmocka_unit_test(test_means),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_is_foreign),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_oxford_by_numbers),
        cmocka_unit_test(test_no_normalisation),
        cmocka_unit_test(test_no_turned_kernels),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
