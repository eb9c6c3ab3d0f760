/* SPDX-License-Identifier: MIT
 *
 * op_bound.h: how far the fast pair may be from the reference, derived from what it
 * computes. Include after cmocka.h.
 */
#ifndef TESTS_OP_BOUND_H
#define TESTS_OP_BOUND_H

#include "op_case.h"
#include "winograd_bound.h"

/* |fast - ref| <= u n A, u = 2^-24: a sum of n products in any order is that near,
 * where A is the sum of the products' absolute values. EXACT: 0. ABSOLUTE: the
 * operation is a sum of products, and A is what its reference gives for the absolute
 * values of its inputs, or, of a convolution by Winograd, what winograd_bound.h says.
 * VALUE: A is the result's own absolute value. NUMBER: A is a number. */
typedef struct bound {
    enum { EXACT, ABSOLUTE, VALUE, NUMBER } kind;
    double n, A;
} bound;

static inline double largest(imp_shape s, const double *x) {
    double m = 0;
    for (size_t i = 0; i < imp_plain_count(s); i++) m = fmax(m, fabs(x[i]));
    return m;
}

#define COUNT(s) ((double)imp_plain_count(s))

/* conv2d, linear */
static inline bound product_bound(const imp_ctx *ctx, const op_case *t, int k) {
    const imp_shape *w = &t->in[1];
    double taps = (double)(w->h * w->w), y = COUNT(t->out) / (double)t->out.c;
    const imp_conv *a = conv_of(t);
    double pad = t->op == &imp_op_conv2d && a->padding ? 2.0 * (double)a->pad : 0;
    size_t m = tile_of(ctx, t, k);
    if (m) {
        winograd f = winograd_of(m, w->h);
        size_t tiles = t->out.n * tiles_on(t->out.h, 4) * tiles_on(t->out.w, 4);
        double n = k < 0    ? winograd_roundings(&f, w->c) + 1
                   : k == 0 ? winograd_roundings(&f, w->n) + (pad + 1) * (pad + 1)
                            : winograd_dw_roundings(&f, tiles);
        return (bound){ABSOLUTE, n, 0};
    }
    if (k < 0) return (bound){ABSOLUTE, taps * (double)w->c + 1, 0};
    if (k == 0)
        return (bound){ABSOLUTE, taps * (double)w->n + (pad + 1) * (pad + 1), 0};
    return (bound){ABSOLUTE, y + 1, 0};
}

static inline bound pool2d_bound(const op_case *t, int k) {
    const imp_pool *a = (const imp_pool *)t->attr;
    double area = (double)(a->kernel * a->kernel);
    if (a->kind == IMP_POOL_AVG) return (bound){ABSOLUTE, area + 1, 0};
    if (k < 0 || a->stride >= a->kernel) return (bound){EXACT, 0, 0};
    return (bound){NUMBER, area, area * largest(t->out, t->dy)};
}

/* Absolute weights of an axis n -> m sum to less than 1.6 (Lanczos, between two
 * pixels); of the transposed axis to less than 1.6 (m/n + 1), each being less than 1.2.
 */
static inline bound resample_bound(const op_case *t, int k) {
    const imp_shape *x = &t->in[0], *y = &t->out;
    double v = (double)y->h / (double)x->h, u = (double)y->w / (double)x->w;
    if (k < 0)
        return (bound){NUMBER, 6 * (fmax(1, 1 / v) + fmax(1, 1 / u)) + 6,
            1.6 * 1.6 * largest(*x, t->x[0])};
    return (bound){NUMBER, 6 * (fmax(1, v) + fmax(1, u)) + 6,
        1.6 * (v + 1) * 1.6 * (u + 1) * largest(*y, t->dy)};
}

/* Of the gradient I - S M^(-1/2) S, M = S C S + eps I: float32 factors of a root lose
 * u cond, where cond = (|M| / eps)^(1/2), and |M| is at most tr S C S. */
static inline bound wasserstein_bound(const op_case *t) {
    const imp_shape *s = &t->in[0];
    double cond = 1, C = (double)s->c;
    for (size_t n = 0; n < s->n; n++) {
        const double *x = t->x[0] + n * s->c * s->c, *r = t->x[1] + n * s->c * s->c;
        double trace = 0, square = 0;
        for (size_t i = 0; i < s->c; i++)
            for (size_t j = 0; j < s->c; j++) {
                square += r[i * s->c + j] * r[i * s->c + j];
                for (size_t k = 0; k < s->c; k++)
                    trace += x[i * s->c + j] * r[i * s->c + k] * r[k * s->c + j];
            }
        cond = fmax(cond, sqrt(1 + fabs(trace) / (1e-4 * pow(square / C, 2))));
    }
    return (bound){NUMBER, cond, fabs(t->dy[0])}; /* S M^(-1/2) S is about 1 here */
}

/* k: -1 forward, else the gradient by input k. */
static inline bound bound_of(const imp_ctx *ctx, const op_case *t, int k) {
    const imp_op *op = t->op;
    const imp_shape *x = &t->in[0];
    if (op == &imp_op_conv2d || op == &imp_op_linear) return product_bound(ctx, t, k);
    if (op == &imp_op_pool2d) return pool2d_bound(t, k);
    if (op == &imp_op_resample) return resample_bound(t, k);
    if (op == &imp_op_wasserstein) return wasserstein_bound(t);
    if (op == &imp_op_gram)
        return (bound){ABSOLUTE, (double)(k < 0 ? x->h * x->w : x->c) + 3, 0};
    if (op == &imp_op_mean && k < 0) /* 16 places in float32, then double; a rounding */
        return (bound){ABSOLUTE, 17, 0};
    if (op == &imp_op_centre && k == 1) return (bound){ABSOLUTE, 2, 0};
    if (op == &imp_op_select && k == 0) /* of a channel picked more than once */
        return (bound){ABSOLUTE, (double)t->out.c + 1, 0};
    if (op == &imp_op_select) return (bound){VALUE, 1, 0};
    if (op == &imp_op_mean || op == &imp_op_guide) return (bound){VALUE, 1, 0};
    if (op == &imp_op_centre && k < 0) return (bound){VALUE, 1, 0};
    if (op == &imp_op_add && k < 0) return (bound){VALUE, 1, 0};
    if (op == &imp_op_softmax && k < 0) return (bound){VALUE, 2, 0};
    if (op == &imp_op_softmax) return (bound){NUMBER, 4, 2 * largest(t->out, t->dy)};
    if (op == &imp_op_cross_entropy)
        return (bound){NUMBER, 2, fabs(t->dy[0]) / (double)x->n};
    if (op == &imp_op_squared_error) return (bound){VALUE, 4, 0};
    if (op == &imp_op_matching_loss) return (bound){VALUE, 4, 0};
    if (op == &imp_op_total_variation)
        return (bound){
            NUMBER, 8, 2 * fabs(t->dy[0]) / COUNT(*x) * 8 * largest(*x, t->x[0])};
    return (bound){EXACT, 0, 0}; /* relu, flatten, add's gradients, centre's by G */
}

/* A of every result whose kind is ABSOLUTE. */
static inline ref_result sizes_of(const imp_ctx *ctx, const op_case *t) {
    double *x[IMP_MAX_INPUTS];
    for (size_t i = 0; i < t->n_in; i++) x[i] = absolutes(t->in[i], t->x[i]);
    ref_result sizes = ref_run(t, x, absolutes(t->out, t->dy), t->want);
    replace_sizes(ctx, t, &sizes);
    return sizes;
}

/* result (blocked) = old + expected, within b; old is one more term of the sum. sizes: A of
 * each number. */
static inline void check(const char *name, const char *what, imp_shape s,
    const float *result, const double *expected, const double *sizes, const double *old,
    bound b) {
    char where[160];
    snprintf(where, sizeof where, "%s %s", name, what);
    size_t n = imp_plain_count(s);
    const float *found = unblocked(where, s, result);
    for (size_t i = 0; i < n; i++) {
        double a = b.kind == ABSOLUTE ? fabs(sizes[i])
                   : b.kind == VALUE  ? fabs(expected[i])
                                      : b.A;
        double tolerance = b.kind == EXACT ? 0 : b.n * a, want = expected[i];
        if (old) {
            want += old[i];
            tolerance += (b.n + 1) * fabs(old[i]) + fabs(expected[i]) + a;
        }
        /* the last term: numbers below float32's normal ones */
        if (!(fabs((double)found[i] - want) <= 0x1p-24 * tolerance + 0x1p-149))
            fail_msg("%s [%zu]: expected %.9g, found %.9g, tolerance %.3g", where, i,
                want, (double)found[i], 0x1p-24 * tolerance);
    }
}

/* tr C + tr S^2, which is no less than 2 tr (S C S)^(1/2) */
static inline double traces_of(const op_case *t) {
    const imp_shape *s = &t->in[0];
    double sum = 0;
    for (size_t i = 0; i < imp_plain_count(*s); i++) {
        bool diagonal = i / s->c % s->c == i % s->c;
        sum += t->x[1][i] * t->x[1][i] + (diagonal ? fabs(t->x[0][i]) : 0);
    }
    return sum / (double)s->n;
}

static inline void check_fast(const imp_ctx *ctx, const op_case *t,
    const fast_result *r, const ref_result *ref, const ref_result *sizes,
    double *const *old) {
    if (t->op->scalar) {
        double expected = ref->y[0], unit = fabs(expected);
        if (t->op == &imp_op_cross_entropy) unit = 1 + largest(t->in[0], t->x[0]);
        double relative = 1e-13;
        if (t->op == &imp_op_wasserstein) { /* its root is in float32 */
            relative = 0x1p-20;
            unit = traces_of(t);
        }
        if (!(fabs(r->loss - expected) <= relative * unit))
            fail_msg("%s: expected a loss of %.17g, found %.17g", t->name, expected,
                r->loss);
    } else
        check(t->name, "y", t->out, r->y, ref->y, sizes->y, NULL, bound_of(ctx, t, -1));
    for (size_t i = 0; i < t->n_in; i++) {
        char what[] = {'d', 'x', (char)('0' + i), 0};
        if (r->dx[i])
            check(t->name, what, t->in[i], r->dx[i], ref->dx[i], sizes->dx[i],
                old ? old[i] : NULL, bound_of(ctx, t, (int)i));
    }
}

#endif
