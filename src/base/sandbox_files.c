/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock (landlock(7)). What the kernel's headers here may be too old to know is spelled out. */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sandbox_rules.h"

/* <linux/landlock.h> of Linux 6.12. */
struct ruleset {
    uint64_t files;
    uint64_t network;
    uint64_t scoped;
};
#define FILE_REFER      (UINT64_C(1) << 13)
#define FILE_TRUNCATE   (UINT64_C(1) << 14)
#define FILE_IOCTL_DEV  (UINT64_C(1) << 15)
#define NETWORK_ALL     UINT64_C(3) /* bind, connect: TCP */
#define SCOPE_ALL       UINT64_C(3) /* abstract sockets and signals of others */

/* Which version of the interface knows what. */
static uint64_t file_rights(long version)
{
    uint64_t rights = FILE_REFER - 1;
    if (version >= 2)
        rights |= FILE_REFER;
    if (version >= 3)
        rights |= FILE_TRUNCATE;
    if (version >= 5)
        rights |= FILE_IOCTL_DEV;
    return rights;
}

/* Writing a generation aside, linking it, moving it in place, and taking it away. */
#define DIRECTORY_RIGHTS                                                     \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |          \
     LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |          \
     LANDLOCK_ACCESS_FS_MAKE_REG | FILE_TRUNCATE)

/* Of foreign code that has files of its own, somewhere. */
#define NEVER_ALLOWED \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)

static struct ruleset ruleset_of(const struct sandbox_options *options, long version)
{
    struct ruleset ruleset = {.files = file_rights(version)};
    if (options->any_files)
        ruleset.files &= NEVER_ALLOWED;
    if (version >= 4 && !options->network)
        ruleset.network = NETWORK_ALL;
    if (version >= 6)
        ruleset.scoped = SCOPE_ALL;
    return ruleset;
}

static size_t ruleset_size(long version)
{
    return version >= 6 ? sizeof(struct ruleset)
                        : version >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
}

static bool allow_directory(int rules, const char *directory, uint64_t rights)
{
    struct landlock_path_beneath_attr beneath = {.allowed_access = rights};
    beneath.parent_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (beneath.parent_fd < 0)
        return false;
    long result = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
    int reason = errno;
    (void)close(beneath.parent_fd);
    errno = reason;
    return result == 0;
}

enum status sandbox_restrict_files(const struct sandbox_options *options, struct error *error)
{
    long version =
        syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 0 && (errno == ENOSYS || errno == EOPNOTSUPP))
        return STATUS_OK; /* not in this kernel, or not switched on: the filter of calls remains */
    if (version <= 0)
        return error_set_errno(error, STATUS_IO, errno,
                               "a process of kmipd cannot restrict itself (Landlock)");
    struct ruleset ruleset = ruleset_of(options, version);
    int rules = (int)syscall(SYS_landlock_create_ruleset, &ruleset, ruleset_size(version), 0);
    bool good = rules >= 0;
    if (good && !options->any_files && options->directory != NULL)
        good = allow_directory(rules, options->directory, DIRECTORY_RIGHTS & ruleset.files);
    good = good && syscall(SYS_landlock_restrict_self, rules, 0) == 0;
    int reason = errno;
    if (rules >= 0)
        (void)close(rules);
    return good ? STATUS_OK
                : error_set_errno(error, STATUS_IO, reason,
                                  "a process of kmipd cannot restrict itself (Landlock)");
}
