/* SPDX-License-Identifier: MIT
 *
 * vec_avx512.c: the vector work of vec.inc.h, compiled for avx512.
 */
#define LEVEL(name) name##_avx512
#include "kernel/vec.inc.h"
