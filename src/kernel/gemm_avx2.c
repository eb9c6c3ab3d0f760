/* SPDX-License-Identifier: MIT
 *
 * gemm_avx2.c: the register tile 6 x 16 for AVX2 with FMA. Twelve accumulators of 8
 * lanes, two for the row of b, one for the broadcast of a: 15 of the 16 registers.
 *
 *             b[r][0..7]   b[r][8..15]
 *   a(0, r)     c00           c01
 *   ...
 *   a(5, r)     c50           c51
 */
#include "kernel/levels.h"

#include <immintrin.h>

#define ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5)

void imp_gemm1_avx2(const imp_gemm_tile *t) {
#define DECLARE(m) __m256 c##m##0, c##m##1;
    ROWS(DECLARE)
#undef DECLARE
    if (t->init) {
        __m256 lo = _mm256_loadu_ps(t->init), hi = _mm256_loadu_ps(t->init + 8);
#define START(m) c##m##0 = lo, c##m##1 = hi;
        ROWS(START)
#undef START
    } else {
#define START(m)                                                                       \
    c##m##0 = _mm256_loadu_ps(t->y + m * t->y_row);                                    \
    c##m##1 = _mm256_loadu_ps(t->y + m * t->y_row + 8);
        ROWS(START)
#undef START
    }
    const float *b = t->b, *tap = t->a;
    for (size_t i = 0; i < t->taps; i++, tap += t->a_tap) {
        const float *a = tap;
        for (size_t r = 0; r < 16; r++, a++, b += 16) {
            __m256 lo = _mm256_loadu_ps(b), hi = _mm256_loadu_ps(b + 8);
#define STEP(m)                                                                        \
    {                                                                                  \
        __m256 v = _mm256_broadcast_ss(a + m * 16);                                    \
        c##m##0 = _mm256_fmadd_ps(v, lo, c##m##0);                                     \
        c##m##1 = _mm256_fmadd_ps(v, hi, c##m##1);                                     \
    }
            ROWS(STEP)
#undef STEP
        }
    }
#define STORE(m)                                                                       \
    _mm256_storeu_ps(t->y + m * t->y_row, c##m##0);                                    \
    _mm256_storeu_ps(t->y + m * t->y_row + 8, c##m##1);
    ROWS(STORE)
#undef STORE
}

void imp_gemm_avx2(const imp_gemm_tile *t) {
    imp_gemm1_avx2(t);
}

/* Rows i0 .. i0+n-1 of the 16 x 16 block, n at most 6. */
static inline void outer_rows(size_t i0, size_t n, size_t count, const float *a,
    size_t a_step, const float *b, size_t b_step, float *g, bool add) {
    __m256 lo[6], hi[6];
    a += i0;
    g += i0 * 16;
    for (size_t m = 0; m < n; m++) {
        lo[m] = add ? _mm256_loadu_ps(g + m * 16) : _mm256_setzero_ps();
        hi[m] = add ? _mm256_loadu_ps(g + m * 16 + 8) : _mm256_setzero_ps();
    }
    for (size_t p = 0; p < count; p++, a += a_step, b += b_step) {
        __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
        for (size_t m = 0; m < n; m++) {
            __m256 v = _mm256_broadcast_ss(a + m);
            lo[m] = _mm256_fmadd_ps(v, b0, lo[m]);
            hi[m] = _mm256_fmadd_ps(v, b1, hi[m]);
        }
    }
    for (size_t m = 0; m < n; m++) {
        _mm256_storeu_ps(g + m * 16, lo[m]);
        _mm256_storeu_ps(g + m * 16 + 8, hi[m]);
    }
}

void imp_outer_avx2(size_t count, const float *a, size_t a_step, const float *b,
    size_t b_step, float *g, bool add) {
    outer_rows(0, 6, count, a, a_step, b, b_step, g, add);
    outer_rows(6, 6, count, a, a_step, b, b_step, g, add);
    outer_rows(12, 4, count, a, a_step, b, b_step, g, add);
}
