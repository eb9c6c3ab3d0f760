/* SPDX-License-Identifier: MIT
 *
 * box.c: the arithmetic of proportions, rounded to the nearest.
 */
#include "box.h"

#include <math.h>

#include "impasto/style.h"

size_t app_box_longest(app_box box, size_t width, size_t height) {
    if (box.height == 0) return box.width;
    size_t longest = width > height ? width : height, w, h;
    double across = (double)box.width / (double)width;
    double down = (double)box.height / (double)height;
    double factor = fmin(1, fmin(across, down));
    size_t size = (size_t)floor((double)longest * factor + 0.5);
    for (; size > 1; size--) { /* one less where rounding went beyond the box */
        imp_style_size(width, height, size, &w, &h);
        if (w <= box.width && h <= box.height) break;
    }
    return size < 1 ? 1 : size;
}

static size_t scaled(size_t side, double factor, size_t most) {
    double to = floor((double)side * factor + 0.5);
    return to < 1 ? 1 : to > (double)most ? most : (size_t)to;
}

void app_box_fill(app_box box, size_t *width, size_t *height) {
    if (box.width == 0) return;
    size_t longest = *width > *height ? *width : *height;
    size_t most_down = box.height ? box.height : box.width;
    double factor = box.height ? fmin((double)box.width / (double)*width,
                                     (double)box.height / (double)*height)
                               : (double)box.width / (double)longest;
    *width = scaled(*width, factor, box.width);
    *height = scaled(*height, factor, most_down);
}
