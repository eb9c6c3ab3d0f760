/* SPDX-License-Identifier: MIT
 *
 * options.c: from argv to a struct, by the table.
 */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

enum { WORD = 64 }; /* longer words are compared by their beginning */

size_t app_distance(const char *a, const char *b) {
    size_t rows[3][WORD + 1]; /* row r of the edit matrix is rows[(r + 1) % 3] */
    size_t na = strnlen(a, WORD), nb = strnlen(b, WORD);
    for (size_t j = 0; j <= nb; j++) rows[1][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *two = rows[(i + 2) % 3], *one = rows[i % 3], *now = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = one[j - 1] + (a[i - 1] != b[j - 1]);
            if (one[j] + 1 < best) best = one[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swap && two[j - 2] + 1 < best) best = two[j - 2] + 1;
            now[j] = best;
        }
    }
    size_t shorter = na < nb ? na : nb; /* a beginning is as near as one mistake */
    bool begins = shorter >= 3 && strncmp(a, b, shorter) == 0;
    return begins && rows[(na + 1) % 3][nb] > 1 ? 1 : rows[(na + 1) % 3][nb];
}

const char *app_choice(const char *choices, int i) {
    static char word[WORD];
    for (; i > 0 && choices; i--) {
        choices = strchr(choices, '|');
        if (choices) choices++;
    }
    if (!choices || i < 0) return "";
    size_t n = strcspn(choices, "|");
    snprintf(word, sizeof word, "%.*s", (int)(n < WORD ? n : WORD - 1), choices);
    return word;
}

/* "a, b or c" from "a|b|c". */
static void join_choices(char *out, size_t size, const char *choices) {
    size_t used = 0;
    for (const char *c = choices; *c; c++) {
        const char *put = (char[]){*c, 0};
        if (*c == '|') put = strchr(c + 1, '|') ? ", " : " or ";
        size_t n = strlen(put);
        if (used + n + 1 > size) break;
        memcpy(out + used, put, n);
        used += n;
    }
    out[used] = 0;
}

/* --- one value --- */

/* where: words before the option's name, "--" for one that was typed. */
static bool refuse(const app_option *o, const char *found, const char *where) {
    char expected[256];
    switch (o->type) {
    case APP_COUNT:
        snprintf(expected, sizeof expected, "%.0f to %.0f", o->low, o->high);
        break;
    case APP_SEED:
        snprintf(
            expected, sizeof expected, "0 to %llu", (unsigned long long)UINT64_MAX);
        break;
    case APP_NUMBER:
        snprintf(expected, sizeof expected, "a number from %g to %g", o->low, o->high);
        break;
    case APP_CHOICE:
        join_choices(expected, sizeof expected, o->choices);
        break;
    case APP_COUNTS:
    case APP_NUMBERS:
        snprintf(expected, sizeof expected,
            "at most %d numbers from %.10g to %.10g, a comma between two", APP_LIST,
            o->low, o->high);
        break;
    case APP_NAMES:
    case APP_FILES:
        snprintf(expected, sizeof expected, "at most %d names, a comma between two",
            APP_LIST);
        break;
    case APP_REPEATED:
        snprintf(expected, sizeof expected, "%s, at most %d times", o->value, APP_LIST);
        break;
    case APP_BOX:
        snprintf(expected, sizeof expected, "N or WxH, sides of %.0f to %.0f", o->low,
            o->high);
        break;
    case APP_FLAG:
        snprintf(expected, sizeof expected, "no value");
        break;
    case APP_TEXT:
        snprintf(expected, sizeof expected, "%s", o->value);
        break;
    }
    app_error("%s%s: expected %s, found %s", where, o->name, expected,
        *found ? found : "nothing");
    return false;
}

/* Digits alone; no sign, no space, no overflow. */
static bool read_whole(const char *text, uint64_t *out) {
    if (!*text || text[strspn(text, "0123456789")]) return false;
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    *out = value;
    return errno == 0;
}

static bool read_count(const app_option *o, const char *text, size_t *out) {
    uint64_t value;
    if (!read_whole(text, &value)) return false;
    if ((double)value < o->low || (double)value > o->high) return false;
    *out = (size_t)value;
    return true;
}

/* "N" or "WxH". */
static bool read_box(const app_option *o, const char *text, app_box *out) {
    char width[WORD];
    size_t n = strcspn(text, "x");
    *out = (app_box){0};
    if (!text[n]) return read_count(o, text, &out->width);
    snprintf(width, sizeof width, "%.*s", (int)(n < WORD ? n : WORD - 1), text);
    return read_count(o, width, &out->width) &&
           read_count(o, text + n + 1, &out->height);
}

/* strtod alone would take "nan", "inf", hexadecimal and spaces. */
bool app_read_number(const char *text, double low, double high, double *out) {
    if (!*text || text[strspn(text, "0123456789+-.eE")]) return false;
    char *end;
    double value = strtod(text, &end);
    if (*end || !isfinite(value) || value < low || value > high) return false;
    *out = value;
    return true;
}

static bool read_choice(const app_option *o, const char *text, int *out) {
    if (strchr(text, '|')) return false;
    for (int i = 0; *app_choice(o->choices, i); i++)
        if (strcmp(app_choice(o->choices, i), text) == 0) {
            *out = i;
            return true;
        }
    return false;
}

/* A list: cut at the commas in a copy, and each piece read by its type. */
static bool read_list(const app_option *o, const char *text, void *at) {
    app_names names = {.n = 0};
    if (strlen(text) >= sizeof names.text) return false;
    bool named = o->type == APP_NAMES || o->type == APP_FILES;
    app_names *list = named ? at : &names;
    *list = (app_names){.n = 0};
    strcpy(list->text, text);
    char *piece = list->text, *comma;
    do {
        comma = strchr(piece, ',');
        if (comma) *comma = 0;
        if ((!*piece && o->type != APP_FILES) || list->n == APP_LIST) return false;
        list->values[list->n++] = piece;
        if (comma) piece = comma + 1;
    } while (comma);
    app_counts *counts = at;
    app_numbers *numbers = at;
    for (size_t i = 0; i < names.n; i++) {
        bool good = o->type == APP_COUNTS
                        ? read_count(o, names.values[i], &counts->values[i])
                        : app_read_number(
                              names.values[i], o->low, o->high, &numbers->values[i]);
        if (!good) return false;
    }
    if (o->type == APP_COUNTS) counts->n = names.n;
    if (o->type == APP_NUMBERS) numbers->n = names.n;
    return true;
}

/* One more name, behind the others in their text. */
static bool read_repeated(const char *text, app_names *list) {
    size_t used = 0;
    if (list->n)
        used = (size_t)(list->values[list->n - 1] - list->text) +
               strlen(list->values[list->n - 1]) + 1;
    if (!*text || list->n == APP_LIST || strlen(text) >= sizeof list->text - used)
        return false;
    list->values[list->n++] = strcpy(list->text + used, text);
    return true;
}

static bool read_value(
    const app_option *o, void *values, const char *text, const char *where) {
    void *at = (char *)values + o->offset;
    bool good = false;
    switch (o->type) {
    case APP_FLAG:
        break;
    case APP_COUNT:
        good = read_count(o, text, at);
        break;
    case APP_SEED:
        good = read_whole(text, at);
        break;
    case APP_NUMBER:
        good = app_read_number(text, o->low, o->high, at);
        break;
    case APP_TEXT:
        good = *text != 0;
        if (good) *(const char **)at = text;
        break;
    case APP_CHOICE:
        good = read_choice(o, text, at);
        break;
    case APP_BOX:
        good = read_box(o, text, at);
        break;
    case APP_COUNTS:
    case APP_NUMBERS:
    case APP_NAMES:
    case APP_FILES:
        good = read_list(o, text, at);
        break;
    case APP_REPEATED:
        good = read_repeated(text, at);
        break;
    }
    return good || refuse(o, text, where);
}

static bool set_default(const app_option *o, void *values) {
    if (o->standard) return read_value(o, values, o->standard, "--");
    void *at = (char *)values + o->offset;
    switch (o->type) {
    case APP_FLAG:
        if (o->letter != 'h') *(bool *)at = false;
        break;
    case APP_COUNT:
        *(size_t *)at = APP_ABSENT;
        break;
    case APP_SEED:
        *(uint64_t *)at = 0;
        break;
    case APP_NUMBER:
        *(double *)at = NAN;
        break;
    case APP_TEXT:
        *(const char **)at = NULL;
        break;
    case APP_CHOICE:
        *(int *)at = -1;
        break;
    case APP_BOX:
        *(app_box *)at = (app_box){0};
        break;
    case APP_COUNTS:
        ((app_counts *)at)->n = 0;
        break;
    case APP_NUMBERS:
        ((app_numbers *)at)->n = 0;
        break;
    case APP_NAMES:
    case APP_FILES:
    case APP_REPEATED:
        ((app_names *)at)->n = 0;
        break;
    }
    return true;
}

/* --- the arguments --- */

static const app_option *find(const app_command *c, const char *name, size_t n) {
    for (const app_option *o = c->options; o->name; o++)
        if (strlen(o->name) == n && strncmp(o->name, name, n) == 0) return o;
    return NULL;
}

static const app_option *find_letter(const app_command *c, char letter) {
    for (const app_option *o = c->options; o->name; o++)
        if (o->letter && o->letter == letter) return o;
    return NULL;
}

const app_option *app_find_option(const app_command *command, const char *name) {
    return find(command, name, strlen(name));
}

bool app_given(const app_command *command, const void *values, const app_option *o) {
    const app_common *common = values;
    return o && common->given[o - command->options];
}

bool app_give(const app_command *command, void *values, const app_option *o,
    const char *text, const char *where) {
    app_common *common = values;
    common->given[o - command->options] = true;
    return read_value(o, values, text, where);
}

static bool unknown(const app_command *c, const char *argument) {
    char word[WORD];
    const char *name = argument + strspn(argument, "-");
    snprintf(word, sizeof word, "%.*s", (int)strcspn(name, "="), name);
    const app_option *nearest = c->options;
    for (const app_option *o = c->options; o->name; o++)
        if (app_distance(o->name, word) < app_distance(nearest->name, word))
            nearest = o;
    app_error("%s: unknown option %s; the nearest is --%s (see impasto %s --help)",
        c->name, argument, nearest->name, c->name);
    return false;
}

/* The option at argv[*i], its value taken from the same or the next argument. */
static bool take_option(
    const app_command *c, void *values, int argc, char **argv, int *i) {
    const char *argument = argv[*i], *value = NULL;
    const app_option *o;
    if (argument[1] == '-') {
        size_t n = strcspn(argument + 2, "=");
        o = find(c, argument + 2, n);
        if (argument[2 + n] == '=') value = argument + 3 + n;
    } else {
        o = find_letter(c, argument[1]);
        if (argument[2]) value = argument + 2 + (argument[2] == '=');
    }
    if (!o) return unknown(c, argument);
    if (o->type == APP_FLAG) {
        if (value) return refuse(o, value, "--");
        *(bool *)((char *)values + o->offset) = true;
        return true;
    }
    if (!value) {
        if (*i + 1 >= argc) return refuse(o, "", "--");
        value = argv[++*i];
        if (value[0] == '-' && value[1] == '-') {
            app_error("--%s: expected a value, found the option %s", o->name, value);
            return false;
        }
    }
    return app_give(c, values, o, value, "--");
}

static bool take_all(const app_command *c, void *values, int argc, char **argv) {
    app_common *common = values;
    bool options = true;
    common->operands = argv;
    common->n_operands = 0;
    for (int i = 0; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1]) {
            if (!take_option(c, values, argc, argv, &i)) return false;
        } else {
            argv[common->n_operands++] = argv[i];
        }
    }
    return true;
}

/* Is every operand and every required option there? */
static bool complete(const app_command *c, const void *values) {
    const app_common *common = values;
    if (common->n_operands < c->least) {
        app_error(
            "%s: expected %s (see impasto %s --help)", c->name, c->operands, c->name);
        return false;
    }
    if (common->n_operands > c->most) {
        app_error("%s: unexpected argument %s (see impasto %s --help)", c->name,
            common->operands[c->most], c->name);
        return false;
    }
    for (const app_option *o = c->options; o->name; o++) {
        const void *at = (const char *)values + o->offset;
        bool absent = o->required && o->type == APP_TEXT && !*(const char *const *)at;
        if (o->required && o->type == APP_COUNT)
            absent = *(const size_t *)at == APP_ABSENT;
        if (o->required && o->type == APP_REPEATED)
            absent = ((const app_names *)at)->n == 0;
        if (absent) {
            app_error("%s: expected --%s %s (see impasto %s --help)", c->name, o->name,
                o->value, c->name);
            return false;
        }
    }
    return true;
}

static bool help_wanted(int argc, char **argv) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

bool app_parse(
    const app_command *command, void *values, int argc, char **argv, int *status) {
    *status = APP_USAGE;
    app_common *common = values;
    memset(common->given, 0, sizeof common->given);
    for (const app_option *o = command->options; o->name; o++)
        if (!set_default(o, values)) return false;
    if (help_wanted(argc, argv)) {
        app_help(command);
        *status = 0;
        return false;
    }
    if (!take_all(command, values, argc, argv)) return false;
    if (!complete(command, values)) return false;
    app_report_setup(common->quiet, common->json);
    return true;
}
