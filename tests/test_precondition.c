/* SPDX-License-Identifier: MIT
 *
 * The preconditioner of pictures: precondition.c against its formula in double, what it does
 * to pictures whose answer is known, and its symmetry.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "style/style.h"

#define OCTAVES 4

static imp_ctx *contexts[4];
static const int threads[] = {1, 2, 3, 7};

/* --- the formula --- */

static size_t mirrored(long i, size_t n) {
    while (i < 0 || i >= (long)n) i = i < 0 ? -1 - i : 2 * (long)n - 1 - i;
    return (size_t)i;
}

/* One of B_k's two axes: stride between neighbours along it, n of them, others beside. */
static void blur_ref(double *x, size_t n, size_t stride, size_t gap) {
    static const double weights[] = {1.0 / 16, 4.0 / 16, 6.0 / 16, 4.0 / 16, 1.0 / 16};
    double *line = malloc(n * sizeof *line);
    for (size_t i = 0; i < n; i++) line[i] = x[i * stride];
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int t = -2; t <= 2; t++)
            sum += weights[t + 2] * line[mirrored((long)i + t * (long)gap, n)];
        x[i * stride] = sum;
    }
    free(line);
}

static void apply_ref(const float *x, double *y, size_t w, size_t h, double gain) {
    double *smooth = malloc(3 * w * h * sizeof *smooth);
    for (size_t i = 0; i < 3 * w * h; i++) y[i] = smooth[i] = (double)x[i];
    for (int k = 1; k <= OCTAVES; k++) {
        size_t gap = (size_t)1 << (k - 1);
        for (size_t c = 0; c < 3; c++) {
            double *plane = smooth + c * w * h;
            for (size_t j = 0; j < w; j++) blur_ref(plane + j, h, w, gap);
            for (size_t i = 0; i < h; i++) blur_ref(plane + i * w, w, 1, gap);
        }
        for (size_t i = 0; i < 3 * w * h; i++)
            y[i] += (pow(gain, k) - pow(gain, k - 1)) * smooth[i];
    }
    free(smooth);
}

/* --- pictures --- */

static float *noise(size_t n, uint64_t seed) {
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)imp_normal(seed, i);
    return x;
}

static float *applied(imp_ctx *c, const float *x, size_t w, size_t h, double gain) {
    imp_precondition p = {0};
    float *y = malloc(3 * w * h * sizeof *y);
    assert_int_equal(imp_precondition_init(c, &p, w, h, gain), IMP_OK);
    imp_precondition_apply(&p, x, y);
    imp_precondition_free(&p);
    return y;
}

static const size_t sizes[][2] = {{1, 1}, {2, 1}, {1, 5}, {3, 4}, {7, 16}, {16, 7},
    {17, 33}, {32, 32}, {33, 31}, {64, 5}, {100, 70}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void follows_formula(void **state) {
    (void)state;
    for (size_t s = 0; s < SIZES; s++) {
        size_t w = sizes[s][0], h = sizes[s][1], n = 3 * w * h;
        float *x = noise(n, s);
        double *expected = malloc(n * sizeof *expected);
        apply_ref(x, expected, w, h, 2.25);
        for (size_t c = 0; c < 4; c++) {
            float *y = applied(contexts[c], x, w, h, 2.25);
            for (size_t i = 0; i < n; i++)
                if (!(fabs((double)y[i] - expected[i]) < 1e-5))
                    fail_msg("%zu x %zu, %d threads, %zu: expected %.9g, found %.9g", w,
                        h, threads[c], i, expected[i], (double)y[i]);
            free(y);
        }
        free(expected);
        free(x);
    }
}

static void same_bits(void **state) {
    (void)state;
    size_t w = 101, h = 77, n = 3 * w * h;
    float *x = noise(n, 5), *one = applied(contexts[0], x, w, h, 3);
    for (size_t c = 1; c < 4; c++) {
        float *y = applied(contexts[c], x, w, h, 3);
        assert_memory_equal(y, one, n * sizeof *y);
        free(y);
    }
    free(one);
    free(x);
}

/* a'Mb = b'Ma, and a'Ma is at least a'a. */
static void symmetric_and_positive(void **state) {
    (void)state;
    for (size_t s = 0; s < SIZES; s++) {
        size_t w = sizes[s][0], h = sizes[s][1], n = 3 * w * h;
        float *a = noise(n, 2 * s), *b = noise(n, 2 * s + 1);
        float *ma = applied(contexts[1], a, w, h, 2),
              *mb = applied(contexts[1], b, w, h, 2);
        double amb = 0, bma = 0, ama = 0, aa = 0;
        for (size_t i = 0; i < n; i++) {
            amb += (double)a[i] * (double)mb[i];
            bma += (double)b[i] * (double)ma[i];
            ama += (double)a[i] * (double)ma[i];
            aa += (double)a[i] * (double)a[i];
        }
        if (!(fabs(amb - bma) < 1e-5 * ama))
            fail_msg("%zu x %zu: %g, %g", w, h, amb, bma);
        assert_true(ama > aa * (1 - 1e-5));
        free(a), free(b), free(ma), free(mb);
    }
}

/* A cosine along the rows comes back as itself, times what its frequency says. */
static void cosines(void **state) {
    (void)state;
    const double pi = 3.14159265358979323846, gain = 2;
    size_t w = 48, h = 20, n = 3 * w * h;
    float *x = malloc(n * sizeof *x);
    for (size_t u = 0; u < w; u++) {
        double blurred = 1, factor = 1;
        for (int k = 1; k <= OCTAVES; k++) {
            double angle = pi * (double)u / (double)w * pow(2, k - 1);
            blurred *= pow(cos(angle / 2), 4);
            factor += (pow(gain, k) - pow(gain, k - 1)) * blurred;
        }
        for (size_t i = 0; i < n; i++)
            x[i] = (float)cos(pi * (double)u * ((double)(i % w) + 0.5) / (double)w);
        float *y = applied(contexts[2], x, w, h, gain);
        for (size_t i = 0; i < n; i++)
            if (!(fabs((double)y[i] - factor * (double)x[i]) < 1e-5 * factor))
                fail_msg("frequency %zu, %zu: expected %g, found %g", u, i,
                    factor * (double)x[i], (double)y[i]);
        free(y);
    }
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(follows_formula),
        cmocka_unit_test(same_bits), cmocka_unit_test(symmetric_and_positive),
        cmocka_unit_test(cosines)};
    for (size_t i = 0; i < 4; i++) {
        imp_ctx_options options = {.threads = threads[i]};
        if (imp_ctx_new(&contexts[i], &options)) return 1;
    }
    int failed = cmocka_run_group_tests_name("precondition", tests, NULL, NULL);
    for (size_t i = 0; i < 4; i++) imp_ctx_free(contexts[i]);
    return failed;
}
