/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "files.h"
#include "foreign_files.h"
#include "foreign_pytorch.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(executes_nothing),
        cmocka_unit_test(odd_pickles),
        cmocka_unit_test(underflow),
        cmocka_unit_test(many_values),
        cmocka_unit_test(lying_tensors),
        cmocka_unit_test(other_arguments),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
