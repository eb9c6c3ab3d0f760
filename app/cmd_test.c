/* SPDX-License-Identifier: MIT
 *
 * cmd_test.c: `impasto test --model FILE --data DIR`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "classes.h"
#include "commands.h"
#include "models.h"
#include "report.h"
#include "signals.h"

typedef struct values {
    app_common common;
    const char *model, *data;
} values;

static const app_option options[] = {
    APP_CLASSIFIER_OPTION(values),
    {.name = "data",
        .type = APP_TEXT,
        .offset = offsetof(values, data),
        .value = "DIR",
        .required = true,
        .help = "folder with a folder of pictures for each class, named as the model's "
                "label; "
                "for a network of digits, of MNIST's two test files, plain or gzip"},
    APP_COMMON_OPTIONS("0", "not used: testing has no chance in it"),
};

/* Wider tables are for --json alone. */
enum { MOST_COLUMNS = 20 };

/* The row of one label as text, its name behind it where that is no number. */
static void tell_row(const imp_model *m, size_t label, const size_t *row, size_t n) {
    char line[16 + 24 * MOST_COLUMNS], number[24];
    int at = snprintf(line, sizeof line, "%5zu   ", label);
    for (size_t k = 0; k < n; k++)
        at += snprintf(line + at, sizeof line - (size_t)at, "%6zu", row[k]);
    snprintf(number, sizeof number, "%zu", label);
    const char *name = imp_model_label(m, label);
    app_result("%s%s%s", line, strcmp(name, number) ? "  " : "",
        strcmp(name, number) ? name : "");
}

static void tell_table(const imp_model *m, const size_t *confusion, size_t n) {
    char line[16 + 24 * MOST_COLUMNS];
    int at = snprintf(line, sizeof line, "        ");
    for (size_t k = 0; k < n; k++)
        at += snprintf(line + at, sizeof line - (size_t)at, "%6zu", k);
    app_result("label    predicted");
    app_result("%s", line);
    for (size_t i = 0; i < n; i++) tell_row(m, i, confusion + i * n, n);
}

static void tell(
    const imp_model *m, const imp_test_result *r, const size_t *confusion) {
    size_t n = imp_model_describe(m).classes;
    app_result("accuracy %.4f (%zu of %zu), loss %.6f", r->accuracy, r->correct,
        r->count, r->loss);
    if (n <= MOST_COLUMNS) tell_table(m, confusion, n);
    if (!app_json()) return;
    json_t *rows = json_array(), *labels = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *row = json_array();
        for (size_t k = 0; k < n; k++)
            json_array_append_new(row, json_integer((json_int_t)confusion[i * n + k]));
        json_array_append_new(rows, row);
        json_array_append_new(labels, app_json_text(imp_model_label(m, i)));
    }
    app_event(json_pack("{s:s, s:o, s:o, s:I, s:I, s:o, s:o}", "event", "done",
        "test_accuracy", app_json_number(r->accuracy), "test_loss",
        app_json_number(r->loss), "count", (json_int_t)r->count, "correct",
        (json_int_t)r->correct, "labels", labels, "confusion", rows));
}

/* Of one channel: MNIST's files. Of three: folders as classes. */
static int load(
    imp_ctx *ctx, const app_model *m, const char *folder, imp_dataset **out) {
    imp_model_info info = imp_model_describe(m->model);
    app_classes classes;
    if (info.classes == 0) {
        app_error(
            "model %s: expected a classifier, found features alone", app_model_name(m));
        return IMP_ERR_MODEL;
    }
    if (info.input.channels == 1) {
        imp_status s = imp_mnist_load(ctx, out, folder, IMP_MNIST_TEST);
        return s == IMP_OK ? 0 : app_fail(ctx, s);
    }
    int status = app_classes_list(&classes, folder);
    if (!status) status = app_classes_match(&classes, m->model, folder);
    if (!status) status = app_classes_load(ctx, &classes, m->model, out);
    app_classes_free(&classes);
    return status;
}

static int test(imp_ctx *ctx, const imp_model *m, const imp_dataset *set) {
    size_t classes = imp_model_describe(m).classes;
    size_t *confusion = calloc(classes, classes * sizeof *confusion);
    imp_test_result r;
    if (!confusion) {
        app_error("no memory for a table of %zu classes", classes);
        return IMP_ERR_LIMIT;
    }
    imp_status s = imp_test(ctx, m, set, &r, confusion);
    if (s == IMP_OK) tell(m, &r, confusion);
    free(confusion);
    return s == IMP_OK ? 0 : app_fail(ctx, s);
}

static int run(const app_command *self, int argc, char **argv) {
    values v;
    app_model m;
    imp_ctx *ctx = NULL;
    imp_dataset *set = NULL;
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    app_signals_catch();
    status = app_model_find(&m, v.model, true);
    if (!status) status = app_open(&ctx, &v.common);
    if (!status) status = app_model_open(ctx, &m);
    if (!status) status = load(ctx, &m, v.data, &set);
    if (!status) status = test(ctx, m.model, set);
    imp_dataset_free(set);
    imp_model_free(m.model);
    imp_ctx_free(ctx);
    return status;
}

const app_command app_test = {
    .name = "test",
    .summary = "measure a classifier: accuracy, confusion matrix",
    .usage = "--model FILE|NAME --data DIR [options]",
    .operands = "no argument",
    .least = 0,
    .most = 0,
    .options = options,
    .examples = "  impasto test --model digits.safetensors --data mnist\n"
                "  impasto test --model pets.safetensors --data other-pets\n"
                "  impasto test --model digits.safetensors --data mnist --json\n",
    .run = run,
};
