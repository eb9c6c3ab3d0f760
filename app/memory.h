/* SPDX-License-Identifier: MIT
 *
 * memory.h: how much memory this process may still take.
 */
#ifndef APP_MEMORY_H
#define APP_MEMORY_H

/* Bytes: the least of what the system has available, what each control group above us
 * has left, and what the limit on our address space leaves. Infinity where nothing is
 * known. */
double app_memory_available(void);

#endif
