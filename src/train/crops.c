/* SPDX-License-Identifier: MIT
 *
 * crops.c: squares of pictures, changed as the features will meet them: at any scale, mirrored;
 * and as a picture is while it is painted: noisy, two pictures in one, of other colours. Every
 * draw is a function of seed, stream, batch and place in it.
 */
#include "train/train.h"

#include <stdlib.h>

#define HELD_OUT 20 /* one picture of so many is held out */

/* Of three changed crops one gets noise; of nine, four are mixtures and two of other colours. */
#define NOISE   (3.0 / 9)
#define MIXTURE (7.0 / 9)
/* Painted pictures leave 0..255, but not by far. */
#define LOWEST  -20.0f
#define HIGHEST 275.0f

typedef struct draws {
    uint64_t seed, next;
} draws;

static double uniform(draws *d, double low, double high) {
    return low + (high - low) * imp_uniform(d->seed, d->next++);
}

static size_t below(draws *d, size_t n) {
    return (size_t)uniform(d, 0, (double)n);
}

/* The number of a picture: of those held out, or of the others. */
static size_t draw_photo(draws *d, size_t count, bool held_out) {
    size_t held = imp_divide_up(count, HELD_OUT);
    if (held_out) return below(d, held) * HELD_OUT;
    size_t i = below(d, count - held);
    return i / (HELD_OUT - 1) * HELD_OUT + i % (HELD_OUT - 1) + 1;
}

/* A square of the photo as planes R, G, B. */
static void cut(const imp_photo *photo, size_t top, size_t left, size_t side, bool flip,
    float *planes) {
    for (size_t c = 0; c < 3; c++)
        for (size_t y = 0; y < side; y++) {
            const uint8_t *from = photo->rgb + ((top + y) * photo->width + left) * 3;
            float *row = planes + (c * side + y) * side;
            for (size_t x = 0; x < side; x++)
                row[flip ? side - 1 - x : x] = (float)from[3 * x + c];
        }
}

/* Most crops show more than side x side pixels of their picture, brought to that size. */
static imp_status draw_crop(
    imp_ctx *ctx, const imp_crops *c, bool held_out, draws *d, float *planes) {
    imp_photo photo = {0};
    size_t i = draw_photo(d, c->photos->count, held_out);
    if (!c->photos->read(c->photos->user, i, &photo) || !photo.rgb || !photo.width ||
        !photo.height)
        return imp_fail(ctx, IMP_ERR_DATA, "picture %zu: cannot be read", i);
    size_t most = imp_least(photo.width, photo.height), side = imp_least(c->side, most);
    if (uniform(d, 0, 1) < 0.6) side += below(d, most - side + 1);
    size_t top = below(d, photo.height - side + 1);
    size_t left = below(d, photo.width - side + 1);
    bool flip = uniform(d, 0, 1) < 0.5;
    if (side == c->side) {
        cut(&photo, top, left, side, flip, planes);
        return IMP_OK;
    }
    float *square = malloc(3 * side * side * sizeof *square);
    if (!square) return imp_fail(ctx, IMP_ERR_LIMIT, "crops: no memory");
    cut(&photo, top, left, side, flip, square);
    imp_status s =
        imp_resize(ctx, planes, c->side, c->side, square, 3, side, side, IMP_BICUBIC);
    free(square);
    return s;
}

static void add_noise(draws *d, float *planes, size_t count) {
    double deviation = uniform(d, 2, 40);
    uint64_t seed = imp_random(d->seed, d->next++);
    for (size_t i = 0; i < count; i++)
        planes[i] += (float)(deviation * imp_normal(seed, i));
}

static void change_colours(draws *d, float *planes, size_t pixels) {
    float contrast = (float)uniform(d, 0.4, 1.6);
    uint64_t seed = imp_random(d->seed, d->next++);
    for (size_t c = 0; c < 3; c++, planes += pixels) {
        float shift = (float)(20 * imp_normal(seed, c));
        for (size_t i = 0; i < pixels; i++)
            planes[i] = (planes[i] - 128.0f) * contrast + 128.0f + shift;
    }
}

static imp_status mix(imp_ctx *ctx, const imp_crops *c, bool held_out, draws *d,
    float *planes, float *other) {
    imp_status s = draw_crop(ctx, c, held_out, d, other);
    float share = (float)uniform(d, 0, 1);
    for (size_t i = 0; i < 3 * c->side * c->side && !s; i++)
        planes[i] = share * planes[i] + (1.0f - share) * other[i];
    return s;
}

imp_status imp_crops_batch(
    imp_ctx *ctx, const imp_crops *c, imp_stream stream, size_t number, float *out) {
    size_t pixels = c->side * c->side, count = 3 * pixels;
    float *planes = malloc(2 * count * sizeof *planes);
    imp_status s = IMP_OK;
    if (!planes) return imp_fail(ctx, IMP_ERR_LIMIT, "crops: no memory");
    uint64_t seed = imp_random(imp_random(c->seed, stream), number);
    for (size_t i = 0; i < c->batch && !s; i++, out += count) {
        draws d = {imp_random(seed, i), 0};
        bool held_out = stream == IMP_HELD_OUT;
        s = draw_crop(ctx, c, held_out, &d, planes);
        double kind =
            uniform(&d, 0, 1) / c->changed; /* 0 to 1: of those to be changed */
        if (s) break;
        if (kind < NOISE)
            add_noise(&d, planes, count);
        else if (kind < MIXTURE)
            s = mix(ctx, c, held_out, &d, planes, planes + count);
        else if (kind < 1)
            change_colours(&d, planes, pixels);
        for (size_t k = 0; k < count; k++)
            planes[k] = planes[k] < LOWEST    ? LOWEST
                        : planes[k] > HIGHEST ? HIGHEST
                                              : planes[k];
        imp_input_from_rgb(c->spec, pixels, planes, out);
    }
    free(planes);
    return s;
}
