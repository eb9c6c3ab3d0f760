/* SPDX-License-Identifier: MIT
 *
 * image_vips.h: files of pictures to planes of numbers and back. The one file behind it
 * is the only one that knows libvips.
 */
#ifndef APP_IMAGE_VIPS_H
#define APP_IMAGE_VIPS_H

#include "impasto/impasto.h"

enum { APP_MAX_SIDE = 16384, APP_MAX_PIXELS = 100000000 };

#define APP_STANDARD "-" /* as a path: standard input, standard output */

/* Read a JPEG, PNG, WebP or TIFF: turned by its EXIF orientation, colours to sRGB by
 * its ICC profile, grey and CMYK to RGB, 16 bits kept, transparency laid on white, the
 * first page; what was done is said in one note. An 8-bit sRGB file gives exactly its
 * integers. The size is checked from the header, before anything is decoded. [out] out:
 * imp_picture_free; sha256: of the file's bytes, in hexadecimal; NULL: not wanted.
 * Returns the exit status, said: 3 for a file that is missing, damaged, truncated or of
 * another kind, 6 for one too large. */
int app_image_load(imp_ctx *ctx, imp_picture *out, const char *path, char sha256[65]);

/* Does a name end as those of pictures do? .png .jpg .jpeg .webp .tif .tiff */
bool app_image_is_name(const char *name);

/* The line of text that app_image_save put into a picture. *out: to be freed with free.
 * Returns the exit status, said: 3 where there is none. */
int app_image_read_text(const char *path, char **out);

/* Does the format of this name take that option, "quality" or "depth"? A name without an
 * ending of ours is a folder's, where pictures are PNG; NULL takes all. */
bool app_image_takes(const char *path, const char *option);

typedef struct app_image_how {
    size_t quality;   /* 1 .. 100, of JPEG and WebP; APP_ABSENT: 95 */
    int depth;        /* bits a channel: 8, or 16 of PNG and TIFF; 0: 8 */
    const char *text; /* a line of ASCII to keep in the picture, or NULL */
} app_image_how;

/* May a picture be written under this name in this way? By its ending; APP_STANDARD is
 * PNG. Returns the exit status, said: 2. To be asked before the work. */
int app_image_check_name(const char *path, const app_image_how *how);

/* Of this size? What app_image_load would refuse is not written either. path: a name that
 * is checked. Returns the exit status, said: 6. */
int app_image_check_size(const char *path, size_t width, size_t height);
/* The same of what is not a picture's name, but will be said. */
int app_image_check_limits(const char *name, size_t width, size_t height);

/* Write the picture, rounded to the nearest of 0..255 (or of 0..65535), as sRGB: to a
 * file, whole or not at all, or to a descriptor as PNG. */
int app_image_save(imp_ctx *ctx, const imp_picture *picture, const char *path,
    bool overwrite, const app_image_how *how);
int app_image_send(const imp_picture *picture, int fd, const app_image_how *how);

/* SHA-256 of the planes as little-endian float32, in hexadecimal. */
void app_image_sha256(const imp_picture *picture, char out[65]);

#endif
