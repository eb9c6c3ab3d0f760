/* SPDX-License-Identifier: MIT
 *
 * installed.c: paths, records and names of the models folder.
 */
#include "installed.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "known.h"
#include "models.h"
#include "report.h"

static bool join(
    char *out, size_t size, const char *folder, const char *name, const char *ending) {
    int n = snprintf(out, size, "%s/%s%s", folder, name, ending);
    return n > 0 && (size_t)n < size;
}

int app_place_of(app_place *place, const char *name) {
    if (!app_known_name(name)) {
        app_error("model %s: expected a name without slash, dot in front and control "
                  "characters%s",
            name, strcmp(name, "builtin") == 0 ? ": builtin comes with impasto" : "");
        return APP_USAGE;
    }
    app_models_folder(place->folder, sizeof place->folder);
    if (!place->folder[0]) {
        app_error("models folder: expected HOME or XDG_DATA_HOME, found neither");
        return IMP_ERR_FILE;
    }
    if (join(place->model, PATH_MAX, place->folder, name, ".safetensors") &&
        join(place->record, PATH_MAX, place->folder, name, ".json") &&
        join(place->partial, PATH_MAX, place->folder, name, ".partial"))
        return 0;
    app_error("models folder: %s is too long a path", place->folder);
    return IMP_ERR_FILE;
}

int app_place_make(const app_place *place) {
    char path[PATH_MAX];
    size_t n = strlen(place->folder);
    memcpy(path, place->folder, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] && path[i] != '/') continue;
        path[i] = 0;
        if (mkdir(path, 0777) != 0 && errno != EEXIST) {
            app_error("%s: cannot make the folder: %s", path, strerror(errno));
            return IMP_ERR_FILE;
        }
        path[i] = place->folder[i];
    }
    return 0;
}

bool app_place_has(const char *path) {
    struct stat about;
    return lstat(path, &about) == 0;
}

/* --- NAME.json --- */

static int digest_of(const char *path, app_digest_kind kind, char out[APP_DIGEST]) {
    if (app_digest(path, kind, out)) return 0;
    app_error("%s: %s: %s", path, app_digest_name(kind), strerror(errno));
    return IMP_ERR_FILE;
}

int app_origin_source(app_origin *o, const char *path, const char *source) {
    struct stat about;
    int status = digest_of(path, APP_SHA256, o->sha256);
    if (!status) status = digest_of(path, APP_MD5, o->md5);
    o->size = stat(path, &about) == 0 ? (uint64_t)about.st_size : 0;
    snprintf(o->source, sizeof o->source, "%s", source);
    return status;
}

int app_origin_write(imp_ctx *ctx, app_origin *o, const app_place *place) {
    int status = digest_of(place->model, APP_SHA256, o->result);
    if (status) return status;
    json_t *object = json_pack("{s:o, s:I, s:s, s:s, s:s}", "source",
        app_json_text(o->source), "source_size", (json_int_t)o->size, "source_sha256",
        o->sha256, "source_md5", o->md5, "sha256", o->result);
    char *text = object ? json_dumps(object, JSON_INDENT(4)) : NULL;
    if (!text) {
        app_error("%s: out of memory", place->record);
        status = IMP_ERR_LIMIT;
    } else {
        size_t n = strlen(text);
        text[n] = '\n'; /* no text any more, but a line */
        imp_status s = imp_write_file(ctx, place->record, text, n + 1, true);
        if (s != IMP_OK) status = app_fail(ctx, s);
    }
    free(text);
    json_decref(object);
    return status;
}

static bool take_text(const json_t *object, const char *key, char *out, size_t size) {
    const char *text = json_string_value(json_object_get(object, key));
    if (!text || strlen(text) >= size) return false;
    snprintf(out, size, "%s", text);
    return true;
}

bool app_origin_read(app_origin *o, const char *path, char *why, size_t size) {
    static char text[1 << 14]; /* it is far smaller */
    json_error_t error;
    struct stat about; /* a pipe shall not hang us */
    bool plain = stat(path, &about) == 0 && S_ISREG(about.st_mode);
    FILE *file = plain ? fopen(path, "re") : NULL;
    size_t n = file ? fread(text, 1, sizeof text, file) : 0;
    bool good = file && !ferror(file) && n < sizeof text;
    if (file) fclose(file);
    if (!good) {
        snprintf(why, size, "expected a short file of JSON, found something else");
        return false;
    }
    json_t *object = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    json_int_t bytes = json_integer_value(json_object_get(object, "source_size"));
    o->size = bytes > 0 ? (uint64_t)bytes : 0;
    good = take_text(object, "source", o->source, sizeof o->source) &&
           take_text(object, "source_sha256", o->sha256, sizeof o->sha256) &&
           take_text(object, "source_md5", o->md5, sizeof o->md5) &&
           take_text(object, "sha256", o->result, sizeof o->result);
    json_decref(object);
    if (!good) snprintf(why, size, "expected source and digests in JSON, found none");
    return good;
}

/* --- the folder --- */

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One more; false: no memory. */
static bool put_name(char ***names, size_t *n, const char *file) {
    static const char ending[] = ".safetensors";
    size_t length = strlen(file), m = strlen(ending);
    if (length <= m || strcmp(file + length - m, ending) != 0) return true;
    char *name = strndup(file, length - m);
    if (!name || !app_known_name(name)) {
        free(name);
        return name != NULL;
    }
    char **more = realloc(*names, (*n + 1) * sizeof **names);
    if (!more) {
        free(name);
        return false;
    }
    *names = more;
    more[(*n)++] = name;
    return true;
}

size_t app_installed(char ***names) {
    char folder[PATH_MAX];
    size_t n = 0;
    *names = NULL;
    app_models_folder(folder, sizeof folder);
    DIR *dir = folder[0] ? opendir(folder) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;)
        if (!put_name(names, &n, e->d_name)) break;
    if (dir) closedir(dir);
    if (n) qsort(*names, n, sizeof **names, by_name);
    return n;
}
