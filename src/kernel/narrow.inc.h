/* SPDX-License-Identifier: MIT
 *
 * narrow.inc.h: the kernel of narrow.h, written once and compiled at every level.
 *
 * There are many outputs to sum over and few results: the lanes of a vector are outputs, and a register tile is some pixels by the channels, 12 sums or 24. What the
 * lanes hold is added up at the end. Shorter vectors than 16 go through everything once for
 * each part of the 16, so that the order of a sum is the same at every level:
 *
 *     a(o) = sum over panels and taps of dy(o) w(o), o < 16
 *     dx = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)),   s(o) = a(o) + a(o + 8)
 *
 * The loop over the taps must not be unrolled: a compiler would then keep in registers what
 * neighbouring taps share, and the sums no more. So their number is not a constant here.
 */
#include "kernel/levels.h"
#include "kernel/simd.h"

#define MOST 12                 /* pixels of a tile at most */
#define WIDE (VF == 16 ? 2 : 1) /* twice as many registers */

/* Lanes l .. +VF of a(o), for each pixel and channel. */
INLINE void sum_taps(const imp_narrow_gradient *n, size_t j, size_t l, size_t pixels,
    size_t channels, float (*a)[IMP_NARROW_CHANNELS][16]) {
    vf c[MOST][IMP_NARROW_CHANNELS];
    UNROLL for (size_t m = 0; m < pixels; m++)
        UNROLL for (size_t i = 0; i < channels; i++) c[m][i] = vf_set(0.0f);
    for (size_t q = 0; q < n->panels; q++) {
        const float *w = n->w + q * n->w_panel + (n->taps - 1) * 16 + l;
        for (size_t t = 0; t < n->taps; t++) {
            const float *dy = n->tap[t] + q * n->tap_panel + j * 16 + l;
            REGISTER(dy);
            vf right[IMP_NARROW_CHANNELS];
            UNROLL for (size_t i = 0; i < channels; i++) right[i] =
                vf_load(w + i * n->taps * 16 - t * 16);
            UNROLL for (size_t m = 0; m < pixels; m++) {
                vf left = vf_load(dy + m * 16);
                UNROLL for (size_t i = 0; i < channels; i++) c[m][i] =
                    vf_fma(left, right[i], c[m][i]);
            }
        }
    }
    UNROLL for (size_t m = 0; m < pixels; m++)
        UNROLL for (size_t i = 0; i < channels; i++) vf_store(&a[m][i][l], c[m][i]);
}

/* Once for each number of channels; no part of a loop, or compilers make copies of all. */
static __attribute__((noinline)) void sum_tile(const imp_narrow_gradient *n, size_t j,
    size_t l, float (*a)[IMP_NARROW_CHANNELS][16]) {
    switch (n->channels) {
    case 1:
        sum_taps(n, j, l, MOST, 1, a);
        break;
    case 2:
        sum_taps(n, j, l, 6 * WIDE, 2, a);
        break;
    case 3:
        sum_taps(n, j, l, 4 * WIDE, 3, a);
        break;
    default:
        sum_taps(n, j, l, 3 * WIDE, 4, a);
    }
}

/* The tree. */
INLINE float sum16(const float *a) {
    typedef float quad __attribute__((vector_size(16)));
    quad s[4];
    memcpy(s, a, sizeof s);
    quad t = (s[0] + s[2]) + (s[1] + s[3]);
    return (t[0] + t[2]) + (t[1] + t[3]);
}

void LEVEL(imp_narrow_gradient)(const imp_narrow_gradient *n) {
    static const size_t tile[] = {0, MOST, 6 * WIDE, 4 * WIDE, 3 * WIDE};
    size_t pixels = tile[n->channels];
    float a[MOST][IMP_NARROW_CHANNELS][16] __attribute__((aligned(64)));
    for (size_t j = 0; j < n->count; j += pixels) {
        size_t count = n->count - j < pixels ? n->count - j : pixels;
        for (size_t q = 0; n->next && q < n->panels; q++)
            for (size_t m = 0; m < count; m++)
                __builtin_prefetch(n->next + q * n->next_panel + (j + m) * 16);
        for (size_t l = 0; l < 16; l += VF) sum_tile(n, j, l, a);
        for (size_t m = 0; m < count; m++) {
            float *dx = n->dx + (j + m) * n->dx_lanes;
            if (!n->add) memset(dx, 0, n->dx_lanes * sizeof *dx);
            for (size_t i = 0; i < n->channels; i++) dx[i] += sum16(a[m][i]);
        }
    }
}
