/* SPDX-License-Identifier: MIT
 *
 * vec_generic.c: the vector work of vec.inc.h, compiled for generic.
 */
#define LEVEL(name) name##_generic
#include "kernel/vec.inc.h"
