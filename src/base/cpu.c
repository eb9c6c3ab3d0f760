/* SPDX-License-Identifier: MIT */
#include "base/base.h"

#include <string.h>

static const char *const names[] = {[IMP_CPU_GENERIC] = "generic",
    [IMP_CPU_AVX2] = "avx2",
    [IMP_CPU_AVX512] = "avx512"};

bool imp_cpu_parse(const char *name, imp_cpu *out) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (imp_cpu)i;
            return true;
        }
    return false;
}

const char *imp_cpu_name(imp_cpu cpu) {
    return (size_t)cpu < sizeof names / sizeof *names ? names[cpu] : "unknown";
}

imp_cpu imp_cpu_best(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    /* The builtin asks the operating system too: registers it does not save are no use.
     */
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return IMP_CPU_GENERIC;
#if defined(IMP_ASSUME_AVX512)
    return IMP_CPU_AVX512;
#endif
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl"))
        return IMP_CPU_AVX2;
    return IMP_CPU_AVX512;
#else
    return IMP_CPU_GENERIC;
#endif
}
