/* SPDX-License-Identifier: MIT
 *
 * job.c: train a classifier by stochastic gradients, and test it. The graph is built
 * once for a batch; the parameters are the model's own, in the blocked layout, and the
 * optimiser moves them there: tails are zero, have zero gradients, and stay zero.
 */
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A network with its loss, for batches of one size. */
typedef struct batch_graph {
    imp_graph *g;
    imp_id x, labels, logits, loss;
    size_t batch;
    float *pictures, *classes, *scores; /* of one batch, plain */
} batch_graph;

static void batch_graph_free(batch_graph *b) {
    imp_graph_free(b->g);
    free(b->pictures);
    free(b->classes);
    free(b->scores);
}

static imp_status batch_graph_new(
    imp_ctx *ctx, batch_graph *b, const imp_model *m, size_t batch, bool train) {
    memset(b, 0, sizeof *b);
    b->batch = batch;
    b->g = imp_graph_new(ctx);
    if (!b->g) return imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory");
    imp_shape shape = imp_model_input_shape(m, batch);
    b->x = imp_graph_input(b->g, "pictures", shape, false);
    b->labels =
        imp_graph_input(b->g, "labels", (imp_shape){batch, 1, 1, 1, IMP_MAP}, false);
    imp_network_options options = {.gradients = train};
    b->logits = imp_network(b->g, m, b->x, &options, NULL, NULL, 0);
    imp_graph_keep(b->g, b->logits);
    b->loss = imp_cross_entropy(b->g, b->logits, b->labels);
    imp_graph_loss(b->g, b->loss, 1.0);
    imp_status s = imp_graph_plan(b->g, train);
    if (s) return s;
    b->pictures = malloc(imp_plain_count(shape) * sizeof(float));
    b->classes = malloc(batch * sizeof(float));
    b->scores = malloc(batch * m->info.classes * sizeof(float));
    return b->pictures && b->classes && b->scores
               ? IMP_OK
               : imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory");
}

/* A picture moved down by dy and right by dx, as the network wants it; what comes in at
 * the edges is black. */
static void write_picture(const imp_input_spec *spec, const imp_dataset *set, size_t id,
    long dy, long dx, float *out) {
    long high = (long)imp_dataset_height(set), wide = (long)imp_dataset_width(set);
    const uint8_t *image = imp_dataset_image(set, id);
    float scale = spec->range / 255.0f / spec->std[0];
    float offset = spec->mean[0] / spec->std[0];
    long left = dx > 0 ? dx : 0, right = dx > 0 ? wide : wide + dx;
    for (long h = 0; h < high; h++, out += wide) {
        bool inside = h - dy >= 0 && h - dy < high;
        for (long w = 0; w < wide; w++) out[w] = -offset;
        for (long w = left; inside && w < right; w++)
            out[w] = (float)image[(h - dy) * wide + w - dx] * scale - offset;
    }
}

/* How far sample `id` is moved along one axis in this epoch: -reach .. reach. */
static long shift_of(uint64_t seed, size_t id, size_t axis, size_t reach) {
    double u = imp_uniform(seed, 2 * id + axis);
    return (long)(u * (double)(2 * reach + 1)) - (long)reach;
}

/* Where a batch comes from: order[0], order[1], ... or, NULL, from `first` on; each picture
 * moved by up to `reach` pixels. */
typedef struct batch_source {
    const imp_model *m;
    const imp_dataset *set;
    const size_t *order;
    size_t first, reach;
    uint64_t seed;
} batch_source;

typedef struct write_job {
    const batch_graph *b;
    const batch_source *from;
} write_job;

#define PICTURES_AT_ONCE 8

static void write_task(void *arg, size_t task, int thread) {
    (void)thread;
    const write_job *j = arg;
    const batch_source *f = j->from;
    size_t pixels = imp_dataset_height(f->set) * imp_dataset_width(f->set);
    size_t first = task * PICTURES_AT_ONCE, left = j->b->batch - first;
    size_t end = first + (left < PICTURES_AT_ONCE ? left : PICTURES_AT_ONCE);
    for (size_t i = first; i < end; i++) {
        size_t id = f->order ? f->order[i] : f->first + i;
        write_picture(&f->m->info.input, f->set, id, shift_of(f->seed, id, 0, f->reach),
            shift_of(f->seed, id, 1, f->reach), j->b->pictures + i * pixels);
        j->b->classes[i] = (float)imp_dataset_label(f->set, id);
    }
}

static imp_status write_batch(imp_ctx *ctx, const batch_graph *b, batch_source from) {
    write_job j = {b, &from};
    size_t tasks = (b->batch + PICTURES_AT_ONCE - 1) / PICTURES_AT_ONCE;
    imp_parallel(ctx, tasks, write_task, &j);
    imp_status s = imp_graph_write(b->g, b->x, b->pictures);
    return s ? s : imp_graph_write(b->g, b->labels, b->classes);
}

static size_t best_class(const float *scores, size_t classes) {
    size_t best = 0;
    for (size_t c = 1; c < classes; c++)
        if (scores[c] > scores[best]) best = c;
    return best;
}

static imp_status check_set(imp_ctx *ctx, const imp_model *m, const imp_dataset *set) {
    size_t size = m->info.input.size;
    if (m->info.classes != 10 || m->info.input.channels != 1)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "model %s: expected a classifier of grey pictures into 10 classes",
            m->architecture);
    if (imp_dataset_height(set) != size || imp_dataset_width(set) != size)
        return imp_fail(ctx, IMP_ERR_DATA,
            "data: pictures: expected %zu x %zu, found %zu x %zu", size, size,
            imp_dataset_height(set), imp_dataset_width(set));
    if (imp_dataset_count(set) == 0)
        return imp_fail(ctx, IMP_ERR_DATA, "data: expected pictures, found none");
    return IMP_OK;
}

/* --- training --- */

struct imp_train {
    imp_ctx *ctx;
    imp_model *model;
    const imp_dataset *set;
    imp_train_options options;
    batch_graph graph;
    imp_gradient **optimiser; /* one a tensor */
    imp_id *parameter;        /* its id in the graph */
    size_t *order;
    size_t epoch, step;
    bool (*callback)(void *user, size_t done, size_t of);
    void *user;
};

imp_train_options imp_train_defaults(const char *architecture, imp_optimizer kind) {
    bool lenet = !strcmp(architecture, "lenet");
    imp_train_options o = {.epochs = 10,
        .batch = 100,
        .optimizer = kind,
        .schedule = IMP_COSINE,
        .shift = lenet ? 1 : 0,
        .seed = 1};
    if (kind == IMP_ADAM) {
        o.rate = lenet ? 2e-3 : 1e-3;
    } else {
        o.rate = lenet ? 0.01 : 0.1;
        o.momentum = lenet ? 0.9 : 0.0;
    }
    return o;
}

static imp_status check_options(
    imp_ctx *ctx, const imp_train_options *o, size_t samples) {
    if (o->batch < 1 || o->batch > samples || o->batch > 65536)
        return imp_fail(ctx, IMP_ERR_ARG, "batch: expected 1 to %zu, found %zu",
            samples < 65536 ? samples : 65536, o->batch);
    if (o->shift > 64)
        return imp_fail(
            ctx, IMP_ERR_ARG, "shift: expected 0 to 64, found %zu", o->shift);
    if (o->epochs < 1) return imp_fail(ctx, IMP_ERR_ARG, "epochs: expected 1 or more");
    if (!isfinite(o->rate) || o->rate <= 0.0)
        return imp_fail(
            ctx, IMP_ERR_ARG, "rate: expected a positive number, found %g", o->rate);
    if (o->optimizer != IMP_SGD && o->optimizer != IMP_ADAM)
        return imp_fail(ctx, IMP_ERR_ARG, "optimizer: expected SGD or Adam");
    return IMP_OK;
}

static imp_status make_optimisers(imp_train *job) {
    imp_model *m = job->model;
    job->optimiser = calloc(m->n_tensors, sizeof(imp_gradient *));
    job->parameter = calloc(m->n_tensors, sizeof *job->parameter);
    if (!job->optimiser || !job->parameter)
        return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    imp_gradient_options options = {
        .kind = job->options.optimizer, .momentum = job->options.momentum};
    for (size_t i = 0; i < m->n_tensors; i++) {
        job->parameter[i] = imp_graph_find(job->graph.g, m->tensors[i].name);
        imp_status s = imp_gradient_new(job->ctx, &job->optimiser[i],
            imp_blocked_count(m->tensors[i].shape), &options);
        if (s) return s;
    }
    return IMP_OK;
}

imp_status imp_train_new(imp_ctx *ctx, imp_train **out, imp_model *model,
    const imp_dataset *set, const imp_train_options *options) {
    *out = NULL;
    imp_status s = check_set(ctx, model, set);
    if (!s) s = check_options(ctx, options, imp_dataset_count(set));
    if (s) return s;
    imp_train *job = calloc(1, sizeof *job);
    if (!job) return imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory");
    job->ctx = ctx;
    job->model = model;
    model->info.random = false;
    job->set = set;
    job->options = *options;
    job->order = malloc(imp_dataset_count(set) * sizeof *job->order);
    if (!job->order) s = imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory");
    if (!s) s = batch_graph_new(ctx, &job->graph, model, options->batch, true);
    if (!s) s = make_optimisers(job);
    if (s)
        imp_train_free(job);
    else
        *out = job;
    return s;
}

void imp_train_free(imp_train *job) {
    if (!job) return;
    for (size_t i = 0; job->optimiser && i < job->model->n_tensors; i++)
        imp_gradient_free(job->optimiser[i]);
    free(job->optimiser);
    free(job->parameter);
    free(job->order);
    batch_graph_free(&job->graph);
    free(job);
}

void imp_train_on_batch(
    imp_train *job, bool (*callback)(void *user, size_t done, size_t of), void *user) {
    job->callback = callback;
    job->user = user;
}

static double rate_at(const imp_train *job, size_t batches) {
    if (job->options.schedule == IMP_CONSTANT) return job->options.rate;
    return imp_rate_at(job->options.rate, 0, job->step, batches * job->options.epochs);
}

static void step(imp_train *job, double rate) {
    imp_graph_backward(job->graph.g);
    for (size_t i = 0; i < job->model->n_tensors; i++)
        imp_gradient_step(job->optimiser[i], job->model->tensors[i].blocked,
            imp_graph_gradient(job->graph.g, job->parameter[i]), rate);
    job->step++;
}

/* Forward, backward and a step on one batch; its loss and its right answers. */
static imp_status train_batch(
    imp_train *job, const size_t *order, double rate, double *loss, size_t *correct) {
    batch_graph *b = &job->graph;
    imp_status s = write_batch(job->ctx, b,
        (batch_source){.m = job->model,
            .set = job->set,
            .order = order,
            .reach = job->options.shift,
            .seed = imp_random(job->options.seed, ~(uint64_t)job->epoch)});
    if (s) return s;
    *loss = imp_graph_forward(b->g);
    if (!isfinite(*loss))
        return imp_fail(job->ctx, IMP_ERR_NUMERIC,
            "step %zu: the loss is not finite: try a lower rate", job->step);
    s = imp_graph_read(b->g, b->logits, b->scores);
    for (size_t i = 0; i < b->batch && !s; i++)
        *correct += best_class(b->scores + i * job->model->info.classes,
                        job->model->info.classes) == (size_t)b->classes[i];
    step(job, rate);
    return s;
}

imp_status imp_train_epoch(imp_train *job, imp_train_progress *out) {
    size_t count = imp_dataset_count(job->set), batch = job->options.batch;
    size_t batches = count / batch, correct = 0, done = 0;
    double sum = 0.0;
    imp_shuffle(imp_random(job->options.seed, job->epoch), job->order, count);
    for (; done < batches; done++) {
        double loss;
        imp_status s = train_batch(
            job, job->order + done * batch, rate_at(job, batches), &loss, &correct);
        if (s) return s;
        sum += loss;
        if (job->callback && !job->callback(job->user, done + 1, batches)) {
            done++;
            break;
        }
    }
    job->epoch++;
    *out = (imp_train_progress){.epoch = job->epoch,
        .loss = sum / (double)done,
        .accuracy = (double)correct / (double)(done * batch)};
    return IMP_OK;
}

/* --- testing --- */

#define TEST_BATCH 100

imp_status imp_test(
    imp_ctx *ctx, const imp_model *m, const imp_dataset *set, imp_test_result *out) {
    memset(out, 0, sizeof *out);
    imp_status s = check_set(ctx, m, set);
    if (s) return s;
    batch_graph b;
    s = batch_graph_new(ctx, &b, m, TEST_BATCH, false);
    out->count = imp_dataset_count(set);
    for (size_t first = 0; first < out->count && !s; first += TEST_BATCH) {
        size_t n = out->count - first < TEST_BATCH ? out->count - first : TEST_BATCH;
        if (n < b.batch) { /* what is left over is a smaller batch */
            batch_graph_free(&b);
            s = batch_graph_new(ctx, &b, m, n, false);
        }
        if (!s)
            s = write_batch(
                ctx, &b, (batch_source){.m = m, .set = set, .first = first});
        if (s) break;
        double loss = imp_graph_forward(b.g);
        s = imp_graph_read(b.g, b.logits, b.scores);
        for (size_t i = 0; i < n && !s; i++) {
            size_t label = (size_t)b.classes[i],
                   found = best_class(b.scores + i * 10, 10);
            out->confusion[label][found]++;
            out->correct += label == found;
        }
        out->loss += loss * (double)n;
    }
    out->loss /= (double)out->count;
    out->accuracy = (double)out->correct / (double)out->count;
    batch_graph_free(&b);
    return s;
}
