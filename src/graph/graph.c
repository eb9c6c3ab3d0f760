/* SPDX-License-Identifier: MIT
 *
 * graph.c: a graph's life, its edges (plain values in and out) and its totals.
 */
#include "graph/graph.h"

#include <stdlib.h>
#include <string.h>

imp_graph *imp_graph_new(imp_ctx *ctx) {
    imp_graph *g = calloc(1, sizeof *g);
    if (g) g->ctx = ctx;
    return g;
}

void imp_graph_free(imp_graph *g) {
    if (!g) return;
    imp_release(g->block);
    free(g->order);
    free(g->nodes);
    free(g);
}

static bool valid(const imp_graph *g, imp_id id) {
    return id >= 0 && (size_t)id < g->count;
}

/* The node that has the value of id. */
static const imp_node *owner(const imp_graph *g, imp_id id) {
    const imp_node *n = &g->nodes[id];
    return n->fused ? &g->nodes[n->alias] : n;
}

imp_shape imp_graph_shape(const imp_graph *g, imp_id id) {
    return valid(g, id) ? g->nodes[id].shape : (imp_shape){0};
}

imp_id imp_graph_find(const imp_graph *g, const char *name) {
    for (size_t i = 0; i < g->count; i++)
        if (!g->nodes[i].op && !strcmp(g->nodes[i].name, name)) return (imp_id)i;
    return IMP_NONE;
}

void imp_graph_keep(imp_graph *g, imp_id id) {
    if (valid(g, id) && !g->planned) g->nodes[id].keep = true;
}

void imp_graph_loss(imp_graph *g, imp_id loss, double weight) {
    if (!valid(g, loss)) return;
    const imp_op *op = g->nodes[loss].op;
    if (!op || !op->scalar) {
        if (!g->status)
            g->status = imp_fail(g->ctx, IMP_ERR_ARG,
                "graph: value %d (%s): expected a loss, one number", loss,
                g->nodes[loss].name);
        return;
    }
    g->nodes[loss].weight = weight;
    g->nodes[loss].in_total = true;
}

double imp_graph_loss_value(const imp_graph *g, imp_id loss) {
    return valid(g, loss) ? g->nodes[loss].loss : 0.0;
}

size_t imp_graph_bytes(const imp_graph *g) {
    return g->bytes;
}

float *imp_graph_data(const imp_graph *g, imp_id id) {
    return (float *)(g->block + owner(g, id)->value);
}

static imp_status not_there(imp_graph *g, imp_id id, const char *what) {
    return imp_fail(g->ctx, IMP_ERR_ARG, "graph: value %d (%s): %s", id,
        valid(g, id) ? g->nodes[id].name : "unknown", what);
}

imp_status imp_graph_write(imp_graph *g, imp_id id, const float *plain) {
    if (!g->block || !valid(g, id) || g->nodes[id].op || g->nodes[id].parameter)
        return not_there(g, id, "not an input of a planned graph");
    const imp_node *n = &g->nodes[id];
    imp_to_blocked(n->shape, plain, (float *)(g->block + n->value));
    return IMP_OK;
}

imp_status imp_graph_read(imp_graph *g, imp_id id, float *plain) {
    if (!g->block || !valid(g, id)) return not_there(g, id, "the graph is not planned");
    const imp_node *n = owner(g, id);
    if (!n->keep || n->value == SIZE_MAX) return not_there(g, id, "was not kept");
    imp_from_blocked(n->shape, (const float *)(g->block + n->value), plain);
    return IMP_OK;
}

const float *imp_graph_gradient(const imp_graph *g, imp_id id) {
    if (!g->block || !valid(g, id) || g->nodes[id].op || g->nodes[id].grad == SIZE_MAX)
        return NULL;
    return (const float *)(g->block + g->nodes[id].grad);
}

imp_status imp_graph_read_gradient(imp_graph *g, imp_id id, float *plain) {
    const float *dx = imp_graph_gradient(g, id);
    if (!dx) return not_there(g, id, "has no gradient");
    imp_from_blocked(g->nodes[id].shape, dx, plain);
    return IMP_OK;
}
