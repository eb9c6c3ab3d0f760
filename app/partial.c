/* SPDX-License-Identifier: MIT
 *
 * partial.c: a file locked by flock, whose lock goes with the process whatever ends it.
 */
#include "partial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "impasto/impasto.h"
#include "report.h"

static int failed(app_partial *p, const char *what) {
    if (errno == EWOULDBLOCK)
        app_error("%s: is being fetched by another impasto", p->path);
    else
        app_error("%s: %s: %s", p->path, what, strerror(errno));
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
    return IMP_ERR_FILE;
}

/* Does the path still lead to what is open? Who had it before may have removed it. */
static bool still_there(const app_partial *p, const struct stat *open) {
    struct stat now;
    return lstat(p->path, &now) == 0 && now.st_dev == open->st_dev &&
           now.st_ino == open->st_ino;
}

int app_partial_open(app_partial *p, const char *path) {
    snprintf(p->path, sizeof p->path, "%s", path);
    for (int try = 0; try < 100; try++) {
        struct stat about;
        p->fd = open(path,
            O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_APPEND, 0666);
        if (p->fd < 0) return failed(p, "cannot write");
        if (flock(p->fd, LOCK_EX | LOCK_NB) != 0) return failed(p, "cannot lock");
        if (fstat(p->fd, &about) != 0) return failed(p, "cannot read");
        if (!S_ISREG(about.st_mode)) {
            errno = EINVAL;
            return failed(p, "cannot write");
        }
        p->size = (uint64_t)about.st_size;
        if (still_there(p, &about)) return 0;
        close(p->fd);
    }
    p->fd = -1;
    errno = EAGAIN;
    return failed(p, "cannot lock");
}

bool app_partial_put(app_partial *p, const void *bytes, size_t n) {
    const char *from = bytes;
    while (n) {
        ssize_t wrote = write(p->fd, from, n);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return false;
        from += wrote;
        n -= (size_t)wrote;
        p->size += (uint64_t)wrote;
    }
    return true;
}

bool app_partial_clear(app_partial *p) {
    if (ftruncate(p->fd, 0) != 0) return false;
    p->size = 0;
    return true;
}

void app_partial_close(app_partial *p, bool remove) {
    if (p->fd < 0) return;
    if (remove || p->size == 0) unlink(p->path);
    close(p->fd);
    p->fd = -1;
}

uint64_t app_partial_size(const char *path) {
    struct stat about;
    if (lstat(path, &about) != 0 || !S_ISREG(about.st_mode)) return 0;
    return (uint64_t)about.st_size;
}
