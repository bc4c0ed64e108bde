/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kmipd's own child processes give up. In three steps, each of which may be taken alone: what
 * a child never needs, before it reads anything; user and capabilities, before it opens what it
 * works with; and everything else but its work, before it touches what comes from outside. There
 * is no way back.
 */
#ifndef KMIPD_BASE_SANDBOX_H
#define KMIPD_BASE_SANDBOX_H

#include <stdbool.h>

#include "base/error.h"

/*
 * Ends with its parent (the thread that started it), gets no new privileges, has no descriptor
 * but standard error and `socket`, and ignores what a terminal or a service manager sends to all
 * processes of a group, so that the parent decides when it ends. STATUS_CLOSED: the parent has
 * ended; STATUS_IO with a text.
 */
enum status sandbox_begin(int socket, struct error *error) MUST_USE;

#define SANDBOX_NOBODY NULL

/*
 * Where the process is root's: becomes `user` unless that is "" (SANDBOX_NOBODY: user and group
 * 65534, which need not have a name). Gives up all capabilities and new privileges for good; a
 * signal for the parent's end (PR_SET_PDEATHSIG) is kept. What it opens after must belong to that
 * user. NOT_FOUND: no such user; IO.
 */
enum status sandbox_drop_privileges(const char *user, struct error *error) MUST_USE;

/* Names of system calls; those this machine does not know are left out. */
struct sandbox_calls {
    const char *const *names;
    size_t count;
};

#define SANDBOX_CALLS(array) ((struct sandbox_calls){(array), ARRAY_COUNT(array)})
#define SANDBOX_CALLS_MAX 4

/* All that is not named is given up; {0} leaves what was open and nothing else. */
struct sandbox_options {
    struct sandbox_calls calls[SANDBOX_CALLS_MAX]; /* beside those of common use */
    const char *directory; /* files in it may be read, made, changed and removed; NULL: none */
    bool any_files;        /* files everywhere, but nothing is executed and no device made: for
                              foreign code, of which nobody knows what it opens */
    bool any_memory;       /* memory may be code, for foreign code too */
    bool threads;          /* it makes threads, which have names; processes it never does */
    bool network;          /* it connects to others and listens for them, over TCP */
    bool refuse;           /* a call that is not allowed fails with EPERM, and does not end the
                              process */
};

/*
 * Files and network by Landlock, where the kernel has it; and a seccomp filter that allows the
 * system calls of common use (memory that is not code, time, signals, reading and writing what is
 * open) and those of the options. What libraries try now and then, and can do without, as opening
 * files and sockets, is refused with EPERM. Other calls end the process with SIGSYS, all of them or
 * (`refuse`) those that only an attacker makes, as execve and ptrace.
 *
 * For all threads that there are. STATUS_IO with a text: it could not be done, and the process must
 * not go on. With AddressSanitizer, which needs calls and files of its own, nothing happens
 * unless `refuse`.
 */
enum status sandbox_enter(const struct sandbox_options *options, struct error *error) MUST_USE;

#endif
