/* SPDX-License-Identifier: MIT
 *
 * model_files.h: writes the tensors of a model under any names and with any metadata:
 * files as others make them, and files with faults. Include after files.h.
 */
#ifndef TESTS_MODEL_FILES_H
#define TESTS_MODEL_FILES_H

#include "model/model.h"
#include "model/safetensors.h"

#define MAX_TENSORS 64

/* What to write instead of a model as it is. */
typedef struct model_file {
    const char *const *names; /* of the tensors; NULL: the model's own */
    size_t n;                 /* tensors written, the first of the model's; 0: all */
    const char *skip;         /* tensor left out */
    const char *reshape;      /* tensor whose shape is `shape`, of the same count */
    size_t ndim, shape[4];
    const imp_safetensors_pair *metadata;
    size_t n_metadata;
} model_file;

static inline imp_safetensors_item model_item(
    const imp_tensor *t, const char *name, const model_file *f) {
    const imp_shape *s = &t->shape;
    imp_safetensors_item item = {.name = name, .dtype = IMP_DTYPE_F32, .ndim = 1};
    item.shape[0] = s->c;
    if (s->layout == IMP_WEIGHT) {
        item.ndim = t->linear ? 2 : 4;
        memcpy(item.shape, (size_t[]){s->n, s->c, s->h, s->w}, 4 * sizeof(size_t));
    }
    if (f->reshape && !strcmp(f->reshape, name)) {
        item.ndim = f->ndim;
        memcpy(item.shape, f->shape, sizeof f->shape);
    }
    return item;
}

/* folder/name */
static inline const char *write_model(
    const imp_model *m, const char *name, const model_file *f) {
    imp_safetensors_item items[MAX_TENSORS];
    imp_safetensors_writer w;
    size_t n = f->n ? f->n : m->n_tensors, kept = 0, from[MAX_TENSORS];
    assert_true(n <= m->n_tensors && n <= MAX_TENSORS);
    for (size_t i = 0; i < n; i++) {
        const char *tensor = f->names ? f->names[i] : m->tensors[i].name;
        if (f->skip && !strcmp(f->skip, tensor)) continue;
        from[kept] = i;
        items[kept++] = model_item(&m->tensors[i], tensor, f);
    }
    const char *path = in_folder(name);
    assert_int_equal(imp_safetensors_begin(
                         &w, ctx, path, true, items, kept, f->metadata, f->n_metadata),
        IMP_OK);
    for (size_t k = 0; k < kept; k++) {
        const imp_tensor *t = &m->tensors[from[k]];
        size_t count = imp_plain_count(t->shape);
        float *plain = malloc(count * sizeof *plain);
        imp_from_blocked(t->shape, t->blocked, plain);
        assert_int_equal(imp_safetensors_put(&w, plain, count), IMP_OK);
        free(plain);
    }
    assert_int_equal(imp_safetensors_commit(&w), IMP_OK);
    imp_safetensors_abort(&w);
    return path;
}

static inline imp_model *make_model(imp_model_options options) {
    imp_model *m;
    assert_int_equal(imp_model_init(ctx, &m, &options), IMP_OK);
    return m;
}

static inline imp_model *load_model(const char *path) {
    imp_model *m;
    if (imp_model_load(ctx, &m, path) != IMP_OK) fail_msg("%s", imp_ctx_error(ctx));
    return m;
}

static inline void assert_same_tensors(const imp_model *a, const imp_model *b) {
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_tensors; i++) {
        const imp_tensor *s = &a->tensors[i], *t = &b->tensors[i];
        assert_string_equal(s->name, t->name);
        assert_true(s->shape.n == t->shape.n && s->shape.c == t->shape.c);
        assert_true(s->shape.h == t->shape.h && s->shape.w == t->shape.w);
        assert_memory_equal(
            s->blocked, t->blocked, imp_blocked_count(s->shape) * sizeof(float));
    }
}

#endif
