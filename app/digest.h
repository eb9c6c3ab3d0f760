/* SPDX-License-Identifier: MIT
 *
 * digest.h: the digest of a file.
 */
#ifndef APP_DIGEST_H
#define APP_DIGEST_H

#include <stdbool.h>

typedef enum app_digest_kind { APP_SHA256, APP_MD5 } app_digest_kind;

enum { APP_DIGEST = 65 }; /* bytes of the longest, in hexadecimal, the last one zero */

/* Of a regular file, in small letters. False: it cannot be read, and errno says why; ENOTSUP:
 * impasto was built without libcrypto (see app_digest_missing). */
bool app_digest(const char *path, app_digest_kind kind, char hex[APP_DIGEST]);

const char *app_digest_name(app_digest_kind kind); /* "SHA-256", "MD5" */

/* What to install, for people; NULL: nothing is missing. */
const char *app_digest_missing(void);

#endif
