/* SPDX-License-Identifier: MIT
 *
 * 02_gradcheck.c: is backward the derivative of forward? A small style loss
 * (convolution, average pool, Gram matrix, squared distance) is differentiated by one
 * backward pass and, pixel by pixel, by central differences (f(x + e) - f(x - e)) / 2e.
 *
 *     02_gradcheck [PIXELS [SEED]]
 *
 * Such a check alone proves little: a wrong forward with its matching backward passes
 * it. impasto's tests hold every operation against PyTorch's numbers as well.
 */
#include "impasto/nn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 12, COUNT = 3 * SIDE * SIDE, OUT = 16 };
static unsigned state;

static float noise(void) { /* in [-1, 1) */
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (float)(1 << 23) - 1;
}

typedef struct net {
    imp_graph *g;
    imp_id x;
} net;

static imp_status build(imp_ctx *ctx, net *n) {
    imp_shape kernel = {.n = OUT, .c = 3, .h = 3, .w = 3, .layout = IMP_WEIGHT};
    static float weights[32 * OUT]; /* as a graph keeps them */
    float plain[OUT * 27], target[OUT * OUT] = {0};
    for (int i = 0; i < OUT * 27; i++) plain[i] = noise();
    n->g = imp_graph_new(ctx);
    if (!n->g || imp_blocked_count(kernel) > sizeof weights / sizeof *weights)
        return IMP_ERR_LIMIT;
    imp_to_blocked(kernel, plain, weights);
    n->x = imp_graph_input(n->g, "x", (imp_shape){1, 3, SIDE, SIDE, IMP_MAP}, true);
    imp_id w = imp_graph_parameter(n->g, "w", kernel, weights, false);
    imp_id y = imp_conv2d(n->g, n->x, w, IMP_NONE, (imp_conv){1, 1, IMP_PAD_REPLICATE});
    imp_id gram = imp_gram(n->g, imp_pool2d(n->g, y, (imp_pool){IMP_POOL_AVG, 2, 2}));
    imp_id t = imp_graph_input(n->g, "t", imp_graph_shape(n->g, gram), false);
    imp_graph_loss(n->g, imp_style_loss(n->g, gram, t), 1.0);
    imp_status s = imp_graph_plan(n->g, true);
    return s ? s : imp_graph_write(n->g, t, target);
}

static double loss_at(net *n, const float *x) {
    return imp_graph_write(n->g, n->x, x) ? (double)NAN : imp_graph_forward(n->g);
}

int main(int argc, char **argv) {
    int pixels = argc > 1 ? atoi(argv[1]) : 8;
    state = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    float x[COUNT], dx[COUNT], e = 1.0f / 64;
    net n = {0};
    imp_ctx *ctx;
    imp_status s = imp_ctx_new(&ctx, NULL);
    if (!s) s = build(ctx, &n);
    for (int i = 0; i < COUNT; i++) x[i] = noise();
    if (!s) printf("loss %.6f\n", loss_at(&n, x)), imp_graph_backward(n.g);
    if (!s) s = imp_graph_read_gradient(n.g, n.x, dx);
    for (int k = 0; k < pixels && !s; k++) {
        int i = (int)(fabsf(noise()) * (COUNT - 1));
        float here = x[i];
        x[i] = here + e;
        double up = loss_at(&n, x);
        x[i] = here - e;
        double slope = (up - loss_at(&n, x)) / (2 * (double)e);
        x[i] = here;
        printf(
            "pixel %3d  backward %+.6f  differences %+.6f\n", i, (double)dx[i], slope);
    }
    if (s) fprintf(stderr, "02_gradcheck: %s\n", imp_ctx_error(ctx));
    imp_graph_free(n.g);
    imp_ctx_free(ctx);
    return (int)s;
}
