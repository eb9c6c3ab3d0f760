/* SPDX-License-Identifier: MIT
 *
 * files.h: a temporary folder for a test program, and a context. Include after
 * cmocka.h.
 */
#ifndef TESTS_FILES_H
#define TESTS_FILES_H

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

/* AddressSanitizer stops at an impossible size, unless told: here NULL is what is
 * tested. */
const char *__asan_default_options(void);
__attribute__((visibility("default"), used)) const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

static imp_ctx *ctx;
static char folder[] = "/tmp/impasto-test-XXXXXX";

static inline int files_setup(void **state) {
    (void)state;
    imp_ctx_options options = {.threads = 1};
    return imp_ctx_new(&ctx, &options) == IMP_OK && mkdtemp(folder) ? 0 : -1;
}

static inline int files_remove(
    const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static inline int files_teardown(void **state) {
    (void)state;
    imp_ctx_free(ctx);
    return nftw(folder, files_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* folder/name, good for the next seven calls. */
static inline const char *in_folder(const char *name) {
    static char paths[8][512];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline const char *make_file(const char *name, const void *data, size_t size) {
    const char *path = in_folder(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    if (size) assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    return path;
}

static inline void assert_holds(const char *path, const void *data, size_t size) {
    imp_file f;
    assert_int_equal(imp_file_open(ctx, &f, path, IMP_ERR_DATA), IMP_OK);
    assert_int_equal(f.size, size);
    assert_memory_equal(f.data, data, size);
    imp_file_close(&f);
}

/* No temporary of a writer is left in the folder. */
static inline void assert_no_temporary(void) {
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, ".impasto", 8) == 0) fail_msg("left: %s", e->d_name);
    closedir(d);
}

/* The call failed with this status and its message has this in it. */
static inline void assert_failed(
    imp_status found, imp_status expected, const char *text) {
    if (found != expected || !strstr(imp_ctx_error(ctx), text))
        fail_msg("expected %d with '%s', found %d with '%s'", (int)expected, text,
            (int)found, imp_ctx_error(ctx));
}

#endif
