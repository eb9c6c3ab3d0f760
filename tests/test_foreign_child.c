/* SPDX-License-Identifier: MIT
 *
 * A reader's process: what it may not do, and what becomes of one that crashes, hangs or lies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "files.h"
#include "foreign/child.h"

/* What is said of a crash: a sanitizer turns it into an exit of its own. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CRASHED "its reader ended before the numbers did (status 1)"
#endif
#endif
#ifndef CRASHED
#define CRASHED "its reader, which has no rights, crashed"
#endif

/* --- readers --- */

static const float numbers[6] = {1, -2, 3.5f, 4, 5, 0.25f};

static bool yes(const uint8_t *data, size_t size) {
    (void)data, (void)size;
    return true;
}

static imp_status add(imp_foreign *f, bool inside) {
    imp_foreign_tensor t = {.name = "w",
        .dtype = IMP_DTYPE_F32,
        .ndim = 2,
        .shape = {2, 3},
        .inside = inside,
        .offset = inside ? 4 : 0};
    return imp_foreign_add(f, &t);
}

static imp_status add_inside(imp_foreign *f) {
    return add(f, true);
}

static imp_status add_streamed(imp_foreign *f) {
    return add(f, false);
}

static imp_status add_shared(imp_foreign *f) {
    memcpy(f->shared + 12, numbers, sizeof numbers);
    imp_status s = add(f, false);
    f->tensors[0].shared = true;
    f->tensors[0].offset = 12;
    return s;
}

static imp_status send_pieces(imp_foreign *f, size_t i) {
    (void)i;
    imp_status s = imp_foreign_send(f, numbers, 4);
    return s ? s : imp_foreign_send(f, numbers + 1, 20);
}

static imp_status send_less(imp_foreign *f, size_t i) {
    (void)i;
    return imp_foreign_send(f, numbers, 20);
}

static imp_status send_more(imp_foreign *f, size_t i) {
    imp_status s = send_pieces(f, i);
    return s ? s : imp_foreign_send(f, numbers, 4);
}

static imp_status send_nan(imp_foreign *f, size_t i) {
    (void)i;
    float x[6] = {1, 2, 3, __builtin_nanf(""), 5, 6};
    return imp_foreign_send(f, x, sizeof x);
}

static imp_status send_and_fail(imp_foreign *f, size_t i) {
    (void)i;
    imp_status s = imp_foreign_send(f, numbers, 8);
    return s ? s : imp_foreign_fail(f, "the end \033[2J is missing");
}

static imp_status send_and_crash(imp_foreign *f, size_t i) {
    (void)i;
    imp_status s = imp_foreign_send(f, numbers, 8);
    if (!s) __builtin_trap(); /* raise would be a call of the system */
    return s;
}

static imp_status crash(imp_foreign *f) {
    if (f) __builtin_trap();
    return IMP_OK;
}

/* It says no more, and does not end. */
static imp_status fall_silent(imp_foreign *f) {
    int word = 0;
    for (int fd = 3; fd < 1024; fd++) close(fd);
    while (f) syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
    return IMP_OK;
}

static imp_status leave(imp_foreign *f) {
    (void)f;
    _exit(3);
}

static imp_status hang(imp_foreign *f) {
    volatile bool forever = f != NULL;
    while (forever) continue;
    return IMP_OK;
}

/* What was tried went well, or why not: told by the name of a tensor. */
static imp_status tell(imp_foreign *f, const char *what, bool could) {
    imp_foreign_tensor t = {.dtype = IMP_DTYPE_F32};
    imp_status s = imp_foreign_name(f, &t, "%s: %s", what,
        could             ? "could"
        : errno == EPERM  ? "may not"
        : errno == ENOMEM ? "no memory"
                          : strerror(errno));
    return s ? s : imp_foreign_add(f, &t);
}

static imp_status try_all(imp_foreign *f) {
    imp_status s = tell(f, "open", open("/etc/passwd", O_RDONLY) >= 0);
    if (!s)
        s = tell(f, "create", open("/tmp/impasto-no", O_CREAT | O_WRONLY, 0600) >= 0);
    if (!s) s = tell(f, "socket", socket(AF_INET, SOCK_STREAM, 0) >= 0);
    if (!s) s = tell(f, "fork", fork() >= 0);
    if (!s) s = tell(f, "exec", execl("/bin/true", "true", (char *)NULL) >= 0);
    if (!s) s = tell(f, "kill", kill(getppid(), 0) == 0);
    if (!s) s = tell(f, "unlink", unlink(f->path) == 0);
    void *p = mmap(NULL, (size_t)1 << 28, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return s ? s : tell(f, "256 MiB", p != MAP_FAILED);
}

/* Past the checks: as if the child had been taken over. */
static imp_status lie(imp_foreign *f, const imp_foreign_tensor *t) {
    imp_status s = add(f, true);
    f->tensors[0] = *t;
    return s;
}

static imp_status lie_of_place(imp_foreign *f) {
    return lie(f, &(imp_foreign_tensor){.name = "w",
                      .dtype = IMP_DTYPE_F32,
                      .ndim = 1,
                      .shape = {100},
                      .count = 100,
                      .inside = true,
                      .offset = 8});
}

static imp_status lie_of_memory(imp_foreign *f) {
    imp_status s = add_shared(f);
    f->tensors[0].offset = f->shared_size - 23;
    return s;
}

static imp_status lie_of_shape(imp_foreign *f) {
    return lie(f, &(imp_foreign_tensor){.name = "w",
                      .dtype = IMP_DTYPE_F32,
                      .ndim = 2,
                      .shape = {(size_t)1 << 33, (size_t)1 << 33},
                      .count = 1});
}

static imp_status lie_of_dimensions(imp_foreign *f) {
    return lie(
        f, &(imp_foreign_tensor){.name = "w", .dtype = IMP_DTYPE_F32, .ndim = 9});
}

static imp_status lie_of_name(imp_foreign *f) {
    imp_foreign_tensor t = {.dtype = IMP_DTYPE_F32};
    memset(t.name, 'x', sizeof t.name);
    return lie(f, &t);
}

static imp_status lie_of_dtype(imp_foreign *f) {
    return lie(f, &(imp_foreign_tensor){.name = "w", .dtype = (imp_dtype)77});
}

static imp_status lie_of_mean(imp_foreign *f) {
    f->has_mean = true;
    f->mean[1] = __builtin_inff();
    return add(f, true);
}

/* --- tests --- */

static const char *a_file(void) {
    uint8_t bytes[32] = {0};
    memcpy(bytes + 4, numbers, sizeof numbers);
    return make_file("weights", bytes, sizeof bytes);
}

static void assert_numbers(const imp_reader *reader) {
    imp_child *c;
    float x[6];
    assert_int_equal(imp_child_start(ctx, &c, a_file(), reader, NULL), IMP_OK);
    assert_string_equal(imp_child_format(c), "test");
    assert_int_equal(imp_child_file(c)->n, 1);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(imp_child_begin(c, 0), IMP_OK);
        assert_int_equal(imp_child_next(c, 2, x), IMP_OK);
        assert_int_equal(imp_child_next(c, 4, x + 2), IMP_OK);
        assert_memory_equal(x, numbers, sizeof x);
        assert_int_equal(imp_child_next(c, 1, x), IMP_ERR_INTERNAL);
    }
    imp_child_end(c);
}

static void test_numbers(void **state) {
    (void)state;
    assert_numbers(
        &(imp_reader){.format = "test", .recognise = yes, .open = add_inside});
    assert_numbers(&(imp_reader){
        .format = "test", .shares = true, .recognise = yes, .open = add_shared});
    assert_numbers(&(imp_reader){
        .format = "test", .recognise = yes, .open = add_streamed, .read = send_pieces});
}

static void assert_bad(const imp_reader *reader, const char *words) {
    imp_child *c;
    float x[6];
    imp_status s = imp_child_start(ctx, &c, a_file(), reader, NULL);
    if (!s) assert_int_equal(imp_child_file(c)->n, 1);
    if (!s) s = imp_child_begin(c, 0);
    if (!s) s = imp_child_next(c, 6, x);
    imp_child_end(c);
    assert_int_equal(s, IMP_ERR_MODEL);
    if (!strstr(imp_ctx_error(ctx), words))
        fail_msg("expected '%s' in '%s'", words, imp_ctx_error(ctx));
    assert_non_null(strstr(imp_ctx_error(ctx), "/weights: "));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
}

static void test_lies_about_numbers(void **state) {
    (void)state;
    static const struct {
        imp_status (*read)(imp_foreign *, size_t);
        const char *words;
    } cases[] = {{send_less, "expected 24 bytes, found fewer"},
        {send_more, "expected 24 bytes, found more"},
        {send_nan, "expected finite numbers, found nan at index 3"},
        {send_and_fail, "the end ?[2J is missing"}, {send_and_crash, CRASHED}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_bad(&(imp_reader){.format = "test",
                       .recognise = yes,
                       .open = add_streamed,
                       .read = cases[i].read},
            cases[i].words);
}

static void test_lies_about_tensors(void **state) {
    (void)state;
    static const struct {
        imp_status (*open)(imp_foreign *);
        const char *words;
    } cases[] = {{lie_of_place, "expected 400 bytes from 8 on, found a file of 32"},
        {lie_of_memory, "expected 24 bytes from"}, {lie_of_shape, "beyond all memory"},
        {lie_of_dimensions, "at most 8 dimensions"}, {lie_of_name, "without a name"},
        {lie_of_dtype, "expected floating-point numbers"},
        {lie_of_mean, "mean: expected"}, {crash, CRASHED},
        {fall_silent, "needed more time than such a file may"},
        {leave, "its reader ended before the numbers did (status "}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_bad(&(imp_reader){.format = "test",
                       .shares = true,
                       .recognise = yes,
                       .open = cases[i].open},
            cases[i].words);
}

static void test_no_rights(void **state) {
    (void)state;
    const imp_reader reader = {.format = "test", .recognise = yes, .open = try_all};
    imp_child *c;
    const char *path = a_file();
    assert_int_equal(imp_child_start(ctx, &c, path, &reader, NULL), IMP_OK);
    const imp_foreign *f = imp_child_file(c);
    assert_int_equal(f->n, 8);
    for (size_t i = 0; i < 7; i++)
        if (!strstr(f->tensors[i].name, ": may not"))
            fail_msg("%s", f->tensors[i].name);
    assert_string_equal(f->tensors[7].name, "256 MiB: no memory");
    imp_child_end(c);
    assert_int_equal(access(path, F_OK), 0);
}

/* Ten seconds of a processor: only where the long tests are wanted. */
static void test_hangs(void **state) {
    (void)state;
    if (!getenv("IMPASTO_FULL")) skip();
    assert_bad(&(imp_reader){.format = "test", .recognise = yes, .open = hang},
        "needed more time");
}

static void test_no_format(void **state) {
    (void)state;
    imp_child *c;
    uint8_t bytes[64];
    memset(bytes, 0xee, sizeof bytes);
    const char *path = make_file("nothing", bytes, sizeof bytes);
    assert_int_equal(imp_child_start(ctx, &c, path, NULL, NULL), IMP_ERR_MODEL);
    assert_null(c);
    assert_non_null(
        strstr(imp_ctx_error(ctx), "format: expected safetensors, PyTorch"));
    assert_int_equal(
        imp_child_start(ctx, &c, in_folder("absent"), NULL, NULL), IMP_ERR_MODEL);
    assert_int_equal(imp_child_start(ctx, &c, folder, NULL, NULL), IMP_ERR_MODEL);
}

static void test_allowance(void **state) {
    (void)state;
    imp_foreign f = {.ctx = ctx, .path = "small", .size = 1000};
    imp_foreign_tensor t = {.name = "w", .dtype = IMP_DTYPE_F64, .ndim = 1};
    t.shape[0] = imp_foreign_allowance(1000) / 8;
    assert_int_equal(imp_foreign_add(&f, &t), IMP_OK);
    assert_int_equal(imp_foreign_add(&f, &t), IMP_ERR_MODEL);
    assert_non_null(strstr(imp_ctx_error(ctx), "there twice"));
    strcpy(t.name, "v");
    t.shape[0] = 1;
    assert_int_equal(imp_foreign_add(&f, &t), IMP_ERR_MODEL);
    assert_non_null(strstr(imp_ctx_error(ctx), "which a file of 1000 cannot hold"));
    free(f.tensors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_lies_about_numbers),
        cmocka_unit_test(test_lies_about_tensors),
        cmocka_unit_test(test_no_rights),
        cmocka_unit_test(test_hangs),
        cmocka_unit_test(test_no_format),
        cmocka_unit_test(test_allowance),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
