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

static const imp_style_options presets[] = {
    /* The normalised objective at one scale: weights that suit every picture. */
    {
        .preset = "painterly",
        .objective = IMP_NORMALISED,
        .size = 512,
        .iterations = 150,
        .optimizer = IMP_LBFGS,
        .history = 10,
        .rate = 2.0,
        .content_weight = 0.5,
        .style_weight = 1.0,
        .content_layers = CONTENT_LAYERS,
        .style_layers = STYLE_LAYERS,
        .pooling = IMP_POOL_MAX,
        .first = IMP_PAD_REPLICATE,
        .init = IMP_INIT_CONTENT,
    },
    /* The course project that impasto grew from: Adam, from content mixed with noise. */
    {
        .preset = "classic",
        .objective = IMP_PLAIN,
        .size = 320,
        .iterations = 40,
        .optimizer = IMP_ADAM,
        .history = 10,
        .rate = 1.0,
        .content_weight = 1.0,
        .style_weight = 500.0,
        .content_layers = CONTENT_LAYERS,
        .style_layers = STYLE_LAYERS,
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
        .iterations = 300,
        .optimizer = IMP_LBFGS,
        .history = 12, /* 20: 16 more images of memory, half a percent less loss */
        .rate = 2.0,
        .content_weight = 1.0,
        .style_weight = 1e-3,
        .content_layers = CONTENT_LAYERS,
        .style_layers = STYLE_LAYERS,
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
