/* SPDX-License-Identifier: MIT
 *
 * precondition.c: larger steps for what is larger. Of a picture, the style's loss bends least
 * along what changes slowly from place to place, planes of colour and long strokes, and most
 * along what changes from pixel to pixel: without a hint L-BFGS spends its first steps on
 * grain. The hint, M of lbfgs.c, multiplies each octave of wavelengths by `gain` more than the
 * one below it:
 *
 *     y   = x + sum over k = 1 .. OCTAVES of (gain^k - gain^(k - 1)) G_k x
 *     G_k = B_k G_(k-1), G_0 = I; B_k: (1 4 6 4 1)/16 along both axes, 2^(k-1) pixels apart,
 *           the picture mirrored at its edges
 *         = sum over k < OCTAVES of gain^k (G_k - G_(k+1)) x + gain^OCTAVES G_OCTAVES x
 *
 * The "a trous" algorithm (Holschneider et al. 1989; Starck & Murtagh 1994). Mirroring with the
 * outermost pixel twice makes every B_k symmetric and lets them commute (cosines are their
 * eigenvectors, with cos^4, never negative, for eigenvalues), so M is symmetric, and positive
 * definite for any gain of 1 or more.
 */
#include "style/style.h"

#include <math.h>
#include <string.h>

#define OCTAVES   4
#define TASK_ROWS 32

typedef struct blur_job {
    const imp_precondition *p;
    size_t gap;
    float share; /* of the blurred picture in y */
    const float *from;
    float *to, *y;
} blur_job;

/* Pixel number i of a row of n that is mirrored at both ends, again and again. */
static size_t mirrored(ptrdiff_t i, size_t n) {
    ptrdiff_t period = 2 * (ptrdiff_t)n;
    i = (i % period + period) % period;
    return i < (ptrdiff_t)n ? (size_t)i : (size_t)(period - 1 - i);
}

static float binomial(float a, float b, float c, float d, float e) {
    return 0.0625f * (a + e + 4.0f * (b + d) + 6.0f * c);
}

/* to = the columns of from, blurred: rows [first, end) of all planes, one below the other. */
static void blur_columns(const blur_job *j, size_t first, size_t end) {
    size_t h = j->p->height, w = j->p->width;
    for (size_t r = first; r < end; r++) {
        const float *plane = j->from + r / h * h * w, *tap[5];
        float *to = j->to + r * w;
        for (ptrdiff_t t = -2; t <= 2; t++)
            tap[t + 2] =
                plane + w * mirrored((ptrdiff_t)(r % h) + t * (ptrdiff_t)j->gap, h);
        for (size_t x = 0; x < w; x++)
            to[x] = binomial(tap[0][x], tap[1][x], tap[2][x], tap[3][x], tap[4][x]);
    }
}

static float blur_edge(const float *row, size_t x, size_t gap, size_t w) {
    float tap[5];
    for (ptrdiff_t t = -2; t <= 2; t++)
        tap[t + 2] = row[mirrored((ptrdiff_t)x + t * (ptrdiff_t)gap, w)];
    return binomial(tap[0], tap[1], tap[2], tap[3], tap[4]);
}

/* to = the rows of from, blurred, and their share added to y. */
static void blur_rows(const blur_job *j, size_t first, size_t end) {
    size_t w = j->p->width, g = j->gap, edge = 2 * g < w ? 2 * g : w;
    for (size_t r = first; r < end; r++) {
        const float *row = j->from + r * w;
        float *to = j->to + r * w, *y = j->y + r * w;
        for (size_t x = 0; x < edge; x++) to[x] = blur_edge(row, x, g, w);
        for (size_t x = edge; x + edge < w; x++)
            to[x] = binomial(
                row[x - 2 * g], row[x - g], row[x], row[x + g], row[x + 2 * g]);
        for (size_t x = w - edge < edge ? edge : w - edge; x < w; x++)
            to[x] = blur_edge(row, x, g, w);
        for (size_t x = 0; x < w; x++) y[x] += j->share * to[x];
    }
}

static void columns_task(void *arg, size_t task, int thread) {
    (void)thread;
    const blur_job *j = arg;
    blur_columns(
        j, task * TASK_ROWS, imp_least((task + 1) * TASK_ROWS, 3 * j->p->height));
}

static void rows_task(void *arg, size_t task, int thread) {
    (void)thread;
    const blur_job *j = arg;
    blur_rows(j, task * TASK_ROWS, imp_least((task + 1) * TASK_ROWS, 3 * j->p->height));
}

imp_status imp_precondition_init(
    imp_ctx *ctx, imp_precondition *p, size_t width, size_t height, double gain) {
    size_t bytes = 3 * width * height * sizeof(float);
    *p = (imp_precondition){.ctx = ctx, .width = width, .height = height, .gain = gain};
    p->smooth = imp_alloc(bytes);
    p->columns = imp_alloc(bytes);
    if (p->smooth && p->columns) return IMP_OK;
    imp_precondition_free(p);
    return imp_fail(ctx, IMP_ERR_LIMIT, "style: no memory");
}

void imp_precondition_free(imp_precondition *p) {
    imp_release(p->smooth);
    imp_release(p->columns);
    p->smooth = p->columns = NULL;
}

void imp_precondition_apply(void *user, const float *x, float *y) {
    const imp_precondition *p = user;
    size_t rows = 3 * p->height, tasks = imp_divide_up(rows, TASK_ROWS);
    memcpy(y, x, rows * p->width * sizeof *y);
    for (int k = 1; k <= OCTAVES; k++) {
        size_t gap = (size_t)1 << (k - 1);
        double share = pow(p->gain, k) - pow(p->gain, k - 1);
        blur_job columns = {p, gap, 0, k == 1 ? x : p->smooth, p->columns, NULL};
        blur_job along = {p, gap, (float)share, p->columns, p->smooth, y};
        imp_parallel(p->ctx, tasks, columns_task, &columns);
        imp_parallel(p->ctx, tasks, rows_task, &along);
    }
}
