/* SPDX-License-Identifier: MIT
 *
 * A stranger's first program: one convolution and ReLU on a small picture. It is built
 * against the installed copy, by pkg-config alone, shared and static. Exit status: the
 * library's own, 2 for an IMP_CPU that the machine lacks.
 */
#include "impasto/data.h"
#include "impasto/impasto.h"
#include "impasto/model.h"
#include "impasto/nn.h"
#include "impasto/style.h"
#include "impasto/train.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 5 };

/* y = relu(3 x 3 box of x - 8), x all ones: 9 - 8 inside, and nothing at the edges,
 * where the zero padding leaves at most 6 of 9 taps. Returns how many values are wrong.
 */
static int wrong_values(const float *y) {
    int wrong = 0;
    for (int r = 0; r < SIDE; r++)
        for (int c = 0; c < SIDE; c++) {
            bool inside = r > 0 && r < SIDE - 1 && c > 0 && c < SIDE - 1;
            if (y[r * SIDE + c] != (inside ? 1.0f : 0.0f)) wrong++;
        }
    return wrong;
}

/* Plain values in the blocked layout that a graph's parameters have; to be freed. */
static float *blocked(imp_shape shape, const float *plain) {
    float *values = malloc(imp_blocked_count(shape) * sizeof *values);
    if (values) imp_to_blocked(shape, plain, values);
    return values;
}

static imp_status box_and_relu(imp_graph *g, float *out) {
    imp_shape picture = {.n = 1, .c = 1, .h = SIDE, .w = SIDE};
    imp_shape kernel = {.n = 1, .c = 1, .h = 3, .w = 3, .layout = IMP_WEIGHT};
    imp_shape one = {.n = 1, .c = 1, .h = 1, .w = 1};
    float ones[SIDE * SIDE], minus_eight = -8.0f;
    for (int i = 0; i < SIDE * SIDE; i++) ones[i] = 1.0f;
    float *weights = blocked(kernel, ones), *bias = blocked(one, &minus_eight);
    if (!weights || !bias) return IMP_ERR_LIMIT;

    imp_id x = imp_graph_input(g, "x", picture, false);
    imp_id w = imp_graph_parameter(g, "w", kernel, weights, false);
    imp_id b = imp_graph_parameter(g, "b", one, bias, false);
    imp_id y = imp_relu(g, imp_conv2d(g, x, w, b, (imp_conv){.stride = 1, .pad = 1}));
    imp_graph_keep(g, y);
    imp_status status = imp_graph_plan(g, false);
    if (status == IMP_OK) status = imp_graph_write(g, x, ones);
    if (status == IMP_OK) {
        imp_graph_forward(g);
        status = imp_graph_read(g, y, out);
    }
    free(weights);
    free(bias);
    return status;
}

int main(void) {
    imp_ctx *ctx;
    imp_graph *g = NULL;
    float y[SIDE * SIDE] = {0};
    imp_status status = imp_ctx_new(&ctx, NULL);
    if (status == IMP_OK && !(g = imp_graph_new(ctx))) status = IMP_ERR_LIMIT;
    if (status == IMP_OK) status = box_and_relu(g, y);
    if (status != IMP_OK)
        fprintf(stderr, "example: %s\n", imp_ctx_error(ctx));
    else if (wrong_values(y) != 0) {
        fprintf(stderr, "example: %d wrong values\n", wrong_values(y));
        status = IMP_ERR_INTERNAL;
    } else
        printf("impasto %s on %s, %d threads: ok\n", imp_version(), imp_ctx_cpu(ctx),
            imp_ctx_threads(ctx));
    imp_graph_free(g);
    imp_ctx_free(ctx);
    return (int)status;
}
