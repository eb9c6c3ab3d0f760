/* SPDX-License-Identifier: MIT
 *
 * gemm.c: one thread's share of a packed matrix product. The reduction is cut into blocks
 * of IMP_GEMM_TAPS x 16, so that a panel of b (16 KiB) stays in the first-level cache while
 * all row tiles pass, and the packed rows (168 KiB) in the second. Block sizes are
 * constants: the order of additions, and so the bits, depend on nothing.
 */
#include "kernel/kernel.h"

/* Pack the block tile by tile. */
static void pack_tiles(const imp_kernels *k, const imp_gemm *g, size_t row0,
    size_t rows, size_t tap0, size_t taps, float *a) {
    size_t tile = taps * k->mr * 16;
    for (size_t m = 0; m < rows; m += k->mr, a += tile) {
        size_t n = imp_least(rows - m, k->mr);
        g->pack(g->source, row0 + m, n, tap0, taps, a, k->mr * 16);
    }
}

static void multiply_panels(const imp_kernels *k, const imp_gemm *g, const float *a,
    size_t row0, size_t rows, size_t tap0, size_t taps, size_t panel, size_t panels) {
    size_t depth = g->taps * 256;
    imp_gemm_tile t = {.panels = panels,
        .taps = taps,
        .a_tap = k->mr * 16,
        .b = g->b + panel * depth + tap0 * 256,
        .b_panel = depth,
        .y_row = g->y_row,
        .y_panel = g->y_panel};
    static const float zero[IMP_MAX_NB * 16];
    if (tap0 == 0 && !g->add) t.init = g->bias ? g->bias + panel * 16 : zero;
    for (size_t m = 0; m < rows; m += k->mr) {
        t.a = a + m * taps * 16;
        t.y = g->y + panel * g->y_panel + (row0 + m) * g->y_row;
        t.rows = imp_least(rows - m, k->mr);
        k->gemm(&t);
    }
}

void imp_gemm_block(const imp_kernels *k, const imp_gemm *g, size_t row0, size_t rows,
    size_t panel0, size_t panels, float *scratch) {
    for (size_t tap0 = 0; tap0 < g->taps; tap0 += IMP_GEMM_TAPS) {
        size_t taps = imp_least(g->taps - tap0, IMP_GEMM_TAPS);
        pack_tiles(k, g, row0, rows, tap0, taps, scratch);
        for (size_t p = 0; p < panels; p += k->nb) {
            size_t n = panels - p < k->nb ? 1 : k->nb;
            multiply_panels(k, g, scratch, row0, rows, tap0, taps, panel0 + p, n);
        }
    }
}
