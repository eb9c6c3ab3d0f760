/* SPDX-License-Identifier: MIT
 *
 * winograd_sizes.inc.h: the transforms of every F(TILE x TILE, TAPS x TAPS) there is. KEY
 * stands for it in a kernel's name: imp_winograd_input4_avx2.
 */
#include "kernel/levels.h"
#include "kernel/simd.h"

#define FN(name)            JOIN(name, KEY)
#define JOIN(name, key)     JOIN_NOW(name, key)
#define JOIN_NOW(name, key) LEVEL(name##key)

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
#undef KEY
#define TILE 8
#define KEY  8
#include "kernel/winograd.inc.h"
#undef TILE
#undef TAPS
#undef KEY
#define TAPS 5
#define TILE 4
#define KEY  5
#include "kernel/winograd.inc.h"
#include "kernel/winograd_dw.inc.h"
