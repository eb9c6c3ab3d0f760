/* SPDX-License-Identifier: MIT
 *
 * Two IDX files of any bytes: refused, or a data set of which every byte can be read.
 * Input: flags (1: gzip the images first, 2: the labels), the images' size in two
 * bytes, images, labels.
 */
#include "data/idx.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool truth) {
    if (!truth) __builtin_trap();
}

/* A copy of exactly its size, whose end is where the sanitizer looks. */
static imp_idx_bytes copy_of(
    const char *name, const uint8_t *data, size_t size, bool pack) {
    size_t room = pack ? size + 100 : size;
    uint8_t *copy = malloc(room ? room : 1);
    if (!copy) abort();
    if (!pack) {
        if (size) memcpy(copy, data, size);
        return (imp_idx_bytes){name, copy, size};
    }
    z_stream z = {0};
    if (deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)size;
    z.next_out = copy;
    z.avail_out = (uInt)room;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END) abort();
    size = room - z.avail_out;
    deflateEnd(&z);
    uint8_t *exact = realloc(copy, size);
    return (imp_idx_bytes){name, exact ? exact : copy, size};
}

static void use(const imp_dataset *set) {
    size_t n = imp_dataset_count(set);
    size_t bytes = imp_dataset_height(set) * imp_dataset_width(set);
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        demand(imp_dataset_label(set, i) >= 0 && imp_dataset_label(set, i) <= 9);
        const uint8_t *image = imp_dataset_image(set, i);
        sum += image[0];
        sum += image[bytes - 1];
    }
    demand(sum <= n * 2 * 255); /* and so the reads are not left out */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    size_t split = (size_t)data[1] | (size_t)data[2] << 8;
    if (split > size - 3) split = size - 3;
    imp_ctx ctx = {0};
    imp_dataset *set;
    imp_idx_bytes images = copy_of("images", data + 3, split, data[0] & 1);
    imp_idx_bytes labels =
        copy_of("labels", data + 3 + split, size - 3 - split, data[0] & 2);
    imp_status status = imp_idx_parse(&ctx, &set, images, labels);
    if (status == IMP_OK)
        use(set);
    else
        demand(
            !set && (status == IMP_ERR_DATA || status == IMP_ERR_LIMIT) && *ctx.error);
    imp_dataset_free(set);
    free((void *)(uintptr_t)images.data);
    free((void *)(uintptr_t)labels.data);
    return 0;
}
