/* SPDX-License-Identifier: MIT
 *
 * model.c: a model's life: made with random weights, described, freed.
 */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void imp_model_free(imp_model *m) {
    if (!m) return;
    for (size_t i = 0; i < m->n_tensors; i++) imp_release(m->tensors[i].blocked);
    for (size_t i = 0; m->labels && i < m->info.classes; i++) free(m->labels[i]);
    free(m->labels);
    free(m->taught);
    free(m->numbers);
    free(m->tensors);
    free(m->layers);
    free(m);
}

typedef struct he_job {
    imp_tensor *tensor;
    uint64_t seed;
    double deviation;
} he_job;

/* The 16 outputs of one panel. Numbers are counted in the plain order O, I, KH, KW, so
 * that the layout does not show in them. */
static void he_task(void *arg, size_t panel, int thread) {
    (void)thread;
    const he_job *j = arg;
    const imp_shape *s = &j->tensor->shape;
    for (size_t o = panel * 16; o < s->n && o < panel * 16 + 16; o++)
        for (size_t i = 0; i < s->c; i++)
            for (size_t kh = 0; kh < s->h; kh++)
                for (size_t kw = 0; kw < s->w; kw++) {
                    uint64_t plain = ((o * s->c + i) * s->h + kh) * s->w + kw;
                    j->tensor->blocked[imp_weight_offset(s, o, i, kh, kw)] =
                        (float)(j->deviation * imp_normal(j->seed, plain));
                }
}

static void he_weights(imp_ctx *ctx, imp_model *m, uint64_t seed) {
    for (size_t i = 0; i < m->n_tensors; i++) {
        imp_tensor *t = &m->tensors[i];
        if (t->shape.layout != IMP_WEIGHT) continue; /* biases stay zero */
        double fan_in = (double)(t->shape.c * t->shape.h * t->shape.w);
        he_job j = {t, imp_random(seed, i), sqrt(2.0 / fan_in)};
        imp_parallel(ctx, imp_round16(t->shape.n) / 16, he_task, &j);
    }
}

static imp_status cut_behind(imp_ctx *ctx, imp_model *m, const char *layer) {
    size_t last = imp_zoo_find(m, layer);
    if (last == m->n_layers)
        return imp_fail(ctx, IMP_ERR_ARG,
            "%s: last: expected a layer or an activation, found '%s'", m->architecture,
            layer);
    imp_zoo_cut(m, last + 1);
    return IMP_OK;
}

imp_status imp_model_init(
    imp_ctx *ctx, imp_model **out, const imp_model_options *options) {
    *out = NULL;
    imp_model *m = calloc(1, sizeof *m);
    if (!m) return imp_fail(ctx, IMP_ERR_LIMIT, "model: no memory");
    imp_status s = imp_zoo_build(ctx, m, options);
    if (!s && options->last) s = cut_behind(ctx, m, options->last);
    if (!s) s = imp_zoo_shapes(ctx, m);
    if (!s) s = imp_zoo_allocate(ctx, m);
    if (s) {
        imp_model_free(m);
        return s;
    }
    m->info.random = true;
    he_weights(ctx, m, options->seed);
    *out = m;
    return IMP_OK;
}

imp_model_info imp_model_describe(const imp_model *m) {
    imp_model_info info = m->info;
    info.architecture = m->architecture;
    info.student = m->taught != NULL;
    return info;
}

const char *imp_model_label(const imp_model *m, size_t id) {
    if (id >= m->info.classes) return NULL;
    if (m->labels) return m->labels[id];
    if (m->info.classes == 1000) return imp_imagenet_labels[id];
    return m->numbers + id * IMP_NUMBER_SIZE;
}

size_t imp_model_tensor_count(const imp_model *m) {
    return m->n_tensors;
}

const char *imp_model_tensor_name(const imp_model *m, size_t i) {
    return i < m->n_tensors ? m->tensors[i].name : NULL;
}

imp_shape imp_model_tensor_shape(const imp_model *m, size_t i) {
    return i < m->n_tensors ? m->tensors[i].shape : (imp_shape){0};
}

const float *imp_model_tensor_blocked(const imp_model *m, size_t i) {
    return i < m->n_tensors ? m->tensors[i].blocked : NULL;
}

const char *imp_model_layer(const imp_model *m, size_t i) {
    for (size_t l = 0; l < m->n_layers; l++)
        if (m->layers[l].activation[0] && i-- == 0) return m->layers[l].activation;
    return NULL;
}
