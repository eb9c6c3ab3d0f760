/* SPDX-License-Identifier: MIT
 *
 * ceiling.c: what the processor can do at the level of the context: multiply-adds, and
 * bytes a second out of each cache and out of memory, by one thread and by all.
 */
#include "bench.h"
#include "loops.h"

#include <stdio.h>
#include <unistd.h>

#define TRIES 10

static const bench_loops *loops_of(const imp_ctx *ctx) {
#if defined(__x86_64__)
    if (ctx->cpu == IMP_CPU_AVX512) return &bench_loops_avx512;
    if (ctx->cpu == IMP_CPU_AVX2) return &bench_loops_avx2;
#endif
    (void)ctx;
    return &bench_loops_generic;
}

/* --- multiply-adds --- */

#define FMA_ROUNDS 2000000
#define FMA_FLOATS 256

typedef struct fma_job {
    const bench_loops *loops;
    float *memory; /* FMA_FLOATS a task */
    double flops;  /* of one task */
} fma_job;

static void fma_task(void *arg, size_t task, int thread) {
    (void)thread;
    fma_job *j = arg;
    float *x = j->memory + task * FMA_FLOATS;
    x[0] = 0.5f; /* the sums stay near 2 */
    x[1] = 1.0f;
    double flops = j->loops->fma(FMA_ROUNDS, x);
    if (task == 0) j->flops = flops;
}

double bench_fma_peak(imp_ctx *ctx, size_t threads) {
    fma_job j = {loops_of(ctx), imp_alloc(threads * FMA_FLOATS * sizeof(float)), 0};
    double best = 0;
    for (int i = 0; i < TRIES && j.memory; i++) {
        double start = bench_now();
        imp_parallel(ctx, threads, fma_task, &j);
        double rate = j.flops * (double)threads / (bench_now() - start);
        if (rate > best) best = rate;
    }
    imp_release(j.memory);
    return best;
}

/* --- bytes --- */

#define BYTES_A_TRY 2e8 /* that a thread moves at least */

typedef struct stream_job {
    const bench_loops *loops;
    float *memory; /* count floats a task; copy: from the first half to the second */
    size_t count, passes;
    bool copy;
    float *sum; /* of each task */
} stream_job;

static void stream_task(void *arg, size_t task, int thread) {
    (void)thread;
    const stream_job *j = arg;
    float *x = j->memory + task * j->count, sum = 0;
    for (size_t i = 0; i < j->passes; i++) {
        if (j->copy)
            j->loops->copy(j->count / 2, 1.0f, x, x + j->count / 2);
        else
            sum += j->loops->read(j->count, x);
    }
    j->sum[task * 16] = sum;
}

/* Bytes a second, read and written both counted. */
static double stream(imp_ctx *ctx, stream_job *j, size_t threads, bool copy) {
    double bytes = (double)(j->count * sizeof(float)), best = 0;
    j->copy = copy;
    j->passes = (size_t)(BYTES_A_TRY / bytes) + 1;
    for (int i = 0; i < TRIES; i++) {
        double start = bench_now();
        imp_parallel(ctx, threads, stream_task, j);
        double rate = bytes * (double)(j->passes * threads) / (bench_now() - start);
        if (rate > best) best = rate;
    }
    return best;
}

static size_t cache_size(int name, size_t otherwise) {
    long size = sysconf(name);
    return size > 0 ? (size_t)size : otherwise;
}

typedef struct place {
    const char *name;
    size_t bytes; /* that a thread works on */
} place;

/* Half of a cache of a thread's own; its share of half the third one, but no more than a
 * processor that shares it with strangers will have; four times the third for memory. */
static void choose_places(place out[4], size_t threads) {
    size_t first = cache_size(_SC_LEVEL1_DCACHE_SIZE, 32 << 10);
    size_t second = cache_size(_SC_LEVEL2_CACHE_SIZE, 512 << 10);
    size_t third = cache_size(_SC_LEVEL3_CACHE_SIZE, 8 << 20);
    size_t share = third / (2 * threads), all = 4 * third;
    if (share > 4 << 20) share = 4 << 20;
    if (share < 2 * second) share = 2 * second;
    if (all > (size_t)512 << 20) all = (size_t)512 << 20;
    out[0] = (place){"L1", first / 2};
    out[1] = (place){"L2", second / 2};
    out[2] = (place){"L3", share};
    out[3] = (place){"DRAM", all / threads > 4 * share ? all / threads : 4 * share};
}

/* --- the report --- */

static void tell_fma(imp_ctx *ctx, const bench_settings *s, size_t threads) {
    double rate = bench_fma_peak(ctx, threads) * 1e-9;
    if (!s->json) {
        printf("%4zu threads: multiply-adds %.1f GFLOP/s\n", threads, rate);
        return;
    }
    bench_json(ctx, "ceiling");
    printf(",\"what\":\"fma\",\"used\":%zu,\"gflops\":%.2f}\n", threads, rate);
}

static void tell_place(imp_ctx *ctx, const bench_settings *s, stream_job *j,
    const place *p, size_t threads) {
    j->count = p->bytes / sizeof(float) / 256 * 256; /* halves of whole vectors */
    double read = stream(ctx, j, threads, false) * 1e-9;
    double copy = stream(ctx, j, threads, true) * 1e-9;
    if (!s->json) {
        printf("%4zu threads: %-4s %8zu KiB a thread: read %6.1f, copy %6.1f GB/s\n",
            threads, p->name, p->bytes >> 10, read, copy);
        return;
    }
    bench_json(ctx, "ceiling");
    printf(",\"what\":\"%s\",\"used\":%zu,\"bytes\":%zu,\"read_gbps\":%.2f,"
           "\"copy_gbps\":%.2f}\n",
        p->name, threads, p->bytes, read, copy);
}

int bench_ceiling(imp_ctx *ctx, const bench_settings *s) {
    place places[4];
    size_t all = (size_t)imp_ctx_threads(ctx);
    choose_places(places, all);
    stream_job j = {.loops = loops_of(ctx),
        .memory = imp_alloc(all * places[3].bytes),
        .sum = imp_alloc(all * 16 * sizeof(float))};
    if (!j.memory || !j.sum) {
        imp_fail(ctx, IMP_ERR_LIMIT, "ceiling: no memory");
        return bench_fail(ctx);
    }
    for (size_t i = 0; i < all * places[3].bytes / sizeof(float); i++)
        j.memory[i] = 1.0f;
    for (size_t threads = 1; threads <= all; threads += all > 1 ? all - 1 : 1) {
        tell_fma(ctx, s, threads);
        for (size_t i = 0; i < 4; i++) tell_place(ctx, s, &j, &places[i], threads);
    }
    imp_release(j.memory);
    imp_release(j.sum);
    return 0;
}
