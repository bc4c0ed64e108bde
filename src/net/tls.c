/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <time.h>

enum {
    WARN_DAYS = 30,
    CERTIFICATES_BYTES_MAX = 32 * 1024, /* of a client's chain, while its handshake lasts */
    SESSIONS_KEPT = 256,                /* of clients of TLS 1.2 that know no tickets */
    SECURITY_LEVEL = 2,                 /* 112 bits: RSA 2048, no SHA-1 signatures */
};

/* ECDHE first (forward secrecy); GCM and ChaCha20-Poly1305 cost half of CBC. */
#define CIPHERS        "ECDHE+AESGCM:ECDHE+CHACHA20"
#define LEGACY_CIPHERS CIPHERS ":ECDHE+AES:RSA+AESGCM:RSA+AES:!AESCCM:!PSK:!SRP:!DSS"
#define GROUPS         "X25519:P-256:P-384:P-521"

const char *tls_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    if (ERR_SYSTEM_ERROR(code))
        reason = strerrordesc_np(ERR_GET_REASON(code));
    ERR_clear_error();
    return reason != NULL ? reason : "unknown reason";
}

bool tls_record_begun(const SSL *ssl)
{
    return SSL_has_pending(ssl) == 1 || strcmp(SSL_rstate_string(ssl), "RH") != 0;
}

void tls_release_buffers(SSL *ssl)
{
    /* SSL_free_buffers() itself looks only since OpenSSL 3.0.14 (CVE-2024-4741). */
    if (tls_record_begun(ssl))
        return;
    (void)SSL_clear_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
    (void)SSL_free_buffers(ssl);
    (void)SSL_set_options(ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

static enum status cannot_read(const char *what, const char *file, int number, struct error *error)
{
    return error_set_errno(error, STATUS_IO, number, "cannot read the %s file %s", what, file);
}

static enum status load_certificates(FILE *stream, const char *file, struct identity *identity,
                                     struct error *error)
{
    identity->certificate = PEM_read_X509_AUX(stream, NULL, NULL, NULL);
    identity->chain = sk_X509_new_null();
    X509 *next = NULL;
    while (identity->certificate != NULL && identity->chain != NULL &&
           (next = PEM_read_X509(stream, NULL, NULL, NULL)) != NULL)
        if (sk_X509_push(identity->chain, next) == 0) {
            X509_free(next);
            break;
        }
    /* Reading past the last certificate leaves this one error. */
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (identity->certificate != NULL && identity->chain != NULL && at_end) {
        ERR_clear_error();
        return STATUS_OK;
    }
    return error_set(error, STATUS_INVALID_ARGUMENT,
                     "the certificate file %s holds no certificate in PEM, or a damaged one: %s",
                     file, tls_reason());
}

/* Called for keys under a passphrase, which nobody could type at boot. */
static int no_passphrase(char *text, int size, int writing, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

static enum status load_key(FILE *stream, const char *file, struct identity *identity,
                            struct error *error)
{
    bool asked = false;
    struct stat attributes;
    if (fstat(fileno(stream), &attributes) != 0)
        return cannot_read("key", file, errno, error);
    if ((attributes.st_mode & (S_IRWXO | S_IWGRP | S_IXGRP)) != 0)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the key file %s is open to other users (mode %04o): chmod 600 %s", file,
                         (unsigned)attributes.st_mode & 07777, file);
    identity->key = PEM_read_PrivateKey(stream, NULL, no_passphrase, &asked);
    if (identity->key != NULL)
        return STATUS_OK;
    const char *reason = tls_reason();
    if (asked)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the key file %s is under a passphrase: write it without one (`openssl "
                         "pkey -in %s -out NEW`), mode 0600",
                         file, file);
    return error_set(error, STATUS_INVALID_ARGUMENT,
                     "the key file %s holds no private key in PEM, or a damaged one: %s", file,
                     reason);
}

static enum status load_file(const char *what, const char *file,
                             enum status (*load)(FILE *, const char *, struct identity *,
                                                 struct error *),
                             struct identity *identity, struct error *error)
{
    FILE *stream = fopen(file, "re");
    if (stream == NULL)
        return cannot_read(what, file, errno, error);
    enum status status = load(stream, file, identity, error);
    (void)fclose(stream);
    return status;
}

static void warn_of_dates(const X509 *certificate, const char *file, struct error *ret_warning)
{
    time_t soon = time(NULL) + (time_t)WARN_DAYS * 24 * 60 * 60;
    const ASN1_TIME *end = X509_get0_notAfter(certificate);
    struct tm date = {0};
    char day[16] = "?";
    if (ASN1_TIME_to_tm(end, &date) == 1)
        (void)strftime(day, sizeof(day), "%Y-%m-%d", &date);
    if (X509_cmp_current_time(end) < 0)
        (void)error_set(ret_warning, STATUS_INVALID_ARGUMENT,
                        "the server certificate %s expired on %s: clients that check it refuse to "
                        "connect; renew it",
                        file, day);
    else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        (void)error_set(ret_warning, STATUS_INVALID_ARGUMENT,
                        "the server certificate %s is not valid yet: check this machine's clock",
                        file);
    else if (X509_cmp_time(end, &soon) < 0)
        (void)error_set(ret_warning, STATUS_INVALID_ARGUMENT,
                        "the server certificate %s expires on %s: renew it", file, day);
}

enum status identity_load(const char *certificate_file, const char *key_file,
                          struct identity *ret_identity, struct error *ret_warning,
                          struct error *error)
{
    struct identity identity = {0};
    ERR_clear_error();
    *ret_warning = (struct error){0};
    enum status status =
        load_file("certificate", certificate_file, load_certificates, &identity, error);
    if (status == STATUS_OK)
        status = load_file("key", key_file, load_key, &identity, error);
    if (status == STATUS_OK && X509_check_private_key(identity.certificate, identity.key) != 1)
        status = error_set(error, STATUS_INVALID_ARGUMENT,
                           "the key in %s is not that of the certificate in %s", key_file,
                           certificate_file);
    ERR_clear_error();
    if (status != STATUS_OK) {
        identity_free(&identity);
        return status;
    }
    warn_of_dates(identity.certificate, certificate_file, ret_warning);
    *ret_identity = identity;
    return STATUS_OK;
}

void identity_free(struct identity *identity)
{
    X509_free(identity->certificate);
    sk_X509_pop_free(identity->chain, X509_free);
    EVP_PKEY_free(identity->key);
    *identity = (struct identity){0};
}

/*
 * Any certificate passes: the handshake proves possession of its key, and whoever handles frames
 * knows certificates by fingerprint.
 */
static int accept_any(X509_STORE_CTX *store, void *unused)
{
    return 1;
}

static bool set_identity(SSL_CTX *context, const struct identity *identity)
{
    X509 *certificate = X509_dup(identity->certificate);
    EVP_PKEY *key = EVP_PKEY_dup(identity->key);
    bool set = certificate != NULL && key != NULL &&
               SSL_CTX_use_certificate(context, certificate) == 1 &&
               SSL_CTX_use_PrivateKey(context, key) == 1 &&
               SSL_CTX_set1_chain(context, identity->chain) == 1;
    X509_free(certificate);
    EVP_PKEY_free(key);
    return set;
}

static void set_behaviour(SSL_CTX *context)
{
    static const unsigned char session_context[] = "kmipd";
    (void)SSL_CTX_set_options(
        context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CLEANSE_PLAINTEXT |
                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* Not SSL_MODE_RELEASE_BUFFERS: see tls_release_buffers(). */
    (void)SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                        SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context, accept_any, NULL);
    SSL_CTX_set_max_cert_list(context, CERTIFICATES_BYTES_MAX);
    (void)SSL_CTX_set_session_id_context(context, session_context, sizeof(session_context) - 1);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
    (void)SSL_CTX_sess_set_cache_size(context, SESSIONS_KEPT);
    (void)SSL_CTX_set_timeout(context, TICKET_LIFE_SECONDS);
    /* TLS 1.3 tickets go out with the first answer, to those who use them: see connection.c. */
    (void)SSL_CTX_set_num_tickets(context, 0);
}

enum status tls_context_make(const struct identity *identity, OSSL_LIB_CTX *library,
                             struct tickets *tickets, bool legacy_ciphers, SSL_CTX **ret_context,
                             struct error *error)
{
    SSL_CTX *context = SSL_CTX_new_ex(library, NULL, TLS_server_method());
    if (context == NULL)
        return error_set(error, STATUS_NO_MEMORY, "cannot set up TLS: %s", tls_reason());
    SSL_CTX_set_security_level(context, SECURITY_LEVEL);
    bool set = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
               SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
               SSL_CTX_set_cipher_list(context, legacy_ciphers ? LEGACY_CIPHERS : CIPHERS) == 1 &&
               SSL_CTX_set1_groups_list(context, GROUPS) == 1;
    if (!set || !set_identity(context, identity)) {
        SSL_CTX_free(context);
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "OpenSSL refuses the server certificate: %s", tls_reason());
    }
    set_behaviour(context);
    tickets_use(tickets, context);
    *ret_context = context;
    return STATUS_OK;
}
