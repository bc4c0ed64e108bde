/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Reading ---- */

static enum status check_privacy(const char *path, const struct stat *stat,
                                 enum file_privacy privacy, struct error *error)
{
    static const struct {
        mode_t forbidden;
        bool owned;
        const char *remedy;
    } rules[] = {
        [FILE_PUBLIC] = {0, false, ""},
        [FILE_PRIVATE] = {S_IRWXG | S_IRWXO, true, "chmod 600"},
        [FILE_CREDENTIAL] = {S_IWGRP | S_IXGRP | S_IRWXO, true, "chmod 400"},
    };
    if (!S_ISREG(stat->st_mode))
        return error_set(error, STATUS_IO, "%s is not a regular file", path);
    bool root_may_own = privacy == FILE_CREDENTIAL;
    if (rules[privacy].owned && stat->st_uid != geteuid() && !(root_may_own && stat->st_uid == 0))
        return error_set(error, STATUS_IO, "%s belongs to user %u, but must belong to user %u",
                         path, stat->st_uid, geteuid());
    if ((stat->st_mode & rules[privacy].forbidden) != 0)
        return error_set(error, STATUS_IO,
                         "the permissions of %s are too wide (%04o): run %s on it", path,
                         stat->st_mode & 07777, rules[privacy].remedy);
    return STATUS_OK;
}

static enum status open_checked(const char *path, enum file_privacy privacy, size_t maximum,
                                int *ret_file, size_t *ret_size, struct error *error)
{
    /* Not to block on a FIFO that stands where the file should be. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return error_set_errno(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, errno,
                               "cannot open %s", path);
    struct stat stat;
    enum status status = STATUS_OK;
    if (fstat(file, &stat) != 0)
        status = error_set_errno(error, STATUS_IO, errno, "cannot examine %s", path);
    else
        status = check_privacy(path, &stat, privacy, error);
    if (status == STATUS_OK && (uint64_t)stat.st_size > maximum)
        status = error_set(error, STATUS_TOO_LARGE, "%s is larger than %zu bytes", path, maximum);
    if (status != STATUS_OK) {
        (void)close(file);
        return status;
    }
    *ret_file = file;
    *ret_size = (size_t)stat.st_size;
    return STATUS_OK;
}

static enum status read_exactly(int file, uint8_t *to, size_t size, const char *path,
                                struct error *error)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(file, to + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, STATUS_IO, errno, "cannot read %s", path);
        if (got == 0)
            return error_set(error, STATUS_IO, "%s became shorter while it was read", path);
        done += (size_t)got;
    }
    return STATUS_OK;
}

enum status file_read(const char *path, enum file_privacy privacy, struct buffer *ret_content,
                      struct error *error)
{
    int file;
    size_t size;
    enum status status = open_checked(path, privacy, ret_content->maximum, &file, &size, error);
    if (status != STATUS_OK)
        return status;
    uint8_t *to = buffer_reserve(ret_content, size > 0 ? size : 1);
    if (to == NULL)
        status = error_set(error, buffer_status(ret_content), "no memory to read %s", path);
    else
        status = read_exactly(file, to, size, path, error);
    ret_content->size = size;
    if (status != STATUS_OK)
        buffer_reset(ret_content);
    (void)close(file);
    return status;
}

enum status file_read_secret(const char *path, enum file_privacy privacy, size_t maximum,
                             struct secret *ret_content, struct error *error)
{
    int file;
    struct secret content = {0};
    enum status status = open_checked(path, privacy, maximum, &file, &content.size, error);
    if (status != STATUS_OK)
        return status;
    status = secret_allocate(&content, content.size);
    if (status != STATUS_OK)
        status = error_set(error, status, "no locked memory to read %s", path);
    else
        status = read_exactly(file, content.data, content.size, path, error);
    (void)close(file);
    if (status == STATUS_OK)
        *ret_content = secret_take(&content);
    secret_free(&content);
    return status;
}

bool file_exists(const char *path)
{
    struct stat stat;
    return lstat(path, &stat) == 0;
}

/* ---- Writing ---- */

static const char *name_in_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

enum status file_lock(const char *path, int *ret_lock, struct error *error)
{
    size_t length = (size_t)(name_in_directory(path) - path);
    char *directory = length == 0 ? strdup(".") : strndup(path, length);
    if (directory == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory to open the directory of %s", path);
    int lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (lock < 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot open the directory of %s", path);
    while (flock(lock, LOCK_EX) != 0) {
        if (errno == EINTR)
            continue;
        enum status status =
            error_set_errno(error, STATUS_IO, errno, "cannot lock the directory of %s", path);
        (void)close(lock);
        return status;
    }
    *ret_lock = lock;
    return STATUS_OK;
}

void file_unlock(int lock)
{
    (void)close(lock);
}

/* The names, relative to the locked directory, of one replacement. */
struct names {
    char *target;
    char *new;
    char *previous;
    char *previous_new;
};

static void names_free(struct names *names)
{
    free(names->target);
    free(names->new);
    free(names->previous);
    free(names->previous_new);
}

static char *joined(const char *text, const char *ending)
{
    char *whole = NULL;
    return asprintf(&whole, "%s%s", text, ending) < 0 ? NULL : whole;
}

static bool names_make(const char *path, struct names *names)
{
    const char *name = name_in_directory(path);
    *names = (struct names){joined(name, ""), joined(name, ".new"), joined(name, ".previous"),
                            joined(name, ".previous.new")};
    return names->target != NULL && names->new != NULL && names->previous != NULL &&
           names->previous_new != NULL;
}

static bool remove_stale(int directory, const char *name)
{
    return unlinkat(directory, name, 0) == 0 || errno == ENOENT;
}

static bool write_all(int file, struct bytes content)
{
    for (size_t done = 0; done < content.size;) {
        ssize_t written = write(file, content.data + done, content.size - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        done += (size_t)written;
    }
    return true;
}

/* A new synced file `name`. False with errno set. */
static bool write_aside(int directory, const char *name, struct bytes content, mode_t mode)
{
    if (!remove_stale(directory, name))
        return false;
    int file = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                      mode & (S_IRUSR | S_IWUSR));
    if (file < 0)
        return false;
    /* fchmod(): the umask must not decide. */
    bool good = write_all(file, content) && fchmod(file, mode) == 0 && fsync(file) == 0;
    int reason = errno;
    if (close(file) != 0 && good) {
        reason = errno;
        good = false;
    }
    errno = reason;
    return good;
}

/* A second name for what stands at the target, moved over the one before: no moment without. */
static bool keep_previous(int directory, const struct names *names)
{
    if (!remove_stale(directory, names->previous_new))
        return false;
    if (linkat(directory, names->target, directory, names->previous_new, 0) != 0)
        return errno == ENOENT;
    return renameat(directory, names->previous_new, directory, names->previous) == 0;
}

static bool move_in_place(int directory, const struct names *names, unsigned flags)
{
    if ((flags & FILE_MUST_BE_NEW) != 0)
        return linkat(directory, names->new, directory, names->target, 0) == 0 &&
               unlinkat(directory, names->new, 0) == 0;
    if ((flags & FILE_KEEP_PREVIOUS) != 0 && !keep_previous(directory, names))
        return false;
    return renameat(directory, names->new, directory, names->target) == 0;
}

enum status file_replace(int lock, const char *path, struct bytes content, unsigned mode,
                         unsigned flags, struct error *error)
{
    struct names names;
    enum status status = STATUS_OK;
    if (!names_make(path, &names))
        status = error_set(error, STATUS_NO_MEMORY, "no memory to write %s", path);
    else if (!write_aside(lock, names.new, content, mode))
        status = error_set_errno(error, STATUS_IO, errno, "cannot write %s.new", path);
    else if (!move_in_place(lock, &names, flags))
        status = error_set_errno(error, errno == EEXIST ? STATUS_EXISTS : STATUS_IO, errno,
                                 "cannot put %s in place", path);
    else if (fsync(lock) != 0)
        status = error_set_errno(error, STATUS_IO, errno, "cannot sync the directory of %s", path);
    if (status != STATUS_OK && names.new != NULL)
        (void)unlinkat(lock, names.new, 0);
    names_free(&names);
    return status;
}
