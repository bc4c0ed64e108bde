/* SPDX-License-Identifier: Apache-2.0 */
/* What a verification of the audit log found, as JSON: kmipctl makes it of the files of its own
 * machine, the server of its own files, and both say the same. */
#ifndef KMIPD_IPC_AUDIT_REPORT_H
#define KMIPD_IPC_AUDIT_REPORT_H

#include <jansson.h>

#include "audit/audit.h"

/* The last record that a running server knows to be durable: the files may not end before it. */
struct ipc_audit_end {
    bool known;
    uint64_t sequence;
    char chain[2 * AUDIT_HASH_SIZE + 1]; /* in hex */
};

/*
 * Verifies the files of a directory, compares where they end with `end`, which was learnt before,
 * and puts what was found into `result`, an object: "whole", "records", "files", "first", "last",
 * "last_chain", "incomplete_tail", "end_compared"; and, where it is not whole, "broken" (a text) and
 * "broken_record" (0: it is the end that is missing). OK: it was looked at, whole or not; IO,
 * NO_MEMORY.
 */
enum status ipc_verify_audit(const char *directory, const struct ipc_audit_end *end,
                             json_t *result, struct error *error) MUST_USE;

#endif
