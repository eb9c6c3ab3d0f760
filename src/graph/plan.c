/* SPDX-License-Identifier: MIT
 *
 * plan.c: in which order do the nodes run, when is each value, gradient and saved byte alive,
 * and where in the one block of memory does it lie?
 *
 * Of the nodes that could run, the one that makes least goes first: forward the smallest
 * value, backward the smallest gradients. So a Gram matrix and its loss follow their map at
 * once; and on the way back their gradient comes just before that of the map's other reader.
 *
 * Time runs over that order: the forward runs, then the backward ones. What never lives at
 * the same time may share memory: largest first, each at the lowest place that is free for
 * its life (Greedy by Size for Offset Calculation, Pisarchyk & Lee 2020).
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
    /* Of each node: which life its value has while the graph runs forward, and backward;
     * SIZE_MAX: none. They differ where the value is made again. */
    size_t *early, *late;
} plan;

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
        if (!n->op || n->fused || n->maker != IMP_NONE) continue;
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

/* --- order --- */

static bool runs(const imp_node *n, bool backward) {
    return n->op && !n->fused && n->maker == IMP_NONE && (n->active || !backward);
}

/* Whose run makes value id. */
static imp_id runner(const imp_graph *g, imp_id id) {
    return g->nodes[id].maker == IMP_NONE ? id : g->nodes[id].maker;
}

/* Has all that node i waits for run: its inputs, or, backward, its readers? */
static bool is_ready(const imp_graph *g, size_t i, bool backward, const bool *done) {
    const imp_node *n = &g->nodes[i];
    if (done[i] || !runs(n, backward)) return false;
    for (size_t k = 0; k < n->n_in && !backward; k++) {
        imp_id in = runner(g, n->in[k]);
        if (runs(&g->nodes[in], false) && !done[in]) return false;
    }
    for (size_t j = i + 1; j < g->count && backward; j++)
        for (size_t k = 0; k < g->nodes[j].n_in && runs(&g->nodes[j], true); k++)
            if (runner(g, g->nodes[j].in[k]) == (imp_id)i && !done[j]) return false;
    return true;
}

/* How many numbers a run of node i makes. */
static size_t makes(const imp_graph *g, size_t i, bool backward) {
    const imp_node *n = &g->nodes[i];
    if (!backward) return n->op->scalar ? 0 : imp_blocked_count(n->shape);
    size_t sum = 0;
    for (size_t k = 0; k < n->n_in; k++)
        if (g->nodes[n->in[k]].active)
            sum += imp_blocked_count(g->nodes[n->in[k]].shape);
    return sum;
}

/* The node to run next; of equals the first built, backward the last. count: none is left. */
static size_t next_to_run(const imp_graph *g, bool backward, const bool *done) {
    size_t best = g->count, least = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (!is_ready(g, i, backward, done)) continue;
        size_t size = makes(g, i, backward);
        if (best != g->count && (size > least || (size == least && !backward)))
            continue;
        best = i;
        least = size;
    }
    return best;
}

static imp_status find_order(imp_graph *g) {
    bool *done = calloc(g->count + 1, sizeof *done);
    free(g->order);
    g->order = malloc((2 * g->count + 1) * sizeof *g->order);
    g->forward_runs = g->runs = 0;
    if (!done || !g->order) {
        free(done);
        return imp_fail(g->ctx, IMP_ERR_LIMIT, "graph: no memory to plan");
    }
    for (int backward = 0; backward < 2; backward++) {
        memset(done, 0, g->count * sizeof *done);
        size_t i;
        while ((i = next_to_run(g, backward, done)) != g->count) {
            *(backward ? &g->nodes[i].backward_time : &g->nodes[i].forward_time) =
                g->runs;
            g->order[g->runs++] = i;
            done[i] = true;
        }
        if (!backward) g->forward_runs = g->runs;
    }
    free(done);
    for (size_t i = 0; i < g->count; i++) {
        imp_node *n = &g->nodes[i];
        if (n->maker == IMP_NONE) continue;
        n->forward_time = g->nodes[n->maker].forward_time;
        n->backward_time = g->nodes[n->maker].backward_time;
    }
    return IMP_OK;
}

/* --- lives --- */

static size_t add_life(plan *p, size_t size, size_t start, size_t end, size_t *place) {
    p->lives[p->count] = (life){imp_round64(size), start, end, place, 0, p->count};
    return p->count++;
}

typedef struct span {
    size_t first, last; /* first > last: nothing in it */
} span;

static void extend(span *s, size_t time) {
    if (time < s->first) s->first = time;
    if (time > s->last) s->last = time;
}

/* When the value of node i is read by the forward runs, or by the backward ones. */
static span reads(const imp_graph *g, size_t i, bool backward) {
    const imp_node *n = &g->nodes[i];
    span s = {SIZE_MAX, 0};
    if (backward && n->active && n->need.backward_reads & IMP_READS_OUTPUT)
        extend(&s, n->backward_time);
    for (size_t j = i + 1; j < g->count; j++) {
        const imp_node *c = &g->nodes[j];
        for (size_t k = 0; k < c->n_in && runs(c, backward); k++) {
            if (c->in[k] != (imp_id)i) continue;
            if (!backward)
                extend(&s, c->forward_time);
            else if (c->need.backward_reads >> k & 1u)
                extend(&s, c->backward_time);
        }
    }
    return s;
}

/* Is it worth making the value of i again for backward? Where the graph is to be thrifty, and
 * all that it is made of is there anyway and smaller. */
static bool make_again(const imp_graph *g, size_t i) {
    const imp_node *n = &g->nodes[i];
    size_t given = 0;
    if (!g->thrifty || n->keep || n->lasting ||
        n->need.backward_reads & IMP_READS_OUTPUT)
        return false;
    for (size_t k = 0; k < n->n_in; k++) {
        const imp_node *in = &g->nodes[n->in[k]];
        if (in->op) return false;
        if (!in->parameter) given += imp_blocked_count(in->shape);
    }
    return given < imp_blocked_count(n->shape);
}

static void add_value(plan *p, size_t i) {
    imp_graph *g = p->g;
    imp_node *n = &g->nodes[i];
    p->early[i] = p->late[i] = SIZE_MAX;
    n->value = n->again = SIZE_MAX;
    if (n->fused || n->parameter || (n->op && n->op->scalar)) return;
    size_t size = imp_blocked_count(n->shape) * sizeof(float);
    if (!n->op) { /* written by the caller at any time, and there for the next run too */
        p->early[i] = p->late[i] = add_life(p, size, 0, end_of_time(g), &n->value);
        return;
    }
    span forward = reads(g, i, false), backward = reads(g, i, true);
    bool again = backward.first <= backward.last && make_again(g, i);
    size_t last = n->forward_time;
    if (forward.last > last) last = forward.last;
    if (backward.last > last && !again) last = backward.last;
    if (n->lasting && g->forward_runs > last) last = g->forward_runs;
    if (n->keep) last = end_of_time(g);
    size_t source = n->need.in_place ? p->early[n->in[0]] : SIZE_MAX;
    if (source != SIZE_MAX && p->lives[source].end == n->forward_time) {
        p->lives[source].end = last; /* y takes x's place as x dies */
        p->early[i] = source;
    } else
        p->early[i] = add_life(p, size, n->forward_time, last, &n->value);
    p->late[i] = again ? add_life(p, size, backward.first, backward.last, &n->again)
                       : p->early[i];
}

/* The backward run that writes first to the gradient of node i; NULL: none does. */
static const imp_node *first_writer(const imp_graph *g, size_t i) {
    const imp_node *first = NULL;
    for (size_t j = i + 1; j < g->count; j++) {
        const imp_node *c = &g->nodes[j];
        for (size_t k = 0; k < c->n_in && runs(c, true); k++)
            if (c->in[k] == (imp_id)i &&
                (!first || c->backward_time < first->backward_time))
                first = c;
    }
    return first;
}

static bool reads_once(const imp_node *n, imp_id id) {
    size_t times = 0;
    for (size_t k = 0; k < n->n_in; k++) times += n->in[k] == id;
    return times == 1 && n->in[0] == id;
}

static void add_gradient(plan *p, size_t i) {
    imp_graph *g = p->g;
    imp_node *n = &g->nodes[i];
    n->grad = SIZE_MAX;
    n->gradient_at_value = false;
    if (!n->active || n->fused || (n->op && n->op->scalar)) return;
    const imp_node *writer = first_writer(g, i);
    if (n->op && !writer) return; /* all of it comes with the Gram matrix it makes */
    size_t first = writer ? writer->backward_time : end_of_time(g);
    size_t last = n->op ? n->backward_time : end_of_time(g);
    size_t value = p->late[i];
    if (writer && writer->need.gradient_in_place && value != SIZE_MAX &&
        p->lives[value].end == first && reads_once(writer, (imp_id)i)) {
        p->lives[value].end = last; /* dx takes x's place as x dies */
        n->gradient_at_value = true;
        return;
    }
    add_life(p, imp_blocked_count(n->shape) * sizeof(float), first, last, &n->grad);
}

static void add_saved(plan *p, size_t i) {
    imp_node *n = &p->g->nodes[i];
    n->saved = SIZE_MAX;
    if (!n->op || n->fused || !n->need.saved) return;
    add_life(p, n->need.saved, n->forward_time,
        n->active ? n->backward_time : n->forward_time, &n->saved);
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
    for (size_t r = 0; r < g->forward_runs; r++) { /* in place: at the source's */
        imp_node *n = &g->nodes[g->order[r]];
        if (n->value == SIZE_MAX && p->early[g->order[r]] != SIZE_MAX)
            n->value = g->nodes[n->in[0]].value;
    }
    for (size_t i = 0; i < g->count; i++) {
        imp_node *n = &g->nodes[i];
        if (n->gradient_at_value) n->grad = n->again != SIZE_MAX ? n->again : n->value;
    }
    g->scratch_at = top;
    g->thread_bytes = imp_round64(g->thread_scratch);
    g->bytes = top + imp_round64(g->scratch) +
               g->thread_bytes * (size_t)imp_ctx_threads(g->ctx);
    return IMP_OK;
}

/* In the order of running, so that a value knows the life of what it may take the place of. */
static void add_lives(plan *p) {
    imp_graph *g = p->g;
    for (size_t i = 0; i < g->count; i++)
        if (!runs(&g->nodes[i], false)) add_value(p, i);
    for (size_t r = 0; r < g->forward_runs; r++) add_value(p, g->order[r]);
    for (size_t i = 0; i < g->count; i++) {
        add_gradient(p, i);
        add_saved(p, i);
    }
}

imp_status imp_graph_estimate(imp_graph *g, bool backward) {
    if (g->status) return g->status;
    if (g->planned) return imp_fail(g->ctx, IMP_ERR_ARG, "graph: planned already");
    imp_graph_fuse(g);
    for (size_t i = 0; i < g->count; i++)
        if (g->nodes[i].fused)
            g->nodes[g->nodes[i].alias].lasting |= g->nodes[i].lasting;
    find_active(g, backward);
    find_needs(g);
    imp_status s = find_order(g);
    if (s) return s;
    plan p = {.g = g};
    p.lives = calloc(4 * g->count + 1, sizeof *p.lives);
    p.early = calloc(2 * g->count + 1, sizeof *p.early);
    p.late = p.early + g->count;
    if (!p.lives || !p.early)
        s = imp_fail(g->ctx, IMP_ERR_LIMIT, "graph: no memory to plan");
    else {
        add_lives(&p);
        s = place_all(&p);
    }
    free(p.lives);
    free(p.early);
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
