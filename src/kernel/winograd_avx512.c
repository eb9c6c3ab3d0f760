/* SPDX-License-Identifier: MIT
 *
 * winograd_avx512.c: the transforms of winograd.inc.h, compiled for avx512.
 */
#include "kernel/levels.h"
#include "kernel/simd.h"

#define SUFFIX         _avx512
#define JOIN(a, b, c)  JOIN_(a, b, c)
#define JOIN_(a, b, c) a##b##c

#define TILE 4
#include "kernel/winograd.inc.h"
#include "kernel/winograd_dw.inc.h"
#define TILE 6
#include "kernel/winograd.inc.h"
