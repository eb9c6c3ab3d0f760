/* SPDX-License-Identifier: MIT
 *
 * cmd_stylize.c: `impasto stylize CONTENT STYLE... -o OUT`: checks, and the order of
 * things.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "batch.h"
#include "commands.h"
#include "like.h"
#include "paint.h"
#include "report.h"
#include "signals.h"

/* --- what can be refused before the work, cheapest first --- */

static bool excluded(bool both, const char *option, const char *why) {
    if (both) app_error("--%s: expected without %s", option, why);
    return both;
}

static bool excluding_options(const app_stylize_values *v) {
    bool standard = v->output && strcmp(v->output, APP_STANDARD) == 0;
    bool scaled = v->style_scale == v->style_scale; /* no NaN: given */
    return excluded(scaled && v->style_size != APP_ABSENT, "style-scale",
               "--style-size, which sets the same") ||
           excluded(standard && v->common.json, "json",
               "--output -: both would go to standard output") ||
           excluded(standard && v->save_every != APP_ABSENT, "save-every",
               "--output -: standard output takes one picture");
}

/* Standard input can be read but once. The first content is in already. */
static int check_standard_input(
    const app_inputs *in, const app_stylize_values *v, const app_batch *batch) {
    const char *files[APP_INPUTS];
    size_t n = app_inputs_files(in, files), uses = 0;
    for (size_t i = 1; i < batch->n; i++)
        if (strcmp(batch->contents[i], APP_STANDARD) == 0) uses++;
    for (size_t i = 0; i < n; i++)
        if (strcmp(files[i], APP_STANDARD) == 0) uses++;
    if (v->like && strcmp(v->like, APP_STANDARD) == 0) uses++;
    if (uses < 2 && !(uses && batch->many)) return 0;
    app_error("standard input: expected for one picture, found - %s",
        batch->many ? "beside several CONTENTs" : "more than once");
    return APP_USAGE;
}

/* May it be written, and is it no file of ours? */
static int check_preview(const app_painting *p, const app_batch *batch) {
    static const app_image_how how = {.quality = APP_ABSENT};
    const char *path = p->v->preview, *files[APP_INPUTS + 1];
    int status = app_image_check_name(path, &how);
    bool ours = strcmp(path, APP_STANDARD) == 0;
    for (size_t i = 0; i < batch->n && batch->outputs; i++)
        if (app_output_same(path, batch->outputs[i])) ours = true;
    if (!status && ours) {
        app_error("--preview: expected another file than OUT, found %s", path);
        status = APP_USAGE;
    }
    if (status) return status;
    size_t n = app_inputs_files(&p->inputs, files);
    if (p->v->like) files[n++] = p->v->like;
    imp_status good = imp_check_output(p->ctx, path, true, files, n);
    for (size_t i = 0; good == IMP_OK && i < batch->n; i++) {
        const char *content = batch->contents[i];
        good = imp_check_output(p->ctx, path, true, &content, 1);
    }
    return good == IMP_OK ? 0 : app_fail(p->ctx, good);
}

/* What is the same for all contents, and is not there, would be said once for each. */
static int check_shared(const app_painting *p) {
    const char *files[APP_INPUTS];
    size_t n = app_inputs_files(&p->inputs, files);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(files[i], APP_STANDARD) == 0 || access(files[i], R_OK) == 0)
            continue;
        app_error("%s: %s", files[i], strerror(errno));
        return IMP_ERR_DATA;
    }
    return 0;
}

/* Once for all contents. */
static int check(app_painting *p, const app_batch *batch) {
    const app_stylize_values *v = p->v;
    bool paints = p->options.iterations > 0;
    if (!v->output && paints && !v->dry_run) {
        app_error("stylize: expected --output OUT (see impasto stylize --help)");
        return APP_USAGE;
    }
    int status = 0;
    if (v->output)
        status = app_image_check_name(
            batch->many ? batch->outputs[0] : v->output, &p->output.how);
    if (!status) status = check_standard_input(&p->inputs, v, batch);
    if (!status && batch->many) status = check_shared(p);
    if (!status) status = app_model_find(&p->model, v->model, false);
    if (!status) status = app_open(&p->ctx, &v->common);
    if (!status && v->preview) status = check_preview(p, batch);
    return status;
}

/* For each content; a dry run is told of its output as well. */
static int check_output(app_painting *p) {
    const char *files[APP_INPUTS + 2];
    const char *path = p->output.path;
    if (!path || p->options.iterations == 0 || strcmp(path, APP_STANDARD) == 0)
        return 0;
    size_t n = app_inputs_files(&p->inputs, files);
    if (p->model.path[0]) files[n++] = p->model.path;
    if (p->v->like) files[n++] = p->v->like;
    imp_status good = imp_check_output(p->ctx, path, p->output.overwrite, files, n);
    return good == IMP_OK ? 0 : app_fail(p->ctx, good);
}

/* --- the work --- */

static bool given(const app_painting *p, const char *option) {
    return app_given(p->command, p->v, app_find_option(p->command, option));
}

/* What the network makes of the options. */
static void suit_options(app_painting *p) {
    imp_style_options *o = &p->options, suited = imp_style_preset(o->preset);
    imp_model_info info = imp_model_describe(p->model.model);
    suited.objective = o->objective;
    if (o->turn == 0) suited.turn = 0;
    imp_style_suit(&suited, p->model.model);
    if (info.random && !given(p, "first-size")) o->first_size = suited.first_size;
    if (!given(p, "iterations") && !given(p, "scale-iterations")) {
        o->iterations = suited.iterations;
        o->scale_iterations = suited.scale_iterations;
    }
    if (!given(p, "content-weight")) o->content_weight = suited.content_weight;
    if (!given(p, "layer-weights") && !given(p, "style-layers")) {
        memcpy(o->layer_weights, suited.layer_weights, sizeof o->layer_weights);
        o->layer_weights_given = suited.layer_weights_given;
    }
    if (info.random)
        app_note("model %s: random features find colour and texture, not strokes",
            app_model_name(&p->model));
    if (info.student) {
        if (o->tolerance > 0 && o->turn > 0 && o->turn <= 10)
            app_note(
                "--tolerance looks at ten iterations, --turn %zu leaves hardly more: "
                "expected a larger --turn, or 0",
                o->turn);
        return;
    }
    if (given(p, "turn") && o->turn > 0 && !p->v->like)
        app_note("--turn is for a network that has learnt from a larger one: not used "
                 "with %s",
            app_model_name(&p->model));
    o->turn = 0;
}

static int open_model(app_painting *p) {
    if (p->model.model) return 0;
    int status = app_model_open_for(p->ctx, &p->model, &p->options);
    if (!status) suit_options(p);
    return status;
}

static int paint(app_painting *p) {
    char bytes[32];
    p->bytes = 0;
    int status = check_output(p);
    if (!status) status = app_inputs_load(p->ctx, &p->inputs, &p->options, p->v->size);
    if (!status) status = open_model(p);
    if (!status) status = app_plan(p);
    if (!status && p->v->dry_run) status = app_plan_check(p);
    if (p->v->dry_run && p->bytes) app_plan_tell(p);
    if (status || p->v->dry_run) return status;
    app_say("painting %zu x %zu with %s, %zu iterations%s, %s planned", p->width,
        p->height, app_model_name(&p->model), p->options.iterations,
        p->options.first_size ? " at the last scale" : "",
        app_bytes(bytes, sizeof bytes, (double)p->bytes));
    return app_paint(p);
}

static int paint_one(app_painting *p, const app_batch *batch, size_t i) {
    p->begun = app_seconds();
    p->inputs.content.file = batch->contents[i];
    p->output.path = batch->outputs ? batch->outputs[i] : NULL;
    p->output.overwrite = p->v->overwrite;
    int status = paint(p);
    app_inputs_free(&p->inputs);
    return status;
}

static void tell_start(const app_batch *batch, size_t i) {
    app_event(json_pack("{s:s, s:o, s:I, s:I}", "event", "start", "content",
        app_json_text(batch->contents[i]), "picture", (json_int_t)i + 1, "pictures",
        (json_int_t)batch->n));
    app_say("%s: picture %zu of %zu", batch->contents[i], i + 1, batch->n);
}

static void tell_summary(size_t done, size_t failed, size_t left) {
    char rest[64] = "";
    app_event(json_pack("{s:s, s:I, s:I, s:I}", "event", "summary", "pictures",
        (json_int_t)done, "failed", (json_int_t)failed, "left", (json_int_t)left));
    if (left) snprintf(rest, sizeof rest, ", %zu left", left);
    if (failed)
        app_error("%zu of %zu pictures failed%s", failed, done, rest);
    else
        app_note("%zu pictures, none failed%s", done, rest);
}

/* One that fails does not stop the others. Returns the worst status. */
static int paint_many(app_painting *p, const app_batch *batch) {
    size_t done = 0, failed = 0;
    int worst = open_model(p);
    if (worst) return worst;
    for (; done < batch->n && worst != APP_INTERRUPTED && !app_interrupted(); done++) {
        tell_start(batch, done);
        int status = paint_one(p, batch, done);
        if (status > worst) worst = status;
        if (!status || status == APP_INTERRUPTED) continue;
        failed++;
        app_event_error(batch->contents[done], status);
    }
    tell_summary(done, failed, batch->n - done);
    return app_interrupted() ? APP_INTERRUPTED : worst;
}

static int run_with(app_painting *p, app_batch *batch) {
    const app_stylize_values *v = p->v;
    int status = app_settings_take(p->command, v, &p->options);
    if (p->options.iterations == 0) /* the loss of the start is that at full size */
        p->options.first_size = 0;
    if (!status) status = app_inputs_name(&p->inputs, v);
    if (!status) status = app_batch_list(batch, v->common.operands[0], v->output);
    p->output.box = v->output_size;
    p->output.how = (app_image_how){v->quality, v->depth ? 16 : 8, NULL};
    p->inputs.content.file = batch->n ? batch->contents[0] : NULL;
    if (!status) status = check(p, batch);
    bool sends = v->output && strcmp(v->output, APP_STANDARD) == 0 &&
                 p->options.iterations > 0 && !v->dry_run;
    if (!status && sends) status = app_output_take_standard(&p->output.descriptor);
    if (status) return status;
    return batch->many ? paint_many(p, batch) : paint_one(p, batch, 0);
}

static int run(const app_command *self, int argc, char **argv) {
    static app_stylize_values v; /* its lists point into itself */
    static app_painting p;
    app_batch batch = {0};
    char model[APP_MODEL_NAME];
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    if (excluding_options(&v)) return APP_USAGE;
    if (v.like) status = app_like(self, &v, model);
    if (v.like && status) return status;
    p.command = self;
    p.v = &v;
    p.output.descriptor = -1;
    app_signals_catch();
    status = run_with(&p, &batch);
    if (p.output.descriptor >= 0) close(p.output.descriptor);
    app_batch_free(&batch);
    imp_model_free(p.model.model);
    imp_ctx_free(p.ctx);
    return status;
}

const app_command app_stylize = {
    .name = "stylize",
    .summary = "paint pictures in the style of others",
    .usage = "CONTENT STYLE... -o OUT [options]",
    .operands = "two pictures at least, CONTENT and STYLE",
    .least = 2,
    .most = 1 + IMP_STYLE_MAX_SOURCES,
    .options = app_stylize_options,
    .words =
        "Pictures are PNG, JPEG, WebP or TIFF. CONTENT may be a folder, of which "
        "those\n"
        "whose names end so are taken, or @FILE, a list of paths, one a line (lines "
        "that\n"
        "begin with # are none; ./@a.jpg is a picture of that name). OUT is then a\n"
        "folder that is there, and each picture goes into it under its own name, as\n"
        ".png; one that fails does not stop the others. - as CONTENT or STYLE is\n"
        "standard input; as OUT it is standard output, which gets a PNG.\n\n"
        "A painted picture keeps its settings: --like reads them.\n\n"
        "Models are looked for in $XDG_DATA_HOME/impasto/models/NAME.safetensors\n"
        "(~/.local/share where XDG_DATA_HOME is not set). The model builtin comes\n"
        "with the program: a narrow network that has learnt the features of VGG-19.\n\n"
        "Ctrl-C ends the iteration, writes the picture so far and exits with 130.\n",
    .examples =
        "  impasto stylize photo.jpg painting.jpg -o out.png\n"
        "  impasto stylize photo.jpg painting.jpg -o out.png --model vgg19 --size 384\n"
        "  impasto stylize photo.jpg monet.jpg sky.jpg --style-weights 2,1 -o out.png\n"
        "  impasto stylize photos/ painting.jpg -o painted/ --preset fast\n"
        "  impasto stylize other.jpg painting.jpg -o other.png --like out.png\n"
        "  impasto stylize photo.jpg painting.jpg -o out.png --dry-run\n",
    .run = run,
};
