/* SPDX-License-Identifier: MIT
 *
 * Networks that see pictures mirrored or turned, and jobs that are painted by them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "graph/graph.h"
#include "model/model.h"
#include "style_stage.h"

#define TURNS 8

/* --- the network --- */

typedef struct place {
    size_t y, x;
} place;

/* Where a place of a height x width map comes to lie. */
static place turned_place(
    unsigned turn, size_t y, size_t x, size_t height, size_t width) {
    bool transpose = turn & IMP_TURN_TRANSPOSE;
    place p = {transpose ? x : y, transpose ? y : x};
    if (turn & IMP_TURN_COLUMNS) p.x = (transpose ? height : width) - 1 - p.x;
    if (turn & IMP_TURN_ROWS) p.y = (transpose ? width : height) - 1 - p.y;
    return p;
}

static imp_picture turned_picture(const imp_picture *p, unsigned turn) {
    bool transpose = turn & IMP_TURN_TRANSPOSE;
    imp_picture out;
    ok(imp_picture_new(
        ctx, &out, transpose ? p->height : p->width, transpose ? p->width : p->height));
    for (size_t i = 0; i < floats_of(p); i++) {
        size_t count = p->width * p->height, y = i % count / p->width;
        place to = turned_place(turn, y, i % p->width, p->height, p->width);
        out.planes[i / count * count + to.y * out.width + to.x] = p->planes[i];
    }
    return out;
}

/* What the network makes of a picture; its graph is to be freed. */
static imp_graph *see(const imp_model *m, const imp_picture *p, imp_id *last) {
    imp_graph *g = imp_graph_new(ctx);
    imp_input_spec spec = imp_model_describe(m).input;
    imp_id x = imp_graph_input(
        g, "picture", (imp_shape){1, 3, p->height, p->width, IMP_PICTURE}, false);
    *last = imp_network(g, m, x, &(imp_network_options){0}, NULL, NULL, 0);
    imp_graph_keep(g, *last);
    ok(imp_graph_plan(g, false));
    imp_input_to_picture(
        ctx, &spec, p->width * p->height, p->planes, imp_graph_data(g, x));
    imp_graph_forward(g);
    return g;
}

/* A network of widths that fill no block, one convolution of low rank. */
static imp_model *make_network(void) {
    static const size_t channels[] = {5, 16, 18, 20, 33, 17},
                        ranks[] = {0, 0, 0, 0, 9, 0};
    imp_model_options o = {.architecture = "vgg19",
        .channels = channels,
        .n_channels = 6,
        .ranks = ranks,
        .seed = 3};
    imp_model *m;
    ok(imp_model_init(ctx, &m, &o));
    return m;
}

/* A turned network sees of a picture what the network sees of the turned picture. */
static void sees_as_if_turned(void **state) {
    (void)state;
    imp_model *m = make_network(), *twin = NULL;
    imp_picture p = make_picture(40, 24, 1, 128, 50);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        imp_picture turned = turned_picture(&p, turn);
        imp_id a, b;
        ok(imp_model_turn(ctx, &twin, m, turn));
        imp_graph *found = see(twin, &p, &a), *expected = see(m, &turned, &b);
        imp_shape s = imp_graph_shape(found, a), t = imp_graph_shape(expected, b);
        double off = 0, all = 0;
        for (size_t c = 0; c < s.c; c++)
            for (size_t y = 0; y < s.h; y++)
                for (size_t x = 0; x < s.w; x++) {
                    place to = turned_place(turn, y, x, s.h, s.w);
                    double u = (double)imp_graph_data(
                        found, a)[imp_map_offset(&s, 0, c, y, x)];
                    double v = (double)imp_graph_data(
                        expected, b)[imp_map_offset(&t, 0, c, to.y, to.x)];
                    off += (u - v) * (u - v);
                    all += v * v;
                }
        if (!(all > 0 && off <= 1e-10 * all))
            fail_msg("turn %u: off by %g of %g", turn, off, all);
        imp_graph_free(found);
        imp_graph_free(expected);
        imp_picture_free(&turned);
    }
    imp_picture_free(&p);
    imp_model_free(twin);
    imp_model_free(m);
}

/* --- presets --- */

/* The model of the tests, as if it had learnt from another. */
static void make_student(bool student) {
    free(narrow->taught);
    narrow->taught = student ? strdup("0") : NULL;
}

/* A student: more iterations, the first layer and content count more, with the turns alone; a network
 * without a teacher is not turned; random features: one scale. */
static void presets_suit_the_network(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t scale, last;
    } with_student[] = {{"painterly", 60, 160}, {"faithful", 30, 68}, {"bold", 45, 90},
        {"texture", 90, 90}, {"fast", 8, 8}};
    bool random = narrow->info.random;
    narrow->info.random = false;
    make_student(true);
    for (size_t i = 0; i < 5; i++) {
        imp_style_options o = imp_style_preset(with_student[i].name), own = o;
        imp_style_suit(&o, narrow);
        assert_int_equal(o.scale_iterations, with_student[i].scale);
        assert_int_equal(o.iterations, with_student[i].last);
        assert_true(o.turn == own.turn && o.first_size == own.first_size);
        assert_true(o.layer_weights_given && o.layer_weights[0] == 3.0 &&
                    o.layer_weights[1] == 1.0 && o.layer_weights[4] == 1.0);
        assert_true(fabs(o.content_weight - 1.05 * own.content_weight) < 1e-12);
        o = own, o.objective = IMP_PLAIN;
        imp_style_suit(&o, narrow);
        assert_true(o.turn == own.turn && !o.layer_weights_given &&
                    o.content_weight == own.content_weight);
        o = own, own.turn = o.turn = 0;
        imp_style_suit(&o, narrow);
        assert_memory_equal(&o, &own, sizeof o);
    }
    static const char *const others[] = {"photo", "classic", "gatys"};
    for (size_t i = 0; i < 3; i++) {
        imp_style_options o = imp_style_preset(others[i]), own = o;
        imp_style_suit(&o, narrow);
        assert_memory_equal(&o, &own, sizeof o);
    }
    make_student(false);
    imp_style_options o = imp_style_preset("painterly"), own = o;
    imp_style_suit(&o, narrow);
    own.turn = 0;
    assert_memory_equal(&o, &own, sizeof o);
    narrow->info.random = true;
    imp_style_suit(&o, narrow);
    assert_true(o.turn == 0 && o.first_size == 0);
    narrow->info.random = random;
}

/* --- the job --- */

static imp_picture photo, canvas;
static const imp_style_source source = {.picture = &canvas, .weight = 1};

static int turn_setup(void **state) {
    if (style_setup(state)) return -1;
    photo = make_picture(80, 62, 1, 128, 50);
    canvas = make_picture(50, 60, 2, 128, 60);
    return 0;
}

static int turn_teardown(void **state) {
    imp_picture_free(&photo);
    imp_picture_free(&canvas);
    return style_teardown(state);
}

static imp_style_options turning_options(imp_optimizer kind) {
    imp_style_options o = all_terms(kind);
    o.size = 64;
    o.first_size = 45;
    o.scale_iterations = 5;
    o.iterations = 7;
    o.turn = 2;
    return o;
}

/* Each stretch is painted by the network that its place before the end asks for, on targets of its
 * own; the last by the network as it is. Places are found once, by the first. */
static void stretches(void **state) {
    (void)state;
    static const unsigned last[] = {
        IMP_TURN_ROWS | IMP_TURN_COLUMNS, IMP_TURN_TRANSPOSE, IMP_TURN_COLUMNS, 0};
    imp_picture now;
    imp_style_options o = turning_options(IMP_ADAM);
    imp_style_progress parts, found;
    imp_model *twin = NULL;
    imp_style *job;
    stage s = {.o = {.found = NULL}};
    make_student(true);
    ok(imp_style_new(ctx, &job, narrow, &photo, &source, 1, NULL, &o));
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(imp_style_total(job), 12);
        ok(imp_style_picture(job, &now));
        ok(imp_style_step(job, &found));
        assert_int_equal(found.scale, i >= 5);
        if (i >= 5 && (i - 5) % 2 == 0) {
            uint32_t *places = s.o.found;
            s.o.found = NULL;
            if (i > 5) stage_free(&s);
            ok(imp_model_turn(ctx, &twin, narrow, last[(i - 5) / 2]));
            stage_build(&s, twin, &photo, &source, 1, &o);
            s.o.found = places;
            ok(imp_targets_prepare(ctx, &s.o, now.planes));
        }
        if (i >= 5) {
            imp_objective_evaluate(ctx, &s.o, now.planes, NULL, &parts);
            assert_true(found.loss == parts.loss && found.style == parts.style);
        }
        imp_picture_free(&now);
    }
    stage_free(&s);
    imp_style_free(job);
    imp_model_free(twin);
    make_student(false);
}

/* Only a network that has learnt from another is turned. */
static void others_are_not_turned(void **state) {
    (void)state;
    for (int kind = IMP_ADAM; kind <= IMP_LBFGS; kind++) {
        imp_style_options o = turning_options((imp_optimizer)kind), never = o;
        never.turn = 0;
        for (int student = 0; student < 2; student++) {
            make_student(student);
            imp_picture a = paint(ctx, &photo, &source, 1, &o, SIZE_MAX);
            imp_picture b = paint(ctx, &photo, &source, 1, &never, SIZE_MAX);
            bool same = !memcmp(a.planes, b.planes, floats_of(&a) * sizeof(float));
            assert_int_equal(same, !student);
            imp_picture_free(&a);
            imp_picture_free(&b);
        }
    }
    make_student(false);
}

/* A stretch that gains too little, here any gain, ends early: on to the next. */
static void early_end(void **state) {
    (void)state;
    make_student(true);
    for (int kind = IMP_ADAM; kind <= IMP_LBFGS; kind++) {
        imp_style_options o = turning_options((imp_optimizer)kind);
        imp_style_progress now;
        imp_style *job;
        o.first_size = 0;
        o.iterations = 30;
        o.turn = 15;
        o.tolerance = 1e9;
        ok(imp_style_new(ctx, &job, narrow, &photo, &source, 1, NULL, &o));
        for (size_t i = 0; imp_style_done(job) < imp_style_total(job); i++) {
            assert_int_equal(imp_style_total(job), i < 11 ? 30 : 26);
            assert_false(imp_style_converged(job));
            ok(imp_style_step(job, &now));
        }
        assert_int_equal(imp_style_done(job), 22);
        assert_true(imp_style_converged(job));
        imp_style_free(job);
    }
    make_student(false);
}

static imp_picture by_threads(int threads, imp_optimizer kind) {
    imp_ctx_options options = {.threads = threads};
    imp_style_options o = turning_options(kind);
    imp_ctx *c;
    o.rematch = 3;
    assert_int_equal(imp_ctx_new(&c, &options), IMP_OK);
    imp_picture out = paint(c, &photo, &source, 1, &o, SIZE_MAX);
    imp_ctx_free(c);
    return out;
}

static void threads_change_no_bit(void **state) {
    (void)state;
    static const int counts[] = {2, 3, 7};
    make_student(true);
    for (int kind = IMP_ADAM; kind <= IMP_LBFGS; kind++) {
        imp_picture one = by_threads(1, (imp_optimizer)kind);
        for (size_t i = 0; i < 3; i++) {
            imp_picture p = by_threads(counts[i], (imp_optimizer)kind);
            assert_same(&p, &one);
            imp_picture_free(&p);
        }
        imp_picture_free(&one);
    }
    make_student(false);
}

/* The turned network is planned for. */
static void planned(void **state) {
    (void)state;
    imp_style_options o = turning_options(IMP_LBFGS);
    size_t with, without, weights = 0;
    ok(imp_style_estimate(ctx, narrow, 80, 62, &source, 1, &o, &without));
    make_student(true);
    ok(imp_style_estimate(ctx, narrow, 80, 62, &source, 1, &o, &with));
    make_student(false);
    for (size_t i = 0; i < imp_model_tensor_count(narrow); i++)
        weights += imp_blocked_count(imp_model_tensor_shape(narrow, i));
    assert_int_equal(with - without, weights * sizeof(float));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_as_if_turned),
        cmocka_unit_test(presets_suit_the_network),
        cmocka_unit_test(stretches),
        cmocka_unit_test(others_are_not_turned),
        cmocka_unit_test(early_end),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(planned),
    };
    return cmocka_run_group_tests_name("turn", tests, turn_setup, turn_teardown);
}
