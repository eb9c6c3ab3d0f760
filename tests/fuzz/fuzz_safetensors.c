/* SPDX-License-Identifier: MIT
 *
 * A safetensors file of any bytes: refused, or all that it says lies inside it.
 */
#include "model/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

static void demand(bool truth) {
    if (!truth) __builtin_trap();
}

static void use(imp_ctx *ctx, const imp_safetensors *st, size_t size) {
    size_t at = 0;
    for (size_t i = 0; i < imp_safetensors_count(st); i++) {
        const imp_safetensors_entry *e = imp_safetensors_at(st, i);
        demand(e->offset == at);
        demand(e->ndim <= IMP_SAFETENSORS_DIMS);
        demand(imp_safetensors_find(st, e->name) == e);
        demand(*imp_dtype_name(e->dtype));
        float x[100];
        for (size_t first = 0, n; first < e->count; first += n) {
            n = e->count - first < 100 ? e->count - first : 100;
            imp_status s = imp_safetensors_floats(ctx, st, e, first, n, x);
            demand(s == IMP_OK || s == IMP_ERR_MODEL);
        }
        /* The next begins where this one ends, and the last one ends the file. */
        size_t next = i + 1 < imp_safetensors_count(st)
                          ? imp_safetensors_at(st, i + 1)->offset
                          : size;
        demand(next >= at && e->count <= next - at);
        at = next;
    }
    (void)imp_safetensors_metadata(st, "architecture");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    imp_ctx ctx = {0};
    imp_safetensors *st;
    uint8_t *copy = malloc(size ? size : 1); /* its end is where the sanitizer looks */
    if (!copy) return 0;
    if (size) memcpy(copy, data, size);
    imp_status status = imp_safetensors_parse(&ctx, &st, "fuzz", copy, size);
    if (status == IMP_OK) {
        uint64_t length = 0;
        for (size_t i = 0; i < 8; i++) length |= (uint64_t)copy[i] << (8 * i);
        use(&ctx, st, size - 8 - (size_t)length);
    } else {
        demand(!st && (status == IMP_ERR_MODEL || status == IMP_ERR_LIMIT));
        demand(strncmp(ctx.error, "fuzz: ", 6) == 0);
    }
    imp_safetensors_close(st);
    free(copy);
    return 0;
}

/* Most changes make the length wrong, and nothing behind it is then seen: mend it. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, most);
    if (size < 9 || seed % 8 == 0) return size;
    size_t end = size;
    while (end > 8 && data[end - 1] != '}') end--;
    for (size_t i = 0; i < 8; i++) data[i] = (uint8_t)((uint64_t)(end - 8) >> (8 * i));
    return size;
}
