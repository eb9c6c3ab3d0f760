/* SPDX-License-Identifier: MIT
 *
 * Muon against golden numbers of PyTorch (tools/oracle/ops.py), and against its equation in
 * double where there is more than one task.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "golden.h"
#include "optim/optim.h"

static imp_ctx *contexts[3]; /* of 1, 3 and 7 threads */
static imp_ctx *ctx;         /* the first */
static imp_safetensors *goldens;

/* A rounding grows by at most 3.4445 in each of five rounds, which is 485 in all; 16 of them. */
#define MUON_BOUND (485 * 16 * 0x1p-24)

static float *blocked(imp_shape shape, const double *plain) {
    size_t n = imp_plain_count(shape);
    float *narrow = malloc(n * sizeof *narrow);
    float *x = imp_alloc(imp_blocked_count(shape) * sizeof *x);
    for (size_t i = 0; i < n; i++) narrow[i] = (float)plain[i];
    imp_to_blocked(shape, narrow, x);
    free(narrow);
    return x;
}

static void expect_near(const char *what, imp_shape shape, const float *x,
    const double *expected, double tolerance) {
    float *plain = malloc(imp_plain_count(shape) * sizeof *plain);
    imp_from_blocked(shape, x, plain);
    for (size_t i = 0; i < imp_plain_count(shape); i++)
        if (!(fabs((double)plain[i] - expected[i]) <= tolerance))
            fail_msg("%s [%zu]: expected %.9g, found %.9g", what, i, expected[i],
                (double)plain[i]);
    free(plain);
}

static double *golden_of(const char *name, const char *what, int step) {
    char key[16];
    snprintf(key, sizeof key, "%s%d", what, step);
    return golden_numbers(golden_find(goldens, name, key));
}

static double scale_of(imp_shape s) {
    return 0.2 * sqrt(fmax((double)s.n, (double)(s.c * s.h * s.w)));
}

static void muon_golden(void **state) {
    (void)state;
    static const char *const names[] = {
        "optim.muon.wide", "optim.muon.colours", "optim.muon.tall"};
    for (size_t k = 0; k < 3; k++) {
        double *attr = golden_numbers(golden_find(goldens, names[k], "attr"));
        const uint64_t *d = golden_find(goldens, names[k], "x0")->shape;
        imp_shape shape = {d[0], d[1], d[2], d[3], IMP_WEIGHT};
        double *x0 = golden_of(names[k], "x", 0);
        float *x = blocked(shape, x0);
        imp_gradient_options options = {
            IMP_MUON, .momentum = attr[1], .weights = shape};
        imp_gradient *o;
        assert_int_equal(
            imp_gradient_new(ctx, &o, imp_blocked_count(shape), &options), IMP_OK);
        for (int step = 1; step <= 5; step++) {
            double *given = golden_of(names[k], "g", step);
            double *expected = golden_of(names[k], "x", step);
            float *g = blocked(shape, given);
            imp_gradient_step(o, x, g, attr[0]);
            expect_near(names[k], shape, x, expected,
                step * (attr[0] * scale_of(shape) * MUON_BOUND + 0x1p-24));
            imp_release(g);
            free(given);
            free(expected);
        }
        imp_gradient_free(o);
        imp_release(x);
        free(x0);
        free(attr);
    }
}

/* y = a b, or a b' */
static void product(size_t n, size_t k, size_t m, const double *a, const double *b,
    bool turned, double *y) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++) {
            double sum = 0;
            for (size_t l = 0; l < k; l++)
                sum += a[i * k + l] * (turned ? b[j * k + l] : b[l * m + j]);
            y[i * m + j] = sum;
        }
}

/* Five rounds on x, n x k, in double: muon.c's equation as it stands there. */
static void make_orthogonal(size_t n, size_t k, double *x) {
    double *a = malloc(n * n * sizeof *a), *aa = malloc(n * n * sizeof *a);
    double *y = malloc(n * k * sizeof *y), norm = 0;
    for (size_t i = 0; i < n * k; i++) norm += x[i] * x[i];
    for (size_t i = 0; i < n * k; i++) x[i] /= sqrt(norm);
    for (int round = 0; round < 5; round++) {
        product(n, k, n, x, x, true, a);
        product(n, n, n, a, a, false, aa);
        for (size_t i = 0; i < n * n; i++) aa[i] = 2.0315 * aa[i] - 4.7750 * a[i];
        product(n, n, k, aa, x, false, y);
        for (size_t i = 0; i < n * k; i++) x[i] = 3.4445 * x[i] + y[i];
    }
    free(a);
    free(aa);
    free(y);
}

/* Of more than one task in rows and panels, on both sides; a decay; the same bits with any number
 * of threads. */
static void muon_large(void **state) {
    (void)state;
    static const imp_shape shapes[] = {
        {150, 20, 3, 3, IMP_WEIGHT}, {200, 150, 1, 1, IMP_WEIGHT}};
    for (size_t k = 0; k < 2; k++) {
        imp_shape s = shapes[k];
        size_t n = imp_plain_count(s), count = imp_blocked_count(s);
        double *g = malloc(n * sizeof *g), *expected = malloc(n * sizeof *g);
        for (size_t i = 0; i < n; i++)
            expected[i] = g[i] = (double)(float)imp_normal(7 + k, i);
        float *given = blocked(s, g), *first = NULL;
        make_orthogonal(s.n, n / s.n, expected);
        for (size_t i = 0; i < n; i++)
            expected[i] = 0.9 * (double)(float)g[i] - 0.5 * scale_of(s) * expected[i];
        for (size_t c = 0; c < 3; c++) {
            float *x = blocked(s, g);
            imp_gradient_options options = {IMP_MUON, .decay = 0.2, .weights = s};
            imp_gradient *o;
            assert_int_equal(
                imp_gradient_new(contexts[c], &o, count, &options), IMP_OK);
            imp_gradient_step(o, x, given, 0.5);
            expect_near(
                "large", s, x, expected, 0.5 * scale_of(s) * MUON_BOUND + 8 * 0x1p-24);
            if (first) assert_memory_equal(x, first, count * sizeof *x);
            imp_gradient_free(o);
            if (!first)
                first = x;
            else
                imp_release(x);
        }
        imp_release(first);
        imp_release(given);
        free(g);
        free(expected);
    }
}

/* Gradients that stay alike: the momentum is most of a step. None given is 0.95. */
static void muon_momentum(void **state) {
    (void)state;
    static const double momenta[] = {0, 0.95, 0.9};
    imp_shape s = {20, 18, 3, 3, IMP_WEIGHT};
    size_t n = imp_plain_count(s), count = imp_blocked_count(s);
    double *g = calloc(n, sizeof *g);
    float *x[3];
    for (size_t k = 0; k < 3; k++) {
        imp_gradient_options options = {IMP_MUON, .momentum = momenta[k], .weights = s};
        imp_gradient *o;
        assert_int_equal(imp_gradient_new(ctx, &o, count, &options), IMP_OK);
        memset(g, 0, n * sizeof *g);
        x[k] = blocked(s, g);
        float *zero = blocked(s, g);
        imp_gradient_step(o, x[k], zero, 0.5); /* nothing to learn: no step */
        assert_memory_equal(x[k], zero, count * sizeof *zero);
        imp_release(zero);
        for (uint64_t step = 0; step < 4; step++) {
            for (size_t i = 0; i < n; i++) g[i] = imp_normal(step, i);
            float *given = blocked(s, g);
            imp_gradient_step(o, x[k], given, 0.5);
            imp_release(given);
        }
        imp_gradient_free(o);
    }
    assert_memory_equal(x[0], x[1], count * sizeof(float));
    assert_true(memcmp(x[0], x[2], count * sizeof(float)) != 0);
    for (size_t k = 0; k < 3; k++) imp_release(x[k]);
    free(g);
}

int main(void) {
    static const int threads[] = {1, 3, 7};
    for (size_t i = 0; i < 3; i++) {
        imp_ctx_options options = {.threads = threads[i]};
        if (imp_ctx_new(&contexts[i], &options) != IMP_OK) return 1;
    }
    ctx = contexts[0];
    goldens = golden_open(ctx, "ops.safetensors");
    if (!goldens) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(muon_golden),
        cmocka_unit_test(muon_large), cmocka_unit_test(muon_momentum)};
    int failed = cmocka_run_group_tests_name("muon", tests, NULL, NULL);
    imp_safetensors_close(goldens);
    for (size_t i = 0; i < 3; i++) imp_ctx_free(contexts[i]);
    return failed;
}
