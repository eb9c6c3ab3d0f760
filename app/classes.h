/* SPDX-License-Identifier: MIT
 *
 * classes.h: a folder of folders of pictures: each is a class, its name the label.
 */
#ifndef APP_CLASSES_H
#define APP_CLASSES_H

#include "folder.h"
#include "impasto/train.h"

typedef struct app_classes {
    size_t n;
    const char *const *labels; /* in the order of their bytes */
    size_t n_files;            /* in the order of classes, then of names */
    char **files;
    size_t
        *class_of; /* each file's: its label's number, or the model's number for it */
    app_folder folder; /* which has the labels */
} app_classes;

/* The classes in a folder. Returns the exit status, said: 3 where it has none, or one of them has
 * no pictures. To be freed in any case. */
int app_classes_list(app_classes *c, const char *folder);
/* Pictures of the class of that number. */
size_t app_classes_count(const app_classes *c, size_t i);
/* From now on class_of is what the model calls a class of that label. Returns the exit status,
 * said: 3 for a label that the model lacks. */
int app_classes_match(app_classes *c, const imp_model *model, const char *folder);
/* Decode them all to a data set for model; one that cannot be read is an error. Returns the exit
 * status, said. */
int app_classes_load(
    imp_ctx *ctx, const app_classes *c, const imp_model *model, imp_dataset **out);
void app_classes_free(app_classes *c);

#endif
