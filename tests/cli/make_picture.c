/* SPDX-License-Identifier: MIT
 *
 * make_picture.c: test pictures for tests/cli/run.
 *
 *     make_picture KIND WIDTH HEIGHT FILE
 *
 * Red rises to the right, green downwards, blue is 64. KIND: rgb; rgb16; grey; grey16;
 * alpha (red 255, alpha falls from 255 to 0 downwards); cmyk; float; turned (EXIF
 * orientation 6: to be turned clockwise); p3, srgb (with that ICC profile); pages
 * (two).
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

static double value(const char *kind, int x, int y, int c, int width, int height) {
    double right = width > 1 ? 255.0 * x / (width - 1) : 0;
    double down = height > 1 ? 255.0 * y / (height - 1) : 0;
    if (strcmp(kind, "alpha") == 0) return c == 0 ? 255 : c == 3 ? 255 - down : 0;
    if (strcmp(kind, "cmyk") == 0) return c == 0 ? right : c == 1 ? down : 0;
    return c == 0 ? right : c == 1 ? down : 64;
}

static VipsImage *gradient(const char *kind, int width, int height) {
    int bands = strncmp(kind, "grey", 4) == 0 ? 1 : 3;
    if (strcmp(kind, "alpha") == 0 || strcmp(kind, "cmyk") == 0) bands = 4;
    size_t count = (size_t)width * (size_t)height * (size_t)bands;
    float *pixels = malloc(count * sizeof *pixels), *at = pixels;
    if (!pixels) vips_error_exit("no memory");
    double scale = strstr(kind, "16") ? 257 : 1;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < bands; c++)
                *at++ = (float)(value(kind, x, y, c, width, height) * scale);
    VipsImage *image = vips_image_new_from_memory_copy(
        pixels, count * sizeof *pixels, width, height, bands, VIPS_FORMAT_FLOAT);
    free(pixels);
    return image;
}

int main(int argc, char **argv) {
    if (argc != 5 || vips_init(argv[0])) return 2;
    const char *kind = argv[1];
    int width = atoi(argv[2]), height = atoi(argv[3]);
    VipsImage *image = gradient(kind, width, height), *out = NULL;
    bool wide = strstr(kind, "16") != NULL, grey = strncmp(kind, "grey", 4) == 0;
    VipsBandFormat format = wide ? VIPS_FORMAT_USHORT : VIPS_FORMAT_UCHAR;
    if (strcmp(kind, "float") == 0) format = VIPS_FORMAT_FLOAT;
    if (!image || vips_rint(image, &out, NULL)) vips_error_exit(NULL);
    if (format == VIPS_FORMAT_FLOAT) out = image;
    if (vips_cast(out, &image, format, NULL)) vips_error_exit(NULL);
    VipsInterpretation type =
        wide ? VIPS_INTERPRETATION_RGB16 : VIPS_INTERPRETATION_sRGB;
    if (grey) type = wide ? VIPS_INTERPRETATION_GREY16 : VIPS_INTERPRETATION_B_W;
    if (strcmp(kind, "cmyk") == 0) type = VIPS_INTERPRETATION_CMYK;
    if (strcmp(kind, "float") == 0) type = VIPS_INTERPRETATION_MULTIBAND;
    if (vips_copy(image, &out, "interpretation", type, NULL)) vips_error_exit(NULL);
    if (strcmp(kind, "turned") == 0) vips_image_set_int(out, VIPS_META_ORIENTATION, 6);
    bool profile = strcmp(kind, "p3") == 0 || strcmp(kind, "srgb") == 0;
    if (profile) { /* the numbers stay, their meaning changes */
        VipsBlob *blob;
        if (vips_profile_load(kind, &blob, NULL)) vips_error_exit(NULL);
        size_t size;
        const void *data = vips_blob_get(blob, &size);
        vips_image_set_blob_copy(out, VIPS_META_ICC_NAME, data, size);
    }
    if (strcmp(kind, "pages") == 0) {
        if (vips_replicate(out, &image, 1, 2, NULL)) vips_error_exit(NULL);
        if (vips_copy(image, &out, NULL)) vips_error_exit(NULL);
        vips_image_set_int(out, VIPS_META_PAGE_HEIGHT, height);
    }
    if (vips_image_write_to_file(out, argv[4], NULL)) vips_error_exit(NULL);
    return 0;
}
