/* SPDX-License-Identifier: MIT
 *
 * gemm_generic.c: the matrix products of gemm.inc.h, compiled for generic.
 */
#define LEVEL(name) name##_generic
#include "kernel/gemm.inc.h"
