/* SPDX-License-Identifier: MIT
 *
 * report.h: everything the command says. Results go to standard output, as text or,
 * with
 * --json, as one object a line and nothing else; errors, notes and progress go to
 * standard error. Names are printed escaped: a file's name cannot steer a terminal.
 * Lines are given without their newline.
 */
#ifndef APP_REPORT_H
#define APP_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "impasto/impasto.h"
#include "options.h"

enum { APP_INTERRUPTED = 130 };

void app_report_setup(bool quiet, bool json);
bool app_json(void);

void app_error(const char *format, ...) IMP_PRINTF(1, 2);  /* "impasto: ...", always */
void app_note(const char *format, ...) IMP_PRINTF(1, 2);   /* not with --quiet */
void app_say(const char *format, ...) IMP_PRINTF(1, 2);    /* not --quiet, not --json */
void app_result(const char *format, ...) IMP_PRINTF(1, 2); /* not with --json */

/* The line that is overwritten: only where standard error is a terminal, not with
 * --quiet, at most ten times a second but for the last. */
bool app_progress_wanted(bool last);
void app_progress(const char *format, ...) IMP_PRINTF(1, 2);

/* With --json print object as a line, doubles to 9 digits; object is given away. NULL:
 * no memory, which is said. */
void app_event(json_t *object);
/* The last app_error, of that file, as an event. A command that fails with none of these gets
 * one at its end, without a file. */
void app_event_error(const char *file, int status);
json_t *app_json_text(const char *bytes); /* bytes that are not UTF-8 as \xNN */
json_t *app_json_number(double value);    /* null where not finite */

json_t *app_json_seed(uint64_t seed); /* as text where JSON's integers end */

/* Say the context's error; its status is the exit status. */
int app_fail(const imp_ctx *ctx, imp_status status);
/* Flush standard output; status, or 5 where it could not be written. */
int app_report_end(int status);

/* A context by --threads, its notes to app_note. Returns the exit status, said. */
int app_open(imp_ctx **ctx, const app_common *common);

double app_seconds(void); /* of a clock that only rises */
const char *app_bytes(char *out, size_t size, double bytes); /* "1.25 GiB" */

#endif
