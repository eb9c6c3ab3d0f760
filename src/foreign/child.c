/* SPDX-License-Identifier: MIT
 *
 * child.c: a reader in a process of its own, without rights.
 *
 * Parent and child are joined by one socket. The child first tells the tensors (a header, then
 * the table), or why not. Then it waits for numbers of tensors and sends the bytes of each in
 * frames: a length and as many bytes; length 0 ends the tensor, FAILED is followed by a header
 * that says why. Numbers that lie in the file, or in memory that both have (a reader that
 * unpacks all at once), the parent takes from there itself. Nothing of this is believed here:
 * every tensor passes imp_foreign_add once more, and no frame may bring more than the tensor has.
 */
#include "foreign/child.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef IMP_WITH_SECCOMP
#include <seccomp.h>
#endif

#define FAILED   UINT32_MAX
#define PIECE    ((size_t)1 << 18) /* bytes converted at a time */
#define PATIENCE 60000             /* milliseconds to wait for a reader, in all, and */
#define A_MIB    1000              /* for each MiB of the file */
#define TURN     200               /* milliseconds between two looks at stop */
#define GRACE    1000              /* milliseconds in which a reader ends by itself */

typedef struct header { /* what the child says of the whole file, or of its failure */
    uint32_t status, n;
    bool has_mean;
    float mean[3];
    char text[1024];
} header;

struct imp_child {
    imp_ctx *ctx;
    const imp_reader *reader;
    imp_file map;
    imp_foreign file; /* as the parent has checked it */
    bool (*stop)(void);
    int socket;
    pid_t pid;           /* 0: it has ended */
    bool killed;         /* since it would not */
    size_t patience;     /* milliseconds left */
    size_t tensor;       /* whose numbers are read, */
    size_t at;           /* how many of them were, */
    size_t frame, moved; /* bytes left of the frame; bytes of the tensor that came */
    uint8_t *piece;
};

/* --- in the child --- */

static bool send_all(int to, const void *bytes, size_t n) {
    const char *at = bytes;
    while (n > 0) {
        ssize_t sent = write(to, at, n);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

static imp_status send_frame(void *user, const void *bytes, size_t n) {
    const int *to = user;
    const char *at = bytes;
    while (n > 0) {
        uint32_t length = (uint32_t)imp_least(n, (size_t)1 << 20);
        if (!send_all(*to, &length, sizeof length) || !send_all(*to, at, length))
            _exit(0); /* nobody listens */
        at += length;
        n -= length;
    }
    return IMP_OK;
}

static header header_of(const imp_foreign *f, imp_status status) {
    header h = {
        .status = (uint32_t)status, .n = (uint32_t)f->n, .has_mean = f->has_mean};
    memcpy(h.mean, f->mean, sizeof h.mean);
    if (status) snprintf(h.text, sizeof h.text, "%s", f->ctx->error);
    return h;
}

/* Tensors that are asked for, until nobody asks. */
static void serve(const imp_reader *reader, imp_foreign *f, int to) {
    uint32_t i, end = 0, failed = FAILED;
    f->sink = send_frame;
    f->user = &to;
    while (read(to, &i, sizeof i) == (ssize_t)sizeof i && i < f->n) {
        imp_status s = reader->read ? reader->read(f, i) : IMP_ERR_INTERNAL;
        header h = header_of(f, s);
        if (s ? !send_all(to, &failed, sizeof failed) || !send_all(to, &h, sizeof h)
              : !send_all(to, &end, sizeof end))
            return;
    }
}

static bool limit(int what, size_t most) {
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)what, &now)) return false;
    rlim_t value = now.rlim_max < most ? now.rlim_max : (rlim_t)most;
    return setrlimit((__rlimit_resource_t)what, &(struct rlimit){value, value}) == 0;
}

/* Bytes of address space that this process has now: the child begins with its parent's. */
static size_t address_space(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    size_t pages = 0;
    bool good = f && fscanf(f, "%zu", &pages) == 1;
    if (f) fclose(f);
    return good ? pages * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

/* Memory, seconds of processor, no bytes into files. */
static bool set_limits(const imp_foreign *f) {
    size_t has = address_space(), most = has; /* what is shared is among it */
    if (!has ||
        (!f->shared && !imp_add_size(&most, has, imp_foreign_allowance(f->size))) ||
        !imp_add_size(&most, most, (size_t)32 << 20))
        return false;
    return limit(RLIMIT_AS, most) &&
           limit(RLIMIT_CPU, 10 + f->size / ((size_t)8 << 20)) &&
           limit(RLIMIT_FSIZE, 0) && limit(RLIMIT_CORE, 0);
}

/* From here on: memory, the socket, what the C library asks of files (none is open), the clock,
 * the end. All other calls of the system fail with EPERM. */
static bool drop_rights(void) {
#ifdef IMP_WITH_SECCOMP
    static const int calls[] = {SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev),
        SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(close), SCMP_SYS(brk),
        SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect),
        SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(getrandom),
        SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time),
        SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(rt_sigreturn),
        SCMP_SYS(rt_sigprocmask), SCMP_SYS(exit), SCMP_SYS(exit_group)};
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    bool good = filter != NULL;
    for (size_t i = 0; i < sizeof calls / sizeof *calls && good; i++)
        good = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0) == 0;
    good = good && seccomp_load(filter) == 0;
    if (filter) seccomp_release(filter);
    return good;
#else
    return false;
#endif
}

/* Descriptors but the socket are closed; what a library prints is lost. */
static bool keep_only(int to) {
    int null = open("/dev/null", O_RDWR);
    if (null < 0) return false;
    for (int fd = 0; fd < 3; fd++)
        if (dup2(null, fd) != fd) return false;
    if (to > 3 && close_range(3, (unsigned)to - 1, 0)) return false;
    return close_range((unsigned)to + 1, ~0u, 0) == 0;
}

static void be_child(const imp_reader *reader, imp_foreign *f, int to) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 1; i < NSIG; i++) signal(i, SIG_DFL); /* a crash is to end us */
    signal(SIGINT, SIG_IGN); /* the parent hears it, and ends us */
    imp_status s = IMP_OK;
    if (!keep_only(to) || !set_limits(f))
        s = imp_foreign_fail(
            f, "no process without rights could be made: %s", strerror(errno));
    if (!s && reader->prepare) s = reader->prepare(f);
    if (!s && !drop_rights())
        s = imp_foreign_fail(f,
            "this system refuses the filter of system calls (seccomp) "
            "without which no foreign file is read");
    if (!s) s = reader->open(f);
    header h = header_of(f, s);
    if (send_all(to, &h, sizeof h) && !s &&
        send_all(to, f->tensors, f->n * sizeof *f->tensors))
        serve(reader, f, to);
    _exit(0);
}

/* --- in the parent --- */

/* Its end, and how: waited for a little, then made. */
static int reap(imp_child *c) {
    int how = 0, waited = 0;
    pid_t pid = c->pid;
    c->pid = 0;
    if (pid == 0) return 0;
    for (pid_t r = 0; r == 0;) {
        r = waitpid(pid, &how, waited < GRACE ? WNOHANG : 0);
        if (r < 0 && errno == EINTR) r = 0;
        if (r == 0 && waited < GRACE) poll(NULL, 0, 10);
        if (r == 0 && (waited += 10) >= GRACE) {
            kill(pid, SIGKILL);
            c->killed = true;
        }
    }
    return how;
}

static imp_status too_slow(imp_child *c) {
    return imp_fail(c->ctx, IMP_ERR_MODEL,
        "%s: %s: its reader needed more time than such a file may: it is damaged, or "
        "made to harm",
        c->file.path, c->reader->format);
}

/* It has ended without a word, or will: why? */
static imp_status ended(imp_child *c) {
    const char *path = c->file.path, *format = c->reader->format;
    int how = reap(c);
    if (c->killed || (WIFSIGNALED(how) && WTERMSIG(how) == SIGXCPU)) return too_slow(c);
    if (WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL)
        return imp_fail(c->ctx, IMP_ERR_MODEL,
            "%s: %s: its reader was killed before it had ended: is there too little "
            "memory?",
            path, format);
    if (WIFSIGNALED(how))
        return imp_fail(c->ctx, IMP_ERR_MODEL,
            "%s: %s: its reader, which has no rights, crashed (%s): the file is "
            "damaged, or made to harm",
            path, format, strsignal(WTERMSIG(how)));
    return imp_fail(c->ctx, IMP_ERR_MODEL,
        "%s: %s: its reader ended before the numbers did (status %d)", path, format,
        WIFEXITED(how) ? WEXITSTATUS(how) : 0);
}

/* Until there are bytes. All waiting counts, so that a reader that trickles ends as well. */
static imp_status wait_for_bytes(imp_child *c) {
    for (;;) {
        struct pollfd wait = {.fd = c->socket, .events = POLLIN};
        if (c->stop && c->stop())
            return imp_fail(
                c->ctx, IMP_ERR_FILE, "%s: reading it was interrupted", c->file.path);
        int ready = poll(&wait, 1, TURN);
        if (ready > 0) return IMP_OK;
        if (ready < 0 && errno != EINTR) return ended(c);
        if (c->patience < TURN) return too_slow(c);
        c->patience -= TURN;
    }
}

static imp_status receive(imp_child *c, void *out, size_t n) {
    char *at = out;
    while (n > 0) {
        ssize_t got = recv(c->socket, at, n, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            imp_status s = wait_for_bytes(c);
            if (s) return s;
            continue;
        }
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return ended(c);
        at += got;
        n -= (size_t)got;
    }
    return IMP_OK;
}

/* A byte that is neither 0 nor 1 is no bool, and may be both. */
static bool is_bool(const bool *b) {
    uint8_t byte;
    memcpy(&byte, b, 1);
    return byte <= 1;
}

/* Its words, which may hold anything. */
static imp_status failed(imp_child *c, header *h) {
    h->text[sizeof h->text - 1] = 0;
    imp_status s = h->status == IMP_ERR_LIMIT ? IMP_ERR_LIMIT : IMP_ERR_MODEL;
    return imp_fail(c->ctx, s, "%s", h->text);
}

static imp_status receive_table(imp_child *c) {
    header h;
    imp_status s = receive(c, &h, sizeof h);
    if (s) return s;
    if (h.status) return failed(c, &h);
    if (!is_bool(&h.has_mean))
        return imp_foreign_fail(&c->file, "its reader tells nonsense of a mean");
    if (h.n > IMP_FOREIGN_COUNT)
        return imp_foreign_fail(
            &c->file, "its reader tells of %u tensors", (unsigned)h.n);
    c->file.has_mean = h.has_mean;
    for (size_t k = 0; k < 3; k++) {
        c->file.mean[k] = h.mean[k];
        if (h.has_mean && !(fabsf(h.mean[k]) <= 1000))
            return imp_foreign_fail(&c->file,
                "mean: expected numbers of 0 to 255, found %g", (double)h.mean[k]);
    }
    for (size_t i = 0; i < h.n && !s; i++) {
        imp_foreign_tensor t;
        s = receive(c, &t, sizeof t);
        if (!s &&
            !(is_bool(&t.column_major) && is_bool(&t.inside) && is_bool(&t.shared)))
            s = imp_foreign_fail(&c->file, "its reader tells nonsense of a tensor");
        if (!s) s = imp_foreign_add(&c->file, &t);
    }
    return s;
}

static imp_status fork_child(imp_child *c) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return imp_fail(
            c->ctx, IMP_ERR_LIMIT, "%s: no socket: %s", c->file.path, strerror(errno));
    c->pid = fork();
    if (c->pid == 0) {
        close(ends[0]);
        be_child(c->reader, &c->file, ends[1]);
    }
    close(ends[1]);
    c->socket = ends[0];
    if (c->pid > 0) return IMP_OK;
    c->pid = 0;
    return imp_fail(
        c->ctx, IMP_ERR_LIMIT, "%s: no process: %s", c->file.path, strerror(errno));
}

/* Memory that is given by the page, to the one that writes first. Where it cannot be had the
 * reader does without, or says so. */
static void share(imp_child *c) {
    size_t size = imp_foreign_allowance(c->file.size);
    void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED) return;
    c->file.shared = shared;
    c->file.shared_size = size;
}

static imp_status start(imp_child *c) {
#ifndef IMP_WITH_SECCOMP
    imp_status lacking = imp_foreign_lacks(&c->file, "libseccomp-dev");
    if (lacking) return lacking;
#endif
    imp_status s = imp_file_open(c->ctx, &c->map, c->file.path, IMP_ERR_MODEL);
    if (s) return s;
    c->file.data = c->map.data;
    c->file.size = c->map.size;
    if (!c->reader) c->reader = imp_reader_of(c->map.data, c->map.size);
    if (!c->reader)
        return imp_foreign_fail(&c->file,
            "format: expected safetensors, PyTorch (.pth), "
            "MatConvNet (.mat), Keras (.h5), ONNX, Caffe "
            "(.caffemodel) or .npz, found none of them");
    if (c->reader->lacks) return imp_foreign_lacks(&c->file, c->reader->lacks);
    c->patience = PATIENCE + (c->file.size >> 20) * A_MIB;
    if (!(c->piece = malloc(PIECE)))
        return imp_fail(c->ctx, IMP_ERR_LIMIT, "%s: no memory", c->file.path);
    if (c->reader->shares) share(c);
    s = fork_child(c);
    return s ? s : receive_table(c);
}

imp_status imp_child_start(imp_ctx *ctx, imp_child **out, const char *path,
    const imp_reader *reader, bool (*stop)(void)) {
    imp_child *c = *out = calloc(1, sizeof *c);
    if (!c) return imp_fail(ctx, IMP_ERR_LIMIT, "%s: no memory", path);
    c->ctx = ctx;
    c->reader = reader;
    c->stop = stop;
    c->socket = -1;
    c->file = (imp_foreign){.ctx = ctx, .path = path};
    imp_status s = start(c);
    if (!s) return IMP_OK;
    imp_child_end(c);
    *out = NULL;
    return s;
}

void imp_child_end(imp_child *c) {
    if (!c) return;
    if (c->socket >= 0) close(c->socket);
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) continue;
    }
    if (c->file.shared) munmap(c->file.shared, c->file.shared_size);
    imp_file_close(&c->map);
    free(c->file.tensors);
    free(c->piece);
    free(c);
}

const imp_foreign *imp_child_file(const imp_child *c) {
    return &c->file;
}

const char *imp_child_format(const imp_child *c) {
    return c->reader->format;
}

/* bytes: n numbers of tensor t, from number first on. */
static imp_status to_floats(imp_child *c, const imp_foreign_tensor *t, size_t first,
    const uint8_t *bytes, size_t n, float *out) {
    imp_dtype_floats(t->dtype, bytes, n, out);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i]))
            return imp_foreign_fail(&c->file,
                "tensor %s: values: expected finite numbers, found %g at index %zu",
                t->name, (double)out[i], first + i);
    return IMP_OK;
}

/* Pages of the file are dropped behind us: a tensor may be as large as all memory. What is
 * shared is looked at once, since the child may change it. */
static imp_status in_place(
    imp_child *c, const imp_foreign_tensor *t, size_t n, float *out) {
    size_t size = imp_dtype_size(t->dtype), offset = t->offset + c->at * size;
    const uint8_t *from = t->shared ? c->file.shared : c->map.data;
    imp_status s = to_floats(c, t, c->at, from + offset, n, out);
    if (t->inside) imp_file_forget(&c->map, offset, n * size);
    return s;
}

imp_status imp_child_begin(imp_child *c, size_t i) {
    uint32_t asked = (uint32_t)i;
    c->tensor = i;
    c->at = c->frame = c->moved = 0;
    if (c->file.tensors[i].inside || c->file.tensors[i].shared) return IMP_OK;
    ssize_t sent = send(c->socket, &asked, sizeof asked, MSG_NOSIGNAL);
    return sent == (ssize_t)sizeof asked ? IMP_OK : ended(c);
}

/* The next frame's length, with bytes in it. */
static imp_status next_frame(imp_child *c, size_t all) {
    uint32_t length;
    imp_status s = receive(c, &length, sizeof length);
    if (s) return s;
    if (length == FAILED) {
        header h;
        s = receive(c, &h, sizeof h);
        return s ? s : failed(c, &h);
    }
    if (length == 0 || length > all - c->moved)
        return imp_foreign_fail(&c->file, "tensor %s: expected %zu bytes, found %s",
            c->file.tensors[c->tensor].name, all, length ? "more" : "fewer");
    c->frame = length;
    return IMP_OK;
}

static imp_status receive_numbers(imp_child *c, uint8_t *out, size_t n) {
    const imp_foreign_tensor *t = &c->file.tensors[c->tensor];
    size_t all = t->count * imp_dtype_size(t->dtype);
    imp_status s = IMP_OK;
    for (size_t part; n > 0 && !s; n -= part, out += part) {
        if (c->frame == 0 && (s = next_frame(c, all))) return s;
        part = imp_least(n, c->frame);
        s = receive(c, out, part);
        c->frame -= part;
        c->moved += part;
    }
    uint32_t end = 0;
    if (!s && c->moved == all && (s = receive(c, &end, sizeof end)) == IMP_OK && end)
        return imp_foreign_fail(
            &c->file, "tensor %s: expected %zu bytes, found more", t->name, all);
    return s;
}

imp_status imp_child_next(imp_child *c, size_t n, float *out) {
    const imp_foreign_tensor *t = &c->file.tensors[c->tensor];
    size_t size = imp_dtype_size(t->dtype);
    if (!imp_in_range(c->at, n, t->count))
        return imp_fail(
            c->ctx, IMP_ERR_INTERNAL, "%s: more asked than there is", t->name);
    imp_status s = IMP_OK;
    for (size_t part; n > 0 && !s; n -= part, out += part, c->at += part) {
        part = imp_least(n, PIECE / size);
        if (t->inside || t->shared) {
            s = in_place(c, t, part, out);
            continue;
        }
        s = receive_numbers(c, c->piece, part * size);
        if (!s) s = to_floats(c, t, c->at, c->piece, part, out);
    }
    return s;
}
