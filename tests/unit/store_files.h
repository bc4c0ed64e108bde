/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of its own for each test that needs files: in memory where there is room, because
 * the tests commit thousands of times, and what a sync costs is not what they test.
 */
#ifndef KMIPD_UNIT_STORE_FILES_H
#define KMIPD_UNIT_STORE_FILES_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FILES_ROOM (1024ul * 1024 * 1024)

static inline const char *files_base(void)
{
    struct statvfs memory;
    if (getenv("TMPDIR") != NULL)
        return getenv("TMPDIR");
    bool room = statvfs("/dev/shm", &memory) == 0 && access("/dev/shm", W_OK) == 0 &&
                memory.f_bavail * memory.f_frsize >= FILES_ROOM;
    return room ? "/dev/shm" : "/tmp";
}

static inline void files_make_directory(char *ret_path, size_t size)
{
    (void)snprintf(ret_path, size, "%s/kmipd-store-XXXXXX", files_base());
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
