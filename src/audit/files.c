/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PREFIX "audit-"
#define SUFFIX ".jsonl"

#define LOCK_NAME "audit.lock"

struct list {
    uint64_t *first;
    size_t count;
    size_t capacity;
};

void files_name(uint64_t first, char ret_name[static FILES_NAME_SIZE])
{
    (void)snprintf(ret_name, FILES_NAME_SIZE, PREFIX "%020" PRIu64 SUFFIX, first);
}

/* The inverse of files_name(); 0 for any other name. */
static uint64_t first_of_name(const char *name)
{
    if (strncmp(name, PREFIX, sizeof(PREFIX) - 1) != 0)
        return 0;
    uint64_t first = strtoull(name + sizeof(PREFIX) - 1, NULL, 10);
    char proper[FILES_NAME_SIZE];
    files_name(first, proper);
    return strcmp(name, proper) == 0 ? first : 0;
}

static bool add(struct list *list, uint64_t first)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        uint64_t *grown = reallocarray(list->first, capacity, sizeof(*grown));
        if (grown == NULL)
            return false;
        list->first = grown;
        list->capacity = capacity;
    }
    list->first[list->count++] = first;
    return true;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

static enum status read_names(DIR *stream, struct list *list, struct error *error)
{
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (entry == NULL && errno != 0)
            return error_set_errno(error, STATUS_IO, errno, "cannot list the audit log");
        if (entry == NULL)
            return STATUS_OK;
        uint64_t first = first_of_name(entry->d_name);
        if (first != 0 && !add(list, first))
            return error_set(error, STATUS_NO_MEMORY, "out of memory listing the audit log");
    }
}

enum status files_list(int directory, uint64_t **ret_first, size_t *ret_count, struct error *error)
{
    /* Not a duplicate: that would share its position with `directory`. */
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (stream == NULL) {
        int why = errno;
        if (fd >= 0)
            (void)close(fd);
        return error_set_errno(error, STATUS_IO, why, "cannot list the audit log");
    }
    struct list list = {0};
    enum status status = read_names(stream, &list, error);
    (void)closedir(stream);
    if (status != STATUS_OK) {
        free(list.first);
        return status;
    }
    if (list.count > 0)
        qsort(list.first, list.count, sizeof(*list.first), compare);
    *ret_first = list.first;
    *ret_count = list.count;
    return STATUS_OK;
}

int files_open(int directory, uint64_t first, int flags)
{
    char name[FILES_NAME_SIZE];
    files_name(first, name);
    return openat(directory, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int files_open_directory(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int lock_request(int file, int command, struct flock *lock)
{
    *lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(file, command, lock);
}

int files_lock(int directory)
{
    struct flock lock;
    int file = openat(directory, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0 || lock_request(file, F_OFD_SETLK, &lock) == 0)
        return file;
    int why = errno == EACCES ? EAGAIN : errno; /* either (fcntl(2)) */
    (void)close(file);
    errno = why;
    return -1;
}

bool files_is_locked(int directory)
{
    struct flock lock;
    int file = openat(directory, LOCK_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return false;
    bool locked = lock_request(file, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    (void)close(file);
    return locked;
}

void files_prune(int directory, size_t keep)
{
    uint64_t *first;
    size_t count;
    if (files_list(directory, &first, &count, NULL) != STATUS_OK)
        return;
    for (size_t i = 0; i + keep < count; i++) {
        char name[FILES_NAME_SIZE];
        files_name(first[i], name);
        if (unlinkat(directory, name, 0) != 0)
            break; /* a gap in the middle would look like tampering */
    }
    free(first);
}
