/* SPDX-License-Identifier: MIT
 *
 * cmd_train_features.c: `impasto train features --teacher FILE --images DIR -o FILE`.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "curve.h"
#include "memory.h"
#include "models.h"
#include "photos.h"
#include "report.h"
#include "signals.h"

typedef struct values {
    app_common common;
    const char *teacher, *init, *output, *checkpoint, *curve;
    app_names images;
    app_counts channels, ranks;
    double width, alone, rate, augment, decay;
    int optimizer;
    size_t crop, batch, steps;
    bool half, resume, overwrite;
} values;

#define AT(field) offsetof(values, field)

static const app_option options[] = {
    {.name = "teacher",
        .type = APP_TEXT,
        .offset = AT(teacher),
        .value = "FILE|NAME",
        .required = true,
        .help = "the network to learn from: a VGG with relu5_1"},
    {.name = "images",
        .type = APP_REPEATED,
        .offset = AT(images),
        .value = "DIR",
        .required = true,
        .help =
            "folders of pictures to learn from, or @FILE, a list of paths; every 20th "
            "picture is held out, to see how well the others teach"},
    APP_MODEL_OPTION(values),
    APP_HALF_OPTION(values),
    {.name = "init",
        .type = APP_TEXT,
        .offset = AT(init),
        .value = "FILE|NAME",
        .otherwise = "random weights",
        .help = "go on from a network that this command wrote: its channels, its "
                "weights; --channels prunes them, --ranks gives another rank"},
    {.name = "width",
        .type = APP_NUMBER,
        .offset = AT(width),
        .low = 0.001,
        .high = 1,
        .value = "F",
        .standard = "0.25",
        .help = "share of the teacher's channels; conv1_1 keeps all, conv1_2 half"},
    {.name = "channels",
        .type = APP_COUNTS,
        .offset = AT(channels),
        .low = 1,
        .high = 65536,
        .value = "N,...",
        .otherwise = "as --init has them, or by width",
        .help = "channels of each convolution to conv5_1; with --init at most as many "
                "as it has (a rank above them wants --ranks)"},
    {.name = "ranks",
        .type = APP_COUNTS,
        .offset = AT(ranks),
        .low = 0,
        .high = 65536,
        .value = "N,...",
        .otherwise = "none, or as --init has it",
        .help = "rank of each convolution: its kernel goes to so many numbers, then 1 "
                "x 1 to its channels; 0: one layer, or as --init has it"},
    {.name = "crop",
        .type = APP_COUNT,
        .offset = AT(crop),
        .low = 16,
        .high = 1024,
        .value = "N",
        .standard = "128",
        .help = "sides of the crops to learn from, a multiple of 16"},
    {.name = "batch",
        .type = APP_COUNT,
        .offset = AT(batch),
        .low = 1,
        .high = 1024,
        .value = "N",
        .standard = "4",
        .help = "crops of a step"},
    {.name = "steps",
        .type = APP_COUNT,
        .offset = AT(steps),
        .low = 1,
        .high = 10000000,
        .value = "N",
        .standard = "5400",
        .help = "steps in all"},
    {.name = "alone",
        .type = APP_NUMBER,
        .offset = AT(alone),
        .low = 0,
        .high = 1,
        .value = "SHARE",
        .otherwise = "a third; with --init none",
        .help =
            "share of the steps in which every layer learns alone, before all learn "
            "end to end"},
    {.name = "optimizer",
        .type = APP_CHOICE,
        .offset = AT(optimizer),
        .choices = "adam|muon",
        .standard = "adam",
        .help = "muon: momentum whose step is made orthogonal, matrix by matrix; most "
                "useful where there are ranks"},
    {.name = "rate",
        .type = APP_NUMBER,
        .offset = AT(rate),
        .low = 1e-9,
        .high = 1e6,
        .value = "R",
        .standard = "0.0015",
        .help = "highest learning rate, end to end; alone it is 8/3 of it"},
    {.name = "augment",
        .type = APP_NUMBER,
        .offset = AT(augment),
        .low = 0,
        .high = 1,
        .value = "SHARE",
        .standard = "0.45",
        .help = "share of the crops that get noise, another picture mixed in, or other "
                "colours, as a picture has that is being painted"},
    {.name = "decay",
        .type = APP_NUMBER,
        .offset = AT(decay),
        .low = 0,
        .high = 1000,
        .value = "D",
        .standard = "0",
        .help = "decay of the weights (AdamW's, decoupled)"},
    {.name = "checkpoint",
        .type = APP_TEXT,
        .offset = AT(checkpoint),
        .value = "FILE",
        .otherwise = "none",
        .help = "write the state of the training, every hundredth of the steps and at "
                "its end"},
    {.name = "resume",
        .type = APP_FLAG,
        .offset = AT(resume),
        .help = "go on from the checkpoint; the same bits as without a stop; FILE and "
                "SVG are replaced"},
    {.name = "curve",
        .type = APP_TEXT,
        .offset = AT(curve),
        .value = "FILE.svg",
        .otherwise = "none",
        .help = "draw the losses, as often as the checkpoint"},
    {.name = "overwrite",
        .type = APP_FLAG,
        .offset = AT(overwrite),
        .help = "replace files where they exist"},
    APP_COMMON_OPTIONS("1", "seed of the weights and of the crops"),
};

typedef struct training {
    imp_ctx *ctx;
    const values *v;
    app_model teacher, start;
    app_photos photos;
    imp_features *job;
    bool replace;  /* checkpoint and curve are ours: they may be replaced */
    int unwritten; /* the status of the last checkpoint and curve */
    size_t first;  /* steps done before */
    double started, begun;
} training;

/* --images A B C: what follows the first folder has no option before it. */
static int add_folders(values *v) {
    for (size_t i = 0; i < v->common.n_operands; i++) {
        if (v->images.n == APP_LIST) {
            app_error("--images: expected at most %d folders, found more", APP_LIST);
            return APP_USAGE;
        }
        v->images.values[v->images.n++] = v->common.operands[i];
    }
    return 0;
}

static int check_words(const values *v) {
    const char *dot = v->curve ? strrchr(v->curve, '.') : NULL;
    if (v->resume && !v->checkpoint) {
        app_error("--resume: expected with --checkpoint FILE, found without");
        return APP_USAGE;
    }
    if (v->curve && (!dot || strcmp(dot, ".svg") != 0)) {
        app_error("--curve: expected a name that ends with .svg, found %s", v->curve);
        return APP_USAGE;
    }
    return 0;
}

/* All three before the work: none may be the teacher, or one of the others. */
static int check_outputs(const training *t) {
    const values *v = t->v;
    const char *paths[] = {v->output, v->checkpoint, v->curve};
    const char *inputs[5];
    size_t n = 0;
    if (*t->teacher.path) inputs[n++] = t->teacher.path;
    if (*t->start.path) inputs[n++] = t->start.path;
    for (size_t i = 0; i < 3; i++) {
        if (!paths[i]) continue;
        for (size_t k = 0; k < i; k++)
            if (paths[k] && strcmp(paths[k], paths[i]) == 0) {
                app_error("%s: expected for one of --output, --checkpoint and --curve, "
                          "found for two",
                    paths[i]);
                return APP_USAGE;
            }
        bool replace = v->overwrite || v->resume;
        if (!replace && i == 1 && access(paths[i], F_OK) == 0) {
            app_error("%s: exists already: --resume goes on from it, --overwrite "
                      "begins anew",
                paths[i]);
            return IMP_ERR_FILE;
        }
        imp_status s = imp_check_output(t->ctx, paths[i], replace, inputs, n);
        if (s != IMP_OK) return app_fail(t->ctx, s);
    }
    return 0;
}

/* Refused before the work where it would not fit. */
static int check_memory(const training *t, const imp_features_options *o) {
    size_t bytes;
    char needs[32], has[32];
    imp_status s = imp_features_estimate(t->ctx, t->teacher.model, o, &bytes);
    if (s != IMP_OK) return app_fail(t->ctx, s);
    double available = app_memory_available();
    if ((double)bytes <= available) return 0;
    app_error("memory: %zu crops of %zu x %zu need %s, %s is available; try a smaller "
              "--batch",
        o->batch, o->crop, o->crop, app_bytes(needs, sizeof needs, (double)bytes),
        app_bytes(has, sizeof has, available));
    return IMP_ERR_LIMIT;
}

static imp_features_options options_of(const training *t) {
    const values *v = t->v;
    imp_features_options o = imp_features_defaults();
    o.width = v->width;
    o.channels = v->channels.values;
    o.n_channels = v->channels.n;
    o.ranks = v->ranks.values;
    o.n_ranks = v->ranks.n;
    o.crop = v->crop;
    o.batch = v->batch;
    o.steps = v->steps;
    o.start = t->start.model;
    if (v->init) o.alone = 0;
    if (!isnan(v->alone)) o.alone = v->alone;
    o.optimizer = v->optimizer ? IMP_MUON : IMP_ADAM;
    o.rate = v->rate;
    o.augment = v->augment;
    o.decay = v->decay;
    o.seed = v->common.seed;
    return o;
}

static int prepare(training *t) {
    const values *v = t->v;
    imp_features_options o = options_of(t);
    int status = check_memory(t, &o);
    if (status) return status;
    const imp_photos *source = &t->photos.source;
    imp_status s =
        v->resume ? imp_features_resume(
                        t->ctx, &t->job, t->teacher.model, source, &o, v->checkpoint)
                  : imp_features_new(t->ctx, &t->job, t->teacher.model, source, &o);
    if (s != IMP_OK) return app_fail(t->ctx, s);
    t->first = imp_features_done(t->job);
    t->replace = v->overwrite || v->resume;
    return 0;
}

static void tell_progress(const training *t, const imp_features_progress *p) {
    if (!app_progress_wanted(p->step == t->v->steps)) return;
    double each = (app_seconds() - t->begun) / (double)(p->step - t->first);
    long left = (long)(each * (double)(t->v->steps - p->step) + 0.5);
    app_progress("step %zu/%zu  %s  loss %.4f  %.2f s/step  %ld:%02ld left", p->step,
        t->v->steps, p->whole ? "end to end" : "alone", p->loss, each, left / 60,
        left % 60);
}

static void tell_point(const training *t, const imp_features_progress *p) {
    size_t n;
    const imp_features_point *at = imp_features_curve(t->job, &n, NULL) + n - 1;
    double seconds = app_seconds() - t->started;
    app_event(json_pack("{s:s, s:I, s:s, s:o, s:o, s:o, s:o}", "event", "point", "step",
        (json_int_t)at->step, "part", p->whole ? "whole" : "alone", "loss",
        app_json_number((double)at->loss), "held_out_loss",
        app_json_number((double)at->held_out), "rate", app_json_number(p->rate),
        "seconds", app_json_number(seconds)));
    app_say("step %zu/%zu  %s  loss %.6f  held out %.6f  %.1f s", at->step, t->v->steps,
        p->whole ? "end to end" : "alone", (double)at->loss, (double)at->held_out,
        seconds);
}

/* Checkpoint and curve. Where one cannot be written the training goes on: the next try, or the
 * model, may succeed. */
static void write_state(training *t) {
    const values *v = t->v;
    size_t n, whole_from;
    const imp_features_point *points = imp_features_curve(t->job, &n, &whole_from);
    imp_status s = IMP_OK;
    t->unwritten = 0;
    if (v->checkpoint) s = imp_features_checkpoint(t->job, v->checkpoint, t->replace);
    if (s != IMP_OK) t->unwritten = app_fail(t->ctx, s);
    if (v->curve) {
        int status = app_curve_write(
            t->ctx, v->curve, t->replace, points, n, whole_from, v->steps);
        if (status) t->unwritten = status;
    }
    t->replace = true;
}

static int train(training *t) {
    t->begun = app_seconds();
    while (imp_features_done(t->job) < t->v->steps && !app_interrupted()) {
        imp_features_progress p;
        imp_status s = imp_features_step(t->job, &p);
        if (s != IMP_OK) return app_fail(t->ctx, s);
        tell_progress(t, &p);
        if (!p.point) continue;
        tell_point(t, &p);
        write_state(t);
    }
    if (app_interrupted()) write_state(t);
    return 0;
}

static int finish(training *t) {
    imp_model *model = NULL;
    imp_status s = imp_features_model(t->job, &model);
    if (s == IMP_OK)
        s = imp_model_save(t->ctx, model, t->v->output,
            &(imp_save_options){t->v->overwrite || t->v->resume, t->v->half});
    size_t parameters = s == IMP_OK ? imp_model_describe(model).parameters : 0;
    imp_model_free(model);
    if (s != IMP_OK) return app_fail(t->ctx, s);
    double seconds = app_seconds() - t->started;
    size_t done = imp_features_done(t->job);
    json_t *event = json_pack("{s:s, s:o, s:I, s:I, s:o}", "event", "done", "output",
        app_json_text(t->v->output), "parameters", (json_int_t)parameters, "steps",
        (json_int_t)done, "seconds", app_json_number(seconds));
    if (event && app_interrupted())
        json_object_set_new(event, "stopped", json_string("interrupted"));
    app_event(event);
    app_result("%s: %zu parameters, %zu steps, %.1f s%s", t->v->output, parameters,
        done, seconds, app_interrupted() ? ", interrupted" : "");
    return t->unwritten ? t->unwritten : app_interrupted() ? APP_INTERRUPTED : 0;
}

static int run(const app_command *self, int argc, char **argv) {
    values v;
    training t = {.v = &v};
    int status;
    t.started = app_seconds();
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    status = add_folders(&v);
    if (!status) status = check_words(&v);
    if (status) return status;
    app_signals_catch();
    status = app_open(&t.ctx, &v.common);
    if (!status) status = app_model_find(&t.teacher, v.teacher, false);
    if (!status && v.init) status = app_model_find(&t.start, v.init, false);
    if (!status) status = check_outputs(&t);
    if (!status) status = app_model_open(t.ctx, &t.teacher);
    if (!status && v.init) status = app_model_open(t.ctx, &t.start);
    if (!status) status = app_photos_load(t.ctx, &t.photos, &v.images);
    if (!status) status = prepare(&t);
    if (!status) status = train(&t);
    if (!status) status = finish(&t);
    imp_features_free(t.job);
    imp_model_free(t.start.model);
    imp_model_free(t.teacher.model);
    app_photos_free(&t.photos);
    imp_ctx_free(t.ctx);
    return status;
}

const app_command app_train_features = {
    .name = "train features",
    .summary = "distil a VGG into a narrow feature network",
    .usage = "--teacher FILE --images DIR... -o FILE [options]",
    .operands = "more folders of pictures",
    .least = 0,
    .most = APP_LIST - 1,
    .options = options,
    .words = "FILE is a model for stylize. Ctrl-C writes the model so far and the "
             "checkpoint, and exits with 130.\n",
    .examples =
        "  impasto train features --teacher vgg19 --images photographs "
        "paintings -o narrow.safetensors\n"
        "  impasto train features --teacher vgg19 --images photographs "
        "--checkpoint state.safetensors --curve loss.svg -o narrow.safetensors\n",
    .run = run,
};
