/* SPDX-License-Identifier: MIT
 *
 * write.c: a model to a safetensors file.
 */
#include "model/write.h"

#include <stdlib.h>
#include <string.h>

#include "model/metadata.h"

static imp_safetensors_item item_of(const imp_tensor *t, imp_dtype dtype) {
    const imp_shape *s = &t->shape;
    imp_safetensors_item item = {.name = t->name, .dtype = dtype};
    if (s->layout == IMP_MAP) {
        item.ndim = 1;
        item.shape[0] = s->c;
        return item;
    }
    item.ndim = t->linear ? 2 : 4;
    memcpy(item.shape, (size_t[]){s->n, s->c, s->h, s->w}, 4 * sizeof(size_t));
    return item;
}

imp_status imp_model_begin(imp_ctx *ctx, imp_model_writer *w, const imp_model *m,
    const char *path, const imp_save_options *options) {
    imp_dtype dtype = options && options->half ? IMP_DTYPE_F16 : IMP_DTYPE_F32;
    bool overwrite = options && options->overwrite;
    imp_metadata md;
    *w = (imp_model_writer){.file.file.fd = -1};
    imp_status s = imp_metadata_write(ctx, &md, m);
    if (!s && !(w->items = calloc(m->n_tensors, sizeof *w->items)))
        s = imp_fail(ctx, IMP_ERR_LIMIT, "%s: no memory", path);
    for (size_t i = 0; i < m->n_tensors && !s; i++)
        w->items[i] = item_of(&m->tensors[i], dtype);
    if (!s) {
        s = imp_safetensors_begin(
            &w->file, ctx, path, overwrite, w->items, m->n_tensors, md.pairs, md.n);
        w->begun = true;
    }
    imp_metadata_free(&md);
    return s;
}

imp_status imp_model_put(imp_model_writer *w, const float *x, size_t n) {
    if (w->stop && w->stop())
        return imp_fail(w->file.file.ctx, IMP_ERR_FILE, "%s: interrupted, not written",
            w->file.file.path);
    return imp_safetensors_put(&w->file, x, n);
}

imp_status imp_model_commit(imp_model_writer *w) {
    return imp_safetensors_commit(&w->file);
}

void imp_model_abort(imp_model_writer *w) {
    if (w->begun) imp_safetensors_abort(&w->file);
    free(w->items);
    *w = (imp_model_writer){.file.file.fd = -1};
}

static imp_status put_tensors(imp_ctx *ctx, imp_model_writer *w, const imp_model *m) {
    for (size_t i = 0; i < m->n_tensors; i++) {
        const imp_tensor *t = &m->tensors[i];
        float *plain = malloc(imp_plain_count(t->shape) * sizeof *plain);
        if (!plain) return imp_fail(ctx, IMP_ERR_LIMIT, "%s: no memory", t->name);
        imp_from_blocked(t->shape, t->blocked, plain);
        imp_status s = imp_model_put(w, plain, imp_plain_count(t->shape));
        free(plain);
        if (s) return s;
    }
    return IMP_OK;
}

imp_status imp_model_save(imp_ctx *ctx, const imp_model *m, const char *path,
    const imp_save_options *options) {
    imp_model_writer w;
    imp_status s = imp_model_begin(ctx, &w, m, path, options);
    if (!s) s = put_tensors(ctx, &w, m);
    if (!s) s = imp_model_commit(&w);
    imp_model_abort(&w);
    return s;
}
