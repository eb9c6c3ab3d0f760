/* SPDX-License-Identifier: MIT
 *
 * Files: a whole one mapped to read; one written beside its place, then moved there.
 */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- reading --- */

static const char *kind_of(mode_t mode) {
    if (S_ISREG(mode)) return "a file";
    if (S_ISDIR(mode)) return "a folder";
    if (S_ISFIFO(mode)) return "a pipe";
    if (S_ISSOCK(mode)) return "a socket";
    return "a device";
}

imp_status imp_file_open(
    imp_ctx *ctx, imp_file *out, const char *path, imp_status status) {
    imp_status result = IMP_OK;
    struct stat st;
    void *data;
    *out = (imp_file){0};
    /* O_NONBLOCK: a pipe without a writer is to be refused, not waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return imp_fail(ctx, status, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0) {
        result = imp_fail(ctx, status, "%s: cannot read: %s", path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(st.st_mode)) {
        result = imp_fail(ctx, status, "%s: kind: expected a file, found %s", path,
            kind_of(st.st_mode));
        goto done;
    }
    if (st.st_size <= 0) {
        result = imp_fail(ctx, status, "%s: the file is empty", path);
        goto done;
    }
    if ((uintmax_t)st.st_size > PTRDIFF_MAX) {
        result = imp_fail(ctx, IMP_ERR_LIMIT, "%s: size: %jd bytes are too many", path,
            (intmax_t)st.st_size);
        goto done;
    }
    data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        result = imp_fail(ctx, status, "%s: cannot read: %s", path, strerror(errno));
        goto done;
    }
    *out = (imp_file){.data = data, .size = (size_t)st.st_size};
done:
    close(fd);
    return result;
}

void imp_file_forget(const imp_file *f, size_t offset, size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), first = offset / page * page;
    if (!f->data || !imp_in_range(offset, size, f->size)) return;
    (void)madvise(
        (void *)(uintptr_t)(f->data + first), offset + size - first, MADV_DONTNEED);
}

void imp_file_close(imp_file *f) {
    if (f->data) munmap((void *)(uintptr_t)f->data, f->size);
    *f = (imp_file){0};
}

/* --- writing --- */

/* The folder of path, as a string of its own; NULL: no memory. */
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static imp_status no_memory(imp_ctx *ctx, const char *path) {
    return imp_fail(ctx, IMP_ERR_LIMIT, "%s: out of memory", path);
}

/* What stands at path may be replaced. A symbolic link is: itself, not what it points
 * to. Never a device or a pipe, whether named or pointed to: /dev/stdout is no name for
 * a file to be moved to. */
static imp_status check_place(imp_ctx *ctx, const char *path, bool overwrite) {
    struct stat st;
    if (!*path) return imp_fail(ctx, IMP_ERR_FILE, "output: the name is empty");
    if (lstat(path, &st) != 0) {
        if (errno == ENOENT)
            return IMP_OK; /* the folder is tried by who creates in it */
        return imp_fail(
            ctx, IMP_ERR_FILE, "%s: cannot write: %s", path, strerror(errno));
    }
    if (S_ISLNK(st.st_mode) && stat(path, &st) != 0)
        st.st_mode = S_IFREG; /* dangling */
    if (!S_ISREG(st.st_mode))
        return imp_fail(
            ctx, IMP_ERR_FILE, "%s: cannot write: is %s", path, kind_of(st.st_mode));
    if (!overwrite)
        return imp_fail(
            ctx, IMP_ERR_FILE, "%s: exists already (overwrite replaces it)", path);
    return IMP_OK;
}

/* Create a file of a new name in path's folder. */
static imp_status create_temporary(
    imp_ctx *ctx, const char *path, int *fd, char **temporary) {
    imp_status status = IMP_OK;
    char *name = NULL, *folder = folder_of(path);
    size_t size = folder ? strlen(folder) + sizeof "/.impasto-0123456789abcdef.tmp" : 0;
    if (folder) name = malloc(size);
    if (!name) {
        status = no_memory(ctx, path);
        goto done;
    }
    for (unsigned try = 0; try < 100; try++) {
        uint64_t random;
        if (getrandom(&random, sizeof random, GRND_NONBLOCK) !=
            (ssize_t)sizeof random) {
            struct timespec t;
            clock_gettime(CLOCK_MONOTONIC, &t);
            random = imp_random((uint64_t)getpid(), (uint64_t)t.tv_nsec + try);
        }
        snprintf(
            name, size, "%s/.impasto-%016llx.tmp", folder, (unsigned long long)random);
        *fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (*fd >= 0 || (errno != EEXIST && errno != EINTR)) break;
    }
    if (*fd < 0) {
        status = imp_fail(ctx, IMP_ERR_FILE, "%s: cannot write in folder %s: %s", path,
            folder, strerror(errno));
        goto done;
    }
    *temporary = name;
    name = NULL;
done:
    free(name);
    free(folder);
    return status;
}

void imp_writer_abort(imp_writer *w) {
    if (w->temporary) { /* else nothing is open: fd means nothing */
        if (w->fd >= 0) close(w->fd);
        unlink(w->temporary);
    }
    free(w->temporary);
    free(w->path);
    *w = (imp_writer){.fd = -1};
}

/* End the writer with the error of the system call that failed just now. */
static imp_status writer_failed(imp_writer *w, const char *what) {
    imp_status status =
        imp_fail(w->ctx, IMP_ERR_FILE, "%s: %s: %s", w->path, what, strerror(errno));
    imp_writer_abort(w);
    return status;
}

imp_status imp_writer_open(
    imp_writer *w, imp_ctx *ctx, const char *path, bool overwrite) {
    *w = (imp_writer){.ctx = ctx, .fd = -1, .overwrite = overwrite};
    imp_status status = check_place(ctx, path, overwrite);
    if (status != IMP_OK) return status;
    w->path = strdup(path);
    if (!w->path) return no_memory(ctx, path);
    status = create_temporary(ctx, path, &w->fd, &w->temporary);
    if (status != IMP_OK) imp_writer_abort(w);
    return status;
}

imp_status imp_writer_put(imp_writer *w, const void *data, size_t size) {
    const char *p = data;
    if (!w->temporary) return IMP_ERR_FILE; /* it failed before, the text is kept */
    while (size) {
        ssize_t n = write(w->fd, p, size < (1u << 30) ? size : 1u << 30);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = EIO;
        if (n <= 0) return writer_failed(w, "cannot write");
        p += n;
        size -= (size_t)n;
    }
    return IMP_OK;
}

/* Some file systems cannot sync this or that, and say so: nothing is to be done then.
 */
static bool sync_fd(int fd) {
    int r;
    do r = fsync(fd);
    while (r != 0 && errno == EINTR);
    return r == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS;
}

static bool sync_folder(const char *path) {
    char *folder = folder_of(path);
    bool good = true;
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) { /* a folder may be written and yet not be read: not synced then */
        good = sync_fd(fd);
        int error = errno;
        close(fd);
        errno = error;
    }
    free(folder);
    return good;
}

/* Rename where the new name must not exist. */
static int rename_new(const char *from, const char *to) {
#ifdef RENAME_NOREPLACE
    int r = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (r == 0 || (errno != ENOSYS && errno != EINVAL)) return r;
#endif
    if (link(from, to) != 0) return -1;
    unlink(from); /* the file stands under its name: a second name is no failure */
    return 0;
}

imp_status imp_writer_commit(imp_writer *w) {
    if (!w->temporary) return IMP_ERR_FILE;
    if (!sync_fd(w->fd)) return writer_failed(w, "cannot write");
    int r = close(w->fd);
    w->fd = -1;
    if (r != 0 && errno != EINTR) return writer_failed(w, "cannot write");
    /* What stands there may have changed since the writer was opened. */
    imp_status status = check_place(w->ctx, w->path, w->overwrite);
    if (status != IMP_OK) {
        imp_writer_abort(w);
        return status;
    }
    r = w->overwrite ? rename(w->temporary, w->path)
                     : rename_new(w->temporary, w->path);
    if (r != 0) return writer_failed(w, "cannot rename to it");
    free(w->temporary); /* the name is gone: nothing to unlink */
    w->temporary = NULL;
    if (!sync_folder(w->path)) return writer_failed(w, "cannot sync its folder");
    imp_writer_abort(w);
    return IMP_OK;
}

imp_status imp_write_file(
    imp_ctx *ctx, const char *path, const void *data, size_t size, bool overwrite) {
    imp_writer w;
    imp_status status = imp_writer_open(&w, ctx, path, overwrite);
    if (status == IMP_OK) status = imp_writer_put(&w, data, size);
    if (status == IMP_OK) status = imp_writer_commit(&w);
    imp_writer_abort(&w);
    return status;
}

static bool same(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Both the link and what it points to are compared: an input may be named either way.
 */
static imp_status check_inputs(
    imp_ctx *ctx, const char *path, const char *const *inputs, size_t n) {
    struct stat out, link, in;
    if (lstat(path, &link) != 0) return IMP_OK;
    if (stat(path, &out) != 0) out = link;
    for (size_t i = 0; i < n; i++) {
        if (!inputs[i] || stat(inputs[i], &in) != 0)
            continue; /* told by who reads it */
        if (same(&in, &out) || same(&in, &link))
            return imp_fail(ctx, IMP_ERR_FILE,
                "%s: is the input %s, which would be lost: choose another output", path,
                inputs[i]);
    }
    return IMP_OK;
}

imp_status imp_check_output(imp_ctx *ctx, const char *path, bool overwrite,
    const char *const *inputs, size_t n) {
    imp_status status = check_inputs(ctx, path, inputs, n);
    if (status == IMP_OK) status = check_place(ctx, path, overwrite);
    if (status != IMP_OK) return status;
    /* Only creating a file there tells whether one can be created there. */
    char *temporary = NULL;
    int fd = -1;
    status = create_temporary(ctx, path, &fd, &temporary);
    if (status != IMP_OK) return status;
    close(fd);
    unlink(temporary);
    free(temporary);
    return IMP_OK;
}
