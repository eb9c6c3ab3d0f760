/* SPDX-License-Identifier: MIT
 *
 * output.c: resize, then a file or standard output.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box.h"
#include "impasto/style.h"
#include "report.h"

static bool is_standard(const app_output *o) {
    return strcmp(o->path, APP_STANDARD) == 0;
}

static const char *name_in_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* False: the folder is not there. */
static bool look_at_folder(const char *path, struct stat *out) {
    char folder[PATH_MAX];
    size_t n = (size_t)(name_in_folder(path) - path);
    if (n >= sizeof folder) return false;
    snprintf(folder, sizeof folder, "%.*s", (int)n, path);
    return stat(n ? folder : ".", out) == 0;
}

bool app_output_same(const char *a, const char *b) {
    struct stat in_a, in_b;
    if (strcmp(name_in_folder(a), name_in_folder(b)) != 0) return false;
    return look_at_folder(a, &in_a) && look_at_folder(b, &in_b) &&
           in_a.st_dev == in_b.st_dev && in_a.st_ino == in_b.st_ino;
}

const char *app_output_name(const app_output *o) {
    return is_standard(o) ? "standard output" : o->path;
}

int app_output_take_standard(int *descriptor) {
    fflush(stdout);
    int flags = fcntl(STDOUT_FILENO, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) {
        app_error("standard output: expected open for writing, found closed");
        return IMP_ERR_FILE;
    }
    *descriptor = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (*descriptor >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0) return 0;
    app_error("standard output: %s", strerror(errno));
    return IMP_ERR_FILE;
}

int app_output_check(const app_output *o, size_t width, size_t height) {
    app_box_fill(o->box, &width, &height);
    return app_image_check_size(o->path ? o->path : APP_STANDARD, width, height);
}

size_t app_output_bytes(const app_output *o, size_t width, size_t height) {
    if (o->box.width == 0) return 0;
    size_t to_width = width, to_height = height;
    app_box_fill(o->box, &to_width, &to_height);
    size_t rows = to_width * height, all = to_width * to_height;
    return 3 * sizeof(float) * (rows + all) + 3 * all * (o->how.depth == 16 ? 2 : 1);
}

int app_output_fit(imp_ctx *ctx, const app_output *o, imp_picture *picture) {
    size_t width = picture->width, height = picture->height;
    app_box_fill(o->box, &width, &height);
    if (width == picture->width && height == picture->height) return 0;
    size_t count = 3 * picture->width * picture->height;
    for (size_t i = 0; i < count; i++) /* as it would be seen */
        picture->planes[i] = fminf(fmaxf(picture->planes[i], 0.0f), 255.0f);
    imp_status status = imp_style_fit(ctx, picture, width, height); /* Lanczos */
    return status == IMP_OK ? 0 : app_fail(ctx, status);
}

int app_output_write(imp_ctx *ctx, app_output *o, const imp_picture *picture) {
    if (is_standard(o)) return app_image_send(picture, o->descriptor, &o->how);
    int status = app_image_save(ctx, picture, o->path, o->overwrite, &o->how);
    if (!status) o->overwrite = true;
    return status;
}
