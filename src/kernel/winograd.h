/* SPDX-License-Identifier: MIT
 *
 * winograd.h: the three transforms of an r x r convolution by Winograd's F(m x m, r x r),
 * m = 4, 6 or 8 for r = 3, m = 4 for r = 5 (docs/winograd.md). A tile of m x m outputs is made
 * from n x n inputs, n = m + r - 1; xi = 0 .. n n - 1 counts the numbers of a transformed tile:
 *
 *     V[xi] = (B' d B)[xi]     input    d: n x n inputs of one channel
 *     U[xi] = (G g G')[xi]     weights  g: r x r
 *     M[xi] = sum over the input channels of U[xi] V[xi]: a matrix product for each xi
 *     y     = A' M A           output   m x m
 *
 * All arrays are blocked by 16 channels; one call works on one block.
 */
#ifndef IMP_WINOGRAD_KERNEL_H
#define IMP_WINOGRAD_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code of a pooling window whose maximum was not above zero: ReLU lets nothing back. */
#define IMP_POOL_DEAD 4

/* Tiles first .. first+count-1 of a plane of h x w pixels (of one sample, 16 channels), row
 * by row, `wide` tiles a row. */
typedef struct imp_winograd_tiles {
    size_t h, w, wide, first, count;
} imp_winograd_tiles;

/* Tile (i, j) begins at pixel (i m + origin, j m + origin). Outside the plane is 0, or the
 * nearest pixel. */
typedef struct imp_winograd_input {
    imp_winograd_tiles tiles;
    const float *x; /* h, w, 16; with position: h/2, w/2, 16 */
    /* A gradient may come masked. mask: bit l of a pixel's word: channel l is let through.
     * position: x is the gradient of a 2 x 2 maximum: a byte for each of its elements,
     * 2 (row in the window) + column, or IMP_POOL_DEAD. NULL: absent. */
    const uint16_t *mask;
    const uint8_t *position;
    ptrdiff_t origin;
    bool replicate;
    /* Row r = row + tile - first of V: v[xi * v_xi + r / group * v_group + r % group * 16] */
    float *v;
    size_t v_xi, group, v_group, row;
} imp_winograd_input;

/* u[xi * u_xi + i*16 + o] from g[(r row + column) * 256 + i*16 + o]; flip: g turned by half
 * a turn, as the gradient by the input wants it. */
typedef struct imp_winograd_weights {
    const float *g;
    bool flip;
    float *u;
    size_t u_xi;
} imp_winograd_weights;

/* The plane is of outputs: h x w; pool: y has h/2 x w/2. */
typedef struct imp_winograd_output {
    imp_winograd_tiles tiles;
    const float *m; /* m[xi * m_xi + (tile - first) * 16] */
    size_t m_xi;
    const float *bias; /* 16, or NULL */
    float *y;
    uint16_t *mask;    /* relu without pool: y > 0; NULL: not wanted */
    uint8_t *position; /* pool: as above; NULL: not wanted */
    bool add;          /* y +=; without relu and pool */
    bool relu, pool;   /* pool: after relu */
    bool stream;       /* y goes past the caches; without add and pool */
} imp_winograd_output;

/* dg[(r row + column) * 256 + i*16 + o] (+)= (G' U G), u[xi * u_xi + i*16 + o]. */
typedef struct imp_winograd_fold {
    const float *u;
    size_t u_xi;
    float *dg;
    bool add;
} imp_winograd_fold;

#endif
