/* SPDX-License-Identifier: MIT
 *
 * zoo.c: architectures as tables. VGG: Simonyan & Zisserman 2015, table 1, columns D
 * and E.
 */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONV(name, outputs)                                                            \
    { IMP_LAYER_CONV, "conv" name, "relu" name, outputs, 3, 1 }
#define CONV5(name, outputs, pad)                                                      \
    { IMP_LAYER_CONV, "conv" name, "relu" name, outputs, 5, pad }
#define POOL(name)                                                                     \
    { IMP_LAYER_POOL, "pool" name, "", 0, 2, 0 }
#define FLATTEN                                                                        \
    { IMP_LAYER_FLATTEN, "flatten", "", 0, 0, 0 }
#define FC(name, outputs)                                                              \
    { IMP_LAYER_LINEAR, "fc" name, "relu" name, outputs, 0, 0 }
#define LOGITS(name, outputs)                                                          \
    { IMP_LAYER_LINEAR, "fc" name, "", outputs, 0, 0 }

static const imp_layer lenet[] = {
    CONV5("1", 16, 2),
    POOL("1"),
    CONV5("2", 32, 0),
    POOL("2"),
    FLATTEN,
    FC("3", 128),
    LOGITS("4", 10),
};

static const imp_layer vgg16[] = {
    CONV("1_1", 64),
    CONV("1_2", 64),
    POOL("1"),
    CONV("2_1", 128),
    CONV("2_2", 128),
    POOL("2"),
    CONV("3_1", 256),
    CONV("3_2", 256),
    CONV("3_3", 256),
    POOL("3"),
    CONV("4_1", 512),
    CONV("4_2", 512),
    CONV("4_3", 512),
    POOL("4"),
    CONV("5_1", 512),
    CONV("5_2", 512),
    CONV("5_3", 512),
    POOL("5"),
    FLATTEN,
    FC("6", 4096),
    FC("7", 4096),
    LOGITS("8", 1000),
};

static const imp_layer vgg19[] = {
    CONV("1_1", 64),
    CONV("1_2", 64),
    POOL("1"),
    CONV("2_1", 128),
    CONV("2_2", 128),
    POOL("2"),
    CONV("3_1", 256),
    CONV("3_2", 256),
    CONV("3_3", 256),
    CONV("3_4", 256),
    POOL("3"),
    CONV("4_1", 512),
    CONV("4_2", 512),
    CONV("4_3", 512),
    CONV("4_4", 512),
    POOL("4"),
    CONV("5_1", 512),
    CONV("5_2", 512),
    CONV("5_3", 512),
    CONV("5_4", 512),
    POOL("5"),
    FLATTEN,
    FC("6", 4096),
    FC("7", 4096),
    LOGITS("8", 1000),
};

/* MNIST: grey, 0..1, its mean and deviation over the training pictures. */
static const imp_input_spec mnist_input = {.channels = 1,
    .range = 1.0f,
    .mean = {0.1307f},
    .std = {0.3081f},
    .size = 28,
    .fit = IMP_FIT_SQUASH};
/* The Oxford weights'. */
static const imp_input_spec vgg_input = {.channels = 3,
    .bgr = true,
    .range = 255.0f,
    .mean = {103.939f, 116.779f, 123.68f},
    .std = {1.0f, 1.0f, 1.0f},
    .size = 224,
    .fit = IMP_FIT_CROP};

typedef struct zoo_entry {
    const char *name;
    const imp_layer *layers; /* NULL: made from the options */
    size_t n;
    const imp_input_spec *input;
} zoo_entry;

#define COUNT(a) (sizeof(a) / sizeof *(a))
static const zoo_entry zoo[] = {
    {"mlp", NULL, 0, &mnist_input},
    {"lenet", lenet, COUNT(lenet), &mnist_input},
    {"vgg16", vgg16, COUNT(vgg16), &vgg_input},
    {"vgg19", vgg19, COUNT(vgg19), &vgg_input},
};

bool imp_layer_has_weights(const imp_layer *l) {
    return l->kind == IMP_LAYER_CONV || l->kind == IMP_LAYER_LINEAR;
}

bool imp_layer_is_factor(const imp_layer *l) {
    return l->kind == IMP_LAYER_CONV && !*l->activation;
}

size_t imp_zoo_widths(
    const imp_model *m, size_t *channels, size_t *ranks, size_t most) {
    size_t n = 0, rank = 0;
    for (size_t l = 0; l < m->n_layers && n < most; l++) {
        const imp_layer *layer = &m->layers[l];
        if (layer->kind != IMP_LAYER_CONV) continue;
        if (imp_layer_is_factor(layer)) {
            rank = layer->outputs;
            continue;
        }
        channels[n] = layer->outputs;
        ranks[n++] = rank;
        rank = 0;
    }
    return n;
}

size_t imp_zoo_find(const imp_model *m, const char *name) {
    for (size_t i = 0; i < m->n_layers; i++)
        if (!strcmp(m->layers[i].name, name) ||
            (*name && !strcmp(m->layers[i].activation, name)))
            return i;
    return m->n_layers;
}

void imp_zoo_cut(imp_model *m, size_t n) {
    if (n >= m->n_layers) return;
    m->n_layers = n;
    m->info.classes = 0;
}

void imp_zoo_cut_classifier(imp_model *m) {
    size_t n = m->n_layers;
    while (n > 0 && m->layers[n - 1].kind != IMP_LAYER_CONV) n--;
    if (n > 0) imp_zoo_cut(m, n);
}

imp_status imp_zoo_add_head(imp_ctx *ctx, imp_model *m, size_t classes) {
    imp_layer *grown = realloc(m->layers, (m->n_layers + 2) * sizeof *grown);
    if (!grown) return imp_fail(ctx, IMP_ERR_LIMIT, "%s: no memory", m->architecture);
    m->layers = grown;
    m->layers[m->n_layers++] = (imp_layer){.kind = IMP_LAYER_MEAN, .name = "mean"};
    m->layers[m->n_layers++] =
        (imp_layer){.kind = IMP_LAYER_LINEAR, .name = "fc", .outputs = classes};
    m->info.classes = classes;
    return IMP_OK;
}

bool imp_zoo_has_head(const imp_model *m) {
    return m->n_layers > 1 && m->layers[m->n_layers - 2].kind == IMP_LAYER_MEAN;
}

/* fc1 .. fcK: the hidden widths, then ten classes. */
static imp_status build_mlp(imp_ctx *ctx, imp_model *m, const imp_model_options *o) {
    if (o->n_hidden > 16)
        return imp_fail(ctx, IMP_ERR_ARG,
            "mlp: expected at most 16 hidden layers, found %zu", o->n_hidden);
    m->n_layers = o->n_hidden + 1;
    m->layers = calloc(m->n_layers, sizeof *m->layers);
    if (!m->layers) return imp_fail(ctx, IMP_ERR_LIMIT, "mlp: no memory");
    for (size_t i = 0; i < m->n_layers; i++) {
        imp_layer *l = &m->layers[i];
        bool last = i + 1 == m->n_layers;
        l->kind = IMP_LAYER_LINEAR;
        l->outputs = last ? 10 : o->hidden[i];
        snprintf(l->name, sizeof l->name, "fc%d", (int)i + 1);
        if (!last) snprintf(l->activation, sizeof l->activation, "relu%d", (int)i + 1);
        if (l->outputs < 1 || l->outputs > 65536)
            return imp_fail(ctx, IMP_ERR_ARG,
                "mlp: hidden width: expected 1 to 65536, found %zu", l->outputs);
    }
    return IMP_OK;
}

/* Layer i, a convolution, becomes two factors of that rank. */
static void split(imp_model *m, size_t i, size_t rank) {
    imp_layer *l = &m->layers[i];
    memmove(l + 1, l, (m->n_layers++ - i) * sizeof *l);
    snprintf(l->name, sizeof l->name, "factor%s", l[1].name + strlen("conv"));
    l->activation[0] = '\0';
    l->outputs = rank;
    l[1].kernel = 1;
    l[1].pad = 0;
}

static imp_status factor(imp_ctx *ctx, imp_model *m, const imp_model_options *o) {
    imp_layer *grown =
        realloc(m->layers, (m->n_layers + o->n_channels) * sizeof *grown);
    if (!grown) return imp_fail(ctx, IMP_ERR_LIMIT, "%s: no memory", m->architecture);
    m->layers = grown;
    for (size_t i = 0, n = 0; i < m->n_layers; i++) {
        if (m->layers[i].kind != IMP_LAYER_CONV) continue;
        size_t rank = o->ranks[n++];
        if (rank > IMP_MAX_CHANNELS)
            return imp_fail(ctx, IMP_ERR_ARG,
                "%s: ranks: %s: expected 0 to %d, found %zu", m->architecture,
                m->layers[i].name, IMP_MAX_CHANNELS, rank);
        if (rank) split(m, i++, rank);
    }
    return IMP_OK;
}

/* Every convolution's outputs from a list; behind the last one listed nothing is left. */
static imp_status list_channels(
    imp_ctx *ctx, imp_model *m, const imp_model_options *o) {
    size_t last = 0, n = 0, convolutions = 0;
    for (size_t i = 0; i < m->n_layers; i++) {
        if (m->layers[i].kind != IMP_LAYER_CONV) continue;
        convolutions++;
        if (n == o->n_channels) continue;
        m->layers[i].outputs = o->channels[n++];
        last = i;
        if (m->layers[i].outputs < 1 || m->layers[i].outputs > IMP_MAX_CHANNELS)
            return imp_fail(ctx, IMP_ERR_ARG,
                "%s: channels: %s: expected 1 to %d, found %zu", m->architecture,
                m->layers[i].name, IMP_MAX_CHANNELS, m->layers[i].outputs);
    }
    if (strncmp(m->architecture, "vgg", 3) != 0 || n < o->n_channels)
        return imp_fail(ctx, IMP_ERR_ARG,
            "%s: channels: expected for at most %zu convolutions of a VGG, found %zu",
            m->architecture, convolutions, o->n_channels);
    if (m->info.divisor != 1)
        return imp_fail(ctx, IMP_ERR_ARG,
            "%s: divisor: expected 1 beside a list of channels, found %zu",
            m->architecture, m->info.divisor);
    imp_zoo_cut(m, last + 1);
    m->info.listed = true;
    return o->ranks ? factor(ctx, m, o) : IMP_OK;
}

imp_status imp_zoo_build(imp_ctx *ctx, imp_model *m, const imp_model_options *o) {
    const zoo_entry *entry = NULL;
    for (size_t i = 0; i < COUNT(zoo) && o->architecture; i++)
        if (!strcmp(zoo[i].name, o->architecture)) entry = &zoo[i];
    if (!entry)
        return imp_fail(ctx, IMP_ERR_ARG,
            "architecture: expected mlp, lenet, vgg16 or vgg19, found '%s'",
            o->architecture ? o->architecture : "");
    snprintf(m->architecture, sizeof m->architecture, "%s", entry->name);
    m->info.input = *entry->input;
    m->info.divisor = o->divisor ? o->divisor : 1;
    if (!entry->layers) {
        imp_status s = build_mlp(ctx, m, o);
        m->info.classes = 10;
        return s;
    }
    m->n_layers = entry->n;
    m->layers = malloc(entry->n * sizeof *m->layers);
    if (!m->layers) return imp_fail(ctx, IMP_ERR_LIMIT, "%s: no memory", entry->name);
    memcpy(m->layers, entry->layers, entry->n * sizeof *m->layers);
    m->info.classes = m->layers[entry->n - 1].outputs;
    for (size_t i = 0; i + 1 < entry->n; i++) {
        size_t *outputs = &m->layers[i].outputs;
        if (*outputs % m->info.divisor || m->info.divisor > 64)
            return imp_fail(ctx, IMP_ERR_ARG,
                "%s: divisor: expected a power of two up to %d, found %zu", entry->name,
                !strcmp(entry->name, "lenet") ? 16 : 64, m->info.divisor);
        *outputs /= m->info.divisor;
    }
    if (o->n_channels) return list_channels(ctx, m, o);
    if (o->features) imp_zoo_cut(m, imp_zoo_find(m, "pool5"));
    return IMP_OK;
}

static void add_tensor(
    imp_model *m, const imp_layer *l, const char *what, imp_shape shape) {
    imp_tensor *t = &m->tensors[m->n_tensors++];
    snprintf(t->name, sizeof t->name, "%s.%s", l->name, what);
    t->shape = shape;
    t->linear = l->kind == IMP_LAYER_LINEAR;
    m->info.parameters += imp_plain_count(shape);
}

imp_status imp_zoo_shapes(imp_ctx *ctx, imp_model *m) {
    m->tensors = calloc(2 * m->n_layers + 1, sizeof *m->tensors);
    m->numbers = calloc(m->info.classes + 1, IMP_NUMBER_SIZE);
    for (size_t i = 0; m->numbers && i < m->info.classes; i++)
        snprintf(m->numbers + i * IMP_NUMBER_SIZE, IMP_NUMBER_SIZE, "%u", (unsigned)i);
    if (!m->tensors || !m->numbers)
        return imp_fail(ctx, IMP_ERR_LIMIT, "model: no memory");
    size_t channels = m->info.input.channels, side = m->info.input.size;
    if (m->layers[0].kind == IMP_LAYER_LINEAR) channels *= side * side;
    for (size_t i = 0; i < m->n_layers; i++) {
        const imp_layer *l = &m->layers[i];
        if (l->kind == IMP_LAYER_CONV) side = side + 2 * l->pad + 1 - l->kernel;
        if (l->kind == IMP_LAYER_POOL) side /= 2;
        if (l->kind == IMP_LAYER_FLATTEN) channels *= side * side;
        if (!imp_layer_has_weights(l)) continue;
        size_t k = l->kind == IMP_LAYER_CONV ? l->kernel : 1;
        add_tensor(m, l, "weight", (imp_shape){l->outputs, channels, k, k, IMP_WEIGHT});
        add_tensor(m, l, "bias", (imp_shape){1, l->outputs, 1, 1, IMP_MAP});
        channels = l->outputs;
    }
    return IMP_OK;
}

imp_status imp_zoo_allocate(imp_ctx *ctx, imp_model *m) {
    for (size_t i = 0; i < m->n_tensors; i++) {
        imp_tensor *t = &m->tensors[i];
        size_t size = imp_blocked_count(t->shape) * sizeof(float);
        t->blocked = imp_alloc(size);
        if (!t->blocked)
            return imp_fail(
                ctx, IMP_ERR_LIMIT, "%s: no memory for %zu MiB", t->name, size >> 20);
    }
    return IMP_OK;
}
