/* SPDX-License-Identifier: MIT
 *
 * impasto.h: the context that every other call needs, statuses, threads, logging.
 *
 *     imp_ctx *ctx;
 *     if (imp_ctx_new(&ctx, NULL) != IMP_OK) {
 *         fprintf(stderr, "%s\n", imp_ctx_error(ctx));
 *         imp_ctx_free(ctx);
 *         return 1;
 *     }
 *     printf("impasto %s on %s, %d threads\n", imp_version(), imp_ctx_cpu(ctx),
 *         imp_ctx_threads(ctx));
 *     imp_ctx_free(ctx);
 *
 * The library never prints, never exits and never asserts on input. A context and
 * everything made with it belongs to one thread at a time; two contexts are independent.
 */
#ifndef IMPASTO_H
#define IMPASTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define IMP_API          __attribute__((visibility("default")))
#define IMP_MUST_USE     __attribute__((warn_unused_result))
#define IMP_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define IMP_API
#define IMP_MUST_USE
#define IMP_PRINTF(f, a)
#endif

/* What a call came to. The text that says why is imp_ctx_error. The numbers are the
 * command's exit statuses. */
typedef enum imp_status {
    IMP_OK = 0,
    IMP_ERR_ARG = 2,   /* an argument, an option or a shape that cannot be */
    IMP_ERR_DATA = 3,  /* a picture or a data file: missing, damaged, wrong kind */
    IMP_ERR_MODEL = 4, /* a model file: missing, damaged, wrong shape, lacks a layer */
    IMP_ERR_FILE = 5,  /* the file system: not writable, full, exists already */
    IMP_ERR_LIMIT = 6, /* memory, or a limit on sizes */
    IMP_ERR_NUMERIC = 7,  /* diverged: NaN, infinite, or only worse losses */
    IMP_ERR_INTERNAL = 8, /* a fault of impasto's own */
} imp_status;

typedef struct imp_ctx imp_ctx;

/* How 3 x 3 convolutions are computed (docs/winograd.md): fast is a fifth quicker; exact
 * is several times closer to the direct sum. */
typedef enum imp_precision { IMP_FAST, IMP_EXACT } imp_precision;

typedef struct imp_ctx_options {
    int threads; /* 1..1024; 0: IMPASTO_THREADS, else the processors allowed to us */
    const char
        *cpu; /* "generic", "avx2", "avx512"; NULL: IMP_CPU, else the best there is */
    void (*log)(void *user, const char *message); /* notes of one line; NULL: dropped */
    void *user;
    imp_precision precision;
} imp_ctx_options;

/* Make a context. On failure *out is NULL (no memory) or a context that is good for
 * imp_ctx_error and imp_ctx_free alone.
 * [out] out, owned by the caller: imp_ctx_free; [in] options: NULL for the defaults.
 * Errors: IMP_ERR_ARG for a level this machine lacks or threads out of range. */
IMP_API IMP_MUST_USE imp_status imp_ctx_new(
    imp_ctx **out, const imp_ctx_options *options);
IMP_API void imp_ctx_free(imp_ctx *ctx);

/* The text of the last failure, valid until the next; never NULL, also for ctx NULL. */
IMP_API const char *imp_ctx_error(const imp_ctx *ctx);
IMP_API const char *imp_ctx_cpu(const imp_ctx *ctx); /* level in use: "avx2" */
IMP_API int imp_ctx_threads(const imp_ctx *ctx); /* threads in use, the caller's one */
IMP_API const char *imp_version(void);           /* "0.1.0" */

/* Write size bytes to path so that path holds either what it held or all of the new: a
 * temporary in the same folder, synced, renamed.
 * Errors: IMP_ERR_FILE (path, operation, the system's word); also where path exists and
 * overwrite is false. */
IMP_API IMP_MUST_USE imp_status imp_write_file(
    imp_ctx *ctx, const char *path, const void *data, size_t size, bool overwrite);

/* Could path be written later? Folder there and writable; path absent, or overwrite; path
 * not the same file as any of the n inputs (also with overwrite). To be asked before the
 * work, not after. Errors: IMP_ERR_FILE. */
IMP_API IMP_MUST_USE imp_status imp_check_output(imp_ctx *ctx, const char *path,
    bool overwrite, const char *const *inputs, size_t n);

/* A picture: planes R, G, B one after the other, each height x width, values 0..255. */
typedef struct imp_picture {
    size_t width, height;
    float *planes; /* 3 * height * width */
} imp_picture;

IMP_API IMP_MUST_USE imp_status imp_picture_new(
    imp_ctx *ctx, imp_picture *out, size_t width, size_t height);
IMP_API void imp_picture_free(imp_picture *picture);

typedef enum imp_filter { IMP_BICUBIC, IMP_LANCZOS } imp_filter;

/* Resize planes with an antialiased filter, widened when shrinking, as PIL does it
 * (bicubic a = -0.5, Lanczos of 3 lobes; pixel centres at half integers; weights
 * normalised), in float32 without rounding. Separable: rows first, then columns.
 * [in] x: channels x height x width; [out] y: channels x new_height x new_width. */
IMP_API IMP_MUST_USE imp_status imp_resize(imp_ctx *ctx, float *y, size_t new_height,
    size_t new_width, const float *x, size_t channels, size_t height, size_t width,
    imp_filter filter);

#ifdef __cplusplus
}
#endif
#endif
