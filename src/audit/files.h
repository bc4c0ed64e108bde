/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of an audit log: its files, each named by the sequence of its first record. */
#ifndef KMIPD_AUDIT_FILES_H
#define KMIPD_AUDIT_FILES_H

#include "audit/audit.h"

#define FILES_NAME_SIZE 40

/* "audit-<20 digits>.jsonl" */
void files_name(uint64_t first, char ret_name[static FILES_NAME_SIZE]);

/* The first sequences of all files, ascending. Freed by the caller with free(); NULL when there
 * are none. Names of another form are passed over. IO, NO_MEMORY with a text. */
enum status files_list(int directory, uint64_t **ret_first, size_t *ret_count,
                       struct error *error) MUST_USE;

/* Opens a file of the log; -1 and errno. */
int files_open(int directory, uint64_t first, int flags);

/* Opens an existing directory; -1 and errno. */
int files_open_directory(const char *path);

/*
 * A lock file says who writes the log: one process. files_lock() takes it and returns a descriptor
 * that holds it until closed; -1 and errno, which is EAGAIN when another has it. files_is_locked()
 * takes nothing, so that a reader is never in a writer's way.
 */
int files_lock(int directory);
bool files_is_locked(int directory);

/* Deletes the oldest files so that `keep` remain. What cannot be deleted stays until next time. */
void files_prune(int directory, size_t keep);

#endif
