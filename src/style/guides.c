/* SPDX-License-Identifier: MIT
 *
 * guides.c: the part of a feature map that belongs to a region (Gatys et al. 2017,
 * "Controlling perceptual factors in neural style transfer", section 4.1). A mask is halved
 * with every pool of the network, by the means of 2 x 2 (3 at the end of an odd side); its
 * weights w have the mean 1, so that statistics of a region are of the size of those of a whole
 * picture:
 *
 *     mean(i)  = 1/P sum_p w(p) X(i,p)
 *     G(i,j)   = 1/P sum_p (sqrt(w(p)) X(i,p)) (sqrt(w(p)) X(j,p))
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "style/style.h"

#define ROOM (sizeof((imp_guides *)0)->map / sizeof *((imp_guides *)0)->map)

imp_id imp_guides_apply(
    imp_graph *g, imp_guides *guides, size_t k, imp_id x, bool root) {
    imp_shape s = imp_graph_shape(g, x);
    s.c = 1;
    for (size_t i = 0; i < guides->n; i++) {
        imp_shape m = imp_graph_shape(g, guides->map[i].id);
        if (guides->map[i].mask == k && guides->map[i].root == root && m.h == s.h &&
            m.w == s.w)
            return imp_guide(g, x, guides->map[i].id);
    }
    imp_id id = imp_graph_input(g, "guide", s, false);
    if (guides->n == ROOM) return IMP_NONE; /* the graph refuses it as an input */
    guides->map[guides->n].mask = k;
    guides->map[guides->n].root = root;
    guides->map[guides->n++].id = id;
    return imp_guide(g, x, id);
}

/* The end of what cell i of n halves a side to: 2, of the last one all that is left. */
static size_t end_of(size_t i, size_t n, size_t side) {
    return i + 1 < n ? 2 * i + 2 : side;
}

/* Means of 2 x 2, in place; the last row and column of odd sides go to their neighbours, so
 * that a thin white border does not vanish. */
static void halve(float *x, size_t *width, size_t *height) {
    size_t w = *width / 2, h = *height / 2;
    for (size_t i = 0; i < h; i++)
        for (size_t j = 0; j < w; j++) {
            size_t bottom = end_of(i, h, *height), right = end_of(j, w, *width);
            float sum = 0.0f;
            for (size_t k = 2 * i; k < bottom; k++)
                for (size_t l = 2 * j; l < right; l++) sum += x[k * *width + l];
            x[i * w + j] = sum / (float)((bottom - 2 * i) * (right - 2 * j));
        }
    *width = w;
    *height = h;
}

/* The weights of map i into plane. */
static imp_status weigh(
    imp_ctx *ctx, imp_graph *g, const imp_guides *guides, size_t i, float *plane) {
    imp_shape s = imp_graph_shape(g, guides->map[i].id);
    size_t k = guides->map[i].mask, w = guides->width, h = guides->height;
    memcpy(plane, guides->mask[k], w * h * sizeof *plane);
    while (w > s.w && h > s.h) halve(plane, &w, &h);
    double sum = 0;
    for (size_t p = 0; p < w * h; p++) sum += (double)plane[p];
    if (w != s.w || h != s.h || !(sum > 0))
        return imp_fail(ctx, IMP_ERR_DATA,
            "%s mask %zu: expected something white at %zu x %zu, found nothing",
            guides->whose, guides->views[k].source + 1, s.w, s.h);
    float factor = (float)((double)(w * h) / sum);
    for (size_t p = 0; p < w * h; p++) plane[p] *= factor;
    return IMP_OK;
}

static imp_status fill(
    imp_ctx *ctx, imp_graph *g, const imp_guides *guides, size_t i, float *plane) {
    imp_status status = weigh(ctx, g, guides, i, plane);
    if (status) return status;
    imp_shape s = imp_graph_shape(g, guides->map[i].id);
    float *out = imp_graph_data(g, guides->map[i].id);
    for (size_t p = 0; p < s.w * s.h; p++) {
        out[p * 16] = guides->map[i].root ? sqrtf(plane[p]) : plane[p];
        for (size_t k = 1; k < 16; k++) out[p * 16 + k] = 0.0f;
    }
    return IMP_OK;
}

typedef imp_status work(
    imp_ctx *ctx, imp_graph *g, const imp_guides *guides, size_t i, float *plane);

static imp_status for_each(
    imp_ctx *ctx, imp_graph *g, const imp_guides *guides, work *what) {
    if (guides->n == 0) return IMP_OK;
    float *plane = malloc(guides->width * guides->height * sizeof *plane);
    imp_status s = plane ? IMP_OK : imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    for (size_t i = 0; i < guides->n && !s; i++) s = what(ctx, g, guides, i, plane);
    free(plane);
    return s;
}

imp_status imp_guides_fill(imp_ctx *ctx, imp_graph *g, const imp_guides *guides) {
    return for_each(ctx, g, guides, fill);
}

imp_status imp_guides_check(imp_ctx *ctx, imp_graph *g, const imp_guides *guides) {
    return for_each(ctx, g, guides, weigh);
}
