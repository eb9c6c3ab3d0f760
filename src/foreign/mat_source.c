/* SPDX-License-Identifier: MIT
 *
 * mat_source.c: the bytes of a MAT-file's variable. Packed ones are inflated by ISA-L, in a third
 * of zlib's time.
 */
#include "foreign/mat.h"

#include <stdlib.h>
#include <string.h>
#ifdef IMP_WITH_ISAL
#include <isa-l/igzip_lib.h>
#endif

#define INFLATED ((size_t)1 << 17)
#define FORGET   ((size_t)8 << 20)

uint32_t imp_mat_word(const uint8_t *p) {
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

imp_mat_source imp_mat_plain(
    imp_foreign *f, const uint8_t *data, size_t pos, size_t end) {
    return (imp_mat_source){.f = f, .data = data, .pos = pos, .end = end};
}

/* --- packed --- */

struct imp_mat_packed {
    size_t start, stop; /* where it lies in the file */
    size_t given, kept; /* up to where it is inflated; from where pages are kept */
    bool ended;
    size_t taken, n; /* the source is at out + taken, of n bytes */
    uint8_t out[INFLATED];
#ifdef IMP_WITH_ISAL
    struct inflate_state z;
#endif
};

void imp_mat_close(imp_mat_source *s) {
    free(s->packed);
    s->packed = NULL;
}

#ifdef IMP_WITH_ISAL

imp_status imp_mat_unpack(
    imp_mat_source *s, imp_foreign *f, size_t start, size_t stop) {
    imp_mat_packed *p = malloc(sizeof *p);
    *s = (imp_mat_source){.f = f, .packed = p, .end = SIZE_MAX};
    if (!p) return imp_fail(f->ctx, IMP_ERR_LIMIT, "%s: no memory", f->path);
    p->start = p->given = p->kept = start;
    p->stop = stop;
    p->ended = false;
    p->taken = p->n = 0;
    isal_inflate_init(&p->z);
    p->z.crc_flag = ISAL_ZLIB;
    return IMP_OK;
}

/* What is inflated of a large file need not stay in memory. */
static void forget(const imp_foreign *f, imp_mat_packed *p) {
    if (p->given - p->kept < FORGET) return;
    imp_file_forget(&(imp_file){f->data, f->size}, p->kept, p->given - p->kept);
    p->kept = p->given;
}

/* Some more into out, which is used up. */
static imp_status inflate_some(const imp_foreign *f, imp_mat_packed *p) {
    p->taken = p->n = 0;
    while (p->n == 0 && !p->ended) {
        size_t give = imp_least(p->stop - p->given, (size_t)1 << 30);
        p->z.next_in = (uint8_t *)(uintptr_t)(f->data + p->given);
        p->z.avail_in = (uint32_t)give;
        p->z.next_out = p->out;
        p->z.avail_out = INFLATED;
        int code = isal_inflate(&p->z);
        size_t used = give - p->z.avail_in;
        p->given += used;
        forget(f, p);
        p->n = INFLATED - p->z.avail_out;
        p->ended = p->z.block_state == ISAL_BLOCK_FINISH;
        bool well = code >= 0 && code <= ISAL_OUT_OVERFLOW;
        if (!well || (p->n == 0 && used == 0 && !p->ended))
            return imp_foreign_fail(f, "packed variable at byte %zu: %s", p->start,
                well                              ? "it is cut short"
                : code == ISAL_INCORRECT_CHECKSUM ? "its sum is another"
                                                  : "damaged");
    }
    return IMP_OK;
}

#else

imp_status imp_mat_unpack(
    imp_mat_source *s, imp_foreign *f, size_t start, size_t stop) {
    (void)start, (void)stop;
    *s = (imp_mat_source){.f = f};
    return imp_foreign_lacks(f, "libisal-dev");
}

static imp_status inflate_some(const imp_foreign *f, imp_mat_packed *p) {
    (void)p;
    return imp_foreign_lacks(f, "libisal-dev");
}

#endif

imp_status imp_mat_drain(imp_mat_source *s, size_t end) {
    imp_mat_packed *p = s->packed;
    imp_status status = imp_mat_go_to(s, end);
    while (!status && p->taken == p->n && !p->ended) status = inflate_some(s->f, p);
    if (status || p->taken == p->n) return status;
    return imp_foreign_fail(s->f,
        "packed variable at byte %zu: expected its end at %zu, found more bytes",
        p->start, end);
}

/* --- either --- */

/* The next bytes, at most n and at least one, stay where they are: *out. */
static imp_status some(imp_mat_source *s, const uint8_t **out, size_t *n) {
    imp_mat_packed *p = s->packed;
    if (!p) {
        *n = imp_least(*n, s->end - s->pos);
        *out = s->data + s->pos;
    } else {
        if (p->taken == p->n) {
            imp_status status = inflate_some(s->f, p);
            if (status) return status;
        }
        *n = imp_least(*n, p->n - p->taken);
        *out = p->out + p->taken;
        p->taken += *n;
    }
    s->pos += *n;
    if (*n) return IMP_OK;
    return imp_foreign_fail(s->f, "expected more bytes at %zu%s, found the end", s->pos,
        p ? " of a packed variable" : "");
}

imp_status imp_mat_bytes(imp_mat_source *s, void *out, size_t size) {
    uint8_t *to = out;
    while (size) {
        const uint8_t *p;
        size_t n = size;
        imp_status status = some(s, &p, &n);
        if (status) return status;
        memcpy(to, p, n);
        to += n;
        size -= n;
    }
    return IMP_OK;
}

imp_status imp_mat_go_to(imp_mat_source *s, size_t pos) {
    if (!s->packed) {
        if (pos > s->end)
            return imp_foreign_fail(s->f,
                "an element's end: expected at most byte %zu, found %zu", s->end, pos);
        s->pos = pos;
        return IMP_OK;
    }
    while (s->pos < pos) {
        const uint8_t *p;
        size_t n = pos - s->pos;
        imp_status status = some(s, &p, &n);
        if (status) return status;
    }
    return IMP_OK;
}
