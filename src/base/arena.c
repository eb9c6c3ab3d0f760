/* SPDX-License-Identifier: MIT */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CACHE_LINE ((size_t)64)
#define HUGE_PAGE  ((size_t)2 << 20)

void *imp_alloc(size_t size) {
    bool large = size >= 2 * HUGE_PAGE;
    void *p;
    if (size > PTRDIFF_MAX) return NULL;
    if (posix_memalign(&p, large ? HUGE_PAGE : CACHE_LINE, size ? size : 1))
        return NULL;
#ifdef MADV_HUGEPAGE
    /* Advice alone: where the system keeps no huge pages nothing is lost. */
    if (large) (void)madvise(p, size & ~(HUGE_PAGE - 1), MADV_HUGEPAGE);
#endif
    /* Touched here, so that a machine without the memory shows it before the work. */
    memset(p, 0, size);
    return p;
}

void imp_release(void *p) {
    free(p);
}
