/* SPDX-License-Identifier: MIT
 *
 * record.h: what a finished picture says of how it was made.
 */
#ifndef APP_RECORD_H
#define APP_RECORD_H

#include "inputs.h"
#include "models.h"
#include "settings.h"

/* One line of JSON, in ASCII: program and version, model, names (without folders) and
 * SHA-256 of the inputs, settings. Nothing of time, place or threads. To be freed with
 * free; NULL: no memory. */
char *app_record_make(const app_command *command, const app_stylize_values *v,
    const imp_style_options *o, const app_inputs *in, const app_model *model);

#endif
