/* SPDX-License-Identifier: MIT
 *
 * digest.c: SHA-256 and MD5 by OpenSSL's libcrypto, the file read piece by piece. MD5 is here
 * because some makers of weights publish nothing else; it tells damage, not forgery.
 */
#include "digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

const char *app_digest_name(app_digest_kind kind) {
    return kind == APP_MD5 ? "MD5" : "SHA-256";
}

#ifdef IMP_WITH_CRYPTO
#include <openssl/evp.h>

const char *app_digest_missing(void) {
    return NULL;
}

/* Everything behind fd's place, into the digest. */
static bool feed(EVP_MD_CTX *sum, int fd) {
    static unsigned char piece[1 << 16];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n == 0;
        if (EVP_DigestUpdate(sum, piece, (size_t)n) != 1) {
            errno = EIO;
            return false;
        }
    }
}

static bool digest_descriptor(int fd, const EVP_MD *kind, char hex[APP_DIGEST]) {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_MD_CTX *sum = EVP_MD_CTX_new();
    errno = ENOMEM; /* whatever of OpenSSL fails */
    bool good = sum && EVP_DigestInit_ex(sum, kind, NULL) == 1 && feed(sum, fd) &&
                EVP_DigestFinal_ex(sum, bytes, &n) == 1 && 2 * n < APP_DIGEST;
    for (unsigned i = 0; good && i < n; i++)
        sprintf(hex + (size_t)2 * i, "%02x", bytes[i]);
    int kept = errno;
    EVP_MD_CTX_free(sum);
    errno = kept;
    return good;
}

bool app_digest(const char *path, app_digest_kind kind, char hex[APP_DIGEST]) {
    struct stat about;
    hex[0] = 0;
    int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe shall not hang us */
    if (fd < 0) return false;
    bool good = fstat(fd, &about) == 0;
    if (good && !S_ISREG(about.st_mode)) {
        errno = S_ISDIR(about.st_mode) ? EISDIR : EINVAL;
        good = false;
    }
    if (good)
        good = digest_descriptor(fd, kind == APP_MD5 ? EVP_md5() : EVP_sha256(), hex);
    int kept = errno;
    close(fd);
    errno = kept;
    return good;
}
#else
const char *app_digest_missing(void) {
    return "libssl-dev";
}

bool app_digest(const char *path, app_digest_kind kind, char hex[APP_DIGEST]) {
    (void)path, (void)kind;
    hex[0] = 0;
    errno = ENOTSUP;
    return false;
}
#endif
