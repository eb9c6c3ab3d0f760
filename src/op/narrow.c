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
 * Where the convolution has made the Gram matrix of Y, the gradient of that is added on the way:
 * a row of Y is made again from the part of X under the piece, and is its own mask.
 *
 * Rows and columns of a piece are constants, and every result is one sum in one order.
 */
#include "op/narrow.h"

#include "op/gram.h"
#include "op/patch.h"

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
    bool gram;           /* Y's Gram matrix was made with it */
    const float *slopes; /* of that (gram.h); NULL: it has no gradient */
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

#define TERMS (IMP_NARROW_CHANNELS * 9)

/* A thread's own. Of Y made again: the patch of X, a row of Y and its mask, by panels of
 * line_of(COLUMNS) pixels; and where each term of its sum lies in the patch. */
typedef struct space {
    float *ring, *patch, *y;
    uint16_t *mask;
    size_t *offset;
} space;

static size_t ring_floats(size_t channels) {
    return 3 * channels * line_of(COLUMNS);
}

#define PATCH_FLOATS ((ROWS + 4) * (COLUMNS + 4) * IMP_NARROW_CHANNELS)

static space space_of(const job *j, int thread) {
    size_t channels = imp_round16(j->call->out.c), row = channels * line_of(COLUMNS);
    space s = {.ring = imp_call_scratch(j->call, thread)};
    if (!j->gram) return s;
    s.patch = s.ring + ring_floats(channels);
    s.y = s.patch + PATCH_FLOATS;
    s.offset = (size_t *)(void *)(s.y + row);
    s.mask = (uint16_t *)(void *)(s.offset + TERMS);
    return s;
}

void imp_narrow_need(const imp_conv_attr *a, const imp_shape *in, imp_need *need) {
    size_t channels = imp_round16(in[1].n), row = channels * line_of(COLUMNS);
    need->thread_scratch = ring_floats(channels) * sizeof(float);
    if (!a->gram) return;
    imp_shape y = {in[0].n, in[1].n, 1, 1, IMP_MAP};
    need->scratch = imp_gram_slopes(&y) * sizeof(float);
    need->thread_scratch += (PATCH_FLOATS + row) * sizeof(float) +
                            TERMS * sizeof(size_t) + row / 16 * sizeof(uint16_t);
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

static void clear_outside(const piece *p, span s, float *line) {
    memset(line, 0, s.begin * 16 * sizeof *line);
    memset(line + s.end * 16, 0, (p->columns + 2 - s.end) * 16 * sizeof *line);
}

/* One row of one panel of dY, which begins at pixel `at`, to line. */
static void copy_masked(const job *j, const piece *p, size_t at, float *line) {
    span s = span_of(j, p);
    size_t count = (s.end - s.begin) * 16;
    const float *from = j->call->dy + (at + s.from) * 16;
    clear_outside(p, s, line);
    if (j->mask)
        j->call->ctx->kernels->mask(
            count, from, j->mask + at + s.from, line + s.begin * 16, false);
    else
        memcpy(line + s.begin * 16, from, count * sizeof *line);
}

/* Row i of a piece's copy, where all of it is there; else NULL. */
static const float *next_row(const job *j, const piece *p, size_t i) {
    size_t h = source_row(j, p, i), panels = imp_round16(j->call->out.c) / 16;
    span s = span_of(j, p);
    if (!j->call->dy || i == p->rows + 2 || h == j->h || s.end - s.begin < p->columns)
        return NULL;
    return j->call->dy + ((p->sample * panels * j->h + h) * j->w + s.from) * 16;
}

/* --- with a Gram matrix --- */

/* The part of X under the rows of Y that a piece copies. */
static imp_bands patch_of(const job *j, const piece *p) {
    const imp_call *c = j->call;
    span s = span_of(j, p);
    return (imp_bands){.conv = &((const imp_conv_attr *)c->attr)->conv,
        .x = &c->in[0],
        .w = &c->in[1],
        .lanes = imp_patch_lanes(&c->in[0]),
        .wide = s.end - s.begin + 2};
}

static void copy_x(const job *j, const piece *p, const space *s) {
    imp_bands b = patch_of(j, p);
    const imp_call *c = j->call;
    ptrdiff_t first = (ptrdiff_t)p->row + j->origin;
    size_t top = clamp(first, j->h), end = clamp(first + (ptrdiff_t)p->rows + 2, j->h);
    b.high = end - top + 2;
    imp_patch_copy(&b,
        c->x[0] + p->sample * c->in[0].h * c->in[0].w * imp_lanes(&c->in[0]), top,
        span_of(j, p).from, s->patch);
    for (size_t r = 0; r < c->in[1].c * 9; r++) s->offset[r] = imp_patch_offset(&b, r);
}

/* Row h of Y, where the piece has columns of it, and its mask. */
static void make_row(const job *j, const piece *p, size_t h, const space *s) {
    const imp_call *c = j->call;
    imp_bands b = patch_of(j, p);
    size_t top = clamp((ptrdiff_t)p->row + j->origin, j->h);
    imp_direct d = {.lines = 1,
        .count = b.wide - 2,
        .terms = c->in[1].c * 9,
        .a = s->patch + (h - top) * b.wide * b.lanes,
        .offset = s->offset,
        .a_step = b.lanes,
        .relu = true};
    for (size_t q = 0; q < imp_round16(c->out.c) / 16; q++) {
        d.b = c->x[1] + q * imp_weight_depth(&c->in[1]) * 16;
        d.init = c->x[2] ? c->x[2] + q * 16 : NULL;
        d.y = s->y + q * line_of(COLUMNS) * 16;
        d.mask = s->mask + q * line_of(COLUMNS);
        c->ctx->kernels->direct(&d);
    }
}

/* dY += Y slopes, a row of the ring, its panels `step` floats apart. */
static void add_slopes(
    const job *j, size_t sample, const float *y, size_t count, float *dy, size_t step) {
    const imp_kernels *k = j->call->ctx->kernels;
    size_t panels = imp_round16(j->call->out.c) / 16;
    imp_gemm_tile t = {.taps = panels,
        .a_tap = line_of(COLUMNS) * 16,
        .b_panel = panels * 256,
        .y_row = 16,
        .y_panel = step};
    for (size_t q = 0; q < panels; q += k->nb)
        for (size_t m = 0; m < count; m += k->mr) {
            t.a = y + m * 16;
            t.b = j->slopes + (sample * panels + q) * panels * 256;
            t.y = dy + q * step + m * 16;
            t.rows = imp_least(count - m, k->mr);
            t.panels = imp_least(panels - q, k->nb);
            k->gemm(&t);
        }
}

/* Row h of dY with the gradient of the Gram matrix, masked, to a row of the ring. */
static void copy_with_gram(
    const job *j, const piece *p, size_t h, const space *s, float *to) {
    const imp_call *c = j->call;
    size_t panels = imp_round16(c->out.c) / 16, step = line_of(p->columns) * 16;
    span sp = span_of(j, p);
    size_t count = sp.end - sp.begin;
    float *inside = to + sp.begin * 16;
    make_row(j, p, h, s);
    for (size_t q = 0; q < panels; q++) {
        size_t at = ((p->sample * panels + q) * j->h + h) * j->w + sp.from;
        clear_outside(p, sp, to + q * step);
        if (c->dy)
            memcpy(inside + q * step, c->dy + at * 16, count * 16 * sizeof *to);
        else
            memset(inside + q * step, 0, count * 16 * sizeof *to);
    }
    if (j->slopes) add_slopes(j, p->sample, s->y, count, inside, step);
    for (size_t q = 0; q < panels; q++)
        c->ctx->kernels->mask(count * 16, inside + q * step,
            s->mask + q * line_of(COLUMNS), inside + q * step, false);
}

/* --- a piece --- */

/* Row i of a piece's copy. */
static void copy_row(const job *j, const piece *p, size_t i, const space *s) {
    const imp_call *c = j->call;
    size_t panels = imp_round16(c->out.c) / 16, step = line_of(p->columns) * 16;
    size_t h = source_row(j, p, i);
    float *to = s->ring + i % 3 * panels * step;
    if (h == j->h)
        memset(to, 0, panels * step * sizeof *to);
    else if (j->gram)
        copy_with_gram(j, p, h, s, to);
    else
        for (size_t q = 0; q < panels; q++)
            copy_masked(
                j, p, ((p->sample * panels + q) * j->h + h) * j->w, to + q * step);
}

static void backward_task(void *arg, size_t task, int thread) {
    const job *j = arg;
    const imp_call *c = j->call;
    piece p = piece_of(j, task);
    space s = space_of(j, thread);
    size_t panels = imp_round16(c->out.c) / 16, step = line_of(p.columns) * 16;
    imp_narrow_gradient n = {.count = p.columns,
        .channels = c->in[0].c,
        .taps = 9,
        .panels = panels,
        .w = c->x[1],
        .dx_lanes = imp_lanes(&c->in[0]),
        .tap_panel = step,
        .w_panel = imp_weight_depth(&c->in[1]) * 16,
        .next_panel = j->h * j->w * 16,
        .add = j->add};
    memset(s.ring, 0, 3 * panels * step * sizeof *s.ring);
    if (j->gram) copy_x(j, &p, &s);
    for (size_t i = 0; i < p.rows + 2; i++) {
        copy_row(j, &p, i, &s);
        if (i < 2) continue;
        for (size_t t = 0; t < n.taps; t++)
            n.tap[t] = s.ring + (i - 2 + t / 3) % 3 * panels * step + t % 3 * 16;
        n.next = next_row(j, &p, i + 1);
        n.dx = j->dx +
               ((p.sample * j->oh + p.row + i - 2) * j->ow + p.column) * n.dx_lanes;
        c->ctx->kernels->narrow_gradient(&n);
    }
}

void imp_narrow_backward(const imp_call *c, const uint16_t *mask, float *dx, bool add) {
    const imp_conv_attr *attr = c->attr;
    const imp_conv *a = &attr->conv;
    bool replicate = a->padding == IMP_PAD_REPLICATE;
    size_t border = replicate ? 2 * a->pad : 0;
    job j = {.call = c,
        .h = c->out.h,
        .w = c->out.w,
        .oh = c->in[0].h + border,
        .ow = c->in[0].w + border,
        .origin = replicate ? -2 : (ptrdiff_t)a->pad - 2,
        .mask = mask,
        .gram = attr->gram,
        .dx = dx,
        .add = add};
    j.high = imp_divide_up(j.oh, ROWS);
    j.wide = imp_divide_up(j.ow, COLUMNS);
    if (j.gram && c->dgram) {
        imp_gram_slope(c->ctx, &c->out, c->dgram, c->scratch);
        j.slopes = c->scratch;
    }
    imp_parallel(c->ctx, c->out.n * j.high * j.wide, backward_task, &j);
}
