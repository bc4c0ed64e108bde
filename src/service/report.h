/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an administrator reads of requests, by the level of their status (def/errors.def): each at
 * debug level; what was refused, a few lines a second; and what failed for a reason of the
 * server's, of which each kind is told once and then now and then, however many requests meet it.
 * All of them are in the audit log. Any thread.
 */
#ifndef KMIPD_SERVICE_REPORT_H
#define KMIPD_SERVICE_REPORT_H

#include <stdatomic.h>

#include "core/core.h"

/* Lines of one kind within one interval. */
struct report_limit {
    _Atomic int64_t since; /* monotonic milliseconds */
    _Atomic uint64_t lines;
    _Atomic uint64_t left_out;
};

struct report {
    struct report_limit refusals;
    struct report_limit unrecorded;
    struct report_limit faults[STATUS_COUNT];
};

void report_init(struct report *report);

/* A request that is answered. */
void report_request(struct report *report, const struct request *request);

/* A new object is too large for a record in its key manager. */
void report_unrecorded(struct report *report, const char *adapter);

/* A fault that no answer tells of. */
void report_fault(struct report *report, enum status status);

#endif
