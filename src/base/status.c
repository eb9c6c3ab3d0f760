/* SPDX-License-Identifier: MIT */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifndef IMPASTO_VERSION
#define IMPASTO_VERSION "0.1.0"
#endif

/* Bytes of the well-formed, printable UTF-8 character at s; 0 where there is none. s
 * ends with a zero byte, so that no test reads beyond it. */
static size_t printable(const unsigned char *s) {
    if (s[0] < 0x80) return s[0] >= 0x20 && s[0] != 0x7f ? 1 : 0;
    size_t more = s[0] >= 0xf0 ? 3 : s[0] >= 0xe0 ? 2 : 1;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    uint32_t code = s[0] & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (s[i] & 0x3fu);
    }
    static const uint32_t least[] = {
        0, 0xa0, 0x800, 0x10000}; /* C1 controls: below a0 */
    if (code < least[more] || code > 0x10ffff) return 0;
    if (code >= 0xd800 && code <= 0xdfff) return 0;
    return more + 1;
}

/* Names and headers of files are put into messages: what could steer a terminal or
 * break a JSON line becomes '?'. */
static void make_printable(char *text) {
    for (char *p = text; *p;) {
        size_t n = printable((const unsigned char *)p);
        if (n == 0) *p = '?';
        p += n ? n : 1;
    }
}

imp_status imp_fail(imp_ctx *ctx, imp_status status, const char *format, ...) {
    if (!ctx) return status;
    char text[sizeof ctx->error]; /* an argument may be the present text */
    va_list args;
    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0) text[0] = 0;
    va_end(args);
    make_printable(text);
    memcpy(ctx->error, text, sizeof text);
    return status;
}

void imp_note(imp_ctx *ctx, const char *format, ...) {
    if (!ctx || !ctx->log) return;
    char text[sizeof ctx->error];
    va_list args;
    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0) text[0] = 0;
    va_end(args);
    make_printable(text);
    ctx->log(ctx->user, text);
}

bool imp_mul(size_t *out, size_t a, size_t b) {
    if (b && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

bool imp_add_size(size_t *out, size_t a, size_t b) {
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}

bool imp_in_range(size_t offset, size_t length, size_t total) {
    return offset <= total && length <= total - offset;
}

const char *imp_ctx_error(const imp_ctx *ctx) {
    return ctx ? ctx->error : "out of memory"; /* all that can leave us without one */
}

const char *imp_version(void) {
    return IMPASTO_VERSION;
}
