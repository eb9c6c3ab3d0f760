/* SPDX-License-Identifier: MIT
 *
 * pictures.c: pictures of any size to a data set of the size that a network learns from.
 */
#include "train/train.h"

#include <stdlib.h>
#include <string.h>

static imp_status to_planes(imp_ctx *ctx, const imp_photo *photo, imp_picture *out) {
    imp_status s = imp_picture_new(ctx, out, photo->width, photo->height);
    size_t pixels = photo->width * photo->height;
    for (size_t i = 0; i < pixels && !s; i++)
        for (size_t c = 0; c < 3; c++)
            out->planes[c * pixels + i] = (float)photo->rgb[3 * i + c];
    return s;
}

/* A picture as the network sees it and what lies around that; rgb: room for it. */
static imp_status take_picture(imp_ctx *ctx, imp_dataset *set, const imp_model *m,
    const imp_photos *photos, size_t i, size_t label, float *rgb) {
    size_t side = imp_dataset_height(set), count = 3 * side * side;
    imp_photo photo = {0};
    imp_picture picture = {0};
    if (!photos->read(photos->user, i, &photo) || !photo.rgb || !photo.width ||
        !photo.height)
        return imp_fail(ctx, IMP_ERR_DATA, "picture %zu: cannot be read", i);
    imp_status s = to_planes(ctx, &photo, &picture);
    if (!s)
        s = imp_fit_picture(
            ctx, &picture, m->info.input.fit, m->info.input.size, side, rgb);
    imp_picture_free(&picture);
    if (s) return s;
    uint8_t *bytes = malloc(count);
    if (!bytes) return imp_fail(ctx, IMP_ERR_LIMIT, "data set: no memory");
    for (size_t k = 0; k < count; k++) bytes[k] = (uint8_t)(rgb[k] + 0.5f);
    s = imp_dataset_put(ctx, set, i, label, bytes);
    free(bytes);
    return s;
}

imp_status imp_dataset_from_photos(imp_ctx *ctx, imp_dataset **out,
    const imp_model *model, const imp_photos *photos, const size_t *labels) {
    const imp_input_spec *in = &model->info.input;
    size_t side = in->fit == IMP_FIT_CROP ? imp_crop_side(in->size) : in->size;
    *out = NULL;
    if (model->info.classes == 0 || in->channels != 3)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "model %s: expected a classifier of pictures of 3 channels, found %zu "
            "classes of %zu",
            model->architecture, model->info.classes, in->channels);
    imp_status s =
        imp_dataset_new(ctx, out, photos->count, 3, side, side, model->info.classes);
    if (s) return s;
    float *rgb = malloc(3 * side * side * sizeof *rgb);
    if (!rgb) s = imp_fail(ctx, IMP_ERR_LIMIT, "data set: no memory");
    for (size_t i = 0; i < photos->count && !s; i++)
        s = take_picture(ctx, *out, model, photos, i, labels[i], rgb);
    free(rgb);
    if (!s) return IMP_OK;
    imp_dataset_free(*out);
    *out = NULL;
    return s;
}
