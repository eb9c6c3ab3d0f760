/* SPDX-License-Identifier: MIT
 *
 * child.h: a reader in a process of its own, without rights.
 */
#ifndef IMP_CHILD_H
#define IMP_CHILD_H

#include "foreign/foreign.h"

typedef struct imp_child imp_child;

/* Open the file at path and start its reader (NULL: the one that recognises it): no new files,
 * no sockets, no programs; limits on memory, time and output. Returns when the reader has told the tensors, and each has been
 * checked once more. stop (may be NULL) is asked while the reader is waited for: true is
 * IMP_ERR_FILE. Errors: IMP_ERR_MODEL (no format known, the reader's own words, or how it
 * ended), IMP_ERR_LIMIT. */
imp_status imp_child_start(imp_ctx *ctx, imp_child **out, const char *path,
    const imp_reader *reader, bool (*stop)(void));
void imp_child_end(imp_child *c); /* NULL is fine */

const imp_foreign *imp_child_file(
    const imp_child *c); /* tensors, mean; the mapped file */
const char *imp_child_format(const imp_child *c);

/* out[0..n-1] <- the next n numbers of tensor i, from its first one on after imp_child_begin.
 * Errors: IMP_ERR_MODEL, also where one is not finite (tensor, index). */
imp_status imp_child_begin(imp_child *c, size_t i);
imp_status imp_child_next(imp_child *c, size_t n, float *out);

#endif
