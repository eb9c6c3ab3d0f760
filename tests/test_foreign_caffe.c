/* SPDX-License-Identifier: MIT
 *
 * Caffe: messages put together here that are odd or lie.
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

static msg blob(const int64_t *dims, size_t ndim, size_t n) {
    msg b = {0}, packed = {0}, shape = {0};
    bytes(&b, 5, nine, 4 * n);
    for (size_t i = 0; i < ndim; i++) varint(&packed, (uint64_t)dims[i]);
    sub(&shape, 1, &packed);
    sub(&b, 7, &shape);
    return b;
}

/* A network of one layer: V2 with these blobs. */
static msg network(const char *name, const char *type, const msg *blobs, size_t n) {
    msg layer = {0}, net = {0};
    for (size_t i = 0; i < n; i++) sub(&layer, 7, &blobs[i]); /* before the name */
    text(&layer, 1, name);
    text(&layer, 2, type);
    text(&net, 1, "net");
    sub(&net, 100, &layer);
    return net;
}

static void refused_net(const msg *net, const char *words) {
    assert_true(imp_reader_caffe.recognise(net->data, net->n));
    assert_false(imp_reader_onnx.recognise(net->data, net->n));
    foreign_refused(&imp_reader_caffe, net->data, net->n, words);
}

static void refused_blob(const msg *b, const char *words) {
    msg net = network("conv1_1", "Convolution", b, 1);
    refused_net(&net, words);
}

static void blobs_that_lie(void **state) {
    (void)state;
    static const int64_t huge = (int64_t)1 << 62;
    static const struct {
        int64_t dims[9];
        size_t ndim;
        const char *words;
    } cases[] = {
        {{1, 1, 3, 3}, 4,
            "tensor conv1_1.weight: expected the 36 bytes of numbers that "
            "its shape says, found 32"},
        {{huge, 4}, 2, "found 32"},
        {{huge, huge, huge, huge}, 4, "found 32"},
        {{-8}, 1, "side 0: expected 0 or more, found -8"},
        {{0, 8}, 2, "expected the 0 bytes"},
        {{1, 1, 1, 1, 1, 1, 1, 1, 8}, 9, "expected fewer numbers, found more"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        msg b = blob(cases[i].dims, cases[i].ndim, 8);
        refused_blob(&b, cases[i].words);
    }
    msg b = blob((int64_t[]){8}, 1, 8), none = {0};
    bytes(&b, 8, nine, 32);
    refused_blob(&b, "expected data or double_data, found both");
    bytes(&none, 5, nine, 32);
    refused_blob(&none, "layer conv1_1: blob 0: expected a shape, found none");
    none.n = 0;
    refused_blob(&none, "expected a shape, found none");
    b = blob((int64_t[]){8}, 1, 8);
    bytes(&b, 5, nine, 7);
    refused_blob(&b, "expected whole numbers");
    b = blob((int64_t[]){8}, 1, 8);
    bytes(&b, 7, "", 0);
    refused_blob(&b, "expected it once, found it again");
    b = blob((int64_t[]){8}, 1, 0);
    refused_blob(&b, "expected the 32 bytes");
}

static void layers_that_lie(void **state) {
    (void)state;
    msg b = blob((int64_t[]){8}, 1, 8), three[] = {b, b, b}, net, layer = {0},
        old = {0};
    net = network("x", "BatchNorm", three, 3);
    refused_net(&net, "expected a name and at most a weight and a bias, found a third");
    net = network("", "Convolution", &b, 1);
    refused_net(&net, "found no name");
    net = network("x", "ReLU", NULL, 0);
    refused_net(&net, "expected layers with blobs, found none");
    net = network("x", "Convolution", &b, 1);
    msg twice = net;
    memcpy(twice.data + twice.n, net.data, net.n);
    twice.n += net.n;
    refused_net(&twice, "tensor x.weight: there twice");
    char name[200];
    memset(name, 'n', 199);
    name[199] = 0;
    net = network(name, "Convolution", &b, 1);
    refused_net(&net, "name of a tensor: expected 1 to 159 bytes");
    text(&old, 1, "conv1"); /* V0: layers { layer { name, type, blobs } } */
    text(&old, 2, "conv");
    sub(&old, 50, &b);
    sub(&layer, 1, &old);
    net.n = 0;
    sub(&net, 2, &layer);
    refused_net(&net, "expected the form of 2014 or later");
    /* Cut within its second layer. */
    net = network("x", "Convolution", &b, 1);
    sub(&net, 100, &layer);
    net.n -= 3;
    refused_net(&net, "was the file cut short?");
}

/* A name may hold what steers a terminal: it is not written as it is. */
static void names_with_odd_bytes(void **state) {
    (void)state;
    static const char odd[] = "\x1b[31m\n\xff\xc3\xa9";
    msg b = blob((int64_t[]){9}, 1, 8), net = network(odd, "Convolution", &b, 1);
    refused_net(&net, "tensor ?[31m??\xc3\xa9.weight: expected");
    b = blob((int64_t[]){8}, 1, 8);
    net = network(odd, "Convolution", &b, 1);
    imp_foreign f = foreign_blob(&imp_reader_caffe, net.data, net.n);
    assert_memory_equal(f.tensors[0].name, odd, sizeof odd - 1);
    foreign_close(&imp_reader_caffe, &f);
    net.n = 0;
    msg layer = {0};
    bytes(&layer, 1, "a\0b", 3);
    sub(&layer, 7, &b);
    sub(&net, 100, &layer);
    refused_net(&net, "found no name");
}

/* Four sides of old: a bias is told with one, a fully connected weight with two. */
static void old_shapes(void **state) {
    (void)state;
    static const struct {
        int64_t type, sides[4];
        size_t blob, ndim, shape[4];
    } cases[] = {
        {4, {1, 1, 3, 3}, 0, 4, {1, 1, 3, 3}},
        {4, {1, 1, 1, 9}, 1, 1, {9}},
        {4, {9, 1, 1, 1}, 1, 1, {9}},
        {14, {1, 1, 3, 3}, 0, 2, {3, 3}},
        {14, {1, 1, 1, 9}, 0, 2, {1, 9}},
        {14, {1, 1, 1, 9}, 1, 1, {9}},
        {14, {3, 3, 1, 1}, 0, 4, {3, 3, 1, 1}},
        {14, {1, 1, 3, 3}, 1, 4, {1, 1, 3, 3}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        msg layer = {0}, net = {0}, b = {0};
        for (unsigned k = 0; k < 4; k++) number(&b, k + 1, cases[i].sides[k]);
        bytes(&b, 5, nine, 36);
        text(&layer, 4, "x");
        number(&layer, 5, cases[i].type);
        for (size_t k = 0; k <= cases[i].blob; k++) sub(&layer, 6, &b);
        sub(&net, 2, &layer);
        imp_foreign f = foreign_blob(&imp_reader_caffe, net.data, net.n);
        const imp_foreign_tensor *t = &f.tensors[cases[i].blob];
        assert_string_equal(t->name, cases[i].blob ? "x.bias" : "x.weight");
        assert_int_equal(t->ndim, cases[i].ndim);
        for (size_t k = 0; k < t->ndim; k++)
            assert_int_equal(t->shape[k], cases[i].shape[k]);
        foreign_close(&imp_reader_caffe, &f);
    }
}

static void kinds_of_blobs(void **state) {
    (void)state;
    double wide[9];
    for (size_t i = 0; i < 9; i++) wide[i] = (double)nine[i];
    for (int kind = 0; kind < 4; kind++) {
        msg b = blob((int64_t[]){9}, 1, kind == 0 ? 4 : 0);
        if (kind == 0) bytes(&b, 5, nine + 4, 20);
        for (size_t i = 0; i < 9 && kind == 1; i++) real(&b, 5, nine[i]);
        if (kind == 2) bytes(&b, 8, wide, 72);
        if (kind == 3) bytes(&b, 8, wide, 64), bytes(&b, 8, wide + 8, 8);
        bytes(&b, 6, nine, 36); /* diff: the gradients of a training are not ours */
        msg net = network("x", "Convolution", &b, 1);
        imp_foreign f = foreign_blob(&imp_reader_caffe, net.data, net.n);
        assert_int_equal(f.tensors[0].inside, kind == 2);
        assert_floats(&imp_reader_caffe, &f, "x.weight", nine, 9);
        foreign_close(&imp_reader_caffe, &f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blobs_that_lie),
        cmocka_unit_test(layers_that_lie),
        cmocka_unit_test(names_with_odd_bytes),
        cmocka_unit_test(old_shapes),
        cmocka_unit_test(kinds_of_blobs),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
