/* SPDX-License-Identifier: MIT
 *
 * rates.c: how the learning rate rises and falls.
 */
#include "train/train.h"

#include <math.h>

#define PI 3.14159265358979323846

double imp_rate_at(double rate, size_t warm, size_t step, size_t steps) {
    double share = (double)step / (double)steps;
    if (share > 1.0) share = 1.0;
    double cosine = rate * 0.5 * (1.0 + cos(PI * share));
    return step < warm ? cosine * (double)(step + 1) / (double)warm : cosine;
}
