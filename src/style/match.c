/* SPDX-License-Identifier: MIT
 *
 * match.c: nearest neighbours among the feature columns of two pictures (Kolkin et al. 2022,
 * "Neural neighbor style transfer"; Li & Wand 2016 for patches). A column holds what all
 * layers see at one place; q are those of the painted picture, c those of the painting:
 *
 *     match(q) = argmax over c of  (q - mean q)' D (c - mean c) / |D^(1/2) (c - mean c)|
 *
 * D weighs each layer so that the first painting's columns have the mean square length 1.
 * Nothing that belongs to q alone changes the argmax, so q is not scaled: the painting's
 * columns carry everything, b = D (c - mean c) / length, and q's mean becomes a bias,
 * -mean q ' b. What is left is a matrix product, done a block of places at a time, and a
 * running maximum. Means and D are of all places, inside of a mask or not.
 */
#include "style/match.h"

#include "kernel/kernel.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void imp_match_init(imp_match *m, const size_t *channels, size_t n_layers) {
    *m = (imp_match){.n_layers = n_layers};
    for (size_t l = 0; l < n_layers; l++)
        m->depth += m->channels[l] = imp_round16(channels[l]);
}

static size_t panel_floats(const imp_match *m, size_t places) {
    return imp_round16(places) * m->depth;
}

size_t imp_match_pool_bytes(const imp_match *m, size_t places) {
    places = imp_least(places, IMP_MATCH_PLACES);
    return (panel_floats(m, places) + imp_round16(places) + m->depth) * sizeof(float);
}

void imp_match_free(imp_match *m) {
    for (size_t i = 0; i < m->n_pools; i++) {
        imp_release(m->pools[i].panels);
        free(m->pools[i].length);
        free(m->pools[i].mean);
    }
    m->n_pools = 0;
}

/* --- a painting's columns --- */

/* Sum and sum of squares of each channel of a blocked map. */
static void sum_channels(
    const float *map, size_t channels, size_t places, double *sum, double *square) {
    *square = 0;
    for (size_t b = 0; b < channels / 16; b++) {
        double s[16] = {0}, q[16] = {0};
        const float *x = map + b * places * 16;
        for (size_t p = 0; p < places; p++)
            for (size_t i = 0; i < 16; i++) {
                double v = (double)x[p * 16 + i];
                s[i] += v;
                q[i] += v * v;
            }
        for (size_t i = 0; i < 16; i++) sum[b * 16 + i] = s[i], *square += q[i];
    }
}

/* Mean column; the scales, where they are not known yet. */
static imp_status measure(
    imp_ctx *ctx, imp_match *m, const float *const *maps, size_t places, float *mean) {
    double *sum = malloc(m->depth * sizeof *sum);
    if (!sum) return imp_fail(ctx, IMP_ERR_LIMIT, "match: no memory");
    for (size_t l = 0, at = 0; l < m->n_layers; at += m->channels[l++]) {
        double square;
        sum_channels(maps[l], m->channels[l], places, sum + at, &square);
        if (m->n_pools == 0)
            m->scale[l] = square > 0 ? (float)sqrt((double)places / square) : 0.0f;
    }
    for (size_t i = 0; i < m->depth; i++) mean[i] = (float)(sum[i] / (double)places);
    free(sum);
    return IMP_OK;
}

typedef struct fill_job {
    const imp_match *m;
    const imp_pool_of_places *pool;
    const float *const *maps;
    size_t all;           /* places of the maps */
    const size_t *chosen; /* of them, those that the pool has */
} fill_job;

/* One panel: 16 columns, centred, scaled and of length 1. */
static void fill_panel(void *arg, size_t panel, int thread) {
    (void)thread;
    const fill_job *j = arg;
    const imp_match *m = j->m;
    float *out = j->pool->panels + panel * m->depth * 16;
    for (size_t k = 0; k < 16 && panel * 16 + k < j->pool->places; k++) {
        size_t place = j->chosen[panel * 16 + k], r = 0;
        double square = 0;
        for (size_t l = 0; l < m->n_layers; l++)
            for (size_t c = 0; c < m->channels[l]; c++, r++) {
                float x = j->maps[l][(c / 16 * j->all + place) * 16 + c % 16];
                float d = (x - j->pool->mean[r]) * m->scale[l];
                out[r * 16 + k] = d * m->scale[l];
                square += (double)d * (double)d;
            }
        float length = (float)sqrt(square);
        j->pool->length[panel * 16 + k] = length;
        for (r = 0; r < m->depth && length > 0; r++) out[r * 16 + k] /= length;
    }
}

/* The places that are inside, thinned out evenly. Returns how many. */
static size_t choose_places(size_t places, const bool *inside, size_t *chosen) {
    size_t n = 0;
    for (size_t p = 0; p < places; p++)
        if (!inside || inside[p]) chosen[n++] = p;
    if (n <= IMP_MATCH_PLACES) return n;
    for (size_t i = 0; i < IMP_MATCH_PLACES; i++)
        chosen[i] = chosen[(size_t)((double)i * (double)n / (double)IMP_MATCH_PLACES)];
    return IMP_MATCH_PLACES;
}

imp_status imp_match_add(imp_ctx *ctx, imp_match *m, const float *const *maps,
    size_t places, const bool *inside, size_t region, double share) {
    imp_pool_of_places *pool = &m->pools[m->n_pools];
    *pool = (imp_pool_of_places){.region = region, .share = (float)share};
    size_t *chosen = malloc(places * sizeof *chosen);
    pool->mean = malloc(m->depth * sizeof *pool->mean);
    imp_status s = IMP_OK;
    if (chosen) pool->places = choose_places(places, inside, chosen);
    if (chosen && pool->places == 0)
        s = imp_fail(ctx, IMP_ERR_DATA,
            "style mask: expected something white, found nothing at %zu places",
            places);
    pool->panels = imp_alloc(panel_floats(m, pool->places) * sizeof *pool->panels);
    pool->length = calloc(imp_round16(pool->places) + 1, sizeof *pool->length);
    if (!chosen || !pool->mean || !pool->panels || !pool->length)
        s = s ? s : imp_fail(ctx, IMP_ERR_LIMIT, "match: no memory");
    if (!s) s = measure(ctx, m, maps, places, pool->mean);
    m->n_pools++; /* freed with the others */
    if (!s) {
        fill_job j = {m, pool, maps, places, chosen};
        imp_parallel(ctx, imp_divide_up(pool->places, 16), fill_panel, &j);
    }
    free(chosen);
    return s;
}

/* --- the search --- */

#define GROUP 8 /* panels at a time */

typedef struct search {
    imp_ctx *ctx;
    const imp_match *m;
    float *const *maps;
    size_t places;
    const uint8_t *region;
    uint32_t *found;                          /* of each pool, a number a place */
    const float *bias[IMP_STYLE_MAX_SOURCES]; /* of each pool, a number a place */
    char *scratch;                            /* of each thread; NULL: found is known */
    size_t thread_bytes;
} search;

/* What a thread needs for a block of rows. */
typedef struct block_scratch {
    float packed[IMP_GEMM_SCRATCH / sizeof(float)];
    float score[GROUP * IMP_GEMM_ROWS * 16];
    float best[IMP_GEMM_ROWS][16]; /* in each lane of the panels */
    uint32_t panel[IMP_GEMM_ROWS][16];
} block_scratch;

typedef struct rows {
    const search *s;
    size_t first, count;
} rows;

/* A tap is a block of 16 channels of some layer. */
static const float *tap_map(const search *s, size_t tap) {
    size_t l = 0;
    for (; tap >= s->m->channels[l] / 16; l++) tap -= s->m->channels[l] / 16;
    return s->maps[l] + tap * s->places * 16;
}

static void pack_columns(const void *source, size_t row0, size_t count, size_t tap0,
    size_t taps, float *a, size_t a_tap) {
    const rows *r = source;
    for (size_t t = 0; t < taps; t++)
        memcpy(a + t * a_tap, tap_map(r->s, tap0 + t) + (r->first + row0) * 16,
            count * 16 * sizeof *a);
}

/* The running maximum of each row, in each of the 16 lanes. */
static void keep_best(block_scratch *b, size_t count, size_t panel0, size_t panels) {
    for (size_t p = 0; p < panels; p++)
        for (size_t r = 0; r < count; r++) {
            const float *score = b->score + (p * IMP_GEMM_ROWS + r) * 16;
            for (size_t i = 0; i < 16; i++) {
                bool better = score[i] > b->best[r][i];
                b->best[r][i] = better ? score[i] : b->best[r][i];
                b->panel[r][i] = better ? (uint32_t)(panel0 + p) : b->panel[r][i];
            }
        }
}

/* Of the lanes' maxima the greatest, of equals the place of the lowest number. */
static uint32_t best_place(const block_scratch *b, size_t row) {
    uint32_t found = b->panel[row][0] * 16;
    float best = b->best[row][0];
    for (uint32_t i = 1; i < 16; i++) {
        uint32_t place = b->panel[row][i] * 16 + i;
        if (b->best[row][i] > best || (b->best[row][i] == best && place < found)) {
            best = b->best[row][i];
            found = place;
        }
    }
    return found;
}

static void search_pool(const rows *r, size_t k, block_scratch *b) {
    const imp_pool_of_places *pool = &r->s->m->pools[k];
    size_t panels = imp_round16(pool->places) / 16;
    imp_gemm g = {.pack = pack_columns,
        .source = r,
        .taps = r->s->m->depth / 16,
        .y_row = 16,
        .y_panel = IMP_GEMM_ROWS * 16};
    for (size_t i = 0; i < r->count * 16; i++) {
        b->best[i / 16][i % 16] = -INFINITY;
        b->panel[i / 16][i % 16] = 0;
    }
    for (size_t p = 0; p < panels; p += GROUP) {
        size_t n = imp_least(panels - p, GROUP);
        g.b = pool->panels + p * r->s->m->depth * 16;
        g.bias = r->s->bias[k] + p * 16;
        g.y = b->score;
        imp_gemm_block(r->s->ctx->kernels, &g, 0, r->count, 0, n, b->packed);
        keep_best(b, r->count, p, n);
    }
    uint32_t *found = r->s->found + k * r->s->places + r->first;
    for (size_t i = 0; i < r->count; i++) found[i] = best_place(b, i);
}

static size_t region_of(const search *s, size_t place) {
    return s->region ? s->region[place] : 0;
}

/* Is any of these places for this pool? */
static bool concerns(const rows *r, const imp_pool_of_places *pool) {
    for (size_t i = 0; i < r->count; i++)
        if (region_of(r->s, r->first + i) == pool->region) return true;
    return false;
}

/* The place's column = or += share times column f of the pool. */
static void take_column(const search *s, size_t place, const imp_pool_of_places *pool,
    uint32_t f, bool add) {
    const imp_match *m = s->m;
    const float *b = pool->panels + f / 16 * m->depth * 16 + f % 16;
    for (size_t l = 0, at = 0; l < m->n_layers; at += m->channels[l++]) {
        float square = m->scale[l] * m->scale[l];
        float back = square > 0.0f ? pool->length[f] / square : 0.0f;
        for (size_t c = 0; c < m->channels[l]; c++) {
            float *to = s->maps[l] + (c / 16 * s->places + place) * 16 + c % 16;
            float x = b[(at + c) * 16] * back + pool->mean[at + c];
            *to = (add ? *to : 0.0f) + pool->share * x;
        }
    }
}

/* The column of each row becomes what was found for it. */
static void replace_rows(const rows *r) {
    const search *s = r->s;
    for (size_t i = 0; i < r->count; i++) {
        bool add = false;
        for (size_t k = 0; k < s->m->n_pools; k++) {
            const imp_pool_of_places *pool = &s->m->pools[k];
            if (pool->region != region_of(s, r->first + i)) continue;
            uint32_t f = s->found[k * s->places + r->first + i];
            take_column(s, r->first + i, pool, f, add);
            add = true;
        }
    }
}

static void search_task(void *arg, size_t task, int thread) {
    const search *s = arg;
    rows r = {.s = s, .first = task * IMP_GEMM_ROWS};
    r.count = imp_least(s->places - r.first, IMP_GEMM_ROWS);
    for (size_t k = 0; k < s->m->n_pools && s->scratch; k++) {
        block_scratch *b = (void *)(s->scratch + (size_t)thread * s->thread_bytes);
        if (concerns(&r, &s->m->pools[k])) search_pool(&r, k, b);
    }
    replace_rows(&r);
}

typedef struct bias_job {
    const imp_match *m;
    const imp_pool_of_places *pool;
    const double *mean; /* of the painted picture's columns */
    float *bias;
} bias_job;

/* What b says of the mean column, taken away; places that fill up the last panel lose to all
 * others. */
static void bias_task(void *arg, size_t panel, int thread) {
    (void)thread;
    const bias_job *j = arg;
    const float *b = j->pool->panels + panel * j->m->depth * 16;
    double sum[16] = {0};
    for (size_t r = 0; r < j->m->depth; r++)
        for (size_t i = 0; i < 16; i++) sum[i] += j->mean[r] * (double)b[r * 16 + i];
    for (size_t i = 0; i < 16; i++)
        j->bias[panel * 16 + i] =
            panel * 16 + i < j->pool->places ? (float)-sum[i] : -FLT_MAX;
}

static imp_status find_biases(search *s, float **bias) {
    const imp_match *m = s->m;
    double *mean = malloc(m->depth * sizeof *mean);
    imp_status status = IMP_OK;
    for (size_t k = 0; k < m->n_pools; k++) {
        s->bias[k] = bias[k] = malloc(imp_round16(m->pools[k].places) * sizeof(float));
        if (!bias[k]) status = IMP_ERR_LIMIT;
    }
    if (!mean || status) {
        free(mean);
        return imp_fail(s->ctx, IMP_ERR_LIMIT, "match: no memory");
    }
    for (size_t l = 0, at = 0; l < m->n_layers; at += m->channels[l++]) {
        double square;
        sum_channels(s->maps[l], m->channels[l], s->places, mean + at, &square);
    }
    for (size_t i = 0; i < m->depth; i++) mean[i] /= (double)s->places;
    for (size_t k = 0; k < m->n_pools; k++) {
        bias_job j = {m, &m->pools[k], mean, bias[k]};
        imp_parallel(s->ctx, imp_round16(m->pools[k].places) / 16, bias_task, &j);
    }
    free(mean);
    return IMP_OK;
}

imp_status imp_match_replace(imp_ctx *ctx, const imp_match *m, float *const *maps,
    size_t places, const uint8_t *region, uint32_t *found, bool known) {
    float *bias[IMP_STYLE_MAX_SOURCES] = {0};
    search s = {.ctx = ctx,
        .m = m,
        .maps = maps,
        .places = places,
        .region = region,
        .found = found};
    s.thread_bytes = imp_round64(sizeof(block_scratch));
    imp_status status = known ? IMP_OK : find_biases(&s, bias);
    if (!status && !known) {
        s.scratch = imp_alloc(s.thread_bytes * (size_t)imp_threads_count(ctx->threads));
        if (!s.scratch) status = imp_fail(ctx, IMP_ERR_LIMIT, "match: no memory");
    }
    if (!status)
        imp_parallel(ctx, imp_divide_up(places, IMP_GEMM_ROWS), search_task, &s);
    imp_release(s.scratch);
    for (size_t k = 0; k < m->n_pools; k++) free(bias[k]);
    return status;
}
