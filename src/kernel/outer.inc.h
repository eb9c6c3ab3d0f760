/* SPDX-License-Identifier: MIT
 *
 * outer.inc.h: sums of outer products over pixels, 16 x 16 numbers, written once and
 * compiled at every level. Some rows by NV vectors are summed in registers at a time, as in
 * gemm.inc.h; X(i, n): n rows from row i on.
 */
#include "kernel/levels.h"
#include "kernel/simd.h"

#if VF == 16
#define NV           1
#define EACH_ROWS(X) X(0, 8) X(8, 8)
#elif VF == 8
#define NV           2
#define EACH_ROWS(X) X(0, 6) X(6, 5) X(11, 5)
#else
#define NV           2
#define EACH_ROWS(X) X(0, 4) X(4, 4) X(8, 4) X(12, 4)
#endif

/* rows rows of the 16 x 16 products, from row i on. */
INLINE void outer_rows(const float *a, size_t a_step, const float *b, size_t b_step,
    const float *next, size_t count, float *g, bool add, size_t rows) {
    vf c[8][NV];
    UNROLL for (size_t m = 0; m < rows; m++) UNROLL for (size_t v = 0; v < NV; v++)
        c[m][v] = add ? vf_load(g + m * 16 + v * VF) : vf_set(0.0f);
    for (size_t p = 0; p < count; p++, a += a_step, b += b_step) {
        if (next) __builtin_prefetch(next + p * 16, 0, 2);
        vf right[NV];
        UNROLL for (size_t v = 0; v < NV; v++) right[v] = vf_load(b + v * VF);
        UNROLL for (size_t m = 0; m < rows; m++) {
            vf left = vf_set(a[m]);
            UNROLL for (size_t v = 0; v < NV; v++) c[m][v] =
                vf_fma(left, right[v], c[m][v]);
        }
    }
    UNROLL for (size_t m = 0; m < rows; m++) UNROLL for (size_t v = 0; v < NV; v++)
        vf_store(g + m * 16 + v * VF, c[m][v]);
}

void LEVEL(imp_outer)(size_t count, const float *a, size_t a_step, const float *b,
    size_t b_step, const float *next, float *g, bool add) {
    for (size_t j = 0; j < 16; j += NV * VF) {
#define ROWS(i, n)                                                                     \
    if (next && i + j == 0)                                                            \
        outer_rows(a + i, a_step, b + j, b_step, next, count, g + i * 16 + j, add, n); \
    else                                                                               \
        outer_rows(a + i, a_step, b + j, b_step, NULL, count, g + i * 16 + j, add, n);
        EACH_ROWS(ROWS)
#undef ROWS
    }
}

/* The same, with each row of a where its offset says, and over lines. */
INLINE void correlate_rows(const imp_correlation *s, size_t i, size_t rows, size_t j) {
    vf c[8][NV];
    const float *a[8];
    float *g = s->g + i * 16 + j;
    UNROLL for (size_t m = 0; m < rows; m++) {
        a[m] = s->a + s->offset[i + m];
        UNROLL for (size_t v = 0; v < NV; v++) c[m][v] =
            s->add ? vf_load(g + m * 16 + v * VF) : vf_set(0.0f);
    }
    for (size_t line = 0; line < s->lines; line++) {
        const float *b = s->b + line * s->b_line + j;
        size_t at = line * s->a_line;
        for (size_t p = 0; p < s->count; p++, at += s->a_step, b += 16) {
            vf right[NV];
            UNROLL for (size_t v = 0; v < NV; v++) right[v] = vf_load(b + v * VF);
            UNROLL for (size_t m = 0; m < rows; m++) {
                vf left = vf_set(a[m][at]);
                UNROLL for (size_t v = 0; v < NV; v++) c[m][v] =
                    vf_fma(left, right[v], c[m][v]);
            }
        }
    }
    UNROLL for (size_t m = 0; m < rows; m++) UNROLL for (size_t v = 0; v < NV; v++)
        vf_store(g + m * 16 + v * VF, c[m][v]);
}

void LEVEL(imp_correlate)(const imp_correlation *s) {
    for (size_t j = 0; j < 16; j += NV * VF) {
#define ROWS(i, n) correlate_rows(s, i, n, j);
        EACH_ROWS(ROWS)
#undef ROWS
    }
}
