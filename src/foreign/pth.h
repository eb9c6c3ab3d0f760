/* SPDX-License-Identifier: MIT
 *
 * pth.h: what PyTorch's two containers share: a state dict of tensors out of a pickle.
 */
#ifndef IMP_FOREIGN_PTH_H
#define IMP_FOREIGN_PTH_H

#include "foreign/pickle.h"

#define IMP_PTH_OUTSIDE                                                                \
    SIZE_MAX /* entry of a storage whose numbers are in the file as is */

/* A storage, by its persistent id. */
typedef struct imp_pth_storage {
    const imp_pickle_global *type;
    const imp_pickle_value *key; /* a TEXT */
    size_t n, bytes;             /* elements */
} imp_pth_storage;

/* A tensor beside f->tensors. */
typedef struct imp_pth_tensor {
    size_t entry; /* of the zip that has the storage, packed; or IMP_PTH_OUTSIDE */
    size_t start; /* of the first number: in the entry, in the file */
    size_t stride[IMP_SAFETENSORS_DIMS]; /* in elements; for imp_pth_gather */
} imp_pth_tensor;

typedef struct imp_pth {
    imp_pth_tensor *tensors;
    size_t room;
    /* Where does that storage begin? *start: 0 in an entry, or in the file. All of its bytes
     * are there. Errors: IMP_ERR_MODEL. */
    imp_status (*place)(imp_foreign *f, void *user, const imp_pth_storage *storage,
        size_t *entry, size_t *start);
    void *user;
} imp_pth;

/* What a persistent id says. Errors: IMP_ERR_MODEL. */
imp_status imp_pth_storage_of(imp_foreign *f, const imp_pickle *p,
    const imp_pickle_value *id, imp_pth_storage *out);
/* imp_foreign_add all tensors of floating point in a state dict, which is the pickle's value or
 * is in it as "state_dict", "model_state_dict" or "model". */
imp_status imp_pth_add_all(imp_foreign *f, imp_pth *pth, const imp_pickle *p);
/* Send the numbers of tensor i, outside and not inside: those that lie in another order. */
imp_status imp_pth_gather(imp_foreign *f, const imp_pth *pth, size_t i);
void imp_pth_free(imp_pth *pth);

#endif
