/* SPDX-License-Identifier: MIT
 *
 * matmul.c: what conv2d and linear share.
 */
#include "op/matmul.h"

#include "kernel/reduce.h"

#include <string.h>

typedef struct product_job {
    const imp_call *c;
    const imp_product *p;
    size_t row_blocks, panel_groups;
} product_job;

static size_t blocks_of(size_t n, size_t block) {
    return (n + block - 1) / block;
}

static void product_task(void *arg, size_t task, int thread) {
    const product_job *j = arg;
    const imp_product *p = j->p;
    const imp_kernels *k = j->c->ctx->kernels;
    /* Row blocks run fastest: threads share the panels of b in the outer cache. */
    size_t row0 = task % j->row_blocks * IMP_GEMM_ROWS;
    size_t panel0 = task / j->row_blocks % j->panel_groups * IMP_PANEL_GROUP;
    size_t sample = task / j->row_blocks / j->panel_groups;
    size_t rows = p->rows - row0, panels = p->panels - panel0;
    if (rows > IMP_GEMM_ROWS) rows = IMP_GEMM_ROWS;
    if (panels > IMP_PANEL_GROUP) panels = IMP_PANEL_GROUP;

    imp_gemm g = p->gemm;
    g.source = p->source_base + sample * p->source_size;
    g.y += sample * p->y_sample;
    imp_gemm_block(k, &g, row0, rows, panel0, panels, imp_call_scratch(j->c, thread));
    if (!p->relu) return;
    for (size_t i = panel0; i < panel0 + panels; i++) {
        size_t run = g.y_row == 16 ? rows : 1; /* contiguous rows at once */
        for (size_t r = row0; r < row0 + rows; r += run) {
            float *y = g.y + i * g.y_panel + r * g.y_row;
            size_t word = (size_t)(y - p->gemm.y) / 16;
            k->relu(run * 16, y, y, p->mask ? p->mask + word : NULL);
        }
    }
}

void imp_product_run(const imp_call *c, const imp_product *p) {
    product_job j = {
        c, p, blocks_of(p->rows, IMP_GEMM_ROWS), blocks_of(p->panels, IMP_PANEL_GROUP)};
    imp_parallel(c->ctx, p->samples * j.row_blocks * j.panel_groups, product_task, &j);
}

size_t imp_transposed_count(const imp_shape *w) {
    return imp_round16(w->c) * imp_round16(w->n) * w->h * w->w;
}

typedef struct transpose_job {
    const imp_shape *shape;
    const float *w;
    float *transposed;
} transpose_job;

static void transpose_task(void *arg, size_t task, int thread) {
    (void)thread;
    const transpose_job *j = arg;
    const imp_shape *s = j->shape;
    size_t taps = s->h * s->w, o_blocks = imp_round16(s->n) / 16;
    size_t ib = task / o_blocks, ob = task % o_blocks;
    float *out = j->transposed + (ib * o_blocks + ob) * taps * 256;
    for (size_t t = 0; t < taps; t++, out += 256) {
        size_t inputs = s->c - ib * 16 < 16 ? s->c - ib * 16 : 16;
        for (size_t i = 0; i < 16; i++) {
            const float *in = i < inputs ? j->w + imp_weight_offset(s, ob * 16,
                                                      ib * 16 + i, t / s->w, t % s->w)
                                         : NULL;
            for (size_t o = 0; o < 16; o++) out[o * 16 + i] = in ? in[o] : 0.0f;
        }
    }
}

void imp_transpose_weights(
    imp_ctx *ctx, const imp_shape *shape, const float *w, float *transposed) {
    transpose_job j = {shape, w, transposed};
    imp_parallel(ctx, imp_round16(shape->c) / 16 * (imp_round16(shape->n) / 16),
        transpose_task, &j);
}

typedef struct mask_job {
    imp_ctx *ctx;
    size_t count;
    float *dy;
    const uint16_t *mask;
} mask_job;

static void mask_task(void *arg, size_t task, int thread) {
    (void)thread;
    const mask_job *j = arg;
    size_t i = task * IMP_CHUNK,
           n = j->count - i < IMP_CHUNK ? j->count - i : IMP_CHUNK;
    j->ctx->kernels->mask(n, j->dy + i, j->mask + i / 16, j->dy + i, false);
}

void imp_mask_gradient(imp_ctx *ctx, size_t count, float *dy, const uint16_t *mask) {
    mask_job j = {ctx, count, dy, mask};
    imp_parallel(ctx, blocks_of(count, IMP_CHUNK), mask_task, &j);
}

typedef struct bias_job {
    const imp_shape *shape;
    const float *dy;
    float *db;
    bool add;
} bias_job;

static void bias_task(void *arg, size_t block, int thread) {
    (void)thread;
    const bias_job *j = arg;
    size_t blocks = imp_round16(j->shape->c) / 16, pixels = j->shape->h * j->shape->w;
    double sum[16] = {0};
    for (size_t n = 0; n < j->shape->n; n++) {
        const float *dy = j->dy + (n * blocks + block) * pixels * 16;
        for (size_t p = 0; p < pixels; p++, dy += 16)
            for (size_t l = 0; l < 16; l++) sum[l] += (double)dy[l];
    }
    float *db = j->db + block * 16;
    for (size_t l = 0; l < 16; l++) db[l] = (float)sum[l] + (j->add ? db[l] : 0.0f);
}

void imp_bias_gradient(
    imp_ctx *ctx, const imp_shape *shape, const float *dy, float *db, bool add) {
    bias_job j = {shape, dy, db, add};
    imp_parallel(ctx, imp_round16(shape->c) / 16, bias_task, &j);
}
