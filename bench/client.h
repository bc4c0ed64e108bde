/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of the load generator: one thread, one epoll, any number of TLS connections.
 *
 * Two ways to work. Kept: all connections are opened once and carry requests in every slice, each a
 * closed loop with `depth` requests outstanding. Connect: every slot connects, asks Discover
 * Versions and then the operation, closes, and starts again. Bare: the same without a request; the
 * server has done its work when it closes too.
 *
 * Every answer is checked: whole frame, expected length, Result Status Success. What fails is
 * counted and the first failure is described; nothing is retried.
 */
#ifndef KMIPD_BENCH_CLIENT_H
#define KMIPD_BENCH_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <openssl/ssl.h>

#include "message.h"
#include "slice.h"

enum { CLIENT_DEPTH_MAX = 64, CLIENT_STEPS_MAX = 2 };

struct client_ids {
    char *text; /* all identifiers, each `length` bytes, without separators */
    size_t length;
    size_t count;
};

struct client_options {
    struct sockaddr_in server;
    unsigned sources;     /* loopback source addresses, 127.0.0.1 on, to spread connections over */
    unsigned connections; /* kept: open at once; connect: slots */
    unsigned depth;       /* requests outstanding on a kept connection */
    unsigned opening;     /* handshakes in flight while kept connections are opened */
    bool connect_each;    /* connect instead of kept */
    bool bare;            /* connect_each: no request at all */
    bool resume;          /* offer the slot's last session */
    bool in_order;        /* take identifiers one after the other instead of at random */
    enum message_operation operation;
    struct client_ids ids; /* for Get: one is taken at random for every request */
    FILE *new_ids;         /* where the identifiers in answers to Create are written; may be NULL */
};

struct client;

/* `tls` is borrowed and configured by the caller, who calls client_prepare_tls() on it first. NULL:
 * no memory or no epoll. `options` and what it points to must outlive the client. */
struct client *client_new(const struct client_options *options, SSL_CTX *tls);

void client_free(struct client *client);

/* Installs the callback that collects sessions, and what makes connections cheap. */
void client_prepare_tls(SSL_CTX *tls);

/* Opens all kept connections; the slice counts the handshakes. */
void client_open_all(struct client *client, struct slice *ret_slice);

/* Works until a limit is reached (a unit is a request; connect: a connection), and then until all
 * that was begun is answered. */
void client_run(struct client *client, const struct slice_limits *limits, struct slice *ret_slice);

/* What was negotiated by the latest handshake; "" before the first. Valid until the next call that
 * makes a handshake. */
struct client_negotiated {
    char protocol[16];
    char cipher[48];
    char group[32];
};
const struct client_negotiated *client_negotiated(const struct client *client);

/* Length in bytes of the answer to the operation; 0 before the first. */
size_t client_answer_length(const struct client *client);

#endif
