/* SPDX-License-Identifier: MIT
 *
 * winograd_dw.inc.h: the gradient by the weights of F(4x4, 3x3) and F(4x4, 5x5) in Winograd's
 * domain; included after winograd.inc.h, for the same TAPS. y is
 * A' [(G g G') . (B' d B)] A; read backwards it is
 *
 *     dg = G' [sum over tiles of (A dy A') . (B' d B)] G
 *
 * B' d B is the forward's transform of the input (winograd.inc.h, with its points and its
 * 1/n); here are the other two, the transposes of the forward's output and weights:
 *
 *     gradient  o(0) = dy0,  o(oo) = dy3,  o(+-P) = (dy0 + q dy2) +- P (dy1 + q dy3)
 *     fold      dg(k) = [k = 0] u(0)/n(0) + sum over pairs of P^k (u(P) + (-1)^k u(-P)) / n(P)
 *                       + [k = TAPS-1] u(oo)
 */
#define N_    (TAPS + 3)
#define PAIRS ((N_ - 2) / 2)

INLINE void FN(gradient_line)(const vf *dy, vf *o) {
    o[0] = dy[0];
    o[N_ - 1] = dy[3];
    UNROLL for (size_t k = 0; k < PAIRS; k++) {
        float p = FN(point)[k];
        vf q = vf_set(p * p);
        vf e = vf_fma(q, dy[2], dy[0]), f = vf_fma(q, dy[3], dy[1]);
        o[1 + 2 * k] = vf_fma(vf_set(p), f, e);
        o[2 + 2 * k] = vf_fma(vf_set(-p), f, e);
    }
}

INLINE void FN(fold_line)(const vf *u, vf *dg) {
    UNROLL for (size_t i = 0; i < TAPS; i++) dg[i] = vf_set(0.0f);
    dg[0] = u[0] * vf_set(FN(inverse)[0]);
    dg[TAPS - 1] = u[N_ - 1];
    UNROLL for (size_t k = 0; k < PAIRS; k++) {
        vf scale = vf_set(FN(inverse)[k + 1]);
        vf s = (u[1 + 2 * k] + u[2 + 2 * k]) * scale;
        vf t = (u[1 + 2 * k] - u[2 + 2 * k]) * scale;
        float power = 1.0f;
        UNROLL for (size_t i = 0; i < TAPS; i++) {
            dg[i] = vf_fma(vf_set(power), i % 2 ? t : s, dg[i]);
            power *= FN(point)[k];
        }
    }
}

/* The numbers of a tile of dy; outside the plane there is zero. */
INLINE void FN(gradient_tile)(
    const float *dy, size_t row, size_t high, size_t wide, float *v, size_t v_xi) {
    for (size_t l = 0; l < 16; l += VF) {
        vf half[N_][4];
        UNROLL for (size_t j = 0; j < 4; j++) {
            vf column[4], o[N_];
            UNROLL for (size_t i = 0; i < 4; i++) column[i] =
                i < high && j < wide ? vf_load(dy + i * row + j * 16 + l)
                                     : vf_set(0.0f);
            FN(gradient_line)(column, o);
            UNROLL for (size_t i = 0; i < N_; i++) half[i][j] = o[i];
        }
        for (size_t i = 0; i < N_; i++) {
            vf o[N_];
            FN(gradient_line)(half[i], o);
            UNROLL for (size_t j = 0; j < N_; j++)
                vf_store(v + (i * N_ + j) * v_xi + l, o[j]);
        }
    }
}

void FN(imp_winograd_gradient)(const imp_winograd_input *in) {
    const imp_winograd_tiles *s = &in->tiles;
    for (size_t t = 0; t < s->count; t++) {
        size_t y = (s->first + t) / s->wide * 4, x = (s->first + t) % s->wide * 4;
        size_t high = s->h - y < 4 ? s->h - y : 4, wide = s->w - x < 4 ? s->w - x : 4;
        const float *dy = in->x + (y * s->w + x) * 16;
        if (high == 4 && wide == 4)
            FN(gradient_tile)(dy, s->w * 16, 4, 4, in->v + t * 16, in->v_xi);
        else
            FN(gradient_tile)(dy, s->w * 16, high, wide, in->v + t * 16, in->v_xi);
    }
}

void FN(imp_winograd_fold)(const imp_winograd_fold *f) {
    for (size_t i = 0; i < 256; i += VF) {
        vf half[TAPS][N_];
        UNROLL for (size_t column = 0; column < N_; column++) {
            vf u[N_], dg[TAPS];
            UNROLL for (size_t row = 0; row < N_; row++) u[row] =
                vf_load(f->u + (row * N_ + column) * f->u_xi + i);
            FN(fold_line)(u, dg);
            UNROLL for (size_t row = 0; row < TAPS; row++) half[row][column] = dg[row];
        }
        UNROLL for (size_t row = 0; row < TAPS; row++) {
            vf dg[TAPS];
            FN(fold_line)(half[row], dg);
            UNROLL for (size_t column = 0; column < TAPS; column++) {
                float *to = f->dg + (row * TAPS + column) * 256 + i;
                if (f->add) dg[column] = dg[column] + vf_load(to);
                vf_store(to, dg[column]);
            }
        }
    }
}

#undef N_
#undef PAIRS
