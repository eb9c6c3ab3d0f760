/* SPDX-License-Identifier: MIT
 *
 * kernels.c: one constant table of kernels a level, filled from kernels.def.
 */
#include "kernel/kernel.h"
#include "kernel/levels.h"

#define X(member) .member = imp_##member##_generic,
static const imp_kernels generic = {
    .name = "generic",
    .mr = 4,
    .nb = 1,
#include "kernel/kernels.def"
};
#undef X

#if defined(__x86_64__)
#define X(member) .member = imp_##member##_avx2,
static const imp_kernels avx2 = {
    .name = "avx2",
    .mr = 6,
    .nb = 1,
#include "kernel/kernels.def"
};
#undef X

#define X(member) .member = imp_##member##_avx512,
static const imp_kernels avx512 = {
    .name = "avx512",
    .mr = 14,
    .nb = 2,
#include "kernel/kernels.def"
};
#undef X
#endif

const imp_kernels *imp_kernels_for(imp_cpu cpu) {
    switch (cpu) {
#if defined(__x86_64__)
    case IMP_CPU_AVX512:
        return &avx512;
    case IMP_CPU_AVX2:
        return &avx2;
#endif
    default:
        return &generic;
    }
}
