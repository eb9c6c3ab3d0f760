/* SPDX-License-Identifier: MIT
 *
 * paint.c: plan, iterate, tell, write; Ctrl-C and divergence write the picture so far.
 */
#include "paint.h"

#include <math.h>
#include <stdio.h>

#include "image_vips.h"
#include "memory.h"
#include "report.h"
#include "signals.h"

static size_t longest(size_t width, size_t height) {
    return width > height ? width : height;
}

int app_paint_plan(app_painting *p) {
    imp_style_size(
        p->content.width, p->content.height, p->options.size, &p->width, &p->height);
    size_t side = p->options.style_size;
    if (side == 0) side = longest(p->width, p->height);
    imp_style_size(
        p->style.width, p->style.height, side, &p->style_width, &p->style_height);
    imp_status status = imp_style_estimate(p->ctx, p->model.model, p->width, p->height,
        p->style_width, p->style_height, &p->options, &p->bytes);
    if (status != IMP_OK) return app_fail(p->ctx, status);
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

/* --- telling --- */

static void tell_progress(
    const app_painting *p, const imp_style_progress *at, double first) {
    double now = app_seconds();
    if (app_json())
        app_event(json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "event", "progress",
            "iteration", (json_int_t)at->iteration, "loss", app_json_number(at->loss),
            "content", app_json_number(at->content), "style",
            app_json_number(at->style), "seconds", app_json_number(now - p->begun)));
    size_t all = p->options.iterations;
    if (at->iteration == 0 || !app_progress_wanted(at->iteration == all)) return;
    double each = (now - first) / (double)at->iteration;
    long left = (long)(each * (double)(all - at->iteration) + 0.5);
    app_progress("iteration %zu/%zu  loss %.6g  %.2f s each  %ld:%02ld left",
        at->iteration, all, at->loss, each, left / 60, left % 60);
}

static void tell_done(const app_painting *p, const imp_picture *picture,
    const imp_style_progress *at, const char *why) {
    char hash[65];
    double seconds = app_seconds() - p->begun;
    app_image_sha256(picture, hash);
    json_t *event = json_pack("{s:s, s:o, s:s, s:I, s:I, s:I, s:o, s:o}", "event",
        "done", "output", app_json_text(p->output), "pixels_sha256", hash, "width",
        (json_int_t)picture->width, "height", (json_int_t)picture->height, "iterations",
        (json_int_t)at->iteration, "loss", app_json_number(at->loss), "seconds",
        app_json_number(seconds));
    if (event && why) json_object_set_new(event, "stopped", json_string(why));
    app_event(event);
    app_say("%s: %zu x %zu after %zu iterations, loss %.6g, %.1f s%s%s", p->output,
        picture->width, picture->height, at->iteration, at->loss, seconds,
        why ? ", " : "", why ? why : "");
}

/* --- working --- */

/* Write the image as it stands, and, where why is not NULL or last is set, say so. */
static int save(app_painting *p, const imp_style *job, const imp_style_progress *at,
    bool last, const char *why) {
    imp_picture picture;
    imp_status status = imp_style_picture(job, &picture);
    if (status != IMP_OK) return app_fail(p->ctx, status);
    int saved = app_image_save(p->ctx, &picture, p->output, p->overwrite);
    if (saved == 0) p->overwrite = true; /* it is our own file from now on */
    if (saved == 0 && last) tell_done(p, &picture, at, why);
    imp_picture_free(&picture);
    return saved;
}

/* Iterate until done, stopped or failed. *why: why it ended early, or NULL. */
static int iterate(
    app_painting *p, imp_style *job, imp_style_progress *at, const char **why) {
    double first = app_seconds();
    while (imp_style_done(job) < p->options.iterations) {
        if (app_interrupted()) {
            *why = "interrupted";
            return APP_INTERRUPTED;
        }
        imp_style_progress now;
        imp_status status = imp_style_step(job, &now);
        if (status != IMP_OK) {
            *why = status == IMP_ERR_NUMERIC ? "diverged" : "failed";
            return app_fail(p->ctx, status);
        }
        *at = now;
        tell_progress(p, at, first);
        if (imp_style_converged(job)) {
            *why = "converged";
            app_note("converged after %zu iterations: no step lowers the loss",
                at->iteration);
            return 0;
        }
        bool due = p->save_every && at->iteration % p->save_every == 0;
        if (due && at->iteration < p->options.iterations) {
            int saved = save(p, job, at, false, NULL);
            if (saved) return saved;
        }
    }
    return 0;
}

int app_paint(app_painting *p) {
    imp_style *job = NULL;
    const imp_picture *start = p->options.init == IMP_INIT_PICTURE ? &p->start : NULL;
    imp_status status = imp_style_new(
        p->ctx, &job, p->model.model, &p->content, &p->style, start, &p->options);
    imp_picture_free(&p->content); /* read during that call alone */
    imp_picture_free(&p->style);
    if (status != IMP_OK) return app_fail(p->ctx, status);
    imp_style_progress at = {.loss = NAN}; /* of no iteration yet */
    int result;
    if (p->options.iterations == 0 || app_interrupted()) {
        status = imp_style_evaluate(job, &at);
        result = status == IMP_OK ? 0 : app_fail(p->ctx, status);
    } else {
        result = 0;
    }
    if (p->options.iterations == 0) {
        if (!result) tell_progress(p, &at, 0);
        if (!result)
            app_result("iteration 0  loss %.9g  content %.9g  style %.9g", at.loss,
                at.content, at.style);
    } else if (!result) {
        const char *why = NULL;
        result = iterate(p, job, &at, &why);
        if (result == 0 || result == APP_INTERRUPTED) {
            status = imp_style_finish(job, &at);
            if (status != IMP_OK) {
                why = "diverged";
                result = app_fail(p->ctx, status);
            }
        }
        if (result == 0 || why) {
            int saved = save(p, job, &at, true, why);
            if (saved) result = saved;
        }
    }
    imp_style_free(job);
    return result;
}
