/* SPDX-License-Identifier: Apache-2.0 */
/* What process*.c share. Inside src/admin/ only. */
#ifndef KMIPD_ADMIN_PROCESS_INSIDE_H
#define KMIPD_ADMIN_PROCESS_INSIDE_H

#include <event2/http.h>
#include <openssl/ssl.h>
#include <sys/queue.h>

#include "admin/link.h"
#include "base/error.h"

struct bufferevent;
struct event_base;
struct evconnlistener;

/* One from accept() to the end of its TLS state, which it belongs to. */
struct peer {
    struct process *process;
    SSL *ssl;
    struct peer_list *list; /* that it stands in */
    int64_t since;          /* monotonic milliseconds */
    TAILQ_ENTRY(peer) place;
};
TAILQ_HEAD(peer_list, peer);

/* A request that is with kmipd. */
struct slot {
    struct evhttp_request *request; /* NULL: free */
    uint32_t serial;
    uint32_t next_free;
};

struct process {
    struct link_setup setup; /* without the identity */
    struct event_base *base;
    struct evhttp *http;
    struct evconnlistener *listener;
    struct bufferevent *link;
    SSL_CTX *tls;
    int peer_index; /* of SSL's extra data */

    unsigned peer_count;
    struct peer_list silent;    /* nothing has come yet, or not all of a request; oldest first */
    struct peer_list working;   /* kmipd has the request */
    struct peer_list answering; /* the answer is on its way */

    struct slot *slots;
    uint32_t slot_count;
    uint32_t first_free; /* slot_count: none */
    struct buffer frame; /* of what is being sent to kmipd */
    bool ending;
};

/* ---- process_tls.c ---- */

/* INVALID_ARGUMENT with a text: certificate and key are none, or do not belong together. */
enum status process_make_tls(const struct link_identity *identity, SSL_CTX **ret_tls,
                             struct error *error) MUST_USE;

/* ---- process_peers.c ---- */

/* For evhttp: what speaks with a connection that was accepted. */
struct bufferevent *process_make_peer(struct event_base *base, void *process);
/* Called once a second: ends those that have taken too long. */
void process_look_at_peers(struct process *process);
void process_move_peer(struct process *process, struct evhttp_request *request,
                       struct peer_list *list);
enum status process_open_peers(struct process *process, struct error *error) MUST_USE;

/* ---- process_http.c ---- */

/* For evhttp: a whole request has come. */
void process_take_request(struct evhttp_request *request, void *process);
/* An answer of kmipd. False: kmipd has said something that makes no sense. */
bool process_take_answer(struct process *process, uint64_t number, struct bytes payload);
enum status process_open_http(struct process *process, struct error *error) MUST_USE;

#endif
