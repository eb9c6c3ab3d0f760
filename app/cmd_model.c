/* SPDX-License-Identifier: MIT
 *
 * cmd_model.c: `impasto model info FILE`, `model init ARCH -o FILE`, `model plan ARCH`.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "image_vips.h"
#include "impasto/style.h"
#include "memory.h"
#include "models.h"
#include "report.h"
#include "signals.h"

typedef struct values {
    app_common common;
    const char *output;
    size_t divide, size;
    app_counts hidden;
    int optimizer;
    bool features, overwrite;
} values;

#define AT(field) offsetof(values, field)
#define DIVIDE                                                                         \
    {                                                                                  \
        .name = "divide", .type = APP_COUNT, .offset = AT(divide), .low = 1,           \
        .high = 64, .value = "K", .standard = "1",                                     \
        .help = "channels of the architecture divided by this"                         \
    }

static const app_option info_options[] = {
    APP_COMMON_OPTIONS("0", "not used"),
};

static const app_option init_options[] = {
    APP_MODEL_OPTION(values),
    DIVIDE,
    {.name = "hidden",
        .type = APP_COUNTS,
        .offset = AT(hidden),
        .low = 1,
        .high = 65536,
        .value = "N,...",
        .otherwise = "32,16",
        .help = "mlp: widths of the hidden layers"},
    {.name = "features",
        .type = APP_FLAG,
        .offset = AT(features),
        .help = "vgg16, vgg19: the convolutions alone"},
    APP_OVERWRITE_OPTION(values),
    APP_COMMON_OPTIONS("0", "seed of the weights"),
};

static const app_option plan_options[] = {
    {.name = "size",
        .type = APP_COUNT,
        .offset = AT(size),
        .low = 1,
        .high = APP_MAX_SIDE,
        .value = "N",
        .required = true,
        .help = "sides of the painted picture and of the style"},
    {.name = "optimizer",
        .type = APP_CHOICE,
        .offset = AT(optimizer),
        .choices = "adam|lbfgs",
        .standard = "lbfgs",
        .help = "the optimiser"},
    DIVIDE,
    APP_COMMON_OPTIONS("0", "not used: the plan does not depend on the weights"),
};

/* --- info --- */

static json_t *json_numbers(const float *x, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_real((double)x[i]));
    return list;
}

static json_t *json_input(const imp_input_spec *in) {
    return json_pack("{s:s, s:f, s:o, s:o, s:I, s:s, s:s}", "order",
        in->channels == 1 ? "gray"
        : in->bgr         ? "bgr"
                          : "rgb",
        "range", (double)in->range, "mean", json_numbers(in->mean, in->channels), "std",
        json_numbers(in->std, in->channels), "size", (json_int_t)in->size, "fit",
        in->fit == IMP_FIT_SQUASH ? "squash" : "crop", "flatten",
        in->flatten == IMP_FLATTEN_HWC ? "hwc" : "chw");
}

static json_t *json_tensors(const imp_model *m) {
    json_t *list = json_array();
    for (size_t i = 0; i < imp_model_tensor_count(m); i++) {
        imp_shape s = imp_model_tensor_shape(m, i);
        json_array_append_new(list,
            json_pack("{s:o, s:[I,I,I,I]}", "name",
                app_json_text(imp_model_tensor_name(m, i)), "shape", (json_int_t)s.n,
                (json_int_t)s.c, (json_int_t)s.h, (json_int_t)s.w));
    }
    return list;
}

static void tell_input(const imp_input_spec *in) {
    char mean[64] = "", deviation[64] = "";
    for (size_t i = 0; i < in->channels && i < 3; i++) {
        size_t a = strlen(mean), b = strlen(deviation);
        snprintf(mean + a, sizeof mean - a, "%s%g", i ? "," : "", (double)in->mean[i]);
        snprintf(deviation + b, sizeof deviation - b, "%s%g", i ? "," : "",
            (double)in->std[i]);
    }
    app_result("input         %s 0..%g, mean %s, std %s, %zu x %zu, %s",
        in->channels == 1 ? "gray"
        : in->bgr         ? "bgr"
                          : "rgb",
        (double)in->range, mean, deviation, in->size, in->size,
        in->fit == IMP_FIT_SQUASH ? "squash" : "crop");
}

/* How wide it is beside its architecture. */
static void tell_architecture(const imp_model_info *info) {
    const char *random = info->random ? ", random features" : "";
    if (info->listed)
        app_result(
            "architecture  %s, channels of its own%s", info->architecture, random);
    else
        app_result("architecture  %s, channels divided by %zu%s", info->architecture,
            info->divisor, random);
}

static void tell_info(const char *file, const imp_model *m) {
    imp_model_info info = imp_model_describe(m);
    size_t tensors = imp_model_tensor_count(m);
    app_event(json_pack("{s:s, s:o, s:o, s:I, s:b, s:I, s:I, s:b, s:o, s:o}", "event",
        "result", "file", app_json_text(file), "architecture",
        app_json_text(info.architecture), "divisor", (json_int_t)info.divisor,
        "own_channels", (int)info.listed, "classes", (json_int_t)info.classes,
        "parameters", (json_int_t)info.parameters, "random", (int)info.random, "input",
        json_input(&info.input), "tensors", json_tensors(m)));
    app_result("file          %s", file);
    tell_architecture(&info);
    tell_input(&info.input);
    if (info.classes)
        app_result("classes       %zu", info.classes);
    else
        app_result("classes       none: features alone");
    app_result("parameters    %zu in %zu tensors", info.parameters, tensors);
    for (size_t i = 0; i < tensors; i++) {
        imp_shape s = imp_model_tensor_shape(m, i);
        app_result("  %-16s %zu x %zu x %zu x %zu", imp_model_tensor_name(m, i), s.n,
            s.c, s.h, s.w);
    }
}

static int run_info(const app_command *self, int argc, char **argv) {
    values v;
    app_model m;
    imp_ctx *ctx = NULL;
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    app_signals_catch(); /* a foreign file is converted first */
    status = app_model_find(&m, v.common.operands[0], false);
    if (!status) status = app_open(&ctx, &v.common);
    if (!status) status = app_model_open(ctx, &m);
    if (!status) tell_info(v.common.operands[0], m.model);
    imp_model_free(m.model);
    imp_ctx_free(ctx);
    return status;
}

/* --- init and plan --- */

static int check_architecture(const char *name, const char *choices) {
    const char *nearest = "";
    char best[32] = "", list[128] = "";
    for (int i = 0; *app_choice(choices, i); i++) {
        nearest = app_choice(choices, i);
        if (strcmp(name, nearest) == 0) return 0;
        strcat(strcat(list, i ? ", " : ""), nearest);
        if (!*best || app_distance(name, nearest) < app_distance(name, best))
            snprintf(best, sizeof best, "%s", nearest);
    }
    app_error("architecture: expected one of %s, found %s; the nearest is %s", list,
        name, best);
    return APP_USAGE;
}

static int init_model(
    imp_ctx *ctx, imp_model **out, const char *name, const values *v, bool features) {
    static const size_t standard[] = {32, 16};
    imp_model_options o = {.architecture = name,
        .divisor = v->divide,
        .features = features,
        .seed = v->common.seed};
    if (strcmp(name, "mlp") == 0) {
        o.hidden = v->hidden.n ? v->hidden.values : standard;
        o.n_hidden = v->hidden.n ? v->hidden.n : 2;
    }
    imp_status status = strcmp(name, "builtin") == 0 ? imp_model_builtin(ctx, out)
                                                     : imp_model_init(ctx, out, &o);
    return status == IMP_OK ? 0 : app_fail(ctx, status);
}

static int run_init(const app_command *self, int argc, char **argv) {
    values v;
    imp_ctx *ctx = NULL;
    imp_model *model = NULL;
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    const char *name = v.common.operands[0];
    status = check_architecture(name, "mlp|lenet|vgg16|vgg19");
    if (!status && v.hidden.n && strcmp(name, "mlp") != 0) {
        app_error("--hidden: expected with mlp alone, found with %s", name);
        status = APP_USAGE;
    }
    if (!status) status = app_open(&ctx, &v.common);
    if (!status) {
        imp_status good = imp_check_output(ctx, v.output, v.overwrite, NULL, 0);
        if (good != IMP_OK) status = app_fail(ctx, good);
    }
    if (!status) status = init_model(ctx, &model, name, &v, v.features);
    if (!status) {
        imp_status good = imp_model_save(
            ctx, model, v.output, &(imp_save_options){.overwrite = v.overwrite});
        if (good != IMP_OK) status = app_fail(ctx, good);
    }
    if (!status) {
        size_t parameters = imp_model_describe(model).parameters;
        app_event(json_pack("{s:s, s:o, s:s, s:I}", "event", "done", "output",
            app_json_text(v.output), "architecture", name, "parameters",
            (json_int_t)parameters));
        app_say("%s: %s, %zu parameters", v.output, name, parameters);
    }
    imp_model_free(model);
    imp_ctx_free(ctx);
    return status;
}

static void tell_plan(const char *name, const values *v, size_t bytes) {
    char planned[32], available[32];
    double has = app_memory_available();
    const char *optimizer = v->optimizer == 0 ? "adam" : "lbfgs";
    app_event(json_pack("{s:s, s:s, s:I, s:s, s:I, s:o}", "event", "plan",
        "architecture", name, "size", (json_int_t)v->size, "optimizer", optimizer,
        "bytes", (json_int_t)bytes, "available", app_json_number(has)));
    app_result("%s at %zu x %zu, %s: %zu bytes (%s), %s available", name, v->size,
        v->size, optimizer, bytes, app_bytes(planned, sizeof planned, (double)bytes),
        app_bytes(available, sizeof available, has));
}

static int run_plan(const app_command *self, int argc, char **argv) {
    values v;
    imp_ctx *ctx = NULL;
    imp_model *model = NULL;
    size_t bytes = 0;
    int status;
    v.hidden.n = 0;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    const char *name = v.common.operands[0];
    status = check_architecture(name, "vgg16|vgg19|builtin");
    if (!status) status = app_open(&ctx, &v.common);
    if (!status) status = init_model(ctx, &model, name, &v, true);
    if (!status) {
        imp_style_options o = imp_style_preset("painterly");
        o.size = o.style_size = v.size;
        o.optimizer = v.optimizer == 0 ? IMP_ADAM : IMP_LBFGS;
        imp_picture sides = {.width = v.size, .height = v.size};
        imp_style_source style = {.picture = &sides, .weight = 1.0};
        imp_status good =
            imp_style_estimate(ctx, model, v.size, v.size, &style, 1, &o, &bytes);
        if (good != IMP_OK) status = app_fail(ctx, good);
        bytes += APP_PROGRAM_BYTES;
    }
    if (!status) tell_plan(name, &v, bytes);
    imp_model_free(model);
    imp_ctx_free(ctx);
    return status;
}

const app_command app_model_info = {
    .name = "model info",
    .summary = "tell what a model file holds",
    .usage = "FILE|NAME [options]",
    .operands = "one FILE or NAME",
    .least = 1,
    .most = 1,
    .options = info_options,
    .examples = "  impasto model info digits.safetensors\n"
                "  impasto model info builtin --json\n",
    .run = run_info,
};

const app_command app_model_init = {
    .name = "model init",
    .summary = "write a network of random (He) weights",
    .usage = "ARCH -o FILE [options]",
    .operands = "one ARCH: mlp, lenet, vgg16 or vgg19",
    .least = 1,
    .most = 1,
    .options = init_options,
    .examples = "  impasto model init vgg19 --seed 1 --divide 8 -o narrow.safetensors\n"
                "  impasto model init mlp --seed 1 --hidden 64,32 -o mlp.safetensors\n",
    .run = run_init,
};

const app_command app_model_plan = {
    .name = "model plan",
    .summary = "tell the memory that painting (by painterly) will need",
    .usage = "ARCH --size N [options]",
    .operands = "one ARCH: vgg16, vgg19 or builtin",
    .least = 1,
    .most = 1,
    .options = plan_options,
    .examples = "  impasto model plan vgg19 --size 512\n"
                "  impasto model plan vgg19 --size 2048 --optimizer adam\n",
    .run = run_plan,
};
