/* SPDX-License-Identifier: MIT
 *
 * fuzz_foreign.h: a reader on any bytes: refused with a word, or all that it says is so.
 */
#include "foreign/foreign.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool truth) {
    if (!truth) __builtin_trap();
}

static imp_status count_bytes(void *user, const void *bytes, size_t n) {
    size_t *left = user;
    demand(n <= *left && (n == 0 || bytes));
    *left -= n;
    return IMP_OK;
}

static void use(const imp_reader *reader, imp_foreign *f) {
    for (size_t i = 0; i < f->n; i++) {
        const imp_foreign_tensor *t = &f->tensors[i];
        size_t bytes = t->count * imp_dtype_size(t->dtype);
        if (t->inside || t->shared) {
            demand(
                imp_in_range(t->offset, bytes, t->inside ? f->size : f->shared_size));
            continue;
        }
        f->sink = count_bytes;
        f->user = &bytes;
        imp_status s = reader->read(f, i);
        demand(s == IMP_OK ? bytes == 0 : s == IMP_ERR_MODEL || s == IMP_ERR_LIMIT);
    }
}

/* Memory for what a reader shares, with nothing behind it: pages cost less than the sanitizer's
 * marks of so many bytes. */
enum { PAGE = 4096 };

static void share(imp_foreign *f) {
    f->shared_size = imp_divide_up(imp_foreign_allowance(f->size), PAGE) * PAGE;
    f->shared = mmap(NULL, f->shared_size + PAGE, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    demand(f->shared != MAP_FAILED &&
           mprotect(f->shared + f->shared_size, PAGE, PROT_NONE) == 0);
}

static void unshare(imp_foreign *f) {
    munmap(f->shared, f->shared_size + PAGE);
}

static int fuzz_reader(const imp_reader *reader, const uint8_t *data, size_t size) {
    imp_ctx ctx = {0};
    uint8_t *copy = malloc(size ? size : 1); /* its end is where the sanitizer looks */
    if (!copy) return 0;
    if (size) memcpy(copy, data, size);
    imp_foreign f = {.ctx = &ctx, .path = "fuzz", .data = copy, .size = size};
    if (reader->recognise(copy, size)) {
        if (reader->shares) share(&f);
        imp_status s = reader->prepare ? reader->prepare(&f) : IMP_OK;
        if (!s) s = reader->open(&f);
        if (!s)
            use(reader, &f);
        else
            demand((s == IMP_ERR_MODEL || s == IMP_ERR_LIMIT) &&
                   !strncmp(ctx.error, "fuzz: ", 6));
        if (reader->close) reader->close(&f);
    }
    free(f.tensors);
    if (f.shared) unshare(&f);
    free(copy);
    return 0;
}
