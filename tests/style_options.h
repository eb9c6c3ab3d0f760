/* SPDX-License-Identifier: MIT
 *
 * style_options.h: options of style jobs that tests share.
 */
#ifndef TESTS_STYLE_OPTIONS_H
#define TESTS_STYLE_OPTIONS_H

#include "impasto/style.h"

/* The normalised objective in its plainest form: Gram matrices alone, at one scale. */
static inline imp_style_options normalised_options(void) {
    imp_style_options o = imp_style_preset("gatys");
    o.objective = IMP_NORMALISED;
    o.history = 10;
    o.content_weight = 0.5;
    o.style_weight = 1.0;
    o.first = IMP_PAD_REPLICATE;
    return o;
}

#endif
