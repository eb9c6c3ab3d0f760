/* SPDX-License-Identifier: MIT
 *
 * cmd_train.c: `impasto train mnist --data DIR -o FILE`.
 */
#include <math.h>
#include <stdio.h>

#include "commands.h"
#include "epochs.h"
#include "report.h"
#include "signals.h"

typedef struct values {
    app_common common;
    const char *data, *output;
    int net, optimizer, schedule;
    app_counts hidden;
    size_t epochs, batch;
    double rate;
    bool overwrite;
} values;

#define AT(field) offsetof(values, field)

static const app_option options[] = {
    {.name = "data",
        .type = APP_TEXT,
        .offset = AT(data),
        .value = "DIR",
        .required = true,
        .help = "folder of the four MNIST files, plain or gzip"},
    APP_MODEL_OPTION(values),
    {.name = "net",
        .type = APP_CHOICE,
        .offset = AT(net),
        .choices = "mlp|lenet",
        .standard = "mlp",
        .help = "fully connected layers, or convolutions"},
    {.name = "hidden",
        .type = APP_COUNTS,
        .offset = AT(hidden),
        .low = 1,
        .high = 65536,
        .value = "N,...",
        .otherwise = "32,16",
        .help = "mlp: widths of the hidden layers"},
    {.name = "epochs",
        .type = APP_COUNT,
        .offset = AT(epochs),
        .low = 1,
        .high = 100000,
        .value = "N",
        .standard = "10",
        .help = "passes over the training pictures"},
    {.name = "batch",
        .type = APP_COUNT,
        .offset = AT(batch),
        .low = 1,
        .high = 60000,
        .value = "N",
        .standard = "100",
        .help = "pictures of a step"},
    {.name = "optimizer",
        .type = APP_CHOICE,
        .offset = AT(optimizer),
        .choices = "sgd|adam",
        .standard = "sgd",
        .help = "the optimiser"},
    {.name = "rate",
        .type = APP_NUMBER,
        .offset = AT(rate),
        .low = 1e-9,
        .high = 1e6,
        .value = "R",
        .otherwise = "by net and optimiser",
        .help = "learning rate of the first step"},
    {.name = "schedule",
        .type = APP_CHOICE,
        .offset = AT(schedule),
        .choices = "cosine|constant",
        .standard = "cosine",
        .help = "how the rate falls"},
    APP_OVERWRITE_OPTION(values),
    APP_COMMON_OPTIONS("1", "seed of the weights and of the order of the pictures"),
};

typedef struct training {
    imp_ctx *ctx;
    imp_dataset *train, *test;
    imp_model *model;
    imp_train *job;
    imp_train_options options;
    const char *net;
} training;

/* The output may be none of the data files, by whatever name it is reached. */
static imp_status check_output(training *t, const values *v) {
    static const char *const names[] = {"train-images-idx3-ubyte",
        "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    char text[8][4096];
    const char *paths[8];
    for (size_t i = 0; i < 8; i++) {
        snprintf(text[i], sizeof text[i], "%s/%s%s", v->data, names[i / 2],
            i % 2 ? ".gz" : "");
        paths[i] = text[i];
    }
    return imp_check_output(t->ctx, v->output, v->overwrite, paths, 8);
}

static int load(training *t, const values *v) {
    imp_status status = check_output(t, v);
    if (status == IMP_OK)
        status = imp_mnist_load(t->ctx, &t->train, v->data, IMP_MNIST_TRAIN);
    if (status == IMP_OK)
        status = imp_mnist_load(t->ctx, &t->test, v->data, IMP_MNIST_TEST);
    return status == IMP_OK ? 0 : app_fail(t->ctx, status);
}

static int prepare(training *t, const values *v) {
    static const imp_optimizer kinds[] = {IMP_SGD, IMP_ADAM};
    static const size_t standard[] = {32, 16};
    imp_model_options o = {.architecture = t->net, .seed = v->common.seed};
    if (v->net == 0) {
        o.hidden = v->hidden.n ? v->hidden.values : standard;
        o.n_hidden = v->hidden.n ? v->hidden.n : 2;
    }
    imp_status status = imp_model_init(t->ctx, &t->model, &o);
    t->options = imp_train_defaults(t->net, kinds[v->optimizer]);
    t->options.epochs = v->epochs;
    t->options.batch = v->batch;
    t->options.schedule = v->schedule == 0 ? IMP_COSINE : IMP_CONSTANT;
    t->options.seed = v->common.seed;
    if (!isnan(v->rate)) t->options.rate = v->rate;
    if (status == IMP_OK)
        status = imp_train_new(t->ctx, &t->job, t->model, t->train, &t->options);
    return status == IMP_OK ? 0 : app_fail(t->ctx, status);
}

static int finish(training *t, const values *v, double started) {
    imp_test_result r;
    imp_status status = imp_test(t->ctx, t->model, t->test, &r, NULL);
    if (status == IMP_OK && !isfinite(r.loss)) {
        app_error(
            "train: diverged, the loss on the test set is not finite: try a lower "
            "--rate; nothing was written");
        return IMP_ERR_NUMERIC;
    }
    if (status == IMP_OK)
        status = imp_model_save(t->ctx, t->model, v->output,
            &(imp_save_options){.overwrite = v->overwrite});
    if (status != IMP_OK) return app_fail(t->ctx, status);
    double seconds = app_seconds() - started;
    json_t *event = json_pack("{s:s, s:o, s:o, s:o, s:o}", "event", "done", "output",
        app_json_text(v->output), "test_accuracy", app_json_number(r.accuracy),
        "test_loss", app_json_number(r.loss), "seconds", app_json_number(seconds));
    if (event && app_interrupted())
        json_object_set_new(event, "stopped", json_string("interrupted"));
    app_event(event);
    app_result("%s: test accuracy %.4f (%zu of %zu), loss %.6f, %.1f s%s", v->output,
        r.accuracy, r.correct, r.count, r.loss, seconds,
        app_interrupted() ? ", interrupted" : "");
    return app_interrupted() ? APP_INTERRUPTED : 0;
}

static int run(const app_command *self, int argc, char **argv) {
    values v;
    training t = {.ctx = NULL};
    imp_train_progress last;
    int status;
    double started = app_seconds();
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    t.net = v.net == 0 ? "mlp" : "lenet";
    if (v.net != 0 && v.hidden.n) {
        app_error("--hidden: expected with --net mlp alone, found with lenet");
        return APP_USAGE;
    }
    app_signals_catch();
    status = app_open(&t.ctx, &v.common);
    if (!status) status = load(&t, &v);
    if (!status) status = prepare(&t, &v);
    if (!status) status = app_epochs_run(t.ctx, t.job, t.options.epochs, &last);
    if (!status) status = finish(&t, &v, started);
    imp_train_free(t.job);
    imp_model_free(t.model);
    imp_dataset_free(t.train);
    imp_dataset_free(t.test);
    imp_ctx_free(t.ctx);
    return status;
}

const app_command app_train_mnist = {
    .name = "train mnist",
    .summary = "train a network on handwritten digits",
    .usage = "--data DIR -o FILE [options]",
    .operands = "no argument",
    .least = 0,
    .most = 0,
    .options = options,
    .words = "Ctrl-C writes the model so far and exits with 130.\n",
    .examples =
        "  impasto train mnist --data mnist -o digits.safetensors\n"
        "  impasto train mnist --data mnist -o digits.safetensors --hidden "
        "256,128 --optimizer adam\n"
        "  impasto train mnist --data mnist -o digits.safetensors --net lenet\n",
    .run = run,
};
