/* SPDX-License-Identifier: MIT
 *
 * IDX, the format of MNIST (LeCun, Cortes & Burges, "The MNIST database"): big endian
 * 32-bit numbers (magic, count, and for images rows and columns), then bytes.
 */
#include "data/data.h"
#include "data/idx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#define MAGIC_IMAGES 2051
#define MAGIC_LABELS 2049
#define MOST_COUNT   10000000
#define MOST_SIDE    4096
#define MOST_BYTES   ((uint64_t)4 << 30)
#define MOST_RATIO   1032 /* deflate: 258 bytes from two bits, and no more */

#define CLASSES 10

/* --- bytes, plain or out of gzip --- */

typedef struct reader {
    imp_ctx *ctx;
    imp_idx_bytes in; /* what is left of it */
    uint64_t most;    /* bytes that can come out */
    bool gzip, ended; /* ended: at the end of a gzip member */
    z_stream z;
} reader;

static bool gzip_here(const imp_idx_bytes *in) {
    return in->size >= 2 && in->data[0] == 0x1f && in->data[1] == 0x8b;
}

static imp_status damaged(const reader *r, const char *why) {
    return imp_fail(r->ctx, IMP_ERR_DATA, "%s: gzip: %s", r->in.name, why);
}

static imp_status reader_open(reader *r, imp_ctx *ctx, imp_idx_bytes in) {
    *r = (reader){.ctx = ctx, .in = in, .most = in.size, .gzip = gzip_here(&in)};
    if (!r->gzip) return IMP_OK;
    r->most =
        in.size > UINT64_MAX / MOST_RATIO ? UINT64_MAX : (uint64_t)in.size * MOST_RATIO;
    if (inflateInit2(&r->z, 16 + MAX_WBITS) == Z_OK) return IMP_OK;
    r->gzip = false;
    return imp_fail(ctx, IMP_ERR_LIMIT, "%s: gzip: out of memory", in.name);
}

static void reader_close(reader *r) {
    if (r->gzip) inflateEnd(&r->z);
}

/* One round of inflate into out; *n: the bytes that came. */
static imp_status inflate_some(reader *r, uint8_t *out, size_t want, size_t *n) {
    if (r->ended) { /* another member may follow */
        if (!gzip_here(&r->in)) return damaged(r, "more bytes after its end");
        inflateReset(&r->z);
        r->ended = false;
    }
    size_t give = r->in.size < 1u << 30 ? r->in.size : 1u << 30;
    want = want < 1u << 30 ? want : 1u << 30;
    r->z.next_in = (Bytef *)(uintptr_t)r->in.data; /* zlib does not write there */
    r->z.avail_in = (uInt)give;
    r->z.next_out = out;
    r->z.avail_out = (uInt)want;
    int code = inflate(&r->z, Z_NO_FLUSH);
    size_t taken = give - r->z.avail_in;
    r->in.data += taken;
    r->in.size -= taken;
    *n = want - r->z.avail_out;
    r->ended = code == Z_STREAM_END;
    if (code == Z_OK || code == Z_STREAM_END) return IMP_OK;
    if (code == Z_MEM_ERROR)
        return imp_fail(r->ctx, IMP_ERR_LIMIT, "%s: gzip: out of memory", r->in.name);
    if (code == Z_BUF_ERROR) return damaged(r, "it is cut short");
    return damaged(r, r->z.msg ? r->z.msg : "damaged");
}

/* Up to size bytes; *n less than that: the end. */
static imp_status read_some(reader *r, uint8_t *out, size_t size, size_t *n) {
    *n = 0;
    if (!r->gzip) {
        *n = size < r->in.size ? size : r->in.size;
        if (*n) memcpy(out, r->in.data, *n);
        r->in.data += *n;
        r->in.size -= *n;
        return IMP_OK;
    }
    while (*n < size && !(r->ended && r->in.size == 0)) {
        size_t now = 0;
        imp_status status = inflate_some(r, out + *n, size - *n, &now);
        if (status != IMP_OK) return status;
        *n += now;
    }
    return IMP_OK;
}

static imp_status read_exact(reader *r, uint8_t *out, size_t size, const char *field) {
    size_t n;
    imp_status status = read_some(r, out, size, &n);
    if (status != IMP_OK || n == size) return status;
    return imp_fail(r->ctx, IMP_ERR_DATA, "%s: %s: expected %zu bytes, found %zu",
        r->in.name, field, size, n);
}

static imp_status read_end(reader *r) {
    uint8_t byte;
    size_t n;
    imp_status status = read_some(r, &byte, 1, &n); /* gzip: checks its sum too */
    if (status != IMP_OK || n == 0) return status;
    return imp_fail(r->ctx, IMP_ERR_DATA,
        "%s: size: expected an end where the header says, found more bytes",
        r->in.name);
}

/* --- the two files --- */

static uint32_t big_endian(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static imp_status check(
    const reader *r, const char *field, uint32_t found, uint32_t least, uint32_t most) {
    if (found >= least && found <= most) return IMP_OK;
    if (least == most)
        return imp_fail(r->ctx, IMP_ERR_DATA, "%s: %s: expected %u, found %u",
            r->in.name, field, (unsigned)least, (unsigned)found);
    return imp_fail(r->ctx, found < least ? IMP_ERR_DATA : IMP_ERR_LIMIT,
        "%s: %s: expected %u to %u, found %u", r->in.name, field, (unsigned)least,
        (unsigned)most, (unsigned)found);
}

/* Get memory for what the header declares and read it, once it is known that the file
 * can hold that much. */
static imp_status read_body(reader *r, uint64_t size, uint64_t header, uint8_t **out) {
    if (size > MOST_BYTES || size > PTRDIFF_MAX)
        return imp_fail(r->ctx, IMP_ERR_LIMIT,
            "%s: size: expected at most %llu bytes, found %llu declared", r->in.name,
            (unsigned long long)MOST_BYTES, (unsigned long long)size);
    if (header + size > r->most)
        return imp_fail(r->ctx, IMP_ERR_DATA,
            "%s: size: expected %llu bytes as its header says, found %s%llu",
            r->in.name, (unsigned long long)(header + size), r->gzip ? "at most " : "",
            (unsigned long long)r->most);
    *out = malloc((size_t)size);
    if (!*out)
        return imp_fail(r->ctx, IMP_ERR_LIMIT, "%s: no memory for %llu bytes",
            r->in.name, (unsigned long long)size);
    imp_status status = read_exact(r, *out, (size_t)size, "data");
    return status == IMP_OK ? read_end(r) : status;
}

static imp_status read_images(imp_ctx *ctx, imp_dataset *set, imp_idx_bytes in) {
    reader r;
    uint8_t h[16];
    imp_status status = reader_open(&r, ctx, in);
    if (status != IMP_OK) goto done;
    status = read_exact(&r, h, 4, "magic");
    if (status == IMP_OK)
        status = check(&r, "magic", big_endian(h), MAGIC_IMAGES, MAGIC_IMAGES);
    if (status == IMP_OK) status = read_exact(&r, h + 4, 12, "header");
    if (status == IMP_OK) status = check(&r, "count", big_endian(h + 4), 1, MOST_COUNT);
    if (status == IMP_OK) status = check(&r, "rows", big_endian(h + 8), 1, MOST_SIDE);
    if (status == IMP_OK)
        status = check(&r, "columns", big_endian(h + 12), 1, MOST_SIDE);
    if (status != IMP_OK) goto done;
    set->count = big_endian(h + 4);
    set->channels = 1;
    set->classes = CLASSES;
    set->height = big_endian(h + 8);
    set->width = big_endian(h + 12);
    /* At most 10^7 * 2^24 < 2^48. */
    status = read_body(
        &r, (uint64_t)set->count * (set->height * set->width), sizeof h, &set->images);
done:
    reader_close(&r);
    return status;
}

static imp_status read_labels(imp_ctx *ctx, imp_dataset *set, imp_idx_bytes in) {
    reader r;
    uint8_t h[8], *labels = NULL;
    imp_status status = reader_open(&r, ctx, in);
    if (status != IMP_OK) goto done;
    status = read_exact(&r, h, 4, "magic");
    if (status == IMP_OK)
        status = check(&r, "magic", big_endian(h), MAGIC_LABELS, MAGIC_LABELS);
    if (status == IMP_OK) status = read_exact(&r, h + 4, 4, "header");
    if (status != IMP_OK) goto done;
    if (big_endian(h + 4) != set->count) {
        status = imp_fail(ctx, IMP_ERR_DATA,
            "%s: count: expected %zu, as there are images, found %u", in.name,
            set->count, (unsigned)big_endian(h + 4));
        goto done;
    }
    status = read_body(&r, set->count, sizeof h, &labels);
    if (status != IMP_OK) goto done;
    set->labels = malloc(set->count * sizeof *set->labels);
    if (!set->labels)
        status = imp_fail(ctx, IMP_ERR_LIMIT, "%s: out of memory", in.name);
    for (size_t i = 0; status == IMP_OK && i < set->count; i++) {
        set->labels[i] = labels[i];
        if (labels[i] >= CLASSES)
            status = imp_fail(ctx, IMP_ERR_DATA,
                "%s: label %zu: expected 0 to 9, found %d", in.name, i, labels[i]);
    }
done:
    free(labels);
    reader_close(&r);
    return status;
}

imp_status imp_idx_parse(
    imp_ctx *ctx, imp_dataset **out, imp_idx_bytes images, imp_idx_bytes labels) {
    *out = NULL;
    imp_dataset *set = calloc(1, sizeof *set);
    if (!set) return imp_fail(ctx, IMP_ERR_LIMIT, "%s: out of memory", images.name);
    imp_status status = read_images(ctx, set, images);
    if (status == IMP_OK) status = read_labels(ctx, set, labels);
    if (status != IMP_OK) {
        imp_dataset_free(set);
        return status;
    }
    *out = set;
    return IMP_OK;
}

/* --- MNIST --- */

/* dir/name, or dir/name.gz where the former is not there. */
static imp_status open_either(
    imp_ctx *ctx, imp_file *file, char **path, const char *dir, const char *name) {
    struct stat st;
    size_t size = strlen(dir) + strlen(name) + sizeof "/.gz";
    *path = malloc(size);
    if (!*path) return imp_fail(ctx, IMP_ERR_LIMIT, "%s: out of memory", dir);
    snprintf(*path, size, "%s/%s", dir, name);
    if (stat(*path, &st) == 0) return imp_file_open(ctx, file, *path, IMP_ERR_DATA);
    snprintf(*path, size, "%s/%s.gz", dir, name);
    if (stat(*path, &st) == 0) return imp_file_open(ctx, file, *path, IMP_ERR_DATA);
    return imp_fail(ctx, IMP_ERR_DATA, "%s/%s: not found, nor with .gz", dir, name);
}

imp_status imp_mnist_load(
    imp_ctx *ctx, imp_dataset **out, const char *dir, imp_mnist_part part) {
    bool train = part == IMP_MNIST_TRAIN;
    imp_file images = {0}, labels = {0};
    char *images_path = NULL, *labels_path = NULL;
    *out = NULL;
    imp_status status = open_either(ctx, &images, &images_path, dir,
        train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte");
    if (status == IMP_OK)
        status = open_either(ctx, &labels, &labels_path, dir,
            train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte");
    if (status == IMP_OK)
        status = imp_idx_parse(ctx, out,
            (imp_idx_bytes){images_path, images.data, images.size},
            (imp_idx_bytes){labels_path, labels.data, labels.size});
    imp_file_close(&images);
    imp_file_close(&labels);
    free(images_path);
    free(labels_path);
    return status;
}
