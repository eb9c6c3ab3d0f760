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
#include "op/gram.h"

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

static size_t block_count(const imp_shape *x) {
    return imp_round16(x->c) / 16;
}

/* Forward: blocks of 16 x 16 of G, in squares of SIDE x SIDE blocks on and below the diagonal;
 * above it G is its own mirror image. A task is one square over one part of the places, about
 * TASKS of them. A chunk of the places stays in the first cache while its pairs of blocks are
 * multiplied; LONG places are summed in float32, these sums in double, the parts in order. */
#define SIDE  4
#define PAIRS (SIDE * SIDE)
#define CHUNK 256
#define LONG  1024
#define TASKS 32

typedef struct pair {
    size_t i, j; /* blocks: rows and columns of G; j <= i */
    size_t next; /* whose next chunk is fetched meanwhile; SIZE_MAX: none */
} pair;

static size_t square_count(const imp_shape *x) {
    size_t side = imp_divide_up(block_count(x), SIDE);
    return side * (side + 1) / 2;
}

/* The pairs of a square, numbered 0, 1 2, 3 4 5, ... down the triangle. */
static size_t list_pairs(const imp_shape *x, size_t square, pair list[PAIRS]) {
    size_t row = 0, n = 0, all = block_count(x);
    for (; square > row; row++) square -= row + 1;
    for (size_t i = row * SIDE; i < all && i < (row + 1) * SIDE; i++)
        for (size_t j = square * SIDE; j <= i && j < (square + 1) * SIDE; j++)
            list[n++] = (pair){i, j, SIZE_MAX};
    size_t k = 0;
    for (size_t b = row * SIDE; k < n && b < all && b < (row + 1) * SIDE; b++)
        list[k++].next = b;
    for (size_t b = square * SIDE; square < row && k < n && b < (square + 1) * SIDE;
         b++)
        list[k++].next = b;
    return n;
}

static size_t part_count(const imp_shape *x) {
    size_t longs = imp_divide_up(x->h * x->w, LONG), parts = TASKS / square_count(x);
    return parts > longs ? longs : parts < 1 ? 1 : parts;
}

size_t imp_gram_slopes(const imp_shape *x) {
    return x->n * imp_round16(x->c) * imp_round16(x->c);
}

/* Backward: blocks of ROWS places, a multiple of every tile's rows; a task has a few. */
#define ROWS        84
#define TASK_BLOCKS 8
_Static_assert(ROWS % 14 == 0 && ROWS % 6 == 0 && ROWS % 4 == 0, "whole tiles");

static imp_need gram_need(const imp_ctx *ctx, const void *attr, const imp_shape *in,
    const imp_shape *out, unsigned want) {
    (void)ctx, (void)attr, (void)out;
    size_t sums = in->n * part_count(in) * imp_gram_sums(in) * sizeof(double);
    size_t slopes = want ? imp_gram_slopes(in) * sizeof(float) : 0;
    return (imp_need){.backward_reads = want ? 1u : 0u,
        .gradient_in_place = true,
        .scratch = sums > slopes ? sums : slopes,
        .thread_scratch = want ? ROWS * imp_round16(in->c) * sizeof(float) : 0};
}

size_t imp_gram_sums(const imp_shape *x) {
    return square_count(x) * PAIRS * 256;
}

/* g: 256 numbers a pair, its products summed over count places, at most LONG of them; the blocks
 * of 16 channels lie step floats apart. */
static void sum_long(const imp_kernels *k, const float *map, size_t step,
    const pair *list, size_t pairs, size_t count, float *g) {
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t chunk = imp_least(count - done, CHUNK);
        const float *x = map + done * 16;
        for (size_t l = 0; l < pairs; l++) {
            size_t b = list[l].next;
            k->outer(chunk, x + list[l].i * step, 16, x + list[l].j * step, 16,
                b < SIZE_MAX ? x + b * step + chunk * 16 : NULL, g + l * 256, done > 0);
        }
    }
}

/* One square. */
static void sum_square(const imp_kernels *k, const imp_shape *x, size_t square,
    const float *map, size_t step, size_t count, double *sums) {
    float g[PAIRS * 256] __attribute__((aligned(64)));
    pair list[PAIRS];
    size_t pairs = list_pairs(x, square, list);
    for (size_t p = 0; p < count; p += LONG) {
        sum_long(k, map + p * 16, step, list, pairs, imp_least(count - p, LONG), g);
        for (size_t l = 0; l < pairs * 256; l++) sums[l] += (double)g[l];
    }
}

void imp_gram_sum(const imp_kernels *k, const imp_shape *x, const float *map,
    size_t step, size_t count, double *sums) {
    for (size_t square = 0; square < square_count(x); square++)
        sum_square(k, x, square, map, step, count, sums + square * PAIRS * 256);
}

static void gram_task(void *arg, size_t task, int thread) {
    (void)thread;
    const imp_call *c = arg;
    const imp_shape *x = &c->in[0];
    size_t squares = square_count(x), parts = part_count(x), P = x->h * x->w;
    size_t square = task % squares, part = task / squares % parts;
    size_t n = task / squares / parts, longs = imp_divide_up(P, LONG);
    size_t first = part * longs / parts * LONG;
    size_t end = imp_least((part + 1) * longs / parts * LONG, P);
    double *sums =
        (double *)c->scratch + ((n * parts + part) * squares + square) * PAIRS * 256;
    memset(sums, 0, PAIRS * 256 * sizeof *sums);
    sum_square(c->ctx->kernels, x, square,
        c->x[0] + (n * block_count(x) * P + first) * 16, P * 16, end - first, sums);
}

typedef struct join_job {
    const imp_shape *x;
    size_t parts;
    const double *sums;
    float *g;
} join_job;

/* Join the parts of one square, and write it and its mirror image. */
static void join_task(void *arg, size_t task, int thread) {
    (void)thread;
    const join_job *job = arg;
    const imp_shape *x = job->x;
    size_t squares = square_count(x), square = task % squares, n = task / squares;
    const double *sums = job->sums + (n * job->parts * squares + square) * PAIRS * 256;
    float *y = job->g + n * imp_round16(x->c) * x->c;
    pair list[PAIRS];
    size_t pairs = list_pairs(x, square, list);
    for (size_t l = 0; l < pairs * 256; l++) {
        double sum = 0;
        for (size_t part = 0; part < job->parts; part++)
            sum += sums[part * squares * PAIRS * 256 + l];
        size_t i = list[l / 256].i * 16 + l / 16 % 16,
               j = list[l / 256].j * 16 + l % 16;
        float g = (float)(sum / (double)(x->h * x->w));
        if (j < x->c) y[(i / 16 * x->c + j) * 16 + i % 16] = g;
        if (i < x->c) y[(j / 16 * x->c + i) * 16 + j % 16] = g;
    }
}

void imp_gram_join(
    imp_ctx *ctx, const imp_shape *x, size_t parts, const double *sums, float *g) {
    join_job job = {x, parts, sums, g};
    imp_parallel(ctx, x->n * square_count(x), join_task, &job);
}

static void gram_forward(const imp_call *c) {
    const imp_shape *x = &c->in[0];
    imp_parallel(c->ctx, x->n * square_count(x) * part_count(x), gram_task,
        (void *)(uintptr_t)c);
    imp_gram_join(c->ctx, x, part_count(x), c->scratch, c->y);
}

typedef struct slope_job {
    const imp_shape *x;
    const float *dg;
    float *s;
} slope_job;

/* One panel of s. Where G has filling, dG is zero or not there. */
static void slope_task(void *arg, size_t task, int thread) {
    (void)thread;
    const slope_job *job = arg;
    size_t C = job->x->c, wide = imp_round16(C);
    size_t n = task / (wide / 16), panel = task % (wide / 16);
    const float *dg = job->dg + n * wide * C;
    float P = (float)(job->x->h * job->x->w);
    float *s = job->s + (n * wide + panel * 16) * wide;
    memset(s, 0, wide * 16 * sizeof *s);
    for (size_t j = 0; j < C; j++)
        for (size_t i = panel * 16; i < panel * 16 + 16 && i < C; i++)
            s[j * 16 + i % 16] = (dg[(panel * C + j) * 16 + i % 16] +
                                     dg[(j / 16 * C + i) * 16 + j % 16]) /
                                 P;
}

void imp_gram_slope(imp_ctx *ctx, const imp_shape *x, const float *dg, float *s) {
    slope_job job = {x, dg, s};
    imp_parallel(ctx, x->n * block_count(x), slope_task, &job);
}

typedef struct backward_job {
    const imp_call *c;
    const float *x, *s; /* of one sample */
    float *dx;
    size_t places, piece; /* of the map; of a task */
} backward_job;

/* dX = X S, a few places of every channel at a time. They are put aside first, as dX may lie
 * where X does, and since channels are far apart in the map, at distances that caches hate.
 * next: the places that come after them are fetched meanwhile. */
static void multiply(const backward_job *job, size_t row0, bool next, float *aside) {
    const imp_call *c = job->c;
    const imp_kernels *k = c->ctx->kernels;
    size_t blocks = block_count(&c->in[0]), P = c->in[0].h * c->in[0].w;
    size_t rows = imp_least(P - row0, ROWS);
    static const float zero[IMP_MAX_NB * 16];
    for (size_t b = 0; b < blocks; b++)
        memcpy(aside + b * rows * 16, job->x + (b * P + row0) * 16,
            rows * 16 * sizeof *aside);
    for (size_t b = 0; b < blocks; b += k->nb)
        for (size_t m = 0; m < rows; m += k->mr) {
            imp_gemm_tile t = {.a = aside + m * 16,
                .b = job->s + b * blocks * 256,
                .init = c->add[0] ? NULL : zero,
                .y = job->dx + (b * P + row0 + m) * 16,
                .rows = imp_least(rows - m, k->mr),
                .panels = imp_least(blocks - b, k->nb),
                .taps = blocks,
                .a_tap = rows * 16,
                .b_panel = blocks * 256,
                .y_row = 16,
                .y_panel = P * 16};
            if (next && b == 0)
                t.next = job->x + (row0 + rows + m) * 16, t.next_tap = P * 16;
            k->gemm(&t);
        }
}

static void product_task(void *arg, size_t task, int thread) {
    const backward_job *job = arg;
    float *aside = imp_call_scratch(job->c, thread);
    size_t end = imp_least((task + 1) * job->piece, job->places);
    for (size_t row0 = task * job->piece; row0 < end; row0 += ROWS)
        multiply(job, row0, row0 + ROWS < end, aside);
}

static void gram_backward(const imp_call *c) {
    const imp_shape *x = &c->in[0];
    size_t wide = imp_round16(x->c), P = x->h * x->w;
    if (!c->dx[0]) return;
    imp_gram_slope(c->ctx, x, c->dy, c->scratch);
    size_t blocks = imp_divide_up(P, ROWS);
    size_t piece = imp_least(TASK_BLOCKS, imp_divide_up(blocks, TASKS)) * ROWS;
    for (size_t n = 0; n < x->n; n++) {
        backward_job job = {c, c->x[0] + n * wide * P,
            (float *)c->scratch + n * wide * wide, c->dx[0] + n * wide * P, P, piece};
        imp_parallel(c->ctx, imp_divide_up(P, piece), product_task, &job);
    }
}

const imp_op imp_op_gram = {"gram", false, gram_shape, gram_need, gram_forward,
    gram_backward, gram_forward_ref, gram_backward_ref};
