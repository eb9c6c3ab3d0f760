/* SPDX-License-Identifier: MIT
 *
 * job.c: paint, scale after scale. The image is three planes R, G, B of 0..255, and that is
 * what the optimiser moves: for a network that sees 0..255 less a mean, the same steps as in
 * its own space.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "style/style.h"

#define MAX_SCALES 32
#define WINDOW     10 /* iterations over which a gain is looked at */

typedef struct scale {
    size_t width, height, iterations;
} scale;

struct imp_style {
    imp_ctx *ctx;
    const imp_model *model;
    imp_model *turned; /* what paints in its place, where options.turn asks for it */
    imp_style_options options;
    imp_style_layers layers;
    imp_scene scene;      /* at the last scale; planes as long as they are needed */
    float *color;         /* the content's own colours, or NULL */
    size_t width, height; /* of the painted picture */
    scale scales[MAX_SCALES];
    size_t n_scales, at;
    size_t done, done_here; /* iterations: in all, at this scale */
    bool ended;             /* this stretch: no step betters it, or too little */
    double losses[WINDOW];  /* of the last iterations, by their number here */

    /* of this scale */
    imp_scene present;
    imp_objective_state objective;
    float *image;
    size_t image_width, image_height; /* the scale before's, where this one failed */
    imp_status failed;      /* why this scale, or a stretch, could not begin */
    float *gradient, *best; /* Adam: best is the image of the lowest loss */
    imp_style_progress best_parts;
    double rate;
    int retries;
    imp_gradient *adam;
    imp_lbfgs *lbfgs;
    imp_precondition precondition; /* of lbfgs; without planes: none */
    imp_style_progress parts;      /* of the last evaluation */
};

/* --- scales --- */

/* From small to large: sides that fall by sqrt 2 from the last, as long as the longest is at
 * least first_size and every picture large enough for the layers. */
static size_t choose_scales(
    scale *out, const imp_scene *last, const imp_style_options *o, size_t least_side) {
    scale list[MAX_SCALES];
    size_t n = 0;
    double longest = (double)imp_longest(last->width, last->height);
    for (; n < MAX_SCALES; n++) {
        double side = floor(longest / pow(2.0, 0.5 * (double)n) + 0.5);
        scale *s = &list[n];
        imp_style_size(last->width, last->height, (size_t)side, &s->width, &s->height);
        s->iterations = n == 0 ? o->iterations : o->scale_iterations;
        if (n == 0) continue;
        bool large = s->width >= least_side && s->height >= least_side;
        for (size_t i = 0; i < last->n_views; i++) {
            const imp_view *v = &last->views[i];
            double shorter = (double)(v->width < v->height ? v->width : v->height);
            large &= shorter * side / longest >= (double)least_side;
        }
        if (o->first_size == 0 || side < (double)o->first_size || !large) break;
    }
    for (size_t i = 0; i < n; i++) out[i] = list[n - 1 - i];
    return n;
}

/* --- turns ---
 *
 * A network that has learnt from a larger one is blind to some of what that one sees, and the
 * picture keeps whatever it happens to have there. Mirrored or turned it is blind to something
 * else. So each scale is painted in stretches of about `turn` iterations, every one seen
 * otherwise; the last as it is.
 */

static bool turns(const imp_style *job) {
    return job->options.turn > 0 && imp_model_describe(job->model).student;
}

/* Of scale number `at`. */
static size_t stretches(const imp_style *job, size_t at) {
    size_t length = job->options.turn;
    if (!turns(job)) return 1;
    size_t n = (job->scales[at].iterations + length / 2) / length;
    return n ? n : 1;
}

/* Number of the stretch that an iteration of this scale is in. */
static size_t stretch_of(const imp_style *job, size_t iteration) {
    size_t all = job->scales[job->at].iterations;
    return all ? iteration * stretches(job, job->at) / all : 0;
}

/* The iteration of this scale that begins the next stretch, or is the last one's end. */
static size_t stretch_end(const imp_style *job, size_t iteration) {
    size_t all = job->scales[job->at].iterations, k = stretch_of(job, iteration);
    while (iteration < all && stretch_of(job, iteration) == k) iteration++;
    return iteration;
}

/* The network that paints from here on. */
static imp_status turn_network(imp_style *job) {
    static const unsigned order[] = {0, IMP_TURN_COLUMNS, IMP_TURN_TRANSPOSE,
        IMP_TURN_ROWS | IMP_TURN_COLUMNS, IMP_TURN_ROWS,
        IMP_TURN_TRANSPOSE | IMP_TURN_COLUMNS, IMP_TURN_TRANSPOSE | IMP_TURN_ROWS,
        IMP_TURN_TRANSPOSE | IMP_TURN_ROWS | IMP_TURN_COLUMNS};
    if (!turns(job)) return IMP_OK;
    size_t left = stretches(job, job->at) - 1 - stretch_of(job, job->done_here);
    for (size_t i = job->at + 1; i < job->n_scales; i++) left += stretches(job, i);
    unsigned turn = order[left % (sizeof order / sizeof *order)];
    return imp_model_turn(job->ctx, &job->turned, job->model, turn);
}

static const imp_model *painting_network(const imp_style *job) {
    return job->turned ? job->turned : job->model;
}

/* --- a scale begins --- */

/* noise: u; mix: half content, half u; u uniform in [-20, 20], both in the network's
 * space less its mean. */
static void start_from_noise(imp_style *job) {
    const float *content = job->present.content;
    imp_input_spec spec = imp_model_describe(job->model).input;
    size_t count = job->present.width * job->present.height;
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

/* The image at this scale: the start's, or what was painted at the scale before. */
static imp_status start_image(imp_style *job, const imp_picture *init) {
    const imp_scene *s = &job->present;
    if (init)
        return imp_fit_planes(job->ctx, &job->image, s->width, s->height, init->planes,
            3, init->width, init->height, 255.0f);
    size_t count = 3 * s->width * s->height;
    job->image = malloc(count * sizeof *job->image);
    if (!job->image) return imp_fail(job->ctx, IMP_ERR_LIMIT, "style: no memory");
    if (job->options.init == IMP_INIT_CONTENT)
        memcpy(job->image, s->content, count * sizeof *job->image);
    else
        start_from_noise(job);
    return IMP_OK;
}

static imp_status enlarge_image(imp_style *job, scale from) {
    const imp_scene *s = &job->present;
    float *image = malloc(3 * s->width * s->height * sizeof *image);
    if (!image) return imp_fail(job->ctx, IMP_ERR_LIMIT, "style: no memory");
    imp_status status = imp_resize(job->ctx, image, s->height, s->width, job->image, 3,
        from.height, from.width, IMP_BICUBIC);
    if (status) {
        free(image);
        return status;
    }
    free(job->image);
    job->image = image;
    return IMP_OK;
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

static void free_lbfgs(imp_style *job) {
    imp_lbfgs_free(job->lbfgs);
    imp_precondition_free(&job->precondition);
    job->lbfgs = NULL;
}

static imp_status make_lbfgs(imp_style *job, size_t count) {
    double gain = job->options.precondition;
    free_lbfgs(job);
    imp_status s = imp_lbfgs_new(job->ctx, &job->lbfgs, count, job->options.history);
    if (s || gain <= 1.0) return s;
    s = imp_precondition_init(
        job->ctx, &job->precondition, job->present.width, job->present.height, gain);
    if (!s)
        imp_lbfgs_precondition(job->lbfgs, imp_precondition_apply, &job->precondition);
    return s;
}

/* An optimiser that remembers nothing. */
static imp_status make_optimiser(imp_style *job) {
    size_t count = 3 * job->present.width * job->present.height;
    if (job->options.optimizer == IMP_LBFGS) return make_lbfgs(job, count);
    free(job->best);
    free(job->gradient);
    job->best = malloc(count * sizeof *job->best);
    job->gradient = malloc(count * sizeof *job->gradient);
    if (!job->best || !job->gradient)
        return imp_fail(job->ctx, IMP_ERR_LIMIT, "style: no memory");
    job->best_parts.loss = INFINITY;
    job->rate = job->options.rate;
    job->retries = 0;
    return make_adam(job, count);
}

/* Begin scale number `at`. What the job holds of the pictures is let go where no later scale
 * and no later match or turn needs it. */
static imp_status begin_scale(imp_style *job, size_t at, const imp_picture *init) {
    scale s = job->scales[at], before = job->scales[job->at];
    bool rematches =
        job->options.rematch > 0 && job->options.terms[IMP_TERM_NEAREST] > 0;
    bool again = rematches || turns(job);
    imp_objective_free(&job->objective);
    imp_scene_free(&job->present);
    free_lbfgs(job);
    job->objective = (imp_objective_state){0};
    job->at = at;
    job->done_here = 0;
    job->ended = false;
    imp_status status =
        imp_scene_at(job->ctx, &job->present, &job->scene, s.width, s.height);
    if (!status) status = at == 0 ? start_image(job, init) : enlarge_image(job, before);
    if (!status) {
        job->image_width = s.width;
        job->image_height = s.height;
    }
    if (!status) status = turn_network(job);
    if (!status)
        status = imp_objective_build(job->ctx, &job->objective, painting_network(job),
            &job->options, &job->layers, &job->present);
    if (!status)
        status =
            imp_targets_prepare(job->ctx, &job->objective, at == 0 ? NULL : job->image);
    if (status || again) return status ? status : make_optimiser(job);
    if (at + 1 == job->n_scales) imp_scene_free(&job->scene);
    imp_scene_free(&job->present);
    job->present.width = s.width;
    job->present.height = s.height;
    return make_optimiser(job);
}

/* The first that is no number of 0 or more; NULL: none. */
static const double *find_bad(const double *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]) || values[i] < 0.0) return &values[i];
    return NULL;
}

static imp_status check_options(imp_ctx *ctx, const imp_style_options *o) {
    if (o->size < 1) return imp_fail(ctx, IMP_ERR_ARG, "size: expected at least 1");
    if (o->optimizer != IMP_ADAM && o->optimizer != IMP_LBFGS)
        return imp_fail(ctx, IMP_ERR_ARG, "optimizer: expected Adam or L-BFGS");
    if (o->optimizer == IMP_LBFGS && o->history < 1)
        return imp_fail(ctx, IMP_ERR_ARG, "history: expected at least 1");
    const double weights[] = {o->content_weight, o->style_weight, o->tv_weight, o->rate,
        o->style_scale, o->tolerance, o->range_weight, o->precondition};
    const double *bad = find_bad(weights, sizeof weights / sizeof *weights);
    if (!bad) bad = find_bad(o->terms, IMP_STYLE_TERMS);
    if (bad)
        return imp_fail(ctx, IMP_ERR_ARG,
            "weights, rate, scale and tolerance: expected 0 or more, found %g", *bad);
    if (o->first_size > 0 && o->first_size < o->size && o->scale_iterations < 1)
        return imp_fail(ctx, IMP_ERR_ARG,
            "scale_iterations: expected at least 1 with first_size %zu, found 0",
            o->first_size);
    size_t given = o->layer_weights_given ? IMP_STYLE_MAX_LAYERS : 0;
    for (size_t i = 0; i < given && o->style_layers[i]; i++)
        if (!isfinite(o->layer_weights[i]) || o->layer_weights[i] < 0.0)
            return imp_fail(ctx, IMP_ERR_ARG,
                "weight of %s: expected 0 or more, found %g", o->style_layers[i],
                o->layer_weights[i]);
    return IMP_OK;
}

/* Is something left of every mask at every scale? */
static imp_status check_masks(imp_style *job) {
    imp_status status = IMP_OK;
    bool any = job->scene.masked;
    for (size_t i = 0; i < job->scene.n_views; i++) any |= job->scene.views[i].masked;
    for (size_t i = 0; i < job->n_scales && any && !status; i++) {
        const scale *s = &job->scales[i];
        imp_scene scene;
        imp_objective_state o = {0};
        status = imp_scene_at(job->ctx, &scene, &job->scene, s->width, s->height);
        if (!status)
            status = imp_objective_build(
                job->ctx, &o, job->model, &job->options, &job->layers, &scene);
        if (!status) status = imp_targets_check(job->ctx, &o);
        imp_objective_free(&o);
        imp_scene_free(&scene);
    }
    return status;
}

/* The job before its first scale. */
static imp_status prepare(imp_style *job, const imp_picture *content,
    const imp_style_source *sources, size_t n, const imp_picture *init) {
    const imp_style_options *o = &job->options;
    imp_scene *scene = &job->scene;
    imp_status status = check_options(job->ctx, o);
    if (!status && o->init == IMP_INIT_PICTURE && !init)
        status = imp_fail(job->ctx, IMP_ERR_ARG, "init: no picture was given");
    if (!status)
        status = imp_style_layers_choose(job->ctx, &job->layers, job->model, o);
    if (!status)
        status = imp_scene_measure(
            job->ctx, scene, content->width, content->height, sources, n, o);
    if (!status)
        status = imp_scene_load(
            job->ctx, scene, content, sources, n, o->colors, &job->color);
    if (status) return status;
    job->n_scales = choose_scales(job->scales, scene, o, job->layers.least_side);
    job->width = scene->width;
    job->height = scene->height;
    return check_masks(job);
}

static imp_style *empty_job(
    imp_ctx *ctx, const imp_model *model, const imp_style_options *options) {
    imp_style *job = calloc(1, sizeof *job);
    if (!job) return NULL;
    job->ctx = ctx;
    job->model = model;
    job->options = *options;
    return job;
}

imp_status imp_style_check(imp_ctx *ctx, const imp_model *model,
    const imp_picture *content, const imp_style_source *sources, size_t n,
    const imp_picture *init, const imp_style_options *options) {
    imp_style *job = empty_job(ctx, model, options);
    if (!job) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    imp_status status = prepare(job, content, sources, n, init);
    imp_style_free(job);
    return status;
}

imp_status imp_style_new(imp_ctx *ctx, imp_style **out, const imp_model *model,
    const imp_picture *content, const imp_style_source *sources, size_t n,
    const imp_picture *init, const imp_style_options *options) {
    imp_style *job = *out = empty_job(ctx, model, options);
    if (!job) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    imp_status status = prepare(job, content, sources, n, init);
    if (!status)
        status = begin_scale(job, 0, options->init == IMP_INIT_PICTURE ? init : NULL);
    if (!status) return IMP_OK;
    imp_style_free(job);
    *out = NULL;
    return status;
}

void imp_style_free(imp_style *job) {
    if (!job) return;
    imp_objective_free(&job->objective);
    imp_model_free(job->turned);
    imp_scene_free(&job->present);
    imp_scene_free(&job->scene);
    imp_gradient_free(job->adam);
    free_lbfgs(job);
    free(job->color);
    free(job->image);
    free(job->gradient);
    free(job->best);
    free(job);
}

static imp_status report(imp_style *job, imp_style_progress *out) {
    *out = job->parts;
    out->iteration = job->done;
    out->scale = job->at;
    out->scales = job->n_scales;
    out->width = job->present.width;
    out->height = job->present.height;
    if (isfinite(job->parts.loss)) return IMP_OK;
    return imp_fail(job->ctx, IMP_ERR_NUMERIC,
        "iteration %zu: the loss is not finite: try a lower rate or weight", job->done);
}

/* A scale that could not begin has no graph: the image is all that is left of the job. */
static imp_status check_begun(const imp_style *job) {
    if (!job->failed) return IMP_OK;
    return imp_fail(job->ctx, job->failed, "style: scale %zu of %zu could not begin",
        job->at + 1, job->n_scales);
}

imp_status imp_style_evaluate(imp_style *job, imp_style_progress *out) {
    imp_status s = check_begun(job);
    if (s) return s;
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
    size_t count = 3 * job->present.width * job->present.height;
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
    imp_status told = report(job, out);
    return s ? s : told;
}

imp_status imp_style_finish(imp_style *job, imp_style_progress *out) {
    imp_status s = check_begun(job);
    if (s) return s;
    size_t count = 3 * job->present.width * job->present.height;
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
        job->ended = true;
        imp_objective_evaluate(
            job->ctx, &job->objective, job->image, NULL, &job->parts);
        s = IMP_OK;
    }
    return s ? s : report(job, out);
}

/* The losses so far are of another objective: no gain can be told from them. */
static void forget_losses(imp_style *job) {
    for (size_t i = 0; i < WINDOW; i++) job->losses[i] = INFINITY;
}

/* Another stretch of this scale: the same picture, seen otherwise. The optimiser goes on, and places
 * stay matched as they are. */
static imp_status turn(imp_style *job) {
    uint32_t *found = job->objective.found;
    job->objective.found = NULL;
    imp_objective_free(&job->objective);
    job->objective = (imp_objective_state){0};
    imp_status s = turn_network(job);
    if (!s)
        s = imp_objective_build(job->ctx, &job->objective, painting_network(job),
            &job->options, &job->layers, &job->present);
    job->objective.found = found;
    if (!s) s = imp_targets_prepare(job->ctx, &job->objective, job->image);
    if (job->lbfgs) imp_lbfgs_renew(job->lbfgs);
    job->best_parts.loss = INFINITY;
    job->ended = false;
    forget_losses(job);
    return s;
}

static imp_status rematch(imp_style *job) {
    imp_status s = imp_targets_rematch(job->ctx, &job->objective, job->image);
    forget_losses(job);
    return s ? s : make_optimiser(job);
}

/* Does another stretch begin within this scale? */
static bool is_turn(const imp_style *job) {
    size_t here = job->done_here;
    return here > 0 && here < job->scales[job->at].iterations &&
           stretch_of(job, here) != stretch_of(job, here - 1);
}

/* Too little gained over the last iterations? */
static bool is_flat(imp_style *job, double loss) {
    double *before = &job->losses[job->done_here % WINDOW], old = *before;
    *before = loss;
    return job->options.tolerance > 0 && job->done_here >= WINDOW &&
           old - loss < job->options.tolerance * loss;
}

imp_status imp_style_step(imp_style *job, imp_style_progress *out) {
    imp_status s = check_begun(job);
    if (s) return s;
    size_t wanted = job->scales[job->at].iterations, again = job->options.rematch;
    if (is_turn(job)) job->failed = s = turn(job);
    while (!s && job->at + 1 < job->n_scales && job->done_here >= wanted) {
        job->failed = s = begin_scale(job, job->at + 1, NULL);
        wanted = job->scales[job->at].iterations;
    }
    if (s) return s;
    if (job->layers.n_nearest && again && job->done_here && job->done_here % again == 0)
        s = rematch(job);
    if (!s) s = job->lbfgs ? lbfgs_step(job, out) : adam_step(job, out);
    if (!s && is_flat(job, out->loss)) job->ended = true;
    job->done_here = job->ended ? stretch_end(job, job->done_here) : job->done_here + 1;
    return s;
}

size_t imp_style_done(const imp_style *job) {
    return job->done;
}

size_t imp_style_total(const imp_style *job) {
    size_t wanted = job->scales[job->at].iterations, sum = job->done;
    if (wanted > job->done_here) sum += wanted - job->done_here;
    for (size_t i = job->at + 1; i < job->n_scales; i++)
        sum += job->scales[i].iterations;
    return sum;
}

imp_graph *imp_style_graph(const imp_style *job) {
    return job->objective.graph;
}

bool imp_style_converged(const imp_style *job) {
    return job->ended && job->at + 1 == job->n_scales &&
           job->done_here >= job->scales[job->at].iterations;
}

imp_status imp_style_picture(const imp_style *job, imp_picture *out) {
    imp_status s = imp_picture_new(job->ctx, out, job->width, job->height);
    if (s) return s;
    s = imp_resize(job->ctx, out->planes, job->height, job->width, job->image, 3,
        job->image_height, job->image_width, IMP_BICUBIC);
    if (s)
        imp_picture_free(out);
    else if (job->color)
        imp_colors_restore(out->planes, job->color, job->width * job->height);
    return s;
}
