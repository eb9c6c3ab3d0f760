/* SPDX-License-Identifier: MIT
 *
 * narrow.c: the gradient of narrow.h. A task makes a piece of dX, ROWS x COLUMNS. It walks
 * down with three rows of dY in a ring, its own copy of them, border and all, masked on the
 * way. Each row of dY is copied once, three rows of dX use it:
 *
 *     dY           ring            dX
 *     row i        slot i % 3  \
 *     row i + 1                 >  row i
 *     row i + 2                /
 *
 * Rows and columns of a piece are constants, and every result is one sum in one order.
 */
#include "op/narrow.h"

#include <string.h>

#define ROWS    32
#define COLUMNS 128

typedef struct job {
    const imp_call *call;
    size_t h, w;       /* of dY */
    size_t oh, ow;     /* of dX */
    ptrdiff_t origin;  /* row and column of dY under the first result's first tap */
    size_t high, wide; /* pieces */
    const uint16_t *mask;
    float *dx;
    bool add;
} job;

typedef struct piece {
    size_t sample, row, column, rows, columns;
} piece;

static size_t clamp(ptrdiff_t i, size_t most) {
    return i < 0 ? 0 : imp_least((size_t)i, most);
}

bool imp_narrow_fits(const imp_conv *a, const imp_shape *weights) {
    return weights->h == 3 && weights->w == 3 && a->stride == 1 &&
           weights->c <= IMP_NARROW_CHANNELS;
}

/* Pixels of a row of the ring. */
static size_t line_of(size_t columns) {
    return columns + 2 + IMP_NARROW_SLACK;
}

void imp_narrow_need(const imp_shape *in, imp_need *need) {
    need->thread_scratch = 3 * imp_round16(in[1].n) * line_of(COLUMNS) * sizeof(float);
}

static piece piece_of(const job *j, size_t task) {
    piece p = {.sample = task / j->wide / j->high,
        .row = task / j->wide % j->high * ROWS,
        .column = task % j->wide * COLUMNS};
    p.rows = imp_least(ROWS, j->oh - p.row);
    p.columns = imp_least(COLUMNS, j->ow - p.column);
    return p;
}

/* Where row i of a piece's copy comes from; h: nowhere, it is zero. */
static size_t source_row(const job *j, const piece *p, size_t i) {
    ptrdiff_t at = (ptrdiff_t)(p->row + i) + j->origin;
    return at < 0 ? j->h : clamp(at, j->h);
}

/* The copied pixels begin .. end-1 are those of the source from column `from` on; those before
 * and after lie outside. */
typedef struct span {
    size_t begin, end, from;
} span;

static span span_of(const job *j, const piece *p) {
    ptrdiff_t first = (ptrdiff_t)p->column + j->origin;
    span s = {.begin = clamp(-first, p->columns + 2), .from = clamp(first, j->w)};
    s.end = s.begin + imp_least(p->columns + 2 - s.begin, j->w - s.from);
    return s;
}

/* One row of one panel of dY, which begins at pixel `at`, to line. */
static void copy_masked(const job *j, const piece *p, size_t at, float *line) {
    span s = span_of(j, p);
    size_t count = (s.end - s.begin) * 16;
    const float *from = j->call->dy + (at + s.from) * 16;
    memset(line, 0, s.begin * 16 * sizeof *line);
    if (j->mask)
        j->call->ctx->kernels->mask(
            count, from, j->mask + at + s.from, line + s.begin * 16, false);
    else
        memcpy(line + s.begin * 16, from, count * sizeof *line);
    memset(line + s.end * 16, 0, (p->columns + 2 - s.end) * 16 * sizeof *line);
}

/* Row i of a piece's copy, where all of it is there; else NULL. */
static const float *next_row(const job *j, const piece *p, size_t i) {
    size_t h = source_row(j, p, i), panels = imp_round16(j->call->out.c) / 16;
    span s = span_of(j, p);
    if (i == p->rows + 2 || h == j->h || s.end - s.begin < p->columns) return NULL;
    return j->call->dy + ((p->sample * panels * j->h + h) * j->w + s.from) * 16;
}

static void backward_task(void *arg, size_t task, int thread) {
    const job *j = arg;
    const imp_call *c = j->call;
    piece p = piece_of(j, task);
    size_t panels = imp_round16(c->out.c) / 16;
    size_t step = line_of(p.columns) * 16, slot = panels * step;
    float *ring = imp_call_scratch(c, thread);
    imp_narrow_gradient n = {.count = p.columns,
        .channels = c->in[0].c,
        .taps = 9,
        .panels = panels,
        .w = c->x[1],
        .tap_panel = step,
        .w_panel = imp_weight_depth(&c->in[1]) * 16,
        .next_panel = j->h * j->w * 16,
        .add = j->add};
    memset(ring, 0, 3 * slot * sizeof *ring);
    for (size_t i = 0; i < p.rows + 2; i++) {
        size_t h = source_row(j, &p, i);
        float *to = ring + i % 3 * slot;
        for (size_t q = 0; q < panels; q++, to += step)
            if (h < j->h)
                copy_masked(j, &p, ((p.sample * panels + q) * j->h + h) * j->w, to);
            else
                memset(to, 0, step * sizeof *to);
        if (i < 2) continue;
        for (size_t t = 0; t < n.taps; t++)
            n.tap[t] = ring + (i - 2 + t / 3) % 3 * slot + t % 3 * 16;
        n.next = next_row(j, &p, i + 1);
        n.dx = j->dx + ((p.sample * j->oh + p.row + i - 2) * j->ow + p.column) * 16;
        c->ctx->kernels->narrow_gradient(&n);
    }
}

void imp_narrow_backward(const imp_call *c, const uint16_t *mask, float *dx, bool add) {
    const imp_conv *a = &((const imp_conv_attr *)c->attr)->conv;
    bool replicate = a->padding == IMP_PAD_REPLICATE;
    size_t border = replicate ? 2 * a->pad : 0;
    job j = {.call = c,
        .h = c->out.h,
        .w = c->out.w,
        .oh = c->in[0].h + border,
        .ow = c->in[0].w + border,
        .origin = replicate ? -2 : (ptrdiff_t)a->pad - 2,
        .mask = mask,
        .dx = dx,
        .add = add};
    j.high = imp_divide_up(j.oh, ROWS);
    j.wide = imp_divide_up(j.ow, COLUMNS);
    imp_parallel(c->ctx, c->out.n * j.high * j.wide, backward_task, &j);
}
