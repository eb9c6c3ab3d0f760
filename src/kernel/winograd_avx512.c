/* SPDX-License-Identifier: MIT
 *
 * winograd_avx512.c: the transforms of winograd_sizes.inc.h, compiled for avx512.
 */
#define LEVEL(name) name##_avx512
#include "kernel/winograd_sizes.inc.h"
