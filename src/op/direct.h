/* SPDX-License-Identifier: MIT
 *
 * direct.h: the forward pass of a convolution of fewer than 16 channels: a first layer.
 */
#ifndef IMP_DIRECT_H
#define IMP_DIRECT_H

#include "op/op.h"

void imp_direct_need(
    const imp_conv_attr *a, const imp_shape *in, const imp_shape *out, imp_need *need);
/* Of a conv2d; ReLU, mask and Gram matrix done. */
void imp_direct_forward(const imp_call *c);

#endif
