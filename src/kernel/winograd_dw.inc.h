/* SPDX-License-Identifier: MIT
 *
 * winograd_dw.inc.h: the gradient by the weights of F(4x4, 3x3) in Winograd's domain. y is
 * A' [(G g G') . (B' d B)] A; read backwards it is
 *
 *     dg = G' [sum over tiles of (A dy A') . (B' d B)] G
 *
 * B' d B is the forward's transform of the input (winograd.inc.h, with its points and its
 * 1/n); here are the other two, the transposes of the forward's output and weights:
 *
 *     gradient  o(0) = dy0,  o(oo) = dy3,  o(+-P) = (dy0 + q dy2) +- P (dy1 + q dy3)
 *     fold      dg0 = u(0)/n(0) + sum over pairs s,  dg1 = sum of P t,
 *               dg2 = u(oo) + sum of q s,   s, t = (u(P) +- u(-P)) / n(P),  q = P^2
 */
#define FN(name) JOIN(name, 4, SUFFIX)

INLINE void FN(gradient_line)(const vf *dy, vf *o) {
    o[0] = dy[0];
    o[5] = dy[3];
    UNROLL for (size_t k = 0; k < 2; k++) {
        float p = FN(point)[k];
        vf q = vf_set(p * p);
        vf e = vf_fma(q, dy[2], dy[0]), f = vf_fma(q, dy[3], dy[1]);
        o[1 + 2 * k] = vf_fma(vf_set(p), f, e);
        o[2 + 2 * k] = vf_fma(vf_set(-p), f, e);
    }
}

INLINE void FN(fold_line)(const vf *u, vf *dg) {
    dg[0] = u[0] * vf_set(FN(inverse)[0]);
    dg[1] = vf_set(0.0f);
    dg[2] = u[5];
    UNROLL for (size_t k = 0; k < 2; k++) {
        float p = FN(point)[k];
        vf scale = vf_set(FN(inverse)[k + 1]);
        vf s = (u[1 + 2 * k] + u[2 + 2 * k]) * scale;
        vf t = (u[1 + 2 * k] - u[2 + 2 * k]) * scale;
        dg[0] = dg[0] + s;
        dg[1] = vf_fma(vf_set(p), t, dg[1]);
        dg[2] = vf_fma(vf_set(p * p), s, dg[2]);
    }
}

/* The 4 x 4 numbers of a tile of dy; outside the plane there is zero. */
INLINE void FN(gradient_tile)(
    const float *dy, size_t row, size_t high, size_t wide, float *v, size_t v_xi) {
    for (size_t l = 0; l < 16; l += VF) {
        vf half[6][4];
        UNROLL for (size_t j = 0; j < 4; j++) {
            vf column[4], o[6];
            UNROLL for (size_t i = 0; i < 4; i++) column[i] =
                i < high && j < wide ? vf_load(dy + i * row + j * 16 + l)
                                     : vf_set(0.0f);
            FN(gradient_line)(column, o);
            UNROLL for (size_t i = 0; i < 6; i++) half[i][j] = o[i];
        }
        for (size_t i = 0; i < 6; i++) {
            vf o[6];
            FN(gradient_line)(half[i], o);
            UNROLL for (size_t j = 0; j < 6; j++)
                vf_store(v + (i * 6 + j) * v_xi + l, o[j]);
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
        vf half[3][6];
        UNROLL for (size_t column = 0; column < 6; column++) {
            vf u[6], dg[3];
            UNROLL for (size_t row = 0; row < 6; row++) u[row] =
                vf_load(f->u + (row * 6 + column) * f->u_xi + i);
            FN(fold_line)(u, dg);
            UNROLL for (size_t row = 0; row < 3; row++) half[row][column] = dg[row];
        }
        UNROLL for (size_t row = 0; row < 3; row++) {
            vf dg[3];
            FN(fold_line)(half[row], dg);
            UNROLL for (size_t column = 0; column < 3; column++) {
                float *to = f->dg + (row * 3 + column) * 256 + i;
                if (f->add) dg[column] = dg[column] + vf_load(to);
                vf_store(to, dg[column]);
            }
        }
    }
}

#undef FN
