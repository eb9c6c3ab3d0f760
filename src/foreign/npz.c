/* SPDX-License-Identifier: MIT
 *
 * npz.c: NumPy's savez: a zip of NAME.npy. Such a member is a magic string, a version, the
 * length of a header, the header, and the numbers; the header is a dict as Python would print
 * it, of descr, fortran_order and shape (numpy/lib/format.py).
 */
#include "foreign/zip.h"

#include <stdlib.h>
#include <string.h>

static bool recognise(const uint8_t *data, size_t size) {
    return imp_zip_opens_with(data, size, ".npy");
}

#ifdef IMP_WITH_ZIP

#define MOST_HEADER 16384 /* NumPy itself wants 10000 at most */

typedef struct member {
    size_t entry, start; /* of the first number in it */
} member;

typedef struct state {
    imp_zip *zip;
    member *members; /* beside f->tensors */
    size_t room;
} state;

/* --- the header --- */

typedef struct header {
    imp_foreign *f;
    const char *name; /* of the member */
    const char *at, *end;
    const char *descr; /* its n letters */
    size_t n;
    bool has_descr, has_order, has_shape;
} header;

static imp_status bad(const header *h, const char *what) {
    return imp_foreign_fail(
        h->f, "%.100s: header: expected %s, found another", h->name, what);
}

static void skip_spaces(header *h) {
    while (h->at < h->end && (*h->at == ' ' || *h->at == '\n')) h->at++;
}

/* Past this word, and the spaces before it, if it is next. */
static bool take(header *h, const char *word) {
    size_t n = strlen(word);
    skip_spaces(h);
    if ((size_t)(h->end - h->at) < n || memcmp(h->at, word, n)) return false;
    h->at += n;
    return true;
}

/* 'text', without escapes. */
static bool take_string(header *h, const char **text, size_t *n) {
    if (!take(h, "'")) return false;
    const char *quote = memchr(h->at, '\'', (size_t)(h->end - h->at));
    if (!quote) return false;
    *text = h->at;
    *n = (size_t)(quote - h->at);
    h->at = quote + 1;
    return !memchr(*text, '\\', *n);
}

static bool take_number(header *h, size_t *out) {
    skip_spaces(h);
    const char *first = h->at;
    *out = 0;
    for (; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++)
        if (!imp_mul(out, *out, 10) || !imp_add_size(out, *out, (size_t)(*h->at - '0')))
            return false;
    bool any = h->at > first;
    if (any) take(h, "L"); /* Python 2 */
    return any;
}

/* (), (a,), (a, b) ... */
static bool take_shape(header *h, imp_foreign_tensor *t) {
    if (!take(h, "(")) return false;
    bool comma = true;
    for (t->ndim = 0; !take(h, ")"); t->ndim++) {
        if (!comma || t->ndim == IMP_SAFETENSORS_DIMS ||
            !take_number(h, &t->shape[t->ndim]))
            return false;
        comma = take(h, ",");
    }
    return t->ndim != 1 || comma;
}

static bool is(const char *text, size_t n, const char *word) {
    return n == strlen(word) && memcmp(text, word, n) == 0;
}

static imp_status take_field(header *h, imp_foreign_tensor *t) {
    const char *key;
    size_t n;
    if (!take_string(h, &key, &n) || !take(h, ":")) return bad(h, "a key");
    if (is(key, n, "descr") && !h->has_descr) {
        h->has_descr = true;
        return take_string(h, &h->descr, &h->n) ? IMP_OK : bad(h, "one kind of number");
    }
    if (is(key, n, "fortran_order") && !h->has_order) {
        h->has_order = true;
        t->column_major = take(h, "True");
        return t->column_major || take(h, "False") ? IMP_OK : bad(h, "True or False");
    }
    if (is(key, n, "shape") && !h->has_shape) {
        h->has_shape = true;
        return take_shape(h, t) ? IMP_OK : bad(h, "a shape of at most 8 dimensions");
    }
    return bad(h, "descr, fortran_order and shape, each once");
}

/* All of it. */
static imp_status parse(header *h, imp_foreign_tensor *t) {
    if (!take(h, "{")) return bad(h, "a dict");
    bool comma = true;
    while (!take(h, "}")) {
        if (!comma) return bad(h, "a comma");
        imp_status s = take_field(h, t);
        if (s) return s;
        comma = take(h, ",");
    }
    skip_spaces(h);
    if (!h->has_descr || !h->has_order || !h->has_shape)
        return bad(h, "descr, fortran_order and shape");
    return h->at == h->end ? IMP_OK : bad(h, "an end after the dict");
}

/* *told: are they floating-point numbers? */
static imp_status check_descr(const header *h, imp_foreign_tensor *t, bool *told) {
    static const struct {
        const char *descr;
        imp_dtype dtype;
    } known[] = {
        {"<f2", IMP_DTYPE_F16}, {"<f4", IMP_DTYPE_F32}, {"<f8", IMP_DTYPE_F64}};
    *told = true;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is(h->descr, h->n, known[i].descr)) {
            t->dtype = known[i].dtype;
            return IMP_OK;
        }
    if (h->n < 2 || !memchr("<>|", h->descr[0], 3))
        return bad(h, "a dtype as NumPy writes it");
    if (h->descr[1] == 'O')
        return imp_foreign_fail(h->f,
            "%.100s: expected numbers, found Python objects, which would have to be "
            "run",
            h->name);
    if (h->descr[1] == 'f')
        return imp_foreign_fail(h->f,
            "%.100s: expected <f2, <f4 or <f8, found %.*s: save it as "
            "array.astype('<f4')",
            h->name, (int)imp_least(h->n, 20), h->descr);
    *told = false;
    return IMP_OK;
}

/* --- members --- */

/* The length of the header that the member's first bytes tell, and where it begins. */
static imp_status header_length(
    imp_foreign *f, const imp_zip *zip, size_t i, size_t *start, size_t *length) {
    const imp_zip_entry *e = imp_zip_at(zip, i);
    uint8_t b[12] = {0};
    imp_status s = imp_zip_get(f, zip, i, b, imp_least(e->size, sizeof b));
    if (s) return s;
    if (e->size < sizeof b || memcmp(b, "\x93NUMPY", 6) || b[6] < 1 || b[6] > 3 || b[7])
        return imp_foreign_fail(f,
            "%.100s: expected NumPy's array, version 1.0 to 3.0, found another",
            e->name);
    *start = b[6] == 1 ? 10 : 12;
    *length = (size_t)b[8] | (size_t)b[9] << 8;
    if (b[6] > 1) *length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (*length <= MOST_HEADER && imp_in_range(*start, *length, e->size)) return IMP_OK;
    return imp_foreign_fail(f, "%.100s: header: expected at most %zu bytes, found %zu",
        e->name, imp_least(MOST_HEADER, e->size - *start), *length);
}

static imp_status keep(
    imp_foreign *f, state *own, const imp_foreign_tensor *t, member m) {
    imp_status s = imp_foreign_add(f, t);
    if (s) return s;
    if (f->n > own->room) {
        size_t room = f->room;
        member *grown = realloc(own->members, room * sizeof *grown);
        if (!grown) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
        own->members = grown;
        own->room = room;
    }
    own->members[f->n - 1] = m;
    return IMP_OK;
}

/* Its numbers fill the rest of the member, no more and no less. */
static imp_status check_size(
    imp_foreign *f, const imp_zip_entry *e, const imp_foreign_tensor *t, size_t start) {
    size_t bytes = imp_dtype_size(t->dtype);
    bool fits = true;
    for (size_t i = 0; i < t->ndim; i++)
        fits = fits && imp_mul(&bytes, bytes, t->shape[i]);
    if (fits && bytes == e->size - start) return IMP_OK;
    return imp_foreign_fail(f,
        "%.100s: shape: expected one of %zu bytes, found another", e->name,
        e->size - start);
}

static imp_status add_member(imp_foreign *f, state *own, size_t i) {
    const imp_zip_entry *e = imp_zip_at(own->zip, i);
    size_t stem = strlen(e->name), start = 0, length = 0;
    if (stem < 4 || strcmp(e->name + stem - 4, ".npy")) return IMP_OK; /* no array */
    imp_status s = header_length(f, own->zip, i, &start, &length);
    if (s) return s;
    uint8_t bytes[12 + MOST_HEADER];
    if ((s = imp_zip_get(f, own->zip, i, bytes, start + length))) return s;
    header h = {.f = f, .name = e->name, .at = (char *)bytes + start};
    h.end = h.at + length;
    imp_foreign_tensor t = {0};
    bool told;
    if ((s = parse(&h, &t)) || (s = check_descr(&h, &t, &told)) || !told) return s;
    start += length;
    if ((s = check_size(f, e, &t, start))) return s;
    s = imp_foreign_name(
        f, &t, "%.*s", (int)imp_least(stem - 4, IMP_FOREIGN_NAME), e->name);
    if (s) return s;
    t.inside = e->stored;
    if (t.inside) t.offset = e->offset + start;
    return keep(f, own, &t, (member){.entry = i, .start = start});
}

static imp_status open_file(imp_foreign *f) {
    state *own = f->state = calloc(1, sizeof *own);
    if (!own) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    imp_status s = imp_zip_open(f, &own->zip);
    for (size_t i = 0; !s && i < imp_zip_count(own->zip); i++)
        s = add_member(f, own, i);
    return s;
}

static imp_status read_tensor(imp_foreign *f, size_t i) {
    const state *own = f->state;
    const imp_foreign_tensor *t = &f->tensors[i];
    return imp_zip_send(f, own->zip, own->members[i].entry, own->members[i].start,
        t->count * imp_dtype_size(t->dtype));
}

static void close_file(imp_foreign *f) {
    state *own = f->state;
    if (!own) return;
    imp_zip_close(own->zip);
    free(own->members);
    free(own);
    f->state = NULL;
}

const imp_reader imp_reader_npz = {.format = "NumPy (npz)",
    .recognise = recognise,
    .prepare = imp_zip_prepare,
    .open = open_file,
    .read = read_tensor,
    .close = close_file};

#else

const imp_reader imp_reader_npz = {
    .format = "NumPy (npz)", .recognise = recognise, .lacks = "libzip-dev"};

#endif
