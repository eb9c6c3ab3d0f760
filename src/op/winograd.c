/* SPDX-License-Identifier: MIT
 *
 * winograd.c: how the work of a Winograd convolution is cut, so that each transformed number
 * is in a cache when it is wanted (docs/winograd.md). Two ways, as U or V is the smaller:
 *
 *   few weights (the wide layers): all of U is made first, shared; then a task is a block of tiles:
 *     V of the block, and for each group of panels M and y. V and M are the thread's own. Where it
 *     costs little each thread makes its own U instead, in its first task.
 *   many weights (the deep layers): a group of tiles' V is made first, shared; then a task is
 *     a group of panels and a piece of those tiles: U of the panels, block by block of
 *     channels, M and y. U and M are the thread's own.
 *
 * Pieces are cut so that the threads end together. An output is made by one task, its sum over
 * the channels in one order (imp_gemm_tile), whatever the cuts are, as long as DEPTH is whole
 * parts of such a sum: the bits depend on the tile's size alone.
 */
#include "op/winograd.h"

#include <string.h>

#define FEW_FLOATS   ((size_t)25 << 18) /* U of few weights: 25 MiB at most */
#define OWN_FLOATS   ((size_t)3 << 20)  /* of each thread's own U, together: 12 MiB */
#define OWN_TILES    48 /* of V then, for every other thread: a tenth more work at most */
#define BLOCK_TILES  14 /* of V at a time then: V and M stay in the second cache */
#define BLOCK_FLOATS ((size_t)1 << 19) /* and of V of a block: 2 MiB */
#define GROUP_FLOATS ((size_t)1 << 22) /* V of a group of tiles: 16 MiB */
#define DEPTH        128               /* channels of U at a time, of many weights */
#define PANELS       2                 /* of 16 outputs, of M at a time */
#define TASK_TILES   5 /* what a task costs besides, in tiles: U's transform */
#define PIECES       4 /* of a group's tiles, at most */
#define PAD          48 /* floats between the planes of xi: else all meet in one cache set */

_Static_assert(DEPTH % (16 * IMP_SUM_TAPS) == 0, "sums are cut where they are anyway");

typedef struct job {
    const imp_winograd *p;
    const imp_kernels *kernels;
    const imp_call *call;
    void (*input)(const imp_winograd_input *in);
    void (*weights)(const imp_winograd_weights *w);
    void (*output)(const imp_winograd_output *out);
    size_t tile, taps, planes; /* m, r r, n n */
    size_t c, k;               /* in blocks of 16 */
    size_t wide, tiles;        /* tiles a row; of a sample */
    size_t all;                /* tiles of all samples */
    size_t group; /* tiles of V that lie side by side: rows of a register tile */
    size_t part;  /* tiles of a task, where few; of a group of them, where many */
    size_t block; /* room for these in V and M: a multiple of group */
    size_t depth; /* blocks of channels of U at a time */
    size_t first, count; /* many weights: the group's tiles */
    size_t piece;        /* and how many of them a task has */
    bool *own;    /* which threads have made a U of their own; NULL: U is shared */
    float *u, *v; /* shared: U where few, V where many */
} job;

/* Multiplications for one pair of channels; the weights' transform counts as some more. */
static size_t cost(const imp_winograd *p, size_t m) {
    size_t tiles = p->samples * imp_divide_up(p->oh, m) * imp_divide_up(p->ow, m);
    size_t n = m + p->weights_shape->h - 1;
    return (tiles + 5) * n * n;
}

bool imp_winograd_fits(const imp_conv *a, const imp_shape *w) {
    return w->h == w->w && (w->h == 3 || w->h == 5) && a->stride == 1;
}

size_t imp_winograd_tile(const imp_ctx *ctx, const imp_winograd *p) {
    size_t taps = p->weights_shape->h;
    size_t best = 0, least = taps * taps * p->samples * p->oh * p->ow;
    if (p->c < 16 || p->k < 16) return 0;
    if (taps == 5) return cost(p, 4) < least && ctx->precision == IMP_FAST ? 4 : 0;
    for (size_t m = 4; m <= (ctx->precision == IMP_FAST ? 8 : 4); m += 2)
        if (cost(p, m) < least) best = m, least = cost(p, m);
    return best;
}

static size_t u_floats(const job *j) { /* of all weights */
    return j->planes * j->c * j->k * 256;
}

/* U is made first where it is no larger than V would be, and not large. */
static bool few_weights(const job *j) {
    return u_floats(j) <= FEW_FLOATS && j->k * 16 <= j->all;
}

/* Each thread makes a U of its own where that is a tenth more work at most: what the other one has
 * made comes slowly where caches are apart. */
static bool own_weights(const job *j, const imp_ctx *ctx) {
    size_t n = (size_t)imp_threads_count(ctx->threads);
    return n > 1 && few_weights(j) && n * u_floats(j) <= OWN_FLOATS &&
           j->all >= OWN_TILES * (n - 1);
}

/* Tiles of a task on a group of panels, full register tiles, with which the threads end first. */
static size_t even_piece(const imp_ctx *ctx, size_t count, size_t groups) {
    size_t mr = ctx->kernels->mr, n = (size_t)imp_threads_count(ctx->threads);
    size_t best = count, least = SIZE_MAX;
    for (size_t pieces = 1; pieces <= PIECES; pieces++) {
        size_t piece = imp_divide_up(imp_divide_up(count, pieces), mr) * mr;
        size_t tasks = groups * imp_divide_up(count, piece);
        size_t time = imp_divide_up(tasks, n) * (piece + TASK_TILES);
        if (time < least) least = time, best = piece;
    }
    return best;
}

static void choose_transforms(job *j) {
    const imp_kernels *k = j->kernels;
    switch (j->p->weights_shape->h == 5 ? 5 : j->tile) {
#define TRANSFORMS(key)                                                                \
    case key:                                                                          \
        j->input = k->winograd_input##key;                                             \
        j->weights = k->winograd_weights##key;                                         \
        j->output = k->winograd_output##key;                                           \
        break;
        TRANSFORMS(4)
        TRANSFORMS(5)
        TRANSFORMS(6)
        TRANSFORMS(8)
#undef TRANSFORMS
    }
}

/* part, block and depth: as many tiles as caches hold; where few, as many tasks for each thread. */
static void cut(job *j, const imp_ctx *ctx) {
    bool few = few_weights(j);
    size_t mr = j->group, threads = (size_t)imp_threads_count(ctx->threads);
    size_t most = (few ? BLOCK_FLOATS : GROUP_FLOATS) / (j->planes * j->c * 16);
    if (few) most = imp_least(most, BLOCK_TILES);
    most = most < mr ? mr : most / mr * mr; /* register tiles are full */
    size_t parts = imp_divide_up(j->all, most);
    if (few) parts = imp_least(imp_divide_up(parts, threads) * threads, j->all);
    j->part = imp_divide_up(j->all, parts);
    j->block = imp_divide_up(j->part, mr) * mr;
    if (!few) j->part = j->block;
    j->depth = few ? j->c : imp_least(j->c, DEPTH / 16);
}

static job new_job(const imp_ctx *ctx, const imp_winograd *p) {
    size_t taps = p->weights_shape->h;
    job j = {.p = p, .kernels = ctx->kernels, .tile = imp_winograd_tile(ctx, p)};
    choose_transforms(&j);
    j.taps = taps * taps;
    j.planes = (j.tile + taps - 1) * (j.tile + taps - 1);
    j.c = imp_round16(p->c) / 16;
    j.k = imp_round16(p->k) / 16;
    j.wide = imp_divide_up(p->ow, j.tile);
    j.tiles = j.wide * imp_divide_up(p->oh, j.tile);
    j.all = p->samples * j.tiles;
    j.group = ctx->kernels->mr;
    cut(&j, ctx);
    return j;
}

/* Floats from plane to plane of xi. */
static size_t v_plane(const job *j) {
    return j->c * j->block * 16 + PAD;
}

static size_t m_plane(const job *j) {
    return PANELS * j->block * 16 + PAD;
}

static size_t u_plane(const job *j) { /* of one panel */
    return j->depth * 256 + PAD;
}

static size_t u_panel(const job *j) {
    return j->planes * u_plane(j);
}

void imp_winograd_need(const imp_ctx *ctx, const imp_winograd *p, imp_need *need) {
    if (!imp_winograd_tile(ctx, p)) return;
    job j = new_job(ctx, p);
    bool few = few_weights(&j);
    size_t v = j.planes * v_plane(&j), m = j.planes * m_plane(&j);
    size_t u = (few ? j.k : PANELS) * u_panel(&j);
    bool own = own_weights(&j, ctx);
    size_t shared = own ? imp_round64((size_t)imp_threads_count(ctx->threads))
                        : (few ? u : v) * sizeof(float);
    size_t each = (m + (few ? v : 0) + (own || !few ? u : 0)) * sizeof(float);
    if (need->scratch < shared) need->scratch = shared;
    if (need->thread_scratch < each) need->thread_scratch = each;
}

/* --- the four steps --- */

/* V of block cb of the channels, tiles first .. +count, at column `to` of the V given. */
static void transform_input(
    const job *j, size_t cb, size_t first, size_t count, size_t to, float *v) {
    const imp_winograd *p = j->p;
    size_t pixels = p->h * p->w,
           x_pixels = p->position ? p->h / 2 * (p->w / 2) : pixels;
    size_t row = 0;
    for (imp_tile_run r; row < count; row += r.count) {
        r = imp_tile_run_of(first + row, count - row, j->tiles);
        size_t block = r.sample * j->c + cb;
        imp_winograd_input in = {.tiles = {p->h, p->w, j->wide, r.first, r.count},
            .x = p->x + block * x_pixels * 16,
            .mask = p->mask ? p->mask + block * pixels : NULL,
            .position = p->position ? p->position + block * x_pixels * 16 : NULL,
            .origin = p->origin,
            .replicate = p->replicate,
            .v = v + cb * j->group * 16,
            .v_xi = v_plane(j),
            .group = j->group,
            .v_group = j->c * j->group * 16,
            .row = to + row};
        j->input(&in);
    }
}

/* 16 x 16 of each tap, rows to columns. */
static void transpose(size_t taps, const float *w, float *t) {
    for (size_t tap = 0; tap < taps; tap++, w += 256, t += 256)
        for (size_t i = 0; i < 16; i++)
            for (size_t o = 0; o < 16; o++) t[o * 16 + i] = w[i * 16 + o];
}

/* U of one panel of outputs, blocks cb .. +count of the channels. */
static void transform_weights(
    const job *j, size_t panel, size_t cb, size_t count, float *u) {
    const imp_winograd *p = j->p;
    float turned[25 * 256] __attribute__((aligned(64)));
    for (size_t i = 0; i < count; i++) {
        size_t row = p->backward ? cb + i : panel,
               column = p->backward ? panel : cb + i;
        const float *g = p->weights + row * imp_weight_depth(p->weights_shape) * 16 +
                         column * j->taps * 256;
        if (p->backward) transpose(j->taps, g, turned);
        imp_winograd_weights w = {.g = p->backward ? turned : g,
            .flip = p->backward,
            .u = u + i * 256,
            .u_xi = u_plane(j)};
        j->weights(&w);
    }
}

/* M (+)= V U: panels of outputs, blocks cb .. +depth of the channels, count tiles. */
static void multiply(const job *j, const float *u, size_t panels, const float *v,
    size_t cb, size_t depth, size_t count, float *m) {
    static const float zero[IMP_MAX_NB * 16];
    const imp_kernels *k = j->kernels;
    imp_gemm_tile t = {.init = cb == 0 ? zero : NULL,
        .taps = depth,
        .a_tap = j->group * 16,
        .b_panel = u_panel(j),
        .y_row = 16,
        .y_panel = j->block * 16,
        .next_tap = j->group * 16};
    for (size_t xi = 0; xi < j->planes; xi++)
        for (size_t panel = 0; panel < panels; panel += k->nb) {
            t.panels = imp_least(panels - panel, k->nb);
            t.b = u + panel * u_panel(j) + xi * u_plane(j);
            for (size_t first = 0; first < count; first += j->group) {
                t.rows = imp_least(count - first, j->group);
                t.a = v + xi * v_plane(j) + (first * j->c + cb * j->group) * 16;
                t.next = t.a + j->c * j->group * 16;
                t.y = m + xi * m_plane(j) + (panel * j->block + first) * 16;
                k->gemm(&t);
            }
        }
}

/* y of one panel of outputs from M, tiles first .. +count. */
static void transform_output(
    const job *j, size_t panel, const float *m, size_t first, size_t count) {
    const imp_winograd *p = j->p;
    size_t pixels = p->oh * p->ow,
           y_pixels = p->pool ? p->oh / 2 * (p->ow / 2) : pixels;
    size_t row = 0;
    for (imp_tile_run r; row < count; row += r.count) {
        r = imp_tile_run_of(first + row, count - row, j->tiles);
        size_t block = r.sample * j->k + panel;
        imp_winograd_output out = {.tiles = {p->oh, p->ow, j->wide, r.first, r.count},
            .m = m + row * 16,
            .m_xi = m_plane(j),
            .bias = p->bias ? p->bias + panel * 16 : NULL,
            .y = p->y + block * y_pixels * 16,
            .mask = p->y_mask ? p->y_mask + block * pixels : NULL,
            .position = p->y_position ? p->y_position + block * y_pixels * 16 : NULL,
            .add = p->add,
            .relu = p->relu,
            .pool = p->pool,
            .stream = !p->add && !p->pool && j->k * pixels * 64 > IMP_STREAM_BYTES};
        j->output(&out);
    }
}

/* --- few weights: a task is a block of tiles --- */

#define WEIGHTS_BLOCKS 2 /* of 16 channels, of a task that makes U of a panel */

static void weights_task(void *arg, size_t task, int thread) {
    (void)thread;
    const job *j = arg;
    size_t pieces = imp_divide_up(j->c, WEIGHTS_BLOCKS);
    size_t panel = task / pieces, cb = task % pieces * WEIGHTS_BLOCKS;
    transform_weights(j, panel, cb, imp_least(j->c - cb, WEIGHTS_BLOCKS),
        j->u + panel * u_panel(j) + cb * 256);
}

/* U, shared by the threads. */
static void make_u(job *j) {
    j->u = j->call->scratch;
    imp_parallel(
        j->call->ctx, j->k * imp_divide_up(j->c, WEIGHTS_BLOCKS), weights_task, j);
}

/* U in the thread's own memory, made by its first task. */
static const float *own_u(const job *j, float *u, int thread) {
    for (size_t panel = 0; panel < j->k && !j->own[thread]; panel++)
        transform_weights(j, panel, 0, j->c, u + panel * u_panel(j));
    j->own[thread] = true;
    return u;
}

static void tiles_task(void *arg, size_t task, int thread) {
    const job *j = arg;
    float *v = imp_call_scratch(j->call, thread), *m = v + j->planes * v_plane(j);
    const float *u = j->own ? own_u(j, m + j->planes * m_plane(j), thread) : j->u;
    size_t first = task * j->part;
    size_t count = imp_least(j->all - first, j->part);
    for (size_t cb = 0; cb < j->c; cb++) transform_input(j, cb, first, count, 0, v);
    for (size_t panel = 0; panel < j->k; panel += PANELS) {
        size_t n = imp_least(j->k - panel, PANELS);
        multiply(j, u + panel * u_panel(j), n, v, 0, j->c, count, m);
        for (size_t i = 0; i < n; i++)
            transform_output(j, panel + i, m + i * j->block * 16, first, count);
    }
}

/* --- many weights: a task is a group of panels --- */

#define INPUT_TILES 16 /* of a task that makes V */

static void input_task(void *arg, size_t task, int thread) {
    (void)thread;
    const job *j = arg;
    size_t cb = task % j->c, at = task / j->c * INPUT_TILES;
    size_t count = imp_least(j->count - at, INPUT_TILES);
    transform_input(j, cb, j->first + at, count, at, j->v);
}

static void panels_task(void *arg, size_t task, int thread) {
    const job *j = arg;
    float *u = imp_call_scratch(j->call, thread), *m = u + PANELS * u_panel(j);
    size_t pieces = imp_divide_up(j->count, j->piece);
    size_t panel = task / pieces * PANELS, n = imp_least(j->k - panel, PANELS);
    size_t at = task % pieces * j->piece, count = imp_least(j->count - at, j->piece);
    const float *v = j->v + at * j->c * 16; /* whole register tiles lie before it */
    for (size_t cb = 0; cb < j->c; cb += j->depth) {
        size_t depth = imp_least(j->c - cb, j->depth);
        for (size_t i = 0; i < n; i++)
            transform_weights(j, panel + i, cb, depth, u + i * u_panel(j));
        multiply(j, u, n, v, cb, depth, count, m);
    }
    for (size_t i = 0; i < n; i++)
        transform_output(j, panel + i, m + i * j->block * 16, j->first + at, count);
}

void imp_winograd_run(const imp_call *c, const imp_winograd *p) {
    job j = new_job(c->ctx, p);
    j.call = c;
    if (few_weights(&j)) {
        if (own_weights(&j, c->ctx))
            j.own = memset(c->scratch, 0, (size_t)imp_threads_count(c->ctx->threads));
        else
            make_u(&j);
        imp_parallel(c->ctx, imp_divide_up(j.all, j.part), tiles_task, &j);
        return;
    }
    j.v = c->scratch;
    for (j.first = 0; j.first < j.all; j.first += j.part) {
        j.count = imp_least(j.all - j.first, j.part);
        imp_parallel(c->ctx, j.c * imp_divide_up(j.count, INPUT_TILES), input_task, &j);
        size_t groups = imp_divide_up(j.k, PANELS);
        j.piece = even_piece(c->ctx, j.count, groups);
        imp_parallel(c->ctx, groups * imp_divide_up(j.count, j.piece), panels_task, &j);
    }
}
