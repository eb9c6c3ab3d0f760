/* SPDX-License-Identifier: MIT
 *
 * known.h: the models that `model fetch` knows: where they are, and by which checksum.
 */
#ifndef APP_KNOWN_H
#define APP_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"

enum { APP_MIRRORS = 4, APP_KNOWN = 64 };

typedef struct app_known {
    const char *name, *what, *licence;
    uint64_t size; /* of the file, in bytes */
    app_digest_kind kind;
    const char *digest;                /* what its maker publishes, in small letters */
    const char *urls[APP_MIRRORS + 1]; /* in the order to be tried; NULL ends them */
} app_known;

typedef struct app_catalogue {
    app_known models[APP_KNOWN];
    size_t n;
    char *text; /* of IMPASTO_KNOWN; the entries point into it */
} app_catalogue;

/* The table of known.c, and the file that IMPASTO_KNOWN names: a line a model, cut by tabs:
 * name, size, checksum, licence, one to four URLs. A name that is there already is replaced.
 * Returns the exit status, said: 3. app_catalogue_free in any case. */
int app_catalogue_read(app_catalogue *c);
void app_catalogue_free(app_catalogue *c);

const app_known *app_catalogue_find(const app_catalogue *c, const char *name);
/* The one that the file at path is, by size and checksum; NULL: none, or it cannot be told. */
const app_known *app_catalogue_of_file(const app_catalogue *c, const char *path);
/* Say that there is no such model, and the nearest. Returns the exit status. */
int app_catalogue_lacks(const app_catalogue *c, const char *name);

/* May a model in the folder be called so? Neither empty nor long, no slash, no dot in front,
 * not builtin, no control characters. */
bool app_known_name(const char *name);
/* The name of the file that a URL ends with, without a question behind it. */
void app_known_file(const char *url, char *out, size_t size);

#endif
