/* SPDX-License-Identifier: MIT
 *
 * inputs.c: names, counts and weights; then the pictures themselves.
 */
#include "inputs.h"

#include <math.h>
#include <string.h>

#include "box.h"
#include "image_vips.h"
#include "report.h"

/* --- names --- */

static int name_weights(app_inputs *in, const app_numbers *weights) {
    double sum = 0;
    if (weights->n && weights->n != in->n_styles) {
        app_error("--style-weights: expected %zu numbers, one a STYLE, found %zu",
            in->n_styles, weights->n);
        return APP_USAGE;
    }
    for (size_t i = 0; i < in->n_styles; i++) {
        in->weights[i] = weights->n ? weights->values[i] : 1;
        sum += in->weights[i];
    }
    for (size_t i = 0; i < in->n_styles; i++) in->weights[i] /= sum;
    if (sum > 0) return 0;
    app_error("--style-weights: expected one above 0, found none");
    return APP_USAGE;
}

static bool is_whole(const char *mask) {
    return !*mask || strcmp(mask, "none") == 0;
}

/* Names of masks: content's one a style, or none at all; styles' may end early. */
static int name_masks(app_inputs *in, const app_stylize_values *v) {
    const app_names *content = &v->content_mask, *style = &v->style_mask;
    if (content->n && content->n != in->n_styles) {
        app_error("--content-mask: expected %zu names, one a STYLE, found %zu",
            in->n_styles, content->n);
        return APP_USAGE;
    }
    if (style->n > in->n_styles) {
        app_error("--style-mask: expected at most %zu names, one a STYLE, found %zu",
            in->n_styles, style->n);
        return APP_USAGE;
    }
    for (size_t i = 0; i < content->n; i++)
        in->content_masks[i].file =
            is_whole(content->values[i]) ? "none" : content->values[i];
    for (size_t i = 0; i < style->n; i++)
        if (!is_whole(style->values[i])) in->masks[i].file = style->values[i];
    return 0;
}

int app_inputs_name(app_inputs *in, const app_stylize_values *v) {
    in->n_styles = v->common.n_operands - 1;
    for (size_t i = 0; i < in->n_styles; i++)
        in->styles[i].file = v->common.operands[i + 1];
    bool picture = v->init != NULL;
    for (int i = IMP_INIT_CONTENT; i < IMP_INIT_PICTURE; i++)
        if (picture && strcmp(v->init, app_init_name((imp_init)i)) == 0)
            picture = false;
    if (picture) in->start.file = v->init;
    int status = name_weights(in, &v->style_weights);
    if (!status) status = name_masks(in, v);
    return status;
}

size_t app_inputs_files(const app_inputs *in, const char *out[APP_INPUTS]) {
    size_t n = 0;
    if (in->content.file) out[n++] = in->content.file;
    if (in->start.file) out[n++] = in->start.file;
    for (size_t i = 0; i < in->n_styles; i++) {
        const app_input *masks[] = {&in->content_masks[i], &in->masks[i]};
        out[n++] = in->styles[i].file;
        for (size_t k = 0; k < 2; k++)
            if (masks[k]->file && !is_whole(masks[k]->file)) out[n++] = masks[k]->file;
    }
    return n;
}

/* --- pictures --- */

static size_t longest(size_t width, size_t height) {
    return width > height ? width : height;
}

size_t app_style_size(
    const imp_style_options *o, size_t painted, size_t *width, size_t *height) {
    double scale = o->style_scale > 0 ? o->style_scale : 1;
    size_t side = (size_t)floor((double)painted * scale + 0.5);
    if (o->style_size) side = o->style_size;
    imp_style_size(*width, *height, side < 1 ? 1 : side, width, height);
    return side;
}

static int fit(imp_ctx *ctx, imp_picture *picture, size_t width, size_t height) {
    imp_status status = imp_style_fit(ctx, picture, width, height);
    return status == IMP_OK ? 0 : app_fail(ctx, status);
}

static int load(imp_ctx *ctx, app_input *in) {
    int status = app_image_load(ctx, &in->picture, in->file, in->sha256);
    in->width = in->picture.width;
    in->height = in->picture.height;
    return status;
}

/* The painted picture is no larger than its content; one that takes no content from it is of
 * any size, and of W x H as they are. */
static int load_content(
    imp_ctx *ctx, app_input *in, imp_style_options *o, app_box box) {
    int status = load(ctx, in);
    if (status) return status;
    size_t width = in->width, height = in->height;
    bool free_size = o->content_weight <= 0 && box.width > 0;
    if (free_size) {
        app_box_fill(box, &width, &height);
        if (box.height) width = box.width, height = box.height;
        o->size = longest(width, height);
        status = app_image_check_limits("--size", width, height);
        if (status) return status;
    } else if (box.width) {
        o->size = app_box_longest(box, width, height);
    }
    if (!free_size) {
        imp_style_size(width, height, o->size, &width, &height);
        if (box.width && o->size > longest(width, height))
            app_note("%s: painted at %zu x %zu, its own size; --output-size enlarges",
                in->file, width, height);
    }
    return fit(ctx, &in->picture, width, height);
}

/* White all over, or a mask no larger than the picture that it is stretched over. */
static int load_mask(imp_ctx *ctx, app_input *mask, const imp_picture *over) {
    if (!mask->file) return 0;
    if (is_whole(mask->file)) {
        imp_status made = imp_picture_new(ctx, &mask->picture, 1, 1);
        if (made != IMP_OK) return app_fail(ctx, made);
        for (size_t c = 0; c < 3; c++) mask->picture.planes[c] = 255.0f;
        return 0;
    }
    int status = load(ctx, mask);
    if (status || mask->width * mask->height <= over->width * over->height)
        return status;
    return fit(ctx, &mask->picture, over->width, over->height);
}

static int load_style(
    imp_ctx *ctx, app_inputs *in, size_t i, const imp_style_options *o) {
    const imp_picture *content = &in->content.picture;
    app_input *style = &in->styles[i];
    int status = load(ctx, style);
    if (status) return status;
    size_t width = style->width, height = style->height;
    size_t asked =
        app_style_size(o, longest(content->width, content->height), &width, &height);
    if ((o->style_size || o->style_scale > 1) && asked > longest(width, height))
        app_note(
            "%s: looked at at %zu x %zu, its own size", style->file, width, height);
    status = fit(ctx, &style->picture, width, height);
    if (!status) status = load_mask(ctx, &in->masks[i], &style->picture);
    return status ? status : load_mask(ctx, &in->content_masks[i], content);
}

static imp_style_source source_of(const app_inputs *in, size_t i) {
    const app_input *over = &in->content_masks[i], *mask = &in->masks[i];
    return (imp_style_source){.picture = &in->styles[i].picture,
        .weight = in->weights[i],
        .content_mask = over->file ? &over->picture : NULL,
        .mask = mask->file ? &mask->picture : NULL};
}

int app_inputs_load(imp_ctx *ctx, app_inputs *in, imp_style_options *o, app_box box) {
    int status = load_content(ctx, &in->content, o, box);
    for (size_t i = 0; !status && i < in->n_styles; i++) {
        if (in->weights[i] > 0) status = load_style(ctx, in, i, o);
        in->sources[i] = source_of(in, i);
    }
    if (status || !in->start.file) return status;
    status = load(ctx, &in->start);
    const imp_picture *content = &in->content.picture;
    return status ? status
                  : fit(ctx, &in->start.picture, content->width, content->height);
}

void app_inputs_free(app_inputs *in) {
    imp_picture_free(&in->content.picture);
    imp_picture_free(&in->start.picture);
    for (size_t i = 0; i < in->n_styles; i++) {
        imp_picture_free(&in->styles[i].picture);
        imp_picture_free(&in->content_masks[i].picture);
        imp_picture_free(&in->masks[i].picture);
    }
}
