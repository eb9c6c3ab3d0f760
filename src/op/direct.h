/* SPDX-License-Identifier: MIT
 *
 * direct.h: the forward pass of a convolution of fewer than 16 channels: a first layer.
 */
#ifndef IMP_DIRECT_H
#define IMP_DIRECT_H

#include "op/op.h"

void imp_direct_need(
    const imp_conv *a, const imp_shape *in, const imp_shape *out, imp_need *need);
void imp_direct_forward(const imp_call *c); /* of a conv2d; ReLU and mask done */

#endif
