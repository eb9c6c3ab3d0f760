/* SPDX-License-Identifier: MIT
 *
 * ONNX: the graph of a network in the order that it runs. The k-th convolution's
 * tensors are told as conv.K.weight and conv.K.bias, the k-th fully connected layer's
 * as linear.K.weight and linear.K.bias, whatever the file calls them. The graph must
 * be what a VGG's is: one chain of layers from the picture to the end, of operators
 * that leave no doubt what the weights are for.
 */
#include "foreign/onnx_messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct model {
    imp_onnx_graph graph;
    imp_wire_source
        sources[IMP_FOREIGN_COUNT]; /* of tensor i, where it is not inside */
    bool started;                   /* has a node used the picture? */
    imp_span picture;               /* what has become of it */
    size_t convs, linears;
    size_t outputs; /* of the last layer */
    bool bare;      /* the last node was a layer, and it has no bias yet */
    bool ended;     /* softmax was there */
} model;

typedef imp_status (*node_fn)(imp_foreign *f, const imp_onnx_node *node);

/* --- messages --- */

typedef struct label {
    char text[200];
} label;

static label label_of(const imp_onnx_node *n) {
    label l;
    snprintf(l.text, sizeof l.text, "node %zu (%.*s%s%.*s)", n->number, IMP_SPAN(n->op),
        n->name.n ? " " : "", IMP_SPAN(n->name));
    return l;
}

static label ints_of(const imp_onnx_attribute *a) {
    label l = {""};
    size_t used = 0;
    for (size_t i = 0; i < a->n_ints; i++)
        used += (size_t)snprintf(l.text + used, sizeof l.text - used, "%s%lld",
            i ? " " : "", (long long)a->ints[i]); /* 8 of at most 21 characters */
    return l;
}

/* --- weights --- */

static const imp_onnx_node *maker_of(const model *m, imp_span name, size_t before) {
    for (size_t i = 0; i < before; i++)
        if (imp_span_equal(m->graph.nodes[i].out, name)) return &m->graph.nodes[i];
    return NULL;
}

/* The value that is the node's input, as a tensor still without name. */
static imp_status find_weight(imp_foreign *f, const imp_onnx_node *node, size_t input,
    imp_foreign_tensor *t, imp_wire_source *source) {
    model *m = f->state;
    imp_span name = node->in[input];
    const imp_onnx_value *value = imp_onnx_find(&m->graph, name);
    if (value) {
        char what[120];
        snprintf(what, sizeof what, "tensor %.*s", IMP_SPAN(name));
        return imp_onnx_tell(f, &value->tensor, what, t, source);
    }
    const imp_onnx_node *maker = maker_of(m, name, node->number);
    return imp_foreign_fail(f,
        "%s: input %zu, %.*s: expected an initializer or a Constant, found %s",
        label_of(node).text, input, IMP_SPAN(name),
        maker ? label_of(maker).text : "none of that name");
}

static imp_status add(
    imp_foreign *f, const imp_foreign_tensor *t, const imp_wire_source *source) {
    model *m = f->state;
    imp_status s = imp_foreign_add(f, t);
    if (!s) m->sources[f->n - 1] = *source;
    return s;
}

/* A bias is broadcast over the picture: sides of one, outputs, and as many ones as the
 * picture has sides behind its channels. */
static bool is_bias(const imp_foreign_tensor *t, size_t outputs, size_t behind) {
    if (t->ndim < 1 + behind) return false;
    for (size_t i = 0; i < t->ndim; i++)
        if (t->shape[i] != (i == t->ndim - 1 - behind ? outputs : 1)) return false;
    return true;
}

/* The bias of the last layer. behind: 2 where it is added to a picture. */
static imp_status add_bias(
    imp_foreign *f, const imp_onnx_node *node, size_t input, size_t behind) {
    model *m = f->state;
    imp_foreign_tensor t = {0};
    imp_wire_source source;
    imp_status s = find_weight(f, node, input, &t, &source);
    if (s) return s;
    if (!is_bias(&t, m->outputs, behind))
        return imp_foreign_fail(f,
            "%s: input %zu, %.*s: expected a bias of %zu numbers, one a channel, found "
            "another shape",
            label_of(node).text, input, IMP_SPAN(node->in[input]), m->outputs);
    t.ndim = 1;
    t.shape[0] = m->outputs;
    s = m->linears ? imp_foreign_name(f, &t, "linear.%zu.bias", m->linears - 1)
                   : imp_foreign_name(f, &t, "conv.%zu.bias", m->convs - 1);
    return s ? s : add(f, &t, &source);
}

/* Does a node with weights fit in here, and has it so many inputs? */
static imp_status check_layer(imp_foreign *f, const imp_onnx_node *node, size_t most) {
    const model *m = f->state;
    if (node->n_in < 2 || node->n_in > most)
        return imp_foreign_fail(f, "%s: expected 2 to %zu inputs, found %zu",
            label_of(node).text, most, node->n_in);
    if (m->ended)
        return imp_foreign_fail(f,
            "%s: expected no layer after softmax, found this one", label_of(node).text);
    return IMP_OK;
}

/* After its weight: the bias, where the node has it. */
static imp_status finish_layer(imp_foreign *f, const imp_onnx_node *node) {
    model *m = f->state;
    m->bare = node->n_in < 3 || node->in[2].n == 0;
    return m->bare ? IMP_OK : add_bias(f, node, 2, 0);
}

/* --- convolutions --- */

static imp_status refuse_attribute(imp_foreign *f, const imp_onnx_node *node,
    const imp_onnx_attribute *a, const char *expected, const char *found) {
    return imp_foreign_fail(f, "%s: attribute %.*s: expected %s, found %s",
        label_of(node).text, IMP_SPAN(a->name), expected, found);
}

/* *padded: does this attribute say how much? */
static imp_status check_conv_attribute(imp_foreign *f, const imp_onnx_node *node,
    const imp_onnx_attribute *a, bool *padded) {
    static const struct {
        const char *name, *expected;
        size_t n;
        int64_t value;
    } all[] = {{"kernel_shape", "3 3", 2, 3}, {"strides", "1 1", 2, 1},
        {"dilations", "1 1", 2, 1}, {"pads", "1 1 1 1", 4, 1}};
    if (imp_span_is(a->name, "group")) {
        char found[32];
        snprintf(found, sizeof found, "%lld", (long long)a->i);
        return a->i == 1 ? IMP_OK : refuse_attribute(f, node, a, "1", found);
    }
    if (imp_span_is(a->name, "auto_pad")) { /* 3 x 3 in steps of 1: the same is 1 */
        if (imp_span_is(a->text, "NOTSET")) return IMP_OK;
        *padded = true;
        if (imp_span_is(a->text, "SAME_UPPER") || imp_span_is(a->text, "SAME_LOWER"))
            return IMP_OK;
        return refuse_attribute(f, node, a, "NOTSET or SAME", "another");
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!imp_span_is(a->name, all[i].name)) continue;
        bool good = a->n_ints == all[i].n;
        for (size_t j = 0; j < a->n_ints; j++)
            good = good && a->ints[j] == all[i].value;
        *padded = *padded || all[i].n == 4;
        return good ? IMP_OK
                    : refuse_attribute(f, node, a, all[i].expected, ints_of(a).text);
    }
    return refuse_attribute(f, node, a, "none of that name", "it");
}

static imp_status check_conv(imp_foreign *f, const imp_onnx_node *node) {
    imp_wire w = imp_onnx_attributes(f, node);
    imp_onnx_attribute a;
    bool padded = false;
    imp_status s = IMP_OK;
    while (!s && imp_onnx_attribute_next(f, &w, &a, &s))
        s = check_conv_attribute(f, node, &a, &padded);
    if (s || padded) return s;
    return imp_foreign_fail(
        f, "%s: attribute pads: expected 1 1 1 1, found none", label_of(node).text);
}

static imp_status read_conv(imp_foreign *f, const imp_onnx_node *node) {
    model *m = f->state;
    imp_foreign_tensor t = {0};
    imp_wire_source source;
    imp_status s = check_layer(f, node, 3);
    if (!s) s = check_conv(f, node);
    if (!s) s = find_weight(f, node, 1, &t, &source);
    if (s) return s;
    if (m->linears)
        return imp_foreign_fail(f,
            "%s: expected convolutions before all fully connected layers, found it "
            "after",
            label_of(node).text);
    if (t.ndim != 4 || t.shape[2] != 3 || t.shape[3] != 3)
        return imp_foreign_fail(f,
            "%s: weight %.*s: expected four sides, the last two of 3, found others",
            label_of(node).text, IMP_SPAN(node->in[1]));
    m->outputs = t.shape[0];
    s = imp_foreign_name(f, &t, "conv.%zu.weight", m->convs++);
    if (!s) s = add(f, &t, &source);
    return s ? s : finish_layer(f, node);
}

/* --- fully connected layers --- */

static imp_status check_gemm_attribute(imp_foreign *f, const imp_onnx_node *node,
    const imp_onnx_attribute *a, bool *transposed) {
    char found[48];
    if (imp_span_is(a->name, "broadcast")) return IMP_OK; /* of old versions */
    if (imp_span_is(a->name, "alpha") || imp_span_is(a->name, "beta")) {
        snprintf(found, sizeof found, "%g", (double)a->f);
        return a->f == 1 ? IMP_OK : refuse_attribute(f, node, a, "1", found);
    }
    snprintf(found, sizeof found, "%lld", (long long)a->i);
    if (imp_span_is(a->name, "transA"))
        return a->i == 0 ? IMP_OK : refuse_attribute(f, node, a, "0", found);
    if (!imp_span_is(a->name, "transB"))
        return refuse_attribute(f, node, a, "none of that name", "it");
    *transposed = a->i == 1;
    return a->i == 0 || a->i == 1 ? IMP_OK
                                  : refuse_attribute(f, node, a, "0 or 1", found);
}

/* transposed: the file has outputs x inputs. Otherwise inputs x outputs, which is the
 * same with the first dimension running fastest. */
static imp_status read_linear(
    imp_foreign *f, const imp_onnx_node *node, bool transposed) {
    model *m = f->state;
    imp_foreign_tensor t = {0};
    imp_wire_source source;
    imp_status s = find_weight(f, node, 1, &t, &source);
    if (s) return s;
    if (t.ndim != 2)
        return imp_foreign_fail(f, "%s: weight %.*s: expected two sides, found %zu",
            label_of(node).text, IMP_SPAN(node->in[1]), t.ndim);
    if (!transposed) {
        size_t inputs = t.shape[0];
        t.shape[0] = t.shape[1];
        t.shape[1] = inputs;
        t.column_major = true;
    }
    m->outputs = t.shape[0];
    s = imp_foreign_name(f, &t, "linear.%zu.weight", m->linears++);
    if (!s) s = add(f, &t, &source);
    return s ? s : finish_layer(f, node);
}

static imp_status read_gemm(imp_foreign *f, const imp_onnx_node *node) {
    imp_wire w = imp_onnx_attributes(f, node);
    imp_onnx_attribute a;
    bool transposed = false;
    imp_status s = check_layer(f, node, 3);
    while (!s && imp_onnx_attribute_next(f, &w, &a, &s))
        s = check_gemm_attribute(f, node, &a, &transposed);
    return s ? s : read_linear(f, node, transposed);
}

static imp_status read_matmul(imp_foreign *f, const imp_onnx_node *node) {
    imp_status s = check_layer(f, node, 2);
    return s ? s : read_linear(f, node, false);
}

/* --- the chain --- */

/* Is that value what has become of the picture? At first: one that nothing makes. */
static bool is_picture(const model *m, imp_span name, size_t before) {
    if (m->started) return imp_span_equal(m->picture, name);
    return name.n && !imp_onnx_find(&m->graph, name) && !maker_of(m, name, before);
}

static imp_status read_add(imp_foreign *f, const imp_onnx_node *node) {
    model *m = f->state;
    bool bare = m->bare;
    m->bare = false;
    if (!bare || node->n_in != 2)
        return imp_foreign_fail(f,
            "%s: expected the bias of a layer just before, found no such layer",
            label_of(node).text);
    size_t input = imp_span_equal(m->picture, node->in[0]) ? 1 : 0;
    return add_bias(f, node, input, m->linears ? 0 : 2);
}

/* One that changes no weight's meaning. */
static imp_status read_step(imp_foreign *f, const imp_onnx_node *node) {
    (void)node;
    ((model *)f->state)->bare = false;
    return IMP_OK;
}

static imp_status read_end(imp_foreign *f, const imp_onnx_node *node) {
    ((model *)f->state)->ended = true;
    return read_step(f, node);
}

/* Channels may be moved before the first layer, not between two: the fully connected
 * ones would want their inputs in another order. */
static imp_status read_transpose(imp_foreign *f, const imp_onnx_node *node) {
    const model *m = f->state;
    if (m->convs + m->linears == 0) return read_step(f, node);
    return imp_foreign_fail(f,
        "%s: expected the channels where they are between layers, found them moved",
        label_of(node).text);
}

/* What a node may be. With the picture in its hand it is read; aside: it may also work
 * on shapes and constants. */
static const struct {
    const char *op;
    node_fn read; /* NULL: it has no business with the picture */
    bool aside;
} operators[] = {
    {"Conv", read_conv, false},
    {"Gemm", read_gemm, false},
    {"MatMul", read_matmul, false},
    {"Add", read_add, false},
    {"Relu", read_step, false},
    {"MaxPool", read_step, false},
    {"AveragePool", read_step, false},
    {"Dropout", read_step, false},
    {"Flatten", read_step, false},
    {"Softmax", read_end, false},
    {"LogSoftmax", read_end, false},
    {"Transpose", read_transpose, true},
    {"Reshape", read_step, true},
    {"Identity", read_step, true},
    {"Cast", read_step, true},
    {"Squeeze", read_step, true},
    {"Constant", NULL, true},
    {"Unsqueeze", NULL, true},
    {"Shape", NULL, true},
    {"Gather", NULL, true},
    {"Slice", NULL, true},
    {"Concat", NULL, true},
};

/* A node beside the chain: it may not have the picture, but for its shape. */
static imp_status read_aside(imp_foreign *f, const imp_onnx_node *node) {
    model *m = f->state;
    const imp_onnx_value *value = imp_onnx_find(&m->graph, node->in[0]);
    if (value && imp_span_is(node->op, "Identity"))
        return imp_onnx_add(f, &m->graph, node->out, value->tensor);
    if (!m->started || imp_span_is(node->op, "Shape")) return IMP_OK;
    for (size_t i = 0; i < 3; i++)
        if (imp_span_equal(m->picture, node->in[i]))
            return imp_foreign_fail(f,
                "%s: expected one chain of layers, found this at work on %.*s",
                label_of(node).text, IMP_SPAN(node->in[i]));
    return IMP_OK;
}

static imp_status read_chain(imp_foreign *f, const imp_onnx_node *node, node_fn read) {
    model *m = f->state;
    imp_status s = read(f, node);
    if (s) return s;
    if (node->out.n == 0)
        return imp_foreign_fail(
            f, "%s: expected an output, found none", label_of(node).text);
    m->started = true;
    m->picture = node->out;
    return IMP_OK;
}

static imp_status read_node(imp_foreign *f, const imp_onnx_node *node) {
    const model *m = f->state;
    bool known = node->domain.n == 0 || imp_span_is(node->domain, "ai.onnx");
    for (size_t i = 0; known && i < sizeof operators / sizeof *operators; i++) {
        if (!imp_span_is(node->op, operators[i].op)) continue;
        bool chained =
            is_picture(m, node->in[0], node->number) ||
            (operators[i].read == read_add && is_picture(m, node->in[1], node->number));
        if (chained && operators[i].read) return read_chain(f, node, operators[i].read);
        if (operators[i].aside) return read_aside(f, node);
        return imp_foreign_fail(f,
            "%s: input 0: expected %.*s, which the layers before give, found %.*s",
            label_of(node).text, IMP_SPAN(m->picture), IMP_SPAN(node->in[0]));
    }
    return imp_foreign_fail(f,
        "%s: expected an operator of a VGG (Conv, Relu, MaxPool, Gemm, ...), found "
        "%.*s",
        label_of(node).text, IMP_SPAN(node->op));
}

/* --- the reader --- */

static imp_status open_file(imp_foreign *f) {
    model *m = f->state = calloc(1, sizeof *m);
    if (!m) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    m->picture = IMP_NO_SPAN;
    imp_status s = imp_onnx_read(f, &m->graph);
    for (size_t i = 0; !s && i < m->graph.n_nodes; i++)
        s = read_node(f, &m->graph.nodes[i]);
    if (s || f->n) return s;
    return imp_foreign_fail(f, "graph: expected layers with weights, found none");
}

static imp_status read_tensor(imp_foreign *f, size_t i) {
    const model *m = f->state;
    return imp_wire_send(f, &m->sources[i]);
}

static void close_file(imp_foreign *f) {
    model *m = f->state;
    if (m) imp_onnx_free(&m->graph);
    free(m);
    f->state = NULL;
}

const imp_reader imp_reader_onnx = {.format = "ONNX",
    .recognise = imp_onnx_is_model,
    .open = open_file,
    .read = read_tensor,
    .close = close_file};
