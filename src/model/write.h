/* SPDX-License-Identifier: MIT
 *
 * write.h: a model's file, tensor by tensor.
 */
#ifndef IMP_WRITE_H
#define IMP_WRITE_H

#include "model/model.h"
#include "model/safetensors.h"

typedef struct imp_model_writer {
    imp_safetensors_writer file;
    imp_safetensors_item *items;
    bool begun;
    bool (*stop)(
        void); /* set after begin; true: put ends with IMP_ERR_FILE; NULL: never */
} imp_model_writer;

/* Header and metadata of m, whose tensors need no memory; m lives until commit or abort. Then
 * put the numbers of every tensor, in order and plain, and commit. Errors as imp_model_save's;
 * abort is always right once w was begun or is zero. */
imp_status imp_model_begin(imp_ctx *ctx, imp_model_writer *w, const imp_model *m,
    const char *path, const imp_save_options *options);
imp_status imp_model_put(imp_model_writer *w, const float *x, size_t n);
imp_status imp_model_commit(imp_model_writer *w);
void imp_model_abort(imp_model_writer *w);

/* load.c: a model file to another, without ever holding a tensor whole. features: without the
 * classifier, of a VGG alone. change may say what else the network wants to see, and sees all
 * that is known of it. stop: as the writer's. Errors as imp_model_load's and imp_model_save's,
 * and change's. */
typedef imp_status (*imp_model_change)(void *user, imp_model *m);
imp_status imp_model_copy(imp_ctx *ctx, const char *path, const char *out,
    bool features, const imp_save_options *options, bool (*stop)(void),
    imp_model_change change, void *user);

#endif
