/* SPDX-License-Identifier: MIT
 *
 * zip.c: libzip reads the mapped file through a source of ours, which remembers where it has
 * last read: so we learn where an entry's bytes are from libzip itself, and there is no second
 * reader of directories that could understand a lying file in another way.
 */
#include "foreign/zip.h"

#include <stdlib.h>
#include <string.h>

#ifdef IMP_WITH_ZIP
#include <time.h>
#include <zip.h>
#endif

bool imp_zip_opens_with(const uint8_t *data, size_t size, const char *ending) {
    size_t n = strlen(ending), header = 30;
    if (size < header || memcmp(data, "PK\3\4", 4)) return false;
    size_t name = (size_t)data[26] | (size_t)data[27] << 8;
    return name >= n && imp_in_range(header, name, size) &&
           memcmp(data + header + name - n, ending, n) == 0;
}

#ifdef IMP_WITH_ZIP

#define MOST_ENTRIES 16384
#define MOST_RATIO   1032 /* deflate: 258 bytes from two bits, and no more */
#define PIECE        65536

struct imp_zip {
    const uint8_t *data;
    size_t size, at;
    size_t read_at, read_n; /* what was read last */
    zip_error_t error;
    zip_t *archive;
    imp_zip_entry *entries;
    size_t n;
};

/* --- the file, as libzip's source --- */

static zip_int64_t source_seek(imp_zip *z, void *data, zip_uint64_t n) {
    zip_int64_t at = zip_source_seek_compute_offset(z->at, z->size, data, n, &z->error);
    if (at < 0) return -1;
    z->at = (size_t)at;
    return 0;
}

static zip_int64_t source_read(imp_zip *z, void *data, zip_uint64_t wanted) {
    size_t left = z->size - z->at, n = wanted < left ? (size_t)wanted : left;
    if (n) memcpy(data, z->data + z->at, n);
    z->read_at = z->at;
    z->read_n = n;
    z->at += n;
    return (zip_int64_t)n;
}

static zip_int64_t source_stat(imp_zip *z, void *data, zip_uint64_t n) {
    zip_stat_t *st = data;
    if (n < sizeof *st) return -1;
    zip_stat_init(st);
    st->size = z->size;
    st->valid |= ZIP_STAT_SIZE;
    return sizeof *st;
}

static zip_int64_t source(
    void *user, void *data, zip_uint64_t n, zip_source_cmd_t command) {
    imp_zip *z = user;
    switch (command) {
    case ZIP_SOURCE_OPEN:
        z->at = 0;
        return 0;
    case ZIP_SOURCE_READ:
        return source_read(z, data, n);
    case ZIP_SOURCE_SEEK:
        return source_seek(z, data, n);
    case ZIP_SOURCE_TELL:
        return (zip_int64_t)z->at;
    case ZIP_SOURCE_STAT:
        return source_stat(z, data, n);
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&z->error, data, n);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
        return 0;
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ,
            ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
            ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
    default:
        zip_error_set(&z->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

/* --- the directory --- */

static imp_status damaged(imp_foreign *f, const char *place, zip_error_t *error) {
    int code = zip_error_code_zip(error);
    imp_status s =
        code == ZIP_ER_MEMORY
            ? imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path)
            : imp_foreign_fail(f, "zip: %s: %s", place, zip_error_strerror(error));
    return s;
}

static imp_status bad_entry(imp_foreign *f, const imp_zip_entry *e, const char *what) {
    return imp_foreign_fail(f, "zip: entry %.80s: %s", e->name, what);
}

/* Where libzip reads the first byte of entry i. */
static imp_status locate(imp_foreign *f, imp_zip *z, size_t i) {
    imp_zip_entry *e = &z->entries[i];
    uint8_t byte;
    if (e->packed == 0) return IMP_OK;
    zip_file_t *file = zip_fopen_index(z->archive, i, ZIP_FL_COMPRESSED);
    if (!file) return damaged(f, e->name, zip_get_error(z->archive));
    z->read_n = 0;
    bool found = zip_fread(file, &byte, 1) == 1 && z->read_n == 1;
    zip_fclose(file);
    e->offset = z->read_at;
    if (found && imp_in_range(e->offset, e->packed, z->size) &&
        z->data[e->offset] == byte)
        return IMP_OK;
    return bad_entry(f, e, "expected its bytes in the file, found them outside");
}

static imp_status check_entry(imp_foreign *f, imp_zip *z, size_t i) {
    imp_zip_entry *e = &z->entries[i];
    zip_stat_t st;
    zip_uint64_t need = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                        ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat_index(z->archive, i, 0, &st) || (st.valid & need) != need)
        return damaged(f, "directory", zip_get_error(z->archive));
    e->name = st.name;
    e->size = (size_t)st.size;
    e->packed = (size_t)st.comp_size;
    e->stored = st.comp_method == ZIP_CM_STORE;
    if (st.encryption_method != ZIP_EM_NONE)
        return bad_entry(f, e, "expected one that is not encrypted");
    if (!e->stored && st.comp_method != ZIP_CM_DEFLATE)
        return bad_entry(f, e, "expected it stored or deflated, found another method");
    if (e->stored && e->size != e->packed)
        return bad_entry(f, e, "it is stored: expected one size, found two");
    if (e->packed > z->size || e->size / MOST_RATIO > e->packed)
        return imp_foreign_fail(f,
            "zip: entry %.80s: expected at most %zu bytes from %zu packed ones, found "
            "%zu",
            e->name, (e->packed > z->size ? z->size : e->packed) * MOST_RATIO,
            e->packed, e->size);
    return locate(f, z, i);
}

static int by_offset(const void *left, const void *right) {
    const imp_zip_entry *const *a = left, *const *b = right;
    return ((*a)->offset > (*b)->offset) - ((*a)->offset < (*b)->offset);
}

static imp_status check_overlap(imp_foreign *f, const imp_zip *z) {
    const imp_zip_entry **sorted = malloc((z->n + 1) * sizeof *sorted);
    if (!sorted) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    size_t n = 0;
    imp_status s = IMP_OK;
    for (size_t i = 0; i < z->n; i++)
        if (z->entries[i].packed) sorted[n++] = &z->entries[i];
    qsort(sorted, n, sizeof *sorted, by_offset);
    for (size_t i = 1; i < n && !s; i++)
        if (sorted[i]->offset - sorted[i - 1]->offset < sorted[i - 1]->packed)
            s = bad_entry(f, sorted[i], "it lies over another entry");
    free(sorted);
    return s;
}

imp_status imp_zip_prepare(imp_foreign *f) {
    (void)f;
    setenv("TZ", "UTC",
        1); /* libzip asks for the local time of entries: no file for that */
    tzset();
    return IMP_OK;
}

static imp_status open_archive(imp_foreign *f, imp_zip *z) {
    zip_source_t *s = zip_source_function_create(source, z, &z->error);
    if (!s) return damaged(f, "directory", &z->error);
    z->archive = zip_open_from_source(s, ZIP_RDONLY | ZIP_CHECKCONS, &z->error);
    if (z->archive) return IMP_OK;
    zip_source_free(s);
    return damaged(f, "directory", &z->error);
}

imp_status imp_zip_open(imp_foreign *f, imp_zip **out) {
    imp_zip *z = *out = calloc(1, sizeof *z);
    if (!z) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    z->data = f->data;
    z->size = f->size;
    zip_error_init(&z->error);
    imp_status s = open_archive(f, z);
    if (s) return s;
    zip_int64_t n = zip_get_num_entries(z->archive, 0);
    if (n < 0 || n > MOST_ENTRIES)
        return imp_foreign_fail(f,
            "zip: directory: expected at most %d entries, found %lld", MOST_ENTRIES,
            (long long)n);
    z->n = (size_t)n;
    z->entries = calloc(z->n ? z->n : 1, sizeof *z->entries);
    if (!z->entries) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    for (size_t i = 0; i < z->n; i++)
        if ((s = check_entry(f, z, i))) return s;
    return check_overlap(f, z);
}

void imp_zip_close(imp_zip *z) {
    if (!z) return;
    if (z->archive) zip_discard(z->archive);
    zip_error_fini(&z->error);
    free(z->entries);
    free(z);
}

size_t imp_zip_count(const imp_zip *z) {
    return z->n;
}

const imp_zip_entry *imp_zip_at(const imp_zip *z, size_t i) {
    return &z->entries[i];
}

const imp_zip_entry *imp_zip_find(const imp_zip *z, const char *name, size_t *i) {
    zip_int64_t found = zip_name_locate(z->archive, name, 0);
    if (found < 0) return NULL;
    *i = (size_t)found;
    return &z->entries[*i];
}

/* --- bytes of an entry --- */

/* Exactly n bytes from where file is. */
static imp_status read_exact(
    imp_foreign *f, const imp_zip_entry *e, zip_file_t *file, uint8_t *out, size_t n) {
    while (n > 0) {
        zip_int64_t got = zip_fread(file, out, n);
        if (got < 0) return damaged(f, e->name, zip_file_get_error(file));
        if (got == 0)
            return imp_foreign_fail(f,
                "zip: entry %.80s: expected %zu bytes more, found its end", e->name, n);
        out += got;
        n -= (size_t)got;
    }
    return IMP_OK;
}

/* Nothing may follow; libzip compares the sum when it finds that. */
static imp_status read_end(imp_foreign *f, const imp_zip_entry *e, zip_file_t *file) {
    uint8_t byte;
    zip_int64_t got = zip_fread(file, &byte, 1);
    if (got == 0) return IMP_OK;
    return got < 0 ? damaged(f, e->name, zip_file_get_error(file))
                   : bad_entry(f, e, "expected its end, found more bytes");
}

imp_status imp_zip_get(
    imp_foreign *f, const imp_zip *z, size_t i, uint8_t *out, size_t n) {
    const imp_zip_entry *e = &z->entries[i];
    zip_file_t *file = zip_fopen_index(z->archive, i, 0);
    if (!file) return damaged(f, e->name, zip_get_error(z->archive));
    imp_status s = read_exact(f, e, file, out, n);
    if (!s && n == e->size) s = read_end(f, e, file);
    zip_fclose(file);
    return s;
}

imp_status imp_zip_send(
    imp_foreign *f, const imp_zip *z, size_t i, size_t skip, size_t n) {
    const imp_zip_entry *e = &z->entries[i];
    bool all = skip + n == e->size;
    uint8_t piece[PIECE];
    zip_file_t *file = zip_fopen_index(z->archive, i, 0);
    if (!file) return damaged(f, e->name, zip_get_error(z->archive));
    imp_status s = IMP_OK;
    while (!s && skip > 0) {
        size_t now = imp_least(skip, sizeof piece);
        s = read_exact(f, e, file, piece, now);
        skip -= now;
    }
    while (!s && n > 0) {
        size_t now = imp_least(n, sizeof piece);
        s = read_exact(f, e, file, piece, now);
        if (!s) s = imp_foreign_send(f, piece, now);
        n -= now;
    }
    if (!s && all) s = read_end(f, e, file);
    zip_fclose(file);
    return s;
}

#endif
