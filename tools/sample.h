/* SPDX-License-Identifier: MIT
 *
 * sample.h: what sample_photo.c and sample_painting.c share: vectors, noise from
 * integer hashes (the same picture on every run), and writing the result through
 * libvips.
 */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <vips/vips.h>

/* A point, or red, green, blue in linear light, 1 white; a fourth number for nothing.
 */
typedef double vec __attribute__((vector_size(32)));

static inline vec v3(double x, double y, double z) {
    return (vec){x, y, z, 0};
}
static inline double dot(vec a, vec b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}
static inline vec cross(vec a, vec b) {
    return v3(a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0]);
}
static inline vec unit(vec a) {
    return a / sqrt(dot(a, a));
}
static inline vec mix(vec a, vec b, double t) {
    return a * (1 - t) + b * t;
}
/* 0xRRGGBB as a painter names it, to linear light. */
static inline vec colour(unsigned rgb) {
    return v3(pow((rgb >> 16 & 255) / 255.0, 2.2), pow((rgb >> 8 & 255) / 255.0, 2.2),
        pow((rgb & 255) / 255.0, 2.2));
}
static inline double clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}
static inline double smooth(double from, double to, double x) {
    double t = clamp((x - from) / (to - from), 0, 1);
    return t * t * (3 - 2 * t);
}

/* A well-mixed integer of three (the finaliser of splitmix64), and it as a number 0..1.
 */
static inline uint64_t hash(int64_t a, int64_t b, int64_t c) {
    uint64_t z = (uint64_t)a * 0x9e3779b97f4a7c15u ^ (uint64_t)b * 0xc2b2ae3d27d4eb4fu ^
                 (uint64_t)c * 0x165667b19e3779f9u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static inline double chance(int64_t a, int64_t b, int64_t c) {
    return (double)(hash(a, b, c) >> 11) * 0x1p-53;
}

/* A stream of numbers 0..1. */
typedef struct dice {
    uint64_t state;
} dice;
static inline double roll(dice *d) {
    return chance((int64_t)(d->state += 0x9e3779b97f4a7c15u), 1, 2);
}

/* Value noise 0..1 with smooth steps between the whole numbers, and octaves of it. */
static inline double noise(double x, double y, double z) {
    double fx = floor(x), fy = floor(y), fz = floor(z), corner[2][2];
    int64_t i = (int64_t)fx, j = (int64_t)fy, k = (int64_t)fz;
    x -= fx, y -= fy, z -= fz;
    x *= x * (3 - 2 * x), y *= y * (3 - 2 * y), z *= z * (3 - 2 * z);
    for (int b = 0; b < 2; b++)
        for (int c = 0; c < 2; c++) {
            double left = chance(i, j + b, k + c), right = chance(i + 1, j + b, k + c);
            corner[b][c] = left + (right - left) * x;
        }
    double low = corner[0][0] + (corner[1][0] - corner[0][0]) * y;
    double high = corner[0][1] + (corner[1][1] - corner[0][1]) * y;
    return low + (high - low) * z;
}
static inline double octaves(double x, double y, double z, int count) {
    double sum = 0, size = 0.5, total = 0;
    for (int o = 0; o < count; o++, size *= 0.5) {
        sum += size * noise(x, y, z), total += size;
        double turned = 1.6 * x + 1.2 * y; /* each octave twice as fine, and turned */
        y = 1.6 * y - 1.2 * x + 17.3, x = turned + 5.1, z = 2.03 * z + 9.7;
    }
    return sum / total;
}

/* Write width x height pixels of linear light, by the ending of path, with options of
 * libvips after it. */
static inline int save(const char *path, const vec *pixels, int width, int height) {
    size_t count = (size_t)width * (size_t)height;
    unsigned char *bytes = malloc(count * 3);
    if (!bytes) return 1;
    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < 3; c++)
            bytes[3 * i + c] =
                (unsigned char)lrint(255 * pow(clamp(pixels[i][c], 0, 1), 1 / 2.2));
    }
    VipsImage *image = vips_image_new_from_memory(
        bytes, count * 3, width, height, 3, VIPS_FORMAT_UCHAR);
    int failed = !image || vips_image_write_to_file(image, path, NULL);
    if (failed) fprintf(stderr, "%s: %s", path, vips_error_buffer());
    if (image) g_object_unref(image);
    free(bytes);
    return failed;
}

#endif
