/* SPDX-License-Identifier: MIT
 *
 * base.h: the floor that everything stands on: errors, memory, tensors, threads, random
 * numbers, files. libc and pthreads alone.
 */
#ifndef IMP_BASE_H
#define IMP_BASE_H

#include "impasto/impasto.h"
#include "impasto/nn.h"

typedef enum imp_cpu { IMP_CPU_GENERIC, IMP_CPU_AVX2, IMP_CPU_AVX512 } imp_cpu;

struct imp_kernels; /* kernel/kernel.h */
typedef struct imp_pool_of_threads imp_threads;

struct imp_ctx {
    char error[1024];
    imp_cpu cpu;
    imp_precision precision;
    const struct imp_kernels *kernels;
    imp_threads *threads;
    void (*log)(void *user, const char *message);
    void *user;
};

/* --- errors: status.c --- */

/* Keep the text, return the status: return imp_fail(ctx, IMP_ERR_ARG, "...", ...). The
 * text names file, field, expected, found. Control characters are replaced by '?'. */
imp_status imp_fail(imp_ctx *ctx, imp_status status, const char *format, ...)
    IMP_PRINTF(3, 4);
void imp_note(imp_ctx *ctx, const char *format, ...) IMP_PRINTF(2, 3); /* to the log */

/* Overflow-checked: false where the result does not fit. */
bool imp_mul(size_t *out, size_t a, size_t b);
bool imp_add_size(size_t *out, size_t a, size_t b);
bool imp_in_range(
    size_t offset, size_t length, size_t total); /* [offset, +length) inside */

/* --- sizes --- */

static inline size_t imp_least(size_t a, size_t b) {
    return a < b ? a : b;
}
static inline size_t imp_divide_up(size_t n, size_t by) {
    return (n + by - 1) / by;
}

/* --- memory: arena.c --- */

/* size bytes aligned to 64 (2 MiB and huge pages advised for large ones), zeroed; NULL
 * where there is none. */
void *imp_alloc(size_t size);
void imp_release(void *p);

/* --- tensors: tensor.c --- */

#define IMP_LANES 16 /* channels of a block */

static inline size_t imp_round16(size_t n) {
    return (n + 15) & ~(size_t)15;
}
static inline size_t imp_round64(size_t n) { /* bytes to whole lines of the cache */
    return (n + 63) & ~(size_t)63;
}
/* Channels of a picture, at most: floats of its pixel. */
#define IMP_PICTURE_LANES 4
/* Floats from pixel to pixel of a block. */
static inline size_t imp_lanes(const imp_shape *s) {
    return s->layout == IMP_PICTURE ? IMP_PICTURE_LANES : IMP_LANES;
}
/* Offset of element (n, c, h, w) in the blocked layout N, C/16, H, W, 16. */
static inline size_t imp_map_offset(
    const imp_shape *s, size_t n, size_t c, size_t h, size_t w) {
    size_t blocks = imp_round16(s->c) / 16;
    return (((n * blocks + c / 16) * s->h + h) * s->w + w) * 16 + c % 16;
}
/* Weights O, I, KH, KW are kept as the right side of a matrix product, in panels of 16
 * outputs: panel O/16, then the reduction index r, then 16 outputs. r runs over taps of 16:
 *   I >= 16: I/16, KH, KW, 16 inputs  (a tap is 16 inputs of one pixel)
 *   I <  16: the plain order I, KH, KW, filled up to a multiple of 16
 * imp_weight_depth is the number of r, a multiple of 16. */
static inline size_t imp_weight_depth(const imp_shape *s) {
    return s->c >= 16 ? imp_round16(s->c) * s->h * s->w
                      : imp_round16(s->c * s->h * s->w);
}
static inline size_t imp_weight_offset(
    const imp_shape *s, size_t o, size_t i, size_t kh, size_t kw) {
    size_t r = s->c >= 16 ? ((i / 16 * s->h + kh) * s->w + kw) * 16 + i % 16
                          : (i * s->h + kh) * s->w + kw;
    return (o / 16 * imp_weight_depth(s) + r) * 16 + o % 16;
}

/* --- threads: threads.c --- */

/* n threads, the caller's one included; NULL: no memory or the system refused. */
imp_threads *imp_threads_new(int n);
void imp_threads_free(imp_threads *t);
int imp_threads_count(const imp_threads *t);
/* How many threads to use unless told: allowed processors, at most the cgroup's quota. */
int imp_threads_default(void);
/* Call run(arg, task, thread) once for every task 0 .. tasks-1, thread in 0 .. n-1, and
 * return when all are done. Tasks must own their outputs and may not depend on thread but
 * for scratch memory: the bits of the result are the same for any n. */
typedef void (*imp_task_fn)(void *arg, size_t task, int thread);
void imp_parallel(imp_ctx *ctx, size_t tasks, imp_task_fn run, void *arg);

/* --- processor: cpu.c --- */

bool imp_cpu_parse(const char *name, imp_cpu *out);
const char *imp_cpu_name(imp_cpu cpu);
imp_cpu imp_cpu_best(void); /* the highest level of this machine */

/* --- random numbers, counter-based: rng.c --- */

/* 64 bits for (seed, counter): the same anywhere, any order (a mix of splitmix64's
 * finaliser, Steele et al. 2014). */
uint64_t imp_random(uint64_t seed, uint64_t counter);
double imp_uniform(uint64_t seed, uint64_t counter); /* [0, 1), 53 bits */
double imp_normal(uint64_t seed, uint64_t counter);  /* Box-Muller on own log, cos */
/* perm[0..n-1] <- a permutation of 0..n-1 (Fisher-Yates). */
void imp_shuffle(uint64_t seed, size_t *perm, size_t n);

/* --- files: file.c --- */

/* A whole file, read-only. Mapped; bytes past the end are never touched. */
typedef struct imp_file {
    const uint8_t *data;
    size_t size;
} imp_file;
/* status: what a file that cannot be read is to the caller (IMP_ERR_MODEL, ...). */
imp_status imp_file_open(
    imp_ctx *ctx, imp_file *out, const char *path, imp_status status);
/* These bytes are not needed any more: their pages are dropped, and come back if read. */
void imp_file_forget(const imp_file *f, size_t offset, size_t size);
void imp_file_close(imp_file *f);

/* A file written piece by piece into a temporary beside path; commit syncs and renames.
 * After an error every later call returns it; abort (also after commit) is always right. */
typedef struct imp_writer {
    imp_ctx *ctx;
    int fd;
    bool overwrite;
    char *path, *temporary;
} imp_writer;
imp_status imp_writer_open(
    imp_writer *w, imp_ctx *ctx, const char *path, bool overwrite);
imp_status imp_writer_put(imp_writer *w, const void *data, size_t size);
imp_status imp_writer_commit(imp_writer *w);
void imp_writer_abort(imp_writer *w);

#endif
