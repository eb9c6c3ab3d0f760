/* SPDX-License-Identifier: MIT
 *
 * test_graph.c: a planned graph against its own operations: fused equals unfused,
 * gradients meet where a value is used twice, errors are sticky, threads change no bit.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "graph/graph.h"

static int make_context(void **state) {
    return imp_ctx_new((imp_ctx **)state, NULL) == IMP_OK ? 0 : -1;
}

static int free_context(void **state) {
    imp_ctx_free(*state);
    return 0;
}

static float *noise(imp_shape s, uint64_t seed) {
    float *x = malloc(imp_plain_count(s) * sizeof *x);
    for (size_t i = 0; i < imp_plain_count(s); i++) x[i] = (float)imp_normal(seed, i);
    return x;
}

static float *blocked_noise(imp_shape s, uint64_t seed) {
    float *plain = noise(s, seed), *x = imp_alloc(imp_blocked_count(s) * sizeof *x);
    imp_to_blocked(s, plain, x);
    free(plain);
    return x;
}

/* x -> conv -> relu (used twice: conv, and a loss) -> pool -> loss. keep: the value
 * before ReLU is asked for, so that nothing can be fused. */
typedef struct net {
    imp_graph *g;
    imp_id x, w, wide;
    double loss;
    float *dx, *dw;
    size_t n_dx, n_dw;
} net;

static const imp_shape x_shape = {2, 19, 7, 9, IMP_MAP};
static const imp_shape w1_shape = {21, 19, 3, 3, IMP_WEIGHT},
                       b1_shape = {1, 21, 1, 1, IMP_MAP};
static const imp_shape w2_shape = {5, 21, 3, 3, IMP_WEIGHT};

static net run(
    imp_ctx *ctx, const float *w1, const float *b1, const float *w2, bool keep) {
    net n = {.g = imp_graph_new(ctx)};
    imp_graph *g = n.g;
    n.x = imp_graph_input(g, "x", x_shape, true);
    n.w = imp_graph_parameter(g, "w1", w1_shape, w1, true);
    imp_id b = imp_graph_parameter(g, "b1", b1_shape, b1, true);
    imp_id c1 = imp_conv2d(g, n.x, n.w, b, (imp_conv){1, 1, IMP_PAD_ZERO});
    if (keep) imp_graph_keep(g, c1);
    imp_id r1 = imp_relu(g, c1);
    imp_id t1 = imp_graph_input(g, "t1", imp_graph_shape(g, r1), false);
    imp_graph_loss(g, imp_content_loss(g, r1, t1), 0.7);
    imp_id w = imp_graph_parameter(g, "w2", w2_shape, w2, false);
    imp_id c2 = imp_conv2d(g, r1, w, IMP_NONE, (imp_conv){1, 1, IMP_PAD_ZERO});
    if (keep) imp_graph_keep(g, c2);
    imp_id p = imp_pool2d(g, imp_relu(g, c2), (imp_pool){IMP_POOL_MAX, 2, 2});
    imp_id t2 = imp_graph_input(g, "t2", imp_graph_shape(g, p), false);
    imp_graph_loss(g, imp_content_loss(g, imp_add(g, p, p), t2), 1.3);
    assert_int_equal(imp_graph_plan(g, true), IMP_OK);
    imp_id ids[] = {n.x, t1, t2};
    for (size_t i = 0; i < 3; i++) {
        float *v = noise(imp_graph_shape(g, ids[i]), 100 + i);
        assert_int_equal(imp_graph_write(g, ids[i], v), IMP_OK);
        free(v);
    }
    for (int again = 0; again < 2; again++) { /* the second run finds used memory */
        n.loss = imp_graph_forward(g);
        imp_graph_backward(g);
    }
    n.n_dx = imp_plain_count(x_shape);
    n.n_dw = imp_plain_count(w1_shape);
    n.dx = malloc(n.n_dx * sizeof(float));
    n.dw = malloc(n.n_dw * sizeof(float));
    assert_int_equal(imp_graph_read_gradient(g, n.x, n.dx), IMP_OK);
    assert_int_equal(imp_graph_read_gradient(g, n.w, n.dw), IMP_OK);
    return n;
}

static void net_free(net *n) {
    imp_graph_free(n->g);
    free(n->dx);
    free(n->dw);
}

static void assert_same(const net *a, const net *b) {
    assert_true(a->loss == b->loss);
    assert_memory_equal(a->dx, b->dx, a->n_dx * sizeof(float));
    assert_memory_equal(a->dw, b->dw, a->n_dw * sizeof(float));
}

typedef struct weights {
    float *w1, *b1, *w2;
} weights;

static weights make_weights(void) {
    return (weights){blocked_noise(w1_shape, 1), blocked_noise(b1_shape, 2),
        blocked_noise(w2_shape, 3)};
}

static void weights_free(weights *w) {
    imp_release(w->w1);
    imp_release(w->b1);
    imp_release(w->w2);
}

static void fused_equals_unfused(void **state) {
    weights w = make_weights();
    net fused = run(*state, w.w1, w.b1, w.w2, false);
    net unfused = run(*state, w.w1, w.b1, w.w2, true);
    size_t n_fused = 0;
    for (size_t i = 0; i < fused.g->count; i++) n_fused += fused.g->nodes[i].fused;
    assert_int_equal(n_fused, 2);
    assert_same(&fused, &unfused);
    assert_true(imp_graph_bytes(fused.g) < imp_graph_bytes(unfused.g));
    net_free(&fused);
    net_free(&unfused);
    weights_free(&w);
}

static void threads_change_no_bit(void **state) {
    weights w = make_weights();
    net first = run(*state, w.w1, w.b1, w.w2, false);
    static const int counts[] = {1, 2, 3, 7};
    for (size_t i = 0; i < 4; i++) {
        imp_ctx *ctx;
        assert_int_equal(
            imp_ctx_new(&ctx, &(imp_ctx_options){.threads = counts[i]}), 0);
        net n = run(ctx, w.w1, w.b1, w.w2, false);
        assert_same(&first, &n);
        net_free(&n);
        imp_ctx_free(ctx);
    }
    net_free(&first);
    weights_free(&w);
}

#define STEP 7e-4f

/* L(x+) - L(x-) against dL/dx times the step that float32 really made; the step is
 * small, since ReLU and max have kinks. What goes wrong in adding gradients up is far
 * larger. */
static void gradient_is_the_slope(void **state) {
    weights w = make_weights();
    net n = run(*state, w.w1, w.b1, w.w2, false);
    float *x = noise(x_shape, 100), *d = noise(x_shape, 77);
    float *moved = malloc(n.n_dx * sizeof *moved);
    double expected = 0.0, loss[2];
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < n.n_dx; i++) {
            moved[i] = x[i] + (side ? STEP : -STEP) * d[i];
            expected += (side ? 1.0 : -1.0) * (double)n.dx[i] * (double)moved[i];
        }
        assert_int_equal(imp_graph_write(n.g, n.x, moved), IMP_OK);
        loss[side] = imp_graph_forward(n.g);
    }
    if (fabs(loss[1] - loss[0] - expected) > 2e-2 * fabs(expected))
        fail_msg("expected %.9g, found %.9g", expected, loss[1] - loss[0]);
    free(x);
    free(d);
    free(moved);
    net_free(&n);
    weights_free(&w);
}

static void errors_are_sticky(void **state) {
    imp_ctx *ctx = *state;
    imp_graph *g = imp_graph_new(ctx);
    imp_id x = imp_graph_input(g, "x", (imp_shape){1, 3, 4, 4, IMP_MAP}, false);
    imp_id p = imp_pool2d(g, x, (imp_pool){IMP_POOL_MAX, 5, 5});
    assert_int_equal(p, IMP_NONE);
    assert_int_equal(imp_relu(g, p), IMP_NONE);
    assert_int_equal(imp_graph_plan(g, false), IMP_ERR_ARG);
    assert_non_null(strstr(imp_ctx_error(ctx), "pool2d"));
    imp_graph_free(g);

    g = imp_graph_new(ctx);
    imp_graph_input(g, "huge", (imp_shape){1, SIZE_MAX / 2, 4, 4, IMP_MAP}, false);
    assert_int_equal(imp_graph_plan(g, false), IMP_ERR_ARG);
    imp_graph_free(g);
}

static void unplanned_graph_refuses(void **state) {
    imp_graph *g = imp_graph_new(*state);
    imp_id x = imp_graph_input(g, "x", (imp_shape){1, 1, 1, 1, IMP_MAP}, false);
    float v = 1.0f;
    assert_int_equal(imp_graph_write(g, x, &v), IMP_ERR_ARG);
    assert_int_equal(imp_graph_plan(g, false), IMP_OK);
    assert_int_equal(imp_graph_write(g, x + 1, &v), IMP_ERR_ARG);
    assert_int_equal(imp_graph_read_gradient(g, x, &v), IMP_ERR_ARG);
    assert_int_equal(imp_graph_write(g, x, &v), IMP_OK);
    assert_int_equal(imp_graph_plan(g, false), IMP_ERR_ARG);
    imp_graph_free(g);
}

/* A convolution and the total variation of a picture of two samples: the loss, and the gradients
 * by it and by the weights. */
static double see(imp_ctx *ctx, imp_layout layout, imp_padding padding, float *dx,
    float dw[20 * 27]) {
    imp_shape shape = {2, 3, 9, 35, layout}, kernel = {20, 3, 3, 3, IMP_WEIGHT};
    float *w = blocked_noise(kernel, 31), *v = noise(shape, 32);
    imp_graph *g = imp_graph_new(ctx);
    imp_id x = imp_graph_input(g, "x", shape, true);
    imp_id p = imp_graph_parameter(g, "w", kernel, w, true);
    imp_id y = imp_relu(g, imp_conv2d(g, x, p, IMP_NONE, (imp_conv){1, 1, padding}));
    imp_id t = imp_graph_input(g, "t", imp_graph_shape(g, y), false);
    imp_graph_loss(g, imp_content_loss(g, y, t), 0.7);
    imp_graph_loss(g, imp_total_variation(g, x), 0.4);
    assert_int_equal(imp_graph_plan(g, true), IMP_OK);
    assert_int_equal(imp_graph_write(g, x, v), IMP_OK);
    float *target = noise(imp_graph_shape(g, t), 33);
    assert_int_equal(imp_graph_write(g, t, target), IMP_OK);
    double loss = imp_graph_forward(g);
    imp_graph_backward(g);
    assert_int_equal(imp_graph_read_gradient(g, x, dx), IMP_OK);
    assert_int_equal(imp_graph_read_gradient(g, p, dw), IMP_OK);
    float *same = malloc(imp_plain_count(shape) * sizeof *same);
    assert_int_equal(imp_graph_read(g, x, same), IMP_OK);
    assert_memory_equal(same, v, imp_plain_count(shape) * sizeof *same);
    imp_graph_free(g);
    imp_release(w);
    free(v);
    free(target);
    free(same);
    return loss;
}

/* A picture is a map in fewer bytes: the same gradients, bit for bit. */
static void picture_is_a_map(void **state) {
    enum { PIXELS = 2 * 3 * 9 * 35 };
    for (int padding = IMP_PAD_ZERO; padding <= IMP_PAD_REPLICATE; padding++) {
        float dx[2][PIXELS], dw[2][20 * 27];
        double a = see(*state, IMP_MAP, (imp_padding)padding, dx[0], dw[0]);
        double b = see(*state, IMP_PICTURE, (imp_padding)padding, dx[1], dw[1]);
        assert_true(a > 0 && fabs(a - b) <= 1e-9 * a);
        assert_memory_equal(dx[0], dx[1], sizeof dx[0]);
        assert_memory_equal(dw[0], dw[1], sizeof dw[0]);
    }
}

static void refuse_picture(
    imp_ctx *ctx, size_t channels, size_t taps, char reader, const char *expected) {
    imp_graph *g = imp_graph_new(ctx);
    imp_shape kernel = {16, channels, taps, taps, IMP_WEIGHT};
    float *w = blocked_noise(kernel, 31);
    imp_id x =
        imp_graph_input(g, "photo", (imp_shape){1, channels, 8, 8, IMP_PICTURE}, false);
    imp_id p = imp_graph_parameter(g, "w", kernel, w, false);
    imp_shape map = {1, channels, 8, 8, IMP_MAP};
    if (reader == 'p')
        imp_pool2d(g, x, (imp_pool){IMP_POOL_MAX, 2, 2});
    else if (reader == '+')
        imp_add(g, imp_graph_input(g, "map", map, false), x);
    else
        imp_conv2d(g, x, p, IMP_NONE, (imp_conv){1, 0, IMP_PAD_ZERO});
    assert_int_equal(imp_graph_plan(g, false), IMP_ERR_ARG);
    if (!strstr(imp_ctx_error(ctx), expected))
        fail_msg("expected \"%s\", found \"%s\"", expected, imp_ctx_error(ctx));
    imp_graph_free(g);
    imp_release(w);
}

static void pictures_that_cannot_be(void **state) {
    refuse_picture(*state, 5, 3, 'c', "photo: a picture has 1 to 4 channels, found 5");
    refuse_picture(*state, 3, 5, 'c', "conv2d: expected a kernel of 3 x 3");
    refuse_picture(*state, 3, 3, 'p', "pool2d: a picture goes into a convolution");
    refuse_picture(*state, 3, 3, '+', "add: a picture goes into a convolution");
}

/* Values that are alive at the same time share no byte: a chain with long-lived taps
 * keeps every tap's bits until the end. */
static void live_values_do_not_overlap(void **state) {
    imp_graph *g = imp_graph_new(*state);
    imp_shape s = {1, 16, 5, 3, IMP_MAP};
    imp_id x = imp_graph_input(g, "x", s, true), id = x, tap[6];
    float *w[6];
    for (size_t i = 0; i < 6; i++) {
        imp_shape ws = {16, 16, 1, 1, IMP_WEIGHT};
        w[i] = blocked_noise(ws, 30 + i);
        imp_id wid = imp_graph_parameter(g, "w", ws, w[i], false);
        id = tap[i] =
            imp_relu(g, imp_conv2d(g, id, wid, IMP_NONE, (imp_conv){1, 0, 0}));
        if (i % 2) imp_graph_keep(g, id);
    }
    imp_id t = imp_graph_input(g, "t", s, false);
    imp_graph_loss(g, imp_content_loss(g, id, t), 1.0);
    assert_int_equal(imp_graph_plan(g, true), IMP_OK);
    size_t n = imp_plain_count(s);
    float *v = noise(s, 5), *before = malloc(n * sizeof *v),
          *after = malloc(n * sizeof *v);
    assert_int_equal(imp_graph_write(g, x, v), IMP_OK);
    assert_int_equal(imp_graph_write(g, t, v), IMP_OK);
    imp_graph_forward(g);
    for (size_t i = 1; i < 6; i += 2) {
        assert_int_equal(imp_graph_read(g, tap[i], before), IMP_OK);
        imp_graph_backward(g);
        assert_int_equal(imp_graph_read(g, tap[i], after), IMP_OK);
        assert_memory_equal(before, after, n * sizeof *v);
        imp_graph_forward(g);
    }
    assert_int_equal(imp_graph_read(g, tap[0], before), IMP_ERR_ARG);
    for (size_t i = 0; i < 6; i++) imp_release(w[i]);
    free(v);
    free(before);
    free(after);
    imp_graph_free(g);
}

/* A small style objective: two convolutions, a Gram matrix behind the first, the features of
 * the second. Losses are built last, as an objective has them. */
typedef struct style_net {
    imp_graph *g;
    imp_id x, map, deep, gram, style;
    float *w1, *w2, *b1;
} style_net;

typedef struct style_kind {
    bool thrifty, biased;
    bool trained; /* the first weights want a gradient too */
    bool twice;   /* the map has a second Gram matrix, with a loss of its own */
    size_t samples, channels, outputs, high, wide, pad;
    imp_padding padding;
    imp_layout layout;
    enum { BOTH, STYLE, CONTENT } losses; /* that are in the total */
} style_kind;

#define NETS(n, c, o, h, w, p)                                                         \
    .thrifty = true, .samples = n, .channels = c, .outputs = o, .high = h, .wide = w,  \
    .pad = p
#define NET(c, o, h, w) NETS(1, c, o, h, w, 1)

static style_net style_new(imp_ctx *ctx, style_kind k) {
    imp_shape w1 = {k.outputs, k.channels, 3, 3, IMP_WEIGHT};
    imp_shape w2 = {40, k.outputs, 3, 3, IMP_WEIGHT},
              b1 = {1, k.outputs, 1, 1, IMP_MAP};
    style_net n = {.g = imp_graph_new(ctx),
        .w1 = blocked_noise(w1, 41),
        .w2 = blocked_noise(w2, 42),
        .b1 = blocked_noise(b1, 43)};
    imp_graph *g = n.g;
    imp_conv conv = {1, k.pad, k.padding};
    imp_shape x = {k.samples, k.channels, k.high, k.wide, k.layout};
    g->thrifty = k.thrifty;
    n.x = imp_graph_input(g, "x", x, true);
    imp_id p1 = imp_graph_parameter(g, "w1", w1, n.w1, k.trained);
    imp_id p2 = imp_graph_parameter(g, "w2", w2, n.w2, false);
    imp_id bias = k.biased ? imp_graph_parameter(g, "b1", b1, n.b1, false) : IMP_NONE;
    n.map = imp_conv2d(g, n.x, p1, bias, conv);
    imp_id relu = imp_relu(g, n.map);
    n.deep = imp_conv2d(g, relu, p2, IMP_NONE, conv);
    n.gram = imp_gram(g, relu);
    imp_id a = imp_graph_input(g, "a", imp_graph_shape(g, n.gram), false);
    n.style = imp_style_loss(g, n.gram, a);
    if (k.losses != CONTENT) imp_graph_loss(g, n.style, 3.0);
    if (k.twice) imp_graph_loss(g, imp_style_loss(g, imp_gram(g, relu), a), 2.0);
    imp_id y = imp_graph_input(g, "y", imp_graph_shape(g, n.deep), false);
    imp_id content = imp_content_loss(g, n.deep, y);
    if (k.losses != STYLE) imp_graph_loss(g, content, 0.5);
    assert_int_equal(imp_graph_plan(g, true), IMP_OK);
    imp_id inputs[] = {n.x, a, y};
    for (size_t i = 0; i < 3; i++) {
        float *v = noise(imp_graph_shape(g, inputs[i]), 60 + i);
        assert_int_equal(imp_graph_write(g, inputs[i], v), IMP_OK);
        free(v);
    }
    return n;
}

static void style_free(style_net *n) {
    imp_graph_free(n->g);
    imp_release(n->w1);
    imp_release(n->w2);
    imp_release(n->b1);
}

/* A Gram matrix and its loss follow their map at once, and backward their gradient comes just
 * before that of the other reader, in the map's own place. */
static void small_values_first(void **state) {
    style_kind kind = {NET(3, 40, 37, 31), .trained = true};
    kind.thrifty = false;
    style_net n = style_new(*state, kind);
    const imp_node *nodes = n.g->nodes;
    size_t map = nodes[n.map].forward_time;
    assert_int_equal(nodes[n.gram].forward_time, map + 1);
    assert_int_equal(nodes[n.style].forward_time, map + 2);
    assert_int_equal(nodes[n.deep].forward_time, map + 3);
    assert_int_equal(nodes[n.deep].backward_time, nodes[n.gram].backward_time + 1);
    assert_int_equal(nodes[n.map].backward_time, nodes[n.deep].backward_time + 1);
    assert_int_equal(nodes[n.map].grad, nodes[n.map].value);
    assert_int_equal(nodes[n.gram].grad, nodes[n.gram].value);
    style_free(&n);
}

/* The loss after two runs, and the gradient by x. */
static double run_style(style_net *n, float *dx) {
    double loss = 0;
    for (int again = 0; again < 2; again++) {
        loss = imp_graph_forward(n->g);
        imp_graph_backward(n->g);
    }
    assert_int_equal(imp_graph_read_gradient(n->g, n->x, dx), IMP_OK);
    return loss;
}

/* A value made again is the value kept: the same bits in less memory, run after run. */
static void thrifty_equals_kept(void **state) {
    style_kind thrifty = {NET(6, 40, 37, 31)}, kept = thrifty;
    kept.thrifty = false;
    style_net n[2] = {style_new(*state, kept), style_new(*state, thrifty)};
    size_t count = imp_plain_count(imp_graph_shape(n[0].g, n[0].x));
    float *dx[2] = {malloc(count * sizeof(float)), malloc(count * sizeof(float))};
    double loss[2] = {run_style(&n[0], dx[0]), run_style(&n[1], dx[1])};
    assert_true(n[0].g->nodes[n[0].map].again == SIZE_MAX);
    assert_true(n[1].g->nodes[n[1].map].again != SIZE_MAX);
    assert_true(imp_graph_bytes(n[1].g) <= imp_graph_bytes(n[0].g));
    assert_true(loss[0] == loss[1]);
    assert_memory_equal(dx[0], dx[1], count * sizeof(float));
    for (size_t i = 0; i < 2; i++) {
        free(dx[i]);
        style_free(&n[i]);
    }
}

/* A Gram matrix that the convolution before it makes, forward and backward, against one of its
 * own: maps of one piece and of several, borders of both kinds, channels that
 * fill no block, a gradient from one side alone, a map that is made again as a whole too. */
static void gram_in_convolution(void **state) {
    static const style_kind kinds[] = {
        {NET(3, 40, 37, 31)},
        {NET(3, 64, 70, 301)},
        {NET(3, 64, 33, 129), .padding = IMP_PAD_REPLICATE},
        {NET(1, 16, 64, 128)},
        {NET(1, 16, 35, 30), .padding = IMP_PAD_REPLICATE},
        {NET(4, 100, 5, 140), .padding = IMP_PAD_REPLICATE},
        {NET(2, 20, 3, 3)},
        {NET(3, 40, 70, 301), .losses = STYLE},
        {NET(3, 40, 37, 31), .losses = CONTENT},
        {NET(3, 16, 37, 31), .losses = STYLE, .padding = IMP_PAD_REPLICATE},
        {NET(3, 40, 37, 150), .layout = IMP_PICTURE, .biased = true},
        {NET(3, 40, 37, 31), .layout = IMP_PICTURE, .padding = IMP_PAD_REPLICATE},
        {NET(3, 40, 37, 31), .twice = true},
        {NET(3, 40, 37, 31), .twice = true, .losses = STYLE, .layout = IMP_PICTURE},
        {NETS(2, 3, 20, 34, 140, 0), .biased = true},
        {NETS(3, 2, 33, 20, 19, 3)},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        style_kind alone = kinds[k];
        alone.trained = true;
        style_net n[2] = {style_new(*state, alone), style_new(*state, kinds[k])};
        size_t count = imp_plain_count(imp_graph_shape(n[0].g, n[0].x));
        float *dx[2] = {malloc(count * sizeof(float)), malloc(count * sizeof(float))};
        double loss[2] = {run_style(&n[0], dx[0]), run_style(&n[1], dx[1])};
        assert_true(n[0].g->nodes[n[0].gram].maker == IMP_NONE);
        assert_true(n[1].g->nodes[n[1].gram].maker != IMP_NONE);
        assert_true(fabs(loss[0] - loss[1]) <= 1e-6 * loss[0]);
        double error = 0, whole = 0;
        for (size_t i = 0; i < count; i++) {
            error += pow((double)dx[0][i] - (double)dx[1][i], 2);
            whole += pow((double)dx[0][i], 2);
        }
        if (!(sqrt(error / whole) <= 2e-6))
            fail_msg("kind %zu: the gradients differ by %.3g", k, sqrt(error / whole));
        for (size_t i = 0; i < 2; i++) {
            free(dx[i]);
            style_free(&n[i]);
        }
    }
}

/* That one too has the same bits for any number of threads. */
static void gram_in_convolution_threads(void **state) {
    (void)state;
    style_kind kind = {NET(3, 64, 70, 301)};
    static const int counts[] = {1, 2, 3, 7};
    static float dx[4][3 * 70 * 301];
    double loss[4];
    for (size_t i = 0; i < 4; i++) {
        imp_ctx *ctx;
        assert_int_equal(
            imp_ctx_new(&ctx, &(imp_ctx_options){.threads = counts[i]}), 0);
        style_net n = style_new(ctx, kind);
        loss[i] = run_style(&n, dx[i]);
        style_free(&n);
        imp_ctx_free(ctx);
        assert_true(loss[i] == loss[0]);
        assert_memory_equal(dx[i], dx[0], sizeof dx[0]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_equals_unfused),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(gradient_is_the_slope),
        cmocka_unit_test(errors_are_sticky),
        cmocka_unit_test(unplanned_graph_refuses),
        cmocka_unit_test(picture_is_a_map),
        cmocka_unit_test(pictures_that_cannot_be),
        cmocka_unit_test(live_values_do_not_overlap),
        cmocka_unit_test(small_values_first),
        cmocka_unit_test(thrifty_equals_kept),
        cmocka_unit_test(gram_in_convolution),
        cmocka_unit_test(gram_in_convolution_threads),
    };
    return cmocka_run_group_tests(tests, make_context, free_context);
}
