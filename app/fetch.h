/* SPDX-License-Identifier: MIT
 *
 * fetch.h: a file of known size and checksum from one of several servers.
 */
#ifndef APP_FETCH_H
#define APP_FETCH_H

#include "digest.h"
#include "partial.h"

typedef struct app_fetch {
    const char *name;        /* for people */
    const char *const *urls; /* http, https; tried in this order; NULL ends them */
    uint64_t size;
    app_digest_kind kind;
    const char *digest;
    app_partial *partial; /* open; what is there is gone on with */
    const char *source;   /* out: the URL that it came from */
} app_fetch;

/* Fetch it. In the end the partial file is the whole one and its checksum right, or it is what
 * another call can go on with, or empty. Returns the exit status, said: 4 a wrong file, 5 a
 * server or the file system, 130 interrupted. */
int app_fetch_run(app_fetch *f);

/* Compare a file's size and checksum with what they ought to be. Returns the exit status,
 * said: 4; 5 where it cannot be read. */
int app_fetch_check(
    const char *path, uint64_t size, app_digest_kind kind, const char *digest);

/* A URL without the password in it, for messages and records. */
const char *app_fetch_shown(const char *url, char *out, size_t size);

#endif
