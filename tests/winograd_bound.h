/* SPDX-License-Identifier: MIT
 *
 * winograd_bound.h: Winograd's matrices from their definition, and how far a convolution
 * that goes by them may be from the exact one. Include after cmocka.h.
 *
 * m outputs, each a sum of r products, are interpolated from n = m + r - 1 values of
 * polynomials, at the points p(0) .. p(n-2) and at infinity (Toom 1963, Cook 1966, in the
 * transposed form of Winograd 1980):
 *
 *     A'(i, j) = p(j)^i                                    at infinity 1 for i = m-1, else 0
 *     G(j, k)  = p(j)^k / prod over l != j of (p(j)-p(l))  at infinity 1 for k = r-1, else 0
 *     B'(j, .) = coefficients of prod over l != j of (x - p(l)), at infinity over all l
 *
 * Every number of B' d B is a sum of products; after r roundings on the longest way its
 * error is at most u r (|B'| |d| |B|), u = 2^-24, and so on through the other steps:
 *
 *     |y - fl(y)| <= u n |A'| [ sum over c of (|G| |g| |G'|) . (|B'| |d| |B|) ] |A|
 *
 * with n the sum of the roundings of each step, counted below without fused multiply-adds.
 */
#ifndef TESTS_WINOGRAD_BOUND_H
#define TESTS_WINOGRAD_BOUND_H

#include "op/winograd.h"
#include "op/winograd_dw.h"
#include "op_case.h"

#define SIDE_MOST 10 /* n at most */
#define XI_MOST   (SIDE_MOST * SIDE_MOST)
#define TILE_MOST 64 /* m m at most */

typedef struct matrix {
    size_t rows, columns;
    double at[SIDE_MOST][SIDE_MOST];
} matrix;

typedef struct winograd {
    size_t m, r, n;
    matrix bt, g, at; /* B', G, A' */
} winograd;

/* Coefficients of the product of (x - p) over the points without number `skip`. */
static inline void root_product(const double *p, size_t count, size_t skip, double *c) {
    size_t degree = 0;
    memset(c, 0, SIDE_MOST * sizeof *c);
    c[0] = 1;
    for (size_t l = 0; l < count; l++) {
        if (l == skip) continue;
        degree++;
        for (size_t i = degree; i > 0; i--) c[i] = c[i - 1] - p[l] * c[i];
        c[0] *= -p[l];
    }
}

static inline winograd winograd_of(size_t m, size_t r) {
    static const double four[] = {0, 0.6875, -0.6875, 1.375, -1.375};
    static const double six[] = {0, 1, -1, 2, -2, 0.5, -0.5};
    static const double eight[] = {
        0, 0.4375, -0.4375, 0.8125, -0.8125, 1.25, -1.25, 2.25, -2.25};
    size_t n = m + r - 1;
    const double *p = n == 6 ? four : n == 8 ? six : eight;
    winograd w = {m, r, n, {n, n, {{0}}}, {n, r, {{0}}}, {m, n, {{0}}}};
    for (size_t j = 0; j < n; j++) {
        root_product(p, n - 1, j, w.bt.at[j]);
        if (j == n - 1) break;
        double divisor = 1;
        for (size_t l = 0; l < n - 1; l++)
            if (l != j) divisor *= p[j] - p[l];
        for (size_t k = 0; k < r; k++) w.g.at[j][k] = pow(p[j], (double)k) / divisor;
        for (size_t i = 0; i < m; i++) w.at.at[i][j] = pow(p[j], (double)i);
    }
    w.g.at[n - 1][r - 1] = w.at.at[m - 1][n - 1] = 1;
    return w;
}

static inline matrix turned(const matrix *a) {
    matrix t = {a->columns, a->rows, {{0}}};
    for (size_t i = 0; i < a->rows; i++)
        for (size_t j = 0; j < a->columns; j++) t.at[j][i] = a->at[i][j];
    return t;
}

static inline matrix without_signs(const matrix *a) {
    matrix t = *a;
    for (size_t i = 0; i < a->rows; i++)
        for (size_t j = 0; j < a->columns; j++) t.at[i][j] = fabs(a->at[i][j]);
    return t;
}

/* y = L x L' */
static inline void sandwich(const matrix *l, const double *x, double *y) {
    double half[SIDE_MOST][SIDE_MOST];
    for (size_t i = 0; i < l->rows; i++)
        for (size_t j = 0; j < l->columns; j++) {
            half[i][j] = 0;
            for (size_t k = 0; k < l->columns; k++)
                half[i][j] += l->at[i][k] * x[k * l->columns + j];
        }
    for (size_t i = 0; i < l->rows; i++)
        for (size_t j = 0; j < l->rows; j++) {
            double sum = 0;
            for (size_t k = 0; k < l->columns; k++) sum += half[i][k] * l->at[j][k];
            y[i * l->rows + j] = sum;
        }
}

/* --- roundings of one way through a transform; both dimensions: twice that --- */

/* A step of Horner's rule is two; so is e + P f, even and odd powers apart. */
static inline double input_roundings(const winograd *w) {
    return (double)w->n - 2;
}
/* Such steps, the product with 1/n, and the rounding of 1/n. */
static inline double weights_roundings(const winograd *w) {
    return (double)w->r + 3;
}
/* m(P) +- m(-P), the product with a power of P, the sum of the pairs and one more. */
static inline double output_roundings(const winograd *w) {
    return (double)(w->n - 2) / 2 + 2;
}
#define GRADIENT_ROUNDINGS 4.0 /* two steps */
/* A sum, 1/n and the product with it, the product with a power of P, the pairs. */
static inline double fold_roundings(const winograd *w) {
    return (double)(w->n - 2) / 2 + 4;
}

static inline double winograd_roundings(const winograd *w, size_t channels) {
    return (double)channels + 1 + 2 * input_roundings(w) + 2 * weights_roundings(w) +
           2 * output_roundings(w);
}

static inline double winograd_dw_roundings(const winograd *w, size_t tiles) {
    return (double)tiles + 1 + 2 * input_roundings(w) + 2 * GRADIENT_ROUNDINGS +
           2 * fold_roundings(w);
}

/* --- the sums of absolute values --- */

/* Plain maps of double: x of c, h, w; y of k, oh, ow; a tile's window begins `origin` from
 * its first output. */
typedef struct tiling {
    winograd w;
    size_t samples, c, h, wide, k, oh, ow;
    ptrdiff_t origin;
    bool replicate;
} tiling;

static inline size_t tiles_on(size_t n, size_t m) {
    return (n + m - 1) / m;
}

/* side x side numbers of an h x w map from (y, x) on, absolute; outside 0 or replicated. */
static inline void fetch(const double *map, size_t h, size_t w, ptrdiff_t y,
    ptrdiff_t x, size_t side, bool replicate, double *d) {
    for (size_t i = 0; i < side * side; i++) {
        ptrdiff_t r = y + (ptrdiff_t)(i / side), c = x + (ptrdiff_t)(i % side);
        ptrdiff_t bottom = (ptrdiff_t)h - 1, right = (ptrdiff_t)w - 1;
        bool inside = r >= 0 && r <= bottom && c >= 0 && c <= right;
        r = r < 0 ? 0 : r > bottom ? bottom : r;
        c = c < 0 ? 0 : c > right ? right : c;
        d[i] = inside || replicate ? fabs(map[(size_t)r * w + (size_t)c]) : 0;
    }
}

/* |B'| |d| |B| of every channel, for one tile. */
static inline void input_sizes(
    const tiling *t, const double *x, size_t row, size_t column, double *v) {
    matrix bt = without_signs(&t->w.bt);
    double d[XI_MOST];
    for (size_t c = 0; c < t->c; c++) {
        fetch(x + c * t->h * t->wide, t->h, t->wide, (ptrdiff_t)row + t->origin,
            (ptrdiff_t)column + t->origin, t->w.n, t->replicate, d);
        sandwich(&bt, d, v + c * XI_MOST);
    }
}

/* y of one tile and output: |A'| [sum over c of U . V] |A|. */
static inline void output_sizes(const tiling *t, const double *u, const double *v,
    size_t row, size_t column, double *y) {
    matrix at = without_signs(&t->w.at);
    double sum[XI_MOST] = {0}, tile[TILE_MOST];
    for (size_t c = 0; c < t->c; c++)
        for (size_t xi = 0; xi < t->w.n * t->w.n; xi++)
            sum[xi] += u[c * XI_MOST + xi] * v[c * XI_MOST + xi];
    sandwich(&at, sum, tile);
    for (size_t i = 0; i < t->w.m && row + i < t->oh; i++)
        for (size_t j = 0; j < t->w.m && column + j < t->ow; j++)
            y[(row + i) * t->ow + column + j] = tile[i * t->w.m + j];
}

/* y of samples, k, oh, ow from x and weights k, c, r, r. */
static inline void winograd_sizes(
    const tiling *t, const double *x, const double *weights, double *y) {
    matrix g = without_signs(&t->w.g);
    size_t area = t->w.r * t->w.r;
    double *u = malloc(t->k * t->c * XI_MOST * sizeof *u),
           *v = malloc(t->c * XI_MOST * sizeof *v);
    assert_true(u && v);
    for (size_t i = 0; i < t->k * t->c; i++) {
        double taps[25];
        for (size_t l = 0; l < area; l++) taps[l] = fabs(weights[i * area + l]);
        sandwich(&g, taps, u + i * XI_MOST);
    }
    for (size_t s = 0; s < t->samples; s++)
        for (size_t row = 0; row < t->oh; row += t->w.m)
            for (size_t column = 0; column < t->ow; column += t->w.m) {
                input_sizes(t, x + s * t->c * t->h * t->wide, row, column, v);
                for (size_t k = 0; k < t->k; k++)
                    output_sizes(t, u + k * t->c * XI_MOST, v, row, column,
                        y + (s * t->k + k) * t->oh * t->ow);
            }
    free(u);
    free(v);
}

/* |G'| [ sum over tiles of (|A| |dy| |A'|) . (|B'| |x| |B|) ] |G|, k, c, r, r. */
static inline void winograd_dw_sizes(
    const tiling *t, const double *x, const double *dy, double *dw) {
    matrix at = turned(&t->w.at), gt = turned(&t->w.g);
    matrix a = without_signs(&at), g = without_signs(&gt);
    double *u = calloc(t->k * t->c * XI_MOST, sizeof *u),
           *v = malloc(t->c * XI_MOST * sizeof *v);
    double d[XI_MOST], z[XI_MOST];
    assert_true(u && v);
    for (size_t s = 0; s < t->samples; s++)
        for (size_t row = 0; row < t->oh; row += t->w.m)
            for (size_t column = 0; column < t->ow; column += t->w.m) {
                input_sizes(t, x + s * t->c * t->h * t->wide, row, column, v);
                for (size_t k = 0; k < t->k; k++) {
                    fetch(dy + (s * t->k + k) * t->oh * t->ow, t->oh, t->ow,
                        (ptrdiff_t)row, (ptrdiff_t)column, t->w.m, false, d);
                    sandwich(&a, d, z);
                    for (size_t c = 0; c < t->c; c++)
                        for (size_t xi = 0; xi < t->w.n * t->w.n; xi++)
                            u[(k * t->c + c) * XI_MOST + xi] +=
                                z[xi] * v[c * XI_MOST + xi];
                }
            }
    for (size_t i = 0; i < t->k * t->c; i++)
        sandwich(&g, u + i * XI_MOST, dw + i * t->w.r * t->w.r);
    free(u);
    free(v);
}

/* --- a convolution as conv2d cuts it --- */

static inline const imp_conv *conv_of(const op_case *t) {
    return &((const imp_conv_attr *)t->attr)->conv;
}

/* Of the forward (k -1), of the gradient by the input (0), or by the weights (1). */
static inline tiling tiling_of(const op_case *t, int k) {
    const imp_conv *a = conv_of(t);
    const imp_shape *x = &t->in[0], *y = &t->out;
    bool replicate = a->padding == IMP_PAD_REPLICATE;
    ptrdiff_t pad = (ptrdiff_t)a->pad;
    tiling f = {.samples = x->n,
        .c = x->c,
        .h = x->h,
        .wide = x->w,
        .k = y->c,
        .oh = y->h,
        .ow = y->w,
        .origin = -pad,
        .replicate = replicate};
    size_t border = replicate ? 2 * a->pad : 0;
    tiling b = {.samples = x->n,
        .c = y->c,
        .h = y->h,
        .wide = y->w,
        .k = x->c,
        .oh = x->h + border,
        .ow = x->w + border,
        .origin = (replicate ? 0 : pad) - (ptrdiff_t)(t->in[1].h - 1)};
    return k == 0 ? b : f;
}

/* The side of the tiles that are used, 0 where the sum is direct. */
static inline size_t tile_of(const imp_ctx *ctx, const op_case *t, int k) {
    if (t->op != &imp_op_conv2d || k > 1 || !imp_winograd_fits(conv_of(t), &t->in[1]))
        return 0;
    if (k == 1) return imp_winograd_dw_pays(ctx, conv_of(t), t->in, &t->out) ? 4 : 0;
    tiling s = tiling_of(t, k);
    imp_winograd p = {.samples = s.samples,
        .c = s.c,
        .k = s.k,
        .oh = s.oh,
        .ow = s.ow,
        .weights_shape = &t->in[1]};
    return imp_winograd_tile(ctx, &p);
}

/* The pixel that a padded one repeats. */
static inline size_t repeated(size_t i, size_t pad, size_t n) {
    return i < pad ? 0 : i - pad < n ? i - pad : n - 1;
}

/* dX's from those of dX with its border. */
static inline void fold_sizes(
    const tiling *s, size_t pad, const imp_shape *x, const double *padded, double *dx) {
    memset(dx, 0, imp_plain_count(*x) * sizeof *dx);
    for (size_t i = 0; i < s->samples * s->k * s->oh * s->ow; i++) {
        size_t h = repeated(i / s->ow % s->oh, pad, x->h);
        size_t w = repeated(i % s->ow, pad, x->w);
        dx[(i / s->ow / s->oh * x->h + h) * x->w + w] += padded[i];
    }
}

/* Weights k, c as c, k, each turned by half a turn. */
static inline double *turned_weights(const op_case *t) {
    const imp_shape *w = &t->in[1];
    size_t area = w->h * w->w;
    double *g = doubles(*w);
    for (size_t o = 0; o < w->n; o++)
        for (size_t c = 0; c < w->c; c++)
            for (size_t l = 0; l < area; l++)
                g[(c * w->n + o + 1) * area - 1 - l] =
                    t->x[1][(o * w->c + c) * area + l];
    return g;
}

/* Where Winograd is taken, what stands for the sum of absolute products (sizes) becomes
 * what the bound above has. */
static inline void replace_sizes(
    const imp_ctx *ctx, const op_case *t, ref_result *sizes) {
    size_t m = tile_of(ctx, t, -1), n = imp_plain_count(t->out);
    if (m) {
        tiling s = tiling_of(t, -1);
        s.w = winograd_of(m, t->in[1].h);
        winograd_sizes(&s, t->x[0], t->x[1], sizes->y);
        for (size_t i = 0; t->n_in == 3 && i < n; i++)
            sizes->y[i] += fabs(t->x[2][i / (s.oh * s.ow) % s.k]);
    }
    m = tile_of(ctx, t, 0);
    if (m && sizes->dx[0]) {
        tiling s = tiling_of(t, 0);
        s.w = winograd_of(m, t->in[1].h);
        imp_shape grid = {s.samples, s.k, s.oh, s.ow, IMP_MAP};
        double *padded = doubles(grid);
        winograd_sizes(&s, t->dy, turned_weights(t), padded);
        fold_sizes(&s, s.oh > t->in[0].h ? conv_of(t)->pad : 0, &t->in[0], padded,
            sizes->dx[0]);
    }
    if (tile_of(ctx, t, 1) && sizes->dx[1]) {
        tiling s = tiling_of(t, 1);
        s.w = winograd_of(4, t->in[1].h);
        winograd_dw_sizes(&s, t->x[0], t->dy, sizes->dx[1]);
    }
}

#endif
