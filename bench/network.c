/* SPDX-License-Identifier: MIT
 *
 * network.c: whole networks, their graphs alone:
 *
 *   classify   VGG-19 with all its layers, one picture of 224 x 224, forward
 *   train      a VGG-19 of a quarter of the channels to relu5_1, eight crops of 128 x 128:
 *              forward, and the gradients of all weights, and of the maps between them
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct network {
    imp_model *model;
    imp_graph *graph;
} network;

static void network_free(network *n) {
    imp_graph_free(n->graph);
    imp_model_free(n->model);
}

static imp_status network_new(
    imp_ctx *ctx, network *n, const imp_model_options *options) {
    *n = (network){NULL, NULL};
    imp_status s = imp_model_init(ctx, &n->model, options);
    if (!s) n->graph = imp_graph_new(ctx);
    if (!s && !n->graph) s = imp_fail(ctx, IMP_ERR_LIMIT, "network: no memory");
    return s;
}

/* Numbers of [-1, 1) into an input. */
static imp_status write_noise(
    imp_ctx *ctx, imp_graph *g, imp_id id, imp_shape shape, uint64_t seed) {
    size_t count = imp_plain_count(shape);
    float *x = malloc(count * sizeof *x);
    if (!x) return imp_fail(ctx, IMP_ERR_LIMIT, "network: no memory");
    for (size_t i = 0; i < count; i++) x[i] = bench_value(seed, i);
    imp_status s = imp_graph_write(g, id, x);
    free(x);
    return s;
}

static void run_forward(void *graph) {
    imp_graph_forward(graph);
}

static void run_both(void *graph) {
    imp_graph_forward(graph);
    imp_graph_backward(graph);
}

static void tell(
    const imp_ctx *ctx, const bench_settings *s, const char *name, double seconds) {
    if (s->json) {
        bench_json(ctx, name);
        printf(",\"seconds\":%.6f,\"peak_bytes\":%zu}\n", seconds, bench_peak_bytes());
    } else {
        printf("%s: %.2f ms (median of %zu), %zu MiB\n", name, seconds * 1e3,
            s->iterations, bench_peak_bytes() >> 20);
    }
}

int bench_classify(imp_ctx *ctx, const bench_settings *s) {
    network n;
    imp_shape shape = {1, 3, 224, 224, IMP_MAP};
    imp_network_options o = {.last = NULL};
    imp_status status =
        network_new(ctx, &n, &(imp_model_options){.architecture = "vgg19", .seed = 1});
    if (!status) {
        imp_id x = imp_graph_input(n.graph, "picture", shape, false);
        imp_id logits = imp_network(n.graph, n.model, x, &o, NULL, NULL, 0);
        imp_graph_keep(n.graph, imp_softmax(n.graph, logits));
        status = imp_graph_plan(n.graph, false);
        if (!status) status = write_noise(ctx, n.graph, x, shape, 1);
    }
    if (!status)
        tell(ctx, s, "classify", bench_time(s->iterations, run_forward, n.graph));
    network_free(&n);
    return status ? bench_fail(ctx) : 0;
}

int bench_train(imp_ctx *ctx, const bench_settings *s) {
    network n;
    imp_shape crops = {8, 3, 128, 128, IMP_MAP};
    imp_network_options o = {.last = "relu5_1", .gradients = true};
    imp_status status = network_new(ctx, &n,
        &(imp_model_options){
            .architecture = "vgg19", .divisor = 4, .features = true, .seed = 1});
    if (!status) {
        imp_id x = imp_graph_input(n.graph, "crops", crops, false);
        imp_id y = imp_network(n.graph, n.model, x, &o, NULL, NULL, 0);
        imp_shape features = imp_graph_shape(n.graph, y);
        imp_id target = imp_graph_input(n.graph, "target", features, false);
        imp_graph_loss(n.graph, imp_content_loss(n.graph, y, target), 1.0);
        status = imp_graph_plan(n.graph, true);
        if (!status) status = write_noise(ctx, n.graph, x, crops, 1);
        if (!status) status = write_noise(ctx, n.graph, target, features, 2);
    }
    if (!status) tell(ctx, s, "train", bench_time(s->iterations, run_both, n.graph));
    network_free(&n);
    return status ? bench_fail(ctx) : 0;
}
