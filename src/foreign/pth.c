/* SPDX-License-Identifier: MIT
 *
 * pth.c: tensors of a state dict. A tensor is a call of _rebuild_tensor_v2 with a storage, the
 * place of its first element there, sizes and strides; each of these numbers may lie.
 */
#include "foreign/pth.h"

#include <stdlib.h>
#include <string.h>

#define PIECE 65536

/* --- numbers and storages --- */

static bool size_of(const imp_pickle_value *v, size_t *out) {
    if (!v || v->kind != IMP_PICKLE_INT || v->is.number < 0) return false;
    *out = (size_t)v->is.number;
    return true;
}

imp_status imp_pth_storage_of(imp_foreign *f, const imp_pickle *p,
    const imp_pickle_value *id, imp_pth_storage *out) {
    const imp_pickle_value *item[6] = {0};
    for (size_t i = 0; i < 6; i++) item[i] = imp_pickle_item(p, id, i);
    if (!imp_pickle_is_text(item[0], "storage"))
        return imp_foreign_fail(f, "pickle: persistent id: expected a storage, found "
                                   "another: a whole model must "
                                   "be saved as torch.save(model.state_dict(), PATH)");
    if (!item[1] || item[1]->kind != IMP_PICKLE_GLOBAL ||
        item[1]->global->role != IMP_PICKLE_STORAGE)
        return imp_foreign_fail(f, "pickle: storage: type: expected one, found %s",
            imp_pickle_kind_name(item[1]));
    if (!item[2] || item[2]->kind != IMP_PICKLE_TEXT)
        return imp_foreign_fail(f, "pickle: storage: key: expected a string, found %s",
            imp_pickle_kind_name(item[2]));
    *out = (imp_pth_storage){.type = item[1]->global, .key = item[2]};
    if (!size_of(item[4], &out->n) || !imp_mul(&out->bytes, out->n, out->type->size))
        return imp_foreign_fail(f,
            "pickle: storage %.*s: expected a number of elements that memory can hold",
            (int)imp_least(out->key->n, 40), out->key->is.text);
    if (id->n > 6 || (item[5] && item[5]->kind != IMP_PICKLE_NONE))
        return imp_foreign_fail(f,
            "pickle: storage %.*s: expected a whole one, found a view of another",
            (int)imp_least(out->key->n, 40), out->key->is.text);
    return IMP_OK;
}

/* --- a tensor --- */

/* Sizes and strides; *dense: the last dimension runs fastest, without gaps. */
static imp_status shape(imp_foreign *f, const imp_pickle *p, imp_foreign_tensor *t,
    imp_pth_tensor *own, const imp_pickle_value *sizes,
    const imp_pickle_value *strides) {
    if (!sizes || sizes->kind != IMP_PICKLE_TUPLE || !strides ||
        strides->kind != IMP_PICKLE_TUPLE || sizes->n != strides->n ||
        sizes->n > IMP_SAFETENSORS_DIMS)
        return imp_foreign_fail(f,
            "tensor %s: expected as many sizes as strides, at most %d", t->name,
            IMP_SAFETENSORS_DIMS);
    t->ndim = sizes->n;
    for (size_t i = 0; i < t->ndim; i++)
        if (!size_of(imp_pickle_item(p, sizes, i), &t->shape[i]) ||
            !size_of(imp_pickle_item(p, strides, i), &own->stride[i]))
            return imp_foreign_fail(f,
                "tensor %s: dimension %zu: expected a size and a stride of 0 or more",
                t->name, i);
    return IMP_OK;
}

/* The tensor's extent in its storage: *n elements from the first one to the last, which it has
 * if it has any; *dense: they are all, in order. false: beyond all memory. */
static bool extent(
    const imp_foreign_tensor *t, const imp_pth_tensor *own, size_t *n, bool *dense) {
    size_t count = 1, far = 0;
    *dense = true;
    for (size_t i = t->ndim; i-- > 0;) {
        size_t reach;
        if (t->shape[i] > 1) {
            *dense = *dense && own->stride[i] == count;
            if (!imp_mul(&reach, t->shape[i] - 1, own->stride[i]) ||
                !imp_add_size(&far, far, reach))
                return false;
        }
        if (!imp_mul(&count, count, t->shape[i])) return false;
    }
    *dense = *dense || count == 0;
    *n = 0;
    return count == 0 || imp_add_size(n, far, 1);
}

static imp_status keep(imp_foreign *f, imp_pth *pth, const imp_foreign_tensor *t,
    const imp_pth_tensor *own) {
    imp_status s = imp_foreign_add(f, t);
    if (s) return s;
    if (f->n > pth->room) {
        size_t room = f->room;
        imp_pth_tensor *grown = realloc(pth->tensors, room * sizeof *grown);
        if (!grown) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
        pth->tensors = grown;
        pth->room = room;
    }
    pth->tensors[f->n - 1] = *own;
    return IMP_OK;
}

/* A call (storage, offset, sizes, strides, ...) by the name that t has. */
static imp_status tensor(imp_foreign *f, imp_pth *pth, const imp_pickle *p,
    imp_foreign_tensor *t, const imp_pickle_value *call) {
    imp_pth_tensor own = {0};
    imp_pth_storage storage;
    size_t first, n;
    bool dense;
    const imp_pickle_value *id = imp_pickle_item(p, call, 0);
    if (!id || id->kind != IMP_PICKLE_ID)
        return imp_foreign_fail(f, "tensor %s: expected a storage, found %s", t->name,
            imp_pickle_kind_name(id));
    imp_status s = imp_pth_storage_of(f, p, id, &storage);
    if (s) return s;
    t->dtype = storage.type->dtype;
    if (imp_dtype_size(t->dtype) == 0) return IMP_OK; /* a counter: no weight */
    if (!size_of(imp_pickle_item(p, call, 1), &first))
        return imp_foreign_fail(
            f, "tensor %s: expected an offset of 0 or more", t->name);
    s = shape(f, p, t, &own, imp_pickle_item(p, call, 2), imp_pickle_item(p, call, 3));
    if (s) return s;
    if (!extent(t, &own, &n, &dense) || !imp_in_range(first, n, storage.n))
        return imp_foreign_fail(f,
            "tensor %s: its sizes and strides from element %zu on lead out of its "
            "storage of %zu",
            t->name, first, storage.n);
    if ((s = pth->place(f, pth->user, &storage, &own.entry, &own.start))) return s;
    own.start += first * storage.type->size; /* in the storage, and so in the file */
    if (!dense && own.entry != IMP_PTH_OUTSIDE)
        return imp_foreign_fail(f,
            "tensor %s: its numbers are compressed and in another order: save it as "
            "tensor.contiguous()",
            t->name);
    t->inside = dense && own.entry == IMP_PTH_OUTSIDE;
    if (t->inside) t->offset = own.start;
    return keep(f, pth, t, &own);
}

/* --- the state dict --- */

static bool is_call(const imp_pickle_value *v, imp_pickle_role role) {
    return v && v->kind == IMP_PICKLE_CALL && v->global->role == role;
}

/* v as a tensor's call, out of a parameter if it is in one; NULL: it is none. */
static const imp_pickle_value *unwrapped(
    const imp_pickle *p, const imp_pickle_value *v) {
    if (is_call(v, IMP_PICKLE_PARAMETER)) v = imp_pickle_item(p, v, 0);
    return is_call(v, IMP_PICKLE_TENSOR) ? v : NULL;
}

/* The value after this key's cell, and its cell. */
static const imp_pickle_value *value_at(
    const imp_pickle *p, const imp_pickle_value *dict, const imp_pickle_cell **c) {
    *c = imp_pickle_next(p, dict, *c);
    return imp_pickle_of(p, *c);
}

static bool has_tensors(const imp_pickle *p, const imp_pickle_value *dict) {
    for (const imp_pickle_cell *c = imp_pickle_first(p, dict); c;
         c = imp_pickle_next(p, dict, c))
        if (unwrapped(p, value_at(p, dict, &c))) return true;
    return false;
}

static const imp_pickle_value *member(
    const imp_pickle *p, const imp_pickle_value *dict, const char *name) {
    for (const imp_pickle_cell *c = imp_pickle_first(p, dict); c;
         c = imp_pickle_next(p, dict, c)) {
        bool found = imp_pickle_is_text(imp_pickle_of(p, c), name);
        const imp_pickle_value *v = value_at(p, dict, &c);
        if (found && v->kind == IMP_PICKLE_DICT) return v;
    }
    return NULL;
}

static const imp_pickle_value *state_dict(const imp_pickle *p) {
    static const char *const names[] = {"state_dict", "model_state_dict", "model"};
    if (p->root->kind != IMP_PICKLE_DICT) return NULL;
    if (has_tensors(p, p->root)) return p->root;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const imp_pickle_value *v = member(p, p->root, names[i]);
        if (v && has_tensors(p, v)) return v;
    }
    return NULL;
}

imp_status imp_pth_add_all(imp_foreign *f, imp_pth *pth, const imp_pickle *p) {
    const imp_pickle_value *dict = state_dict(p);
    if (!dict)
        return imp_foreign_fail(f,
            "pickle: expected a state dict of tensors, or one by the name state_dict, "
            "model_state_dict or model, found %s without: save it with "
            "torch.save(model.state_dict(), PATH)",
            imp_pickle_kind_name(p->root));
    for (const imp_pickle_cell *c = imp_pickle_first(p, dict); c;
         c = imp_pickle_next(p, dict, c)) {
        const imp_pickle_value *key = imp_pickle_of(p, c);
        const imp_pickle_value *call = unwrapped(p, value_at(p, dict, &c));
        if (!call) continue;
        if (key->kind != IMP_PICKLE_TEXT || memchr(key->is.text, 0, key->n))
            return imp_foreign_fail(f, "name of a tensor: expected text, found %s",
                key->kind == IMP_PICKLE_TEXT ? "a zero in it"
                                             : imp_pickle_kind_name(key));
        imp_foreign_tensor t = {0};
        imp_status s = imp_foreign_name(
            f, &t, "%.*s", (int)imp_least(key->n, IMP_FOREIGN_NAME), key->is.text);
        if (s || (s = tensor(f, pth, p, &t, call))) return s;
    }
    return IMP_OK;
}

void imp_pth_free(imp_pth *pth) {
    free(pth->tensors);
    *pth = (imp_pth){0};
}

/* --- numbers in another order --- */

/* The next index in the order of the shape; at: its element from the first one. */
static void advance(
    const imp_foreign_tensor *t, const imp_pth_tensor *own, size_t *index, size_t *at) {
    for (size_t d = t->ndim; d-- > 0;) {
        *at += own->stride[d];
        if (++index[d] < t->shape[d]) return;
        *at -= own->stride[d] * index[d];
        index[d] = 0;
    }
}

imp_status imp_pth_gather(imp_foreign *f, const imp_pth *pth, size_t i) {
    const imp_foreign_tensor *t = &f->tensors[i];
    const imp_pth_tensor *own = &pth->tensors[i];
    size_t size = imp_dtype_size(t->dtype), index[IMP_SAFETENSORS_DIMS] = {0}, at = 0;
    uint8_t piece[PIECE];
    for (size_t done = 0; done < t->count;) {
        size_t n = imp_least(PIECE / size, t->count - done);
        for (size_t k = 0; k < n; k++) {
            memcpy(piece + k * size, f->data + own->start + at * size, size);
            advance(t, own, index, &at);
        }
        imp_status s = imp_foreign_send(f, piece, n * size);
        if (s) return s;
        done += n;
    }
    return IMP_OK;
}
