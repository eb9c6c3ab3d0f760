/* SPDX-License-Identifier: MIT
 *
 * curve.h: a loss curve as a picture.
 */
#ifndef APP_CURVE_H
#define APP_CURVE_H

#include "impasto/train.h"

/* Write the points as SVG: losses on a logarithmic axis over the steps, which end at steps; a
 * line stands where the training goes over to end to end. The same points give the same bytes.
 * Returns the exit status, said. */
int app_curve_write(imp_ctx *ctx, const char *path, bool overwrite,
    const imp_features_point *points, size_t n, size_t whole_from, size_t steps);

#endif
