/* SPDX-License-Identifier: MIT
 *
 * ONNX and Caffe: whole small VGGs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "files.h"
#include "foreign_files.h"
#include "golden.h"

static const imp_reader *const onnx = &imp_reader_onnx, *const caffe =
                                                            &imp_reader_caffe;

/* f->tensors[i] has the numbers of ours, the first dimension running fastest or last. */
static void assert_same(const imp_reader *reader, imp_foreign *f, size_t i,
    const imp_safetensors_entry *ours) {
    const imp_foreign_tensor *t = &f->tensors[i];
    float *found = foreign_floats(reader, f, i);
    assert_int_equal(t->dtype, IMP_DTYPE_F32);
    assert_int_equal(t->ndim, ours->ndim);
    for (size_t k = 0; k < t->ndim; k++) assert_int_equal(t->shape[k], ours->shape[k]);
    if (!t->column_major)
        assert_memory_equal(found, ours->data, 4 * t->count);
    else {
        assert_int_equal(t->ndim, 2);
        for (size_t o = 0; o < t->shape[0]; o++)
            for (size_t k = 0; k < t->shape[1]; k++)
                assert_memory_equal(&found[k * t->shape[0] + o],
                    ours->data + 4 * (o * t->shape[1] + k), 4);
    }
    free(found);
}

/* The k-th layer of the kind that our name is of: "conv.K.weight" for the K-th
 * convN_M. */
static const char *by_kind(const char *ours, size_t *convs, size_t *linears) {
    static char name[80];
    bool conv = ours[0] == 'c';
    size_t *count = conv ? convs : linears;
    const char *part = strchr(ours, '.') + 1;
    snprintf(name, sizeof name, "%s.%zu.%s", conv ? "conv" : "linear", *count, part);
    *count += part[0] == 'b'; /* the bias is the layer's last here */
    return name;
}

/* Our layers in the network's order: conv1_1.weight, conv1_1.bias, ..., fc8.bias. */
static size_t our_names(bool vgg19, char names[40][24]) {
    const int depths[5] = {2, 2, vgg19 ? 4 : 3, vgg19 ? 4 : 3, vgg19 ? 4 : 3};
    static const char *const parts[] = {"weight", "bias"};
    size_t n = 0;
    for (int b = 0; b < 5; b++)
        for (int i = 0; i < 2 * depths[b]; i++)
            snprintf(names[n++], 24, "conv%d_%d.%s", b + 1, i / 2 + 1, parts[i % 2]);
    for (int i = 0; i < 6; i++)
        snprintf(names[n++], 24, "fc%d.%s", 6 + i / 2, parts[i % 2]);
    return n;
}

static void assert_vgg(const imp_reader *reader, const char *file, bool vgg19) {
    char path[4096], names[40][24];
    size_t n = our_names(vgg19, names), convs = 0, linears = 0;
    snprintf(path, sizeof path, "%s", golden_path(file));
    imp_safetensors *st = golden_open(
        ctx, vgg19 ? "foreign/vgg19.safetensors" : "foreign/vgg16.safetensors");
    assert_non_null(st);
    assert_int_equal(imp_safetensors_count(st), n);
    imp_foreign f = foreign_map(path);
    assert_ptr_equal(imp_reader_of(f.data, f.size), reader);
    if (foreign_open(reader, &f) != IMP_OK) fail_msg("%s", imp_ctx_error(ctx));
    assert_int_equal(f.n, n);
    for (size_t i = 0; i < n; i++) {
        const char *name =
            reader == onnx ? by_kind(names[i], &convs, &linears) : names[i];
        size_t at = foreign_find(&f, name);
        assert_true(f.tensors[at].inside);
        assert_same(reader, &f, at, imp_safetensors_find(st, names[i]));
    }
    assert_false(f.has_mean);
    foreign_close(reader, &f);
    imp_safetensors_close(st);
}

static void whole_networks(void **state) {
    (void)state;
    assert_vgg(onnx, "foreign/vgg19.onnx", true);
    assert_vgg(onnx, "foreign/vgg19-zoo.onnx", true);
    assert_vgg(onnx, "foreign/vgg16.onnx", false);
    assert_vgg(caffe, "foreign/vgg19-v1.caffemodel", true);
    assert_vgg(caffe, "foreign/vgg19-v2.caffemodel", true);
    assert_vgg(caffe, "foreign/vgg16-v1.caffemodel", false);
}

static void one_is_not_the_other(void **state) {
    (void)state;
    static const struct {
        const char *file;
        bool onnx, caffe;
    } files[] = {{"foreign/vgg19.onnx", true, false},
        {"foreign/vgg19-zoo.onnx", true, false},
        {"foreign/vgg19-v1.caffemodel", false, true},
        {"foreign/vgg19-v2.caffemodel", false, true},
        {"foreign/vgg19.safetensors", false, false}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        imp_foreign f = foreign_map(golden_path(files[i].file));
        assert_int_equal(onnx->recognise(f.data, f.size), files[i].onnx);
        assert_int_equal(caffe->recognise(f.data, f.size), files[i].caffe);
        /* Its beginning alone says the same: a file cut short is what it was. */
        assert_int_equal(onnx->recognise(f.data, 30000), files[i].onnx);
        assert_int_equal(caffe->recognise(f.data, 30000), files[i].caffe);
        foreign_close(onnx, &f);
    }
    assert_false(onnx->recognise(NULL, 0));
    assert_false(caffe->recognise(NULL, 0));
}

/* Cut at every 97th byte: refused, or (a caffemodel between two layers) with less in
 * it. */
static void cut_short(void **state) {
    (void)state;
    static const struct {
        const char *file;
        const imp_reader *reader;
    } files[] = {{"foreign/vgg16.onnx", &imp_reader_onnx},
        {"foreign/vgg16-v1.caffemodel", &imp_reader_caffe}};
    for (size_t i = 0; i < 2; i++) {
        imp_foreign whole = foreign_map(golden_path(files[i].file));
        for (size_t n = 0; n < whole.size; n += 97) {
            uint8_t *copy =
                malloc(n ? n : 1); /* its end is where the sanitizer looks */
            assert_non_null(copy);
            memcpy(copy, whole.data, n);
            imp_foreign f = {.ctx = ctx, .path = "cut", .data = copy, .size = n};
            imp_status s = files[i].reader->open(&f);
            assert_true(s == IMP_ERR_MODEL ||
                        (s == IMP_OK && files[i].reader == caffe && f.n < 32));
            files[i].reader->close(&f);
            free(f.tensors);
            free(copy);
        }
        foreign_close(onnx, &whole);
    }
    imp_foreign f = foreign_map(golden_path("foreign/vgg19.onnx"));
    foreign_refused(onnx, f.data, f.size - 1000, "was the file cut short?");
    foreign_close(onnx, &f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_networks),
        cmocka_unit_test(one_is_not_the_other),
        cmocka_unit_test(cut_short),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
