/* SPDX-License-Identifier: MIT
 *
 * winograd.inc.h: the transforms of winograd.h, written once for every TILE and TAPS that
 * winograd_sizes.inc.h asks for. The points are 0, PAIRS pairs +-P, and infinity; all below
 * follows from them (Winograd 1980; Lavin & Gray 2016), with q = P^2 and the plus and minus
 * of a pair computed together:
 *
 *     input    o(0)   = sum_i FULL(i) d(2i)          FULL: coefficients of prod (x - q_j)
 *              o(oo)  = sum_i FULL(i) d(2i+1)
 *              o(+-P) = e +- P f                     REST_k: those of prod_(j != k) (x - q_j)
 *                       e = sum_i REST_k(i) d(2i+2),  f = sum_i REST_k(i) d(2i+1)
 *     weights  u(0) = g0 / n(0),  u(oo) = the last g,
 *              u(+-P) = (g0 + q g2 + qq g4 +- P (g1 + q g3)) / n(P)
 *                       n(p) = prod over the other points r of (p - r)
 *     output   y(k) = [k = 0] m(0) + sum over pairs P^k (m(P) + (-1)^k m(-P)) + [k = m-1] m(oo)
 *
 * The points are those with the smallest error found; all are sums of few powers of 2, so that
 * their squares and products are exact in float32, or nearly so. F(6x6) and F(4x4, 5x5): 1, 2,
 * 1/2. F(4x4): 11/16 and 11/8 halve the error of the textbook's 1 and 2. F(8x8): 7/16, 13/16, 5/4
 * and 9/4 have less than half the error of 1, 2, 1/2 and 3/4, and a tenth of that of 1, 2, 1/2, 4.
 */
#define M_    TILE
#define N_    (TILE + TAPS - 1)
#define PAIRS ((N_ - 2) / 2)

#if TILE + TAPS == 7
static const float FN(point)[2] = {11.0f / 16, 11.0f / 8};
#define QA (121.0 / 256)
#define QB (121.0 / 64)
static const float FN(full)[3] = {(float)(QA * QB), (float)-(QA + QB), 1.0f};
static const float FN(rest)[2][2] = {{(float)-QB, 1.0f}, {(float)-QA, 1.0f}};
/* 1/n: of 0, and of each pair. */
static const float FN(inverse)[3] = {(float)(1 / (QA * QB)),
    (float)(1 / (2 * QA * (QA - QB))), (float)(1 / (2 * QB * (QB - QA)))};
#undef QA
#undef QB
#elif TILE + TAPS == 11
static const float FN(point)[4] = {7.0f / 16, 13.0f / 16, 5.0f / 4, 9.0f / 4};
#define QA (49.0 / 256)
#define QB (169.0 / 256)
#define QC (25.0 / 16)
#define QD (81.0 / 16)
static const float FN(full)[5] = {(float)(QA * QB * QC * QD),
    (float)-(QA *QB *(QC + QD) + (QA + QB) * QC * QD),
    (float)(QA *QB + (QA + QB) * (QC + QD) + QC * QD), (float)-(QA + QB + QC + QD),
    1.0f};
#define CUBIC(a, b, c)                                                                 \
    { (float)-(a * b * c), (float)(a * b + a * c + b * c), (float)-(a + b + c), 1.0f }
static const float FN(rest)[4][4] = {
    CUBIC(QB, QC, QD), CUBIC(QA, QC, QD), CUBIC(QA, QB, QD), CUBIC(QA, QB, QC)};
#undef CUBIC
#define INVERSE(a, b, c, d) (float)(1 / (2 * a * (a - b) * (a - c) * (a - d)))
static const float FN(inverse)[5] = {(float)(1 / (QA * QB * QC * QD)),
    INVERSE(QA, QB, QC, QD), INVERSE(QB, QA, QC, QD), INVERSE(QC, QA, QB, QD),
    INVERSE(QD, QA, QB, QC)};
#undef INVERSE
#undef QA
#undef QB
#undef QC
#undef QD
#else
static const float FN(point)[3] = {1.0f, 2.0f, 0.5f};
static const float FN(full)[4] = {-1.0f, 5.25f, -5.25f, 1.0f};
static const float FN(rest)[3][3] = {
    {1.0f, -4.25f, 1.0f}, {0.25f, -1.25f, 1.0f}, {4.0f, -5.0f, 1.0f}};
static const float FN(inverse)[4] = {
    -1.0f, (float)(-1 / 4.5), (float)(1 / 90.0), (float)(1 / 1.40625)};
#endif

/* sum_i c[i] x[2i], from the highest term (whose coefficient is 1) down. */
INLINE vf FN(polynomial)(const float *c, size_t degree, const vf *x) {
    vf sum = x[2 * degree];
    UNROLL for (size_t i = degree; i-- > 0;) sum = vf_fma(vf_set(c[i]), x[2 * i], sum);
    return sum;
}

INLINE void FN(input_line)(const vf *d, vf *o) {
    o[0] = FN(polynomial)(FN(full), PAIRS, d);
    o[N_ - 1] = FN(polynomial)(FN(full), PAIRS, d + 1);
    UNROLL for (size_t k = 0; k < PAIRS; k++) {
        vf e = FN(polynomial)(FN(rest)[k], PAIRS - 1, d + 2);
        vf f = FN(polynomial)(FN(rest)[k], PAIRS - 1, d + 1);
        o[1 + 2 * k] = vf_fma(vf_set(FN(point)[k]), f, e);
        o[2 + 2 * k] = vf_fma(vf_set(-FN(point)[k]), f, e);
    }
}

INLINE void FN(weights_line)(const vf *g, vf *o) {
    o[0] = g[0] * vf_set(FN(inverse)[0]);
    o[N_ - 1] = g[TAPS - 1];
    UNROLL for (size_t k = 0; k < PAIRS; k++) {
        float p = FN(point)[k];
        vf scale = vf_set(FN(inverse)[k + 1]), q = vf_set(p * p);
        vf e = g[TAPS - 1], f = g[TAPS - 2];
        UNROLL for (size_t i = TAPS - 3; i > 1; i -= 2) {
            e = vf_fma(q, e, g[i]);
            f = vf_fma(q, f, g[i - 1]);
        }
        e = vf_fma(q, e, g[0]);
        o[1 + 2 * k] = vf_fma(vf_set(p), f, e) * scale;
        o[2 + 2 * k] = vf_fma(vf_set(-p), f, e) * scale;
    }
}

INLINE void FN(output_line)(const vf *m, vf *y) {
    vf sum[PAIRS], difference[PAIRS];
    UNROLL for (size_t k = 0; k < PAIRS; k++) {
        sum[k] = m[1 + 2 * k] + m[2 + 2 * k];
        difference[k] = m[1 + 2 * k] - m[2 + 2 * k];
    }
    float power[PAIRS];
    UNROLL for (size_t k = 0; k < PAIRS; k++) power[k] = 1.0f;
    UNROLL for (size_t i = 0; i < M_; i++) {
        const vf *part = i % 2 ? difference : sum;
        y[i] = vf_set(power[0]) * part[0];
        if (i == 0) y[i] = m[0] + part[0];
        if (i == M_ - 1) y[i] = vf_fma(vf_set(power[0]), part[0], m[N_ - 1]);
        UNROLL for (size_t k = 1; k < PAIRS; k++) y[i] =
            vf_fma(vf_set(power[k]), part[k], y[i]);
        UNROLL for (size_t k = 0; k < PAIRS; k++) power[k] *= FN(point)[k];
    }
}

/* --- input --- */

/* A tile's pixels from row y, column x, where they are not simply there: (n + 2) squared of
 * 16 channels, of which the tile takes n squared. */
#define PATCH_ROW ((N_ + 2) * 16)

/* Masked pixels, and those from outside. Returns where the tile begins. */
static const float *FN(fetch)(
    const imp_winograd_input *in, ptrdiff_t y, ptrdiff_t x, float *patch) {
    ptrdiff_t h = (ptrdiff_t)in->tiles.h, w = (ptrdiff_t)in->tiles.w;
    for (ptrdiff_t i = 0; i < N_; i++) {
        ptrdiff_t r = y + i;
        float *to = patch + i * PATCH_ROW;
        if (in->replicate) r = r < 0 ? 0 : r >= h ? h - 1 : r;
        if (r < 0 || r >= h) {
            memset(to, 0, N_ * 16 * sizeof *to);
            continue;
        }
        const float *line = in->x + r * w * 16;
        const uint16_t *mask = in->mask ? in->mask + r * w : NULL;
        for (ptrdiff_t j = 0; j < N_; j++, to += 16) {
            ptrdiff_t c = x + j;
            if (in->replicate) c = c < 0 ? 0 : c >= w ? w - 1 : c;
            if (c < 0 || c >= w)
                memset(to, 0, 16 * sizeof *to);
            else
                masked16(line + c * 16, mask ? mask[c] : 0xffff, to);
        }
    }
    return patch;
}

/* The gradient of a maximum: each window of 2 x 2 gets it at the place of the largest. */
static const float *FN(fetch_unpooled)(
    const imp_winograd_input *in, ptrdiff_t y, ptrdiff_t x, float *patch) {
    ptrdiff_t h = (ptrdiff_t)in->tiles.h / 2, w = (ptrdiff_t)in->tiles.w / 2;
    ptrdiff_t top = (y - (y & 1)) / 2, left = (x - (x & 1)) / 2;
    for (ptrdiff_t i = 0; i <= N_ / 2; i++)
        for (ptrdiff_t j = 0; j <= N_ / 2; j++) {
            float *to = patch + 2 * i * PATCH_ROW + 2 * j * 16;
            ptrdiff_t r = top + i, c = left + j;
            if (r < 0 || r >= h || c < 0 || c >= w) {
                memset(to, 0, 32 * sizeof *to);
                memset(to + PATCH_ROW, 0, 32 * sizeof *to);
            } else {
                size_t at = (size_t)(r * w + c) * 16;
                unpool16(in->x + at, in->position + at, to, PATCH_ROW);
            }
        }
    return patch + (y & 1) * PATCH_ROW + (x & 1) * 16;
}

/* One tile: d has `row` floats from row to row; with a mask, what that lets through. */
INLINE void FN(input_tile)(const float *d, size_t row, const uint16_t *mask,
    size_t mask_row, float *v, size_t v_xi) {
    for (size_t l = 0; l < 16; l += VF) {
        vf half[N_][N_];
        for (size_t j = 0; j < N_; j++) {
            vf column[N_], o[N_];
            UNROLL for (size_t i = 0; i < N_; i++) {
                const float *x = d + i * row + j * 16 + l;
                column[i] =
                    mask ? vf_load_masked(x, (unsigned)mask[i * mask_row + j] >> l)
                         : vf_load(x);
            }
            FN(input_line)(column, o);
            UNROLL for (size_t i = 0; i < N_; i++) half[i][j] = o[i];
        }
        for (size_t i = 0; i < N_; i++) {
            vf o[N_];
            FN(input_line)(half[i], o);
            UNROLL for (size_t j = 0; j < N_; j++)
                vf_store(v + (i * N_ + j) * v_xi + l, o[j]);
        }
    }
}

void FN(imp_winograd_input)(const imp_winograd_input *in) {
    const imp_winograd_tiles *s = &in->tiles;
    float patch[(N_ + 2) * PATCH_ROW] __attribute__((aligned(64)));
    for (size_t t = 0; t < s->count; t++) {
        ptrdiff_t y = (ptrdiff_t)((s->first + t) / s->wide * M_) + in->origin;
        ptrdiff_t x = (ptrdiff_t)((s->first + t) % s->wide * M_) + in->origin;
        bool inside =
            y >= 0 && x >= 0 && y + N_ <= (ptrdiff_t)s->h && x + N_ <= (ptrdiff_t)s->w;
        size_t r = in->row + t, row = s->w * 16, pixel = (size_t)y * s->w + (size_t)x;
        float *v = in->v + r / in->group * in->v_group + r % in->group * 16;
        if (inside && !in->position && in->mask) {
            const uint16_t *mask = in->mask + pixel;
            FN(input_tile)(in->x + pixel * 16, row, mask, s->w, v, in->v_xi);
        } else if (inside && !in->position) {
            FN(input_tile)(in->x + pixel * 16, row, NULL, 0, v, in->v_xi);
        } else {
            const float *d = in->position ? FN(fetch_unpooled)(in, y, x, patch)
                                          : FN(fetch)(in, y, x, patch);
            FN(input_tile)(d, PATCH_ROW, NULL, 0, v, in->v_xi);
        }
    }
}

/* --- weights --- */

/* A row of U's planes. G g is computed anew for each: that is little, and memory takes n streams
 * of stores far better than n n. */
INLINE void FN(weights_row)(const imp_winograd_weights *w, size_t row) {
    for (size_t i = 0; i < 256; i += VF) {
        vf half[TAPS], u[N_];
        UNROLL for (size_t column = 0; column < TAPS; column++) {
            vf g[TAPS], o[N_];
            UNROLL for (size_t r = 0; r < TAPS; r++) {
                size_t tap = r * TAPS + column;
                g[r] =
                    vf_load(w->g + (w->flip ? TAPS * TAPS - 1 - tap : tap) * 256 + i);
            }
            FN(weights_line)(g, o);
            half[column] = o[row];
        }
        FN(weights_line)(half, u);
        UNROLL for (size_t column = 0; column < N_; column++)
            vf_store(w->u + (row * N_ + column) * w->u_xi + i, u[column]);
    }
}

void FN(imp_winograd_weights)(const imp_winograd_weights *w) {
    UNROLL for (size_t row = 0; row < N_; row++) FN(weights_row)(w, row);
}

/* --- output --- */

/* One tile to y, which has `row` floats from row to row; its signs to mask, unless NULL. */
INLINE void FN(output_tile)(const imp_winograd_output *out, const float *m, float *y,
    size_t row, uint16_t *mask, size_t high, size_t wide) {
    for (size_t l = 0; l < 16; l += VF) {
        vf bias = out->bias ? vf_load(out->bias + l) : vf_set(0.0f), half[M_][N_];
        for (size_t j = 0; j < N_; j++) {
            vf column[N_], o[M_];
            UNROLL for (size_t i = 0; i < N_; i++) column[i] =
                vf_load(m + (i * N_ + j) * out->m_xi + l);
            FN(output_line)(column, o);
            UNROLL for (size_t i = 0; i < M_; i++) half[i][j] = o[i];
        }
        for (size_t i = 0; i < high; i++) {
            vf o[M_];
            FN(output_line)(half[i], o);
            UNROLL for (size_t j = 0; j < M_; j++) {
                if (j >= wide) break;
                float *to = y + i * row + j * 16 + l;
                vf value = o[j] + bias;
                if (out->add) value = value + vf_load(to);
                if (out->relu) value = vf_relu(value);
                vf_put(to, value, out->stream);
                if (mask) add_signs(mask + i * out->tiles.w + j, value, l);
            }
        }
    }
}

/* The maximum of each 2 x 2 window of a tile that is whole; the first of equals. */
INLINE void FN(pool_tile)(const imp_winograd_output *out, const float *tile,
    size_t row0, size_t column0, size_t high, size_t wide) {
    for (size_t i = 0; i < high; i++)
        for (size_t j = 0; j < wide; j++) {
            const float *x = tile + (2 * i * M_ + 2 * j) * 16;
            size_t at = ((row0 + i) * (out->tiles.w / 2) + column0 + j) * 16;
            pool16(x, M_ * 16, out->y + at, out->position ? out->position + at : NULL,
                IMP_POOL_DEAD);
        }
}

void FN(imp_winograd_output)(const imp_winograd_output *out) {
    const imp_winograd_tiles *s = &out->tiles;
    float tile[M_ * M_ * 16] __attribute__((aligned(64)));
    for (size_t t = 0; t < s->count; t++) {
        size_t row = (s->first + t) / s->wide * M_,
               column = (s->first + t) % s->wide * M_;
        size_t high = s->h - row < M_ ? s->h - row : M_;
        size_t wide = s->w - column < M_ ? s->w - column : M_;
        const float *m = out->m + t * 16;
        if (out->pool) {
            FN(output_tile)(out, m, tile, M_ * 16, NULL, high, wide);
            FN(pool_tile)(out, tile, row / 2, column / 2, high / 2, wide / 2);
            continue;
        }
        size_t pixel = row * s->w + column;
        float *y = out->y + pixel * 16;
        uint16_t *mask = out->mask ? out->mask + pixel : NULL;
        if (wide == M_)
            FN(output_tile)(out, m, y, s->w * 16, mask, high, M_);
        else
            FN(output_tile)(out, m, y, s->w * 16, mask, high, wide);
    }
    end_put(out->stream);
}

#undef PATCH_ROW
#undef M_
#undef N_
#undef PAIRS
