/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process gives up that has all it needs: for kmipd's own child processes, after they have
 * read what they read and before they touch what comes from outside. There is no way back.
 */
#ifndef KMIPD_BASE_SANDBOX_H
#define KMIPD_BASE_SANDBOX_H

#include <stdbool.h>

#include "base/error.h"

/*
 * In this order: another user (nobody, 65534) where the process is root's, unless `keep_user`; no
 * capabilities; no_new_privs; no files (Landlock, where the kernel has it), unless `keep_files`; and
 * only the system calls of common use (memory, time, threads, signals, reading and writing what is
 * open) and those of `system_calls`. Opening files and sockets is refused (EPERM), since libraries
 * try; any other call ends the process (SIGSYS).
 *
 * The filter is for all threads that there are. STATUS_IO with a text: it could not be done, and the
 * process must not go on. With AddressSanitizer there is no filter and no Landlock: it needs calls
 * and files of its own.
 */
struct sandbox_options {
    const char *const *system_calls; /* names; those this machine does not know are left out */
    size_t system_call_count;
    bool keep_user;
    bool keep_files;
};

enum status sandbox_enter(const struct sandbox_options *options, struct error *error) MUST_USE;

#endif
