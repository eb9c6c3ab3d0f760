/* SPDX-License-Identifier: MIT
 *
 * Style transfer. The whole objective on a narrow VGG-19: the reference operations,
 * chained, against PyTorch in double; the planned graph against the same; trajectories
 * of both optimisers; the same bits for any number of threads.
 *
 * IMPASTO_VGG_GOLDEN=FILE, made by `tools/oracle/vgg.py style -o FILE`: the planned
 * graph against PyTorch on the real VGG-19.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "style_golden.h"
#include "walk.h"
#include "model_files.h"

static imp_safetensors *goldens;
static const char *const objectives[] = {
    "normalised", "normalised_tv", "classic", "classic_avg", "plain_tv"};
#define OBJECTIVES (sizeof objectives / sizeof *objectives)

static imp_picture picture(const char *name) {
    return golden_picture(ctx, goldens, name);
}

/* --- the reference operations, chained --- */

#define LAYERS      6 /* relu4_2, then those of the style */
#define ACTIVATIONS 13
static const char *const layers[LAYERS] = {
    "relu4_2", "relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"};

typedef struct network {
    imp_graph *g;
    imp_id x, all[ACTIVATIONS],
        value[LAYERS]; /* features; Gram matrices after the first */
} network;

static network build_network(const double *attr, size_t height, size_t width) {
    network n = {.g = imp_graph_new(ctx)};
    const char *names[ACTIVATIONS];
    for (size_t i = 0; i < ACTIVATIONS; i++) names[i] = imp_model_layer(narrow, i);
    imp_network_options o = {.last = "relu5_1",
        .first = attr[4] > 0 ? IMP_PAD_REPLICATE : IMP_PAD_ZERO,
        .pooling = attr[5] > 0 ? IMP_POOL_AVG : IMP_POOL_MAX};
    n.x = imp_graph_input(
        n.g, "picture", (imp_shape){1, 3, height, width, IMP_MAP}, true);
    imp_network(n.g, narrow, n.x, &o, names, n.all, ACTIVATIONS);
    for (size_t i = 0; i < LAYERS; i++)
        for (size_t k = 0; k < ACTIVATIONS; k++)
            if (!strcmp(layers[i], names[k]))
                n.value[i] = i ? imp_gram(n.g, n.all[k]) : n.all[k];
    return n;
}

/* Blue, green, red without the mean; the file's words, since floats are too coarse. */
static void write_picture(walk *w, imp_id x, const imp_picture *p) {
    const char *text = imp_safetensors_metadata(goldens, "input.mean");
    size_t count = p->width * p->height;
    double *v = malloc(3 * count * sizeof *v);
    for (size_t c = 0; c < 3; c++) {
        char *end;
        double mean = strtod(text, &end);
        text = end + 1;
        for (size_t i = 0; i < count; i++)
            v[c * count + i] = (double)p->planes[(2 - c) * count + i] - mean;
    }
    walk_set(w, x, v);
    free(v);
}

/* The values at a picture's content layer (first 0) or style layers; sums of squares.
 */
static void make_targets(const double *attr, const imp_picture *p, size_t first,
    size_t end, double **targets, double *squares) {
    network n = build_network(attr, p->height, p->width);
    walk w = walk_new(n.g);
    write_picture(&w, n.x, p);
    walk_forward(&w);
    for (size_t i = first; i < end; i++) {
        size_t count = walk_count(&w, n.value[i]);
        targets[i] = malloc(count * sizeof(double));
        memcpy(targets[i], w.value[n.value[i]], count * sizeof(double));
        squares[i] = 0;
        for (size_t k = 0; k < count; k++) squares[i] += targets[i][k] * targets[i][k];
    }
    walk_free(&w);
    imp_graph_free(n.g);
}

/* The network with its losses; divisor[i]: squared error over loss. */
typedef struct reference {
    network n;
    imp_id target[LAYERS], loss[LAYERS], rgb, variation;
    double divisor[LAYERS], squares[LAYERS];
    double *targets[LAYERS];
    walk w;
} reference;

static void add_losses(reference *r, const double *attr, imp_shape picture_shape) {
    imp_graph *g = r->n.g;
    for (size_t i = 0; i < LAYERS; i++) {
        imp_shape s = imp_graph_shape(g, r->n.value[i]);
        r->target[i] = imp_graph_input(g, "target", s, false);
        r->loss[i] = i ? imp_style_loss(g, r->n.value[i], r->target[i])
                       : imp_content_loss(g, r->n.value[i], r->target[i]);
        double c = (double)s.c;
        r->divisor[i] = i ? 4 * c * c : 2 * (double)imp_plain_count(s);
        double weight = i ? attr[2] : attr[1];
        if (attr[0] > 0)
            weight *= r->divisor[i] / r->squares[i];
        else if (i)
            weight /= LAYERS - 1;
        imp_graph_loss(g, r->loss[i], weight);
    }
    r->rgb = imp_graph_input(g, "rgb", picture_shape, true);
    r->variation = imp_total_variation(g, r->rgb);
    imp_graph_loss(g, r->variation, attr[0] > 0 ? attr[3] / 65025 : attr[3]);
}

static reference run_reference(const double *attr) {
    reference r = {0};
    imp_picture content = picture("small.content"), style = picture("style"),
                start = picture("small.start");
    make_targets(attr, &content, 0, 1, r.targets, r.squares);
    make_targets(attr, &style, 1, LAYERS, r.targets, r.squares);
    r.n = build_network(attr, start.height, start.width);
    add_losses(&r, attr, (imp_shape){1, 3, start.height, start.width, IMP_MAP});
    r.w = walk_new(r.n.g);
    write_picture(&r.w, r.n.x, &start);
    for (size_t i = 0; i < LAYERS; i++) walk_set(&r.w, r.target[i], r.targets[i]);
    for (size_t i = 0; i < 3 * start.width * start.height; i++)
        r.w.value[r.rgb][i] = (double)start.planes[i];
    imp_picture_free(&content);
    imp_picture_free(&style);
    imp_picture_free(&start);
    return r;
}

static void check_features(const reference *r, const char *prefix) {
    double *expected = golden_need(goldens, prefix, "features");
    for (size_t i = 0; i < ACTIVATIONS; i++) {
        const double *x = r->w.value[r->n.all[i]];
        double sum = 0, square = 0;
        for (size_t k = 0; k < walk_count(&r->w, r->n.all[i]); k++) {
            sum += x[k];
            square += x[k] * x[k];
        }
        assert_relative(prefix, "sum of features", sum, expected[2 * i], 1e-11);
        assert_relative(prefix, "their squares", square, expected[2 * i + 1], 1e-11);
    }
    free(expected);
}

static void check_terms(const reference *r, const char *prefix, double total) {
    static const char *const names[] = {
        "loss", "content", "style", "errors", "targets"};
    double *golden[5], style = 0;
    for (size_t i = 0; i < 5; i++) golden[i] = golden_need(goldens, prefix, names[i]);
    for (size_t i = 0; i < LAYERS; i++) {
        double loss = r->w.value[r->loss[i]][0];
        style += i ? loss / (LAYERS - 1) : 0;
        assert_relative(prefix, layers[i], loss * r->divisor[i], golden[3][i], 1e-10);
        assert_relative(prefix, "target", r->squares[i], golden[4][i], 1e-10);
    }
    assert_relative(prefix, "loss", total, golden[0][0], 1e-10);
    assert_relative(prefix, "content", r->w.value[r->loss[0]][0], golden[1][0], 1e-10);
    assert_relative(prefix, "style", style, golden[2][0], 1e-10);
    for (size_t i = 0; i < 5; i++) free(golden[i]);
}

/* Every element to 1e-9 of the largest. */
static void check_gradient(const reference *r, const char *prefix) {
    double *expected = golden_need(goldens, prefix, "gradient");
    size_t count = walk_count(&r->w, r->n.x) / 3;
    double largest = 0;
    for (size_t i = 0; i < 3 * count; i++) largest = fmax(largest, fabs(expected[i]));
    for (size_t i = 0; i < 3 * count; i++) {
        size_t bgr = (2 - i / count) * count + i % count;
        double found = r->w.grad[r->n.x][bgr] + r->w.grad[r->rgb][i];
        if (!(fabs(found - expected[i]) <= 1e-9 * largest))
            fail_msg("%s gradient [%zu]: expected %.15g, found %.15g", prefix, i,
                expected[i], found);
    }
    free(expected);
}

static void reference_is_pytorch(void **state) {
    (void)state;
    for (size_t k = 0; k < OBJECTIVES; k++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "small.%s", objectives[k]);
        double *attr = golden_need(goldens, prefix, "attr");
        reference r = run_reference(attr);
        double total = walk_forward(&r.w);
        walk_backward(&r.w);
        check_features(&r, prefix);
        check_terms(&r, prefix, total);
        check_gradient(&r, prefix);
        walk_free(&r.w);
        imp_graph_free(r.n.g);
        for (size_t i = 0; i < LAYERS; i++) free(r.targets[i]);
        free(attr);
    }
}

/* --- the planned graph --- */

typedef struct pictures {
    imp_picture content, style, start;
} pictures;

static void pictures_free(pictures *p) {
    imp_picture_free(&p->content);
    imp_picture_free(&p->style);
    imp_picture_free(&p->start);
}

/* The mean of Lc or of Ll over the layers. */
static double raw_part(const imp_objective_state *o, imp_loss_kind kind) {
    double sum = 0, n = 0;
    for (size_t i = 0; i < o->n_losses; i++) {
        if (o->losses[i].kind != kind) continue;
        sum += imp_graph_loss_value(o->graph, o->losses[i].loss);
        n++;
    }
    return sum / n;
}

/* Loss, parts and gradient at p->start against <prefix>.loss ... of the file. */
static void check_fast(const imp_safetensors *st, const char *prefix,
    const imp_model *model, const imp_style_options *options, const pictures *p,
    double tolerance) {
    imp_objective_state o;
    size_t count = 3 * p->start.width * p->start.height;
    imp_style_progress parts;
    float *g = malloc(count * sizeof *g);
    imp_style_source source = {.picture = &p->style, .weight = 1};
    imp_style_options as_large = *options;
    imp_style_layers chosen;
    imp_scene scene;
    float *color;
    as_large.size = SIZE_MAX;
    as_large.style_size = SIZE_MAX;
    assert_int_equal(imp_style_layers_choose(ctx, &chosen, model, options), IMP_OK);
    assert_int_equal(imp_scene_measure(ctx, &scene, p->content.width, p->content.height,
                         &source, 1, &as_large),
        IMP_OK);
    assert_int_equal(
        imp_scene_load(ctx, &scene, &p->content, &source, 1, IMP_COLORS_STYLE, &color),
        IMP_OK);
    assert_int_equal(
        imp_objective_build(ctx, &o, model, options, &chosen, &scene), IMP_OK);
    assert_int_equal(imp_targets_prepare(ctx, &o, NULL), IMP_OK);
    double loss = imp_objective_evaluate(ctx, &o, p->start.planes, g, &parts);
    double *golden[4];
    static const char *const names[] = {"loss", "content", "style", "gradient"};
    for (size_t i = 0; i < 4; i++) golden[i] = golden_need(st, prefix, names[i]);
    nearness k = near_gradient(g, 1 / o.scale, golden[3], count);
    print_message(
        "%s, %s: loss off by %.2g, 1 - cosine %.2g, median relative error %.2g\n",
        prefix, ctx->precision == IMP_EXACT ? "exact" : "fast",
        fabs(loss / golden[0][0] - 1), 1 - k.cosine, k.median);
    assert_true(loss == parts.loss);
    assert_relative(prefix, "loss", loss, golden[0][0], tolerance);
    assert_relative(
        prefix, "content", raw_part(&o, IMP_LOSS_CONTENT), golden[1][0], tolerance);
    assert_relative(
        prefix, "style", raw_part(&o, IMP_LOSS_GRAM), golden[2][0], tolerance);
    if (options->tv_weight == 0)
        assert_relative(prefix, "sum of the parts",
            options->content_weight * parts.content +
                options->style_weight * parts.style,
            loss, 1e-12);
    assert_near_gradient(prefix, k, ctx->precision);
    for (size_t i = 0; i < 4; i++) free(golden[i]);
    free(g);
    imp_objective_free(&o);
    imp_scene_free(&scene);
}

static void fast_is_pytorch(void **state) {
    (void)state;
    pictures p = {picture("small.content"), picture("style"), picture("small.start")};
    for (size_t k = 0; k < OBJECTIVES; k++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "small.%s", objectives[k]);
        double *attr = golden_need(goldens, prefix, "attr");
        imp_style_options options = golden_options(attr);
        check_fast(goldens, prefix, narrow, &options, &p, 1e-5);
        free(attr);
    }
    pictures_free(&p);
}

static void real_vgg_is_pytorch(void **state) {
    (void)state;
    const char *path = getenv("IMPASTO_VGG_GOLDEN");
    if (!path || !*path) {
        print_message("no IMPASTO_VGG_GOLDEN (tools/oracle/vgg.py style): skipped\n");
        skip();
    }
    imp_safetensors *st;
    if (imp_safetensors_open(ctx, &st, path) != IMP_OK)
        fail_msg("%s", imp_ctx_error(ctx));
    imp_model *model = load_model(imp_safetensors_metadata(st, "model"));
    pictures p = {golden_picture(ctx, st, "content"), golden_picture(ctx, st, "style"),
        golden_picture(ctx, st, "start")};
    const char *prefixes[] = {"normalised", "classic"};
    for (size_t i = 0; i < 4; i++) {
        imp_style_options options =
            i % 2 ? imp_style_preset("classic") : normalised_options();
        ctx->precision = i < 2 ? IMP_FAST : IMP_EXACT;
        check_fast(st, prefixes[i % 2], model, &options, &p, 1e-4);
    }
    ctx->precision = IMP_FAST;
    pictures_free(&p);
    imp_model_free(model);
    imp_safetensors_close(st);
}

/* --- trajectories --- */

static imp_style *new_job(
    imp_ctx *c, const imp_model *model, const pictures *p, const imp_style_options *o) {
    imp_style *job;
    const imp_picture *start = p->start.planes ? &p->start : NULL;
    imp_style_source source = {.picture = &p->style, .weight = 1};
    if (imp_style_new(c, &job, model, &p->content, &source, 1, start, o) != IMP_OK)
        fail_msg("%s", imp_ctx_error(c));
    return job;
}

/* How a picture is improved: what the golden losses are called. */
typedef enum way { ADAM, LBFGS, PRECONDITIONED, WAYS } way;
static const char *const way_names[] = {"adam", "lbfgs", "preconditioned"};

/* "normalised" from the content, "classic" from a start of its own, at 64 x 64. */
static imp_style *trajectory_job(
    imp_ctx *c, const imp_model *model, const char *name, way kind) {
    bool classic = !strcmp(name, "classic");
    pictures p = {picture("large.content"), picture("style"),
        classic ? picture("large.classic.start") : (imp_picture){0}};
    imp_style_options o = classic ? imp_style_preset("classic") : normalised_options();
    if (classic) o.init = IMP_INIT_PICTURE;
    o.optimizer = kind == ADAM ? IMP_ADAM : IMP_LBFGS;
    o.precondition = kind == PRECONDITIONED ? 2.25 : 1.0;
    o.rate = 1;
    o.history = 10;
    imp_style *job = new_job(c, model, &p, &o);
    pictures_free(&p);
    return job;
}

/* Adam reports the loss before a step, L-BFGS the one after it. */
static void follow(const char *name, way kind) {
    char prefix[64];
    const char *what = way_names[kind];
    snprintf(prefix, sizeof prefix, "large.%s", name);
    double *expected = golden_need(goldens, prefix, what), worst = 0;
    size_t steps = kind == ADAM ? 20 : 10;
    imp_style *job = trajectory_job(ctx, narrow, name, kind);
    for (size_t i = 0; i <= steps; i++) {
        imp_style_progress now;
        assert_int_equal(imp_style_evaluate(job, &now), IMP_OK);
        assert_int_equal(now.iteration, i);
        assert_relative(prefix, what, now.loss, expected[i], 1e-3);
        worst = fmax(worst, fabs(now.loss / expected[i] - 1));
        imp_style_progress after = {0};
        if (i == steps) break;
        assert_int_equal(imp_style_step(job, &after), IMP_OK);
        assert_int_equal(imp_style_done(job), i + 1);
        assert_int_equal(after.iteration, i + 1);
        if (kind == ADAM)
            assert_true(after.loss == now.loss);
        else
            assert_true(after.loss < now.loss);
    }
    print_message("%s %s: losses off by at most %.2g\n", prefix, what, worst);
    assert_false(imp_style_converged(job));
    imp_style_free(job);
    free(expected);
}

static void trajectories(void **state) {
    (void)state;
    for (int kind = 0; kind < WAYS; kind++) {
        follow("normalised", (way)kind);
        follow("classic", (way)kind);
    }
}

static imp_picture paint_with(int threads, const char *name, way kind) {
    imp_ctx *c;
    imp_ctx_options options = {.threads = threads};
    imp_style_progress progress;
    imp_picture out;
    assert_int_equal(imp_ctx_new(&c, &options), IMP_OK);
    imp_style *job = trajectory_job(c, narrow, name, kind);
    for (int i = 0; i < 4; i++)
        assert_int_equal(imp_style_step(job, &progress), IMP_OK);
    assert_int_equal(imp_style_picture(job, &out), IMP_OK);
    imp_style_free(job);
    imp_ctx_free(c);
    return out;
}

static void threads_change_no_bit(void **state) {
    (void)state;
    static const int counts[] = {2, 3, 7};
    for (int kind = 0; kind < WAYS; kind++)
        for (int classic = 0; classic < 2; classic++) {
            const char *name = classic ? "classic" : "normalised";
            imp_picture one = paint_with(1, name, (way)kind);
            for (size_t i = 0; i < 3; i++) {
                imp_picture p = paint_with(counts[i], name, (way)kind);
                assert_memory_equal(
                    p.planes, one.planes, 3 * p.width * p.height * sizeof(float));
                imp_picture_free(&p);
            }
            imp_picture_free(&one);
        }
}

/* --- the program --- */

static int setup(void **state) {
    goldens = style_setup(state) ? NULL : golden_open(ctx, "style.safetensors");
    return goldens ? 0 : -1;
}

static int teardown(void **state) {
    imp_safetensors_close(goldens);
    return style_teardown(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_is_pytorch),
        cmocka_unit_test(fast_is_pytorch),
        cmocka_unit_test(real_vgg_is_pytorch),
        cmocka_unit_test(trajectories),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests_name("style", tests, setup, teardown);
}
