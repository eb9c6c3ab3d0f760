/* SPDX-License-Identifier: MIT
 *
 * direct.c: the forward pass of a convolution of fewer than 16 channels. Packing its taps
 * would cost as much as multiplying them: the sum is over c, kh, kw without gaps, and no two
 * of its numbers lie together. So nothing is packed: a table says where each term of the sum
 * lies in a patch, from the pixel under the output, and it is the same for all outputs.
 */
#include "op/direct.h"

#include "op/gram.h"
#include "op/patch.h"

#include <string.h>

/* Where the Gram matrix of y is wanted, a task has several bands: the sums of a task are a part of
 * it (gram.h), and there are PARTS at most of a sample. Else it has one. */
#define PARTS 32

static size_t terms_of(const imp_shape *w) {
    return w->c * w->h * w->w;
}

static size_t band_count(const imp_bands *b) { /* of a sample */
    return b->down * b->across;
}

static size_t parts_of(const imp_bands *b, bool gram) {
    return gram ? imp_least(band_count(b), PARTS) : band_count(b);
}

/* Bytes of a thread's patch: what comes behind it begins a line. */
static size_t patch_bytes(const imp_bands *b) {
    return imp_round64(imp_patch_bytes(b));
}

/* Floats of a band of y, of one panel. */
static size_t aside_panel(const imp_bands *b) {
    return b->rows * b->columns * 16;
}

void imp_direct_need(
    const imp_conv_attr *a, const imp_shape *in, const imp_shape *out, imp_need *need) {
    imp_bands b = imp_bands_of(&a->conv, in, out);
    size_t bytes = patch_bytes(&b) + terms_of(&in[1]) * sizeof(size_t);
    if (a->gram) {
        size_t sums = out->n * parts_of(&b, true) * imp_gram_sums(out) * sizeof(double);
        bytes += imp_round16(out->c) / 16 * aside_panel(&b) * sizeof(float);
        if (need->scratch < sums) need->scratch = sums;
    }
    if (need->thread_scratch < bytes) need->thread_scratch = bytes;
}

typedef struct job {
    const imp_call *c;
    imp_bands bands;
    size_t parts;
} job;

/* A thread's own: the patch, y of the band once more, where each term lies in the patch. */
typedef struct space {
    float *patch, *aside;
    size_t *offset;
} space;

static space space_of(const job *j, int thread) {
    space s = {.patch = imp_call_scratch(j->c, thread)};
    size_t panels = j->c->gram ? imp_round16(j->c->out.c) / 16 : 0;
    s.aside = s.patch + patch_bytes(&j->bands) / sizeof(float);
    s.offset = (size_t *)(void *)(s.aside + panels * aside_panel(&j->bands));
    return s;
}

/* Band `band` of sample n. */
static void make_band(
    const job *j, size_t n, size_t band, const space *s, double *sums) {
    const imp_call *c = j->c;
    const imp_bands *b = &j->bands;
    const imp_conv_attr *a = c->attr;
    const imp_shape *x = &c->in[0], *w = &c->in[1], *y = &c->out;
    size_t panels = imp_round16(y->c) / 16;
    size_t top = band / b->across * b->rows, left = band % b->across * b->columns;
    imp_patch_copy(b, c->x[0] + n * x->h * x->w * imp_lanes(x), top, left, s->patch);
    imp_direct d = {.lines = imp_least(b->rows, y->h - top),
        .count = imp_least(b->columns, y->w - left),
        .terms = terms_of(w),
        .a = s->patch,
        .offset = s->offset,
        .a_line = b->wide * b->lanes * b->conv->stride,
        .a_step = b->lanes * b->conv->stride,
        .y_line = y->w * 16,
        .relu = a->relu,
        .mask_line = y->w,
        .stream = imp_blocked_count(*y) * sizeof(float) > IMP_STREAM_BYTES};
    d.aside_line = d.count * 16;
    for (size_t panel = 0; panel < panels; panel++) {
        size_t pixel = ((n * panels + panel) * y->h + top) * y->w + left;
        d.b = c->x[1] + panel * imp_weight_depth(w) * 16;
        d.init = c->x[2] ? c->x[2] + panel * 16 : NULL;
        d.y = c->y + pixel * 16;
        d.mask = a->relu && c->saved ? (uint16_t *)c->saved + pixel : NULL;
        d.aside = c->gram ? s->aside + panel * aside_panel(b) : NULL;
        c->ctx->kernels->direct(&d);
    }
    if (c->gram)
        imp_gram_sum(
            c->ctx->kernels, y, s->aside, aside_panel(b), d.lines * d.count, sums);
}

static void bands_task(void *arg, size_t task, int thread) {
    const job *j = arg;
    space s = space_of(j, thread);
    size_t n = task / j->parts, part = task % j->parts, all = band_count(&j->bands);
    for (size_t r = 0; r < terms_of(&j->c->in[1]); r++)
        s.offset[r] = imp_patch_offset(&j->bands, r);
    double *sums = NULL;
    if (j->c->gram) {
        size_t numbers = imp_gram_sums(&j->c->out);
        sums = (double *)j->c->scratch + task * numbers;
        memset(sums, 0, numbers * sizeof *sums);
    }
    for (size_t band = part * all / j->parts; band < (part + 1) * all / j->parts;
         band++)
        make_band(j, n, band, &s, sums);
}

void imp_direct_forward(const imp_call *c) {
    const imp_conv_attr *a = c->attr;
    job j = {c, imp_bands_of(&a->conv, c->in, &c->out), 0};
    j.parts = parts_of(&j.bands, c->gram != NULL);
    imp_parallel(c->ctx, c->out.n * j.parts, bands_task, &j);
    if (c->gram) imp_gram_join(c->ctx, &c->out, j.parts, c->scratch, c->gram);
}
