/* SPDX-License-Identifier: MIT
 *
 * gemm.inc.h: the register tile of every matrix product, written once and compiled at
 * every level. MR rows by NV vectors are summed in registers; each step of the reduction
 * loads NV vectors of b and broadcasts one number of a for each row:
 *
 *              b(r, 0..VF)   ...   b(r, ..NV VF)
 *     a(0, r)     c[0][0]    ...     c[0][NV-1]
 *     ...
 *     a(MR-1, r)  c[MR-1][0] ...     c[MR-1][NV-1]
 *
 *     level     MR   NV x VF   accumulators
 *     generic    4    2 x 4      8 of 16
 *     avx2       6    2 x 8     12 of 16
 *     avx512    14    2 x 16    28 of 32
 *
 * The number of rows is a constant in each copy of the loop, so all of c stays in registers.
 * direct has the same tile, of one panel, and finds a by a table.
 */
#include "kernel/levels.h"
#include "kernel/simd.h"

#define NV    2
#define AHEAD 512 /* floats of b fetched ahead: 32 steps */

/* Into the second cache; slower with AVX2 (speed-log.md). */
#define FETCH_NEXT (VF == 16)

#if VF == 16
#define MR 14
#define EACH_ROWS(X)                                                                   \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#elif VF == 8
#define MR           6
#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define MR           4
#define EACH_ROWS(X) X(1) X(2) X(3) X(4)
#endif

/* A part's sums to y: as they are, or added. */
INLINE void put_sum(float *y, vf sum, bool add) {
    if (add) sum = sum + vf_load(y);
    vf_store(y, sum);
}

/* Columns j .. j + vectors*VF; a vector never crosses from panel to panel. */
INLINE void tile(const imp_gemm_tile *t, size_t rows, size_t j, size_t vectors) {
    vf c[MR][NV];
    const float *b[NV], *a = t->a, *next = t->next ? t->next : a;
    float *y[NV];
    UNROLL for (size_t v = 0; v < vectors; v++) {
        size_t column = j + v * VF;
        b[v] = t->b + column / 16 * t->b_panel + column % 16;
        y[v] = t->y + column / 16 * t->y_panel + column % 16;
    }
    for (size_t part = 0; part < t->taps; part += IMP_SUM_TAPS) {
        bool first = part == 0 && t->init;
        size_t taps = t->taps - part < IMP_SUM_TAPS ? t->taps - part : IMP_SUM_TAPS;
        UNROLL for (size_t v = 0; v < vectors; v++) {
            vf start = first ? vf_load(t->init + j + v * VF) : vf_set(0.0f);
            UNROLL for (size_t m = 0; m < rows; m++) c[m][v] = start;
        }
        for (size_t tap = 0; tap < taps; tap++, a += t->a_tap, next += t->next_tap)
            for (size_t r = 0; r < 16; r++) {
                vf right[NV];
                if (FETCH_NEXT && r < rows) __builtin_prefetch(next + r * 16, 0, 2);
                UNROLL for (size_t v = 0; v < vectors; v++) {
                    __builtin_prefetch(b[v] + AHEAD);
                    right[v] = vf_load(b[v]);
                    b[v] += 16;
                }
                UNROLL for (size_t m = 0; m < rows; m++) {
                    vf left = vf_set(a[m * 16 + r]);
                    UNROLL for (size_t v = 0; v < vectors; v++) c[m][v] =
                        vf_fma(left, right[v], c[m][v]);
                }
            }
        UNROLL for (size_t v = 0; v < vectors; v++)
            UNROLL for (size_t m = 0; m < rows; m++)
                put_sum(y[v] + m * t->y_row, c[m][v], !first);
    }
}

void LEVEL(imp_gemm)(const imp_gemm_tile *t) {
    size_t columns = t->panels * 16;
    if (NV * VF > 16 && columns == 16) {
#define CASE(n)                                                                        \
    case n:                                                                            \
        tile(t, n, 0, 1);                                                              \
        break;
        switch (t->rows) { EACH_ROWS(CASE) }
#undef CASE
        return;
    }
    for (size_t j = 0; j < columns; j += NV * VF) {
#define CASE(n)                                                                        \
    case n:                                                                            \
        tile(t, n, j, NV);                                                             \
        break;
        switch (t->rows) { EACH_ROWS(CASE) }
#undef CASE
    }
}

/* --- direct --- */

#define NV_PANEL (16 / VF < NV ? 1 : NV) /* a tile stays in one panel */

/* Lanes l .. +VF of a pixel. */
INLINE void put_direct(
    const imp_direct *d, vf value, float *y, float *aside, uint16_t *mask, size_t l) {
    if (d->relu) value = vf_relu(value);
    vf_put(y + l, value, d->stream);
    if (aside) vf_store(aside + l, value);
    if (mask) add_signs(mask, value, l);
}

/* rows pixels, columns j on. */
INLINE void direct_tile(const imp_direct *d, const float *a, float *y, float *aside,
    uint16_t *mask, size_t rows, size_t j) {
    vf c[MR][NV_PANEL];
    UNROLL for (size_t v = 0; v < NV_PANEL; v++) {
        vf init = d->init ? vf_load(d->init + j + v * VF) : vf_set(0.0f);
        UNROLL for (size_t m = 0; m < rows; m++) c[m][v] = init;
    }
    const float *b = d->b + j;
    for (size_t r = 0; r < d->terms; r++, b += 16) {
        const float *from = a + d->offset[r];
        vf right[NV_PANEL];
        UNROLL for (size_t v = 0; v < NV_PANEL; v++) right[v] = vf_load(b + v * VF);
        UNROLL for (size_t m = 0; m < rows; m++) {
            vf left = vf_set(from[m * d->a_step]);
            UNROLL for (size_t v = 0; v < NV_PANEL; v++) c[m][v] =
                vf_fma(left, right[v], c[m][v]);
        }
    }
    UNROLL for (size_t m = 0; m < rows; m++)
        UNROLL for (size_t v = 0; v < NV_PANEL; v++) put_direct(d, c[m][v], y + m * 16,
            aside ? aside + m * 16 : NULL, mask ? mask + m : NULL, j + v * VF);
}

void LEVEL(imp_direct)(const imp_direct *d) {
    for (size_t line = 0; line < d->lines; line++)
        for (size_t p = 0; p < d->count; p += MR) {
            const float *a = d->a + line * d->a_line + p * d->a_step;
            float *y = d->y + line * d->y_line + p * 16;
            float *aside = d->aside ? d->aside + line * d->aside_line + p * 16 : NULL;
            uint16_t *mask = d->mask ? d->mask + line * d->mask_line + p : NULL;
            size_t rows = d->count - p < MR ? d->count - p : MR;
            for (size_t j = 0; j < 16; j += NV_PANEL * VF) {
#define CASE(n)                                                                        \
    case n:                                                                            \
        direct_tile(d, a, y, aside, mask, n, j);                                       \
        break;
                switch (rows) { EACH_ROWS(CASE) }
#undef CASE
            }
        }
    end_put(d->stream);
}
