/* SPDX-License-Identifier: MIT
 *
 * inputs.h: the pictures that a painting is made from.
 */
#ifndef APP_INPUTS_H
#define APP_INPUTS_H

#include "impasto/style.h"
#include "settings.h"

typedef struct app_input {
    const char *file;     /* NULL: none; a mask "none": white all over */
    char sha256[65];      /* of the file, once read; else empty */
    size_t width, height; /* of the file's picture */
    imp_picture picture;  /* of no planes until read */
} app_input;

typedef struct app_inputs {
    app_input content, start; /* start: of IMP_INIT_PICTURE */
    size_t n_styles;
    app_input styles[IMP_STYLE_MAX_SOURCES];
    app_input content_masks[IMP_STYLE_MAX_SOURCES], masks[IMP_STYLE_MAX_SOURCES];
    double weights[IMP_STYLE_MAX_SOURCES]; /* of sum 1; one of weight 0 is not read */
    imp_style_source sources[IMP_STYLE_MAX_SOURCES]; /* one a style */
} app_inputs;

/* The files but the content, and the weights; as many of each as there have to be.
 * Returns the exit status, said: 2. */
int app_inputs_name(app_inputs *in, const app_stylize_values *v);

/* The files, content first, into out; at most APP_INPUTS of them. Returns how many. */
enum { APP_INPUTS = 3 * IMP_STYLE_MAX_SOURCES + 2 };
size_t app_inputs_files(const app_inputs *in, const char *out[APP_INPUTS]);

/* Read them all, each brought at once to the size at which it will be looked at. box:
 * what the painted picture shall fit; it sets o->size. Returns the exit status, said. */
int app_inputs_load(imp_ctx *ctx, app_inputs *in, imp_style_options *o, app_box box);
void app_inputs_free(app_inputs *in); /* the pictures alone: names and weights stay */

/* The size at which a style of this size is looked at beside a painted picture whose
 * longest side is painted: never above its own. Returns the longest side asked for. */
size_t app_style_size(
    const imp_style_options *o, size_t painted, size_t *width, size_t *height);

#endif
