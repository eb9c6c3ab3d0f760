/* SPDX-License-Identifier: MIT
 *
 * batch.c: a picture, a folder or a list of paths, to contents and outputs.
 */
#include "batch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "folder.h"
#include "image_vips.h"
#include "impasto/impasto.h"
#include "report.h"

static int no_memory(void) {
    app_error("no memory for the list of pictures");
    return IMP_ERR_LIMIT;
}

/* One more; content becomes the batch's own, NULL: no memory. */
static int add(app_batch *b, char *content) {
    if (content && b->n == b->room) {
        size_t room = 2 * b->room + 16;
        char **grown = realloc(b->contents, room * sizeof *grown);
        if (grown) b->contents = grown;
        if (grown) b->room = room;
    }
    if (!content || b->n == b->room) {
        free(content);
        return no_memory();
    }
    b->contents[b->n++] = content;
    return 0;
}

/* folder/name; NULL: no memory. */
static char *join(const char *folder, const char *name, int n, const char *ending) {
    char *path;
    size_t length = strlen(folder);
    const char *slash = length && folder[length - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%.*s%s", folder, slash, n, name, ending) < 0 ? NULL
                                                                             : path;
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* --- where contents come from --- */

static int list_folder(app_batch *b, const char *path) {
    app_folder folder;
    int status = app_folder_list(&folder, path, false);
    size_t others = 0;
    for (size_t i = 0; !status && i < folder.n; i++) {
        const char *name = folder.names[i];
        if (app_image_is_name(name))
            status = add(b, join(path, name, (int)strlen(name), ""));
        else
            others++;
    }
    app_folder_free(&folder);
    if (!status && others && b->n)
        app_note(
            "%s: files with other endings than .png .jpg .webp .tif, not taken: %zu",
            path, others);
    if (status || b->n) return status;
    app_error(
        "%s: expected pictures in the folder (.png .jpg .webp .tif), found none", path);
    return IMP_ERR_DATA;
}

/* A path a line, from the folder we are in; blank lines and those with # are none. */
static int list_file(app_batch *b, const char *file) {
    FILE *in = fopen(file, "re");
    char *line = NULL;
    size_t size = 0;
    int status = 0;
    if (!in) {
        app_error("%s: %s", file, strerror(errno));
        return IMP_ERR_DATA;
    }
    while (!status && getline(&line, &size, in) >= 0) {
        line[strcspn(line, "\r\n")] = 0;
        if (line[strspn(line, " \t")] == 0 || line[0] == '#') continue;
        status = add(b, strdup(line));
    }
    bool failed = ferror(in) != 0;
    free(line);
    fclose(in);
    if (status || (b->n && !failed)) return status;
    app_error("%s: expected a path a line, found none", file);
    return IMP_ERR_DATA;
}

/* --- where pictures go --- */

static const char *stem(const char *path, int *n) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    *n = (int)(dot && dot != name ? (size_t)(dot - name) : strlen(name));
    return name;
}

typedef struct target {
    const char *output, *content;
} target;

static int compare_targets(const void *a, const void *b) {
    return strcmp(((const target *)a)->output, ((const target *)b)->output);
}

static int refuse_collisions(const app_batch *b) {
    target *sorted = malloc(b->n * sizeof *sorted);
    int status = 0;
    if (!sorted) return no_memory();
    for (size_t i = 0; i < b->n; i++)
        sorted[i] = (target){b->outputs[i], b->contents[i]};
    qsort(sorted, b->n, sizeof *sorted, compare_targets);
    for (size_t i = 1; !status && i < b->n; i++) {
        if (compare_targets(&sorted[i - 1], &sorted[i]) != 0) continue;
        app_error("%s: expected one picture for it, found %s and %s", sorted[i].output,
            sorted[i - 1].content, sorted[i].content);
        status = APP_USAGE;
    }
    free(sorted);
    return status;
}

static int name_outputs(app_batch *b, const char *folder) {
    if (strcmp(folder, APP_STANDARD) == 0) {
        app_error("--output: expected a folder for several pictures, found -");
        return APP_USAGE;
    }
    if (!is_folder(folder)) {
        app_error("%s: expected a folder for the painted pictures, found none; make it "
                  "first",
            folder);
        return IMP_ERR_FILE;
    }
    b->outputs = calloc(b->n, sizeof *b->outputs);
    if (!b->outputs) return no_memory();
    for (size_t i = 0; i < b->n; i++) {
        int n;
        const char *name = stem(b->contents[i], &n);
        b->outputs[i] = join(folder, name, n, ".png");
        if (!b->outputs[i]) return no_memory();
    }
    return refuse_collisions(b);
}

int app_batch_list(app_batch *b, const char *content, const char *out) {
    int status;
    *b = (app_batch){.many = true};
    if (content[0] == '@') {
        status = list_file(b, content + 1);
    } else if (is_folder(content)) {
        status = list_folder(b, content);
    } else {
        b->many = false;
        status = add(b, strdup(content));
    }
    if (status || !out) return status;
    if (b->many) return name_outputs(b, out);
    b->outputs = calloc(1, sizeof *b->outputs);
    if (b->outputs) b->outputs[0] = strdup(out);
    return b->outputs && b->outputs[0] ? 0 : no_memory();
}

void app_batch_free(app_batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        free(b->contents[i]);
        if (b->outputs) free(b->outputs[i]);
    }
    free(b->contents);
    free(b->outputs);
    *b = (app_batch){0};
}
