/* SPDX-License-Identifier: MIT
 *
 * direct.c: the forward pass of a convolution of fewer than 16 channels. Packing its taps
 * would cost as much as multiplying them: the sum is over c, kh, kw without gaps, and no two
 * of its numbers lie together. So nothing is packed: a table says where each term of the sum
 * lies in a patch, from the pixel under the output, and it is the same for all outputs.
 */
#include "op/direct.h"

#include "op/patch.h"

static size_t terms_of(const imp_shape *w) {
    return w->c * w->h * w->w;
}

void imp_direct_need(
    const imp_conv *a, const imp_shape *in, const imp_shape *out, imp_need *need) {
    imp_bands b = imp_bands_of(a, in, out);
    size_t bytes = imp_patch_bytes(&b) + terms_of(&in[1]) * sizeof(size_t);
    if (need->thread_scratch < bytes) need->thread_scratch = bytes;
}

typedef struct job {
    const imp_call *c;
    imp_bands bands;
} job;

static void band_task(void *arg, size_t task, int thread) {
    const job *j = arg;
    const imp_call *c = j->c;
    const imp_bands *b = &j->bands;
    const imp_conv_attr *a = c->attr;
    const imp_shape *x = &c->in[0], *w = &c->in[1], *y = &c->out;
    size_t n = task / b->down / b->across, panels = imp_round16(y->c) / 16;
    size_t top = task / b->across % b->down * b->rows;
    size_t left = task % b->across * b->columns;
    float *patch = imp_call_scratch(c, thread);
    size_t *offset = (size_t *)(void *)((char *)patch + imp_patch_bytes(b));
    imp_patch_copy(b, c->x[0] + n * x->h * x->w * 16, top, left, patch);
    for (size_t r = 0; r < terms_of(w); r++) offset[r] = imp_patch_offset(b, r);

    imp_direct d = {.lines = imp_least(b->rows, y->h - top),
        .count = imp_least(b->columns, y->w - left),
        .terms = terms_of(w),
        .a = patch,
        .offset = offset,
        .a_line = b->wide * 16 * b->conv->stride,
        .a_step = 16 * b->conv->stride,
        .y_line = y->w * 16,
        .relu = a->relu,
        .mask_line = y->w,
        .stream = imp_blocked_count(*y) * sizeof(float) > IMP_STREAM_BYTES};
    for (size_t panel = 0; panel < panels; panel++) {
        size_t pixel = ((n * panels + panel) * y->h + top) * y->w + left;
        d.b = c->x[1] + panel * imp_weight_depth(w) * 16;
        d.init = c->x[2] ? c->x[2] + panel * 16 : NULL;
        d.y = c->y + pixel * 16;
        d.mask = a->relu && c->saved ? (uint16_t *)c->saved + pixel : NULL;
        c->ctx->kernels->direct(&d);
    }
}

void imp_direct_forward(const imp_call *c) {
    job j = {c, imp_bands_of(&((const imp_conv_attr *)c->attr)->conv, c->in, &c->out)};
    imp_parallel(c->ctx, c->out.n * j.bands.down * j.bands.across, band_task, &j);
}
