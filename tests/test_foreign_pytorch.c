/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "files.h"
#include "foreign_files.h"
#include "foreign_pytorch.h"

/* --- good files --- */

static imp_safetensors *golden(const char *name) {
    imp_safetensors *st;
    char path[512];
    snprintf(path, sizeof path, GOLDEN_DIR "/foreign/%s", name);
    assert_int_equal(imp_safetensors_open(ctx, &st, path), IMP_OK);
    return st;
}

static imp_foreign opened(const imp_reader *reader, const char *path) {
    imp_foreign f = foreign_map(path);
    assert_ptr_equal(imp_reader_of(f.data, f.size), reader);
    if (foreign_open(reader, &f)) fail_msg("%s", imp_ctx_error(ctx));
    return f;
}

static imp_foreign opened_golden(const imp_reader *reader, const char *name) {
    char path[512];
    snprintf(path, sizeof path, GOLDEN_DIR "/foreign/%s", name);
    return opened(reader, path);
}

/* Tensor `name` holds the numbers of e, bit for bit. */
static void assert_same(const imp_reader *reader, imp_foreign *f, const char *name,
    const imp_safetensors_entry *e) {
    size_t i = foreign_find(f, name);
    const imp_foreign_tensor *t = &f->tensors[i];
    assert_true(t->inside && t->dtype == IMP_DTYPE_F32 && !t->column_major);
    assert_int_equal(t->ndim, e->ndim);
    assert_memory_equal(t->shape, e->shape, e->ndim * sizeof *e->shape);
    float *x = foreign_floats(reader, f, i);
    assert_memory_equal(x, e->data, e->count * sizeof *x);
    free(x);
}

/* The file holds all tensors of a safetensors file, by the names of another in the same order
 * of layers; classifier: numbers of torchvision's fully connected layers. */
static void assert_torchvision(const imp_reader *reader, const char *file,
    const char *model, const int classifier[3]) {
    imp_safetensors *st = golden(model);
    imp_foreign f = opened_golden(reader, file);
    assert_int_equal(f.n, imp_safetensors_count(st));
    int number = 0, block = 1;
    for (size_t i = 0; i < imp_safetensors_count(st); i++) {
        const imp_safetensors_entry *e = imp_safetensors_at(st, i);
        const char *what = strchr(e->name, '.') + 1;
        char name[64];
        if (e->name[0] == 'f') {
            snprintf(name, sizeof name, "classifier.%d.%s",
                classifier[e->name[2] - '6'], what);
        } else {
            if (e->name[4] - '0' != block) block++, number++;
            snprintf(name, sizeof name, "features.%d.%s", number, what);
            if (what[0] == 'b') number += 2;
        }
        assert_same(reader, &f, name, e);
    }
    foreign_close(reader, &f);
    imp_safetensors_close(st);
}

static void reads_pytorch(void **state) {
    (void)state;
    static const int plain[] = {0, 3, 6}, caffe[] = {1, 4, 6};
    assert_torchvision(
        &imp_reader_pth_legacy, "vgg19.legacy.pth", "vgg19.safetensors", plain);
#ifdef IMP_WITH_ZIP
    assert_torchvision(
        &imp_reader_pth_zip, "vgg19.zip.pth", "vgg19.safetensors", plain);
    assert_torchvision(
        &imp_reader_pth_zip, "vgg16.zip.pth", "vgg16.safetensors", plain);
    assert_torchvision(
        &imp_reader_pth_zip, "vgg19-d01eb7cb.pth", "vgg19.safetensors", caffe);
#else
    (void)caffe;
#endif
}

static void reads_convolutions_alone(void **state) {
    (void)state;
    imp_safetensors *st = golden("vgg19.safetensors");
    imp_foreign f = opened_golden(&imp_reader_pth_legacy, "vgg_conv.pth");
    assert_int_equal(f.n, 32);
    for (size_t i = 0; i < f.n; i++)
        assert_same(&imp_reader_pth_legacy, &f, f.tensors[i].name,
            imp_safetensors_find(st, f.tensors[i].name));
    foreign_close(&imp_reader_pth_legacy, &f);
    imp_safetensors_close(st);
}

#ifdef IMP_WITH_ZIP

/* Where number k of NumPy's array is in ours. */
static size_t npz_index(const imp_safetensors_entry *e, size_t k) {
    const size_t *s = e->shape;
    if (e->ndim == 1) return k;
    size_t o = k % s[0], rest = k / s[0];
    if (e->ndim == 4) { /* KH, KW, I, O */
        size_t i = rest % s[1], place = rest / s[1];
        return (o * s[1] + i) * s[2] * s[3] + place;
    }
    if (!strncmp(e->name, "fc6", 3)) { /* row, column, channel */
        size_t channels = s[1] / 49;
        rest = rest % channels * 49 + rest / channels;
    }
    return o * s[1] + rest;
}

static void assert_npz(const char *file, size_t n, bool inside) {
    imp_safetensors *st = golden("vgg19.safetensors");
    imp_foreign f = opened_golden(&imp_reader_npz, file);
    assert_int_equal(f.n, n);
    for (size_t i = 0; i < n; i++) { /* the members are in the network's order */
        const imp_safetensors_entry *e = imp_safetensors_at(st, i);
        size_t layer = (size_t)(strchr(e->name, '.') - e->name);
        char name[64];
        snprintf(name, sizeof name, "%.*s_%c", (int)layer, e->name,
            e->ndim == 1 ? 'b' : 'W');
        size_t at = foreign_find(&f, name);
        const imp_foreign_tensor *t = &f.tensors[at];
        assert_true(
            t->inside == inside && t->dtype == IMP_DTYPE_F32 && !t->column_major);
        assert_int_equal(t->ndim, e->ndim);
        assert_int_equal(t->count, e->count);
        assert_int_equal(t->shape[t->ndim - 1], e->shape[0]);
        float *x = foreign_floats(&imp_reader_npz, &f, at);
        for (size_t k = 0; k < e->count; k++)
            assert_memory_equal(&x[k], e->data + 4 * npz_index(e, k), 4);
        free(x);
    }
    foreign_close(&imp_reader_npz, &f);
    imp_safetensors_close(st);
}

static void reads_numpy(void **state) {
    (void)state;
    assert_npz("vgg19.npz", 38, true);
    assert_npz("vgg19-packed.npz", 32, false);
}

#endif

/* --- what PyTorch can also write --- */

static imp_foreign opened_blob(const imp_reader *reader, const blob *b) {
    return opened(reader, make_file("good", b->data, b->n));
}

/* Tensor i has this name and these numbers. */
static void assert_numbers(const imp_reader *reader, imp_foreign *f, const char *name,
    bool inside, const float *x, size_t n) {
    size_t i = foreign_find(f, name);
    assert_true(f->tensors[i].inside == inside);
    assert_int_equal(f->tensors[i].count, n);
    float *found = foreign_floats(reader, f, i);
    assert_memory_equal(found, x, n * sizeof *x);
    free(found);
}

static void other_orders(void **state) {
    (void)state;
    static const lie tensors[] = {
        {"plain", "FloatStorage", "0", 12, 0, 2, 2, {2, 6}, {6, 1}},
        {"part", "FloatStorage", "0", 12, 4, 3, 3, {2, 1, 2}, {2, 99, 1}},
        {"transposed", "FloatStorage", "0", 12, 1, 2, 2, {2, 3}, {1, 2}},
        {"channels_last", "FloatStorage", "0", 12, 0, 4, 4, {1, 2, 2, 3},
            {12, 1, 6, 2}},
        {"repeated", "FloatStorage", "0", 12, 3, 1, 1, {3}, {0}},
        {"none", "FloatStorage", "0", 12, 12, 2, 2, {0, 3}, {3, 1}},
        {"one", "FloatStorage", "0", 12, 11, 0, 0, {0}, {0}},
    };
    const imp_reader *r = &imp_reader_pth_legacy;
    blob object = state_dict(tensors, 7), b = legacy(&object, 12);
    imp_foreign f = opened_blob(r, &b);
    const float x[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    assert_int_equal(f.n, 7);
    assert_numbers(r, &f, "plain", true, x, 12);
    assert_numbers(r, &f, "part", true, x + 4, 4);
    assert_numbers(r, &f, "transposed", false, (float[]){1, 3, 5, 2, 4, 6}, 6);
    assert_numbers(r, &f, "channels_last", false,
        (float[]){0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11}, 12);
    assert_numbers(r, &f, "repeated", false, (float[]){3, 3, 3}, 3);
    assert_numbers(r, &f, "none", true, x, 0);
    assert_numbers(r, &f, "one", true, x + 11, 1);
    foreign_close(r, &f);
    blob_free(&object);
    blob_free(&b);
}

/* More than a piece of numbers in another order. */
static void large_transposed(void **state) {
    (void)state;
    static const lie t = {
        "w", "FloatStorage", "0", 300 * 200, 0, 2, 2, {300, 200}, {1, 300}};
    const imp_reader *r = &imp_reader_pth_legacy;
    blob object = state_dict(&t, 1), b = legacy(&object, 300 * 200);
    imp_foreign f = opened_blob(r, &b);
    float *x = foreign_floats(r, &f, 0);
    for (size_t i = 0; i < 300; i++)
        for (size_t j = 0; j < 200; j++)
            assert_true(x[i * 200 + j] == (float)(j * 300 + i));
    free(x);
    foreign_close(r, &f);
    blob_free(&object);
    blob_free(&b);
}

static const lie pair = {"w", "FloatStorage", "0", 2, 0, 1, 1, {2}, {1}};

/* Around the same tensor: what older versions, Python 2, later protocols and scripts that save
 * more than the weights write. */
static void other_pickles(void **state) {
    (void)state;
    blob objects[6] = {0}, tensor = {0};
    pickle_tensor(&tensor, &pair);

    PUT(&objects[0], "\x80\2ccollections\nOrderedDict\n(]](U\1w"); /* Python 2 */
    PUT(&objects[0],
        "ctorch._utils\n_rebuild_tensor\n((U\7storagectorch\nFloatStorage\n"
        "T\1\0\0\0000U\3cpuK\2NtQK\0(K\2t(K\1ttReatR}U\11_metadata}sb.");

    PUT(&objects[1], "\x80\4\x95\5\0\0\0\0\0\0\0"); /* protocol 4 */
    PUT(&objects[1],
        "\x8c\13collections\x94\x8c\13OrderedDict\x94\x93\x94)R\x94\x8c\1w\x94"
        "\x8c\14torch._utils\x94\x8c\22_rebuild_tensor_v2\x94\x93\x94"
        "((\x8c\7storage\x94\x8c\5torch\x94\x8c\14FloatStorage\x94\x93\x94"
        "\x8c\1"
        "0\x8c\3cpuJ\2\0\0\0t\x94QK\0K\2\x85K\1\x85\x89h\2)Rt\x94Rs.");

    PUT(&objects[2], "\x80\2}("); /* a checkpoint */
    pickle_text(&objects[2], "epoch");
    PUT(&objects[2], "M\1\1");
    pickle_text(&objects[2], "loss");
    PUT(&objects[2], "G01234567");
    pickle_text(&objects[2], "state_dict");
    PUT(&objects[2], "}");
    pickle_text(&objects[2], "w");
    put(&objects[2], tensor.data, tensor.n);
    PUT(&objects[2], "su.");

    PUT(&objects[3], "\x80\2}"); /* parameters */
    pickle_text(&objects[3], "w");
    PUT(&objects[3], "ctorch._utils\n_rebuild_parameter\n");
    put(&objects[3], tensor.data, tensor.n);
    PUT(&objects[3], "\x88}\x87Rs.");

    PUT(&objects[4], "\x80\2}("); /* a counter beside it */
    pickle_text(&objects[4], "num_batches_tracked");
    pickle_tensor(&objects[4], &(lie){"", "LongStorage", "1", 1, 0, 0, 0, {0}, {0}});
    pickle_text(&objects[4], "w");
    put(&objects[4], tensor.data, tensor.n);
    PUT(&objects[4], "u.");

    PUT(&objects[5], "\x80\2}\x94"); /* by the memo, and itself in itself */
    pickle_text(&objects[5], "model");
    PUT(&objects[5], "h\0s(");
    pickle_text(&objects[5], "w");
    PUT(&objects[5], "r\0\3\0\0");
    put(&objects[5], tensor.data, tensor.n);
    PUT(&objects[5], "r\0\4\0\0");
    pickle_text(&objects[5], "again");
    PUT(&objects[5], "j\0\4\0\0u.");

    for (size_t i = 0; i < 6; i++) {
        blob b = legacy(&objects[i], 2);
        if (i == 4) { /* one more storage: an int64 */
            blob_free(&b);
            b = legacy_head();
            put(&b, objects[i].data, objects[i].n);
            PUT(&b, "\x80\2](X\1\0\0\0001X\1\0\0\0000e.\1\0\0\0\0\0\0\0"
                    "8bytes..");
            put_number(&b, 2, 8);
            put_floats(&b, 2);
        }
        imp_foreign f = opened_blob(&imp_reader_pth_legacy, &b);
        assert_int_equal(f.n, i == 5 ? 2 : 1);
        assert_numbers(&imp_reader_pth_legacy, &f, "w", true, (float[]){0, 1}, 2);
        foreign_close(&imp_reader_pth_legacy, &f);
        blob_free(&b);
        blob_free(&objects[i]);
    }
    blob_free(&tensor);
}

/* --- hostile pickles --- */

static void refused_pickle(const void *object, size_t n, const char *words) {
    blob b = legacy_head();
    put(&b, object, n);
    foreign_refused(&imp_reader_pth_legacy, b.data, b.n, words);
    blob_free(&b);
}

#define REFUSED(literal, words) refused_pickle(literal, sizeof literal - 1, words)

static void executes_nothing(void **state) {
    (void)state;
    REFUSED(
        "\x80\2cos\nsystem\nX\2\0\0\0ls\x85R.", "found os.system, which is not called");
    REFUSED("\x80\2cposix\nsystem\n(X\2\0\0\0lstR.", "posix.system");
    REFUSED("\x80\2c__builtin__\neval\n.", "__builtin__.eval");
    REFUSED(
        "\x80\4\x8c\2os\x8c\6system\x93.", "STACK_GLOBAL at byte 60: expected what a");
    REFUSED("\x80\2ctorch\nload\n.", "torch.load");
    REFUSED("\x80\2ccollections\nOrderedDictionary\n.", "OrderedDictionary");
    REFUSED("\x80\2ctorch\n_utils._rebuild_tensor\n.",
        "torch._utils._rebuild_tensor, which");
    REFUSED(
        "\x80\2ctorchvision.models.vgg\nVGG\n)\x81.", "torch.save(model.state_dict()");
    REFUSED("\x80\2ctorch.nn.modules.container\nSequential\n.", "a whole model");
    REFUSED("\x80\2(ios\nsystem\n.", "opcode 0x69 INST at byte 49");
    REFUSED("\x80\2(cos\nsystem\no.", "GLOBAL");
    REFUSED("\x80\2(No.", "0x6f OBJ");
    REFUSED("\x80\2\x82\1.", "0x82 EXT1");
    REFUSED("\x80\2\x83\1\0.", "0x83 EXT2");
    REFUSED("\x80\2\x84\1\0\0\0.", "0x84 EXT4");
    REFUSED("\x80\2N)\x81.", "0x81 NEWOBJ");
    REFUSED("\x80\2P0\n.", "0x50 PERSID");
    REFUSED("\x80\2N0.", "opcode 0x30 at byte");
    REFUSED("\x80\2\xff.", "opcode 0xff at byte 48: not one");
    REFUSED("\x80\2(X\6\0\0\0moduleNNNtQ.", "torch.save(model.state_dict(), PATH)");
}

static void odd_pickles(void **state) {
    (void)state;
    REFUSED("(dp0\n.", "byte 46: expected a pickle of protocol 2 or later");
    REFUSED("\x80\1N.", "a protocol of 2 to 5");
    REFUSED("\x80\6N.", "a protocol of 2 to 5");
    REFUSED("\x80\4\x95\xff\0\0\0\0\0\0\0N.", "a frame inside of the pickle");
    REFUSED("\x80\2Nr\0\0\0\x80.", "a memo index below 262144, found 2147483648");
    REFUSED("\x80\2h\5.", "a memo index that was set, found 5");
    REFUSED("\x80\2Nq\5h\4.", "found 4");
    REFUSED("\x80\2Nj\xff\xff\xff\xff.", "found 4294967295");
    REFUSED("\x80\2X\xff\xff\xff\xffno", "expected 4294967295 more bytes, found 2");
    REFUSED("\x80\2X\1\0", "expected 4 more bytes, found 2");
    REFUSED("\x80\2cos", "expected a line, found the end");
    REFUSED("\x80\2", "opcode at byte 48: expected 1 more bytes, found 0");
    REFUSED("\x80\2NN.", "expected one value on the stack, found more");
    REFUSED("\x80\2}(Nu.", "a key without a value");
    REFUSED("\x80\2}Na.", "APPEND at byte 50: expected a list, found a dict");
    REFUSED("\x80\2]NNs.", "expected a dict, found a list");
    REFUSED("\x80\2)}b.", "BUILD at byte 50: expected a dict, found a tuple");
    REFUSED("\x80\2ctorch\nFloatStorage\n)R.", "found FloatStorage");
    REFUSED("\x80\2N)R.", "REDUCE at byte 50: expected OrderedDict or a tensor's");
    REFUSED(
        "\x80\2ccollections\nOrderedDict\n]R.", "a tuple of arguments, found a list");
    REFUSED("\x80\2ccollections\nOrderedDict\nN\x85R.",
        "an OrderedDict of a list, found None");
    REFUSED("\x80\2ccollections\nOrderedDict\n]Na\x85R.",
        "pairs of key and value, found None");
    REFUSED("\x80\2ccollections\nOrderedDict\n]]Naa\x85R.", "pairs of key and value");
    REFUSED(
        "\x80\2X\1\0\0\0aQ.", "BINPERSID at byte 54: expected a tuple, found a string");
    REFUSED("\x80\2NN\x93.", "expected two strings");
    REFUSED("\x80\2)Q.\x80\2].", "persistent id: expected a storage");
    REFUSED("\x80\2N.\x80\2].", "expected a state dict of tensors");
    REFUSED("\x80\2]q\0h\0a.\x80\2].", "found a list without");
    REFUSED("\x80\2}q\0X\12\0\0\0state_dicth\0s.\x80\2].", "found a dict without");
}

/* Every opcode that pops, with too little on the stack or above the last mark. */
static void underflow(void **state) {
    (void)state;
    static const struct {
        const char *opcode;
        size_t n, pops;
    } cases[] = {{".", 1, 1}, {"\x85", 1, 1}, {"\x86", 1, 2}, {"\x87", 1, 3},
        {"a", 1, 2}, {"s", 1, 3}, {"q\0", 2, 1}, {"r\0\0\0\0", 5, 1}, {"\x94", 1, 1},
        {"R", 1, 2}, {"b", 1, 2}, {"Q", 1, 1}, {"\x93", 1, 2}, {"t", 1, 0}, {"e", 1, 0},
        {"u", 1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t below = 0; below < 2; below++) {
            blob b = {0};
            PUT(&b, "\x80\2");
            if (below) PUT(&b, "]]](");
            for (size_t k = 1; k < cases[i].pops; k++) PUT(&b, "]");
            put(&b, cases[i].opcode, cases[i].n);
            if (!below || cases[i].pops) refused_pickle(b.data, b.n, "on the stack");
            blob_free(&b);
        }
    REFUSED("\x80\2(e.", "the stack empty");
    REFUSED("\x80\2(u.", "the stack empty");
    REFUSED("\x80\2((]e.", "the stack empty");
}

static void many_values(void **state) {
    (void)state;
    static const char *const repeated[] = {"N", "(", ")\x85", "]", "h\0"};
    for (size_t i = 0; i < 5; i++) {
        blob b = {0};
        PUT(&b, "\x80\2Nq\0");
        for (int k = 0; k < 300000; k++)
            put(&b, repeated[i], strlen(repeated[i]) + (i == 4));
        refused_pickle(b.data, b.n, "expected at most 262144 values, found more");
        blob_free(&b);
    }
    blob b = {0};
    PUT(&b, "\x80\2)"); /* a tuple of a tuple of a tuple ... */
    for (int k = 0; k < 300000; k++) PUT(&b, "\x85");
    refused_pickle(b.data, b.n, "expected at most 262144 values");
    b.n = 0;
    PUT(&b, "\x80\2]q\0");
    for (int k = 0; k < 600000; k++) PUT(&b, "h\0a");
    refused_pickle(b.data, b.n, "expected at most 524288 values");
    blob_free(&b);
}

/* --- lying tensors --- */

#define BIG INT64_MAX

static const struct {
    lie tensor;
    const char *words;
} lying[] = {
    {{"w", "FloatStorage", "0", 12, 1, 1, 1, {12}, {1}},
        "lead out of its storage of 12"},
    {{"w", "FloatStorage", "0", 12, 0, 1, 1, {13}, {1}}, "lead out of its storage"},
    {{"w", "FloatStorage", "0", 12, 0, 1, 1, {7}, {2}}, "lead out of its storage"},
    {{"w", "FloatStorage", "0", 12, 13, 1, 1, {0}, {1}}, "lead out of its storage"},
    {{"w", "FloatStorage", "0", 12, BIG, 1, 1, {2}, {1}}, "lead out of its storage"},
    {{"w", "FloatStorage", "0", 12, -1, 1, 1, {2}, {1}}, "an offset of 0 or more"},
    {{"w", "FloatStorage", "0", 12, 0, 1, 1, {-2}, {1}},
        "dimension 0: expected a size"},
    {{"w", "FloatStorage", "0", 12, 0, 2, 2, {2, 2}, {1, -1}}, "dimension 1"},
    {{"w", "FloatStorage", "0", 12, 0, 2, 1, {2, 2}, {1}}, "as many sizes as strides"},
    {{"w", "FloatStorage", "0", 12, 0, 9, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {0}},
        "at most 8"},
    {{"w", "FloatStorage", "0", 12, 0, 2, 2, {BIG, 4}, {4, 1}}, "lead out of"},
    {{"w", "FloatStorage", "0", 12, 0, 3, 3, {BIG, BIG, BIG}, {0, 0, 0}},
        "lead out of"},
    {{"w", "FloatStorage", "0", 12, 0, 3, 3, {0, BIG, BIG}, {1, 1, 1}}, "lead out of"},
    {{"w", "FloatStorage", "0", 12, 0, 2, 2, {BIG, BIG}, {BIG, BIG}}, "lead out of"},
    {{"w", "FloatStorage", "0", 12, 0, 1, 1, {100000000}, {0}}, "cannot hold"},
    {{"w", "FloatStorage", "0", -12, 0, 1, 1, {1}, {1}}, "that memory can hold"},
    {{"w", "FloatStorage", "0", BIG, 0, 1, 1, {1}, {1}}, "that memory can hold"},
    {{"w", "DoubleStorage", "0", BIG / 8, 0, 1, 1, {BIG / 8}, {1}}, "0: expected"},
    {{"w", "FloatStorage", "0", 13, 0, 1, 1, {13}, {1}}, "0: expected"},
    {{"w", "DoubleStorage", "0", 12, 0, 1, 1, {12}, {1}}, "0: expected 96 bytes"},
    {{"w", "FloatStorage", "1", 12, 0, 1, 1, {12}, {1}}, ": expected"},
    {{"", "FloatStorage", "0", 12, 0, 1, 1, {12}, {1}}, "name of a tensor"},
    {{"w", "FloatTensor", "0", 12, 0, 1, 1, {12}, {1}}, "torch.FloatTensor"},
};

static void lying_tensors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof lying / sizeof *lying; i++) {
        blob object = state_dict(&lying[i].tensor, 1), b = legacy(&object, 12);
        foreign_refused(&imp_reader_pth_legacy, b.data, b.n, lying[i].words);
        blob_free(&object);
        blob_free(&b);
    }
    lie twice[] = {pair, pair};
    blob object = state_dict(twice, 2), b = legacy(&object, 2);
    foreign_refused(&imp_reader_pth_legacy, b.data, b.n, "tensor w: there twice");
    blob_free(&object);
    blob_free(&b);
    char name[200];
    memset(name, 'n', sizeof name);
    name[199] = 0;
    twice[0].name = name;
    object = state_dict(twice, 1);
    b = legacy(&object, 2);
    foreign_refused(&imp_reader_pth_legacy, b.data, b.n, "expected 1 to 159 bytes");
    blob_free(&object);
    blob_free(&b);
}

static void other_arguments(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"storage\nNNNN", "type: expected one, found None"},
        {"storage\nctorch\nFloatStorage\nK1NK1N",
            "key: expected a string, found a whole"},
        {"storage\nctorch\nFloatStorage\nU\0010NK1)", "a view of another"},
        {"storage\nctorch\nFloatStorage\nU\0010NNN", "a number of elements"},
        {"storage\nctorch\nFloatStorage\nU\0010N", "a number of elements"},
        {"source\nNNNN", "expected a storage, found another"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        blob b = {0};
        const char *rest = strchr(cases[i][0], '\n') + 1;
        PUT(&b, "\x80\2}U\1wctorch._utils\n_rebuild_tensor_v2\n((U");
        put_number(&b, (size_t)(rest - 1 - cases[i][0]), 1);
        put(&b, cases[i][0], (size_t)(rest - 1 - cases[i][0]));
        put(&b, rest, strlen(rest));
        PUT(&b, "tQK\0))tRs.\x80\2].");
        refused_pickle(b.data, b.n, cases[i][1]);
        blob_free(&b);
    }
    REFUSED("\x80\2}U\1wctorch._utils\n_rebuild_tensor_v2\n)Rs.\x80\2].",
        "tensor w: expected a storage, found nothing");
    REFUSED("\x80\2}Nctorch._utils\n_rebuild_tensor_v2\n)Rs.\x80\2].",
        "name of a tensor: expected text, found None");
    REFUSED("\x80\2}U\3a\0bctorch._utils\n_rebuild_tensor_v2\n)Rs.\x80\2].",
        "found a zero in it");
}

/* --- the legacy container --- */

static void lying_storages(void **state) {
    (void)state;
    static const char one[] = "\x80\2]X\1\0\0\0000a.\2\0\0\0\0\0\0\0"
                              "8bytes..";
    static const struct {
        const char *rest;
        size_t n;
        const char *words;
    } cases[] = {
        {one, sizeof one - 2, "storage 0: expected 8 bytes, found 7"},
        {one, sizeof one, "expected the end after the storages, found 1 bytes more"},
        {one, 14, "storage 0: expected its size, found the end"},
        {"\x80\2]X\1\0\0\0000a.\3\0\0\0\0\0\0\0"
         "8bytes..more",
            31, "expected 2 elements, found 3"},
        {"\x80\2]X\1\0\0\0000a.\2\0\0\0\0\0\0\x80", 19, "found 9223372036854775810"},
        {"\x80\2].", 4, "storage 0: expected it in the file, found it nowhere"},
        {"\x80\2].\x80", 5, "expected the end"},
        {"\x80\2}.", 4, "keys of storages: expected a list, found a dict"},
        {"\x80\2]Na.", 6, "keys of storages: expected a string, found None"},
        {"\x80\2](X\1\0\0\0001e.", 12, "storage 1: expected one that a tensor has"},
        {"", 0, "keys of storages: byte"},
    };
    blob object = state_dict(&pair, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        blob b = legacy_head();
        put(&b, object.data, object.n);
        put(&b, cases[i].rest, cases[i].n);
        foreign_refused(&imp_reader_pth_legacy, b.data, b.n, cases[i].words);
        blob_free(&b);
    }
    blob b = legacy_head();
    put(&b, object.data, object.n);
    PUT(&b, "\x80\2](X\1\0\0\0000X\1\0\0\0000e.");
    for (int i = 0; i < 2; i++)
        PUT(&b, "\2\0\0\0\0\0\0\0"
                "8bytes..");
    foreign_refused(
        &imp_reader_pth_legacy, b.data, b.n, "expected it once, found it twice");
    blob_free(&b);
    blob_free(&object);
    lie two[] = {pair, pair};
    two[1].name = "v";
    two[1].n = 1;
    object = state_dict(two, 2);
    b = legacy(&object, 2);
    foreign_refused(&imp_reader_pth_legacy, b.data, b.n, "expected one type and size");
    blob_free(&b);
    blob_free(&object);
}

static void other_systems(void **state) {
    (void)state;
    static const char magic[] =
        "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    static const struct {
        const char *rest;
        size_t n;
        const char *words;
    } cases[] = {
        {"\x80\2M\xea\3.", 6, "protocol: expected 1001, found another"},
        {"\x80\2N.", 4, "protocol: expected 1001, found another"},
        {"\x80\2M\xe9\3.\x80\2}U\15little_endian\x89s.", 27, "little-endian"},
        {"\x80\2M\xe9\3.\x80\2].", 10, "system: expected a dict, found a list"},
        {"", 0, "protocol: byte 15: expected a pickle"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        blob b = {0};
        PUT(&b, magic);
        put(&b, cases[i].rest, cases[i].n);
        foreign_refused(&imp_reader_pth_legacy, b.data, b.n, cases[i].words);
        blob_free(&b);
    }
    assert_null(imp_reader_of((const uint8_t *)magic, sizeof magic - 2));
}

/* A file cut after every 97th byte: refused. */
static void truncated(const imp_reader *reader, const char *name) {
    char path[512];
    snprintf(path, sizeof path, GOLDEN_DIR "/foreign/%s", name);
    imp_foreign whole = foreign_map(path);
    for (size_t n = 0; n < whole.size; n += 97) {
        uint8_t *copy = malloc(n ? n : 1); /* so that a sanitizer sees its end */
        assert_non_null(copy);
        memcpy(copy, whole.data, n);
        imp_foreign f = {.ctx = ctx, .path = name, .fd = -1, .data = copy, .size = n};
        if (n > 300) assert_true(reader->recognise(copy, n));
        imp_status s = n > 300 ? foreign_open(reader, &f) : IMP_ERR_MODEL;
        if (s != IMP_ERR_MODEL) fail_msg("%s cut at %zu: status %d", name, n, (int)s);
        reader->close(&f);
        free(f.tensors);
        free(copy);
    }
    foreign_close(reader, &whole);
}

static void truncated_files(void **state) {
    (void)state;
    truncated(&imp_reader_pth_legacy, "vgg_conv.pth");
#ifdef IMP_WITH_ZIP
    truncated(&imp_reader_pth_zip, "vgg16.zip.pth");
    truncated(&imp_reader_npz, "vgg19-packed.npz");
    truncated(&imp_reader_npz, "vgg19.npz");
#endif
}

#ifdef IMP_WITH_ZIP

/* --- the zip container --- */

/* a/data.pkl of one tensor w of two floats, and a/data/0. */
typedef struct archive {
    blob object, numbers;
    zip_item items[4];
} archive;

static archive archive_of(const lie *t, size_t n) {
    archive a = {.object = state_dict(t, 1)};
    put_floats(&a.numbers, n);
    a.items[0] =
        (zip_item){.name = "a/data.pkl", .data = a.object.data, .n = a.object.n};
    a.items[1] =
        (zip_item){.name = "a/data/0", .data = a.numbers.data, .n = a.numbers.n};
    a.items[2] = (zip_item){.name = "a/byteorder", .data = "little", .n = 6};
    a.items[3] = (zip_item){.name = "a/version", .data = "3\n", .n = 2};
    return a;
}

static void archive_free(archive *a) {
    blob_free(&a->object);
    blob_free(&a->numbers);
}

static void archive_refused(archive *a, const char *words) {
    blob b = zip_of(a->items, 4);
    foreign_refused(&imp_reader_pth_zip, b.data, b.n, words);
    blob_free(&b);
    archive_free(a);
}

static void packed_archives(void **state) {
    (void)state;
    const lie part = {"w", "FloatStorage", "0", 60000, 20000, 1, 1, {40000}, {1}};
    for (int k = 0; k < 4; k++) { /* the pickle deflated, the numbers deflated */
        archive a = archive_of(&part, 60000);
        a.items[0].deflated = k & 1;
        a.items[1].deflated = k & 2;
        if (!(k & 2))
            a.items[1].crc = 1; /* where it is stored PyTorch may write none */
        blob b = zip_of(a.items, k ? 4 : 2);
        imp_foreign f = opened_blob(&imp_reader_pth_zip, &b);
        assert_int_equal(f.n, 1);
        assert_numbers(&imp_reader_pth_zip, &f, "w", !(k & 2),
            (float *)(void *)a.numbers.data + 20000, 40000);
        foreign_close(&imp_reader_pth_zip, &f);
        blob_free(&b);
        archive_free(&a);
    }
    const lie turned = {"w", "FloatStorage", "0", 4, 0, 2, 2, {2, 2}, {1, 2}};
    archive a = archive_of(&turned, 4);
    blob b = zip_of(a.items, 4);
    imp_foreign f = opened_blob(&imp_reader_pth_zip, &b);
    assert_numbers(&imp_reader_pth_zip, &f, "w", false, (float[]){0, 2, 1, 3}, 4);
    foreign_close(&imp_reader_pth_zip, &f);
    blob_free(&b);
    a.items[1].deflated = true;
    archive_refused(&a, "save it as tensor.contiguous()");
}

static void lying_archives(void **state) {
    (void)state;
#define LIE(change, words)                                                             \
    do {                                                                               \
        archive a = archive_of(&pair, 2);                                              \
        zip_item *e = a.items;                                                         \
        change;                                                                        \
        archive_refused(&a, words);                                                    \
    } while (0)
    LIE(e[1].flags = 1, "entry a/data/0: expected one that is not encrypted");
    LIE(e[1].method = 12, "expected it stored or deflated");
    LIE(e[1].size = 7, "it is stored: expected one size, found two");
    LIE(e[1].packed = 9, "zip: ");
    LIE(e[3].packed = 0x7fffffff, "zip: ");
    LIE(e[1].name = "a/data/1", "zip: expected an entry a/data/0, found none");
    LIE(e[1].n = 4, "a/data/0: expected 8 bytes, found 4");
    LIE(e[1].name = "a/data.pkl", "zip: directory: ");
    LIE(e[1].name = "b/data.pkl",
        "expected one entry NAME/data.pkl as PyTorch writes it");
    LIE(e[0].name = "data.pkl", "expected one entry NAME/data.pkl");
    LIE(e[0].name = "a/b/data.pkl", "expected one entry NAME/data.pkl");
    LIE(e[2].name = "a/code/__torch__.py", "found a TorchScript program");
    LIE((e[2].data = "big", e[2].n = 3), "a/byteorder: expected little");
    LIE(e[2].data = "middle", "a/byteorder: expected little");
    LIE((e[0].deflated = true, e[0].crc = 1), "a/data.pkl: ");
    LIE((e[0].deflated = true, e[0].size = 9), "a/data.pkl: ");
    LIE((e[0].deflated = true, e[0].size = 999), "a/data.pkl: ");
    LIE((e[0].method = 8), "a/data.pkl: ");
    LIE((e[1].deflated = true, e[1].crc = 1), "a/data/0: ");
    LIE((e[1].method = 8), "a/data/0: ");
    LIE(e[0].n = 9, "data.pkl: GLOBAL");
    LIE(e[0].n = 0, "data.pkl: byte 0: expected a pickle");
#undef LIE
}

/* 42 KB that claim to be a gigabyte, and what deflate can do at best. */
static void bombs(void **state) {
    (void)state;
    size_t n = (size_t)42 << 20;
    void *zeros = calloc(n, 1);
    assert_non_null(zeros);
    archive a = archive_of(&pair, 2);
    a.items[0].deflated = true;
    a.items[0].data = zeros;
    a.items[0].n = n;
    a.items[0].size = 1u << 30;
    archive_refused(&a, "zip: entry a/data.pkl: expected at most ");
    a = archive_of(&pair, 2);
    a.items[0].deflated = true;
    a.items[0].data = zeros;
    a.items[0].n = n;
    archive_refused(&a, "expected at most 16777216 bytes, found 44040192 claimed");
    const lie large = {"w", "FloatStorage", "0", 42 << 18, 0, 1, 1, {42 << 18}, {1}};
    a = archive_of(&large, 2);
    a.items[1].deflated = true;
    a.items[1].data = zeros;
    a.items[1].n = n;
    archive_refused(&a, "cannot hold");
    free(zeros);
}

/* An entry whose bytes are another's header and bytes, and one in them. */
static void overlapping(void **state) {
    (void)state;
    archive a = archive_of(&pair, 2);
    zip_item inner = {.name = "a/data/1", .data = "8bytes..", .n = 8};
    blob within = zip_of(&inner, 1); /* its local header comes first */
    a.items[0].name = "a/data/9";    /* the first, so that its place is known: 30 + 8 */
    a.items[0].data = within.data;
    a.items[0].n = 30 + 8 + 8;
    inner.header = 30 + 8 + 1;
    a.items[3] = inner;
    archive_refused(&a, "entry a/data/1: it lies over another entry");
    blob_free(&within);
    a = archive_of(&pair, 2);
    a.items[3] = a.items[0];
    a.items[3].header = 1;
    archive_refused(&a, "zip: "); /* the same entry twice */
    a = archive_of(&pair, 2);
    a.items[3].header = 0x7fffffff;
    archive_refused(&a, "zip: ");
}

/* --- NumPy --- */

/* A member of `version` with this header, filled up as NumPy does, and n floats. */
static blob npy(int version, const char *header, size_t n) {
    blob b = {0};
    PUT(&b, "\x93NUMPY");
    put_number(&b, (uint64_t)version, 2);
    size_t length = strlen(header) + 1, first = version == 1 ? 10 : 12;
    size_t fill = (64 - (first + length) % 64) % 64;
    put_number(&b, length + fill, version == 1 ? 2 : 4);
    put(&b, header, length - 1);
    for (size_t i = 0; i < fill; i++) PUT(&b, " ");
    PUT(&b, "\n");
    put_floats(&b, n);
    return b;
}

static blob npz(const blob *member, bool deflate) {
    const zip_item items[] = {
        {.name = "w.npy", .data = member->data, .n = member->n, .deflated = deflate},
        {.name = "README", .data = "no array", .n = 8}};
    return zip_of(items, 2);
}

static void good_headers(void **state) {
    (void)state;
    static const struct {
        int version;
        const char *header;
        size_t floats, count, ndim;
        imp_dtype dtype;
        bool column_major;
    } cases[] = {
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 6, 6, 2,
            IMP_DTYPE_F32, false},
        {2, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 6, 6, 2,
            IMP_DTYPE_F32, true},
        {3, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", 6, 3, 1,
            IMP_DTYPE_F64, false},
        {1, "{'shape': (12L,), 'descr': '<f2', 'fortran_order': False}", 6, 12, 1,
            IMP_DTYPE_F16, false},
        {1, "{'descr':'<f4','fortran_order':False,'shape':()}", 1, 1, 0, IMP_DTYPE_F32,
            false},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9), }", 0, 0, 2,
            IMP_DTYPE_F32, false},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        blob member =
            npy(cases[i / 2].version, cases[i / 2].header, cases[i / 2].floats);
        blob b = npz(&member, i % 2);
        imp_foreign f = opened_blob(&imp_reader_npz, &b);
        assert_int_equal(f.n, 1);
        const imp_foreign_tensor *t = &f.tensors[0];
        assert_string_equal(t->name, "w");
        assert_int_equal(t->count, cases[i / 2].count);
        assert_int_equal(t->ndim, cases[i / 2].ndim);
        assert_int_equal(t->dtype, cases[i / 2].dtype);
        assert_true(
            t->column_major == cases[i / 2].column_major && t->inside == !(i % 2));
        float *x = foreign_floats(&imp_reader_npz, &f, 0);
        if (t->dtype == IMP_DTYPE_F32)
            assert_memory_equal(x, member.data + member.n - 4 * t->count, 4 * t->count);
        free(x);
        foreign_close(&imp_reader_npz, &f);
        blob_free(&b);
        blob_free(&member);
    }
}

static void skips_whole_numbers(void **state) {
    (void)state;
    static const char *const descr[] = {
        "<i8", "|u1", "|b1", "<c8", "<U5", "|S5", ">i4"};
    for (size_t i = 0; i < sizeof descr / sizeof *descr; i++) {
        char header[128];
        snprintf(header, sizeof header,
            "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }", descr[i]);
        blob member = npy(1, header, 2), b = npz(&member, false);
        imp_foreign f = opened_blob(&imp_reader_npz, &b);
        assert_int_equal(f.n, 0);
        foreign_close(&imp_reader_npz, &f);
        blob_free(&b);
        blob_free(&member);
    }
}

static void lying_headers(void **state) {
    (void)state;
#define REST     ", 'fortran_order': False, 'shape': (2,), }"
#define SHAPE(s) "{'descr': '<f4', 'fortran_order': False, 'shape': " s ", }"
    static const char *const cases[][2] = {
        {"{'descr': '>f4'" REST, "expected <f2, <f4 or <f8, found >f4"},
        {"{'descr': '<f16'" REST, "found <f16"},
        {"{'descr': '|O'" REST, "found Python objects"},
        {"{'descr': 'f4'" REST, "a dtype as NumPy writes it"},
        {"{'descr': ''" REST, "a dtype as NumPy writes it"},
        {"{'descr': [('a', '<f4')]" REST, "one kind of number"},
        {"{'descr': '<f\\x34'" REST, "one kind of number"},
        {"{'descr': '<f4", "one kind of number"},
        {"{'descr': \"<f4\"" REST, "one kind of number"},
        {"{'descr': '<f4', 'descr': '<f4'" REST, "each once"},
        {"{'descr': '<f4', 'other': 1" REST, "each once"},
        {"{'descr': '<f4', 'shape': (2,), }", "descr, fortran_order and shape"},
        {"{'fortran_order': False, 'shape': (2,), }", "descr, fortran_order and shape"},
        {"{}", "descr, fortran_order and shape"},
        {"{'descr': '<f4'" REST " x", "an end after the dict"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (2,), }", "a comma"},
        {"{'descr' '<f4'" REST, "a key"},
        {"{, 'descr': '<f4'" REST, "a key"},
        {"['descr': '<f4'" REST, "a dict"},
        {"", "a dict"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }", "True or False"},
        {SHAPE("(2)"), "a shape of"},
        {SHAPE("(,)"), "a shape of"},
        {SHAPE("[2]"), "a shape of"},
        {SHAPE("(-2,)"), "a shape of"},
        {SHAPE("(2.0,)"), "a shape of"},
        {SHAPE("(1 2)"), "a shape of"},
        {SHAPE("(2"), "a shape of"},
        {SHAPE("(1, 1, 1, 1, 1, 1, 1, 1, 2)"), "a shape of"},
        {SHAPE("(99999999999999999999,)"), "a shape of"},
        {SHAPE("(3,)"), "shape: expected one of 8 bytes"},
        {SHAPE("(1,)"), "shape: expected one of 8 bytes"},
        {SHAPE("(4611686018427387904, 4)"), "shape: expected one of 8 bytes"},
        {SHAPE("(4294967296, 4294967296, 2)"), "shape: expected one of 8 bytes"},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        blob member = npy(1, cases[i / 2][0], 2), b = npz(&member, i % 2);
        foreign_refused(&imp_reader_npz, b.data, b.n, cases[i / 2][1]);
        blob_free(&b);
        blob_free(&member);
    }
}

static void lying_members(void **state) {
    (void)state;
    static const struct {
        size_t at;
        const char *bytes;
        size_t n;
        const char *words;
    } cases[] = {
        {1, "M", 1, "w.npy: expected NumPy's array"},
        {6, "\4", 1, "version 1.0 to 3.0"},
        {6, "\0", 1, "version 1.0 to 3.0"},
        {7, "\1", 1, "version 1.0 to 3.0"},
        {8, "\xff\xff", 2, "header: expected at most 126 bytes, found 65535"},
        {8, "\1\0", 2, "header: expected "},
        {6, "\2\0\xff\xff\xff\xff", 6, "found 4294967295"},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        blob member = npy(1, SHAPE("(2,)"), 2);
        memcpy(member.data + cases[i / 2].at, cases[i / 2].bytes, cases[i / 2].n);
        blob b = npz(&member, i % 2);
        foreign_refused(&imp_reader_npz, b.data, b.n, cases[i / 2].words);
        blob_free(&b);
        blob_free(&member);
    }
    for (size_t n = 0; n < 90; n += 7) { /* a short member */
        blob member = npy(1, SHAPE("(2,)"), 2);
        member.n = n;
        blob b = npz(&member, false);
        foreign_refused(&imp_reader_npz, b.data, b.n, "w.npy: ");
        blob_free(&b);
        blob_free(&member);
    }
    blob member = npy(1, SHAPE("(2,)"), 2);
    const zip_item twice[] = {{.name = "w.npy", .data = member.data, .n = member.n},
        {.name = "w.npy", .data = member.data, .n = member.n}};
    blob b = zip_of(twice, 2);
    foreign_refused(&imp_reader_npz, b.data, b.n, "zip: directory: ");
    blob_free(&b);
    const zip_item nameless = {.name = ".npy", .data = member.data, .n = member.n};
    b = zip_of(&nameless, 1);
    foreign_refused(&imp_reader_npz, b.data, b.n, "name of a tensor");
    blob_free(&b);
    const zip_item lying_sum = {.name = "w.npy",
        .data = member.data,
        .n = member.n,
        .deflated = true,
        .crc = 1};
    b = zip_of(&lying_sum, 1);
    foreign_refused(&imp_reader_npz, b.data, b.n, "zip: w.npy: ");
    blob_free(&b);
    blob_free(&member);
}

static void many_entries(void **state) {
    (void)state;
    zip_item *items = calloc(17000, sizeof *items);
    char(*names)[12] = calloc(17000, sizeof *names);
    assert_true(items && names);
    for (size_t i = 0; i < 17000; i++) {
        snprintf(names[i], sizeof *names, "%zu.npy", i);
        items[i].name = names[i];
        items[i].data = "";
    }
    blob b = zip_of(items, 17000);
    foreign_refused(&imp_reader_npz, b.data, b.n, "expected at most 16384 entries");
    blob_free(&b);
    free(names);
    free(items);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_pytorch),
        cmocka_unit_test(reads_convolutions_alone),
        cmocka_unit_test(other_orders),
        cmocka_unit_test(large_transposed),
        cmocka_unit_test(other_pickles),
        cmocka_unit_test(executes_nothing),
        cmocka_unit_test(odd_pickles),
        cmocka_unit_test(underflow),
        cmocka_unit_test(many_values),
        cmocka_unit_test(lying_tensors),
        cmocka_unit_test(other_arguments),
        cmocka_unit_test(lying_storages),
        cmocka_unit_test(other_systems),
        cmocka_unit_test(truncated_files),
#ifdef IMP_WITH_ZIP
        cmocka_unit_test(reads_numpy),
        cmocka_unit_test(packed_archives),
        cmocka_unit_test(lying_archives),
        cmocka_unit_test(bombs),
        cmocka_unit_test(overlapping),
        cmocka_unit_test(good_headers),
        cmocka_unit_test(skips_whole_numbers),
        cmocka_unit_test(lying_headers),
        cmocka_unit_test(lying_members),
        cmocka_unit_test(many_entries),
#endif
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
