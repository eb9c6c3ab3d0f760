/* SPDX-License-Identifier: MIT
 *
 * winograd_avx512.c: the transforms of winograd.inc.h, compiled for avx512.
 */
#include "kernel/levels.h"
#include "kernel/simd.h"

#define SUFFIX         _avx512
#define JOIN(a, b, c)  JOIN_(a, b, c)
#define JOIN_(a, b, c) a##b##c

#define TAPS 3
#define TILE 4
#define KEY  4
#include "kernel/winograd.inc.h"
#include "kernel/winograd_dw.inc.h"
#undef TILE
#undef KEY
#define TILE 6
#define KEY  6
#include "kernel/winograd.inc.h"
#undef TILE
#undef TAPS
#undef KEY
#define TAPS 5
#define TILE 4
#define KEY  5
#include "kernel/winograd.inc.h"
#include "kernel/winograd_dw.inc.h"
