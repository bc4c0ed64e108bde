/* SPDX-License-Identifier: Apache-2.0 */
/* The filter of system calls (seccomp(2)). */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/sandbox_rules.h"

/* What any program does that has opened everything: nothing new becomes reachable by them. */
static const char *const common[] = {
    /* what is open */
    "read", "write", "readv", "writev", "close", "lseek", "fstat", "newfstatat", "poll", "ppoll",
    "fcntl",
    /* memory; mmap and mprotect have rules of their own */
    "munmap", "mremap", "madvise", "brk", "mlock", "mlock2", "munlock",
    /* time */
    "clock_gettime", "clock_getres", "gettimeofday", "time", "nanosleep", "clock_nanosleep",
    /* threads and signals */
    "futex", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity", "gettid", "getpid",
    "getppid", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
    "restart_syscall", "exit", "exit_group",
    /* randomness, and what the C library asks */
    "getrandom", "uname", "sysinfo", "getuid", "geteuid", "getgid", "getegid",
};

/* What libraries try now and then, and can do without. */
static const char *const refused[] = {
    "open", "openat", "stat", "lstat", "statx", "access", "faccessat", "faccessat2", "readlink",
    "readlinkat", "socket", "getrlimit", "prlimit64",
};

static const char *const threads[] = {"set_tid_address", "membarrier"};

/* Memory, as what it may be. */
static const char *const memory[] = {"mmap", "mprotect"};
static const char *const names[] = {"prctl"};

/* No honest way leads to these. */
static const char *const fatal[] = {
    "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "init_module",
    "finit_module", "kexec_load", "bpf", "keyctl", "pidfd_getfd",
};

/* -EEXIST: one that is allowed already. -EDOM: one that this architecture does not have. */
static bool is_good(int result)
{
    return result == 0 || result == -EDOM || result == -EEXIST;
}

/* With `comparison` a call whose argument does not fit is left to the filter's last word. */
static int add(scmp_filter_ctx filter, uint32_t action, struct sandbox_calls calls,
               const struct scmp_arg_cmp *comparison)
{
    for (size_t i = 0; i < calls.count; i++) {
        int number = seccomp_syscall_resolve_name(calls.names[i]);
        if (number == __NR_SCMP_ERROR)
            continue;
        int result =
            seccomp_rule_add_array(filter, action, number, comparison != NULL, comparison);
        if (!is_good(result))
            return result;
    }
    return 0;
}

/* Threads, not processes; the C library takes the older call when the newer is not there, whose
 * flags a filter cannot see. */
static int allow_threads(scmp_filter_ctx filter)
{
    static const char *const newer[] = {"clone3"};
    static const char *const older[] = {"clone"};
    const struct scmp_arg_cmp is_thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);
    int result = add(filter, SCMP_ACT_ERRNO(ENOSYS), SANDBOX_CALLS(newer), NULL);
    if (result == 0)
        result = add(filter, SCMP_ACT_ALLOW, SANDBOX_CALLS(older), &is_thread);
    return result == 0 ? add(filter, SCMP_ACT_ALLOW, SANDBOX_CALLS(threads), NULL) : result;
}

/* Names of threads and of memory; nothing that gives a right back. */
static int allow_names(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp of_thread = SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0);
    int result = add(filter, SCMP_ACT_ALLOW, SANDBOX_CALLS(names), &of_thread);
#ifdef PR_SET_VMA
    const struct scmp_arg_cmp of_memory = SCMP_A0(SCMP_CMP_EQ, PR_SET_VMA, 0);
    if (result == 0)
        result = add(filter, SCMP_ACT_ALLOW, SANDBOX_CALLS(names), &of_memory);
#endif
    return result;
}

static int allow_memory(scmp_filter_ctx filter, bool any)
{
    const struct scmp_arg_cmp is_data = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    return add(filter, SCMP_ACT_ALLOW, SANDBOX_CALLS(memory), any ? NULL : &is_data);
}

static int allow(scmp_filter_ctx filter, const struct sandbox_options *options)
{
    int result = add(filter, SCMP_ACT_ALLOW, SANDBOX_CALLS(common), NULL);
    for (size_t i = 0; i < SANDBOX_CALLS_MAX && result == 0; i++)
        result = add(filter, SCMP_ACT_ALLOW, options->calls[i], NULL);
    if (result == 0)
        result = allow_memory(filter, options->any_memory);
    if (result == 0 && options->threads)
        result = allow_threads(filter);
    return result == 0 && options->threads ? allow_names(filter) : result;
}

/* What is not allowed and does not meet with the filter's last word. */
static int forbid(scmp_filter_ctx filter, const struct sandbox_options *options)
{
    const uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
    if (options->refuse)
        return add(filter, SCMP_ACT_KILL_PROCESS, SANDBOX_CALLS(fatal), NULL);
    int result = add(filter, refuse, SANDBOX_CALLS(refused), NULL);
    return result == 0 && !options->threads ? add(filter, refuse, SANDBOX_CALLS(names), NULL)
                                            : result;
}

enum status sandbox_restrict_calls(const struct sandbox_options *options, struct error *error)
{
    scmp_filter_ctx filter =
        seccomp_init(options->refuse ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS);
    int result = filter == NULL ? -ENOMEM : seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    /* A binary tree: what is called most should not stand behind a hundred comparisons. */
    if (result == 0)
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (result == 0)
        result = allow(filter, options);
    if (result == 0)
        result = forbid(filter, options);
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    return result == 0 ? STATUS_OK
                       : error_set_errno(error, STATUS_IO, -result,
                                         "a process of kmipd cannot restrict its system calls "
                                         "(seccomp)");
}
