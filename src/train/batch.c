/* SPDX-License-Identifier: MIT
 *
 * batch.c: batches of a data set, moved and mirrored as an epoch wants them, and a network with
 * its loss that is run on them.
 */
#include "train/train.h"

#include <stdlib.h>
#include <string.h>

/* --- a picture as the network wants it --- */

/* What a view does to a picture: it is moved down by dy and right by dx, then mirrored. */
typedef struct look {
    long dy, dx;
    bool mirrored;
} look;

/* How far picture `id` is moved along one axis: -reach .. reach. */
static long shift_of(uint64_t seed, size_t id, size_t axis, size_t reach) {
    double u = imp_uniform(seed, 2 * id + axis);
    return (long)(u * (double)(2 * reach + 1)) - (long)reach;
}

/* Of two views that follow each other one is mirrored. */
static look look_of(const imp_source *from, imp_sample sample) {
    if (sample.view == IMP_PLAIN) return (look){0};
    uint64_t seed = imp_random(from->seed, ~(uint64_t)sample.view);
    bool odd = (imp_random(from->seed, sample.id) + sample.view) & 1;
    return (look){shift_of(seed, sample.id, 0, from->shift),
        shift_of(seed, sample.id, 1, from->shift), from->mirror && odd};
}

/* One row: columns left .. left + size - 1 of n bytes; what is beyond them is black. */
static void write_row(const uint8_t *bytes, long n, long left, long size, bool mirrored,
    float scale, float offset, float *out) {
    long first = left < 0 ? -left : 0, end = n - left < size ? n - left : size;
    for (long x = 0; x < size; x++) out[x] = -offset;
    if (!bytes) return;
    for (long x = first; x < end && !mirrored; x++)
        out[x] = (float)bytes[left + x] * scale - offset;
    for (long x = first; x < end && mirrored; x++)
        out[size - 1 - x] = (float)bytes[left + x] * scale - offset;
}

/* The centre of the set's picture, of the network's size, as the view has it. */
static void write_picture(const imp_source *from, imp_sample sample, float *out) {
    const imp_input_spec *spec = &from->m->info.input;
    long size = (long)spec->size, side = (long)imp_dataset_height(from->set);
    look l = look_of(from, sample);
    long top = (side - size) / 2 - l.dy, left = (side - size) / 2 - l.dx;
    for (size_t c = 0; c < spec->channels; c++) {
        const uint8_t *plane = imp_dataset_image(from->set, sample.id) +
                               (spec->bgr ? 2 - c : c) * (size_t)(side * side);
        float scale = spec->range / 255.0f / spec->std[c];
        float offset = spec->mean[c] / spec->std[c];
        for (long y = top; y < top + size; y++, out += size)
            write_row(y >= 0 && y < side ? plane + y * side : NULL, side, left, size,
                l.mirrored, scale, offset, out);
    }
}

static const float *row_of(const imp_source *from, imp_sample sample) {
    size_t view = sample.view == IMP_PLAIN ? 0 : sample.view % from->views;
    return from->rows + (from->first_row[sample.id] + view) * from->width;
}

/* --- a batch --- */

typedef struct write_job {
    const imp_batch *b;
    const imp_source *from;
    const imp_sample *samples;
} write_job;

#define PICTURES_AT_ONCE 8

static void write_task(void *arg, size_t task, int thread) {
    (void)thread;
    const write_job *j = arg;
    const imp_source *from = j->from;
    size_t first = task * PICTURES_AT_ONCE;
    size_t end = imp_least(first + PICTURES_AT_ONCE, j->b->size);
    for (size_t i = first; i < end; i++) {
        float *out = j->b->values + i * j->b->width;
        if (from->rows)
            memcpy(out, row_of(from, j->samples[i]), j->b->width * sizeof *out);
        else
            write_picture(from, j->samples[i], out);
        j->b->classes[i] = (float)imp_dataset_label(from->set, j->samples[i].id);
    }
}

imp_status imp_batch_write(imp_ctx *ctx, const imp_batch *b, const imp_source *from,
    const imp_sample *samples) {
    write_job j = {b, from, samples};
    imp_parallel(ctx, imp_divide_up(b->size, PICTURES_AT_ONCE), write_task, &j);
    imp_status s = imp_graph_write(b->g, b->x, b->values);
    return s || b->labels == IMP_NONE ? s
                                      : imp_graph_write(b->g, b->labels, b->classes);
}

/* --- the network that is run on it --- */

/* To the layer before the last one, or all of it with its loss. */
static void build(imp_batch *b, const imp_model *m, const imp_network_options *o) {
    b->logits = imp_network(b->g, m, b->x, o, NULL, NULL, 0);
    imp_graph_keep(b->g, b->logits);
    if (o->last) return;
    b->labels =
        imp_graph_input(b->g, "labels", (imp_shape){b->size, 1, 1, 1, IMP_MAP}, false);
    b->loss = imp_cross_entropy(b->g, b->logits, b->labels);
    imp_graph_loss(b->g, b->loss, 1.0);
}

imp_status imp_batch_new(imp_ctx *ctx, imp_batch *b, const imp_source *from,
    size_t size, const imp_network_options *o) {
    const imp_model *m = from->m;
    *b = (imp_batch){.size = size, .labels = IMP_NONE, .loss = IMP_NONE};
    b->g = imp_graph_new(ctx);
    if (!b->g) return imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory");
    imp_shape shape = o->after ? (imp_shape){size, from->width, 1, 1, IMP_MAP}
                               : imp_model_input_shape(m, size);
    b->width = imp_plain_count(shape) / size;
    b->x = imp_graph_input(b->g, "pictures", shape, false);
    build(b, m, o);
    imp_status s = imp_graph_plan(b->g, o->gradients);
    if (s) return s;
    b->outputs = imp_plain_count(imp_graph_shape(b->g, b->logits)) / size;
    b->values = malloc(size * b->width * sizeof(float));
    b->classes = malloc(size * sizeof(float));
    b->scores = malloc(size * b->outputs * sizeof(float));
    return b->values && b->classes && b->scores
               ? IMP_OK
               : imp_fail(ctx, IMP_ERR_LIMIT, "train: no memory");
}

void imp_batch_free(imp_batch *b) {
    imp_graph_free(b->g);
    free(b->values);
    free(b->classes);
    free(b->scores);
    *b = (imp_batch){0};
}

size_t imp_batch_best(const imp_batch *b, size_t i) {
    const float *scores = b->scores + i * b->outputs;
    size_t best = 0;
    for (size_t c = 1; c < b->outputs; c++)
        if (scores[c] > scores[best]) best = c;
    return best;
}

/* --- running it forward over many --- */

/* So many pictures at once that their maps stay small. */
#define MOST_AT_ONCE 100
#define MOST_PIXELS  262144

size_t imp_batch_forward_size(const imp_source *from) {
    size_t size = from->m->info.input.size, n = MOST_PIXELS / (size * size);
    return from->rows ? MOST_AT_ONCE : imp_least(n ? n : 1, MOST_AT_ONCE);
}

static void count_batch(const imp_batch *b, imp_test_result *out, size_t *confusion) {
    for (size_t i = 0; i < b->size; i++) {
        size_t label = (size_t)b->classes[i], found = imp_batch_best(b, i);
        if (confusion) confusion[label * b->outputs + found]++;
        out->correct += label == found;
    }
}

imp_status imp_batch_evaluate(imp_ctx *ctx, const imp_source *from,
    const imp_network_options *o, const size_t *ids, size_t n, imp_test_result *out,
    size_t *confusion) {
    imp_sample samples[MOST_AT_ONCE];
    imp_batch b = {0};
    imp_status s = IMP_OK;
    *out = (imp_test_result){.count = n};
    for (size_t first = 0, size; first < n && !s; first += size) {
        size = imp_least(n - first, imp_batch_forward_size(from));
        if (size != b.size) { /* the first one; what is left over is a smaller batch */
            imp_batch_free(&b);
            s = imp_batch_new(ctx, &b, from, size, o);
        }
        for (size_t i = 0; i < size; i++)
            samples[i] = (imp_sample){ids ? ids[first + i] : first + i, IMP_PLAIN};
        if (!s) s = imp_batch_write(ctx, &b, from, samples);
        if (s) break;
        out->loss += imp_graph_forward(b.g) * (double)size;
        s = imp_graph_read(b.g, b.logits, b.scores);
        if (!s) count_batch(&b, out, confusion);
    }
    out->loss /= (double)n;
    out->accuracy = (double)out->correct / (double)n;
    imp_batch_free(&b);
    return s;
}
