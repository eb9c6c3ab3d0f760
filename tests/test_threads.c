/* SPDX-License-Identifier: MIT
 *
 * The pool: every task is done once, whatever their number, and neighbours by one thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/base.h"

typedef struct tally {
    atomic_uchar *done;
    size_t n;
    int threads;
    atomic_bool bad; /* a task or a thread that there is not */
} tally;

static void count_task(void *arg, size_t task, int thread) {
    tally *t = arg;
    if (task >= t->n || thread < 0 || thread >= t->threads)
        atomic_store(&t->bad, true);
    else
        atomic_fetch_add(&t->done[task], 1);
}

static imp_ctx *with_threads(int n) {
    imp_ctx *ctx;
    imp_ctx_options o = {.threads = n};
    assert_int_equal(imp_ctx_new(&ctx, &o), IMP_OK);
    return ctx;
}

static void each_task_once(void **state) {
    (void)state;
    /* fewer than threads, one over an even share, more than shares can count */
    static const size_t tasks[] = {0, 1, 2, 3, 7, 8, 100, 131070, 131071, 500001};
    for (int threads = 1; threads <= 7; threads += threads > 2 ? 4 : 1) {
        imp_ctx *ctx = with_threads(threads);
        for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
            tally t = {calloc(tasks[i] + 1, 1), tasks[i], threads, false};
            imp_parallel(ctx, tasks[i], count_task, &t);
            assert_false(atomic_load(&t.bad));
            for (size_t k = 0; k < tasks[i]; k++) assert_int_equal(t.done[k], 1);
            free(t.done);
        }
        imp_ctx_free(ctx);
    }
}

/* Round after round, of other lengths; a worker may come late to any of them. */
static void many_rounds(void **state) {
    (void)state;
    for (int threads = 2; threads <= 7; threads += 5) {
        imp_ctx *ctx = with_threads(threads);
        atomic_uchar done[16];
        for (size_t round = 0; round < 20000; round++) {
            tally t = {done, round % 16, threads, false};
            for (size_t k = 0; k < 16; k++) done[k] = 0;
            imp_parallel(ctx, t.n, count_task, &t);
            assert_false(atomic_load(&t.bad));
            for (size_t k = 0; k < 16; k++) assert_int_equal(done[k], k < t.n);
        }
        imp_ctx_free(ctx);
    }
}

typedef struct meeting {
    atomic_int arrived;
    atomic_bool early; /* another task was before both */
    atomic_int owner[2];
    atomic_size_t order[100], others; /* tasks but 0 and 50, as they were done */
} meeting;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Tasks 0 and 50 of 100 wait for each other, and 50 for all others; a minute at most. */
static void meet(void *arg, size_t task, int thread) {
    meeting *m = arg;
    double end = now() + 60;
    if (task % 50) {
        if (atomic_load(&m->arrived) < 2) atomic_store(&m->early, true);
        atomic_store(&m->order[atomic_fetch_add(&m->others, 1)], task);
        return;
    }
    atomic_store(&m->owner[task / 50], thread);
    atomic_fetch_add(&m->arrived, 1);
    while (atomic_load(&m->arrived) < 2 && now() < end) continue;
    while (task == 50 && atomic_load(&m->others) < 98 && now() < end) continue;
}

/* Each thread begins with its half; the one that is done first takes the other's last ones. */
static void halves(void **state) {
    (void)state;
    imp_ctx *ctx = with_threads(2);
    for (size_t i = 0; i < 100; i++) {
        static meeting m;
        m = (meeting){0};
        imp_parallel(ctx, 100, meet, &m);
        assert_false(atomic_load(&m.early));
        assert_int_equal(atomic_load(&m.owner[0]), 0);
        assert_int_equal(atomic_load(&m.owner[1]), 1);
        for (size_t k = 0; k < 98; k++)
            assert_int_equal(atomic_load(&m.order[k]), k < 49 ? k + 1 : 148 - k);
    }
    imp_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_task_once),
        cmocka_unit_test(many_rounds),
        cmocka_unit_test(halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
