/* SPDX-License-Identifier: MIT
 *
 * idx.h: a data set from two IDX files in memory, for imp_mnist_load and its tests.
 */
#ifndef IMP_IDX_H
#define IMP_IDX_H

#include "base/base.h"
#include "impasto/data.h"

typedef struct imp_idx_bytes {
    const char *name; /* for the messages */
    const uint8_t *data;
    size_t size;
} imp_idx_bytes;

/* Images and labels, each as IDX or as IDX in gzip: told apart by the first bytes.
 * Borrowed during the call. Errors: as imp_mnist_load. */
imp_status imp_idx_parse(
    imp_ctx *ctx, imp_dataset **out, imp_idx_bytes images, imp_idx_bytes labels);

#endif
