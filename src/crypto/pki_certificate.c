/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/pki.h"

#include <openssl/bio.h>
#include <openssl/buffer.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <time.h>

#include "base/file.h"
#include "crypto/pem.h"

/* ---- Reading ---- */

enum status pki_certificate_from_der(struct bytes der, X509 **ret_certificate)
{
    const uint8_t *at = der.data;
    X509 *certificate = der.size > PEM_TEXT_MAX ? NULL : d2i_X509(NULL, &at, (long)der.size);
    ERR_clear_error();
    if (certificate == NULL || at != der.data + der.size) {
        X509_free(certificate);
        return STATUS_INVALID_ARGUMENT;
    }
    *ret_certificate = certificate;
    return STATUS_OK;
}

enum status pki_certificate_parse(struct bytes pem, X509 **ret_certificate, struct error *error)
{
    struct buffer der;
    buffer_init(&der, PEM_TEXT_MAX);
    enum status status = pem_parse_one(pem, PEM_CERTIFICATE, &der, error);
    if (status == STATUS_OK &&
        pki_certificate_from_der(buffer_bytes(&der), ret_certificate) != STATUS_OK)
        status = error_set(error, STATUS_INVALID_ARGUMENT,
                           "this is PEM, but there is no valid certificate in it");
    buffer_free(&der);
    return status;
}

enum status pki_certificate_read(const char *path, X509 **ret_certificate, struct error *error)
{
    struct buffer text;
    struct error reason = {0};
    buffer_init(&text, PEM_TEXT_MAX);
    enum status status = file_read(path, FILE_PUBLIC, &text, error);
    if (status == STATUS_OK) {
        status = pki_certificate_parse(buffer_bytes(&text), ret_certificate, &reason);
        if (status != STATUS_OK)
            (void)error_set(error, status, "%s: %s", path, reason.text);
    }
    buffer_free(&text);
    return status;
}

static enum status parse_first(struct bytes text, const char *path, X509 **ret_certificate,
                               struct error *error)
{
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.size);
    X509 *certificate = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (certificate == NULL)
        return error_set(error, STATUS_INVALID_ARGUMENT, "%s: there is no valid certificate in it",
                         path);
    *ret_certificate = certificate;
    return STATUS_OK;
}

enum status pki_certificate_read_first(const char *path, X509 **ret_certificate,
                                       struct error *error)
{
    struct buffer text;
    buffer_init(&text, PEM_TEXT_MAX);
    enum status status = file_read(path, FILE_PUBLIC, &text, error);
    if (status == STATUS_OK)
        status = parse_first(buffer_bytes(&text), path, ret_certificate, error);
    buffer_free(&text);
    return status;
}

/* ---- Writing ---- */

enum status pki_certificate_der(const X509 *certificate, struct buffer *ret_der)
{
    uint8_t *der = NULL;
    int size = i2d_X509(certificate, &der);
    ERR_clear_error();
    if (size <= 0)
        return STATUS_CRYPTO_FAILED;
    buffer_append(ret_der, der, (size_t)size);
    OPENSSL_free(der);
    return buffer_status(ret_der);
}

enum status pki_certificate_pem(X509 *certificate, struct buffer *ret_pem)
{
    BUF_MEM *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    bool good = bio != NULL && PEM_write_bio_X509(bio, certificate) == 1 &&
                BIO_get_mem_ptr(bio, &text) == 1;
    if (good)
        buffer_append(ret_pem, text->data, text->length);
    BIO_free(bio);
    ERR_clear_error();
    return good ? buffer_status(ret_pem) : STATUS_CRYPTO_FAILED;
}

enum status pki_certificate_write(const char *path, X509 *const *certificates, size_t count,
                                  unsigned flags, struct error *error)
{
    int lock = -1;
    struct buffer text;
    enum status status = STATUS_OK;
    buffer_init(&text, PEM_TEXT_MAX);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = pki_certificate_pem(certificates[i], &text);
    if (status != STATUS_OK)
        (void)error_set(error, status, "cannot write the certificate to %s: %s", path,
                        status_text(status));
    if (status == STATUS_OK)
        status = file_lock(path, &lock, error);
    if (status == STATUS_OK)
        status = file_replace(lock, path, buffer_bytes(&text), 0644, flags, error);
    if (lock >= 0)
        file_unlock(lock);
    buffer_free(&text);
    return status;
}

/* ---- Describing ---- */

/* Copies what fits, without cutting a character of UTF-8 in two. */
static void copy_text(const char *text, size_t length, char *ret_text, size_t room)
{
    if (length >= room) {
        length = room - 1;
        while (length > 0 && ((uint8_t)text[length] & 0xC0) == 0x80)
            length--;
    }
    memcpy(ret_text, text, length);
    ret_text[length] = '\0';
}

static bool name_text(const X509_NAME *name, char ret_text[static PKI_NAME_MAX])
{
    BUF_MEM *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    /* As RFC 2253 writes names, but UTF-8 as it is. */
    unsigned long form = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
    bool good = bio != NULL && X509_NAME_print_ex(bio, name, 0, form) >= 0 &&
                BIO_get_mem_ptr(bio, &text) == 1;
    if (good)
        copy_text(text->data == NULL ? "" : text->data, text->length, ret_text, PKI_NAME_MAX);
    BIO_free(bio);
    return good;
}

static void common_name_text(const X509_NAME *name, char ret_text[static PKI_NAME_MAX])
{
    uint8_t *text = NULL;
    int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    const X509_NAME_ENTRY *entry = index >= 0 ? X509_NAME_get_entry(name, index) : NULL;
    int length = entry != NULL ? ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry)) : -1;
    ret_text[0] = '\0';
    if (length > 0 && memchr(text, '\0', (size_t)length) == NULL)
        copy_text((const char *)text, (size_t)length, ret_text, PKI_NAME_MAX);
    OPENSSL_free(text);
}

static bool time_of(const ASN1_TIME *time, int64_t *ret_milliseconds)
{
    struct tm utc = {0};
    if (ASN1_TIME_to_tm(time, &utc) != 1)
        return false;
    *ret_milliseconds = (int64_t)timegm(&utc) * 1000;
    return true;
}

static void serial_text(const X509 *certificate, char *ret_text, size_t room)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
    char *text = number == NULL ? NULL : BN_bn2hex(number);
    bool fits = text != NULL && strlen(text) < room;
    (void)snprintf(ret_text, room, "%s", fits ? text : "");
    OPENSSL_free(text);
    BN_free(number);
}

static void key_text(const X509 *certificate, char *ret_text, size_t room)
{
    const EVP_PKEY *key = X509_get0_pubkey(certificate);
    char group[32];
    const char *name = key == NULL ? NULL : EVP_PKEY_get0_type_name(key);
    if (name == NULL)
        (void)snprintf(ret_text, room, "unknown");
    else if (EVP_PKEY_is_a(key, "EC") &&
             EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1)
        (void)snprintf(ret_text, room, "%s", strcmp(group, "prime256v1") == 0 ? "P-256" : group);
    else if (EVP_PKEY_is_a(key, "RSA"))
        (void)snprintf(ret_text, room, "RSA %d", EVP_PKEY_get_bits(key));
    else
        (void)snprintf(ret_text, room, "%s", name);
}

enum status pki_fingerprint(const X509 *certificate, uint8_t ret_fingerprint[static SHA256_SIZE])
{
    struct buffer der;
    buffer_init(&der, (size_t)PEM_TEXT_MAX);
    enum status status = pki_certificate_der(certificate, &der);
    if (status == STATUS_OK)
        status = digest_sha256(buffer_bytes(&der), ret_fingerprint);
    buffer_free(&der);
    return status;
}

static enum status fingerprints(const X509 *certificate, struct pki_description *description)
{
    struct buffer der;
    buffer_init(&der, (size_t)PEM_TEXT_MAX);
    enum status status = pki_certificate_der(certificate, &der);
    if (status == STATUS_OK)
        status = digest_sha256(buffer_bytes(&der), description->sha256);
    if (status == STATUS_OK && digest_sha1(buffer_bytes(&der), description->sha1) != STATUS_OK)
        memset(description->sha1, 0, SHA1_SIZE);
    buffer_free(&der);
    return status;
}

enum status pki_describe(const X509 *certificate, struct pki_description *ret_description)
{
    struct pki_description description = {0};
    bool good = name_text(X509_get_subject_name(certificate), description.subject) &&
                name_text(X509_get_issuer_name(certificate), description.issuer) &&
                time_of(X509_get0_notBefore(certificate), &description.not_before) &&
                time_of(X509_get0_notAfter(certificate), &description.not_after);
    common_name_text(X509_get_subject_name(certificate), description.common_name);
    serial_text(certificate, description.serial, sizeof(description.serial));
    key_text(certificate, description.key, sizeof(description.key));
    ERR_clear_error();
    if (!good)
        return STATUS_INVALID_ARGUMENT;
    enum status status = fingerprints(certificate, &description);
    if (status == STATUS_OK)
        *ret_description = description;
    return status;
}

void pki_fingerprint_text(struct bytes fingerprint, char ret_text[static PKI_FINGERPRINT_TEXT_MAX])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t count = fingerprint.size < SHA256_SIZE ? fingerprint.size : SHA256_SIZE;
    char *text = ret_text;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *text++ = ':';
        *text++ = digits[fingerprint.data[i] >> 4];
        *text++ = digits[fingerprint.data[i] & 15];
    }
    *text = '\0';
}

void pki_time_text(int64_t milliseconds, char ret_text[static PKI_TIME_TEXT_MAX])
{
    time_t seconds = (time_t)(milliseconds / 1000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL ||
        strftime(ret_text, PKI_TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        ret_text[0] = '\0';
}
