/* SPDX-License-Identifier: MIT
 *
 * input.c: from planes R, G, B of 0..255 to what a network wants to see, and back.
 *
 *     x[k] = (rgb[channel of k] * range/255 - mean[k]) / std[k]
 *     drgb[channel of k] = dx[k] * (range/255) / std[k]
 */
#include "model/model.h"

static size_t plane_of(const imp_input_spec *s, size_t k) {
    return s->bgr ? 2 - k : k;
}

void imp_input_from_rgb(
    const imp_input_spec *s, size_t count, const float *rgb, float *x) {
    float range = s->range / 255.0f;
    for (size_t k = 0; k < s->channels; k++) {
        const float *in = rgb + plane_of(s, k) * count;
        for (size_t i = 0; i < count; i++) {
            float v = in[i];
            if (s->channels == 1) /* luma, ITU-R BT.601 */
                v = 0.299f * rgb[i] + 0.587f * rgb[count + i] +
                    0.114f * rgb[2 * count + i];
            x[k * count + i] = (v * range - s->mean[k]) / s->std[k];
        }
    }
}

void imp_input_gradient_to_rgb(
    const imp_input_spec *s, size_t count, const float *dx, float *drgb) {
    static const float luma[3] = {0.299f, 0.587f, 0.114f};
    for (size_t k = 0; k < 3; k++) {
        size_t from = s->channels == 1 ? 0 : k;
        size_t plane = s->channels == 1 ? k : plane_of(s, k);
        float factor = s->range / 255.0f / s->std[from];
        if (s->channels == 1) factor *= luma[k];
        for (size_t i = 0; i < count; i++)
            drgb[plane * count + i] = dx[from * count + i] * factor;
    }
}

/* The same to and from a graph's picture of three channels. */

#define PIXELS 4096 /* of a task */

typedef struct edge_job {
    const imp_input_spec *spec;
    size_t count;
    const float *from, *more;
    float *to;
} edge_job;

static void in_task(void *arg, size_t task, int thread) {
    (void)thread;
    const edge_job *j = arg;
    const imp_input_spec *s = j->spec;
    size_t first = task * PIXELS, end = imp_least(first + PIXELS, j->count);
    const float *plane[3];
    float range = s->range / 255.0f;
    for (size_t k = 0; k < 3; k++) plane[k] = j->from + plane_of(s, k) * j->count;
    for (size_t i = first; i < end; i++) {
        float *x = j->to + i * IMP_PICTURE_LANES;
        for (size_t k = 0; k < 3; k++)
            x[k] = (plane[k][i] * range - s->mean[k]) / s->std[k];
        x[3] = 0.0f;
    }
}

void imp_input_to_picture(imp_ctx *ctx, const imp_input_spec *spec, size_t count,
    const float *rgb, float *picture) {
    edge_job j = {spec, count, rgb, NULL, picture};
    imp_parallel(ctx, imp_divide_up(count, PIXELS), in_task, &j);
}

static void out_task(void *arg, size_t task, int thread) {
    (void)thread;
    const edge_job *j = arg;
    const imp_input_spec *s = j->spec;
    size_t first = task * PIXELS, end = imp_least(first + PIXELS, j->count);
    for (size_t k = 0; k < 3; k++) {
        float *plane = j->to + plane_of(s, k) * j->count;
        const float *more = j->more ? j->more + plane_of(s, k) : NULL;
        float factor = s->range / 255.0f / s->std[k];
        for (size_t i = first; i < end; i++) {
            float d = j->from[i * IMP_PICTURE_LANES + k] * factor;
            plane[i] = more ? d + more[i * IMP_PICTURE_LANES] : d;
        }
    }
}

void imp_input_gradient_from_picture(imp_ctx *ctx, const imp_input_spec *spec,
    size_t count, const float *dx, const float *more, float *drgb) {
    edge_job j = {spec, count, dx, more, drgb};
    imp_parallel(ctx, imp_divide_up(count, PIXELS), out_task, &j);
}

imp_shape imp_model_input_shape(const imp_model *m, size_t n) {
    const imp_input_spec *s = &m->info.input;
    if (m->layers[0].kind == IMP_LAYER_LINEAR)
        return (imp_shape){n, s->channels * s->size * s->size, 1, 1, IMP_MAP};
    return (imp_shape){n, s->channels, s->size, s->size, IMP_MAP};
}
