/* SPDX-License-Identifier: MIT
 *
 * The optimisers: SGD and Adam against PyTorch's golden numbers, L-BFGS against the
 * same algorithm in PyTorch (tools/oracle/lbfgs.py) and against functions that are
 * hard, badly scaled, not finite or not smooth.
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

/* --- SGD and Adam --- */

static void golden_steps(const char *name, imp_gradient_options options) {
    double *attr = golden_numbers(golden_find(goldens, name, "attr"));
    const imp_safetensors_entry *e = golden_find(goldens, name, "x0");
    assert_true(attr && e);
    double *x0 = golden_numbers(e);
    size_t n = e->count;
    float *x = malloc(n * sizeof *x), *g = malloc(n * sizeof *g);
    double travelled = 0; /* the largest |x| on the way: each step rounds it */
    for (size_t i = 0; i < n; i++) travelled = fmax(travelled, fabs(x0[i]));
    for (size_t i = 0; i < n; i++) x[i] = (float)x0[i];
    imp_gradient *o;
    assert_int_equal(imp_gradient_new(ctx, &o, n, &options), IMP_OK);
    for (int step = 1; step <= 5; step++) {
        char what[8];
        snprintf(what, sizeof what, "g%d", step);
        double *given = golden_numbers(golden_find(goldens, name, what));
        snprintf(what, sizeof what, "x%d", step);
        double *expected = golden_numbers(golden_find(goldens, name, what));
        for (size_t i = 0; i < n; i++) g[i] = (float)given[i];
        imp_gradient_step(o, x, g, attr[0]);
        for (size_t i = 0; i < n; i++) travelled = fmax(travelled, fabs(expected[i]));
        /* a step is made of fewer than 16 roundings */
        double tolerance = 16 * step * travelled * 0x1p-24;
        for (size_t i = 0; i < n; i++)
            if (!(fabs((double)x[i] - expected[i]) <= tolerance))
                fail_msg("%s %s [%zu]: expected %.9g, found %.9g", name, what, i,
                    expected[i], (double)x[i]);
        free(given);
        free(expected);
    }
    imp_gradient_free(o);
    free(attr);
    free(x0);
    free(x);
    free(g);
}

static void sgd_golden(void **state) {
    (void)state;
    golden_steps("optim.sgd", (imp_gradient_options){IMP_SGD, .momentum = 0.9});
}

static void adam_golden(void **state) {
    (void)state;
    golden_steps("optim.adam", (imp_gradient_options){.kind = IMP_ADAM});
    golden_steps("optim.adam",
        (imp_gradient_options){IMP_ADAM, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8});
}

static void adamw_golden(void **state) {
    (void)state;
    golden_steps("optim.adamw", (imp_gradient_options){IMP_ADAM, .eps = 1e-8,
                                    .beta1 = 0.9, .beta2 = 0.999, .decay = 0.3});
}

/* The state of three steps, in another optimiser, makes the same fourth step. */
static void adam_resumes(void **state) {
    (void)state;
    enum { N = 37 };
    imp_gradient_options options = {.kind = IMP_ADAM, .decay = 0.1};
    imp_gradient *a, *b;
    float x[N], y[N], g[N], *from[2], *to[2];
    assert_int_equal(imp_gradient_new(ctx, &a, N, &options), IMP_OK);
    assert_int_equal(imp_gradient_new(ctx, &b, N, &options), IMP_OK);
    for (size_t i = 0; i < N; i++) x[i] = (float)imp_normal(1, i);
    for (uint64_t t = 0; t < 4; t++) {
        for (size_t i = 0; i < N; i++) g[i] = (float)imp_normal(2 + t, i);
        if (t == 3) {
            imp_gradient_state(a, &from[0], &from[1]);
            imp_gradient_state(b, &to[0], &to[1]);
            for (size_t k = 0; k < 2; k++) memcpy(to[k], from[k], sizeof x);
            imp_gradient_resume(b, 3);
            memcpy(y, x, sizeof x);
            imp_gradient_step(b, y, g, 0.1);
        }
        imp_gradient_step(a, x, g, 0.1);
    }
    assert_memory_equal(x, y, sizeof x);
    imp_gradient_free(a);
    imp_gradient_free(b);
}

/* A norm of 5: kept where the limit is above, brought down to it where it is below. */
static void clipping(void **state) {
    (void)state;
    enum { N = 20000 / 16 * 16 };
    float *g = imp_alloc(N * sizeof *g);
    double partial[2];
    g[0] = 3, g[N - 1] = -4;
    assert_true(imp_gradient_clip(ctx, g, N, 6, partial) == 5);
    assert_true(g[0] == 3 && g[N - 1] == -4);
    assert_true(imp_gradient_clip(ctx, g, N, 2.5, partial) == 5);
    assert_true(g[0] == 1.5f && g[N - 1] == -2 && g[1] == 0);
    g[7] = (float)INFINITY;
    assert_true(isinf(imp_gradient_clip(ctx, g, N, 1, partial)) && g[0] == 1.5f);
    imp_release(g);
}

/* Step 1000 of one number, whose gradient is always 2: mh is 2 and vh 4 at every step.
 */
static void adam_corrects_bias(void **state) {
    (void)state;
    imp_gradient_options options = {.kind = IMP_ADAM};
    float x = 0, g = 2;
    imp_gradient *o;
    assert_int_equal(imp_gradient_new(ctx, &o, 1, &options), IMP_OK);
    for (int t = 1; t <= 1000; t++) {
        float before = x;
        imp_gradient_step(o, &x, &g, 1);
        if (!(fabs((double)(before - x) - 1) < 1e-4))
            fail_msg("step %d: %.9g", t, (double)(before - x));
    }
    imp_gradient_free(o);
}

/* Any count: nothing outside is touched; the same bits for an element wherever it
 * stands and for any number of threads. */
static void any_count(void **state) {
    (void)state;
    static const size_t counts[] = {1, 15, 16, 17, 16384, 16385, 40007};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        for (int kind = IMP_SGD; kind <= IMP_ADAM; kind++) {
            size_t n = counts[k];
            float *x = calloc(n + 2, sizeof *x), *g = calloc(n + 2, sizeof *g);
            imp_gradient_options options = {
                .kind = (imp_optimizer)kind, .momentum = 0.5};
            float first[3] = {0};
            for (size_t c = 0; c < 3; c++) {
                for (size_t i = 0; i < n + 2; i++) x[i] = 3, g[i] = 0.7f;
                imp_gradient *o;
                assert_int_equal(
                    imp_gradient_new(contexts[c], &o, n, &options), IMP_OK);
                for (int step = 0; step < 3; step++) {
                    imp_gradient_step(o, x + 1, g + 1, 0.1);
                    if (c == 0) first[step] = x[1];
                    for (size_t i = 1; i <= n; i++) assert_true(x[i] == first[step]);
                }
                assert_true(x[0] == 3 && x[n + 1] == 3);
                imp_gradient_free(o);
            }
            free(x);
            free(g);
        }
}

static void bad_options(void **state) {
    (void)state;
    static const imp_gradient_options bad[] = {{.kind = IMP_LBFGS}, {.kind = IMP_MUON},
        {.kind = IMP_MUON, .weights = {4, 1, 1, 1, IMP_MAP}},
        {.kind = IMP_MUON, .weights = {4, 1, 1, 1, IMP_WEIGHT}},
        {IMP_SGD, .momentum = 1}, {IMP_SGD, .momentum = -0.1},
        {IMP_SGD, .momentum = (double)NAN}, {IMP_ADAM, .beta1 = 1, .eps = 1},
        {IMP_ADAM, .beta2 = 1, .eps = 1}, {IMP_ADAM, .eps = -1},
        {IMP_ADAM, .decay = -1}, {IMP_ADAM, .decay = (double)INFINITY},
        {IMP_SGD, .decay = 0.1}};
    imp_gradient *o;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(imp_gradient_new(ctx, &o, 4, &bad[i]), IMP_ERR_ARG);
        assert_null(o);
    }
    imp_gradient_options sgd = {.kind = IMP_SGD};
    assert_int_equal(imp_gradient_new(ctx, &o, 0, &sgd), IMP_ERR_ARG);
    assert_int_equal(imp_gradient_new(ctx, &o, SIZE_MAX / 8, &sgd), IMP_ERR_ARG);
    imp_lbfgs *l;
    assert_int_equal(imp_lbfgs_new(ctx, &l, 4, 0), IMP_ERR_ARG);
    assert_int_equal(imp_lbfgs_new(ctx, &l, 0, 4), IMP_ERR_ARG);
    assert_null(l);
    imp_gradient_free(NULL);
    imp_lbfgs_free(NULL);
}

/* --- functions --- */

typedef struct problem {
    size_t n, calls;
} problem;

/* sum 100 (x(i+1) - x(i)^2)^2 + (1 - x(i))^2 */
static double rosenbrock(void *user, const float *x, float *g) {
    problem *p = user;
    double f = 0;
    p->calls++;
    double carry = 0; /* what the term before gives to g[i] */
    for (size_t i = 0; i + 1 < p->n; i++) {
        double a = (double)x[i], b = (double)x[i + 1] - a * a;
        f += 100 * b * b + (1 - a) * (1 - a);
        g[i] = (float)(carry - 400 * a * b - 2 * (1 - a));
        carry = 200 * b;
    }
    g[p->n - 1] = (float)carry;
    return f;
}

/* sum c(i) (x(i) - 1)^2, c from 1 to 1e4 */
static double quadratic(void *user, const float *x, float *g) {
    problem *p = user;
    double f = 0;
    p->calls++;
    for (size_t i = 0; i < p->n; i++) {
        double c = pow(10, 4.0 * (double)i / (double)p->n), d = (double)x[i] - 1;
        f += c * d * d;
        g[i] = (float)(2 * c * d);
    }
    return f;
}

/* sum x - log x, not a number for x <= 0: the minimum is at 1, the start near the edge.
 */
static double barrier(void *user, const float *x, float *g) {
    problem *p = user;
    double f = 0;
    p->calls++;
    for (size_t i = 0; i < p->n; i++) {
        f += (double)x[i] - log((double)x[i]);
        g[i] = 1 - 1 / x[i];
    }
    return f;
}

/* Its gradient points the wrong way: no step lowers it. */
static double liar(void *user, const float *x, float *g) {
    (void)user;
    g[0] = -x[0];
    return (double)x[0] * (double)x[0];
}

static double not_a_number(void *user, const float *x, float *g) {
    (void)user, (void)x;
    g[0] = 1;
    return (double)NAN;
}

/* A finite loss with a gradient that is not, beyond -1: a trap that is not stepped
 * into. */
static double trap(void *user, const float *x, float *g) {
    (void)user;
    g[0] = x[0] < -1 ? NAN : 1;
    return (double)x[0];
}

/* Steps until it cannot go on, or max; the loss must never rise. Returns the last loss.
 */
static double descend(imp_ctx *c, float *x, problem *p, imp_loss_fn fn, size_t history,
    int max, int *steps) {
    imp_lbfgs *o;
    assert_int_equal(imp_lbfgs_new(c, &o, p->n, history), IMP_OK);
    double last = INFINITY, loss = last;
    float *g = malloc(p->n * sizeof *g);
    for (*steps = 0; *steps < max; ++*steps) {
        imp_status s = imp_lbfgs_step(o, x, fn, p, &loss);
        assert_true(loss <= last && fn(p, x, g) == loss); /* x is where the loss is */
        last = loss;
        if (s == IMP_OK) continue;
        assert_int_equal(s, IMP_ERR_NUMERIC);
        break;
    }
    free(g);
    imp_lbfgs_free(o);
    return last;
}

/* --- L-BFGS --- */

static void lbfgs_follows_oracle(void **state) {
    (void)state;
    /* from 0 in 10 dimensions, history 4, in double */
    static const double losses[] = {8.90225075, 8.87348447, 8.75715173, 8.67204078,
        8.49932872, 8.48997611, 7.98531191, 7.65192948, 7.53037893, 7.36050274,
        7.13826719, 6.95749775};
    problem p = {.n = 10};
    float x[10] = {0};
    imp_lbfgs *o;
    assert_int_equal(imp_lbfgs_new(ctx, &o, 10, 4), IMP_OK);
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        double loss;
        assert_int_equal(imp_lbfgs_step(o, x, rosenbrock, &p, &loss), IMP_OK);
        if (!(fabs(loss - losses[i]) < 1e-4 * losses[i]))
            fail_msg("step %zu: expected %.9g, found %.9g", i, losses[i], loss);
    }
    imp_lbfgs_free(o);
}

static void lbfgs_rosenbrock(void **state) {
    (void)state;
    for (size_t n = 2; n <= 50; n += 16) {
        problem p = {.n = n};
        float x[50] = {0};
        int steps;
        x[0] = -1.2f;
        double loss = descend(ctx, x, &p, rosenbrock, 10, 2000, &steps);
        /* -1.2 may lead into the other valley of n >= 4, at 3.99 */
        if (!(loss < 1e-6 || (n > 2 && loss < 4))) fail_msg("%zu: loss %g", n, loss);
    }
}

static void lbfgs_quadratic(void **state) {
    (void)state;
    problem p = {.n = 1000};
    float *x = calloc(p.n, sizeof *x);
    int steps;
    double loss = descend(ctx, x, &p, quadratic, 20, 1500, &steps);
    if (!(loss < 1e-6)) fail_msg("loss %g after %d steps", loss, steps);
    free(x);
}

/* M = 1/2c, the inverse second derivatives themselves, three times too large. */
static void inverse_of_quadratic(void *user, const float *x, float *y) {
    const problem *p = user;
    for (size_t i = 0; i < p->n; i++)
        y[i] = 1.5f * x[i] / (float)pow(10, 4.0 * (double)i / (double)p->n);
}

static void identity(void *user, const float *x, float *y) {
    memcpy(y, x, ((const problem *)user)->n * sizeof *y);
}

static void run(float *x, imp_precondition_fn fn, int steps, double *losses) {
    problem p = {.n = 1000};
    imp_lbfgs *o;
    assert_int_equal(imp_lbfgs_new(ctx, &o, p.n, 5), IMP_OK);
    if (fn) imp_lbfgs_precondition(o, fn, &p);
    for (size_t i = 0; i < p.n; i++) x[i] = 4;
    for (int i = 0; i < steps; i++)
        assert_int_equal(imp_lbfgs_step(o, x, quadratic, &p, &losses[i]), IMP_OK);
    imp_lbfgs_free(o);
}

/* The identity changes no bit; the right M leads to the minimum in two steps, where without one
 * it is far. */
static void lbfgs_preconditioned(void **state) {
    (void)state;
    float *x = malloc(1000 * sizeof *x), *y = malloc(1000 * sizeof *y);
    double plain[8], other[8];
    run(x, NULL, 8, plain);
    run(y, identity, 8, other);
    assert_memory_equal(x, y, 1000 * sizeof *x);
    assert_memory_equal(plain, other, sizeof plain);
    run(y, inverse_of_quadratic, 2, other);
    if (!(other[1] < 1e-6 && plain[7] > 1)) fail_msg("%g, %g", other[1], plain[7]);
    free(x);
    free(y);
}

/* sum c(i) (x(i) - 2)^2: bends as the other does. */
static double moved_quadratic(void *user, const float *x, float *g) {
    problem *p = user;
    double f = 0;
    for (size_t i = 0; i < p->n; i++) {
        double c = pow(10, 4.0 * (double)i / (double)p->n), d = (double)x[i] - 2;
        f += c * d * d;
        g[i] = (float)(2 * c * d);
    }
    return f;
}

/* Another loss: its value counts from the first step on, and what is known of how the one before
 * bends leads farther than to begin anew. */
static void lbfgs_renewed(void **state) {
    (void)state;
    enum { N = 50, STEPS = 12 };
    double losses[2];
    for (int fresh = 0; fresh < 2; fresh++) {
        problem p = {.n = N};
        imp_lbfgs *o;
        float x[N] = {0}, g[N];
        double loss;
        assert_int_equal(imp_lbfgs_new(ctx, &o, N, 20), IMP_OK);
        for (int i = 0; i < 40; i++)
            assert_int_equal(imp_lbfgs_step(o, x, quadratic, &p, &loss), IMP_OK);
        double before = moved_quadratic(&p, x, g);
        if (fresh) {
            imp_lbfgs_free(o);
            assert_int_equal(imp_lbfgs_new(ctx, &o, N, 20), IMP_OK);
        } else
            imp_lbfgs_renew(o);
        for (int i = 0; i < STEPS; i++) {
            assert_int_equal(imp_lbfgs_step(o, x, moved_quadratic, &p, &loss), IMP_OK);
            assert_true(loss < before);
            before = loss;
        }
        assert_true(loss == moved_quadratic(&p, x, g));
        losses[fresh] = loss;
        imp_lbfgs_free(o);
    }
    if (!(losses[0] < 0.5 * losses[1])) fail_msg("%g, %g", losses[0], losses[1]);
}

static void lbfgs_same_bits(void **state) {
    (void)state;
    problem p = {.n = 50003};
    float *x = malloc(p.n * sizeof *x), *first = malloc(p.n * sizeof *x);
    double loss = 0;
    for (size_t c = 0; c < 3; c++) {
        int steps;
        memset(x, 0, p.n * sizeof *x);
        double l = descend(contexts[c], x, &p, quadratic, 5, 12, &steps);
        if (c == 0) {
            memcpy(first, x, p.n * sizeof *x);
            loss = l;
        }
        assert_true(l == loss);
        assert_memory_equal(x, first, p.n * sizeof *x);
    }
    free(x);
    free(first);
}

static void lbfgs_not_a_number(void **state) {
    (void)state;
    problem p = {.n = 3};
    float x[] = {0.01f, 0.5f, 20};
    int steps;
    assert_true(fabs(descend(ctx, x, &p, barrier, 10, 200, &steps) - 3) < 1e-5);

    imp_lbfgs *o;
    float one = 1;
    double loss = 0;
    assert_int_equal(imp_lbfgs_new(ctx, &o, 1, 4), IMP_OK);
    assert_int_equal(
        imp_lbfgs_step(o, &one, not_a_number, NULL, &loss), IMP_ERR_NUMERIC);
    assert_true(one == 1 && isnan(loss));
    imp_lbfgs_free(o);

    assert_int_equal(imp_lbfgs_new(ctx, &o, 1, 4), IMP_OK);
    for (int i = 0; i < 30; i++) {
        imp_status s = imp_lbfgs_step(o, &one, trap, NULL, &loss);
        assert_true(one >= -1 && loss == (double)one);
        if (s) break;
    }
    assert_true(one < -0.99f);
    imp_lbfgs_free(o);
}

static void lbfgs_no_way_down(void **state) {
    (void)state;
    imp_lbfgs *o;
    float x = 2;
    double loss = 0;
    assert_int_equal(imp_lbfgs_new(ctx, &o, 1, 4), IMP_OK);
    assert_int_equal(imp_lbfgs_step(o, &x, liar, NULL, &loss), IMP_ERR_NUMERIC);
    assert_true(x == 2 && loss == 4);
    imp_lbfgs_free(o);

    problem p = {.n = 1};
    x = 1; /* the minimum: the gradient is zero */
    assert_int_equal(imp_lbfgs_new(ctx, &o, 1, 4), IMP_OK);
    assert_int_equal(imp_lbfgs_step(o, &x, quadratic, &p, &loss), IMP_ERR_NUMERIC);
    assert_true(x == 1 && loss == 0 && p.calls == 1);
    imp_lbfgs_free(o);
}

int main(void) {
    static const int threads[] = {1, 3, 7};
    const struct CMUnitTest tests[] = {cmocka_unit_test(sgd_golden),
        cmocka_unit_test(adam_golden), cmocka_unit_test(adamw_golden),
        cmocka_unit_test(adam_resumes), cmocka_unit_test(clipping),
        cmocka_unit_test(adam_corrects_bias), cmocka_unit_test(any_count),
        cmocka_unit_test(bad_options), cmocka_unit_test(lbfgs_follows_oracle),
        cmocka_unit_test(lbfgs_rosenbrock), cmocka_unit_test(lbfgs_quadratic),
        cmocka_unit_test(lbfgs_preconditioned), cmocka_unit_test(lbfgs_renewed),
        cmocka_unit_test(lbfgs_same_bits), cmocka_unit_test(lbfgs_not_a_number),
        cmocka_unit_test(lbfgs_no_way_down)};
    for (size_t i = 0; i < 3; i++) {
        imp_ctx_options options = {.threads = threads[i]};
        if (imp_ctx_new(&contexts[i], &options)) return 1;
    }
    ctx = contexts[0];
    goldens = golden_open(ctx, "ops.safetensors");
    if (!goldens) return 1;
    int failed = cmocka_run_group_tests_name("optim", tests, NULL, NULL);
    imp_safetensors_close(goldens);
    for (size_t i = 0; i < 3; i++) imp_ctx_free(contexts[i]);
    return failed;
}
