/* SPDX-License-Identifier: MIT
 *
 * installed.h: the models folder: NAME.safetensors, which is the model, NAME.json, which
 * says where it came from, and NAME.partial, the beginning of one that is being fetched.
 */
#ifndef APP_INSTALLED_H
#define APP_INSTALLED_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "impasto/impasto.h"

typedef struct app_place {
    char folder[PATH_MAX], model[PATH_MAX], record[PATH_MAX], partial[PATH_MAX];
} app_place;

/* The paths of a model of that name. Returns the exit status, said: 2 where there cannot be
 * such a name, 5 where the environment tells no folder. */
int app_place_of(app_place *place, const char *name);
/* Make the folder and those above it. Returns the exit status, said. */
int app_place_make(const app_place *place);
bool app_place_has(const char *path);

/* What NAME.json says: nothing of time. */
typedef struct app_origin {
    char source[4096]; /* a URL, or the name of a file without its folders */
    uint64_t size;     /* of the file, as it came */
    char sha256[APP_DIGEST], md5[APP_DIGEST];
    char result[APP_DIGEST]; /* SHA-256 of NAME.safetensors */
} app_origin;

/* Digests of what came, at path, from source. Returns the exit status, said. */
int app_origin_source(app_origin *o, const char *path, const char *source);
/* With that of what was made of it, at place->model, written to place->record. Returns the exit
 * status, said. */
int app_origin_write(imp_ctx *ctx, app_origin *o, const app_place *place);
/* False: it is none of ours, and why says what is wrong. */
bool app_origin_read(app_origin *o, const char *path, char *why, size_t size);

/* Names of models in the folder, in order, each to be freed, and the list. Returns how many;
 * none where there is no folder. */
size_t app_installed(char ***names);

#endif
