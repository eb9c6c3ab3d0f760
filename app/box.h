/* SPDX-License-Identifier: MIT
 *
 * box.h: sides of a picture that is to fit "N" (its longest side) or "WxH".
 */
#ifndef APP_BOX_H
#define APP_BOX_H

#include "options.h"

/* The longest side at which a picture of these sides fits the box, never enlarged: what
 * imp_style_options.size wants. */
size_t app_box_longest(app_box box, size_t width, size_t height);

/* Sides in the same proportion that fill the box, enlarged where it is larger. A box of
 * width 0: as they are. */
void app_box_fill(app_box box, size_t *width, size_t *height);

#endif
