/* SPDX-License-Identifier: MIT
 *
 * names.c: what others call the parameters of the same networks. torchvision and timm number
 * VGG's features through: a convolution, its ReLU and a pool count one each.
 */
#include "model/names.h"

#include <stdio.h>
#include <string.h>

imp_naming imp_naming_of(const imp_safetensors *st) {
    if (imp_safetensors_find(st, "features.0.weight"))
        return imp_safetensors_find(st, "pre_logits.fc1.weight") ||
                       imp_safetensors_find(st, "head.fc.weight")
                   ? IMP_NAMES_TIMM
                   : IMP_NAMES_TORCHVISION;
    if (imp_safetensors_find(st, "conv1_1.weight") ||
        imp_safetensors_find(st, "conv1.weight") ||
        imp_safetensors_find(st, "fc1.weight"))
        return IMP_NAMES_OWN;
    return IMP_NAMINGS;
}

/* Number of layer i among torchvision's features, or among the fully connected ones. */
static size_t number_of(const imp_model *m, size_t i) {
    size_t n = 0;
    for (size_t k = 0; k < i; k++) {
        if (m->layers[k].kind == IMP_LAYER_CONV) n += 2;
        if (m->layers[k].kind == IMP_LAYER_POOL) n += 1;
        if (m->layers[k].kind == IMP_LAYER_FLATTEN) n = 0;
        if (m->layers[k].kind == IMP_LAYER_LINEAR) n += 1;
    }
    return n;
}

void imp_name_in_file(const imp_model *m, size_t i, imp_naming naming, const char *what,
    char name[IMP_NAME_MAX]) {
    static const char *const timm_head[] = {
        "pre_logits.fc1", "pre_logits.fc2", "head.fc"};
    const imp_layer *l = &m->layers[i];
    size_t n = number_of(m, i);
    if (naming == IMP_NAMES_OWN)
        snprintf(name, IMP_NAME_MAX, "%s.%s", l->name, what);
    else if (l->kind == IMP_LAYER_CONV)
        snprintf(name, IMP_NAME_MAX, "features.%zu.%s", n, what);
    else if (naming == IMP_NAMES_TIMM)
        snprintf(name, IMP_NAME_MAX, "%s.%s", n < 3 ? timm_head[n] : "", what);
    else /* a linear layer, its ReLU and its dropout */
        snprintf(name, IMP_NAME_MAX, "classifier.%zu.%s", 3 * n, what);
}

const char *imp_architecture_of(const imp_safetensors *st, imp_naming naming) {
    if (naming !=
        IMP_NAMES_OWN) /* features.16 is conv3_4 of VGG-19, a pool of VGG-16 */
        return imp_safetensors_find(st, "features.16.weight") ? "vgg19" : "vgg16";
    if (imp_safetensors_find(st, "conv1_1.weight"))
        return imp_safetensors_find(st, "conv3_4.weight") ? "vgg19" : "vgg16";
    if (imp_safetensors_find(st, "conv1.weight")) return "lenet";
    return imp_safetensors_find(st, "fc1.weight") ? "mlp" : NULL;
}
