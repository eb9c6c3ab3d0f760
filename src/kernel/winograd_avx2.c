/* SPDX-License-Identifier: MIT
 *
 * winograd_avx2.c: the transforms of winograd_sizes.inc.h, compiled for avx2.
 */
#define LEVEL(name) name##_avx2
#include "kernel/winograd_sizes.inc.h"
