/* SPDX-License-Identifier: MIT
 *
 * plan.c: what a painting will need, held against what there is; --dry-run tells it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "box.h"
#include "memory.h"
#include "paint.h"
#include "report.h"

static size_t longest(size_t width, size_t height) {
    return width > height ? width : height;
}

static int check_sizes(const app_painting *p) {
    const char *preview = p->v->preview;
    int status = app_output_check(&p->output, p->width, p->height);
    if (status || !preview) return status;
    return app_image_check_size(preview, p->width, p->height);
}

int app_plan(app_painting *p) {
    const imp_picture *content = &p->inputs.content.picture;
    imp_style_size(
        content->width, content->height, p->options.size, &p->width, &p->height);
    int good = check_sizes(p);
    if (good) return good;
    imp_status status = imp_style_estimate(p->ctx, p->model.model, p->width, p->height,
        p->inputs.sources, p->inputs.n_styles, &p->options, &p->bytes);
    if (status != IMP_OK) return app_fail(p->ctx, status);
    p->bytes += app_output_bytes(&p->output, p->width, p->height);
    /* The weights are in memory already: what is available is without them. */
    double weights = 4.0 * (double)imp_model_describe(p->model.model).parameters;
    double needs = (double)p->bytes - weights, has = app_memory_available();
    /* A small painting of a large picture: reading that took more. */
    p->bytes += APP_PROGRAM_BYTES;
    if (app_memory_peak() > p->bytes) p->bytes = app_memory_peak();
    if (needs <= has) return 0;
    char need_text[32], has_text[32];
    double fits = (double)longest(p->width, p->height) * sqrt(has / needs);
    app_error("memory: painting %zu x %zu needs %s, %s is available; try --size %.0f",
        p->width, p->height, app_bytes(need_text, sizeof need_text, needs),
        app_bytes(has_text, sizeof has_text, has), fmax(1, floor(0.95 * fits)));
    return IMP_ERR_LIMIT;
}

int app_plan_check(const app_painting *p) {
    const app_inputs *in = &p->inputs;
    imp_status status =
        imp_style_check(p->ctx, p->model.model, &in->content.picture, in->sources,
            in->n_styles, in->start.file ? &in->start.picture : NULL, &p->options);
    return status == IMP_OK ? 0 : app_fail(p->ctx, status);
}

/* --- telling --- */

static void tell_json(const app_painting *p, double available) {
    json_t *styles = json_array();
    size_t painted = longest(p->width, p->height), first[2] = {0, 0};
    for (size_t i = 0; i < p->inputs.n_styles; i++) {
        const app_input *style = &p->inputs.styles[i];
        size_t width = style->width, height = style->height;
        if (!style->picture.planes) continue;
        app_style_size(&p->options, painted, &width, &height);
        if (!first[0]) first[0] = width, first[1] = height;
        json_array_append_new(
            styles, json_pack("{s:o, s:f, s:I, s:I}", "file",
                        app_json_text(style->file), "weight", p->inputs.weights[i],
                        "width", (json_int_t)width, "height", (json_int_t)height));
    }
    app_event(json_pack("{s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "event",
        "plan", "bytes", (json_int_t)p->bytes, "available", app_json_number(available),
        "width", (json_int_t)p->width, "height", (json_int_t)p->height, "style_width",
        (json_int_t)first[0], "style_height", (json_int_t)first[1], "styles", styles,
        "model", app_json_text(app_model_name(&p->model)), "settings",
        app_settings_json(p->command, p->v, &p->options)));
}

static void tell_pictures(const app_painting *p) {
    const app_inputs *in = &p->inputs;
    size_t painted = longest(p->width, p->height);
    app_result("content    %zu x %zu, painted at %zu x %zu", in->content.width,
        in->content.height, p->width, p->height);
    if (p->options.first_size)
        app_result("scales     of %zu at least, %zu iterations at each, the last %zu",
            p->options.first_size, p->options.scale_iterations, p->options.iterations);
    for (size_t i = 0; i < in->n_styles; i++) {
        const app_input *style = &in->styles[i];
        size_t width = style->width, height = style->height;
        if (!style->picture.planes) continue;
        app_style_size(&p->options, painted, &width, &height);
        app_result("style      %zu x %zu, looked at at %zu x %zu, weight %g",
            style->width, style->height, width, height, in->weights[i]);
    }
    if (p->output.box.width) {
        size_t width = p->width, height = p->height;
        app_box_fill(p->output.box, &width, &height);
        app_result("output     %zu x %zu", width, height);
    }
}

/* weights: NULL: all alike. */
static const char *join_layers(
    char *out, size_t size, const char *const *layers, const double *weights) {
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < IMP_STYLE_MAX_LAYERS && layers[i]; i++) {
        char weight[32] = "";
        if (weights) snprintf(weight, sizeof weight, ":%g", weights[i]);
        int n = snprintf(
            out + used, size - used, "%s%s%s", i ? "," : "", layers[i], weight);
        if (n < 0 || (size_t)n >= size - used) break;
        used += (size_t)n;
    }
    return out;
}

static void tell_objective(const imp_style_options *o) {
    char layers[512], losses[128] = "";
    for (size_t i = 0, used = 0; i < IMP_STYLE_TERMS; i++)
        if (o->terms[i] > 0)
            used += (size_t)snprintf(losses + used, sizeof losses - used, "%s%s:%g",
                used ? "," : "", app_term_name((imp_style_term)i), o->terms[i]);
    app_result("layers     content %s (weight %g)",
        join_layers(layers, sizeof layers, o->content_layers, NULL), o->content_weight);
    app_result("           style %s (weight %g)",
        join_layers(layers, sizeof layers, o->style_layers,
            o->layer_weights_given ? o->layer_weights : NULL),
        o->style_weight);
    if (o->terms[IMP_TERM_NEAREST] > 0)
        app_result("           nearest %s",
            join_layers(layers, sizeof layers, o->nearest_layers, NULL));
    app_result("losses     %s", losses);
    if (o->optimizer == IMP_ADAM)
        app_result("optimiser  adam, rate %g, %zu iterations", o->rate, o->iterations);
    else
        app_result(
            "optimiser  lbfgs, history %zu, %zu iterations", o->history, o->iterations);
    if (o->turn)
        app_result("turns      the network, about every %zu iterations", o->turn);
}

void app_plan_tell(const app_painting *p) {
    char bytes[32], available[32];
    double has = app_memory_available();
    const char *start =
        p->inputs.start.file ? p->inputs.start.file : app_init_name(p->options.init);
    tell_json(p, has);
    tell_pictures(p);
    app_result("model      %s (%s)", app_model_name(&p->model),
        imp_model_describe(p->model.model).architecture);
    app_result("preset     %s", p->options.preset);
    tell_objective(&p->options);
    app_result("start      %s, seed %llu", start, (unsigned long long)p->options.seed);
    app_result("memory     %s planned, %s available",
        app_bytes(bytes, sizeof bytes, (double)p->bytes),
        app_bytes(available, sizeof available, has));
}
