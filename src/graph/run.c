/* SPDX-License-Identifier: MIT
 *
 * run.c: forward and backward: a short loop over the plan's order.
 */
#include "graph/graph.h"

#include <math.h>

static float *at(const imp_graph *g, size_t offset) {
    return offset == SIZE_MAX ? NULL : (float *)(g->block + offset);
}

/* Where the value of id lies, or NULL where it was not kept. */
static const float *value_of(const imp_graph *g, imp_id id, bool backward) {
    const imp_node *n = &g->nodes[id];
    if (n->parameter) return n->parameter;
    return at(g, backward && n->again != SIZE_MAX ? n->again : n->value);
}

static imp_call call_of(imp_graph *g, imp_node *n, bool backward) {
    imp_call c = {.ctx = g->ctx,
        .attr = n->attr,
        .n_in = n->n_in,
        .out = n->shape,
        .y = at(g, n->value),
        .loss = &n->loss,
        .dloss = n->weight,
        .saved = at(g, n->saved),
        .scratch = g->block + g->scratch_at,
        .thread_scratch = g->block + g->scratch_at + imp_round64(g->scratch),
        .thread_bytes = g->thread_bytes};
    if (n->gram != IMP_NONE) {
        c.gram = at(g, g->nodes[n->gram].value);
        c.dgram = at(g, g->nodes[n->gram].grad);
    }
    for (size_t i = 0; i < n->n_in; i++) {
        c.in[i] = g->nodes[n->in[i]].shape;
        c.x[i] = value_of(g, n->in[i], backward);
    }
    return c;
}

/* Values that n's backward reads and that were not kept: once more. */
static void make_inputs_again(imp_graph *g, const imp_node *n) {
    for (size_t k = 0; k < n->n_in; k++) {
        imp_node *in = &g->nodes[n->in[k]];
        if (in->again == SIZE_MAX || in->made_again ||
            !(n->need.backward_reads >> k & 1u))
            continue;
        imp_call c = call_of(g, in, true);
        c.y = at(g, in->again);
        c.gram = NULL; /* it has done its part, and its place may be another's */
        in->op->forward(&c);
        in->made_again = true;
    }
}

static void run_backward(imp_graph *g, imp_node *n) {
    make_inputs_again(g, n);
    imp_call c = call_of(g, n, true);
    c.dy = at(g, n->grad);
    for (size_t k = 0; k < n->n_in; k++) {
        imp_node *in = &g->nodes[n->in[k]];
        c.dx[k] = at(g, in->grad);
        c.add[k] = in->written;
        if (c.dx[k]) in->written = true;
    }
    n->op->backward(&c);
}

void imp_graph_run(imp_graph *g, size_t r) {
    imp_node *n = &g->nodes[g->order[r]];
    if (r == g->forward_runs) /* the first backward */
        for (size_t i = 0; i < g->count; i++)
            g->nodes[i].written = g->nodes[i].made_again = false;
    if (r >= g->forward_runs) {
        run_backward(g, n);
    } else {
        imp_call c = call_of(g, n, false);
        n->op->forward(&c);
    }
}

double imp_graph_forward(imp_graph *g) {
    double total = 0.0;
    if (!g->block) return NAN;
    for (size_t r = 0; r < g->forward_runs; r++) {
        const imp_node *n = &g->nodes[g->order[r]];
        imp_graph_run(g, r);
        if (n->in_total) total += n->weight * n->loss;
    }
    return total;
}

void imp_graph_backward(imp_graph *g) {
    if (!g->block) return;
    for (size_t r = g->forward_runs; r < g->runs; r++) imp_graph_run(g, r);
}
