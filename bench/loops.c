/* SPDX-License-Identifier: MIT
 *
 * loops.c: compiled once a level, with that level's flags and its name in LEVEL.
 */
#include "loops.h"

#include "kernel/simd.h"

#define SUMS 12 /* enough to hide the latency of two units, and few enough to stay */

static double fma_loop(size_t rounds, float *x) {
    vf sum[SUMS], factor = vf_set(x[0]), addend = vf_set(x[1]);
    UNROLL
    for (int i = 0; i < SUMS; i++) sum[i] = vf_set((float)i);
    for (size_t r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < SUMS; i++) sum[i] = vf_fma(sum[i], factor, addend);
    }
    UNROLL
    for (int i = 0; i < SUMS; i++) vf_store(x + i * VF, sum[i]);
    return 2.0 * SUMS * VF * (double)rounds;
}

#define STREAMS 8

static float read_loop(size_t n, const float *x) {
    vf sum[STREAMS];
    float last[VF];
    UNROLL
    for (int i = 0; i < STREAMS; i++) sum[i] = vf_set(0.0f);
    for (size_t k = 0; k < n; k += STREAMS * VF) {
        UNROLL
        for (int i = 0; i < STREAMS; i++) sum[i] = sum[i] + vf_load(x + k + i * VF);
    }
    for (int i = 1; i < STREAMS; i++) sum[0] = sum[0] + sum[i];
    vf_store(last, sum[0]);
    return last[0];
}

static void copy_loop(size_t n, float alpha, const float *x, float *y) {
    vf factor = vf_set(alpha);
    for (size_t k = 0; k < n; k += STREAMS * VF) {
        UNROLL
        for (int i = 0; i < STREAMS; i++)
            vf_store(y + k + i * VF, factor * vf_load(x + k + i * VF));
    }
}

const bench_loops LEVEL = {fma_loop, read_loop, copy_loop};
