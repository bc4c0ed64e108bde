/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keyholder process gives up. In two steps: what it never needs, before it opens
 * anything; and everything else but its work, once all is open and before it answers anybody.
 */
#ifndef KMIPD_KEYHOLDER_CONFINE_H
#define KMIPD_KEYHOLDER_CONFINE_H

#include <stdbool.h>

#include "base/error.h"

/*
 * Ends with its parent (the thread that started it), gets no new privileges, has no descriptor
 * but standard error and `socket`, and ignores what a terminal or a service manager sends to all
 * processes of a group, so that kmipd decides when it ends. STATUS_IO with a text.
 */
enum status confine_begin(int socket, struct error *error) MUST_USE;

/*
 * Where it is root: becomes `user` unless that is "", and gives up all capabilities for good. What
 * it opens after must belong to that user. NOT_FOUND: no such user; IO.
 */
enum status confine_drop_privileges(const char *user, struct error *error) MUST_USE;

struct confinement {
    const char *directory; /* the only one where it may read and write files; NULL: none */
    bool module; /* a PKCS#11 module is loaded: nobody knows which files, locks and memory it needs,
                    so files are not restricted and more calls are allowed */
    bool network; /* and it speaks over the network */
};

/*
 * Landlock, where the kernel has it, and a seccomp filter that lists the calls that are allowed: all
 * others fail with EPERM, and those that only an attacker makes (execve, ptrace, ...) end the
 * process. For all threads, also those that there are already. IO with a text; there is no
 * keyholder without a filter.
 */
enum status confine_finish(const struct confinement *limits, struct error *error) MUST_USE;

#endif
