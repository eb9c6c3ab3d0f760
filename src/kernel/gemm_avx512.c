/* SPDX-License-Identifier: MIT
 *
 * gemm_avx512.c: the register tile 14 x 32 for AVX-512: 28 accumulators of 16 lanes,
 * two for the rows of b, one for the broadcast of a: 31 of the 32 registers.
 *
 *              b[r] of panel 0   b[r] of panel 1
 *   a(0, r)        c0_0               c0_1
 *   ...
 *   a(13, r)       c13_0              c13_1
 */
#include "kernel/levels.h"

#include <immintrin.h>

#define ROWS(X)                                                                        \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)

void imp_gemm_avx512(const imp_gemm_tile *t) {
    float *y0 = t->y, *y1 = t->y + t->y_panel;
#define DECLARE(m) __m512 c##m##_0, c##m##_1;
    ROWS(DECLARE)
#undef DECLARE
    if (t->init) {
        __m512 i0 = _mm512_loadu_ps(t->init), i1 = _mm512_loadu_ps(t->init + 16);
#define START(m) c##m##_0 = i0, c##m##_1 = i1;
        ROWS(START)
#undef START
    } else {
#define START(m)                                                                       \
    c##m##_0 = _mm512_loadu_ps(y0 + m * t->y_row);                                     \
    c##m##_1 = _mm512_loadu_ps(y1 + m * t->y_row);
        ROWS(START)
#undef START
    }
    const float *b0 = t->b, *b1 = t->b + t->b_panel, *tap = t->a;
    for (size_t i = 0; i < t->taps; i++, tap += t->a_tap) {
        const float *a = tap;
        for (size_t r = 0; r < 16; r++, a++, b0 += 16, b1 += 16) {
            __m512 p0 = _mm512_loadu_ps(b0), p1 = _mm512_loadu_ps(b1);
#define STEP(m)                                                                        \
    {                                                                                  \
        __m512 v = _mm512_set1_ps(a[m * 16]);                                          \
        c##m##_0 = _mm512_fmadd_ps(v, p0, c##m##_0);                                   \
        c##m##_1 = _mm512_fmadd_ps(v, p1, c##m##_1);                                   \
    }
            ROWS(STEP)
#undef STEP
        }
    }
#define STORE(m)                                                                       \
    _mm512_storeu_ps(y0 + m * t->y_row, c##m##_0);                                     \
    _mm512_storeu_ps(y1 + m * t->y_row, c##m##_1);
    ROWS(STORE)
#undef STORE
}

void imp_gemm1_avx512(const imp_gemm_tile *t) {
#define DECLARE(m) __m512 c##m;
    ROWS(DECLARE)
#undef DECLARE
    if (t->init) {
        __m512 init = _mm512_loadu_ps(t->init);
#define START(m) c##m = init;
        ROWS(START)
#undef START
    } else {
#define START(m) c##m = _mm512_loadu_ps(t->y + m * t->y_row);
        ROWS(START)
#undef START
    }
    const float *b = t->b, *tap = t->a;
    for (size_t i = 0; i < t->taps; i++, tap += t->a_tap) {
        const float *a = tap;
        for (size_t r = 0; r < 16; r++, a++, b += 16) {
            __m512 p = _mm512_loadu_ps(b);
#define STEP(m) c##m = _mm512_fmadd_ps(_mm512_set1_ps(a[m * 16]), p, c##m);
            ROWS(STEP)
#undef STEP
        }
    }
#define STORE(m) _mm512_storeu_ps(t->y + m * t->y_row, c##m);
    ROWS(STORE)
#undef STORE
}

void imp_outer_avx512(size_t count, const float *a, size_t a_step, const float *b,
    size_t b_step, float *g, bool add) {
    __m512 c[16];
    for (size_t m = 0; m < 16; m++)
        c[m] = add ? _mm512_loadu_ps(g + m * 16) : _mm512_setzero_ps();
    for (size_t p = 0; p < count; p++, a += a_step, b += b_step) {
        __m512 v = _mm512_loadu_ps(b);
        for (size_t m = 0; m < 16; m++)
            c[m] = _mm512_fmadd_ps(_mm512_set1_ps(a[m]), v, c[m]);
    }
    for (size_t m = 0; m < 16; m++) _mm512_storeu_ps(g + m * 16, c[m]);
}
