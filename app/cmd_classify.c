/* SPDX-License-Identifier: MIT
 *
 * cmd_classify.c: `impasto classify PICTURE... --model FILE`.
 */
#include <limits.h>
#include <stdlib.h>

#include "commands.h"
#include "image_vips.h"
#include "models.h"
#include "report.h"
#include "signals.h"

typedef struct values {
    app_common common;
    const char *model;
    size_t top;
    int fit;
} values;

static const app_option options[] = {
    APP_CLASSIFIER_OPTION(values),
    {.name = "top",
        .type = APP_COUNT,
        .offset = offsetof(values, top),
        .low = 1,
        .high = 100000,
        .value = "K",
        .standard = "5",
        .help = "how many classes to print"},
    {.name = "fit",
        .type = APP_CHOICE,
        .offset = offsetof(values, fit),
        .choices = "squash|crop",
        .otherwise = "the model's",
        .help = "the whole picture pressed to the network's size, or its centre"},
    APP_COMMON_OPTIONS("0", "not used: classifying has no chance in it"),
};

typedef struct answer {
    size_t id;
    float probability;
} answer;

/* Descending by probability, ties by id. */
static int compare(const void *a, const void *b) {
    const answer *x = a, *y = b;
    if (x->probability != y->probability)
        return x->probability < y->probability ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* The class's label; the id where the model has none for it. */
static const char *label(const imp_model *model, size_t id, char *out, size_t size) {
    const char *text = imp_model_label(model, id);
    if (text) return text;
    snprintf(out, size, "%zu", id);
    return out;
}

static void tell(
    const char *file, const imp_model *model, const answer *answers, size_t n) {
    char text[32];
    json_t *top = json_array();
    app_result("%s", file);
    for (size_t i = 0; i < n; i++) {
        const char *name = label(model, answers[i].id, text, sizeof text);
        double p = (double)answers[i].probability;
        json_array_append_new(
            top, json_pack("{s:I, s:o, s:o}", "id", (json_int_t)answers[i].id, "label",
                     app_json_text(name), "probability", app_json_number(p)));
        app_result("  %5zu  %.4f  %s", answers[i].id, p, name);
    }
    app_event(json_pack(
        "{s:s, s:o, s:o}", "event", "result", "file", app_json_text(file), "top", top));
}

/* One picture; p and answers are memory for all classes. */
static int classify(imp_ctx *ctx, const imp_model *model, const values *v,
    const char *file, float *p, answer *answers) {
    imp_picture picture;
    int status = app_image_load(ctx, &picture, file, NULL);
    if (status) return status;
    static const imp_fit fits[] = {IMP_FIT_SQUASH, IMP_FIT_CROP};
    imp_fit fit = v->fit < 0 ? IMP_FIT_MODEL : fits[v->fit];
    imp_status good = imp_classify(ctx, model, &picture, fit, p);
    imp_picture_free(&picture);
    if (good != IMP_OK) {
        app_error("%s: %s", file, imp_ctx_error(ctx));
        return (int)good;
    }
    size_t classes = imp_model_describe(model).classes;
    for (size_t i = 0; i < classes; i++) answers[i] = (answer){i, p[i]};
    qsort(answers, classes, sizeof *answers, compare);
    tell(file, model, answers, v->top < classes ? v->top : classes);
    return 0;
}

/* Every picture; a bad one does not stop the others. The worst status. */
static int classify_all(
    imp_ctx *ctx, const imp_model *model, const values *v, float *p, answer *answers) {
    int worst = 0;
    size_t failed = 0, done = 0;
    for (; done < v->common.n_operands && !app_interrupted(); done++) {
        const char *file = v->common.operands[done];
        int status = classify(ctx, model, v, file, p, answers);
        if (!status) continue;
        failed++;
        if (status > worst) worst = status;
        app_event_error(file, status);
    }
    if (v->common.n_operands > 1) {
        app_say(
            "%zu pictures: %zu classified, %zu failed", done, done - failed, failed);
        if (failed) app_error("%zu of %zu pictures failed", failed, done);
    }
    return app_interrupted() ? APP_INTERRUPTED : worst;
}

static int classify_with(imp_ctx *ctx, app_model *m, const values *v) {
    int status = app_model_open(ctx, m);
    if (status) return status;
    size_t classes = imp_model_describe(m->model).classes;
    if (classes == 0) {
        app_error(
            "model %s: expected a classifier, found features alone", app_model_name(m));
        return IMP_ERR_MODEL;
    }
    float *p = calloc(classes, sizeof *p);
    answer *answers = calloc(classes, sizeof *answers);
    if (p && answers)
        status = classify_all(ctx, m->model, v, p, answers);
    else
        app_error("no memory for %zu classes", classes);
    if (!p || !answers) status = IMP_ERR_LIMIT;
    free(p);
    free(answers);
    return status;
}

static int run(const app_command *self, int argc, char **argv) {
    values v;
    app_model m;
    imp_ctx *ctx = NULL;
    int status;
    if (!app_parse(self, &v, argc, argv, &status)) return status;
    app_signals_catch();
    status = app_model_find(&m, v.model, true);
    if (!status) status = app_open(&ctx, &v.common);
    if (!status) status = classify_with(ctx, &m, &v);
    imp_model_free(m.model);
    imp_ctx_free(ctx);
    return status;
}

const app_command app_classify = {
    .name = "classify",
    .summary = "say what pictures show",
    .usage = "PICTURE... --model FILE|NAME [options]",
    .operands = "at least one PICTURE",
    .least = 1,
    .most = INT_MAX,
    .options = options,
    .words = "Any classifier: its file's metadata tell how it wants its input. A bad\n"
             "picture does not stop the others; the exit status is the worst one's.\n",
    .examples = "  impasto classify cat.jpg --model vgg19-full.safetensors\n"
                "  impasto classify *.jpg --model vgg19 --fit crop --top 1 --json\n"
                "  impasto classify seven.png --model digits.safetensors\n",
    .run = run,
};
