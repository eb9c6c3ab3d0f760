/* SPDX-License-Identifier: MIT
 *
 * recognise.c: which tensor of a foreign file is which of a VGG's, and what that VGG wants to
 * see. Names tell the layer, the shape tells the order of the axes: with kernels of 3 x 3 no two
 * orders look alike, and fully connected layers all follow the first of them.
 */
#include "foreign/recognise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- names --- */

/* Where a layer stands: conv1_2 is block 1, number 2, of all convolutions 1 (from 0), among
 * torchvision's features 2; fc6 is the fully connected layer 0. */
typedef struct place {
    const char *layer; /* "conv1_2", "fc6" */
    bool linear;
    size_t block, number, order, feature;
} place;

static place place_of(const imp_model *m, size_t layer) {
    place p = {.layer = m->layers[layer].name,
        .linear = m->layers[layer].kind == IMP_LAYER_LINEAR,
        .block = 1};
    for (size_t k = 0; k < layer; k++) {
        imp_layer_kind kind = m->layers[k].kind;
        if (kind == IMP_LAYER_POOL) {
            p.block++;
            p.feature++;
            p.number = 0;
        } else if (kind == IMP_LAYER_CONV && !p.linear) {
            p.number++;
            p.order++;
            p.feature += 2;
        } else if (kind == IMP_LAYER_LINEAR && p.linear)
            p.order++;
        if (kind == IMP_LAYER_FLATTEN && p.linear) p.order = 0;
    }
    p.number++;
    return p;
}

/* Does a file of this naming call that layer's weight (or bias) so? */
typedef bool (*names_fn)(const char *name, const place *p, bool bias);

static bool own(const char *name, const place *p, bool bias) {
    char expected[64];
    snprintf(expected, sizeof expected, "%s.%s", p->layer, bias ? "bias" : "weight");
    return !strcmp(name, expected);
}

static bool underscored(const char *name, const place *p, bool bias) {
    char expected[64];
    snprintf(expected, sizeof expected, "%s_%s", p->layer, bias ? "b" : "W");
    return !strcmp(name, expected);
}

static bool numbered(
    const char *name, const place *p, bool bias, const char *const classifier[3]) {
    char expected[64];
    const char *what = bias ? "bias" : "weight";
    if (p->linear)
        snprintf(expected, sizeof expected, "%s.%s", classifier[p->order % 3], what);
    else
        snprintf(expected, sizeof expected, "features.%zu.%s", p->feature, what);
    return !strcmp(name, expected);
}

static bool torchvision(const char *name, const place *p, bool bias) {
    return numbered(name, p, bias,
        (const char *const[]){"classifier.0", "classifier.3", "classifier.6"});
}

/* VGG's authors' Caffe files by way of loadcaffe, whose dropout comes first. */
static bool from_caffe(const char *name, const place *p, bool bias) {
    return numbered(name, p, bias,
        (const char *const[]){"classifier.1", "classifier.4", "classifier.6"});
}

static bool timm(const char *name, const place *p, bool bias) {
    return numbered(name, p, bias,
        (const char *const[]){"pre_logits.fc1", "pre_logits.fc2", "head.fc"});
}

/* By the order of the graph: the ONNX reader's names. */
static bool in_order(const char *name, const place *p, bool bias) {
    char expected[64];
    snprintf(expected, sizeof expected, "%s.%zu.%s", p->linear ? "linear" : "conv",
        p->order, bias ? "bias" : "weight");
    return !strcmp(name, expected);
}

/* The first folder of the path is the layer, its last name the parameter:
 * block1_conv1/block1_conv1_W_1:0, block1_conv1/block1_conv1/kernel:0. */
static bool keras(const char *name, const place *p, bool bias) {
    static const char *const heads[] = {"fc1", "fc2", "predictions"};
    char layer[32];
    if (p->linear)
        snprintf(layer, sizeof layer, "%s", heads[p->order % 3]);
    else
        snprintf(layer, sizeof layer, "block%zu_conv%zu", p->block, p->number);
    size_t n = strlen(layer);
    const char *last = strrchr(name, '/');
    if (!last || strncmp(name, layer, n) != 0 || name[n] != '/') return false;
    if (!strncmp(++last, layer, n) && last[n] == '_') /* block1_conv1_W_1:0 */
        return !strncmp(last + n, bias ? "_b" : "_W", 2);
    return !strncmp(last, bias ? "bias" : "kernel", bias ? 4 : 6);
}

/* --- what each wants to see --- */

typedef struct naming {
    const char *name;
    names_fn matches;
    bool bgr;
    float range;
    bool rows_first; /* fc6's inputs, where it is a matrix: row, column, channel */
} naming;

/* The one that knows most of a file's layers is its own; of equals the first. */
static const naming namings[] = {
    {"Oxford", own, true, 255, false},
    {"Oxford (arrays of W and b)", underscored, false, 255, true},
    {"torchvision", torchvision, false, 1, false},
    {"timm", timm, false, 1, false},
    {"torchvision, from Caffe", from_caffe, true, 255, false},
    {"Keras", keras, true, 255, true},
    {"order of the graph", in_order, false, 1, false},
};

#define NAMINGS  (sizeof namings / sizeof *namings)
#define NO_INDEX SIZE_MAX

static size_t find(const imp_foreign *f, const naming *n, const imp_model *m,
    size_t layer, bool bias) {
    place p = place_of(m, layer);
    for (size_t i = 0; i < f->n; i++)
        if (n->matches(f->tensors[i].name, &p, bias)) return i;
    return NO_INDEX;
}

/* How many layers of m have a weight of that naming. */
static size_t count(const imp_foreign *f, const naming *n, const imp_model *m) {
    size_t found = 0;
    for (size_t i = 0; i < m->n_layers; i++)
        found +=
            imp_layer_has_weights(&m->layers[i]) && find(f, n, m, i, false) != NO_INDEX;
    return found;
}

/* Red, green, blue, of ImageNet: Simonyan & Zisserman's, and torchvision's mean and deviation. */
static const float mean_255[3] = {123.68f, 116.779f, 103.939f};
static const float mean_1[3] = {0.485f, 0.456f, 0.406f},
                   std_1[3] = {0.229f, 0.224f, 0.225f};

static void want(imp_input_spec *in, bool bgr, float range) {
    in->bgr = bgr;
    in->range = range;
    for (size_t i = 0; i < 3; i++) {
        size_t k = bgr ? 2 - i : i;
        in->mean[i] = range > 1 ? mean_255[k] : mean_1[k];
        in->std[i] = range > 1 ? 1 : std_1[k];
    }
}

static void set_input(
    imp_input_spec *in, const naming *n, const imp_foreign *f, const char *format) {
    bool mat = strcmp(format, imp_reader_mat.format) == 0; /* MatConvNet: R, G, B */
    want(in, n->bgr && !mat, n->range);
    if (f->has_mean && n->range > 1) memcpy(in->mean, f->mean, sizeof in->mean);
}

/* The first biases of conv1_1 in Oxford's VGG-19. Those of their VGG-16 are much the same. */
static const float oxford[] = {0.73018f, 0.06494f, 0.03429f, 0.82604f, 0.25780f,
    0.54868f, -0.01244f, 0.34790f, 0.55109f, 0.06297f, 0.60699f, 0.26703f, 0.64941f,
    0.17074f, 0.47723f, 0.38251f};

bool imp_recognise_oxford(
    imp_model *m, const float *weight, const float *bias, size_t n) {
    size_t some = sizeof oxford / sizeof *oxford;
    double ours = 0, theirs = 0, both = 0;
    float largest = 0; /* 0.65 and thereabouts; scaled to see 0..1 it is 37 */
    if (n < some || m->info.input.range > 1) return false;
    for (size_t i = 0; i < 27 * n; i++) largest = fmaxf(largest, fabsf(weight[i]));
    if (largest > 4) return false;
    for (size_t i = 0; i < some; i++) {
        ours += (double)oxford[i] * (double)oxford[i];
        theirs += (double)bias[i] * (double)bias[i];
        both += (double)oxford[i] * (double)bias[i];
    }
    if (!(both > 0.97 * sqrt(ours * theirs))) return false;
    want(&m->info.input, true, 255);
    return true;
}

/* --- shapes --- */

/* Steps of dimension d of t. */
static size_t step_of(const imp_foreign_tensor *t, size_t d) {
    size_t step = 1;
    if (t->column_major)
        for (size_t k = 0; k < d; k++) step *= t->shape[k];
    else
        for (size_t k = d + 1; k < t->ndim; k++) step *= t->shape[k];
    return step;
}

static void shape_text(const imp_foreign_tensor *t, char *text, size_t size) {
    size_t at = (size_t)snprintf(text, size, "[");
    for (size_t i = 0; i < t->ndim && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, i ? ",%zu" : "%zu", t->shape[i]);
    if (at < size) snprintf(text + at, size - at, "]");
}

static bool is_shape(
    const imp_foreign_tensor *t, size_t a, size_t b, size_t c, size_t d) {
    size_t shape[4] = {a, b, c, d}; /* sides of 1 at the end may be missing */
    if (t->ndim > 4) return false;
    for (size_t i = 0; i < 4; i++)
        if ((i < t->ndim ? t->shape[i] : 1) != shape[i]) return false;
    return true;
}

/* o: what the network has. O, I, H, W; H, W, I, O; or a matrix, O x I or I x O. */
static bool find_axes(
    const imp_foreign_tensor *t, bool rows_first, bool *swapped, imp_origin *o) {
    size_t fan_in = o->inputs * o->height * o->width, area = o->height * o->width;
    if (is_shape(t, o->outputs, o->inputs, o->height, o->width) &&
        (area > 1 || !*swapped)) {
        o->o_step = step_of(t, 0), o->i_step = step_of(t, 1);
        o->h_step = step_of(t, 2), o->w_step = step_of(t, 3);
        return true;
    }
    if (is_shape(t, o->height, o->width, o->inputs, o->outputs)) {
        o->h_step = step_of(t, 0), o->w_step = step_of(t, 1);
        o->i_step = step_of(t, 2), o->o_step = step_of(t, 3);
        return true;
    }
    bool plain = is_shape(t, o->outputs, fan_in, 1, 1) && !*swapped;
    if (!plain && !is_shape(t, fan_in, o->outputs, 1, 1)) return false;
    *swapped = !plain;
    size_t one = step_of(t, plain ? 1 : 0);
    o->o_step = step_of(t, plain ? 0 : 1);
    o->i_step = rows_first ? one : one * area;
    o->w_step = rows_first ? one * o->inputs : one;
    o->h_step = o->w_step * o->width;
    return true;
}

static imp_status weight_origin(const imp_foreign *f, const imp_model *m, size_t layer,
    const naming *n, bool *swapped, imp_origin *o) {
    const imp_foreign_tensor *t = &f->tensors[o->index];
    /* Keras has turned Theano's kernels by half a turn: as they lie, they are of no use. */
    if (n->matches == keras && o->height > 1 &&
        is_shape(t, o->outputs, o->inputs, o->height, o->width))
        return imp_foreign_fail(f,
            "tensor %s: expected TensorFlow's order of axes, found Theano's, whose "
            "kernels are turned",
            t->name);
    if (find_axes(t, n->rows_first, swapped, o)) return IMP_OK;
    char found[200];
    shape_text(t, found, sizeof found);
    return imp_foreign_fail(f,
        "tensor %s: shape: expected that of %s, %zu outputs of %zu inputs by %zu x "
        "%zu, found "
        "%s",
        t->name, m->layers[layer].name, o->outputs, o->inputs, o->height, o->width,
        found);
}

static imp_status bias_origin(
    const imp_foreign *f, const imp_model *m, size_t layer, imp_origin *o) {
    const imp_foreign_tensor *t = &f->tensors[o->index];
    bool one_side = true; /* longer than 1 */
    for (size_t d = 0; d < t->ndim; d++)
        one_side = one_side && (t->shape[d] == 1 || t->shape[d] == o->outputs);
    char found[200];
    shape_text(t, found, sizeof found);
    if (!one_side || t->count != o->outputs)
        return imp_foreign_fail(f,
            "tensor %s: shape: expected %zu biases of %s, found %s", t->name,
            o->outputs, m->layers[layer].name, found);
    o->inputs = o->outputs; /* one row */
    o->outputs = o->o_step = o->i_step = o->h_step = o->w_step = 1;
    return IMP_OK;
}

/* Where both parameters of a layer come from; side: of the map that a flatten has before it. */
static imp_status layer_origins(const imp_foreign *f, const naming *n,
    const imp_model *m, size_t layer, size_t side, bool *swapped, const imp_tensor *t,
    imp_origin *out) {
    for (int bias = 0; bias < 2; bias++) {
        const imp_shape *s = &t[bias].shape;
        imp_origin *o = &out[bias];
        *o = (imp_origin){.index = find(f, n, m, layer, bias), .height = 1, .width = 1};
        if (o->index == NO_INDEX)
            return imp_foreign_fail(f,
                "layer %s: expected its %s, by %s's names, found none",
                m->layers[layer].name, bias ? "bias" : "weight", n->name);
        o->outputs = bias ? s->c : s->n;
        o->inputs = bias ? 1 : s->c;
        if (!bias && t->linear && side > 1) {
            o->inputs /= side * side;
            o->height = o->width = side;
        } else if (!bias && !t->linear)
            o->height = s->h, o->width = s->w;
        imp_status status = bias ? bias_origin(f, m, layer, o)
                                 : weight_origin(f, m, layer, n, swapped, o);
        if (status) return status;
    }
    return IMP_OK;
}

static imp_status all_origins(const imp_foreign *f, const naming *n, const imp_model *m,
    imp_origin origins[IMP_ORIGINS]) {
    size_t side = m->info.input.size, at = 0;
    bool swapped = false;
    imp_status s = IMP_OK;
    for (size_t i = 0; i < m->n_layers && !s; i++) {
        if (m->layers[i].kind == IMP_LAYER_POOL) side /= 2;
        if (!imp_layer_has_weights(&m->layers[i])) continue;
        s = layer_origins(f, n, m, i, side, &swapped, &m->tensors[at], &origins[at]);
        if (m->layers[i].kind == IMP_LAYER_LINEAR) side = 1;
        at += 2;
    }
    return s;
}

/* --- the network --- */

static void free_layers(imp_model *m) {
    free(m->layers);
    *m = (imp_model){0};
}

/* Outputs of convolution `layer`, by its bias; 0: it has none. */
static size_t outputs_of(
    const imp_foreign *f, const naming *n, const imp_model *m, size_t layer) {
    size_t i = find(f, n, m, layer, true);
    return i == NO_INDEX ? 0 : f->tensors[i].count;
}

/* The eighth convolution is VGG-19's conv3_4, as wide as the seventh, or VGG-16's conv4_1. */
static bool is_19(const imp_foreign *f, const naming *n, const imp_model *m19) {
    size_t seventh = imp_zoo_find(m19, "conv3_3"),
           eighth = imp_zoo_find(m19, "conv3_4");
    return outputs_of(f, n, m19, seventh) == outputs_of(f, n, m19, eighth);
}

/* m: the architecture and naming that know most of the file. */
static imp_status choose(
    imp_ctx *ctx, const imp_foreign *f, imp_model *m, const naming **best) {
    size_t most = 0;
    for (size_t k = 0; k < NAMINGS; k++)
        for (int nineteen = 0; nineteen < 2; nineteen++) {
            imp_model trial = {0};
            imp_model_options o = {.architecture = nineteen ? "vgg19" : "vgg16"};
            imp_status s = imp_zoo_build(ctx, &trial, &o);
            size_t found = s ? 0 : count(f, &namings[k], &trial);
            bool better = found > most ||
                          (found > 0 && found == most && nineteen &&
                              *best == &namings[k] && is_19(f, &namings[k], &trial));
            if (better) {
                free_layers(m);
                *m = trial;
                most = found;
                *best = &namings[k];
            } else
                free_layers(&trial);
            if (s) return s;
        }
    if (most > 0) return IMP_OK;
    return imp_foreign_fail(f,
        "network: expected a VGG-16 or VGG-19 by the names of Oxford, torchvision, "
        "timm or "
        "Keras, found %zu tensors, the first of them %s",
        f->n, f->n ? f->tensors[0].name : "(none)");
}

/* Layers behind the last one of which the file has a part. */
static void cut(const imp_foreign *f, const naming *n, imp_model *m, bool features) {
    size_t last = 0;
    for (size_t i = 0; i < m->n_layers; i++)
        if (imp_layer_has_weights(&m->layers[i]) &&
            (find(f, n, m, i, false) != NO_INDEX || find(f, n, m, i, true) != NO_INDEX))
            last = i;
    if (m->layers[last].kind == IMP_LAYER_CONV) imp_zoo_cut(m, last + 1);
    if (features) imp_zoo_cut_classifier(m);
}

/* The whole VGG has 64 channels at first, and this one's are a divisor of that. */
static imp_status build(
    imp_ctx *ctx, const imp_foreign *f, const naming *n, imp_model *m, bool features) {
    size_t first = outputs_of(f, n, m, 0);
    char architecture[16];
    snprintf(architecture, sizeof architecture, "%s", m->architecture);
    if (first == 0 || 64 % first) {
        return imp_foreign_fail(f,
            "layer conv1_1: expected 64 outputs, or a power of two below, found %zu",
            first);
    }
    free_layers(m);
    imp_model_options o = {.architecture = architecture, .divisor = 64 / first};
    imp_status s = imp_zoo_build(ctx, m, &o);
    if (s) return s;
    cut(f, n, m, features);
    if (m->info.classes)
        m->layers[m->n_layers - 1].outputs = m->info.classes =
            outputs_of(f, n, m, m->n_layers - 1);
    return imp_zoo_shapes(ctx, m);
}

/* vgg16_bn and vgg19_bn have the names of torchvision's others, at other places. */
static imp_status refuse_normalisation(const imp_foreign *f) {
    static const char mean[] = "running_mean";
    for (size_t i = 0; i < f->n; i++) {
        const char *name = f->tensors[i].name;
        size_t n = strlen(name), ending = sizeof mean - 1;
        if (n >= ending && !strcmp(name + n - ending, mean))
            return imp_foreign_fail(f,
                "tensor %s: expected a VGG without batch normalisation, found one with",
                name);
    }
    return IMP_OK;
}

imp_status imp_recognise(const imp_foreign *f, const char *format, bool features,
    imp_model *m, imp_origin origins[IMP_ORIGINS], const char **name) {
    const naming *n = NULL;
    imp_status s = refuse_normalisation(f);
    if (!s) s = choose(f->ctx, f, m, &n);
    if (!s) s = build(f->ctx, f, n, m, features);
    if (s) return s;
    set_input(&m->info.input, n, f, format);
    *name = n->name;
    return all_origins(f, n, m, origins);
}
