/* SPDX-License-Identifier: Apache-2.0 */
/* The server's certificate, and TLS as this server speaks it. */
#ifndef KMIPD_NET_TLS_H
#define KMIPD_NET_TLS_H

#include <openssl/ssl.h>

#include "net/net.h"
#include "net/tickets.h"

/* The certificate, its chain and its key. */
struct identity {
    X509 *certificate;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

/*
 * Reads PEM files. Errors, each with a text that says what to do: STATUS_IO (missing, unreadable),
 * STATUS_INVALID_ARGUMENT (no certificate in it, key under a passphrase, open to other users, or of
 * another certificate). *ret_warning: expired, not yet valid, or expiring within 30 days; its text
 * is empty otherwise. End: identity_free().
 */
enum status identity_load(const char *certificate_file, const char *key_file,
                          struct identity *ret_identity, struct error *ret_warning,
                          struct error *error) MUST_USE;
void identity_free(struct identity *identity);

/*
 * A context for one loop: copies of the key, so that loops do not share its locks. `library` (of
 * library_get(), may be NULL) and `tickets` must outlive it. STATUS_INVALID_ARGUMENT with a text when OpenSSL refuses the certificate (a key that
 * is too small), STATUS_NO_MEMORY.
 */
enum status tls_context_make(const struct identity *identity, OSSL_LIB_CTX *library,
                             struct tickets *tickets, bool legacy_ciphers, SSL_CTX **ret_context,
                             struct error *error) MUST_USE;

/* Whether a part of a record is there, or a whole one that was not read to its end. */
bool tls_record_begun(const SSL *ssl);

/*
 * Gives back the record buffers (32 KiB) of a connection, unless a record has begun. OpenSSL has
 * wiped what was read out of them, as SSL_OP_CLEANSE_PLAINTEXT says. With that option it would
 * here, or by itself with SSL_MODE_RELEASE_BUFFERS, wipe all 16 KiB of the buffer again, which
 * costs a tenth of a request.
 */
void tls_release_buffers(SSL *ssl);

/* Why the last call of OpenSSL failed, for people; static storage. Empties the error queue. */
const char *tls_reason(void);

#endif
