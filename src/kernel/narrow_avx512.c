/* SPDX-License-Identifier: MIT
 *
 * narrow_avx512.c: the convolution of narrow.inc.h, compiled for avx512.
 */
#define LEVEL(name) name##_avx512
#include "kernel/narrow.inc.h"
