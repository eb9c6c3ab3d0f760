/* SPDX-License-Identifier: MIT
 *
 * style_stage.h: pictures made up, an objective at one scale and a short job, which
 * tests of style share. Include after cmocka.h.
 */
#ifndef TESTS_STYLE_STAGE_H
#define TESTS_STYLE_STAGE_H

#include "style_golden.h"

/* Smooth and a little noisy, around `mean`, for the most part within 2 `spread`. */
static inline imp_picture make_picture(
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
static inline imp_picture make_mask(
    size_t width, size_t height, size_t first, size_t end) {
    imp_picture p;
    assert_int_equal(imp_picture_new(ctx, &p, width, height), IMP_OK);
    for (size_t i = 0; i < 3 * width * height; i++)
        p.planes[i] = i % width >= first && i % width < end ? 255 : 0;
    return p;
}

static inline size_t floats_of(const imp_picture *p) {
    return 3 * p->width * p->height;
}

static inline void ok(imp_status s) {
    if (s) fail_msg("%s", imp_ctx_error(ctx));
}

/* --- an objective at one scale --- */

typedef struct stage {
    imp_scene scene;
    imp_style_layers layers;
    imp_objective_state o;
} stage;

/* Not prepared yet. To be freed in its place. */
static inline void stage_build(stage *s, const imp_model *model,
    const imp_picture *content, const imp_style_source *sources, size_t n,
    const imp_style_options *options) {
    float *color;
    ok(imp_style_layers_choose(ctx, &s->layers, model, options));
    ok(imp_scene_measure(
        ctx, &s->scene, content->width, content->height, sources, n, options));
    ok(imp_scene_load(ctx, &s->scene, content, sources, n, IMP_COLORS_STYLE, &color));
    ok(imp_objective_build(ctx, &s->o, model, options, &s->layers, &s->scene));
}

static inline void stage_free(stage *s) {
    imp_objective_free(&s->o);
    imp_scene_free(&s->scene);
}

/* --- a job --- */

/* The picture after a few iterations; to be freed. */
static inline imp_picture paint(imp_ctx *c, const imp_picture *content,
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

static inline imp_style_options all_terms(imp_optimizer kind) {
    imp_style_options o = normalised_options();
    o.optimizer = kind;
    o.iterations = 4;
    o.terms[IMP_TERM_COV] = 0.5;
    o.terms[IMP_TERM_NEAREST] = 0.8;
    return o;
}

static inline void assert_same(const imp_picture *a, const imp_picture *b) {
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_memory_equal(a->planes, b->planes, floats_of(a) * sizeof(float));
}

#endif
