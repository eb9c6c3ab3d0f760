/* SPDX-License-Identifier: MIT
 *
 * commands.h: the subcommands, one file each (cmd_*.c).
 */
#ifndef APP_COMMANDS_H
#define APP_COMMANDS_H

#include "options.h"

extern const app_command app_stylize, app_classify, app_train_mnist,
    app_train_classifier, app_train_features, app_test;
extern const app_command app_model_info, app_model_convert, app_model_init,
    app_model_plan;
extern const app_command app_model_list, app_model_fetch, app_model_verify,
    app_model_remove;

#endif
