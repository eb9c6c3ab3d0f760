/* SPDX-License-Identifier: MIT
 *
 * Caffe's .caffemodel: protobuf's NetParameter, whose layers carry their blobs (field
 * numbers: BVLC/caffe, src/caffe/proto/caffe.proto). Two forms are about: V1, as the
 * VGGs of 2014 have it, and V2, as Caffe writes since. A tensor is told as
 * LAYER.weight (the layer's blob 0) or LAYER.bias (blob 1); convolutions O, I, KH, KW,
 * fully connected layers O, I.
 */
#include "foreign/wire.h"

#include <stdlib.h>
#include <string.h>

/* NetParameter */
enum { NET_LAYERS = 2, NET_LAYER = 100 };
static const imp_wire_rule net_rules[] = {
    {1, IMP_WIRE_BYTES, false}, /* name */
    {NET_LAYERS, IMP_WIRE_BYTES, false},
    {3, IMP_WIRE_BYTES, false},  /* input */
    {4, IMP_WIRE_INTS, false},   /* input_dim */
    {5, IMP_WIRE_VARINT, false}, /* force_backward */
    {6, IMP_WIRE_BYTES, false},  /* state */
    {7, IMP_WIRE_VARINT, false}, /* debug_info */
    {8, IMP_WIRE_BYTES, false},  /* input_shape */
    {NET_LAYER, IMP_WIRE_BYTES, false},
};

/* A layer, in both forms: where they keep what. */
typedef struct layer_form {
    imp_wire_rule rules[4];
    uint32_t name, type, blobs;
    uint32_t oldest; /* the layer of a form before, wrapped; 0: none */
} layer_form;

static const layer_form v1 = {
    {{1, IMP_WIRE_BYTES, false}, {4, IMP_WIRE_BYTES, false},
        {5, IMP_WIRE_VARINT, false}, {6, IMP_WIRE_BYTES, false}},
    4, 5, 6, 1};
static const layer_form v2 = {{{1, IMP_WIRE_BYTES, false}, {2, IMP_WIRE_BYTES, false},
                                  {7, IMP_WIRE_BYTES, false}},
    1, 2, 7, 0};

#define V1_INNER_PRODUCT 14

enum { BLOB_DATA = 5, BLOB_SHAPE = 7, BLOB_DOUBLES = 8 };
static const imp_wire_rule blob_rules[] = {
    {1, IMP_WIRE_VARINT, false}, /* num */
    {2, IMP_WIRE_VARINT, false}, /* channels */
    {3, IMP_WIRE_VARINT, false}, /* height */
    {4, IMP_WIRE_VARINT, false}, /* width */
    {BLOB_DATA, IMP_WIRE_FLOATS, false},
    {BLOB_SHAPE, IMP_WIRE_BYTES, true},
    {BLOB_DOUBLES, IMP_WIRE_DOUBLES, false},
};
static const imp_wire_rule shape_rules[] = {{1, IMP_WIRE_INTS, false}}; /* dim */

typedef struct layer {
    imp_span name;
    bool linear; /* fully connected */
    size_t blob; /* which is at hand */
} layer;

typedef struct blob {
    bool has_shape; /* of the new kind */
    size_t ndim;
    int64_t shape[IMP_SAFETENSORS_DIMS];
    imp_wire_numbers floats, doubles;
} blob;

typedef struct net {
    imp_wire_source
        sources[IMP_FOREIGN_COUNT]; /* of tensor i, where it is not inside */
} net;

/* --- what is it? --- */

/* Does the layer in this field hold together, and has it a name? */
static bool is_layer(const uint8_t *data, const imp_wire_field *field) {
    const layer_form *form = field->number == NET_LAYERS ? &v1 : &v2;
    imp_wire w = imp_wire_of(
        data, field->offset, field->offset + field->length, IMP_WIRE_ALL(form->rules));
    imp_wire_field part;
    bool named = false;
    while (imp_wire_next(&w, &part))
        named = named || part.number == form->name || part.number == form->oldest;
    return named && !w.damage;
}

/* No magic tells: all fields up to the file's end must be NetParameter's, and the
 * first layer a layer. An ONNX file cannot pass: its graph is field 7 with a length,
 * which is a varint here (debug_info), and is no ONNX without. After a layer the file
 * may be cut short: that is said by open. */
static bool recognise(const uint8_t *data, size_t size) {
    imp_wire w = imp_wire_of(data, 0, size, IMP_WIRE_ALL(net_rules));
    imp_wire_field field;
    size_t layers = 0;
    w.strict = true;
    while (imp_wire_next(&w, &field)) {
        if (field.number != NET_LAYERS && field.number != NET_LAYER) continue;
        if (layers++ == 0 && !is_layer(data, &field)) return false;
    }
    return layers > 0 && (!w.damage || w.cut);
}

/* --- blobs --- */

static void read_shape(imp_wire *w, const imp_wire_field *field, blob *b) {
    imp_wire shape = imp_wire_of(w->data, field->offset, field->offset + field->length,
        IMP_WIRE_ALL(shape_rules));
    imp_wire_field dim;
    b->has_shape = true;
    b->ndim = 0;
    while (imp_wire_next(&shape, &dim))
        imp_wire_ints(&shape, &dim, b->shape, IMP_SAFETENSORS_DIMS, &b->ndim);
    if (shape.damage) w->damage = shape.damage;
}

static imp_status read_blob(
    imp_foreign *f, const imp_wire_field *field, const layer *l, blob *b) {
    imp_wire w = imp_wire_of(f->data, field->offset, field->offset + field->length,
        IMP_WIRE_ALL(blob_rules));
    imp_wire_field part;
    int64_t sides[4] = {0};
    bool has_sides = false;
    *b = (blob){0};
    while (imp_wire_next(&w, &part)) {
        if (part.number == BLOB_DATA)
            imp_wire_count(&w, &b->floats, &part, 4);
        else if (part.number == BLOB_DOUBLES)
            imp_wire_count(&w, &b->doubles, &part, 8);
        else if (part.number == BLOB_SHAPE)
            read_shape(&w, &part, b);
        else {
            sides[part.number - 1] = (int64_t)part.value;
            has_sides = true;
        }
    }
    imp_status s = imp_wire_end(f, &w, "a layer's blob");
    if (s) return s;
    if (b->has_shape) return IMP_OK;
    if (!has_sides)
        return imp_foreign_fail(f, "layer %.*s: blob %zu: expected a shape, found none",
            IMP_SPAN(l->name), l->blob);
    memcpy(b->shape, sides, sizeof sides);
    b->ndim = 4;
    return IMP_OK;
}

/* Old blobs have four sides, filled up with ones: a bias is told with one, a fully
 * connected weight with two. */
static void fill_shape(imp_foreign_tensor *t, const blob *b, const layer *l) {
    size_t wide = 0, skip = 0;
    for (size_t i = 0; i < b->ndim; i++) wide += b->shape[i] != 1;
    if (l->blob == 1 && b->ndim > 1 && wide <= 1) {
        t->ndim = 1;
        t->shape[0] = 1;
        for (size_t i = 0; i < b->ndim; i++) t->shape[0] *= (size_t)b->shape[i];
        return;
    }
    while (l->blob == 0 && l->linear && b->ndim - skip > 2 && b->shape[skip] == 1)
        skip++;
    t->ndim = b->ndim - skip;
    for (size_t i = 0; i < t->ndim; i++) t->shape[i] = (size_t)b->shape[skip + i];
}

/* The numbers of t: how many its shape has, of one kind. */
static imp_status fill_numbers(imp_foreign *f, imp_foreign_tensor *t, const blob *b) {
    const imp_wire_numbers *n = b->doubles.bytes ? &b->doubles : &b->floats;
    size_t bytes = b->doubles.bytes ? 8 : 4;
    t->dtype = b->doubles.bytes ? IMP_DTYPE_F64 : IMP_DTYPE_F32;
    if (b->doubles.bytes && b->floats.bytes)
        return imp_foreign_fail(
            f, "tensor %s: expected data or double_data, found both", t->name);
    bool fits = true;
    for (size_t i = 0; i < t->ndim; i++)
        fits = fits && imp_mul(&bytes, bytes, t->shape[i]);
    if (!fits || bytes != n->bytes)
        return imp_foreign_fail(f,
            "tensor %s: expected the %zu bytes of numbers that its shape says, found "
            "%zu",
            t->name, fits ? bytes : SIZE_MAX, n->bytes);
    t->inside = n->pieces == 1;
    t->offset = t->inside ? n->first : 0;
    return IMP_OK;
}

static imp_status add_blob(
    imp_foreign *f, const imp_wire_field *field, const layer *l) {
    imp_foreign_tensor t = {0};
    blob b;
    imp_status s = read_blob(f, field, l, &b);
    if (s) return s;
    if (l->blob > 1 || l->name.n == 0 || memchr(l->name.p, 0, l->name.n))
        return imp_foreign_fail(f,
            "layer %.*s: expected a name and at most a weight and a bias, found %s",
            IMP_SPAN(l->name), l->blob > 1 ? "a third blob" : "no name");
    s = imp_foreign_name(f, &t, "%.*s.%s", (int)imp_least(l->name.n, IMP_FOREIGN_NAME),
        l->name.p, l->blob ? "bias" : "weight");
    if (s) return s;
    for (size_t i = 0; i < b.ndim; i++)
        if (b.shape[i] < 0)
            return imp_foreign_fail(f,
                "tensor %s: side %zu: expected 0 or more, found %lld", t.name, i,
                (long long)b.shape[i]);
    fill_shape(&t, &b, l);
    s = fill_numbers(f, &t, &b);
    if (!s) s = imp_foreign_add(f, &t);
    if (s) return s;
    net *state = f->state;
    state->sources[f->n - 1] =
        (imp_wire_source){field->offset, field->offset + field->length,
            t.dtype == IMP_DTYPE_F64 ? BLOB_DOUBLES : BLOB_DATA};
    return IMP_OK;
}

/* --- layers --- */

/* The name and the type may stand behind the blobs: they are looked for first. */
static imp_status read_head(
    imp_foreign *f, imp_wire w, const layer_form *form, layer *l) {
    imp_wire_field part;
    bool oldest = false;
    *l = (layer){.name = IMP_NO_SPAN};
    while (imp_wire_next(&w, &part)) {
        if (part.number == form->name) l->name = imp_wire_span(&w, &part);
        if (part.number == form->oldest) oldest = true;
        if (part.number == form->type)
            l->linear = form == &v1
                            ? part.value == V1_INNER_PRODUCT
                            : imp_span_is(imp_wire_span(&w, &part), "InnerProduct");
    }
    imp_status s = imp_wire_end(f, &w, "a layer");
    if (s || !oldest) return s;
    return imp_foreign_fail(f,
        "layer: expected the form of 2014 or later (a name in it), found the one "
        "before: "
        "Caffe's upgrade_net_proto_binary turns it into a later one");
}

static imp_status read_layer(imp_foreign *f, const imp_wire_field *field) {
    const layer_form *form = field->number == NET_LAYERS ? &v1 : &v2;
    imp_wire w = imp_wire_of(f->data, field->offset, field->offset + field->length,
        IMP_WIRE_ALL(form->rules));
    imp_wire_field part;
    layer l;
    imp_status s = read_head(f, w, form, &l);
    while (!s && imp_wire_next(&w, &part)) {
        if (part.number != form->blobs) continue;
        s = add_blob(f, &part, &l);
        l.blob++;
    }
    return s;
}

static imp_status open_file(imp_foreign *f) {
    imp_wire w = imp_wire_of(f->data, 0, f->size, IMP_WIRE_ALL(net_rules));
    imp_wire_field field;
    imp_status s = IMP_OK;
    f->state = calloc(1, sizeof(net));
    if (!f->state) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    while (!s && imp_wire_next(&w, &field))
        if (field.number == NET_LAYERS || field.number == NET_LAYER)
            s = read_layer(f, &field);
    if (!s) s = imp_wire_end(f, &w, "network");
    return s || f->n ? s
                     : imp_foreign_fail(f, "expected layers with blobs, found none: is "
                                           "this a description without weights?");
}

static imp_status read_tensor(imp_foreign *f, size_t i) {
    const net *state = f->state;
    return imp_wire_send(f, &state->sources[i]);
}

static void close_file(imp_foreign *f) {
    free(f->state);
    f->state = NULL;
}

const imp_reader imp_reader_caffe = {.format = "Caffe",
    .recognise = recognise,
    .open = open_file,
    .read = read_tensor,
    .close = close_file};
