/* SPDX-License-Identifier: MIT
 *
 * features.c: distil a teacher's features into a narrow network (Romero et al. 2015, FitNets,
 * whose hints are here a subset of the teacher's channels at every layer). First every layer
 * learns alone, fed with the teacher's maps, all at once; then all of them end to end. Each part
 * has its optimisers from the start, their rate warmed up and let down along half a cosine.
 */
#include "kernel/reduce.h"
#include "optim/optim.h"
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WARM  30          /* steps of warm-up */
#define ALONE (8.0 / 3.0) /* the rate alone, of the one end to end */

imp_features_options imp_features_defaults(void) {
    return (imp_features_options){.width = 0.25,
        .crop = 128,
        .batch = 4,
        .steps = 5400,
        .optimizer = IMP_ADAM,
        .alone = 1.0 / 3.0,
        .rate = 1.5e-3,
        .augment = 0.45,
        .clip = 10,
        .seed = 1};
}

/* --- making a job --- */

static imp_status out_of_range(
    imp_ctx *ctx, const char *name, const char *expected, double found) {
    return imp_fail(
        ctx, IMP_ERR_ARG, "%s: expected %s, found %g", name, expected, found);
}

static imp_status check_options(
    imp_ctx *ctx, const imp_features_options *o, size_t photos) {
    if (!(o->width > 0 && o->width <= 1))
        return out_of_range(ctx, "width", "more than 0 and at most 1", o->width);
    if (o->crop < 16 || o->crop > 1024 || o->crop % 16)
        return out_of_range(
            ctx, "crop", "a multiple of 16 from 16 to 1024", (double)o->crop);
    if (o->batch < 1 || o->batch > 1024)
        return out_of_range(ctx, "batch", "1 to 1024", (double)o->batch);
    if (o->steps < 1 || o->steps > 10000000)
        return out_of_range(ctx, "steps", "1 to 10000000", (double)o->steps);
    if (!(o->alone >= 0 && o->alone <= 1))
        return out_of_range(ctx, "alone", "0 to 1", o->alone);
    if (!(o->augment >= 0 && o->augment <= 1))
        return out_of_range(ctx, "augment", "0 to 1", o->augment);
    if (o->optimizer != IMP_ADAM && o->optimizer != IMP_MUON)
        return out_of_range(ctx, "optimizer", "Adam or Muon", (double)o->optimizer);
    if (!(o->rate > 0 && isfinite(o->rate)))
        return out_of_range(ctx, "rate", "a positive number", o->rate);
    if (!(o->clip > 0)) return out_of_range(ctx, "clip", "a positive number", o->clip);
    if (photos < 2)
        return imp_fail(
            ctx, IMP_ERR_DATA, "pictures: expected at least 2, found %zu", photos);
    return IMP_OK;
}

static imp_status check_teacher(imp_ctx *ctx, const imp_model *m) {
    bool vgg = !strncmp(m->architecture, "vgg", 3) && m->info.input.channels == 3;
    if (vgg && imp_zoo_find(m, "relu5_1") < m->n_layers) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_MODEL,
        "teacher: expected a VGG with layer relu5_1, found %s%s", m->architecture,
        vgg ? " without it" : "");
}

/* Room for the picks of every map, and for the teacher's Gram matrices of a batch. */
static imp_status make_room(imp_features *job) {
    size_t widest = 0;
    for (size_t i = 0; i <= job->layers; i++) {
        imp_picks *p = &job->picks[i], *start = &job->start_picks[i];
        start->of = p->of = i ? job->all[i - 1] : 3;
        p->n = i ? job->channels[i - 1] : 3;
        if (!i) start->n = 3;
        p->values = malloc(2 * p->n * sizeof(float));
        start->values = malloc((2 * start->n + 1) * sizeof(float)); /* n may be 0 */
        if (!p->values || !start->values)
            return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
        if (p->of > widest) widest = p->of;
    }
    for (size_t t = 0; t < job->student->n_tensors; t++)
        job->numbers += imp_blocked_count(job->student->tensors[t].shape);
    job->gram = malloc(job->options.batch * widest * widest * sizeof(float));
    job->gradient = imp_alloc(job->numbers * sizeof(float));
    job->partial = malloc(imp_chunk_count(job->numbers) * sizeof(double));
    return job->gram && job->gradient && job->partial
               ? IMP_OK
               : imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
}

imp_status imp_features_create(imp_ctx *ctx, imp_features **out,
    const imp_model *teacher, const imp_photos *photos,
    const imp_features_options *options) {
    *out = NULL;
    imp_status s = check_options(ctx, options, photos->count);
    if (!s) s = check_teacher(ctx, teacher);
    if (s) return s;
    imp_features *job = calloc(1, sizeof *job);
    if (!job) return imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory");
    job->ctx = ctx;
    job->teacher = teacher;
    job->start = options->start;
    job->photos = *photos;
    job->options = *options;
    job->whole_from = (size_t)(options->alone * (double)options->steps + 0.5);
    while (imp_features_layer(teacher, job->layers)) job->layers++;
    imp_zoo_widths(teacher, job->all, job->all_ranks, IMP_FEATURES_LAYERS);
    imp_crops crops = {&job->photos, &teacher->info.input, options->crop,
        options->batch, options->augment, imp_random(options->seed, 1)};
    s = imp_features_channels(job);
    if (!s) s = imp_features_student(job, job->ranks, &job->student);
    if (!s) s = make_room(job);
    if (!s && job->start) s = imp_picks_read(job);
    if (!s && photos->read) s = imp_loader_new(ctx, &job->loader, &crops);
    if (s)
        imp_features_free(job);
    else
        *out = job;
    return s;
}

void imp_features_free(imp_features *job) {
    if (!job) return;
    imp_loader_free(job->loader);
    imp_graph_free(job->graph.g);
    for (size_t t = 0; t < IMP_FEATURES_TENSORS; t++)
        imp_gradient_free(job->optimiser[t]);
    for (size_t i = 0; i <= IMP_FEATURES_LAYERS; i++) {
        free(job->picks[i].values);
        free(job->start_picks[i].values);
    }
    for (size_t b = 0; b < IMP_FEATURES_HELD; b++) free(job->held[b]);
    imp_model_free(job->student);
    imp_model_free(job->pruned);
    imp_release(job->gradient);
    free(job->partial);
    free(job->gram);
    free(job);
}

/* Graph and optimisers for the part of the training that begins, or goes on. */
static imp_status begin_part(imp_features *job) {
    imp_status s = imp_features_build(job);
    for (size_t t = 0; t < job->student->n_tensors && !s; t++) {
        bool bias = t % 2;
        imp_gradient_options o = {.kind = bias ? IMP_ADAM : job->options.optimizer,
            .decay = bias ? 0 : job->options.decay,
            .weights = job->student->tensors[t].shape};
        imp_gradient_free(job->optimiser[t]);
        s = imp_gradient_new(job->ctx, &job->optimiser[t],
            imp_blocked_count(job->student->tensors[t].shape), &o);
    }
    return s;
}

imp_status imp_features_begin(imp_features *job) {
    size_t side = job->options.crop;
    size_t bytes = job->options.batch * 3 * side * side * sizeof(float);
    for (size_t b = 0; b < IMP_FEATURES_HELD; b++) {
        const float *batch;
        imp_status s = imp_loader_take(job->loader, IMP_HELD_OUT, b, false, &batch);
        if (s) return s;
        job->held[b] = malloc(bytes);
        if (!job->held[b]) return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
        memcpy(job->held[b], batch, bytes);
    }
    return begin_part(job);
}

imp_status imp_features_new(imp_ctx *ctx, imp_features **out, const imp_model *teacher,
    const imp_photos *photos, const imp_features_options *options) {
    imp_features *job;
    imp_status s = imp_features_create(ctx, &job, teacher, photos, options);
    *out = NULL;
    if (!s) s = imp_features_survey(job);
    if (!s) s = imp_features_take(job);
    if (!s) s = imp_features_begin(job);
    if (s)
        imp_features_free(job);
    else
        *out = job;
    return s;
}

imp_status imp_features_estimate(imp_ctx *ctx, const imp_model *teacher,
    const imp_features_options *options, size_t *bytes) {
    imp_features *job;
    imp_photos none = {.count = 2};
    *bytes = 0;
    imp_status s = imp_features_create(ctx, &job, teacher, &none, options);
    if (!s) s = imp_features_measure(job, bytes);
    if (!s) {
        size_t side = options->crop, batch = options->batch * 3 * side * side;
        /* batches: two of the loader's, those held out; numbers: values, gradient, two moments, or
         * Muon's momentum, step, X, X' and what is as large as X'X twice at most */
        size_t numbers = (options->optimizer == IMP_MUON ? 8 : 4) * job->numbers;
        *bytes += ((2 + IMP_FEATURES_HELD) * batch + numbers) * sizeof(float);
    }
    imp_features_free(job);
    return s;
}

/* --- a step --- */

/* The sum of the losses on a batch. Each Gram matrix's is made relative here: the squared norm
 * of the teacher's is known only now. */
static imp_status forward(imp_features *job, const float *batch, double *loss) {
    imp_features_graph *graph = &job->graph;
    imp_status s = imp_graph_write(graph->g, graph->x, batch);
    if (s) return s;
    imp_graph_forward(graph->g);
    *loss = 0;
    for (size_t i = 0; i < graph->n_losses; i++) {
        const imp_feature_loss *l = &graph->losses[i];
        double weight = l->weight, squares = 0;
        if (l->gram != IMP_NONE) {
            imp_shape shape = imp_graph_shape(graph->g, l->gram);
            double C = (double)shape.c;
            s = imp_graph_read(graph->g, l->gram, job->gram);
            if (s) return s;
            for (size_t k = 0; k < imp_plain_count(shape); k++)
                squares += (double)job->gram[k] * (double)job->gram[k];
            weight *= 4 * (double)shape.n * C * C / fmax(squares, 1e-12);
            imp_graph_loss(graph->g, l->id, weight);
        }
        *loss += weight * imp_graph_loss_value(graph->g, l->id);
    }
    return IMP_OK;
}

static imp_status diverged(const imp_features *job, const char *what) {
    return imp_fail(job->ctx, IMP_ERR_NUMERIC,
        "step %zu: the %s is not finite: try a lower rate", job->step, what);
}

/* The gradient of all tensors at once, clipped, and a step of each. */
static imp_status descend(imp_features *job, double rate, double *norm) {
    imp_graph_backward(job->graph.g);
    float *at = job->gradient;
    for (size_t t = 0; t < job->student->n_tensors; t++) {
        size_t count = imp_blocked_count(job->student->tensors[t].shape);
        memcpy(at, imp_graph_gradient(job->graph.g, job->graph.parameters[t]),
            count * sizeof *at);
        at += count;
    }
    *norm = imp_gradient_clip(
        job->ctx, job->gradient, job->numbers, job->options.clip, job->partial);
    if (!isfinite(*norm)) return diverged(job, "gradient");
    at = job->gradient;
    for (size_t t = 0; t < job->student->n_tensors; t++) {
        const imp_tensor *tensor = &job->student->tensors[t];
        imp_gradient_step(job->optimiser[t], tensor->blocked, at, rate);
        at += imp_blocked_count(tensor->shape);
    }
    return IMP_OK;
}

static double rate_of(const imp_features *job) {
    const imp_features_options *o = &job->options;
    size_t from = job->whole_from;
    if (job->step < from) return imp_rate_at(ALONE * o->rate, WARM, job->step, from);
    return imp_rate_at(o->rate, WARM, job->step - from, o->steps - from);
}

/* A point of the curve, where one is due. */
static imp_status add_point(imp_features *job, bool *added) {
    size_t every = imp_divide_up(job->options.steps, IMP_FEATURES_POINTS - 1);
    size_t before = job->n_points ? job->points[job->n_points - 1].step : 0;
    *added = job->step - before == every || job->step == job->options.steps;
    if (!*added) return IMP_OK;
    double held_out = 0;
    for (size_t b = 0; b < IMP_FEATURES_HELD; b++) {
        double loss;
        imp_status s = forward(job, job->held[b], &loss);
        if (s) return s;
        held_out += loss / IMP_FEATURES_HELD;
    }
    if (!isfinite(held_out)) return diverged(job, "loss held out");
    job->points[job->n_points++] = (imp_features_point){
        job->step, job->sum / (float)(job->step - before), (float)held_out};
    job->sum = 0;
    return IMP_OK;
}

imp_status imp_features_step(imp_features *job, imp_features_progress *out) {
    const float *batch;
    bool more = job->step + 1 < job->options.steps;
    if (job->step >= job->options.steps)
        return imp_fail(
            job->ctx, IMP_ERR_ARG, "train: all %zu steps are done", job->options.steps);
    imp_status s = imp_loader_take(job->loader, IMP_LEARNT, job->step, more, &batch);
    *out = (imp_features_progress){
        .whole = job->step >= job->whole_from, .rate = rate_of(job)};
    if (!s) s = forward(job, batch, &out->loss);
    if (!s && !isfinite(out->loss)) s = diverged(job, "loss");
    if (!s) s = descend(job, out->rate, &out->norm);
    if (s) return s;
    out->step = ++job->step;
    job->sum += (float)out->loss;
    s = add_point(job, &out->point);
    if (!s && job->step == job->whole_from && more) s = begin_part(job);
    return s;
}

size_t imp_features_done(const imp_features *job) {
    return job->step;
}

const imp_features_point *imp_features_curve(
    const imp_features *job, size_t *n, size_t *whole_from) {
    *n = job->n_points;
    if (whole_from) *whole_from = job->whole_from;
    return job->points;
}
