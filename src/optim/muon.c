/* SPDX-License-Identifier: MIT
 *
 * muon.c: Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"):
 * SGD with Nesterov's momentum mu, whose step is a matrix with all its singular values brought
 * near 1. W is O x R, the weights of each output in a row, G its gradient:
 *
 *     M <- mu M + G
 *     X  = (G + mu M) / |G + mu M|                      (Frobenius)
 *     X <- 3.4445 X - 4.7750 X X'X + 2.0315 X (X'X)^2   five times
 *     W <- W - rate 0.2 sqrt(max(O, R)) X
 *
 * The polynomial is Newton and Schulz's idea with coefficients that drive any singular value
 * from 0.002 to 1 to somewhere between 0.68 and 1.21. The factor before X gives W numbers that
 * change as much in a step as Adam's do (Liu et al. 2025, "Muon is scalable for LLM training",
 * equation 4): a rate that suits the one suits the other.
 *
 * Blocked weights are a map of R pixels and O channels already, in panels of 16, so that X'X is
 * a matrix product of panels, and so is what follows from it. All is done on the shorter side: a
 * matrix of more outputs than rows is turned. Filling is zero and stays so.
 */
#include "kernel/reduce.h"
#include "optim/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 5
static const float factor[] = {3.4445f, -4.7750f, 2.0315f};

#define TASK_ROWS   84 /* of a product: a multiple of every mr, at most IMP_GEMM_ROWS */
#define TASK_PANELS 8

/* x[(column / 16 * rows + row) * 16 + column % 16]; both are multiples of 16. */
typedef struct matrix {
    size_t rows, columns;
    float *x;
} matrix;

struct imp_muon {
    imp_ctx *ctx;
    size_t count;
    float momentum, scale; /* scale: of a step */
    float *m;
    matrix step;    /* as the weights lie, where X is turned: more outputs than rows */
    matrix x, turn; /* X, X' */
    matrix gram, poly; /* X'X, the polynomial in it */
    float *scratch;    /* of each thread */
    double *partial;
};

static bool make(matrix *m, size_t rows, size_t columns) {
    *m = (matrix){rows, columns, imp_alloc(rows * columns * sizeof(float))};
    return m->x != NULL;
}

imp_status imp_muon_new(
    imp_ctx *ctx, imp_muon **out, const imp_shape *weights, double momentum) {
    size_t rows = imp_weight_depth(weights), columns = imp_round16(weights->n);
    size_t R = weights->c * weights->h * weights->w, O = weights->n;
    imp_muon *o = *out = calloc(1, sizeof *o);
    if (!o) return imp_fail(ctx, IMP_ERR_LIMIT, "optimiser: no memory");
    *o = (imp_muon){.ctx = ctx,
        .count = rows * columns,
        .momentum = (float)momentum,
        .scale = (float)(0.2 * sqrt((double)(O > R ? O : R)))};
    bool turned = columns > rows;
    size_t high = turned ? columns : rows, wide = turned ? rows : columns;
    o->m = imp_alloc(o->count * sizeof(float));
    o->scratch = imp_alloc((size_t)imp_threads_count(ctx->threads) * IMP_GEMM_SCRATCH);
    o->partial = malloc(imp_chunk_count(o->count) * sizeof(double));
    if (o->m && o->scratch && o->partial &&
        (!turned || make(&o->step, rows, columns)) && make(&o->x, high, wide) &&
        make(&o->turn, wide, high) && make(&o->gram, wide, wide) &&
        make(&o->poly, wide, wide))
        return IMP_OK;
    imp_muon_free(o);
    *out = NULL;
    return imp_fail(ctx, IMP_ERR_LIMIT,
        "optimiser: no memory for the state of %zu numbers", rows * columns);
}

void imp_muon_free(imp_muon *o) {
    if (!o) return;
    matrix *all[] = {&o->step, &o->x, &o->turn, &o->gram, &o->poly};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) imp_release(all[i]->x);
    imp_release(o->m);
    imp_release(o->scratch);
    free(o->partial);
    free(o);
}

float *imp_muon_state(const imp_muon *o) {
    return o->m;
}

/* --- matrices --- */

static void turn(const matrix *from, matrix *to) {
    for (size_t q = 0; q < from->columns / 16; q++)
        for (size_t row = 0; row < from->rows; row++)
            for (size_t l = 0; l < 16; l++)
                to->x[(row / 16 * to->rows + q * 16 + l) * 16 + row % 16] =
                    from->x[(q * from->rows + row) * 16 + l];
}

static void pack(const void *source, size_t row0, size_t rows, size_t tap0, size_t taps,
    float *a, size_t a_tap) {
    const matrix *m = source;
    for (size_t t = 0; t < taps; t++)
        memcpy(a + t * a_tap, m->x + ((tap0 + t) * m->rows + row0) * 16,
            rows * 16 * sizeof *a);
}

typedef struct product {
    const imp_muon *o;
    const matrix *a, *b;
    matrix *y;
    size_t high; /* tasks one above the other */
} product;

static void product_task(void *arg, size_t task, int thread) {
    const product *p = arg;
    size_t row = task % p->high * TASK_ROWS, panel = task / p->high * TASK_PANELS;
    imp_gemm g = {.pack = pack,
        .source = p->a,
        .taps = p->b->rows / 16,
        .b = p->b->x,
        .y = p->y->x,
        .y_row = 16,
        .y_panel = p->y->rows * 16};
    imp_gemm_block(p->o->ctx->kernels, &g, row, imp_least(TASK_ROWS, p->y->rows - row),
        panel, imp_least(TASK_PANELS, p->y->columns / 16 - panel),
        p->o->scratch + (size_t)thread * (IMP_GEMM_SCRATCH / sizeof(float)));
}

/* y = a b */
static void multiply(const imp_muon *o, const matrix *a, const matrix *b, matrix *y) {
    product p = {o, a, b, y, imp_divide_up(y->rows, TASK_ROWS)};
    size_t wide = imp_divide_up(y->columns / 16, TASK_PANELS);
    imp_parallel(o->ctx, p.high * wide, product_task, &p);
}

/* All singular values of x to about 1. The polynomial's constant is added last, to a diagonal,
 * so that X is read once. */
static void make_orthogonal(imp_muon *o) {
    const imp_kernels *k = o->ctx->kernels;
    matrix *gram = &o->gram, *poly = &o->poly;
    size_t n = gram->rows;
    double norm = sqrt(imp_reduce_dot(o->ctx, o->count, o->x.x, o->x.x, o->partial));
    k->scale(o->count, norm > 1e-30 ? (float)(1 / norm) : 0, o->x.x, o->x.x);
    for (int round = 0; round < ROUNDS; round++) {
        turn(&o->x, &o->turn);
        multiply(o, &o->turn, &o->x, gram);
        multiply(o, gram, gram, poly);
        k->scale(n * n, factor[2], poly->x, poly->x);
        k->axpy(n * n, factor[1], gram->x, poly->x);
        for (size_t i = 0; i < n; i++)
            poly->x[(i / 16 * n + i) * 16 + i % 16] += factor[0];
        matrix y = {o->x.rows, o->x.columns, o->turn.x}; /* X' is used up */
        multiply(o, &o->x, poly, &y);
        o->turn.x = o->x.x;
        o->x.x = y.x;
    }
}

void imp_muon_step(imp_muon *o, float *w, const float *g, double rate) {
    const imp_kernels *k = o->ctx->kernels;
    bool turned = o->step.x != NULL;
    matrix *step = turned ? &o->step : &o->x;
    k->scale(o->count, o->momentum, o->m, o->m);
    k->axpy(o->count, 1, g, o->m);
    memcpy(step->x, g, o->count * sizeof *g);
    k->axpy(o->count, o->momentum, o->m, step->x);
    if (turned) turn(&o->step, &o->x);
    make_orthogonal(o);
    if (turned) turn(&o->x, &o->step);
    k->axpy(o->count, -(float)(rate * (double)o->scale), step->x, w);
}
