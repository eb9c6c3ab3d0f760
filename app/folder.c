/* SPDX-License-Identifier: MIT
 *
 * folder.c: what a folder holds.
 */
#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "impasto/impasto.h"
#include "report.h"

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add(app_folder *f, const char *name) {
    char **grown = realloc(f->names, (f->n + 1) * sizeof *grown);
    if (grown) f->names = grown;
    if (!grown || !(f->names[f->n] = strdup(name))) return false;
    f->n++;
    return true;
}

int app_folder_list(app_folder *f, const char *path, bool folders) {
    *f = (app_folder){0};
    DIR *dir = opendir(path);
    bool memory = true;
    if (!dir) {
        app_error("%s: %s", path, strerror(errno));
        return IMP_ERR_DATA;
    }
    for (struct dirent *e; memory && (errno = 0, e = readdir(dir)) != NULL;) {
        struct stat info;
        bool folder =
            fstatat(dirfd(dir), e->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode);
        if (e->d_name[0] != '.' && folder == folders) memory = add(f, e->d_name);
    }
    int error = memory ? errno : 0;
    closedir(dir);
    if (error) {
        app_error("%s: %s", path, strerror(error));
        return IMP_ERR_DATA;
    }
    if (!memory) {
        app_error("%s: no memory for the names in it", path);
        return IMP_ERR_LIMIT;
    }
    if (f->n) qsort(f->names, f->n, sizeof *f->names, compare);
    return 0;
}

void app_folder_free(app_folder *f) {
    for (size_t i = 0; i < f->n; i++) free(f->names[i]);
    free(f->names);
    *f = (app_folder){0};
}
