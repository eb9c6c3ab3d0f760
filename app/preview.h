/* SPDX-License-Identifier: MIT
 *
 * preview.h: the picture so far, in a file that a viewer watches.
 */
#ifndef APP_PREVIEW_H
#define APP_PREVIEW_H

#include "impasto/style.h"

typedef struct app_preview {
    const char *path; /* NULL: none, or one that could not be written */
    double next;      /* app_seconds from when on it is due */
    size_t scale;     /* of the last one */
} app_preview;

/* Write it where it is due: at a new scale, and else once a second, or less often where
 * writing takes long. What goes wrong is said once, and ends no painting. */
void app_preview_show(app_preview *preview, imp_ctx *ctx, const imp_style *job,
    const imp_style_progress *at);

#endif
