/* SPDX-License-Identifier: MIT */
#include "base/base.h"

#include <string.h>

/* The counts are SIZE_MAX where they do not fit: no memory of that size is ever got. */
static size_t product(size_t a, size_t b, size_t c, size_t d) {
    size_t n;
    if (!imp_mul(&n, a, b) || !imp_mul(&n, n, c) || !imp_mul(&n, n, d)) return SIZE_MAX;
    return n;
}

size_t imp_plain_count(imp_shape s) {
    return product(s.n, s.c, s.h, s.w);
}

size_t imp_blocked_count(imp_shape s) {
    /* A quarter of the range leaves room for every rounding up below. */
    const size_t most = SIZE_MAX / 4;
    if (s.n > most || s.c > most) return SIZE_MAX;
    if (s.layout == IMP_MAP) return product(s.n, imp_round16(s.c), s.h, s.w);
    if (s.layout == IMP_PICTURE) return product(s.n, IMP_PICTURE_LANES, s.h, s.w);
    if (product(s.c, s.h, s.w, 1) > most / 16) return SIZE_MAX;
    return product(imp_round16(s.n), imp_weight_depth(&s), 1, 1);
}

/* One block: c <= 16 planes of hw pixels to hw groups of 16. */
static void block_pixels(size_t hw, size_t c, const float *plain, float *blocked) {
    if (c == IMP_LANES) { /* a constant bound, for the compiler */
        for (size_t p = 0; p < hw; p++)
            for (size_t l = 0; l < IMP_LANES; l++)
                blocked[p * IMP_LANES + l] = plain[l * hw + p];
        return;
    }
    memset(blocked, 0, hw * IMP_LANES * sizeof *blocked);
    for (size_t p = 0; p < hw; p++)
        for (size_t l = 0; l < c; l++) blocked[p * IMP_LANES + l] = plain[l * hw + p];
}

static void picture_to_blocked(imp_shape s, const float *plain, float *blocked) {
    size_t hw = s.h * s.w;
    memset(blocked, 0, s.n * hw * IMP_PICTURE_LANES * sizeof *blocked);
    for (size_t n = 0; n < s.n; n++)
        for (size_t c = 0; c < s.c; c++)
            for (size_t p = 0; p < hw; p++)
                blocked[(n * hw + p) * IMP_PICTURE_LANES + c] =
                    plain[(n * s.c + c) * hw + p];
}

static void picture_from_blocked(imp_shape s, const float *blocked, float *plain) {
    size_t hw = s.h * s.w;
    for (size_t n = 0; n < s.n; n++)
        for (size_t c = 0; c < s.c; c++)
            for (size_t p = 0; p < hw; p++)
                plain[(n * s.c + c) * hw + p] =
                    blocked[(n * hw + p) * IMP_PICTURE_LANES + c];
}

static size_t lanes(size_t c, size_t first) {
    return c - first < IMP_LANES ? c - first : IMP_LANES;
}

static void map_to_blocked(imp_shape s, const float *plain, float *blocked) {
    size_t hw = s.h * s.w;
    for (size_t n = 0; n < s.n; n++)
        for (size_t c = 0; c < s.c; c += IMP_LANES)
            block_pixels(hw, lanes(s.c, c), plain + (n * s.c + c) * hw,
                blocked + imp_map_offset(&s, n, c, 0, 0));
}

static void map_from_blocked(imp_shape s, const float *blocked, float *plain) {
    size_t hw = s.h * s.w;
    for (size_t n = 0; n < s.n; n++)
        for (size_t c = 0; c < s.c; c += IMP_LANES) {
            const float *from = blocked + imp_map_offset(&s, n, c, 0, 0);
            float *to = plain + (n * s.c + c) * hw;
            for (size_t l = 0; l < lanes(s.c, c); l++)
                for (size_t p = 0; p < hw; p++)
                    to[l * hw + p] = from[p * IMP_LANES + l];
        }
}

/* Where index r of the reduction lies among one output's I x KH x KW plain weights;
 * SIZE_MAX where it is filling. The inverse of imp_weight_offset. */
static size_t weight_of(const imp_shape *s, size_t r) {
    size_t taps = s->h * s->w;
    if (s->c < IMP_LANES) return r < s->c * taps ? r : SIZE_MAX;
    size_t tap = r / IMP_LANES, i = tap / taps * IMP_LANES + r % IMP_LANES;
    return i < s->c ? i * taps + tap % taps : SIZE_MAX;
}

static void weight_to_blocked(imp_shape s, const float *plain, float *blocked) {
    size_t depth = imp_weight_depth(&s), inputs = s.c * s.h * s.w;
    for (size_t o = 0; o < s.n; o += IMP_LANES) {
        size_t n = lanes(s.n, o);
        for (size_t r = 0; r < depth; r++, blocked += IMP_LANES) {
            size_t from = weight_of(&s, r);
            memset(blocked, 0, IMP_LANES * sizeof *blocked);
            if (from == SIZE_MAX) continue;
            for (size_t l = 0; l < n; l++) blocked[l] = plain[(o + l) * inputs + from];
        }
    }
}

static void weight_from_blocked(imp_shape s, const float *blocked, float *plain) {
    size_t depth = imp_weight_depth(&s), inputs = s.c * s.h * s.w;
    for (size_t o = 0; o < s.n; o += IMP_LANES) {
        size_t n = lanes(s.n, o);
        for (size_t r = 0; r < depth; r++, blocked += IMP_LANES) {
            size_t to = weight_of(&s, r);
            if (to == SIZE_MAX) continue;
            for (size_t l = 0; l < n; l++) plain[(o + l) * inputs + to] = blocked[l];
        }
    }
}

void imp_to_blocked(imp_shape shape, const float *plain, float *blocked) {
    if (shape.layout == IMP_MAP)
        map_to_blocked(shape, plain, blocked);
    else if (shape.layout == IMP_PICTURE)
        picture_to_blocked(shape, plain, blocked);
    else
        weight_to_blocked(shape, plain, blocked);
}

void imp_from_blocked(imp_shape shape, const float *blocked, float *plain) {
    if (shape.layout == IMP_MAP)
        map_from_blocked(shape, blocked, plain);
    else if (shape.layout == IMP_PICTURE)
        picture_from_blocked(shape, blocked, plain);
    else
        weight_from_blocked(shape, blocked, plain);
}

imp_status imp_picture_new(
    imp_ctx *ctx, imp_picture *out, size_t width, size_t height) {
    *out = (imp_picture){0};
    if (!width || !height)
        return imp_fail(ctx, IMP_ERR_ARG,
            "picture: size: expected at least 1 x 1, found %zu x %zu", width, height);
    size_t bytes;
    if (!imp_mul(&bytes, width, height) || !imp_mul(&bytes, bytes, 3 * sizeof(float)))
        return imp_fail(ctx, IMP_ERR_LIMIT,
            "picture: %zu x %zu pixels are more than this machine can address", width,
            height);
    float *planes = imp_alloc(bytes);
    if (!planes)
        return imp_fail(ctx, IMP_ERR_LIMIT,
            "picture: no memory for %zu x %zu pixels (%zu bytes)", width, height,
            bytes);
    *out = (imp_picture){.width = width, .height = height, .planes = planes};
    return IMP_OK;
}

void imp_picture_free(imp_picture *picture) {
    if (!picture) return;
    imp_release(picture->planes);
    *picture = (imp_picture){0};
}
