/* SPDX-License-Identifier: MIT
 *
 * main.c: which command is meant.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "report.h"

static const app_command *const commands[] = {&app_stylize, &app_classify,
    &app_train_mnist, &app_train_classifier, &app_train_features, &app_test,
    &app_model_info, &app_model_list, &app_model_fetch, &app_model_convert,
    &app_model_verify, &app_model_remove, &app_model_init, &app_model_plan};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void overview(FILE *file) {
    fprintf(file,
        "impasto %s: neural style transfer, and the networks under it\n\n"
        "usage: impasto COMMAND ... [options]\n\n",
        imp_version());
    for (int i = 0; i < COMMANDS; i++)
        fprintf(file, "  %-16s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(file,
        "\nimpasto COMMAND --help tells the options of one; impasto --version "
        "the version.\n"
        "Exit status: 0 done, 2 usage, 3 picture or data, 4 model, 5 file "
        "system,\n6 limit or memory, 7 diverged, 8 internal, 130 interrupted.\n");
}

/* Words of the name of command c that argv begins with, 0 unless it is all of them. */
static int matches(const app_command *c, int argc, char **argv) {
    const char *second = strchr(c->name, ' ');
    size_t n = second ? (size_t)(second - c->name) : strlen(c->name);
    if (argc < 1 || strlen(argv[0]) != n || strncmp(argv[0], c->name, n) != 0) return 0;
    if (!second) return 1;
    return argc > 1 && strcmp(argv[1], second + 1) == 0 ? 2 : 0;
}

static bool is_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
           strcmp(word, "help") == 0;
}

/* A command of two words of which the first is right: "model", "train imagenet". */
static bool half_known(int argc, char **argv, int *status) {
    char list[256] = "", nearest[64] = "";
    size_t n = strlen(argv[0]);
    const app_command *only = NULL;
    int count = 0;
    const char *second = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
    for (int i = 0; i < COMMANDS; i++) {
        const char *name = commands[i]->name;
        if (strncmp(name, argv[0], n) != 0 || name[n] != ' ') continue;
        const char *word = name + n + 1;
        only = commands[i];
        if (count++) strncat(list, ", ", sizeof list - strlen(list) - 1);
        strncat(list, word, sizeof list - strlen(list) - 1);
        bool nearer = !*nearest || (second && app_distance(second, word) <
                                                  app_distance(second, nearest));
        if (nearer) snprintf(nearest, sizeof nearest, "%s", word);
    }
    if (!only) return false;
    *status = APP_USAGE;
    if (argc > 1 && is_help(argv[1])) {
        *status = 0;
        for (int i = 0; i < COMMANDS; i++)
            if (strncmp(commands[i]->name, argv[0], n) == 0) {
                app_help(commands[i]);
                if (commands[i] != only) putchar('\n');
            }
    } else if (second) {
        app_error("%s: expected %s, found %s; the nearest is %s %s", argv[0], list,
            second, argv[0], nearest);
    } else {
        app_error("%s: expected %s (see impasto %s --help)", argv[0], list, argv[0]);
    }
    return true;
}

static int unknown(int argc, char **argv) {
    int status;
    if (half_known(argc, argv, &status)) return status;
    if (argv[0][0] == '-') {
        app_error(
            "unknown option %s; the nearest is %s (options of a command follow it)",
            argv[0],
            app_distance(argv[0], "--help") < app_distance(argv[0], "--version")
                ? "--help"
                : "--version");
        return APP_USAGE;
    }
    size_t best = SIZE_MAX;
    const app_command *nearest = commands[0];
    for (int i = 0; i < COMMANDS; i++) {
        char first[64];
        snprintf(first, sizeof first, "%.*s", (int)strcspn(commands[i]->name, " "),
            commands[i]->name);
        size_t distance = app_distance(argv[0], first);
        if (distance < best) nearest = commands[i];
        if (distance < best) best = distance;
    }
    app_error("unknown command %s; the nearest is %.*s (see impasto --help)", argv[0],
        (int)strcspn(nearest->name, " "), nearest->name);
    return APP_USAGE;
}

static int dispatch(int argc, char **argv) {
    if (argc < 1) {
        app_error("expected a command");
        overview(stderr);
        return APP_USAGE;
    }
    if (strcmp(argv[0], "help") == 0 && argc > 1) {
        argv[0] = argv[1]; /* `help model info` is `model info --help` */
        for (int i = 1; i + 1 < argc; i++) argv[i] = argv[i + 1];
        argv[argc - 1] = "--help";
    }
    if (is_help(argv[0])) {
        overview(stdout);
        return 0;
    }
    if (strcmp(argv[0], "--version") == 0) {
        printf("impasto %s\n", imp_version());
        return 0;
    }
    for (int i = 0; i < COMMANDS; i++) {
        int words = matches(commands[i], argc, argv);
        if (words) return commands[i]->run(commands[i], argc - words, argv + words);
    }
    return unknown(argc, argv);
}

int main(int argc, char **argv) {
    /* A file of ours must not take the place of one that is closed. Opened the wrong way
     * round, so that its use fails and what was to go there is not lost unnoticed. */
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return 8;
    return app_report_end(dispatch(argc - 1, argv + 1));
}
