/* SPDX-License-Identifier: Apache-2.0 */
/* The filter of system calls (seccomp(2)). */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "keyholder/confine_rules.h"

#define CALL(name) SCMP_SYS(name)

/* What the C library, OpenSSL, the sealed file and the socket need. */
static const int always[] = {
    /* the socket, and descriptors */
    CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64), CALL(pwrite64),
    CALL(recvfrom), CALL(recvmsg), CALL(sendto), CALL(sendmsg), CALL(poll), CALL(ppoll),
    CALL(close), CALL(fcntl), CALL(lseek),
    /* files: Landlock says which */
    CALL(open), CALL(openat), CALL(stat), CALL(fstat), CALL(lstat), CALL(newfstatat), CALL(fstatat64),
    CALL(statx), CALL(access), CALL(faccessat), CALL(faccessat2), CALL(readlink), CALL(readlinkat),
    CALL(fsync), CALL(fdatasync), CALL(fchmod), CALL(flock), CALL(linkat), CALL(unlink),
    CALL(unlinkat), CALL(rename), CALL(renameat), CALL(renameat2), CALL(getcwd),
    /* memory; mmap and mprotect have rules of their own */
    CALL(munmap), CALL(mremap), CALL(madvise), CALL(mlock), CALL(mlock2), CALL(munlock), CALL(brk),
    /* threads, time, randomness */
    CALL(futex), CALL(set_robust_list), CALL(rseq), CALL(set_tid_address), CALL(sched_yield),
    CALL(sched_getaffinity), CALL(membarrier), CALL(restart_syscall), CALL(clock_gettime),
    CALL(clock_getres), CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday), CALL(time),
    CALL(getrandom),
    /* itself */
    CALL(getpid), CALL(gettid), CALL(getppid), CALL(getuid), CALL(geteuid), CALL(getgid),
    CALL(getegid), CALL(getrusage), CALL(sysinfo), CALL(uname), CALL(rt_sigaction),
    CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(sigaltstack), CALL(tgkill), CALL(exit),
    CALL(exit_group),
};

/* What modules of HSMs do besides: locks and files of their own, shared memory, devices, threads. */
static const int of_module[] = {
    CALL(mmap), CALL(mprotect), CALL(msync), CALL(pkey_mprotect), CALL(ioctl), CALL(ftruncate),
    CALL(truncate), CALL(mkdir), CALL(mkdirat), CALL(rmdir), CALL(getdents64), CALL(chmod),
    CALL(fchmodat), CALL(fchown), CALL(utimensat), CALL(fallocate), CALL(fadvise64), CALL(statfs),
    CALL(fstatfs), CALL(umask), CALL(link), CALL(symlinkat), CALL(preadv), CALL(pwritev),
    CALL(dup), CALL(dup2), CALL(dup3), CALL(pipe), CALL(pipe2), CALL(eventfd2), CALL(select),
    CALL(pselect6), CALL(epoll_create1), CALL(epoll_create), CALL(epoll_ctl), CALL(epoll_wait),
    CALL(epoll_pwait), CALL(timerfd_create), CALL(timerfd_settime), CALL(timerfd_gettime),
    CALL(inotify_init1), CALL(inotify_add_watch), CALL(inotify_rm_watch), CALL(shmget),
    CALL(shmat), CALL(shmdt), CALL(shmctl), CALL(semget), CALL(semop), CALL(semtimedop),
    CALL(semctl), CALL(memfd_create), CALL(getgroups), CALL(getresuid), CALL(getresgid),
    CALL(getpgrp), CALL(getsid), CALL(getpriority), CALL(getitimer), CALL(setitimer),
    CALL(times), CALL(getcpu), CALL(getrlimit), CALL(sched_getparam), CALL(sched_getscheduler),
    CALL(sched_get_priority_min), CALL(sched_get_priority_max), CALL(arch_prctl),
};

/* And when it reaches its HSM over the network. */
static const int of_network[] = {
    CALL(socket), CALL(connect), CALL(bind), CALL(getsockname), CALL(getpeername),
    CALL(getsockopt), CALL(setsockopt), CALL(shutdown), CALL(socketpair), CALL(sendmmsg),
    CALL(recvmmsg), CALL(listen), CALL(accept), CALL(accept4),
};

/* No honest way leads to these. */
static const int fatal[] = {
    CALL(execve), CALL(execveat), CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev),
    CALL(init_module), CALL(finit_module), CALL(kexec_load), CALL(bpf), CALL(keyctl),
    CALL(pidfd_getfd),
};

static int allow_all(scmp_filter_ctx filter, const int *calls, size_t count)
{
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    return result;
}

/* Threads, not processes; the C library takes the older call when the newer is not there, whose
 * flags a filter cannot see. */
static int allow_threads(scmp_filter_ctx filter)
{
    int result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), CALL(clone3), 0);
    return result != 0 ? result
                       : seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(clone), 1,
                                          SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
}

/* Names of threads and of memory; nothing that gives a right back. */
static int allow_names(scmp_filter_ctx filter)
{
    int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(prctl), 1,
                                  SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
#ifdef PR_SET_VMA
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(prctl), 1,
                                  SCMP_A0(SCMP_CMP_EQ, PR_SET_VMA, 0));
#endif
    return result;
}

/* Memory that is not code. */
static int allow_data(scmp_filter_ctx filter)
{
    static const int calls[] = {CALL(mmap), CALL(mprotect)};
    int result = 0;
    for (size_t i = 0; i < ARRAY_COUNT(calls) && result == 0; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return result;
}

static int make_rules(scmp_filter_ctx filter, const struct confinement *limits)
{
    int result = allow_all(filter, always, ARRAY_COUNT(always));
    for (size_t i = 0; i < ARRAY_COUNT(fatal) && result == 0; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, fatal[i], 0);
    if (result == 0)
        result = allow_threads(filter);
    if (result == 0)
        result = allow_names(filter);
    if (result == 0)
        result = limits->module ? allow_all(filter, of_module, ARRAY_COUNT(of_module))
                                 : allow_data(filter);
    if (result == 0 && limits->network)
        result = allow_all(filter, of_network, ARRAY_COUNT(of_network));
    return result;
}

enum status confine_restrict_calls(const struct confinement *limits, struct error *error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a filter of system calls");
    int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    /* A binary tree: what is called most should not stand behind a hundred comparisons. */
    if (result == 0)
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (result == 0)
        result = make_rules(filter, limits);
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    return result == 0 ? STATUS_OK
                       : error_set_errno(error, STATUS_IO, -result,
                                         "the keyholder process cannot restrict its system calls "
                                         "(seccomp)");
}
