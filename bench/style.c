/* SPDX-License-Identifier: MIT
 *
 * style.c: an iteration of Adam on a square picture: the losses of Gatys, Ecker & Bethge on
 * relu1_1 .. relu5_1 and relu4_2, and the process's peak of memory.
 */
#include "bench.h"

#include "graph/graph.h"
#include "impasto/style.h"
#include "model/model.h"
#include "style/style.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static imp_style_options options_for(const bench_settings *s) {
    imp_style_options o = imp_style_preset("gatys");
    o.size = s->size;
    o.optimizer = IMP_ADAM;
    o.content_named = o.style_named = true; /* nothing may be left out */
    return o;
}

/* A job looks at no layer behind relu5_1: those cost no memory here. */
static void drop_deeper_layers(imp_model *m) {
    size_t layers = imp_zoo_find(m, "relu5_1") + 1, kept = 0;
    for (size_t i = 0; i < layers && i < m->n_layers; i++)
        if (imp_layer_has_weights(&m->layers[i])) kept += 2;
    while (m->n_tensors > kept) imp_release(m->tensors[--m->n_tensors].blocked);
    imp_zoo_cut(m, layers);
}

static imp_status get_model(imp_ctx *ctx, const bench_settings *s, imp_model **out) {
    imp_style_options o = options_for(s);
    if (s->model) return imp_style_load(ctx, out, s->model, &o);
    if (strcmp(s->architecture, "builtin") == 0) return imp_model_builtin(ctx, out);
    imp_status status = imp_model_init(ctx, out,
        &(imp_model_options){
            .architecture = s->architecture, .features = true, .seed = 1});
    if (!status) drop_deeper_layers(*out);
    return status;
}

static imp_status noise_picture(
    imp_ctx *ctx, imp_picture *p, size_t size, uint64_t seed) {
    imp_status s = imp_picture_new(ctx, p, size, size);
    for (size_t i = 0; i < 3 * size * size && !s; i++)
        p->planes[i] = (float)(255.0 * imp_uniform(seed, i));
    return s;
}

static imp_status prepare(
    imp_ctx *ctx, const bench_settings *s, const imp_model *model, imp_style **job) {
    imp_picture content = {0}, painting = {0};
    imp_style_options o = options_for(s);
    imp_style_source source = {.picture = &painting, .weight = 1};
    imp_status status = noise_picture(ctx, &content, s->size, 1);
    if (!status) status = noise_picture(ctx, &painting, s->size, 2);
    if (!status)
        status = imp_style_new(ctx, job, model, &content, &source, 1, NULL, &o);
    imp_picture_free(&content);
    imp_picture_free(&painting);
    return status;
}

/* The first iteration warms up. */
static imp_status iterate(imp_style *job, size_t iterations, double *seconds) {
    for (size_t i = 0; i <= iterations; i++) {
        imp_style_progress p;
        double start = bench_now();
        imp_status status = imp_style_step(job, &p);
        if (status) return status;
        if (i > 0) seconds[i - 1] = bench_now() - start;
    }
    return IMP_OK;
}

static void tell(const imp_ctx *ctx, const bench_settings *s, double *seconds) {
    double m = bench_median(seconds, s->iterations);
    if (s->json) {
        bench_json(ctx, "style");
        printf(",\"size\":%zu,\"seconds_per_iteration\":%.6f,\"minimum\":%.6f,"
               "\"peak_bytes\":%zu}\n",
            s->size, m, seconds[0], bench_peak_bytes());
    } else {
        printf("style %zu: %.3f s an iteration (median of %zu, least %.3f), %zu MiB\n",
            s->size, m, s->iterations, seconds[0], bench_peak_bytes() >> 20);
    }
}

/* --- node by node --- */

/* Seconds of every run of the graph's order, `iterations` of each: g->runs rows. */
static void time_runs(imp_graph *g, size_t iterations, double *seconds) {
    for (size_t i = 0; i < iterations; i++)
        for (size_t r = 0; r < g->runs; r++) {
            double start = bench_now();
            imp_graph_run(g, r);
            seconds[r * iterations + i] = bench_now() - start;
        }
}

static void tell_node(
    const imp_ctx *ctx, bool json, const imp_node *n, const double spent[2]) {
    if (json) {
        bench_json(ctx, "node");
        printf(",\"node\":\"%s\",\"op\":\"%s\",\"c\":%zu,\"h\":%zu,\"w\":%zu,"
               "\"forward\":%.6f,\"backward\":%.6f}\n",
            n->name, n->op->name, n->shape.c, n->shape.h, n->shape.w, spent[0],
            spent[1]);
    } else {
        printf("%-12s %-14s %4zu x %4zu x %4zu  %8.2f %8.2f ms\n", n->name, n->op->name,
            n->shape.c, n->shape.h, n->shape.w, 1e3 * spent[0], 1e3 * spent[1]);
    }
}

static imp_status tell_nodes(imp_ctx *ctx, const bench_settings *s, imp_graph *g) {
    size_t times = s->iterations;
    double *seconds = calloc(g->runs * times, sizeof *seconds);
    double(*spent)[2] = calloc(g->count, sizeof *spent), sum[2] = {0};
    if (!seconds || !spent) {
        free(seconds);
        free(spent);
        return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    }
    time_runs(g, times, seconds);
    for (size_t r = 0; r < g->runs; r++) {
        double m = bench_median(seconds + r * times, times);
        spent[g->order[r]][r >= g->forward_runs] += m;
        sum[r >= g->forward_runs] += m;
    }
    for (size_t i = 0; i < g->count; i++)
        if (spent[i][0] + spent[i][1] > 0)
            tell_node(ctx, s->json, &g->nodes[i], spent[i]);
    if (!s->json) printf("%-42s  %8.2f %8.2f ms\n", "all", 1e3 * sum[0], 1e3 * sum[1]);
    free(seconds);
    free(spent);
    return IMP_OK;
}

int bench_style(imp_ctx *ctx, const bench_settings *s) {
    imp_model *model = NULL;
    imp_style *job = NULL;
    double *seconds = calloc(s->iterations, sizeof *seconds);
    imp_status status = seconds ? get_model(ctx, s, &model)
                                : imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    if (!status) status = prepare(ctx, s, model, &job);
    if (!status) status = iterate(job, s->iterations, seconds);
    if (!status) tell(ctx, s, seconds);
    if (!status && s->nodes) status = tell_nodes(ctx, s, imp_style_graph(job));
    imp_style_free(job);
    imp_model_free(model);
    free(seconds);
    return status ? bench_fail(ctx) : 0;
}
