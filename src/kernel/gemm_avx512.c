/* SPDX-License-Identifier: MIT
 *
 * gemm_avx512.c: the matrix products of gemm.inc.h, compiled for avx512.
 */
#define LEVEL(name) name##_avx512
#include "kernel/gemm.inc.h"
