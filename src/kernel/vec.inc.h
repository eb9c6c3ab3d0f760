/* SPDX-License-Identifier: MIT
 *
 * vec.inc.h: vector work, written once in plain C and compiled at every level: LEVEL(name)
 * gives the function its suffix, the file that includes this one its flags. Loops over 16
 * lanes and no contraction: every level gives the same bits. Vectors by hand where the result
 * may lie where an operand does: a compiler would take that for an overlap.
 */
#include "kernel/levels.h"
#include "kernel/simd.h"

#include <math.h>

#define LANES 16

void LEVEL(imp_relu)(size_t n, const float *x, float *y, uint16_t *mask) {
    for (size_t i = 0; i < n; i += LANES) {
        if (mask) mask[i / LANES] = (uint16_t)positive16(x + i);
        for (size_t l = 0; l < LANES; l += VF)
            vf_store(y + i + l, vf_relu(vf_load(x + i + l)));
    }
}

void LEVEL(imp_mask)(
    size_t n, const float *dy, const uint16_t *mask, float *dx, bool add) {
    for (size_t i = 0; i < n; i += LANES) {
        if (!add) {
            masked16(dy + i, mask[i / LANES], dx + i);
            continue;
        }
        float v[LANES];
        masked16(dy + i, mask[i / LANES], v);
        for (size_t l = 0; l < LANES; l++) dx[i + l] += v[l];
    }
}

void LEVEL(imp_max2)(size_t n, const float *top, const float *bottom, float *restrict y,
    uint8_t *restrict position) {
    for (size_t j = 0; j < n; j++, top += 2 * LANES, bottom += 2 * LANES, y += LANES) {
        int32_t at[LANES];
        for (size_t l = 0; l < LANES; l++) {
            float a = top[l], b = top[LANES + l], c = bottom[l], d = bottom[LANES + l];
            int32_t right = b > a, right2 = d > c;
            float upper = right ? b : a, lower = right2 ? d : c;
            at[l] = lower > upper ? 2 + right2 : right;
            y[l] = lower > upper ? lower : upper;
        }
        for (size_t l = 0; position && l < LANES; l++)
            position[j * LANES + l] = (uint8_t)at[l];
    }
}

void LEVEL(imp_unmax2)(size_t n, const float *dy, const uint8_t *position, unsigned row,
    float *restrict dx, bool add) {
    for (size_t j = 0; j < n; j++, dy += LANES, position += LANES)
        for (unsigned k = 0; k < 2; k++, dx += LANES) {
            unsigned bits = equal16(position, (uint8_t)(2 * row + k));
            if (!add) {
                masked16(dy, bits, dx);
                continue;
            }
            float v[LANES];
            masked16(dy, bits, v);
            for (size_t l = 0; l < LANES; l++) dx[l] += v[l];
        }
}

void LEVEL(imp_add)(size_t n, const float *a, const float *b, float *y) {
    for (size_t i = 0; i < n; i += VF) vf_store(y + i, vf_load(a + i) + vf_load(b + i));
}

void LEVEL(imp_axpy)(
    size_t n, float alpha, const float *restrict x, float *restrict y) {
    for (size_t i = 0; i < n; i++) y[i] += alpha * x[i];
}

void LEVEL(imp_scale)(size_t n, float alpha, const float *x, float *y) {
    vf factor = vf_set(alpha);
    for (size_t i = 0; i < n; i += VF) vf_store(y + i, factor * vf_load(x + i));
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

void LEVEL(imp_difference)(
    size_t n, float alpha, const float *a, const float *b, float *dx, bool add) {
    vf factor = vf_set(alpha);
    for (size_t i = 0; i < n; i += VF) {
        vf d = factor * (vf_load(a + i) - vf_load(b + i));
        if (add) d = vf_load(dx + i) + d;
        vf_store(dx + i, d);
    }
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
