/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of src/net: a server in this process whose handler does what each frame orders, and
 * which remembers what it saw. */
#ifndef KMIPD_TESTS_NET_FIXTURE_H
#define KMIPD_TESTS_NET_FIXTURE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/net.h"
#include "tls_peer.h"

/* What the server does with a frame; the first byte behind the header. */
enum order {
    ORDER_ECHO = 'e',    /* answers at once, with the same bytes */
    ORDER_LATER = 'l',   /* answers with the same bytes, from another thread */
    ORDER_HOLD = 'h',    /* answers with the same bytes when told so */
    ORDER_FREE = 'f',    /* answers all that are held, from the loop's thread, then this one */
    ORDER_CLOSE = 'c',   /* answers at once, and closes */
    ORDER_BIG = 'b',     /* answers with BIG_ANSWER bytes */
    ORDER_HANG_UP = 'u', /* answers with nothing, and closes */
};

enum {
    FRAME_MAX = 1024 * 1024,
    BIG_ANSWER = 8 * 1024 * 1024,
    HEADER = 8,
    SORRY_SIZE = 16, /* the answer to what is no frame */
};

struct answer;

/* What the handler has seen. The lock is for everything. */
struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct answer *later; /* for the other thread */
    struct answer *held;
    pthread_t thread;
    bool stop;
    unsigned opened;
    unsigned closed;
    unsigned frames;
    unsigned released;
    unsigned malformed;
    unsigned too_large;
    unsigned overlaps;    /* frames that came before the answer to the one before: none */
    bool refuse;          /* opened() returns NULL */
    struct net_peer peer; /* the last one opened */
    char events[16384];
};

struct fixture {
    char directory[64];
    char certificate_file[96];
    char key_file[96];
    struct credentials server;
    struct credentials client;
    SSL_CTX *tls13; /* of the client */
    SSL_CTX *tls12;
    struct seen seen;
    struct net *net;
    unsigned port;
};

extern struct fixture fixture;

/* For cmocka: once for all tests of a program, and for each. The latter checks that every session
 * opened was closed and every answer released. */
int fixture_set_up_all(void **state);
int fixture_tear_down_all(void **state);
int fixture_set_up(void **state);
int fixture_tear_down(void **state);

#define net_test(function)                                                                         \
    cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

/* Two loops on a free port of 127.0.0.1, limits far away. */
struct net_options fixture_options(void);
void fixture_start(const struct net_options *options);
void fixture_stop(unsigned milliseconds);

/* Starting must fail so; its text is in *ret_error. */
void fixture_refuse(const struct net_options *options, enum status status, struct error *ret_error);

/* A number in `seen`, and the last peer there. */
unsigned number(const unsigned *of_seen);
struct net_peer last_peer(void);

/* Waits, at most ten seconds, until a number in `seen` reaches `least`. */
void wait_until(const unsigned *number, unsigned least);

/* Waits as long until a counter has `value`. */
#define wait_for_count(field, value) wait_for_counter(offsetof(struct net_counters, field), value)
void wait_for_counter(size_t offset, uint64_t value);

struct net_counters counters(void);

/* Whether a text was reported to event(). */
bool event_seen(const char *text);

/* Answers the frame that is held longest, from this thread. */
void answer_held(void);

/* A frame of `size` bytes, at least 16, written to `memory`. */
struct bytes frame_make(uint8_t *memory, size_t size, enum order order);

/* Receives exactly these bytes. */
void expect(const struct peer *peer, struct bytes bytes);

/* Sends a frame of that size and receives it again. */
void exchange(const struct peer *peer, size_t size, enum order order);

#endif
