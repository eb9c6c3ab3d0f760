/* SPDX-License-Identifier: MIT
 *
 * vec_avx2.c: the vector work of vec.inc.h, compiled for avx2.
 */
#define LEVEL(name) name##_avx2
#include "kernel/vec.inc.h"
