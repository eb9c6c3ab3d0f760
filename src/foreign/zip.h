/* SPDX-License-Identifier: MIT
 *
 * zip.h: archives, by libzip. All of this is there where impasto is built with it, and
 * imp_zip_opens_with always.
 */
#ifndef IMP_FOREIGN_ZIP_H
#define IMP_FOREIGN_ZIP_H

#include "foreign/foreign.h"

typedef struct imp_zip imp_zip;

typedef struct imp_zip_entry {
    const char *name; /* lives as long as the archive */
    size_t size;      /* unpacked, as the archive says */
    size_t packed;    /* its bytes in the file */
    size_t offset;    /* of the first one */
    bool stored;      /* they are it, as it is: size is packed */
} imp_zip_entry;

/* Is it an archive whose first entry's name ends so? */
bool imp_zip_opens_with(const uint8_t *data, size_t size, const char *ending);

/* A reader's prepare: what libzip would otherwise open later. */
imp_status imp_zip_prepare(imp_foreign *f);
/* The directory of f->data, checked: no entry is encrypted, packed by another method than
 * deflate, there twice, outside the file, or over another. *out: to be closed, also after an
 * error. Errors: IMP_ERR_MODEL, IMP_ERR_LIMIT. */
imp_status imp_zip_open(imp_foreign *f, imp_zip **out);
void imp_zip_close(imp_zip *zip); /* NULL is fine */

size_t imp_zip_count(const imp_zip *zip);
const imp_zip_entry *imp_zip_at(const imp_zip *zip, size_t i);
const imp_zip_entry *imp_zip_find(
    const imp_zip *zip, const char *name, size_t *i); /* NULL: none */

/* out[0..n-1] <- the first bytes of entry i, which has that many. Where n is all of it, its
 * sum is checked. Errors: IMP_ERR_MODEL. */
imp_status imp_zip_get(
    imp_foreign *f, const imp_zip *zip, size_t i, uint8_t *out, size_t n);
/* imp_foreign_send bytes skip to skip + n of entry i, which has these; checked as above. */
imp_status imp_zip_send(
    imp_foreign *f, const imp_zip *zip, size_t i, size_t skip, size_t n);

#endif
