/* SPDX-License-Identifier: MIT
 *
 * network.c: a model's layers as nodes of a graph.
 */
#include "model/model.h"

#include <string.h>

static imp_id add_weights_layer(imp_graph *g, const imp_model *m, const imp_layer *l,
    imp_id x, size_t tensor, imp_padding padding, bool gradients) {
    const imp_tensor *w = &m->tensors[tensor], *b = &m->tensors[tensor + 1];
    imp_id wid = imp_graph_parameter(g, w->name, w->shape, w->blocked, gradients);
    imp_id bid = imp_graph_parameter(g, b->name, b->shape, b->blocked, gradients);
    if (l->kind == IMP_LAYER_LINEAR) return imp_linear(g, x, wid, bid);
    return imp_conv2d(g, x, wid, bid, (imp_conv){1, l->pad, padding});
}

static void tap(
    const char *name, imp_id id, const char *const *taps, imp_id *ids, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (*name && !strcmp(taps[i], name)) ids[i] = id;
}

/* Number of the first layer behind that of this name; 0: no name, or none of it. */
static size_t behind(const imp_model *m, const char *name) {
    size_t i = name ? imp_zoo_find(m, name) : m->n_layers;
    return i < m->n_layers ? i + 1 : 0;
}

imp_id imp_network(imp_graph *g, const imp_model *m, imp_id x,
    const imp_network_options *o, const char *const *taps, imp_id *ids, size_t n) {
    for (size_t i = 0; i < n; i++) ids[i] = IMP_NONE;
    size_t tensor = 0, first = behind(m, o->after), trained = behind(m, o->frozen);
    for (size_t i = 0; i < m->n_layers; i++) {
        const imp_layer *l = &m->layers[i];
        imp_pool pool = {o->pooling, 2, 2};
        if (i < first) {
            tensor += imp_layer_has_weights(l) ? 2 : 0;
            continue;
        }
        switch (l->kind) {
        case IMP_LAYER_POOL:
            x = imp_pool2d(g, x, pool);
            break;
        case IMP_LAYER_FLATTEN:
            x = imp_flatten(g, x, m->info.input.flatten);
            break;
        case IMP_LAYER_MEAN:
            x = imp_mean(g, x);
            break;
        default:
            x = add_weights_layer(g, m, l, x, tensor, i == 0 ? o->first : IMP_PAD_ZERO,
                o->gradients && i >= trained);
            tensor += 2;
        }
        tap(l->name, x, taps, ids, n);
        if (l->activation[0]) {
            x = imp_relu(g, x);
            tap(l->activation, x, taps, ids, n);
        }
        if (o->last && (!strcmp(o->last, l->name) || !strcmp(o->last, l->activation)))
            break;
    }
    return x;
}
