/* SPDX-License-Identifier: MIT
 *
 * conv.c: the convolutions of VGG-19 to conv5_1, with ReLU, each as the graph calls it:
 * forward, backward to the input, backward to weights and bias. Figures: milliseconds;
 * GFLOP/s of the direct sum (2 x 9 operations a pair of channels and pixel), whatever was
 * computed; percent of the FMA peak, which Winograd may pass; relative L2 error of a
 * sample of the results, borders included, against sums in double.
 */
#include "bench.h"
#include "op_case.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FORWARD, BACKWARD, WEIGHTS, DIRECTIONS };
static const char *const direction_names[] = {"forward", "backward", "weights"};

static const struct layer {
    const char *name;
    size_t inputs, outputs, halvings; /* of the picture's side */
} layers[] = {
    {"conv1_1", 3, 64, 0},
    {"conv1_2", 64, 64, 0},
    {"conv2_1", 64, 128, 1},
    {"conv2_2", 128, 128, 1},
    {"conv3_1", 128, 256, 2},
    {"conv3_2", 256, 256, 2},
    {"conv3_3", 256, 256, 2},
    {"conv3_4", 256, 256, 2},
    {"conv4_1", 256, 512, 3},
    {"conv4_2", 512, 512, 3},
    {"conv4_3", 512, 512, 3},
    {"conv4_4", 512, 512, 3},
    {"conv5_1", 512, 512, 4},
};
#define LAYERS (sizeof layers / sizeof *layers)

typedef struct figures {
    double seconds[DIRECTIONS], flops, error[DIRECTIONS];
} figures;

/* --- the reference: one number each, in double --- */

#define SEED_DY 4

/* dL/dY behind the ReLU. */
static double gradient_at(const imp_call *c, size_t o, size_t h, size_t w) {
    size_t i = imp_map_offset(&c->out, 0, o, h, w);
    return c->y[i] > 0.0f ? (double)bench_value(SEED_DY, i) : 0.0;
}

static double input_at(const imp_call *c, size_t i, size_t h, size_t w) {
    return (double)c->x[0][imp_map_offset(&c->in[0], 0, i, h, w)];
}

static double weight_at(const imp_call *c, size_t o, size_t i, size_t k) {
    return (double)c->x[1][imp_weight_offset(&c->in[1], o, i, k / 3, k % 3)];
}

/* h + k - 1, or false where that lies outside n pixels. */
static bool neighbour(size_t h, size_t k, size_t n, size_t *out) {
    *out = h + k - 1;
    return h + k >= 1 && *out < n;
}

static double forward_at(const imp_call *c, size_t o, size_t h, size_t w) {
    double sum = (double)c->x[2][imp_map_offset(&c->in[2], 0, o, 0, 0)];
    size_t y, x;
    for (size_t k = 0; k < 9; k++)
        if (neighbour(h, k / 3, c->out.h, &y) && neighbour(w, k % 3, c->out.w, &x))
            for (size_t i = 0; i < c->in[0].c; i++)
                sum += weight_at(c, o, i, k) * input_at(c, i, y, x);
    return sum > 0.0 ? sum : 0.0;
}

static double backward_at(const imp_call *c, size_t i, size_t h, size_t w) {
    double sum = 0.0;
    size_t y, x;
    for (size_t k = 0; k < 9; k++)
        if (neighbour(h, 2 - k / 3, c->out.h, &y) &&
            neighbour(w, 2 - k % 3, c->out.w, &x))
            for (size_t o = 0; o < c->out.c; o++)
                sum += weight_at(c, o, i, k) * gradient_at(c, o, y, x);
    return sum;
}

static double weights_at(const imp_call *c, size_t o, size_t i, size_t k) {
    double sum = 0.0;
    size_t y, x;
    for (size_t h = 0; h < c->out.h; h++)
        for (size_t w = 0; w < c->out.w; w++)
            if (neighbour(h, k / 3, c->out.h, &y) && neighbour(w, k % 3, c->out.w, &x))
                sum += gradient_at(c, o, h, w) * input_at(c, i, y, x);
    return sum;
}

/* --- the error --- */

#define SAMPLES        2000
#define WEIGHT_SAMPLES 50 /* each a sum over the whole map */

static size_t draw(size_t *counter, size_t n) {
    return (size_t)(imp_uniform(5, (*counter)++) * (double)n);
}

/* A row or column of n; every fourth on the border. */
static size_t draw_place(size_t *counter, size_t n) {
    size_t i = draw(counter, n);
    return draw(counter, 4) ? i : draw(counter, 2) * (n - 1);
}

/* One result drawn at random, and what it should be. */
static void sample(
    const imp_call *c, int direction, size_t *counter, double *found, double *wanted) {
    if (direction == WEIGHTS) {
        size_t o = draw(counter, c->out.c), i = draw(counter, c->in[0].c);
        size_t k = draw(counter, 9);
        *found = (double)c->dx[1][imp_weight_offset(&c->in[1], o, i, k / 3, k % 3)];
        *wanted = weights_at(c, o, i, k);
        return;
    }
    const imp_shape *s = direction == FORWARD ? &c->out : &c->in[0];
    size_t channel = draw(counter, s->c);
    size_t h = draw_place(counter, s->h), w = draw_place(counter, s->w);
    const float *result = direction == FORWARD ? c->y : c->dx[0];
    *found = (double)result[imp_map_offset(s, 0, channel, h, w)];
    *wanted = direction == FORWARD ? forward_at(c, channel, h, w)
                                   : backward_at(c, channel, h, w);
}

static double sampled_error(const imp_call *c, int direction) {
    size_t n = direction == WEIGHTS ? WEIGHT_SAMPLES : SAMPLES, counter = 0;
    double difference = 0.0, square = 0.0;
    for (size_t i = 0; i < n; i++) {
        double found, wanted;
        sample(c, direction, &counter, &found, &wanted);
        difference += (found - wanted) * (found - wanted);
        square += wanted * wanted;
    }
    return square > 0.0 ? sqrt(difference / square) : sqrt(difference);
}

/* --- one layer --- */

static void fill(op_case *c, size_t inputs) {
    const imp_shape *in = c->call.in;
    double deviation = sqrt(2.0 / (9.0 * (double)inputs));
    op_case_fill(&in[0], c->x[0], 1, 1.0, true);
    op_case_fill(&in[1], c->x[1], 2, deviation * sqrt(3.0), false);
    op_case_fill(&in[2], c->x[2], 3, 0.1, false);
}

/* A fresh dY, one backward, the error; then the time. */
static void measure_backward(
    op_case *c, int direction, const bench_settings *s, figures *f) {
    op_case_forward(c); /* saves what backward reads */
    op_case_fill(&c->call.out, c->call.dy, SEED_DY, 1.0, false);
    op_case_backward(c);
    f->error[direction] = sampled_error(&c->call, direction);
    f->seconds[direction] = bench_time(s->iterations, op_case_backward, c);
}

static imp_status measure(
    imp_ctx *ctx, const struct layer *l, const bench_settings *s, figures *f) {
    size_t side = s->size >> l->halvings ? s->size >> l->halvings : 1;
    imp_conv_attr attr = {.conv = {1, 1, IMP_PAD_ZERO}, .relu = true};
    imp_shape in[3] = {{1, l->inputs, side, side, IMP_MAP},
        {l->outputs, l->inputs, 3, 3, IMP_WEIGHT}, {1, l->outputs, 1, 1, IMP_MAP}};
    op_case c;
    imp_status status = op_case_new(ctx, &c, &imp_op_conv2d, &attr, in, 3);
    if (!status) status = op_case_want(&c, 1u);
    if (!status) {
        fill(&c, l->inputs);
        f->flops = 18.0 * (double)(l->inputs * l->outputs * side * side);
        f->seconds[FORWARD] = bench_time(s->iterations, op_case_forward, &c);
        f->error[FORWARD] = sampled_error(&c.call, FORWARD);
        measure_backward(&c, BACKWARD, s, f);
        status = op_case_want(&c, 6u);
    }
    if (!status) measure_backward(&c, WEIGHTS, s, f);
    op_case_free(&c);
    return status;
}

/* --- the report --- */

static void tell(const imp_ctx *ctx, const bench_settings *s, const char *name,
    const figures *f, double peak) {
    if (s->json) {
        bench_json(ctx, "conv");
        printf(",\"layer\":\"%s\",\"size\":%zu,\"peak_gflops\":%.2f", name, s->size,
            peak * 1e-9);
    } else {
        printf("%-8s", name);
    }
    for (int d = 0; d < DIRECTIONS; d++) {
        double rate = f->flops / f->seconds[d];
        printf(s->json ? ",\"%s_seconds\":%.6f,\"%s_gflops\":%.2f,\"%s_error\":%.3g"
                       : "  %s",
            direction_names[d], f->seconds[d], direction_names[d], rate * 1e-9,
            direction_names[d], f->error[d]);
        if (!s->json)
            printf(" %8.2f ms %6.1f GFLOP/s %4.0f %% %7.1e", f->seconds[d] * 1e3,
                rate * 1e-9, 100.0 * rate / peak, f->error[d]);
    }
    puts(s->json ? "}" : "");
    fflush(stdout);
}

/* Times and work add up; of the errors the largest stands. */
static void add(figures *sum, const figures *f) {
    sum->flops += f->flops;
    for (int d = 0; d < DIRECTIONS; d++) {
        sum->seconds[d] += f->seconds[d];
        sum->error[d] = fmax(sum->error[d], f->error[d]);
    }
}

int bench_conv(imp_ctx *ctx, const bench_settings *s) {
    double peak = bench_fma_peak(ctx, (size_t)imp_ctx_threads(ctx));
    figures sum = {.flops = 0};
    size_t measured = 0;
    for (size_t i = 0; i < LAYERS; i++) {
        figures f;
        if (s->layer && strcmp(s->layer, layers[i].name)) continue;
        if (measure(ctx, &layers[i], s, &f)) return bench_fail(ctx);
        tell(ctx, s, layers[i].name, &f, peak);
        add(&sum, &f);
        measured++;
    }
    if (measured == LAYERS) tell(ctx, s, "all", &sum, peak);
    if (measured) return 0;
    imp_fail(
        ctx, IMP_ERR_ARG, "--layer: expected conv1_1 to conv5_1, found %s", s->layer);
    return bench_fail(ctx);
}
