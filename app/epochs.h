/* SPDX-License-Identifier: MIT
 *
 * epochs.h: a training job from its first epoch to its last, and what is told of it.
 */
#ifndef APP_EPOCHS_H
#define APP_EPOCHS_H

#include "impasto/train.h"

/* Run so many epochs, or those to an interruption; a line, or an event, for each. [out] last: the
 * last one's, be it a part; epoch 0: nothing was learnt. Returns the exit status, said; 0 also where interrupted. */
int app_epochs_run(
    imp_ctx *ctx, imp_train *job, size_t epochs, imp_train_progress *last);

#endif
