/* SPDX-License-Identifier: MIT
 *
 * threads.c: a small pool. Tasks are handed out by an atomic counter, so the pool balances
 * itself; since a task owns its outputs, who does it makes no difference to the result. An
 * idle thread spins for about a millisecond, then sleeps: between two layers it stays awake, and
 * is quiet when there is nothing to do. Where there are more threads than processors it spins for
 * a moment only: seven threads on two do not wait for one another by burning both.
 *
 * The counter is a ticket: the round (which call of imp_parallel) above, the tasks that
 * nobody has taken below. A task is taken by a compare-and-swap, which fails if the round is
 * over: a caller waits for tasks that were taken, never for a worker that is still asleep.
 */
#include "base/base.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SPINS         40000
#define SPINS_CROWDED 2000

struct imp_pool_of_threads {
    int n; /* threads, the caller's one included */
    int spins;
    pthread_t *thread;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    bool quit;
    /* The call that runs. A late worker may read the next one's: its ticket then fails. */
    _Atomic(imp_task_fn) run;
    _Atomic(void *) arg;
    atomic_uint tasks;
    _Atomic uint64_t ticket; /* round << 32 | tasks to hand out */
    atomic_uint left;        /* tasks that are not done */
    atomic_int asleep;       /* workers that sleep, or are about to */
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

static unsigned round_of(uint64_t ticket) {
    return (unsigned)(ticket >> 32);
}

/* Whoever does the last task wakes the caller. */
static void task_done(imp_threads *t) {
    if (atomic_fetch_sub(&t->left, 1) > 1 || !atomic_load(&t->caller_sleeps)) return;
    pthread_mutex_lock(&t->mutex);
    pthread_cond_signal(&t->done);
    pthread_mutex_unlock(&t->mutex);
}

/* Do tasks of this round until none is left to take. */
static void run_tasks(imp_threads *t, unsigned round, int id) {
    imp_task_fn run = atomic_load(&t->run);
    void *arg = atomic_load(&t->arg);
    unsigned tasks = atomic_load(&t->tasks);
    uint64_t ticket = atomic_load(&t->ticket);
    while (round_of(ticket) == round && (unsigned)ticket > 0) {
        if (!atomic_compare_exchange_weak(&t->ticket, &ticket, ticket - 1)) continue;
        run(arg, tasks - (unsigned)ticket, id);
        task_done(t);
        ticket = atomic_load(&t->ticket);
    }
}

/* Wait for a round other than *seen, which becomes it; false: quit. */
static bool wait_for_round(imp_threads *t, unsigned *seen) {
    unsigned old = *seen;
    for (int i = 0; i < t->spins; i++) {
        *seen = round_of(atomic_load(&t->ticket));
        if (*seen != old) return true;
        relax();
    }
    pthread_mutex_lock(&t->mutex);
    atomic_fetch_add(&t->asleep, 1);
    while ((*seen = round_of(atomic_load(&t->ticket))) == old && !t->quit)
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
    if (!t->thread) goto fail;
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
        if (atomic_load(&t->left) == 0) return;
        relax();
    }
    pthread_mutex_lock(&t->mutex);
    atomic_store(&t->caller_sleeps, true);
    while (atomic_load(&t->left) != 0) pthread_cond_wait(&t->done, &t->mutex);
    atomic_store(&t->caller_sleeps, false);
    pthread_mutex_unlock(&t->mutex);
}

void imp_parallel(imp_ctx *ctx, size_t tasks, imp_task_fn run, void *arg) {
    imp_threads *t = ctx->threads;
    if (t->n == 1 || tasks <= 1 || tasks > UINT32_MAX) {
        for (size_t i = 0; i < tasks; i++) run(arg, i, 0);
        return;
    }
    unsigned round = round_of(atomic_load(&t->ticket)) + 1;
    atomic_store(&t->run, run);
    atomic_store(&t->arg, arg);
    atomic_store(&t->tasks, (unsigned)tasks);
    atomic_store(&t->left, (unsigned)tasks);
    atomic_store(&t->ticket, (uint64_t)round << 32 | tasks);
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
