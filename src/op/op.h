/* SPDX-License-Identifier: MIT
 *
 * op.h: what an operation is to the graph. Each lives in one file of this folder: the
 * equation, the reference pair (double, plain N C H W: the oracle), the fast pair (float32,
 * blocked by 16 channels), and the constant table that joins them to the graph.
 */
#ifndef IMP_OP_H
#define IMP_OP_H

#include "base/base.h"
#include "kernel/kernel.h"
#include "op/eigen.h" /* for the targets of imp_op_wasserstein */

#define IMP_MAX_INPUTS   3
#define IMP_READS_OUTPUT (1u << 31)

typedef struct imp_need {
    unsigned backward_reads; /* bit i: input i; IMP_READS_OUTPUT: y; 0: nothing */
    bool in_place;           /* y may share the memory of input 0 */
    bool gradient_in_place;  /* dx[0] may share the memory of x[0] */
    size_t saved;            /* bytes kept from forward to backward */
    size_t scratch;          /* bytes for one call, shared by the threads */
    size_t thread_scratch;   /* bytes for one call, for each thread */
} imp_need;

/* One fast call. x, y, dy, dx are blocked maps (weights: blocked weights; x[0], dx[0] may be a
 * picture), aligned to 64, tails zero: an op reads tails as zero and must write them as zero. */
typedef struct imp_call {
    imp_ctx *ctx;
    const void *attr;
    size_t n_in;
    imp_shape in[IMP_MAX_INPUTS], out;
    const float
        *x[IMP_MAX_INPUTS];    /* values of the inputs; NULL: absent, or not kept */
    float *y;                  /* forward: to be written; backward: kept, or NULL */
    float *dy;                 /* backward: may be destroyed; NULL: none (see gram) */
    float *dx[IMP_MAX_INPUTS]; /* backward: NULL where not wanted */
    bool add[IMP_MAX_INPUTS];  /* dx[i] += (else =) */
    double *loss;              /* an op whose out is one number puts it here */
    double dloss;              /* backward of such an op: the loss's weight */
    float *gram; /* of a convolution that has gram: the Gram matrix of y; forward:
                         * NULL: not wanted again */
    const float *dgram; /* and its gradient; NULL: it has none */
    void *saved, *scratch;
    char *thread_scratch; /* thread t has [t * thread_bytes, (t+1) * thread_bytes) */
    size_t thread_bytes;
} imp_call;

/* One reference call, all plain (N, C, H, W; weights O, I, KH, KW), all double. */
typedef struct imp_ref_call {
    const void *attr;
    size_t n_in;
    imp_shape in[IMP_MAX_INPUTS], out;
    const double *x[IMP_MAX_INPUTS]; /* NULL: absent (a bias) */
    double *y;                       /* forward: written; backward: read */
    const double *dy;
    double *dx[IMP_MAX_INPUTS]; /* NULL: not wanted; else added to */
} imp_ref_call;

typedef struct imp_op {
    const char *name; /* "conv2d": messages */
    bool scalar;      /* out is one number: a loss */
    /* out's shape from the inputs', or an error that says what does not fit. */
    imp_status (*shape)(imp_ctx *ctx, const void *attr, const imp_shape *in,
        size_t n_in, imp_shape *out);
    /* want: bit i: the gradient by input i is wanted; 0: forward alone. */
    imp_need (*need)(const imp_ctx *ctx, const void *attr, const imp_shape *in,
        const imp_shape *out, unsigned want);
    void (*forward)(const imp_call *c);
    void (*backward)(const imp_call *c);
    void (*forward_ref)(const imp_ref_call *c);
    void (*backward_ref)(const imp_ref_call *c);
} imp_op;

extern const imp_op imp_op_conv2d, imp_op_linear, imp_op_relu, imp_op_pool2d,
    imp_op_flatten, imp_op_add, imp_op_softmax, imp_op_cross_entropy, imp_op_resample,
    imp_op_gram, imp_op_mean, imp_op_centre, imp_op_guide, imp_op_select,
    imp_op_squared_error, imp_op_matching_loss, imp_op_total_variation,
    imp_op_wasserstein;

/* Attributes: imp_conv and imp_pool of nn.h, and: */
typedef struct imp_conv_attr {
    imp_conv conv;
    bool relu; /* set by fusion: y = max(0, conv), the mask saved as bits */
    bool pool; /* set by fusion, with relu: then the maximum of 2 x 2, saved as bytes */
    bool gram; /* set by fusion, with relu: y's Gram matrix too; dY may then be NULL */
} imp_conv_attr;
/* Could a convolution that has its ReLU do the 2 x 2 pooling after it as well? */
bool imp_conv2d_can_pool(
    const imp_ctx *ctx, const imp_conv_attr *a, const imp_shape *in);
/* Could one of frozen weights that has its ReLU make the Gram matrix of its map as well, and
 * take in that one's gradient on the way back? */
bool imp_conv2d_can_gram(const imp_conv_attr *a, const imp_shape *in);
typedef struct imp_linear_attr {
    bool relu;
} imp_linear_attr;
typedef struct imp_flatten_attr {
    imp_flatten_order order;
} imp_flatten_attr;
typedef struct imp_resample_attr {
    size_t height, width;
    imp_filter filter;
} imp_resample_attr;
/* loss = coefficient * sum (x - target)^2 */
typedef struct imp_squared_error_attr {
    bool style; /* 1/(4 N C^2), else 1/(2 N C H W) */
} imp_squared_error_attr;

#define IMP_MAX_ATTR 48
_Static_assert(sizeof(imp_conv_attr) <= IMP_MAX_ATTR, "room for attributes");
_Static_assert(sizeof(imp_pool) <= IMP_MAX_ATTR, "room for attributes");
_Static_assert(sizeof(imp_resample_attr) <= IMP_MAX_ATTR, "room for attributes");

static inline void *imp_call_scratch(const imp_call *c, int thread) {
    return c->thread_scratch + (size_t)thread * c->thread_bytes;
}

#endif
