/* SPDX-License-Identifier: MIT
 *
 * impasto-bench: how fast are the parts? Medians; script/bench sets them beside the
 * rivals.
 *
 *     impasto-bench ceiling [--threads T]
 *     impasto-bench style --size N [--iterations N] [--threads T] [--json]
 */
#include "kernel/kernel.h"
#include "impasto/style.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct settings {
    int threads;
    size_t size, iterations;
    bool json;
} settings;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static size_t peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *x, size_t n) {
    qsort(x, n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

static int fail(const imp_ctx *ctx) {
    fprintf(stderr, "impasto-bench: %s\n", imp_ctx_error(ctx));
    return 1;
}

/* --- ceiling: what the register tile reaches with everything in the first cache --- */

typedef struct tile_job {
    const imp_kernels *k;
    float *memory; /* one piece a task */
    size_t piece;
} tile_job;

#define TILE_TAPS  16
#define TILE_CALLS 20000

static void tile_task(void *arg, size_t task, int thread) {
    (void)thread;
    const tile_job *j = arg;
    float *a = j->memory + task * j->piece, *b = a + IMP_MAX_MR * TILE_TAPS * 16;
    float *y = b + IMP_MAX_NB * TILE_TAPS * 256;
    imp_gemm_tile t = {.a = a,
        .b = b,
        .y = y,
        .rows = j->k->mr,
        .panels = j->k->nb,
        .taps = TILE_TAPS,
        .a_tap = j->k->mr * 16,
        .b_panel = TILE_TAPS * 256,
        .y_row = 16,
        .y_panel = IMP_MAX_MR * 16};
    for (int i = 0; i < TILE_CALLS; i++) j->k->gemm(&t);
}

static int ceiling(imp_ctx *ctx, const settings *s) {
    (void)s;
    size_t threads = (size_t)imp_ctx_threads(ctx);
    size_t piece = IMP_MAX_MR * TILE_TAPS * 16 + IMP_MAX_NB * TILE_TAPS * 256 +
                   IMP_MAX_NB * IMP_MAX_MR * 16;
    tile_job j = {ctx->kernels, imp_alloc(threads * piece * sizeof(float)), piece};
    if (!j.memory) return fail(ctx);
    double flops = 2.0 * 16 * TILE_TAPS * 16 * (double)(j.k->mr * j.k->nb) *
                   TILE_CALLS * (double)threads;
    double best = 0;
    for (int i = 0; i < 5; i++) {
        double start = now();
        imp_parallel(ctx, threads, tile_task, &j);
        double rate = flops / (now() - start) * 1e-9;
        if (rate > best) best = rate;
    }
    printf("%s, %zu threads: register tile %.1f GFLOP/s\n", imp_ctx_cpu(ctx), threads,
        best);
    imp_release(j.memory);
    return 0;
}

/* --- style: one iteration of Adam, VGG-19 to relu5_1 with seeded weights --- */

static imp_status noise_picture(
    imp_ctx *ctx, imp_picture *p, size_t size, uint64_t seed) {
    imp_status s = imp_picture_new(ctx, p, size, size);
    for (size_t i = 0; i < 3 * size * size && !s; i++)
        p->planes[i] = (float)(255.0 * imp_uniform(seed, i));
    return s;
}

static int style(imp_ctx *ctx, const settings *s) {
    imp_model *model;
    imp_picture content, painting;
    imp_style *job;
    imp_style_options o = imp_style_preset("painterly");
    o.size = s->size;
    o.optimizer = IMP_ADAM;
    double *seconds = malloc(s->iterations * sizeof *seconds);
    if (!seconds ||
        imp_model_init(ctx, &model,
            &(imp_model_options){
                .architecture = "vgg19", .features = true, .seed = 1}) ||
        noise_picture(ctx, &content, s->size, 1) ||
        noise_picture(ctx, &painting, s->size, 2) ||
        imp_style_new(ctx, &job, model, &content, &painting, NULL, &o))
        return fail(ctx);
    imp_style_progress p;
    for (size_t i = 0; i <= s->iterations; i++) { /* the first warms up */
        double start = now();
        if (imp_style_step(job, &p)) return fail(ctx);
        if (i > 0) seconds[i - 1] = now() - start;
    }
    double m = median(seconds, s->iterations);
    if (s->json)
        printf("{\"event\":\"bench\",\"name\":\"style\",\"size\":%zu,\"threads\":%d,"
               "\"cpu\":\"%s\",\"seconds_per_iteration\":%.6f,\"minimum\":%.6f,"
               "\"peak_bytes\":%zu}\n",
            s->size, imp_ctx_threads(ctx), imp_ctx_cpu(ctx), m, seconds[0],
            peak_bytes());
    else
        printf("style %zu, %d threads, %s: %.3f s an iteration (median of %zu, least "
               "%.3f), "
               "%zu MiB\n",
            s->size, imp_ctx_threads(ctx), imp_ctx_cpu(ctx), m, s->iterations,
            seconds[0], peak_bytes() >> 20);
    imp_style_free(job);
    imp_picture_free(&content);
    imp_picture_free(&painting);
    imp_model_free(model);
    free(seconds);
    return 0;
}

static int usage(void) {
    fputs(
        "usage: impasto-bench ceiling|style [--size N] [--iterations N] [--threads T] "
        "[--json]\n",
        stderr);
    return 2;
}

int main(int argc, char **argv) {
    settings s = {.size = 512, .iterations = 5};
    for (int i = 2; i < argc; i++) {
        long v = i + 1 < argc ? strtol(argv[i + 1], NULL, 10) : 0;
        if (!strcmp(argv[i], "--json")) {
            s.json = true;
            continue;
        }
        if (v < 1 || v > 65536) return usage();
        if (!strcmp(argv[i], "--size"))
            s.size = (size_t)v;
        else if (!strcmp(argv[i], "--iterations"))
            s.iterations = (size_t)v;
        else if (!strcmp(argv[i], "--threads"))
            s.threads = (int)v;
        else
            return usage();
        i++;
    }
    if (argc < 2) return usage();
    imp_ctx *ctx;
    if (imp_ctx_new(&ctx, &(imp_ctx_options){.threads = s.threads})) return fail(ctx);
    int status = !strcmp(argv[1], "style")     ? style(ctx, &s)
                 : !strcmp(argv[1], "ceiling") ? ceiling(ctx, &s)
                                               : usage();
    imp_ctx_free(ctx);
    return status;
}
