/* SPDX-License-Identifier: MIT
 *
 * weights.h: the gradient of a convolution by its weights.
 */
#ifndef IMP_WEIGHTS_H
#define IMP_WEIGHTS_H

#include "op/op.h"

/* Raises need->scratch and need->thread_scratch to what imp_weights_gradient takes. */
void imp_weights_need(const imp_ctx *ctx, const imp_conv *a, const imp_shape *in,
    const imp_shape *out, imp_need *need);
/* dW (+)= sum over samples and pixels of dY and X: c->dx[1] of a conv2d's backward. */
void imp_weights_gradient(const imp_call *c);

#endif
