/* SPDX-License-Identifier: MIT
 *
 * Any bytes as an HDF5 file of Keras. libhdf5 is known to fall over lying files, which is
 * why a child reads them; so here too every input has a child of its own. Where that one dies
 * inside libhdf5, by a signal, of a sanitizer that saw libhdf5 do it, or of too much time or
 * memory, the file is refused and all is well. What is not: a demand of fuzz_foreign.h that
 * does not hold, and a fault in our own code.
 */
#include "fuzz_foreign.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define SECONDS 5
#define OURS    "foreign/h5.c"

enum { RUNS, ENDED, LIBRARY_FAULT };

const char *__asan_default_options(void);
void __asan_set_error_report_callback(void (*callback)(const char *report));
void __sanitizer_set_death_callback(void (*callback)(void));
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Where libFuzzer's counters of this program begin and end: what a child reached must come
 * back. Named in assembler, as clang makes symbols of these names itself. */
__asm__(".pushsection .data, \"aw\"\n"
        ".balign 8\n"
        "counters: .quad __start___sancov_cntrs, __stop___sancov_cntrs\n"
        ".popsection\n");
extern uint8_t *const volatile counters[2];

static struct shared {
    int state;
    uint8_t counted[];
} * shared;

static size_t n_counters(void) {
    return (size_t)(counters[1] - counters[0]);
}

/* Whose fault is it? The first frame of the report that is libhdf5's or h5.c's says so. */
static void on_report(const char *report) {
    const char *library = strstr(report, "libhdf5"), *ours = strstr(report, OURS);
    if (library && (!ours || library < ours)) shared->state = LIBRARY_FAULT;
}

/* Too large a size is NULL, as without a sanitizer; below what libFuzzer calls too much. */
__attribute__((visibility("default"), used)) const char *__asan_default_options(void) {
    return "allocator_may_return_null=1:max_allocation_size_mb=128";
}

static void nothing(void) {}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    shared = mmap(NULL, sizeof *shared + n_counters(), PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    demand(shared != MAP_FAILED);
    __asan_set_error_report_callback(on_report);
    imp_ctx ctx = {0};
    imp_foreign f = {.ctx = &ctx, .path = "fuzz"};
    if (imp_reader_h5.prepare) demand(imp_reader_h5.prepare(&f) == IMP_OK); /* once */
    return 0;
}

static void child(const uint8_t *data, size_t size) {
    static const int fatal[] = {
        SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM, SIGXCPU};
    const struct rlimit none = {0, 0}, time = {SECONDS, SECONDS};
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) signal(fatal[i], SIG_DFL);
    __sanitizer_set_death_callback(nothing); /* libFuzzer would keep the input */
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_CPU, &time);
    fuzz_reader(&imp_reader_h5, data, size);
    memcpy(shared->counted, counters[0], n_counters());
    shared->state = ENDED;
    _exit(0);
}

/* libFuzzer ends a child with 71 that asked for too much memory; a demand is SIGILL. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int status;
    if (!imp_reader_h5.recognise(data, size)) return 0;
    shared->state = RUNS;
    pid_t pid = fork();
    demand(pid >= 0);
    if (pid == 0) child(data, size);
    while (waitpid(pid, &status, 0) < 0) demand(errno == EINTR); /* libFuzzer's clock */
    if (shared->state == ENDED)
        memcpy(counters[0], shared->counted, n_counters());
    else if (WIFSIGNALED(status))
        demand(WTERMSIG(status) != SIGILL);
    else
        demand(shared->state == LIBRARY_FAULT || WEXITSTATUS(status) == 71);
    return 0;
}
