/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/limits.h"

/* What OpenSSL, the sealed file and the socket need beside what is common. */
static const char *const always[] = {
    /* the socket */
    "pread64", "pwrite64", "recvfrom", "recvmsg", "sendto", "sendmsg",
    /* files: Landlock says which */
    "open", "openat", "stat", "lstat", "fstatat64", "statx", "access", "faccessat", "faccessat2",
    "readlink", "readlinkat", "fsync", "fdatasync", "fchmod", "flock", "linkat", "unlink",
    "unlinkat", "rename", "renameat", "renameat2", "getcwd",
    /* itself */
    "getrusage",
};

/* What modules of HSMs do besides: locks and files of their own, shared memory, devices. */
static const char *const of_module[] = {
    "msync", "pkey_mprotect", "ioctl", "ftruncate", "truncate", "mkdir", "mkdirat", "rmdir",
    "getdents64", "chmod", "fchmodat", "fchown", "utimensat", "fallocate", "fadvise64", "statfs",
    "fstatfs", "umask", "link", "symlinkat", "preadv", "pwritev", "dup", "dup2", "dup3", "pipe",
    "pipe2", "eventfd2", "select", "pselect6", "epoll_create1", "epoll_create", "epoll_ctl",
    "epoll_wait", "epoll_pwait", "timerfd_create", "timerfd_settime", "timerfd_gettime",
    "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "shmget", "shmat", "shmdt", "shmctl",
    "semget", "semop", "semtimedop", "semctl", "memfd_create", "getgroups", "getresuid",
    "getresgid", "getpgrp", "getsid", "getpriority", "getitimer", "setitimer", "times", "getcpu",
    "getrlimit", "sched_getparam", "sched_getscheduler", "sched_get_priority_min",
    "sched_get_priority_max", "arch_prctl",
};

/* And when it reaches its HSM over the network. */
static const char *const of_network[] = {
    "socket", "connect", "bind", "getsockname", "getpeername", "getsockopt", "setsockopt",
    "shutdown", "socketpair", "sendmmsg", "recvmmsg", "listen", "accept", "accept4",
};

enum status limits_enter(const struct limits *limits, struct error *error)
{
    struct sandbox_options options = {
        .calls = {SANDBOX_CALLS(always)},
        .directory = limits->directory,
        .any_files = limits->module,
        .any_memory = limits->module,
        .threads = true,
        .network = limits->network,
        .refuse = true,
    };
    if (limits->module)
        options.calls[1] = SANDBOX_CALLS(of_module);
    if (limits->network)
        options.calls[2] = SANDBOX_CALLS(of_network);
    return sandbox_enter(&options, error);
}
