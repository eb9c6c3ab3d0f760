/* SPDX-License-Identifier: MIT
 *
 * graph.h: inside a graph. Nodes in order of building; the plan finds the order of running.
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
    bool lasting;  /* there at the end of forward, not made again */
    bool fused;    /* done by the node before: this value is that one's */
    imp_id alias;  /* fused: whose value it is */
    imp_id maker;  /* whose runs make this one's value and take in its gradient as well;
                    * IMP_NONE: its own */
    imp_id gram;   /* the Gram matrix whose maker this one is; IMP_NONE: none's */
    const float *parameter; /* borrowed; NULL: not one */
    double weight;          /* a loss: its share of the total */
    bool in_total;
    double loss;
    bool
        active; /* runs backward: between a loss of the total and a gradient asked for */
    bool written;    /* backward: its gradient has a first term */
    bool made_again; /* backward: its value is there a second time */
    imp_need need;
    size_t forward_time, backward_time; /* when it runs: indices into order */
    bool gradient_at_value; /* its gradient takes the value's place as that dies */
    /* placed by the plan, in bytes from the block's start; SIZE_MAX: not there.
     * again: where the value is made a second time for backward, instead of being kept */
    size_t value, again, grad, saved;
} imp_node;

struct imp_graph {
    imp_ctx *ctx;
    imp_node *nodes;
    size_t count, room;
    imp_status status; /* the first error of a builder */
    bool planned;
    bool thrifty;  /* make values again for backward where that saves memory */
    size_t *order; /* nodes as they run: forward_runs of them, then the backward runs */
    size_t forward_runs, runs;
    size_t bytes;
    size_t scratch_at, scratch;          /* offset and size */
    size_t thread_scratch, thread_bytes; /* for each thread: asked, and rounded up */
    char *block;
};

/* The blocked value of a planned graph's input, or of a lasting node after a forward run. */
float *imp_graph_data(const imp_graph *g, imp_id id);

/* Run r of the plan's order, of a graph with memory; all before it have run. */
void imp_graph_run(imp_graph *g, size_t r);

#endif
