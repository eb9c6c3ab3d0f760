/* SPDX-License-Identifier: MIT
 *
 * plan.h: the passes of planning, in their order.
 */
#ifndef IMP_PLAN_H
#define IMP_PLAN_H

#include "graph/graph.h"

/* ReLU after conv2d or linear becomes a flag of theirs. */
void imp_graph_fuse(imp_graph *g);

#endif
