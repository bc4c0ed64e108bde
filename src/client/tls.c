/* SPDX-License-Identifier: Apache-2.0 */
#include "client/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <time.h>

#include "base/clock.h"
#include "crypto/digest.h"

static const char *openssl_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    if (ERR_SYSTEM_ERROR(code))
        reason = strerrordesc_np(ERR_GET_REASON(code));
    ERR_clear_error();
    return reason != NULL ? reason : "unknown reason";
}

/* ---- Setting up ---- */

static bool use_identity(SSL_CTX *context, const struct client_identity *identity)
{
    return identity == NULL || (SSL_CTX_use_certificate(context, identity->certificate) == 1 &&
                                SSL_CTX_use_PrivateKey(context, identity->key) == 1 &&
                                SSL_CTX_set1_chain(context, identity->chain) == 1);
}

enum status client_tls_context(const struct client_options *options, SSL_CTX **ret_context,
                               struct error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        return error_set(error, STATUS_NO_MEMORY, "cannot set up TLS: %s", openssl_reason());
    bool set = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
               SSL_CTX_set_max_proto_version(context,
                                             options->tls12 ? TLS1_2_VERSION : TLS1_3_VERSION) == 1;
    if (!set || !use_identity(context, options->identity)) {
        SSL_CTX_free(context);
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "OpenSSL refuses the client certificate: %s", openssl_reason());
    }
    if (options->ca_file != NULL && SSL_CTX_load_verify_file(context, options->ca_file) != 1) {
        SSL_CTX_free(context);
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "cannot read the certificate authority in %s: %s", options->ca_file,
                         openssl_reason());
    }
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                           SSL_OP_CLEANSE_PLAINTEXT);
    (void)SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
    (void)SSL_CTX_set_session_cache_mode(context,
                                         SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    *ret_context = context;
    return STATUS_OK;
}

static bool is_numeric(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

static bool expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    return is_numeric(host) ? X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1
                            : SSL_set1_host(ssl, host) == 1;
}

enum status client_tls_start(SSL_CTX *context, int socket, enum client_proof proof,
                             const char *host, SSL **ret_ssl, struct error *error)
{
    SSL *ssl = SSL_new(context);
    if (ssl == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a TLS connection");
    bool by_authority = proof == CLIENT_PROOF_AUTHORITY;
    SSL_set_verify(ssl, by_authority ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    SSL_set_connect_state(ssl);
    bool set = SSL_set_fd(ssl, socket) == 1 && (!by_authority || expect_host(ssl, host)) &&
               (is_numeric(host) || SSL_set_tlsext_host_name(ssl, host) == 1);
    if (!set) {
        SSL_free(ssl);
        return error_set(error, STATUS_INVALID_ARGUMENT, "cannot set up TLS to %s: %s", host,
                         openssl_reason());
    }
    *ret_ssl = ssl;
    return STATUS_OK;
}

/* ---- Input and output ---- */

static enum status wait_for(const SSL *ssl, short events, int64_t deadline, struct error *error)
{
    struct pollfd ready = {.fd = SSL_get_fd(ssl), .events = events};
    for (;;) {
        int64_t left = deadline - clock_monotonic();
        int count = left > 0 ? poll(&ready, 1, left < INT_MAX ? (int)left : INT_MAX) : 0;
        if (count > 0)
            return STATUS_OK;
        if (count == 0)
            return error_set(error, STATUS_TIMED_OUT, "it did not answer in time");
        if (errno != EINTR)
            return error_set_errno(error, STATUS_IO, errno, "cannot wait for it");
    }
}

static enum status explain_system_error(int number, struct error *error)
{
    if (number == 0 || number == ECONNRESET || number == EPIPE)
        return error_set(error, STATUS_CLOSED, "it closed the connection");
    return error_set_errno(error, STATUS_IO, number, "the connection failed");
}

/* After a call of OpenSSL that did not succeed: waits where that helps, else says why. */
static enum status after(const SSL *ssl, int result, int64_t deadline, struct error *error)
{
    int number = errno;
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return wait_for(ssl, POLLIN, deadline, error);
    case SSL_ERROR_WANT_WRITE:
        return wait_for(ssl, POLLOUT, deadline, error);
    case SSL_ERROR_ZERO_RETURN:
        return error_set(error, STATUS_CLOSED, "it closed the connection");
    case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        return explain_system_error(number, error);
    default:
        break;
    }
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return error_set(error, STATUS_CLOSED, "it closed the connection");
    }
    return error_set(error, STATUS_IO, "TLS failed: %s", openssl_reason());
}

static enum status explain_handshake(const SSL *ssl, const char *server, enum status status,
                                     const struct error *why, struct error *error)
{
    long verified = SSL_get_verify_result(ssl);
    if (status == STATUS_TIMED_OUT)
        return error_set(error, status,
                         "%s took the connection, but did not complete the TLS handshake in time: "
                         "is it overloaded, or no TLS server?",
                         server);
    if (SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && verified != X509_V_OK)
        return error_set(error, STATUS_NOT_AUTHENTICATED,
                         "the certificate of %s cannot be trusted: %s; check that the certificate "
                         "authority is this server's, and the address one that its certificate has",
                         server, X509_verify_cert_error_string(verified));
    return error_set(error, status, "the TLS handshake with %s failed: %s", server,
                     error_text(why));
}

enum status client_tls_handshake(SSL *ssl, const char *server, int64_t deadline,
                                 struct error *error)
{
    for (;;) {
        struct error why = {0};
        ERR_clear_error();
        errno = 0;
        int result = SSL_do_handshake(ssl);
        if (result == 1)
            return STATUS_OK;
        enum status status = after(ssl, result, deadline, &why);
        if (status != STATUS_OK)
            return explain_handshake(ssl, server, status, &why, error);
    }
}

enum status client_tls_send(SSL *ssl, struct bytes bytes, int64_t deadline, struct error *error)
{
    for (;;) {
        size_t written = 0;
        ERR_clear_error();
        errno = 0;
        /* Without SSL_MODE_ENABLE_PARTIAL_WRITE it succeeds when all is written. */
        if (SSL_write_ex(ssl, bytes.data, bytes.size, &written) == 1)
            return STATUS_OK;
        enum status status = after(ssl, 0, deadline, error);
        if (status != STATUS_OK)
            return status;
    }
}

enum status client_tls_receive(SSL *ssl, uint8_t *ret_bytes, size_t size, int64_t deadline,
                               struct error *error)
{
    for (size_t done = 0; done < size;) {
        size_t got = 0;
        ERR_clear_error();
        errno = 0;
        if (SSL_read_ex(ssl, ret_bytes + done, size - done, &got) == 1) {
            done += got;
            continue;
        }
        enum status status = after(ssl, 0, deadline, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* ---- What was negotiated ---- */

static void print_name(const X509_NAME *name, char *ret_text, size_t size)
{
    BIO *memory = BIO_new(BIO_s_mem());
    ret_text[0] = '\0';
    if (memory == NULL)
        return;
    if (X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253) >= 0) {
        int length = BIO_read(memory, ret_text, (int)size - 1);
        ret_text[length > 0 ? length : 0] = '\0';
    }
    BIO_free(memory);
}

static enum status take_fingerprints(X509 *certificate, struct client_peer *peer)
{
    uint8_t *der = NULL;
    int size = i2d_X509(certificate, &der);
    if (size < 0)
        return STATUS_CRYPTO_FAILED;
    struct bytes bytes = bytes_of(der, (size_t)size);
    enum status status = digest_sha256(bytes, peer->sha256);
    if (status == STATUS_OK && digest_sha1(bytes, peer->sha1) != STATUS_OK)
        memset(peer->sha1, 0, sizeof(peer->sha1)); /* OpenSSL may have been built without */
    OPENSSL_free(der);
    return status;
}

enum status client_tls_peer(const SSL *ssl, struct client_peer *peer)
{
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    struct tm date = {0};
    if (certificate == NULL || take_fingerprints(certificate, peer) != STATUS_OK)
        return STATUS_CRYPTO_FAILED;
    print_name(X509_get_subject_name(certificate), peer->subject, sizeof(peer->subject));
    print_name(X509_get_issuer_name(certificate), peer->issuer, sizeof(peer->issuer));
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &date) == 1)
        peer->valid_until = timegm(&date);
    (void)snprintf(peer->protocol, sizeof(peer->protocol), "%s", SSL_get_version(ssl));
    (void)snprintf(peer->cipher, sizeof(peer->cipher), "%s", SSL_get_cipher_name(ssl));
    peer->resumed = SSL_session_reused(ssl) == 1;
    return STATUS_OK;
}
