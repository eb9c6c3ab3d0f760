/* SPDX-License-Identifier: MIT
 *
 * preview.c: at most a twentieth of the time.
 */
#include "preview.h"

#include <math.h>

#include "image_vips.h"
#include "options.h"
#include "report.h"

static int write_now(imp_ctx *ctx, const imp_style *job, const char *path) {
    static const app_image_how how = {.quality = APP_ABSENT};
    imp_picture picture;
    imp_status status = imp_style_picture(job, &picture);
    if (status != IMP_OK) return app_fail(ctx, status);
    int saved = app_image_save(ctx, &picture, path, true, &how);
    imp_picture_free(&picture);
    return saved;
}

void app_preview_show(app_preview *preview, imp_ctx *ctx, const imp_style *job,
    const imp_style_progress *at) {
    double now = app_seconds();
    if (!preview->path || (now < preview->next && at->scale == preview->scale)) return;
    preview->scale = at->scale;
    if (write_now(ctx, job, preview->path)) {
        app_note("%s: no more previews", preview->path);
        preview->path = NULL;
        return;
    }
    double end = app_seconds();
    preview->next = end + fmax(1, 20 * (end - now));
}
