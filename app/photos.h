/* SPDX-License-Identifier: MIT
 *
 * photos.h: the pictures of some folders, decoded and kept in memory: what a training job
 * draws its crops from.
 */
#ifndef APP_PHOTOS_H
#define APP_PHOTOS_H

#include "impasto/train.h"
#include "options.h"

typedef struct app_photos {
    size_t n;
    imp_photo *photos;
    imp_photos source; /* of these; its user is this struct, which may not move */
} app_photos;

/* Read the pictures of each folder, in the order of their names; larger ones are brought to a
 * longest side of 1024. Returns the exit status, said; to be freed in any case. */
int app_photos_load(imp_ctx *ctx, app_photos *p, const app_names *folders);
void app_photos_free(app_photos *p);

/* One picture as bytes, of its own size; out->rgb is to be freed with free. Returns the exit
 * status, said. */
int app_photo_load(imp_ctx *ctx, const char *path, imp_photo *out);

#endif
