/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keyholder process does once it is set up: reads requests, answers them in any order.
 * One thread reads; it wraps and unwraps itself where the key manager never waits, and hands
 * everything else to workers. Unwraps beyond the rate wait, in their order; background work waits
 * while there is other.
 */
#ifndef KMIPD_KEYHOLDER_SERVER_H
#define KMIPD_KEYHOLDER_SERVER_H

#include "keymanager/keyholder_protocol.h"
#include "keymanager/keymanagers.h"

struct server;

struct server_options {
    int socket; /* -1: there is none, and answers are thrown away (fuzzing) */
    struct keymanagers keymanagers; /* borrowed */
    uint64_t unwrap_rate;           /* a second; 0: any */
    uint64_t unwrap_burst;
    unsigned workers; /* 1 to 256; what may wait for an HSM at one time */
};

/* Makes its memory and starts the workers. NO_MEMORY. End: server_close(). */
enum status server_open(const struct server_options *options, struct server **ret_server) MUST_USE;

/* Answers until the other side closes the socket (CLOSED), or breaks the protocol (MALFORMED), or
 * the socket fails (IO). */
enum status server_run(struct server *server);

/*
 * Takes what came: answers what is whole of it. *ret_used bytes need not be shown again. MALFORMED:
 * the rest cannot be understood. The thread of server_run().
 */
enum status server_take(struct server *server, struct bytes come, size_t *ret_used) MUST_USE;

/* Stops the workers when they are done with what they do. NULL is fine. */
void server_close(struct server *server);

#endif
