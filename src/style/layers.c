/* SPDX-License-Identifier: MIT
 *
 * layers.c: which layers of a network an objective looks at.
 */
#include "style/style.h"

#include <stdio.h>
#include <string.h>

/* Position of a layer in the network; SIZE_MAX: it has none of that name. */
static size_t position(const imp_model *m, const char *name) {
    const char *layer;
    for (size_t i = 0; (layer = imp_model_layer(m, i)); i++)
        if (!strcmp(layer, name)) return i;
    return SIZE_MAX;
}

/* "relu3_4" lies behind two pools; a name without a block ("relu2") behind block - 1. */
static size_t least_side(const char *name) {
    int block = 1;
    sscanf(name, "relu%d", &block);
    return (size_t)1 << (block > 1 && block < 16 ? block - 1 : 0);
}

static const char *deepest_second(const imp_model *m) {
    const char *layer, *found = NULL;
    int block, number;
    for (size_t i = 0; (layer = imp_model_layer(m, i)); i++)
        if (sscanf(layer, "relu%d_%d", &block, &number) == 2 && number == 2)
            found = layer;
    return found;
}

static imp_status lacks(imp_ctx *ctx, const imp_model *m, const char *name) {
    char all[256] = "";
    const char *layer;
    for (size_t i = 0, at = 0; (layer = imp_model_layer(m, i)) && at < sizeof all; i++)
        at += (size_t)snprintf(all + at, sizeof all - at, i ? " %s" : "%s", layer);
    return imp_fail(
        ctx, IMP_ERR_MODEL, "layer %s: expected one of the model's (%s)", name, all);
}

static imp_status choose_content(imp_ctx *ctx, imp_style_layers *out,
    const imp_model *m, const imp_style_options *o) {
    for (size_t i = 0; i < IMP_STYLE_MAX_LAYERS && o->content_layers[i]; i++) {
        const char *name = o->content_layers[i];
        if (position(m, name) == SIZE_MAX) {
            if (o->content_named) return lacks(ctx, m, name);
            const char *other = deepest_second(m);
            if (!other) continue;
            imp_note(ctx, "the model has no %s: content from %s", name, other);
            name = other;
        }
        out->name[out->n_content++] = name;
    }
    return IMP_OK;
}

static imp_status choose_style(imp_ctx *ctx, imp_style_layers *out, const imp_model *m,
    const imp_style_options *o) {
    bool wanted = o->terms[IMP_TERM_GRAM] > 0 || o->terms[IMP_TERM_COV] > 0 ||
                  o->terms[IMP_TERM_WASSERSTEIN] > 0;
    for (size_t i = 0; wanted && i < IMP_STYLE_MAX_LAYERS && o->style_layers[i]; i++) {
        const char *name = o->style_layers[i];
        if (position(m, name) == SIZE_MAX) {
            if (o->style_named) return lacks(ctx, m, name);
            imp_note(ctx, "the model has no %s: left out", name);
            continue;
        }
        out->weight[out->n_style] = o->layer_weights_given ? o->layer_weights[i] : -1.0;
        out->name[out->n_content + out->n_style++] = name;
    }
    return IMP_OK;
}

static imp_status choose_nearest(imp_ctx *ctx, imp_style_layers *out,
    const imp_model *m, const imp_style_options *o) {
    if (o->terms[IMP_TERM_NEAREST] <= 0.0) return IMP_OK;
    for (size_t i = 0; i < IMP_STYLE_MAX_LAYERS && o->nearest_layers[i]; i++) {
        const char *name = o->nearest_layers[i];
        if (position(m, name) == SIZE_MAX) {
            if (o->nearest_named) return lacks(ctx, m, name);
            imp_note(ctx, "the model has no %s: left out", name);
            continue;
        }
        out->name[out->n_content + out->n_style + out->n_nearest++] = name;
    }
    return IMP_OK;
}

imp_status imp_style_layers_choose(imp_ctx *ctx, imp_style_layers *out,
    const imp_model *m, const imp_style_options *o) {
    memset(out, 0, sizeof *out);
    if (imp_model_describe(m).input.channels != 3)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "model %s: expected a network of three channels",
            imp_model_describe(m).architecture);
    imp_status s = choose_content(ctx, out, m, o);
    if (!s) s = choose_style(ctx, out, m, o);
    if (!s) s = choose_nearest(ctx, out, m, o);
    if (s) return s;
    size_t n = out->n_content + out->n_style + out->n_nearest, deepest = 0;
    if (n == 0)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "model %s: expected some of the content and style layers, found none",
            imp_model_describe(m).architecture);
    for (size_t i = 0; i < n; i++) {
        size_t at = position(m, out->name[i]), side = least_side(out->name[i]);
        if (at >= deepest) {
            deepest = at;
            out->last = out->name[i];
        }
        if (side > out->least_side) out->least_side = side;
    }
    for (size_t i = 0; i < out->n_style; i++) {
        double equal = 1.0 / (double)out->n_style;
        if (out->weight[i] < 0.0)
            out->weight[i] = o->objective == IMP_NORMALISED ? 1.0 : equal;
    }
    return IMP_OK;
}
