/* SPDX-License-Identifier: MIT
 *
 * gemm_avx2.c: the matrix products of gemm.inc.h, compiled for avx2.
 */
#define LEVEL(name) name##_avx2
#include "kernel/gemm.inc.h"
