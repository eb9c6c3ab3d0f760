/* SPDX-License-Identifier: MIT
 *
 * matmul.h: what conv2d, linear and gram share: they are matrix products with a blocked
 * right side.
 */
#ifndef IMP_MATMUL_H
#define IMP_MATMUL_H

#include "op/op.h"

/* A task is at most IMP_GEMM_ROWS rows and IMP_PANEL_GROUP panels; small products are cut
 * finer. */
#define IMP_PANEL_GROUP 8

/* The product for each of `samples`: sample s packs its rows from the source at
 * source_base + s * source_size and writes gemm.y + s * y_sample. After a block is complete,
 * ReLU in place where mask is not NULL: bit l of word i is y[16 i + l] > 0. */
typedef struct imp_product {
    imp_gemm gemm;
    size_t samples, rows, panels;
    size_t y_sample;         /* floats from one sample's y to the next */
    const char *source_base; /* sample s has its source at base + s * size */
    size_t source_size;
    bool relu;
    uint16_t *mask;
} imp_product;
void imp_product_run(const imp_call *c, const imp_product *p);

/* Weights O, I, KH, KW to the panels of the product that backward needs: panel I/16, taps
 * (O/16, KH, KW) of 16 outputs, 16 inputs. */
size_t imp_transposed_count(const imp_shape *w);
void imp_transpose_weights(
    imp_ctx *ctx, const imp_shape *shape, const float *w, float *transposed);

/* dy <- dy where the bit is set, else 0: the derivative of ReLU. */
void imp_mask_gradient(imp_ctx *ctx, size_t count, float *dy, const uint16_t *mask);

/* db (+)= sum of dy over samples and pixels; dy is a map of c channels. */
void imp_bias_gradient(
    imp_ctx *ctx, const imp_shape *shape, const float *dy, float *db, bool add);

#endif
