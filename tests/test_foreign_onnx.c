/* SPDX-License-Identifier: MIT
 *
 * ONNX: messages put together here that are odd or lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "files.h"
#include "foreign_files.h"
#include "foreign_messages.h"

/* --- messages --- */

/* TensorProto: FLOAT, with raw_data. */
static msg tensor(const char *name, const int64_t *dims, size_t ndim, size_t n) {
    msg t = {0};
    for (size_t i = 0; i < ndim; i++) number(&t, 1, dims[i]);
    number(&t, 2, 1);
    text(&t, 8, name);
    bytes(&t, 9, nine, 4 * n);
    return t;
}

static msg ints(const char *name, size_t n, int64_t value) {
    msg a = {0};
    text(&a, 1, name);
    for (size_t i = 0; i < n; i++) number(&a, 8, value);
    number(&a, 20, 7);
    return a;
}

static msg node(const char *op, const char *in, const char *weight, const char *out) {
    msg n = {0};
    text(&n, 1, in);
    if (weight) text(&n, 1, weight);
    text(&n, 2, out);
    text(&n, 3, "here");
    text(&n, 4, op);
    return n;
}

static msg conv(const char *in, const char *weight, const char *out) {
    msg n = node("Conv", in, weight, out);
    msg pads = ints("pads", 4, 1);
    sub(&n, 5, &pads);
    return n;
}

static msg model(const msg *graph) {
    msg m = {0};
    number(&m, 1, 7);
    sub(&m, 7, graph);
    return m;
}

/* w: a weight of 1 x 1 x 3 x 3; v: of 2 x 3, b: a bias of 1. */
static void put_weights(msg *graph) {
    msg w = tensor("w", (int64_t[]){1, 1, 3, 3}, 4, 9);
    msg v = tensor("v", (int64_t[]){2, 3}, 2, 6);
    msg b = tensor("b", (int64_t[]){1, 1, 1}, 3, 1);
    sub(graph, 5, &w);
    sub(graph, 5, &v);
    sub(graph, 5, &b);
}

static void refused(const msg *graph, const char *words) {
    msg m = model(graph);
    assert_true(imp_reader_onnx.recognise(m.data, m.n));
    assert_false(imp_reader_caffe.recognise(m.data, m.n));
    foreign_refused(&imp_reader_onnx, m.data, m.n, words);
}

/* A Conv with that one attribute more, or none for pads. */
static void refused_conv(const msg *attribute, bool pads, const char *words) {
    msg graph = {0}, n = pads ? conv("x", "w", "y") : node("Conv", "x", "w", "y");
    put_weights(&graph);
    if (attribute) sub(&n, 5, attribute);
    sub(&graph, 1, &n);
    refused(&graph, words);
}

static void convolutions_of_another_kind(void **state) {
    (void)state;
    msg strides = ints("strides", 2, 2), pads = ints("pads", 4, 0),
        dilations = ints("dilations", 2, 2), kernel = ints("kernel_shape", 2, 5),
        three = ints("kernel_shape", 3, 3), other = ints("speed", 1, 1), group = {0},
        valid = {0};
    text(&group, 1, "group");
    number(&group, 3, 64);
    text(&valid, 1, "auto_pad");
    text(&valid, 4, "VALID");
    refused_conv(&strides, true,
        "node 0 (Conv here): attribute strides: expected 1 1, found 2 2");
    refused_conv(&pads, false, "attribute pads: expected 1 1 1 1, found 0 0 0 0");
    refused_conv(NULL, false, "attribute pads: expected 1 1 1 1, found none");
    refused_conv(&dilations, true, "attribute dilations: expected 1 1, found 2 2");
    refused_conv(&kernel, true, "attribute kernel_shape: expected 3 3, found 5 5");
    refused_conv(&three, true, "expected 3 3, found 3 3 3");
    refused_conv(&group, true, "attribute group: expected 1, found 64");
    refused_conv(&valid, false, "attribute auto_pad: expected NOTSET or SAME");
    refused_conv(&other, true, "attribute speed: expected none of that name");
}

static void other_operators(void **state) {
    (void)state;
    static const char *const ops[] = {
        "Sigmoid", "LeakyRelu", "BatchNormalization", "Tanh", "Pad", "LRN", "Mul"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        msg graph = {0}, n = conv("x", "w", "y"), other = node(ops[i], "y", NULL, "z");
        put_weights(&graph);
        sub(&graph, 1, &n);
        sub(&graph, 1, &other);
        refused(&graph, ops[i]);
    }
    msg graph = {0}, n = conv("x", "w", "y");
    text(&n, 7, "com.example");
    put_weights(&graph);
    sub(&graph, 1, &n);
    refused(&graph, "expected an operator of a VGG");
}

/* Two nodes after a convolution "x" -> "y", the second may be NULL. */
static void refused_after(const msg *a, const msg *b, const char *words) {
    msg graph = {0}, first = conv("x", "w", "y");
    put_weights(&graph);
    sub(&graph, 1, &first);
    sub(&graph, 1, a);
    if (b) sub(&graph, 1, b);
    refused(&graph, words);
}

static void not_one_chain(void **state) {
    (void)state;
    msg branch = conv("x", "w", "z"), relu = node("Relu", "y", NULL, "z"),
        sum = node("Add", "y", "x", "z"), late = node("Add", "z", "b", "q"),
        gather = node("Gather", "y", "w", "z"),
        softmax = node("Softmax", "y", NULL, "z"), after = conv("z", "w", "q"),
        linear = node("Gemm", "y", "v", "z"), moved = node("Transpose", "y", NULL, "z"),
        none = node("Relu", "y", NULL, ""), product = node("MatMul", "w", "y", "z"),
        wrong = node("Add", "b", "y", "z");
    refused_after(&branch, NULL, "input 0: expected y, which the layers before give");
    refused_after(&sum, NULL, "expected an initializer or a Constant, found none");
    refused_after(&relu, &late, "expected the bias of a layer just before");
    refused_after(
        &gather, NULL, "expected one chain of layers, found this at work on y");
    refused_after(&softmax, &after, "expected no layer after softmax");
    refused_after(&linear, &after, "expected convolutions before all fully connected");
    refused_after(&moved, NULL, "expected the channels where they are");
    refused_after(&none, NULL, "expected an output, found none");
    refused_after(&product, NULL, "input 0: expected y");
    refused_after(&wrong, &late, "expected the bias of a layer just before");
}

static void fully_connected_layers(void **state) {
    (void)state;
    static const struct {
        const char *name;
        float f;
        int64_t i;
        const char *words;
    } cases[] = {{"alpha", 0.5f, 0, "attribute alpha: expected 1, found 0.5"},
        {"beta", 2, 0, "attribute beta: expected 1, found 2"},
        {"transA", 0, 1, "attribute transA: expected 0, found 1"},
        {"transB", 0, 2, "attribute transB: expected 0 or 1, found 2"},
        {"transC", 0, 2, "attribute transC: expected none"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        msg n = node("Gemm", "y", "v", "z"), a = {0};
        text(&a, 1, cases[i].name);
        real(&a, 2, cases[i].f);
        number(&a, 3, cases[i].i);
        sub(&n, 5, &a);
        refused_after(&n, NULL, cases[i].words);
    }
    msg flat = node("Gemm", "y", "w", "z"), bare = node("Gemm", "y", NULL, "z");
    refused_after(&flat, NULL, "weight w: expected two sides, found 4");
    refused_after(&bare, NULL, "expected 2 to 3 inputs, found 1");
    msg biased = node("Gemm", "y", "v", "z");
    text(&biased, 1, "b");
    refused_after(&biased, NULL, "expected a bias of 3 numbers");
}

/* w is what this tensor says, and a convolution wants it. */
static void refused_weight(const msg *w, const char *words) {
    msg graph = {0}, n = conv("x", "w", "y");
    sub(&graph, 1, &n);
    sub(&graph, 5, w);
    refused(&graph, words);
}

static void weights_that_lie(void **state) {
    (void)state;
    static const int64_t huge = (int64_t)1 << 62;
    static const struct {
        int64_t dims[9];
        size_t ndim;
        const char *words;
    } cases[] = {
        {{1, 1, 3, 3}, 4,
            "expected the 36 bytes of numbers that its dims say, found 32"},
        {{huge, 4, 3, 3}, 4, "found 32"},
        {{huge, huge, huge, huge}, 4, "found 32"},
        {{-1, 1, 3, 3}, 4, "dims 0: expected 0 or more, found -1"},
        {{0, 1, 3, 3}, 4, "expected the 0 bytes"},
        {{1, 1, 1, 1, 1, 1, 1, 2, 4}, 9, "expected fewer numbers, found more"},
        {{2, 4}, 2, "expected four sides"},
        {{1, 1, 2, 4}, 4, "expected four sides, the last two of 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        msg w = tensor("w", cases[i].dims, cases[i].ndim, 8);
        refused_weight(&w, cases[i].words);
    }
    msg w = tensor("w", (int64_t[]){1, 1, 3, 3}, 4, 9);
    bytes(&w, 4, nine, 36);
    refused_weight(&w, "in one of them, found 36, 36, 0 bytes");
    w = tensor("w", (int64_t[]){1, 1, 3, 3}, 4, 0);
    refused_weight(&w, "found 0, 0, 0 bytes");
    w = tensor("w", (int64_t[]){1, 1, 3, 3}, 4, 9);
    number(&w, 2, 3);
    refused_weight(&w, "data_type: expected FLOAT, FLOAT16, DOUBLE or BFLOAT16 (1, 10, "
                       "11, 16), found 3");
    w = tensor("w", (int64_t[]){1, 1, 3, 3}, 4, 0);
    bytes(&w, 4, nine, 35);
    refused_weight(&w, "expected whole numbers");
    w = tensor("w", (int64_t[]){1, 1, 3, 3}, 4, 0);
    number(&w, 2, 10); /* FLOAT16 is not in float_data */
    bytes(&w, 4, nine, 18);
    refused_weight(&w, "expected whole numbers");
    w.n -= 20;
    bytes(&w, 4, nine, 36);
    refused_weight(&w, "found 0, 36, 0 bytes");
}

static void numbers_elsewhere(void **state) {
    (void)state;
    static const char *const places[] = {"../../etc/passwd", "/etc/passwd",
        "weights.bin", "a/../../b", "file:///etc/passwd", "link-to-elsewhere"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        msg w = tensor("w", (int64_t[]){1, 1, 3, 3}, 4, 9), entry = {0};
        char words[100];
        text(&entry, 1, "location");
        text(&entry, 2, places[i]);
        sub(&w, 13, &entry);
        if (i % 2) number(&w, 14, 1);
        snprintf(words, sizeof words,
            "found external data, which is not opened "
            "(location: %s)",
            places[i]);
        refused_weight(&w, words);
    }
    msg w = tensor("w", (int64_t[]){1, 1, 3, 3}, 4, 9);
    number(&w, 14, 1);
    refused_weight(&w, "tensor w: expected its numbers in this file");
}

static void weights_that_are_not_there(void **state) {
    (void)state;
    msg graph = {0}, w = tensor("w", (int64_t[]){1, 1, 3, 3}, 4, 9),
        n = conv("x", "w", "y");
    sub(&graph, 1, &n);
    refused(&graph, "node 0 (Conv here): input 1, w: expected an initializer or a "
                    "Constant, found none of that name");
    sub(&graph, 5, &w);
    sub(&graph, 5, &w);
    refused(&graph, "tensor w: expected it once, found it twice");
    /* Made by another operator, or by an Identity of itself. */
    static const char *const ops[] = {"Transpose", "Reshape", "Cast", "Identity"};
    for (size_t i = 0; i < 4; i++) {
        msg made = {0}, a = node(ops[i], i < 3 ? "w" : "b", NULL, "a"),
            b = node("Identity", "a", NULL, "b"), c = conv("x", "b", "y");
        char words[100];
        sub(&made, 5, &w);
        sub(&made, 1, &a);
        sub(&made, 1, &b);
        sub(&made, 1, &c);
        snprintf(words, sizeof words,
            i < 3 ? "found node 1 (Identity here)" : "node 2 (Conv here)");
        refused(&made, words);
    }
    memset(&graph, 0, sizeof graph);
    w = tensor("", (int64_t[]){1, 1, 3, 3}, 4, 9);
    sub(&graph, 5, &w);
    refused(&graph, "expected a name of 1 to 1024 bytes, found 0");
    memset(&graph, 0, sizeof graph);
    refused(&graph, "expected layers with weights, found none");
}

/* Identity and Constant are followed; two layers may share a weight; biases may be
 * added. */
static void weights_by_detours(void **state) {
    (void)state;
    msg graph = {0}, w = tensor("w", (int64_t[]){1, 1, 3, 3}, 4, 9),
        b = tensor("b", (int64_t[]){1, 1, 1}, 3, 1), nothing = {0}, held = {0},
        alias = node("Identity", "w", NULL, "w2"), constant = nothing,
        again = node("Identity", "w2", NULL, "w3"), first = conv("x", "w3", "p"),
        bias = node("Add", "b", "p", "q"), second = conv("q", "w", "r"),
        third = conv("r", "c", "s");
    text(&held, 1, "value");
    sub(&held, 5, &w);
    text(&constant, 2, "c");
    text(&constant, 4, "Constant");
    sub(&constant, 5, &held);
    const msg *nodes[] = {&alias, &constant, &again, &first, &bias, &second, &third};
    for (size_t i = 0; i < 7; i++) sub(&graph, 1, nodes[i]);
    sub(&graph, 5, &w);
    sub(&graph, 5, &b);
    msg m = model(&graph);
    imp_foreign f = foreign_blob(&imp_reader_onnx, m.data, m.n);
    assert_int_equal(f.n, 4);
    assert_floats(&imp_reader_onnx, &f, "conv.0.weight", nine, 9);
    assert_floats(&imp_reader_onnx, &f, "conv.0.bias", nine, 1);
    assert_floats(&imp_reader_onnx, &f, "conv.1.weight", nine, 9);
    assert_floats(&imp_reader_onnx, &f, "conv.2.weight", nine, 9);
    assert_int_equal(f.tensors[foreign_find(&f, "conv.0.bias")].ndim, 1);
    foreign_close(&imp_reader_onnx, &f);
}

/* Every way a TensorProto may hold its numbers. */
static void kinds_of_numbers(void **state) {
    (void)state;
    double wide[9];
    uint16_t narrow[9];
    for (size_t i = 0; i < 9; i++) {
        uint32_t bits;
        wide[i] = (double)nine[i];
        memcpy(&bits, &nine[i], 4);
        narrow[i] = (uint16_t)(bits >> 16); /* bfloat16: exact here */
    }
    for (int kind = 0; kind < 7; kind++) {
        msg w = {0}, dims = {0}, graph = {0}, n = conv("x", "w", "y");
        for (size_t i = 0; i < 4; i++) varint(&dims, i < 2 ? 1 : 3);
        sub(&w, 1, &dims); /* packed */
        number(&w, 2, 3);  /* the last scalar wins */
        number(&w, 2, kind < 4 ? 1 : kind < 6 ? 11 : 16);
        text(&w, 8, "w");
        if (kind == 0) bytes(&w, 9, nine, 1), bytes(&w, 9, nine, 36);
        if (kind == 1) bytes(&w, 4, nine, 36);
        if (kind == 2) bytes(&w, 4, nine, 12), bytes(&w, 4, nine + 3, 24);
        for (size_t i = 0; i < 9 && kind == 3; i++) real(&w, 4, nine[i]);
        if (kind == 4) bytes(&w, 9, wide, 72);
        if (kind == 5) bytes(&w, 10, wide, 40), bytes(&w, 10, wide + 5, 32);
        if (kind == 6) bytes(&w, 9, narrow, 18);
        sub(&graph, 1, &n);
        sub(&graph, 5, &w);
        msg m = model(&graph);
        imp_foreign f = foreign_blob(&imp_reader_onnx, m.data, m.n);
        assert_int_equal(f.tensors[0].inside, kind != 2 && kind != 3 && kind != 5);
        assert_floats(&imp_reader_onnx, &f, "conv.0.weight", nine, 9);
        foreign_close(&imp_reader_onnx, &f);
    }
}

/* Graphs in an attribute's graph in an attribute ...: they are stepped over. */
static void nested_deep(void **state) {
    (void)state;
    static msg inner, outer;
    inner.n = 0;
    for (int i = 0; i < 1000; i++) {
        outer.n = 0;
        sub(&outer, i % 3 ? 5 : 6, &inner);
        inner = outer;
    }
    msg graph = {0}, n = conv("x", "w", "y"), relu = node("Relu", "y", NULL, "z"),
        a = {0};
    put_weights(&graph);
    sub(&graph, 1, &n);
    text(&a, 1, "body");
    sub(&a, 6, &inner);
    sub(&relu, 5, &a);
    sub(&graph, 1, &relu);
    msg m = model(&graph);
    imp_foreign f = foreign_blob(&imp_reader_onnx, m.data, m.n);
    assert_int_equal(f.n, 1);
    foreign_close(&imp_reader_onnx, &f);
}

static void crowds(void **state) {
    (void)state;
    msg graph = {0}, nothing = {0}, n = conv("x", "w", "y");
    for (int i = 0; i < 4097; i++) sub(&graph, 1, &nothing);
    refused(&graph, "expected at most 4096 nodes, found more");
    char name[1026];
    memset(name, 'n', 1025);
    name[1025] = 0;
    memset(&graph, 0, sizeof graph);
    text(&n, 1, name);
    sub(&graph, 1, &n);
    refused(&graph, "node 0: expected names of at most 1024 bytes, found 1025");
}

/* --- the wire --- */

static void damaged_wire(void **state) {
    (void)state;
    static const struct {
        uint8_t data[16];
        size_t n;
        const char *words;
    } cases[] = {
        {{0x80}, 1, "expected a whole varint"},
        {{0x48, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}, 12,
            "expected a varint of at most 64 bits"},
        {{0x48, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 11,
            "expected a varint of at most 64 bits"},
        {{0x02, 0x00}, 2, "expected a field's number"},
        {{0x80, 0x80, 0x80, 0x80, 0x10, 0x00}, 6, "expected a field's number"},
        {{0x4b, 0x4c}, 2, "expected wire type 0, 1, 2 or 5"},
        {{0x4e}, 1, "expected wire type 0, 1, 2 or 5"},
        {{0x4a, 0x05, 0x00}, 3, "expected a length within its message"},
        {{0x4a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 11,
            "expected a length within its message"},
        {{0x4d, 0, 0, 0}, 4, "expected a length within its message"},
        {{0x49, 0, 0, 0, 0, 0, 0, 0}, 8, "expected a length within its message"},
        {{0x28, 0x01}, 2, "expected a wire type of this field"}, /* initializer = 1 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        msg graph = {0};
        memcpy(graph.data, cases[i].data, cases[i].n);
        graph.n = cases[i].n;
        refused(&graph, cases[i].words);
    }
    msg graph = {0}, m, w = {0};
    put_weights(&graph);
    m = model(&graph);
    sub(&m, 7, &graph); /* two graphs would have to be merged */
    assert_false(imp_reader_onnx.recognise(m.data, m.n));
    foreign_refused(&imp_reader_onnx, m.data, m.n, "expected it once, found it again");
    bytes(&w, 1, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11); /* packed dims */
    refused_weight(&w, "tensor: field 1, before byte");
    m.n = 0;
    number(&m, 1, 7);
    assert_false(imp_reader_onnx.recognise(m.data, m.n)); /* no graph */
    text(&m, 99, "what is this?");
    sub(&m, 7, &graph);
    assert_false(
        imp_reader_onnx.recognise(m.data, m.n)); /* a field that models have not */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_of_another_kind),
        cmocka_unit_test(other_operators),
        cmocka_unit_test(not_one_chain),
        cmocka_unit_test(fully_connected_layers),
        cmocka_unit_test(weights_that_lie),
        cmocka_unit_test(numbers_elsewhere),
        cmocka_unit_test(weights_that_are_not_there),
        cmocka_unit_test(weights_by_detours),
        cmocka_unit_test(kinds_of_numbers),
        cmocka_unit_test(nested_deep),
        cmocka_unit_test(crowds),
        cmocka_unit_test(damaged_wire),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
