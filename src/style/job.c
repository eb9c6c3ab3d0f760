/* SPDX-License-Identifier: MIT
 *
 * job.c: paint. The image is three planes R, G, B of 0..255, and that is what the
 * optimiser moves: for a network that sees 0..255 less a mean, the same steps as in its
 * own space.
 */
#include "kernel/reduce.h"
#include "model/model.h"
#include "style/style.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct imp_style {
    imp_ctx *ctx;
    imp_style_options options;
    imp_objective_state objective;
    float *image;
    float *gradient, *best; /* Adam: best is the image of the lowest loss */
    imp_style_progress best_parts;
    double rate;
    int retries;
    imp_gradient *adam;
    imp_lbfgs *lbfgs;
    imp_style_progress parts; /* of the last evaluation */
    size_t done;
    bool converged;
};

void imp_style_size(
    size_t width, size_t height, size_t size, size_t *out_width, size_t *out_height) {
    size_t longest = width > height ? width : height;
    *out_width = width;
    *out_height = height;
    if (longest <= size || longest == 0) return;
    double factor = (double)size / (double)longest;
    size_t w = (size_t)floor((double)width * factor + 0.5);
    size_t h = (size_t)floor((double)height * factor + 0.5);
    *out_width = w < 1 ? 1 : w;
    *out_height = h < 1 ? 1 : h;
}

/* Sizes of the painted picture and of the style as the network sees it. */
typedef struct sizes {
    size_t width, height, style_width, style_height;
} sizes;

static sizes choose_sizes(
    size_t w, size_t h, size_t sw, size_t sh, const imp_style_options *o) {
    sizes s;
    imp_style_size(w, h, o->size, &s.width, &s.height);
    size_t longest = s.width > s.height ? s.width : s.height;
    imp_style_size(sw, sh, o->style_size ? o->style_size : longest, &s.style_width,
        &s.style_height);
    return s;
}

/* Images that the job and its optimiser hold: the image itself and, of Adam, gradient, best,
 * m, v; of L-BFGS, its pairs and five vectors. The pictures it is made from are held by the
 * caller meanwhile. */
static size_t images_held(const imp_style_options *o) {
    size_t optimiser = o->optimizer == IMP_ADAM ? 4 : 2 * o->history + 5;
    size_t pictures = o->init == IMP_INIT_PICTURE ? 2 : 1;
    return 1 + optimiser + pictures;
}

/* Floats of the weights of the layers up to `last`. */
static size_t weights_to(const imp_model *model, const char *last) {
    size_t deepest = imp_zoo_find(model, last), tensor = 0, sum = 0;
    for (size_t i = 0; i <= deepest && i < model->n_layers; i++)
        for (int k = 0; k < 2 && imp_layer_has_weights(&model->layers[i]); k++)
            sum += imp_blocked_count(imp_model_tensor_shape(model, tensor++));
    return sum;
}

imp_status imp_style_estimate(imp_ctx *ctx, const imp_model *model, size_t width,
    size_t height, size_t style_width, size_t style_height,
    const imp_style_options *options, size_t *bytes) {
    imp_objective_state o;
    sizes s = choose_sizes(width, height, style_width, style_height, options);
    imp_status status = imp_objective_build(
        ctx, &o, model, options, s.width, s.height, s.style_width, s.style_height);
    *bytes = 0;
    if (!status) {
        size_t floats = weights_to(model, o.layers.last) +
                        3 * images_held(options) * s.width * s.height +
                        3 * s.style_width * s.style_height;
        *bytes = imp_objective_bytes(&o) + floats * sizeof(float);
    }
    imp_objective_free(&o);
    return status;
}

imp_status imp_style_load(
    imp_ctx *ctx, imp_model **out, const char *path, const imp_style_options *options) {
    const char *layers[IMP_MAX_TAPS];
    size_t n = 0;
    for (size_t i = 0; i < IMP_STYLE_MAX_LAYERS && options->content_layers[i]; i++)
        layers[n++] = options->content_layers[i];
    for (size_t i = 0; i < IMP_STYLE_MAX_LAYERS && options->style_layers[i]; i++)
        layers[n++] = options->style_layers[i];
    return imp_model_load_layers(ctx, out, path, layers, n);
}

typedef struct clamp_job {
    float *x;
    size_t n;
} clamp_job;

static void clamp_task(void *arg, size_t task, int thread) {
    (void)thread;
    const clamp_job *j = arg;
    imp_chunk k = imp_chunk_of(j->n, task);
    for (float *x = j->x + k.first, *end = x + k.count; x < end; x++)
        *x = *x < 0.0f ? 0.0f : *x > 255.0f ? 255.0f : *x;
}

/* A picture at a size: Lanczos, within 0..255; bit for bit where it has the size. */
static imp_status resize_picture(
    imp_ctx *ctx, const imp_picture *p, size_t width, size_t height, float *out) {
    imp_status s = imp_resize(
        ctx, out, height, width, p->planes, 3, p->height, p->width, IMP_LANCZOS);
    if (s || (p->width == width && p->height == height)) return s;
    clamp_job j = {out, 3 * width * height};
    imp_parallel(ctx, imp_chunk_count(j.n), clamp_task, &j);
    return IMP_OK;
}

imp_status imp_style_fit(
    imp_ctx *ctx, imp_picture *picture, size_t width, size_t height) {
    imp_picture fitted;
    if (picture->width == width && picture->height == height) return IMP_OK;
    imp_status s = imp_picture_new(ctx, &fitted, width, height);
    if (!s) s = resize_picture(ctx, picture, width, height, fitted.planes);
    imp_picture_free(s ? &fitted : picture);
    if (!s) *picture = fitted;
    return s;
}

/* *out: p at a size: p itself where it has it, else *made, the caller's to free. */
static imp_status picture_at(imp_ctx *ctx, const imp_picture *p, size_t width,
    size_t height, imp_picture *made, const float **out) {
    *made = (imp_picture){0};
    *out = p->planes;
    if (p->width == width && p->height == height) return IMP_OK;
    imp_status s = imp_picture_new(ctx, made, width, height);
    *out = made->planes;
    return s ? s : resize_picture(ctx, p, width, height, made->planes);
}

/* noise: u; mix: half content, half u; u uniform in [-20, 20], both in the network's
 * space less its mean. */
static void start_from_noise(imp_style *job, const float *content) {
    imp_input_spec spec = imp_model_describe(job->objective.model).input;
    size_t count = job->objective.width * job->objective.height;
    float share = job->options.init == IMP_INIT_MIX ? 0.5f : 0.0f;
    for (size_t c = 0; c < 3; c++) {
        float mean = spec.mean[spec.bgr ? 2 - c : c] * 255.0f / spec.range;
        for (size_t i = 0; i < count; i++) {
            float u =
                (float)(40.0 * imp_uniform(job->options.seed, c * count + i) - 20.0);
            job->image[c * count + i] =
                share * (content[c * count + i] - mean) + (1.0f - share) * u + mean;
        }
    }
}

static imp_status start_image(
    imp_style *job, const float *content, const imp_picture *init) {
    const imp_objective_state *o = &job->objective;
    size_t count = 3 * o->width * o->height;
    switch (job->options.init) {
    case IMP_INIT_CONTENT:
        memcpy(job->image, content, count * sizeof *content);
        return IMP_OK;
    case IMP_INIT_PICTURE:
        if (!init) return imp_fail(job->ctx, IMP_ERR_ARG, "init: no picture was given");
        return resize_picture(job->ctx, init, o->width, o->height, job->image);
    default:
        start_from_noise(job, content);
        return IMP_OK;
    }
}

/* An Adam that remembers nothing, in place of the one there is. */
static imp_status make_adam(imp_style *job, size_t count) {
    imp_gradient_options options = {.kind = IMP_ADAM};
    imp_gradient *fresh;
    imp_status s = imp_gradient_new(job->ctx, &fresh, count, &options);
    if (s) return s;
    imp_gradient_free(job->adam);
    job->adam = fresh;
    return IMP_OK;
}

static imp_status make_optimiser(imp_style *job, size_t count) {
    if (job->options.optimizer == IMP_LBFGS)
        return imp_lbfgs_new(job->ctx, &job->lbfgs, count, job->options.history);
    job->best = malloc(count * sizeof *job->best);
    job->gradient = malloc(count * sizeof *job->gradient);
    if (!job->best || !job->gradient)
        return imp_fail(job->ctx, IMP_ERR_LIMIT, "style: no memory");
    job->best_parts.loss = INFINITY;
    job->rate = job->options.rate;
    return make_adam(job, count);
}

/* Resized pictures live only until the targets are computed. */
static imp_status prepare(imp_style *job, const imp_picture *content,
    const imp_picture *style, const imp_picture *init, sizes s) {
    imp_picture made[2];
    const float *c, *y;
    imp_status status = picture_at(job->ctx, content, s.width, s.height, &made[0], &c);
    job->image = status ? NULL : malloc(3 * s.width * s.height * sizeof *job->image);
    if (!status && !job->image)
        status = imp_fail(job->ctx, IMP_ERR_LIMIT, "style: no memory");
    if (!status) status = start_image(job, c, init);
    if (!status)
        status =
            picture_at(job->ctx, style, s.style_width, s.style_height, &made[1], &y);
    else
        made[1] = (imp_picture){0};
    if (!status) status = imp_objective_prepare(job->ctx, &job->objective, c, y);
    imp_picture_free(&made[0]);
    imp_picture_free(&made[1]);
    return status ? status : make_optimiser(job, 3 * s.width * s.height);
}

static imp_status check_options(imp_ctx *ctx, const imp_style_options *o) {
    if (o->size < 1) return imp_fail(ctx, IMP_ERR_ARG, "size: expected at least 1");
    if (o->optimizer != IMP_ADAM && o->optimizer != IMP_LBFGS)
        return imp_fail(ctx, IMP_ERR_ARG, "optimizer: expected Adam or L-BFGS");
    if (o->optimizer == IMP_LBFGS && o->history < 1)
        return imp_fail(ctx, IMP_ERR_ARG, "history: expected at least 1");
    const double weights[] = {
        o->content_weight, o->style_weight, o->tv_weight, o->rate};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        if (!isfinite(weights[i]) || weights[i] < 0.0)
            return imp_fail(ctx, IMP_ERR_ARG,
                "weights and rate: expected 0 or more, found %g", weights[i]);
    size_t given = o->layer_weights_given ? IMP_STYLE_MAX_LAYERS : 0;
    for (size_t i = 0; i < given && o->style_layers[i]; i++)
        if (!isfinite(o->layer_weights[i]) || o->layer_weights[i] < 0.0)
            return imp_fail(ctx, IMP_ERR_ARG,
                "weight of %s: expected 0 or more, found %g", o->style_layers[i],
                o->layer_weights[i]);
    return IMP_OK;
}

imp_status imp_style_new(imp_ctx *ctx, imp_style **out, const imp_model *model,
    const imp_picture *content, const imp_picture *style, const imp_picture *init,
    const imp_style_options *options) {
    *out = NULL;
    imp_status status = check_options(ctx, options);
    if (status) return status;
    imp_style *job = calloc(1, sizeof *job);
    if (!job) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    job->ctx = ctx;
    job->options = *options;
    sizes s = choose_sizes(
        content->width, content->height, style->width, style->height, options);
    status = imp_objective_build(ctx, &job->objective, model, options, s.width,
        s.height, s.style_width, s.style_height);
    if (!status) status = prepare(job, content, style, init, s);
    if (status)
        imp_style_free(job);
    else
        *out = job;
    return status;
}

void imp_style_free(imp_style *job) {
    if (!job) return;
    imp_objective_free(&job->objective);
    imp_gradient_free(job->adam);
    imp_lbfgs_free(job->lbfgs);
    free(job->image);
    free(job->gradient);
    free(job->best);
    free(job);
}

static imp_status report(imp_style *job, imp_style_progress *out) {
    *out = job->parts;
    out->iteration = job->done;
    if (isfinite(job->parts.loss)) return IMP_OK;
    return imp_fail(job->ctx, IMP_ERR_NUMERIC,
        "iteration %zu: the loss is not finite: try a lower rate or weight", job->done);
}

imp_status imp_style_evaluate(imp_style *job, imp_style_progress *out) {
    imp_objective_evaluate(job->ctx, &job->objective, job->image, NULL, &job->parts);
    return report(job, out);
}

#define MAX_RETRIES 5

/* Not finite, or ten times the best; of the normalised objective, whose terms are near 1
 * for an empty picture, a hundredth of that is no cause for alarm. */
static bool is_bad(const imp_style *job, double loss) {
    const imp_style_options *o = &job->options;
    double floor = o->objective == IMP_NORMALISED
                       ? 0.01 * (o->content_weight + o->style_weight + o->tv_weight)
                       : 0.0;
    return !isfinite(loss) || (loss > 10.0 * job->best_parts.loss && loss > floor);
}

/* Back to the best image; false: there is none. */
static bool restore_best(imp_style *job, size_t count) {
    if (!isfinite(job->best_parts.loss)) return false;
    memcpy(job->image, job->best, count * sizeof *job->image);
    job->parts = job->best_parts;
    return true;
}

/* After a bad loss: the best image, half the rate, and no memory of the way here; after
 * MAX_RETRIES of these, IMP_ERR_NUMERIC. */
static imp_status step_back(imp_style *job, size_t count) {
    double loss = job->parts.loss;
    if (!restore_best(job, count) || ++job->retries > MAX_RETRIES)
        return imp_fail(job->ctx, IMP_ERR_NUMERIC,
            "iteration %zu: the loss is %g, the best was %g: try a lower rate",
            job->done, loss, job->best_parts.loss);
    job->rate *= 0.5;
    imp_note(job->ctx, "iteration %zu: the loss rose to %g: back to the best, rate %g",
        job->done, loss, job->rate);
    return make_adam(job, count);
}

static imp_status adam_step(imp_style *job, imp_style_progress *out) {
    size_t count = 3 * job->objective.width * job->objective.height;
    double loss = imp_objective_evaluate(
        job->ctx, &job->objective, job->image, job->gradient, &job->parts);
    job->done++;
    imp_status s = IMP_OK;
    if (is_bad(job, loss)) {
        s = step_back(job, count);
    } else {
        if (loss < job->best_parts.loss) {
            job->best_parts = job->parts;
            memcpy(job->best, job->image, count * sizeof *job->image);
        }
        imp_gradient_step(job->adam, job->image, job->gradient, job->rate);
    }
    *out = job->parts;
    out->iteration = job->done;
    return s;
}

imp_status imp_style_finish(imp_style *job, imp_style_progress *out) {
    size_t count = 3 * job->objective.width * job->objective.height;
    if (job->adam) {
        imp_objective_evaluate(
            job->ctx, &job->objective, job->image, NULL, &job->parts);
        if (is_bad(job, job->parts.loss)) restore_best(job, count);
    }
    return report(job, out);
}

static double lbfgs_loss(void *user, const float *x, float *g) {
    imp_style *job = user;
    return job->objective.scale *
           imp_objective_evaluate(job->ctx, &job->objective, x, g, &job->parts);
}

static imp_status lbfgs_step(imp_style *job, imp_style_progress *out) {
    double loss;
    imp_status s = imp_lbfgs_step(job->lbfgs, job->image, lbfgs_loss, job, &loss);
    job->done++;
    if (s == IMP_ERR_NUMERIC && isfinite(loss)) { /* no lower loss is to be found */
        job->converged = true;
        imp_objective_evaluate(
            job->ctx, &job->objective, job->image, NULL, &job->parts);
        s = IMP_OK;
    }
    return s ? s : report(job, out);
}

imp_status imp_style_step(imp_style *job, imp_style_progress *out) {
    return job->lbfgs ? lbfgs_step(job, out) : adam_step(job, out);
}

size_t imp_style_done(const imp_style *job) {
    return job->done;
}

bool imp_style_converged(const imp_style *job) {
    return job->converged;
}

imp_status imp_style_picture(const imp_style *job, imp_picture *out) {
    const imp_objective_state *o = &job->objective;
    imp_status s = imp_picture_new(job->ctx, out, o->width, o->height);
    if (!s) memcpy(out->planes, job->image, 3 * o->width * o->height * sizeof(float));
    return s;
}
