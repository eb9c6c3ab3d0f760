/* SPDX-License-Identifier: MIT
 *
 * output.h: where a painted picture goes, how large, and in which form.
 */
#ifndef APP_OUTPUT_H
#define APP_OUTPUT_H

#include "image_vips.h"
#include "impasto/impasto.h"
#include "options.h"

typedef struct app_output {
    const char *path; /* NULL: nowhere; APP_STANDARD: to the descriptor */
    int descriptor;
    bool overwrite;
    app_box box; /* width 0: as painted */
    app_image_how how;
} app_output;

const char *app_output_name(const app_output *o); /* as a message says it */

/* Do two paths name the same place: one name in one folder, whatever leads there? */
bool app_output_same(const char *a, const char *b);

/* Standard output for the picture alone: *descriptor, to be closed; what is said there
 * goes to standard error from now on. Returns the exit status, said. */
int app_output_take_standard(int *descriptor);

/* Bring the picture to the size at which it is written. Returns the exit status, said. */
int app_output_fit(imp_ctx *ctx, const app_output *o, imp_picture *picture);
/* May a painted picture of this size be written? Returns the exit status, said: 6. */
int app_output_check(const app_output *o, size_t width, size_t height);
/* What app_output_fit and writing need of memory, in bytes, of a picture of this size. */
size_t app_output_bytes(const app_output *o, size_t width, size_t height);

/* Write it. A file that was written is ours: the next time it may be replaced. */
int app_output_write(imp_ctx *ctx, app_output *o, const imp_picture *picture);

#endif
