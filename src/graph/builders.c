/* SPDX-License-Identifier: MIT
 *
 * builders.c: one typed builder an operation. An error is kept; what follows it builds
 * nothing and returns IMP_NONE.
 */
#include "graph/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A new node, or NULL with the graph's error set. */
static imp_node *new_node(imp_graph *g, const char *name) {
    if (g->status) return NULL;
    if (g->planned) {
        g->status =
            imp_fail(g->ctx, IMP_ERR_ARG, "graph: planned already, cannot grow");
        return NULL;
    }
    if (g->count == g->room) {
        size_t room = g->room ? 2 * g->room : 64;
        imp_node *nodes = realloc(g->nodes, room * sizeof *nodes);
        if (!nodes) {
            g->status = imp_fail(g->ctx, IMP_ERR_LIMIT, "graph: no memory for nodes");
            return NULL;
        }
        g->nodes = nodes;
        g->room = room;
    }
    imp_node *n = &g->nodes[g->count];
    memset(n, 0, sizeof *n);
    snprintf(n->name, sizeof n->name, "%s", name ? name : "");
    n->maker = n->gram = IMP_NONE;
    n->value = n->again = n->grad = n->saved = SIZE_MAX;
    return n;
}

static bool check_shape(imp_graph *g, const char *name, imp_shape s) {
    size_t size = sizeof(float), rounded = s.c;
    bool good = s.n && s.c && s.h && s.w && imp_add_size(&rounded, s.c, 15) &&
                imp_mul(&size, size, s.n) && imp_mul(&size, size, rounded) &&
                imp_mul(&size, size, s.h) && imp_mul(&size, size, s.w) &&
                (s.layout != IMP_WEIGHT || imp_mul(&size, size, 16)) &&
                size < SIZE_MAX / 64;
    if (!good)
        g->status = imp_fail(g->ctx, IMP_ERR_ARG,
            "graph: %s: a shape of %zu x %zu x %zu x %zu cannot be", name, s.n, s.c,
            s.h, s.w);
    if (good && s.layout == IMP_PICTURE && s.c > IMP_PICTURE_LANES) {
        g->status = imp_fail(g->ctx, IMP_ERR_ARG,
            "graph: %s: a picture has 1 to %d channels, found %zu", name,
            IMP_PICTURE_LANES, s.c);
        return false;
    }
    return good;
}

imp_id imp_graph_input(imp_graph *g, const char *name, imp_shape shape, bool gradient) {
    imp_node *n = new_node(g, name);
    if (!n || !check_shape(g, n->name, shape)) return IMP_NONE;
    n->shape = shape;
    n->gradient = gradient;
    n->keep = true;
    return (imp_id)g->count++;
}

imp_id imp_graph_parameter(imp_graph *g, const char *name, imp_shape shape,
    const float *blocked, bool gradient) {
    imp_node *n = new_node(g, name);
    if (!n || !check_shape(g, n->name, shape)) return IMP_NONE;
    n->shape = shape;
    n->gradient = gradient;
    n->parameter = blocked;
    return (imp_id)g->count++;
}

static imp_id add_op(imp_graph *g, const imp_op *op, const void *attr, size_t attr_size,
    const imp_id *in, size_t n_in) {
    imp_node *n = new_node(g, op->name);
    if (!n) return IMP_NONE;
    imp_shape shapes[IMP_MAX_INPUTS];
    for (size_t i = 0; i < n_in; i++) {
        if (in[i] < 0 || (size_t)in[i] >= g->count) {
            g->status = imp_fail(
                g->ctx, IMP_ERR_ARG, "%s: input %zu is not a value", op->name, i);
            return IMP_NONE;
        }
        n->in[i] = in[i];
        shapes[i] = g->nodes[in[i]].shape;
        n->gradient |= g->nodes[in[i]].gradient;
    }
    bool takes_picture = op == &imp_op_conv2d || op == &imp_op_total_variation;
    for (size_t i = 0; i < n_in; i++) {
        if (shapes[i].layout != IMP_PICTURE || (i == 0 && takes_picture)) continue;
        g->status = imp_fail(g->ctx, IMP_ERR_ARG,
            "%s: a picture goes into a convolution or its total variation", op->name);
        return IMP_NONE;
    }
    n->op = op;
    n->n_in = n_in;
    if (attr_size) memcpy(n->attr, attr, attr_size);
    g->status = op->shape(g->ctx, n->attr, shapes, n_in, &n->shape);
    if (g->status || !check_shape(g, op->name, n->shape)) return IMP_NONE;
    return (imp_id)g->count++;
}

static imp_id with_bias(imp_graph *g, const imp_op *op, const void *attr,
    size_t attr_size, imp_id x, imp_id w, imp_id b) {
    return add_op(g, op, attr, attr_size, (imp_id[]){x, w, b}, b == IMP_NONE ? 2 : 3);
}

imp_id imp_conv2d(imp_graph *g, imp_id x, imp_id w, imp_id b, imp_conv attr) {
    imp_conv_attr a = {.conv = attr};
    return with_bias(g, &imp_op_conv2d, &a, sizeof a, x, w, b);
}

imp_id imp_linear(imp_graph *g, imp_id x, imp_id w, imp_id b) {
    imp_linear_attr a = {0};
    return with_bias(g, &imp_op_linear, &a, sizeof a, x, w, b);
}

imp_id imp_relu(imp_graph *g, imp_id x) {
    return add_op(g, &imp_op_relu, NULL, 0, &x, 1);
}

imp_id imp_pool2d(imp_graph *g, imp_id x, imp_pool attr) {
    return add_op(g, &imp_op_pool2d, &attr, sizeof attr, &x, 1);
}

imp_id imp_flatten(imp_graph *g, imp_id x, imp_flatten_order order) {
    imp_flatten_attr a = {order};
    return add_op(g, &imp_op_flatten, &a, sizeof a, &x, 1);
}

imp_id imp_add(imp_graph *g, imp_id a, imp_id b) {
    return add_op(g, &imp_op_add, NULL, 0, (imp_id[]){a, b}, 2);
}

imp_id imp_softmax(imp_graph *g, imp_id x) {
    return add_op(g, &imp_op_softmax, NULL, 0, &x, 1);
}

imp_id imp_resample(
    imp_graph *g, imp_id x, size_t height, size_t width, imp_filter filter) {
    imp_resample_attr a = {height, width, filter};
    return add_op(g, &imp_op_resample, &a, sizeof a, &x, 1);
}

imp_id imp_gram(imp_graph *g, imp_id x) {
    return add_op(g, &imp_op_gram, NULL, 0, &x, 1);
}

imp_id imp_mean(imp_graph *g, imp_id x) {
    return add_op(g, &imp_op_mean, NULL, 0, &x, 1);
}

imp_id imp_centre(imp_graph *g, imp_id gram, imp_id mean) {
    return add_op(g, &imp_op_centre, NULL, 0, (imp_id[]){gram, mean}, 2);
}

imp_id imp_guide(imp_graph *g, imp_id x, imp_id m) {
    return add_op(g, &imp_op_guide, NULL, 0, (imp_id[]){x, m}, 2);
}

imp_id imp_select(imp_graph *g, imp_id x, imp_id picks) {
    return add_op(g, &imp_op_select, NULL, 0, (imp_id[]){x, picks}, 2);
}

imp_id imp_cross_entropy(imp_graph *g, imp_id x, imp_id labels) {
    return add_op(g, &imp_op_cross_entropy, NULL, 0, (imp_id[]){x, labels}, 2);
}

imp_id imp_matching_loss(imp_graph *g, imp_id x, imp_id target) {
    return add_op(g, &imp_op_matching_loss, NULL, 0, (imp_id[]){x, target}, 2);
}

static imp_id squared_error(imp_graph *g, imp_id x, imp_id target, bool style) {
    imp_squared_error_attr a = {style};
    return add_op(g, &imp_op_squared_error, &a, sizeof a, (imp_id[]){x, target}, 2);
}

imp_id imp_content_loss(imp_graph *g, imp_id x, imp_id target) {
    return squared_error(g, x, target, false);
}

imp_id imp_style_loss(imp_graph *g, imp_id gram, imp_id target) {
    return squared_error(g, gram, target, true);
}

imp_id imp_total_variation(imp_graph *g, imp_id x) {
    return add_op(g, &imp_op_total_variation, NULL, 0, &x, 1);
}

imp_id imp_wasserstein(imp_graph *g, imp_id covariance, imp_id root) {
    return add_op(g, &imp_op_wasserstein, NULL, 0, (imp_id[]){covariance, root}, 2);
}
