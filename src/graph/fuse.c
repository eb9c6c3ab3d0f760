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

void imp_graph_fuse(imp_graph *g) {
    for (size_t r = 0; r < g->count; r++) {
        imp_node *relu = &g->nodes[r];
        if (relu->op != &imp_op_relu || relu->fused) continue;
        imp_id p = relu->in[0];
        imp_node *producer = &g->nodes[p];
        bool *flag = relu_flag(producer);
        if (!flag || *flag || producer->keep || consumers(g, p) != 1) continue;
        *flag = true;
        producer->keep = relu->keep;
        relu->fused = true;
        relu->alias = p;
        for (size_t j = r + 1; j < g->count; j++)
            for (size_t i = 0; i < g->nodes[j].n_in; i++)
                if (g->nodes[j].in[i] == (imp_id)r) g->nodes[j].in[i] = p;
    }
}
