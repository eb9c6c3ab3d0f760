/* SPDX-License-Identifier: MIT
 *
 * batch.h: which pictures are to be painted, and where each goes.
 */
#ifndef APP_BATCH_H
#define APP_BATCH_H

#include <stdbool.h>
#include <stddef.h>

typedef struct app_batch {
    bool many; /* CONTENT was a folder or a list, OUT is a folder */
    size_t n, room;
    char **contents, **outputs; /* outputs: NULL where there is no OUT */
} app_batch;

/* CONTENT: a picture; a folder, of which the pictures are taken, in the order of their
 * names; or @FILE, a path a line. Of more than one, OUT (may be NULL) is a folder that is
 * there, and the outputs are the contents' names with .png. Returns the exit status,
 * said: 2 where two contents would go to one output, 3, 5 without a folder OUT. The
 * batch is to be freed in any case. */
int app_batch_list(app_batch *b, const char *content, const char *out);
void app_batch_free(app_batch *b);

#endif
