/* SPDX-License-Identifier: MIT
 *
 * folder.h: what a folder holds.
 */
#ifndef APP_FOLDER_H
#define APP_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct app_folder {
    size_t n;
    char **names; /* in the order of their bytes */
} app_folder;

/* The names in a folder, hidden ones left out: of folders, or of all else. Returns the exit
 * status, said. To be freed in any case. */
int app_folder_list(app_folder *f, const char *path, bool folders);
void app_folder_free(app_folder *f);

#endif
