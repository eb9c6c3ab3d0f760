/* SPDX-License-Identifier: MIT */
#include "foreign/onnx_messages.h"

#include <stdlib.h>
#include <string.h>

enum { MODEL_IR_VERSION = 1, MODEL_GRAPH = 7 };
static const imp_wire_rule model_rules[] = {
    {MODEL_IR_VERSION, IMP_WIRE_VARINT, false},
    {2, IMP_WIRE_BYTES, false},  /* producer_name */
    {3, IMP_WIRE_BYTES, false},  /* producer_version */
    {4, IMP_WIRE_BYTES, false},  /* domain */
    {5, IMP_WIRE_VARINT, false}, /* model_version */
    {6, IMP_WIRE_BYTES, false},  /* doc_string */
    {MODEL_GRAPH, IMP_WIRE_BYTES, true}, {8, IMP_WIRE_BYTES, false}, /* opset_import */
    {14, IMP_WIRE_BYTES, false}, /* metadata_props */
    {20, IMP_WIRE_BYTES, false}, /* training_info */
    {25, IMP_WIRE_BYTES, false}, /* functions */
    {26, IMP_WIRE_BYTES, false}, /* configuration */
};

enum { GRAPH_NODE = 1, GRAPH_INITIALIZER = 5 };
static const imp_wire_rule graph_rules[] = {
    {GRAPH_NODE, IMP_WIRE_BYTES, false}, {GRAPH_INITIALIZER, IMP_WIRE_BYTES, false}};

enum {
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_NAME = 3,
    NODE_OP = 4,
    NODE_ATTRIBUTE = 5,
    NODE_DOMAIN = 7
};
static const imp_wire_rule node_rules[] = {{NODE_INPUT, IMP_WIRE_BYTES, false},
    {NODE_OUTPUT, IMP_WIRE_BYTES, false}, {NODE_NAME, IMP_WIRE_BYTES, false},
    {NODE_OP, IMP_WIRE_BYTES, false}, {NODE_ATTRIBUTE, IMP_WIRE_BYTES, false},
    {NODE_DOMAIN, IMP_WIRE_BYTES, false}};
static const imp_wire_rule node_attribute_rules[] = {
    {NODE_ATTRIBUTE, IMP_WIRE_BYTES, false}};

enum {
    ATTRIBUTE_NAME = 1,
    ATTRIBUTE_F = 2,
    ATTRIBUTE_I = 3,
    ATTRIBUTE_S = 4,
    ATTRIBUTE_T = 5,
    ATTRIBUTE_INTS = 8
};
/* The graphs that an attribute may have (g, graphs) are stepped over. */
static const imp_wire_rule attribute_rules[] = {{ATTRIBUTE_NAME, IMP_WIRE_BYTES, false},
    {ATTRIBUTE_F, IMP_WIRE_FIXED32, false}, {ATTRIBUTE_I, IMP_WIRE_VARINT, false},
    {ATTRIBUTE_S, IMP_WIRE_BYTES, false}, {ATTRIBUTE_T, IMP_WIRE_BYTES, true},
    {ATTRIBUTE_INTS, IMP_WIRE_INTS, false}};

enum {
    TENSOR_DIMS = 1,
    TENSOR_TYPE = 2,
    TENSOR_FLOATS = 4,
    TENSOR_NAME = 8,
    TENSOR_RAW = 9,
    TENSOR_DOUBLES = 10,
    TENSOR_EXTERNAL = 13,
    TENSOR_LOCATION = 14
};
static const imp_wire_rule tensor_rules[] = {{TENSOR_DIMS, IMP_WIRE_INTS, false},
    {TENSOR_TYPE, IMP_WIRE_VARINT, false}, {TENSOR_FLOATS, IMP_WIRE_FLOATS, false},
    {TENSOR_NAME, IMP_WIRE_BYTES, false}, {TENSOR_RAW, IMP_WIRE_BYTES, false},
    {TENSOR_DOUBLES, IMP_WIRE_DOUBLES, false}, {TENSOR_EXTERNAL, IMP_WIRE_BYTES, false},
    {TENSOR_LOCATION, IMP_WIRE_VARINT, false}};

/* TensorProto.DataType, those that are told */
enum { TYPE_FLOAT = 1, TYPE_FLOAT16 = 10, TYPE_DOUBLE = 11, TYPE_BFLOAT16 = 16 };

static const imp_wire_rule entry_rules[] = {
    {1, IMP_WIRE_BYTES, false}, {2, IMP_WIRE_BYTES, false}}; /* key, value */

/* The message in a field of another one. */
static imp_wire inside(const uint8_t *data, const imp_wire_field *field,
    const imp_wire_rule *rules, size_t n) {
    return imp_wire_of(data, field->offset, field->offset + field->length, rules, n);
}

/* No magic tells: all fields up to the file's end must be ModelProto's, ir_version and
 * graph among them. A caffemodel cannot pass: it has no field 7 with a length, and its
 * field 1 (name) has one. A graph that reaches beyond the end is of a file cut short:
 * that is said by open. */
bool imp_onnx_is_model(const uint8_t *data, size_t size) {
    imp_wire w = imp_wire_of(data, 0, size, IMP_WIRE_ALL(model_rules));
    imp_wire_field field;
    bool version = false, graph = false;
    w.strict = true;
    while (imp_wire_next(&w, &field)) {
        version = version || field.number == MODEL_IR_VERSION;
        graph = graph || field.number == MODEL_GRAPH;
    }
    if (w.cut) return version && (graph || w.number == MODEL_GRAPH);
    return version && graph && !w.damage;
}

/* --- tensors --- */

/* The numbers lie in other files: those are never opened. */
static imp_status refuse_external(
    imp_foreign *f, imp_span name, const imp_wire_field *entry) {
    imp_span key = IMP_NO_SPAN, value = IMP_NO_SPAN;
    imp_wire_field part;
    if (entry) {
        imp_wire w = inside(f->data, entry, IMP_WIRE_ALL(entry_rules));
        while (imp_wire_next(&w, &part))
            *(part.number == 1 ? &key : &value) = imp_wire_span(&w, &part);
    }
    return imp_foreign_fail(f,
        "tensor %.*s: expected its numbers in this file, found external data, which is "
        "not opened (%.*s: %.*s)",
        IMP_SPAN(name), IMP_SPAN(key), IMP_SPAN(value));
}

static void read_tensor_field(
    imp_wire *w, const imp_wire_field *part, imp_onnx_value *out) {
    imp_onnx_tensor *t = &out->tensor;
    switch (part->number) {
    case TENSOR_DIMS:
        imp_wire_ints(w, part, t->shape, IMP_SAFETENSORS_DIMS, &t->ndim);
        break;
    case TENSOR_TYPE:
        t->type = (int64_t)part->value;
        break;
    case TENSOR_FLOATS:
        imp_wire_count(w, &t->floats, part, 4);
        break;
    case TENSOR_DOUBLES:
        imp_wire_count(w, &t->doubles, part, 8);
        break;
    case TENSOR_NAME:
        out->name = imp_wire_span(w, part);
        break;
    case TENSOR_RAW: /* not repeated: the last one counts */
        t->raw = (imp_wire_numbers){0};
        imp_wire_count(w, &t->raw, part, 1);
        break;
    default:
        break;
    }
}

static imp_status read_tensor(
    imp_foreign *f, const imp_wire_field *field, imp_onnx_value *out) {
    imp_wire w = inside(f->data, field, IMP_WIRE_ALL(tensor_rules));
    imp_wire_field part, entry = {0};
    bool external = false;
    *out = (imp_onnx_value){.name = IMP_NO_SPAN, .tensor = {.at = w.at, .end = w.end}};
    while (imp_wire_next(&w, &part)) {
        read_tensor_field(&w, &part, out);
        if (part.number == TENSOR_EXTERNAL && !entry.number) entry = part;
        if (part.number == TENSOR_LOCATION) external = part.value != 0;
    }
    imp_status s = imp_wire_end(f, &w, "tensor");
    if (!s && (external || entry.number))
        s = refuse_external(f, out->name, entry.number ? &entry : NULL);
    return s;
}

static bool find_dtype(int64_t type, imp_dtype *out) {
    static const struct {
        int64_t type;
        imp_dtype dtype;
    } all[] = {{TYPE_FLOAT, IMP_DTYPE_F32}, {TYPE_FLOAT16, IMP_DTYPE_F16},
        {TYPE_DOUBLE, IMP_DTYPE_F64}, {TYPE_BFLOAT16, IMP_DTYPE_BF16}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].type == type) {
            *out = all[i].dtype;
            return true;
        }
    return false;
}

/* Which of the fields holds the numbers; NULL: not exactly one does. Numbers of 16
 * bits are taken from raw_data alone: beside it they would be varints. */
static const imp_wire_numbers *find_numbers(
    const imp_onnx_tensor *t, imp_dtype dtype, uint32_t *field) {
    const imp_wire_numbers none = {0}, *typed = &none;
    if (dtype == IMP_DTYPE_F32) typed = &t->floats;
    if (dtype == IMP_DTYPE_F64) typed = &t->doubles;
    if ((t->raw.bytes > 0) + (t->floats.bytes > 0) + (t->doubles.bytes > 0) != 1)
        return NULL;
    *field = TENSOR_RAW;
    if (t->raw.bytes) return &t->raw;
    *field = dtype == IMP_DTYPE_F32 ? TENSOR_FLOATS : TENSOR_DOUBLES;
    return typed->bytes ? typed : NULL;
}

imp_status imp_onnx_tell(imp_foreign *f, const imp_onnx_tensor *tensor,
    const char *what, imp_foreign_tensor *t, imp_wire_source *source) {
    if (!find_dtype(tensor->type, &t->dtype))
        return imp_foreign_fail(f,
            "%s: data_type: expected FLOAT, FLOAT16, DOUBLE or BFLOAT16 (1, 10, 11, "
            "16), "
            "found %lld",
            what, (long long)tensor->type);
    const imp_wire_numbers *n = find_numbers(tensor, t->dtype, &source->number);
    if (!n)
        return imp_foreign_fail(f,
            "%s: expected numbers in raw_data, or FLOAT in float_data, DOUBLE in "
            "double_data, and in one of them, found %zu, %zu, %zu bytes",
            what, tensor->raw.bytes, tensor->floats.bytes, tensor->doubles.bytes);
    size_t bytes = imp_dtype_size(t->dtype);
    bool fits = true;
    t->ndim = tensor->ndim;
    for (size_t i = 0; i < t->ndim; i++) {
        if (tensor->shape[i] < 0)
            return imp_foreign_fail(f, "%s: dims %zu: expected 0 or more, found %lld",
                what, i, (long long)tensor->shape[i]);
        t->shape[i] = (size_t)tensor->shape[i];
        fits = fits && imp_mul(&bytes, bytes, t->shape[i]);
    }
    if (!fits || bytes != n->bytes)
        return imp_foreign_fail(f,
            "%s: expected the %zu bytes of numbers that its dims say, found %zu", what,
            fits ? bytes : SIZE_MAX, n->bytes);
    t->inside = n->pieces == 1;
    t->offset = t->inside ? n->first : 0;
    source->at = tensor->at;
    source->end = tensor->end;
    return IMP_OK;
}

/* --- values --- */

const imp_onnx_value *imp_onnx_find(const imp_onnx_graph *g, imp_span name) {
    for (size_t i = 0; i < g->n_values; i++)
        if (imp_span_equal(g->values[i].name, name)) return &g->values[i];
    return NULL;
}

/* p with room for one more than n; NULL: no memory, which is said. */
static void *grow(imp_foreign *f, void *p, size_t n, size_t *room, size_t size) {
    if (n < *room) return p;
    size_t more = *room ? 2 * *room : 64; /* whoever calls has bounded n */
    void *grown = realloc(p, more * size);
    if (grown)
        *room = more;
    else
        (void)imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    return grown;
}

imp_status imp_onnx_add(
    imp_foreign *f, imp_onnx_graph *g, imp_span name, imp_onnx_tensor tensor) {
    if (name.n == 0 || name.n > IMP_ONNX_NAME)
        return imp_foreign_fail(f,
            "tensor %.*s: expected a name of 1 to %d bytes, found %zu", IMP_SPAN(name),
            IMP_ONNX_NAME, name.n);
    if (imp_onnx_find(g, name))
        return imp_foreign_fail(
            f, "tensor %.*s: expected it once, found it twice", IMP_SPAN(name));
    if (g->n_values == 2 * IMP_ONNX_NODES)
        return imp_foreign_fail(
            f, "graph: expected at most %zu tensors, found more", g->n_values);
    imp_onnx_value *values =
        grow(f, g->values, g->n_values, &g->room_values, sizeof *values);
    if (!values) return IMP_ERR_LIMIT;
    g->values = values;
    values[g->n_values++] = (imp_onnx_value){name, tensor};
    return IMP_OK;
}

static imp_status add_initializer(
    imp_foreign *f, imp_onnx_graph *g, const imp_wire_field *field) {
    imp_onnx_value value;
    imp_status s = read_tensor(f, field, &value);
    return s ? s : imp_onnx_add(f, g, value.name, value.tensor);
}

/* --- nodes --- */

static void read_attribute_field(
    imp_wire *w, const imp_wire_field *part, imp_onnx_attribute *out) {
    switch (part->number) {
    case ATTRIBUTE_NAME:
        out->name = imp_wire_span(w, part);
        break;
    case ATTRIBUTE_F:
        memcpy(&out->f, w->data + part->offset, 4); /* little endian, as our machines */
        break;
    case ATTRIBUTE_I:
        out->i = (int64_t)part->value;
        break;
    case ATTRIBUTE_S:
        out->text = imp_wire_span(w, part);
        break;
    case ATTRIBUTE_INTS:
        imp_wire_ints(w, part, out->ints, IMP_SAFETENSORS_DIMS, &out->n_ints);
        break;
    default:
        break;
    }
}

imp_wire imp_onnx_attributes(const imp_foreign *f, const imp_onnx_node *node) {
    return imp_wire_of(
        f->data, node->at, node->end, IMP_WIRE_ALL(node_attribute_rules));
}

bool imp_onnx_attribute_next(
    imp_foreign *f, imp_wire *w, imp_onnx_attribute *out, imp_status *s) {
    imp_wire_field field, part;
    *out = (imp_onnx_attribute){.name = IMP_NO_SPAN, .text = IMP_NO_SPAN};
    *s = IMP_OK;
    if (!imp_wire_next(w, &field)) return false; /* damage: read_node has met it */
    imp_wire a = inside(f->data, &field, IMP_WIRE_ALL(attribute_rules));
    while (imp_wire_next(&a, &part)) read_attribute_field(&a, &part, out);
    *s = imp_wire_end(f, &a, "attribute");
    return !*s;
}

/* A Constant's value is as good as an initializer. */
static imp_status add_constant(
    imp_foreign *f, imp_onnx_graph *g, const imp_onnx_node *node) {
    imp_wire w = imp_onnx_attributes(f, node);
    imp_wire_field field, part;
    imp_status s = IMP_OK;
    while (!s && imp_wire_next(&w, &field)) {
        imp_wire a = inside(f->data, &field, IMP_WIRE_ALL(attribute_rules));
        while (!s && imp_wire_next(&a, &part)) {
            imp_onnx_value value;
            if (part.number != ATTRIBUTE_T) continue;
            s = read_tensor(f, &part, &value);
            if (!s) s = imp_onnx_add(f, g, node->out, value.tensor);
        }
        if (!s) s = imp_wire_end(f, &a, "attribute");
    }
    return s;
}

static void read_node_field(
    const imp_wire *w, const imp_wire_field *part, imp_onnx_node *out) {
    imp_span span = imp_wire_span(w, part);
    switch (part->number) {
    case NODE_INPUT:
        if (out->n_in < 3) out->in[out->n_in] = span;
        out->n_in++;
        break;
    case NODE_OUTPUT:
        if (out->out.n == 0) out->out = span;
        break;
    case NODE_NAME:
        out->name = span;
        break;
    case NODE_OP:
        out->op = span;
        break;
    case NODE_DOMAIN:
        out->domain = span;
        break;
    default:
        break;
    }
}

static imp_status read_node(
    imp_foreign *f, const imp_wire_field *field, imp_onnx_graph *g) {
    if (g->n_nodes == IMP_ONNX_NODES)
        return imp_foreign_fail(
            f, "graph: expected at most %d nodes, found more", IMP_ONNX_NODES);
    imp_onnx_node *nodes = grow(f, g->nodes, g->n_nodes, &g->room_nodes, sizeof *nodes);
    if (!nodes) return IMP_ERR_LIMIT;
    g->nodes = nodes;
    imp_onnx_node *node = &g->nodes[g->n_nodes];
    imp_wire w = inside(f->data, field, IMP_WIRE_ALL(node_rules));
    imp_wire_field part;
    *node = (imp_onnx_node){.number = g->n_nodes++, .at = w.at, .end = w.end};
    node->in[0] = node->in[1] = node->in[2] = node->out = IMP_NO_SPAN;
    node->name = node->op = node->domain = IMP_NO_SPAN;
    while (imp_wire_next(&w, &part)) read_node_field(&w, &part, node);
    imp_status s = imp_wire_end(f, &w, "node");
    for (size_t i = 0; i < 4 && !s; i++) {
        size_t n = i < 3 ? node->in[i].n : node->out.n;
        if (n > IMP_ONNX_NAME)
            s = imp_foreign_fail(f,
                "node %zu: expected names of at most %d bytes, found %zu", node->number,
                IMP_ONNX_NAME, n);
    }
    return !s && imp_span_is(node->op, "Constant") ? add_constant(f, g, node) : s;
}

static imp_status read_graph(
    imp_foreign *f, const imp_wire_field *field, imp_onnx_graph *g) {
    imp_wire w = inside(f->data, field, IMP_WIRE_ALL(graph_rules));
    imp_wire_field part;
    imp_status s = IMP_OK;
    while (!s && imp_wire_next(&w, &part))
        s = part.number == GRAPH_NODE ? read_node(f, &part, g)
                                      : add_initializer(f, g, &part);
    return s ? s : imp_wire_end(f, &w, "graph");
}

imp_status imp_onnx_read(imp_foreign *f, imp_onnx_graph *out) {
    imp_wire w = imp_wire_of(f->data, 0, f->size, IMP_WIRE_ALL(model_rules));
    imp_wire_field field;
    imp_status s = IMP_OK;
    while (!s && imp_wire_next(&w, &field))
        if (field.number == MODEL_GRAPH) s = read_graph(f, &field, out);
    return s ? s : imp_wire_end(f, &w, "model");
}

void imp_onnx_free(imp_onnx_graph *g) {
    free(g->nodes);
    free(g->values);
}
