/* SPDX-License-Identifier: MIT
 *
 * cmd_test.c: `impasto test --model FILE --data DIR`.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "impasto/train.h"
#include "models.h"
#include "report.h"

typedef struct values {
    app_common common;
    const char *model, *data;
} values;

static const app_option options[] = {
    {.name = "model",
        .type = APP_TEXT,
        .offset = offsetof(values, model),
        .value = "FILE|NAME",
        .otherwise = "IMPASTO_MODEL, else an installed vgg19",
        .help = "a classifier of digits"},
    {.name = "data",
        .type = APP_TEXT,
        .offset = offsetof(values, data),
        .value = "DIR",
        .required = true,
        .help = "folder of MNIST's two test files, plain or gzip"},
    APP_COMMON_OPTIONS("0", "not used: testing has no chance in it"),
};

static void tell(const imp_test_result *r) {
    json_t *confusion = json_array();
    char line[128];
    app_result("accuracy %.4f (%zu of %zu), loss %.6f", r->accuracy, r->correct,
        r->count, r->loss);
    app_result("label    predicted");
    app_result("             0     1     2     3     4     5     6     7     8     9");
    for (size_t i = 0; i < 10; i++) {
        json_t *row = json_array();
        int n = snprintf(line, sizeof line, "    %zu   ", i);
        for (size_t j = 0; j < 10; j++) {
            size_t at = (size_t)n + 6 * j;
            if (at + 24 < sizeof line)
                snprintf(line + at, sizeof line - at, "%6zu", r->confusion[i][j]);
            json_array_append_new(row, json_integer((json_int_t)r->confusion[i][j]));
        }
        json_array_append_new(confusion, row);
        app_result("%s", line);
    }
    app_event(json_pack("{s:s, s:o, s:o, s:I, s:I, s:o}", "event", "done",
        "test_accuracy", app_json_number(r->accuracy), "test_loss",
        app_json_number(r->loss), "count", (json_int_t)r->count, "correct",
        (json_int_t)r->correct, "confusion", confusion));
}

static int run(const app_command *self, int argc, char **argv) {
    values v;
    app_model m;
    imp_ctx *ctx = NULL;
    imp_dataset *set = NULL;
    imp_test_result result;
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    status = app_model_find(&m, v.model, true);
    if (!status) status = app_open(&ctx, &v.common);
    if (!status) status = app_model_open(ctx, &m);
    if (!status) {
        imp_status good = imp_mnist_load(ctx, &set, v.data, IMP_MNIST_TEST);
        if (good == IMP_OK) good = imp_test(ctx, m.model, set, &result);
        if (good == IMP_OK)
            tell(&result);
        else
            status = app_fail(ctx, good);
    }
    imp_dataset_free(set);
    imp_model_free(m.model);
    imp_ctx_free(ctx);
    return status;
}

const app_command app_test = {
    .name = "test",
    .summary = "measure a classifier of digits: accuracy, confusion matrix",
    .usage = "--model FILE|NAME --data DIR [options]",
    .operands = "no argument",
    .least = 0,
    .most = 0,
    .options = options,
    .examples = "  impasto test --model digits.safetensors --data mnist\n"
                "  impasto test --model digits.safetensors --data mnist --json\n",
    .run = run,
};
