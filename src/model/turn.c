/* SPDX-License-Identifier: MIT
 *
 * turn.c: a network that sees every picture mirrored or turned. Convolving a picture by mirrored
 * kernels is convolving the mirrored picture, and mirroring what comes out; so no picture is
 * touched. Maps of odd sides are the exception: a pool leaves out their last row or column,
 * not their first.
 */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

/* Another network of the same layers, its weights still zero. */
static imp_status make_twin(imp_ctx *ctx, imp_model **out, const imp_model *m) {
    imp_model *twin = calloc(1, sizeof *twin);
    if (!twin) return imp_fail(ctx, IMP_ERR_LIMIT, "model: no memory");
    twin->info = m->info;
    twin->info.parameters = 0;
    memcpy(twin->architecture, m->architecture, sizeof twin->architecture);
    twin->n_layers = m->n_layers;
    twin->layers = malloc(m->n_layers * sizeof *twin->layers);
    imp_status s = IMP_OK;
    if (twin->layers)
        memcpy(twin->layers, m->layers, m->n_layers * sizeof *twin->layers);
    else
        s = imp_fail(ctx, IMP_ERR_LIMIT, "model: no memory");
    if (!s) s = imp_zoo_shapes(ctx, twin);
    if (!s) s = imp_zoo_allocate(ctx, twin);
    if (s)
        imp_model_free(twin);
    else
        *out = twin;
    return s;
}

static void turn_kernels(
    const imp_shape *s, const float *from, float *to, unsigned turn) {
    for (size_t o = 0; o < s->n; o += 16) /* the outputs of a panel lie together */
        for (size_t i = 0; i < s->c; i++)
            for (size_t y = 0; y < s->h; y++)
                for (size_t x = 0; x < s->w; x++) {
                    size_t row = turn & IMP_TURN_TRANSPOSE ? x : y;
                    size_t column = turn & IMP_TURN_TRANSPOSE ? y : x;
                    if (turn & IMP_TURN_COLUMNS) column = s->w - 1 - column;
                    if (turn & IMP_TURN_ROWS) row = s->h - 1 - row;
                    memcpy(to + imp_weight_offset(s, o, i, y, x),
                        from + imp_weight_offset(s, o, i, row, column),
                        16 * sizeof *to);
                }
}

imp_status imp_model_turn(
    imp_ctx *ctx, imp_model **twin, const imp_model *m, unsigned turn) {
    imp_status s = *twin ? IMP_OK : make_twin(ctx, twin, m);
    for (size_t t = 0; t < m->n_tensors && !s; t++) {
        const imp_tensor *from = &m->tensors[t];
        if (from->shape.layout == IMP_WEIGHT && !from->linear)
            turn_kernels(
                &from->shape, from->blocked, (*twin)->tensors[t].blocked, turn);
        else
            memcpy((*twin)->tensors[t].blocked, from->blocked,
                imp_blocked_count(from->shape) * sizeof(float));
    }
    return s;
}
