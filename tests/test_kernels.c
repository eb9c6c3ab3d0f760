/* SPDX-License-Identifier: MIT
 *
 * Every kernel of every level that this machine has, against plain loops in double. The
 * element-wise kernels and the sums give the same bits at all levels; products give the
 * same at avx2 and avx512, which both use FMA in one order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "op_case.h"

#define MAX_LEVELS 3

static const imp_kernels *levels[MAX_LEVELS];
static size_t n_levels;

static int find_levels(void **state) {
    (void)state;
    for (int cpu = IMP_CPU_GENERIC; cpu <= (int)imp_cpu_best(); cpu++) {
        levels[n_levels++] = imp_kernels_for((imp_cpu)cpu);
        print_message("level %s\n", levels[n_levels - 1]->name);
    }
    return 0;
}

static int release(void **state) {
    (void)state;
    release_all();
    return 0;
}

/* What was got after the first `before`. */
static void release_from(size_t before) {
    while (memory_count > before) {
        guarded *last = &memory[--memory_count];
        for (size_t i = 0; i < GUARD; i++)
            if (last->base[i] != 0xa5 || last->base[GUARD + last->size + i] != 0xa5)
                fail_msg("a byte outside a buffer was written");
        imp_release(last->base);
    }
}

static float *numbers(size_t n, uint64_t seed) {
    float *x = get(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)imp_normal(seed, i);
    return x;
}

static float *copy(size_t n, const float *x) {
    return memcpy(get(n * sizeof *x), x, n * sizeof *x);
}

static void assert_near(const char *what, const imp_kernels *k, size_t i, double found,
    double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%s %s [%zu]: expected %.9g, found %.9g, tolerance %.3g", k->name,
            what, i, expected, found, tolerance);
}

/* The same bits as the level before: at all levels, or between those with FMA. */
static void assert_level_bits(
    const char *what, size_t level, bool all, const void *const *results, size_t size) {
    if (level == 0 || (level == 1 && !all)) return;
    if (memcmp(results[level], results[level - 1], size))
        fail_msg("%s: other bits at %s than at %s", what, levels[level]->name,
            levels[level - 1]->name);
}

/* --- products: imp_gemm_block --- */

#define ROW0     5 /* where the block that is asked for begins */
#define PANEL0   1
#define ROWS     IMP_GEMM_ROWS
#define PANELS   5
#define MAX_TAPS 40
#define COLUMNS  (PANELS * 16)

enum mode { BIAS, ZERO, ADD, MODES };
static const char *const mode_names[] = {"bias", "zero", "add"};

typedef struct product {
    size_t taps, y_row, y_panel, y_size;
    const float *a, *b, *bias, *y; /* y: what is there before */
    double sum[ROWS][COLUMNS],
        size[ROWS][COLUMNS];         /* without bias; of absolute values */
    float *whole[MAX_LEVELS][MODES]; /* y of all rows and panels */
} product;

static product p;

/* Row by row, taps*16 floats each. */
static void pack_rows(const void *source, size_t row0, size_t rows, size_t tap0,
    size_t taps, float *a, size_t a_tap) {
    const product *q = source;
    for (size_t t = 0; t < taps; t++)
        for (size_t m = 0; m < rows; m++)
            memcpy(a + t * a_tap + m * 16,
                q->a + ((row0 + m) * q->taps + tap0 + t) * 16, 16 * sizeof(float));
}

static void make_product(size_t taps, size_t y_row) {
    size_t depth = taps * 16;
    p.taps = taps;
    p.y_row = y_row;
    p.y_panel = (ROW0 + ROWS + 3) * y_row;
    p.y_size = (PANEL0 + PANELS) * p.y_panel;
    p.a = numbers((ROW0 + ROWS) * depth, 1);
    p.b = numbers((PANEL0 + PANELS) * depth * 16, 2);
    p.bias = numbers((PANEL0 + PANELS) * 16, 3);
    p.y = numbers(p.y_size, 4);
    memset(p.sum, 0, sizeof p.sum);
    memset(p.size, 0, sizeof p.size);
    for (size_t m = 0; m < ROWS; m++)
        for (size_t r = 0; r < depth; r++)
            for (size_t j = 0; j < COLUMNS; j++) {
                double term =
                    (double)p.a[(ROW0 + m) * depth + r] *
                    (double)p.b[((PANEL0 + j / 16) * depth + r) * 16 + j % 16];
                p.sum[m][j] += term;
                p.size[m][j] += fabs(term);
            }
}

static size_t place(size_t m, size_t j) {
    return (PANEL0 + j / 16) * p.y_panel + (ROW0 + m) * p.y_row + j % 16;
}

static float *run_block(
    const imp_kernels *k, enum mode mode, size_t rows, size_t panels) {
    float *y = copy(p.y_size, p.y), *scratch = get_rubbish(IMP_GEMM_SCRATCH);
    for (size_t m = 0; m < rows && mode != ADD; m++) /* is not to be read */
        for (size_t j = 0; j < panels * 16; j++) y[place(m, j)] = NAN;
    imp_gemm g = {.pack = pack_rows,
        .source = &p,
        .taps = p.taps,
        .b = p.b,
        .bias = mode == ZERO ? NULL : p.bias,
        .y = y,
        .y_row = p.y_row,
        .y_panel = p.y_panel,
        .add = mode == ADD};
    imp_gemm_block(k, &g, ROW0, rows, PANEL0, panels, scratch);
    return y;
}

static void check_whole(size_t level, enum mode mode) {
    const imp_kernels *k = levels[level];
    const float *y = p.whole[level][mode] = run_block(k, mode, ROWS, PANELS);
    for (size_t m = 0; m < ROWS; m++)
        for (size_t j = 0; j < COLUMNS; j++) {
            double start = mode == BIAS  ? (double)p.bias[PANEL0 * 16 + j]
                           : mode == ADD ? (double)p.y[place(m, j)]
                                         : 0;
            double size = p.size[m][j] + fabs(start);
            assert_near(mode_names[mode], k, m * COLUMNS + j, (double)y[place(m, j)],
                p.sum[m][j] + start, 0x1p-24 * (double)(2 * p.taps * 16 + 2) * size);
        }
    const void *results[MAX_LEVELS];
    for (size_t l = 0; l <= level; l++) results[l] = p.whole[l][mode];
    assert_level_bits(mode_names[mode], level, false, results, p.y_size * sizeof *y);
}

/* A block of fewer rows and panels: the same bits as in the whole, nothing else. */
static void check_part(size_t level, enum mode mode, size_t rows, size_t panels) {
    size_t before = memory_count;
    const float *whole = p.whole[level][mode];
    float *y = run_block(levels[level], mode, rows, panels);
    float *expected = copy(p.y_size, p.y);
    for (size_t m = 0; m < rows; m++)
        for (size_t j = 0; j < panels * 16; j++)
            expected[place(m, j)] = whole[place(m, j)];
    if (memcmp(y, expected, p.y_size * sizeof *y))
        fail_msg("%s %s: %zu rows, %zu panels, %zu taps: other bits than in the whole",
            levels[level]->name, mode_names[mode], rows, panels, p.taps);
    release_from(before);
}

static void check_products(size_t taps, size_t y_row) {
    make_product(taps, y_row);
    for (size_t level = 0; level < n_levels; level++)
        for (enum mode mode = BIAS; mode < MODES; mode++) {
            check_whole(level, mode);
            for (size_t rows = 1; rows <= ROWS; rows = rows == 20 ? 167 : rows + 1)
                for (size_t panels = 1; panels <= PANELS; panels++)
                    check_part(level, mode, rows, panels);
        }
    release_all();
}

static void products(void **state) {
    (void)state;
    static const size_t taps[] = {1, 3, 16, 17, MAX_TAPS};
    for (size_t i = 0; i < sizeof taps / sizeof *taps; i++) check_products(taps[i], 16);
    check_products(2, 48); /* rows apart from each other */
}

/* --- outer products --- */

static void check_outer(size_t count, size_t a_step, size_t b_step, bool add) {
    const float *a = numbers(count * a_step + 16, 5),
                *b = numbers(count * b_step + 16, 6);
    const float *old = numbers(256, 7);
    const void *results[MAX_LEVELS];
    for (size_t level = 0; level < n_levels; level++) {
        float *g = add ? copy(256, old) : get_rubbish(256 * sizeof *g);
        levels[level]->outer(count, a, a_step, b, b_step, add ? a : NULL, g, add);
        for (size_t i = 0; i < 256; i++) {
            double sum = add ? (double)old[i] : 0, size = fabs(sum);
            for (size_t q = 0; q < count; q++) {
                double term =
                    (double)a[q * a_step + i / 16] * (double)b[q * b_step + i % 16];
                sum += term;
                size += fabs(term);
            }
            assert_near("outer", levels[level], i, (double)g[i], sum,
                0x1p-24 * (2 * (double)count + 1) * size);
        }
        results[level] = g;
        assert_level_bits("outer", level, false, results, 256 * sizeof *g);
    }
    release_all();
}

static void outer(void **state) {
    (void)state;
    static const size_t counts[] = {0, 1, 2, 7, 33, 500};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int add = 0; add < 2; add++) {
            check_outer(counts[i], 16, 16, add);
            check_outer(counts[i], 32, 16, add);
            check_outer(counts[i], 16, 48, add);
        }
}

/* --- 3 x 3 of few channels: the same bits at avx2 and avx512 --- */

#define NARROW_PANELS 3
#define NARROW_STEP   (64 + IMP_NARROW_SLACK) /* pixels of a row */

static void check_narrow_gradient(
    size_t count, size_t channels, size_t lanes, bool add) {
    const float *dy = numbers(9 * NARROW_PANELS * NARROW_STEP * 16, 44),
                *w = numbers(NARROW_PANELS * channels * 9 * 16, 45),
                *old = numbers(count * lanes, 46);
    imp_narrow_gradient n = {.count = count,
        .channels = channels,
        .taps = 9,
        .panels = NARROW_PANELS,
        .w = w,
        .tap_panel = NARROW_STEP * 16,
        .w_panel = channels * 9 * 16,
        .dx_lanes = lanes,
        .add = add};
    for (size_t t = 0; t < 9; t++) n.tap[t] = dy + t * NARROW_PANELS * n.tap_panel;
    const void *results[MAX_LEVELS];
    for (size_t level = 0; level < n_levels; level++) {
        n.dx =
            add ? copy(count * lanes, old) : get_rubbish(count * lanes * sizeof *n.dx);
        levels[level]->narrow_gradient(&n);
        for (size_t i = 0; i < count * lanes; i++) {
            size_t j = i / lanes, c = i % lanes;
            double sum = add ? (double)old[i] : 0, size = fabs(sum);
            for (size_t k = 0; c < channels && k < NARROW_PANELS * 9 * 16; k++) {
                size_t q = k / 144, t = k / 16 % 9, o = k % 16;
                double term = (double)n.tap[t][q * n.tap_panel + j * 16 + o] *
                              (double)w[q * n.w_panel + (c * 9 + 8 - t) * 16 + o];
                sum += term;
                size += fabs(term);
            }
            assert_near("narrow_gradient", levels[level], i, (double)n.dx[i], sum,
                0x1p-24 * (2 * NARROW_PANELS * 9 + 6) * size);
        }
        results[level] = n.dx;
        assert_level_bits(
            "narrow_gradient", level, false, results, count * lanes * sizeof *n.dx);
    }
    release_all();
}

static void narrow(void **state) {
    (void)state;
    static const size_t counts[] = {1, 2, 3, 5, 12, 13, 14, 29, 64};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (size_t c = 1; c <= IMP_NARROW_CHANNELS; c++)
            for (int add = 0; add < 2; add++) {
                check_narrow_gradient(counts[i], c, IMP_LANES, add);
                check_narrow_gradient(counts[i], c, IMP_PICTURE_LANES, add);
            }
}

/* --- ReLU and its mask --- */

static const size_t lengths[] = {16, 32, 48, 80, 1008};
#define LENGTHS (sizeof lengths / sizeof *lengths)

static float *with_specials(size_t n, uint64_t seed) {
    static const float specials[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, -NAN,
        1e-45f, -1e-45f, 3e38f, -3e38f, 1e-38f, -1e-38f};
    float *x = numbers(n, seed);
    for (size_t i = 0; i < n; i++)
        if (imp_random(seed + 1, i) % 3 == 0)
            x[i] = specials[imp_random(seed + 2, i) %
                            (sizeof specials / sizeof *specials)];
    memcpy(x, specials, sizeof specials);
    return x;
}

static void check_relu(size_t n) {
    const float *x = with_specials(n, n);
    const void *results[MAX_LEVELS];
    for (size_t level = 0; level < n_levels; level++) {
        const imp_kernels *k = levels[level];
        float *y = get_rubbish(n * sizeof *y), *z = copy(n, x);
        uint16_t *bits = get_rubbish(n / 8);
        k->relu(n, x, y, bits);
        for (size_t i = 0; i < n; i++) {
            bool positive = x[i] > 0;
            assert_int_equal(bits[i / 16] >> i % 16 & 1, positive);
            if (isnan(x[i])) /* a loss must show it */
                assert_true(isnan(y[i]));
            else
                assert_true(positive ? y[i] == x[i] : y[i] == 0);
        }
        k->relu(n, z, z, NULL);
        assert_memory_equal(z, y, n * sizeof *y);
        results[level] = y;
        assert_level_bits("relu", level, true, results, n * sizeof *y);
    }
    release_all();
}

static void relu(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTHS; i++) check_relu(lengths[i]);
}

/* Where the bit is not set there is 0, whatever dy has: not a number times 0. */
static void check_mask(size_t n, bool add) {
    const float *dy = with_specials(n, n), *old = numbers(n, 9);
    uint16_t *bits = get(n / 8);
    for (size_t i = 0; i < n / 16; i++) bits[i] = (uint16_t)imp_random(8, i);
    for (size_t level = 0; level < n_levels; level++) {
        float *dx = add ? copy(n, old) : get_rubbish(n * sizeof *dx);
        levels[level]->mask(n, dy, bits, dx, add);
        for (size_t i = 0; i < n; i++) {
            float v = bits[i / 16] >> i % 16 & 1 ? dy[i] : 0;
            float expected = add ? old[i] + v : v;
            assert_true(isnan(expected) ? isnan(dx[i]) : dx[i] == expected);
        }
    }
    release_all();
}

static void mask(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTHS; i++) check_mask(lengths[i], false);
    for (size_t i = 0; i < LENGTHS; i++) check_mask(lengths[i], true);
}

/* --- element by element: the bits that plain C gives --- */

enum vector {
    SUM,
    AXPY,
    SCALE,
    DIFFERENCE,
    DIFFERENCE_ADD,
    SUM_IN_PLACE,
    SCALE_IN_PLACE,
    VECTORS
};
static const char *const vector_names[] = {"add", "axpy", "scale", "difference",
    "difference, add", "add, in place", "scale, in place"};

static float plain_vector(enum vector v, float alpha, float a, float b, float old) {
    float d = alpha * (a - b), s = alpha * a;
    switch (v) {
    case SUM:
        return a + b;
    case AXPY:
        return old + s;
    case SCALE:
        return s;
    case DIFFERENCE:
        return d;
    case DIFFERENCE_ADD:
        return old + d;
    case SUM_IN_PLACE:
        return old + b;
    default:
        return alpha * old;
    }
}

static void run_vector(enum vector v, const imp_kernels *k, size_t n, float alpha,
    const float *a, const float *b, float *y) {
    switch (v) {
    case SUM:
        k->add(n, a, b, y);
        break;
    case AXPY:
        k->axpy(n, alpha, a, y);
        break;
    case SCALE:
        k->scale(n, alpha, a, y);
        break;
    case DIFFERENCE:
        k->difference(n, alpha, a, b, y, false);
        break;
    case DIFFERENCE_ADD:
        k->difference(n, alpha, a, b, y, true);
        break;
    case SUM_IN_PLACE:
        k->add(n, y, b, y);
        break;
    default:
        k->scale(n, alpha, y, y);
    }
}

static void vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTHS; i++) {
        size_t n = lengths[i];
        const float *a = numbers(n, 11), *b = numbers(n, 12), *old = numbers(n, 13);
        for (enum vector v = SUM; v < VECTORS; v++)
            for (size_t level = 0; level < n_levels; level++) {
                float *y = copy(n, old);
                run_vector(v, levels[level], n, 0.3f, a, b, y);
                for (size_t q = 0; q < n; q++)
                    if (!(y[q] == plain_vector(v, 0.3f, a[q], b[q], old[q])))
                        fail_msg(
                            "%s %s [%zu]", levels[level]->name, vector_names[v], q);
            }
        release_all();
    }
}

/* --- sums, in double --- */

static void sums(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTHS; i++) {
        size_t n = lengths[i];
        const float *a = numbers(n, 14), *b = numbers(n, 15);
        double dot = 0, dot_size = 0, distance = 0, found[MAX_LEVELS][2];
        for (size_t q = 0; q < n; q++) {
            double x = (double)a[q], y = (double)b[q];
            dot += x * y;
            dot_size += fabs(x * y);
            distance += (x - y) * (x - y);
        }
        const void *results[MAX_LEVELS];
        for (size_t level = 0; level < n_levels; level++) {
            const imp_kernels *k = levels[level];
            found[level][0] = k->dot(n, a, b);
            found[level][1] = k->distance(n, a, b);
            assert_near(
                "dot", k, n, found[level][0], dot, 0x1p-52 * (double)n * dot_size);
            assert_near("distance", k, n, found[level][1], distance,
                0x1p-52 * (double)n * distance);
            results[level] = found[level];
            assert_level_bits("sums", level, true, results, sizeof found[level]);
        }
        release_all();
    }
}

/* --- optimisers --- */

static void check_sgd(size_t n) {
    const float *x = numbers(n, 21), *v = numbers(n, 22), *g = numbers(n, 23);
    for (size_t level = 0; level < n_levels; level++) {
        float *nx = copy(n, x), *nv = copy(n, v);
        levels[level]->sgd(n, nx, nv, g, 0.01f, 0.9f);
        for (size_t i = 0; i < n; i++) {
            float a = 0.9f * v[i], expected = a + g[i], step = 0.01f * expected;
            assert_true(nv[i] == expected && nx[i] == x[i] - step);
        }
    }
}

static void check_adam(size_t n) {
    const float *x = numbers(n, 24), *m = numbers(n, 25), *r = numbers(n, 26),
                *g = numbers(n, 27);
    const void *results[MAX_LEVELS];
    for (size_t level = 0; level < n_levels; level++) {
        const imp_kernels *k = levels[level];
        float *all = get(3 * n * sizeof *all), *nx = all, *nm = all + n, *nv = nm + n;
        memcpy(nx, x, n * sizeof *x);
        memcpy(nm, m, n * sizeof *m);
        for (size_t i = 0; i < n; i++) nv[i] = r[i] * r[i];
        k->adam(n, nx, nm, nv, g, 0.1f, 0.9f, 0.999f, 1e-8f, 10.0f, 1000.0f);
        for (size_t i = 0; i < n; i++) {
            double b1 = (double)0.9f, b2 = (double)0.999f, gi = (double)g[i],
                   old = (double)(r[i] * r[i]);
            double em = b1 * (double)m[i] + (1 - b1) * gi,
                   ev = b2 * old + (1 - b2) * gi * gi,
                   step = (double)0.1f * 10 * em / (sqrt(1000 * ev) + 1e-8);
            double unit = fabs((double)m[i]) + fabs(gi);
            assert_near("adam m", k, i, (double)nm[i], em, 0x1p-22 * unit);
            assert_near("adam v", k, i, (double)nv[i], ev, 0x1p-22 * ev);
            assert_near("adam x", k, i, (double)nx[i], (double)x[i] - step,
                0x1p-21 * (fabs((double)x[i]) + unit / sqrt(1000 * ev)));
        }
        results[level] = all;
        assert_level_bits("adam", level, true, results, 3 * n * sizeof *all);
    }
}

static void optimisers(void **state) {
    (void)state;
    for (size_t i = 0; i < LENGTHS; i++) {
        check_sgd(lengths[i]);
        check_adam(lengths[i]);
        release_all();
    }
}

/* --- the table --- */

static void table(void **state) {
    (void)state;
    for (size_t level = 0; level < n_levels; level++) {
        const imp_kernels *k = levels[level];
        assert_true(k->mr >= 1 && k->mr <= IMP_MAX_MR && IMP_GEMM_ROWS % k->mr == 0);
        assert_true(k->nb >= 1 && k->nb <= IMP_MAX_NB);
        assert_string_equal(k->name, imp_cpu_name((imp_cpu)level));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test_teardown(products, release),
        cmocka_unit_test_teardown(outer, release),
        cmocka_unit_test_teardown(narrow, release),
        cmocka_unit_test_teardown(relu, release),
        cmocka_unit_test_teardown(mask, release),
        cmocka_unit_test_teardown(vectors, release),
        cmocka_unit_test_teardown(sums, release),
        cmocka_unit_test_teardown(optimisers, release),
    };
    return cmocka_run_group_tests_name("kernels", tests, find_levels, NULL);
}
