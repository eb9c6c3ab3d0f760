/* SPDX-License-Identifier: MIT
 *
 * Every operation: the reference pair against PyTorch's golden numbers and against
 * central differences; the fast pair against the reference at every level of
 * instructions, with the same bits for any number of threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "golden.h"
#include "op_bound.h"
#include "op/eigen.h"

static imp_ctx *contexts[8]; /* levels with one thread; then the best one with more */
static size_t context_count, level_count;
static imp_safetensors *goldens;

static const imp_op *const ops[] = {&imp_op_conv2d, &imp_op_linear, &imp_op_relu,
    &imp_op_pool2d, &imp_op_flatten, &imp_op_add, &imp_op_softmax,
    &imp_op_cross_entropy, &imp_op_resample, &imp_op_gram, &imp_op_squared_error,
    &imp_op_total_variation, &imp_op_mean, &imp_op_centre, &imp_op_guide,
    &imp_op_wasserstein, &imp_op_select, &imp_op_matching_loss};

static const imp_op *op_named(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (strlen(ops[i]->name) == length && !memcmp(ops[i]->name, name, length))
            return ops[i];
    return NULL;
}

/* Weights have a layout of their own. */
static void set_layouts(op_case *t) {
    if (t->op == &imp_op_conv2d || t->op == &imp_op_linear)
        t->in[1].layout = IMP_WEIGHT;
}

/* --- the checks of one case --- */

/* Same bits whatever is asked for besides, and where y takes the place of x. */
static void check_variants(const op_case *t, imp_ctx *ctx, const fast_result *r) {
    fast_result other = fast_run(ctx, t, 0, NULL, false);
    assert_same_bits(t, r, &other, "without backward");
    for (unsigned i = 0; i < t->n_in; i++) {
        if (!(t->want >> i & 1u)) continue;
        other = fast_run(ctx, t, 1u << i, NULL, false);
        assert_same_bits(t, r, &other, "with one gradient alone");
    }
    if (!t->op->need(ctx, t->attr, t->in, &t->out, t->want).in_place) return;
    other = fast_run(ctx, t, t->want, NULL, true);
    assert_same_bits(t, r, &other, "in place");
}

static void check_case_fast(const op_case *t) {
    ref_result ref = ref_run(t, t->x, t->dy, t->want), sizes = sizes_of(contexts[0], t);
    fast_result first = {0};
    double *old[IMP_MAX_INPUTS];
    for (size_t i = 0; i < t->n_in; i++) old[i] = normals(t->in[i], 100 + i, 1);
    for (size_t k = 0; k < context_count; k++) {
        fast_result r = fast_run(contexts[k], t, t->want, NULL, false);
        check_fast(contexts[k], t, &r, &ref, &sizes, NULL);
        if (k + 1 == level_count) first = r;
        if (k >= level_count) assert_same_bits(t, &first, &r, "with more threads");
        if (k < level_count) check_variants(t, contexts[k], &r);
        r = fast_run(contexts[k], t, t->want, old, false);
        check_fast(contexts[k], t, &r, &ref, &sizes, old);
    }
}

/* conv2d and linear with their ReLU: y = max(0, y), and only dy where y > 0 comes back.
 */
static void check_case_fused(const op_case *t) {
    op_case fused = *t;
    if (t->op == &imp_op_conv2d)
        ((imp_conv_attr *)fused.attr)->relu = true;
    else if (t->op == &imp_op_linear)
        ((imp_linear_attr *)fused.attr)->relu = true;
    else
        return;
    ref_result sizes = sizes_of(contexts[0], t);
    for (size_t k = 0; k < context_count; k++) {
        fast_result r = fast_run(contexts[k], &fused, t->want, NULL, false);
        const float *y = unblocked(t->name, t->out, r.y);
        double *dy = doubles(t->out);
        for (size_t i = 0; i < imp_plain_count(t->out); i++)
            dy[i] = y[i] > 0 ? t->dy[i] : 0;
        ref_result ref = ref_run(t, t->x, dy, t->want);
        for (size_t i = 0; i < imp_plain_count(t->out); i++)
            ref.y[i] = fmax(0, ref.y[i]);
        check_fast(contexts[k], &fused, &r, &ref, &sizes, NULL);
        fast_result alone = fast_run(contexts[k], &fused, 0, NULL, false);
        assert_same_bits(&fused, &r, &alone, "without backward");
        alone = fast_run(contexts[k], &fused, t->want & 1u, NULL, false);
        assert_same_bits(&fused, &r, &alone, "with the input's gradient alone");
    }
}

static void assert_near(const char *name, const char *what, size_t n,
    const double *found, const double *expected, double relative) {
    double unit = 0;
    for (size_t i = 0; i < n; i++) unit = fmax(unit, fabs(expected[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs(found[i] - expected[i]) <= relative * unit))
            fail_msg("%s %s [%zu]: PyTorch %.17g, reference %.17g", name, what, i,
                expected[i], found[i]);
}

/* sum dy y at x + h v */
static double shifted(const op_case *t, double *const *v, double h) {
    double *x[IMP_MAX_INPUTS], sum = 0;
    for (size_t i = 0; i < t->n_in; i++) {
        x[i] = doubles(t->in[i]);
        for (size_t l = 0; l < imp_plain_count(t->in[i]); l++)
            x[i][l] = t->x[i][l] + (t->want >> i & 1u ? h * v[i][l] : 0);
    }
    ref_result r = ref_run(t, x, NULL, 0);
    for (size_t l = 0; l < imp_plain_count(t->out); l++) sum += t->dy[l] * r.y[l];
    return sum;
}

/* The derivative along random directions. */
static void check_differences(const op_case *t, const ref_result *r) {
    const double h = 1e-5;
    for (uint64_t trial = 0; trial < 3; trial++) {
        double *v[IMP_MAX_INPUTS], expected = 0, unit = 0;
        for (size_t i = 0; i < t->n_in; i++) {
            v[i] = normals(t->in[i], 1000 + 10 * trial + i, 1);
            for (size_t l = 0; r->dx[i] && l < imp_plain_count(t->in[i]); l++) {
                expected += r->dx[i][l] * v[i][l];
                unit += fabs(r->dx[i][l] * v[i][l]);
            }
        }
        double up = shifted(t, v, h), down = shifted(t, v, -h);
        double found = (up - down) / (2 * h);
        double tolerance = 1e-6 * unit + 1e-15 * (1 + fabs(up)) / h;
        if (!(fabs(found - expected) <= tolerance))
            fail_msg(
                "%s: derivative %.12g, by differences %.12g", t->name, expected, found);
    }
}

/* Where max pooling or ReLU stands on an edge there is no derivative. */
static bool on_an_edge(const char *name) {
    return strstr(name, "ties") || strstr(name, "zeros") || strstr(name, "all_equal");
}

/* --- golden cases --- */

static void read_attr(op_case *t, const double *a) {
    size_t n[3] = {0};
    for (size_t i = 0; a && i < 3; i++) n[i] = (size_t)a[i];
    if (t->op == &imp_op_conv2d)
        memcpy(t->attr,
            &(imp_conv_attr){
                .conv = {n[0], n[1], n[2] ? IMP_PAD_REPLICATE : IMP_PAD_ZERO}},
            sizeof(imp_conv_attr));
    if (t->op == &imp_op_pool2d)
        memcpy(t->attr, &(imp_pool){n[0] ? IMP_POOL_AVG : IMP_POOL_MAX, n[1], n[2]},
            sizeof(imp_pool));
    if (t->op == &imp_op_flatten)
        memcpy(t->attr, &(imp_flatten_attr){n[0] ? IMP_FLATTEN_HWC : IMP_FLATTEN_CHW},
            sizeof(imp_flatten_attr));
    if (t->op == &imp_op_squared_error)
        memcpy(t->attr, &(imp_squared_error_attr){n[0] != 0},
            sizeof(imp_squared_error_attr));
    if (t->op == &imp_op_resample)
        memcpy(t->attr,
            &(imp_resample_attr){n[0], n[1], n[2] ? IMP_LANCZOS : IMP_BICUBIC},
            sizeof(imp_resample_attr));
}

static imp_shape shape_of(const imp_safetensors_entry *e) {
    assert_int_equal(e->ndim, 4);
    return (imp_shape){e->shape[0], e->shape[1], e->shape[2], e->shape[3], IMP_MAP};
}

static double *read(const op_case *t, const char *what, imp_shape *shape) {
    const imp_safetensors_entry *e = golden_find(goldens, t->name, what);
    if (!e) return NULL;
    double *x = golden_numbers(e), *kept = get(e->count * sizeof *x);
    memcpy(kept, x, e->count * sizeof *x);
    free(x);
    if (shape) *shape = shape_of(e);
    return kept;
}

static op_case read_case(const char *name) {
    op_case t = {.op = op_named(name, strcspn(name, "."))};
    snprintf(t.name, sizeof t.name, "%s", name);
    double attr[3] = {0};
    const imp_safetensors_entry *e = golden_find(goldens, name, "attr");
    if (e) {
        assert_in_range(e->count, 1, 3);
        memcpy(attr, e->data, e->count * sizeof *attr);
    }
    read_attr(&t, attr);
    for (; t.n_in < IMP_MAX_INPUTS; t.n_in++) {
        char what[] = {'i', 'n', (char)('0' + t.n_in), 0};
        t.x[t.n_in] = read(&t, what, &t.in[t.n_in]);
        if (!t.x[t.n_in]) break;
        char din[] = {'d', 'i', 'n', (char)('0' + t.n_in), 0};
        if (golden_find(goldens, name, din)) t.want |= 1u << t.n_in;
    }
    set_layouts(&t);
    t.dy = read(&t, "dy", NULL);
    assert_non_null(t.dy);
    return t;
}

static void golden_case(void **state) {
    op_case t = read_case(*state);
    imp_shape expected;
    double *y = read(&t, "y", &expected);
    imp_status s = t.op->shape(contexts[0], t.attr, t.in, t.n_in, &t.out);
    if (s) fail_msg("%s: %s", t.name, imp_ctx_error(contexts[0]));
    assert_memory_equal(&t.out, &expected, 4 * sizeof(size_t));
    ref_result r = ref_run(&t, t.x, t.dy, t.want);
    assert_near(t.name, "y", imp_plain_count(t.out), r.y, y, 1e-10);
    for (size_t i = 0; i < t.n_in; i++) {
        char what[] = {'d', 'i', 'n', (char)('0' + i), 0};
        if (t.want >> i & 1u)
            assert_near(t.name, what, imp_plain_count(t.in[i]), r.dx[i],
                read(&t, what, NULL), 1e-10);
    }
    if (!on_an_edge(t.name)) check_differences(&t, &r);
    check_case_fast(&t);
    check_case_fused(&t);
    release_all();
}

/* --- cases large enough to be shared among threads and cut into blocks --- */

#define MAP(n, c, h, w)                                                                \
    { n, c, h, w, IMP_MAP }

static const op_case large[] = {
    {"conv2d.blocks", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(1, 48, 15, 14), MAP(37, 48, 3, 3), MAP(1, 37, 1, 1)}},
    {"conv2d.batch", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(70, 3, 5, 4), MAP(4, 3, 3, 3), MAP(1, 4, 1, 1)}},
    {"conv2d.panels", &imp_op_conv2d, .n_in = 2, .want = 3,
        .in = {MAP(1, 17, 20, 19), MAP(150, 17, 1, 1)}},
    {"conv2d.replicate", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(2, 3, 40, 33), MAP(20, 3, 5, 5), MAP(1, 20, 1, 1)}},
    {"linear.large", &imp_op_linear, .n_in = 3, .want = 7,
        .in = {MAP(200, 300, 1, 1), MAP(150, 300, 1, 1), MAP(1, 150, 1, 1)}},
    {"relu.large", &imp_op_relu, .n_in = 1, .want = 1, .in = {MAP(2, 19, 70, 65)}},
    {"add.large", &imp_op_add, .n_in = 2, .want = 3,
        .in = {MAP(2, 19, 70, 65), MAP(2, 19, 70, 65)}},
    {"pool2d.max", &imp_op_pool2d, .n_in = 1, .want = 1, .in = {MAP(2, 19, 70, 65)}},
    {"pool2d.avg", &imp_op_pool2d, .n_in = 1, .want = 1, .in = {MAP(2, 19, 70, 65)}},
    {"flatten.hwc", &imp_op_flatten, .n_in = 1, .want = 1, .in = {MAP(9, 19, 20, 11)}},
    {"softmax.large", &imp_op_softmax, .n_in = 1, .want = 1,
        .in = {MAP(40, 1000, 1, 1)}},
    {"cross_entropy.large", &imp_op_cross_entropy, .n_in = 2, .want = 1,
        .in = {MAP(40, 1000, 1, 1), MAP(40, 1, 1, 1)}},
    {"squared_error.content", &imp_op_squared_error, .n_in = 2, .want = 1,
        .in = {MAP(2, 19, 70, 65), MAP(2, 19, 70, 65)}},
    {"squared_error.style", &imp_op_squared_error, .n_in = 2, .want = 1,
        .in = {MAP(2, 150, 150, 1), MAP(2, 150, 150, 1)}},
    {"matching_loss.large", &imp_op_matching_loss, .n_in = 2, .want = 1,
        .in = {MAP(2, 19, 70, 65), MAP(2, 19, 70, 65)}},
    {"total_variation.large", &imp_op_total_variation, .n_in = 1, .want = 1,
        .in = {MAP(2, 19, 70, 65)}},
    {"gram.chunks", &imp_op_gram, .n_in = 1, .want = 1, .in = {MAP(2, 40, 60, 53)}},
    {"gram.wide", &imp_op_gram, .n_in = 1, .want = 1, .in = {MAP(1, 270, 6, 5)}},
    {"resample.large", &imp_op_resample, .n_in = 1, .want = 1,
        .in = {MAP(1, 5, 70, 65)}},
    /* 3 x 3 of few channels: op/narrow.c */
    {"conv2d.narrow_1", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(2, 1, 9, 11), MAP(5, 1, 3, 3), MAP(1, 5, 1, 1)}},
    {"conv2d.narrow_2", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(1, 2, 33, 7), MAP(17, 2, 3, 3), MAP(1, 17, 1, 1)}},
    {"conv2d.narrow_3", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(1, 3, 35, 150), MAP(64, 3, 3, 3), MAP(1, 64, 1, 1)}},
    {"conv2d.narrow_4", &imp_op_conv2d, .n_in = 2, .want = 3,
        .in = {MAP(3, 4, 8, 6), MAP(33, 4, 3, 3)}},
    {"conv2d.narrow_1x1", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(2, 3, 1, 1), MAP(16, 3, 3, 3), MAP(1, 16, 1, 1)}},
    {"conv2d.narrow_1x1_replicate", &imp_op_conv2d, .n_in = 2, .want = 3,
        .in = {MAP(1, 3, 1, 1), MAP(16, 3, 3, 3)}},
    {"conv2d.narrow_1xN", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(1, 3, 1, 40), MAP(9, 3, 3, 3), MAP(1, 9, 1, 1)}},
    {"conv2d.narrow_Nx1", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(1, 3, 40, 1), MAP(9, 3, 3, 3), MAP(1, 9, 1, 1)}},
    {"conv2d.narrow_wide", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(1, 3, 4, 1100), MAP(20, 3, 3, 3), MAP(1, 20, 1, 1)}},
    {"conv2d.narrow_no_padding", &imp_op_conv2d, .n_in = 2, .want = 3,
        .in = {MAP(2, 3, 10, 131), MAP(7, 3, 3, 3)}},
    {"conv2d.narrow_much_padding", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(2, 2, 5, 6), MAP(7, 2, 3, 3), MAP(1, 7, 1, 1)}},
    {"conv2d.narrow_much_replicate", &imp_op_conv2d, .n_in = 3, .want = 7,
        .in = {MAP(1, 4, 2, 3), MAP(50, 4, 3, 3), MAP(1, 50, 1, 1)}},
    {"mean.parts", &imp_op_mean, .n_in = 1, .want = 1, .in = {MAP(2, 19, 70, 65)}},
    {"mean.row", &imp_op_mean, .n_in = 1, .want = 1, .in = {MAP(1, 150, 1, 1031)}},
    {"centre.large", &imp_op_centre, .n_in = 2, .want = 3,
        .in = {MAP(2, 150, 150, 1), MAP(2, 150, 1, 1)}},
    {"guide.parts", &imp_op_guide, .n_in = 2, .want = 1,
        .in = {MAP(2, 19, 70, 65), MAP(2, 1, 70, 65)}},
    {"select.parts", &imp_op_select, .n_in = 2, .want = 1,
        .in = {MAP(2, 19, 70, 65), MAP(1, 37, 2, 1)}},
    {"wasserstein.low_rank", &imp_op_wasserstein, .n_in = 2, .want = 1,
        .in = {MAP(2, 75, 75, 1), MAP(2, 75, 75, 1)}},
    {"wasserstein.wide", &imp_op_wasserstein, .n_in = 2, .want = 1,
        .in = {MAP(1, 200, 200, 1), MAP(1, 200, 200, 1)}},
};
#define LARGE (sizeof large / sizeof *large)

/* Covariances of `places` places, of deviations that fall to 1/50 over the channels. */
static double *covariances(imp_shape s, uint64_t seed, size_t places) {
    imp_shape map = {s.n, s.c, places, 1, IMP_MAP};
    double *y = doubles(s), *x = normals(map, seed, 1);
    for (size_t i = 0; i < imp_plain_count(map); i++)
        x[i] *= 30 * exp(-4.0 * (double)(i / places % s.c) / (double)s.c);
    imp_ref_call c = {.in = {map}, .x = {x}, .y = y};
    imp_op_gram.forward_ref(&c);
    for (size_t i = 0; i < imp_plain_count(s); i++) y[i] = (double)(float)y[i];
    return y;
}

/* A covariance and a target's root, neither of full rank. */
static void make_covariances(op_case *t) {
    imp_shape s = t->in[0];
    double *work = get((s.c * s.c + 2 * s.c) * sizeof *work);
    t->x[0] = covariances(s, 7, s.c / 2);
    t->x[1] = covariances(s, 8, s.c / 3);
    for (size_t n = 0; n < s.n; n++)
        imp_matrix_root(s.c, t->x[1] + n * s.c * s.c, work);
    for (size_t i = 0; i < imp_plain_count(s); i++)
        t->x[1][i] = (double)(float)t->x[1][i];
}

static void large_case(void **state) {
    op_case t = *(const op_case *)*state;
    static const double attrs[][3] = {{1, 1, 0}, {1, 1, 0}, {1, 0, 0}, {2, 2, 1}, {0},
        {0}, {0}, {0, 3, 2}, {1, 2, 2}, {1}, {0}, {0}, {0}, {1}, {0}, {0}, {0}, {0},
        {31, 90, 1}, {1, 1, 0}, {1, 1, 1}, {1, 1, 0}, {1, 1, 1}, {1, 1, 0}, {1, 1, 1},
        {1, 1, 0}, {1, 1, 1}, {1, 1, 0}, {1, 0, 0}, {1, 4, 0}, {1, 4, 1}, {0}, {0}, {0},
        {0}, {0}, {0}, {0}};
    _Static_assert(sizeof attrs / sizeof *attrs == LARGE, "one a case");
    read_attr(&t, attrs[(const op_case *)*state - large]);
    set_layouts(&t);
    for (size_t i = 0; i < t.n_in; i++) t.x[i] = normals(t.in[i], 7 + i, 1);
    for (size_t i = 0; t.op == &imp_op_cross_entropy && i < t.in[1].n; i++)
        t.x[1][i] = (double)(imp_random(3, i) % t.in[0].c);
    for (size_t k = 0; t.op == &imp_op_select && k < t.in[1].c; k++)
        t.x[1][2 * k] = (double)(imp_random(4, k) % (t.in[0].c + 2)); /* two too many */
    if (t.op == &imp_op_matching_loss) t.x[1] = absolutes(t.in[1], t.x[1]);
    if (t.op == &imp_op_wasserstein) make_covariances(&t);
    imp_status s = t.op->shape(contexts[0], t.attr, t.in, t.n_in, &t.out);
    if (s) fail_msg("%s: %s", t.name, imp_ctx_error(contexts[0]));
    t.dy = normals(t.out, 5, 1);
    check_case_fast(&t);
    check_case_fused(&t);
    release_all();
}

/* a + a: both gradients are one buffer. */
static void add_to_itself(void **state) {
    (void)state;
    imp_shape s = MAP(1, 3, 2, 2);
    double *dy = normals(s, 1, 1);
    float *dx = get_rubbish(imp_blocked_count(s) * sizeof *dx);
    imp_call c = {.ctx = contexts[0],
        .n_in = 2,
        .in = {s, s},
        .out = s,
        .dy = blocked(s, dy),
        .dx = {dx, dx},
        .add = {false, true}};
    imp_op_add.backward(&c);
    const float *plain = unblocked("add", s, dx);
    for (size_t i = 0; i < imp_plain_count(s); i++)
        assert_true((double)plain[i] == 2 * dy[i]);
    release_all();
}

/* A label that is no class makes the loss not a number, and nothing worse. */
static void labels_of_no_class(void **state) {
    (void)state;
    static const double wrong[] = {10, -1, 1e30, (double)NAN, -(double)INFINITY};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        op_case t = {"cross_entropy", &imp_op_cross_entropy, .n_in = 2, .want = 1,
            .in = {MAP(1, 10, 1, 1), MAP(1, 1, 1, 1)}, .out = MAP(1, 1, 1, 1)};
        double label = wrong[i], dy = 1;
        t.x[0] = normals(t.in[0], 1, 1);
        t.x[1] = &label;
        t.dy = &dy;
        fast_result r = fast_run(contexts[0], &t, 1, NULL, false);
        assert_true(isnan(r.loss));
        unblocked("cross_entropy", t.in[0], r.dx[0]);
    }
    release_all();
}

/* The largest finite numbers: no overflow, no log of 0. */
static void largest_scores(void **state) {
    (void)state;
    op_case t = {"cross_entropy", &imp_op_cross_entropy, .n_in = 2, .want = 1,
        .in = {MAP(1, 3, 1, 1), MAP(1, 1, 1, 1)}, .out = MAP(1, 1, 1, 1)};
    double x[] = {0x1.fffffep127, -0x1.fffffep127, 0}, label = 1, dy = 1;
    t.x[0] = x;
    t.x[1] = &label;
    t.dy = &dy;
    fast_result r = fast_run(contexts[0], &t, 1, NULL, false);
    assert_true(r.loss == 2 * 0x1.fffffep127);
    const float *dx = unblocked(t.name, t.in[0], r.dx[0]);
    assert_true(dx[0] == 1 && dx[1] == -1 && dx[2] == 0);
    release_all();
}

/* The root's square is the matrix again; a negative eigenvalue of rounding counts as 0. */
static void root_of_a_matrix(void **state) {
    (void)state;
    for (size_t C = 1; C < 70; C += 11) {
        imp_shape s = MAP(1, C, C, 1);
        double *a = covariances(s, C, C / 2 + 1), *root = doubles(s);
        memcpy(root, a, C * C * sizeof *a);
        imp_matrix_root(C, root, get((C * C + 2 * C) * sizeof *a));
        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < C; j++) {
                double sum = 0;
                for (size_t k = 0; k < C; k++) sum += root[i * C + k] * root[k * C + j];
                assert_true(root[i * C + j] == root[j * C + i]);
                assert_true(fabs(sum - a[i * C + j]) <= 1e-6 * largest(s, a));
            }
    }
    double one[] = {0, 1, 1, 0}, work[8]; /* eigenvalues 1, -1 */
    imp_matrix_root(2, one, work);
    for (size_t i = 0; i < 4; i++) assert_true(fabs(one[i] - 0.5) < 1e-15);
    release_all();
}

/* No variance in the target: the trace of C. C far from semidefinite, or no number: no crash,
 * and a number in the first case. */
static void wasserstein_at_its_ends(void **state) {
    (void)state;
    op_case t = {"wasserstein.ends", &imp_op_wasserstein, .n_in = 2, .want = 1,
        .in = {MAP(1, 19, 19, 1), MAP(1, 19, 19, 1)}, .out = MAP(1, 1, 1, 1)};
    double one = 1, trace = 0;
    t.dy = &one;
    t.x[0] = covariances(t.in[0], 1, 9);
    t.x[1] = doubles(t.in[1]);
    fast_result r = fast_run(contexts[0], &t, 1, NULL, false);
    const float *dx = unblocked(t.name, t.in[0], r.dx[0]);
    for (size_t i = 0; i < 19; i++) trace += t.x[0][i * 20];
    assert_true(fabs(r.loss - trace) <= 1e-12 * trace);
    for (size_t i = 0; i < 19 * 19; i++) assert_true(dx[i] == (i % 20 == 0));
    t.x[1] = covariances(t.in[1], 2, 30);
    t.x[0] = normals(t.in[0], 3, 1e6);
    r = fast_run(contexts[0], &t, 1, NULL, false);
    dx = unblocked(t.name, t.in[0], r.dx[0]);
    assert_true(isfinite(r.loss));
    for (size_t i = 0; i < 19 * 19; i++) assert_true(isfinite(dx[i]));
    t.x[0][5] = (double)NAN;
    r = fast_run(contexts[0], &t, 1, NULL, false);
    assert_true(isnan(r.loss));
    release_all();
}

/* NaN anywhere in a map: any result, but no crash and no write outside. */
static void pooling_of_nan(void **state) {
    (void)state;
    op_case t = {"pool2d.nan", &imp_op_pool2d, .n_in = 1, .want = 1,
        .in = {MAP(1, 3, 6, 6)}, .out = MAP(1, 3, 2, 2)};
    read_attr(&t, (double[]){0, 3, 2});
    t.x[0] = normals(t.in[0], 1, 1);
    for (size_t i = 0; i < 108; i += 2) t.x[0][i] = (double)NAN;
    t.dy = normals(t.out, 2, 1);
    for (size_t k = 0; k < level_count; k++) fast_run(contexts[k], &t, 1, NULL, false);
    release_all();
}

static void shape_messages(void **state) {
    (void)state;
    static const struct {
        const imp_op *op;
        double attr[3];
        imp_shape in[2];
        const char *message;
    } cases[] = {
        {&imp_op_pool2d, {0, 3, 1}, {MAP(1, 2, 1, 1)},
            "pool2d: window 3 does not fit in 1 x 1"},
        {&imp_op_pool2d, {0, 0, 1}, {MAP(1, 2, 1, 1)},
            "pool2d: window and stride must be 1 or more, found 0 and 1"},
        {&imp_op_pool2d, {0, 17, 1}, {MAP(1, 2, 20, 20)},
            "pool2d: window 17 of maximum pooling is wider than 16"},
        {&imp_op_add, {0}, {MAP(1, 2, 3, 4), MAP(1, 2, 3, 5)},
            "add: the summands are [1, 2, 3, 4] and [1, 2, 3, 5]"},
        {&imp_op_softmax, {0}, {MAP(1, 2, 3, 4)},
            "softmax: expected rows of scores, found a map of 3 x 4: flatten first"},
        {&imp_op_cross_entropy, {0}, {MAP(2, 3, 1, 1), MAP(1, 1, 1, 1)},
            "cross_entropy: 2 rows of scores need labels [2, 1, 1, 1], found [1, 1, 1, "
            "1]"},
        {&imp_op_squared_error, {1}, {MAP(1, 2, 3, 1), MAP(1, 2, 3, 1)},
            "style loss: expected a Gram matrix [1, 2, 2, 1], found [1, 2, 3, 1]"},
        {&imp_op_squared_error, {0}, {MAP(1, 2, 3, 1), MAP(1, 2, 1, 3)},
            "content loss: values are [1, 2, 3, 1], target [1, 2, 1, 3]"},
        {&imp_op_matching_loss, {0}, {MAP(1, 2, 3, 4), MAP(2, 2, 3, 4)},
            "matching loss: values are [1, 2, 3, 4], target [2, 2, 3, 4]"},
        {&imp_op_centre, {0}, {MAP(1, 2, 3, 1), MAP(1, 2, 1, 1)},
            "centre: expected a Gram matrix [1, 2, 2, 1], found [1, 2, 3, 1]"},
        {&imp_op_centre, {0}, {MAP(2, 3, 3, 1), MAP(1, 3, 1, 1)},
            "centre: expected means [2, 3, 1, 1], found [1, 3, 1, 1]"},
        {&imp_op_select, {0}, {MAP(1, 2, 3, 4), MAP(2, 5, 1, 1)},
            "select: picks: expected [1, 5, 2, 1], found [2, 5, 1, 1]"},
        {&imp_op_guide, {0}, {MAP(1, 2, 3, 4), MAP(1, 2, 3, 4)},
            "guide: expected one channel [1, 1, 3, 4], found [1, 2, 3, 4]"},
        {&imp_op_wasserstein, {0}, {MAP(1, 2, 3, 1), MAP(1, 2, 3, 1)},
            "wasserstein: expected a covariance [1, 2, 2, 1], found [1, 2, 3, 1]"},
        {&imp_op_wasserstein, {0}, {MAP(1, 2, 2, 1), MAP(1, 3, 3, 1)},
            "wasserstein: covariances are [1, 2, 2, 1], roots [1, 3, 3, 1]"},
        {&imp_op_resample, {0, 4, 0}, {MAP(1, 2, 3, 1)},
            "resample: expected a size of at least 1 x 1, found 0 x 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        op_case t = {.op = cases[i].op};
        read_attr(&t, cases[i].attr);
        imp_status s = t.op->shape(contexts[0], t.attr, cases[i].in, 2, &t.out);
        assert_int_equal(s, IMP_ERR_ARG);
        assert_string_equal(imp_ctx_error(contexts[0]), cases[i].message);
    }
}

/* --- the public imp_resize: the numbers of the op, on plain planes --- */

static void resize_planes(void **state) {
    (void)state;
    static const char *const names[] = {"down_bicubic", "down_lanczos", "up_bicubic",
        "c17_lanczos", "to_1x1_bicubic", "from_1x1_lanczos", "one_axis_bicubic",
        "1xN_lanczos", "identity_lanczos"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        snprintf(name, sizeof name, "resample.%s", names[i]);
        op_case t = read_case(name);
        const imp_resample_attr *a = (const imp_resample_attr *)t.attr;
        double *y = read(&t, "y", &t.out);
        size_t count = imp_plain_count(t.in[0]),
               bytes = imp_plain_count(t.out) * sizeof(float);
        float *x = get(count * sizeof *x), *first = get_rubbish(bytes);
        for (size_t k = 0; k < count; k++) x[k] = (float)t.x[0][k];
        bound b = resample_bound(&t, -1);
        for (size_t k = 0; k < context_count; k++) {
            float *found = k ? get_rubbish(bytes) : first;
            assert_int_equal(imp_resize(contexts[k], found, a->height, a->width, x,
                                 t.in[0].c, t.in[0].h, t.in[0].w, a->filter),
                IMP_OK);
            assert_memory_equal(found, first, bytes);
        }
        for (size_t k = 0; k < bytes / sizeof *first; k++)
            if (!(fabs((double)first[k] - y[k]) <= 0x1p-24 * b.n * b.A))
                fail_msg("%s [%zu]: expected %.9g, found %.9g", name, k, y[k],
                    (double)first[k]);
        if (strstr(name, "identity")) assert_memory_equal(first, x, bytes);
    }
    float one = 1;
    imp_ctx *c = contexts[0];
    assert_int_equal(
        imp_resize(c, &one, 0, 1, &one, 1, 1, 1, IMP_BICUBIC), IMP_ERR_ARG);
    assert_int_equal(imp_resize(c, &one, SIZE_MAX / 2, 9, &one, 1, 1, 1, IMP_BICUBIC),
        IMP_ERR_LIMIT);
    release_all();
}

/* --- all of it --- */

static bool add_context(const char *cpu, int threads) {
    imp_ctx_options options = {.threads = threads, .cpu = cpu};
    bool ok = imp_ctx_new(&contexts[context_count], &options) == IMP_OK;
    if (ok)
        context_count++;
    else
        imp_ctx_free(contexts[context_count]);
    return ok;
}

static int set_up(void) {
    static const char *const levels[] = {"generic", "avx2", "avx512"};
    for (size_t i = 0; i < 3; i++)
        if (add_context(levels[i], 1)) level_count++;
    if (!level_count) return -1;
    const char *best = imp_ctx_cpu(contexts[level_count - 1]);
    if (!add_context(best, 2) || !add_context(best, 3) || !add_context(best, 7))
        return -1;
    goldens = golden_open(contexts[0], "ops.safetensors");
    return goldens ? 0 : -1;
}

static size_t add_golden_tests(struct CMUnitTest *tests, char (*names)[96]) {
    size_t n = 0;
    for (size_t i = 0; i < imp_safetensors_count(goldens); i++) {
        const char *name = imp_safetensors_at(goldens, i)->name;
        size_t length = strlen(name);
        if (length < 3 || length > 90 || strcmp(name + length - 2, ".y")) continue;
        snprintf(names[n], sizeof *names, "%.*s", (int)length - 2, name);
        if (!op_named(name, strcspn(name, "."))) continue;
        tests[n] = (struct CMUnitTest){names[n], golden_case, NULL, NULL, names[n]};
        n++;
    }
    return n;
}

int main(void) {
    static const struct CMUnitTest others[] = {cmocka_unit_test(add_to_itself),
        cmocka_unit_test(labels_of_no_class), cmocka_unit_test(largest_scores),
        cmocka_unit_test(pooling_of_nan), cmocka_unit_test(root_of_a_matrix),
        cmocka_unit_test(wasserstein_at_its_ends), cmocka_unit_test(shape_messages),
        cmocka_unit_test(resize_planes)};
    size_t n_others = sizeof others / sizeof *others;
    if (set_up()) return 1;
    size_t most = imp_safetensors_count(goldens) + LARGE + n_others;
    struct CMUnitTest *tests = calloc(most, sizeof *tests);
    char(*names)[96] = calloc(most, sizeof *names);
    if (!tests || !names) return 1;
    size_t n = add_golden_tests(tests, names);
    bool enough = n > 60; /* else the file of goldens is not the one we think it is */
    for (size_t i = 0; i < LARGE; i++)
        tests[n++] = (struct CMUnitTest){
            large[i].name, large_case, NULL, NULL, (void *)(uintptr_t)&large[i]};
    for (size_t i = 0; i < n_others; i++) tests[n++] = others[i];
    int failed = _cmocka_run_group_tests("ops", tests, n, NULL, NULL);
    free(tests);
    free(names);
    imp_safetensors_close(goldens);
    for (size_t i = 0; i < context_count; i++) imp_ctx_free(contexts[i]);
    return failed || !enough;
}
