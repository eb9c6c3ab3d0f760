/* SPDX-License-Identifier: MIT
 *
 * outer_avx512.c: the sums of outer products of outer.inc.h, compiled for avx512.
 */
#define LEVEL(name) name##_avx512
#include "kernel/outer.inc.h"
