/* SPDX-License-Identifier: MIT
 *
 * photos.c: folders of pictures to bytes in memory.
 */
#include "photos.h"

#include <stdlib.h>

#include "batch.h"
#include "image_vips.h"
#include "report.h"
#include "signals.h"

enum {
    LONGEST = 1024
}; /* features are learnt from crops: more shows no more of a picture */

static int no_memory(void) {
    app_error("no memory for the pictures");
    return IMP_ERR_LIMIT;
}

static int shrink(imp_ctx *ctx, imp_picture *picture) {
    size_t w = picture->width, h = picture->height, longest = w > h ? w : h;
    if (longest <= LONGEST) return 0;
    size_t width = (w * LONGEST + longest / 2) / longest;
    size_t height = (h * LONGEST + longest / 2) / longest;
    imp_picture small;
    imp_status s = imp_picture_new(ctx, &small, width ? width : 1, height ? height : 1);
    if (s != IMP_OK) return app_fail(ctx, s);
    s = imp_resize(ctx, small.planes, small.height, small.width, picture->planes, 3, h,
        w, IMP_LANCZOS);
    imp_picture_free(picture);
    *picture = small;
    return s == IMP_OK ? 0 : app_fail(ctx, s);
}

static int to_bytes(const imp_picture *picture, imp_photo *out) {
    size_t pixels = picture->width * picture->height;
    uint8_t *rgb = malloc(3 * pixels);
    if (!rgb) return no_memory();
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++) {
            float v = picture->planes[c * pixels + i] + 0.5f;
            rgb[3 * i + c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
    *out = (imp_photo){picture->width, picture->height, rgb};
    return 0;
}

int app_photo_load(imp_ctx *ctx, const char *path, imp_photo *out) {
    imp_picture picture = {0};
    int status = app_image_load(ctx, &picture, path, NULL);
    if (!status) status = to_bytes(&picture, out);
    imp_picture_free(&picture);
    return status;
}

static int load(imp_ctx *ctx, app_photos *p, const char *path) {
    imp_picture picture = {0};
    int status = app_image_load(ctx, &picture, path, NULL);
    if (!status) status = shrink(ctx, &picture);
    if (!status) status = to_bytes(&picture, &p->photos[p->n]);
    if (!status) p->n++;
    imp_picture_free(&picture);
    return status;
}

static int load_folder(imp_ctx *ctx, app_photos *p, const char *folder) {
    app_batch b;
    int status = app_batch_list(&b, folder, NULL);
    if (!status) {
        imp_photo *grown = realloc(p->photos, (p->n + b.n) * sizeof *grown);
        if (grown) p->photos = grown;
        if (!grown) status = no_memory();
    }
    for (size_t i = 0; !status && i < b.n; i++) {
        status = app_interrupted() ? APP_INTERRUPTED : load(ctx, p, b.contents[i]);
        if (!status && app_progress_wanted(i + 1 == b.n))
            app_progress("%s: %zu/%zu pictures", folder, i + 1, b.n);
    }
    app_batch_free(&b);
    return status;
}

static bool read_photo(void *user, size_t i, imp_photo *out) {
    *out = ((const app_photos *)user)->photos[i];
    return true;
}

int app_photos_load(imp_ctx *ctx, app_photos *p, const app_names *folders) {
    int status = 0;
    *p = (app_photos){.n = 0};
    for (size_t i = 0; !status && i < folders->n; i++)
        status = load_folder(ctx, p, folders->values[i]);
    p->source = (imp_photos){p->n, read_photo, p};
    return status;
}

void app_photos_free(app_photos *p) {
    for (size_t i = 0; i < p->n; i++) free((void *)(uintptr_t)p->photos[i].rgb);
    free(p->photos);
    *p = (app_photos){.n = 0};
}
