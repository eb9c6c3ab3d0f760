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

#define MOST_SHIFT 128
#define SURVEYED   256 /* pictures that tell how large the features are */

struct imp_train {
    imp_ctx *ctx;
    imp_model *model;
    imp_train_options options;
    imp_network_options learning;
    imp_source source;
    imp_batch batch;
    imp_sample *samples;      /* of a batch */
    imp_gradient **optimiser; /* one a tensor; NULL: it is frozen */
    imp_id *parameter;        /* its id in the graph */
    size_t *learnt, *held;    /* pictures' numbers: those learnt from, those held out */
    size_t n_learnt, n_held;
    size_t *order;
    bool prepared;
    imp_bank bank; /* of frozen layers, while it is made and used */
    size_t *first_row;
    size_t epoch, step;
    imp_train_callback callback;
    void *user;
};

imp_train_options imp_train_defaults(const char *architecture, imp_optimizer kind) {
    bool lenet = !strcmp(architecture, "lenet");
    bool vgg = !strncmp(architecture, "vgg", 3);
    imp_train_options o = {.epochs = vgg ? 30 : 10,
        .batch = vgg ? 16 : 100,
        .optimizer = kind,
        .schedule = IMP_COSINE,
        .shift = lenet ? 1 : 0,
        .mirror = vgg,
        .views = 2,
        .seed = 1};
    if (kind == IMP_ADAM) {
        o.rate = lenet ? 2e-3 : 1e-3;
    } else {
        o.rate = lenet || vgg ? 0.01 : 0.1;
        o.momentum = lenet || vgg ? 0.9 : 0.0;
    }
    return o;
}

/* --- what is refused --- */

static imp_status check_options(
    imp_ctx *ctx, const imp_train_options *o, size_t samples) {
    if (o->batch < 1 || o->batch > samples || o->batch > 65536)
        return imp_fail(ctx, IMP_ERR_ARG, "batch: expected 1 to %zu, found %zu",
            samples < 65536 ? samples : 65536, o->batch);
    if (o->shift > MOST_SHIFT)
        return imp_fail(ctx, IMP_ERR_ARG, "shift: expected 0 to %d, found %zu",
            MOST_SHIFT, o->shift);
    if (o->epochs < 1) return imp_fail(ctx, IMP_ERR_ARG, "epochs: expected 1 or more");
    if (!isfinite(o->rate) || o->rate <= 0.0)
        return imp_fail(
            ctx, IMP_ERR_ARG, "rate: expected a positive number, found %g", o->rate);
    if (o->optimizer != IMP_SGD && o->optimizer != IMP_ADAM)
        return imp_fail(ctx, IMP_ERR_ARG, "optimizer: expected SGD or Adam");
    if (o->views < 1 || o->views > 64)
        return imp_fail(
            ctx, IMP_ERR_ARG, "views: expected 1 to 64, found %zu", o->views);
    return IMP_OK;
}

static imp_status check_set(imp_ctx *ctx, const imp_model *m, const imp_dataset *set) {
    const imp_input_spec *in = &m->info.input;
    size_t channels = imp_dataset_channels(set), classes = imp_dataset_classes(set);
    bool crop = channels == 3 && in->fit == IMP_FIT_CROP;
    size_t side = crop ? imp_crop_side(in->size) : in->size;
    if (m->info.classes != classes || in->channels != channels)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "model %s: expected a classifier of pictures of %zu channels into %zu "
            "classes, found one of %zu into %zu",
            m->architecture, channels, classes, in->channels, m->info.classes);
    if (imp_dataset_height(set) != side || imp_dataset_width(set) != side)
        return imp_fail(ctx, IMP_ERR_DATA,
            "data: pictures: expected %zu x %zu, found %zu x %zu", side, side,
            imp_dataset_height(set), imp_dataset_width(set));
    if (imp_dataset_count(set) == 0)
        return imp_fail(ctx, IMP_ERR_DATA, "data: expected pictures, found none");
    return IMP_OK;
}

static imp_status check_frozen(imp_ctx *ctx, const imp_model *m, const char *frozen) {
    if (!frozen || imp_zoo_find(m, frozen) + 1 < m->n_layers) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_ARG,
        "frozen: expected a layer of the network but for its last one, found %s",
        frozen);
}

/* --- which pictures are learnt from, and which are held out --- */

/* A share of each class, but never all of it. */
static imp_status split(imp_train *job, const imp_dataset *set) {
    size_t n = imp_dataset_count(set), classes = imp_dataset_classes(set);
    size_t *members = malloc(2 * n * sizeof *members), *order = members + n;
    if (!members) return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    bool *is_held = calloc(n, sizeof *is_held);
    uint64_t seed = imp_random(job->options.seed, UINT64_MAX);
    for (size_t c = 0; is_held && c < classes; c++) {
        size_t count = 0;
        for (size_t i = 0; i < n; i++)
            if ((size_t)imp_dataset_label(set, i) == c) members[count++] = i;
        size_t out = (size_t)(job->options.validation * (double)count + 0.5);
        if (out == count && out) out--;
        imp_shuffle(imp_random(seed, c), order, count);
        for (size_t k = 0; k < out; k++) is_held[members[order[k]]] = true;
    }
    for (size_t i = 0; is_held && i < n; i++) {
        if (is_held[i])
            job->held[job->n_held++] = i;
        else
            job->learnt[job->n_learnt++] = i;
    }
    bool good = is_held != NULL;
    free(members);
    free(is_held);
    return good ? IMP_OK : imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
}

/* --- making a job --- */

static imp_status make_lists(imp_train *job) {
    const imp_train_options *o = &job->options;
    size_t n = imp_dataset_count(job->source.set);
    if (!(o->validation >= 0 && o->validation < 1))
        return imp_fail(job->ctx, IMP_ERR_ARG,
            "validation: expected a share of 0 to below 1, found %g", o->validation);
    job->learnt = malloc(n * sizeof *job->learnt);
    job->held = malloc(n * sizeof *job->held);
    job->order = malloc(n * sizeof *job->order);
    job->first_row = calloc(n, sizeof *job->first_row);
    if (!job->learnt || !job->held || !job->order || !job->first_row)
        return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    imp_status s = split(job, job->source.set);
    if (!s) s = check_options(job->ctx, o, job->n_learnt);
    if (s) return s;
    job->samples = malloc(o->batch * sizeof *job->samples);
    return job->samples ? IMP_OK
                        : imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
}

/* Are all weights frozen but for the last layer's? */
static bool learns_last_alone(const imp_train *job) {
    const imp_model *m = job->model;
    if (!job->options.frozen) return false;
    size_t i = imp_zoo_find(m, job->options.frozen) + 1;
    while (i + 1 < m->n_layers && !imp_layer_has_weights(&m->layers[i])) i++;
    return i + 1 == m->n_layers;
}

static imp_status make_optimisers(imp_train *job) {
    imp_model *m = job->model;
    job->optimiser = calloc(m->n_tensors, sizeof(imp_gradient *));
    job->parameter = calloc(m->n_tensors, sizeof *job->parameter);
    if (!job->optimiser || !job->parameter)
        return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: no memory");
    for (size_t i = 0; i < m->n_tensors; i++) {
        bool weights = m->tensors[i].shape.layout == IMP_WEIGHT;
        imp_gradient_options options = {.kind = job->options.optimizer,
            .momentum = job->options.momentum,
            .decay = weights ? job->options.decay : 0};
        job->parameter[i] = imp_graph_find(job->batch.g, m->tensors[i].name);
        if (job->parameter[i] == IMP_NONE ||
            !imp_graph_gradient(job->batch.g, job->parameter[i]))
            continue;
        imp_status s = imp_gradient_new(job->ctx, &job->optimiser[i],
            imp_blocked_count(m->tensors[i].shape), &options);
        if (s) return s;
    }
    return IMP_OK;
}

/* Rows for each picture in all its views, or for some as they are. */
static imp_status list_rows(imp_train *job) {
    bool last = learns_last_alone(job);
    size_t views = last ? job->options.views : 1;
    size_t n = last ? job->n_learnt : imp_least(job->n_learnt, SURVEYED), row = 0;
    size_t n_held = last ? job->n_held : 0, all;
    if (!imp_mul(&all, n, views) || !imp_add_size(&all, all, n_held))
        return imp_fail(job->ctx, IMP_ERR_LIMIT, "train: too many views");
    imp_status s = imp_bank_new(job->ctx, &job->bank, job->model, all);
    if (s) return s;
    imp_shuffle(
        imp_random(job->options.seed, UINT64_MAX - 1), job->order, job->n_learnt);
    for (size_t i = 0; i < n; i++) {
        size_t id = job->learnt[last ? i : job->order[i]];
        job->first_row[id] = row;
        for (size_t v = 0; v < views; v++)
            job->bank.samples[row++] = (imp_sample){id, last ? v : IMP_PLAIN};
    }
    for (size_t i = 0; i < n_held; i++) {
        job->first_row[job->held[i]] = row;
        job->bank.samples[row++] = (imp_sample){job->held[i], IMP_PLAIN};
    }
    return IMP_OK;
}

/* What is learnt, and from what: pictures, or the rows that the bank will have. */
static imp_status start(imp_train *job) {
    const imp_model *m = job->model;
    bool rows = learns_last_alone(job), head = imp_zoo_has_head(m);
    imp_status s = IMP_OK;
    job->learning = (imp_network_options){
        .gradients = true, .frozen = rows ? NULL : job->options.frozen};
    if (rows) job->learning.after = m->layers[m->n_layers - 2].name;
    job->prepared = !rows && !head;
    if (!job->prepared) s = list_rows(job);
    job->source.width = job->bank.width;
    if (!s)
        s = imp_batch_new(
            job->ctx, &job->batch, &job->source, job->options.batch, &job->learning);
    return s ? s : make_optimisers(job);
}

imp_status imp_train_new(imp_ctx *ctx, imp_train **out, imp_model *model,
    const imp_dataset *set, const imp_train_options *options) {
    *out = NULL;
    imp_status s = check_set(ctx, model, set);
    if (!s) s = check_frozen(ctx, model, options->frozen);
    if (s) return s;
    imp_train *job = calloc(1, sizeof *job);
    if (!job) return imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory");
    job->ctx = ctx;
    job->model = model;
    job->options = *options;
    job->source = (imp_source){.m = model,
        .set = set,
        .shift = options->shift,
        .mirror = options->mirror,
        .views = options->views,
        .seed = options->seed};
    s = make_lists(job);
    if (!s) s = start(job);
    if (s) {
        imp_train_free(job);
        return s;
    }
    model->info.random = false;
    *out = job;
    return IMP_OK;
}

void imp_train_free(imp_train *job) {
    if (!job) return;
    for (size_t i = 0; job->optimiser && i < job->model->n_tensors; i++)
        imp_gradient_free(job->optimiser[i]);
    free(job->optimiser);
    free(job->parameter);
    free(job->order);
    free(job->learnt);
    free(job->held);
    free(job->first_row);
    free(job->samples);
    imp_bank_free(&job->bank);
    imp_batch_free(&job->batch);
    free(job);
}

void imp_train_on_batch(imp_train *job, imp_train_callback callback, void *user) {
    job->callback = callback;
    job->user = user;
}

imp_status imp_train_prepare(imp_train *job) {
    if (job->prepared) return IMP_OK;
    bool last = learns_last_alone(job);
    imp_status s =
        imp_bank_fill(job->ctx, &job->bank, &job->source, job->callback, job->user);
    if (s || job->bank.done < job->bank.n) return s;
    if (imp_zoo_has_head(job->model))
        imp_bank_scale(&job->bank, job->model, job->bank.n - (last ? job->n_held : 0));
    if (last) {
        job->source.rows = job->bank.rows;
        job->source.first_row = job->first_row;
    } else {
        imp_bank_free(&job->bank);
    }
    job->prepared = true;
    return IMP_OK;
}

/* --- an epoch --- */

static double rate_at(const imp_train *job, size_t batches) {
    if (job->options.schedule == IMP_CONSTANT) return job->options.rate;
    return imp_rate_at(job->options.rate, 0, job->step, batches * job->options.epochs);
}

static void step(imp_train *job, double rate) {
    imp_graph_backward(job->batch.g);
    for (size_t i = 0; i < job->model->n_tensors; i++)
        if (job->optimiser[i])
            imp_gradient_step(job->optimiser[i], job->model->tensors[i].blocked,
                imp_graph_gradient(job->batch.g, job->parameter[i]), rate);
    job->step++;
}

/* Forward, backward and a step on one batch; its loss and its right answers. */
static imp_status train_batch(
    imp_train *job, const size_t *order, double rate, double *loss, size_t *correct) {
    imp_batch *b = &job->batch;
    for (size_t i = 0; i < b->size; i++)
        job->samples[i] = (imp_sample){job->learnt[order[i]], job->epoch};
    imp_status s = imp_batch_write(job->ctx, b, &job->source, job->samples);
    if (s) return s;
    *loss = imp_graph_forward(b->g);
    if (!isfinite(*loss))
        return imp_fail(job->ctx, IMP_ERR_NUMERIC,
            "step %zu: the loss is not finite: try a lower rate", job->step);
    s = imp_graph_read(b->g, b->logits, b->scores);
    for (size_t i = 0; i < b->size && !s; i++)
        *correct += imp_batch_best(b, i) == (size_t)b->classes[i];
    step(job, rate);
    return s;
}

/* How well those held out are told, where there are any. */
static imp_status validate(imp_train *job, imp_train_progress *out) {
    imp_network_options o = {.after = job->learning.after};
    imp_test_result r = {.loss = NAN, .accuracy = NAN};
    imp_status s = IMP_OK;
    if (job->n_held)
        s = imp_batch_evaluate(
            job->ctx, &job->source, &o, job->held, job->n_held, &r, NULL);
    out->validation_count = r.count;
    out->validation_loss = r.loss;
    out->validation_accuracy = r.accuracy;
    return s;
}

imp_status imp_train_epoch(imp_train *job, imp_train_progress *out) {
    size_t batch = job->options.batch, batches = job->n_learnt / batch;
    size_t correct = 0, done = 0;
    double sum = 0.0;
    bool stopped = false;
    *out = (imp_train_progress){job->epoch, NAN, NAN, 0, NAN, NAN};
    imp_status s = imp_train_prepare(job);
    if (s || !job->prepared) return s;
    imp_shuffle(imp_random(job->options.seed, job->epoch), job->order, job->n_learnt);
    while (done < batches && !stopped) {
        double loss;
        s = train_batch(
            job, job->order + done * batch, rate_at(job, batches), &loss, &correct);
        if (s) return s;
        sum += loss;
        done++;
        stopped = job->callback && !job->callback(job->user, done, batches);
    }
    out->epoch = ++job->epoch;
    out->loss = sum / (double)done;
    out->accuracy = (double)correct / (double)(done * batch);
    return stopped ? IMP_OK : validate(job, out);
}

/* --- testing --- */

imp_status imp_test(imp_ctx *ctx, const imp_model *m, const imp_dataset *set,
    imp_test_result *out, size_t *confusion) {
    imp_source source = {.m = m, .set = set};
    imp_network_options o = {0};
    *out = (imp_test_result){0};
    imp_status s = check_set(ctx, m, set);
    if (s) return s;
    size_t classes = m->info.classes;
    if (confusion) memset(confusion, 0, classes * classes * sizeof *confusion);
    return imp_batch_evaluate(
        ctx, &source, &o, NULL, imp_dataset_count(set), out, confusion);
}
