/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sandbox_rules.h"

#define NOBODY 65534

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

static enum status failed(struct error *error, const char *what)
{
    return error_set_errno(error, STATUS_IO, errno, "a process of kmipd cannot %s", what);
}

/* ---- The first step ---- */

static void ignore_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP,
                                  SIGUSR1, SIGUSR2, SIGALRM};
    for (size_t i = 0; i < ARRAY_COUNT(signals); i++)
        (void)signal(signals[i], SIG_IGN);
}

static bool close_others(int socket)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool good = null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0 &&
                close_range((unsigned)socket + 1, ~0U, 0) == 0;
    for (int other = STDERR_FILENO + 1; other < socket; other++)
        (void)close(other);
    if (null > STDERR_FILENO && null < socket)
        (void)close(null);
    return good;
}

enum status sandbox_begin(int socket, struct error *error)
{
    pid_t parent = getppid();
    ignore_signals();
    (void)umask(S_IRWXG | S_IRWXO);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return failed(error, "be made to end with its parent");
    if (getppid() != parent)
        return error_set(error, STATUS_CLOSED, "the parent of a process of kmipd has ended");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return failed(error, "give up new privileges");
    if (!close_others(socket))
        return failed(error, "close what it inherited");
    return STATUS_OK;
}

/* ---- User and capabilities ---- */

static bool become(uid_t user, gid_t group)
{
    return setresgid(group, group, group) == 0 && setresuid(user, user, user) == 0;
}

static enum status become_nobody(struct error *error)
{
    return setgroups(0, NULL) == 0 && become(NOBODY, NOBODY)
               ? STATUS_OK
               : failed(error, "become the user nobody");
}

static enum status become_named(const char *name, struct error *error)
{
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (user == NULL)
        return error_set(error, STATUS_NOT_FOUND,
                         "there is no user '%.32s': make it, or name another", name);
    return initgroups(name, user->pw_gid) == 0 && become(user->pw_uid, user->pw_gid)
               ? STATUS_OK
               : failed(error, "become another user");
}

static enum status leave_root(const char *user, struct error *error)
{
    if (user == SANDBOX_NOBODY)
        return become_nobody(error);
    return user[0] != '\0' ? become_named(user, error) : STATUS_OK;
}

static bool empty_bounding_set(void)
{
    for (unsigned long capability = 0; capability < 64; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EINVAL)
            return false;
    return true;
}

/* A service manager's filter may refuse capset(2) to who has nothing to give up. */
static bool drop_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
    static const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capget, &header, held) == 0 && memcmp(held, none, sizeof(held)) == 0)
        return true;
    return syscall(SYS_capset, &header, none) == 0;
}

/* A process without privileges has none to drop, and may not touch its bounding set. */
enum status sandbox_drop_privileges(const char *user, struct error *error)
{
    int death_signal = 0;
    bool is_root = geteuid() == 0;
    if (prctl(PR_GET_PDEATHSIG, &death_signal) != 0)
        return failed(error, "ask how it ends");
    if (!empty_bounding_set() && is_root && errno != EPERM)
        return failed(error, "give up capabilities");
    enum status status = is_root ? leave_root(user, error) : STATUS_OK;
    if (status != STATUS_OK)
        return status;
    if (!drop_capabilities())
        return failed(error, "give up capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return failed(error, "give up new privileges");
    /* Another user's process was just made dumpable and lost its signal: both once more. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_SET_PDEATHSIG, death_signal) != 0)
        return failed(error, "be protected as another user");
    return STATUS_OK;
}

/* ---- The last step ---- */

enum status sandbox_enter(const struct sandbox_options *options, struct error *error)
{
    if (SANITIZED && !options->refuse)
        return STATUS_OK;
    enum status status = sandbox_restrict_files(options, error);
    return status == STATUS_OK ? sandbox_restrict_calls(options, error) : status;
}
