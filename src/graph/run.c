/* SPDX-License-Identifier: MIT
 *
 * run.c: forward and backward, two short loops.
 */
#include "graph/graph.h"

#include <math.h>

static const float *value_of(const imp_graph *g, imp_id id) {
    const imp_node *n = &g->nodes[id];
    if (n->parameter) return n->parameter;
    return n->value == SIZE_MAX ? NULL : (const float *)(g->block + n->value);
}

static float *at(const imp_graph *g, size_t offset) {
    return offset == SIZE_MAX ? NULL : (float *)(g->block + offset);
}

static imp_call call_of(imp_graph *g, imp_node *n) {
    imp_call c = {.ctx = g->ctx,
        .attr = n->attr,
        .n_in = n->n_in,
        .out = n->shape,
        .y = at(g, n->value),
        .loss = &n->loss,
        .dloss = n->weight,
        .saved = at(g, n->saved),
        .scratch = g->block + g->scratch_at,
        .thread_scratch = g->block + g->scratch_at + ((g->scratch + 63) & ~(size_t)63),
        .thread_bytes = g->thread_bytes};
    for (size_t i = 0; i < n->n_in; i++) {
        c.in[i] = g->nodes[n->in[i]].shape;
        c.x[i] = value_of(g, n->in[i]);
    }
    return c;
}

double imp_graph_forward(imp_graph *g) {
    double total = 0.0;
    if (!g->block) return NAN;
    for (size_t i = 0; i < g->count; i++) {
        imp_node *n = &g->nodes[i];
        if (!n->op || n->fused) continue;
        imp_call c = call_of(g, n);
        n->op->forward(&c);
        if (n->in_total) total += n->weight * n->loss;
    }
    return total;
}

void imp_graph_backward(imp_graph *g) {
    if (!g->block) return;
    for (size_t i = 0; i < g->count; i++) g->nodes[i].written = false;
    for (size_t i = g->count; i-- > 0;) {
        imp_node *n = &g->nodes[i];
        if (!n->op || n->fused || !n->active) continue;
        imp_call c = call_of(g, n);
        c.dy = at(g, n->grad);
        for (size_t k = 0; k < n->n_in; k++) {
            imp_node *in = &g->nodes[n->in[k]];
            c.dx[k] = at(g, in->grad);
            c.add[k] = in->written;
            if (c.dx[k]) in->written = true;
        }
        n->op->backward(&c);
    }
}
