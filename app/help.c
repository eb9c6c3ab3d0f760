/* SPDX-License-Identifier: MIT
 *
 * help.c: --help, from the table of options.
 */
#include "options.h"

#include <stdio.h>
#include <string.h>

enum { COLUMN = 28, WIDTH = 79 };

/* Words from column COLUMN on, each further line indented to there. */
static void put_wrapped(const char *text) {
    for (size_t at = COLUMN; *text; text += strspn(text, " ")) {
        size_t n = strcspn(text, " ");
        bool first = at == COLUMN;
        if (!first && at + 1 + n > WIDTH) {
            printf("\n%*s", COLUMN, "");
            at = COLUMN;
            first = true;
        }
        printf("%s%.*s", first ? "" : " ", (int)n, text);
        at += n + (first ? 0 : 1);
        text += n;
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
    put_wrapped(help);
}

void app_help(const app_command *command) {
    printf("impasto %s: %s\n\nusage: impasto %s %s\n\noptions [default]:\n",
        command->name, command->summary, command->name, command->usage);
    for (const app_option *o = command->options; o->name; o++) put_option(o);
    if (command->words) printf("\n%s", command->words);
    if (command->examples) printf("\nexamples:\n%s", command->examples);
}
