/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ---- User and capabilities ---- */

static enum status leave_root(struct error *error)
{
    int death_signal = 0;
    if (geteuid() != 0)
        return STATUS_OK;
    (void)prctl(PR_GET_PDEATHSIG, &death_signal);
    if (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) != 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot become the user nobody");
    /* A change of user takes it away (prctl(2)). */
    if (prctl(PR_SET_PDEATHSIG, death_signal) != 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot be made to end with its parent");
    return STATUS_OK;
}

/* Whether there are none already: then a service manager may refuse the call that drops them. */
static bool has_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &header, sets) != 0)
        return true;
    uint32_t all = 0;
    for (size_t i = 0; i < ARRAY_COUNT(sets); i++)
        all |= sets[i].effective | sets[i].permitted | sets[i].inheritable;
    return all != 0;
}

static enum status drop_capabilities(struct error *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    /* What cannot be dropped from the bounding set, for want of CAP_SETPCAP, is of no use either. */
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
         capability++)
        (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (has_capabilities() && syscall(SYS_capset, &header, none) != 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot give up capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot set no_new_privs");
    return STATUS_OK;
}

/* ---- Files ---- */

#ifndef SANITIZED

/* All kinds of access of the first version, and no rule that allows any. */
static enum status forbid_files(struct error *error)
{
    const struct landlock_ruleset_attr rules = {
        .handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
    if (ruleset < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP
                   ? STATUS_OK
                   : error_set_errno(error, STATUS_IO, errno, "cannot make Landlock rules");
    long result = syscall(SYS_landlock_restrict_self, ruleset, 0);
    int number = errno;
    (void)close(ruleset);
    return result == 0 ? STATUS_OK
                       : error_set_errno(error, STATUS_IO, number, "cannot apply Landlock rules");
}

/* ---- System calls ---- */

/* What any program does that has opened everything: not one of them makes anything new reachable. */
static const char *const common_calls[] = {
    /* what is open */
    "read", "write", "readv", "writev", "close", "close_range", "lseek", "fstat", "newfstatat",
    "poll", "ppoll", "ioctl", "fcntl", "dup",
    /* memory */
    "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "mlock", "mlock2", "munlock",
    /* time */
    "clock_gettime", "clock_getres", "gettimeofday", "time", "nanosleep", "clock_nanosleep",
    /* threads and signals */
    "futex", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity", "gettid", "getpid",
    "getppid", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
    "restart_syscall", "exit", "exit_group",
    /* randomness, and what the C library asks */
    "getrandom", "uname", "sysinfo", "getuid", "geteuid", "getgid", "getegid",
};

/* What libraries try now and then, and can do without: refused, and no reason to end. */
static const char *const refused_calls[] = {
    "open", "openat", "stat", "lstat", "statx", "access", "faccessat", "faccessat2", "readlink",
    "readlinkat", "socket", "prctl", "getrlimit", "prlimit64",
};

static int add(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        int result =
            number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, action, number, 0);
        /* -EDOM: a call that this architecture does not have; -EEXIST: one that is allowed. */
        if (result != 0 && result != -EDOM && result != -EEXIST)
            return result;
    }
    return 0;
}

static enum status filter_calls(const struct sandbox_options *options, struct error *error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int result = filter == NULL ? -ENOMEM : seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    /* A binary tree: what is called most should not stand behind a hundred comparisons. */
    if (result == 0)
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (result == 0)
        result = add(filter, SCMP_ACT_ALLOW, common_calls, ARRAY_COUNT(common_calls));
    if (result == 0)
        result = add(filter, SCMP_ACT_ALLOW, options->system_calls, options->system_call_count);
    if (result == 0)
        result = add(filter, SCMP_ACT_ERRNO(EPERM), refused_calls, ARRAY_COUNT(refused_calls));
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    return result == 0 ? STATUS_OK
                       : error_set_errno(error, STATUS_IO, -result,
                                         "cannot filter system calls (seccomp)");
}

#endif

enum status sandbox_enter(const struct sandbox_options *options, struct error *error)
{
    enum status status = options->keep_user ? STATUS_OK : leave_root(error);
    if (status == STATUS_OK)
        status = drop_capabilities(error);
    /* A change of user makes the process dumpable again (prctl(2)). */
    if (status == STATUS_OK && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        status = error_set_errno(error, STATUS_IO, errno, "cannot forbid dumps (PR_SET_DUMPABLE)");
#ifndef SANITIZED
    if (status == STATUS_OK && !options->keep_files)
        status = forbid_files(error);
    if (status == STATUS_OK)
        status = filter_calls(options, error);
#endif
    return status;
}
