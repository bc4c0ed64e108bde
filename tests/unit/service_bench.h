/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service over a network that is none: frames are handed to its handler as a loop would, and
 * net_answer() leaves the answers with the connection. Store and key manager are in memory, the
 * audit log is a real one. The linker puts the functions below before the real ones (meson.build).
 */
#ifndef KMIPD_TESTS_SERVICE_BENCH_H
#define KMIPD_TESTS_SERVICE_BENCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "core_talk.h"
#include "service/service.h"

#define SERVICE_LOOPS 8

struct service_bench {
    struct talk talk; /* makes frames, reads answers, and asks core past the service */
    char directory[256];
    struct audit *audit;
    struct service *service;
    const struct net_handler *handler;
};

/* For cmocka: *state is the bench. */
int service_bench_setup(void **state);
int service_bench_teardown(void **state);

/* The same for a bench of the test's own. */
void service_bench_open(struct service_bench *bench, size_t reply_max);
void service_bench_close(struct service_bench *bench);

/* Closes service and audit log, so that the log can be looked at. */
void service_bench_stop(struct service_bench *bench);

/* Lets a certificate in, of which every byte of the fingerprint is `mark`. */
void service_bench_let_in(struct service_bench *bench, int64_t adapter, uint8_t mark);

/* ---- Connections ---- */

struct net_connection {
    struct service_bench *bench;
    unsigned loop;
    struct net_peer peer;
    void *session;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct net_reply *reply;
    pthread_t answering; /* the thread that answered last */
};

/* mark 0: without a certificate. */
void connection_open(struct net_connection *connection, struct service_bench *bench, unsigned loop,
                     uint8_t mark);
void connection_close(struct net_connection *connection);

struct reply {
    struct bytes bytes; /* the caller frees (void *)data */
    bool close;
};

/* Hands a frame over and waits for its answer. */
struct reply connection_send(struct net_connection *connection, struct bytes frame);
struct reply connection_send_bad(struct net_connection *connection, struct bytes header,
                                 enum status status);
/* While it is handed over, the allocation number `at` of this thread fails, if there are so many. */
struct reply connection_send_without(struct net_connection *connection, struct bytes frame,
                                     size_t at, bool *ret_failed);
void reply_free(struct reply *reply);

/* Sends the message that stands in the bench's talk. There must be `expected` answers. */
const struct kmip_response_item *ask(struct net_connection *connection, size_t expected);

/* ---- What goes wrong ---- */

struct service_faults {
    /* Before a transaction goes to the store: somebody else's may be put in. */
    void (*before_submit)(struct service_bench *bench);
    struct service_bench *bench;
    _Atomic int submits_left; /* to be failed; -1: all */
    _Atomic enum status submit_status;
    _Atomic bool audit_fails;
    _Atomic int locked_left; /* allocations of locked memory that succeed; -1: all */
    _Atomic enum status adapters_status;
    _Atomic uint64_t searching; /* the thread that was last in store_find() */
};
extern struct service_faults service_faults;

/* Whether the bytes stand anywhere in memory that is locked for answers now. */
bool locked_memory_has(struct bytes needle);

#endif
