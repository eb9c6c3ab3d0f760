/* SPDX-License-Identifier: MIT
 *
 * presets.c: named sets of options.
 */
#include "style/style.h"

#include <string.h>

#define CONTENT_LAYERS                                                                 \
    { "relu4_2" }
#define STYLE_LAYERS                                                                   \
    { "relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1" }

#define NEAREST_LAYERS                                                                 \
    { "relu1_1", "relu2_1", "relu3_1" }

/* What the presets of the normalised objective share. */
#define NORMALISED                                                                     \
    .objective = IMP_NORMALISED, .size = 512, .optimizer = IMP_LBFGS, .history = 10,   \
    .precondition = 1.6, .rate = 2.0, .style_weight = 1.0, .range_weight = 300.0,      \
    .nearest_layers = NEAREST_LAYERS, .pooling = IMP_POOL_MAX,                         \
    .first = IMP_PAD_REPLICATE
#define PAINTED                                                                        \
    NORMALISED, .content_layers = CONTENT_LAYERS, .style_layers = STYLE_LAYERS,        \
                .turn = 10

static const imp_style_options presets[] = {
    /* Gram matrices bring the tones and the composition, nearest columns strokes that follow
     * the form: their sum is better than either (docs/quality.md). */
    {
        .preset = "painterly",
        PAINTED,
        .first_size = 180,
        .scale_iterations = 25,
        .iterations = 80,
        .content_weight = 0.51,
        .tv_weight = 3.0,
        .terms = {[IMP_TERM_GRAM] = 1.0, [IMP_TERM_NEAREST] = 0.2},
    },
    /* The content kept: it begins where composition is not moved any more. */
    {
        .preset = "faithful",
        PAINTED,
        .first_size = 360,
        .scale_iterations = 20,
        .iterations = 45,
        .content_weight = 2.0,
        .tv_weight = 3.0,
        .terms = {[IMP_TERM_GRAM] = 1.0, [IMP_TERM_NEAREST] = 0.3},
    },
    /* The style first: whirls and planes of colour from the smallest scale on. */
    {
        .preset = "bold",
        PAINTED,
        .first_size = 120,
        .scale_iterations = 30,
        .iterations = 60,
        .content_weight = 0.15,
        .tv_weight = 3.0,
        .terms = {[IMP_TERM_GRAM] = 1.0, [IMP_TERM_NEAREST] = 0.3},
    },
    /* No content: the painting's matter, from noise. */
    {
        .preset = "texture",
        PAINTED,
        .first_size = 64,
        .scale_iterations = 60,
        .iterations = 60,
        .content_weight = 0.0,
        .terms = {[IMP_TERM_GRAM] = 1.0},
        .init = IMP_INIT_NOISE,
    },
    /* The colour and light of another photograph: the first layer's statistics alone, and a
     * content that holds every edge. */
    {
        .preset = "photo",
        NORMALISED,
        .scale_iterations = 20,
        .iterations = 40,
        .content_weight = 6.0,
        .tv_weight = 10.0,
        .terms = {[IMP_TERM_COV] = 1.0},
        .content_layers = {"relu2_2", "relu4_2"},
        .style_layers = {"relu1_1"},
    },
    /* A draft: most of the work is done where it is cheap. */
    {
        .preset = "fast",
        PAINTED,
        .first_size = 120,
        .scale_iterations = 8,
        .iterations = 8,
        .content_weight = 0.52,
        .terms = {[IMP_TERM_GRAM] = 1.0},
    },
    /* The course project that impasto grew from: Adam, from content mixed with noise. */
    {
        .preset = "classic",
        .objective = IMP_PLAIN,
        .size = 320,
        .scale_iterations = 20,
        .iterations = 40,
        .optimizer = IMP_ADAM,
        .history = 10,
        .precondition = 1.0,
        .rate = 1.0,
        .content_weight = 1.0,
        .style_weight = 500.0,
        .terms = {[IMP_TERM_GRAM] = 1.0},
        .content_layers = CONTENT_LAYERS,
        .style_layers = STYLE_LAYERS,
        .nearest_layers = NEAREST_LAYERS,
        .pooling = IMP_POOL_MAX,
        .first = IMP_PAD_ZERO,
        .init = IMP_INIT_MIX,
    },
    /* Gatys, Ecker & Bethge 2016: L-BFGS from the content. Their style weight belongs to a
     * network of other magnitudes; 1e-3 suits the Oxford weights: docs/presets.md. */
    {
        .preset = "gatys",
        .objective = IMP_PLAIN,
        .size = 512,
        .scale_iterations = 100,
        .iterations = 300,
        .optimizer = IMP_LBFGS,
        .history = 12, /* 20: 16 more images of memory, half a percent less loss */
        .precondition = 1.0,
        .rate = 2.0,
        .content_weight = 1.0,
        .style_weight = 1e-3,
        .terms = {[IMP_TERM_GRAM] = 1.0},
        .content_layers = CONTENT_LAYERS,
        .style_layers = STYLE_LAYERS,
        .nearest_layers = NEAREST_LAYERS,
        .pooling = IMP_POOL_MAX,
        .first = IMP_PAD_ZERO,
        .init = IMP_INIT_CONTENT,
    },
};

#define COUNT (sizeof presets / sizeof *presets)

imp_style_options imp_style_preset(const char *name) {
    for (size_t i = 0; i < COUNT && name; i++)
        if (!strcmp(presets[i].preset, name)) return presets[i];
    return (imp_style_options){0};
}

const char *imp_style_preset_name(size_t i) {
    return i < COUNT ? presets[i].preset : NULL;
}

/* With a student, half as many again or twice as many: each of its views wants its share. */
static const struct {
    const char *preset;
    size_t scale_iterations, iterations;
} longer[] = {{"painterly", 60, 160}, {"faithful", 30, 68}, {"bold", 45, 90},
    {"texture", 90, 90}};

/* relu1_1 is what a student knows best, and what suffers most from its being turned. What it holds
 * of the content is less than its teacher would. */
static void weigh_for_student(imp_style_options *o) {
    o->content_weight *= 1.05;
    for (size_t i = 0; i < IMP_STYLE_MAX_LAYERS && o->style_layers[i]; i++)
        o->layer_weights[i] = strcmp(o->style_layers[i], "relu1_1") ? 1 : 3;
    o->layer_weights_given = true;
}

void imp_style_suit(imp_style_options *o, const imp_model *model) {
    imp_model_info info = imp_model_describe(model);
    if (info.random) o->first_size = 0;
    if (!info.student) o->turn = 0;
    if (o->turn == 0 || !o->preset) return;
    for (size_t i = 0; i < sizeof longer / sizeof *longer; i++) {
        if (strcmp(longer[i].preset, o->preset) != 0) continue;
        o->scale_iterations = longer[i].scale_iterations;
        o->iterations = longer[i].iterations;
    }
    if (o->objective == IMP_NORMALISED) weigh_for_student(o);
}
