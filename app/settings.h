/* SPDX-License-Identifier: MIT
 *
 * settings.h: what decides the pixels of a painting: from the options of stylize to those
 * of the library and to JSON. like.h goes the way back.
 */
#ifndef APP_SETTINGS_H
#define APP_SETTINGS_H

#include <jansson.h>

#include "impasto/style.h"
#include "options.h"

extern const app_option app_stylize_options[]; /* stylize_options.c */

/* The options of stylize as they were given. */
typedef struct app_stylize_values {
    app_common common;
    const char *output, *preview, *like, *model, *preset, *init;
    app_box size, output_size;
    size_t style_size, first_size, iterations, scale_iterations, rematch, turn;
    size_t history, save_every, quality;
    int objective, optimizer, pooling, padding, keep_colors, depth;
    double style_scale, tolerance, precondition, rate, content_weight, style_weight,
        tv_weight, range_weight;
    app_names content_layers, style_layers, nearest_layers, style_loss;
    app_names content_mask, style_mask;
    app_numbers layer_weights, style_weights;
    bool overwrite, dry_run;
} app_stylize_values;

/* The preset's options, then what was given. Of size only "N" is known before a content
 * is: a box of two sides is the caller's. Names point into v. Returns the exit status,
 * said. */
int app_settings_take(
    const app_command *command, const app_stylize_values *v, imp_style_options *out);

/* Every setting that decides pixels or their file, under the name of its option with _ for -, as the
 * value that one would type. NULL: no memory. */
json_t *app_settings_json(const app_command *command, const app_stylize_values *v,
    const imp_style_options *o);

/* The option of the setting under that member's name; NULL: no setting is. */
const app_option *app_settings_find(const app_command *command, const char *member);

const char *app_term_name(imp_style_term term); /* until the next app_choice */

/* "content", "noise", "mix" or "picture". */
const char *app_init_name(imp_init init);
imp_init app_init_of(const char *word); /* any other word: that of a picture's file */

#endif
