/* SPDX-License-Identifier: MIT
 *
 * bank.c: what all layers but the last one make of pictures, a row of numbers a picture, computed
 * once: where those layers are frozen, the last one learns from the rows alone.
 */
#include "train/train.h"

#include <math.h>
#include <stdlib.h>

imp_status imp_bank_new(imp_ctx *ctx, imp_bank *bank, const imp_model *m, size_t n) {
    size_t bytes, width = m->tensors[m->n_tensors - 2].shape.c;
    *bank = (imp_bank){.n = n, .width = width};
    if (imp_mul(&bytes, n, width * sizeof(float))) bank->rows = malloc(bytes);
    bank->samples = malloc(n * sizeof *bank->samples);
    return bank->rows && bank->samples
               ? IMP_OK
               : imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory for %zu features", n);
}

void imp_bank_free(imp_bank *bank) {
    free(bank->rows);
    free(bank->samples);
    *bank = (imp_bank){0};
}

imp_status imp_bank_fill(imp_ctx *ctx, imp_bank *bank, const imp_source *from,
    imp_train_callback callback, void *user) {
    const imp_model *m = from->m;
    imp_network_options o = {.last = m->layers[m->n_layers - 2].name};
    imp_batch b = {0};
    imp_status s = IMP_OK;
    while (bank->done < bank->n && !s) {
        size_t size = imp_least(bank->n - bank->done, imp_batch_forward_size(from));
        if (size != b.size) {
            imp_batch_free(&b);
            s = imp_batch_new(ctx, &b, from, size, &o);
        }
        if (!s) s = imp_batch_write(ctx, &b, from, bank->samples + bank->done);
        if (s) break;
        imp_graph_forward(b.g);
        s = imp_graph_read(b.g, b.logits, bank->rows + bank->done * bank->width);
        if (!s) bank->done += size;
        if (!s && callback && !callback(user, bank->done, bank->n)) break;
    }
    imp_batch_free(&b);
    return s;
}

/* The rms of column c over the first n rows. */
static double rms_of(const imp_bank *bank, size_t c, size_t n) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double v = (double)bank->rows[i * bank->width + c];
        squares += v * v;
    }
    return sqrt(squares / (double)n);
}

/* Output c of the last convolution times a factor, input c of the layer behind it divided. */
static void scale_channel(imp_model *m, size_t c, float factor) {
    imp_tensor *t = m->tensors + m->n_tensors;
    const imp_shape *conv = &t[-4].shape, *head = &t[-2].shape;
    for (size_t i = 0; i < conv->c; i++)
        for (size_t kh = 0; kh < conv->h; kh++)
            for (size_t kw = 0; kw < conv->w; kw++)
                t[-4].blocked[imp_weight_offset(conv, c, i, kh, kw)] *= factor;
    t[-3].blocked[imp_map_offset(&t[-3].shape, 0, c, 0, 0)] *= factor;
    for (size_t o = 0; o < head->n; o++)
        t[-2].blocked[imp_weight_offset(head, o, c, 0, 0)] /= factor;
}

/* A channel that is all but silent here may speak up in another picture. */
#define LEAST_RMS 0.01 /* of the largest */

void imp_bank_scale(imp_bank *bank, imp_model *m, size_t n) {
    double most = 0;
    for (size_t c = 0; c < bank->width; c++) most = fmax(most, rms_of(bank, c, n));
    if (!(most > 0) || !isfinite(most)) return;
    for (size_t c = 0; c < bank->width; c++) {
        float factor = (float)(1 / fmax(rms_of(bank, c, n), LEAST_RMS * most));
        scale_channel(m, c, factor);
        for (size_t i = 0; i < bank->n; i++) bank->rows[i * bank->width + c] *= factor;
    }
}
