/* SPDX-License-Identifier: MIT
 *
 * bench_onednn.c: the rival for convolutions: those of VGG-19 to conv5_1 by oneDNN 2 (Debian:
 * libdnnl-dev), in the layouts that it likes best. No part of the build; script/bench
 * compiles it: cc -O2 -fopenmp tools/bench_onednn.c -ldnnl.
 *
 *     bench_onednn SIZE THREADS
 *
 * One JSON line an algorithm: "direct" is what oneDNN chooses by itself; "winograd" its
 * Winograd wherever it has one, else as direct; `layers` says of how many of the 13 it has
 * one forward and backward (none below AVX-512: no line). Seconds are medians, summed over
 * the layers: forward (with ReLU) and backward to the input.
 */
#include <dnnl.h>
#include <omp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static const struct layer {
    int inputs, outputs, halvings, times; /* of the side; layers of this shape */
} layers[] = {
    {3, 64, 0, 1},
    {64, 64, 0, 1},
    {64, 128, 1, 1},
    {128, 128, 1, 1},
    {128, 256, 2, 1},
    {256, 256, 2, 3},
    {256, 512, 3, 1},
    {512, 512, 3, 3},
    {512, 512, 4, 1},
};
#define SHAPES (sizeof layers / sizeof *layers)

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void check(dnnl_status_t status, const char *what) {
    if (status == dnnl_success) return;
    fprintf(stderr, "bench_onednn: %s: oneDNN says %d\n", what, (int)status);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- what to run --- */

typedef struct shape {
    dnnl_memory_desc_t x, w, b, y; /* oneDNN may choose the layouts */
} shape;

static void describe(dnnl_memory_desc_t *m, int n, const dnnl_dims_t dims) {
    check(dnnl_memory_desc_init_by_tag(m, n, dims, dnnl_f32, dnnl_format_tag_any),
        "a memory descriptor");
}

static shape shape_of(const struct layer *l, int size) {
    int side = size >> l->halvings ? size >> l->halvings : 1;
    shape s;
    describe(&s.x, 4, (dnnl_dims_t){1, l->inputs, side, side});
    describe(&s.w, 4, (dnnl_dims_t){l->outputs, l->inputs, 3, 3});
    describe(&s.b, 1, (dnnl_dims_t){l->outputs});
    describe(&s.y, 4, (dnnl_dims_t){1, l->outputs, side, side});
    return s;
}

static const dnnl_dims_t ones = {1, 1};

/* NULL where oneDNN has not this algorithm for this shape on this processor. */
static dnnl_primitive_desc_t forward(const shape *s, dnnl_alg_kind_t algorithm) {
    dnnl_convolution_desc_t d;
    dnnl_primitive_desc_t p = NULL;
    dnnl_primitive_attr_t relu;
    dnnl_post_ops_t after;
    if (dnnl_convolution_forward_desc_init(&d, dnnl_forward_inference, algorithm, &s->x,
            &s->w, &s->b, &s->y, ones, ones, ones))
        return NULL;
    check(dnnl_primitive_attr_create(&relu), "attributes");
    check(dnnl_post_ops_create(&after), "attributes");
    check(dnnl_post_ops_append_eltwise(after, 1, dnnl_eltwise_relu, 0, 0), "ReLU");
    check(dnnl_primitive_attr_set_post_ops(relu, after), "ReLU");
    if (dnnl_primitive_desc_create(&p, &d, relu, engine, NULL)) p = NULL;
    dnnl_post_ops_destroy(after);
    dnnl_primitive_attr_destroy(relu);
    return p;
}

static dnnl_primitive_desc_t backward(const shape *s, dnnl_alg_kind_t algorithm) {
    dnnl_convolution_desc_t hint, d;
    dnnl_primitive_desc_t before = NULL, p = NULL;
    check(dnnl_convolution_forward_desc_init(&hint, dnnl_forward_training,
              dnnl_convolution_auto, &s->x, &s->w, NULL, &s->y, ones, ones, ones),
        "the hint for backward");
    check(dnnl_primitive_desc_create(&before, &hint, NULL, engine, NULL),
        "the hint for backward");
    if (!dnnl_convolution_backward_data_desc_init(
            &d, algorithm, &s->x, &s->w, &s->y, ones, ones, ones) &&
        dnnl_primitive_desc_create(&p, &d, NULL, engine, before))
        p = NULL;
    dnnl_primitive_desc_destroy(before);
    return p;
}

/* --- running it --- */

#define HUGE_PAGE ((size_t)2 << 20)

/* Memory in the layout that oneDNN chose, on huge pages, filled with small numbers. */
static dnnl_memory_t memory_for(const dnnl_memory_desc_t *m) {
    size_t bytes = dnnl_memory_desc_get_size(m);
    size_t round = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    float *x = aligned_alloc(HUGE_PAGE, round);
    dnnl_memory_t memory;
    if (!x) {
        fprintf(stderr, "bench_onednn: no memory\n");
        exit(1);
    }
    madvise(x, round, MADV_HUGEPAGE);
    for (size_t i = 0; i < round / sizeof *x; i++)
        x[i] = (float)((i * 2654435761u >> 8) % 1024) / 10240.0f;
    check(dnnl_memory_create(&memory, m, engine, x), "memory");
    return memory;
}

typedef struct role {
    dnnl_query_t query;
    int index, argument;
} role;
static const role forward_roles[] = {{dnnl_query_src_md, 0, DNNL_ARG_SRC},
    {dnnl_query_weights_md, 0, DNNL_ARG_WEIGHTS},
    {dnnl_query_weights_md, 1, DNNL_ARG_BIAS}, {dnnl_query_dst_md, 0, DNNL_ARG_DST}};
static const role backward_roles[] = {{dnnl_query_diff_dst_md, 0, DNNL_ARG_DIFF_DST},
    {dnnl_query_weights_md, 0, DNNL_ARG_WEIGHTS},
    {dnnl_query_diff_src_md, 0, DNNL_ARG_DIFF_SRC}};

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

#define RUNS 5

/* Median seconds; p is destroyed. */
static double time_of(dnnl_primitive_desc_t p, const role *roles, int n) {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t arguments[4];
    double seconds[RUNS];
    check(dnnl_primitive_create(&primitive, p), "a convolution");
    for (int i = 0; i < n; i++)
        arguments[i] = (dnnl_exec_arg_t){roles[i].argument,
            memory_for(
                dnnl_primitive_desc_query_md(p, roles[i].query, roles[i].index))};
    for (int i = -1; i < RUNS; i++) { /* the first warms up */
        double start = now();
        check(dnnl_primitive_execute(primitive, stream, n, arguments), "a run");
        check(dnnl_stream_wait(stream), "a run");
        if (i >= 0) seconds[i] = now() - start;
    }
    for (int i = 0; i < n; i++) {
        void *x;
        check(dnnl_memory_get_data_handle(arguments[i].memory, &x), "memory");
        dnnl_memory_destroy(arguments[i].memory);
        free(x);
    }
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(p);
    qsort(seconds, RUNS, sizeof *seconds, ascending);
    return seconds[RUNS / 2];
}

static void measure(int size, const char *name, dnnl_alg_kind_t algorithm) {
    double sum[2] = {0, 0};
    int found[2] = {0, 0};
    for (size_t i = 0; i < SHAPES; i++) {
        shape s = shape_of(&layers[i], size);
        for (int back = 0; back < 2; back++) {
            dnnl_primitive_desc_t (*make)(const shape *, dnnl_alg_kind_t) =
                back ? backward : forward;
            dnnl_primitive_desc_t p = make(&s, algorithm);
            if (p) found[back] += layers[i].times;
            if (!p) p = make(&s, dnnl_convolution_auto);
            if (!p) check(dnnl_unimplemented, "a convolution");
            sum[back] +=
                layers[i].times *
                time_of(p, back ? backward_roles : forward_roles, back ? 3 : 4);
        }
    }
    const dnnl_version_t *v = dnnl_version();
    printf("{\"rival\":\"onednn %d.%d.%d\",\"algorithm\":\"%s\",\"layers\":[%d,%d],"
           "\"size\":%d,\"threads\":%d,\"forward_seconds\":%.6f,"
           "\"backward_seconds\":%.6f,\"seconds\":%.6f}\n",
        v->major, v->minor, v->patch, name, found[0], found[1], size,
        omp_get_max_threads(), sum[0], sum[1], sum[0] + sum[1]);
    fflush(stdout);
}

/* Has it a Winograd for conv3_2, forward? */
static bool has_winograd(int size) {
    shape s = shape_of(&layers[5], size);
    dnnl_primitive_desc_t p = forward(&s, dnnl_convolution_winograd);
    if (p) dnnl_primitive_desc_destroy(p);
    return p != NULL;
}

int main(int argc, char **argv) {
    int size = argc == 3 ? atoi(argv[1]) : 0, threads = argc == 3 ? atoi(argv[2]) : 0;
    if (size < 1 || size > 16384 || threads < 1 || threads > 1024) {
        fprintf(stderr, "usage: bench_onednn SIZE THREADS\n");
        return 2;
    }
    omp_set_num_threads(threads);
    check(dnnl_engine_create(&engine, dnnl_cpu, 0), "the engine");
    check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "the stream");
    measure(size, "direct", dnnl_convolution_auto);
    if (has_winograd(size)) measure(size, "winograd", dnnl_convolution_winograd);
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    return 0;
}
