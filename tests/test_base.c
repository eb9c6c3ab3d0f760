/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "files.h"

/* --- errors and sizes --- */

static void fail_keeps_text(void **state) {
    (void)state;
    assert_int_equal(imp_fail(ctx, IMP_ERR_DATA, "%s: %d", "a", 7), IMP_ERR_DATA);
    assert_string_equal(imp_ctx_error(ctx), "a: 7");
    imp_fail(ctx, IMP_ERR_ARG, "again: %s", imp_ctx_error(ctx));
    assert_string_equal(imp_ctx_error(ctx), "again: a: 7");
    assert_int_equal(imp_fail(NULL, IMP_ERR_ARG, "x"), IMP_ERR_ARG);
    assert_non_null(imp_ctx_error(NULL));
    assert_string_equal(imp_version(), "0.1.0");
}

static void fail_replaces_controls(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"a\x1b[2Jb\n\t\x7f", "a?[2Jb???"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"}, /* UTF-8 stays */
        {"\xe2\x82\xac\xf0\x9f\x8e\xa8", "\xe2\x82\xac\xf0\x9f\x8e\xa8"},
        {"\xc2\x9b"
         "31m",
            "??31m"},            /* C1 control */
        {"\xff\xfe\x80", "???"}, /* never UTF-8 */
        {"\xc0\xaf", "??"},
        {"\xe0\x80\xaf", "???"}, /* overlong */
        {"\xed\xa0\x80", "???"},
        {"\xf4\x90\x80\x80", "????"}, /* no character */
        {"cut\xe2\x82", "cut??"},
        {"\xe2"
         "a",
            "?a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        imp_fail(ctx, IMP_ERR_ARG, "%s", cases[i][0]);
        assert_string_equal(imp_ctx_error(ctx), cases[i][1]);
    }
    char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    imp_fail(ctx, IMP_ERR_ARG, "%s", longer);
    assert_int_equal(strlen(imp_ctx_error(ctx)), sizeof ctx->error - 1);
}

static char noted[100];
static void take_note(void *user, const char *message) {
    *(int *)user += 1;
    snprintf(noted, sizeof noted, "%s", message);
}

static void note_goes_to_log(void **state) {
    (void)state;
    int calls = 0;
    imp_ctx one = {.log = take_note, .user = &calls};
    imp_note(&one, "relu%d is\nleft out", 3);
    assert_int_equal(calls, 1);
    assert_string_equal(noted, "relu3 is?left out");
    one.log = NULL;
    imp_note(&one, "dropped");
    imp_note(NULL, "dropped");
    assert_int_equal(calls, 1);
}

static void sizes_do_not_wrap(void **state) {
    (void)state;
    size_t n = 5;
    assert_true(imp_mul(&n, 6, 7) && n == 42);
    assert_true(imp_mul(&n, SIZE_MAX, 1) && n == SIZE_MAX);
    assert_true(imp_mul(&n, SIZE_MAX, 0) && n == 0);
    assert_true(imp_mul(&n, 0, SIZE_MAX) && n == 0);
    assert_false(imp_mul(&n, SIZE_MAX / 2 + 1, 2));
    assert_false(imp_mul(&n, (size_t)1 << 32, (size_t)1 << 32));
    assert_true(imp_add_size(&n, SIZE_MAX - 1, 1) && n == SIZE_MAX);
    assert_false(imp_add_size(&n, SIZE_MAX, 1));
    assert_true(imp_in_range(0, 0, 0));
    assert_true(imp_in_range(3, 7, 10));
    assert_true(imp_in_range(10, 0, 10));
    assert_false(imp_in_range(3, 8, 10));
    assert_false(imp_in_range(11, 0, 10));
    assert_false(imp_in_range(2, SIZE_MAX, 10));
    assert_false(imp_in_range(SIZE_MAX, 2, 10));
}

/* --- memory and tensors --- */

static void memory_is_aligned_and_zero(void **state) {
    (void)state;
    static const size_t sizes[] = {
        0, 1, 63, 64, 100000, (4u << 20) - 1, 4u << 20, 9000001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *p = imp_alloc(sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (sizes[i] >= 4u << 20 ? 2u << 20 : 64), 0);
        for (size_t b = 0; b < sizes[i]; b++)
            if (p[b]) fail_msg("byte %zu of %zu", b, sizes[i]);
        memset(p, 0xa5, sizes[i]);
        imp_release(p);
    }
    assert_null(imp_alloc(SIZE_MAX));
    assert_null(imp_alloc((size_t)PTRDIFF_MAX - 4096));
    imp_release(NULL);
}

static void check_layout(imp_shape s) {
    size_t plain = imp_plain_count(s), blocked = imp_blocked_count(s);
    float *x = malloc(plain * sizeof *x), *back = malloc(plain * sizeof *x);
    float *y = malloc(blocked * sizeof *y);
    for (size_t i = 0; i < plain; i++) x[i] = (float)(i + 1);
    memset(y, 0xff, blocked * sizeof *y);
    imp_to_blocked(s, x, y);
    imp_from_blocked(s, y, back);
    assert_memory_equal(x, back, plain * sizeof *x);
    size_t i = 0; /* every number stands where base.h says, and the rest is zero */
    for (size_t n = 0; n < s.n; n++)
        for (size_t c = 0; c < s.c; c++)
            for (size_t h = 0; h < s.h; h++)
                for (size_t w = 0; w < s.w; w++, i++) {
                    size_t at = s.layout == IMP_MAP ? imp_map_offset(&s, n, c, h, w)
                                : s.layout == IMP_WEIGHT
                                    ? imp_weight_offset(&s, n, c, h, w)
                                    : ((n * s.h + h) * s.w + w) * 4 + c;
                    assert_true(at < blocked);
                    assert_true(y[at] == x[i]);
                    y[at] = 0;
                }
    for (i = 0; i < blocked; i++) assert_true(y[i] == 0);
    free(x);
    free(y);
    free(back);
}

static void layouts_round_trip(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 3, 15, 16, 17, 32, 40};
    for (size_t n = 0; n < 7; n++)
        for (size_t c = 0; c < 7; c++)
            for (size_t k = 1; k <= 5; k += 2) {
                check_layout(
                    (imp_shape){.n = sizes[n], .c = sizes[c], .h = k, .w = k + 1});
                check_layout((imp_shape){.n = sizes[n],
                    .c = sizes[c],
                    .h = k,
                    .w = k == 3 ? 2 : k,
                    .layout = IMP_WEIGHT});
            }
    for (size_t c = 1; c <= 4; c++) check_layout((imp_shape){2, c, 5, 3, IMP_PICTURE});
}

static void counts_do_not_wrap(void **state) {
    (void)state;
    for (int layout = IMP_MAP; layout <= IMP_PICTURE; layout++) {
        imp_shape s = {
            .n = SIZE_MAX, .c = 1, .h = 1, .w = 1, .layout = (imp_layout)layout};
        assert_true(imp_blocked_count(s) == SIZE_MAX);
        s = (imp_shape){.n = 1, .c = SIZE_MAX, .h = 1, .w = 1, .layout = s.layout};
        if (layout != IMP_PICTURE) assert_true(imp_blocked_count(s) == SIZE_MAX);
        s = (imp_shape){.n = 1, .c = 3, .h = SIZE_MAX / 3, .w = 2, .layout = s.layout};
        assert_true(imp_blocked_count(s) == SIZE_MAX);
        assert_true(imp_plain_count(s) == SIZE_MAX);
        s = (imp_shape){.n = 1, .c = 1, .h = SIZE_MAX / 2, .w = 1, .layout = s.layout};
        assert_true(imp_blocked_count(s) == SIZE_MAX);
    }
}

static void pictures(void **state) {
    (void)state;
    imp_picture p;
    assert_int_equal(imp_picture_new(ctx, &p, 5, 4), IMP_OK);
    assert_int_equal(p.width, 5);
    assert_int_equal(p.height, 4);
    for (size_t i = 0; i < 60; i++) assert_true(p.planes[i] == 0);
    imp_picture_free(&p);
    assert_null(p.planes);
    imp_picture_free(&p);
    imp_picture_free(NULL);
    assert_failed(imp_picture_new(ctx, &p, 0, 4), IMP_ERR_ARG, "0 x 4");
    assert_failed(imp_picture_new(ctx, &p, SIZE_MAX / 8, 4), IMP_ERR_LIMIT, "address");
    assert_failed(
        imp_picture_new(ctx, &p, SIZE_MAX / 128, 4), IMP_ERR_LIMIT, "no memory");
    assert_null(p.planes);
}

/* --- random numbers --- */

static void random_is_splitmix64(void **state) {
    (void)state;
    /* The sequence of splitmix64 from state 0, known from its authors' program. */
    assert_true(imp_random(0, 0) == 0xe220a8397b1dcdaf);
    assert_true(imp_random(0, 1) == 0x6e789e6aa1b965f4);
    assert_true(imp_random(0, 2) == 0x06c45d188009454f);
    assert_true(imp_random(1, 0) != imp_random(0, 1));
    double sum = 0, least = 1, most = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double u = imp_uniform(9, i);
        sum += u;
        least = fmin(least, u);
        most = fmax(most, u);
    }
    assert_true(least >= 0 && least < 1e-3 && most < 1 && most > 0.999);
    assert_true(fabs(sum / 100000 - 0.5) < 0.005);
}

static void normal_is_normal(void **state) {
    (void)state;
    const size_t n = 200000;
    double m[5] = {0};
    for (uint64_t i = 0; i < n; i++) {
        double x = imp_normal(3, i);
        for (int k = 1; k <= 4; k++) m[k] += pow(x, k) / (double)n;
    }
    assert_true(fabs(m[1]) < 0.01 && fabs(m[2] - 1) < 0.02);
    assert_true(fabs(m[3]) < 0.05 && fabs(m[4] - 3) < 0.1);
}

static void normal_has_the_same_bits_anywhere(void **state) {
    (void)state;
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a, by words */
    for (uint64_t i = 0; i < 100000; i++) {
        double x = imp_normal(i % 7, i);
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3;
    }
    assert_true(hash == 0xc41dc51b049e0a35);
}

static void shuffle_permutes(void **state) {
    (void)state;
    size_t perm[100], other[100], at_first[10] = {0};
    bool seen[100] = {false};
    imp_shuffle(5, perm, 100);
    for (size_t i = 0; i < 100; i++) {
        assert_true(perm[i] < 100 && !seen[perm[i]]);
        seen[perm[i]] = true;
    }
    imp_shuffle(5, other, 100);
    assert_memory_equal(perm, other, sizeof perm);
    imp_shuffle(6, other, 100);
    assert_memory_not_equal(perm, other, sizeof perm);
    for (uint64_t seed = 0; seed < 10000; seed++) {
        imp_shuffle(seed, perm, 10);
        at_first[perm[0]]++;
    }
    for (size_t i = 0; i < 10; i++) assert_in_range(at_first[i], 850, 1150);
    imp_shuffle(1, perm, 0);
    imp_shuffle(1, perm, 1);
    assert_int_equal(perm[0], 0);
}

static void cpu_levels(void **state) {
    (void)state;
    imp_cpu cpu;
    for (int i = IMP_CPU_GENERIC; i <= IMP_CPU_AVX512; i++) {
        assert_true(imp_cpu_parse(imp_cpu_name((imp_cpu)i), &cpu));
        assert_int_equal(cpu, i);
    }
    assert_false(imp_cpu_parse("avx", &cpu));
    assert_false(imp_cpu_parse("", &cpu));
    assert_true(imp_cpu_best() <= IMP_CPU_AVX512);
}

/* --- reading --- */

static void files_are_read(void **state) {
    (void)state;
    imp_file f;
    assert_holds(make_file("plain", "abc", 3), "abc", 3);
    assert_failed(imp_file_open(ctx, &f, in_folder("none"), IMP_ERR_MODEL),
        IMP_ERR_MODEL, "none: cannot open: No such file");
    assert_failed(
        imp_file_open(ctx, &f, folder, IMP_ERR_DATA), IMP_ERR_DATA, "found a folder");
    assert_failed(imp_file_open(ctx, &f, make_file("empty", "", 0), IMP_ERR_DATA),
        IMP_ERR_DATA, "the file is empty");
    const char *pipe = in_folder("pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_failed(
        imp_file_open(ctx, &f, pipe, IMP_ERR_DATA), IMP_ERR_DATA, "found a pipe");
    assert_failed(imp_file_open(ctx, &f, "/dev/zero", IMP_ERR_DATA), IMP_ERR_DATA,
        "found a device");
    assert_null(f.data);
    imp_file_close(&f);
}

/* --- writing --- */

static void write_and_overwrite(void **state) {
    (void)state;
    const char *path = in_folder("new");
    mode_t mask = umask(027);
    assert_int_equal(imp_write_file(ctx, path, "one", 3, false), IMP_OK);
    umask(mask);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_failed(
        imp_write_file(ctx, path, "two", 3, false), IMP_ERR_FILE, "exists already");
    assert_holds(path, "one", 3);
    assert_int_equal(imp_write_file(ctx, path, "three", 5, true), IMP_OK);
    assert_holds(path, "three", 5);
    assert_int_equal(imp_write_file(ctx, in_folder("zero"), NULL, 0, false), IMP_OK);
    char name[256]; /* the longest a name may be: the temporary's must not be longer */
    memset(name, 'n', 255);
    name[255] = 0;
    assert_int_equal(imp_write_file(ctx, in_folder(name), "x", 1, false), IMP_OK);
    assert_no_temporary();
}

static void write_in_the_working_folder(void **state) {
    (void)state;
    int here = open(".", O_RDONLY | O_DIRECTORY);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(imp_write_file(ctx, "relative", "r", 1, false), IMP_OK);
    assert_int_equal(imp_check_output(ctx, "relative2", false, NULL, 0), IMP_OK);
    assert_int_equal(fchdir(here), 0);
    close(here);
    assert_holds(in_folder("relative"), "r", 1);
    assert_no_temporary();
}

/* Places that cannot be written: said alike by the check before and by the writing. */
static void bad_places(void **state) {
    (void)state;
    make_file("afile", "x", 1);
    const char *pipe = in_folder("pipe2");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    const char *link = in_folder("to-device");
    assert_int_equal(symlink("/dev/null", link), 0);
    const struct {
        const char *path, *text;
    } cases[] = {
        {"", "the name is empty"},
        {folder, "is a folder"},
        {"/", "is a folder"},
        {in_folder("missing/out"), "missing: No such file"},
        {in_folder("afile/out"), "Not a directory"},
        {"/proc/impasto-test", "cannot write"},
        {"/dev/null", "is a device"},
        {pipe, "is a pipe"},
        {link, "is a device"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = cases[i].path;
        assert_failed(
            imp_write_file(ctx, path, "x", 1, true), IMP_ERR_FILE, cases[i].text);
        assert_failed(
            imp_check_output(ctx, path, true, NULL, 0), IMP_ERR_FILE, cases[i].text);
    }
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_no_temporary();
}

static void links_are_replaced(void **state) {
    (void)state;
    const char *target = make_file("target", "safe", 4), *link = in_folder("link");
    const char *hanging = in_folder("hanging");
    struct stat st;
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(symlink(in_folder("nowhere"), hanging), 0);
    assert_failed(imp_write_file(ctx, link, "new", 3, false), IMP_ERR_FILE, "exists");
    assert_failed(
        imp_write_file(ctx, hanging, "new", 3, false), IMP_ERR_FILE, "exists");
    assert_int_equal(imp_write_file(ctx, link, "new", 3, true), IMP_OK);
    assert_int_equal(imp_write_file(ctx, hanging, "new", 3, true), IMP_OK);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_holds(target, "safe", 4);
    assert_holds(link, "new", 3);
    assert_holds(hanging, "new", 3);
    assert_int_equal(access(in_folder("nowhere"), F_OK), -1);
}

static void full_disk_keeps_the_old(void **state) {
    (void)state;
    const char *path = make_file("precious", "old", 3);
    imp_writer w;
    assert_int_equal(imp_writer_open(&w, ctx, path, true), IMP_OK);
    int full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    assert_int_equal(dup2(full, w.fd), w.fd);
    close(full);
    assert_failed(imp_writer_put(&w, "new", 3), IMP_ERR_FILE,
        "precious: cannot write: No space left on device");
    assert_int_equal(imp_writer_put(&w, "new", 3), IMP_ERR_FILE); /* it sticks */
    assert_int_equal(imp_writer_commit(&w), IMP_ERR_FILE);
    imp_writer_abort(&w);
    imp_writer_abort(&w);
    assert_holds(path, "old", 3);
    assert_no_temporary();
}

/* A limit on the size of files: the first write comes back short, the next fails. */
static void short_writes(void **state) {
    (void)state;
    struct rlimit old, now;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    now = old;
    now.rlim_cur = 1000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    char data[3000] = {1};
    imp_status status = imp_write_file(ctx, in_folder("limited"), data, 3000, false);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_failed(status, IMP_ERR_FILE, "limited: cannot write: File too large");
    assert_int_equal(access(in_folder("limited"), F_OK), -1);
    assert_no_temporary();
}

static void sync_and_close_are_checked(void **state) {
    (void)state;
    imp_writer w;
    assert_int_equal(imp_writer_open(&w, ctx, in_folder("bad-fd"), false), IMP_OK);
    close(w.fd);
    assert_failed(imp_writer_commit(&w), IMP_ERR_FILE, "cannot write: Bad file");
    imp_writer_abort(&w);
    assert_no_temporary();
}

static void late_arrivals_are_kept(void **state) {
    (void)state;
    imp_writer w;
    const char *path = in_folder("late");
    assert_int_equal(imp_writer_open(&w, ctx, path, false), IMP_OK);
    assert_int_equal(imp_writer_put(&w, "mine", 4), IMP_OK);
    make_file("late", "theirs", 6);
    assert_failed(imp_writer_commit(&w), IMP_ERR_FILE, "exists already");
    assert_holds(path, "theirs", 6);
    /* The temporary's folder is gone at the end. */
    assert_int_equal(mkdir(in_folder("going"), 0700), 0);
    assert_int_equal(imp_writer_open(&w, ctx, in_folder("going/out"), false), IMP_OK);
    assert_int_equal(unlink(w.temporary), 0);
    assert_int_equal(rmdir(in_folder("going")), 0);
    assert_failed(imp_writer_commit(&w), IMP_ERR_FILE, "No such file");
    imp_writer_abort(&w);
    assert_no_temporary();
}

static void abort_leaves_nothing(void **state) {
    (void)state;
    imp_writer w, never = {0};
    imp_writer_abort(&never); /* must not close descriptor 0 */
    assert_true(fcntl(0, F_GETFD) >= 0 || errno == EBADF);
    assert_int_equal(imp_writer_open(&w, ctx, in_folder("aborted"), false), IMP_OK);
    assert_int_equal(imp_writer_put(&w, "mine", 4), IMP_OK);
    imp_writer_abort(&w);
    assert_int_equal(access(in_folder("aborted"), F_OK), -1);
    assert_int_equal(imp_writer_open(&w, ctx, in_folder("aborted"), false), IMP_OK);
    assert_int_equal(imp_writer_commit(&w), IMP_OK);
    imp_writer_abort(&w);
    assert_int_equal(access(in_folder("aborted"), F_OK), 0);
    assert_no_temporary();
}

static void output_is_no_input(void **state) {
    (void)state;
    const char *input = make_file("input", "in", 2),
               *other = make_file("other", "o", 1);
    const char *hard = in_folder("hard"), *soft = in_folder("soft");
    assert_int_equal(link(input, hard), 0);
    assert_int_equal(symlink(input, soft), 0);
    const char *inputs[] = {other, NULL, in_folder("absent"), input};
    const char *outputs[] = {input, hard, soft};
    for (size_t i = 0; i < 3; i++) {
        assert_failed(imp_check_output(ctx, outputs[i], true, inputs, 4), IMP_ERR_FILE,
            "is the input");
        assert_failed(imp_check_output(ctx, outputs[i], false, inputs, 4), IMP_ERR_FILE,
            "is the input");
    }
    inputs[3] = soft; /* the input named by the link, the output by the file */
    assert_failed(
        imp_check_output(ctx, input, true, inputs, 4), IMP_ERR_FILE, "is the input");
    assert_failed(
        imp_check_output(ctx, other, false, inputs + 3, 1), IMP_ERR_FILE, "exists");
    assert_int_equal(imp_check_output(ctx, other, true, inputs + 3, 1), IMP_OK);
    assert_int_equal(
        imp_check_output(ctx, in_folder("fresh"), false, inputs, 4), IMP_OK);
    assert_int_equal(access(in_folder("fresh"), F_OK), -1);
    assert_holds(other, "o", 1);
    assert_no_temporary();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_keeps_text),
        cmocka_unit_test(fail_replaces_controls),
        cmocka_unit_test(note_goes_to_log),
        cmocka_unit_test(sizes_do_not_wrap),
        cmocka_unit_test(memory_is_aligned_and_zero),
        cmocka_unit_test(layouts_round_trip),
        cmocka_unit_test(counts_do_not_wrap),
        cmocka_unit_test(pictures),
        cmocka_unit_test(random_is_splitmix64),
        cmocka_unit_test(normal_is_normal),
        cmocka_unit_test(normal_has_the_same_bits_anywhere),
        cmocka_unit_test(shuffle_permutes),
        cmocka_unit_test(cpu_levels),
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(write_and_overwrite),
        cmocka_unit_test(write_in_the_working_folder),
        cmocka_unit_test(bad_places),
        cmocka_unit_test(links_are_replaced),
        cmocka_unit_test(full_disk_keeps_the_old),
        cmocka_unit_test(short_writes),
        cmocka_unit_test(sync_and_close_are_checked),
        cmocka_unit_test(late_arrivals_are_kept),
        cmocka_unit_test(abort_leaves_nothing),
        cmocka_unit_test(output_is_no_input),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
