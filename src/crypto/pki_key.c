/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/pki.h"

#include <openssl/bio.h>
#include <openssl/buffer.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#include "base/file.h"

#define KEY_FILE_MAX 65536
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192 /* checking a larger one takes seconds */

enum status pki_key_make(enum pki_key_kind kind, EVP_PKEY **ret_key)
{
    EVP_PKEY *key = kind == PKI_KEY_RSA_3072 ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)3072)
                                             : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    ERR_clear_error();
    if (key == NULL)
        return STATUS_CRYPTO_FAILED;
    *ret_key = key;
    return STATUS_OK;
}

/* ---- Checks ---- */

static bool curve_fits(const EVP_PKEY *key)
{
    static const char *const curves[] = {"prime256v1", "secp384r1", "secp521r1"};
    char name[64];
    if (EVP_PKEY_get_group_name(key, name, sizeof(name), NULL) != 1)
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(curves); i++)
        if (strcmp(name, curves[i]) == 0)
            return true;
    return false;
}

/* Whether the numbers of a public key fit together (the point is on the curve, ...). */
static bool is_sound(const EVP_PKEY *key)
{
    /* OpenSSL takes a key that it may count up; it does not change what is in it. */
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, (EVP_PKEY *)(uintptr_t)key, NULL);
    bool sound = context != NULL && EVP_PKEY_public_check(context) == 1;
    EVP_PKEY_CTX_free(context);
    ERR_clear_error();
    return sound;
}

enum status pki_key_check(const EVP_PKEY *key, struct error *error)
{
    int bits = EVP_PKEY_get_bits(key);
    if (EVP_PKEY_is_a(key, "RSA")) {
        if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
            return error_set(error, STATUS_INVALID_ARGUMENT,
                             "its RSA key has %d bits: %d are needed at least, and more than %d "
                             "are not accepted",
                             bits, RSA_BITS_MIN, RSA_BITS_MAX);
    } else if (EVP_PKEY_is_a(key, "EC")) {
        if (!curve_fits(key))
            return error_set(error, STATUS_INVALID_ARGUMENT,
                             "its elliptic curve is not accepted: use P-256, P-384 or P-521");
    } else if (!EVP_PKEY_is_a(key, "ED25519") && !EVP_PKEY_is_a(key, "ED448")) {
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "its kind of key is not accepted: use RSA, ECDSA, Ed25519 or Ed448");
    }
    if (!is_sound(key))
        return error_set(error, STATUS_INVALID_ARGUMENT, "its public key is not valid");
    return STATUS_OK;
}

/* ---- Files ---- */

enum status pki_key_write(const char *path, const EVP_PKEY *key, unsigned flags,
                          struct error *error)
{
    int lock = -1;
    BUF_MEM *text = NULL;
    BIO *bio = BIO_new(BIO_s_secmem());
    enum status status = STATUS_OK;
    if (bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1 ||
        BIO_get_mem_ptr(bio, &text) != 1)
        status = error_set(error, STATUS_CRYPTO_FAILED, "cannot write the private key to %s", path);
    if (status == STATUS_OK)
        status = file_lock(path, &lock, error);
    if (status == STATUS_OK)
        status = file_replace(lock, path, bytes_of(text->data, text->length), 0600, flags, error);
    if (lock >= 0)
        file_unlock(lock);
    BIO_free(bio);
    ERR_clear_error();
    return status;
}

/* Called for an encrypted key: without it OpenSSL would ask on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *was_asked)
{
    (void)buffer;
    (void)size;
    (void)writing;
    *(bool *)was_asked = true;
    return -1;
}

static enum status parse_key(struct bytes text, const char *path, EVP_PKEY **ret_key,
                             struct error *error)
{
    bool was_asked = false;
    BIO *bio = BIO_new_mem_buf(text.size > 0 ? (const char *)text.data : "", (int)text.size);
    EVP_PKEY *key =
        bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &was_asked);
    BIO_free(bio);
    ERR_clear_error();
    if (key != NULL) {
        *ret_key = key;
        return STATUS_OK;
    }
    if (was_asked)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the private key in %s is encrypted: decrypt it with openssl pkey, and "
                         "protect the file by its permissions (0600)",
                         path);
    return error_set(error, STATUS_INVALID_ARGUMENT, "%s does not hold a private key in PEM form",
                     path);
}

enum status pki_key_read(const char *path, EVP_PKEY **ret_key, struct error *error)
{
    struct secret text;
    struct error reason = {0};
    EVP_PKEY *key = NULL;
    enum status status = file_read_secret(path, FILE_PRIVATE, KEY_FILE_MAX, &text, error);
    if (status != STATUS_OK)
        return status;
    status = parse_key(secret_bytes(&text), path, &key, error);
    secret_free(&text);
    if (status != STATUS_OK)
        return status;
    status = pki_key_check(key, &reason);
    if (status != STATUS_OK) {
        EVP_PKEY_free(key);
        return error_set(error, status, "%s cannot be used: %s", path, reason.text);
    }
    *ret_key = key;
    return STATUS_OK;
}
