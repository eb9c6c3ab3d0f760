/* SPDX-License-Identifier: MIT
 *
 * loops.h: loops that meet one limit of the machine each, for every level: loops.c.
 */
#ifndef BENCH_LOOPS_H
#define BENCH_LOOPS_H

#include <stddef.h>

typedef struct bench_loops {
    /* rounds of multiply-adds on registers. [inout] x: 256 floats, x[0] and x[1] the
     * factor and the addend. Returns the floating-point operations done. */
    double (*fma)(size_t rounds, float *x);
    /* The sum of n floats, n a multiple of 128. */
    float (*read)(size_t n, const float *x);
    /* y = alpha x: a factor, so that it stays a loop and no memcpy. */
    void (*copy)(size_t n, float alpha, const float *x, float *y);
} bench_loops;

extern const bench_loops bench_loops_generic, bench_loops_avx2, bench_loops_avx512;

#endif
