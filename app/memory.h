/* SPDX-License-Identifier: MIT
 *
 * memory.h: how much memory this process may still take.
 */
#ifndef APP_MEMORY_H
#define APP_MEMORY_H

#include <stddef.h>

/* Bytes: the least of what the system has available, what each control group above us
 * has left, and what the limit on our address space leaves. Infinity where nothing is
 * known. */
double app_memory_available(void);

/* What the program itself takes: its code, libvips and what that loads, measured. */
#define APP_PROGRAM_BYTES ((size_t)39 << 20)

/* The most memory that this process has had so far, in bytes. */
size_t app_memory_peak(void);

#endif
