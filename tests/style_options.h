/* SPDX-License-Identifier: MIT
 *
 * style_options.h: options of style jobs that tests share.
 */
#ifndef TESTS_STYLE_OPTIONS_H
#define TESTS_STYLE_OPTIONS_H

#include "impasto/style.h"

/* The normalised objective in its plainest form: Gram matrices alone, at one scale. Where
 * places are matched, by all layers of the first three blocks. */
static inline imp_style_options normalised_options(void) {
    static const char *const nearest[] = {"relu1_1", "relu1_2", "relu2_1", "relu2_2",
        "relu3_1", "relu3_2", "relu3_3", "relu3_4"};
    imp_style_options o = imp_style_preset("gatys");
    for (size_t i = 0; i < sizeof nearest / sizeof *nearest; i++)
        o.nearest_layers[i] = nearest[i];
    o.objective = IMP_NORMALISED;
    o.history = 10;
    o.content_weight = 0.5;
    o.style_weight = 1.0;
    o.first = IMP_PAD_REPLICATE;
    return o;
}

#endif
