/* SPDX-License-Identifier: MIT
 *
 * op_case.h: one operation with its inputs, called as a graph calls it.
 */
#ifndef BENCH_OP_CASE_H
#define BENCH_OP_CASE_H

#include "op/op.h"

typedef struct op_case {
    imp_ctx *ctx;
    const imp_op *op;
    imp_call call;
    float *x[IMP_MAX_INPUTS]; /* the memory of call.x */
} op_case;

/* Get memory for inputs and output, in the blocked layout, zero. attr is borrowed. */
imp_status op_case_new(imp_ctx *ctx, op_case *c, const imp_op *op, const void *attr,
    const imp_shape *in, size_t n_in);
/* What it needs where the gradients by the inputs in `want` (bit i: input i) are wanted. */
imp_status op_case_want(op_case *c, unsigned want);
void op_case_forward(void *c);
void op_case_backward(void *c);
void op_case_free(op_case *c);

/* The element of a blocked value: maps n, c, h, w; weights o, i, kh, kw. */
size_t op_case_offset(const imp_shape *s, size_t n, size_t c, size_t h, size_t w);
/* x = scale * bench_value(seed, offset), but for the filling; positive: negative ones 0. */
void op_case_fill(
    const imp_shape *s, float *x, uint64_t seed, double scale, bool positive);

#endif
