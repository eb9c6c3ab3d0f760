/* SPDX-License-Identifier: MIT
 *
 * models.h: which model is meant, and where it lies.
 */
#ifndef APP_MODELS_H
#define APP_MODELS_H

#include <limits.h>
#include <stdbool.h>

#include "impasto/style.h"

typedef struct app_model {
    char path[PATH_MAX]; /* as the user knows it; empty: the builtin one */
    imp_model *model;    /* NULL until opened; imp_model_free */
} app_model;

/* The folder of installed models, empty where the environment tells none. */
void app_models_folder(char *out, size_t size);

/* Find the model: option (--model FILE|NAME; NULL: not given), else IMPASTO_MODEL, else, to
 * classify, an installed classifier (an error where there is none), and to paint an installed
 * vgg19 or builtin. A name is one of the models folder, $XDG_DATA_HOME/impasto/models, or
 * "builtin". Returns the exit status, said. */
int app_model_find(app_model *m, const char *option, bool classify);

/* Is it "builtin" or an installed one, whatever files lie about? */
bool app_model_is_name(const char *name);
/* Returns the exit status, said: 4 where it is not. */
int app_model_check_name(const char *name);

/* Read it. A file that another program wrote (foreign/convert.h) is converted once, into
 * $XDG_CACHE_HOME/impasto (~/.cache/impasto), under its SHA-256. Returns the exit status,
 * said. */
int app_model_open(imp_ctx *ctx, app_model *m);
/* Without what a job with these options does not look at. */
int app_model_open_for(imp_ctx *ctx, app_model *m, const imp_style_options *style);
const char *app_model_name(const app_model *m); /* for people: the path, or builtin */
enum { APP_MODEL_NAME = 256 };
/* The name alone, without folders and ending; of an empty path: builtin. */
void app_model_short_name(const char *path, char *out, size_t size);

#endif
