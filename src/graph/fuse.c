/* SPDX-License-Identifier: MIT
 *
 * fuse.c: rewrites the graph before it is placed. The unfused operations stay as the oracle
 * of the fused.
 */
#include "graph/plan.h"

static size_t consumers(const imp_graph *g, imp_id id) {
    size_t n = 0;
    for (size_t j = 0; j < g->count; j++)
        for (size_t i = 0; i < g->nodes[j].n_in && !g->nodes[j].fused; i++)
            n += g->nodes[j].in[i] == id;
    return n;
}

static bool *relu_flag(imp_node *n) {
    if (n->op == &imp_op_conv2d) return &((imp_conv_attr *)n->attr)->relu;
    if (n->op == &imp_op_linear) return &((imp_linear_attr *)n->attr)->relu;
    return NULL;
}

/* Node `id` is done by its producer p, whose value becomes this one's. */
static void fuse(imp_graph *g, size_t id, imp_id p) {
    imp_node *n = &g->nodes[id];
    g->nodes[p].keep = n->keep;
    g->nodes[p].shape = n->shape;
    n->fused = true;
    for (size_t j = 0; j < g->count; j++) /* what was fused into this one before, too */
        if (g->nodes[j].fused && (j == id || g->nodes[j].alias == (imp_id)id))
            g->nodes[j].alias = p;
    for (size_t j = id + 1; j < g->count; j++)
        for (size_t i = 0; i < g->nodes[j].n_in; i++)
            if (g->nodes[j].in[i] == (imp_id)id) g->nodes[j].in[i] = p;
}

/* Are all inputs of a node but the first frozen? Theirs are shapes too. */
static bool is_frozen(
    const imp_graph *g, const imp_node *n, imp_shape in[IMP_MAX_INPUTS]) {
    for (size_t i = 0; i < n->n_in; i++) {
        in[i] = g->nodes[n->in[i]].shape;
        if (i > 0 && g->nodes[n->in[i]].gradient) return false;
    }
    return true;
}

static bool fuses_relu(const imp_graph *g, const imp_node *relu) {
    imp_node *producer = &g->nodes[relu->in[0]];
    const bool *flag = relu_flag(producer);
    return relu->op == &imp_op_relu && flag && !*flag && !producer->keep &&
           consumers(g, relu->in[0]) == 1;
}

/* The maximum of 2 x 2 after a convolution by Winograd with its ReLU, of frozen weights: the
 * whole map is then never written. */
static bool fuses_pool(const imp_graph *g, const imp_node *pool) {
    const imp_pool *a = (const imp_pool *)pool->attr;
    if (pool->op != &imp_op_pool2d || a->kind != IMP_POOL_MAX || a->kernel != 2 ||
        a->stride != 2)
        return false;
    const imp_node *conv = &g->nodes[pool->in[0]];
    if (conv->op != &imp_op_conv2d || conv->keep || consumers(g, pool->in[0]) != 1)
        return false;
    const imp_conv_attr *attr = (const imp_conv_attr *)conv->attr;
    imp_shape in[IMP_MAX_INPUTS];
    return attr->relu && !attr->pool && is_frozen(g, conv, in) &&
           imp_conv2d_can_pool(g->ctx, attr, in);
}

/* The Gram matrix of a map made from few channels: a network's first, the largest, which is then
 * written and read once less in each direction. */
static bool fuses_gram(const imp_graph *g, const imp_node *gram) {
    const imp_node *conv = &g->nodes[gram->in[0]];
    if (gram->op != &imp_op_gram || conv->op != &imp_op_conv2d ||
        conv->gram != IMP_NONE)
        return false;
    const imp_conv_attr *attr = (const imp_conv_attr *)conv->attr;
    imp_shape in[IMP_MAX_INPUTS];
    return attr->relu && !attr->pool && is_frozen(g, conv, in) &&
           imp_conv2d_can_gram(attr, in);
}

void imp_graph_fuse(imp_graph *g) {
    for (size_t i = 0; i < g->count; i++) {
        imp_node *n = &g->nodes[i];
        if (n->fused) continue;
        if (fuses_relu(g, n)) {
            *relu_flag(&g->nodes[n->in[0]]) = true;
            fuse(g, i, n->in[0]);
        } else if (fuses_pool(g, n)) {
            ((imp_conv_attr *)g->nodes[n->in[0]].attr)->pool = true;
            fuse(g, i, n->in[0]);
        } else if (fuses_gram(g, n)) {
            ((imp_conv_attr *)g->nodes[n->in[0]].attr)->gram = true;
            g->nodes[n->in[0]].gram = (imp_id)i;
            n->maker = n->in[0];
        }
    }
}
