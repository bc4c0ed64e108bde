/* SPDX-License-Identifier: Apache-2.0 */
/* TLS as a client: who we are, whom we believe, and I/O with deadlines. Inside src/client/ only. */
#ifndef KMIPD_CLIENT_TLS_H
#define KMIPD_CLIENT_TLS_H

#include <openssl/ssl.h>

#include "client/client.h"

struct client_identity {
    X509 *certificate;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    uint8_t fingerprint[CLIENT_SHA256_SIZE];
};

/* A context for all connections of a client. `hooks` becomes the argument of the session callback
 * that tls_collect_sessions() installs. */
enum status client_tls_context(const struct client_options *options, SSL_CTX **ret_context,
                               struct error *error) MUST_USE;

/* How the server proves who it is. */
enum client_proof {
    CLIENT_PROOF_NONE,      /* it does not: nothing may be sent */
    CLIENT_PROOF_PIN,       /* its certificate is the pinned one */
    CLIENT_PROOF_AUTHORITY, /* its certificate is signed by the authority, for this host */
};

/* A connection's TLS over a connected, non-blocking socket, which stays the caller's. `host` is
 * sent as SNI and checked against the certificate where `proof` is by authority. */
enum status client_tls_start(SSL_CTX *context, int socket, enum client_proof proof,
                             const char *host, SSL **ret_ssl, struct error *error) MUST_USE;

/* The handshake, by `deadline` (clock_monotonic()). The text names `server`. */
enum status client_tls_handshake(SSL *ssl, const char *server, int64_t deadline,
                                 struct error *error) MUST_USE;

/* Sends all of `bytes`; receives exactly `size`. TIMED_OUT, CLOSED, IO, each with a text that does
 * not name the server yet. */
enum status client_tls_send(SSL *ssl, struct bytes bytes, int64_t deadline,
                            struct error *error) MUST_USE;
enum status client_tls_receive(SSL *ssl, uint8_t *ret_bytes, size_t size, int64_t deadline,
                               struct error *error) MUST_USE;

/* Fills in what the handshake showed. CRYPTO_FAILED without a certificate to show. */
enum status client_tls_peer(const SSL *ssl, struct client_peer *peer) MUST_USE;

#endif
