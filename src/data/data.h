/* SPDX-License-Identifier: MIT
 *
 * data.h: inside a data set.
 */
#ifndef IMP_DATA_H
#define IMP_DATA_H

#include "base/base.h"
#include "impasto/data.h"

struct imp_dataset {
    size_t count, channels, height, width, classes;
    uint16_t *labels;
    uint8_t *images; /* count x channels x height x width */
};

#endif
