/* SPDX-License-Identifier: MIT
 *
 * load.c: a model from a safetensors file.
 */
#include "model/metadata.h"
#include "model/write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Is any part of layer i in the file? Half a layer is missed later, by name. */
static bool layer_in_file(
    const imp_model *m, size_t i, const imp_safetensors *st, imp_naming naming) {
    char weight[IMP_NAME_MAX], bias[IMP_NAME_MAX];
    imp_name_in_file(m, i, naming, "weight", weight);
    imp_name_in_file(m, i, naming, "bias", bias);
    return imp_safetensors_find(st, weight) || imp_safetensors_find(st, bias);
}

/* Convolutions that a VGG's file lacks at the end are cut, and its classifier where no part
 * of it is there: what is left is a feature network. */
static void cut_to_file(imp_model *m, const imp_safetensors *st, imp_naming naming) {
    if (strncmp(m->architecture, "vgg", 3) != 0) return;
    size_t last = 0;
    for (size_t i = 0; i < m->n_layers; i++)
        if (imp_layer_has_weights(&m->layers[i]) && layer_in_file(m, i, st, naming))
            last = i;
    if (m->layers[last].kind == IMP_LAYER_CONV) imp_zoo_cut(m, last + 1);
}

/* A head that the metadata tell of, where the file has no classifier of its architecture's;
 * how many classes is seen later. */
static imp_status read_head(imp_ctx *ctx, imp_model *m, const imp_safetensors *st) {
    const char *head = imp_safetensors_metadata(st, "head");
    if (!head) return IMP_OK;
    if (!strcmp(head, "mean") && !strncmp(m->architecture, "vgg", 3) &&
        m->info.classes == 0)
        return imp_zoo_add_head(ctx, m, 1);
    return imp_fail(ctx, IMP_ERR_MODEL,
        "%s: metadata head: expected mean, of a VGG's convolutions, found '%.60s' of "
        "%s%s",
        imp_safetensors_path(st), head, m->architecture,
        m->info.classes ? " with a classifier" : "");
}

/* Layers behind the deepest of these names are cut; none where the model lacks one. */
static void cut_to_layers(imp_model *m, const char *const *layers, size_t n) {
    size_t deepest = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = imp_zoo_find(m, layers[i]);
        if (at == m->n_layers) return;
        if (at > deepest) deepest = at;
    }
    if (n > 0) imp_zoo_cut(m, deepest + 1);
}

/* As many classes as the last layer has outputs in the file. */
static size_t class_count(
    const imp_model *m, const imp_safetensors *st, imp_naming naming) {
    char name[IMP_NAME_MAX];
    imp_name_in_file(m, m->n_layers - 1, naming, "weight", name);
    const imp_safetensors_entry *e = imp_safetensors_find(st, name);
    bool known = e && e->ndim > 0 && e->shape[0] >= 1 && e->shape[0] <= 1000000;
    return known ? e->shape[0] : m->info.classes;
}

/* The widths of an MLP: the outputs of fc1, fc2, ... but for the last. */
static size_t mlp_widths(const imp_safetensors *st, size_t hidden[16]) {
    size_t n = 0;
    for (; n < 17; n++) {
        char name[IMP_NAME_MAX];
        snprintf(name, sizeof name, "fc%zu.weight", n + 1);
        const imp_safetensors_entry *e = imp_safetensors_find(st, name);
        if (!e || e->ndim != 2) break;
        if (n < 16) hidden[n] = e->shape[0];
    }
    return n ? n - 1 : 0;
}

static void shape_to_text(const size_t *dims, size_t n, char *text, size_t size) {
    size_t at = (size_t)snprintf(text, size, "[");
    for (size_t i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, i ? ",%zu" : "%zu", dims[i]);
    if (at < size) snprintf(text + at, size - at, "]");
}

/* Trailing sides of 1, and how a fully connected layer is written, do not matter: what
 * counts is the first dimension and the product of the others. timm writes fc6 as
 * 4096, 512, 7, 7. */
static imp_status check_shape(imp_ctx *ctx, const imp_safetensors *st,
    const imp_safetensors_entry *e, imp_tensor *t, void *unused) {
    (void)unused;
    const imp_shape *s = &t->shape;
    size_t dims[4] = {s->n, s->c, s->h, s->w}, n = 4;
    if (s->layout == IMP_MAP) {
        dims[0] = s->c;
        n = 1;
    } else if (t->linear)
        n = 2;
    bool same = e->ndim == n && !memcmp(e->shape, dims, n * sizeof *dims);
    if (t->linear && n == 2 && e->ndim == 4)
        same = e->shape[0] == dims[0] && e->count == dims[0] * dims[1];
    if (same) return IMP_OK;
    char expected[100], found[200];
    shape_to_text(dims, n, expected, sizeof expected);
    shape_to_text(e->shape, e->ndim, found, sizeof found);
    return imp_fail(ctx, IMP_ERR_MODEL, "%s: tensor %s: shape: expected %s, found %s",
        imp_safetensors_path(st), e->name, expected, found);
}

/* Convert a panel of 16 outputs at a time, so that the plain copy stays small. */
static imp_status read_tensor(imp_ctx *ctx, const imp_safetensors *st,
    const imp_safetensors_entry *e, imp_tensor *t, void *unused) {
    (void)unused;
    imp_shape s = t->shape;
    size_t row = s.layout == IMP_WEIGHT ? s.c * s.h * s.w : 1;
    size_t rows = s.layout == IMP_WEIGHT ? s.n : s.c;
    size_t panel = s.layout == IMP_WEIGHT ? imp_weight_depth(&s) * 16 : 16;
    float *plain = malloc(16 * row * sizeof *plain);
    if (!plain) return imp_fail(ctx, IMP_ERR_LIMIT, "%s: no memory", t->name);
    imp_status status = IMP_OK;
    for (size_t r = 0; r < rows && !status; r += 16) {
        size_t n = rows - r < 16 ? rows - r : 16;
        status = imp_safetensors_floats(ctx, st, e, r * row, n * row, plain);
        imp_shape part = s;
        *(s.layout == IMP_WEIGHT ? &part.n : &part.c) = n;
        if (!status) imp_to_blocked(part, plain, t->blocked + r / 16 * panel);
    }
    free(plain);
    imp_safetensors_forget(st, e);
    return status;
}

typedef imp_status (*tensor_fn)(imp_ctx *ctx, const imp_safetensors *st,
    const imp_safetensors_entry *e, imp_tensor *t, void *user);

/* f for every tensor of m with its entry in the file. */
static imp_status for_each_tensor(imp_ctx *ctx, imp_model *m, const imp_safetensors *st,
    imp_naming naming, tensor_fn f, void *user) {
    imp_tensor *t = m->tensors;
    for (size_t i = 0; i < m->n_layers; i++) {
        if (!imp_layer_has_weights(&m->layers[i])) continue;
        for (int bias = 0; bias < 2; bias++, t++) {
            char name[IMP_NAME_MAX];
            imp_name_in_file(m, i, naming, bias ? "bias" : "weight", name);
            const imp_safetensors_entry *e = imp_safetensors_find(st, name);
            if (!e)
                return imp_fail(ctx, IMP_ERR_MODEL,
                    "%s: tensor %s: expected for %s, found none by that name",
                    imp_safetensors_path(st), name, m->architecture);
            imp_status s = f(ctx, st, e, t, user);
            if (s) return s;
        }
    }
    return IMP_OK;
}

typedef struct widths { /* what the options point to */
    size_t hidden[16], channels[IMP_MAX_LISTED], ranks[IMP_MAX_LISTED];
} widths;

/* By a list of channels, else by a divisor, which the channels of VGG's first convolution
 * tell where the metadata does not. */
static imp_status choose_channels(imp_ctx *ctx, const imp_safetensors *st,
    imp_naming naming, imp_model_options *o, widths *w) {
    size_t n_ranks;
    o->channels = w->channels;
    imp_status s =
        imp_metadata_numbers(ctx, st, "channels", 1, w->channels, &o->n_channels);
    if (!s) s = imp_metadata_numbers(ctx, st, "ranks", 0, w->ranks, &n_ranks);
    if (!s && n_ranks && n_ranks != o->n_channels)
        s = imp_fail(ctx, IMP_ERR_MODEL,
            "%s: metadata ranks: expected as many numbers as channels, %zu, found %zu",
            imp_safetensors_path(st), o->n_channels, n_ranks);
    if (!s && n_ranks) o->ranks = w->ranks;
    const imp_safetensors_entry *first = imp_safetensors_find(
        st, naming == IMP_NAMES_OWN ? "conv1_1.weight" : "features.0.weight");
    size_t divisor = 1;
    if (!o->n_channels && first && first->ndim == 4 && first->shape[0] &&
        64 % first->shape[0] == 0)
        divisor = 64 / first->shape[0];
    return s ? s : imp_metadata_number(ctx, st, "width.divisor", divisor, &o->divisor);
}

static imp_status choose_options(imp_ctx *ctx, const imp_safetensors *st,
    imp_naming naming, imp_model_options *o, widths *w) {
    const char *path = imp_safetensors_path(st);
    o->architecture = imp_safetensors_metadata(st, "architecture");
    if (naming == IMP_NAMINGS)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "%s: tensors: expected the names of impasto's, torchvision's or timm's "
            "networks (conv1_1.weight, features.0.weight), found none of them",
            path);
    if (naming != IMP_NAMES_OWN && imp_safetensors_find(st, "features.1.weight"))
        return imp_fail(ctx, IMP_ERR_MODEL,
            "%s: tensor features.1.weight: expected a VGG without batch normalisation",
            path);
    if (!o->architecture) o->architecture = imp_architecture_of(st, naming);
    if (!o->architecture)
        return imp_fail(
            ctx, IMP_ERR_MODEL, "%s: architecture: none is named or known", path);
    o->hidden = w->hidden;
    o->n_hidden = mlp_widths(st, w->hidden);
    return choose_channels(ctx, st, naming, o, w);
}

/* What of a file is wanted. */
typedef struct wanted {
    const char *const *layers; /* nothing behind the deepest of these n; n 0: all */
    size_t n;
    bool features; /* no classifier */
} wanted;

/* All but the tensors' memory and numbers. */
static imp_status outline(imp_ctx *ctx, imp_model *m, const imp_safetensors *st,
    imp_naming naming, const wanted *part) {
    imp_model_options o = {0};
    widths w = {0};
    imp_status s = choose_options(ctx, st, naming, &o, &w);
    if (s) return s;
    if (imp_zoo_build(ctx, m, &o) !=
        IMP_OK) { /* an argument there, a fault of the file here */
        char why[512];
        snprintf(why, sizeof why, "%s", imp_ctx_error(ctx));
        return imp_fail(ctx, IMP_ERR_MODEL, "%s: %s", imp_safetensors_path(st), why);
    }
    if (part->features && strncmp(o.architecture, "vgg", 3) != 0)
        return imp_fail(ctx, IMP_ERR_MODEL,
            "%s: architecture: expected a VGG, to take its convolutions, found %s",
            imp_safetensors_path(st), o.architecture);
    cut_to_file(m, st, naming);
    s = read_head(ctx, m, st);
    if (s) return s;
    cut_to_layers(m, part->layers, part->n);
    if (part->features) imp_zoo_cut_classifier(m);
    if (m->info.classes)
        m->layers[m->n_layers - 1].outputs = m->info.classes =
            class_count(m, st, naming);
    s = imp_metadata_read(ctx, m, st, naming);
    if (!s)
        s = imp_metadata_number(
            ctx, st, "input.size", m->info.input.size, &m->info.input.size);
    if (!s && m->info.input.size > 4096)
        s = imp_fail(ctx, IMP_ERR_MODEL,
            "%s: metadata input.size: expected at most 4096, "
            "found %zu",
            imp_safetensors_path(st), m->info.input.size);
    if (!s) s = imp_zoo_shapes(ctx, m);
    return s ? s : for_each_tensor(ctx, m, st, naming, check_shape, NULL);
}

static imp_status load(
    imp_ctx *ctx, imp_model *m, const imp_safetensors *st, const wanted *part) {
    imp_naming naming = imp_naming_of(st);
    imp_status s = outline(ctx, m, st, naming, part);
    if (!s) s = imp_zoo_allocate(ctx, m);
    return s ? s : for_each_tensor(ctx, m, st, naming, read_tensor, NULL);
}

/* From an open file, which is closed. */
static imp_status load_from(
    imp_ctx *ctx, imp_model **out, imp_safetensors *st, const wanted *part) {
    imp_model *m = calloc(1, sizeof *m);
    imp_status s =
        m ? load(ctx, m, st, part)
          : imp_fail(ctx, IMP_ERR_LIMIT, "%s: no memory", imp_safetensors_path(st));
    imp_safetensors_close(st);
    if (s)
        imp_model_free(m);
    else
        *out = m;
    return s;
}

imp_status imp_model_load_layers(imp_ctx *ctx, imp_model **out, const char *path,
    const char *const *layers, size_t n) {
    imp_safetensors *st;
    *out = NULL;
    imp_status s = imp_safetensors_open(ctx, &st, path);
    return s ? s : load_from(ctx, out, st, &(wanted){.layers = layers, .n = n});
}

/* builtin.S: the bytes of data/builtin.safetensors. */
extern const uint8_t imp_builtin_bytes[], imp_builtin_end[];

imp_status imp_model_builtin(imp_ctx *ctx, imp_model **out) {
    size_t size = (size_t)(imp_builtin_end - imp_builtin_bytes);
    imp_safetensors *st;
    *out = NULL;
    imp_status s = imp_safetensors_parse(ctx, &st, "builtin", imp_builtin_bytes, size);
    return s ? s : load_from(ctx, out, st, &(wanted){0});
}

imp_status imp_model_load(imp_ctx *ctx, imp_model **out, const char *path) {
    return imp_model_load_layers(ctx, out, path, NULL, 0);
}

/* --- from file to file --- */

/* A piece at a time, so that no tensor is held whole. */
static imp_status copy_tensor(imp_ctx *ctx, const imp_safetensors *st,
    const imp_safetensors_entry *e, imp_tensor *t, void *user) {
    (void)t;
    imp_model_writer *w = user;
    float piece[4096];
    imp_status s = IMP_OK;
    for (size_t i = 0, n; i < e->count && !s; i += n) {
        n = imp_least(e->count - i, sizeof piece / sizeof *piece);
        s = imp_safetensors_floats(ctx, st, e, i, n, piece);
        if (!s) s = imp_model_put(w, piece, n);
        if (i % ((size_t)1 << 20) == 0) imp_safetensors_forget(st, e);
    }
    imp_safetensors_forget(st, e);
    return s;
}

imp_status imp_model_copy(imp_ctx *ctx, const char *path, const char *out,
    bool features, const imp_save_options *options, bool (*stop)(void),
    imp_model_change change, void *user) {
    imp_safetensors *st;
    imp_status s = imp_safetensors_open(ctx, &st, path);
    if (s) return s;
    imp_naming naming = imp_naming_of(st);
    imp_model_writer w = {0};
    imp_model *m = calloc(1, sizeof *m);
    s = m ? outline(ctx, m, st, naming, &(wanted){.features = features})
          : imp_fail(ctx, IMP_ERR_LIMIT, "%s: no memory", path);
    if (!s) s = change(user, m);
    if (!s) s = imp_model_begin(ctx, &w, m, out, options);
    w.stop = stop;
    if (!s) s = for_each_tensor(ctx, m, st, naming, copy_tensor, &w);
    if (!s) s = imp_model_commit(&w);
    imp_model_abort(&w);
    imp_model_free(m);
    imp_safetensors_close(st);
    return s;
}
