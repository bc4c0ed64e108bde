/* SPDX-License-Identifier: Apache-2.0 */
/* One connection, from accept to its end. All but net_answer() runs on its loop's thread. */
#ifndef KMIPD_NET_CONNECTION_H
#define KMIPD_NET_CONNECTION_H

#include "net/loop.h"
#include "net/socket.h"

enum connection_state {
    CONNECTION_HANDSHAKE,
    CONNECTION_OPEN,
    CONNECTION_LINGER, /* TLS is over, the socket is open: see connection_finish() */
    CONNECTION_LOST,   /* gone, but its answer is still to come */
    CONNECTION_DEAD,   /* to be freed at the end of the turn */
};

struct net_connection {
    struct deadline deadline;
    struct loop *loop;
    SSL *ssl;
    struct socket socket;
    enum connection_state state;
    enum wait wait;
    uint32_t interest;              /* what epoll watches for */
    bool outstanding;               /* the handler has a frame and has not answered */
    bool delivering;                /* the handler is being called */
    bool spoke;                     /* a frame came, or what can be none */
    bool known;                     /* and was let in: counted in clients, session made */
    bool progress;                  /* a frame or an answer passed since the deadline was stamped */
    bool offer_ticket;              /* one is due with the first answer */
    bool warm;                      /* is in loop->warm[] */
    bool closing;                   /* nothing more is read; closed when everything is written */
    struct net_reply *reply;        /* by net_answer(), any thread, until the loop has it */
    struct net_reply *reply_inside; /* by net_answer() from inside the handler's call */
    struct net_connection *next;    /* in loop->answered or loop->dead */
    void *session;
    struct carry input;  /* read and not yet handled */
    struct carry unsent; /* answers that the socket did not take */
    struct net_peer peer;
};

/* A connection just accepted. On failure the socket is closed. */
void connection_open(struct loop *loop, int fd, const union address *address);

/* What epoll says about the socket. */
void connection_event(struct net_connection *connection, uint32_t events);

/* The answer that net_answer() gave has reached the loop. */
void connection_answered(struct net_connection *connection);

/* The deadline has passed. */
void connection_expired(struct net_connection *connection);

/* The server is stopping: ends what is idle, lets what is in flight be answered. */
void connection_drain(struct net_connection *connection);

/* Ends it at once. An outstanding answer is still awaited, and thrown away. */
void connection_close(struct net_connection *connection);

/* Frees one that is dead. */
void connection_free(struct net_connection *connection);

#endif
