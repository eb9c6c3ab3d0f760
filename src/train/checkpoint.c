/* SPDX-License-Identifier: MIT
 *
 * checkpoint.c: a distilling job in a file and back. Tensors: of each map <name>.picks, its
 * channels and factors; of each parameter its value and Adam's moments or Muon's momentum,
 * <name>, <name>.m, <name>.v (Adam alone); curve, a point a row (step, loss, held out), and last
 * the step and the sum of losses since the last point. Metadata: the step, and all that must be the
 * same when it goes on.
 */
#include "model/safetensors.h"
#include "optim/optim.h"
#include "train/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "impasto features 1"

/* --- what must be the same --- */

#define FIELDS 17

typedef struct settings { /* pairs point into text: not to be copied */
    imp_safetensors_pair pairs[FIELDS];
    char text[FIELDS][96];
    size_t n;
} settings;

static void add_text(settings *s, const char *key, const char *text) {
    snprintf(s->text[s->n], sizeof s->text[0], "%s", text);
    s->pairs[s->n] = (imp_safetensors_pair){key, s->text[s->n]};
    s->n++;
}

static void add_whole(settings *s, const char *key, uint64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, value);
    add_text(s, key, text);
}

static void add_number(settings *s, const char *key, double value) {
    char text[32];
    snprintf(text, sizeof text, "%.17g", value);
    for (char *c = text; *c; c++) /* whatever the host's locale */
        if (*c == ',') *c = '.';
    add_text(s, key, text);
}

/* FNV-1a over the first n parameters; of none: 0. */
static uint64_t hash_of(const imp_model *m, size_t n) {
    uint64_t hash = 0xcbf29ce484222325u;
    if (!m) return 0;
    for (size_t t = 0; t < n; t++) {
        const imp_tensor *tensor = &m->tensors[t];
        const uint8_t *bytes = (const uint8_t *)tensor->blocked;
        size_t count = imp_blocked_count(tensor->shape) * sizeof(float);
        for (size_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    return hash;
}

static void add_list(settings *s, const char *key, const size_t *list, size_t n) {
    char text[96];
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(
            text + used, sizeof text - used, "%s%zu", i ? "," : "", list[i]);
    add_text(s, key, text);
}

static void list_settings(const imp_features *job, settings *s) {
    const imp_features_options *o = &job->options;
    s->n = 0;
    add_text(s, "checkpoint", FORMAT);
    add_whole(s, "teacher",
        hash_of(job->teacher, imp_features_tensor(job->all_ranks, job->layers)));
    add_whole(s, "start", hash_of(o->start, o->start ? o->start->n_tensors : 0));
    add_whole(s, "pictures", job->photos.count);
    add_list(s, "channels", job->channels, job->layers);
    add_list(s, "ranks", job->ranks, job->layers);
    add_whole(s, "crop", o->crop);
    add_whole(s, "batch", o->batch);
    add_whole(s, "steps", o->steps);
    add_number(s, "alone", o->alone);
    add_text(s, "optimizer", o->optimizer == IMP_MUON ? "muon" : "adam");
    add_number(s, "rate", o->rate);
    add_number(s, "augment", o->augment);
    add_number(s, "decay", o->decay);
    add_number(s, "clip", o->clip);
    add_whole(s, "seed", o->seed);
}

/* --- the tensors, in one order for both ways --- */

#define TENSORS (IMP_FEATURES_LAYERS + 1 + 3 * IMP_FEATURES_TENSORS + 1)

/* Where a tensor of the file lies in the job. blocked: in the layout of shape; else plain. */
typedef struct place {
    char name[40];
    imp_shape shape;
    float *values;
    bool blocked;
} place;

typedef struct places {
    place all[TENSORS];
    size_t n;
} places;

static void add_place(places *p, const char *name, const char *ending, imp_shape shape,
    float *values, bool blocked) {
    place *at = &p->all[p->n++];
    snprintf(at->name, sizeof at->name, "%s%s", name, ending);
    at->shape = shape;
    at->values = values;
    at->blocked = blocked;
}

static void list_picks(const imp_features *job, places *p) {
    for (size_t i = 0; i <= job->layers; i++)
        add_place(p, i ? imp_features_layer(job->teacher, i - 1) : "input", ".picks",
            (imp_shape){job->picks[i].n, 2, 1, 1, IMP_MAP}, job->picks[i].values,
            false);
}

static void list_parameters(const imp_features *job, places *p) {
    for (size_t t = 0; t < job->student->n_tensors; t++) {
        const imp_tensor *tensor = &job->student->tensors[t];
        float *m, *v;
        imp_gradient_state(job->optimiser[t], &m, &v);
        add_place(p, tensor->name, "", tensor->shape, tensor->blocked, true);
        add_place(p, tensor->name, ".m", tensor->shape, m, true);
        if (v) add_place(p, tensor->name, ".v", tensor->shape, v, true);
    }
}

static imp_safetensors_item item_of(const place *p) {
    const imp_shape *s = &p->shape;
    imp_safetensors_item item = {.name = p->name,
        .dtype = IMP_DTYPE_F32,
        .ndim = 4,
        .shape = {s->n, s->c, s->h, s->w}};
    return item;
}

/* --- writing --- */

static imp_status put_place(imp_ctx *ctx, imp_safetensors_writer *w, const place *p) {
    size_t count = imp_plain_count(p->shape);
    if (!p->blocked) return imp_safetensors_put(w, p->values, count);
    float *plain = malloc(count * sizeof *plain);
    if (!plain) return imp_fail(ctx, IMP_ERR_LIMIT, "%s: no memory", p->name);
    imp_from_blocked(p->shape, p->values, plain);
    imp_status s = imp_safetensors_put(w, plain, count);
    free(plain);
    return s;
}

/* Rows of the curve; returns how many. */
static size_t curve_rows(const imp_features *job, float rows[][3]) {
    for (size_t i = 0; i < job->n_points; i++) {
        rows[i][0] = (float)job->points[i].step;
        rows[i][1] = job->points[i].loss;
        rows[i][2] = job->points[i].held_out;
    }
    rows[job->n_points][0] = (float)job->step;
    rows[job->n_points][1] = job->sum;
    rows[job->n_points][2] = 0;
    return job->n_points + 1;
}

imp_status imp_features_checkpoint(
    const imp_features *job, const char *path, bool overwrite) {
    places *p = calloc(1, sizeof *p);
    imp_safetensors_item items[TENSORS];
    imp_safetensors_writer w = {.file.fd = -1};
    float rows[IMP_FEATURES_POINTS + 1][3];
    settings all;
    list_settings(job, &all);
    add_whole(&all, "step", job->step);
    if (!p) return imp_fail(job->ctx, IMP_ERR_LIMIT, "%s: no memory", path);
    list_picks(job, p);
    list_parameters(job, p);
    add_place(p, "curve", "", (imp_shape){curve_rows(job, rows), 3, 1, 1, IMP_MAP},
        rows[0], false);
    for (size_t i = 0; i < p->n; i++) items[i] = item_of(&p->all[i]);
    imp_status s = imp_safetensors_begin(
        &w, job->ctx, path, overwrite, items, p->n, all.pairs, all.n);
    for (size_t i = 0; i < p->n && !s; i++) s = put_place(job->ctx, &w, &p->all[i]);
    if (!s) s = imp_safetensors_commit(&w);
    imp_safetensors_abort(&w);
    free(p);
    return s;
}

/* --- reading --- */

static imp_status check_settings(const imp_features *job, const imp_safetensors *st) {
    settings all;
    list_settings(job, &all);
    for (size_t i = 0; i < all.n; i++) {
        const char *found = imp_safetensors_metadata(st, all.pairs[i].key);
        if (!found || strcmp(found, all.pairs[i].value) != 0)
            return imp_fail(job->ctx, IMP_ERR_MODEL,
                "%s: metadata %s: expected %s, found %.40s", imp_safetensors_path(st),
                all.pairs[i].key, all.pairs[i].value, found ? found : "nothing");
    }
    return IMP_OK;
}

static imp_status read_step(imp_features *job, const imp_safetensors *st) {
    const char *text = imp_safetensors_metadata(st, "step");
    char *end = NULL;
    unsigned long long step = text ? strtoull(text, &end, 10) : 0;
    if (!text || end == text || *end || step > job->options.steps)
        return imp_fail(job->ctx, IMP_ERR_MODEL,
            "%s: metadata step: expected 0 to %zu, found %.40s",
            imp_safetensors_path(st), job->options.steps, text ? text : "nothing");
    job->step = (size_t)step;
    return IMP_OK;
}

static imp_status find(imp_ctx *ctx, const imp_safetensors *st, const char *name,
    const size_t shape[4], const imp_safetensors_entry **out) {
    const imp_safetensors_entry *e = *out = imp_safetensors_find(st, name);
    if (e && e->ndim == 4 && !memcmp(e->shape, shape, 4 * sizeof *shape)) return IMP_OK;
    return imp_fail(ctx, IMP_ERR_MODEL,
        "%s: tensor %s: expected one of %zu x %zu x %zu x %zu, found %s",
        imp_safetensors_path(st), name, shape[0], shape[1], shape[2], shape[3],
        e ? "another shape" : "none");
}

static imp_status read_place(imp_ctx *ctx, const imp_safetensors *st, const place *p) {
    const imp_shape *s = &p->shape;
    size_t count = imp_plain_count(*s);
    const imp_safetensors_entry *e;
    imp_status status = find(ctx, st, p->name, (size_t[]){s->n, s->c, s->h, s->w}, &e);
    if (status) return status;
    if (!p->blocked) return imp_safetensors_floats(ctx, st, e, 0, count, p->values);
    float *plain = malloc(count * sizeof *plain);
    if (!plain) return imp_fail(ctx, IMP_ERR_LIMIT, "%s: no memory", p->name);
    status = imp_safetensors_floats(ctx, st, e, 0, count, plain);
    if (!status) imp_to_blocked(*s, plain, p->values);
    free(plain);
    return status;
}

/* Channels that the teacher has, factors that can be. */
static imp_status check_picks(const imp_features *job, const imp_safetensors *st) {
    for (size_t i = 0; i <= job->layers; i++)
        for (size_t k = 0; k < job->picks[i].n; k++) {
            const float *pick = job->picks[i].values + 2 * k;
            if (pick[0] >= 0 && pick[0] < (float)job->picks[i].of &&
                pick[0] == floorf(pick[0]) && pick[1] > 0)
                continue;
            return imp_fail(job->ctx, IMP_ERR_MODEL,
                "%s: tensor %s.picks: row %zu: expected a channel of 0 to %zu and a "
                "positive factor, found %g and %g",
                imp_safetensors_path(st),
                i ? imp_features_layer(job->teacher, i - 1) : "input", k,
                job->picks[i].of - 1, (double)pick[0], (double)pick[1]);
        }
    return IMP_OK;
}

static imp_status read_curve(imp_features *job, const imp_safetensors *st) {
    const imp_safetensors_entry *e = imp_safetensors_find(st, "curve");
    float rows[IMP_FEATURES_POINTS + 1][3];
    size_t every = imp_divide_up(job->options.steps, IMP_FEATURES_POINTS - 1);
    size_t n = job->step / every;
    if (job->step == job->options.steps && job->step % every) n++;
    imp_status s = find(job->ctx, st, "curve", (size_t[]){n + 1, 3, 1, 1}, &e);
    if (!s) s = imp_safetensors_floats(job->ctx, st, e, 0, 3 * (n + 1), rows[0]);
    if (s) return s;
    for (size_t i = 0; i < n; i++)
        job->points[i] = (imp_features_point){
            imp_least((i + 1) * every, job->step), rows[i][1], rows[i][2]};
    job->n_points = n;
    job->sum = rows[n][1];
    return IMP_OK;
}

static imp_status read_places(
    imp_features *job, const imp_safetensors *st, const places *p) {
    imp_status s = IMP_OK;
    for (size_t i = 0; i < p->n && !s; i++) s = read_place(job->ctx, st, &p->all[i]);
    return s;
}

/* The picks come first: the graph is given them as it is built, and the optimisers begin with
 * it. */
static imp_status go_on(imp_features *job, const imp_safetensors *st, places *p) {
    imp_status s = check_settings(job, st);
    if (!s) s = read_step(job, st);
    if (!s) s = read_curve(job, st);
    list_picks(job, p);
    if (!s) s = read_places(job, st, p);
    if (!s) s = check_picks(job, st);
    if (!s) s = imp_features_begin(job);
    if (s) return s;
    p->n = 0;
    list_parameters(job, p);
    size_t from = job->step >= job->whole_from ? job->whole_from : 0;
    for (size_t t = 0; t < job->student->n_tensors; t++)
        imp_gradient_resume(job->optimiser[t], job->step - from);
    return read_places(job, st, p);
}

imp_status imp_features_resume(imp_ctx *ctx, imp_features **out,
    const imp_model *teacher, const imp_photos *photos,
    const imp_features_options *options, const char *path) {
    imp_safetensors *st = NULL;
    imp_features *job;
    places *p = calloc(1, sizeof *p);
    *out = NULL;
    imp_status s = imp_features_create(ctx, &job, teacher, photos, options);
    if (!s && !p) s = imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory");
    if (!s) s = imp_safetensors_open(ctx, &st, path);
    if (!s) s = go_on(job, st, p);
    imp_safetensors_close(st);
    free(p);
    if (s)
        imp_features_free(job);
    else
        *out = job;
    return s;
}
