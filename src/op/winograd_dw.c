/* SPDX-License-Identifier: MIT
 *
 * winograd_dw.c: dW in the domain of F(4x4, 3x3) or F(4x4, 5x5) (kernel/winograd_dw.inc.h):
 * 36 multiplications for a tile of 16 outputs instead of 144, or 64 instead of 400.
 *
 *     U[xi] = sum over tiles t of V[xi][t] Z[xi][t]'     V = B' x B,  Z = A dy A'
 *     dW    = G' U G
 *
 * Tiles are taken in blocks, so that V and Z stay in the outer cache: first they are made,
 * a task being some tiles of 16 channels; then a task is 16 input channels of one xi, whose
 * sums it owns. Blocks follow one another in order: the bits depend on no thread.
 */
#include "op/winograd_dw.h"

#include "op/winograd.h"

#define BLOCK_FLOATS ((size_t)1 << 20) /* V and Z of a block: 4 MiB */
#define LEAST_BLOCK  ((size_t)64) /* tiles: else U is loaded and stored too often */
#define TASK_TILES   ((size_t)32)
#define PAD          48 /* floats between the planes of xi: else all meet in one cache set */

typedef struct job {
    const imp_call *call;
    const imp_conv *a;
    size_t taps, planes; /* r r, n n */
    size_t c, k;         /* blocks of 16: of x, of y */
    size_t wide, tiles;  /* tiles a row; of a sample */
    size_t all, block;   /* tiles of all samples; of a block */
    size_t first, count; /* the block at hand */
    float *u, *v, *z;
} job;

static job new_job(const imp_shape *in, const imp_shape *out) {
    job j = {.taps = in[1].h * in[1].w,
        .planes = (in[1].h + 3) * (in[1].h + 3),
        .c = imp_round16(in[1].c) / 16,
        .k = imp_round16(in[1].n) / 16};
    j.wide = imp_divide_up(out->w, 4);
    j.tiles = j.wide * imp_divide_up(out->h, 4);
    j.all = out->n * j.tiles;
    size_t room = BLOCK_FLOATS / (j.planes * (j.c + j.k) * 16);
    j.block = imp_least(j.all, room < LEAST_BLOCK ? LEAST_BLOCK : room);
    j.block = imp_divide_up(j.all, imp_divide_up(j.all, j.block));
    return j;
}

static size_t u_plane(const job *j) {
    return j->c * j->k * 256 + PAD;
}

static size_t v_plane(const job *j) {
    return j->c * j->block * 16 + PAD;
}

static size_t z_plane(const job *j) {
    return j->k * j->block * 16 + PAD;
}

bool imp_winograd_dw_pays(
    const imp_ctx *ctx, const imp_conv *a, const imp_shape *in, const imp_shape *out) {
    if (in[1].h == 5 && ctx->precision != IMP_FAST) return false;
    if (!imp_winograd_fits(a, &in[1]) || in[1].c < 16) return false;
    job j = new_job(in, out);
    /* The folding of U counts as some tiles, the transforms as a quarter more. */
    return j.planes * (j.all + 8) * 5 / 4 < j.taps * out->n * out->h * out->w;
}

size_t imp_winograd_dw_scratch(const imp_shape *in, const imp_shape *out) {
    job j = new_job(in, out);
    return j.planes * (u_plane(&j) + v_plane(&j) + z_plane(&j)) * sizeof(float);
}

/* V of block `map` of the channels of x, or, after those, Z of one of dy. */
static void transform_task(void *arg, size_t task, int thread) {
    (void)thread;
    const job *j = arg;
    const imp_call *c = j->call;
    size_t map = task % (j->c + j->k), at = task / (j->c + j->k) * TASK_TILES;
    bool of_x = map < j->c;
    const imp_shape *s = of_x ? &c->in[0] : &c->out;
    size_t blocks = of_x ? j->c : j->k, block = of_x ? map : map - j->c;
    size_t end = imp_least(j->count, at + TASK_TILES), pixels = s->h * s->w;
    for (imp_tile_run r; at < end; at += r.count) {
        r = imp_tile_run_of(j->first + at, end - at, j->tiles);
        imp_winograd_input in = {.tiles = {s->h, s->w, j->wide, r.first, r.count},
            .x = (of_x ? c->x[0] : c->dy) + (r.sample * blocks + block) * pixels * 16,
            .origin = of_x ? -(ptrdiff_t)j->a->pad : 0,
            .replicate = of_x && j->a->padding == IMP_PAD_REPLICATE,
            .v = (of_x ? j->v : j->z) + (block * j->block + at) * 16,
            .v_xi = of_x ? v_plane(j) : z_plane(j),
            .group = 1,
            .v_group = 16};
        const imp_kernels *k = c->ctx->kernels;
        if (j->taps == 9)
            (of_x ? k->winograd_input4 : k->winograd_gradient4)(&in);
        else
            (of_x ? k->winograd_input5 : k->winograd_gradient5)(&in);
    }
}

/* U (+)= V Z' of one xi, 16 input channels. */
static void multiply_task(void *arg, size_t task, int thread) {
    (void)thread;
    const job *j = arg;
    size_t block = task % j->c, xi = task / j->c;
    const float *v = j->v + xi * v_plane(j) + block * j->block * 16;
    const float *z = j->z + xi * z_plane(j);
    float *u = j->u + xi * u_plane(j) + block * j->k * 256;
    for (size_t i = 0; i < j->k; i++)
        j->call->ctx->kernels->outer(j->count, v, 16, z + i * j->block * 16, 16, NULL,
            u + i * 256, j->first > 0);
}

/* dW of 16 inputs by 16 outputs. */
static void fold_task(void *arg, size_t task, int thread) {
    (void)thread;
    const job *j = arg;
    size_t panel = task % j->k, block = task / j->k;
    imp_winograd_fold f = {.u = j->u + (block * j->k + panel) * 256,
        .u_xi = u_plane(j),
        .dg = j->call->dx[1] + (panel * j->c + block) * j->taps * 256,
        .add = j->call->add[1]};
    const imp_kernels *k = j->call->ctx->kernels;
    (j->taps == 9 ? k->winograd_fold4 : k->winograd_fold5)(&f);
}

void imp_winograd_dw_run(const imp_call *c) {
    job j = new_job(c->in, &c->out);
    j.call = c;
    j.a = &((const imp_conv_attr *)c->attr)->conv;
    j.u = c->scratch;
    j.v = j.u + j.planes * u_plane(&j);
    j.z = j.v + j.planes * v_plane(&j);
    for (j.first = 0; j.first < j.all; j.first += j.block) {
        j.count = imp_least(j.block, j.all - j.first);
        size_t tasks = (j.c + j.k) * imp_divide_up(j.count, TASK_TILES);
        imp_parallel(c->ctx, tasks, transform_task, &j);
        imp_parallel(c->ctx, j.planes * j.c, multiply_task, &j);
    }
    imp_parallel(c->ctx, j.c * j.k, fold_task, &j);
}
