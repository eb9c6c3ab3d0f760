/* SPDX-License-Identifier: MIT
 *
 * levels.h: declares every kernel of every level.
 */
#ifndef IMP_LEVELS_H
#define IMP_LEVELS_H

#include "kernel/kernel.h"

#define IMP_DECLARE_LEVEL(level)                                                       \
    void imp_gemm_##level(const imp_gemm_tile *t);                                     \
    void imp_outer_##level(size_t count, const float *a, size_t a_step,                \
        const float *b, size_t b_step, const float *next, float *g, bool add);         \
    void imp_correlate_##level(const imp_correlation *s);                              \
    void imp_narrow_gradient_##level(const imp_narrow_gradient *n);                    \
    void imp_direct_##level(const imp_direct *d);                                      \
    void imp_winograd_input5_##level(const imp_winograd_input *job);                   \
    void imp_winograd_input4_##level(const imp_winograd_input *job);                   \
    void imp_winograd_input6_##level(const imp_winograd_input *job);                   \
    void imp_winograd_input8_##level(const imp_winograd_input *job);                   \
    void imp_winograd_weights5_##level(const imp_winograd_weights *job);               \
    void imp_winograd_weights4_##level(const imp_winograd_weights *job);               \
    void imp_winograd_weights6_##level(const imp_winograd_weights *job);               \
    void imp_winograd_weights8_##level(const imp_winograd_weights *job);               \
    void imp_winograd_output5_##level(const imp_winograd_output *job);                 \
    void imp_winograd_output4_##level(const imp_winograd_output *job);                 \
    void imp_winograd_output6_##level(const imp_winograd_output *job);                 \
    void imp_winograd_output8_##level(const imp_winograd_output *job);                 \
    void imp_winograd_gradient5_##level(const imp_winograd_input *job);                \
    void imp_winograd_gradient4_##level(const imp_winograd_input *job);                \
    void imp_winograd_fold5_##level(const imp_winograd_fold *job);                     \
    void imp_winograd_fold4_##level(const imp_winograd_fold *job);                     \
    void imp_relu_##level(size_t n, const float *x, float *y, uint16_t *mask);         \
    void imp_mask_##level(                                                             \
        size_t n, const float *dy, const uint16_t *mask, float *dx, bool add);         \
    void imp_max2_##level(                                                             \
        size_t n, const float *top, const float *bottom, float *y, uint8_t *position); \
    void imp_unmax2_##level(size_t n, const float *dy, const uint8_t *position,        \
        unsigned row, float *dx, bool add);                                            \
    void imp_add_##level(size_t n, const float *a, const float *b, float *y);          \
    void imp_axpy_##level(size_t n, float alpha, const float *x, float *y);            \
    void imp_scale_##level(size_t n, float alpha, const float *x, float *y);           \
    double imp_dot_##level(size_t n, const float *a, const float *b);                  \
    double imp_distance_##level(size_t n, const float *a, const float *b);             \
    void imp_difference_##level(                                                       \
        size_t n, float alpha, const float *a, const float *b, float *dx, bool add);   \
    void imp_sgd_##level(                                                              \
        size_t n, float *x, float *v, const float *g, float rate, float momentum);     \
    void imp_adam_##level(size_t n, float *x, float *m, float *v, const float *g,      \
        float rate, float b1, float b2, float eps, float c1, float c2);

IMP_DECLARE_LEVEL(generic)
IMP_DECLARE_LEVEL(avx2)
IMP_DECLARE_LEVEL(avx512)

#endif
