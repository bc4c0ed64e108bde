/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/state_keyholder.h"

static const char *const names[STATE_FILE_COUNT] = {
#define STATE_FILE(code, path) path,
    STATE_FILES
#undef STATE_FILE
};

/* What must be there once a first start came to its end: without these, nothing is made anew, for
 * that would hide a loss. */
static const enum state_file required[] = {STATE_ROOT_KEYS, STATE_STORE};

static const char *advice(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return "; run kmipd as the user that owns it, or name another directory with --state";
    case EROFS:
        return "; the file system is mounted read-only: mount it writable, or name another "
               "directory with --state";
    case ENOSPC:
    case EDQUOT:
        return "; make room there, or name another directory with --state";
    case ENOENT:
        return "; make the directory that it is to be in first";
    case ENOTDIR:
        return "; name a directory with --state";
    default:
        return "";
    }
}

static enum status failed(struct error *error, const char *what, const char *path)
{
    int saved = errno;
    return error_set(error, STATUS_IO, "cannot %s %.200s: %s%s", what, path,
                     strerrordesc_np(saved), advice(saved));
}

static enum status make_directory(const char *path, char ret_absolute[static PATH_MAX],
                                  struct error *error)
{
    if (mkdir(path, S_IRWXU) != 0 && errno != EEXIST)
        return failed(error, "make the state directory", path);
    if (realpath(path, ret_absolute) == NULL)
        return failed(error, "find the state directory", path);
    struct stat status;
    if (stat(ret_absolute, &status) != 0)
        return failed(error, "look at the state directory", path);
    if (!S_ISDIR(status.st_mode)) {
        errno = ENOTDIR;
        return failed(error, "use as state directory", path);
    }
    if (status.st_uid != geteuid())
        return error_set(error, STATUS_IO,
                         "the state directory %.200s belongs to user %u, and this is user %u: run "
                         "kmipd as its owner, or change the owner with chown -R",
                         ret_absolute, status.st_uid, geteuid());
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return error_set(error, STATUS_IO,
                         "others may look into the state directory %.200s: chmod 700 it",
                         ret_absolute);
    return STATUS_OK;
}

static enum status fill_paths(struct state *state, const char *directory, struct error *error)
{
    for (int i = 0; i < STATE_FILE_COUNT; i++) {
        int length = snprintf(state->paths[i], PATH_MAX, "%s/%s", directory, names[i]);
        if (length < 0 || length >= PATH_MAX)
            return error_set(error, STATUS_INVALID_ARGUMENT,
                             "the path of the state directory is too long: %.100s...", directory);
    }
    memcpy(state->directory, directory, strlen(directory) + 1);
    return STATUS_OK;
}

static enum status locked_by_other(const struct state *state, int descriptor, struct error *error)
{
    char holder[16] = "";
    ssize_t size = pread(descriptor, holder, sizeof(holder) - 1, 0);
    holder[size > 0 ? size : 0] = '\0';
    return error_set(error, STATUS_BUSY,
                     "another kmipd%s%s%s serves from %.200s: stop it first, or give this one a "
                     "state directory of its own with --state",
                     holder[0] != '\0' ? " (process " : "", holder, holder[0] != '\0' ? ")" : "",
                     state->directory);
}

/* The lock is the kernel's and ends with the process; the number inside is for people. */
static enum status take_lock(struct state *state, struct error *error)
{
    const char *path = state_path(state, STATE_LOCK);
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (descriptor < 0)
        return failed(error, "write", path);
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        enum status status = errno == EWOULDBLOCK ? locked_by_other(state, descriptor, error)
                                                  : failed(error, "lock", path);
        (void)close(descriptor);
        return status;
    }
    state->lock = descriptor;
    if (ftruncate(descriptor, 0) != 0 || dprintf(descriptor, "%d", getpid()) < 0)
        return failed(error, "write", path);
    return STATUS_OK;
}

static enum status check_required(const struct state *state, struct error *error)
{
    for (size_t i = 0; i < ARRAY_COUNT(required); i++)
        if (!file_exists(state_path(state, required[i])))
            return error_set(error, STATUS_NOT_FOUND,
                             "%.300s is missing, and is not made a second time: put it back from a "
                             "backup of this directory, or begin anew in another one with --state",
                             state_path(state, required[i]));
    return STATUS_OK;
}

static enum status read_version(struct state *state, long *ret_version, struct error *error)
{
    const char *path = state_path(state, STATE_VERSION);
    struct buffer content;
    buffer_init(&content, 64);
    enum status status = file_read(path, FILE_PUBLIC, &content, error);
    if (status == STATUS_NOT_FOUND) {
        buffer_free(&content);
        return STATUS_OK;
    }
    char text[65] = "";
    if (content.size > 0)
        memcpy(text, content.data, content.size);
    buffer_free(&content);
    if (status != STATUS_OK)
        return status;
    long version = strtol(text, NULL, 10);
    if (version < 1)
        return error_set(error, STATUS_IO, "%.300s is damaged: it should be the number %d", path,
                         STATE_LAYOUT);
    if (version > STATE_LAYOUT)
        return error_set(error, STATUS_STORE_NEWER,
                         "%.200s was made by a newer kmipd (layout %ld, this one knows %d): install "
                         "that version or a newer one",
                         state->directory, version, STATE_LAYOUT);
    state->complete = true;
    *ret_version = version;
    return STATUS_OK;
}

/* A first start that did not come to its end may be one of a former layout. */
static enum status settle(struct state *state, const struct state_options *options,
                          struct error *error)
{
    long version = 0;
    enum status status = read_version(state, &version, error);
    if (status == STATUS_OK)
        status = state_keyholder_prepare(state, options, error);
    if (status == STATUS_OK && version < STATE_LAYOUT) {
        status = state_keyholder_move(state, options, error);
        if (status == STATUS_OK)
            status = state_keyholder_prepare(state, options, error);
    }
    if (status == STATUS_OK && state->complete)
        status = check_required(state, error);
    return status == STATUS_OK && state->complete && version < STATE_LAYOUT
               ? state_set_complete(state, error)
               : status;
}

enum status state_open(const char *directory, const struct state_options *options,
                       struct state *ret_state, struct error *error)
{
    struct state *state = ret_state;
    char absolute[PATH_MAX];
    *state = (struct state){.lock = -1};
    enum status status = make_directory(directory, absolute, error);
    if (status == STATUS_OK)
        status = fill_paths(state, absolute, error);
    if (status == STATUS_OK)
        status = take_lock(state, error);
    if (status == STATUS_OK)
        status = settle(state, options, error);
    if (status != STATUS_OK)
        state_close(state);
    return status;
}

enum status state_set_complete(struct state *state, struct error *error)
{
    const char *path = state_path(state, STATE_VERSION);
    char text[16];
    int lock;
    int length = snprintf(text, sizeof(text), "%d\n", STATE_LAYOUT);
    enum status status = file_lock(path, &lock, error);
    if (status != STATUS_OK)
        return status;
    status = file_replace(lock, path, bytes_of(text, (size_t)length), S_IRUSR | S_IWUSR, 0, error);
    file_unlock(lock);
    state->complete = status == STATUS_OK;
    return status;
}

void state_close(struct state *state)
{
    if (state->lock >= 0)
        (void)close(state->lock);
    state->lock = -1;
}
