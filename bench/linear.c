/* SPDX-License-Identifier: MIT
 *
 * linear.c: the fully connected layer: a batch, against the FMA peak, and one sample,
 * whose time is that of reading the weights.
 */
#include "bench.h"
#include "op_case.h"

#include <math.h>
#include <stdio.h>

#define FEATURES 4096

static imp_status measure(
    imp_ctx *ctx, const bench_settings *s, size_t batch, double *seconds) {
    imp_linear_attr attr = {.relu = false};
    imp_shape in[3] = {{batch, FEATURES, 1, 1, IMP_MAP},
        {FEATURES, FEATURES, 1, 1, IMP_WEIGHT}, {1, FEATURES, 1, 1, IMP_MAP}};
    op_case c;
    imp_status status = op_case_new(ctx, &c, &imp_op_linear, &attr, in, 3);
    if (!status) status = op_case_want(&c, 0u);
    if (!status) {
        op_case_fill(&in[0], c.x[0], 1, 1.0, false);
        op_case_fill(&in[1], c.x[1], 2, 1.0, false);
        *seconds = bench_time(s->iterations, op_case_forward, &c);
    }
    op_case_free(&c);
    return status;
}

int bench_linear(imp_ctx *ctx, const bench_settings *s) {
    static const size_t batches[] = {1, 100, 1024};
    double peak = bench_fma_peak(ctx, (size_t)imp_ctx_threads(ctx));
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        double seconds, weights = (double)FEATURES * FEATURES;
        if (measure(ctx, s, batches[i], &seconds)) return bench_fail(ctx);
        double rate = 2.0 * weights * (double)batches[i] / seconds;
        double bytes = sizeof(float) * weights / seconds;
        if (!s->json) {
            printf("linear %d to %d, batch %4zu: %8.2f ms, %6.1f GFLOP/s %3.0f %%, "
                   "weights %5.1f GB/s\n",
                FEATURES, FEATURES, batches[i], seconds * 1e3, rate * 1e-9,
                100.0 * rate / peak, bytes * 1e-9);
            continue;
        }
        bench_json(ctx, "linear");
        printf(",\"batch\":%zu,\"seconds\":%.6f,\"gflops\":%.2f,\"peak_gflops\":%.2f,"
               "\"weights_gbps\":%.2f}\n",
            batches[i], seconds, rate * 1e-9, peak * 1e-9, bytes * 1e-9);
    }
    return 0;
}
