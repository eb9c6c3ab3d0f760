/* SPDX-License-Identifier: MIT
 *
 * winograd_generic.c: the transforms of winograd_sizes.inc.h, compiled for generic.
 */
#define LEVEL(name) name##_generic
#include "kernel/winograd_sizes.inc.h"
