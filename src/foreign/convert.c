/* SPDX-License-Identifier: MIT
 *
 * convert.c: from what the child tells to a model file, output by output, so that at most one
 * tensor is held.
 */
#include "foreign/convert.h"

#include <stdlib.h>
#include <string.h>

#include "foreign/child.h"
#include "foreign/recognise.h"
#include "model/write.h"

typedef struct job {
    imp_ctx *ctx;
    imp_child *child;
    imp_model_writer writer;
    const imp_convert_options *options;
    imp_converted *report;
} job;

/* --- numbers --- */

/* dst <- the weights of one output, in our order; src: its first number. */
static void turn(const imp_origin *o, const float *src, float *dst) {
    size_t area = o->height * o->width;
    if (o->w_step == 1 && o->h_step == o->width && o->i_step == area) {
        memcpy(dst, src, o->inputs * area * sizeof *dst);
        return;
    }
    for (size_t i = 0; i < o->inputs; i++)
        for (size_t h = 0; h < o->height; h++)
            for (size_t w = 0; w < o->width; w++)
                *dst++ = src[i * o->i_step + h * o->h_step + w * o->w_step];
}

/* Outputs one behind the other: each is read, turned and written. */
static imp_status copy_by_outputs(job *j, const imp_origin *o) {
    size_t row = o->inputs * o->height * o->width;
    float *plain = malloc(row * sizeof *plain), *turned = malloc(row * sizeof *turned);
    imp_status s = plain && turned
                       ? imp_child_begin(j->child, o->index)
                       : imp_fail(j->ctx, IMP_ERR_LIMIT, "convert: no memory");
    for (size_t k = 0; k < o->outputs && !s; k++) {
        if ((s = imp_child_next(j->child, row, plain))) break;
        turn(o, plain, turned);
        s = imp_model_put(&j->writer, turned, row);
    }
    free(plain);
    free(turned);
    return s;
}

/* dst <- the weights of outputs first .. first+n-1, in our order; src: the whole tensor, outputs
 * side by side. */
static void gather(
    const imp_origin *o, size_t first, size_t n, const float *src, float *dst) {
    size_t area = o->height * o->width, row = o->inputs * area;
    for (size_t h = 0; h < o->height; h++)
        for (size_t w = 0; w < o->width; w++)
            for (size_t i = 0; i < o->inputs; i++) {
                const float *from = src + first * o->o_step + i * o->i_step +
                                    h * o->h_step + w * o->w_step;
                float *to = dst + i * area + h * o->width + w;
                for (size_t k = 0; k < n; k++) to[k * row] = from[k * o->o_step];
            }
}

/* Outputs side by side, as Keras and NumPy have them: the whole tensor is needed before the first
 * output is known. 64 outputs a pass, so that lines of the cache are used whole. */
static imp_status copy_across(job *j, const imp_origin *o) {
    enum { TOGETHER = 64 };
    size_t row = o->inputs * o->height * o->width, count = row * o->outputs;
    float *all = malloc(count * sizeof *all);
    float *turned = malloc(TOGETHER * row * sizeof *turned);
    imp_status s = all && turned ? imp_child_begin(j->child, o->index)
                                 : imp_fail(j->ctx, IMP_ERR_LIMIT,
                                       "convert: no memory for %zu MiB",
                                       count * sizeof *all >> 20);
    if (!s) s = imp_child_next(j->child, count, all);
    for (size_t k = 0; k < o->outputs && !s; k += TOGETHER) {
        size_t n = imp_least(o->outputs - k, TOGETHER);
        gather(o, k, n, all, turned);
        s = imp_model_put(&j->writer, turned, n * row);
    }
    free(all);
    free(turned);
    return s;
}

static imp_status copy_tensor(job *j, const imp_origin *o) {
    size_t row = o->inputs * o->height * o->width;
    return o->outputs == 1 || o->o_step == row ? copy_by_outputs(j, o)
                                               : copy_across(j, o);
}

/* --- the whole --- */

/* What the options say against what was recognised; and what is told. */
static imp_status settle(void *user, imp_model *m) {
    job *j = user;
    const imp_convert_options *o = j->options;
    imp_input_spec *in = &m->info.input;
    if (in->channels == 1 && (o->bgr >= 0 || o->mean || o->std))
        return imp_fail(j->ctx, IMP_ERR_ARG,
            "convert: order, mean and deviation: expected for three channels, found a "
            "network of one");
    if (o->bgr >= 0 && in->bgr != (o->bgr == 1)) { /* the numbers are a channel's own */
        in->bgr = o->bgr == 1;
        float mean = in->mean[0], std = in->std[0];
        in->mean[0] = in->mean[2], in->mean[2] = mean;
        in->std[0] = in->std[2], in->std[2] = std;
    }
    if (o->range > 0) in->range = o->range;
    if (o->mean) memcpy(in->mean, o->mean, sizeof in->mean);
    if (o->std) memcpy(in->std, o->std, sizeof in->std);
    imp_converted *r = j->report;
    strcpy(r->architecture, m->architecture);
    r->divisor = m->info.divisor;
    r->classes = m->info.classes;
    r->parameters = m->info.parameters;
    r->input = *in;
    return IMP_OK;
}

/* Names do not tell Oxford's weights from torchvision's: the first layer's numbers do. */
static imp_status look_at_numbers(job *j, imp_model *m, const imp_origin *origins) {
    float bias[64], weight[64 * 27];
    size_t n = m->tensors[1].shape.c; /* both of conv1_1: n x 3 x 3 x 3, and n */
    if (n > 64 || m->info.input.range > 1) return IMP_OK;
    imp_status s = imp_child_begin(j->child, origins[0].index);
    if (!s) s = imp_child_next(j->child, n * 27, weight);
    if (!s) s = imp_child_begin(j->child, origins[1].index);
    if (!s) s = imp_child_next(j->child, n, bias);
    if (!s) imp_recognise_oxford(m, weight, bias, n);
    return s;
}

static imp_status convert_foreign(
    job *j, const char *path, const char *out, const imp_save_options *save) {
    imp_origin origins[IMP_ORIGINS];
    const char *naming = "";
    imp_model *m = calloc(1, sizeof *m);
    imp_status s = m ? imp_child_start(j->ctx, &j->child, path, NULL, j->options->stop)
                     : imp_fail(j->ctx, IMP_ERR_LIMIT, "convert: no memory");
    if (!s)
        s = imp_recognise(imp_child_file(j->child), imp_child_format(j->child),
            j->options->conv_only, m, origins, &naming);
    if (!s) s = look_at_numbers(j, m, origins);
    if (!s) s = settle(j, m);
    if (!s) {
        strcpy(j->report->format, imp_child_format(j->child));
        strcpy(j->report->naming, naming);
        s = imp_model_begin(j->ctx, &j->writer, m, out, save);
        j->writer.stop = j->options->stop;
    }
    for (size_t i = 0; !s && i < m->n_tensors; i++) s = copy_tensor(j, &origins[i]);
    if (!s) s = imp_model_commit(&j->writer);
    imp_model_abort(&j->writer);
    imp_child_end(j->child);
    imp_model_free(m);
    return s;
}

/* Eight bytes of length and a brace, as safetensors begin: our own parser reads it here. */
static bool is_safetensors(const imp_file *f) {
    return f->size > 8 && f->data[8] == '{' && f->data[6] == 0 && f->data[7] == 0;
}

bool imp_convert_is_foreign(const char *path) {
    imp_file f;
    imp_ctx silent = {0};
    if (imp_file_open(&silent, &f, path, IMP_ERR_MODEL)) return false;
    bool foreign = !is_safetensors(&f) && imp_reader_of(f.data, f.size);
    imp_file_close(&f);
    return foreign;
}

imp_status imp_convert(imp_ctx *ctx, const char *path, const char *out,
    const imp_convert_options *options, imp_converted *report) {
    imp_converted ignored;
    job j = {.ctx = ctx,
        .options = options,
        .report = report ? report : &ignored,
        .writer.file.file.fd = -1};
    *j.report = (imp_converted){0};
    imp_save_options save = {.half = options->half, .overwrite = options->overwrite};
    imp_file f;
    imp_status s = imp_file_open(ctx, &f, path, IMP_ERR_MODEL);
    if (s) return s;
    bool ours = is_safetensors(&f);
    imp_file_close(&f);
    if (!ours) return convert_foreign(&j, path, out, &save);
    strcpy(j.report->format, "safetensors");
    return imp_model_copy(
        ctx, path, out, options->conv_only, &save, options->stop, settle, &j);
}
