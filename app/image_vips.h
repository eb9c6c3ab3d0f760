/* SPDX-License-Identifier: MIT
 *
 * image_vips.h: files of pictures to planes of numbers and back. The one file behind it
 * is the only one that knows libvips.
 */
#ifndef APP_IMAGE_VIPS_H
#define APP_IMAGE_VIPS_H

#include "impasto/impasto.h"

enum { APP_MAX_SIDE = 16384, APP_MAX_PIXELS = 100000000 };

/* Read a JPEG, PNG, WebP or TIFF: turned by its EXIF orientation, colours to sRGB by
 * its ICC profile, grey and CMYK to RGB, 16 bits kept, transparency laid on white, the
 * first page; what was done is said in one note. An 8-bit sRGB file gives exactly its
 * integers. The size is checked from the header, before anything is decoded. [out] out:
 * imp_picture_free. Returns the exit status, said: 3 for a file that is missing,
 * damaged, truncated or of another kind, 6 for one too large. */
int app_image_load(imp_ctx *ctx, imp_picture *out, const char *path);

/* May a picture be written under this name? By its ending: .png .jpg .jpeg .webp .tif
 * .tiff. Returns the exit status, said: 2. To be asked before the work. */
int app_image_check_name(const char *path);

/* Write the picture, rounded to the nearest of 0..255, whole or not at all. */
int app_image_save(
    imp_ctx *ctx, const imp_picture *picture, const char *path, bool overwrite);

/* SHA-256 of the planes as little-endian float32, in hexadecimal. */
void app_image_sha256(const imp_picture *picture, char out[65]);

#endif
