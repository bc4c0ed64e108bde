/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's way to a non-blocking socket: send() and recv() behind a BIO. OpenSSL's own uses
 * read() and write(), which cost a request 3 % more, and raise SIGPIPE; and SSL_read() goes on for
 * as long as a client sends records without a payload, so here it is told to come back later.
 */
#ifndef KMIPD_NET_SOCKET_H
#define KMIPD_NET_SOCKET_H

#include <openssl/ssl.h>

#include "base/status.h"

struct socket {
    int fd;
    unsigned reads; /* how many more before it says "later"; set by the owner for each turn */
};

/* What connections made with it have in common; NULL without memory. End: BIO_meth_free(), when
 * none of them is left. */
BIO_METHOD *socket_method(void);

/* Makes `ssl` send and receive by `socket`, which stays the caller's. STATUS_NO_MEMORY. */
enum status socket_use(SSL *ssl, const BIO_METHOD *method, struct socket *socket) MUST_USE;

#endif
