/* SPDX-License-Identifier: MIT
 *
 * scene.c: the pictures of a job at the sizes at which they are looked at, with their masks.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/reduce.h"
#include "style/style.h"

/* --- sizes --- */

void imp_style_size(
    size_t width, size_t height, size_t size, size_t *out_width, size_t *out_height) {
    size_t longest = imp_longest(width, height);
    *out_width = width;
    *out_height = height;
    if (longest <= size || longest == 0) return;
    double factor = (double)size / (double)longest;
    size_t w = (size_t)floor((double)width * factor + 0.5);
    size_t h = (size_t)floor((double)height * factor + 0.5);
    *out_width = w < 1 ? 1 : w;
    *out_height = h < 1 ? 1 : h;
}

static size_t rounded(double x) {
    return x < 1.0 ? 1 : (size_t)floor(x + 0.5);
}

/* Without masks all sources share one region; with them each has its own. */
static imp_status measure_sources(
    imp_ctx *ctx, imp_scene *s, const imp_style_source *sources, size_t n) {
    double sum = 0, used = 0;
    if (n < 1 || n > IMP_STYLE_MAX_SOURCES)
        return imp_fail(ctx, IMP_ERR_ARG, "styles: expected 1 to %d, found %zu",
            IMP_STYLE_MAX_SOURCES, n);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(sources[i].weight) || sources[i].weight < 0)
            return imp_fail(ctx, IMP_ERR_ARG,
                "weight of style %zu: expected 0 or more, found %g", i + 1,
                sources[i].weight);
        if (!sources[i].content_mask != !sources[0].content_mask)
            return imp_fail(ctx, IMP_ERR_ARG,
                "content masks: expected one for every style, or none");
        sum += sources[i].weight;
        used += sources[i].weight > 0;
    }
    if (!(sum > 0) || !isfinite(sum))
        return imp_fail(ctx, IMP_ERR_ARG,
            "weights of styles: expected a sum above 0, found %g", sum);
    s->masked = sources[0].content_mask != NULL;
    for (size_t i = 0; i < n; i++) {
        imp_view *v = &s->views[s->n_views];
        if (sources[i].weight <= 0) continue;
        *v = (imp_view){.share = s->masked ? 1 : sources[i].weight / sum,
            .masked = sources[i].mask != NULL,
            .region = s->masked ? s->n_views : 0,
            .source = i};
        s->strength[v->region] = s->masked ? sources[i].weight * used / sum : 1;
        s->n_views++;
    }
    s->n_regions = s->masked ? s->n_views : 1;
    return IMP_OK;
}

imp_status imp_scene_measure(imp_ctx *ctx, imp_scene *s, size_t width, size_t height,
    const imp_style_source *sources, size_t n, const imp_style_options *o) {
    *s = (imp_scene){0};
    imp_status status = measure_sources(ctx, s, sources, n);
    if (status) return status;
    imp_style_size(width, height, o->size, &s->width, &s->height);
    double factor = o->style_scale > 0 ? o->style_scale : 1;
    size_t size = o->style_size
                      ? o->style_size
                      : rounded(factor * (double)imp_longest(s->width, s->height));
    for (size_t i = 0, v = 0; i < n; i++)
        if (sources[i].weight > 0) {
            imp_style_size(sources[i].picture->width, sources[i].picture->height, size,
                &s->views[v].width, &s->views[v].height);
            v++;
        }
    return IMP_OK;
}

/* --- planes --- */

typedef struct clamp_job {
    float *x, high;
    size_t n;
} clamp_job;

static void clamp_task(void *arg, size_t task, int thread) {
    (void)thread;
    const clamp_job *j = arg;
    imp_chunk k = imp_chunk_of(j->n, task);
    for (float *x = j->x + k.first, *end = x + k.count; x < end; x++)
        *x = *x < 0.0f ? 0.0f : *x > j->high ? j->high : *x;
}

static imp_status fit(imp_ctx *ctx, float *out, size_t width, size_t height,
    const float *in, size_t channels, size_t in_width, size_t in_height, float high) {
    imp_status s = imp_resize(
        ctx, out, height, width, in, channels, in_height, in_width, IMP_LANCZOS);
    if (s || (in_width == width && in_height == height)) return s;
    clamp_job j = {out, high, channels * width * height};
    imp_parallel(ctx, imp_chunk_count(j.n), clamp_task, &j);
    return IMP_OK;
}

imp_status imp_fit_planes(imp_ctx *ctx, float **out, size_t width, size_t height,
    const float *in, size_t channels, size_t in_width, size_t in_height, float high) {
    *out = malloc(channels * width * height * sizeof **out);
    if (!*out) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
    return fit(ctx, *out, width, height, in, channels, in_width, in_height, high);
}

imp_status imp_style_fit(
    imp_ctx *ctx, imp_picture *picture, size_t width, size_t height) {
    imp_picture fitted;
    if (picture->width == width && picture->height == height) return IMP_OK;
    imp_status s = imp_picture_new(ctx, &fitted, width, height);
    if (!s)
        s = fit(ctx, fitted.planes, width, height, picture->planes, 3, picture->width,
            picture->height, 255.0f);
    imp_picture_free(s ? &fitted : picture);
    if (!s) *picture = fitted;
    return s;
}

/* The scene's own planes of this size; NULL with *status set where that fails. */
static float *own(imp_ctx *ctx, imp_scene *s, size_t width, size_t height,
    const float *in, size_t channels, size_t in_width, size_t in_height,
    imp_status *status) {
    if (*status) return NULL;
    float **out = &s->owned[s->n_owned++];
    *status = imp_fit_planes(ctx, out, width, height, in, channels, in_width, in_height,
        channels == 1 ? 1.0f : 255.0f);
    return *out;
}

/* A mask from a picture: its luminance, 0..1. */
static float *own_mask(imp_ctx *ctx, imp_scene *s, size_t width, size_t height,
    const imp_picture *picture, imp_status *status) {
    size_t count = picture->width * picture->height;
    if (*status) return NULL;
    float *plane = malloc(count * sizeof *plane);
    if (!plane) {
        *status = imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        plane[i] = (0.299f * picture->planes[i] + 0.587f * picture->planes[count + i] +
                       0.114f * picture->planes[2 * count + i]) /
                   255.0f;
    float *mask =
        own(ctx, s, width, height, plane, 1, picture->width, picture->height, status);
    free(plane);
    return mask;
}

static void recolor(imp_colors colors, const imp_scene *s, const float *content,
    float *style, const imp_view *v) {
    size_t count = v->width * v->height, all = s->width * s->height;
    if (colors == IMP_COLORS_MATCH) imp_colors_match(style, count, content, all);
    if (colors != IMP_COLORS_LUMINANCE) return;
    imp_colors_to_grey(style, count);
    imp_colors_match_grey(style, count, content, all);
}

imp_status imp_scene_load(imp_ctx *ctx, imp_scene *s, const imp_picture *content,
    const imp_style_source *sources, size_t n, imp_colors colors, float **color) {
    imp_status status = IMP_OK;
    float *c = own(ctx, s, s->width, s->height, content->planes, 3, content->width,
        content->height, &status);
    size_t count = s->width * s->height;
    *color = NULL;
    s->content = c;
    if (!status && colors == IMP_COLORS_LUMINANCE) {
        *color = malloc(3 * count * sizeof **color);
        if (!*color) return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
        memcpy(*color, c, 3 * count * sizeof **color);
        imp_colors_to_grey(c, count);
    }
    for (size_t i = 0, k = 0; i < n && !status; i++) {
        if (sources[i].weight <= 0) continue;
        imp_view *v = &s->views[k++];
        const imp_picture *p = sources[i].picture;
        float *y = own(
            ctx, s, v->width, v->height, p->planes, 3, p->width, p->height, &status);
        v->planes = y;
        if (!status) recolor(colors, s, c, y, v);
        if (v->masked)
            v->mask = own_mask(ctx, s, v->width, v->height, sources[i].mask, &status);
        if (s->masked)
            s->mask[v->region] =
                own_mask(ctx, s, s->width, s->height, sources[i].content_mask, &status);
    }
    return status;
}

/* Planes of s for another scale: borrowed where they have the size. */
static const float *at_size(imp_ctx *ctx, imp_scene *s, size_t width, size_t height,
    const float *in, size_t channels, size_t in_width, size_t in_height,
    imp_status *status) {
    if (!in || (in_width == width && in_height == height)) return in;
    return own(ctx, s, width, height, in, channels, in_width, in_height, status);
}

imp_status imp_scene_at(
    imp_ctx *ctx, imp_scene *out, const imp_scene *s, size_t width, size_t height) {
    imp_status status = IMP_OK;
    *out = *s;
    out->n_owned = 0;
    out->width = width;
    out->height = height;
    double factor =
        (double)imp_longest(width, height) / (double)imp_longest(s->width, s->height);
    out->content =
        at_size(ctx, out, width, height, s->content, 3, s->width, s->height, &status);
    for (size_t r = 0; r < s->n_regions; r++)
        out->mask[r] = at_size(
            ctx, out, width, height, s->mask[r], 1, s->width, s->height, &status);
    for (size_t i = 0; i < s->n_views; i++) {
        const imp_view *from = &s->views[i];
        imp_view *v = &out->views[i];
        size_t size = rounded(factor * (double)imp_longest(from->width, from->height));
        imp_style_size(from->width, from->height, size, &v->width, &v->height);
        v->planes = at_size(ctx, out, v->width, v->height, from->planes, 3, from->width,
            from->height, &status);
        v->mask = at_size(ctx, out, v->width, v->height, from->mask, 1, from->width,
            from->height, &status);
    }
    return status;
}

size_t imp_scene_floats(const imp_scene *s) {
    size_t sum = (3 + (s->masked ? s->n_regions : 0)) * s->width * s->height;
    for (size_t i = 0; i < s->n_views; i++)
        sum += (s->views[i].masked ? 4 : 3) * s->views[i].width * s->views[i].height;
    return sum;
}

void imp_scene_free(imp_scene *s) {
    for (size_t i = 0; i < s->n_owned; i++) free(s->owned[i]);
    *s = (imp_scene){0};
}
