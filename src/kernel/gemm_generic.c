/* SPDX-License-Identifier: MIT
 *
 * gemm_generic.c: the register tile for any processor, 4 x 16, as two halves of 4 x 8 in
 * vectors of four, which every compiler of ours turns into what the machine has.
 */
#include "kernel/levels.h"

#include <string.h>

#define MR 4

typedef float v4 __attribute__((vector_size(16)));

static v4 load(const float *x) {
    v4 v;
    memcpy(&v, x, sizeof v);
    return v;
}

static void store(float *x, v4 v) {
    memcpy(x, &v, sizeof v);
}

static v4 splat(float x) {
    return (v4){x, x, x, x};
}

/* acc[m] += a[m * a_row] times eight of b. */
#define STEP(m, a_row)                                                                 \
    {                                                                                  \
        v4 x = splat(a[(m) * (a_row)]);                                                \
        lo[m] += x * b0;                                                               \
        hi[m] += x * b1;                                                               \
    }

static void half(const imp_gemm_tile *t, size_t j) {
    v4 lo[MR], hi[MR];
    for (size_t m = 0; m < MR; m++) {
        const float *start = t->init ? t->init + j : t->y + m * t->y_row + j;
        lo[m] = load(start);
        hi[m] = load(start + 4);
    }
    const float *b = t->b + j;
    for (size_t tap = 0; tap < t->taps; tap++) {
        const float *a = t->a + tap * t->a_tap;
        for (size_t r = 0; r < 16; r++, a++, b += 16) {
            v4 b0 = load(b), b1 = load(b + 4);
            STEP(0, 16) STEP(1, 16) STEP(2, 16) STEP(3, 16)
        }
    }
    for (size_t m = 0; m < MR; m++) {
        store(t->y + m * t->y_row + j, lo[m]);
        store(t->y + m * t->y_row + j + 4, hi[m]);
    }
}

void imp_gemm1_generic(const imp_gemm_tile *t) {
    half(t, 0);
    half(t, 8);
}

void imp_gemm_generic(const imp_gemm_tile *t) {
    imp_gemm1_generic(t);
}

void imp_outer_generic(size_t count, const float *a_first, size_t a_step,
    const float *b_first, size_t b_step, float *g, bool add) {
    for (size_t i = 0; i < 16; i += MR)
        for (size_t j = 0; j < 16; j += 8) {
            v4 lo[MR], hi[MR];
            for (size_t m = 0; m < MR; m++) {
                float *start = g + (i + m) * 16 + j;
                lo[m] = add ? load(start) : splat(0.0f);
                hi[m] = add ? load(start + 4) : splat(0.0f);
            }
            const float *a = a_first + i, *b = b_first + j;
            for (size_t p = 0; p < count; p++, a += a_step, b += b_step) {
                v4 b0 = load(b), b1 = load(b + 4);
                STEP(0, 1) STEP(1, 1) STEP(2, 1) STEP(3, 1)
            }
            for (size_t m = 0; m < MR; m++) {
                store(g + (i + m) * 16 + j, lo[m]);
                store(g + (i + m) * 16 + j + 4, hi[m]);
            }
        }
}
