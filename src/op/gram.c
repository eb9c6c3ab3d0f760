/* SPDX-License-Identifier: MIT
 *
 * gram.c: the Gram matrix of a feature map X of C channels over H x W places, the style of a
 * layer (Gatys, Ecker & Bethge 2016, eq. 3), divided by the number of places so that maps of
 * different sizes compare:
 *
 *     G(i,j)  = 1/(HW) sum_hw X(i,h,w) X(j,h,w)
 *     dX(i,p) = 1/(HW) sum_j (dG(i,j) + dG(j,i)) X(j,p)
 *
 * G is a value of shape n, C, C, 1: i is the channel, j the row.
 */
#include "op/matmul.h"

#include <string.h>

static imp_status gram_shape(
    imp_ctx *ctx, const void *attr, const imp_shape *in, size_t n_in, imp_shape *out) {
    (void)ctx, (void)attr, (void)n_in;
    *out = (imp_shape){in[0].n, in[0].c, in[0].c, 1, IMP_MAP};
    return IMP_OK;
}

/* --- reference --- */

static void gram_forward_ref(const imp_ref_call *c) {
    size_t C = c->in[0].c, P = c->in[0].h * c->in[0].w;
    for (size_t n = 0; n < c->in[0].n; n++)
        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < C; j++) {
                const double *x = c->x[0] + n * C * P;
                double sum = 0;
                for (size_t p = 0; p < P; p++) sum += x[i * P + p] * x[j * P + p];
                c->y[(n * C + i) * C + j] = sum / (double)P;
            }
}

static void gram_backward_ref(const imp_ref_call *c) {
    size_t C = c->in[0].c, P = c->in[0].h * c->in[0].w;
    if (!c->dx[0]) return;
    for (size_t n = 0; n < c->in[0].n; n++)
        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < C; j++) {
                const double *dg = c->dy + n * C * C, *x = c->x[0] + n * C * P;
                double d = (dg[i * C + j] + dg[j * C + i]) / (double)P;
                for (size_t p = 0; p < P; p++)
                    c->dx[0][(n * C + i) * P + p] += d * x[j * P + p];
            }
}

/* --- fast --- */

/* Places are cut into chunks, chunks dealt to at most PARTS parts. A chunk's products are
 * summed in float32, the chunks of a part in double, the parts in order: nothing depends on
 * the number of threads. Only blocks on and above the diagonal are computed. */
#define CHUNK 1024
#define PARTS 16

static size_t part_count(const imp_shape *x) {
    size_t chunks = (x->h * x->w + CHUNK - 1) / CHUNK;
    return chunks < PARTS ? chunks : PARTS;
}

static size_t pair_count(const imp_shape *x) {
    size_t blocks = imp_round16(x->c) / 16;
    return blocks * (blocks + 1) / 2;
}

static size_t pair_of(size_t ib, size_t jb) { /* jb <= ib */
    return ib * (ib + 1) / 2 + jb;
}

static size_t matrix_count(const imp_shape *x) { /* with its rows filled up to 16 */
    return imp_round16(x->c) * imp_round16(x->c);
}

static imp_need gram_need(const imp_ctx *ctx, const void *attr,
    const imp_shape *in, const imp_shape *out, unsigned want) {
    (void)ctx;
    (void)attr, (void)out;
    size_t partials = in->n * part_count(in) * pair_count(in) * 256 * sizeof(double);
    size_t matrices = in->n * matrix_count(in) * sizeof(float);
    return (imp_need){.backward_reads = want ? 1u : 0u,
        .scratch = partials > matrices ? partials : matrices,
        .thread_scratch = IMP_GEMM_SCRATCH};
}

/* Wide maps are shared out by parts alone (all pairs of a chunk while it is in the cache),
 * maps of many channels by rows of blocks as well. */
static size_t rows_at_once(const imp_shape *x) {
    return x->c >= 256 ? 1 : imp_round16(x->c) / 16;
}

static void gram_part(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    const imp_shape *x = &c->in[0];
    size_t blocks = imp_round16(x->c) / 16, P = x->h * x->w, parts = part_count(x);
    size_t rows = rows_at_once(x), groups = blocks / rows;
    size_t first = task % groups * rows, part = task / groups % parts;
    size_t n = task / groups / parts, chunks = (P + CHUNK - 1) / CHUNK;
    const float *map = c->x[0] + n * blocks * P * 16;
    double *sums = (double *)c->scratch + (n * parts + part) * pair_count(x) * 256;
    memset(sums + pair_of(first, 0) * 256, 0,
        (pair_of(first + rows, 0) - pair_of(first, 0)) * 256 * sizeof(double));
    float g[256] __attribute__((aligned(64)));
    for (size_t k = part * chunks / parts; k < (part + 1) * chunks / parts; k++) {
        size_t p = k * CHUNK, count = P - p < CHUNK ? P - p : CHUNK;
        for (size_t ib = first; ib < first + rows; ib++)
            for (size_t jb = 0; jb <= ib; jb++) {
                c->ctx->kernels->outer(count, map + (ib * P + p) * 16, 16,
                    map + (jb * P + p) * 16, 16, g, false);
                double *sum = sums + pair_of(ib, jb) * 256;
                for (size_t l = 0; l < 256; l++) sum[l] += (double)g[l];
            }
    }
}

/* Join the parts of one pair of blocks, and write it and its mirror image. */
static void gram_join(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    const imp_shape *x = &c->in[0];
    size_t blocks = imp_round16(x->c) / 16, parts = part_count(x);
    size_t ib = task % blocks, n = task / blocks;
    for (size_t jb = 0; jb <= ib; jb++)
        for (size_t l = 0; l < 256; l++) {
            double sum = 0;
            for (size_t part = 0; part < parts; part++)
                sum += ((const double *)c->scratch)
                    [((n * parts + part) * pair_count(x) + pair_of(ib, jb)) * 256 + l];
            size_t i = ib * 16 + l / 16, j = jb * 16 + l % 16;
            float g = (float)(sum / (double)(x->h * x->w));
            if (j < x->c) c->y[((n * blocks + i / 16) * x->c + j) * 16 + i % 16] = g;
            if (i < x->c) c->y[((n * blocks + j / 16) * x->c + i) * 16 + j % 16] = g;
        }
}

static void gram_forward(const imp_call *c) {
    const imp_shape *x = &c->in[0];
    size_t blocks = imp_round16(x->c) / 16;
    imp_parallel(c->ctx, x->n * part_count(x) * (blocks / rows_at_once(x)), gram_part,
        (void *)(uintptr_t)c);
    imp_parallel(c->ctx, x->n * blocks, gram_join, (void *)(uintptr_t)c);
}

typedef struct map_source {
    const float *map; /* one sample */
    size_t places;
} map_source;

static void pack_map(const void *source, size_t row0, size_t rows, size_t tap0,
    size_t taps, float *a, size_t a_tap) {
    const map_source *s = source;
    for (size_t t = 0; t < taps; t++)
        memcpy(a + t * a_tap, s->map + ((tap0 + t) * s->places + row0) * 16,
            rows * 16 * sizeof(float));
}

static void gram_backward(const imp_call *c) {
    const imp_shape *x = &c->in[0];
    size_t C = x->c, wide = imp_round16(C), P = x->h * x->w;
    float *s = c->scratch; /* (dG + dG')/P as panels: i/16, j, 16 */
    memset(s, 0, matrix_count(x) * sizeof(float));
    for (size_t n = 0; n < x->n; n++) {
        const float *dg = c->dy + n * wide * C;
        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < C; j++)
                s[(i / 16 * wide + j) * 16 + i % 16] =
                    (dg[(i / 16 * C + j) * 16 + i % 16] +
                        dg[(j / 16 * C + i) * 16 + j % 16]) /
                    (float)P;
        map_source source = {c->x[0] + n * wide * P, P};
        imp_product p = {.gemm = {.pack = pack_map,
                             .taps = wide / 16,
                             .b = s,
                             .y = c->dx[0] + n * wide * P,
                             .y_row = 16,
                             .y_panel = P * 16,
                             .add = c->add[0]},
            .samples = 1,
            .rows = P,
            .panels = wide / 16,
            .source_base = (const char *)&source};
        imp_product_run(c, &p);
    }
}

const imp_op imp_op_gram = {"gram", false, gram_shape, gram_need, gram_forward,
    gram_backward, gram_forward_ref, gram_backward_ref};
