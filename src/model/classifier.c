/* SPDX-License-Identifier: MIT
 *
 * classifier.c: a classifier made of another network's convolutions: the mean of each channel of
 * their last map over all places (Lin, Chen & Yan 2014, section 3.2), then one fully connected
 * layer.
 */
#include "model/metadata.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_SIZE 16 /* four halvings leave a place */
#define MOST_SIZE  1024

static imp_status check(
    imp_ctx *ctx, const imp_model *features, const imp_classifier_options *o) {
    size_t size = o->size ? o->size : features->info.input.size;
    if (strncmp(features->architecture, "vgg", 3) != 0 ||
        features->info.input.channels != 3)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "features: expected a VGG of three channels, found %s",
            features->architecture);
    if (o->classes < 2 || o->classes > IMP_MAX_CHANNELS)
        return imp_fail(ctx, IMP_ERR_ARG, "classes: expected 2 to %d, found %zu",
            IMP_MAX_CHANNELS, o->classes);
    if (size < LEAST_SIZE || size > MOST_SIZE)
        return imp_fail(ctx, IMP_ERR_ARG, "size: expected %d to %d, found %zu",
            LEAST_SIZE, MOST_SIZE, size);
    for (size_t i = 0; i < o->classes; i++)
        if (!imp_metadata_is_text(o->labels[i]))
            return imp_fail(ctx, IMP_ERR_ARG,
                "label %zu: expected UTF-8, found other bytes in %s", i, o->labels[i]);
    return IMP_OK;
}

/* The layers to the convolution named last, or to the deepest one, and the head. */
static imp_status take_layers(imp_ctx *ctx, imp_model *m, const imp_model *from,
    const imp_classifier_options *o) {
    size_t last = o->last ? imp_zoo_find(from, o->last) : from->n_layers;
    for (size_t i = 0; i < from->n_layers && !o->last; i++)
        if (from->layers[i].kind == IMP_LAYER_CONV) last = i;
    if (last == from->n_layers || from->layers[last].kind != IMP_LAYER_CONV)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "last: expected a convolution of the network or its activation, found %s",
            o->last ? o->last : "none");
    m->n_layers = last + 1;
    m->layers = malloc(m->n_layers * sizeof *m->layers);
    if (!m->layers) return imp_fail(ctx, IMP_ERR_LIMIT, "model: no memory");
    memcpy(m->layers, from->layers, m->n_layers * sizeof *m->layers);
    return imp_zoo_add_head(ctx, m, o->classes);
}

static imp_status take_labels(imp_ctx *ctx, imp_model *m, const char *const *labels) {
    m->labels = calloc(m->info.classes, sizeof *m->labels);
    bool good = m->labels != NULL;
    for (size_t i = 0; i < m->info.classes && good; i++)
        good = (m->labels[i] = strdup(labels[i])) != NULL;
    return good ? IMP_OK : imp_fail(ctx, IMP_ERR_LIMIT, "model: no memory");
}

/* Is the other a classifier of the same layers and labels? */
static bool alike(const imp_model *m, const imp_model *other) {
    bool same = imp_zoo_has_head(other) && other->n_layers == m->n_layers &&
                other->info.classes == m->info.classes;
    for (size_t i = 0; same && i < m->info.classes; i++)
        same = !strcmp(imp_model_label(other, i), m->labels[i]);
    return same;
}

/* The weights of the convolutions; those of the head are the other's or zero. */
static void take_weights(imp_model *m, const imp_model *from) {
    size_t n = alike(m, from) ? m->n_tensors : m->n_tensors - 2;
    for (size_t t = 0; t < n; t++)
        memcpy(m->tensors[t].blocked, from->tensors[t].blocked,
            imp_blocked_count(m->tensors[t].shape) * sizeof(float));
}

imp_status imp_model_classifier(imp_ctx *ctx, imp_model **out,
    const imp_model *features, const imp_classifier_options *options) {
    *out = NULL;
    imp_status s = check(ctx, features, options);
    if (s) return s;
    imp_model *m = calloc(1, sizeof *m);
    if (!m) return imp_fail(ctx, IMP_ERR_LIMIT, "model: no memory");
    m->info = features->info;
    m->info.classes = m->info.parameters = 0;
    if (options->size) m->info.input.size = options->size;
    memcpy(m->architecture, features->architecture, sizeof m->architecture);
    s = take_layers(ctx, m, features, options);
    if (!s) s = take_labels(ctx, m, options->labels);
    if (!s) s = imp_zoo_shapes(ctx, m);
    if (!s) s = imp_zoo_allocate(ctx, m);
    if (!s) take_weights(m, features);
    if (s)
        imp_model_free(m);
    else
        *out = m;
    return s;
}
