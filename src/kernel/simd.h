/* SPDX-License-Identifier: MIT
 *
 * simd.h: one vocabulary of vector operations, so that a kernel is written once and
 * compiled at every level. vf holds VF floats: 16 with AVX-512, 8 with AVX2, else 4. Sums
 * and products are written with + - *: gcc and clang know vectors. vf_fma is fused at both
 * higher levels, and only there.
 */
#ifndef IMP_SIMD_H
#define IMP_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
/* p is a register from here on: else a compiler that sees how p was made may keep p + 1,
 * p + 2, ... in a register each. */
#define REGISTER(p) __asm__("" : "+r"(p))

#if defined(IMP_EMULATE_AVX512) /* the tests, on a machine without */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
typedef simde__mmask16 __mmask16;
#define _mm512_stream_ps _mm512_storeu_ps /* simde has none */
#elif defined(__AVX2__)
#include <immintrin.h>
#endif

/* Bit l: x[l] == value, for 16 bytes. */
INLINE unsigned equal16(const uint8_t *x, uint8_t value) {
#if defined(__AVX2__) /* and so with AVX-512 */
    __m128i v = _mm_loadu_si128((const void *)x);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8((char)value)));
#else
    unsigned bits = 0;
    for (unsigned l = 0; l < 16; l++) bits |= (unsigned)(x[l] == value) << l;
    return bits;
#endif
}

#if defined(__AVX512F__) || defined(IMP_EMULATE_AVX512)
#define VF 16
typedef __m512 vf;
INLINE vf vf_load(const float *x) {
    return _mm512_loadu_ps(x);
}
INLINE void vf_store(float *x, vf v) {
    _mm512_storeu_ps(x, v);
}
/* past: past the caches. x is a whole line then; end_put before others read it. */
INLINE void vf_put(float *x, vf v, bool past) {
    if (past)
        _mm512_stream_ps(x, v);
    else
        vf_store(x, v);
}
INLINE void end_put(bool past) {
    if (past) _mm_sfence();
}
/* x[l] where bit l is set, else 0. */
INLINE vf vf_load_masked(const float *x, unsigned bits) {
    return _mm512_maskz_mov_ps((__mmask16)bits, vf_load(x));
}
INLINE vf vf_set(float x) {
    return _mm512_set1_ps(x);
}
INLINE vf vf_fma(vf a, vf b, vf c) { /* a b + c */
    return _mm512_fmadd_ps(a, b, c);
}
INLINE vf vf_relu(vf x) { /* 0 > x ? 0 : x: NaN passes, a loss must show it */
    return _mm512_max_ps(_mm512_setzero_ps(), x);
}
/* Bit l of the result: x[l] > 0. */
INLINE unsigned vf_positive(vf x) {
    return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
}
/* The same of 16 floats. */
INLINE unsigned positive16(const float *x) {
    return vf_positive(vf_load(x));
}
/* A window of 2 x 2 pixels, y + row * (k / 2) + 16 (k % 2) for k = 0 .. 3: x[l] where
 * position[l] == k, else 0, for 16 floats. */
INLINE void unpool16(const float *x, const uint8_t *position, float *y, size_t row) {
    __m512 v = _mm512_loadu_ps(x);
    for (int k = 0; k < 4; k++) {
        __mmask16 here = (__mmask16)equal16(position, (uint8_t)k);
        _mm512_storeu_ps(
            y + (size_t)(k / 2) * row + k % 2 * 16, _mm512_maskz_mov_ps(here, v));
    }
}
/* best, and where it was found: other and k in the lanes where that is larger. */
INLINE void larger16(__m512 *best, __m512i *at, __m512 other, int k) {
    __mmask16 larger = _mm512_cmp_ps_mask(other, *best, _CMP_GT_OQ);
    *best = _mm512_mask_mov_ps(*best, larger, other);
    *at = _mm512_mask_mov_epi32(*at, larger, _mm512_set1_epi32(k));
}
/* The maximum of such a window, and the position of its first, or `dead` where it is not above
 * 0, for 16 floats; position NULL: not wanted. */
INLINE void pool16(
    const float *x, size_t row, float *y, uint8_t *position, uint8_t dead) {
    __m512 best = _mm512_loadu_ps(x);
    __m512i at = _mm512_setzero_si512();
    larger16(&best, &at, _mm512_loadu_ps(x + 16), 1);
    larger16(&best, &at, _mm512_loadu_ps(x + row), 2);
    larger16(&best, &at, _mm512_loadu_ps(x + row + 16), 3);
    _mm512_storeu_ps(y, best);
    if (!position) return;
    __mmask16 alive = (__mmask16)vf_positive(best);
    at = _mm512_mask_mov_epi32(_mm512_set1_epi32(dead), alive, at);
    _mm_storeu_si128((__m128i *)(void *)position, _mm512_cvtepi32_epi8(at));
}
#elif defined(__AVX2__)
#define VF 8
typedef __m256 vf;
INLINE vf vf_load(const float *x) {
    return _mm256_loadu_ps(x);
}
INLINE void vf_store(float *x, vf v) {
    _mm256_storeu_ps(x, v);
}
INLINE vf vf_load_masked(const float *x, unsigned bits) {
    __m256i one = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i on = _mm256_and_si256(_mm256_set1_epi32((int)bits), one);
    __m256 keep = _mm256_castsi256_ps(_mm256_cmpeq_epi32(on, one));
    return _mm256_and_ps(keep, _mm256_loadu_ps(x));
}
INLINE vf vf_set(float x) {
    return _mm256_set1_ps(x);
}
INLINE vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
INLINE vf vf_relu(vf x) {
    return _mm256_max_ps(_mm256_setzero_ps(), x);
}
INLINE unsigned vf_positive(vf x) {
    return (unsigned)_mm256_movemask_ps(
        _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ));
}
INLINE unsigned positive16(const float *x) {
    return vf_positive(vf_load(x)) | vf_positive(vf_load(x + 8)) << 8;
}
INLINE void unpool16(const float *x, const uint8_t *position, float *y, size_t row) {
    for (int half = 0; half < 16; half += 8) {
        __m256 v = _mm256_loadu_ps(x + half);
        __m256i p =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(position + half)));
        for (int k = 0; k < 4; k++) {
            __m256 here =
                _mm256_castsi256_ps(_mm256_cmpeq_epi32(p, _mm256_set1_epi32(k)));
            _mm256_storeu_ps(
                y + (size_t)(k / 2) * row + k % 2 * 16 + half, _mm256_and_ps(here, v));
        }
    }
}
#else
#define VF 4
typedef float vf __attribute__((vector_size(16)));
INLINE vf vf_load(const float *x) {
    vf v;
    memcpy(&v, x, sizeof v);
    return v;
}
INLINE void vf_store(float *x, vf v) {
    memcpy(x, &v, sizeof v);
}
INLINE vf vf_load_masked(const float *x, unsigned bits) {
    vf v = vf_load(x);
    for (unsigned l = 0; l < VF; l++) v[l] = bits >> l & 1u ? v[l] : 0.0f;
    return v;
}
INLINE vf vf_set(float x) {
    return (vf){x, x, x, x};
}
INLINE vf vf_fma(vf a, vf b, vf c) {
    return a * b + c;
}
INLINE vf vf_relu(vf x) {
    typedef int32_t vi __attribute__((vector_size(16)));
    return (vf)((vi)x & ~(vi)(vf_set(0.0f) > x));
}
INLINE unsigned vf_positive(vf x) {
    unsigned bits = 0;
    for (unsigned l = 0; l < VF; l++) bits |= (unsigned)(x[l] > 0.0f) << l;
    return bits;
}
INLINE unsigned positive16(const float *x) {
    unsigned bits = 0;
    for (unsigned l = 0; l < 16; l++) bits |= (unsigned)(x[l] > 0.0f) << l;
    return bits;
}
INLINE void unpool16(const float *x, const uint8_t *position, float *y, size_t row) {
    for (int k = 0; k < 4; k++)
        for (size_t l = 0; l < 16; l++)
            y[(size_t)(k / 2) * row + (size_t)(k % 2) * 16 + l] =
                position[l] == k ? x[l] : 0.0f;
}
#endif

#if VF != 16
/* Parts of a line, one at a time, would be slower than through the caches. */
INLINE void vf_put(float *x, vf v, bool past) {
    (void)past;
    vf_store(x, v);
}
INLINE void end_put(bool past) {
    (void)past;
}
INLINE void pool16(
    const float *x, size_t row, float *y, uint8_t *position, uint8_t dead) {
    int32_t at[16];
    for (size_t l = 0; l < 16; l++) {
        float best = x[l], other = x[16 + l];
        int32_t p = 0;
        p = other > best ? 1 : p, best = other > best ? other : best;
        other = x[row + l];
        p = other > best ? 2 : p, best = other > best ? other : best;
        other = x[row + 16 + l];
        p = other > best ? 3 : p, best = other > best ? other : best;
        y[l] = best;
        at[l] = best > 0.0f ? p : dead;
    }
    for (size_t l = 0; position && l < 16; l++) position[l] = (uint8_t)at[l];
}
#endif

/* y[l] = bit l ? x[l] : 0, for 16 floats. */
INLINE void masked16(const float *x, unsigned bits, float *y) {
    for (size_t l = 0; l < 16; l += VF)
        vf_store(y + l, vf_load_masked(x + l, bits >> l));
}

/* The signs of lanes l .. +VF of 16 to mask: bit i: lane i > 0. From l = 0 on. */
INLINE void add_signs(uint16_t *mask, vf x, size_t l) {
    unsigned bits = vf_positive(x) << l;
    *mask = (uint16_t)(l ? *mask | bits : bits);
}

#endif
