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

static imp_status box_and_relu(imp_graph *g, float *out) {
    imp_shape picture = {.n = 1, .c = 1, .h = SIDE, .w = SIDE};
    imp_shape kernel = {.n = 1, .c = 1, .h = 3, .w = 3, .layout = IMP_WEIGHT};
    imp_shape one = {.n = 1, .c = 1, .h = 1, .w = 1};
    float ones[SIDE * SIDE], box[9], bias[1] = {-8.0f}, blocked_box[9 * 16 * 16],
                                     blocked_bias[16];
    for (int i = 0; i < SIDE * SIDE; i++) ones[i] = 1.0f;
    for (int i = 0; i < 9; i++) box[i] = 1.0f;
    if (imp_blocked_count(kernel) > sizeof blocked_box / sizeof *blocked_box ||
        imp_blocked_count(one) > sizeof blocked_bias / sizeof *blocked_bias)
        return IMP_ERR_INTERNAL;
    imp_to_blocked(kernel, box, blocked_box);
    imp_to_blocked(one, bias, blocked_bias);

    imp_id x = imp_graph_input(g, "x", picture, false);
    imp_id w = imp_graph_parameter(g, "w", kernel, blocked_box, false);
    imp_id b = imp_graph_parameter(g, "b", one, blocked_bias, false);
    imp_id y = imp_relu(g, imp_conv2d(g, x, w, b, (imp_conv){.stride = 1, .pad = 1}));
    imp_graph_keep(g, y);
    imp_status status = imp_graph_plan(g, false);
    if (status == IMP_OK) status = imp_graph_write(g, x, ones);
    if (status != IMP_OK) return status;
    imp_graph_forward(g);
    return imp_graph_read(g, y, out);
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
