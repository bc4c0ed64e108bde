/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/state_keyholder.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* What may be in it; root-keys.sealed with what replacing it leaves (file_replace()). */
static const char *const files[] = {"root-keys.sealed", "root-keys.sealed.previous",
                                    "root-keys.sealed.new", "root-keys.sealed.previous.new",
                                    "root-keys.key", "root-keys.tpm"};

static enum status failed(struct error *error, const char *what, const char *path)
{
    return error_set_errno(error, STATUS_IO, errno, "cannot %s %.300s", what, path);
}

/* ---- The former layout ---- */

static bool is_same_file(int directory, const char *name, const char *path)
{
    struct stat here;
    struct stat there;
    return path[0] != '\0' && fstatat(directory, name, &here, 0) == 0 && stat(path, &there) == 0 &&
           here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static enum status move_file(const struct state *state, const struct state_options *options,
                             int from, int to, const char *name, struct error *error)
{
    if (is_same_file(from, name, options->sealing_file))
        return STATUS_OK;
    if (faccessat(from, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
        return STATUS_OK;
    /* Nobody else moves anything here: the state directory is locked. */
    if (faccessat(to, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return error_set(error, STATUS_EXISTS,
                         "%s is both in %.200s and in %.200s: move the one that is not to be used "
                         "somewhere else",
                         name, state->directory, state_path(state, STATE_KEYHOLDER));
    return renameat(from, name, to, name) == 0
               ? STATUS_OK
               : error_set_errno(error, STATUS_IO, errno, "cannot move %s from %.200s to %.200s",
                                 name, state->directory, state_path(state, STATE_KEYHOLDER));
}

static int open_directory(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

enum status state_keyholder_move(const struct state *state, const struct state_options *options,
                                 struct error *error)
{
    enum status status = STATUS_OK;
    int from = open_directory(state->directory);
    int to = open_directory(state_path(state, STATE_KEYHOLDER));
    if (from < 0 || to < 0)
        status = failed(error, "open", state_path(state, STATE_KEYHOLDER));
    for (size_t i = 0; i < ARRAY_COUNT(files) && status == STATUS_OK; i++)
        status = move_file(state, options, from, to, files[i], error);
    /* The new names first: what is in neither place after a power cut would be lost. */
    if (status == STATUS_OK && (fsync(to) != 0 || fsync(from) != 0))
        status = failed(error, "write", state->directory);
    if (from >= 0)
        (void)close(from);
    if (to >= 0)
        (void)close(to);
    return status;
}

/* ---- Its user ---- */

struct owner {
    uid_t user;
    gid_t group;
};

/* Only root starts the keyholder as somebody else. */
static enum status find_owner(const struct state_options *options, struct owner *ret_owner,
                              struct error *error)
{
    *ret_owner = (struct owner){geteuid(), getegid()};
    if (geteuid() != 0 || options->keyholder_user[0] == '\0')
        return STATUS_OK;
    errno = 0;
    const struct passwd *user = getpwnam(options->keyholder_user);
    if (user == NULL)
        return error_set(error, STATUS_NOT_FOUND,
                         "there is no user '%.32s' for the keyholder process: make it, or leave "
                         "[keys] keyholder-user empty",
                         options->keyholder_user);
    *ret_owner = (struct owner){user->pw_uid, user->pw_gid};
    return STATUS_OK;
}

/* A former owner may have put something else there than a file of its own: that is left alone, and
 * found to be the wrong one's by who opens it. */
static bool give_file(int directory, const char *name, const struct owner *owner)
{
    struct stat status;
    int file = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return errno == ENOENT || errno == ELOOP;
    bool good = fstat(file, &status) == 0;
    if (good && status.st_uid != owner->user && S_ISREG(status.st_mode) && status.st_nlink == 1)
        good = fchown(file, owner->user, owner->group) == 0;
    int reason = errno;
    (void)close(file);
    errno = reason;
    return good;
}

/* The directory last: whoever finds it given away finds the files so. */
static enum status give_all(int directory, const char *path, const struct owner *owner,
                            struct error *error)
{
    struct stat status;
    for (size_t i = 0; i < ARRAY_COUNT(files); i++)
        if (!give_file(directory, files[i], owner))
            return failed(error, "give the keyholder process's user the files in", path);
    if (fstat(directory, &status) != 0)
        return failed(error, "look at", path);
    if (status.st_uid != owner->user && fchown(directory, owner->user, owner->group) != 0)
        return failed(error, "give the keyholder process's user the directory", path);
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return error_set(error, STATUS_IO,
                         "others may look into the directory %.300s: chmod 700 it", path);
    return STATUS_OK;
}

enum status state_keyholder_prepare(const struct state *state, const struct state_options *options,
                                    struct error *error)
{
    const char *path = state_path(state, STATE_KEYHOLDER);
    struct owner owner;
    enum status status = find_owner(options, &owner, error);
    if (status != STATUS_OK)
        return status;
    if (mkdir(path, S_IRWXU) != 0 && errno != EEXIST)
        return failed(error, "make the directory", path);
    int directory = open_directory(path);
    if (directory < 0)
        return failed(error, "open the directory", path);
    status = give_all(directory, path, &owner, error);
    (void)close(directory);
    return status;
}
