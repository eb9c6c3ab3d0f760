/* SPDX-License-Identifier: MIT
 *
 * classes.c: a folder of folders of pictures: each is a class, its name the label.
 */
#include "classes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "photos.h"
#include "report.h"
#include "signals.h"

static int no_memory(void) {
    app_error("no memory for the list of classes");
    return IMP_ERR_LIMIT;
}

/* --- which there are --- */

/* The pictures of class i; their paths become the list's own. */
static int add_class(app_classes *c, const char *folder, size_t i) {
    char *path;
    app_batch b = {0};
    if (asprintf(&path, "%s/%s", folder, c->folder.names[i]) < 0) return no_memory();
    int status = app_batch_list(&b, path, NULL);
    size_t all = c->n_files + b.n;
    if (!status) {
        char **files = realloc(c->files, all * sizeof *files);
        if (files) c->files = files;
        size_t *classes = realloc(c->class_of, all * sizeof *classes);
        if (classes) c->class_of = classes;
        if (!files || !classes) status = no_memory();
    }
    for (size_t k = 0; !status && k < b.n; k++) {
        c->class_of[c->n_files] = i;
        c->files[c->n_files++] = b.contents[k];
        b.contents[k] = NULL;
    }
    app_batch_free(&b);
    free(path);
    return status;
}

int app_classes_list(app_classes *c, const char *folder) {
    *c = (app_classes){0};
    int status = app_folder_list(&c->folder, folder, true);
    c->n = c->folder.n;
    c->labels = (const char *const *)c->folder.names;
    if (!status && c->n == 0) {
        app_error("%s: expected a folder of pictures for each class, found no folder",
            folder);
        status = IMP_ERR_DATA;
    }
    for (size_t i = 0; !status && i < c->n; i++) status = add_class(c, folder, i);
    return status;
}

size_t app_classes_count(const app_classes *c, size_t i) {
    size_t n = 0;
    for (size_t k = 0; k < c->n_files; k++) n += c->class_of[k] == i;
    return n;
}

int app_classes_match(app_classes *c, const imp_model *model, const char *folder) {
    size_t classes = imp_model_describe(model).classes;
    for (size_t i = 0, file = 0; i < c->n; i++) {
        size_t id = 0;
        while (id < classes && strcmp(imp_model_label(model, id), c->labels[i]) != 0)
            id++;
        if (id == classes) {
            app_error("%s/%s: expected the label of one of the model's %zu classes "
                      "(%s, ...) as a folder's name, found none of them",
                folder, c->labels[i], classes, imp_model_label(model, 0));
            return IMP_ERR_DATA;
        }
        for (; file < c->n_files && c->class_of[file] == i; file++)
            c->class_of[file] = id;
    }
    return 0;
}

/* --- what they show --- */

typedef struct reader {
    imp_ctx *ctx;
    const app_classes *classes;
    imp_photo photo; /* the last one, */
    size_t number;   /* and which it is */
    int status;
} reader;

static void forget(reader *r) {
    free((void *)(uintptr_t)r->photo.rgb);
    r->photo = (imp_photo){0};
}

static bool read_file(void *user, size_t i, imp_photo *out) {
    reader *r = user;
    size_t n = r->classes->n_files;
    forget(r);
    r->number = i;
    r->status = app_interrupted()
                    ? APP_INTERRUPTED
                    : app_photo_load(r->ctx, r->classes->files[i], &r->photo);
    if (!r->status && app_progress_wanted(i + 1 == n))
        app_progress("%zu/%zu pictures", i + 1, n);
    *out = r->photo;
    return r->status == 0;
}

int app_classes_load(
    imp_ctx *ctx, const app_classes *c, const imp_model *model, imp_dataset **out) {
    reader r = {.ctx = ctx, .classes = c};
    imp_photos photos = {c->n_files, read_file, &r};
    imp_status s = imp_dataset_from_photos(ctx, out, model, &photos, c->class_of);
    forget(&r);
    if (r.status) return r.status; /* that is said */
    if (s != IMP_ERR_DATA) return s == IMP_OK ? 0 : app_fail(ctx, s);
    app_error("%s: %s", c->files[r.number], imp_ctx_error(ctx));
    return IMP_ERR_DATA;
}

void app_classes_free(app_classes *c) {
    app_folder_free(&c->folder);
    for (size_t i = 0; i < c->n_files; i++) free(c->files[i]);
    free(c->files);
    free(c->class_of);
    *c = (app_classes){0};
}
