/* SPDX-License-Identifier: MIT
 *
 * The terms of the style beside plain Gram matrices, several paintings and masks: loss
 * and gradient against PyTorch in double (tools/oracle/terms.py); what has to be
 * exactly so. Matching alone: test_match.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "style_stage.h"

static imp_safetensors *goldens;

/* --- goldens --- */

typedef struct pictures {
    imp_picture content, start, image, painting, second, left, right, inside;
} pictures;

static pictures golden_pictures(void) {
    pictures p;
    imp_picture *all[] = {&p.content, &p.start, &p.image, &p.painting, &p.second,
        &p.left, &p.right, &p.inside};
    static const char *const names[] = {
        "content", "start", "image", "painting", "second", "left", "right", "inside"};
    for (size_t i = 0; i < 8; i++) *all[i] = golden_picture(ctx, goldens, names[i]);
    return p;
}

static void pictures_free(pictures *p) {
    imp_picture *all[] = {&p->content, &p->start, &p->image, &p->painting, &p->second,
        &p->left, &p->right, &p->inside};
    for (size_t i = 0; i < 8; i++) imp_picture_free(all[i]);
}

/* What follows the six numbers that style.py has, too. */
enum { TERMS = 6, WEIGHTS = 10, MASKED = 12, IMAGE, SCALE, LAYER_WEIGHTS };

static imp_style_options case_options(const double *attr) {
    imp_style_options o = golden_options(attr);
    o.size = SIZE_MAX;
    o.style_size = attr[SCALE] > 0 ? 0 : SIZE_MAX;
    o.style_scale = attr[SCALE];
    for (size_t i = 0; i < IMP_STYLE_TERMS; i++) o.terms[i] = attr[TERMS + i];
    for (size_t i = 0; i < 5; i++) {
        o.layer_weights[i] = attr[LAYER_WEIGHTS + i];
        o.layer_weights_given |= o.layer_weights[i] > 0;
    }
    return o;
}

static float *golden_gradient(const char *name, size_t count) {
    const imp_safetensors_entry *e = golden_find(goldens, name, "gradient");
    float *g = malloc(count * sizeof *g);
    assert_non_null(e);
    assert_int_equal(e->count, count);
    ok(imp_safetensors_floats(ctx, goldens, e, 0, count, g));
    return g;
}

/* The Bures distance of covariances without full rank lets float32 in: wasserstein.c.
 * */
static void assert_near(const char *name, nearness k, bool roots) {
    print_message("%s: gradient: 1 - cosine %.2g, median relative error %.2g\n", name,
        1 - k.cosine, k.median);
    if (!roots)
        assert_near_gradient(name, k, ctx->precision);
    else if (!(k.cosine >= 0.999999 && k.median <= 1e-3))
        fail_msg("%s gradient: cosine %.9f, median relative error %.3g", name, k.cosine,
            k.median);
}

static void check_gradient(
    const char *name, const float *found, double scale, size_t count, bool roots) {
    float *golden = golden_gradient(name, count);
    double *expected = malloc(count * sizeof *expected);
    for (size_t i = 0; i < count; i++) expected[i] = (double)golden[i];
    assert_near(name, near_gradient(found, scale, expected, count), roots);
    double square = 0, wanted = 0; /* nearness does not ask for the size */
    for (size_t i = 0; i < count; i++) {
        square += scale * (double)found[i] * scale * (double)found[i];
        wanted += expected[i] * expected[i];
    }
    assert_relative(name, "size of the gradient", sqrt(square), sqrt(wanted), 1e-4);
    free(expected);
    free(golden);
}

static void check_case(const char *name, const pictures *p) {
    double *attr = golden_need(goldens, name, "attr");
    double *golden = golden_need(goldens, name, "parts");
    imp_style_options o = case_options(attr);
    imp_style_source sources[] = {{.picture = &p->painting, .weight = attr[WEIGHTS]},
        {.picture = &p->second, .weight = attr[WEIGHTS + 1]}};
    if (attr[MASKED] > 0) {
        sources[0].content_mask = &p->left;
        sources[1].content_mask = &p->right;
        sources[1].mask = &p->inside;
    }
    stage s;
    imp_style_progress parts;
    size_t count = floats_of(&p->start);
    float *gradient = malloc(count * sizeof *gradient);
    stage_build(&s, narrow, &p->content, sources, 2, &o);
    ok(imp_targets_prepare(ctx, &s.o, attr[IMAGE] > 0 ? p->image.planes : NULL));
    double loss = imp_objective_evaluate(ctx, &s.o, p->start.planes, gradient, &parts);
    print_message("%s: loss off by %.2g\n", name, fabs(loss / golden[0] - 1));
    assert_true(loss == parts.loss);
    assert_relative(name, "loss", loss, golden[0], 1e-5);
    assert_relative(name, "content", parts.content, golden[1], 1e-5);
    assert_relative(name, "style", parts.style, golden[2], 1e-5);
    check_gradient(
        name, gradient, 1 / s.o.scale, count, o.terms[IMP_TERM_WASSERSTEIN] > 0);
    stage_free(&s);
    free(gradient);
    free(golden);
    free(attr);
}

static void terms_are_pytorch(void **state) {
    (void)state;
    static const char *const cases[] = {"cov", "nearest", "nearest_image",
        "gram_nearest", "two_styles", "regions", "style_scale", "plain"};
    pictures p = golden_pictures();
    for (int exact = 0; exact < 2; exact++) {
        ctx->precision = exact ? IMP_EXACT : IMP_FAST;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            check_case(cases[i], &p);
    }
    ctx->precision = IMP_FAST;
    pictures_free(&p);
}

static void wasserstein_is_pytorch(void **state) {
    (void)state;
    pictures p = golden_pictures();
    check_case("wasserstein", &p);
    check_case("wasserstein_two", &p);
    pictures_free(&p);
}

/* Matched anew by an image: as if it had been matched by it at first. */
static void rematch(void **state) {
    (void)state;
    pictures p = golden_pictures();
    double *attr = golden_need(goldens, "nearest_image", "attr"), loss[3];
    imp_style_options o = case_options(attr);
    imp_style_source source = {.picture = &p.painting, .weight = 1};
    o.rematch = 1;
    for (int k = 0; k < 3; k++) {
        stage s;
        imp_style_progress parts;
        stage_build(&s, narrow, &p.content, &source, 1, &o);
        ok(imp_targets_prepare(ctx, &s.o, k == 1 ? p.image.planes : NULL));
        if (k == 2) ok(imp_targets_rematch(ctx, &s.o, p.image.planes));
        loss[k] = imp_objective_evaluate(ctx, &s.o, p.start.planes, NULL, &parts);
        stage_free(&s);
    }
    assert_true(loss[1] == loss[2] && loss[0] != loss[1]);
    free(attr);
    pictures_free(&p);
}

/* --- the reach of a region --- */

#define WIDE  128
#define HIGH  24
#define EDGE  48 /* a multiple of what the pools before relu3_1 make one place of */
#define REACH 10 /* pixels on each side that relu3_1 sees beyond its own 4 */

typedef struct reach_case {
    imp_picture content, start, painting, second, left, right;
} reach_case;

static reach_case reach_case_new(void) {
    return (reach_case){make_picture(WIDE, HIGH, 1, 128, 50),
        make_picture(WIDE, HIGH, 2, 128, 50), make_picture(40, 32, 3, 128, 50),
        make_picture(36, 36, 4, 100, 60), make_mask(WIDE, HIGH, 0, EDGE),
        make_mask(WIDE, HIGH, EDGE, WIDE)};
}

static void reach_case_free(reach_case *c) {
    imp_picture *all[] = {
        &c->content, &c->start, &c->painting, &c->second, &c->left, &c->right};
    for (size_t i = 0; i < 6; i++) imp_picture_free(all[i]);
}

static imp_style_options reach_options(void) {
    imp_style_options o = normalised_options();
    o.content_weight = 0;
    o.terms[IMP_TERM_COV] = 0.7;
    o.style_layers[3] = NULL; /* to relu3_1 */
    o.content_layers[0] = NULL;
    return o;
}

/* Nearest alone, to relu3_1. */
static imp_style_options nearest_options(void) {
    imp_style_options o = reach_options();
    o.terms[IMP_TERM_GRAM] = o.terms[IMP_TERM_COV] = 0;
    o.terms[IMP_TERM_NEAREST] = 1;
    o.nearest_layers[5] = NULL;
    return o;
}

/* The gradient at start with these weights of the left and the right style; to be
 * freed. */
static float *gradient_with(const imp_model *model, imp_style_options o,
    const reach_case *c, double left, double right) {
    imp_style_source sources[] = {
        {.picture = &c->painting, .weight = left, .content_mask = &c->left},
        {.picture = &c->second, .weight = right, .content_mask = &c->right}};
    stage s;
    imp_style_progress parts;
    float *gradient = malloc(floats_of(&c->start) * sizeof *gradient);
    stage_build(&s, model, &c->content, sources, 2, &o);
    ok(imp_targets_prepare(ctx, &s.o, NULL));
    imp_objective_evaluate(ctx, &s.o, c->start.planes, gradient, &parts);
    stage_free(&s);
    return gradient;
}

static float *gradient_of(
    const imp_model *model, const reach_case *c, double left, double right) {
    return gradient_with(model, reach_options(), c, left, right);
}

/* The largest of columns first .. end-1. */
static float largest(const float *g, size_t first, size_t end) {
    float most = 0;
    for (size_t i = 0; i < 3 * HIGH; i++)
        for (size_t x = first; x < end; x++) most = fmaxf(most, fabsf(g[i * WIDE + x]));
    return most;
}

static void assert_columns_equal(
    const float *a, const float *b, size_t first, size_t end) {
    for (size_t i = 0; i < 3 * HIGH; i++)
        for (size_t x = first; x < end; x++)
            assert_true(a[i * WIDE + x] == b[i * WIDE + x]);
}

/* Two styles left and right of an edge: beyond what the layers see across it the
 * gradient of either is 0, and up to there it is not; where one alone reaches, both
 * together do what it does. The first layers of the narrow network have no Winograd,
 * whose tiles reach further. */
static void regions_reach_no_further(void **state) {
    (void)state;
    reach_case c = reach_case_new();
    float *left = gradient_of(narrow, &c, 1, 0), *right = gradient_of(narrow, &c, 0, 1);
    float *both = gradient_of(narrow, &c, 1, 1);
    assert_true(largest(left, 0, EDGE) > 0 && largest(right, EDGE, WIDE) > 0);
    assert_true(largest(left, EDGE + REACH - 1, EDGE + REACH) > 0);
    assert_true(largest(left, EDGE + REACH, WIDE) == 0);
    assert_true(largest(right, EDGE - REACH, EDGE - REACH + 1) > 0);
    assert_true(largest(right, 0, EDGE - REACH) == 0);
    assert_columns_equal(both, left, 0, EDGE - REACH);
    assert_columns_equal(both, right, EDGE + REACH, WIDE);
    free(left);
    free(right);
    free(both);
    reach_case_free(&c);
}

/* Nearest: places of no region are left alone, but for pixels that those of the region see. */
static void nearest_leaves_the_rest(void **state) {
    (void)state;
    reach_case c = reach_case_new();
    imp_style_options o = nearest_options();
    imp_style_source source = {
        .picture = &c.painting, .weight = 1, .content_mask = &c.left};
    stage s;
    imp_style_progress parts;
    float *g = malloc(floats_of(&c.start) * sizeof *g);
    stage_build(&s, narrow, &c.content, &source, 1, &o);
    ok(imp_targets_prepare(ctx, &s.o, NULL));
    imp_objective_evaluate(ctx, &s.o, c.start.planes, g, &parts);
    assert_true(largest(g, EDGE + REACH - 1, EDGE + REACH) > 0);
    assert_true(largest(g, EDGE + REACH, WIDE) == 0);
    stage_free(&s);
    free(g);
    reach_case_free(&c);
}

/* A region counts by its style's weight over the mean of all, in every term. */
static void regions_by_weight(void **state) {
    (void)state;
    reach_case c = reach_case_new();
    for (int nearest = 0; nearest < 2; nearest++) {
        imp_style_options o = nearest ? nearest_options() : reach_options();
        float *equal = gradient_with(narrow, o, &c, 1, 1);
        float *threes = gradient_with(narrow, o, &c, 3, 3);
        float *nine = gradient_with(narrow, o, &c, 9, 1);
        float left = largest(equal, 0, EDGE - REACH);
        float right = largest(equal, EDGE + REACH, WIDE);
        assert_memory_equal(equal, threes, floats_of(&c.start) * sizeof *equal);
        assert_relative("left", "gradient", (double)largest(nine, 0, EDGE - REACH),
            1.8 * (double)left, 1e-4);
        assert_relative("right", "gradient", (double)largest(nine, EDGE + REACH, WIDE),
            0.2 * (double)right, 1e-4);
        free(equal);
        free(threes);
        free(nine);
    }
    reach_case_free(&c);
}

/* With Winograd it is 0 but for roundings as far as a tile reaches, and 0 beyond. */
static void regions_with_winograd(void **state) {
    (void)state;
    static const size_t tiles =
        6 + 6 + 2 * 6 + 2 * 6 + 4 * 6; /* a tile a convolution */
    imp_model *wide;
    imp_model_options m = {.architecture = "vgg19", .divisor = 4, .features = true};
    ok(imp_model_init(ctx, &wide, &m));
    reach_case c = reach_case_new();
    float *left = gradient_of(wide, &c, 1, 0);
    float most = largest(left, 0, EDGE);
    assert_true(most > 0);
    assert_true(largest(left, EDGE + REACH, WIDE) <= 1e-5f * most);
    assert_true(largest(left, EDGE + REACH + tiles, WIDE) == 0);
    free(left);
    reach_case_free(&c);
    imp_model_free(wide);
}

/* --- weights and masks --- */

/* Weight 0 leaves a style out, as if it had not been named, with masks too; and one
 * style alone may have any weight. */
static void weight_zero(void **state) {
    (void)state;
    imp_picture photo = make_picture(48, 40, 1, 128, 50);
    imp_picture a = make_picture(32, 36, 2, 120, 60),
                b = make_picture(40, 32, 3, 100, 50);
    imp_picture left = make_mask(48, 40, 0, 25), right = make_mask(48, 40, 25, 48);
    for (int kind = IMP_ADAM; kind <= IMP_LBFGS; kind++)
        for (int masked = 0; masked < 2; masked++) {
            imp_style_options o = all_terms((imp_optimizer)kind);
            imp_style_source one = {.picture = &a, .weight = 1}, none = {.picture = &b};
            if (masked) one.content_mask = &left, none.content_mask = &right;
            imp_style_source two[] = {one, none}, turned[] = {none, one}, heavy = one;
            heavy.weight = 4;
            imp_picture p[] = {paint(ctx, &photo, &one, 1, &o, 4),
                paint(ctx, &photo, two, 2, &o, 4), paint(ctx, &photo, turned, 2, &o, 4),
                paint(ctx, &photo, &heavy, 1, &o, 4)};
            for (size_t i = 1; i < 4; i++) assert_same(&p[i], &p[0]);
            assert_true(memcmp(p[0].planes, photo.planes, floats_of(&photo) * 4) != 0);
            for (size_t i = 0; i < 4; i++) imp_picture_free(&p[i]);
        }
    imp_picture *all[] = {&photo, &a, &b, &left, &right};
    for (size_t i = 0; i < 5; i++) imp_picture_free(all[i]);
}

/* White on the last column alone, which no pool of an odd side looks at. */
static void thin_border(void **state) {
    (void)state;
    imp_picture photo = make_picture(47, 41, 1, 128, 50);
    imp_picture border = make_mask(47, 41, 46, 47);
    imp_style_options o = all_terms(IMP_ADAM);
    imp_style_source source = {
        .picture = &photo, .weight = 1, .content_mask = &border, .mask = &border};
    o.terms[IMP_TERM_NEAREST] = 0; /* looks at the middle of places */
    imp_picture p = paint(ctx, &photo, &source, 1, &o, 1);
    imp_picture_free(&p);
    imp_picture_free(&photo);
    imp_picture_free(&border);
}

static void bad_sources(void **state) {
    (void)state;
    imp_picture photo = make_picture(48, 40, 1, 128, 50);
    imp_picture black = make_mask(48, 40, 0, 0), half = make_mask(48, 40, 0, 24);
    imp_style_options o = all_terms(IMP_ADAM);
    imp_style_source many[IMP_STYLE_MAX_SOURCES + 1], *s = many;
    imp_style *job;
    for (size_t i = 0; i <= IMP_STYLE_MAX_SOURCES; i++)
        many[i] = (imp_style_source){.picture = &photo, .weight = 1};
#define EXPECT(n, status, text)                                                        \
    assert_failed(                                                                     \
        imp_style_new(ctx, &job, narrow, &photo, s, n, NULL, &o), status, text)
    EXPECT(0, IMP_ERR_ARG, "1 to 16");
    EXPECT(IMP_STYLE_MAX_SOURCES + 1, IMP_ERR_ARG, "1 to 16");
    s[0].content_mask = &half;
    EXPECT(2, IMP_ERR_ARG, "masks");
    s[1].content_mask = &black;
    EXPECT(2, IMP_ERR_DATA, "content mask 2: expected");
    s[1].content_mask = &half;
    s[1].mask = &black;
    EXPECT(2, IMP_ERR_DATA, "style mask 2: expected");
    o.terms[IMP_TERM_GRAM] = o.terms[IMP_TERM_COV] = 0; /* nearest alone */
    EXPECT(2, IMP_ERR_DATA, "style mask 2: expected");
    s[1].mask = NULL;
    static const double bad[] = {-1, NAN, INFINITY};
    for (size_t i = 0; i < 3; i++) {
        s[1].weight = bad[i];
        EXPECT(2, IMP_ERR_ARG, "style 2");
    }
    s[0].weight = s[1].weight = 0;
    EXPECT(2, IMP_ERR_ARG, "above 0");
#undef EXPECT
    imp_picture_free(&photo);
    imp_picture_free(&black);
    imp_picture_free(&half);
}

/* --- the program --- */

static int setup(void **state) {
    goldens = style_setup(state) ? NULL : golden_open(ctx, "terms.safetensors");
    return goldens ? 0 : -1;
}

static int teardown(void **state) {
    imp_safetensors_close(goldens);
    return style_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_are_pytorch),
        cmocka_unit_test(wasserstein_is_pytorch),
        cmocka_unit_test(rematch),
        cmocka_unit_test(regions_reach_no_further),
        cmocka_unit_test(nearest_leaves_the_rest),
        cmocka_unit_test(regions_by_weight),
        cmocka_unit_test(regions_with_winograd),
        cmocka_unit_test(weight_zero),
        cmocka_unit_test(thin_border),
        cmocka_unit_test(bad_sources),
    };
    return cmocka_run_group_tests_name("style terms", tests, setup, teardown);
}
