/* SPDX-License-Identifier: MIT
 *
 * Nearest neighbours among feature columns: match.c against the same in double, one pair
 * of columns after the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "files.h"
#include "style/match.h"

#define MAX_LAYERS 4
#define MAX_POOLS  4

/* Maps of all layers in both layouts: plain[channel * places + place] goes over the
 * channels of all layers. */
typedef struct picture_maps {
    size_t channels[MAX_LAYERS], n_layers, depth, places;
    float *plain;
    float *blocked[MAX_LAYERS];
} picture_maps;

static void maps_free(picture_maps *p) {
    free(p->plain);
    for (size_t l = 0; l < p->n_layers; l++) free(p->blocked[l]);
}

static imp_shape map_shape(const picture_maps *p, size_t layer) {
    return (imp_shape){1, p->channels[layer], 1, p->places, IMP_MAP};
}

static void to_blocked(picture_maps *p) {
    const float *plain = p->plain;
    for (size_t l = 0; l < p->n_layers; l++) {
        imp_to_blocked(map_shape(p, l), plain, p->blocked[l]);
        plain += p->channels[l] * p->places;
    }
}

static picture_maps maps_new(const size_t *channels, size_t n_layers, size_t places) {
    picture_maps p = {.n_layers = n_layers, .places = places};
    for (size_t l = 0; l < n_layers; l++) {
        p.depth += p.channels[l] = channels[l];
        p.blocked[l] =
            malloc(imp_blocked_count(map_shape(&p, l)) * sizeof *p.blocked[l]);
    }
    p.plain = malloc(p.depth * places * sizeof *p.plain);
    return p;
}

/* Like features: half of them 0, each layer of a size of its own. */
static picture_maps make_maps(
    const size_t *channels, size_t n_layers, size_t places, uint64_t seed) {
    picture_maps p = maps_new(channels, n_layers, places);
    size_t at = 0;
    for (size_t l = 0; l < n_layers; l++)
        for (size_t i = 0; i < channels[l] * places; i++, at++)
            p.plain[at] =
                (float)(pow(30, (double)l) * fmax(0, imp_normal(seed, at) + 0.3));
    to_blocked(&p);
    return p;
}

/* --- the same in double --- */

/* A painting that was added: of its places those in `chosen`. */
typedef struct painting {
    const picture_maps *maps;
    size_t *chosen, n_chosen, region;
    double share;
} painting;

/* D^1/2 of each row, by the first painting. */
static double *row_scales(const picture_maps *first) {
    double *scale = malloc(first->depth * sizeof *scale);
    size_t row = 0, places = first->places;
    for (size_t l = 0; l < first->n_layers; l++) {
        double square = 0;
        for (size_t i = row * places; i < (row + first->channels[l]) * places; i++)
            square += (double)first->plain[i] * (double)first->plain[i];
        for (size_t c = 0; c < first->channels[l]; c++)
            scale[row++] = square > 0 ? sqrt((double)places / square) : 0;
    }
    return scale;
}

static double row_mean(const picture_maps *p, size_t row) {
    double sum = 0;
    for (size_t i = 0; i < p->places; i++) sum += (double)p->plain[row * p->places + i];
    return sum / (double)p->places;
}

/* The columns less their mean, a column's numbers together. */
static double *centred(const picture_maps *p) {
    double *x = malloc(p->depth * p->places * sizeof *x);
    for (size_t row = 0; row < p->depth; row++) {
        double mean = row_mean(p, row);
        for (size_t i = 0; i < p->places; i++)
            x[i * p->depth + row] = (double)p->plain[row * p->places + i] - mean;
    }
    return x;
}

/* The place of the painting that is most like q; *margin: by how much, of |D^1/2 q|. */
static size_t nearest_place(const painting *t, const double *c, const double *scale,
    const double *q, double *margin) {
    size_t depth = t->maps->depth, found = 0;
    double best = -INFINITY, second = -INFINITY, length = 0;
    for (size_t r = 0; r < depth; r++) length += q[r] * q[r] * scale[r] * scale[r];
    for (size_t k = 0; k < t->n_chosen; k++) {
        const double *x = c + t->chosen[k] * depth;
        double product = 0, square = 0;
        for (size_t r = 0; r < depth; r++) {
            product += q[r] * x[r] * scale[r] * scale[r];
            square += x[r] * x[r] * scale[r] * scale[r];
        }
        double score = square > 0 ? product / sqrt(square) : 0;
        if (score > best) {
            second = best;
            best = score;
            found = t->chosen[k];
        } else if (score > second)
            second = score;
    }
    *margin = (best - second) / sqrt(length);
    return found;
}

/* What imp_match_replace makes of one place, to be compared with, row by row; false:
 * two places of a painting are so much alike that float32 may take either. */
static bool expect_column(const painting *paintings, size_t n, double *const *columns,
    const double *scale, const double *q, size_t region, double *out) {
    bool clear = true;
    for (size_t k = 0; k < n; k++) {
        const painting *t = &paintings[k];
        double margin;
        if (t->region != region) continue;
        size_t f = nearest_place(t, columns[k], scale, q, &margin);
        clear &= margin > 1e-5;
        for (size_t r = 0; r < t->maps->depth; r++)
            out[r] += t->share * (double)t->maps->plain[r * t->maps->places + f];
    }
    return clear;
}

static bool has_pool(const painting *paintings, size_t n, size_t region) {
    for (size_t k = 0; k < n; k++)
        if (paintings[k].region == region) return true;
    return false;
}

/* The columns that were found, plain as in picture_maps. */
static float *plain_of(const picture_maps *p, float *const *blocked) {
    float *plain = malloc(p->depth * p->places * sizeof *plain), *at = plain;
    for (size_t l = 0; l < p->n_layers; l++) {
        imp_from_blocked(map_shape(p, l), blocked[l], at);
        at += p->channels[l] * p->places;
    }
    return plain;
}

/* Every place of query, after it was replaced by `found`. */
static void assert_nearest(const picture_maps *query, const float *found,
    const painting *paintings, size_t n, const uint8_t *region) {
    double *scale = row_scales(paintings[0].maps), *q = centred(query);
    double *columns[MAX_POOLS], *expected = malloc(query->depth * sizeof *expected);
    size_t places = query->places, unclear = 0;
    for (size_t k = 0; k < n; k++) columns[k] = centred(paintings[k].maps);
    for (size_t p = 0; p < places; p++) {
        size_t r = region ? region[p] : 0;
        memset(expected, 0, query->depth * sizeof *expected);
        bool kept = !has_pool(paintings, n, r);
        if (!expect_column(
                paintings, n, columns, scale, q + p * query->depth, r, expected)) {
            unclear++;
            continue;
        }
        for (size_t row = 0; row < query->depth; row++) {
            double x = (double)found[row * places + p], size = 1 / scale[row];
            double old = (double)query->plain[row * places + p];
            if (kept ? x != old : !(fabs(x - expected[row]) <= 1e-5 * size))
                fail_msg("place %zu row %zu: expected %.9g, found %.9g", p, row,
                    kept ? old : expected[row], x);
        }
    }
    assert_true(unclear * 50 <= places);
    for (size_t k = 0; k < n; k++) free(columns[k]);
    free(expected);
    free(scale);
    free(q);
}

/* --- our own --- */

/* Add the paintings and replace the columns of a copy of query, by this many threads; once more
 * with the places that were found, which changes no bit. */
static float *replace(int threads, const picture_maps *query, const painting *paintings,
    bool *const *inside, size_t n, const uint8_t *region) {
    imp_ctx *c;
    imp_ctx_options options = {.threads = threads};
    imp_match m;
    float *maps[MAX_LAYERS];
    uint32_t *places = malloc(n * query->places * sizeof *places);
    assert_int_equal(imp_ctx_new(&c, &options), IMP_OK);
    imp_match_init(&m, query->channels, query->n_layers);
    for (size_t k = 0; k < n; k++)
        assert_int_equal(
            imp_match_add(c, &m, (const float *const *)paintings[k].maps->blocked,
                paintings[k].maps->places, inside[k], paintings[k].region,
                paintings[k].share),
            IMP_OK);
    float *found[2];
    for (int known = 0; known < 2; known++) {
        for (size_t l = 0; l < query->n_layers; l++) {
            size_t bytes = imp_blocked_count(map_shape(query, l)) * sizeof(float);
            maps[l] = malloc(bytes);
            memcpy(maps[l], query->blocked[l], bytes);
        }
        assert_int_equal(
            imp_match_replace(c, &m, maps, query->places, region, places, known),
            IMP_OK);
        found[known] = plain_of(query, maps);
        for (size_t l = 0; l < query->n_layers; l++) free(maps[l]);
    }
    assert_memory_equal(
        found[0], found[1], query->depth * query->places * sizeof(float));
    free(found[1]);
    free(places);
    imp_match_free(&m);
    imp_ctx_free(c);
    return found[0];
}

/* The places that a painting is asked for: all, or those inside; thinned out. */
static painting make_painting(
    const picture_maps *maps, const bool *inside, size_t region, double share) {
    painting t = {.maps = maps, .region = region, .share = share};
    t.chosen = malloc(maps->places * sizeof *t.chosen);
    for (size_t p = 0; p < maps->places; p++)
        if (!inside || inside[p]) t.chosen[t.n_chosen++] = p;
    size_t all = t.n_chosen, most = IMP_MATCH_PLACES;
    if (all <= most) return t;
    for (size_t i = 0; i < most; i++) t.chosen[i] = t.chosen[i * all / most];
    t.n_chosen = most;
    return t;
}

static void check(const picture_maps *query, painting *paintings, bool *const *inside,
    size_t n, const uint8_t *region) {
    static const int counts[] = {2, 3, 7};
    float *one = replace(1, query, paintings, inside, n, region);
    for (size_t i = 0; i < 3; i++) {
        float *found = replace(counts[i], query, paintings, inside, n, region);
        assert_memory_equal(found, one, query->depth * query->places * sizeof *one);
        free(found);
    }
    assert_nearest(query, one, paintings, n, region);
    for (size_t k = 0; k < n; k++) free(paintings[k].chosen);
    free(one);
}

/* --- tests --- */

/* One painting; numbers of channels, of places and of columns that fill no block. */
static void one_painting(void **state) {
    (void)state;
    static const struct {
        size_t channels[MAX_LAYERS], n_layers, query, places;
    } cases[] = {{{3}, 1, 5, 3}, {{16}, 1, 168, 128}, {{3, 17}, 2, 169, 129},
        {{4, 7, 33}, 3, 350, 131}, {{33, 250, 1}, 3, 40, 300}, {{5}, 1, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t *c = cases[i].channels, n = cases[i].n_layers;
        picture_maps query = make_maps(c, n, cases[i].query, 10 + i);
        picture_maps maps = make_maps(c, n, cases[i].places, 20 + i);
        painting t = make_painting(&maps, NULL, 0, 1);
        bool *inside[] = {NULL};
        check(&query, &t, inside, 1, NULL);
        maps_free(&query);
        maps_free(&maps);
    }
}

/* Places that are known are taken, not searched for: here every second one, from the last. */
static void known_places(void **state) {
    (void)state;
    static const size_t channels[] = {6, 20};
    picture_maps query = make_maps(channels, 2, 20, 1);
    picture_maps maps = make_maps(channels, 2, 40, 2);
    uint32_t places[20];
    imp_match m;
    imp_ctx *c;
    assert_int_equal(imp_ctx_new(&c, NULL), IMP_OK);
    imp_match_init(&m, channels, 2);
    assert_int_equal(
        imp_match_add(c, &m, (const float *const *)maps.blocked, 40, NULL, 0, 1),
        IMP_OK);
    for (uint32_t i = 0; i < 20; i++) places[i] = 39 - 2 * i;
    assert_int_equal(
        imp_match_replace(c, &m, query.blocked, 20, NULL, places, true), IMP_OK);
    float *found = plain_of(&query, query.blocked);
    for (size_t r = 0; r < query.depth; r++)
        for (size_t i = 0; i < 20; i++) {
            double expected = (double)maps.plain[r * 40 + 39 - 2 * i];
            assert_true(fabs((double)found[r * 20 + i] - expected) <= 1e-4);
        }
    free(found);
    imp_match_free(&m);
    imp_ctx_free(c);
    maps_free(&query);
    maps_free(&maps);
}

/* Two places inside of the mask, unlike most of the picture: what fills up their panel
 * does not win. */
static void few_places(void **state) {
    (void)state;
    static const size_t channels[] = {6};
    picture_maps query = make_maps(channels, 1, 60, 1);
    picture_maps maps = make_maps(channels, 1, 50, 2);
    bool mask[50] = {[7] = true, [31] = true}, *inside[] = {mask};
    painting t = make_painting(&maps, mask, 0, 1);
    check(&query, &t, inside, 1, NULL);
    maps_free(&query);
    maps_free(&maps);
}

/* A region with two paintings by shares, one of them by a mask; one with another; one
 * without any and places that belong nowhere, which stay as they are. */
static void regions(void **state) {
    (void)state;
    static const size_t channels[] = {5, 18}, sides[] = {90, 210, 64};
    picture_maps query = make_maps(channels, 2, 500, 1), maps[3];
    painting t[3];
    bool *inside[3] = {NULL};
    uint8_t region[500];
    for (size_t p = 0; p < 500; p++) {
        uint64_t draw = (uint64_t)(4 * imp_uniform(5, p));
        region[p] = p < 200 ? 1 : draw == 3 ? 255 : (uint8_t)draw; /* blocks of one */
    }
    inside[1] = malloc(sides[1] * sizeof(bool));
    for (size_t p = 0; p < sides[1]; p++) inside[1][p] = imp_uniform(6, p) < 0.3;
    for (size_t k = 0; k < 3; k++) {
        maps[k] = make_maps(channels, 2, sides[k], 2 + k);
        t[k] = make_painting(&maps[k], inside[k], k == 2, k == 2 ? 1 : k ? 0.75 : 0.25);
    }
    check(&query, t, inside, 3, region);
    for (size_t k = 0; k < 3; k++) maps_free(&maps[k]);
    maps_free(&query);
    free(inside[1]);
}

/* More places than are kept: thinned out evenly, those inside of a mask alone. */
static void thinned(void **state) {
    (void)state;
    static const size_t channels[] = {12};
    size_t places = 24000;
    picture_maps query = make_maps(channels, 1, 40, 1);
    picture_maps maps = make_maps(channels, 1, places, 2);
    bool *mask = malloc(places * sizeof *mask);
    for (size_t i = 0; i < places * 12; i++)
        maps.plain[i] += (float)imp_normal(3, i); /* few of them alike */
    to_blocked(&maps);
    for (size_t p = 0; p < places; p++) mask[p] = p % 4 != 1;
    for (int k = 0; k < 2; k++) {
        bool *inside[] = {k ? mask : NULL};
        painting t = make_painting(&maps, inside[0], 0, 1);
        assert_int_equal(t.n_chosen, IMP_MATCH_PLACES);
        check(&query, &t, inside, 1, NULL);
    }
    imp_match m;
    imp_match_init(&m, channels, 1);
    assert_int_equal(
        imp_match_pool_bytes(&m, places), imp_match_pool_bytes(&m, IMP_MATCH_PLACES));
    maps_free(&query);
    maps_free(&maps);
    free(mask);
}

/* Columns d and 2 d are equally like any other: the first of them is taken. Whole
 * numbers, and each column's opposite, so that the mean is 0 and a tie is one to the
 * last bit. */
static void ties(void **state) {
    (void)state;
    static const size_t channels[] = {3, 17},
                        pairs[][2] = {{0, 1}, {5, 37}, {20, 35}, {3, 195}, {17, 18},
                            {40, 200}, {127, 128}, {2, 250}};
    size_t n = sizeof pairs / sizeof *pairs, places = 512;
    for (int large_first = 0; large_first < 2; large_first++) {
        picture_maps query = maps_new(channels, 2, n),
                     maps = maps_new(channels, 2, places);
        memset(maps.plain, 0, maps.depth * places * sizeof *maps.plain);
        for (size_t i = 0; i < n; i++)
            for (size_t r = 0; r < maps.depth; r++) {
                float x = (float)(1 + (int)(40 * imp_uniform(i, r)) - 20);
                size_t a = pairs[i][large_first], b = pairs[i][!large_first];
                query.plain[r * n + i] = x;
                maps.plain[r * places + a] = x;
                maps.plain[r * places + b] = 2 * x;
                maps.plain[r * places + 511 - a] = -x;
                maps.plain[r * places + 511 - b] = -2 * x;
            }
        to_blocked(&maps);
        to_blocked(&query);
        painting t = make_painting(&maps, NULL, 0, 1);
        bool *inside[] = {NULL};
        float *found = replace(2, &query, &t, inside, 1, NULL);
        for (size_t i = 0; i < n; i++)
            for (size_t r = 0; r < maps.depth; r++) {
                double x = (double)query.plain[r * n + i] * (large_first ? 2 : 1);
                assert_true(fabs((double)found[r * n + i] - x) <= 1e-4);
            }
        free(found);
        free(t.chosen);
        maps_free(&query);
        maps_free(&maps);
    }
}

/* A painting without any difference, or black: its one column, and no division by 0. */
static void flat(void **state) {
    (void)state;
    static const size_t channels[] = {4, 18};
    picture_maps query = make_maps(channels, 2, 30, 1),
                 maps = maps_new(channels, 2, 20);
    bool *inside[] = {NULL};
    for (int value = 0; value < 2; value++) {
        for (size_t i = 0; i < maps.depth * maps.places; i++)
            maps.plain[i] = value && i < 4 * maps.places ? 3.0f : 0.0f;
        to_blocked(&maps);
        painting t = make_painting(&maps, NULL, 0, 1);
        float *found = replace(2, &query, &t, inside, 1, NULL);
        for (size_t i = 0; i < maps.depth * query.places; i++)
            assert_true(found[i] == (value && i < 4 * query.places ? 3.0f : 0.0f));
        free(found);
        free(t.chosen);
    }
    maps_free(&query);
    maps_free(&maps);
}

static void black_mask(void **state) {
    (void)state;
    static const size_t channels[] = {4};
    picture_maps maps = make_maps(channels, 1, 20, 1);
    bool inside[20] = {false};
    imp_match m;
    imp_match_init(&m, channels, 1);
    imp_status s =
        imp_match_add(ctx, &m, (const float *const *)maps.blocked, 20, inside, 0, 1);
    assert_failed(s, IMP_ERR_DATA, "white");
    imp_match_free(&m);
    maps_free(&maps);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_painting),
        cmocka_unit_test(known_places),
        cmocka_unit_test(few_places),
        cmocka_unit_test(regions),
        cmocka_unit_test(thinned),
        cmocka_unit_test(ties),
        cmocka_unit_test(flat),
        cmocka_unit_test(black_mask),
    };
    return cmocka_run_group_tests_name("match", tests, files_setup, files_teardown);
}
