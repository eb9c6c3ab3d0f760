/* SPDX-License-Identifier: MIT
 *
 * patch.h: a convolution's outputs in bands, and the part of Xpad under a band as a patch:
 * a copy, border and all, that stays in the cache and is then read without a question.
 */
#ifndef IMP_PATCH_H
#define IMP_PATCH_H

#include "op/op.h"

typedef struct imp_bands {
    const imp_conv *conv;
    const imp_shape *x, *w;
    size_t rows, columns; /* outputs of a band; at the edges there may be fewer */
    size_t high, wide;    /* pixels of its patch, */
    size_t
        lanes; /* and floats of a pixel: as a picture's where x has so few channels */
    size_t down, across; /* bands of a sample */
} imp_bands;

size_t imp_patch_lanes(const imp_shape *x);
imp_bands imp_bands_of(const imp_conv *a, const imp_shape *in, const imp_shape *out);
size_t imp_patch_bytes(const imp_bands *b);
/* Under the band whose first output is (top, left), from a block of x's channels. */
void imp_patch_copy(
    const imp_bands *b, const float *map, size_t top, size_t left, float *patch);
/* Where index r of the reduction (of base.h's order, one block of channels) reads, from
 * the pixel of the patch under an output; 0 for filling. */
size_t imp_patch_offset(const imp_bands *b, size_t r);

#endif
