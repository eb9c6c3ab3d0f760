/* SPDX-License-Identifier: MIT
 *
 * winograd_dw.h: the gradient of a 3 x 3 or 5 x 5 convolution with stride 1 by its weights, by
 * Winograd's algorithm.
 */
#ifndef IMP_WINOGRAD_DW_H
#define IMP_WINOGRAD_DW_H

#include "op/op.h"

/* Whether it is the cheaper way. */
bool imp_winograd_dw_pays(
    const imp_ctx *ctx, const imp_conv *a, const imp_shape *in, const imp_shape *out);
size_t imp_winograd_dw_scratch(const imp_shape *in, const imp_shape *out); /* bytes */
void imp_winograd_dw_run(const imp_call *c);

#endif
