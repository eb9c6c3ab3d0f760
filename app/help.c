/* SPDX-License-Identifier: MIT
 *
 * help.c: --help, from the table of options.
 */
#include "options.h"

#include <stdio.h>
#include <string.h>

enum { COLUMN = 27, WIDTH = 79 };

/* Words from column `at` on, each further line indented by COLUMN. */
static void put_wrapped(const char *text, size_t at) {
    while (*text) {
        size_t n = strcspn(text, " ");
        if (at + n > WIDTH && at > COLUMN) {
            printf("\n%*s", COLUMN, "");
            at = COLUMN;
        }
        printf("%.*s", (int)n, text);
        at += n;
        text += n;
        if (*text == ' ') {
            text++;
            if (*text && at < WIDTH) putchar(' ');
            at++;
        }
    }
    putchar('\n');
}

static void put_option(const app_option *o) {
    char name[128], help[512];
    char letter[8] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    const char *value = o->type == APP_CHOICE ? o->choices : o->value ? o->value : "";
    int n = snprintf(
        name, sizeof name, "  %s--%s%s%s", letter, o->name, *value ? " " : "", value);
    const char *standard = o->standard ? o->standard : o->otherwise;
    snprintf(help, sizeof help, "%s%s%s%s", o->help, standard ? " [" : "",
        standard ? standard : "", standard ? "]" : "");
    if (n >= COLUMN - 1)
        printf("%s\n%*s", name, COLUMN, "");
    else
        printf("%-*s", COLUMN, name);
    put_wrapped(help, COLUMN);
}

void app_help(const app_command *command) {
    printf("impasto %s: %s\n\nusage: impasto %s %s\n\noptions [default]:\n", command->name,
        command->summary, command->name, command->usage);
    for (const app_option *o = command->options; o->name; o++) put_option(o);
    if (command->words) printf("\n%s", command->words);
    if (command->examples) printf("\nexamples:\n%s", command->examples);
}
