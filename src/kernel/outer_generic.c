/* SPDX-License-Identifier: MIT
 *
 * outer_generic.c: the sums of outer products of outer.inc.h, compiled for generic.
 */
#define LEVEL(name) name##_generic
#include "kernel/outer.inc.h"
