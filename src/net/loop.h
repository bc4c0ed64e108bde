/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event loop: a thread with its own listener, TLS context, buffers and connections. Nothing in
 * it is shared but what is said to be. Level-triggered epoll; deadlines by lists (deadline.h).
 */
#ifndef KMIPD_NET_LOOP_H
#define KMIPD_NET_LOOP_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "net/address.h"
#include "net/carry.h"
#include "net/clients.h"
#include "net/deadline.h"
#include "net/net.h"

/* What a connection waits for; each has its deadline. */
enum wait {
    WAIT_HANDSHAKE,
    WAIT_FIRST_FRAME, /* handshake done, not a byte yet */
    WAIT_IDLE,        /* between frames; also while the handler has a frame, without a deadline */
    WAIT_FRAME,       /* a frame has begun */
    WAIT_WRITE,       /* the socket takes no more of an answer */
    WAIT_LINGER,      /* closed on our side; until the client has read it and closes too */
    WAIT_COUNT
};

/* One writer, the loop; read by net_counters(). */
#define LOOP_COUNTERS(COUNTER)                                                                     \
    COUNTER(open)                                                                                  \
    COUNTER(accepted)                                                                              \
    COUNTER(handshakes)                                                                            \
    COUNTER(resumed)                                                                               \
    COUNTER(handshakes_failed)                                                                     \
    COUNTER(bare)                                                                                  \
    COUNTER(frames)                                                                                \
    COUNTER(refused_total_limit)                                                                   \
    COUNTER(refused_certificate_limit)                                                             \
    COUNTER(timed_out)

struct loop_counters {
#define FIELD(name) _Atomic uint64_t name;
    LOOP_COUNTERS(FIELD)
#undef FIELD
};

/* What all loops share. */
struct loop_shared {
    struct loop *loops;
    unsigned loop_count;
    struct net_handler handler;
    struct clients *clients;
    size_t frame_max;
    unsigned connections_max;
    int64_t waits[WAIT_COUNT]; /* milliseconds */
    _Atomic unsigned open;     /* connections of all loops */
};

/* Connections of a loop that keep their record buffers (32 KiB) from one request to the next. */
#define WARM_MAX 32

struct loop {
    struct loop_shared *shared;
    unsigned index;
    int64_t now; /* monotonic milliseconds, read once a turn */
    OSSL_LIB_CTX *library;
    SSL_CTX *tls;
    BIO_METHOD *socket_method;
    struct carry input;  /* fixed, locked: what is read, from the start of a turn to its end */
    struct carry output; /* fixed, locked: answers to pipelined frames, written together */
    struct carry_pool pool;
    struct deadline_list waiting[WAIT_COUNT];
    struct net_connection *dead; /* freed at the end of the turn */
    struct net_connection *warm[WARM_MAX];
    unsigned warm_next; /* the place in warm[] to be looked at next */
    struct loop_counters counters;

    int epoll;
    int listener; /* -1 when draining */
    int wake;     /* eventfd */
    int spare;    /* given up to accept and close a connection when descriptors are used up */
    int64_t accept_again; /* when accepting failed: no attempt before; 0 otherwise */
    bool draining;
    pthread_t thread;
    bool started;

    /* From other threads. */
    _Atomic(struct net_connection *) answered; /* a stack */
    atomic_bool sleeping;
    atomic_uint pushing;         /* threads inside loop_push_answered() */
    _Atomic(SSL_CTX *) next_tls; /* for new connections, NULL when there is none */
    atomic_uint evictions;       /* silent connections to close in favour of others' new ones */

    /* For other threads: since when the oldest connection without a frame is here, as of the last
     * turn; INT64_MAX when there is none. */
    _Atomic int64_t oldest_silent;
    _Atomic int64_t stop_at;     /* when to give up draining; 0: not stopping */
};

static inline void loop_count(_Atomic uint64_t *counter)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + 1, memory_order_relaxed);
}

/* A loop with its index and library context alone, on which loop_free() may be called. */
void loop_clear(struct loop *loop, unsigned index);

/* Makes what the loop needs but its TLS context; takes over `listener`, also on failure. */
enum status loop_init(struct loop *loop, struct loop_shared *shared, int listener,
                      struct error *error) MUST_USE;

/* Starts the thread. */
enum status loop_start(struct loop *loop, struct error *error) MUST_USE;

/* Uses `context`, which the loop takes over, for new connections. Any thread. */
void loop_set_tls(struct loop *loop, SSL_CTX *context);

/* Begins draining, which ends at `stop_at` (monotonic milliseconds). Any thread. */
void loop_stop(struct loop *loop, int64_t stop_at);

/* Waits for the thread, if it was started, and for threads that have just answered. */
void loop_join(struct loop *loop);

void loop_free(struct loop *loop);

/* Whether the calling thread is the loop's. */
bool loop_is_here(const struct loop *loop);

/* Hands an answered connection to its loop. Any thread. */
void loop_push_answered(struct loop *loop, struct net_connection *connection);

#endif
