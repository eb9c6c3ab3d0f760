/* SPDX-License-Identifier: MIT
 *
 * cmd_convert.c: `impasto model convert IN -o OUT`.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "foreign/convert.h"
#include "known.h"
#include "report.h"
#include "signals.h"

typedef struct values {
    app_common common;
    const char *output;
    bool conv_only, half, overwrite;
    int order, range;
    app_numbers mean, deviation;
} values;

#define AT(field) offsetof(values, field)
static const app_option options[] = {
    APP_MODEL_OPTION(values),
    APP_HALF_OPTION(values),
    {.name = "conv-only",
        .type = APP_FLAG,
        .offset = AT(conv_only),
        .help = "the convolutions alone, which is all that painting needs"},
    {.name = "input",
        .type = APP_CHOICE,
        .offset = AT(order),
        .choices = "rgb|bgr",
        .otherwise = "as recognised",
        .help = "order of the channels that the network wants to see"},
    {.name = "range",
        .type = APP_CHOICE,
        .offset = AT(range),
        .choices = "1|255",
        .otherwise = "as recognised",
        .help = "white, before the mean is taken away"},
    {.name = "mean",
        .type = APP_NUMBERS,
        .offset = AT(mean),
        .low = -1000,
        .high = 1000,
        .value = "A,B,C",
        .otherwise = "as recognised",
        .help = "mean of each channel, in their order"},
    {.name = "std",
        .type = APP_NUMBERS,
        .offset = AT(deviation),
        .low = 1e-6,
        .high = 1000,
        .value = "A,B,C",
        .otherwise = "as recognised",
        .help = "what each channel is divided by after that"},
    APP_OVERWRITE_OPTION(values),
    APP_COMMON_OPTIONS("0", "not used"),
};

/* Three numbers, or none. */
static int take_three(const char *name, const app_numbers *given, float out[3]) {
    for (size_t i = 0; i < given->n && i < 3; i++) out[i] = (float)given->values[i];
    if (given->n == 0 || given->n == 3) return 0;
    app_error("--%s: expected three numbers, found %zu", name, given->n);
    return APP_USAGE;
}

/* known: which of the known files it is, or NULL. */
static void tell(
    const char *in, const values *v, const imp_converted *c, const app_known *known) {
    const imp_input_spec *s = &c->input;
    const char *order = s->channels == 1 ? "gray" : s->bgr ? "bgr" : "rgb";
    app_event(json_pack("{s:s, s:o, s:o, s:s, s:s, s:s?, s:s, s:I, s:I, s:I, s:s, s:f}",
        "event", "done", "input", app_json_text(in), "output", app_json_text(v->output),
        "format", c->format, "naming", c->naming, "known", known ? known->name : NULL,
        "architecture", c->architecture, "divisor", (json_int_t)c->divisor, "classes",
        (json_int_t)c->classes, "parameters", (json_int_t)c->parameters, "order", order,
        "range", (double)s->range));
    app_say("%s: %s%s%s", in, c->format, *c->naming ? ", names of " : "", c->naming);
    if (known) app_say("%s: %s, by its checksum", in, known->what);
    char mean[64];
    int n = snprintf(mean, sizeof mean, "%g", (double)s->mean[0]);
    if (s->channels == 3)
        snprintf(mean + n, sizeof mean - (size_t)n, ",%g,%g", (double)s->mean[1],
            (double)s->mean[2]);
    app_say("%s: %s, %s 0..%g minus %s, %zu classes, %zu parameters", v->output,
        c->architecture, order, (double)s->range, mean, c->classes, c->parameters);
}

static int convert(imp_ctx *ctx, const char *in, const values *v) {
    float mean[3], deviation[3];
    imp_convert_options o = {.conv_only = v->conv_only,
        .half = v->half,
        .overwrite = v->overwrite,
        .bgr = v->order,
        .range = v->range < 0 ? 0
                 : v->range   ? 255
                              : 1,
        .mean = v->mean.n ? mean : NULL,
        .std = v->deviation.n ? deviation : NULL,
        .stop = app_interrupted};
    imp_converted found;
    int status = take_three("mean", &v->mean, mean);
    if (!status) status = take_three("std", &v->deviation, deviation);
    if (status) return status;
    app_catalogue catalogue;
    status = app_catalogue_read(&catalogue);
    if (status) return status;
    imp_status s = imp_check_output(ctx, v->output, v->overwrite, &in, 1);
    if (!s) s = imp_convert(ctx, in, v->output, &o, &found);
    if (s == IMP_OK)
        tell(in, v, &found, app_catalogue_of_file(&catalogue, in));
    else
        status = app_interrupted() ? APP_INTERRUPTED : app_fail(ctx, s);
    app_catalogue_free(&catalogue);
    return status;
}

static int run(const app_command *self, int argc, char **argv) {
    values v;
    imp_ctx *ctx = NULL;
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    app_signals_catch();
    status = app_open(&ctx, &v.common);
    if (!status) status = convert(ctx, v.common.operands[0], &v);
    imp_ctx_free(ctx);
    return status;
}

const app_command app_model_convert = {
    .name = "model convert",
    .summary = "read the weights that another program wrote",
    .usage = "IN -o OUT.safetensors [options]",
    .operands = "one IN, a file of a VGG's weights",
    .least = 1,
    .most = 1,
    .options = options,
    .words =
        "IN may be PyTorch's .pth (zip or legacy), MatConvNet's .mat, Keras's .h5, "
        "ONNX,\n"
        "Caffe's .caffemodel, NumPy's .npz, or safetensors, by the names of Oxford,\n"
        "torchvision, timm or Keras. What it is and what it wants to see is "
        "recognised;\n"
        "the options overrule that. It is read by a process without rights.\n\n"
        "--model takes such a file as it is, and converts it once, into\n"
        "$XDG_CACHE_HOME/impasto (~/.cache/impasto where that is not set).\n",
    .examples =
        "  impasto model convert vgg19-dcbb9e9d.pth -o vgg19.safetensors --conv-only "
        "--half\n"
        "  impasto model convert vgg_conv.pth -o vgg19.safetensors --input bgr\n",
    .run = run,
};
