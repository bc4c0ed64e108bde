/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of its own for each test that needs files. */
#ifndef KMIPD_UNIT_STORE_FILES_H
#define KMIPD_UNIT_STORE_FILES_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void files_make_directory(char *ret_path, size_t size)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(ret_path, size, "%s/kmipd-store-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(ret_path) == NULL) {
        perror(ret_path);
        abort();
    }
}

/* With the files in it; it has no directories. */
static inline void files_remove_directory(const char *path)
{
    DIR *directory = opendir(path);
    for (struct dirent *entry = NULL; directory != NULL && (entry = readdir(directory)) != NULL;)
        (void)unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory != NULL)
        (void)closedir(directory);
    (void)rmdir(path);
}

#endif
