/* SPDX-License-Identifier: MIT
 *
 * threads.c: a small pool. Every thread has a share of neighbouring tasks; when they are
 * done, it steals from the ends of the others', so that all end together. As tasks follow a
 * picture from top to bottom, a thread finds in its caches what it made of the same rows one layer
 * before: where processors have caches apart, that saves a seventh of the time
 * (docs/speed-log.md). Since a task owns its outputs, who does it makes no difference to the
 * result.
 *
 * An idle thread spins for about a millisecond, then sleeps: between two layers it stays awake, and
 * is quiet when there is nothing to do. Where there are more threads than processors it spins for
 * a moment only: seven threads on two do not wait for one another by burning both.
 *
 * A share is one number: the round (which call of imp_parallel), then the first and the end of
 * what nobody has taken. Taking is a compare-and-swap, which fails if the round is over: a caller
 * waits for tasks that were taken, never for a worker that is still asleep.
 */
#include "base/base.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPINS         40000
#define SPINS_CROWDED 2000

#define MOST_UNITS 65535 /* of a share */

/* round << 32 | first << 16 | end, of the thread's units; alone in its cache line. */
typedef struct share {
    _Alignas(64) _Atomic uint64_t left;
} share;

struct imp_pool_of_threads {
    int n; /* threads, the caller's one included */
    int spins;
    pthread_t *thread;
    share *shares;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    bool quit;
    atomic_uint round; /* its shares are there */
    /* The call that runs. A late worker may read the next one's: it gets no share then. */
    _Atomic(imp_task_fn) run;
    _Atomic(void *) arg;
    atomic_size_t tasks, unit; /* in all; neighbours that are taken at once */
    atomic_size_t undone;
    atomic_int asleep; /* workers that sleep, or are about to */
    atomic_bool caller_sleeps;
};

typedef struct worker_arg {
    imp_threads *t;
    int id;
} worker_arg;

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Whoever does the last task wakes the caller. */
static void tasks_done(imp_threads *t, size_t n) {
    if (atomic_fetch_sub(&t->undone, n) > n || !atomic_load(&t->caller_sleeps)) return;
    pthread_mutex_lock(&t->mutex);
    pthread_cond_signal(&t->done);
    pthread_mutex_unlock(&t->mutex);
}

/* The first unit of thread i's share. */
static size_t first_unit(size_t units, int i, int n) {
    return units / (size_t)n * (size_t)i +
           imp_least(units % (size_t)n, (size_t)i); /* the first ones have one more */
}

/* Take a unit of a share, its first or its last; false: there is none in this round. */
static bool take(share *from, unsigned round, bool first, size_t *unit) {
    uint64_t left = atomic_load(&from->left);
    for (;;) {
        unsigned begin = left >> 16 & 0xffff, end = left & 0xffff;
        if (left >> 32 != round || begin == end) return false;
        *unit = first ? begin : end - 1;
        if (atomic_compare_exchange_weak(
                &from->left, &left, first ? left + (1u << 16) : left - 1))
            return true;
    }
}

/* Do tasks of this round until none is left to take. */
static void run_tasks(imp_threads *t, unsigned round, int id) {
    imp_task_fn run = atomic_load(&t->run);
    void *arg = atomic_load(&t->arg);
    size_t tasks = atomic_load(&t->tasks), unit = atomic_load(&t->unit), taken;
    size_t units = imp_divide_up(tasks, unit);
    for (int k = 0; k < t->n; k++) {
        int from = (id + k) % t->n;
        while (take(&t->shares[from], round, k == 0, &taken)) {
            size_t begin = (first_unit(units, from, t->n) + taken) * unit;
            size_t end = imp_least(begin + unit, tasks);
            for (size_t i = begin; i < end; i++) run(arg, i, id);
            tasks_done(t, end - begin);
        }
    }
}

/* Wait for a round other than *seen, which becomes it; false: quit. */
static bool wait_for_round(imp_threads *t, unsigned *seen) {
    unsigned old = *seen;
    for (int i = 0; i < t->spins; i++) {
        *seen = atomic_load(&t->round);
        if (*seen != old) return true;
        relax();
    }
    pthread_mutex_lock(&t->mutex);
    atomic_fetch_add(&t->asleep, 1);
    while ((*seen = atomic_load(&t->round)) == old && !t->quit)
        pthread_cond_wait(&t->work, &t->mutex);
    atomic_fetch_sub(&t->asleep, 1);
    bool go = !t->quit;
    pthread_mutex_unlock(&t->mutex);
    return go;
}

static void *worker(void *arg) {
    worker_arg a = *(worker_arg *)arg;
    free(arg);
    unsigned round = 0;
    while (wait_for_round(a.t, &round)) run_tasks(a.t, round, a.id);
    return NULL;
}

imp_threads *imp_threads_new(int n) {
    imp_threads *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->n = 1;
    t->spins = n > imp_threads_default() ? SPINS_CROWDED : SPINS;
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->work, NULL);
    pthread_cond_init(&t->done, NULL);
    t->thread = calloc((size_t)n, sizeof *t->thread);
    t->shares = aligned_alloc(64, (size_t)n * sizeof *t->shares);
    if (!t->thread || !t->shares) goto fail;
    memset(t->shares, 0, (size_t)n * sizeof *t->shares);
    for (int i = 1; i < n; i++) {
        worker_arg *a = malloc(sizeof *a);
        if (!a) goto fail;
        *a = (worker_arg){t, i};
        if (pthread_create(&t->thread[i], NULL, worker, a) != 0) {
            free(a);
            goto fail;
        }
        t->n++;
    }
    return t;
fail:
    imp_threads_free(t);
    return NULL;
}

void imp_threads_free(imp_threads *t) {
    if (!t) return;
    pthread_mutex_lock(&t->mutex);
    t->quit = true;
    pthread_cond_broadcast(&t->work);
    pthread_mutex_unlock(&t->mutex);
    for (int i = 1; i < t->n; i++) pthread_join(t->thread[i], NULL);
    free(t->thread);
    free(t->shares);
    pthread_cond_destroy(&t->done);
    pthread_cond_destroy(&t->work);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

int imp_threads_count(const imp_threads *t) {
    return t->n;
}

static void wait_for_tasks(imp_threads *t) {
    for (int i = 0; i < t->spins; i++) {
        if (atomic_load(&t->undone) == 0) return;
        relax();
    }
    pthread_mutex_lock(&t->mutex);
    atomic_store(&t->caller_sleeps, true);
    while (atomic_load(&t->undone) != 0) pthread_cond_wait(&t->done, &t->mutex);
    atomic_store(&t->caller_sleeps, false);
    pthread_mutex_unlock(&t->mutex);
}

/* Shares first: who sees the round finds them. */
static unsigned begin_round(imp_threads *t, size_t tasks, imp_task_fn run, void *arg) {
    unsigned round = atomic_load(&t->round) + 1;
    size_t unit = imp_divide_up(tasks, (size_t)t->n * MOST_UNITS);
    size_t units = imp_divide_up(tasks, unit);
    atomic_store(&t->run, run);
    atomic_store(&t->arg, arg);
    atomic_store(&t->tasks, tasks);
    atomic_store(&t->unit, unit);
    atomic_store(&t->undone, tasks);
    for (int i = 0; i < t->n; i++)
        atomic_store(&t->shares[i].left,
            (uint64_t)round << 32 |
                (first_unit(units, i + 1, t->n) - first_unit(units, i, t->n)));
    atomic_store(&t->round, round);
    return round;
}

void imp_parallel(imp_ctx *ctx, size_t tasks, imp_task_fn run, void *arg) {
    imp_threads *t = ctx->threads;
    if (t->n == 1 || tasks <= 1) {
        for (size_t i = 0; i < tasks; i++) run(arg, i, 0);
        return;
    }
    unsigned round = begin_round(t, tasks, run, arg);
    if (atomic_load(&t->asleep) > 0) {
        pthread_mutex_lock(&t->mutex);
        pthread_cond_broadcast(&t->work);
        pthread_mutex_unlock(&t->mutex);
    }
    run_tasks(t, round, 0);
    wait_for_tasks(t);
}

/* Processors that the cgroup's quota pays for, rounded up; a large number: no quota. */
static long cgroup_quota(void) {
    long quota = 0, period = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (f) {
        if (fscanf(f, "%ld %ld", &quota, &period) != 2) quota = 0;
        fclose(f);
    } else if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re"))) {
        if (fscanf(f, "%ld", &quota) != 1) quota = 0;
        fclose(f);
        if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re"))) {
            if (fscanf(f, "%ld", &period) != 1) period = 0;
            fclose(f);
        }
    }
    return quota > 0 && period > 0 ? (quota + period - 1) / period : 1L << 20;
}

int imp_threads_default(void) {
    cpu_set_t set;
    long n = sched_getaffinity(0, sizeof set, &set) == 0
                 ? CPU_COUNT(&set)
                 : sysconf(_SC_NPROCESSORS_ONLN);
    long quota = cgroup_quota();
    if (n > quota) n = quota;
    if (n > 1024) n = 1024;
    return n < 1 ? 1 : (int)n;
}
