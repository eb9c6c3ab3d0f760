/* SPDX-License-Identifier: MIT
 *
 * style_golden.h: what tools/oracle/style.py wrote, as pictures, options and numbers,
 * and how near two gradients are; the model and context of the tests that compare with
 * it. Include after cmocka.h.
 */
#ifndef TESTS_STYLE_GOLDEN_H
#define TESTS_STYLE_GOLDEN_H

#include <math.h>

#include "files.h"
#include "golden.h"
#include "style/style.h"
#include "style_options.h"

static imp_model *narrow; /* VGG-19, channels / 16, that the goldens were made with */

/* A context of two threads, and the model. */
static inline int style_setup(void **state) {
    if (files_setup(state)) return -1;
    imp_ctx_free(ctx);
    imp_ctx_options options = {.threads = 2};
    if (imp_ctx_new(&ctx, &options) != IMP_OK) return -1;
    const char *path = golden_path("style.safetensors");
    if (imp_model_load(ctx, &narrow, path) == IMP_OK) return 0;
    fprintf(stderr, "%s\n", imp_ctx_error(ctx));
    return -1;
}

static inline int style_teardown(void **state) {
    imp_model_free(narrow);
    return files_teardown(state);
}

/* A tensor 1, 3, H, W of float32 as a picture; to be freed. */
static inline imp_picture golden_picture(
    imp_ctx *c, const imp_safetensors *st, const char *name) {
    const imp_safetensors_entry *e = imp_safetensors_find(st, name);
    imp_picture p;
    if (!e) fail_msg("golden: no %s", name);
    assert_true(e->ndim == 4 && e->shape[1] == 3);
    assert_int_equal(imp_picture_new(c, &p, e->shape[3], e->shape[2]), IMP_OK);
    assert_int_equal(imp_safetensors_floats(c, st, e, 0, e->count, p.planes), IMP_OK);
    return p;
}

/* The numbers "<prefix>.<what>", which must be there; to be freed. */
static inline double *golden_need(
    const imp_safetensors *st, const char *prefix, const char *what) {
    double *x = golden_numbers(golden_find(st, prefix, what));
    if (!x) fail_msg("golden: no %s.%s", prefix, what);
    return x;
}

/* attr: normalised, content, style, variation, replicate, average. */
static inline imp_style_options golden_options(const double *attr) {
    imp_style_options o = normalised_options();
    o.objective = attr[0] > 0 ? IMP_NORMALISED : IMP_PLAIN;
    o.content_weight = attr[1];
    o.style_weight = attr[2];
    o.tv_weight = attr[3];
    o.first = attr[4] > 0 ? IMP_PAD_REPLICATE : IMP_PAD_ZERO;
    o.pooling = attr[5] > 0 ? IMP_POOL_AVG : IMP_POOL_MAX;
    return o;
}

static inline void assert_relative(const char *name, const char *what, double found,
    double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance * fabs(expected)))
        fail_msg("%s %s: expected %.15g, found %.15g, off by %.3g, allowed %.3g", name,
            what, expected, found, fabs(found / expected - 1), tolerance);
}

typedef struct nearness {
    double cosine, median; /* median of |a - b| / |b| */
} nearness;

static inline int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* scale * found against expected. */
static inline nearness near_gradient(
    const float *found, double scale, const double *expected, size_t n) {
    double ab = 0, aa = 0, bb = 0, *errors = malloc(n * sizeof *errors);
    for (size_t i = 0; i < n; i++) {
        double a = scale * (double)found[i], b = expected[i];
        ab += a * b;
        aa += a * a;
        bb += b * b;
        errors[i] = fabs(a - b) / fmax(fabs(b), 1e-300);
    }
    qsort(errors, n, sizeof *errors, compare_doubles);
    nearness result = {ab / sqrt(aa * bb), errors[n / 2]};
    free(errors);
    return result;
}

/* What float32 may do to the gradient in each precision. */
static inline void assert_near_gradient(
    const char *name, nearness k, imp_precision precision) {
    bool exact = precision == IMP_EXACT;
    if (!(k.cosine >= (exact ? 0.999995 : 0.99998) &&
            k.median <= (exact ? 1e-5 : 5e-5)))
        fail_msg("%s gradient: cosine %.9f, median relative error %.3g", name, k.cosine,
            k.median);
}

#endif
