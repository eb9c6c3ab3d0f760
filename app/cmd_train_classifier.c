/* SPDX-License-Identifier: MIT
 *
 * cmd_train_classifier.c: `impasto train classifier --images DIR -o FILE`.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "classes.h"
#include "commands.h"
#include "epochs.h"
#include "models.h"
#include "report.h"
#include "signals.h"

typedef struct values {
    app_common common;
    const char *images, *output, *init, *last, *frozen;
    app_counts channels;
    double rate, decay, validation;
    size_t size, epochs, batch;
    bool scratch, no_mirror, half, overwrite;
} values;

#define AT(field) offsetof(values, field)

static const app_option options[] = {
    {.name = "images",
        .type = APP_TEXT,
        .offset = AT(images),
        .value = "DIR",
        .required = true,
        .help =
            "folder with a folder of pictures for each class, whose name is the label"},
    APP_MODEL_OPTION(values),
    APP_HALF_OPTION(values),
    {.name = "init",
        .type = APP_TEXT,
        .offset = AT(init),
        .value = "FILE|NAME",
        .otherwise = "builtin",
        .help = "the VGG whose convolutions are taken"},
    {.name = "last",
        .type = APP_TEXT,
        .offset = AT(last),
        .value = "LAYER",
        .otherwise = "the deepest",
        .help = "the last convolution to take: relu4_2"},
    {.name = "frozen",
        .type = APP_TEXT,
        .offset = AT(frozen),
        .value = "LAYER|none",
        .otherwise = "all convolutions",
        .help =
            "convolutions to this one stay as they are, the others learn too: relu4_1"},
    {.name = "scratch",
        .type = APP_FLAG,
        .offset = AT(scratch),
        .help = "take no network: everything learns, from random weights"},
    {.name = "channels",
        .type = APP_COUNTS,
        .offset = AT(channels),
        .low = 1,
        .high = 65536,
        .value = "N,...",
        .otherwise = "16,16,32,32,64,64,64,64,128",
        .help =
            "with --scratch: channels of each convolution, of a VGG-19's the first"},
    {.name = "size",
        .type = APP_COUNT,
        .offset = AT(size),
        .low = 16,
        .high = 1024,
        .value = "N",
        .otherwise = "the network's; with --scratch 64",
        .help = "sides of what the network sees of a picture"},
    {.name = "epochs",
        .type = APP_COUNT,
        .offset = AT(epochs),
        .low = 1,
        .high = 100000,
        .value = "N",
        .standard = "30",
        .help = "passes over the pictures; the last one's weights are written"},
    {.name = "batch",
        .type = APP_COUNT,
        .offset = AT(batch),
        .low = 1,
        .high = 65536,
        .value = "N",
        .otherwise = "16, or all there are",
        .help = "pictures of a step"},
    {.name = "rate",
        .type = APP_NUMBER,
        .offset = AT(rate),
        .low = 1e-9,
        .high = 1e6,
        .value = "R",
        .otherwise = "0.01; with --frozen 0.00002, with --scratch 0.001",
        .help =
            "learning rate of the first step (Adam); it falls to 0; with --frozen that "
            "of the convolutions"},
    {.name = "decay",
        .type = APP_NUMBER,
        .offset = AT(decay),
        .low = 0,
        .high = 1000,
        .value = "D",
        .standard = "0.1",
        .help = "decay of the weights (AdamW)"},
    {.name = "no-mirror",
        .type = APP_FLAG,
        .offset = AT(no_mirror),
        .help = "never mirror a picture: left and right tell classes apart"},
    {.name = "validation",
        .type = APP_NUMBER,
        .offset = AT(validation),
        .low = 0,
        .high = 0.9,
        .value = "SHARE",
        .standard = "0.2",
        .help =
            "share of each class that is not learnt from, to see how well others are "
            "told"},
    APP_OVERWRITE_OPTION(values),
    APP_COMMON_OPTIONS("1",
        "seed of the weights, of which pictures are held out, and of "
        "the order and views of the others"),
};

typedef struct training {
    imp_ctx *ctx;
    const values *v;
    app_model start;
    app_classes classes;
    imp_model *model;
    imp_dataset *set;
    imp_train_progress last; /* epoch 0: nothing was learnt */
} training;

/* Adam's, at the first step: of a head alone, of a network that knows something, of one that
 * knows nothing. */
#define HEAD_RATE    1e-2
#define FINE_RATE    2e-5
#define SCRATCH_RATE 1e-3

static int check_words(const values *v) {
    const char *wrong = v->init     ? "--init"
                        : v->last   ? "--last"
                        : v->frozen ? "--frozen"
                                    : NULL;
    if (v->scratch && wrong) {
        app_error("%s: expected without --scratch, found beside it", wrong);
        return APP_USAGE;
    }
    if (v->channels.n && !v->scratch) {
        app_error("--channels: expected with --scratch, found without");
        return APP_USAGE;
    }
    return 0;
}

/* The output may be neither the network nor one of the pictures. */
static int check_output(const training *t) {
    size_t n = t->classes.n_files;
    const char **inputs = malloc((n + 1) * sizeof *inputs);
    if (!inputs) {
        app_error("no memory for the list of pictures");
        return IMP_ERR_LIMIT;
    }
    for (size_t i = 0; i < n; i++) inputs[i] = t->classes.files[i];
    if (*t->start.path) inputs[n++] = t->start.path;
    imp_status s = imp_check_output(t->ctx, t->v->output, t->v->overwrite, inputs, n);
    free(inputs);
    return s == IMP_OK ? 0 : app_fail(t->ctx, s);
}

static int find_inputs(training *t) {
    const values *v = t->v;
    int status = app_classes_list(&t->classes, v->images);
    if (!status && t->classes.n < 2) {
        app_error("%s: expected at least two folders, one a class, found one: %s",
            v->images, t->classes.labels[0]);
        status = IMP_ERR_DATA;
    }
    if (!status && !v->scratch)
        status = app_model_find(&t->start, v->init ? v->init : "builtin", false);
    return status ? status : check_output(t);
}

/* Asked before the head learns. */
static int check_frozen(const training *t) {
    const char *frozen = t->v->frozen, *last = "", *name;
    if (!frozen || !strcmp(frozen, "none")) return 0;
    for (size_t i = 0; (name = imp_model_layer(t->model, i)) != NULL; i++) {
        if (!strcmp(name, frozen)) return 0;
        last = name;
    }
    app_error("--frozen: expected none or a layer of the network, %s to %s, found %s",
        imp_model_layer(t->model, 0), last, frozen);
    return IMP_ERR_MODEL;
}

/* The network that is trained: its convolutions are another's, or random. */
static int make_model(training *t) {
    static const size_t standard[] = {16, 16, 32, 32, 64, 64, 64, 64, 128};
    const values *v = t->v;
    imp_model_options random = {.architecture = "vgg19",
        .channels = v->channels.n ? v->channels.values : standard,
        .n_channels =
            v->channels.n ? v->channels.n : sizeof standard / sizeof *standard,
        .seed = v->common.seed};
    imp_classifier_options o = {.labels = t->classes.labels,
        .classes = t->classes.n,
        .last = v->last,
        .size = v->size != APP_ABSENT ? v->size
                : v->scratch          ? 64
                                      : 0};
    imp_status s = IMP_OK;
    if (v->scratch) {
        s = imp_model_init(t->ctx, &t->start.model, &random);
    } else {
        int status = app_model_open(t->ctx, &t->start);
        if (status) return status;
    }
    if (s == IMP_OK) s = imp_model_classifier(t->ctx, &t->model, t->start.model, &o);
    return s == IMP_OK ? check_frozen(t) : app_fail(t->ctx, s);
}

/* At least so many pictures are learnt from. */
static size_t count_learnt(const training *t) {
    size_t learnt = 0;
    for (size_t i = 0; i < t->classes.n; i++) {
        size_t n = app_classes_count(&t->classes, i);
        size_t held = (size_t)(t->v->validation * (double)n + 0.5);
        learnt += held < n ? n - held : 1;
    }
    return learnt;
}

static imp_train_options options_of(const training *t) {
    const values *v = t->v;
    imp_model_info info = imp_model_describe(t->model);
    imp_train_options o = imp_train_defaults(info.architecture, IMP_ADAM);
    size_t most = count_learnt(t);
    if (v->batch != APP_ABSENT)
        o.batch = v->batch;
    else if (o.batch > most)
        o.batch = most;
    o.epochs = v->epochs;
    o.decay = v->decay;
    o.validation = v->validation;
    o.mirror = !v->no_mirror;
    o.seed = v->common.seed;
    o.shift = (imp_dataset_height(t->set) - info.input.size) / 2;
    return o;
}

/* All epochs, of the layers behind the one frozen. */
static int learn(training *t, const char *frozen, double rate) {
    imp_train_options o = options_of(t);
    imp_train *job = NULL;
    o.frozen = frozen;
    o.rate = rate;
    imp_status s = imp_train_new(t->ctx, &job, t->model, t->set, &o);
    if (s != IMP_OK) return app_fail(t->ctx, s);
    app_event(json_pack("{s:s, s:s?, s:o}", "event", "part", "frozen", frozen, "rate",
        app_json_number(rate)));
    app_say("learning: %s%s", frozen ? "what is behind " : "all layers",
        frozen ? frozen : "");
    imp_train_progress last;
    int status = app_epochs_run(t->ctx, job, o.epochs, &last);
    if (last.epoch) t->last = last;
    imp_train_free(job);
    return status;
}

/* The head of another network's convolutions is new: it learns before they are let loose, so that
 * what it does not know yet does not spoil them (Kumar et al. 2022). */
static int learn_all(training *t) {
    const values *v = t->v;
    bool rate = !isnan(v->rate);
    if (v->scratch) return learn(t, NULL, rate ? v->rate : SCRATCH_RATE);
    int status = learn(t, "mean", rate && !v->frozen ? v->rate : HEAD_RATE);
    if (status || !v->frozen || app_interrupted()) return status;
    return learn(
        t, strcmp(v->frozen, "none") ? v->frozen : NULL, rate ? v->rate : FINE_RATE);
}

static void tell_inputs(const training *t) {
    for (size_t i = 0; i < t->classes.n; i++) {
        size_t n = app_classes_count(&t->classes, i);
        app_event(json_pack("{s:s, s:o, s:I}", "event", "class", "label",
            app_json_text(t->classes.labels[i]), "count", (json_int_t)n));
        app_say("%s: %zu pictures", t->classes.labels[i], n);
    }
}

static int finish(const training *t, double started) {
    const imp_train_progress *p = &t->last;
    if (app_interrupted() && p->epoch == 0) {
        app_error("interrupted before anything was learnt: nothing was written");
        return APP_INTERRUPTED;
    }
    imp_status s = imp_model_save(t->ctx, t->model, t->v->output,
        &(imp_save_options){t->v->overwrite, t->v->half});
    if (s != IMP_OK) return app_fail(t->ctx, s);
    double seconds = app_seconds() - started;
    json_t *event = json_pack("{s:s, s:o, s:I, s:I, s:o}", "event", "done", "output",
        app_json_text(t->v->output), "classes", (json_int_t)t->classes.n, "epochs",
        (json_int_t)p->epoch, "seconds", app_json_number(seconds));
    if (event && p->validation_count)
        json_object_set_new(
            event, "validation_accuracy", app_json_number(p->validation_accuracy));
    if (event && app_interrupted())
        json_object_set_new(event, "stopped", json_string("interrupted"));
    app_event(event);
    const char *end = app_interrupted() ? ", interrupted" : "";
    if (p->validation_count)
        app_result("%s: validation accuracy %.4f (%zu of %zu), loss %.6f, %.1f s%s",
            t->v->output, p->validation_accuracy,
            (size_t)(p->validation_accuracy * (double)p->validation_count + 0.5),
            p->validation_count, p->validation_loss, seconds, end);
    else
        app_result("%s: accuracy %.4f, loss %.6f, %.1f s%s", t->v->output, p->accuracy,
            p->loss, seconds, end);
    return app_interrupted() ? APP_INTERRUPTED : 0;
}

static int run(const app_command *self, int argc, char **argv) {
    values v;
    training t = {.v = &v};
    int status;
    double started = app_seconds();
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    status = check_words(&v);
    if (status) return status;
    app_signals_catch();
    status = app_open(&t.ctx, &v.common);
    if (!status) status = find_inputs(&t);
    if (!status) status = make_model(&t);
    if (!status) tell_inputs(&t);
    if (!status) status = app_classes_load(t.ctx, &t.classes, t.model, &t.set);
    if (!status) status = learn_all(&t);
    if (!status) status = finish(&t, started);
    imp_dataset_free(t.set);
    imp_model_free(t.model);
    imp_model_free(t.start.model);
    app_classes_free(&t.classes);
    imp_ctx_free(t.ctx);
    return status;
}

const app_command app_train_classifier = {
    .name = "train classifier",
    .summary = "train a classifier of your own pictures",
    .usage = "--images DIR -o FILE [options]",
    .operands = "no argument",
    .least = 0,
    .most = 0,
    .options = options,
    .words = "DIR/cats/*.jpg are pictures of the class cats; a picture that cannot be "
             "read is\n"
             "an error. FILE is a model for classify and test. All pictures are kept "
             "in memory,\n"
             "of size 224 with 200 KB each. Frozen convolutions are run twice for "
             "each, as it is\n"
             "and mirrored, before the first epoch; epochs then take no time. With "
             "--frozen\n"
             "LAYER the epochs are run again, slowly, and the other convolutions learn "
             "too.\n"
             "--init FILE that this command wrote goes on from it where the classes "
             "are the\n"
             "same. Ctrl-C writes the model so far and exits with 130.\n",
    .examples =
        "  impasto train classifier --images pets -o pets.safetensors\n"
        "  impasto train classifier --images pets -o pets.safetensors --init vgg19\n"
        "  impasto train classifier --images pets -o pets.safetensors --frozen "
        "relu4_1\n"
        "  impasto train classifier --images shapes -o shapes.safetensors --scratch\n",
    .run = run,
};
