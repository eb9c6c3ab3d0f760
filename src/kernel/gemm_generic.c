/* SPDX-License-Identifier: MIT
 *
 * gemm_generic.c: the register tile in plain C, 4 x 16, for any processor.
 */
#include "kernel/levels.h"

#define MR 4

void imp_gemm1_generic(const imp_gemm_tile *t) {
    float acc[MR][16];
    for (size_t m = 0; m < MR; m++)
        for (size_t j = 0; j < 16; j++)
            acc[m][j] = t->init ? t->init[j] : t->y[m * t->y_row + j];
    const float *b = t->b;
    for (size_t tap = 0; tap < t->taps; tap++) {
        const float *a = t->a + tap * t->a_tap;
        for (size_t r = 0; r < 16; r++, b += 16)
            for (size_t m = 0; m < MR; m++)
                for (size_t j = 0; j < 16; j++) acc[m][j] += a[m * 16 + r] * b[j];
    }
    for (size_t m = 0; m < MR; m++)
        for (size_t j = 0; j < 16; j++) t->y[m * t->y_row + j] = acc[m][j];
}

void imp_gemm_generic(const imp_gemm_tile *t) {
    imp_gemm1_generic(t);
}

void imp_outer_generic(size_t count, const float *a, size_t a_step, const float *b,
    size_t b_step, float *g, bool add) {
    for (size_t i = 0; i < 16; i += 4) {
        float acc[4][16];
        for (size_t m = 0; m < 4; m++)
            for (size_t j = 0; j < 16; j++)
                acc[m][j] = add ? g[(i + m) * 16 + j] : 0.0f;
        for (size_t p = 0; p < count; p++)
            for (size_t m = 0; m < 4; m++)
                for (size_t j = 0; j < 16; j++)
                    acc[m][j] += a[p * a_step + i + m] * b[p * b_step + j];
        for (size_t m = 0; m < 4; m++)
            for (size_t j = 0; j < 16; j++) g[(i + m) * 16 + j] = acc[m][j];
    }
}
