/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of the admin process: the certificate, and what is spoken. */
#include <openssl/err.h>
#include <openssl/pem.h>

#include "admin/process_inside.h"

#define SECURITY_LEVEL 2 /* 112 bits: RSA 2048, no SHA-1 signatures */
#define CIPHERS        "ECDHE+AESGCM:ECDHE+CHACHA20"

static enum status fail(struct error *error, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    enum status status = error_set(error, STATUS_INVALID_ARGUMENT, "%s: %s", what,
                                   reason != NULL ? reason : "unknown reason");
    ERR_clear_error();
    return status;
}

/* A key under a passphrase is refused: there is nobody to ask. */
static int no_passphrase(char *text, int size, int writing, void *context)
{
    return -1;
}

static bool use_key(SSL_CTX *tls, struct bytes pem)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    bool good = key != NULL && SSL_CTX_use_PrivateKey(tls, key) == 1;
    EVP_PKEY_free(key);
    BIO_free(bio);
    return good;
}

/* The chain behind the certificate; reading ends at what is no certificate. */
static bool use_chain(SSL_CTX *tls, BIO *bio)
{
    X509 *next;
    while ((next = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(tls, next) != 1) {
            X509_free(next);
            return false;
        }
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (at_end)
        ERR_clear_error();
    return at_end;
}

static bool use_certificates(SSL_CTX *tls, struct bytes pem)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    X509 *first = bio == NULL ? NULL : PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
    bool good =
        first != NULL && SSL_CTX_use_certificate(tls, first) == 1 && use_chain(tls, bio);
    X509_free(first);
    BIO_free(bio);
    return good;
}

/* HTTP/1.1 is all that is spoken (RFC 7301 §3.2); to a client that offers others alone nothing is
 * said, as to one that offers none. */
static int choose_protocol(SSL *ssl, const unsigned char **ret_protocol, unsigned char *ret_size,
                           const unsigned char *offered, unsigned offered_size, void *context)
{
    static const unsigned char ours[] = "\x08http/1.1";
    int found = SSL_select_next_proto((unsigned char **)(uintptr_t)ret_protocol, ret_size, ours,
                                      sizeof(ours) - 1, offered, offered_size);
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static bool configure(SSL_CTX *tls)
{
    SSL_CTX_set_security_level(tls, SECURITY_LEVEL);
    (void)SSL_CTX_set_options(tls, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_RENEGOTIATION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                       SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(tls, choose_protocol, NULL);
    return SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(tls, CIPHERS) == 1 && SSL_CTX_set_num_tickets(tls, 1) == 1;
}

enum status process_make_tls(const struct link_identity *identity, SSL_CTX **ret_tls,
                             struct error *error)
{
    ERR_clear_error();
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    enum status status = STATUS_OK;
    if (tls == NULL || !configure(tls))
        status = fail(error, "cannot prepare TLS");
    else if (!use_certificates(tls, identity->certificate))
        status = fail(error, "the server certificate cannot be used");
    else if (!use_key(tls, identity->key))
        status = fail(error, "the private key of the server certificate cannot be used");
    else if (SSL_CTX_check_private_key(tls) != 1)
        status = fail(error, "the private key is not that of the server certificate");
    if (status == STATUS_OK)
        *ret_tls = tls;
    else
        SSL_CTX_free(tls);
    return status;
}
