/* SPDX-License-Identifier: MIT
 *
 * weights.c: the gradient of a convolution by its weights, any kernel, stride and padding:
 *
 *     dW(o,c,kh,kw) = sum_n sum_ij dY(n,o,i,j) Xpad(n,c, i s + kh, j s + kw)
 *
 * The outputs of a sample are cut into bands of some rows. A band's part of Xpad is copied,
 * border and all, into a patch that stays in the cache; each tap of 16 rows of dW, by 16
 * outputs, is then one sum over the band, kept in registers, read at the tap's place in the
 * patch. A task is one block of 16 input channels and some panels of outputs; where these are
 * few, the bands are shared out in chunks as well, whose sums are joined in order.
 */
#include "op/weights.h"

#include "kernel/reduce.h"
#include "op/patch.h"
#include "op/winograd_dw.h"

#include <string.h>

#define GROUP 4  /* panels of a task */
#define TASKS 16 /* where there would be fewer, bands are shared out */

typedef struct cut {
    imp_bands band;
    size_t blocks, taps; /* of input channels; of 16 rows of dW in each */
    size_t panels, groups;
    size_t bands;         /* of all samples */
    size_t chunks, count; /* floats of dW */
} cut;

static cut cut_of(const imp_conv *a, const imp_shape *in, const imp_shape *out) {
    const imp_shape *w = &in[1];
    cut k = {.band = imp_bands_of(a, in, out),
        .blocks = w->c < 16 ? 1 : imp_round16(w->c) / 16,
        .panels = imp_round16(w->n) / 16,
        .count = imp_blocked_count(*w)};
    k.taps = imp_weight_depth(w) / 16 / k.blocks;
    k.groups = imp_divide_up(k.panels, GROUP);
    k.bands = out->n * k.band.down * k.band.across;
    k.chunks = imp_least(k.bands, imp_divide_up(TASKS, k.blocks * k.groups));
    return k;
}

void imp_weights_need(const imp_ctx *ctx, const imp_conv *a, const imp_shape *in,
    const imp_shape *out, imp_need *need) {
    if (imp_winograd_dw_pays(ctx, a, in, out)) {
        size_t scratch = imp_winograd_dw_scratch(in, out);
        if (need->scratch < scratch) need->scratch = scratch;
        return;
    }
    cut k = cut_of(a, in, out);
    size_t patch = imp_patch_bytes(&k.band);
    size_t sums = k.chunks > 1 ? k.chunks * k.count * sizeof(float) : 0;
    if (need->thread_scratch < patch) need->thread_scratch = patch;
    if (need->scratch < sums) need->scratch = sums;
}

typedef struct job {
    const imp_call *c;
    const imp_conv *a;
    cut cut;
    float *sums; /* a dW for each chunk, or NULL: one chunk */
} job;

/* One band, all taps of one block of channels by the panels of a group. g: dW's like. */
static void add_band(const job *j, const float *patch, const float *dy, size_t block,
    size_t group, size_t rows, size_t columns, float *g, bool add) {
    const imp_shape *y = &j->c->out;
    size_t depth = imp_weight_depth(&j->c->in[1]), offset[16];
    size_t end = imp_least((group + 1) * GROUP, j->cut.panels);
    imp_correlation s = {.lines = rows,
        .count = columns,
        .a = patch,
        .offset = offset,
        .a_line = j->cut.band.wide * j->cut.band.lanes * j->a->stride,
        .a_step = j->cut.band.lanes * j->a->stride,
        .b_line = y->w * 16,
        .add = add};
    for (size_t panel = group * GROUP; panel < end; panel++)
        for (size_t tap = 0; tap < j->cut.taps; tap++) {
            for (size_t l = 0; l < 16; l++)
                offset[l] = imp_patch_offset(&j->cut.band, tap * 16 + l);
            s.b = dy + panel * y->h * y->w * 16;
            s.g = g + (panel * depth + (block * j->cut.taps + tap) * 16) * 16;
            j->c->ctx->kernels->correlate(&s);
        }
}

static void bands_task(void *arg, size_t task, int thread) {
    const job *j = arg;
    const cut *k = &j->cut;
    const imp_call *c = j->c;
    const imp_shape *x = &c->in[0], *y = &c->out;
    size_t block = task % k->blocks, group = task / k->blocks % k->groups;
    size_t chunk = task / k->blocks / k->groups;
    float *patch = imp_call_scratch(c, thread);
    float *g = j->sums ? j->sums + chunk * k->count : c->dx[1];
    bool add = !j->sums && c->add[1];
    size_t end = (chunk + 1) * k->bands / k->chunks;
    for (size_t band = chunk * k->bands / k->chunks; band < end; band++, add = true) {
        size_t n = band / k->band.across / k->band.down;
        size_t top = band / k->band.across % k->band.down * k->band.rows;
        size_t left = band % k->band.across * k->band.columns;
        const float *map =
            c->x[0] + (n * j->cut.blocks + block) * x->h * x->w * imp_lanes(x);
        const float *dy =
            c->dy + (n * k->panels * y->h * y->w + top * y->w + left) * 16;
        imp_patch_copy(&k->band, map, top, left, patch);
        add_band(j, patch, dy, block, group, imp_least(k->band.rows, y->h - top),
            imp_least(k->band.columns, y->w - left), g, add);
    }
}

/* dW from the chunks' sums, in their order. */
static void join_task(void *arg, size_t task, int thread) {
    (void)thread;
    const job *j = arg;
    imp_chunk k = imp_chunk_of(j->cut.count, task);
    float *dw = j->c->dx[1];
    for (size_t i = k.first; i < k.first + k.count; i++) {
        double sum = 0;
        for (size_t chunk = 0; chunk < j->cut.chunks; chunk++)
            sum += (double)j->sums[chunk * j->cut.count + i];
        dw[i] = (float)sum + (j->c->add[1] ? dw[i] : 0.0f);
    }
}

/* Fewer than 16 channels: the rows of dW beyond c, kh, kw are filling. */
static void clear_filling(const imp_call *c) {
    const imp_shape *w = &c->in[1];
    size_t depth = imp_weight_depth(w), rows = w->c * w->h * w->w;
    for (size_t panel = 0; w->c < 16 && panel < imp_round16(w->n) / 16; panel++)
        memset(c->dx[1] + (panel * depth + rows) * 16, 0,
            (depth - rows) * 16 * sizeof(float));
}

void imp_weights_gradient(const imp_call *c) {
    job j = {c, &((const imp_conv_attr *)c->attr)->conv, .sums = NULL};
    if (imp_winograd_dw_pays(c->ctx, j.a, c->in, &c->out)) {
        imp_winograd_dw_run(c);
        return;
    }
    j.cut = cut_of(j.a, c->in, &c->out);
    if (j.cut.chunks > 1) j.sums = c->scratch;
    imp_parallel(c->ctx, j.cut.blocks * j.cut.groups * j.cut.chunks, bands_task, &j);
    if (j.sums) imp_parallel(c->ctx, imp_chunk_count(j.cut.count), join_task, &j);
    clear_filling(c);
}
