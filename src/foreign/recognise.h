/* SPDX-License-Identifier: MIT
 *
 * recognise.h: which tensor of a foreign file is which of a VGG's.
 */
#ifndef IMP_RECOGNISE_H
#define IMP_RECOGNISE_H

#include "foreign/foreign.h"
#include "model/model.h"

/* Where a tensor's numbers come from: number (o, i, h, w) of tensor `index` of the file is its
 * number o * o_step + i * i_step + h * h_step + w * w_step. */
typedef struct imp_origin {
    size_t index;
    size_t outputs, inputs, height, width;
    size_t o_step, i_step, h_step, w_step;
} imp_origin;

/* Fill in m (zero before): architecture, layers, shapes of the tensors, what it wants to see; and
 * origins[i] for tensor i of m, of which there are at most IMP_ORIGINS. naming: whose names
 * they are, for people. features: without the classifier. Errors: IMP_ERR_MODEL. */
#define IMP_ORIGINS 64
imp_status imp_recognise(const imp_foreign *f, const char *format, bool features,
    imp_model *m, imp_origin origins[IMP_ORIGINS], const char **naming);

/* Oxford's weights go about under torchvision's names too (neural-style-pt saves them so), and in
 * graphs without any. weight, bias: of m's first convolution, n of 3 x 3 x 3 in any order, and n.
 * Where they are Oxford's as they were trained, for values of 0..255, m is set to see what those
 * want; true: it was set to something else before. */
bool imp_recognise_oxford(
    imp_model *m, const float *weight, const float *bias, size_t n);

#endif
