/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_SECONDS = 10, DAY_SECONDS = 24 * 60 * 60 };

static EVP_PKEY *make_key(const char *type, unsigned bits)
{
    if (strcmp(type, "EC") == 0)
        return EVP_EC_gen("P-256");
    if (strncmp(type, "P-", 2) == 0)
        return EVP_EC_gen(type);
    if (strcmp(type, "RSA") == 0)
        return EVP_RSA_gen(bits);
    return EVP_PKEY_Q_keygen(NULL, NULL, type, (size_t)bits);
}

struct credentials credentials_make(const char *key_type, unsigned bits, const char *name,
                                    int from_day, int to_day)
{
    struct credentials made = {X509_new(), make_key(key_type, bits)};
    X509_NAME *subject = X509_NAME_new();
    uint32_t serial;
    assert_int_equal(RAND_bytes((uint8_t *)&serial, sizeof(serial)), 1);
    assert_non_null(made.key);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                (const unsigned char *)name, -1, -1, 0),
                     1);
    assert_int_equal(X509_set_version(made.certificate, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), serial), 1);
    assert_int_equal(X509_set_subject_name(made.certificate, subject), 1);
    assert_int_equal(X509_set_issuer_name(made.certificate, subject), 1);
    assert_non_null(
        X509_gmtime_adj(X509_getm_notBefore(made.certificate), (long)from_day * DAY_SECONDS));
    assert_non_null(
        X509_gmtime_adj(X509_getm_notAfter(made.certificate), (long)to_day * DAY_SECONDS));
    assert_int_equal(X509_set_pubkey(made.certificate, made.key), 1);
    const EVP_MD *digest = strncmp(key_type, "ED", 2) == 0 ? NULL : EVP_sha256();
    assert_true(X509_sign(made.certificate, made.key, digest) > 0);
    X509_NAME_free(subject);
    return made;
}

void credentials_free(struct credentials *credentials)
{
    X509_free(credentials->certificate);
    EVP_PKEY_free(credentials->key);
    *credentials = (struct credentials){0};
}

void credentials_write_certificate(const struct credentials *credentials,
                                   const char *certificate_file)
{
    FILE *file = fopen(certificate_file, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, credentials->certificate), 1);
    assert_int_equal(fclose(file), 0);
}

void credentials_write(const struct credentials *credentials, const char *certificate_file,
                       const char *key_file)
{
    credentials_write_certificate(credentials, certificate_file);
    FILE *file = fopen(key_file, "w");
    assert_non_null(file);
    assert_int_equal(chmod(key_file, 0600), 0);
    assert_int_equal(PEM_write_PrivateKey(file, credentials->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
}

void credentials_fingerprint(const struct credentials *credentials, uint8_t ret_fingerprint[32])
{
    assert_int_equal(X509_digest(credentials->certificate, EVP_sha256(), ret_fingerprint, NULL), 1);
}

SSL_CTX *peer_context(const struct credentials *credentials, int version)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_non_null(context);
    SSL_CTX_set_security_level(context, 0); /* old clients are played too */
    assert_int_equal(SSL_CTX_set_min_proto_version(context, version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(context, version), 1);
    if (credentials == NULL)
        return context;
    assert_int_equal(SSL_CTX_use_certificate(context, credentials->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, credentials->key), 1);
    return context;
}

/* False when nobody listens. */
static bool connect_plain(unsigned port, struct peer *ret_peer)
{
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    const int on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct peer peer = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *ret_peer = peer;
    return setsockopt(peer.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
           setsockopt(peer.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
           setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
           connect(peer.fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}

struct peer peer_connect_plain(unsigned port)
{
    struct peer peer;
    assert_true(connect_plain(port, &peer));
    return peer;
}

bool peer_try_connect(SSL_CTX *context, unsigned port, SSL_SESSION *session, struct peer *ret_peer)
{
    ERR_clear_error();
    if (!connect_plain(port, ret_peer))
        return false;
    ret_peer->ssl = SSL_new(context);
    return ret_peer->ssl != NULL && SSL_set_fd(ret_peer->ssl, ret_peer->fd) == 1 &&
           (session == NULL || SSL_set_session(ret_peer->ssl, session) == 1) &&
           SSL_connect(ret_peer->ssl) == 1;
}

struct peer peer_connect(SSL_CTX *context, unsigned port, SSL_SESSION *session)
{
    struct peer peer;
    if (!peer_try_connect(context, port, session, &peer)) {
        ERR_print_errors_fp(stderr);
        fail_msg("handshake failed");
    }
    return peer;
}

void peer_send(const struct peer *peer, struct bytes bytes)
{
    size_t written = 0;
    assert_int_equal(SSL_write_ex(peer->ssl, bytes.data, bytes.size, &written), 1);
    assert_int_equal(written, bytes.size);
}

void peer_receive(const struct peer *peer, uint8_t *ret_bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        size_t got = 0;
        if (SSL_read_ex(peer->ssl, ret_bytes + done, size - done, &got) != 1)
            fail_msg("the connection ended after %zu of %zu bytes (error %d)", done, size,
                     SSL_get_error(peer->ssl, 0));
        done += got;
    }
}

bool peer_is_closed(const struct peer *peer)
{
    uint8_t byte;
    size_t got = 0;
    if (peer->ssl == NULL) {
        ssize_t size = read(peer->fd, &byte, 1);
        return size == 0 || (size < 0 && errno == ECONNRESET);
    }
    ERR_clear_error();
    errno = 0;
    if (SSL_read_ex(peer->ssl, &byte, 1, &got) == 1)
        return false;
    return SSL_get_error(peer->ssl, 0) != SSL_ERROR_WANT_READ && errno != EAGAIN;
}

void peer_close(struct peer *peer)
{
    if (peer->ssl != NULL)
        (void)SSL_shutdown(peer->ssl);
    SSL_free(peer->ssl);
    (void)close(peer->fd);
    ERR_clear_error();
    *peer = (struct peer){.fd = -1};
}

void peer_reset(struct peer *peer)
{
    const struct linger at_once = {.l_onoff = 1};
    assert_int_equal(setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    SSL_free(peer->ssl);
    (void)close(peer->fd);
    *peer = (struct peer){.fd = -1};
}
