/* SPDX-License-Identifier: MIT
 *
 * Models and their files: made, saved, loaded; other people's names; metadata; files
 * with faults.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "files.h"
#include "model_files.h"

#define SMALL_VGG(name)                                                                \
    { .architecture = name, .divisor = 16, .seed = 5 }

static const size_t widths[] = {32, 17};
static const imp_model_options kinds[] = {SMALL_VGG("vgg19"), SMALL_VGG("vgg16"),
    {.architecture = "vgg19", .divisor = 8, .last = "relu5_1", .seed = 5},
    {.architecture = "lenet", .seed = 5},
    {.architecture = "mlp", .hidden = widths, .n_hidden = 2, .seed = 5},
    {.architecture = "mlp", .seed = 5}};
#define KINDS (sizeof kinds / sizeof *kinds)

static void assert_same_input(const imp_input_spec *a, const imp_input_spec *b) {
    assert_int_equal(a->channels, b->channels);
    assert_int_equal(a->bgr, b->bgr);
    assert_true(a->range == b->range);
    assert_memory_equal(a->mean, b->mean, a->channels * sizeof *a->mean);
    assert_memory_equal(a->std, b->std, a->channels * sizeof *a->std);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->fit, b->fit);
    assert_int_equal(a->flatten, b->flatten);
}

static void assert_same_model(const imp_model *a, const imp_model *b) {
    imp_model_info s = imp_model_describe(a), t = imp_model_describe(b);
    assert_string_equal(s.architecture, t.architecture);
    assert_int_equal(s.divisor, t.divisor);
    assert_int_equal(s.classes, t.classes);
    assert_int_equal(s.parameters, t.parameters);
    assert_same_input(&s.input, &t.input);
    assert_same_tensors(a, b);
}

/* --- made --- */

/* The one that comes with the library: VGG-19's taps, trained, in its file at most 3 MB. */
static void builtin(void **state) {
    (void)state;
    static const char *const taps[] = {
        "relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1"};
    imp_model *m;
    assert_int_equal(imp_model_builtin(ctx, &m), IMP_OK);
    imp_model_info info = imp_model_describe(m);
    assert_string_equal(info.architecture, "vgg19");
    assert_true(info.listed && !info.random && info.classes == 0);
    assert_true(info.parameters < 1500000);
    assert_same_input(&info.input, &(imp_input_spec){.channels = 3,
                                       .bgr = true,
                                       .range = 255,
                                       .mean = {103.939f, 116.779f, 123.68f},
                                       .std = {1, 1, 1},
                                       .size = 224,
                                       .fit = IMP_FIT_CROP});
    for (size_t i = 0; i < sizeof taps / sizeof *taps; i++)
        assert_true(imp_zoo_find(m, taps[i]) < m->n_layers);
    imp_model_free(m);
}

/* Deviation sqrt(2 / fan-in), mean 0, within five deviations of the estimates. */
static void check_he(const imp_tensor *t) {
    size_t n = imp_plain_count(t->shape);
    float *plain = malloc(n * sizeof *plain);
    double sum = 0, square = 0;
    imp_from_blocked(t->shape, t->blocked, plain);
    for (size_t i = 0; i < n; i++) {
        sum += (double)plain[i];
        square += (double)plain[i] * (double)plain[i];
    }
    free(plain);
    if (t->shape.layout == IMP_MAP) {
        assert_true(square == 0); /* a bias */
        return;
    }
    double deviation = sqrt(2 / (double)(t->shape.c * t->shape.h * t->shape.w));
    double found = sqrt(square / (double)n);
    if (!(fabs(found / deviation - 1) < 5 / sqrt(2 * (double)n)))
        fail_msg("%s: deviation: expected %g, found %g", t->name, deviation, found);
    assert_true(fabs(sum) < 5 * deviation * sqrt((double)n));
}

static void he_weights(void **state) {
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        imp_model *m = make_model(kinds[k]);
        assert_true(imp_model_describe(m).random);
        for (size_t i = 0; i < m->n_tensors; i++) check_he(&m->tensors[i]);
        imp_model_free(m);
    }
}

static void seeds(void **state) {
    (void)state;
    imp_ctx *many;
    imp_ctx_options seven = {.threads = 7};
    assert_int_equal(imp_ctx_new(&many, &seven), IMP_OK);
    for (size_t k = 0; k < KINDS; k++) {
        imp_model_options other = kinds[k];
        other.seed = 6;
        imp_model *a = make_model(kinds[k]), *b, *c = make_model(other);
        assert_int_equal(imp_model_init(many, &b, &kinds[k]), IMP_OK);
        assert_same_model(a, b);
        for (size_t i = 0; i < a->n_tensors; i += 2) {
            size_t bytes = imp_blocked_count(a->tensors[i].shape) * sizeof(float);
            assert_true(memcmp(a->tensors[i].blocked, c->tensors[i].blocked, bytes));
        }
        imp_model_free(a);
        imp_model_free(b);
        imp_model_free(c);
    }
    imp_ctx_free(many);
}

static void bad_options(void **state) {
    (void)state;
    static const size_t zero[] = {0}, wide[] = {65537},
                        many[] = {3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3};
    static const imp_model_options bad[] = {{.architecture = "alexnet"},
        {.architecture = "vgg19", .divisor = 3},
        {.architecture = "vgg16", .divisor = 128},
        {.architecture = "vgg16", .divisor = 16, .last = "relu3_4"},
        {.architecture = "vgg16", .channels = zero, .n_channels = 1},
        {.architecture = "vgg16", .channels = wide, .n_channels = 1},
        {.architecture = "vgg16", .channels = many, .n_channels = 14},
        {.architecture = "vgg16", .channels = many, .n_channels = 3, .divisor = 2},
        {.architecture = "lenet", .channels = many, .n_channels = 1},
        {.architecture = "vgg16", .channels = many, .n_channels = 1, .ranks = wide},
        {.architecture = "mlp", .hidden = zero, .n_hidden = 1},
        {.architecture = "mlp", .hidden = wide, .n_hidden = 1},
        {.architecture = "mlp", .hidden = wide, .n_hidden = 17}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        imp_model *m;
        assert_failed(imp_model_init(ctx, &m, &bad[i]), IMP_ERR_ARG, "expected");
        assert_null(m);
    }
    imp_model_free(NULL);
}

/* What m makes of 5 x 7 places, plain, to be freed. */
static float *run_network(const imp_model *m) {
    imp_graph *g = imp_graph_new(ctx);
    imp_shape in = {1, 3, 5, 7, IMP_MAP};
    float x[3 * 5 * 7];
    for (size_t i = 0; i < 3 * 5 * 7; i++) x[i] = (float)sin((double)i);
    imp_id id = imp_graph_input(g, "x", in, false);
    imp_id y = imp_network(g, m, id, &(imp_network_options){0}, NULL, NULL, 0);
    imp_graph_keep(g, y);
    assert_int_equal(imp_graph_plan(g, false), IMP_OK);
    assert_int_equal(imp_graph_write(g, id, x), IMP_OK);
    imp_graph_forward(g);
    float *out = malloc(imp_plain_count(imp_graph_shape(g, y)) * sizeof *out);
    assert_int_equal(imp_graph_read(g, y, out), IMP_OK);
    imp_graph_free(g);
    return out;
}

/* A convolution of two factors is the one whose kernel is their product; the file gives them
 * back. */
static void low_rank(void **state) {
    (void)state;
    static const size_t channels[] = {5, 18}, ranks[] = {0, 3};
    imp_model_options o = {
        .architecture = "vgg19", .channels = channels, .n_channels = 2, .seed = 6};
    imp_model *plain = make_model(o);
    o.ranks = ranks;
    imp_model *m = make_model(o);
    assert_int_equal(m->n_tensors, 6);
    assert_string_equal(m->tensors[2].name, "factor1_2.weight");
    assert_string_equal(m->tensors[4].name, "conv1_2.weight");
    const imp_tensor *first = &m->tensors[2], *second = &m->tensors[4];
    imp_tensor *product = &plain->tensors[2];
    for (size_t k = 0; k < imp_plain_count(product->shape); k++) {
        size_t r = k % 9, c = k / 9 % 5, n = k / 45;
        double sum = 0;
        for (size_t i = 0; i < 3; i++)
            sum +=
                (double)second->blocked[imp_weight_offset(&second->shape, n, i, 0, 0)] *
                (double)first
                    ->blocked[imp_weight_offset(&first->shape, i, c, r / 3, r % 3)];
        product->blocked[imp_weight_offset(&product->shape, n, c, r / 3, r % 3)] =
            (float)sum;
    }
    for (size_t t = 0; t < 2; t++)
        memcpy(plain->tensors[t].blocked, m->tensors[t].blocked,
            imp_blocked_count(m->tensors[t].shape) * sizeof(float));
    float *a = run_network(plain), *b = run_network(m);
    bool any = false;
    for (size_t i = 0; i < 18 * 5 * 7; i++) {
        assert_true(fabsf(a[i] - b[i]) <= 2e-5f);
        any |= a[i] > 0.1f;
    }
    assert_true(any);
    free(a);
    free(b);
    const char *path = in_folder("rank");
    assert_int_equal(imp_model_save(ctx, m, path, NULL), IMP_OK);
    imp_model *loaded = load_model(path);
    assert_same_model(m, loaded);
    imp_model_free(loaded);
    imp_model_free(plain);
    imp_model_free(m);
}

/* The first layers of a network are those of the whole one. */
static void cut(void **state) {
    (void)state;
    imp_model_options o = SMALL_VGG("vgg19");
    imp_model *whole = make_model(o);
    o.last = "relu3_1";
    imp_model *m = make_model(o);
    assert_int_equal(imp_model_describe(m).classes, 0);
    assert_int_equal(m->n_tensors, 10);
    assert_string_equal(m->tensors[8].name, "conv3_1.weight");
    for (size_t i = 0; i < m->n_tensors; i++)
        assert_memory_equal(m->tensors[i].blocked, whole->tensors[i].blocked,
            imp_blocked_count(m->tensors[i].shape) * sizeof(float));
    imp_model_free(m);
    imp_model_free(whole);
}

/* --- saved and loaded --- */

static void assert_same_files(const char *a, const char *b) {
    imp_file f;
    assert_int_equal(imp_file_open(ctx, &f, a, IMP_ERR_DATA), IMP_OK);
    assert_holds(b, f.data, f.size);
    imp_file_close(&f);
}

/* Half the bytes; each number the nearest of half precision, and from then on the same. */
static void half_precision(void **state) {
    (void)state;
    imp_save_options half = {.overwrite = true, .half = true};
    imp_model *m = make_model(kinds[0]);
    const char *first = in_folder("first"), *second = in_folder("second");
    assert_int_equal(imp_model_save(ctx, m, first, &half), IMP_OK);
    imp_model *loaded = load_model(first);
    for (size_t t = 0; t < m->n_tensors; t++)
        for (size_t i = 0; i < imp_blocked_count(m->tensors[t].shape); i++) {
            float w = m->tensors[t].blocked[i];
            assert_true(fabsf(loaded->tensors[t].blocked[i] - w) <=
                        fmaxf(fabsf(w) / 2048, 0x1p-25f));
        }
    assert_int_equal(imp_model_save(ctx, loaded, second, &half), IMP_OK);
    assert_same_files(first, second);
    imp_file f;
    assert_int_equal(imp_file_open(ctx, &f, first, IMP_ERR_DATA), IMP_OK);
    assert_true(f.size < 2 * imp_model_describe(m).parameters + 8192);
    imp_file_close(&f);
    m->tensors[3].blocked[0] = 1e6f;
    assert_failed(imp_model_save(ctx, m, second, &half), IMP_ERR_NUMERIC, "second");
    imp_model_free(loaded);
    imp_model_free(m);
}

static void round_trip(void **state) {
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        imp_model *m = make_model(kinds[k]);
        const char *first = in_folder("first"), *second = in_folder("second");
        assert_int_equal(
            imp_model_save(ctx, m, first, &(imp_save_options){.overwrite = true}),
            IMP_OK);
        imp_model *loaded = load_model(first);
        assert_same_model(m, loaded);
        assert_int_equal(
            imp_model_save(ctx, loaded, second, &(imp_save_options){.overwrite = true}),
            IMP_OK);
        assert_same_files(first, second);
        assert_failed(imp_model_save(ctx, m, first, NULL), IMP_ERR_FILE, "first");
        imp_model_free(m);
        imp_model_free(loaded);
    }
    assert_no_temporary();
}

/* --- other people's names --- */

static const int vgg19_features[] = {
    0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34};
static const int vgg16_features[] = {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28};
static const char *const torchvision[] = {
    "classifier.0", "classifier.3", "classifier.6"};
static const char *const timm[] = {"pre_logits.fc1", "pre_logits.fc2", "head.fc"};

/* A name for each tensor of the model. */
static const char *const *foreign_names(
    const imp_model *m, const char *const *fully_connected) {
    static char text[MAX_TENSORS][40];
    static const char *names[MAX_TENSORS];
    bool deep = !strcmp(m->architecture, "vgg19");
    size_t convolutions = deep ? 16 : 13;
    for (size_t i = 0; i < m->n_tensors; i++) {
        size_t layer = i / 2;
        const char *what = i % 2 ? "bias" : "weight";
        if (layer < convolutions)
            snprintf(text[i], sizeof text[i], "features.%d.%s",
                deep ? vgg19_features[layer] : vgg16_features[layer], what);
        else
            snprintf(text[i], sizeof text[i], "%s.%s",
                fully_connected[layer - convolutions], what);
        names[i] = text[i];
    }
    return names;
}

static const imp_input_spec imagenet_input = {.channels = 3,
    .range = 1,
    .mean = {0.485f, 0.456f, 0.406f},
    .std = {0.229f, 0.224f, 0.225f},
    .size = 224,
    .fit = IMP_FIT_CROP};

static void check_foreign(const imp_model *m, model_file f, size_t classes) {
    imp_model *loaded = load_model(write_model(m, "foreign", &f));
    imp_model_info info = imp_model_describe(loaded);
    assert_string_equal(info.architecture, m->architecture);
    assert_int_equal(info.divisor, 16);
    assert_int_equal(info.classes, classes);
    assert_false(info.random);
    assert_same_input(&info.input, &imagenet_input);
    if (classes)
        assert_same_tensors(m, loaded);
    else
        assert_int_equal(loaded->n_tensors, f.n);
    imp_model_free(loaded);
}

static void foreign(void **state) {
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        imp_model *m = make_model(kinds[k]);
        model_file f = {.names = foreign_names(m, torchvision)};
        check_foreign(m, f, 1000);
        f.n = m->n_tensors - 6; /* features alone */
        check_foreign(m, f, 0);
        f.n = 2 * 8; /* conv3_3 of VGG-16 ends block 3: conv4_1; conv3_4 of VGG-19 */
        check_foreign(m, f, 0);
        f = (model_file){.names = foreign_names(m, timm)};
        check_foreign(m, f, 1000);
        f.reshape = "pre_logits.fc1.weight"; /* as timm writes it */
        f.ndim = 4;
        memcpy(f.shape, (size_t[]){256, 32, 7, 7}, sizeof f.shape);
        check_foreign(m, f, 1000);
        imp_model_free(m);
    }
}

/* Oxford's own: our names without metadata. */
static void bare(void **state) {
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        imp_model *m = make_model(kinds[k]);
        model_file f = {0};
        imp_model *loaded = load_model(write_model(m, "bare", &f));
        assert_same_model(m, loaded);
        assert_true(imp_model_describe(loaded).input.bgr);
        imp_model_free(loaded);
        f.n = 2 * 3; /* to conv2_1 */
        loaded = load_model(write_model(m, "bare", &f));
        assert_string_equal(imp_model_layer(loaded, 2), "relu2_1");
        assert_null(imp_model_layer(loaded, 3));
        imp_model_free(loaded);
        imp_model_free(m);
    }
}

/* Channels layer by layer: as asked, saved, read back, and cut where the file is. */
static void listed(void **state) {
    (void)state;
    static const size_t channels[] = {64, 5, 17, 32, 7};
    imp_model *m = make_model((imp_model_options){
        .architecture = "vgg19", .channels = channels, .n_channels = 5, .seed = 6});
    assert_int_equal(m->n_tensors, 10);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(m->tensors[2 * i].shape.n, channels[i]);
        assert_int_equal(m->tensors[2 * i].shape.c, i ? channels[i - 1] : 3);
    }
    const char *path = in_folder("listed");
    assert_int_equal(imp_model_save(ctx, m, path, NULL), IMP_OK);
    imp_model *loaded = load_model(path);
    assert_same_tensors(m, loaded);
    imp_model_info info = imp_model_describe(loaded);
    assert_true(info.listed && info.divisor == 1 && info.classes == 0);
    imp_model_free(loaded);
    static const char *const layers[] = {"relu2_1"};
    assert_int_equal(imp_model_load_layers(ctx, &loaded, path, layers, 1), IMP_OK);
    assert_int_equal(loaded->n_tensors, 6);
    assert_int_equal(
        imp_model_save(ctx, loaded, path, &(imp_save_options){.overwrite = true}),
        IMP_OK);
    imp_model *again = load_model(path);
    assert_same_tensors(loaded, again);
    imp_model_free(again);
    imp_model_free(loaded);
    imp_model_free(m);
}

/* --- metadata --- */

static void overrides(void **state) {
    (void)state;
    static const imp_safetensors_pair pairs[] = {{"architecture", "vgg16"},
        {"input.order", "bgr"}, {"input.range", "255"}, {"input.mean", "1.5,-2,3e1"},
        {"input.std", "4,5,.5"}, {"input.size", "96"}, {"input.fit", "squash"},
        {"flatten", "hwc"}, {"width.divisor", "16"}, {"unknown", "ignored"}};
    imp_model *m = make_model(kinds[1]);
    model_file f = {.names = foreign_names(m, torchvision),
        .n = 26,
        .metadata = pairs,
        .n_metadata = sizeof pairs / sizeof *pairs};
    imp_model *loaded = load_model(write_model(m, "overrides", &f));
    imp_model_info info = imp_model_describe(loaded);
    imp_input_spec expected = {3, true, 255, {1.5f, -2, 30}, {4, 5, 0.5f}, 96,
        IMP_FIT_SQUASH, IMP_FLATTEN_HWC};
    assert_same_input(&info.input, &expected);
    imp_model_free(loaded);
    imp_model_free(m);
}

static void labels(void **state) {
    (void)state;
    static const imp_safetensors_pair names = {"classes",
        "[\"a\",\"\",\"\\u00e4\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"a \\\"quote\"]"};
    imp_model *m = make_model(kinds[4]), *vgg = make_model(kinds[0]);
    assert_string_equal(imp_model_label(m, 7), "7");
    assert_null(imp_model_label(m, 10));
    assert_non_null(strstr(imp_model_label(vgg, 281), "tabby"));
    assert_null(imp_model_label(vgg, 1000));
    model_file f = {.metadata = &names, .n_metadata = 1};
    imp_model *loaded = load_model(write_model(m, "labels", &f));
    const char *path = in_folder("labels again");
    assert_int_equal(imp_model_save(ctx, loaded, path, NULL), IMP_OK);
    imp_model *again = load_model(path);
    assert_string_equal(imp_model_label(again, 2), "\xc3\xa4");
    assert_string_equal(imp_model_label(again, 9), "a \"quote");
    assert_null(imp_model_label(again, 10));
    imp_model_free(again);
    imp_model_free(loaded);
    imp_model_free(vgg);
    imp_model_free(m);
}

static void expect_bad_file(const imp_model *m, model_file f, const char *text) {
    imp_model *loaded;
    const char *path = write_model(m, "bad", &f);
    assert_failed(imp_model_load(ctx, &loaded, path), IMP_ERR_MODEL, text);
    assert_null(loaded);
    assert_non_null(strstr(imp_ctx_error(ctx), path));
}

static void bad_metadata(void **state) {
    (void)state;
    static const imp_safetensors_pair bad[] = {{"architecture", "resnet"},
        {"architecture", ""}, {"width.divisor", "0"}, {"width.divisor", "-1"},
        {"width.divisor", "3"}, {"width.divisor", "1.5"}, {"width.divisor", ""},
        {"width.divisor", "99999999999999999999"}, {"input.order", "gbr"},
        {"input.order", "gray"}, {"input.range", "2"}, {"input.range", ""},
        {"input.mean", "1,2"}, {"input.mean", "1,2,3,4"}, {"input.mean", "1,2,3,"},
        {"input.mean", "a,b,c"}, {"input.mean", "nan,1,1"}, {"input.mean", "1,inf,1"},
        {"input.mean", "1;2;3"}, {"input.mean", ""}, {"input.std", "0,1,1"},
        {"input.std", "1,-1,1"}, {"input.std", "1"}, {"input.size", "0"},
        {"input.size", "224px"}, {"input.size", "4097"}, {"input.size", "70000"},
        {"input.fit", "stretch"}, {"flatten", "whc"}, {"classes", "["},
        {"classes", "[\"one\"]"}, {"classes", "{}"}, {"classes", "tabby"},
        {"channels", ""}, {"channels", "4,"}, {"channels", "4,,4"}, {"channels", "0"},
        {"ranks", "1"}, {"ranks", "-1"}, {"ranks", "a"}, {"channels", "4,-4"},
        {"channels", "65537"}, {"channels", "4 4"},
        {"channels",
            "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"}};
    imp_model *m = make_model(kinds[0]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *key = bad[i].key, *dot = strchr(key, '.');
        model_file f = {.metadata = &bad[i], .n_metadata = 1};
        if (!strcmp(key, "width.divisor")) key = dot + 1;
        expect_bad_file(m, f, key);
    }
    imp_model_free(m);
    m = make_model(kinds[0]); /* good numbers, of another network */
    static const imp_safetensors_pair other = {"channels", "4,5"};
    expect_bad_file(m, (model_file){.metadata = &other, .n_metadata = 1}, "conv1_2");
    imp_model_free(m);
    static const imp_safetensors_pair grey[] = {{"classes", "[0,1,2,3,4,5,6,7,8,9]"},
        {"input.order", "rgb"}, {"input.mean", "1,2,3"}};
    m = make_model(kinds[4]);
    for (size_t i = 0; i < 3; i++)
        expect_bad_file(
            m, (model_file){.metadata = &grey[i], .n_metadata = 1}, grey[i].key);
    imp_model_free(m);
}

/* --- files with faults --- */

static void missing(void **state) {
    (void)state;
    static const char *const names[] = {"conv1_1.bias", "conv3_2.weight",
        "conv5_4.weight", "conv5_4.bias", "fc6.weight", "fc7.weight", "fc8.weight",
        "fc8.bias"};
    imp_model *m = make_model(kinds[0]);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        expect_bad_file(m, (model_file){.skip = names[i]}, names[i]);
    imp_model_free(m);
    m = make_model(kinds[3]);
    expect_bad_file(m, (model_file){.skip = "fc4.weight"}, "fc4.weight");
    static const char *const unknown[] = {"a", "b"};
    expect_bad_file(m, (model_file){.names = unknown, .n = 2}, "features.0.weight");
    imp_model_free(m);
    assert_failed(
        imp_model_load(ctx, &m, in_folder("nothing")), IMP_ERR_MODEL, "nothing");
}

/* The last layer in the file says how many classes there are; their labels are the index. */
static void any_number_of_classes(void **state) {
    (void)state;
    imp_model *m = make_model((imp_model_options){
        .architecture = "mlp", .hidden = (size_t[]){32, 26}, .n_hidden = 2});
    imp_model *letters = load_model(write_model(m, "letters", &(model_file){.n = 4}));
    assert_int_equal(imp_model_describe(letters).classes, 26);
    assert_string_equal(imp_model_label(letters, 25), "25");
    assert_null(imp_model_label(letters, 26));
    imp_model_free(letters);
    imp_model_free(m);
}

static void wrong_shape(void **state) {
    (void)state;
    static const model_file bad[] = {
        {.reshape = "conv1_1.weight", .ndim = 4, .shape = {4, 9, 3, 1}},
        {.reshape = "conv2_1.weight", .ndim = 4, .shape = {4, 8, 3, 3}},
        {.reshape = "conv2_1.weight", .ndim = 2, .shape = {8, 36}},
        {.reshape = "conv4_1.bias", .ndim = 2, .shape = {32, 1}},
        {.reshape = "fc7.weight", .ndim = 2, .shape = {128, 512}},
        {.reshape = "fc7.weight", .ndim = 1, .shape = {65536}},
        {.reshape = "fc6.weight", .ndim = 4, .shape = {512, 16, 7, 7}}};
    static const imp_safetensors_pair wide = {"width.divisor", "8"};
    imp_model *m = make_model(kinds[0]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_bad_file(m, bad[i], bad[i].reshape);
    expect_bad_file(m, (model_file){.metadata = &wide, .n_metadata = 1},
        "conv1_1.weight: shape: expected [8,3,3,3], found [4,3,3,3]");
    imp_model_free(m);
}

/* Four bytes of the last tensor become a number that is none. */
static void not_finite(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    imp_model *m = make_model(kinds[3]);
    for (size_t i = 0; i < 3; i++) {
        imp_file f;
        model_file as_it_is = {0};
        const char *path = write_model(m, "finite", &as_it_is);
        assert_int_equal(imp_file_open(ctx, &f, path, IMP_ERR_DATA), IMP_OK);
        uint8_t *bytes = malloc(f.size);
        size_t size = f.size;
        memcpy(bytes, f.data, size);
        imp_file_close(&f);
        memcpy(bytes + size - 8, &bad[i], sizeof bad[i]);
        imp_model *loaded;
        path = make_file("not finite", bytes, size);
        assert_failed(imp_model_load(ctx, &loaded, path), IMP_ERR_MODEL, "fc4.bias");
        assert_null(loaded);
        free(bytes);
    }
    imp_model_free(m);
}

/* --- the real ones --- */

static void real_files(void **state) {
    (void)state;
    const char *data = getenv("IMPASTO_DATA");
    if (!data || !*data) {
        print_message("no IMPASTO_DATA: skipped\n");
        skip();
    }
    static const char *const names[] = {"vgg19-conv", "vgg19-block1-3"};
    static const size_t convolutions[] = {16, 8};
    for (size_t i = 0; i < 2; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/vgg19/%s.safetensors", data, names[i]);
        imp_model *m = load_model(path);
        imp_model_info info = imp_model_describe(m);
        assert_string_equal(info.architecture, "vgg19");
        assert_true(info.classes == 0 && info.divisor == 1 && !info.random);
        assert_int_equal(m->n_tensors, 2 * convolutions[i]);
        assert_string_equal(
            imp_model_layer(m, convolutions[i] - 1), i ? "relu3_4" : "relu5_4");
        assert_null(imp_model_layer(m, convolutions[i]));
        imp_model *made = make_model((imp_model_options){
            .architecture = "vgg19", .divisor = 64, .features = true});
        imp_model_info oxford = imp_model_describe(made);
        assert_same_input(&info.input, &oxford.input);
        imp_model_free(made);
        imp_model_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(he_weights),
        cmocka_unit_test(seeds),
        cmocka_unit_test(bad_options),
        cmocka_unit_test(low_rank),
        cmocka_unit_test(cut),
        cmocka_unit_test(builtin),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(half_precision),
        cmocka_unit_test(foreign),
        cmocka_unit_test(bare),
        cmocka_unit_test(listed),
        cmocka_unit_test(overrides),
        cmocka_unit_test(labels),
        cmocka_unit_test(bad_metadata),
        cmocka_unit_test(missing),
        cmocka_unit_test(any_number_of_classes),
        cmocka_unit_test(wrong_shape),
        cmocka_unit_test(not_finite),
        cmocka_unit_test(real_files),
    };
    return cmocka_run_group_tests_name("model", tests, files_setup, files_teardown);
}
