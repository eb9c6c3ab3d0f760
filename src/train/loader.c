/* SPDX-License-Identifier: MIT
 *
 * loader.c: one thread that makes batches, with a context of its own. What is in a batch does
 * not depend on when it is made.
 */
#include "train/train.h"

#include <pthread.h>
#include <stdlib.h>

struct imp_loader {
    imp_ctx *ctx; /* the caller's: for its errors */
    imp_ctx *own; /* the thread's */
    imp_crops crops;
    pthread_t thread;
    bool running; /* there is a thread */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    imp_stream stream; /* what was asked for last */
    size_t number;
    bool asked, busy, stop; /* asked: ready or in the making; busy: in the making */
    imp_status status;      /* what the making came to */
    float *making, *taken;  /* a batch each */
};

static void *make_batches(void *arg) {
    imp_loader *l = arg;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->busy && !l->stop) pthread_cond_wait(&l->changed, &l->lock);
        if (l->stop) break;
        pthread_mutex_unlock(&l->lock);
        imp_status s =
            imp_crops_batch(l->own, &l->crops, l->stream, l->number, l->making);
        pthread_mutex_lock(&l->lock);
        l->status = s;
        l->busy = false;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void ask(imp_loader *l, imp_stream stream, size_t number) {
    l->stream = stream;
    l->number = number;
    l->asked = l->busy = true;
    pthread_cond_broadcast(&l->changed);
}

static void wait_for_it(imp_loader *l) {
    while (l->busy) pthread_cond_wait(&l->changed, &l->lock);
}

imp_status imp_loader_take(
    imp_loader *l, imp_stream stream, size_t number, bool next, const float **batch) {
    pthread_mutex_lock(&l->lock);
    wait_for_it(l);
    if (!l->asked || l->stream != stream || l->number != number) {
        ask(l, stream, number);
        wait_for_it(l);
    }
    imp_status s = l->status;
    l->asked = false;
    if (s) imp_fail(l->ctx, s, "%s", imp_ctx_error(l->own));
    float *made = l->making;
    l->making = l->taken;
    *batch = l->taken = made;
    if (next && !s) ask(l, stream, number + 1);
    pthread_mutex_unlock(&l->lock);
    return s;
}

imp_status imp_loader_new(imp_ctx *ctx, imp_loader **out, const imp_crops *crops) {
    imp_ctx_options options = {.threads = 1, .cpu = imp_ctx_cpu(ctx)};
    size_t bytes = crops->batch * 3 * crops->side * crops->side * sizeof(float);
    *out = NULL;
    imp_loader *l = calloc(1, sizeof *l);
    if (!l) return imp_fail(ctx, IMP_ERR_LIMIT, "crops: no memory");
    l->ctx = ctx;
    l->crops = *crops;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    l->making = malloc(bytes);
    l->taken = malloc(bytes);
    if (l->making && l->taken && imp_ctx_new(&l->own, &options) == IMP_OK)
        l->running = pthread_create(&l->thread, NULL, make_batches, l) == 0;
    if (!l->running) {
        imp_loader_free(l);
        return imp_fail(ctx, IMP_ERR_LIMIT, "crops: no memory, or no thread");
    }
    *out = l;
    return IMP_OK;
}

void imp_loader_free(imp_loader *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    if (l->running) pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    imp_ctx_free(l->own);
    free(l->making);
    free(l->taken);
    free(l);
}
