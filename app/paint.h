/* SPDX-License-Identifier: MIT
 *
 * paint.h: one painting, from the names of files to the written picture.
 */
#ifndef APP_PAINT_H
#define APP_PAINT_H

#include "inputs.h"
#include "models.h"
#include "output.h"
#include "settings.h"

typedef struct app_painting {
    imp_ctx *ctx;
    const app_command *command; /* with v: what was given, for the record */
    const app_stylize_values *v;
    imp_style_options options;
    app_inputs inputs;
    app_output output;
    app_model model;      /* opened for the first painting, kept for the next */
    double begun;         /* app_seconds at its start */
    size_t width, height; /* as it will be painted */
    size_t bytes;         /* planned */
} app_painting;

/* plan.c: sizes and planned bytes, and whether they fit. Returns the exit status, said. */
int app_plan(app_painting *p);
/* What imp_style_new would refuse. Returns the exit status, said. */
int app_plan_check(const app_painting *p);
/* The plan as text and as JSON: --dry-run. */
void app_plan_tell(const app_painting *p);

/* Prepare, iterate, write. Returns the exit status, said. */
int app_paint(app_painting *p);

#endif
