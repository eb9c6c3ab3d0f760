/* SPDX-License-Identifier: MIT
 *
 * metadata.h: how a file says what a network wants to see, read and written.
 */
#ifndef IMP_METADATA_H
#define IMP_METADATA_H

#include "model/names.h"

/* m->info.input and the labels from the file's metadata, else from the naming.
 * Errors: IMP_ERR_MODEL (file, key, expected, found). */
imp_status imp_metadata_read(
    imp_ctx *ctx, imp_model *m, const imp_safetensors *st, imp_naming naming);
/* A positive whole number, or otherwise where the key is absent. */
imp_status imp_metadata_number(imp_ctx *ctx, const imp_safetensors *st, const char *key,
    size_t otherwise, size_t *out);

/* Whole numbers, each at least so much, with commas between, at most IMP_MAX_LISTED; *n 0: no
 * such key. */
imp_status imp_metadata_numbers(imp_ctx *ctx, const imp_safetensors *st,
    const char *key, size_t least, size_t out[IMP_MAX_LISTED], size_t *n);

/* Can it stand in a file's metadata? UTF-8 can. */
bool imp_metadata_is_text(const char *text);

#define IMP_METADATA_PAIRS 15
typedef struct imp_metadata {
    imp_safetensors_pair pairs[IMP_METADATA_PAIRS];
    size_t n;
    char numbers[4][80], channels[6 * IMP_MAX_LISTED], ranks[6 * IMP_MAX_LISTED];
    char *labels; /* JSON, or NULL */
} imp_metadata;

imp_status imp_metadata_write(imp_ctx *ctx, imp_metadata *out, const imp_model *m);
void imp_metadata_free(imp_metadata *md);

#endif
