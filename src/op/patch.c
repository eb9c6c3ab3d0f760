/* SPDX-License-Identifier: MIT */
#include "op/patch.h"

#include <string.h>

#define BAND_FLOATS  ((size_t)1 << 15) /* under a band, at 16 a pixel: 128 KiB, or 32 */
#define BAND_COLUMNS ((size_t)256)

size_t imp_patch_lanes(const imp_shape *x) {
    return x->c <= IMP_PICTURE_LANES ? IMP_PICTURE_LANES : IMP_LANES;
}

imp_bands imp_bands_of(const imp_conv *a, const imp_shape *in, const imp_shape *out) {
    imp_bands b = {.conv = a, .x = &in[0], .w = &in[1]};
    b.lanes = imp_patch_lanes(&in[0]);
    b.across = imp_divide_up(out->w, BAND_COLUMNS);
    b.columns = imp_divide_up(out->w, b.across);
    b.wide = (b.columns - 1) * a->stride + b.w->w;
    size_t fit = BAND_FLOATS / (b.wide * 16); /* rows of a patch */
    size_t most = fit > b.w->h ? (fit - b.w->h) / a->stride + 1 : 1;
    b.down = imp_divide_up(out->h, most);
    b.rows = imp_divide_up(out->h, b.down);
    b.high = (b.rows - 1) * a->stride + b.w->h;
    return b;
}

size_t imp_patch_bytes(const imp_bands *b) {
    return b->high * b->wide * b->lanes * sizeof(float);
}

/* The pixel under padded coordinate i of a side of n; n: none, zero. */
static size_t pixel_of(const imp_conv *a, size_t i, size_t n) {
    if (i >= a->pad && i - a->pad < n) return i - a->pad;
    if (a->padding == IMP_PAD_ZERO) return n;
    return i < a->pad ? 0 : n - 1;
}

/* `wide` pixels from padded column `left` on, of a row of n. */
static void copy_row(const imp_bands *b, const float *x, size_t left, float *to) {
    size_t n = b->x->w, lanes = b->lanes, step = imp_lanes(b->x);
    for (size_t j = 0; j < b->wide;) {
        size_t i = left + j, from = pixel_of(b->conv, i, n), run = 1;
        if (i >= b->conv->pad && from < n) run = imp_least(b->wide - j, n - from);
        if (from == n)
            memset(to + j * lanes, 0, lanes * sizeof *to);
        else if (lanes == step)
            memcpy(to + j * lanes, x + from * lanes, run * lanes * sizeof *to);
        else
            for (size_t k = 0; k < run; k++)
                memcpy(to + (j + k) * IMP_PICTURE_LANES, x + (from + k) * step,
                    IMP_PICTURE_LANES * sizeof *to);
        j += run;
    }
}

void imp_patch_copy(
    const imp_bands *b, const float *map, size_t top, size_t left, float *patch) {
    const imp_shape *s = b->x;
    size_t row = b->wide * b->lanes, stride = b->conv->stride;
    for (size_t i = 0; i < b->high; i++, patch += row) {
        size_t h = pixel_of(b->conv, top * stride + i, s->h);
        if (h == s->h)
            memset(patch, 0, row * sizeof *patch);
        else
            copy_row(b, map + h * s->w * imp_lanes(s), left * stride, patch);
    }
}

size_t imp_patch_offset(const imp_bands *b, size_t r) {
    size_t taps = b->w->h * b->w->w, channel, tap;
    if (b->w->c < 16) /* c, kh, kw */
        channel = r / taps, tap = r % taps;
    else /* kh, kw, 16 channels */
        channel = r % 16, tap = r / 16;
    if (b->w->c < 16 && channel >= b->w->c) return 0;
    return (tap / b->w->w * b->wide + tap % b->w->w) * b->lanes + channel;
}
