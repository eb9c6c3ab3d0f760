/* SPDX-License-Identifier: MIT
 *
 * bench.h: what the parts of impasto-bench share.
 */
#ifndef BENCH_H
#define BENCH_H

#include "impasto/model.h"
#include "kernel/kernel.h"

typedef struct bench_settings {
    int threads; /* 0: the library's choice */
    imp_precision precision;
    size_t size;              /* pixels of a side */
    size_t iterations;        /* timed, after one to warm up */
    const char *architecture; /* style: seeded weights, unless model is given */
    const char *model;        /* style: a file; NULL: none */
    const char *layer;        /* conv: this one alone; NULL: all */
    const char *net;          /* mnist: "mlp", "lenet"; NULL: both */
    const char *data;         /* mnist: folder; NULL: made up */
    imp_optimizer optimizer;  /* mnist */
    bool nodes;               /* style: what each operation takes */
    bool json;
} bench_settings;

/* The parts: each prints its figures and returns the exit status. */
int bench_ceiling(imp_ctx *ctx, const bench_settings *s);
int bench_conv(imp_ctx *ctx, const bench_settings *s);
int bench_linear(imp_ctx *ctx, const bench_settings *s);
int bench_style(imp_ctx *ctx, const bench_settings *s);
int bench_mnist(imp_ctx *ctx, const bench_settings *s);
int bench_classify(imp_ctx *ctx, const bench_settings *s);
int bench_train(imp_ctx *ctx, const bench_settings *s);

/* --- main.c --- */

double bench_now(void);                   /* seconds */
size_t bench_peak_bytes(void);            /* resident, of this process */
double bench_median(double *x, size_t n); /* sorts x */
/* Median seconds of run(arg): called once to warm up, then `iterations` times. */
double bench_time(size_t iterations, void (*run)(void *arg), void *arg);
/* The members that every JSON line begins with: {"event":"bench","name":NAME, ... */
void bench_json(const imp_ctx *ctx, const char *name);
int bench_fail(const imp_ctx *ctx); /* say the context's error; 1 */
/* A number of [-1, 1), the same for the same seed and i. */
float bench_value(uint64_t seed, size_t i);

/* --- ceiling.c --- */

/* Fused multiply-adds from registers alone, `threads` at once: FLOP/s, the best of some. */
double bench_fma_peak(imp_ctx *ctx, size_t threads);

#endif
