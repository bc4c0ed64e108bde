/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: certificates made on the spot, and a blocking TLS client. Failures fail the test. */
#ifndef KMIPD_TESTS_TLS_PEER_H
#define KMIPD_TESTS_TLS_PEER_H

#include <openssl/ssl.h>

#include "base/bytes.h"

struct credentials {
    X509 *certificate;
    EVP_PKEY *key;
};

/* A self-signed certificate, valid from `from_day` to `to_day` counted from today. `key_type`:
 * "EC" (P-256), "P-384", "P-521", "ED25519", "ED448", or "RSA" of `bits`. */
struct credentials credentials_make(const char *key_type, unsigned bits, const char *name,
                                    int from_day, int to_day);
void credentials_free(struct credentials *credentials);
void credentials_write_certificate(const struct credentials *credentials,
                                   const char *certificate_file);
void credentials_write(const struct credentials *credentials, const char *certificate_file,
                       const char *key_file);
void credentials_fingerprint(const struct credentials *credentials, uint8_t ret_fingerprint[32]);

/* One end of a connection. */
struct peer {
    int fd;
    SSL *ssl;
};

/* A client's context; NULL credentials for none. */
SSL_CTX *peer_context(const struct credentials *credentials, int version);

/* Connects the socket alone, to 127.0.0.1. */
struct peer peer_connect_plain(unsigned port);

/* Connects and shakes hands; `session` may be NULL. */
struct peer peer_connect(SSL_CTX *context, unsigned port, SSL_SESSION *session);

/* The same, but returns whether it succeeded (for TLS 1.3: as far as the client sees). Any thread. */
bool peer_try_connect(SSL_CTX *context, unsigned port, SSL_SESSION *session, struct peer *ret_peer);

void peer_send(const struct peer *peer, struct bytes bytes);

/* Exactly `size` bytes, within ten seconds. */
void peer_receive(const struct peer *peer, uint8_t *ret_bytes, size_t size);

/* Whether the other side ends within ten seconds without sending anything more. */
bool peer_is_closed(const struct peer *peer);

/* Sends close_notify and closes. */
void peer_close(struct peer *peer);

/* Closes so that the server's socket receives a reset. */
void peer_reset(struct peer *peer);

#endif
