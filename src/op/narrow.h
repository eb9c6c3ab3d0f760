/* SPDX-License-Identifier: MIT
 *
 * narrow.h: the gradient by the input of a 3 x 3 convolution with stride 1 of a map of at
 * most four channels (a first layer).
 */
#ifndef IMP_NARROW_H
#define IMP_NARROW_H

#include "op/op.h"

bool imp_narrow_fits(const imp_conv *a, const imp_shape *weights);
void imp_narrow_need(const imp_conv_attr *a, const imp_shape *in, imp_need *need);
/* dX, or with replicate padding dXpad, which has its border. mask: dY is let through where
 * its bit is set; NULL: everywhere. With gram, Y is made again and is the mask. */
void imp_narrow_backward(const imp_call *c, const uint16_t *mask, float *dx, bool add);

#endif
