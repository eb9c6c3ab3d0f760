/* SPDX-License-Identifier: MIT
 *
 * Colours and scales of a style job: what has to be so, exactly or but for roundings;
 * the same bits for any number of threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/model.h"
#include "style_stage.h"

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
    for (size_t i = 0; i < 3 * n; i++) /* as it would be seen */
        painted.planes[i] = fminf(fmaxf(painted.planes[i], 0), 255);
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

/* A mask of which a smaller scale, or a deeper layer, leaves nothing is refused before the
 * work; one that is not refused lasts to the end. */
static void vanishing_mask(void **state) {
    (void)state;
    imp_picture photo = make_picture(64, 50, 1, 128, 50);
    imp_picture canvas = make_picture(64, 64, 2, 128, 60);
    imp_style_options o = pyramid_options(IMP_ADAM);
    size_t refused = 0, painted = 0;
    o.scale_iterations = o.iterations = 1;
    for (size_t at = 0; at < 60; at++) {
        imp_picture mask = make_dot(64, at);
        imp_style_source sources[] = {{.picture = &canvas, .weight = 0},
            {.picture = &canvas, .weight = 1, .mask = &mask}};
        imp_style *job;
        imp_status s = imp_style_new(ctx, &job, narrow, &photo, sources, 2, NULL, &o);
        assert_int_equal(imp_style_check(ctx, narrow, &photo, sources, 2, NULL, &o), s);
        if (s) {
            assert_failed(s, IMP_ERR_DATA, "style mask 2: expected something white");
            refused++;
        } else {
            imp_picture p = paint(ctx, &photo, sources, 2, &o, SIZE_MAX);
            imp_picture_free(&p);
            painted++;
        }
        imp_style_free(job);
        imp_picture_free(&mask);
    }
    assert_true(refused && painted);
    imp_picture_free(&photo);
    imp_picture_free(&canvas);
}

/* A scale that cannot begin, here since the model has lost its layers: the picture is what
 * was painted before, and nothing else can be done with the job. */
static void failed_scale(void **state) {
    (void)state;
    imp_picture photo = make_picture(64, 50, 1, 128, 50), before, after;
    imp_picture canvas = make_picture(64, 64, 2, 128, 60);
    imp_style_source source = {.picture = &canvas, .weight = 1};
    imp_style_options o = pyramid_options(IMP_ADAM);
    imp_style_progress now;
    imp_style *job;
    size_t layers = narrow->n_layers;
    ok(imp_style_new(ctx, &job, narrow, &photo, &source, 1, NULL, &o));
    for (size_t i = 0; i < 5; i++) ok(imp_style_step(job, &now));
    ok(imp_style_picture(job, &before));
    narrow->n_layers = 2;
    imp_status s = imp_style_step(job, &now);
    narrow->n_layers = layers;
    assert_int_not_equal(s, IMP_OK);
    ok(imp_style_picture(job, &after));
    double far = 0; /* it may have been enlarged in two steps */
    for (size_t i = 0; i < floats_of(&after); i++)
        far += fabs((double)(after.planes[i] - before.planes[i]));
    assert_true(far < 5 * (double)floats_of(&after));
    assert_failed(imp_style_step(job, &now), s, "scale 2 of 3");
    assert_failed(imp_style_evaluate(job, &now), s, "begin");
    assert_failed(imp_style_finish(job, &now), s, "begin");
    imp_style_free(job);
    imp_picture *all[] = {&photo, &canvas, &before, &after};
    for (size_t i = 0; i < 4; i++) imp_picture_free(all[i]);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chroma_of_any_pixel),
        cmocka_unit_test(luminance),
        cmocka_unit_test(colours_match),
        cmocka_unit_test(grey_match),
        cmocka_unit_test(scales),
        cmocka_unit_test(starts_from_the_scale_before),
        cmocka_unit_test(early_end),
        cmocka_unit_test(vanishing_mask),
        cmocka_unit_test(failed_scale),
        cmocka_unit_test(small_scales),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests_name(
        "style scales", tests, style_setup, style_teardown);
}
