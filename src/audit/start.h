/* SPDX-License-Identifier: Apache-2.0 */
/* Finding where a log ends, and making it ready to go on. For audit_open(). */
#ifndef KMIPD_AUDIT_START_H
#define KMIPD_AUDIT_START_H

#include "audit/chain.h"
#include "audit/segment.h"

/* Opens the directory, which is made when missing. IO with a text. */
enum status start_open_directory(const char *path, int *ret_directory,
                                 struct error *error) MUST_USE;

/* Locks it against other writers; the lock is held until the descriptor is closed. IO with a
 * text. */
enum status start_lock(int directory, const char *path, int *ret_lock,
                       struct error *error) MUST_USE;

/* Where to go on. */
struct start {
    struct chain_position last;
    struct segment segment;
    uint64_t cut; /* bytes of an unfinished write that were cut off */
};

/* Changes nothing on disk before the log was found good. Errors as audit_open(). */
enum status start_find_end(int directory, const struct audit_options *options,
                           struct start *ret_start, struct error *error) MUST_USE;

#endif
