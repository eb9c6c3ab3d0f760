/* SPDX-License-Identifier: MIT
 *
 * winograd.h: a 3 x 3 or 5 x 5 convolution with stride 1 by Winograd's algorithm, as
 * conv2d's forward and its gradient by the input need it.
 */
#ifndef IMP_WINOGRAD_H
#define IMP_WINOGRAD_H

#include "op/op.h"

/* y(k, i, j) = bias(k) + sum over c, kh, kw of w(k, c, kh, kw) x(c, i + kh + origin, ...) */
typedef struct imp_winograd {
    size_t samples;
    size_t c, h, w;   /* of x */
    size_t k, oh, ow; /* of y, before pooling */
    ptrdiff_t origin; /* of the first output's window: minus the padding */
    bool replicate;
    const float *x;
    const uint16_t *mask;    /* x is a gradient, masked by ReLU; or NULL */
    const uint8_t *position; /* x is the gradient of the pooled map; or NULL */
    const imp_shape *weights_shape;
    const float *weights; /* in panels */
    bool backward; /* weights transposed, and turned by half a turn: x is dY, y is dX */
    const float *bias; /* or NULL */
    float *y;
    uint16_t *y_mask;
    uint8_t *y_position;
    bool add, relu, pool;
} imp_winograd;

/* Whether there is a tile for such a kernel. */
bool imp_winograd_fits(const imp_conv *a, const imp_shape *weights);
/* Outputs of a tile: 4 or 6; 0 where the direct sum is the cheaper. */
size_t imp_winograd_tile(const imp_ctx *ctx, const imp_winograd *p);
/* Adds to need->scratch and need->thread_scratch what a run takes: their maximum. */
void imp_winograd_need(const imp_ctx *ctx, const imp_winograd *p, imp_need *need);
void imp_winograd_run(const imp_call *c, const imp_winograd *p);

/* Tiles are numbered through all samples, `tiles` each; a kernel knows one sample. Of tiles
 * first .. +count, those of the first one's sample, by its own numbers. */
typedef struct imp_tile_run {
    size_t sample, first, count;
} imp_tile_run;
static inline imp_tile_run imp_tile_run_of(size_t first, size_t count, size_t tiles) {
    size_t own = first % tiles;
    return (imp_tile_run){first / tiles, own, imp_least(tiles - own, count)};
}

#endif
