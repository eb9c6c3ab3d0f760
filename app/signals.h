/* SPDX-License-Identifier: MIT
 *
 * signals.h: Ctrl-C and SIGTERM ask a job to stop at its next good moment; a second one
 * ends the program at once, with status 130.
 */
#ifndef APP_SIGNALS_H
#define APP_SIGNALS_H

#include <stdbool.h>

void app_signals_catch(void);
bool app_interrupted(void);

#endif
