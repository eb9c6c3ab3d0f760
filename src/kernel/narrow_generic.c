/* SPDX-License-Identifier: MIT
 *
 * narrow_generic.c: the convolution of narrow.inc.h, compiled for generic.
 */
#define LEVEL(name) name##_generic
#include "kernel/narrow.inc.h"
