/* SPDX-License-Identifier: MIT
 *
 * json_field.c: is every line of standard input one JSON object?
 *
 *     json_field EVENT KEY
 *
 * prints KEY of each line whose "event" is EVENT, a line each. Status 1: a line is no
 * JSON object, or one of EVENT has no KEY.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    static char line[1 << 20];
    if (argc != 3) return 2;
    while (fgets(line, sizeof line, stdin)) {
        json_error_t error;
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
        if (!json_is_object(object)) {
            fprintf(stderr, "no JSON object: %s", line);
            return 1;
        }
        const char *event = json_string_value(json_object_get(object, "event"));
        json_t *value = json_object_get(object, argv[2]);
        if (event && strcmp(event, argv[1]) == 0) {
            if (!value) return 1;
            if (json_is_string(value))
                printf("%s\n", json_string_value(value));
            else
                json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT), printf("\n");
        }
        json_decref(object);
    }
    return 0;
}
