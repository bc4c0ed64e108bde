/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/pki.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <openssl/buffer.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "crypto/pem.h"

#define DAY             INT64_C(86400000)
#define YEARS(count)    ((count) * (365 * DAY + DAY / 4)) /* near enough */
#define SERIAL_SIZE     16
#define COMMON_NAME_MAX 64 /* RFC 5280, ub-common-name */
#define DNS_NAME_MAX    253
#define DNS_LABEL_MAX   63

/* What distinguishes the kinds of certificates that are issued. */
struct profile {
    int64_t validity;
    const char *basic_constraints;
    const char *usage_rsa; /* key encipherment: RSA key exchange of TLS 1.2 */
    const char *usage_other;
    const char *extended_usage; /* NULL: none */
};

static const struct profile authority_profile = {
    .validity = YEARS(25),
    .basic_constraints = "critical,CA:TRUE,pathlen:0",
    .usage_rsa = "critical,keyCertSign,cRLSign",
    .usage_other = "critical,keyCertSign,cRLSign",
};

static const struct profile server_profile = {
    .validity = YEARS(10),
    .basic_constraints = "critical,CA:FALSE",
    .usage_rsa = "critical,digitalSignature,keyEncipherment",
    .usage_other = "critical,digitalSignature",
    .extended_usage = "serverAuth,clientAuth",
};

static const struct profile client_profile = {
    .validity = YEARS(10),
    .basic_constraints = "critical,CA:FALSE",
    .usage_rsa = "critical,digitalSignature,keyEncipherment",
    .usage_other = "critical,digitalSignature",
    .extended_usage = "clientAuth",
};

/* What goes into one certificate. All borrowed. */
struct order {
    const struct profile *profile;
    const struct pki_authority *authority; /* its certificate is NULL: the new one signs itself */
    EVP_PKEY *key;
    const X509_NAME *subject;
    const GENERAL_NAMES *alternative_names; /* NULL: none */
    int64_t now;
};

/* ---- Parts ---- */

static bool set_serial(X509 *certificate)
{
    uint8_t bytes[SERIAL_SIZE];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    /* Positive, and always as long (RFC 5280 §4.1.2.2). */
    bytes[0] = (uint8_t)((bytes[0] & 0x3F) | 0x40);
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool good =
        number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return good;
}

static bool set_validity(X509 *certificate, const struct order *order)
{
    const X509 *authority = order->authority->certificate;
    int64_t validity = authority != NULL && order->authority->days > 0
                           ? (int64_t)order->authority->days * DAY
                           : order->profile->validity;
    if (ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)((order->now - DAY) / 1000)) ==
            NULL ||
        ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)((order->now + validity) / 1000)) ==
            NULL)
        return false;
    if (authority == NULL ||
        ASN1_TIME_compare(X509_get0_notAfter(certificate), X509_get0_notAfter(authority)) <= 0)
        return true;
    return X509_set1_notAfter(certificate, X509_get0_notAfter(authority)) == 1;
}

/* `value` in the syntax of OpenSSL's configuration: only ever a constant of this file. */
static bool add_extension(X509 *certificate, const X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    if (value == NULL)
        return true;
    /* The context only reads the issuer. */
    X509V3_set_ctx(&context, (X509 *)(uintptr_t)issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &context, nid, value);
    bool good = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

static bool add_extensions(X509 *certificate, const struct order *order)
{
    const struct profile *profile = order->profile;
    const X509 *issuer =
        order->authority->certificate != NULL ? order->authority->certificate : certificate;
    const char *usage =
        EVP_PKEY_is_a(order->key, "RSA") ? profile->usage_rsa : profile->usage_other;
    return add_extension(certificate, issuer, NID_basic_constraints, profile->basic_constraints) &&
           add_extension(certificate, issuer, NID_key_usage, usage) &&
           add_extension(certificate, issuer, NID_ext_key_usage, profile->extended_usage) &&
           add_extension(certificate, issuer, NID_subject_key_identifier, "hash") &&
           add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always") &&
           (order->alternative_names == NULL ||
            X509_add1_ext_i2d(certificate, NID_subject_alt_name,
                              (void *)(uintptr_t)order->alternative_names, 0,
                              X509V3_ADD_DEFAULT) == 1);
}

static bool fill_and_sign(X509 *certificate, const struct order *order)
{
    const X509 *authority = order->authority->certificate;
    const X509_NAME *issuer = authority != NULL ? X509_get_subject_name(authority) : order->subject;
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           set_validity(certificate, order) &&
           X509_set_subject_name(certificate, order->subject) == 1 &&
           X509_set_issuer_name(certificate, issuer) == 1 &&
           X509_set_pubkey(certificate, order->key) == 1 && add_extensions(certificate, order) &&
           X509_sign(certificate, order->authority->key, EVP_sha256()) > 0;
}

static enum status make(const struct order *order, X509 **ret_certificate, struct error *error)
{
    enum status status = pki_key_check(order->key, error);
    if (status != STATUS_OK)
        return status;
    X509 *certificate = X509_new();
    if (certificate == NULL || !fill_and_sign(certificate, order)) {
        X509_free(certificate);
        ERR_clear_error();
        return error_set(error, STATUS_CRYPTO_FAILED, "the certificate could not be made");
    }
    *ret_certificate = certificate;
    return STATUS_OK;
}

/* ---- Checks of what is given ---- */

static enum status check_authority(const struct pki_authority *authority, int64_t now,
                                   struct error *error)
{
    time_t seconds = (time_t)(now / 1000);
    bool fits = X509_check_private_key(authority->certificate, authority->key) == 1;
    ERR_clear_error();
    if (!fits)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the authority's certificate and private key do not belong together");
    if (X509_check_ca(authority->certificate) != 1)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the authority's certificate may not sign certificates");
    if (X509_cmp_time(X509_get0_notAfter(authority->certificate), &seconds) <= 0)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the authority's certificate has expired: make a new authority");
    return STATUS_OK;
}

static enum status subject_of(const char *common_name, X509_NAME **ret_subject, struct error *error)
{
    X509_NAME *subject = X509_NAME_new();
    /* OpenSSL counts the characters and refuses more than COMMON_NAME_MAX, and text that is no
     * UTF-8. */
    bool good = subject != NULL && common_name[0] != '\0' &&
                X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                           (const uint8_t *)common_name, -1, -1, 0) == 1;
    ERR_clear_error();
    if (good) {
        *ret_subject = subject;
        return STATUS_OK;
    }
    X509_NAME_free(subject);
    return error_set(error, STATUS_INVALID_ARGUMENT,
                     "the common name must be UTF-8 text of 1 to %d characters", COMMON_NAME_MAX);
}

/* ---- Subject Alternative Names ---- */

static bool label_fits(const char *label, size_t length)
{
    if (length == 0 || length > DNS_LABEL_MAX || label[0] == '-' || label[length - 1] == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)label[i]) && label[i] != '-' && label[i] != '_')
            return false;
    return true;
}

/* RFC 1123 §2.1, and underscores; "*" as the whole first label (RFC 6125 §6.4.3). */
static bool dns_name_fits(const char *name)
{
    if (strlen(name) > DNS_NAME_MAX)
        return false;
    if (strncmp(name, "*.", 2) == 0)
        name += 2;
    for (;;) {
        size_t length = strcspn(name, ".");
        if (!label_fits(name, length))
            return false;
        if (name[length] == '\0')
            return true;
        name += length + 1;
    }
}

static GENERAL_NAME *general_name_of(const char *name)
{
    uint8_t address[16];
    bool is_v4 = inet_pton(AF_INET, name, address) == 1;
    bool is_v6 = !is_v4 && inet_pton(AF_INET6, name, address) == 1;
    bool is_address = is_v4 || is_v6;
    ASN1_STRING *value = ASN1_STRING_type_new(is_address ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    GENERAL_NAME *made = GENERAL_NAME_new();
    const void *data = is_address ? (const void *)address : name;
    int size = is_v4 ? 4 : is_v6 ? 16 : (int)strlen(name);
    if (value == NULL || made == NULL || ASN1_STRING_set(value, data, size) != 1) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(made);
        return NULL;
    }
    GENERAL_NAME_set0_value(made, is_address ? GEN_IPADD : GEN_DNS, value);
    return made;
}

static bool is_address(const char *name)
{
    uint8_t address[16];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* "10.0.0" and "999.1.1.1" are no addresses, and no names that anybody means. */
static bool is_numeric(const char *name)
{
    return name[strspn(name, "0123456789.")] == '\0';
}

static enum status check_names(const char *const *names, size_t count, struct error *error)
{
    if (count == 0)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "a server certificate needs at least one DNS name or IP address");
    for (size_t i = 0; i < count; i++)
        if (!is_address(names[i]) && (is_numeric(names[i]) || !dns_name_fits(names[i])))
            return error_set(error, STATUS_INVALID_ARGUMENT,
                             "\"%.100s\" is neither a DNS name nor an IP address", names[i]);
    return STATUS_OK;
}

static GENERAL_NAMES *alternative_names_of(const char *const *names, size_t count)
{
    GENERAL_NAMES *list = GENERAL_NAMES_new();
    for (size_t i = 0; i < count && list != NULL; i++) {
        GENERAL_NAME *name = general_name_of(names[i]);
        if (name != NULL && sk_GENERAL_NAME_push(list, name) > 0)
            continue;
        GENERAL_NAME_free(name);
        GENERAL_NAMES_free(list);
        list = NULL;
    }
    return list;
}

static const char *common_name_of(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) <= COMMON_NAME_MAX)
            return names[i];
    return "kmipd";
}

/* ---- The four kinds ---- */

enum status pki_make_authority(EVP_PKEY *key, const char *common_name, int64_t now,
                               X509 **ret_certificate, struct error *error)
{
    X509_NAME *subject;
    enum status status = subject_of(common_name, &subject, error);
    if (status != STATUS_OK)
        return status;
    const struct pki_authority itself = {.key = key};
    const struct order order = {.profile = &authority_profile,
                                .authority = &itself,
                                .key = key,
                                .subject = subject,
                                .now = now};
    status = make(&order, ret_certificate, error);
    X509_NAME_free(subject);
    return status;
}

enum status pki_issue_server(const struct pki_authority *authority, EVP_PKEY *key,
                             const char *const *names, size_t name_count, int64_t now,
                             X509 **ret_certificate, struct error *error)
{
    enum status status = check_authority(authority, now, error);
    if (status == STATUS_OK)
        status = check_names(names, name_count, error);
    if (status != STATUS_OK)
        return status;
    X509_NAME *subject;
    status = subject_of(common_name_of(names, name_count), &subject, error);
    if (status != STATUS_OK)
        return status;
    GENERAL_NAMES *alternative_names = alternative_names_of(names, name_count);
    const struct order order = {.profile = &server_profile,
                                .authority = authority,
                                .key = key,
                                .subject = subject,
                                .alternative_names = alternative_names,
                                .now = now};
    if (alternative_names == NULL)
        status = error_set(error, STATUS_NO_MEMORY, "no memory to make a certificate");
    else
        status = make(&order, ret_certificate, error);
    GENERAL_NAMES_free(alternative_names);
    X509_NAME_free(subject);
    return status;
}

static enum status issue_client(const struct pki_authority *authority, EVP_PKEY *key,
                                const X509_NAME *subject, int64_t now, X509 **ret_certificate,
                                struct error *error)
{
    const struct order order = {.profile = &client_profile,
                                .authority = authority,
                                .key = key,
                                .subject = subject,
                                .now = now};
    enum status status = check_authority(authority, now, error);
    return status == STATUS_OK ? make(&order, ret_certificate, error) : status;
}

enum status pki_issue_client(const struct pki_authority *authority, EVP_PKEY *key,
                             const char *common_name, int64_t now, X509 **ret_certificate,
                             struct error *error)
{
    X509_NAME *subject;
    enum status status = subject_of(common_name, &subject, error);
    if (status != STATUS_OK)
        return status;
    status = issue_client(authority, key, subject, now, ret_certificate, error);
    X509_NAME_free(subject);
    return status;
}

static enum status parse_request(struct bytes pem, X509_REQ **ret_request, struct error *error)
{
    struct buffer der;
    buffer_init(&der, PEM_TEXT_MAX);
    enum status status = pem_parse_one(pem, PEM_REQUEST, &der, error);
    if (status == STATUS_OK) {
        const uint8_t *at = der.data;
        X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der.size);
        if (request != NULL && at == der.data + der.size) {
            *ret_request = request;
        } else {
            X509_REQ_free(request);
            status = error_set(error, STATUS_INVALID_ARGUMENT,
                               "this is PEM, but there is no valid certificate request in it");
        }
        ERR_clear_error();
    }
    buffer_free(&der);
    return status;
}

static enum status check_request(X509_REQ *request, struct error *error)
{
    EVP_PKEY *key = X509_REQ_get0_pubkey(request);
    bool proven = key != NULL && X509_REQ_verify(request, key) == 1;
    ERR_clear_error();
    if (key == NULL)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the public key of the certificate request cannot be read");
    if (!proven)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the signature of the certificate request is wrong: it was changed, or "
                         "was not made with its own private key");
    if (X509_NAME_entry_count(X509_REQ_get_subject_name(request)) == 0)
        return error_set(error, STATUS_INVALID_ARGUMENT, "the certificate request has no subject");
    return STATUS_OK;
}

enum status pki_sign_request(const struct pki_authority *authority, struct bytes request,
                             int64_t now, X509 **ret_certificate, struct error *error)
{
    X509_REQ *parsed;
    enum status status = parse_request(request, &parsed, error);
    if (status != STATUS_OK)
        return status;
    status = check_request(parsed, error);
    if (status == STATUS_OK)
        status = issue_client(authority, X509_REQ_get0_pubkey(parsed),
                              X509_REQ_get_subject_name(parsed), now, ret_certificate, error);
    X509_REQ_free(parsed);
    return status;
}

/* ---- Requests ---- */

static bool fill_request(X509_REQ *request, EVP_PKEY *key, const X509_NAME *subject)
{
    return X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
           X509_REQ_set_subject_name(request, subject) == 1 &&
           X509_REQ_set_pubkey(request, key) == 1 && X509_REQ_sign(request, key, EVP_sha256()) > 0;
}

static enum status append_request(X509_REQ *request, struct buffer *ret_pem)
{
    BUF_MEM *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    bool good = bio != NULL && PEM_write_bio_X509_REQ(bio, request) == 1 &&
                BIO_get_mem_ptr(bio, &text) == 1;
    if (good)
        buffer_append(ret_pem, text->data, text->length);
    BIO_free(bio);
    return good ? buffer_status(ret_pem) : STATUS_CRYPTO_FAILED;
}

enum status pki_make_request(EVP_PKEY *key, const char *common_name, struct buffer *ret_pem,
                             struct error *error)
{
    X509_NAME *subject;
    enum status status = subject_of(common_name, &subject, error);
    if (status != STATUS_OK)
        return status;
    X509_REQ *request = X509_REQ_new();
    status = request != NULL && fill_request(request, key, subject)
                 ? append_request(request, ret_pem)
                 : STATUS_CRYPTO_FAILED;
    X509_REQ_free(request);
    X509_NAME_free(subject);
    ERR_clear_error();
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(error, status, "the certificate request could not be made");
}
