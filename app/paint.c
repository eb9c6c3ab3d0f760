/* SPDX-License-Identifier: MIT
 *
 * paint.c: iterate, tell, write; Ctrl-C and divergence write the picture so far.
 */
#include "paint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "preview.h"
#include "record.h"
#include "report.h"
#include "signals.h"

/* A painting at work. */
typedef struct work {
    app_painting *p;
    imp_style *job;
    imp_style_progress at;
    app_preview preview;
    double scale_begun;  /* app_seconds at the start of this scale, */
    size_t scale_before; /* and the iterations done by then */
    const char *why;     /* it ended early; NULL: it did not */
} work;

/* --- telling --- */

/* By the time that this scale's iterations take. Those of the next have twice the pixels,
 * and so on. */
static double seconds_left(const work *w, double each) {
    const imp_style_options *o = &w->p->options;
    size_t last = w->at.scales ? w->at.scales - 1 : 0;
    size_t here = w->at.iteration - w->scale_before;
    size_t all = w->at.scale < last ? o->scale_iterations : o->iterations;
    double left = all > here ? (double)(all - here) : 0, pixels = 1;
    for (size_t k = w->at.scale + 1; k <= last; k++) {
        pixels *= 2;
        left += pixels * (double)(k < last ? o->scale_iterations : o->iterations);
    }
    return left * each;
}

static void tell_line(const work *w, double now) {
    const imp_style_progress *at = &w->at;
    size_t all = imp_style_total(w->job);
    if (!app_progress_wanted(at->iteration == all)) return;
    char scale[64] = "";
    double each = (now - w->scale_begun) / (double)(at->iteration - w->scale_before);
    long left = (long)(seconds_left(w, each) + 0.5);
    if (at->scales > 1)
        snprintf(scale, sizeof scale, "scale %zu/%zu (%zu x %zu)  ", at->scale + 1,
            at->scales, at->width, at->height);
    app_progress("%siteration %zu/%zu  loss %.6g  %.2f s each  %ld:%02ld left", scale,
        at->iteration, all, at->loss, each, left / 60, left % 60);
}

static void tell_progress(const work *w) {
    const imp_style_progress *at = &w->at;
    double now = app_seconds();
    if (app_json())
        app_event(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}",
            "event", "progress", "iteration", (json_int_t)at->iteration, "scale",
            (json_int_t)at->scale + 1, "scales", (json_int_t)at->scales, "width",
            (json_int_t)at->width, "height", (json_int_t)at->height, "loss",
            app_json_number(at->loss), "content", app_json_number(at->content), "style",
            app_json_number(at->style), "seconds", app_json_number(now - w->p->begun)));
    if (at->iteration > w->scale_before) tell_line(w, now);
}

static void tell_done(const work *w, const imp_picture *picture) {
    const app_painting *p = w->p;
    const imp_style_progress *at = &w->at;
    char hash[65];
    double seconds = app_seconds() - p->begun;
    app_image_sha256(picture, hash);
    json_t *event = json_pack("{s:s, s:o, s:s, s:I, s:I, s:I, s:o, s:o}", "event",
        "done", "output", app_json_text(p->output.path), "pixels_sha256", hash, "width",
        (json_int_t)picture->width, "height", (json_int_t)picture->height, "iterations",
        (json_int_t)at->iteration, "loss", app_json_number(at->loss), "seconds",
        app_json_number(seconds));
    if (event && w->why) json_object_set_new(event, "stopped", json_string(w->why));
    app_event(event);
    app_say("%s: %zu x %zu after %zu iterations, loss %.6g, %.1f s%s%s",
        app_output_name(&p->output), picture->width, picture->height, at->iteration,
        at->loss, seconds, w->why ? ", " : "", w->why ? w->why : "");
}

/* --- working --- */

/* Write the image as it stands, at the end or before it, and say so. Returns the exit
 * status, said. */
static int save(work *w, bool last) {
    app_painting *p = w->p;
    imp_picture picture;
    imp_status status = imp_style_picture(w->job, &picture);
    if (status != IMP_OK) return app_fail(p->ctx, status);
    int saved = app_output_fit(p->ctx, &p->output, &picture);
    if (!saved) saved = app_output_write(p->ctx, &p->output, &picture);
    if (!saved && last) tell_done(w, &picture);
    if (!saved && !last)
        app_event(json_pack("{s:s, s:o, s:I}", "event", "saved", "output",
            app_json_text(p->output.path), "iteration", (json_int_t)w->at.iteration));
    imp_picture_free(&picture);
    return saved;
}

/* One iteration, and what follows from it. */
static int step(work *w) {
    app_painting *p = w->p;
    imp_style_progress now;
    double begun = app_seconds();
    imp_status status = imp_style_step(w->job, &now);
    if (status != IMP_OK) {
        w->why = status == IMP_ERR_NUMERIC ? "diverged" : "failed";
        return app_fail(p->ctx, status);
    }
    if (now.scale != w->at.scale) {
        w->scale_begun = begun;
        w->scale_before = w->at.iteration;
    }
    w->at = now;
    tell_progress(w);
    app_preview_show(&w->preview, p->ctx, w->job, &w->at);
    size_t every = p->v->save_every;
    bool due = every != APP_ABSENT && now.iteration % every == 0;
    if (due && now.iteration < imp_style_total(w->job) && save(w, false))
        app_note("iteration %zu not saved: painting goes on", now.iteration);
    return 0;
}

/* Iterate until done, stopped or failed. */
static int iterate(work *w) {
    w->scale_begun = app_seconds();
    while (imp_style_done(w->job) < imp_style_total(w->job)) {
        if (app_interrupted()) {
            w->why = "interrupted";
            return APP_INTERRUPTED;
        }
        int status = step(w);
        if (status) return status;
        if (imp_style_converged(w->job)) break;
    }
    if (!imp_style_converged(w->job)) return 0;
    w->why = "converged";
    app_note(
        "converged after %zu iterations: they lower the loss no more, or too little",
        w->at.iteration);
    return 0;
}

/* --iterations 0: the loss of the start, nothing written. */
static int evaluate(work *w) {
    imp_status status = imp_style_evaluate(w->job, &w->at);
    if (status != IMP_OK) return app_fail(w->p->ctx, status);
    tell_progress(w);
    app_result("iteration 0  loss %.9g  content %.9g  style %.9g", w->at.loss,
        w->at.content, w->at.style);
    return 0;
}

static int work_through(work *w) {
    app_painting *p = w->p;
    if (p->options.iterations == 0) return evaluate(w);
    imp_status status = IMP_OK;
    if (app_interrupted()) status = imp_style_evaluate(w->job, &w->at);
    if (status != IMP_OK) return app_fail(p->ctx, status);
    int result = iterate(w);
    if (result == 0 || result == APP_INTERRUPTED) {
        status = imp_style_finish(w->job, &w->at);
        if (status != IMP_OK) {
            w->why = "diverged";
            result = app_fail(p->ctx, status);
        }
    }
    if (result && !w->why) return result;
    int saved = save(w, true);
    return saved ? saved : result;
}

int app_paint(app_painting *p) {
    work w = {.p = p, .at = {.loss = NAN}, .preview.path = p->v->preview};
    const imp_picture *start = p->inputs.start.file ? &p->inputs.start.picture : NULL;
    char *record =
        app_record_make(p->command, p->v, &p->options, &p->inputs, &p->model);
    if (!record) {
        app_error("no memory for the record of the settings");
        return IMP_ERR_LIMIT;
    }
    imp_status status =
        imp_style_new(p->ctx, &w.job, p->model.model, &p->inputs.content.picture,
            p->inputs.sources, p->inputs.n_styles, start, &p->options);
    app_inputs_free(&p->inputs); /* read during that call alone */
    p->output.how.text = record;
    int result = status == IMP_OK ? work_through(&w) : app_fail(p->ctx, status);
    p->output.how.text = NULL;
    imp_style_free(w.job);
    free(record);
    return result;
}
