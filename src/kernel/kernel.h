/* SPDX-License-Identifier: MIT
 *
 * kernel.h: the table of inner loops, one for each level of instructions. A kernel is one
 * thread's, allocates nothing and cannot fail. Arrays are blocked by 16 floats.
 */
#ifndef IMP_KERNEL_H
#define IMP_KERNEL_H

#include "base/base.h"
#include "kernel/narrow.h"
#include "kernel/winograd.h"

#define IMP_MAX_MR   14 /* rows of the largest register tile */
#define IMP_MAX_NB   2  /* panels (of 16 columns) of the largest register tile */
#define IMP_SUM_TAPS 4  /* of a product, summed before they are added to y */

/* One register tile of a matrix product: at most mr rows, at most nb panels of 16 columns.
 *   y[m, j] = (init ? init[j] : y[m, j]) + sum over r < 16 taps of a(m, r) b(r, j)
 * a(m, r) = a[r/16 * a_tap + m*16 + r%16]; b(r, j) = b[j/16 * b_panel + r*16 + j%16];
 * y(m, j) = y[j/16 * y_panel + m * y_row + j%16]. One order everywhere: r
 * ascends, and IMP_SUM_TAPS taps at a time are summed and then added to y, since a long
 * running sum rounds worse than several short ones. */
typedef struct imp_gemm_tile {
    const float *a, *b, *init;
    float *y;
    size_t rows, panels, taps, a_tap, b_panel, y_row, y_panel;
    /* next[r/16 * next_tap + m*16] is wanted soon: avx512 fetches it meanwhile. May be NULL. */
    const float *next;
    size_t next_tap;
} imp_gemm_tile;

/* Sums of outer products, over lines of pixels:
 *   g[i*16 + j] = (add ? g : 0) + sum over lines and p < count of a(line, p, i) b(line, p, j)
 * a(line, p, i) = a[offset[i] + line * a_line + p * a_step];
 * b(line, p, j) = b[line * b_line + p*16 + j]; i, j < 16. */
typedef struct imp_correlation {
    size_t lines, count;
    const float *a, *b;
    const size_t *offset; /* 16 */
    size_t a_line, a_step, b_line;
    float *g;
    bool add;
} imp_correlation;

/* A convolution read from where its numbers lie:
 *   y[line * y_line + p*16 + j] = init[j] + sum over r < terms of
 *                                 a[offset[r] + line * a_line + p * a_step] b[r*16 + j] */
typedef struct imp_direct {
    size_t lines, count, terms;
    const float *a, *b, *init; /* init NULL: 0 */
    const size_t *offset;
    size_t a_line, a_step;
    float *y;
    size_t y_line;
    bool relu;      /* of y; and where mask is not NULL, */
    uint16_t *mask; /* bit j of mask[line * mask_line + p]: y > 0 */
    size_t mask_line;
    bool stream;  /* y goes past the caches */
    float *aside; /* y once more, as it is used next; NULL: not wanted */
    size_t aside_line;
} imp_direct;

/* What is written to a map of more than this is in no cache when the map is read. */
#define IMP_STREAM_BYTES ((size_t)8 << 20)

typedef struct imp_kernels {
    const char *name;
    size_t mr, nb; /* the largest tile: rows, panels */
    void (*gemm)(const imp_gemm_tile *t);
    /* g[i*16 + j] = (add ? g : 0) + sum over p < count of a[p*a_step + i] b[p*b_step + j].
     * next[p*16], which is wanted soon, is fetched meanwhile; NULL: nothing is. */
    void (*outer)(size_t count, const float *a, size_t a_step, const float *b,
        size_t b_step, const float *next, float *g, bool add);
    void (*correlate)(const imp_correlation *s);
    void (*direct)(const imp_direct *d);
    void (*narrow_gradient)(const imp_narrow_gradient *n);
    /* Winograd's transforms, F(4x4, 3x3), F(6x6, 3x3), F(8x8, 3x3), and, 5, F(4x4, 5x5). */
    void (*winograd_input5)(const imp_winograd_input *in);
    void (*winograd_input4)(const imp_winograd_input *in);
    void (*winograd_input6)(const imp_winograd_input *in);
    void (*winograd_input8)(const imp_winograd_input *in);
    void (*winograd_weights5)(const imp_winograd_weights *w);
    void (*winograd_weights4)(const imp_winograd_weights *w);
    void (*winograd_weights6)(const imp_winograd_weights *w);
    void (*winograd_weights8)(const imp_winograd_weights *w);
    void (*winograd_output5)(const imp_winograd_output *out);
    void (*winograd_output4)(const imp_winograd_output *out);
    void (*winograd_output6)(const imp_winograd_output *out);
    void (*winograd_output8)(const imp_winograd_output *out);
    /* Of the gradient by the weights: winograd_dw.inc.h. */
    void (*winograd_gradient5)(const imp_winograd_input *in);
    void (*winograd_gradient4)(const imp_winograd_input *in);
    void (*winograd_fold5)(const imp_winograd_fold *f);
    void (*winograd_fold4)(const imp_winograd_fold *f);
    /* Vector work on n floats, n a multiple of 16. mask: one bit a float, 16 to a word. */
    void (*relu)(
        size_t n, const float *x, float *y, uint16_t *mask); /* mask may be NULL */
    void (*mask)(size_t n, const float *dy, const uint16_t *mask, float *dx, bool add);
    /* Maxima of 2 x 2 windows of 16 channels: n of two rows of pixels. position, a byte for
     * each: 2 (row in the window) + column of the first one; NULL: not wanted. Backward,
     * what they give to row 0 or 1 of their windows. */
    void (*max2)(
        size_t n, const float *top, const float *bottom, float *y, uint8_t *position);
    void (*unmax2)(size_t n, const float *dy, const uint8_t *position, unsigned row,
        float *dx, bool add);
    void (*add)(size_t n, const float *a, const float *b, float *y);
    void (*axpy)(size_t n, float alpha, const float *x, float *y);  /* y += alpha x */
    void (*scale)(size_t n, float alpha, const float *x, float *y); /* y = alpha x */
    /* Sums over n floats, in double: 16 lanes, then a fixed tree. */
    double (*dot)(size_t n, const float *a, const float *b);
    double (*distance)(size_t n, const float *a, const float *b); /* sum (a-b)^2 */
    /* dx (+)= alpha (a - b) */
    void (*difference)(
        size_t n, float alpha, const float *a, const float *b, float *dx, bool add);
    void (*sgd)(
        size_t n, float *x, float *v, const float *g, float rate, float momentum);
    /* x <- x - rate c1 m / (sqrt(c2 v) + eps), c1 = 1/(1-b1^t), c2 = 1/(1-b2^t) */
    void (*adam)(size_t n, float *x, float *m, float *v, const float *g, float rate,
        float b1, float b2, float eps, float c1, float c2);
} imp_kernels;

/* The table of a level; the generic one where that level is not built in. */
const imp_kernels *imp_kernels_for(imp_cpu cpu);

/* --- packed matrix product, one thread's share: gemm.c --- */

/* Pack rows row0 .. row0+rows-1, taps tap0 .. tap0+taps-1 of the left side:
 * a[(tap - tap0) * a_tap + (row - row0) * 16 + r]. */
typedef void (*imp_pack_fn)(const void *source, size_t row0, size_t rows, size_t tap0,
    size_t taps, float *a, size_t a_tap);

#define IMP_GEMM_ROWS    168 /* rows of a block: a multiple of every mr */
#define IMP_GEMM_TAPS    16  /* taps of 16 of a block of the reduction */
#define IMP_GEMM_SCRATCH (IMP_GEMM_ROWS * IMP_GEMM_TAPS * 16 * sizeof(float))

/* y[rows, panels*16] (+)= A B + bias. A is packed on the way by pack; B in panels. */
typedef struct imp_gemm {
    imp_pack_fn pack;
    const void *source;
    size_t taps;       /* reduction / 16 */
    const float *b;    /* panels x taps*16 x 16 */
    const float *bias; /* panels*16, or NULL */
    float *y;
    size_t y_row, y_panel; /* floats from row to row, from panel to panel */
    bool add;              /* y += (bias is then not read) */
} imp_gemm;

/* Rows row0 .. +rows (at most IMP_GEMM_ROWS), panels panel0 .. +panels.
 * [scratch] IMP_GEMM_SCRATCH bytes. */
void imp_gemm_block(const imp_kernels *k, const imp_gemm *g, size_t row0, size_t rows,
    size_t panel0, size_t panels, float *scratch);

#endif
