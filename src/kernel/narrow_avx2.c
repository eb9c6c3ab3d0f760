/* SPDX-License-Identifier: MIT
 *
 * narrow_avx2.c: the convolution of narrow.inc.h, compiled for avx2.
 */
#define LEVEL(name) name##_avx2
#include "kernel/narrow.inc.h"
