/* SPDX-License-Identifier: MIT
 *
 * like.h: --like: paint as another picture was painted.
 */
#ifndef APP_LIKE_H
#define APP_LIKE_H

#include "models.h"
#include "settings.h"

/* --like: give v the settings of the picture v->like where it has none of its own, and
 * the name of its model, which is kept in model. Returns the exit status, said: 3 for a
 * picture without settings, 4 for a model that is not installed. */
int app_like(
    const app_command *command, app_stylize_values *v, char model[APP_MODEL_NAME]);

#endif
