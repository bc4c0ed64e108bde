/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's way to a non-blocking socket: send() and recv() behind a BIO. OpenSSL's own uses
 * read() and write(), which cost a request 3 % more, and raise SIGPIPE.
 */
#ifndef KMIPD_NET_SOCKET_H
#define KMIPD_NET_SOCKET_H

#include <openssl/ssl.h>

#include "base/status.h"

/* What connections made with it have in common; NULL without memory. End: BIO_meth_free(), when
 * none of them is left. */
BIO_METHOD *socket_method(void);

/* Makes `ssl` send and receive by `fd`, which stays the caller's. STATUS_NO_MEMORY. */
enum status socket_use(SSL *ssl, const BIO_METHOD *method, int fd) MUST_USE;

#endif
