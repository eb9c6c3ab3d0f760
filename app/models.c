/* SPDX-License-Identifier: MIT
 *
 * models.c: --model, IMPASTO_MODEL, the folder of installed models, builtin; the cache of those
 * that other programs wrote.
 */
#include "models.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "digest.h"
#include "foreign/convert.h"
#include "known.h"
#include "options.h"
#include "report.h"
#include "signals.h"

static const char ending[] = ".safetensors";

void app_models_folder(char *out, size_t size) {
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n = 0;
    out[0] = 0;
    if (data && data[0] == '/') /* the specification: a relative one is to be ignored */
        n = snprintf(out, size, "%s/impasto/models", data);
    else if (home && home[0])
        n = snprintf(out, size, "%s/.local/share/impasto/models", home);
    if (n < 0 || (size_t)n >= size) out[0] = 0;
}

static bool installed(char *out, size_t size, const char *name) {
    char folder[PATH_MAX];
    app_models_folder(folder, sizeof folder);
    if (!folder[0]) return false;
    int n = snprintf(out, size, "%s/%s%s", folder, name, ending);
    return n > 0 && (size_t)n < size && access(out, F_OK) == 0;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Is it one that could be fetched? That is said then. */
static bool say_how_to_get(const char *name) {
    app_catalogue c;
    bool known = app_catalogue_read(&c) == 0 && app_catalogue_find(&c, name);
    app_catalogue_free(&c);
    if (known)
        app_error(
            "model %s: not installed; it comes by impasto model fetch %s", name, name);
    return known;
}

/* Say why, what names there are, and the nearest of them. */
static int no_such_model(const char *name, const char *why) {
    if (say_how_to_get(name)) return IMP_ERR_MODEL;
    char folder[PATH_MAX], nearest[256] = "builtin", list[512] = "builtin";
    app_models_folder(folder, sizeof folder);
    DIR *dir = folder[0] ? opendir(folder) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        if (!ends_with(e->d_name, ending)) continue;
        char known[256];
        size_t n = strlen(e->d_name) - strlen(ending);
        snprintf(known, sizeof known, "%.*s", (int)n, e->d_name);
        if (app_distance(name, known) < app_distance(name, nearest))
            strcpy(nearest, known);
        if (strlen(list) + n + 3 < sizeof list) strcat(strcat(list, ", "), known);
    }
    if (dir) closedir(dir);
    app_error("model %s: %s; names known here: %s; the nearest is %s", name, why, list,
        nearest);
    return IMP_ERR_MODEL;
}

/* "builtin", of an empty path, or an installed one? */
static bool is_name(char *out, size_t size, const char *name) {
    out[0] = 0;
    if (strcmp(name, "builtin") == 0) return true;
    return !strchr(name, '/') && installed(out, size, name);
}

static int find_named(app_model *m, const char *name) {
    if (is_name(m->path, sizeof m->path, name)) return 0;
    if (strlen(name) >= sizeof m->path) {
        app_error("model %s: the name is too long", name);
        return IMP_ERR_MODEL;
    }
    bool file = strchr(name, '/') || ends_with(name, ending) || access(name, F_OK) == 0;
    if (!file) return no_such_model(name, "no such file, and no such name");
    strcpy(m->path, name);
    return 0;
}

bool app_model_is_name(const char *name) {
    char path[PATH_MAX];
    return is_name(path, sizeof path, name);
}

int app_model_check_name(const char *name) {
    return app_model_is_name(name) ? 0 : no_such_model(name, "not installed");
}

int app_model_find(app_model *m, const char *option, bool classify) {
    static const char *const classifiers[] = {"vgg19-classifier", "vgg19-imagenet"};
    const char *variable = getenv("IMPASTO_MODEL");
    m->path[0] = 0;
    m->model = NULL;
    if (option) return find_named(m, option);
    if (variable && variable[0]) return find_named(m, variable);
    for (size_t i = 0; classify && i < 2; i++)
        if (installed(m->path, sizeof m->path, classifiers[i])) return 0;
    if (!classify && installed(m->path, sizeof m->path, "vgg19")) return 0;
    m->path[0] = 0;
    if (!classify) return 0;
    app_error("expected --model FILE|NAME: IMPASTO_MODEL names none, and no classifier "
              "is installed (impasto model fetch vgg19-classifier)");
    return APP_USAGE;
}

/* --- weights of other programs --- */

/* Change it when what a conversion writes changes. */
#define CACHE_VERSION "2"

/* The folder, made where it is not there; empty where the environment tells none. */
static void cache_folder(char *out, size_t size) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (cache && cache[0] == '/')
        n = snprintf(out, size, "%s/impasto", cache);
    else if (home && home[0])
        n = snprintf(out, size, "%s/.cache/impasto", home);
    if (n < 0 || (size_t)n >= size) {
        out[0] = 0;
        return;
    }
    for (char *slash = strchr(out + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(out, 0777);
        *slash = '/';
    }
    mkdir(out, 0777);
}

/* Where the converted file of this digest lies or is to lie. */
static int cache_path(const char *path, char *out, size_t size) {
    char folder[PATH_MAX], hex[APP_DIGEST];
    cache_folder(folder, sizeof folder);
    if (!folder[0]) {
        app_error("%s: neither XDG_CACHE_HOME nor HOME names a folder to convert it "
                  "into; see "
                  "impasto model convert",
            path);
        return IMP_ERR_FILE;
    }
    if (!app_digest(path, APP_SHA256, hex)) {
        if (errno == ENOTSUP)
            app_error("%s: expected an impasto built with %s, found one without; or "
                      "convert it "
                      "yourself: impasto model convert",
                path, app_digest_missing());
        else
            app_error("%s: cannot read: %s", path, strerror(errno));
        return IMP_ERR_MODEL;
    }
    int n = snprintf(out, size, "%s/%s-" CACHE_VERSION "%s", folder, hex, ending);
    if (n > 0 && (size_t)n < size) return 0;
    app_error("%s: the folder's name is too long", folder);
    return IMP_ERR_FILE;
}

/* file <- what is read for m->path: itself, or what it was converted to. */
static int readable(imp_ctx *ctx, const app_model *m, char file[PATH_MAX]) {
    imp_converted found;
    strcpy(file, m->path);
    if (!*m->path || !imp_convert_is_foreign(m->path)) return 0;
    int status = cache_path(m->path, file, PATH_MAX);
    if (status || access(file, R_OK) == 0) return status;
    imp_convert_options o = {.bgr = -1, .overwrite = true, .stop = app_interrupted};
    imp_status s = imp_convert(ctx, m->path, file, &o, &found);
    if (s && app_interrupted()) return APP_INTERRUPTED;
    if (s) return app_fail(ctx, s);
    app_note("%s: %s, names of %s: converted once, to %s", m->path, found.format,
        found.naming, file);
    return 0;
}

int app_model_open_for(imp_ctx *ctx, app_model *m, const imp_style_options *style) {
    char file[PATH_MAX];
    m->model = NULL;
    int status = readable(ctx, m, file);
    if (status) return status;
    imp_status s = !*file  ? imp_model_builtin(ctx, &m->model)
                   : style ? imp_style_load(ctx, &m->model, file, style)
                           : imp_model_load(ctx, &m->model, file);
    if (s == IMP_OK) return 0;
    m->model = NULL;
    return app_fail(ctx, s);
}

int app_model_open(imp_ctx *ctx, app_model *m) {
    return app_model_open_for(ctx, m, NULL);
}

const char *app_model_name(const app_model *m) {
    return m->path[0] ? m->path : "builtin";
}

void app_model_short_name(const char *path, char *out, size_t size) {
    const char *slash = strrchr(path, '/');
    snprintf(out, size, "%s", *path ? slash ? slash + 1 : path : "builtin");
    if (ends_with(out, ending)) out[strlen(out) - strlen(ending)] = 0;
}
