/* SPDX-License-Identifier: MIT
 *
 * partial.h: the beginning of a file that is being fetched. One process has it at a time.
 */
#ifndef APP_PARTIAL_H
#define APP_PARTIAL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct app_partial {
    char path[PATH_MAX];
    int fd;
    uint64_t size; /* bytes that are there */
} app_partial;

/* Open or make the file at path, and lock it. Returns the exit status, said: 5, also where
 * another process has it. */
int app_partial_open(app_partial *p, const char *path);
/* One more piece. False: errno says why. */
bool app_partial_put(app_partial *p, const void *bytes, size_t n);
bool app_partial_clear(app_partial *p); /* from the beginning */
/* Unlock; remove: the file goes too. An empty one always does. */
void app_partial_close(app_partial *p, bool remove);

/* Bytes that are there of the one at path; 0: none. */
uint64_t app_partial_size(const char *path);

#endif
