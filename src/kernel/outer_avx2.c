/* SPDX-License-Identifier: MIT
 *
 * outer_avx2.c: the sums of outer products of outer.inc.h, compiled for avx2.
 */
#define LEVEL(name) name##_avx2
#include "kernel/outer.inc.h"
