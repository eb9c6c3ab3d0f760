/* SPDX-License-Identifier: MIT
 *
 * pth_zip.c: what torch.save writes since PyTorch 1.6: a zip of NAME/data.pkl, the pickle of
 * the object, and NAME/data/KEY, the numbers of a storage, stored (torch/serialization.py,
 * _save). Sums are not compared where the numbers are taken from the file as they are: PyTorch
 * can be told to write none.
 */
#include "foreign/pth.h"
#include "foreign/zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool recognise(const uint8_t *data, size_t size) {
    return imp_zip_opens_with(data, size, "") &&
           !imp_zip_opens_with(data, size, ".npy");
}

#ifdef IMP_WITH_ZIP

#define MOST_PICKLE ((size_t)1 << 24)

typedef struct state {
    imp_zip *zip;
    imp_pickle pickle;
    imp_pth pth;
    uint8_t *unpacked; /* the pickle, where the file has it deflated */
    char name[256];    /* of the folder in which all is, with its slash */
} state;

/* The entry by that name in the folder. */
static const imp_zip_entry *find(const state *own, const char *name, size_t *i) {
    char full[sizeof own->name + 128];
    int n = snprintf(full, sizeof full, "%s%s", own->name, name);
    return n > 0 && (size_t)n < sizeof full ? imp_zip_find(own->zip, full, i) : NULL;
}

/* The one entry NAME/data.pkl; its name is kept. */
static imp_status find_pickle(imp_foreign *f, state *own, size_t *i) {
    static const char ending[] = "/data.pkl";
    size_t found = 0;
    for (size_t k = 0; k < imp_zip_count(own->zip); k++) {
        const char *name = imp_zip_at(own->zip, k)->name, *slash = strchr(name, '/');
        size_t folder = slash ? (size_t)(slash - name) + 1 : 0;
        if (!slash || strcmp(slash, ending) || folder >= sizeof own->name) continue;
        memcpy(own->name, name, folder);
        own->name[folder] = 0;
        *i = k;
        found++;
    }
    if (found == 1) return IMP_OK;
    return imp_foreign_fail(f,
        "zip: expected one entry NAME/data.pkl as PyTorch writes it, found %zu", found);
}

/* A TorchScript archive has code; the other machine's numbers would be big endian. */
static imp_status check_kind(imp_foreign *f, const state *own) {
    size_t n = strlen(own->name), i;
    char order[6];
    for (size_t k = 0; k < imp_zip_count(own->zip); k++) {
        const char *name = imp_zip_at(own->zip, k)->name;
        if (strncmp(name, own->name, n) == 0 && strncmp(name + n, "code/", 5) == 0)
            return imp_foreign_fail(f,
                "zip: expected a state dict, found a TorchScript program: save its "
                "tensors alone instead, with "
                "torch.save(torch.jit.load(PATH).state_dict(), OTHER)");
    }
    const imp_zip_entry *e = find(own, "byteorder", &i);
    if (!e) return IMP_OK; /* older than 2.1 */
    if (e->size == sizeof order) {
        imp_status s = imp_zip_get(f, own->zip, i, (uint8_t *)order, sizeof order);
        if (s) return s;
        if (memcmp(order, "little", sizeof order) == 0) return IMP_OK;
    }
    return imp_foreign_fail(
        f, "zip: %.80s: expected little, found another order of bytes", e->name);
}

static imp_status read_pickle(imp_foreign *f, state *own, size_t i) {
    const imp_zip_entry *e = imp_zip_at(own->zip, i);
    const uint8_t *bytes = f->data + e->offset;
    if (!e->stored) {
        if (e->size > MOST_PICKLE || e->size > imp_foreign_allowance(f->size))
            return imp_foreign_fail(f,
                "zip: %.80s: expected at most %zu bytes, found %zu claimed", e->name,
                imp_least(MOST_PICKLE, imp_foreign_allowance(f->size)), e->size);
        own->unpacked = malloc(e->size + 1);
        if (!own->unpacked)
            return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
        imp_status s = imp_zip_get(f, own->zip, i, own->unpacked, e->size);
        if (s) return s;
        bytes = own->unpacked;
    }
    return imp_pickle_read(f, &own->pickle, "data.pkl", bytes, e->size, 0);
}

static imp_status place(imp_foreign *f, void *user, const imp_pth_storage *storage,
    size_t *entry, size_t *start) {
    const state *own = user;
    char name[128];
    int n = snprintf(name, sizeof name, "data/%.*s",
        (int)imp_least(storage->key->n, 100), storage->key->is.text);
    size_t i = 0;
    const imp_zip_entry *e =
        n > 5 && storage->key->n <= 100 ? find(own, name, &i) : NULL;
    if (!e)
        return imp_foreign_fail(
            f, "zip: expected an entry %s%s, found none", own->name, name);
    if (e->size != storage->bytes)
        return imp_foreign_fail(f, "zip: entry %.80s: expected %zu bytes, found %zu",
            e->name, storage->bytes, e->size);
    *entry = e->stored ? IMP_PTH_OUTSIDE : i;
    *start = e->stored ? e->offset : 0;
    return IMP_OK;
}

static imp_status open_file(imp_foreign *f) {
    size_t i = 0;
    state *own = f->state = calloc(1, sizeof *own);
    if (!own) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    own->pth.place = place;
    own->pth.user = own;
    imp_status s = imp_zip_open(f, &own->zip);
    if (!s) s = find_pickle(f, own, &i);
    if (!s) s = check_kind(f, own);
    if (!s) s = read_pickle(f, own, i);
    if (!s) s = imp_pth_add_all(f, &own->pth, &own->pickle);
    return s;
}

static imp_status read_tensor(imp_foreign *f, size_t i) {
    const state *own = f->state;
    const imp_foreign_tensor *t = &f->tensors[i];
    const imp_pth_tensor *place = &own->pth.tensors[i];
    if (place->entry == IMP_PTH_OUTSIDE) return imp_pth_gather(f, &own->pth, i);
    return imp_zip_send(
        f, own->zip, place->entry, place->start, t->count * imp_dtype_size(t->dtype));
}

static void close_file(imp_foreign *f) {
    state *own = f->state;
    if (!own) return;
    imp_zip_close(own->zip);
    imp_pickle_free(&own->pickle);
    imp_pth_free(&own->pth);
    free(own->unpacked);
    free(own);
    f->state = NULL;
}

const imp_reader imp_reader_pth_zip = {.format = "PyTorch (zip)",
    .recognise = recognise,
    .prepare = imp_zip_prepare,
    .open = open_file,
    .read = read_tensor,
    .close = close_file};

#else

const imp_reader imp_reader_pth_zip = {
    .format = "PyTorch (zip)", .recognise = recognise, .lacks = "libzip-dev"};

#endif
