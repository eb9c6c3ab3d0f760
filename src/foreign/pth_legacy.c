/* SPDX-License-Identifier: MIT
 *
 * pth_legacy.c: what torch.save wrote before PyTorch 1.6: a pickle each of a magic number, a
 * protocol, the system, the object and the keys of its storages; then for each key the number
 * of elements, eight bytes, and these (torch/serialization.py, _legacy_save).
 */
#include "foreign/pth.h"

#include <stdlib.h>
#include <string.h>

#define PROTOCOL 1001

static const uint8_t magic[] = {
    0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

typedef struct stored {
    imp_pth_storage storage;
    size_t start; /* in the file; 0: not found yet */
} stored;

typedef struct state {
    imp_pickle object, other;
    imp_pth pth;
    stored *storages; /* by key */
    size_t n;
} state;

static bool recognise(const uint8_t *data, size_t size) {
    size_t frame = size > 2 && data[2] == 0x95 ? 9 : 0; /* FRAME of protocol 4 */
    return imp_in_range(2 + frame, sizeof magic, size) && data[0] == 0x80 &&
           memcmp(data + 2 + frame, magic, sizeof magic) == 0;
}

/* --- storages by key --- */

static int compare(const void *left, const void *right) {
    const stored *l = left, *r = right;
    const imp_pickle_value *a = l->storage.key, *b = r->storage.key;
    int order = memcmp(a->is.text, b->is.text, imp_least(a->n, b->n));
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static stored *find(const state *own, const imp_pickle_value *key) {
    const stored wanted = {.storage = {.key = key}};
    return own->n ? bsearch(&wanted, own->storages, own->n, sizeof wanted, compare)
                  : NULL;
}

static imp_status lies(imp_foreign *f, const imp_pickle_value *key, const char *why) {
    return imp_foreign_fail(
        f, "storage %.*s: %s", (int)imp_least(key->n, 40), key->is.text, why);
}

/* All storages that the object names, each once. */
static imp_status collect(imp_foreign *f, state *own) {
    const imp_pickle *p = &own->object;
    size_t n = 0, unique = 0;
    for (size_t i = 0; i < p->n_values; i++) n += p->values[i].kind == IMP_PICKLE_ID;
    own->storages = calloc(n ? n : 1, sizeof *own->storages);
    if (!own->storages)
        return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    for (size_t i = 0; i < p->n_values; i++) {
        if (p->values[i].kind != IMP_PICKLE_ID) continue;
        imp_status s =
            imp_pth_storage_of(f, p, &p->values[i], &own->storages[own->n++].storage);
        if (s) return s;
    }
    if (n) qsort(own->storages, n, sizeof *own->storages, compare);
    for (size_t i = 0; i < n; i++) {
        stored *last = unique ? &own->storages[unique - 1] : NULL,
               *now = &own->storages[i];
        if (!last || compare(last, now))
            own->storages[unique++] = *now;
        else if (last->storage.type != now->storage.type ||
                 last->storage.n != now->storage.n)
            return lies(f, now->storage.key, "expected one type and size, found two");
    }
    own->n = unique;
    return IMP_OK;
}

/* The next storage of the file, which begins at *at. */
static imp_status locate(
    imp_foreign *f, state *own, const imp_pickle_value *key, size_t *at) {
    if (key->kind != IMP_PICKLE_TEXT)
        return imp_foreign_fail(f, "keys of storages: expected a string, found %s",
            imp_pickle_kind_name(key));
    stored *s = find(own, key);
    if (!s) return lies(f, key, "expected one that a tensor has, found one of none");
    if (s->start) return lies(f, key, "expected it once, found it twice");
    if (!imp_in_range(*at, 8, f->size))
        return lies(f, key, "expected its size, found the end");
    uint64_t n = 0;
    for (size_t i = 8; i-- > 0;) n = n << 8 | f->data[*at + i];
    if (n != s->storage.n)
        return imp_foreign_fail(f, "storage %.*s: expected %zu elements, found %llu",
            (int)imp_least(key->n, 40), key->is.text, s->storage.n,
            (unsigned long long)n);
    s->start = *at + 8;
    if (!imp_in_range(s->start, s->storage.bytes, f->size))
        return imp_foreign_fail(f, "storage %.*s: expected %zu bytes, found %zu",
            (int)imp_least(key->n, 40), key->is.text, s->storage.bytes,
            f->size - s->start);
    *at = s->start + s->storage.bytes;
    return IMP_OK;
}

static imp_status locate_all(imp_foreign *f, state *own) {
    const imp_pickle *p = &own->other;
    size_t at = p->end;
    if (p->root->kind != IMP_PICKLE_LIST)
        return imp_foreign_fail(f, "keys of storages: expected a list, found %s",
            imp_pickle_kind_name(p->root));
    for (const imp_pickle_cell *c = imp_pickle_first(p, p->root); c;
         c = imp_pickle_next(p, p->root, c)) {
        imp_status s = locate(f, own, imp_pickle_of(p, c), &at);
        if (s) return s;
    }
    return at == f->size
               ? IMP_OK
               : imp_foreign_fail(f,
                     "expected the end after the storages, found %zu bytes more",
                     f->size - at);
}

static imp_status place(imp_foreign *f, void *user, const imp_pth_storage *storage,
    size_t *entry, size_t *start) {
    const stored *s = find(user, storage->key);
    if (!s || !s->start)
        return lies(f, storage->key, "expected it in the file, found it nowhere");
    *entry = IMP_PTH_OUTSIDE;
    *start = s->start;
    return IMP_OK;
}

/* --- the pickles --- */

static imp_status other_pickle(
    imp_foreign *f, state *own, const char *name, size_t at) {
    imp_pickle_free(&own->other);
    return imp_pickle_read(f, &own->other, name, f->data, f->size, at);
}

/* The first three: is it this format, by a machine that is little endian? *at: their end. */
static imp_status check_system(imp_foreign *f, state *own, size_t *at) {
    const imp_pickle *p = &own->other;
    imp_status s = other_pickle(f, own, "magic number", 0);
    if (s || (s = other_pickle(f, own, "protocol", p->end))) return s;
    if (p->root->kind != IMP_PICKLE_INT || p->root->is.number != PROTOCOL)
        return imp_foreign_fail(f, "protocol: expected %d, found another", PROTOCOL);
    if ((s = other_pickle(f, own, "system", p->end))) return s;
    *at = p->end;
    if (p->root->kind != IMP_PICKLE_DICT)
        return imp_foreign_fail(
            f, "system: expected a dict, found %s", imp_pickle_kind_name(p->root));
    const imp_pickle_cell *c = imp_pickle_first(p, p->root);
    for (; c; c = imp_pickle_next(p, p->root, c)) {
        bool order = imp_pickle_is_text(imp_pickle_of(p, c), "little_endian");
        c = imp_pickle_next(p, p->root, c);
        const imp_pickle_value *v = imp_pickle_of(p, c);
        if (order && (v->kind != IMP_PICKLE_BOOL || !v->is.number))
            return imp_foreign_fail(f,
                "system: expected little-endian numbers, found another order of bytes");
    }
    return IMP_OK;
}

static imp_status open_file(imp_foreign *f) {
    size_t at = 0;
    state *own = f->state = calloc(1, sizeof *own);
    if (!own) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    own->pth.place = place;
    own->pth.user = own;
    imp_status s = check_system(f, own, &at);
    if (!s) s = imp_pickle_read(f, &own->object, "pickle", f->data, f->size, at);
    if (!s) s = collect(f, own);
    if (!s) s = other_pickle(f, own, "keys of storages", own->object.end);
    if (!s) s = locate_all(f, own);
    if (!s) s = imp_pth_add_all(f, &own->pth, &own->object);
    return s;
}

static imp_status read_tensor(imp_foreign *f, size_t i) {
    const state *own = f->state;
    return imp_pth_gather(f, &own->pth, i);
}

static void close_file(imp_foreign *f) {
    state *own = f->state;
    if (!own) return;
    imp_pickle_free(&own->object);
    imp_pickle_free(&own->other);
    imp_pth_free(&own->pth);
    free(own->storages);
    free(own);
    f->state = NULL;
}

const imp_reader imp_reader_pth_legacy = {.format = "PyTorch (legacy)",
    .recognise = recognise,
    .open = open_file,
    .read = read_tensor,
    .close = close_file};
