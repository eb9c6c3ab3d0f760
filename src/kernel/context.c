/* SPDX-License-Identifier: MIT
 *
 * context.c: a context joins an error text, a kernel table and a pool of threads.
 */
#include "kernel/kernel.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_THREADS 1024

static imp_status choose_cpu(imp_ctx *ctx, const char *name) {
    const char *where = "cpu";
    if (!name) {
        name = getenv("IMP_CPU");
        where = "IMP_CPU";
    }
    imp_cpu best = imp_cpu_best();
    ctx->cpu = best;
    if (name && *name) {
        if (!imp_cpu_parse(name, &ctx->cpu))
            return imp_fail(ctx, IMP_ERR_ARG,
                "%s: expected generic, avx2 or avx512, found '%s'", where, name);
        if (ctx->cpu > best)
            return imp_fail(ctx, IMP_ERR_ARG,
                "%s: this machine lacks %s; the highest level that it has is %s", where,
                name, imp_cpu_name(best));
    }
    ctx->kernels = imp_kernels_for(ctx->cpu);
    return IMP_OK;
}

static imp_status choose_threads(imp_ctx *ctx, int asked) {
    long n = asked;
    const char *where = "threads", *env = getenv("IMPASTO_THREADS");
    if (n == 0 && env && *env) {
        char *end;
        errno = 0;
        n = strtol(env, &end, 10);
        where = "IMPASTO_THREADS";
        if (*end || errno || n == 0)
            return imp_fail(ctx, IMP_ERR_ARG, "%s: expected 1 to %d, found '%s'", where,
                MAX_THREADS, env);
    }
    if (n < 0 || n > MAX_THREADS)
        return imp_fail(
            ctx, IMP_ERR_ARG, "%s: expected 1 to %d, found %ld", where, MAX_THREADS, n);
    if (n == 0) n = imp_threads_default();
    ctx->threads = imp_threads_new((int)n);
    if (!ctx->threads)
        return imp_fail(ctx, IMP_ERR_LIMIT, "%s: cannot start %ld threads", where, n);
    return IMP_OK;
}

imp_status imp_ctx_new(imp_ctx **out, const imp_ctx_options *options) {
    static const imp_ctx_options defaults;
    if (!options) options = &defaults;
    imp_ctx *ctx = *out = calloc(1, sizeof *ctx);
    if (!ctx) return IMP_ERR_LIMIT;
    ctx->log = options->log;
    ctx->user = options->user;
    ctx->precision = options->precision;
    imp_status s = choose_cpu(ctx, options->cpu);
    return s ? s : choose_threads(ctx, options->threads);
}

void imp_ctx_free(imp_ctx *ctx) {
    if (!ctx) return;
    imp_threads_free(ctx->threads);
    free(ctx);
}

const char *imp_ctx_cpu(const imp_ctx *ctx) {
    return imp_cpu_name(ctx->cpu);
}

int imp_ctx_threads(const imp_ctx *ctx) {
    return imp_threads_count(ctx->threads);
}
