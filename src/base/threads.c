/* SPDX-License-Identifier: MIT
 *
 * threads.c: a small pool. Tasks are handed out by an atomic counter, so the pool balances
 * itself; since a task owns its outputs, who does it makes no difference to the result. An
 * idle thread spins for a moment, then sleeps: quiet when there is nothing to do, and
 * seven threads on two processors do not wait for one another by burning both.
 */
#include "base/base.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SPINS 2000

struct imp_pool_of_threads {
    int n; /* threads, the caller's one included */
    pthread_t *thread;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    bool quit;
    imp_task_fn run;
    void *arg;
    size_t tasks;
    atomic_size_t next; /* the task to hand out */
    atomic_uint round;  /* counts the calls of imp_parallel */
    atomic_int busy;    /* workers that have not finished the round */
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

static void run_tasks(imp_threads *t, int id) {
    for (;;) {
        size_t task = atomic_fetch_add(&t->next, 1);
        if (task >= t->tasks) return;
        t->run(t->arg, task, id);
    }
}

/* Wait for a round other than seen; false: quit. */
static bool wait_for_round(imp_threads *t, unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&t->round) != seen) return true;
        relax();
    }
    pthread_mutex_lock(&t->mutex);
    while (atomic_load(&t->round) == seen && !t->quit)
        pthread_cond_wait(&t->work, &t->mutex);
    bool go = !t->quit;
    pthread_mutex_unlock(&t->mutex);
    return go;
}

static void *worker(void *arg) {
    worker_arg a = *(worker_arg *)arg;
    free(arg);
    unsigned seen = 0;
    while (wait_for_round(a.t, seen)) {
        seen++;
        run_tasks(a.t, a.id);
        if (atomic_fetch_sub(&a.t->busy, 1) == 1 && atomic_load(&a.t->caller_sleeps)) {
            pthread_mutex_lock(&a.t->mutex);
            pthread_cond_signal(&a.t->done);
            pthread_mutex_unlock(&a.t->mutex);
        }
    }
    return NULL;
}

imp_threads *imp_threads_new(int n) {
    imp_threads *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->n = 1;
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

static void wait_for_workers(imp_threads *t) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&t->busy) == 0) return;
        relax();
    }
    pthread_mutex_lock(&t->mutex);
    atomic_store(&t->caller_sleeps, true);
    while (atomic_load(&t->busy) != 0) pthread_cond_wait(&t->done, &t->mutex);
    atomic_store(&t->caller_sleeps, false);
    pthread_mutex_unlock(&t->mutex);
}

void imp_parallel(imp_ctx *ctx, size_t tasks, imp_task_fn run, void *arg) {
    imp_threads *t = ctx->threads;
    if (t->n == 1 || tasks <= 1) {
        for (size_t i = 0; i < tasks; i++) run(arg, i, 0);
        return;
    }
    t->run = run;
    t->arg = arg;
    t->tasks = tasks;
    atomic_store(&t->next, 0);
    atomic_store(&t->busy, t->n - 1);
    pthread_mutex_lock(&t->mutex);
    atomic_fetch_add(&t->round, 1);
    pthread_cond_broadcast(&t->work);
    pthread_mutex_unlock(&t->mutex);
    run_tasks(t, 0);
    wait_for_workers(t);
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
