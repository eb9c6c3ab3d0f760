/* SPDX-License-Identifier: MIT
 *
 * Winograd's transforms: the matrices of their definition give a convolution; each kernel,
 * at every level that this machine has, gives what they give, within the bound of
 * winograd_bound.h; avx2 and avx512 agree in every bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "winograd_bound.h"

#define MAX_LEVELS 3

static const imp_kernels *levels[MAX_LEVELS];
static size_t n_levels;

static int release(void **state) {
    (void)state;
    release_all();
    return 0;
}

static float *numbers(size_t n, uint64_t seed) {
    float *x = get(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)imp_normal(seed, i);
    return x;
}

/* --- the definition itself --- */

/* F(m x m, r x r). */
static const struct form { size_t m, r; } forms[] = {{4, 3}, {6, 3}, {8, 3}, {4, 5}};
#define FORMS (sizeof forms / sizeof *forms)

/* A' [(G g G') . (B' d B)] A is the sum of products that it should be. */
static void definition(void **state) {
    (void)state;
    for (size_t f = 0; f < FORMS; f++) {
        winograd w = winograd_of(forms[f].m, forms[f].r);
        double d[XI_MOST], g[25], u[XI_MOST], v[XI_MOST], y[TILE_MOST];
        for (size_t i = 0; i < XI_MOST; i++) d[i] = imp_normal(f, i);
        for (size_t i = 0; i < 25; i++) g[i] = imp_normal(f + 9, i);
        sandwich(&w.g, g, u);
        sandwich(&w.bt, d, v);
        for (size_t xi = 0; xi < w.n * w.n; xi++) u[xi] *= v[xi];
        sandwich(&w.at, u, y);
        for (size_t i = 0; i < w.m * w.m; i++) {
            double sum = 0;
            for (size_t l = 0; l < w.r * w.r; l++)
                sum += g[l] * d[(i / w.m + l / w.r) * w.n + i % w.m + l % w.r];
            assert_true(fabs(sum - y[i]) < 1e-12);
        }
    }
}

/* --- the transforms, one kernel at a time --- */

#define GAP 5 /* numbers between planes of xi, which no kernel may touch */

/* What a kernel wrote for one lane, by xi, against what L x L' is, within r roundings. */
static void assert_transformed(const imp_kernels *k, const char *what, const matrix *l,
    const double *x, double roundings, const float *found, size_t step) {
    double y[XI_MOST], sizes[XI_MOST], absolute[XI_MOST];
    matrix positive = without_signs(l);
    for (size_t i = 0; i < l->columns * l->columns; i++) absolute[i] = fabs(x[i]);
    sandwich(l, x, y);
    sandwich(&positive, absolute, sizes);
    for (size_t i = 0; i < l->rows * l->rows; i++)
        if (!(fabs((double)found[i * step] - y[i]) <= 0x1p-24 * roundings * sizes[i]))
            fail_msg("%s %s [%zu]: expected %.9g, found %.9g", k->name, what, i, y[i],
                (double)found[i * step]);
}

/* avx2 and avx512 give the same bits: same has the results of the levels. */
static void assert_level_bits(
    const char *what, size_t level, float *const *same, size_t count) {
    if (level >= 2 && memcmp(same[level], same[level - 1], count * sizeof(float)))
        fail_msg("%s: other bits at %s than at %s", what, levels[level]->name,
            levels[level - 1]->name);
}

/* Rubbish is left wherever nothing belongs. */
static void assert_written(const float *v, size_t size, size_t expected) {
    size_t written = 0;
    for (size_t i = 0; i < size; i++) written += isnan(v[i]) ? 0 : 1;
    assert_int_equal(written, expected);
}

typedef struct transforms {
    void (*input)(const imp_winograd_input *in);
    void (*weights)(const imp_winograd_weights *w);
    void (*output)(const imp_winograd_output *out);
    void (*gradient)(const imp_winograd_input *in); /* NULL: none */
    void (*fold)(const imp_winograd_fold *f);
} transforms;

static transforms transforms_of(const imp_kernels *k, const winograd *w) {
    if (w->r == 5)
        return (transforms){k->winograd_input5, k->winograd_weights5,
            k->winograd_output5, k->winograd_gradient5, k->winograd_fold5};
    if (w->m == 4)
        return (transforms){k->winograd_input4, k->winograd_weights4,
            k->winograd_output4, k->winograd_gradient4, k->winograd_fold4};
    if (w->m == 6)
        return (transforms){
            k->winograd_input6, k->winograd_weights6, k->winograd_output6, NULL, NULL};
    return (transforms){
        k->winograd_input8, k->winograd_weights8, k->winograd_output8, NULL, NULL};
}

enum input_kind { PLAIN, REPLICATE, MASKED, POOLED, INPUT_KINDS };

typedef struct plane {
    size_t h, w;
    ptrdiff_t origin;
    enum input_kind kind;
} plane;

/* What pixel (r, c) of lane l counts as. */
static double input_value(
    const imp_winograd_input *in, ptrdiff_t r, ptrdiff_t c, size_t l) {
    ptrdiff_t h = (ptrdiff_t)in->tiles.h, w = (ptrdiff_t)in->tiles.w;
    bool inside = r >= 0 && r < h && c >= 0 && c < w;
    if (in->replicate) {
        r = r < 0 ? 0 : r >= h ? h - 1 : r;
        c = c < 0 ? 0 : c >= w ? w - 1 : c;
    } else if (!inside) {
        return 0;
    }
    size_t p = (size_t)(r * w + c);
    if (in->position) {
        if (r >= h / 2 * 2 || c >= w / 2 * 2) return 0;
        p = (size_t)(r / 2 * (w / 2) + c / 2);
        if (in->position[p * 16 + l] != r % 2 * 2 + c % 2) return 0;
    }
    if (in->mask && !(in->mask[p] >> l & 1)) return 0;
    return (double)in->x[p * 16 + l];
}

static void check_input(const winograd *f, const plane *p) {
    size_t m = f->m, planes = f->n * f->n, pixels = p->h * p->w;
    size_t wide = p->w / m + 1, all = wide * (p->h / m + 1);
    float *v[MAX_LEVELS];
    uint16_t *mask = get(pixels * sizeof *mask);
    uint8_t *position = get(pixels * 16);
    for (size_t i = 0; i < pixels; i++) mask[i] = (uint16_t)imp_random(1, i);
    for (size_t i = 0; i < pixels * 16; i++)
        position[i] = (uint8_t)(imp_random(2, i) % (IMP_POOL_DEAD + 1));
    size_t first = all > 2 ? 1 : 0, count = all - first;
    /* Rows of V begin at the third, three side by side, room for 3 x 16 after them. */
    size_t step = ((count + 2) / 3 + 1) * 96 + GAP, size = planes * step;
    imp_winograd_input in = {.tiles = {p->h, p->w, wide, first, count},
        .x = numbers(pixels * 16, p->h + p->w),
        .mask = p->kind == MASKED ? mask : NULL,
        .position = p->kind == POOLED ? position : NULL,
        .origin = p->origin,
        .replicate = p->kind == REPLICATE,
        .v_xi = step,
        .group = 3,
        .v_group = 96,
        .row = 2};
    for (size_t level = 0; level < n_levels; level++) {
        const imp_kernels *k = levels[level];
        in.v = v[level] = get_rubbish(size * sizeof(float));
        transforms_of(k, f).input(&in);
        for (size_t i = 0; i < count * 16; i++) {
            double d[XI_MOST];
            ptrdiff_t y = (ptrdiff_t)((first + i / 16) / wide * m) + p->origin;
            ptrdiff_t x = (ptrdiff_t)((first + i / 16) % wide * m) + p->origin;
            for (size_t l = 0; l < planes; l++)
                d[l] = input_value(
                    &in, y + (ptrdiff_t)(l / f->n), x + (ptrdiff_t)(l % f->n), i % 16);
            size_t row = i / 16 + 2, at = row / 3 * 96 + row % 3 * 16 + i % 16;
            assert_transformed(
                k, "input", &f->bt, d, 2 * input_roundings(f), in.v + at, step);
        }
        assert_written(in.v, size, planes * count * 16);
        assert_level_bits("input", level, v, size);
    }
    release_all();
}

static void inputs(void **state) {
    (void)state;
    static const size_t sizes[][2] = {
        {1, 1}, {2, 2}, {1, 9}, {9, 1}, {3, 5}, {6, 6}, {8, 8}, {13, 17}, {20, 11}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t f = 0; f < FORMS; f++)
            for (ptrdiff_t origin = -4; origin <= 1; origin++)
                for (enum input_kind kind = PLAIN; kind < INPUT_KINDS; kind++) {
                    winograd w = winograd_of(forms[f].m, forms[f].r);
                    check_input(&w, &(plane){sizes[i][0], sizes[i][1], origin, kind});
                }
}

static void weights(void **state) {
    (void)state;
    for (size_t f = 0; f < FORMS; f++)
        for (int flip = 0; flip < 2; flip++) {
            winograd w = winograd_of(forms[f].m, forms[f].r);
            size_t area = w.r * w.r, step = 256 + GAP, size = w.n * w.n * step;
            float *u[MAX_LEVELS];
            imp_winograd_weights job = {numbers(area * 256, f), flip, NULL, step};
            for (size_t level = 0; level < n_levels; level++) {
                const imp_kernels *k = levels[level];
                job.u = u[level] = get_rubbish(size * sizeof(float));
                transforms_of(k, &w).weights(&job);
                for (size_t i = 0; i < 256; i++) {
                    double g[25];
                    for (size_t l = 0; l < area; l++)
                        g[l] = (double)job.g[(flip ? area - 1 - l : l) * 256 + i];
                    assert_transformed(k, "weights", &w.g, g, 2 * weights_roundings(&w),
                        job.u + i, step);
                }
                assert_written(job.u, size, w.n * w.n * 256);
                assert_level_bits("weights", level, u, size);
            }
            release_all();
        }
}

enum output_kind { BARE, BIASED, ADDED, RELU, RELU_MASK, POOL, OUTPUT_KINDS };

/* The pooled map from the map that the same kernel gives without pooling. */
static void assert_pooled(const imp_winograd_output *out, const float *map) {
    size_t h = out->tiles.h, w = out->tiles.w;
    for (size_t i = 0; i < h / 2 * (w / 2) * 16; i++) {
        size_t row = i / 16 / (w / 2) * 2, column = i / 16 % (w / 2) * 2, best = 0;
        float x[4];
        for (size_t l = 0; l < 4; l++)
            x[l] = map[((row + l / 2) * w + column + l % 2) * 16 + i % 16];
        for (size_t l = 1; l < 4; l++) best = x[l] > x[best] ? l : best;
        assert_true(out->y[i] == x[best]);
        assert_int_equal(out->position[i], x[best] > 0 ? best : IMP_POOL_DEAD);
    }
}

/* y of one pixel's lane from M in double, within the bound. */
static void assert_outputs(const imp_kernels *k, const winograd *w,
    const imp_winograd_output *out, const float *y, const float *old) {
    matrix positive = without_signs(&w->at);
    const imp_winograd_tiles *s = &out->tiles;
    for (size_t i = 0; i < s->count * 16; i++) {
        double m[XI_MOST], absolute[XI_MOST], tile[TILE_MOST], sizes[TILE_MOST];
        for (size_t xi = 0; xi < w->n * w->n; xi++) {
            m[xi] = (double)out->m[xi * out->m_xi + i];
            absolute[xi] = fabs(m[xi]);
        }
        sandwich(&w->at, m, tile);
        sandwich(&positive, absolute, sizes);
        for (size_t l = 0; l < w->m * w->m; l++) {
            size_t row = i / 16 / s->wide * w->m + l / w->m;
            size_t column = i / 16 % s->wide * w->m + l % w->m;
            size_t at = (row * s->w + column) * 16 + i % 16;
            if (row >= s->h || column >= s->w) continue;
            double bias = out->bias ? (double)out->bias[i % 16] : 0;
            double before = out->add ? (double)old[at] : 0;
            double expected = tile[l] + bias + before;
            if (out->relu) expected = fmax(0, expected);
            double size = sizes[l] + fabs(bias) + fabs(before);
            double tolerance = 0x1p-24 * (2 * output_roundings(w) + 2) * size;
            if (!(fabs((double)y[at] - expected) <= tolerance))
                fail_msg("%s output [%zu]: expected %.9g, found %.9g", k->name, at,
                    expected, (double)y[at]);
        }
    }
}

static void check_output(
    const winograd *w, size_t h, size_t wide, enum output_kind kind) {
    size_t across = tiles_on(wide, w->m), count = across * tiles_on(h, w->m);
    size_t step = count * 16 + GAP, size = h * wide * 16;
    size_t pooled = h / 2 * (wide / 2) * 16;
    const float *old = numbers(size, 3);
    float *results[MAX_LEVELS];
    imp_winograd_output out = {.tiles = {h, wide, across, 0, count},
        .m = numbers(w->n * w->n * step, h + wide),
        .m_xi = step,
        .bias = kind == BARE || kind == ADDED ? NULL : numbers(16, 4),
        .add = kind == ADDED,
        .relu = kind >= RELU,
        .stream = kind == BARE || kind == RELU_MASK};
    for (size_t level = 0; level < n_levels; level++) {
        const imp_kernels *k = levels[level];
        void (*run)(const imp_winograd_output *) = transforms_of(k, w).output;
        float *y = out.y = results[level] = get_rubbish(size * sizeof(float));
        if (kind == ADDED) memcpy(y, old, size * sizeof *y);
        out.mask = kind == RELU_MASK ? get_rubbish(size / 8) : NULL;
        run(&out);
        assert_outputs(k, w, &out, y, old);
        for (size_t i = 0; out.mask && i < size; i++)
            assert_int_equal(out.mask[i / 16] >> i % 16 & 1, y[i] > 0);
        assert_level_bits("output", level, results, size);
        if (kind != POOL) continue;
        imp_winograd_output pool = out;
        pool.pool = true;
        pool.y = get_rubbish(pooled * sizeof(float) + 1);
        pool.position = get_rubbish(pooled + 1);
        run(&pool);
        assert_pooled(&pool, y);
        float *kept = pool.y;
        pool.y = get_rubbish(pooled * sizeof(float) + 1);
        pool.position = NULL; /* not wanted */
        run(&pool);
        assert_memory_equal(kept, pool.y, pooled * sizeof(float));
    }
    release_all();
}

static void outputs(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{1, 1}, {1, 7}, {7, 1}, {2, 3}, {4, 4}, {5, 9},
        {6, 6}, {8, 12}, {11, 13}, {12, 18}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t f = 0; f < FORMS; f++)
            for (enum output_kind kind = BARE; kind < OUTPUT_KINDS; kind++) {
                winograd w = winograd_of(forms[f].m, forms[f].r);
                check_output(&w, sizes[i][0], sizes[i][1], kind);
            }
}

/* Zeros in M: all equal, no maximum above zero; the first of equals elsewhere. */
static void pooling_of_ties(void **state) {
    (void)state;
    float m[64 * 16] = {0}, y[9 * 16], bias[16];
    uint8_t position[9 * 16];
    for (size_t i = 0; i < 16; i++) bias[i] = i % 2 ? 1.0f : i % 4 ? -1.0f : 0.0f;
    imp_winograd_output out = {.tiles = {6, 6, 1, 0, 1},
        .m = m,
        .m_xi = 16,
        .bias = bias,
        .y = y,
        .position = position,
        .relu = true,
        .pool = true};
    for (size_t level = 0; level < n_levels; level++) {
        levels[level]->winograd_output6(&out);
        for (size_t i = 0; i < 9 * 16; i++) {
            assert_int_equal(position[i], i % 2 ? 0 : IMP_POOL_DEAD);
            assert_true(y[i] == (i % 2 ? 1.0f : 0.0f));
        }
    }
}

static void check_gradient(const winograd *w, size_t h, size_t wide) {
    matrix a = turned(&w->at);
    size_t across = tiles_on(wide, 4), count = across * tiles_on(h, 4);
    size_t step = count * 16 + GAP, size = w->n * w->n * step;
    float *z[MAX_LEVELS];
    imp_winograd_input in = {.tiles = {h, wide, across, 0, count},
        .x = numbers(h * wide * 16, h + wide),
        .v_xi = step,
        .group = 1,
        .v_group = 16};
    for (size_t level = 0; level < n_levels; level++) {
        in.v = z[level] = get_rubbish(size * sizeof(float));
        transforms_of(levels[level], w).gradient(&in);
        for (size_t i = 0; i < count * 16; i++) {
            double d[XI_MOST];
            for (size_t l = 0; l < 16; l++)
                d[l] = input_value(&in, (ptrdiff_t)(i / 16 / across * 4 + l / 4),
                    (ptrdiff_t)(i / 16 % across * 4 + l % 4), i % 16);
            assert_transformed(levels[level], "gradient", &a, d, 2 * GRADIENT_ROUNDINGS,
                in.v + i, step);
        }
        assert_written(in.v, size, w->n * w->n * count * 16);
        assert_level_bits("gradient", level, z, size);
    }
    release_all();
}

static void check_fold(const winograd *w, bool add) {
    size_t planes = w->n * w->n, area = w->r * w->r;
    matrix g = turned(&w->g), positive = without_signs(&g);
    const float *old = numbers(area * 256, 5);
    float *dg[MAX_LEVELS];
    imp_winograd_fold f = {numbers(planes * (256 + GAP), 6), 256 + GAP, NULL, add};
    for (size_t level = 0; level < n_levels; level++) {
        f.dg = dg[level] = get_rubbish(area * 256 * sizeof(float));
        if (add) memcpy(f.dg, old, area * 256 * sizeof(float));
        transforms_of(levels[level], w).fold(&f);
        for (size_t i = 0; i < 256; i++) {
            double u[XI_MOST], absolute[XI_MOST], y[XI_MOST], sizes[XI_MOST];
            for (size_t xi = 0; xi < planes; xi++) {
                u[xi] = (double)f.u[xi * f.u_xi + i];
                absolute[xi] = fabs(u[xi]);
            }
            sandwich(&g, u, y);
            sandwich(&positive, absolute, sizes);
            for (size_t l = 0; l < area; l++) {
                double before = add ? (double)old[l * 256 + i] : 0;
                double size = sizes[l] + fabs(before);
                double error = (double)f.dg[l * 256 + i] - (y[l] + before);
                assert_true(
                    fabs(error) <= 0x1p-24 * (2 * fold_roundings(w) + 1) * size);
            }
        }
        assert_level_bits("fold", level, dg, area * 256);
    }
    release_all();
}

static void of_the_weights_gradient(void **state) {
    (void)state;
    for (size_t r = 3; r <= 5; r += 2) {
        winograd w = winograd_of(4, r);
        for (size_t i = 0; i < 81; i++) check_gradient(&w, i / 9 + 1, i % 9 + 1);
        check_fold(&w, false);
        check_fold(&w, true);
    }
}

/* --- all of it --- */

static int set_up(void **state) {
    (void)state;
    for (int cpu = IMP_CPU_GENERIC; cpu <= (int)imp_cpu_best(); cpu++) {
        levels[n_levels++] = imp_kernels_for((imp_cpu)cpu);
        print_message("level %s\n", imp_cpu_name((imp_cpu)cpu));
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(definition),
        cmocka_unit_test_teardown(inputs, release),
        cmocka_unit_test_teardown(weights, release),
        cmocka_unit_test_teardown(outputs, release),
        cmocka_unit_test(pooling_of_ties),
        cmocka_unit_test_teardown(of_the_weights_gradient, release),
    };
    return cmocka_run_group_tests_name("winograd_transforms", tests, set_up, NULL);
}
