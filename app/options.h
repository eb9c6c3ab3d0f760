/* SPDX-License-Identifier: MIT
 *
 * options.h: one table of options a command. It drives the parser, the checks, the
 * words of a refusal and --help. Values land in the command's own struct, through
 * offsets.
 */
#ifndef APP_OPTIONS_H
#define APP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { APP_USAGE = 2 }; /* the exit status of a command that cannot be understood */

typedef enum app_type {
    APP_FLAG,    /* bool */
    APP_COUNT,   /* size_t in low .. high */
    APP_SEED,    /* uint64_t, any */
    APP_NUMBER,  /* double in low .. high, finite */
    APP_TEXT,    /* const char *, not empty */
    APP_CHOICE,  /* int: index in choices */
    APP_BOX,     /* app_box, "N" or "WxH", sides in low .. high */
    APP_COUNTS,  /* app_counts, each in low .. high */
    APP_NUMBERS, /* app_numbers, each in low .. high */
    APP_NAMES,   /* app_names */
    APP_FILES,   /* app_names, of which some may be empty */
    APP_REPEATED /* app_names, one more each time that the option is given */
} app_type;

enum { APP_LIST = 31 }; /* items of a list at most */
enum { APP_ROWS = 64 }; /* rows of a table at most */

typedef struct app_box {
    size_t width, height; /* height 0: width is that of the longest side */
} app_box;

typedef struct app_counts {
    size_t n, values[APP_LIST];
} app_counts;

typedef struct app_numbers {
    size_t n;
    double values[APP_LIST];
} app_numbers;

typedef struct app_names { /* values point into text: not to be copied */
    size_t n;
    const char *values[APP_LIST + 1];
    char text[8192];
} app_names;

/* What a value that was not given and has no default is: APP_COUNT APP_ABSENT,
 * APP_NUMBER NaN, APP_TEXT NULL, APP_CHOICE -1, APP_BOX of width 0, a list of n 0. None
 * of them can be typed. */
#define APP_ABSENT SIZE_MAX

typedef struct app_option {
    const char *name; /* without the dashes; NULL ends a table */
    char letter;      /* -o; 0: none */
    app_type type;
    size_t offset;         /* of the value in the command's struct */
    double low, high;      /* both included */
    const char *choices;   /* "sgd|adam" */
    const char *value;     /* how the help names the value */
    const char *standard;  /* the default, as one would type it; NULL: absent */
    const char *otherwise; /* what the help says instead of a default */
    const char *help;
    bool required;
} app_option;

typedef struct app_common { /* the first member of every command's struct */
    size_t threads;         /* APP_ABSENT: the library's choice */
    int precision;          /* an imp_precision: index in fast|exact */
    uint64_t seed;
    bool quiet, json;
    char **operands; /* the arguments that are not options */
    size_t n_operands;
    bool given[APP_ROWS]; /* row by row of the table: was it given? */
} app_common;

/* Rows that several commands have; their values have a field of the row's name. */
#define APP_MODEL_OPTION(values)                                                       \
    {                                                                                  \
        .name = "output", .letter = 'o', .type = APP_TEXT,                             \
        .offset = offsetof(values, output), .value = "FILE", .required = true,         \
        .help = "the model to write (safetensors)"                                     \
    }
#define APP_HALF_OPTION(values)                                                        \
    {                                                                                  \
        .name = "half", .type = APP_FLAG, .offset = offsetof(values, half),            \
        .help = "write it in half precision: half the bytes"                           \
    }
#define APP_OVERWRITE_OPTION(values)                                                   \
    {                                                                                  \
        .name = "overwrite", .type = APP_FLAG, .offset = offsetof(values, overwrite),  \
        .help = "replace FILE where it exists"                                         \
    }
#define APP_CLASSIFIER_OPTION(values)                                                  \
    {                                                                                  \
        .name = "model", .type = APP_TEXT, .offset = offsetof(values, model),          \
        .value = "FILE|NAME",                                                          \
        .otherwise =                                                                   \
            "IMPASTO_MODEL, else an installed vgg19-classifier or vgg19-imagenet",     \
        .help = "a classifier"                                                         \
    }

/* The rows that every command has, the last ones of its table. */
#define APP_COMMON_OPTIONS(seed_default, seed_help)                                    \
    {.name = "seed",                                                                   \
        .type = APP_SEED,                                                              \
        .offset = offsetof(app_common, seed),                                          \
        .value = "N",                                                                  \
        .standard = seed_default,                                                      \
        .help = seed_help},                                                            \
        {.name = "threads",                                                            \
            .type = APP_COUNT,                                                         \
            .offset = offsetof(app_common, threads),                                   \
            .low = 1,                                                                  \
            .high = 1024,                                                              \
            .value = "N",                                                              \
            .otherwise = "IMPASTO_THREADS, else the processors there are",             \
            .help = "threads to use; the result is the same for any number"},          \
        {.name = "precision",                                                          \
            .type = APP_CHOICE,                                                        \
            .offset = offsetof(app_common, precision),                                 \
            .choices = "fast|exact",                                                   \
            .standard = "fast",                                                        \
            .help = "how 3 x 3 convolutions are computed; exact is slower, and "       \
                    "closer to the direct sum"},                                       \
        {.name = "quiet",                                                              \
            .type = APP_FLAG,                                                          \
            .offset = offsetof(app_common, quiet),                                     \
            .help = "no notes, no progress; errors and results still"},                \
        {.name = "json",                                                               \
            .type = APP_FLAG,                                                          \
            .offset = offsetof(app_common, json),                                      \
            .help = "one JSON object a line on standard output, nothing else there"},  \
        {.name = "help", .letter = 'h', .type = APP_FLAG, .help = "this text"}, {      \
        .name = NULL                                                                   \
    }

typedef struct app_command {
    const char *name;    /* "model info" */
    const char *summary; /* one line */
    const char *usage;   /* after the name: "CONTENT STYLE -o OUT [options]" */
    const char
        *operands; /* "CONTENT and STYLE": for the message where some are missing */
    size_t least, most; /* how many of them */
    const app_option *options;
    const char *words;    /* paragraphs after the options, or NULL */
    const char *examples; /* lines */
    int (*run)(const struct app_command *self, int argc, char **argv); /* exit status */
} app_command;

/* Read argv, the arguments after the command's name, into values. Operands are moved to
 * the front of argv, in their order. Sets up the reports (report.h) by --quiet and
 * --json. Returns true to go on; false where the command is over with *status: the help
 * was asked for and printed (0), or the arguments were refused, and it was said (2). */
bool app_parse(
    const app_command *command, void *values, int argc, char **argv, int *status);

/* --- one option by its name: for what is not typed, but read from a file --- */

const app_option *app_find_option(const app_command *command, const char *name);
/* Was the option given? NULL, for one that the command lacks: no. */
bool app_given(const app_command *command, const void *values, const app_option *o);
/* As if the option had been given as text, which must outlive values. False: refused,
 * and said; where: what the words of the refusal begin with. */
bool app_give(const app_command *command, void *values, const app_option *o,
    const char *text, const char *where);

/* A decimal number in low .. high; false: it is none. */
bool app_read_number(const char *text, double low, double high, double *out);

/* Edits (insert, delete, replace, swap of neighbours) from one word to another. */
size_t app_distance(const char *a, const char *b);
/* The word of a "a|b|c" list at index i, in a buffer of its own until the next call. */
const char *app_choice(const char *choices, int i);

void app_help(const app_command *command); /* help.c: to standard output */

#endif
