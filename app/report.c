/* SPDX-License-Identifier: MIT
 *
 * report.c: lines on standard output and standard error.
 */
#include "report.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool quiet, json;
static char *last_error;    /* without "impasto: " */
static bool error_told;     /* as an event */
static int progress_length; /* of the line now shown; 0: none */

void app_report_setup(bool want_quiet, bool want_json) {
    quiet = want_quiet;
    json = want_json;
}

bool app_json(void) {
    return json;
}

/* --- escaping --- */

/* Bytes of the well-formed UTF-8 character at s, or 0 (RFC 3629, section 4). */
static size_t utf8_length(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] > 0x9f;
    bool beyond = s[0] == 0xf4 && s[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : n;
}

/* A copy with \xNN for each byte that is no UTF-8, and, where controls is set, for
 * control characters (C0, DEL, C1). NULL: no memory. */
static char *escape(const char *text, bool controls) {
    char *out = malloc(4 * strlen(text) + 1), *to = out;
    if (!out) return NULL;
    const unsigned char *s = (const unsigned char *)text;
    while (*s) {
        size_t n = utf8_length(s);
        bool control = s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && s[1] < 0xa0);
        if (n == 0 || (controls && control)) {
            size_t bytes = n ? n : 1;
            for (size_t i = 0; i < bytes; i++) to += sprintf(to, "\\x%02x", s[i]);
            s += bytes;
        } else {
            memcpy(to, s, n);
            to += n;
            s += n;
        }
    }
    *to = 0;
    return out;
}

/* --- lines --- */

static void clear_progress(void) {
    if (progress_length > 0) fprintf(stderr, "\r%*s\r", progress_length, "");
    progress_length = 0;
}

/* The formatted text, escaped, to be freed. */
static char *format_line(const char *format, va_list args) {
    char *raw = NULL;
    if (vasprintf(&raw, format, args) < 0) return NULL;
    char *line = escape(raw, true);
    free(raw);
    return line;
}

static void put_line(FILE *file, const char *prefix, const char *line) {
    clear_progress();
    fprintf(file, "%s%s\n", prefix, line ? line : "out of memory");
    fflush(file);
}

void app_error(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *line = format_line(format, args);
    va_end(args);
    put_line(stderr, "impasto: ", line);
    free(last_error);
    last_error = line;
}

void app_note(const char *format, ...) {
    if (quiet) return;
    va_list args;
    va_start(args, format);
    char *line = format_line(format, args);
    va_end(args);
    put_line(stderr, "impasto: note: ", line);
    free(line);
}

static void put_output(const char *format, va_list args) {
    char *line = format_line(format, args);
    put_line(stdout, "", line);
    free(line);
}

void app_say(const char *format, ...) {
    if (quiet || json) return;
    va_list args;
    va_start(args, format);
    put_output(format, args);
    va_end(args);
}

void app_result(const char *format, ...) {
    if (json) return;
    va_list args;
    va_start(args, format);
    put_output(format, args);
    va_end(args);
}

bool app_progress_wanted(bool last) {
    static double next;
    if (quiet || !isatty(STDERR_FILENO)) return false;
    double now = app_seconds();
    if (!last && now < next) return false;
    next = now + 0.1;
    return true;
}

void app_progress(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *line = format_line(format, args);
    va_end(args);
    if (!line) return;
    int length = (int)strlen(line);
    int rest = progress_length > length ? progress_length - length : 0;
    fprintf(stderr, "\r%s%*s", line, rest, "");
    fflush(stderr);
    progress_length = length;
    free(line);
}

/* --- JSON --- */

json_t *app_json_text(const char *bytes) {
    json_t *text = json_string(bytes);
    if (text) return text;
    char *escaped = escape(bytes, false);
    if (escaped) text = json_string(escaped);
    free(escaped);
    return text;
}

json_t *app_json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *app_json_seed(uint64_t seed) {
    if (seed <= INT64_MAX) return json_integer((json_int_t)seed);
    return json_sprintf("%llu", (unsigned long long)seed);
}

void app_event(json_t *object) {
    if (json) {
        char *line = NULL;
        if (object) line = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
        if (line)
            put_line(stdout, "", line);
        else
            app_error("out of memory for a line of JSON");
        free(line);
    }
    json_decref(object);
}

void app_event_error(const char *file, int status) {
    json_t *event = json_pack("{s:s, s:i, s:o}", "event", "error", "status", status,
        "message", app_json_text(last_error ? last_error : ""));
    if (event && file) json_object_set_new(event, "file", app_json_text(file));
    app_event(event);
    error_told = true;
}

/* --- ends and beginnings --- */

int app_fail(const imp_ctx *ctx, imp_status status) {
    app_error("%s", imp_ctx_error(ctx));
    return (int)status;
}

int app_report_end(int status) {
    clear_progress();
    if (status && json && last_error && !error_told) app_event_error(NULL, status);
    bool failed = fflush(stdout) != 0 || ferror(stdout);
    free(last_error);
    last_error = NULL;
    if (!failed) return status;
    fprintf(stderr, "impasto: standard output: cannot be written\n");
    return status ? status : IMP_ERR_FILE;
}

/* The library's notes, each once: planning and doing may say the same. */
static void log_note(void *user, const char *message) {
    static char said[16][256];
    static size_t n;
    (void)user;
    for (size_t i = 0; i < n && i < 16; i++)
        if (strncmp(said[i], message, sizeof said[i] - 1) == 0) return;
    snprintf(said[n++ % 16], sizeof said[0], "%s", message);
    app_note("%s", message);
}

int app_open(imp_ctx **ctx, const app_common *common) {
    imp_ctx_options options = {
        .log = log_note, .precision = (imp_precision)common->precision};
    if (common->threads != APP_ABSENT) options.threads = (int)common->threads;
    imp_status status = imp_ctx_new(ctx, &options);
    if (status == IMP_OK) return 0;
    app_fail(*ctx, status);
    imp_ctx_free(*ctx);
    *ctx = NULL;
    return (int)status;
}

double app_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *app_bytes(char *out, size_t size, double bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++) bytes /= 1024;
    snprintf(out, size, unit ? "%.2f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}
