/* SPDX-License-Identifier: MIT
 *
 * models.c: --model, IMPASTO_MODEL, the folder of installed models, builtin.
 */
#include "models.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "report.h"

static const char ending[] = ".safetensors";

/* The models folder, empty where the environment tells none. */
static void models_folder(char *out, size_t size) {
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
    models_folder(folder, sizeof folder);
    if (!folder[0]) return false;
    int n = snprintf(out, size, "%s/%s%s", folder, name, ending);
    return n > 0 && (size_t)n < size && access(out, F_OK) == 0;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Say why, what names there are, and the nearest of them. */
static int no_such_model(const char *name, const char *why) {
    char folder[PATH_MAX], nearest[256] = "builtin", list[512] = "builtin";
    models_folder(folder, sizeof folder);
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

int app_model_check_name(const char *name) {
    char path[PATH_MAX];
    return is_name(path, sizeof path, name) ? 0 : no_such_model(name, "not installed");
}

int app_model_find(app_model *m, const char *option, bool trained) {
    const char *variable = getenv("IMPASTO_MODEL");
    m->path[0] = 0;
    m->model = NULL;
    if (option) return find_named(m, option);
    if (variable && variable[0]) return find_named(m, variable);
    if (installed(m->path, sizeof m->path, "vgg19")) return 0;
    m->path[0] = 0;
    if (!trained) return 0;
    app_error("expected --model FILE|NAME: IMPASTO_MODEL names none, and no vgg19 is "
              "installed");
    return APP_USAGE;
}

int app_model_open_for(imp_ctx *ctx, app_model *m, const imp_style_options *style) {
    imp_status status;
    if (m->path[0] && style)
        status = imp_style_load(ctx, &m->model, m->path, style);
    else if (m->path[0])
        status = imp_model_load(ctx, &m->model, m->path);
    else
        status = imp_model_builtin(ctx, &m->model);
    if (status == IMP_OK) return 0;
    m->model = NULL;
    return app_fail(ctx, status);
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
