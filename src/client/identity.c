/* SPDX-License-Identifier: Apache-2.0 */
/* Our certificate and private key, from files. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "client/tls.h"
#include "crypto/digest.h"

#define KEY_FILE_MAX         16384
#define CERTIFICATE_FILE_MAX (256 * 1024)

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    return reason != NULL ? reason : "unknown reason";
}

static enum status parse_certificates(BIO *pem, const char *file, struct client_identity *identity,
                                      struct error *error)
{
    X509 *next = NULL;
    identity->certificate = PEM_read_bio_X509(pem, NULL, NULL, NULL);
    identity->chain = sk_X509_new_null();
    if (identity->certificate == NULL || identity->chain == NULL)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the certificate file %s holds no certificate in PEM, or a damaged one: "
                         "%s",
                         file, openssl_reason());
    while ((next = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL)
        if (sk_X509_push(identity->chain, next) == 0) {
            X509_free(next);
            return error_set(error, STATUS_NO_MEMORY, "no memory for the certificates in %s", file);
        }
    ERR_clear_error(); /* the end of the file */
    return STATUS_OK;
}

static enum status load_certificates(const char *file, struct client_identity *identity,
                                     struct error *error)
{
    struct buffer content;
    buffer_init(&content, CERTIFICATE_FILE_MAX);
    enum status status = file_read(file, FILE_PUBLIC, &content, error);
    if (status == STATUS_OK) {
        BIO *pem = BIO_new_mem_buf(content.data, (int)content.size);
        status = pem != NULL ? parse_certificates(pem, file, identity, error)
                             : error_set(error, STATUS_NO_MEMORY, "no memory to read %s", file);
        BIO_free(pem);
    }
    buffer_free(&content);
    return status;
}

/* Called for keys under a passphrase. */
static int no_passphrase(char *text, int size, int writing, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

static enum status parse_key(const struct secret *content, const char *file,
                             struct client_identity *identity, struct error *error)
{
    bool asked = false;
    BIO *pem = BIO_new_mem_buf(content->data, (int)content->size);
    if (pem == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory to read %s", file);
    identity->key = PEM_read_bio_PrivateKey(pem, NULL, no_passphrase, &asked);
    BIO_free(pem);
    if (identity->key != NULL)
        return STATUS_OK;
    const char *reason = openssl_reason();
    if (asked)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the key file %s is under a passphrase: write it without one (`openssl "
                         "pkey -in %s -out NEW`), mode 0600",
                         file, file);
    return error_set(error, STATUS_INVALID_ARGUMENT,
                     "the key file %s holds no private key in PEM, or a damaged one: %s", file,
                     reason);
}

/* Root may use the key of another user, such as kmipd's, so only what others could do counts. */
static enum status check_key_mode(const char *file, struct error *error)
{
    struct stat attributes;
    if (stat(file, &attributes) != 0)
        return error_set_errno(error, STATUS_IO, errno, "cannot read the key file %s", file);
    if ((attributes.st_mode & (S_IRWXO | S_IWGRP | S_IXGRP)) == 0)
        return STATUS_OK;
    return error_set(error, STATUS_INVALID_ARGUMENT,
                     "the key file %s is open to other users (mode %04o): chmod 600 %s", file,
                     (unsigned)attributes.st_mode & 07777, file);
}

static enum status load_key(const char *file, struct client_identity *identity, struct error *error)
{
    struct secret content = {0};
    enum status status = check_key_mode(file, error);
    if (status == STATUS_OK)
        status = file_read_secret(file, FILE_PUBLIC, KEY_FILE_MAX, &content, error);
    if (status == STATUS_OK)
        status = parse_key(&content, file, identity, error);
    secret_free(&content);
    return status;
}

static enum status make_fingerprint(struct client_identity *identity)
{
    uint8_t *der = NULL;
    int size = i2d_X509(identity->certificate, &der);
    if (size < 0)
        return STATUS_CRYPTO_FAILED;
    enum status status = digest_sha256(bytes_of(der, (size_t)size), identity->fingerprint);
    OPENSSL_free(der);
    return status;
}

static enum status load(const char *certificate_file, const char *key_file,
                        struct client_identity *identity, struct error *error)
{
    enum status status = load_certificates(certificate_file, identity, error);
    if (status == STATUS_OK)
        status = load_key(key_file, identity, error);
    if (status != STATUS_OK)
        return status;
    if (X509_check_private_key(identity->certificate, identity->key) != 1) {
        ERR_clear_error();
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the key in %s is not that of the certificate in %s", key_file,
                         certificate_file);
    }
    status = make_fingerprint(identity);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot take the fingerprint of %s", certificate_file);
    return STATUS_OK;
}

enum status client_identity_load(const char *certificate_file, const char *key_file,
                                 struct client_identity **ret_identity, struct error *error)
{
    struct client_identity *identity = calloc(1, sizeof(*identity));
    if (identity == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a certificate");
    ERR_clear_error();
    enum status status = load(certificate_file, key_file, identity, error);
    if (status == STATUS_OK)
        *ret_identity = identity;
    else
        client_identity_free(identity);
    return status;
}

void client_identity_free(struct client_identity *identity)
{
    if (identity == NULL)
        return;
    X509_free(identity->certificate);
    sk_X509_pop_free(identity->chain, X509_free);
    EVP_PKEY_free(identity->key);
    free(identity);
}

const uint8_t *client_identity_fingerprint(const struct client_identity *identity)
{
    return identity->fingerprint;
}
