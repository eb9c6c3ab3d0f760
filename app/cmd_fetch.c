/* SPDX-License-Identifier: MIT
 *
 * cmd_fetch.c: `impasto model fetch NAME`: download, checksum, conversion, record.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "fetch.h"
#include "foreign/convert.h"
#include "installed.h"
#include "known.h"
#include "report.h"
#include "signals.h"

typedef struct values {
    app_common common;
    const char *from, *mirror;
    bool overwrite;
} values;

#define AT(field) offsetof(values, field)

static const app_option options[] = {
    {.name = "from",
        .type = APP_TEXT,
        .offset = AT(from),
        .value = "FILE",
        .help = "take this file, fetched before, instead of fetching it"},
    {.name = "mirror",
        .type = APP_TEXT,
        .offset = AT(mirror),
        .value = "URL",
        .otherwise = "IMPASTO_MODELS_URL, else the servers of model list",
        .help = "a folder of a server to fetch from, instead of the known ones"},
    {.name = "overwrite",
        .type = APP_FLAG,
        .offset = AT(overwrite),
        .help = "replace the model where it is installed"},
    APP_COMMON_OPTIONS("0", "not used"),
};

typedef struct work {
    const values *v;
    const app_known *known;
    app_place place;
    app_partial partial;
    char mirrored[4096]; /* the only URL, of a mirror */
    const char *one[2];
    imp_ctx *ctx;
} work;

/* The servers to ask, NULL-terminated; NULL: refused, and said. */
static const char *const *servers(work *w) {
    const char *mirror = w->v->mirror ? w->v->mirror : getenv("IMPASTO_MODELS_URL");
    if (!mirror || !mirror[0]) return w->known->urls;
    char file[256];
    size_t n = strlen(mirror);
    app_known_file(w->known->urls[0], file, sizeof file);
    int length = snprintf(w->mirrored, sizeof w->mirrored, "%s%s%s", mirror,
        mirror[n - 1] == '/' ? "" : "/", file);
    if (length < 0 || (size_t)length >= sizeof w->mirrored) {
        app_error("--mirror: expected a shorter URL");
        return NULL;
    }
    w->one[0] = w->mirrored;
    return w->one;
}

static int convert(work *w, const char *path) {
    imp_convert_options o = {
        .bgr = -1, .overwrite = w->v->overwrite, .stop = app_interrupted};
    imp_status status = imp_convert(w->ctx, path, w->place.model, &o, NULL);
    if (status && app_interrupted()) return APP_INTERRUPTED;
    return status == IMP_OK ? 0 : app_fail(w->ctx, status);
}

/* From a file whose checksum is right to a model, its record, and the last word. A record that
 * is there is of another file: a model without one is better than with a wrong one. */
static int install(work *w, const char *path, const char *source) {
    app_origin origin;
    app_say("%s: %s is right", w->known->name, app_digest_name(w->known->kind));
    int status = app_origin_source(&origin, path, source);
    if (status) return status;
    unlink(w->place.record);
    status = convert(w, path);
    if (!status) status = app_origin_write(w->ctx, &origin, &w->place);
    if (status) return status;
    app_event(json_pack("{s:s, s:o, s:o, s:o, s:s, s:o}", "event", "done", "model",
        app_json_text(w->known->name), "output", app_json_text(w->place.model),
        "source", app_json_text(origin.source), "sha256", origin.result, "licence",
        app_json_text(w->known->licence)));
    app_say("%s: installed as %s", w->known->name, w->place.model);
    app_say("licence: %s", w->known->licence);
    if (strcmp(w->known->name, "vgg19") == 0)
        app_say("stylize paints with it from now on, where --model names no other");
    return 0;
}

static int from_file(work *w) {
    const char *path = w->v->from, *slash = strrchr(path, '/');
    int status =
        app_fetch_check(path, w->known->size, w->known->kind, w->known->digest);
    return status ? status : install(w, path, slash ? slash + 1 : path);
}

static int from_servers(work *w) {
    char shown[4096];
    app_fetch f = {.name = w->known->name,
        .urls = servers(w),
        .size = w->known->size,
        .kind = w->known->kind,
        .digest = w->known->digest,
        .partial = &w->partial};
    if (!f.urls) return APP_USAGE;
    int status = app_fetch_run(&f);
    if (!status && app_interrupted()) status = APP_INTERRUPTED;
    if (status) return status;
    status =
        install(w, w->partial.path, app_fetch_shown(f.source, shown, sizeof shown));
    if (status) app_note("what was fetched is kept as %s", w->partial.path);
    return status;
}

static int check_place(work *w) {
    imp_status s = imp_check_output(
        w->ctx, w->place.model, w->v->overwrite, &w->v->from, w->v->from ? 1 : 0);
    return s == IMP_OK ? 0 : app_fail(w->ctx, s);
}

/* One at a time: who has the partial file. Another may have been done while we waited. */
static int fetch(work *w) {
    int status = app_partial_open(&w->partial, w->place.partial);
    if (status) return status;
    app_signals_catch();
    status = check_place(w);
    if (!status) status = w->v->from ? from_file(w) : from_servers(w);
    app_partial_close(&w->partial, status == 0);
    return status;
}

static int check_before(work *w) {
    const char *package = app_digest_missing();
    if (package) {
        app_error("model fetch: expected an impasto built with %s, found one without: "
                  "install that package of Debian and build again",
            package);
        return IMP_ERR_FILE;
    }
    int status = app_place_of(&w->place, w->known->name);
    if (!status) status = app_place_make(&w->place);
    if (!status) status = app_open(&w->ctx, &w->v->common);
    return status ? status : check_place(w);
}

static int run_fetch(const app_command *self, int argc, char **argv) {
    values v;
    app_catalogue catalogue;
    work w = {.v = &v};
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    if (v.from && v.mirror) {
        app_error("--mirror: expected without --from, found with it");
        return APP_USAGE;
    }
    const char *name = v.common.operands[0];
    status = app_catalogue_read(&catalogue);
    if (!status) {
        w.known = app_catalogue_find(&catalogue, name);
        if (!w.known) status = app_catalogue_lacks(&catalogue, name);
    }
    if (!status) status = check_before(&w);
    if (!status) status = fetch(&w);
    imp_ctx_free(w.ctx);
    app_catalogue_free(&catalogue);
    return status;
}

const app_command app_model_fetch = {
    .name = "model fetch",
    .summary = "download a known model and install it",
    .usage = "NAME [options]",
    .operands = "one NAME of impasto model list",
    .least = 1,
    .most = 1,
    .options = options,
    .words =
        "The file comes by https from the first server that gives it, is held against "
        "the\n"
        "checksum that its maker publishes, and is converted to NAME.safetensors in "
        "the\n"
        "models folder, $XDG_DATA_HOME/impasto/models "
        "(~/.local/share/impasto/models),\n"
        "where --model NAME finds it. vgg19 becomes the default of stylize. A "
        "download\n"
        "that broke off is gone on with.\n"
        "\n"
        "IMPASTO_MODELS_URL  a mirror of one's own: URL/FILE, FILE as the servers call "
        "it\n"
        "IMPASTO_KNOWN       a file with more known models, a line each, cut by tabs: "
        "name,\n"
        "                    size in bytes, SHA-256 or MD5, licence, one to four URLs\n"
        "https_proxy, http_proxy, no_proxy, SSL_CERT_FILE  as with curl\n"
        "\n"
        "Exit status 4: the file is not the one that was expected; 5: no server gave "
        "it.\n",
    .examples =
        "  impasto model fetch vgg19\n"
        "  impasto model fetch vgg19 --mirror https://files.school.example/models\n"
        "  impasto model fetch vgg19-imagenet --from ~/vgg19-dcbb9e9d.pth\n",
    .run = run_fetch,
};
