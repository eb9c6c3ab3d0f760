/* SPDX-License-Identifier: MIT
 *
 * walk.h: runs any graph that has not been planned through the reference pairs of its
 * operations, in double, on plain arrays. Include after cmocka.h.
 */
#ifndef TESTS_WALK_H
#define TESTS_WALK_H

#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"

typedef struct walk {
    const imp_graph *g;
    double **value, **grad; /* of each node; a loss: one number */
} walk;

static inline size_t walk_count(const walk *w, imp_id id) {
    const imp_node *n = &w->g->nodes[id];
    return n->op && n->op->scalar ? 1 : imp_plain_count(n->shape);
}

/* Parameters are taken over; inputs are to be set. */
static inline walk walk_new(const imp_graph *g) {
    walk w = {g, calloc(g->count, sizeof *w.value), calloc(g->count, sizeof *w.grad)};
    assert_int_equal(g->status, IMP_OK);
    assert_false(g->planned); /* else operations may be fused */
    for (size_t i = 0; i < g->count; i++) {
        size_t count = walk_count(&w, (imp_id)i);
        w.value[i] = calloc(count, sizeof(double));
        w.grad[i] = calloc(count, sizeof(double));
        if (!g->nodes[i].parameter) continue;
        float *plain = malloc(count * sizeof *plain);
        imp_from_blocked(g->nodes[i].shape, g->nodes[i].parameter, plain);
        for (size_t k = 0; k < count; k++) w.value[i][k] = (double)plain[k];
        free(plain);
    }
    return w;
}

static inline void walk_free(walk *w) {
    for (size_t i = 0; i < w->g->count; i++) {
        free(w->value[i]);
        free(w->grad[i]);
    }
    free(w->value);
    free(w->grad);
}

static inline void walk_set(walk *w, imp_id id, const double *x) {
    memcpy(w->value[id], x, walk_count(w, id) * sizeof *x);
}

static inline imp_ref_call walk_call(const walk *w, size_t i) {
    const imp_node *n = &w->g->nodes[i];
    imp_ref_call c = {
        .attr = n->attr, .n_in = n->n_in, .out = n->shape, .y = w->value[i]};
    for (size_t k = 0; k < n->n_in; k++) {
        c.in[k] = w->g->nodes[n->in[k]].shape;
        c.x[k] = w->value[n->in[k]];
    }
    return c;
}

/* The weighted total of the losses. */
static inline double walk_forward(walk *w) {
    double total = 0;
    for (size_t i = 0; i < w->g->count; i++) {
        const imp_node *n = &w->g->nodes[i];
        if (!n->op) continue;
        imp_ref_call c = walk_call(w, i);
        n->op->forward_ref(&c);
        if (n->in_total) total += n->weight * w->value[i][0];
    }
    return total;
}

/* After a forward: grad of every node is the total's derivative by it. */
static inline void walk_backward(walk *w) {
    const imp_node *nodes = w->g->nodes;
    for (size_t i = 0; i < w->g->count; i++) {
        memset(w->grad[i], 0, walk_count(w, (imp_id)i) * sizeof(double));
        if (nodes[i].in_total) w->grad[i][0] = nodes[i].weight;
    }
    for (size_t i = w->g->count; i-- > 0;) {
        if (!nodes[i].op || !nodes[i].gradient) continue;
        imp_ref_call c = walk_call(w, i);
        c.dy = w->grad[i];
        for (size_t k = 0; k < nodes[i].n_in; k++)
            if (nodes[nodes[i].in[k]].gradient) c.dx[k] = w->grad[nodes[i].in[k]];
        nodes[i].op->backward_ref(&c);
    }
}

#endif
