/* SPDX-License-Identifier: MIT
 *
 * golden.h: reads the golden numbers that tools/oracle/ makes with PyTorch. They lie in
 * IMPASTO_GOLDEN, else GOLDEN_DIR. Include after cmocka.h.
 */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/safetensors.h"

#ifndef GOLDEN_DIR
#define GOLDEN_DIR "tests/golden"
#endif

/* The golden file of that name, in a buffer of its own until the next call. */
static inline const char *golden_path(const char *file) {
    static char path[4096];
    const char *where = getenv("IMPASTO_GOLDEN");
    snprintf(path, sizeof path, "%s/%s", where && *where ? where : GOLDEN_DIR, file);
    return path;
}

/* Open file (say "ops.safetensors"); NULL, and the reason on standard error. */
static inline imp_safetensors *golden_open(imp_ctx *c, const char *file) {
    imp_safetensors *st;
    if (imp_safetensors_open(c, &st, golden_path(file)) == IMP_OK) return st;
    fprintf(stderr, "%s\n", imp_ctx_error(c));
    return NULL;
}

static inline const imp_safetensors_entry *golden_find(
    const imp_safetensors *st, const char *prefix, const char *what) {
    char name[256];
    snprintf(name, sizeof name, "%s.%s", prefix, what);
    return imp_safetensors_find(st, name);
}

/* The numbers of an F64 tensor, to be freed; NULL where e is NULL. */
static inline double *golden_numbers(const imp_safetensors_entry *e) {
    if (!e) return NULL;
    double *x = malloc((e->count + 1) * sizeof *x);
    assert_non_null(x);
    assert_int_equal(e->dtype, IMP_DTYPE_F64);
    memcpy(x, e->data, e->count * sizeof *x); /* little endian, as our machines are */
    return x;
}

#endif
