/* SPDX-License-Identifier: MIT
 *
 * plan.c: when is each value, gradient and saved byte alive, and where in the one block of
 * memory does it lie? Time runs over the forward pass, 0 .. N-1, and back, N .. 2N-1: node i
 * runs forward at i and backward at 2N-1-i. What never lives at the same time may share
 * memory: largest first, each at the lowest place that is free for its life (Greedy by Size
 * for Offset Calculation, Pisarchyk & Lee 2020).
 */
#include "graph/plan.h"

#include <stdlib.h>
#include <string.h>

typedef struct life {
    size_t size, start, end; /* both ends included */
    size_t *place;           /* where the offset goes */
    size_t offset, order;
} life;

typedef struct plan {
    imp_graph *g;
    life *lives;
    size_t count;
    size_t *value_life; /* of each node: index in lives, or SIZE_MAX */
} plan;

static size_t forward_time(size_t i) {
    return i;
}

static size_t backward_time(const imp_graph *g, size_t i) {
    return 2 * g->count - 1 - i;
}

static size_t end_of_time(const imp_graph *g) {
    return 2 * g->count;
}

static void find_active(imp_graph *g, bool backward) {
    for (size_t j = 0; j < g->count; j++)
        g->nodes[j].active = backward && g->nodes[j].in_total && g->nodes[j].gradient;
    for (size_t j = g->count; j-- > 0;)
        for (size_t i = 0; g->nodes[j].active && i < g->nodes[j].n_in; i++)
            if (g->nodes[g->nodes[j].in[i]].gradient)
                g->nodes[g->nodes[j].in[i]].active = true;
}

/* What each operation needs of memory, given the gradients wanted of it. */
static void find_needs(imp_graph *g) {
    g->scratch = g->thread_scratch = 0;
    for (size_t j = 0; j < g->count; j++) {
        imp_node *n = &g->nodes[j];
        if (!n->op || n->fused) continue;
        imp_shape in[IMP_MAX_INPUTS];
        unsigned want = 0;
        for (size_t i = 0; i < n->n_in; i++) {
            in[i] = g->nodes[n->in[i]].shape;
            if (n->active && g->nodes[n->in[i]].gradient) want |= 1u << i;
        }
        n->need = n->op->need(g->ctx, n->attr, in, &n->shape, want);
        if (n->need.scratch > g->scratch) g->scratch = n->need.scratch;
        if (n->need.thread_scratch > g->thread_scratch)
            g->thread_scratch = n->need.thread_scratch;
    }
}

static life *add_life(plan *p, size_t size, size_t start, size_t end, size_t *place) {
    p->lives[p->count] =
        (life){(size + 63) & ~(size_t)63, start, end, place, 0, p->count};
    return &p->lives[p->count++];
}

/* The last time that the value of node i is read. */
static size_t last_read(const imp_graph *g, size_t i) {
    const imp_node *n = &g->nodes[i];
    if (n->keep) return end_of_time(g);
    size_t last = forward_time(i);
    if (n->active && n->need.backward_reads & IMP_READS_OUTPUT)
        last = backward_time(g, i);
    for (size_t j = i + 1; j < g->count; j++) {
        const imp_node *c = &g->nodes[j];
        for (size_t k = 0; k < c->n_in && !c->fused; k++) {
            if (c->in[k] != (imp_id)i) continue;
            bool later = c->active && c->need.backward_reads >> k & 1u;
            size_t t = later ? backward_time(g, j) : forward_time(j);
            if (t > last) last = t;
        }
    }
    return last;
}

static void add_value(plan *p, size_t i) {
    imp_graph *g = p->g;
    imp_node *n = &g->nodes[i];
    p->value_life[i] = SIZE_MAX;
    n->value = SIZE_MAX;
    if (n->fused || n->parameter || (n->op && n->op->scalar)) return;
    size_t size = imp_blocked_count(n->shape) * sizeof(float);
    size_t last = last_read(g, i);
    if (!n->op) { /* written by the caller at any time, and there for the next run too */
        p->value_life[i] = p->count;
        add_life(p, size, 0, end_of_time(g), &n->value);
        return;
    }
    size_t source = n->need.in_place ? p->value_life[n->in[0]] : SIZE_MAX;
    if (source != SIZE_MAX && p->lives[source].end == forward_time(i)) {
        p->lives[source].end = last; /* y takes x's place as x dies */
        p->value_life[i] = source;
        return;
    }
    p->value_life[i] = p->count;
    add_life(p, size, forward_time(i), last, &n->value);
}

static void add_gradient(plan *p, size_t i) {
    imp_graph *g = p->g;
    imp_node *n = &g->nodes[i];
    n->grad = SIZE_MAX;
    if (!n->active || n->fused || (n->op && n->op->scalar)) return;
    size_t first = end_of_time(g);
    for (size_t j = i + 1; j < g->count; j++)
        for (size_t k = 0; k < g->nodes[j].n_in && g->nodes[j].active; k++)
            if (g->nodes[j].in[k] == (imp_id)i) first = backward_time(g, j);
    add_life(p, imp_blocked_count(n->shape) * sizeof(float), first,
        n->op ? backward_time(g, i) : end_of_time(g), &n->grad);
}

static void add_saved(plan *p, size_t i) {
    imp_node *n = &p->g->nodes[i];
    n->saved = SIZE_MAX;
    if (!n->op || n->fused || !n->need.saved) return;
    add_life(p, n->need.saved, forward_time(i),
        n->active ? backward_time(p->g, i) : forward_time(i), &n->saved);
}

static int larger_first(const void *a, const void *b) {
    const life *x = a, *y = b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return x->order < y->order ? -1 : 1;
}

static int lower_first(const void *a, const void *b) {
    const life *x = *(life *const *)a, *y = *(life *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Give life k the lowest offset where it meets none of those already placed. */
static void place(life *lives, size_t k, life **met) {
    size_t n = 0, offset = 0;
    for (size_t i = 0; i < k; i++)
        if (lives[i].start <= lives[k].end && lives[k].start <= lives[i].end)
            met[n++] = &lives[i];
    qsort(met, n, sizeof *met, lower_first);
    for (size_t i = 0; i < n && met[i]->offset < offset + lives[k].size; i++)
        if (met[i]->offset + met[i]->size > offset)
            offset = met[i]->offset + met[i]->size;
    lives[k].offset = offset;
}

static imp_status place_all(plan *p) {
    imp_graph *g = p->g;
    life **met = malloc((p->count + 1) * sizeof *met);
    if (!met) return imp_fail(g->ctx, IMP_ERR_LIMIT, "graph: no memory to plan");
    qsort(p->lives, p->count, sizeof *p->lives, larger_first);
    size_t top = 0;
    for (size_t k = 0; k < p->count; k++) {
        place(p->lives, k, met);
        *p->lives[k].place = p->lives[k].offset;
        size_t end = p->lives[k].offset + p->lives[k].size;
        if (end > top) top = end;
    }
    free(met);
    for (size_t i = 0; i < g->count; i++) { /* in place: at the source's */
        imp_node *n = &g->nodes[i];
        if (n->value == SIZE_MAX && p->value_life[i] != SIZE_MAX)
            n->value = g->nodes[n->in[0]].value;
    }
    g->scratch_at = top;
    g->thread_bytes = (g->thread_scratch + 63) & ~(size_t)63;
    g->bytes = top + ((g->scratch + 63) & ~(size_t)63) +
               g->thread_bytes * (size_t)imp_ctx_threads(g->ctx);
    return IMP_OK;
}

imp_status imp_graph_estimate(imp_graph *g, bool backward) {
    if (g->status) return g->status;
    if (g->planned) return imp_fail(g->ctx, IMP_ERR_ARG, "graph: planned already");
    imp_graph_fuse(g);
    find_active(g, backward);
    find_needs(g);
    plan p = {.g = g};
    p.lives = calloc(3 * g->count + 1, sizeof *p.lives);
    p.value_life = calloc(g->count + 1, sizeof *p.value_life);
    imp_status s = IMP_OK;
    if (!p.lives || !p.value_life)
        s = imp_fail(g->ctx, IMP_ERR_LIMIT, "graph: no memory to plan");
    for (size_t i = 0; i < g->count && !s; i++) {
        add_value(&p, i);
        add_gradient(&p, i);
        add_saved(&p, i);
    }
    if (!s) s = place_all(&p);
    free(p.lives);
    free(p.value_life);
    return s;
}

imp_status imp_graph_plan(imp_graph *g, bool backward) {
    imp_status s = imp_graph_estimate(g, backward);
    if (s) return s;
    g->block = imp_alloc(g->bytes ? g->bytes : 64);
    if (!g->block)
        return imp_fail(g->ctx, IMP_ERR_LIMIT,
            "graph: %zu MiB of memory are not to be had", g->bytes >> 20);
    g->planned = true;
    return IMP_OK;
}
