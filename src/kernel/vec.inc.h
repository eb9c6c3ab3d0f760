/* SPDX-License-Identifier: MIT
 *
 * vec.inc.h: vector work, written once in plain C and compiled at every level: LEVEL(name)
 * gives the function its suffix, the file that includes this one its flags. Loops over 16
 * lanes and no contraction: every level gives the same bits.
 */
#include "kernel/levels.h"

#include <math.h>

#define LANES 16

void LEVEL(imp_relu)(size_t n, const float *x, float *y, uint16_t *mask) {
    for (size_t i = 0; i < n; i += LANES) {
        unsigned bits = 0;
        for (unsigned l = 0; l < LANES; l++) {
            float v = x[i + l];
            bits |= (unsigned)(v > 0.0f) << l;
            y[i + l] = 0.0f > v ? 0.0f : v; /* NaN passes: a loss must show it */
        }
        if (mask) mask[i / LANES] = (uint16_t)bits;
    }
}

void LEVEL(imp_mask)(
    size_t n, const float *dy, const uint16_t *mask, float *dx, bool add) {
    for (size_t i = 0; i < n; i += LANES) {
        unsigned bits = mask[i / LANES];
        for (unsigned l = 0; l < LANES; l++) {
            float v = bits >> l & 1u ? dy[i + l] : 0.0f;
            dx[i + l] = add ? dx[i + l] + v : v;
        }
    }
}

void LEVEL(imp_add)(size_t n, const float *a, const float *b, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

void LEVEL(imp_axpy)(
    size_t n, float alpha, const float *restrict x, float *restrict y) {
    for (size_t i = 0; i < n; i++) y[i] += alpha * x[i];
}

void LEVEL(imp_scale)(size_t n, float alpha, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = alpha * x[i];
}

/* lanes[16] to one number: pairs, then pairs of pairs. */
static double tree(const double *lanes) {
    double s[LANES];
    for (int l = 0; l < LANES; l++) s[l] = lanes[l];
    for (int width = LANES / 2; width; width /= 2)
        for (int l = 0; l < width; l++) s[l] += s[l + width];
    return s[0];
}

double LEVEL(imp_dot)(size_t n, const float *a, const float *b) {
    double lanes[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += (double)a[i + l] * (double)b[i + l];
    return tree(lanes);
}

double LEVEL(imp_distance)(size_t n, const float *a, const float *b) {
    double lanes[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            double d = (double)a[i + l] - (double)b[i + l];
            lanes[l] += d * d;
        }
    return tree(lanes);
}

void LEVEL(imp_difference)(size_t n, float alpha, const float *a, const float *b,
    float *restrict dx, bool add) {
    if (add)
        for (size_t i = 0; i < n; i++) dx[i] += alpha * (a[i] - b[i]);
    else
        for (size_t i = 0; i < n; i++) dx[i] = alpha * (a[i] - b[i]);
}

void LEVEL(imp_sgd)(size_t n, float *restrict x, float *restrict v,
    const float *restrict g, float rate, float momentum) {
    for (size_t i = 0; i < n; i++) {
        v[i] = momentum * v[i] + g[i];
        x[i] -= rate * v[i];
    }
}

void LEVEL(imp_adam)(size_t n, float *restrict x, float *restrict m, float *restrict v,
    const float *restrict g, float rate, float b1, float b2, float eps, float c1,
    float c2) {
    for (size_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + (1.0f - b1) * g[i];
        v[i] = b2 * v[i] + (1.0f - b2) * (g[i] * g[i]);
        x[i] -= rate * (c1 * m[i]) / (sqrtf(c2 * v[i]) + eps);
    }
}
