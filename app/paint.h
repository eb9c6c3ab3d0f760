/* SPDX-License-Identifier: MIT
 *
 * paint.h: a style job from pictures in memory to the written file.
 */
#ifndef APP_PAINT_H
#define APP_PAINT_H

#include "impasto/style.h"
#include "models.h"

typedef struct app_painting {
    imp_ctx *ctx;
    imp_style_options options;
    const char *output;
    bool overwrite;
    size_t save_every;                     /* iterations; 0: only at the end */
    imp_picture content, style, start;     /* start: of IMP_INIT_PICTURE */
    size_t content_size[2], style_size[2]; /* of the files: width, height */
    app_model model;
    double begun; /* app_seconds at the command's start */
    size_t width, height, style_width, style_height; /* as they will be painted, used */
    size_t bytes;                                    /* planned */
} app_painting;

/* Sizes and planned bytes, and whether they fit. Returns the exit status, said. */
int app_paint_plan(app_painting *p);
/* Prepare, iterate, write. Returns the exit status, said. */
int app_paint(app_painting *p);

#endif
