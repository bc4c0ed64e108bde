/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a request goes: from the network through core to the store's committer and the audit log,
 * and back. Nothing waits on a loop's thread:
 *
 *   loop       frame -> core_execute() -> core_prepare() -> store_submit() -+-> audit_append()
 *   committer                                               committed ------^
 *   audit log  records durable -> net_answer() -> loop -> TLS
 *
 * What goes wrong on the way (a conflict, a full disk), and searches that take long, are worked out
 * by worker threads. So is what comes back from a key manager: a request that needs one ends its
 * execution, and is executed again, or committed, when the keys are there.
 */
#ifndef KMIPD_SERVICE_SERVICE_H
#define KMIPD_SERVICE_SERVICE_H

#include "audit/audit.h"
#include "core/core.h"
#include "net/net.h"

struct service;

struct service_options {
    unsigned loops;   /* as net_options.loops */
    unsigned ready;   /* requests in flight for which memory is locked beforehand, of all loops */
    size_t reply_max; /* bytes of one response message at most */
};

/* Borrows all three, which must outlive the service. STATUS_NO_MEMORY with a text when memory
 * cannot be locked. */
enum status service_open(struct core *core, struct store *store, struct audit *audit,
                         const struct service_options *options, struct service **ret_service,
                         struct error *error) MUST_USE;

/* What to give to net_start(). Lives as long as the service. */
const struct net_handler *service_handler(struct service *service);

/* After net_stop(). NULL is fine. */
void service_close(struct service *service);

/* Counters for status; values only grow. */
struct service_counters {
    uint64_t requests;          /* messages answered */
    uint64_t items;             /* batch items in them */
    uint64_t refused;           /* messages that the store or the audit log could not take */
    uint64_t again;             /* messages executed again because somebody else was faster */
    uint64_t waited;            /* times that a message waited for a key manager */
    uint64_t unrecorded;        /* objects too large to be recorded in their key manager */
    uint64_t strangers_dropped; /* messages of unknown clients beyond the rate that is recorded */
};
void service_counters(struct service *service, struct service_counters *ret_counters);

#endif
