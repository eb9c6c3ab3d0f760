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
    size_t rows, panels; /* of a task */
    size_t row_blocks, panel_groups;
} product_job;

#define TASKS        8  /* that a product is cut into, if it is large enough: */
#define LEAST_ROWS   48 /* fewer would fetch b too often */
#define LEAST_PANELS 4  /* fewer would pack a too often */

/* Cuts change no sum, so they may look at the register tile. */
static product_job cut(const imp_call *c, const imp_product *p) {
    size_t mr = c->ctx->kernels->mr;
    product_job j = {.c = c,
        .p = p,
        .rows = imp_least(p->rows, IMP_GEMM_ROWS),
        .panels = imp_least(p->panels, IMP_PANEL_GROUP)};
    for (;;) {
        j.row_blocks = imp_divide_up(p->rows, j.rows);
        j.panel_groups = imp_divide_up(p->panels, j.panels);
        if (p->samples * j.row_blocks * j.panel_groups >= TASKS) break;
        if (j.rows >= 2 * LEAST_ROWS)
            j.rows = imp_divide_up(j.rows / 2, mr) * mr;
        else if (j.panels >= 2 * LEAST_PANELS)
            j.panels /= 2;
        else
            break;
    }
    return j;
}

static void product_task(void *arg, size_t task, int thread) {
    const product_job *j = arg;
    const imp_product *p = j->p;
    const imp_kernels *k = j->c->ctx->kernels;
    /* Row blocks run fastest: threads share the panels of b in the outer cache. */
    size_t row0 = task % j->row_blocks * j->rows;
    size_t panel0 = task / j->row_blocks % j->panel_groups * j->panels;
    size_t sample = task / j->row_blocks / j->panel_groups;
    size_t rows = imp_least(j->rows, p->rows - row0);
    size_t panels = imp_least(j->panels, p->panels - panel0);

    imp_gemm g = p->gemm;
    g.source = p->source_base + sample * p->source_size;
    g.y += sample * p->y_sample;
    imp_gemm_block(k, &g, row0, rows, panel0, panels, imp_call_scratch(j->c, thread));
    if (!p->relu) return;
    /* The block's lines of contiguous numbers: the rows of a panel, or a row's panels. */
    bool by_panel = g.y_row == 16;
    size_t lines = by_panel ? panels : rows, run = by_panel ? rows : panels;
    float *y = g.y + panel0 * g.y_panel + row0 * g.y_row;
    for (size_t i = 0; i < lines; i++, y += by_panel ? g.y_panel : g.y_row)
        k->relu(run * 16, y, y, p->mask ? p->mask + (y - p->gemm.y) / 16 : NULL);
}

void imp_product_run(const imp_call *c, const imp_product *p) {
    product_job j = cut(c, p);
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
        size_t inputs = imp_least(s->c - ib * 16, 16);
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
    size_t i = task * IMP_CHUNK, n = imp_least(j->count - i, IMP_CHUNK);
    j->ctx->kernels->mask(n, j->dy + i, j->mask + i / 16, j->dy + i, false);
}

void imp_mask_gradient(imp_ctx *ctx, size_t count, float *dy, const uint16_t *mask) {
    mask_job j = {ctx, count, dy, mask};
    imp_parallel(ctx, imp_divide_up(count, IMP_CHUNK), mask_task, &j);
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
