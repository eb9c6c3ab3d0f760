/* SPDX-License-Identifier: MIT
 *
 * convert.h: weights of a VGG from whatever program wrote them, as one of our files.
 */
#ifndef IMP_CONVERT_H
#define IMP_CONVERT_H

#include "impasto/model.h"

typedef struct imp_convert_options {
    bool conv_only; /* without the classifier */
    bool half;      /* float16 */
    bool overwrite;
    int bgr;           /* 1: channels B, G, R; 0: R, G, B; -1: as recognised */
    float range;       /* 1 or 255; 0: as recognised */
    const float *mean; /* three, in the order of the channels; NULL: as recognised */
    const float *std;
    bool (*stop)(void); /* asked between pieces: true ends the work; NULL: never */
} imp_convert_options;

/* What was found, for people. */
typedef struct imp_converted {
    char format[40], naming[40]; /* "PyTorch (zip)", "torchvision" */
    char architecture[16];
    size_t divisor, classes, parameters;
    imp_input_spec input;
} imp_converted;

/* Write the VGG of the file at path as safetensors at out: our names, our order of axes,
 * float32 or float16, what it wants to see in the metadata. path: PyTorch's .pth (zip or
 * legacy), MatConvNet's .mat, Keras's .h5, ONNX, Caffe's .caffemodel, .npz, safetensors. All but
 * the last are read by a child process without rights. report: NULL is fine. Errors:
 * IMP_ERR_MODEL (file, place, expected, found), IMP_ERR_FILE (also where stop said so),
 * IMP_ERR_NUMERIC (a number is too large for half), IMP_ERR_ARG (order, mean or deviation for a
 * network of one channel), IMP_ERR_LIMIT. */
IMP_MUST_USE imp_status imp_convert(imp_ctx *ctx, const char *path, const char *out,
    const imp_convert_options *options, imp_converted *report);

/* Is it one of the foreign formats, by its first bytes? false also where it cannot be read. */
bool imp_convert_is_foreign(const char *path);

#endif
