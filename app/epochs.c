/* SPDX-License-Identifier: MIT
 *
 * epochs.c: a training job from its first epoch to its last, and what is told of it.
 */
#include "epochs.h"

#include <stdio.h>

#include "report.h"
#include "signals.h"

typedef struct training {
    size_t epoch, epochs; /* the one under way, from 1; 0: before the first */
    double begun, epoch_begun;
} training;

static void tell_progress(const training *t, size_t done, size_t of) {
    double now = app_seconds(), each = (now - t->epoch_begun) / (double)done;
    if (t->epoch == 0) {
        long left = (long)(each * (double)(of - done) + 0.5);
        app_progress("features %zu/%zu  %.1f pictures/s  %ld:%02ld left", done, of,
            1 / each, left / 60, left % 60);
        return;
    }
    double epochs = (double)(t->epoch - 1) + (double)done / (double)of;
    double spent = now - t->begun;
    long left = (long)(spent / epochs * ((double)t->epochs - epochs) + 0.5);
    app_progress("epoch %zu/%zu  batch %zu/%zu  %.0f batches/s  %ld:%02ld left",
        t->epoch, t->epochs, done, of, 1 / each, left / 60, left % 60);
}

static bool on_batch(void *user, size_t done, size_t of) {
    if (done && app_progress_wanted(false)) tell_progress(user, done, of);
    return !app_interrupted();
}

static void tell_epoch(const training *t, const imp_train_progress *p) {
    double seconds = app_seconds() - t->begun;
    json_t *event = json_pack("{s:s, s:I, s:o, s:o, s:o}", "event", "epoch", "epoch",
        (json_int_t)p->epoch, "loss", app_json_number(p->loss), "accuracy",
        app_json_number(p->accuracy), "seconds", app_json_number(seconds));
    char held_out[64] = "";
    if (event && p->validation_count) {
        json_object_set_new(
            event, "validation_loss", app_json_number(p->validation_loss));
        json_object_set_new(
            event, "validation_accuracy", app_json_number(p->validation_accuracy));
        snprintf(held_out, sizeof held_out, "  validation %.6f  accuracy %.4f",
            p->validation_loss, p->validation_accuracy);
    }
    app_event(event);
    app_say("epoch %zu/%zu  loss %.6f  accuracy %.4f%s  %.1f s", p->epoch, t->epochs,
        p->loss, p->accuracy, held_out, seconds);
}

int app_epochs_run(
    imp_ctx *ctx, imp_train *job, size_t epochs, imp_train_progress *last) {
    training t = {.epochs = epochs, .epoch_begun = app_seconds()};
    *last = (imp_train_progress){0};
    imp_train_on_batch(job, on_batch, &t);
    imp_status s = imp_train_prepare(job);
    t.begun = app_seconds();
    for (t.epoch = 1; s == IMP_OK && t.epoch <= epochs && !app_interrupted();
         t.epoch++) {
        imp_train_progress p;
        t.epoch_begun = app_seconds();
        s = imp_train_epoch(job, &p);
        if (s == IMP_OK) *last = p;
        if (s == IMP_OK && !app_interrupted()) tell_epoch(&t, &p);
    }
    return s == IMP_OK ? 0 : app_fail(ctx, s);
}
