/* SPDX-License-Identifier: MIT
 *
 * op_case.h: one operation with inputs, and the fast pair run on them by hand, as a
 * graph would, only with more suspicion: guards around every buffer, rubbish in what is
 * to be written and in scratch, NULL for what backward has not said that it reads.
 * Include after cmocka.h.
 */
#ifndef TESTS_OP_CASE_H
#define TESTS_OP_CASE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "op/op.h"

typedef struct op_case {
    char name[96]; /* "conv2d.3x3" */
    const imp_op *op;
    _Alignas(16) unsigned char attr[64];
    size_t n_in; /* an absent bias is not counted */
    imp_shape in[IMP_MAX_INPUTS], out;
    double *x[IMP_MAX_INPUTS];
    double *dy;
    unsigned want; /* bit i: input i has a gradient */
} op_case;

/* --- memory that is freed, and whose guards are looked at, after each test --- */

#define GUARD 128 /* bytes on either side */

typedef struct guarded {
    unsigned char *base;
    size_t size;
} guarded;
static guarded memory[8192];
static size_t memory_count;

static inline void *get(size_t size) {
    assert_true(memory_count < sizeof memory / sizeof *memory);
    unsigned char *base = imp_alloc(size + 2 * GUARD);
    assert_non_null(base);
    memset(base, 0xa5, GUARD);
    memset(base + GUARD + size, 0xa5, GUARD);
    memory[memory_count++] = (guarded){base, size};
    return base + GUARD;
}

static inline void *get_rubbish(size_t size) { /* not numbers, to a float */
    return size ? memset(get(size), 0xff, size) : NULL;
}

static inline void release_all(void) {
    size_t broken = 0;
    for (size_t i = 0; i < memory_count; i++)
        for (size_t k = 0; k < GUARD; k++) {
            broken += memory[i].base[k] != 0xa5;
            broken += memory[i].base[GUARD + memory[i].size + k] != 0xa5;
        }
    for (size_t i = 0; i < memory_count; i++) imp_release(memory[i].base);
    memory_count = 0;
    if (broken) fail_msg("%zu bytes outside a buffer were written", broken);
}

/* --- values --- */

static inline double *doubles(imp_shape s) { /* zero */
    return get(imp_plain_count(s) * sizeof(double));
}

/* Normal numbers that float32 holds. */
static inline double *normals(imp_shape s, uint64_t seed, double scale) {
    size_t n = imp_plain_count(s);
    double *x = doubles(s);
    for (size_t i = 0; i < n; i++) x[i] = (double)(float)(scale * imp_normal(seed, i));
    return x;
}

static inline double *absolutes(imp_shape s, const double *x) {
    size_t n = imp_plain_count(s);
    double *y = doubles(s);
    for (size_t i = 0; i < n; i++) y[i] = fabs(x[i]);
    return y;
}

static inline float *blocked(imp_shape s, const double *x) {
    size_t n = imp_plain_count(s);
    float *plain = get(n * sizeof *plain), *y = get(imp_blocked_count(s) * sizeof *y);
    for (size_t i = 0; i < n; i++) plain[i] = (float)x[i];
    imp_to_blocked(s, plain, y);
    return y;
}

/* Back to plain; the filling must be zero. */
static inline float *unblocked(const char *what, imp_shape s, const float *x) {
    size_t n = imp_blocked_count(s);
    float *plain = get(imp_plain_count(s) * sizeof *plain);
    float *again = get(n * sizeof *again);
    imp_from_blocked(s, x, plain);
    imp_to_blocked(s, plain, again);
    for (size_t i = 0; i < n; i++)
        if (again[i] == 0 && x[i] != 0) /* filling, NaN included */
            fail_msg("%s: %g in the filling", what, (double)x[i]);
    return plain;
}

/* --- the reference pair --- */

typedef struct ref_result {
    double *y, *dx[IMP_MAX_INPUTS];
} ref_result;

static inline imp_ref_call ref_call(
    const op_case *t, double *const *x, double *y, const double *dy) {
    imp_ref_call r = {
        .attr = t->attr, .n_in = t->n_in, .out = t->out, .y = y, .dy = dy};
    for (size_t i = 0; i < t->n_in; i++) r.in[i] = t->in[i], r.x[i] = x[i];
    return r;
}

/* want: as t->want. dx starts at zero. */
static inline ref_result ref_run(
    const op_case *t, double *const *x, const double *dy, unsigned want) {
    ref_result r = {.y = doubles(t->out)};
    imp_ref_call c = ref_call(t, x, r.y, dy);
    t->op->forward_ref(&c);
    for (size_t i = 0; i < t->n_in; i++)
        if (want >> i & 1u) c.dx[i] = r.dx[i] = doubles(t->in[i]);
    if (want) t->op->backward_ref(&c);
    return r;
}

/* --- the fast pair --- */

typedef struct fast_result {
    double loss;
    float *y, *dx[IMP_MAX_INPUTS]; /* blocked; dx NULL: not wanted */
} fast_result;

/* old: dx[i] is added to old[i] (plain), NULL: overwritten. in_place: y on x[0]. */
static inline fast_result fast_run(
    imp_ctx *ctx, const op_case *t, unsigned want, double *const *old, bool in_place) {
    const imp_op *op = t->op;
    fast_result r = {.loss = (double)NAN};
    imp_need need = op->need(ctx, t->attr, t->in, &t->out, want);
    size_t thread_bytes = imp_round64(need.thread_scratch);
    size_t threads = (size_t)imp_ctx_threads(ctx),
           y_bytes = imp_blocked_count(t->out) * sizeof(float);
    imp_call c = {.ctx = ctx,
        .attr = t->attr,
        .n_in = t->n_in,
        .out = t->out,
        .loss = &r.loss,
        .saved = get_rubbish(need.saved),
        .scratch = get_rubbish(need.scratch),
        .thread_scratch = get_rubbish(thread_bytes * threads),
        .thread_bytes = thread_bytes};
    for (size_t i = 0; i < t->n_in; i++) {
        c.in[i] = t->in[i];
        c.x[i] = blocked(t->in[i], t->x[i]);
    }
    if (in_place) assert_true(need.in_place);
    float *y = in_place ? (float *)(uintptr_t)c.x[0] : get_rubbish(y_bytes);
    c.y = op->scalar ? NULL : y;
    op->forward(&c);
    if (!op->scalar) r.y = memcpy(get(y_bytes), y, y_bytes);
    if (!want) return r;
    if (!(need.backward_reads & IMP_READS_OUTPUT)) c.y = NULL;
    for (size_t i = 0; i < t->n_in; i++) {
        if (!(need.backward_reads >> i & 1u)) c.x[i] = NULL;
        if (!(want >> i & 1u)) continue;
        c.add[i] = old != NULL;
        c.dx[i] = r.dx[i] =
            old ? blocked(t->in[i], old[i])
                : get_rubbish(imp_blocked_count(t->in[i]) * sizeof(float));
    }
    if (op->scalar)
        c.dloss = t->dy[0];
    else
        c.dy = blocked(t->out, t->dy);
    if (c.scratch) memset(c.scratch, 0xff, need.scratch);
    if (c.thread_scratch) memset(c.thread_scratch, 0xff, thread_bytes * threads);
    op->backward(&c);
    return r;
}

static inline void assert_same_bits(
    const op_case *t, const fast_result *a, const fast_result *b, const char *why) {
    bool same = memcmp(&a->loss, &b->loss, sizeof a->loss) == 0;
    if (a->y)
        same = same && !memcmp(a->y, b->y, imp_blocked_count(t->out) * sizeof(float));
    for (size_t i = 0; i < t->n_in; i++)
        if (a->dx[i] && b->dx[i])
            same = same && !memcmp(a->dx[i], b->dx[i],
                               imp_blocked_count(t->in[i]) * sizeof(float));
    if (!same) fail_msg("%s: other bits %s", t->name, why);
}

#endif
