/* SPDX-License-Identifier: MIT
 *
 * colors.c: whose colours the painted picture has (Gatys et al. 2016, "Preserving color in
 * neural artistic style transfer"). Luminance and chroma are those of ITU-R BT.601, full
 * range:
 *
 *     Y = 0.299 R + 0.587 G + 0.114 B,  Cb = (B - Y) / 1.772,  Cr = (R - Y) / 1.402
 *
 * so that a pixel is its Y plus three numbers that depend on its chroma alone.
 */
#include <math.h>
#include <string.h>

#include "op/op.h"
#include "style/style.h"

static float luma(const float *planes, size_t count, size_t i) {
    return 0.299f * planes[i] + 0.587f * planes[count + i] +
           0.114f * planes[2 * count + i];
}

static float clamp(float x) {
    return x < 0.0f ? 0.0f : x > 255.0f ? 255.0f : x;
}

void imp_colors_to_grey(float *planes, size_t count) {
    for (size_t i = 0; i < count; i++)
        planes[i] = planes[count + i] = planes[2 * count + i] = luma(planes, count, i);
}

static void moments(const float *x, size_t count, double *mean, double *deviation) {
    double sum = 0, square = 0;
    for (size_t i = 0; i < count; i++) sum += (double)x[i];
    *mean = sum / (double)count;
    for (size_t i = 0; i < count; i++)
        square += ((double)x[i] - *mean) * ((double)x[i] - *mean);
    *deviation = sqrt(square / (double)count);
}

void imp_colors_match_grey(
    float *style, size_t count, const float *content, size_t content_count) {
    double m, d, to_m, to_d;
    moments(style, count, &m, &d);
    moments(content, content_count, &to_m, &to_d);
    double factor = d > 0 ? to_d / d : 1;
    for (size_t i = 0; i < 3 * count; i++)
        style[i] = clamp((float)(((double)style[i] - m) * factor + to_m));
}

/* --- colours as a Gaussian --- */

typedef struct gaussian {
    double mean[3], cov[9];
} gaussian;

static gaussian gaussian_of(const float *planes, size_t count) {
    gaussian g = {{0}, {0}};
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < count; i++) g.mean[k] += (double)planes[k * count + i];
        g.mean[k] /= (double)count;
    }
    for (size_t i = 0; i < count; i++)
        for (size_t a = 0; a < 3; a++)
            for (size_t b = 0; b < 3; b++)
                g.cov[3 * a + b] += ((double)planes[a * count + i] - g.mean[a]) *
                                    ((double)planes[b * count + i] - g.mean[b]);
    for (size_t k = 0; k < 9; k++) g.cov[k] /= (double)count;
    for (size_t k = 0; k < 3; k++)
        g.cov[4 * k] += 1e-3; /* a grey picture has no inverse */
    return g;
}

static void multiply(const double *a, const double *b, double *out) {
    double y[9];
    for (size_t i = 0; i < 9; i++)
        y[i] = a[i / 3 * 3] * b[i % 3] + a[i / 3 * 3 + 1] * b[3 + i % 3] +
               a[i / 3 * 3 + 2] * b[6 + i % 3];
    memcpy(out, y, sizeof y);
}

/* Of a symmetric matrix that has one. */
static void invert(const double *a, double *out) {
    double c[9];
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 3; j++) {
            size_t i1 = (i + 1) % 3, i2 = (i + 2) % 3, j1 = (j + 1) % 3,
                   j2 = (j + 2) % 3;
            c[3 * i + j] =
                a[3 * i1 + j1] * a[3 * i2 + j2] - a[3 * i1 + j2] * a[3 * i2 + j1];
        }
    double det = a[0] * c[0] + a[1] * c[1] + a[2] * c[2];
    for (size_t i = 0; i < 9; i++) out[i] = c[i] / det;
}

/* The map that moves one Gaussian to the other and moves colours the least (the optimal
 * transport of Gaussians): T = S^-1/2 (S^1/2 C S^1/2)^1/2 S^-1/2. */
static void transport(const gaussian *from, const gaussian *to, double *t) {
    double root[9], inverse[9], work[9 + 6];
    memcpy(root, from->cov, sizeof root);
    imp_matrix_root(3, root, work);
    invert(root, inverse);
    multiply(root, to->cov, t);
    multiply(t, root, t);
    imp_matrix_root(3, t, work);
    multiply(inverse, t, t);
    multiply(t, inverse, t);
}

void imp_colors_match(
    float *style, size_t count, const float *content, size_t content_count) {
    gaussian from = gaussian_of(style, count), to = gaussian_of(content, content_count);
    double t[9];
    transport(&from, &to, t);
    for (size_t i = 0; i < count; i++) {
        double d[3];
        for (size_t k = 0; k < 3; k++)
            d[k] = (double)style[k * count + i] - from.mean[k];
        for (size_t k = 0; k < 3; k++)
            style[k * count + i] =
                clamp((float)(to.mean[k] + t[3 * k] * d[0] + t[3 * k + 1] * d[1] +
                              t[3 * k + 2] * d[2]));
    }
}

void imp_colors_restore(float *painted, const float *content, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float y = luma(content, count, i), d[3], low = 0.0f, high = 255.0f;
        for (size_t k = 0; k < 3; k++) {
            d[k] = content[k * count + i] - y;
            if (low + d[k] < 0.0f) low = -d[k];
            if (high + d[k] > 255.0f) high = 255.0f - d[k];
        }
        for (size_t k = 0; k < 3; k++) /* as it would be seen */
            painted[k * count + i] = clamp(painted[k * count + i]);
        y = luma(painted, count, i);
        y = y > high ? high : y;
        y = y < low ? low : y;
        for (size_t k = 0; k < 3; k++) painted[k * count + i] = y + d[k];
    }
}
