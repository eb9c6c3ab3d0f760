/* SPDX-License-Identifier: MIT
 *
 * classify.c: a picture to probabilities.
 */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

/* Resize to high x wide and cut the centre of side x side; values stay in 0..255. */
static imp_status resize_and_cut(imp_ctx *ctx, const imp_picture *p, size_t high,
    size_t wide, size_t side, float *out) {
    float *resized = malloc(3 * high * wide * sizeof *resized);
    if (!resized) return imp_fail(ctx, IMP_ERR_LIMIT, "classify: no memory");
    imp_status s = imp_resize(
        ctx, resized, high, wide, p->planes, 3, p->height, p->width, IMP_BICUBIC);
    size_t top = (high - side) / 2, left = (wide - side) / 2;
    for (size_t i = 0; i < 3 * side * side && !s; i++) {
        size_t c = i / (side * side), h = i / side % side, w = i % side;
        float v = resized[(c * high + top + h) * wide + left + w];
        out[i] = v < 0.0f ? 0.0f : v > 255.0f ? 255.0f : v;
    }
    free(resized);
    return s;
}

size_t imp_crop_side(size_t size) {
    return size * 8 / 7;
}

imp_status imp_fit_picture(imp_ctx *ctx, const imp_picture *p, imp_fit fit, size_t size,
    size_t side, float *rgb) {
    size_t high = size, wide = size;
    if (fit == IMP_FIT_CROP) { /* the short side, the other in proportion, cut short */
        size_t target = imp_crop_side(size), w = p->width, h = p->height;
        high = h <= w ? target : target * h / w;
        wide = w <= h ? target : target * w / h;
        if (high / target > 64 || wide / target > 64)
            return imp_fail(ctx, IMP_ERR_DATA,
                "picture: %zu x %zu is too narrow to be cropped: try squash", w, h);
    }
    return resize_and_cut(ctx, p, high, wide, side, rgb);
}

static imp_status run_network(
    imp_ctx *ctx, const imp_model *m, const float *x, float *p) {
    imp_graph *g = imp_graph_new(ctx);
    if (!g) return imp_fail(ctx, IMP_ERR_LIMIT, "classify: no memory");
    imp_id in = imp_graph_input(g, "picture", imp_model_input_shape(m, 1), false);
    imp_network_options o = {0};
    imp_id out = imp_softmax(g, imp_network(g, m, in, &o, NULL, NULL, 0));
    imp_graph_keep(g, out);
    imp_status s = imp_graph_plan(g, false);
    if (!s) s = imp_graph_write(g, in, x);
    if (!s) imp_graph_forward(g);
    if (!s) s = imp_graph_read(g, out, p);
    imp_graph_free(g);
    return s;
}

imp_status imp_classify(imp_ctx *ctx, const imp_model *m, const imp_picture *picture,
    imp_fit fit, float *p) {
    const imp_input_spec *spec = &m->info.input;
    if (m->info.classes == 0)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "model: expected a classifier, found %s without its last layers",
            m->architecture);
    size_t size = spec->size;
    if (fit == IMP_FIT_MODEL) fit = spec->fit;
    float *rgb = malloc(3 * size * size * sizeof *rgb);
    float *x = malloc(3 * size * size * sizeof *x);
    imp_status s =
        rgb && x ? IMP_OK : imp_fail(ctx, IMP_ERR_LIMIT, "classify: no memory");
    if (!s) s = imp_fit_picture(ctx, picture, fit, size, size, rgb);
    if (!s) imp_input_from_rgb(spec, size * size, rgb, x);
    if (!s) s = run_network(ctx, m, x, p);
    free(rgb);
    free(x);
    return s;
}
