/* SPDX-License-Identifier: MIT
 *
 * impasto-bench: how fast are the parts? script/bench sets them beside the rivals.
 *
 *     impasto-bench ceiling     multiply-adds and bandwidths of the processor
 *     impasto-bench conv        the convolutions of VGG-19 to conv5_1
 *     impasto-bench linear      fully connected layers
 *     impasto-bench style       an iteration of style transfer
 *     impasto-bench mnist       an epoch of training on digits
 *     impasto-bench classify    VGG-19 on one picture
 *     impasto-bench train       a training step of a narrow VGG-19
 *
 * Times are medians. --help has the options.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* --- for all parts --- */

double bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

size_t bench_peak_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double bench_median(double *x, size_t n) {
    qsort(x, n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

#define MOST_ITERATIONS 1000

double bench_time(size_t iterations, void (*run)(void *arg), void *arg) {
    double seconds[MOST_ITERATIONS];
    run(arg);
    for (size_t i = 0; i < iterations; i++) {
        double start = bench_now();
        run(arg);
        seconds[i] = bench_now() - start;
    }
    return bench_median(seconds, iterations);
}

void bench_json(const imp_ctx *ctx, const char *name) {
    printf("{\"event\":\"bench\",\"name\":\"%s\",\"threads\":%d,\"cpu\":\"%s\","
           "\"precision\":\"%s\"",
        name, imp_ctx_threads(ctx), imp_ctx_cpu(ctx),
        ctx->precision == IMP_EXACT ? "exact" : "fast");
}

int bench_fail(const imp_ctx *ctx) {
    fprintf(stderr, "impasto-bench: %s\n", imp_ctx_error(ctx));
    return 1;
}

float bench_value(uint64_t seed, size_t i) {
    return (float)(int32_t)(imp_random(seed, i) >> 32) * 0x1p-31f;
}

/* --- the parts and their options --- */

static const struct part {
    const char *name;
    int (*run)(imp_ctx *ctx, const bench_settings *s);
    size_t iterations; /* unless told */
} parts[] = {
    {"ceiling", bench_ceiling, 1},
    {"conv", bench_conv, 3},
    {"linear", bench_linear, 5},
    {"style", bench_style, 5},
    {"mnist", bench_mnist, 1},
    {"classify", bench_classify, 5},
    {"train", bench_train, 5},
};

static const char help[] =
    "usage: impasto-bench ceiling|conv|linear|style|mnist|classify|train [options]\n"
    "  --threads T             threads to use [IMPASTO_THREADS, else the processors]\n"
    "  --precision fast|exact  how 3 x 3 convolutions are computed [fast]\n"
    "  --iterations N          calls, iterations or epochs that are timed\n"
    "  --json                  one JSON object a line\n"
    "conv, style:\n"
    "  --size N                pixels of the picture's side [512]\n"
    "conv:\n"
    "  --layer NAME            this layer alone: conv1_1 to conv5_1\n"
    "style:\n"
    "  --arch NAME             seeded weights: vgg16 or vgg19; or builtin [vgg19]\n"
    "  --model FILE            a model's own weights\n"
    "  --nodes                 what each operation of the graph takes\n"
    "mnist:\n"
    "  --net mlp|lenet         [both]\n"
    "  --optimizer sgd|adam    [sgd]\n"
    "  --data DIR              the folder of MNIST [noise of its size]\n";

static const struct part *find_part(const char *name) {
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strcmp(parts[i].name, name)) return &parts[i];
    return NULL;
}

static bool refuse(const char *option, const char *expected, const char *found) {
    fprintf(stderr, "impasto-bench: %s: expected %s, found %s\n", option, expected,
        found ? found : "nothing");
    return false;
}

static bool read_count(const char *option, const char *text, size_t most, size_t *out) {
    char *end = NULL, expected[32];
    unsigned long v =
        text && *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
    *out = v;
    if (v >= 1 && v <= most && !*end) return true;
    snprintf(expected, sizeof expected, "1 to %zu", most);
    return refuse(option, expected, text);
}

/* *out: is it the second of the two? */
static bool read_either(const char *option, const char *text, const char *first,
    const char *second, bool *out) {
    char expected[64];
    *out = text && !strcmp(text, second);
    if (*out || (text && !strcmp(text, first))) return true;
    snprintf(expected, sizeof expected, "%s or %s", first, second);
    return refuse(option, expected, text);
}

static bool read_option(bench_settings *s, const char *option, const char *text) {
    bool second, good = text != NULL;
    size_t count;
    if (!strcmp(option, "--size")) return read_count(option, text, 16384, &s->size);
    if (!strcmp(option, "--iterations"))
        return read_count(option, text, MOST_ITERATIONS, &s->iterations);
    if (!strcmp(option, "--threads")) {
        good = read_count(option, text, 1024, &count);
        if (good) s->threads = (int)count;
        return good;
    }
    if (!strcmp(option, "--precision")) {
        good = read_either(option, text, "fast", "exact", &second);
        s->precision = second ? IMP_EXACT : IMP_FAST;
        return good;
    }
    if (!strcmp(option, "--optimizer")) {
        good = read_either(option, text, "sgd", "adam", &second);
        s->optimizer = second ? IMP_ADAM : IMP_SGD;
        return good;
    }
    if (!strcmp(option, "--net")) {
        s->net = text;
        return read_either(option, text, "mlp", "lenet", &second);
    }
    const char **out = !strcmp(option, "--arch")    ? &s->architecture
                       : !strcmp(option, "--model") ? &s->model
                       : !strcmp(option, "--layer") ? &s->layer
                       : !strcmp(option, "--data")  ? &s->data
                                                    : NULL;
    if (!out) return refuse("option", "one of impasto-bench --help", option);
    *out = text;
    return good || refuse(option, "a value", text);
}

static bool read_options(bench_settings *s, int argc, char **argv) {
    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "--json"))
            s->json = true;
        else if (!strcmp(argv[i], "--nodes"))
            s->nodes = true;
        else if (!read_option(s, argv[i], i + 1 < argc ? argv[i + 1] : NULL))
            return false;
        else
            i++;
    }
    return true;
}

int main(int argc, char **argv) {
    const struct part *part = argc > 1 ? find_part(argv[1]) : NULL;
    if (!part) {
        bool wanted = argc > 1 && !strcmp(argv[1], "--help");
        fputs(help, wanted ? stdout : stderr);
        return wanted ? 0 : 2;
    }
    bench_settings s = {
        .size = 512, .iterations = part->iterations, .architecture = "vgg19"};
    if (!read_options(&s, argc, argv)) return 2;
    imp_ctx *ctx;
    imp_ctx_options options = {.threads = s.threads, .precision = s.precision};
    int status = 0;
    if (imp_ctx_new(&ctx, &options)) status = bench_fail(ctx);
    if (!status && !s.json)
        printf("%s, %d threads\n", imp_ctx_cpu(ctx), imp_ctx_threads(ctx));
    if (!status) status = part->run(ctx, &s);
    imp_ctx_free(ctx);
    return status;
}
