/* SPDX-License-Identifier: MIT
 *
 * graph.h: inside a graph. Nodes in order of building, which is the order of running.
 */
#ifndef IMP_GRAPH_H
#define IMP_GRAPH_H

#include "op/op.h"

typedef struct imp_node {
    const imp_op *op; /* NULL: an input or a parameter */
    _Alignas(max_align_t) unsigned char attr[IMP_MAX_ATTR];
    size_t n_in;
    imp_id in[IMP_MAX_INPUTS];
    imp_shape shape;
    char name[64];
    bool gradient; /* input, parameter: asked for. Others: some input wants it */
    bool keep;     /* readable after a run */
    bool fused;    /* done by the node before: this value is that one's */
    imp_id alias;  /* fused: whose value it is */
    const float *parameter; /* borrowed; NULL: not one */
    double weight;          /* a loss: its share of the total */
    bool in_total;
    double loss;
    bool
        active; /* runs backward: between a loss of the total and a gradient asked for */
    bool written; /* backward: its gradient has a first term */
    imp_need need;
    /* placed by the plan, in bytes from the block's start; SIZE_MAX: not there */
    size_t value, grad, saved;
} imp_node;

struct imp_graph {
    imp_ctx *ctx;
    imp_node *nodes;
    size_t count, room;
    imp_status status; /* the first error of a builder */
    bool planned;
    size_t bytes;
    size_t scratch_at, scratch;          /* offset and size */
    size_t thread_scratch, thread_bytes; /* for each thread: asked, and rounded up */
    char *block;
};

#endif
