/* SPDX-License-Identifier: MIT
 *
 * data.h: data sets: MNIST's IDX files, plain or gzip; pictures of the caller's.
 *
 *     imp_dataset *set;
 *     if (imp_mnist_load(ctx, &set, "mnist", IMP_MNIST_TEST) != IMP_OK) return 1;
 *     const uint8_t *first = imp_dataset_image(set, 0);
 *     printf("%zu pictures, the first is a %d, corner %d\n", imp_dataset_count(set),
 *         imp_dataset_label(set, 0), first[0]);
 *     imp_dataset_free(set);
 */
#ifndef IMPASTO_DATA_H
#define IMPASTO_DATA_H

#include "impasto/impasto.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum imp_mnist_part { IMP_MNIST_TRAIN, IMP_MNIST_TEST } imp_mnist_part;

typedef struct imp_dataset
    imp_dataset; /* labelled pictures of one size, grey or R, G, B */

/* Read train-images-idx3-ubyte and train-labels-idx1-ubyte (or t10k-...) from folder dir,
 * each plain or with .gz.
 * IDX, big endian: images magic 2051, count, rows, columns, bytes; labels magic 2049,
 * count, bytes. Errors: IMP_ERR_DATA (file, field, expected, found) for a file that is
 * missing, truncated, too long, of another magic, of another count than its labels, or
 * with a label above 9; IMP_ERR_LIMIT. */
IMP_API IMP_MUST_USE imp_status imp_mnist_load(
    imp_ctx *ctx, imp_dataset **out, const char *dir, imp_mnist_part part);

/* A set of count pictures of channels (1 or 3) x height x width bytes, each of one of so many
 * classes: black, of class 0, until they are put there. Errors: IMP_ERR_ARG, IMP_ERR_LIMIT. */
IMP_API IMP_MUST_USE imp_status imp_dataset_new(imp_ctx *ctx, imp_dataset **out,
    size_t count, size_t channels, size_t height, size_t width, size_t classes);
/* Make picture i a copy of image: channels x height x width bytes, 0..255, plane by plane.
 * Errors: IMP_ERR_ARG where there is no such picture or class. */
IMP_API IMP_MUST_USE imp_status imp_dataset_put(
    imp_ctx *ctx, imp_dataset *set, size_t i, size_t label, const uint8_t *image);
IMP_API void imp_dataset_free(imp_dataset *set);

IMP_API size_t imp_dataset_count(const imp_dataset *set);
IMP_API size_t imp_dataset_channels(const imp_dataset *set);
IMP_API size_t imp_dataset_height(const imp_dataset *set);
IMP_API size_t imp_dataset_width(const imp_dataset *set);
IMP_API size_t imp_dataset_classes(const imp_dataset *set);
IMP_API int imp_dataset_label(const imp_dataset *set, size_t i);
/* channels x height x width bytes, 0..255, row by row; belongs to the set. */
IMP_API const uint8_t *imp_dataset_image(const imp_dataset *set, size_t i);

#ifdef __cplusplus
}
#endif
#endif
