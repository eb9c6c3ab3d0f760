/* SPDX-License-Identifier: MIT
 *
 * cmd_stylize.c: `impasto stylize CONTENT STYLE -o OUT`.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "image_vips.h"
#include "memory.h"
#include "paint.h"
#include "report.h"
#include "signals.h"

typedef struct values {
    app_common common;
    const char *output, *model, *preset, *init;
    size_t size, style_size, iterations, save_every;
    int optimizer, pooling;
    double rate, content_weight, style_weight, tv_weight;
    app_names content_layers, style_layers;
    app_numbers layer_weights;
    bool overwrite, dry_run;
} values;

#define AT(field) offsetof(values, field)

static const app_option options[] = {
    {.name = "output",
        .letter = 'o',
        .type = APP_TEXT,
        .offset = AT(output),
        .value = "OUT",
        .help = "the picture to write: .png .jpg .webp .tif"},
    {.name = "model",
        .type = APP_TEXT,
        .offset = AT(model),
        .value = "FILE|NAME",
        .otherwise = "IMPASTO_MODEL, else an installed vgg19, else builtin",
        .help = "the network that sees"},
    {.name = "preset",
        .type = APP_TEXT,
        .offset = AT(preset),
        .value = "NAME",
        .standard = "painterly",
        .help = "painterly, classic or gatys: sets what is not given below"},
    {.name = "size",
        .type = APP_COUNT,
        .offset = AT(size),
        .low = 1,
        .high = APP_MAX_SIDE,
        .value = "LONGEST",
        .otherwise = "512; classic 320",
        .help = "longest side of the painted picture, never above the content's"},
    {.name = "style-size",
        .type = APP_COUNT,
        .offset = AT(style_size),
        .low = 1,
        .high = APP_MAX_SIDE,
        .value = "N",
        .otherwise = "as painted",
        .help = "longest side at which the style is looked at"},
    {.name = "iterations",
        .type = APP_COUNT,
        .offset = AT(iterations),
        .low = 0,
        .high = 1000000,
        .value = "N",
        .otherwise = "painterly 150, classic 40, gatys 300",
        .help = "0 prints the loss of the start and writes nothing"},
    {.name = "optimizer",
        .type = APP_CHOICE,
        .offset = AT(optimizer),
        .choices = "adam|lbfgs",
        .otherwise = "lbfgs; classic adam",
        .help = "the optimiser"},
    {.name = "rate",
        .type = APP_NUMBER,
        .offset = AT(rate),
        .low = 1e-6,
        .high = 1e6,
        .value = "R",
        .otherwise = "2; classic 1",
        .help = "Adam's step, in values of 0..255"},
    {.name = "content-weight",
        .type = APP_NUMBER,
        .offset = AT(content_weight),
        .low = 0,
        .high = 1e12,
        .value = "W",
        .otherwise = "by preset",
        .help = "weight of the content"},
    {.name = "style-weight",
        .type = APP_NUMBER,
        .offset = AT(style_weight),
        .low = 0,
        .high = 1e12,
        .value = "W",
        .otherwise = "by preset",
        .help = "weight of the style"},
    {.name = "tv-weight",
        .type = APP_NUMBER,
        .offset = AT(tv_weight),
        .low = 0,
        .high = 1e12,
        .value = "W",
        .otherwise = "0",
        .help = "weight of the total variation: higher is smoother"},
    {.name = "content-layers",
        .type = APP_NAMES,
        .offset = AT(content_layers),
        .value = "L,...",
        .otherwise = "relu4_2",
        .help = "layers whose features hold the content"},
    {.name = "style-layers",
        .type = APP_NAMES,
        .offset = AT(style_layers),
        .value = "L,...",
        .otherwise = "relu1_1 to relu5_1",
        .help = "layers whose Gram matrices hold the style"},
    {.name = "layer-weights",
        .type = APP_NUMBERS,
        .offset = AT(layer_weights),
        .low = 0,
        .high = 1e12,
        .value = "W,...",
        .otherwise = "equal",
        .help = "one a style layer, in their order"},
    {.name = "pooling",
        .type = APP_CHOICE,
        .offset = AT(pooling),
        .choices = "max|avg",
        .otherwise = "max",
        .help = "pooling of the network"},
    {.name = "init",
        .type = APP_TEXT,
        .offset = AT(init),
        .value = "content|noise|mix|FILE",
        .otherwise = "content; classic mix",
        .help = "where to start: the content, noise, half of each, or a picture"},
    {.name = "save-every",
        .type = APP_COUNT,
        .offset = AT(save_every),
        .low = 1,
        .high = 1000000,
        .value = "N",
        .otherwise = "at the end",
        .help = "write OUT every N iterations as well"},
    {.name = "overwrite",
        .type = APP_FLAG,
        .offset = AT(overwrite),
        .help = "replace OUT where it exists"},
    {.name = "dry-run",
        .type = APP_FLAG,
        .offset = AT(dry_run),
        .help = "print sizes, settings and planned memory, and do nothing else"},
    APP_COMMON_OPTIONS("0", "seed of the noise"),
};

/* --- settings: the preset's, then what was given --- */

static bool known_preset(const char *name, imp_style_options *out) {
    *out = imp_style_preset(name);
    if (out->preset) return true;
    char list[256] = "";
    const char *nearest = imp_style_preset_name(0);
    for (size_t i = 0; imp_style_preset_name(i); i++) {
        const char *known = imp_style_preset_name(i);
        if (strlen(list) + strlen(known) + 3 < sizeof list)
            strcat(strcat(list, i ? ", " : ""), known);
        if (app_distance(name, known) < app_distance(name, nearest)) nearest = known;
    }
    app_error("--preset: expected one of %s, found %s; the nearest is %s", list, name,
        nearest ? nearest : "none");
    return false;
}

static void set_layers(const char **out, const app_names *names) {
    if (names->n == 0) return;
    for (size_t i = 0; i < names->n; i++) out[i] = names->values[i];
    out[names->n] = NULL;
}

static bool set_layer_weights(imp_style_options *o, const app_numbers *weights) {
    if (weights->n == 0) return true;
    size_t layers = 0;
    while (layers < IMP_STYLE_MAX_LAYERS && o->style_layers[layers]) layers++;
    if (weights->n != layers) {
        app_error("--layer-weights: expected %zu numbers, one a style layer, found %zu",
            layers, weights->n);
        return false;
    }
    memcpy(o->layer_weights, weights->values, layers * sizeof *o->layer_weights);
    o->layer_weights_given = true;
    return true;
}

static void set_init(imp_style_options *o, const char *init) {
    static const struct {
        const char *name;
        imp_init init;
    } table[] = {{"content", IMP_INIT_CONTENT}, {"noise", IMP_INIT_NOISE},
        {"mix", IMP_INIT_MIX}};
    if (!init) return;
    o->init = IMP_INIT_PICTURE;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(init, table[i].name) == 0) o->init = table[i].init;
}

static bool settings(imp_style_options *o, const values *v) {
    if (!known_preset(v->preset, o)) return false;
    if (v->size != APP_ABSENT) o->size = v->size;
    if (v->style_size != APP_ABSENT) o->style_size = v->style_size;
    if (v->iterations != APP_ABSENT) o->iterations = v->iterations;
    if (v->optimizer >= 0) o->optimizer = v->optimizer == 0 ? IMP_ADAM : IMP_LBFGS;
    if (!isnan(v->rate)) o->rate = v->rate;
    if (!isnan(v->rate) && o->optimizer != IMP_ADAM)
        app_note("--rate is Adam's alone: not used with lbfgs");
    if (!isnan(v->content_weight)) o->content_weight = v->content_weight;
    if (!isnan(v->style_weight)) o->style_weight = v->style_weight;
    if (!isnan(v->tv_weight)) o->tv_weight = v->tv_weight;
    if (v->pooling >= 0) o->pooling = v->pooling == 0 ? IMP_POOL_MAX : IMP_POOL_AVG;
    set_layers(o->content_layers, &v->content_layers);
    set_layers(o->style_layers, &v->style_layers);
    if (v->content_layers.n) o->content_named = true;
    if (v->style_layers.n) o->style_named = true;
    set_init(o, v->init);
    o->seed = v->common.seed;
    return set_layer_weights(o, &v->layer_weights);
}

/* --- the dry run --- */

static json_t *json_layers(const char *const *layers) {
    json_t *list = json_array();
    for (size_t i = 0; i < IMP_STYLE_MAX_LAYERS && layers[i]; i++)
        json_array_append_new(list, json_string(layers[i]));
    return list;
}

static const char *join_layers(char *out, size_t size, const char *const *layers) {
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < IMP_STYLE_MAX_LAYERS && layers[i]; i++) {
        int n = snprintf(out + used, size - used, "%s%s", i ? "," : "", layers[i]);
        if (n < 0 || (size_t)n >= size - used) break;
        used += (size_t)n;
    }
    return out;
}

static const char *init_name(const app_painting *p, const values *v) {
    static const char *const names[] = {"content", "noise", "mix"};
    return p->options.init == IMP_INIT_PICTURE ? v->init : names[p->options.init];
}

static json_t *json_settings(const app_painting *p, const values *v) {
    const imp_style_options *o = &p->options;
    json_t *settings_object = json_pack("{s:s, s:I, s:s, s:f, s:f, s:f, s:f, s:o, s:o}",
        "preset", o->preset, "iterations", (json_int_t)o->iterations, "optimizer",
        o->optimizer == IMP_ADAM ? "adam" : "lbfgs", "rate", o->rate, "content_weight",
        o->content_weight, "style_weight", o->style_weight, "tv_weight", o->tv_weight,
        "content_layers", json_layers(o->content_layers), "style_layers",
        json_layers(o->style_layers));
    if (!settings_object) return NULL;
    json_object_set_new(settings_object, "pooling",
        json_string(o->pooling == IMP_POOL_MAX ? "max" : "avg"));
    json_object_set_new(settings_object, "init", app_json_text(init_name(p, v)));
    json_object_set_new(settings_object, "seed", app_json_seed(o->seed));
    return settings_object;
}

static void tell_plan(const app_painting *p, const values *v) {
    const imp_style_options *o = &p->options;
    char content[512], style[512], bytes[32], available[32];
    double has = app_memory_available();
    app_event(json_pack("{s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:o, s:o}", "event",
        "plan", "bytes", (json_int_t)p->bytes, "available", app_json_number(has),
        "width", (json_int_t)p->width, "height", (json_int_t)p->height, "style_width",
        (json_int_t)p->style_width, "style_height", (json_int_t)p->style_height,
        "model", app_json_text(app_model_name(&p->model)), "settings",
        json_settings(p, v)));
    app_result("content    %zu x %zu, painted at %zu x %zu", p->content_size[0],
        p->content_size[1], p->width, p->height);
    app_result("style      %zu x %zu, looked at at %zu x %zu", p->style_size[0],
        p->style_size[1], p->style_width, p->style_height);
    app_result("model      %s (%s)", app_model_name(&p->model),
        imp_model_describe(p->model.model).architecture);
    app_result("preset     %s", o->preset);
    app_result("layers     content %s (weight %g), style %s (weight %g)",
        join_layers(content, sizeof content, o->content_layers), o->content_weight,
        join_layers(style, sizeof style, o->style_layers), o->style_weight);
    app_result(
        "start      %s, seed %llu", init_name(p, v), (unsigned long long)o->seed);
    if (o->optimizer == IMP_ADAM)
        app_result("optimiser  adam, rate %g, %zu iterations", o->rate, o->iterations);
    else
        app_result(
            "optimiser  lbfgs, history %zu, %zu iterations", o->history, o->iterations);
    app_result("memory     %s planned, %s available",
        app_bytes(bytes, sizeof bytes, (double)p->bytes),
        app_bytes(available, sizeof available, has));
}

/* --- the command --- */

/* Everything that can be refused before the work, cheapest first. */
static int check(app_painting *p, const values *v) {
    char **files = v->common.operands;
    bool paints =
        p->options.iterations > 0; /* a dry run is told of its output as well */
    if (!v->output && paints && !v->dry_run) {
        app_error("stylize: expected --output OUT (see impasto stylize --help)");
        return APP_USAGE;
    }
    int status = v->output ? app_image_check_name(v->output) : 0;
    if (!status) status = app_model_find(&p->model, v->model, false);
    if (!status) status = app_open(&p->ctx, &v->common);
    if (status || !v->output || !paints) return status;
    const char *inputs[4] = {files[0], files[1]};
    size_t n = 2;
    if (p->options.init == IMP_INIT_PICTURE) inputs[n++] = v->init;
    if (p->model.path[0]) inputs[n++] = p->model.path;
    imp_status good = imp_check_output(p->ctx, v->output, v->overwrite, inputs, n);
    return good == IMP_OK ? 0 : app_fail(p->ctx, good);
}

/* A picture, and at once at the size that the job will look at it: longest side at most
 * size. Its own size into seen. */
static int load_picture(app_painting *p, imp_picture *picture, const char *file,
    size_t size, size_t seen[2]) {
    size_t width, height;
    int status = app_image_load(p->ctx, picture, file);
    if (status) return status;
    seen[0] = picture->width;
    seen[1] = picture->height;
    imp_style_size(picture->width, picture->height, size, &width, &height);
    imp_status fitted = imp_style_fit(p->ctx, picture, width, height);
    return fitted == IMP_OK ? 0 : app_fail(p->ctx, fitted);
}

static int load(app_painting *p, const values *v) {
    char **files = v->common.operands;
    const imp_style_options *o = &p->options;
    int status = load_picture(p, &p->content, files[0], o->size, p->content_size);
    size_t longest =
        p->content.width > p->content.height ? p->content.width : p->content.height;
    size_t style_size = o->style_size ? o->style_size : longest;
    if (!status)
        status = load_picture(p, &p->style, files[1], style_size, p->style_size);
    if (!status && o->init == IMP_INIT_PICTURE) {
        status = app_image_load(p->ctx, &p->start, v->init);
        imp_status fitted = status ? IMP_OK
                                   : imp_style_fit(p->ctx, &p->start, p->content.width,
                                         p->content.height);
        if (fitted != IMP_OK) status = app_fail(p->ctx, fitted);
    }
    if (!status) status = app_model_open_for(p->ctx, &p->model, o);
    if (!status && imp_model_describe(p->model.model).random)
        app_note("model %s: random features find colour and texture, not strokes",
            app_model_name(&p->model));
    return status;
}

static int paint(app_painting *p, const values *v) {
    char bytes[32];
    int status = check(p, v);
    if (!status) status = load(p, v);
    if (!status) status = app_paint_plan(p);
    if (v->dry_run) {
        if (p->bytes) tell_plan(p, v);
        return status;
    }
    if (status) return status;
    app_say("painting %zu x %zu with %s, %zu iterations, %s planned", p->width,
        p->height, app_model_name(&p->model), p->options.iterations,
        app_bytes(bytes, sizeof bytes, (double)p->bytes));
    return app_paint(p);
}

static int run(const app_command *self, int argc, char **argv) {
    static values v; /* its lists point into itself */
    static app_painting p;
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    p.begun = app_seconds();
    if (!settings(&p.options, &v)) return APP_USAGE;
    p.output = v.output;
    p.overwrite = v.overwrite;
    if (v.save_every != APP_ABSENT) p.save_every = v.save_every;
    app_signals_catch();
    status = paint(&p, &v);
    imp_picture_free(&p.content);
    imp_picture_free(&p.style);
    imp_picture_free(&p.start);
    imp_model_free(p.model.model);
    imp_ctx_free(p.ctx);
    return status;
}

const app_command app_stylize = {
    .name = "stylize",
    .summary = "paint one picture in the style of another",
    .usage = "CONTENT STYLE -o OUT [options]",
    .operands = "two pictures, CONTENT and STYLE",
    .least = 2,
    .most = 2,
    .options = options,
    .words =
        "Models are looked for in $XDG_DATA_HOME/impasto/models/NAME.safetensors\n"
        "(~/.local/share where XDG_DATA_HOME is not set). The model builtin is a\n"
        "seeded network of random features: it finds colour and texture, not\n"
        "strokes. Strokes come with the weights of a trained VGG-19.\n\n"
        "Ctrl-C ends the iteration, writes the picture so far and exits with 130.\n",
    .examples = "  impasto stylize photo.jpg painting.jpg -o out.png\n"
                "  impasto stylize photo.jpg painting.jpg -o out.png --model vgg19 "
                "--size 384\n"
                "  impasto stylize photo.jpg painting.jpg -o out.png --preset classic "
                "--seed 7\n"
                "  impasto stylize photo.jpg painting.jpg -o out.png --dry-run\n",
    .run = run,
};
