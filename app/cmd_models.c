/* SPDX-License-Identifier: MIT
 *
 * cmd_models.c: `impasto model list`, `model verify [NAME...]`, `model remove NAME...`.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "impasto/model.h"
#include "installed.h"
#include "known.h"
#include "models.h"
#include "partial.h"
#include "report.h"

typedef struct values {
    app_common common;
} values;

static const app_option options[] = {
    APP_COMMON_OPTIONS("0", "not used"),
};

static void free_names(char **names, size_t n) {
    for (size_t i = 0; i < n; i++) free(names[i]);
    free(names);
}

/* --- list --- */

static json_t *json_urls(const app_known *m) {
    json_t *list = json_array();
    for (size_t i = 0; m->urls[i]; i++)
        json_array_append_new(list, app_json_text(m->urls[i]));
    return list;
}

static void tell_builtin(void) {
    static const char what[] = "a narrow VGG-19 that comes with impasto";
    static const char licence[] = "CC BY 4.0 (see data/builtin.md)";
    app_event(json_pack("{s:s, s:s, s:b, s:s, s:s}", "event", "model", "name",
        "builtin", "installed", 1, "what", what, "licence", licence));
    app_result("builtin");
    app_result("    %s", what);
    app_result("    licence     %s", licence);
}

/* known: NULL for a file that is not. */
static void tell_event(const char *name, const app_known *m, const app_place *place) {
    bool installed = app_place_has(place->model);
    json_t *object = json_pack("{s:s, s:o, s:b}", "event", "model", "name",
        app_json_text(name), "installed", (int)installed);
    if (!object) return;
    if (installed) json_object_set_new(object, "path", app_json_text(place->model));
    if (m) {
        json_object_set_new(object, "what", app_json_text(m->what));
        json_object_set_new(object, "licence", app_json_text(m->licence));
        json_object_set_new(object, "size", json_integer((json_int_t)m->size));
        json_object_set_new(
            object, m->kind == APP_MD5 ? "md5" : "sha256", json_string(m->digest));
        json_object_set_new(object, "urls", json_urls(m));
        json_object_set_new(object, "fetched",
            json_integer((json_int_t)app_partial_size(place->partial)));
    }
    app_event(object);
}

static void tell_known(const app_known *m, const app_place *place) {
    char size[32], part[32];
    uint64_t fetched = app_partial_size(place->partial);
    app_result("%s", m->name);
    app_result("    %s", m->what);
    if (app_place_has(place->model))
        app_result("    installed   %s", place->model);
    else if (fetched)
        app_result("    installed   no: %s are fetched",
            app_bytes(part, sizeof part, (double)fetched));
    else
        app_result("    installed   no");
    app_result("    download    %s (%" PRIu64 " bytes)",
        app_bytes(size, sizeof size, (double)m->size), m->size);
    app_result("    licence     %s", m->licence);
    app_result("    %-10s  %s", app_digest_name(m->kind), m->digest);
    for (size_t i = 0; m->urls[i]; i++)
        app_result("    %-10s  %s", i ? "" : "from", m->urls[i]);
}

static int tell_one(const char *name, const app_known *m) {
    app_place place;
    int status = app_place_of(&place, name);
    if (status) return status;
    if (app_json()) {
        tell_event(name, m, &place);
    } else if (m) {
        tell_known(m, &place);
    } else {
        app_result("%s", name);
        app_result("    installed   %s", place.model);
    }
    return 0;
}

static int run_list(const app_command *self, int argc, char **argv) {
    values v;
    app_catalogue c;
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    status = app_catalogue_read(&c);
    if (!status) {
        char **names;
        size_t n = app_installed(&names);
        tell_builtin();
        for (size_t i = 0; i < c.n && !status; i++)
            status = tell_one(c.models[i].name, &c.models[i]);
        for (size_t i = 0; i < n && !status; i++)
            if (!app_catalogue_find(&c, names[i])) status = tell_one(names[i], NULL);
        free_names(names, n);
    }
    app_catalogue_free(&c);
    return status;
}

/* --- verify --- */

static bool differs(char *why, size_t size, const char *format, ...) IMP_PRINTF(3, 4);

static bool differs(char *why, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why, size, format, args);
    va_end(args);
    return false;
}

/* Is the model what its record says, and the record what is known? */
static bool as_recorded(
    const app_place *place, const app_known *m, char *source, char *why, size_t size) {
    app_origin o;
    char found[APP_DIGEST];
    source[0] = 0;
    if (!app_place_has(place->record)) return true;
    if (!app_origin_read(&o, place->record, found, sizeof found))
        return differs(why, size, "%s: %s", place->record, found);
    if (app_digest_missing()) {
        app_note("%s: no checksum compared: impasto was built without %s", place->model,
            app_digest_missing());
        return true;
    }
    if (!app_digest(place->model, APP_SHA256, found))
        return differs(why, size, "%s: SHA-256: %s", place->model, strerror(errno));
    if (strcmp(found, o.result) != 0)
        return differs(why, size, "%s: SHA-256: expected %s, found %s", place->model,
            o.result, found);
    const char *was = m && m->kind == APP_MD5 ? o.md5 : o.sha256;
    if (m && strcmp(was, m->digest) != 0)
        return differs(why, size, "%s: made of another file: %s: expected %s, found %s",
            place->model, app_digest_name(m->kind), m->digest, was);
    snprintf(source, PATH_MAX, "%s", o.source);
    return true;
}

static bool sound(
    imp_ctx *ctx, const char *name, const app_place *place, char *why, size_t size) {
    imp_model *model = NULL;
    imp_status status = place ? imp_model_load(ctx, &model, place->model)
                              : imp_model_builtin(ctx, &model);
    imp_model_free(model);
    if (status == IMP_OK) return true;
    return differs(why, size, "%s: %s", name, imp_ctx_error(ctx));
}

static int verify(imp_ctx *ctx, const app_catalogue *c, const char *name) {
    app_place place;
    char why[3 * PATH_MAX] = "", source[PATH_MAX] = "";
    bool builtin = strcmp(name, "builtin") == 0;
    int status = app_model_check_name(name);
    if (!status && !builtin) status = app_place_of(&place, name);
    if (status) return status;
    bool good = sound(ctx, name, builtin ? NULL : &place, why, sizeof why);
    if (good && !builtin)
        good =
            as_recorded(&place, app_catalogue_find(c, name), source, why, sizeof why);
    app_event(json_pack("{s:s, s:o, s:b, s:o, s:o}", "event", "model", "name",
        app_json_text(name), "ok", (int)good, "source",
        source[0] ? app_json_text(source) : json_null(), "differs",
        good ? json_null() : app_json_text(why)));
    if (!good) {
        app_error("%s", why);
        return IMP_ERR_MODEL;
    }
    app_result("%s: ok%s%s", name,
        builtin     ? ", comes with impasto"
        : source[0] ? ", from "
                    : ", where it came from is not recorded",
        source);
    return 0;
}

static int run_verify(const app_command *self, int argc, char **argv) {
    values v;
    app_catalogue c;
    imp_ctx *ctx = NULL;
    char **names = NULL;
    size_t n = 0;
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    status = app_catalogue_read(&c);
    if (!status) status = app_open(&ctx, &v.common);
    if (!status) {
        size_t given = v.common.n_operands;
        if (!given) n = app_installed(&names);
        char **all = given ? v.common.operands : names;
        if (!given && !n) app_note("no model is installed");
        for (size_t i = 0; i < (given ? given : n); i++) {
            int one = verify(ctx, &c, all[i]);
            if (!status) status = one;
        }
    }
    free_names(names, n);
    imp_ctx_free(ctx);
    app_catalogue_free(&c);
    return status;
}

/* --- remove --- */

/* A file that is not there is no fault; *any: one was. */
static int unlink_file(const char *path, bool *any) {
    if (unlink(path) == 0) {
        *any = true;
        return 0;
    }
    if (errno == ENOENT) return 0;
    app_error("%s: cannot remove: %s", path, strerror(errno));
    return IMP_ERR_FILE;
}

/* Not while a fetch is writing to it. */
static int unlink_partial(const char *path, bool *any) {
    app_partial p;
    if (!app_place_has(path)) return 0;
    int status = app_partial_open(&p, path);
    if (status) return status;
    app_partial_close(&p, true);
    *any = true;
    return 0;
}

static int remove_model(const char *name) {
    app_place place;
    bool any = false;
    int status = app_place_of(&place, name);
    if (!status) status = unlink_partial(place.partial, &any);
    if (!status) status = unlink_file(place.model, &any);
    if (!status) status = unlink_file(place.record, &any);
    if (status) return status;
    if (!any) return app_model_check_name(name);
    app_event(json_pack("{s:s, s:o}", "event", "removed", "name", app_json_text(name)));
    app_say("%s: removed from %s", name, place.folder);
    return 0;
}

static int run_remove(const app_command *self, int argc, char **argv) {
    values v;
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    status = 0;
    for (size_t i = 0; i < v.common.n_operands && !status; i++)
        status = remove_model(v.common.operands[i]);
    return status;
}

const app_command app_model_list = {
    .name = "model list",
    .summary = "tell the models there are, installed or to be fetched",
    .usage = "[options]",
    .operands = "nothing",
    .options = options,
    .words =
        "Installed are the files of the models folder, $XDG_DATA_HOME/impasto/models\n"
        "(~/.local/share/impasto/models). IMPASTO_KNOWN: see impasto model fetch "
        "--help.\n",
    .examples = "  impasto model list\n"
                "  impasto model list --json\n",
    .run = run_list,
};

const app_command app_model_verify = {
    .name = "model verify",
    .summary = "read installed models and compare their checksums",
    .usage = "[NAME...] [options]",
    .operands = "names of installed models",
    .most = 1000,
    .options = options,
    .words = "Every weight is read and must be finite. A model that impasto has "
             "fetched must\n"
             "have the checksum it had then, and come from the file that is known by "
             "its name.\n"
             "Exit status 4: one is not as it was.\n",
    .examples = "  impasto model verify\n"
                "  impasto model verify vgg19\n",
    .run = run_verify,
};

const app_command app_model_remove = {
    .name = "model remove",
    .summary = "remove installed models and begun downloads",
    .usage = "NAME... [options]",
    .operands = "one NAME or more",
    .least = 1,
    .most = 1000,
    .options = options,
    .words =
        "Only files of the models folder: NAME.safetensors, NAME.json, NAME.partial.\n",
    .examples = "  impasto model remove vgg19-imagenet\n",
    .run = run_remove,
};
