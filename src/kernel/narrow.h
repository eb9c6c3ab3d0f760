/* SPDX-License-Identifier: MIT
 *
 * narrow.h: the gradient by the input of a 3 x 3 convolution, stride 1, of a map of few
 * channels, C <= 4: the first layer of a network, where a block of 16 channels would be
 * mostly filling. One call makes a piece of a row of dX from three rows of dY that the
 * caller has copied, border and all.
 */
#ifndef IMP_NARROW_KERNEL_H
#define IMP_NARROW_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMP_NARROW_CHANNELS 4  /* at most */
#define IMP_NARROW_SLACK    16 /* pixels of a copied row that are read past its end */

/* With w turned by half a turn:
 *   dx(j, c) (+)= sum over panels q, t < taps, o < 16 of
 *                 tap[t](q, j, o) w(q, c taps + taps-1 - t, o)
 * for pixels j < count; lanes c >= channels are made zero, or with add left as they are.
 * tap[t] is row KH of the masked dY, from pixel KW on; t runs over KH, KW. */
typedef struct imp_narrow_gradient {
    size_t count, channels, taps, panels;
    const float *tap[9]; /* tap[t][q * tap_panel + j*16 + o] */
    const float *w;      /* w[q * w_panel + (9 c + 3 KH + KW)*16 + o] */
    float *dx;           /* dx[j * dx_lanes + c] */
    const float
        *next; /* what is wanted next, next[q * next_panel + j*16]: prefetched */
    size_t tap_panel, w_panel, next_panel, dx_lanes;
    bool add;
} imp_narrow_gradient;

#endif
