/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <zlib.h>

#include "data/idx.h"
#include "files.h"

/* Six pictures of 3 x 2 with labels 0 .. 5: header and bytes 0, 1, 2, ... */
#define IMAGES_SIZE (16 + 36)
#define LABELS_SIZE (8 + 6)

static uint8_t images[IMAGES_SIZE], labels[LABELS_SIZE];

static void put32(uint8_t *p, uint32_t x) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(x >> (24 - 8 * i));
}

static int fresh(void **state) {
    (void)state;
    put32(images, 2051);
    put32(images + 4, 6);
    put32(images + 8, 3);
    put32(images + 12, 2);
    for (int i = 0; i < 36; i++) images[16 + i] = (uint8_t)i;
    put32(labels, 2049);
    put32(labels + 4, 6);
    for (int i = 0; i < 6; i++) labels[8 + i] = (uint8_t)i;
    return 0;
}

/* size bytes at out as one gzip member; its size. */
static size_t pack(const void *data, size_t size, uint8_t *out, size_t room) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static imp_status parse_sizes(
    imp_dataset **set, size_t images_size, size_t labels_size) {
    return imp_idx_parse(ctx, set, (imp_idx_bytes){"images", images, images_size},
        (imp_idx_bytes){"labels", labels, labels_size});
}

static imp_status parse(imp_dataset **set) {
    return parse_sizes(set, IMAGES_SIZE, LABELS_SIZE);
}

static void assert_six(const imp_dataset *set) {
    assert_int_equal(imp_dataset_count(set), 6);
    assert_int_equal(imp_dataset_height(set), 3);
    assert_int_equal(imp_dataset_width(set), 2);
    for (size_t i = 0; i < 6; i++) assert_int_equal(imp_dataset_label(set, i), (int)i);
    assert_memory_equal(imp_dataset_image(set, 0), images + 16, 36);
    assert_ptr_equal(imp_dataset_image(set, 5), imp_dataset_image(set, 0) + 30);
}

static void reads_what_is_there(void **state) {
    (void)state;
    imp_dataset *set;
    assert_int_equal(parse(&set), IMP_OK);
    assert_six(set);
    imp_dataset_free(set);
    imp_dataset_free(NULL);
}

/* One field of the images' header, or of the labels', wrong. */
static void lying_headers(void **state) {
    static const struct {
        bool labels;
        size_t at;
        uint32_t value;
        imp_status status;
        const char *text;
    } cases[] = {
        {false, 0, 2049, IMP_ERR_DATA, "images: magic: expected 2051, found 2049"},
        {false, 0, 0, IMP_ERR_DATA, "magic"},
        {false, 4, 0, IMP_ERR_DATA, "images: count: expected 1 to 10000000, found 0"},
        {false, 4, 5, IMP_ERR_DATA, "found more bytes"},
        {false, 4, 7, IMP_ERR_DATA, "expected 58 bytes as its header says, found 52"},
        {false, 4, 10000000, IMP_ERR_DATA, "as its header says, found 52"},
        {false, 4, 10000001, IMP_ERR_LIMIT, "found 10000001"},
        {false, 4, 0xffffffff, IMP_ERR_LIMIT, "found 4294967295"},
        {false, 8, 0, IMP_ERR_DATA, "rows: expected 1 to 4096, found 0"},
        {false, 8, 4096, IMP_ERR_DATA, "found 52"},
        {false, 8, 4097, IMP_ERR_LIMIT, "rows"},
        {false, 12, 0, IMP_ERR_DATA, "columns"},
        {false, 12, 0x80000000, IMP_ERR_LIMIT, "columns"},
        {true, 0, 2051, IMP_ERR_DATA, "labels: magic: expected 2049, found 2051"},
        {true, 4, 5, IMP_ERR_DATA,
            "labels: count: expected 6, as there are images, found 5"},
        {true, 4, 0xffffffff, IMP_ERR_DATA, "found 4294967295"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        imp_dataset *set;
        fresh(state);
        put32((cases[i].labels ? labels : images) + cases[i].at, cases[i].value);
        assert_failed(parse(&set), cases[i].status, cases[i].text);
        assert_null(set);
    }
}

static void total_is_limited(void **state) {
    (void)state;
    imp_dataset *set;
    put32(images + 4, 10000000);
    put32(images + 8, 4096);
    put32(images + 12, 4096);
    assert_failed(parse(&set), IMP_ERR_LIMIT, "at most 4294967296 bytes");
}

static void every_length_but_the_right_one(void **state) {
    (void)state;
    imp_dataset *set;
    for (size_t n = 0; n < IMAGES_SIZE; n++)
        assert_failed(parse_sizes(&set, n, LABELS_SIZE), IMP_ERR_DATA, "images: ");
    for (size_t n = 0; n < LABELS_SIZE; n++)
        assert_failed(parse_sizes(&set, IMAGES_SIZE, n), IMP_ERR_DATA, "labels: ");
    uint8_t longer[LABELS_SIZE + 1] = {0};
    memcpy(longer, labels, LABELS_SIZE);
    assert_failed(
        imp_idx_parse(ctx, &set, (imp_idx_bytes){"images", images, IMAGES_SIZE},
            (imp_idx_bytes){"labels", longer, sizeof longer}),
        IMP_ERR_DATA, "found more bytes");
}

static void labels_are_digits(void **state) {
    (void)state;
    imp_dataset *set;
    labels[8 + 3] = 10;
    assert_failed(
        parse(&set), IMP_ERR_DATA, "labels: label 3: expected 0 to 9, found 10");
    labels[8 + 3] = 9;
    assert_int_equal(parse(&set), IMP_OK);
    imp_dataset_free(set);
}

/* --- gzip --- */

static imp_status parse_packed(imp_dataset **set, const uint8_t *packed, size_t size) {
    return imp_idx_parse(ctx, set, (imp_idx_bytes){"images.gz", packed, size},
        (imp_idx_bytes){"labels", labels, LABELS_SIZE});
}

static void gzip_cut_anywhere(void **state) {
    (void)state;
    imp_dataset *set;
    uint8_t packed[300];
    size_t n = pack(images, IMAGES_SIZE, packed, 300);
    assert_int_equal(parse_packed(&set, packed, n), IMP_OK);
    assert_six(set);
    imp_dataset_free(set);
    for (size_t i = 0; i < n; i++)
        assert_failed(parse_packed(&set, packed, i), IMP_ERR_DATA, "images.gz: ");
    assert_failed(parse_packed(&set, packed, n - 5), IMP_ERR_DATA, "it is cut short");
}

static void gzip_damaged_anywhere(void **state) {
    (void)state;
    imp_dataset *set;
    uint8_t packed[300];
    size_t n = pack(images, IMAGES_SIZE, packed, 300);
    packed[n - 8] ^= 1; /* its sum */
    assert_failed(parse_packed(&set, packed, n), IMP_ERR_DATA, "incorrect data check");
    packed[n - 8] ^= 1;
    packed[n - 4] ^= 1; /* its length */
    assert_failed(
        parse_packed(&set, packed, n), IMP_ERR_DATA, "incorrect length check");
    packed[n - 4] ^= 1;
    for (size_t i = 10; i < n; i++) { /* the ten before are flags and a time */
        packed[i] ^= 0x55;
        imp_status status =
            parse_packed(&set, packed, n); /* or a limit, if that is hit */
        assert_failed(status, status == IMP_OK ? IMP_ERR_DATA : status, "images.gz: ");
        packed[i] ^= 0x55;
    }
}

static void gzip_in_members(void **state) {
    (void)state;
    imp_dataset *set;
    uint8_t packed[600];
    size_t n = pack(images, 20, packed, 300);
    n += pack("", 0, packed + n, 300);
    n += pack(images + 20, IMAGES_SIZE - 20, packed + n, 300);
    assert_int_equal(parse_packed(&set, packed, n), IMP_OK);
    assert_six(set);
    imp_dataset_free(set);
    packed[n] = 0;
    assert_failed(parse_packed(&set, packed, n + 1), IMP_ERR_DATA, "after its end");
    size_t more = pack("x", 1, packed + n, 200);
    assert_failed(
        parse_packed(&set, packed, n + more), IMP_ERR_DATA, "found more bytes");
}

/* A header that declares more than so small a file can hold is not given memory. */
static void gzip_bombs(void **state) {
    (void)state;
    imp_dataset *set;
    uint8_t packed[40000];
    put32(images + 4, 200000);
    put32(images + 8, 100);
    put32(images + 12, 100);
    size_t n = pack(images, IMAGES_SIZE, packed, 300);
    assert_failed(parse_packed(&set, packed, n), IMP_ERR_DATA, "found at most");
    /* And one that holds more than it declares is read no further than that. */
    size_t size = 30000000;
    uint8_t *zeros = calloc(1, size);
    assert_non_null(zeros);
    fresh(NULL);
    memcpy(zeros, images, IMAGES_SIZE);
    n = pack(zeros, size, packed, sizeof packed);
    assert_failed(parse_packed(&set, packed, n), IMP_ERR_DATA, "found more bytes");
    /* It is good when it declares all: the bound is no smaller than what deflate does.
     */
    put32(zeros + 4, (uint32_t)(size - 16) / 6);
    n = pack(zeros, 16 + (size - 16) / 6 * 6, packed, sizeof packed);
    assert_failed(parse_packed(&set, packed, n), IMP_ERR_DATA, "labels: count");
    free(zeros);
}

/* --- files --- */

static void loads_a_folder(void **state) {
    (void)state;
    imp_dataset *set;
    uint8_t packed[300];
    size_t n = pack(labels, LABELS_SIZE, packed, 300);
    assert_failed(imp_mnist_load(ctx, &set, folder, IMP_MNIST_TRAIN), IMP_ERR_DATA,
        "train-images-idx3-ubyte: not found, nor with .gz");
    make_file("train-images-idx3-ubyte", images, IMAGES_SIZE);
    assert_failed(imp_mnist_load(ctx, &set, folder, IMP_MNIST_TRAIN), IMP_ERR_DATA,
        "train-labels-idx1-ubyte: not found");
    make_file("train-labels-idx1-ubyte.gz", packed, n);
    assert_int_equal(imp_mnist_load(ctx, &set, folder, IMP_MNIST_TRAIN), IMP_OK);
    assert_six(set);
    imp_dataset_free(set);
    assert_failed(imp_mnist_load(ctx, &set, folder, IMP_MNIST_TEST), IMP_ERR_DATA,
        "t10k-images-idx3-ubyte");
    make_file("t10k-images-idx3-ubyte.gz", "", 0);
    assert_failed(
        imp_mnist_load(ctx, &set, folder, IMP_MNIST_TEST), IMP_ERR_DATA, "is empty");
    assert_int_equal(mkdir(in_folder("t10k-images-idx3-ubyte"), 0700), 0);
    assert_failed(
        imp_mnist_load(ctx, &set, folder, IMP_MNIST_TEST), IMP_ERR_DATA, "a folder");
    assert_failed(imp_mnist_load(
                      ctx, &set, in_folder("train-images-idx3-ubyte"), IMP_MNIST_TRAIN),
        IMP_ERR_DATA, "not found");
    assert_null(set);
}

static void loads_mnist(void **state) {
    (void)state;
    const char *data = getenv("IMPASTO_DATA");
    if (!data) skip();
    char dir[4096];
    imp_dataset *set;
    snprintf(dir, sizeof dir, "%s/mnist", data);
    assert_int_equal(imp_mnist_load(ctx, &set, dir, IMP_MNIST_TRAIN), IMP_OK);
    assert_int_equal(imp_dataset_count(set), 60000);
    assert_int_equal(imp_dataset_height(set), 28);
    assert_int_equal(imp_dataset_width(set), 28);
    assert_int_equal(imp_dataset_label(set, 0), 5);
    imp_dataset_free(set);
    assert_int_equal(imp_mnist_load(ctx, &set, dir, IMP_MNIST_TEST), IMP_OK);
    assert_int_equal(imp_dataset_count(set), 10000);
    assert_int_equal(imp_dataset_label(set, 0), 7);
    imp_dataset_free(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reads_what_is_there, fresh),
        cmocka_unit_test_setup(lying_headers, fresh),
        cmocka_unit_test_setup(total_is_limited, fresh),
        cmocka_unit_test_setup(every_length_but_the_right_one, fresh),
        cmocka_unit_test_setup(labels_are_digits, fresh),
        cmocka_unit_test_setup(gzip_cut_anywhere, fresh),
        cmocka_unit_test_setup(gzip_damaged_anywhere, fresh),
        cmocka_unit_test_setup(gzip_in_members, fresh),
        cmocka_unit_test_setup(gzip_bombs, fresh),
        cmocka_unit_test_setup(loads_a_folder, fresh),
        cmocka_unit_test(loads_mnist),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
