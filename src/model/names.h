/* SPDX-License-Identifier: MIT
 *
 * names.h: what others call the parameters of the same networks.
 */
#ifndef IMP_NAMES_H
#define IMP_NAMES_H

#include "model/model.h"
#include "model/safetensors.h"

typedef enum imp_naming {
    IMP_NAMES_OWN,         /* conv1_1.weight, fc6.weight */
    IMP_NAMES_TORCHVISION, /* features.0.weight, classifier.0.weight */
    IMP_NAMES_TIMM, /* features.0.weight, pre_logits.fc1.weight, head.fc.weight */
    IMP_NAMINGS
} imp_naming;

#define IMP_NAME_MAX 64

/* Which naming a file follows; IMP_NAMINGS: none known. */
imp_naming imp_naming_of(const imp_safetensors *st);
/* The file's name for `what` ("weight", "bias") of layer i of m. */
void imp_name_in_file(const imp_model *m, size_t i, imp_naming naming, const char *what,
    char name[IMP_NAME_MAX]);
/* The architecture that names and shapes tell of; NULL: none known. */
const char *imp_architecture_of(const imp_safetensors *st, imp_naming naming);

#endif
