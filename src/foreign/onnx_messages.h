/* SPDX-License-Identifier: MIT
 *
 * onnx_messages.h: what onnx.c has to know of an ONNX file's messages (field numbers:
 * onnx/onnx, onnx/onnx.proto).
 */
#ifndef IMP_FOREIGN_ONNX_MESSAGES_H
#define IMP_FOREIGN_ONNX_MESSAGES_H

#include "foreign/wire.h"

#define IMP_ONNX_NODES 4096 /* of a graph at most; VGG-19 has less than 50 */
#define IMP_ONNX_NAME  1024 /* bytes of a value's name at most */

/* A TensorProto. */
typedef struct imp_onnx_tensor {
    size_t at, end; /* the message */
    int64_t type;   /* TensorProto.DataType */
    size_t ndim;
    int64_t shape[IMP_SAFETENSORS_DIMS];
    imp_wire_numbers raw, floats, doubles;
} imp_onnx_tensor;

/* A value that the file holds: an initializer, a Constant, or an Identity of one. */
typedef struct imp_onnx_value {
    imp_span name;
    imp_onnx_tensor tensor;
} imp_onnx_value;

typedef struct imp_onnx_node {
    size_t number;       /* in the graph, from 0 */
    size_t at, end;      /* the message */
    imp_span in[3], out; /* the first ones; empty: not there */
    size_t n_in;
    imp_span name, op, domain;
} imp_onnx_node;

typedef struct imp_onnx_graph {
    imp_onnx_node *nodes;
    size_t n_nodes, room_nodes;
    imp_onnx_value *values;
    size_t n_values, room_values;
} imp_onnx_graph;

/* An AttributeProto. */
typedef struct imp_onnx_attribute {
    imp_span name, text; /* text: s */
    int64_t i;
    float f;
    size_t n_ints;
    int64_t ints[IMP_SAFETENSORS_DIMS];
} imp_onnx_attribute;

/* Do these bytes hold a ModelProto? Payloads are not looked at. */
bool imp_onnx_is_model(const uint8_t *data, size_t size);
/* All nodes, initializers and Constants of the file's graph; out is empty at first,
 * and to be freed after an error too. */
imp_status imp_onnx_read(imp_foreign *f, imp_onnx_graph *out);
void imp_onnx_free(imp_onnx_graph *g);
/* NULL: none. Good until the next imp_onnx_add. */
const imp_onnx_value *imp_onnx_find(const imp_onnx_graph *g, imp_span name);
/* Another value, by a name that is not there yet. */
imp_status imp_onnx_add(
    imp_foreign *f, imp_onnx_graph *g, imp_span name, imp_onnx_tensor tensor);

/* The attributes of a node, one after the other. */
imp_wire imp_onnx_attributes(const imp_foreign *f, const imp_onnx_node *node);
/* false: there is none any more; *s: or it is damaged. */
bool imp_onnx_attribute_next(
    imp_foreign *f, imp_wire *w, imp_onnx_attribute *out, imp_status *s);

/* t's dtype, shape and place (or source), and whether the numbers are all there. what:
 * for messages. */
imp_status imp_onnx_tell(imp_foreign *f, const imp_onnx_tensor *tensor,
    const char *what, imp_foreign_tensor *t, imp_wire_source *source);

#endif
