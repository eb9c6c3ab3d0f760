/* SPDX-License-Identifier: MIT
 *
 * The terms of the style beside plain Gram matrices, several paintings, masks, colours
 * and scales: loss and gradient against PyTorch in double (tools/oracle/terms.py); what
 * has to be exactly so; the same bits for any number of threads. Matching alone:
 * test_match.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "style_golden.h"
#include "files.h"

static imp_safetensors *goldens;
static imp_model *narrow; /* VGG-19, channels / 16 */

/* Smooth and a little noisy, around `mean`, for the most part within 2 `spread`. */
static imp_picture make_picture(
    size_t width, size_t height, uint64_t seed, double mean, double spread) {
    imp_picture p;
    assert_int_equal(imp_picture_new(ctx, &p, width, height), IMP_OK);
    for (size_t i = 0; i < 3 * width * height; i++) {
        double x = (double)(i % width), y = (double)(i / width % height);
        double wave =
            sin(0.3 * x + 0.2 * y + (double)seed + (double)(i / (width * height)));
        p.planes[i] = (float)(mean + spread * (wave + 0.4 * imp_normal(seed, i)));
    }
    return p;
}

/* White on columns first .. end-1, black elsewhere. */
static imp_picture make_mask(size_t width, size_t height, size_t first, size_t end) {
    imp_picture p;
    assert_int_equal(imp_picture_new(ctx, &p, width, height), IMP_OK);
    for (size_t i = 0; i < 3 * width * height; i++)
        p.planes[i] = i % width >= first && i % width < end ? 255 : 0;
    return p;
}

static size_t floats_of(const imp_picture *p) {
    return 3 * p->width * p->height;
}

static void ok(imp_status s) {
    if (s) fail_msg("%s", imp_ctx_error(ctx));
}

/* --- an objective at one scale --- */

typedef struct stage {
    imp_scene scene;
    imp_style_layers layers;
    imp_objective_state o;
} stage;

/* Not prepared yet. To be freed in its place. */
static void stage_build(stage *s, const imp_model *model, const imp_picture *content,
    const imp_style_source *sources, size_t n, const imp_style_options *options) {
    float *color;
    ok(imp_style_layers_choose(ctx, &s->layers, model, options));
    ok(imp_scene_measure(
        ctx, &s->scene, content->width, content->height, sources, n, options));
    ok(imp_scene_load(ctx, &s->scene, content, sources, n, IMP_COLORS_STYLE, &color));
    ok(imp_objective_build(ctx, &s->o, model, options, &s->layers, &s->scene));
}

static void stage_free(stage *s) {
    imp_objective_free(&s->o);
    imp_scene_free(&s->scene);
}

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

/* The gradient at start with these weights of the left and the right style; to be
 * freed. */
static float *gradient_of(
    const imp_model *model, const reach_case *c, double left, double right) {
    imp_style_options o = reach_options();
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
    imp_style_options o = reach_options();
    imp_style_source source = {
        .picture = &c.painting, .weight = 1, .content_mask = &c.left};
    o.terms[IMP_TERM_GRAM] = o.terms[IMP_TERM_COV] = 0;
    o.terms[IMP_TERM_NEAREST] = 1;
    o.nearest_layers[5] = NULL; /* to relu3_1 */
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

/* The picture after a few iterations; to be freed. */
static imp_picture paint(imp_ctx *c, const imp_picture *content,
    const imp_style_source *sources, size_t n, const imp_style_options *o,
    size_t steps) {
    imp_style *job;
    imp_style_progress now;
    imp_picture out;
    if (imp_style_new(c, &job, narrow, content, sources, n, NULL, o) != IMP_OK)
        fail_msg("%s", imp_ctx_error(c));
    for (size_t i = 0; i < steps && imp_style_done(job) < imp_style_total(job); i++)
        assert_int_equal(imp_style_step(job, &now), IMP_OK);
    assert_int_equal(imp_style_picture(job, &out), IMP_OK);
    imp_style_free(job);
    return out;
}

static imp_style_options all_terms(imp_optimizer kind) {
    imp_style_options o = normalised_options();
    o.optimizer = kind;
    o.iterations = 4;
    o.terms[IMP_TERM_COV] = 0.5;
    o.terms[IMP_TERM_NEAREST] = 0.8;
    return o;
}

static void assert_same(const imp_picture *a, const imp_picture *b) {
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_memory_equal(a->planes, b->planes, floats_of(a) * sizeof(float));
}

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
    EXPECT(2, IMP_ERR_DATA, "mask 2");
    s[1].content_mask = &half;
    s[1].mask = &black;
    EXPECT(2, IMP_ERR_DATA, "white");
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

/* --- colours --- */

typedef struct ycc {
    double y, cb, cr;
} ycc;

static ycc ycc_of(const imp_picture *p, size_t i) {
    size_t n = p->width * p->height;
    double r = (double)p->planes[i], g = (double)p->planes[n + i],
           b = (double)p->planes[2 * n + i], y = 0.299 * r + 0.587 * g + 0.114 * b;
    return (ycc){y, (b - y) / 1.772, (r - y) / 1.402};
}

/* The chroma is the content's, of 0..255 within `allowed`; no value is out of range. */
static void assert_chroma(
    const imp_picture *found, const imp_picture *content, double allowed) {
    assert_int_equal(found->width, content->width);
    assert_int_equal(found->height, content->height);
    for (size_t i = 0; i < floats_of(found); i++)
        assert_true(found->planes[i] >= 0 && found->planes[i] <= 255);
    for (size_t i = 0; i < found->width * found->height; i++) {
        ycc a = ycc_of(found, i), b = ycc_of(content, i);
        if (!(fabs(a.cb - b.cb) <= allowed && fabs(a.cr - b.cr) <= allowed))
            fail_msg("pixel %zu: expected chroma %g %g, found %g %g", i, b.cb, b.cr,
                a.cb, a.cr);
    }
}

/* As it is written into a file: each channel at most half a step away, the chroma at
 * most (0.886 + 0.701) / 1.772, both halves of a step at once. */
static void assert_chroma_in_8_bits(imp_picture *found, const imp_picture *content) {
    for (size_t i = 0; i < floats_of(found); i++)
        found->planes[i] = floorf(found->planes[i] + 0.5f);
    assert_chroma(found, content, 0.5 + 1e-3);
}

/* Painted colours far out of range on content of all colours, the corners among them.
 * */
static void chroma_of_any_pixel(void **state) {
    (void)state;
    imp_picture content = make_mask(90, 60, 0, 45);
    imp_picture painted = make_picture(90, 60, 2, 100, 200);
    size_t n = 90 * 60;
    for (size_t i = 0; i < 3 * n; i++)
        if (i % n >= 8)
            content.planes[i] = (float)(256 * imp_uniform(3, i) * 255 / 256);
        else
            content.planes[i] = i % n >> i / n & 1 ? 255 : 0;
    imp_picture found = make_picture(90, 60, 2, 100, 200);
    imp_colors_restore(found.planes, content.planes, n);
    assert_chroma(&found, &content, 1e-4);
    for (size_t i = 0; i < n;
         i++) { /* the luminance is the painted, or as near as may be */
        double wanted = ycc_of(&painted, i).y, y = ycc_of(&found, i).y;
        float low = 255, high = 0;
        for (size_t k = 0; k < 3; k++) {
            low = fminf(low, found.planes[k * n + i]);
            high = fmaxf(high, found.planes[k * n + i]);
        }
        assert_true(fabs(y - wanted) <= 1e-3 || (y > wanted && low <= 1e-4f) ||
                    (y < wanted && high >= 255 - 1e-4f));
    }
    assert_chroma_in_8_bits(&found, &content);
    imp_picture_free(&content);
    imp_picture_free(&painted);
    imp_picture_free(&found);
}

/* A whole job, at two scales and at a size that is not the content's. */
static void luminance(void **state) {
    (void)state;
    imp_picture photo = make_picture(60, 50, 1, 128, 90);
    imp_picture canvas = make_picture(32, 36, 2, 90, 70);
    imp_style_source source = {.picture = &canvas, .weight = 1};
    imp_style_options o = all_terms(IMP_LBFGS);
    o.colors = IMP_COLORS_LUMINANCE;
    o.size = 48;
    o.first_size = 30;
    o.scale_iterations = 4;
    imp_picture found = paint(ctx, &photo, &source, 1, &o, SIZE_MAX);
    ok(imp_style_fit(ctx, &photo, 48, 40));
    assert_chroma(&found, &photo, 1e-3);
    double moved = 0;
    for (size_t i = 0; i < 48 * 40; i++)
        moved += fabs(ycc_of(&found, i).y - ycc_of(&photo, i).y);
    assert_true(moved > 48 * 40); /* painted it was */
    assert_chroma_in_8_bits(&found, &photo);
    imp_picture_free(&found);
    imp_picture_free(&photo);
    imp_picture_free(&canvas);
}

typedef struct colour_moments {
    double mean[3], cov[9];
} colour_moments;

static colour_moments colour_moments_of(const float *planes, size_t n) {
    colour_moments m = {{0}, {0}};
    for (size_t i = 0; i < 3 * n; i++) m.mean[i / n] += (double)planes[i] / (double)n;
    for (size_t k = 0; k < 9; k++)
        for (size_t i = 0; i < n; i++)
            m.cov[k] += ((double)planes[k / 3 * n + i] - m.mean[k / 3]) *
                        ((double)planes[k % 3 * n + i] - m.mean[k % 3]) / (double)n;
    return m;
}

/* The painting has the content's mean and covariance, where nothing was clipped. */
static void colours_match(void **state) {
    (void)state;
    imp_picture photo = make_picture(60, 50, 1, 128, 20);
    imp_picture canvas = make_picture(48, 36, 2, 90, 30);
    imp_style_source source = {.picture = &canvas, .weight = 1};
    imp_style_options o = normalised_options();
    imp_scene scene;
    float *color;
    ok(imp_scene_measure(ctx, &scene, 60, 50, &source, 1, &o));
    ok(imp_scene_load(ctx, &scene, &photo, &source, 1, IMP_COLORS_MATCH, &color));
    assert_null(color);
    const float *found = scene.views[0].planes;
    for (size_t i = 0; i < 3 * 48 * 36; i++)
        assert_true(found[i] > 0 && found[i] < 255);
    colour_moments a = colour_moments_of(found, 48 * 36);
    colour_moments b = colour_moments_of(photo.planes, 60 * 50);
    for (size_t k = 0; k < 3; k++)
        assert_true(fabs(a.mean[k] - b.mean[k]) <= 1e-4 * b.mean[k]);
    for (size_t k = 0; k < 9; k++)
        assert_true(fabs(a.cov[k] - b.cov[k]) <= 1e-4 * b.cov[0]);
    assert_memory_equal(scene.content, photo.planes, floats_of(&photo) * sizeof(float));
    imp_scene_free(&scene);
    imp_picture_free(&photo);
    imp_picture_free(&canvas);
}

/* Grey styles are moved to the mean and deviation of the grey content. */
static void grey_match(void **state) {
    (void)state;
    imp_picture photo = make_picture(60, 50, 1, 128, 20);
    imp_picture canvas = make_picture(48, 36, 2, 90, 30);
    imp_style_source source = {.picture = &canvas, .weight = 1};
    imp_style_options o = normalised_options();
    imp_scene scene;
    float *color;
    ok(imp_scene_measure(ctx, &scene, 60, 50, &source, 1, &o));
    ok(imp_scene_load(ctx, &scene, &photo, &source, 1, IMP_COLORS_LUMINANCE, &color));
    assert_memory_equal(color, photo.planes, floats_of(&photo) * sizeof(float));
    size_t n = 48 * 36, all = 60 * 50;
    for (size_t i = 0; i < all; i++)
        assert_true(fabs((double)scene.content[i] - ycc_of(&photo, i).y) <= 1e-4);
    colour_moments a = colour_moments_of(scene.views[0].planes, n);
    colour_moments b = colour_moments_of(scene.content, all);
    for (size_t k = 0; k < 3; k++)
        assert_true(fabs(a.mean[k] - b.mean[k]) <= 1e-4 * b.mean[k]);
    for (size_t k = 0; k < 9; k++)
        assert_true(fabs(a.cov[k] - b.cov[k]) <= 1e-4 * b.cov[0]);
    free(color);
    imp_scene_free(&scene);
    imp_picture_free(&photo);
    imp_picture_free(&canvas);
}

/* --- scales --- */

static imp_style_options pyramid_options(imp_optimizer kind) {
    imp_style_options o = all_terms(kind);
    o.size = 64;
    o.first_size = 30;
    o.scale_iterations = 5;
    o.iterations = 7;
    return o;
}

/* The sides fall by sqrt 2 from the last, none below first_size; what has been done and
 * what is to come; the picture has its full size from the first scale on. */
static void scales(void **state) {
    (void)state;
    static const size_t sizes[3][2] = {{32, 25}, {45, 35}, {64, 50}};
    imp_picture photo = make_picture(80, 62, 1, 128, 50);
    imp_picture canvas = make_picture(50, 60, 2, 128, 60);
    imp_style_source source = {.picture = &canvas, .weight = 1};
    for (int kind = IMP_ADAM; kind <= IMP_LBFGS; kind++) {
        imp_style_options o = pyramid_options((imp_optimizer)kind);
        imp_style_progress now;
        imp_style *job;
        ok(imp_style_new(ctx, &job, narrow, &photo, &source, 1, NULL, &o));
        for (size_t i = 0; i < 17; i++) {
            size_t scale = i < 5 ? 0 : i < 10 ? 1 : 2;
            assert_int_equal(imp_style_done(job), i);
            assert_int_equal(imp_style_total(job), 17);
            ok(imp_style_step(job, &now));
            assert_int_equal(now.iteration, i + 1);
            assert_int_equal(now.scale, scale);
            assert_int_equal(now.scales, 3);
            assert_int_equal(now.width, sizes[scale][0]);
            assert_int_equal(now.height, sizes[scale][1]);
            imp_picture p;
            ok(imp_style_picture(job, &p));
            assert_true(p.width == 64 && p.height == 50);
            imp_picture_free(&p);
        }
        assert_true(imp_style_done(job) == 17 && imp_style_total(job) == 17);
        assert_false(imp_style_converged(job));
        imp_style_free(job);
    }
    imp_picture_free(&photo);
    imp_picture_free(&canvas);
}

/* A scale starts from the picture before it, and matches by it; later it is matched
 * anew by the picture as it then is. Adam's loss is that at the start of a step. */
static void starts_from_the_scale_before(void **state) {
    (void)state;
    imp_picture photo = make_picture(80, 62, 1, 128, 50), now;
    imp_picture canvas = make_picture(50, 60, 2, 128, 60);
    imp_style_source source = {.picture = &canvas, .weight = 1};
    imp_style_options o = pyramid_options(IMP_ADAM);
    imp_style_progress parts, found;
    imp_style *job;
    stage s;
    o.first_size = 45;
    o.rematch = 2;
    ok(imp_style_new(ctx, &job, narrow, &photo, &source, 1, NULL, &o));
    stage_build(&s, narrow, &photo, &source, 1, &o);
    for (size_t i = 0; i < 9; i++) {
        ok(imp_style_picture(job, &now));
        ok(imp_style_step(job, &found));
        assert_int_equal(found.scale, i >= 5);
        if (i == 5) ok(imp_targets_prepare(ctx, &s.o, now.planes));
        if (i == 7) ok(imp_targets_rematch(ctx, &s.o, now.planes));
        if (i >= 5) {
            imp_objective_evaluate(ctx, &s.o, now.planes, NULL, &parts);
            assert_true(found.loss == parts.loss && found.style == parts.style);
        }
        imp_picture_free(&now);
    }
    stage_free(&s);
    imp_style_free(job);
    imp_picture_free(&photo);
    imp_picture_free(&canvas);
}

/* A scale ends early once ten iterations gain too little, here any gain: the eleventh
 * is its last, and those that are left of it are not counted any more. */
static void early_end(void **state) {
    (void)state;
    imp_picture photo = make_picture(80, 62, 1, 128, 50);
    imp_picture canvas = make_picture(50, 60, 2, 128, 60);
    imp_style_source source = {.picture = &canvas, .weight = 1};
    for (int kind = IMP_ADAM; kind <= IMP_LBFGS; kind++) {
        imp_style_options o = pyramid_options((imp_optimizer)kind);
        imp_style_progress now;
        imp_style *job;
        o.scale_iterations = 20;
        o.iterations = 30;
        o.tolerance = 1e9;
        ok(imp_style_new(ctx, &job, narrow, &photo, &source, 1, NULL, &o));
        for (size_t i = 0; imp_style_done(job) < imp_style_total(job); i++) {
            size_t ended = i / 11, left[] = {70, 11 + 50, 22 + 30};
            assert_int_equal(imp_style_total(job), left[ended]);
            assert_false(imp_style_converged(job));
            ok(imp_style_step(job, &now));
            assert_int_equal(now.scale, ended);
        }
        assert_int_equal(imp_style_done(job), 33);
        assert_int_equal(imp_style_total(job), 33);
        assert_true(imp_style_converged(job));
        imp_style_free(job);
    }
    imp_picture_free(&photo);
    imp_picture_free(&canvas);
}

/* White on 3 x 3 pixels at (at, at). */
static imp_picture make_dot(size_t size, size_t at) {
    imp_picture p = make_mask(size, size, at, at + 3);
    for (size_t i = 0; i < floats_of(&p); i++) {
        size_t y = i / size % size;
        if (y < at || y >= at + 3) p.planes[i] = 0;
    }
    return p;
}

/* A scale that cannot begin, here since no place of its grid is inside of the mask: the
 * picture is what was painted before, and nothing else can be done with the job. */
static void failed_scale(void **state) {
    (void)state;
    imp_picture photo = make_picture(64, 50, 1, 128, 50);
    imp_picture canvas = make_picture(64, 64, 2, 128, 60);
    imp_style_options o = pyramid_options(IMP_ADAM);
    imp_style_progress now;
    bool seen = false;
    for (size_t at = 0; at < 60 && !seen; at++) {
        imp_picture mask = make_dot(64, at), before, after;
        imp_style_source source = {.picture = &canvas, .weight = 1, .mask = &mask};
        imp_style *job;
        imp_status s = imp_style_new(ctx, &job, narrow, &photo, &source, 1, NULL, &o);
        for (size_t i = 0; i < 5 && !s; i++) s = imp_style_step(job, &now);
        if (!s) {
            ok(imp_style_picture(job, &before));
            if (imp_style_step(job, &now) == IMP_ERR_DATA) {
                seen = true;
                ok(imp_style_picture(job, &after));
                double far = 0; /* it may have been enlarged in two steps */
                for (size_t i = 0; i < floats_of(&after); i++)
                    far += fabs((double)(after.planes[i] - before.planes[i]));
                assert_true(far < 5 * (double)floats_of(&after));
                assert_failed(imp_style_step(job, &now), IMP_ERR_DATA, "scale 2 of 3");
                assert_failed(imp_style_evaluate(job, &now), IMP_ERR_DATA, "begin");
                assert_failed(imp_style_finish(job, &now), IMP_ERR_DATA, "begin");
                imp_picture_free(&after);
            }
            imp_picture_free(&before);
        }
        imp_style_free(job);
        imp_picture_free(&mask);
    }
    assert_true(seen);
    imp_picture_free(&photo);
    imp_picture_free(&canvas);
}

/* A picture that is too small for the layers at a scale: there is no such scale. */
static void small_scales(void **state) {
    (void)state;
    imp_picture photo = make_picture(80, 62, 1, 128, 50);
    imp_picture canvas = make_picture(24, 20, 2, 128, 60);
    imp_style_source source = {.picture = &canvas, .weight = 1};
    imp_style_options o = pyramid_options(IMP_ADAM);
    imp_style_progress now;
    imp_style *job;
    ok(imp_style_new(ctx, &job, narrow, &photo, &source, 1, NULL, &o));
    ok(imp_style_step(job, &now)); /* 20 / sqrt 2 is less than relu5_1's 16 */
    assert_true(now.scales == 1 && now.width == 64);
    imp_style_free(job);
    imp_picture_free(&photo);
    imp_picture_free(&canvas);
}

static imp_picture pyramid(int threads, imp_optimizer kind) {
    imp_ctx *c;
    imp_ctx_options options = {.threads = threads};
    imp_picture photo = make_picture(70, 62, 1, 128, 50);
    imp_picture a = make_picture(50, 60, 2, 128, 60),
                b = make_picture(45, 40, 3, 90, 50);
    imp_picture left = make_mask(70, 62, 0, 33), right = make_mask(70, 62, 33, 70);
    imp_style_source sources[] = {
        {.picture = &a, .weight = 1, .content_mask = &left, .mask = &right},
        {.picture = &b, .weight = 2, .content_mask = &right}};
    imp_style_options o = pyramid_options(kind);
    o.rematch = 2;
    assert_int_equal(imp_ctx_new(&c, &options), IMP_OK);
    imp_picture out = paint(c, &photo, sources, 2, &o, SIZE_MAX);
    imp_ctx_free(c);
    imp_picture *all[] = {&photo, &a, &b, &left, &right};
    for (size_t i = 0; i < 5; i++) imp_picture_free(all[i]);
    return out;
}

static void threads_change_no_bit(void **state) {
    (void)state;
    static const int counts[] = {2, 3, 7};
    for (int kind = IMP_ADAM; kind <= IMP_LBFGS; kind++) {
        imp_picture one = pyramid(1, (imp_optimizer)kind);
        for (size_t i = 0; i < 3; i++) {
            imp_picture p = pyramid(counts[i], (imp_optimizer)kind);
            assert_same(&p, &one);
            imp_picture_free(&p);
        }
        imp_picture_free(&one);
    }
}

/* --- the program --- */

static int setup(void **state) {
    if (files_setup(state)) return -1;
    imp_ctx_free(ctx);
    imp_ctx_options options = {.threads = 2};
    if (imp_ctx_new(&ctx, &options) != IMP_OK) return -1;
    char path[4096];
    const char *in = getenv("IMPASTO_GOLDEN");
    snprintf(path, sizeof path, "%s/style.safetensors", in && *in ? in : GOLDEN_DIR);
    goldens = golden_open(ctx, "terms.safetensors");
    return goldens && imp_model_load(ctx, &narrow, path) == IMP_OK ? 0 : -1;
}

static int teardown(void **state) {
    imp_model_free(narrow);
    imp_safetensors_close(goldens);
    return files_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_are_pytorch),
        cmocka_unit_test(wasserstein_is_pytorch),
        cmocka_unit_test(rematch),
        cmocka_unit_test(regions_reach_no_further),
        cmocka_unit_test(nearest_leaves_the_rest),
        cmocka_unit_test(regions_with_winograd),
        cmocka_unit_test(weight_zero),
        cmocka_unit_test(bad_sources),
        cmocka_unit_test(chroma_of_any_pixel),
        cmocka_unit_test(luminance),
        cmocka_unit_test(colours_match),
        cmocka_unit_test(grey_match),
        cmocka_unit_test(scales),
        cmocka_unit_test(starts_from_the_scale_before),
        cmocka_unit_test(early_end),
        cmocka_unit_test(failed_scale),
        cmocka_unit_test(small_scales),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests_name("style terms", tests, setup, teardown);
}
