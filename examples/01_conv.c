/* SPDX-License-Identifier: MIT
 *
 * 01_conv.c: one convolution, seen. A disc is filtered by a 3 x 3 kernel and printed
 * before and after.
 *
 *     01_conv [edge|blur|relief]
 */
#include "impasto/nn.h"

#include <stdio.h>
#include <string.h>

enum { SIDE = 24 };

typedef struct filter {
    const char *name;
    float taps[9];
} filter;

static const filter filters[] = {
    {"edge", {-1, -1, -1, -1, 8, -1, -1, -1, -1}},
    {"blur", {1 / 9.f, 1 / 9.f, 1 / 9.f, 1 / 9.f, 1 / 9.f, 1 / 9.f, 1 / 9.f, 1 / 9.f,
                 1 / 9.f}},
    {"relief", {-1, -1, 0, -1, 0, 1, 0, 1, 1}},
};

static void draw_disc(float *x) {
    for (int h = 0; h < SIDE; h++)
        for (int w = 0; w < SIDE; w++) {
            int a = 2 * h - SIDE + 1, b = 2 * w - SIDE + 1;
            x[h * SIDE + w] = a * a + b * b < SIDE * SIDE / 2 ? 1 : 0;
        }
}

static void print(const char *title, const float *x) {
    static const char shades[] = " .:-=+*#%@";
    float most = 1e-6f;
    for (int i = 0; i < SIDE * SIDE; i++)
        if (x[i] > most) most = x[i];
    printf("%s (0 to %g)\n", title, (double)most);
    for (int i = 0; i < SIDE * SIDE; i++) {
        char c = shades[x[i] > 0 ? (int)(x[i] / most * 9) : 0];
        printf("%c%c%s", c, c, i % SIDE == SIDE - 1 ? "\n" : "");
    }
}

/* y = max(0, x * kernel), as a graph of two operations. */
static imp_status run(imp_graph *g, const float *taps, const float *x, float *y) {
    imp_shape picture = {.n = 1, .c = 1, .h = SIDE, .w = SIDE};
    imp_shape kernel = {.n = 1, .c = 1, .h = 3, .w = 3, .layout = IMP_WEIGHT};
    static float weights[16 * 16]; /* the kernel as a graph keeps it */
    if (imp_blocked_count(kernel) > 16 * 16) return IMP_ERR_INTERNAL;
    imp_to_blocked(kernel, taps, weights);
    imp_id in = imp_graph_input(g, "x", picture, false);
    imp_id w = imp_graph_parameter(g, "w", kernel, weights, false);
    imp_id out = imp_relu(g, imp_conv2d(g, in, w, IMP_NONE, (imp_conv){1, 1, 0}));
    imp_graph_keep(g, out);
    imp_status s = imp_graph_plan(g, false);
    if (!s) s = imp_graph_write(g, in, x);
    if (!s) imp_graph_forward(g);
    return s ? s : imp_graph_read(g, out, y);
}

int main(int argc, char **argv) {
    const filter *f = filters;
    for (size_t i = 0; argc > 1 && i < sizeof filters / sizeof *filters; i++)
        if (!strcmp(filters[i].name, argv[1])) f = &filters[i];
    float x[SIDE * SIDE], y[SIDE * SIDE];
    imp_ctx *ctx;
    imp_status s = imp_ctx_new(&ctx, NULL);
    imp_graph *g = s ? NULL : imp_graph_new(ctx);
    draw_disc(x);
    if (g) s = run(g, f->taps, x, y);
    if (g && !s) print("before", x), print(f->name, y);
    if (s) fprintf(stderr, "01_conv: %s\n", imp_ctx_error(ctx));
    imp_graph_free(g);
    imp_ctx_free(ctx);
    return (int)s;
}
