/* SPDX-License-Identifier: MIT
 *
 * set.c: labelled pictures of one size in memory.
 */
#include "data/data.h"

#include <stdlib.h>
#include <string.h>

#define MOST_CLASSES 65536 /* as many as a label of 16 bits tells apart */

imp_status imp_dataset_new(imp_ctx *ctx, imp_dataset **out, size_t count,
    size_t channels, size_t height, size_t width, size_t classes) {
    size_t bytes;
    *out = NULL;
    if (!count || !height || !width || !(channels == 1 || channels == 3) || !classes ||
        classes > MOST_CLASSES)
        return imp_fail(ctx, IMP_ERR_ARG,
            "data set: expected pictures of 1 or 3 channels in 1 to %d classes, found "
            "%zu of %zu x %zu x %zu in %zu",
            MOST_CLASSES, count, channels, height, width, classes);
    if (!imp_mul(&bytes, count, channels) || !imp_mul(&bytes, bytes, height) ||
        !imp_mul(&bytes, bytes, width))
        return imp_fail(
            ctx, IMP_ERR_LIMIT, "data set: %zu pictures are too many", count);
    imp_dataset *set = calloc(1, sizeof *set);
    if (!set) return imp_fail(ctx, IMP_ERR_LIMIT, "data set: no memory");
    *set = (imp_dataset){count, channels, height, width, classes, NULL, NULL};
    set->labels = calloc(count, sizeof *set->labels);
    set->images = calloc(bytes, 1);
    if (!set->labels || !set->images) {
        imp_dataset_free(set);
        return imp_fail(
            ctx, IMP_ERR_LIMIT, "data set: no memory for %zu MiB", bytes >> 20);
    }
    *out = set;
    return IMP_OK;
}

imp_status imp_dataset_put(
    imp_ctx *ctx, imp_dataset *set, size_t i, size_t label, const uint8_t *image) {
    size_t bytes = set->channels * set->height * set->width;
    if (i >= set->count || label >= set->classes)
        return imp_fail(ctx, IMP_ERR_ARG,
            "data set: expected one of %zu pictures of one of %zu classes, found "
            "number "
            "%zu of class %zu",
            set->count, set->classes, i, label);
    set->labels[i] = (uint16_t)label;
    memcpy(set->images + i * bytes, image, bytes);
    return IMP_OK;
}

void imp_dataset_free(imp_dataset *set) {
    if (!set) return;
    free(set->labels);
    free(set->images);
    free(set);
}

size_t imp_dataset_count(const imp_dataset *set) {
    return set->count;
}

size_t imp_dataset_channels(const imp_dataset *set) {
    return set->channels;
}

size_t imp_dataset_height(const imp_dataset *set) {
    return set->height;
}

size_t imp_dataset_width(const imp_dataset *set) {
    return set->width;
}

size_t imp_dataset_classes(const imp_dataset *set) {
    return set->classes;
}

int imp_dataset_label(const imp_dataset *set, size_t i) {
    return set->labels[i];
}

const uint8_t *imp_dataset_image(const imp_dataset *set, size_t i) {
    return set->images + i * set->channels * set->height * set->width;
}
