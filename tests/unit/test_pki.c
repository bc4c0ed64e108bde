/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "crypto/pki.h"

#define NOW  INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */
#define DAY  INT64_C(86400000)
#define YEAR (365 * DAY)

/* What all tests share: an authority, and a key for each kind. Making RSA keys is slow. */
static struct {
    EVP_PKEY *ecdsa;
    EVP_PKEY *rsa;
    EVP_PKEY *authority_key;
    X509 *authority_certificate;
    struct pki_authority authority;
    char directory[64];
} common;

static int set_up(void **state)
{
    (void)state;
    struct error error = {0};
    strcpy(common.directory, "/tmp/kmipd-test-XXXXXX");
    if (mkdtemp(common.directory) == NULL || secret_heap_init(1 << 20, &error) != STATUS_OK ||
        pki_key_make(PKI_KEY_ECDSA_P256, &common.ecdsa) != STATUS_OK ||
        pki_key_make(PKI_KEY_ECDSA_P256, &common.authority_key) != STATUS_OK ||
        pki_key_make(PKI_KEY_RSA_3072, &common.rsa) != STATUS_OK ||
        pki_make_authority(common.authority_key, "kmipd authority", NOW,
                           &common.authority_certificate, &error) != STATUS_OK)
        return -1;
    common.authority = (struct pki_authority){common.authority_certificate, common.authority_key, 0};
    return 0;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *place)
{
    (void)stat;
    (void)type;
    (void)place;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    X509_free(common.authority_certificate);
    EVP_PKEY_free(common.authority_key);
    EVP_PKEY_free(common.ecdsa);
    EVP_PKEY_free(common.rsa);
    return nftw(common.directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- Helpers ---- */

static void assert_text(const struct error *error, const char *expected)
{
    if (strstr(error->text, expected) == NULL)
        fail_msg("\"%s\" has no \"%s\"", error->text, expected);
    assert_null(strchr(error->text, '\n'));
    assert_int_equal(ERR_peek_error(), 0);
}

static X509 *issue_server(EVP_PKEY *key, const char *const *names, size_t count)
{
    X509 *certificate = NULL;
    struct error error = {0};
    if (pki_issue_server(&common.authority, key, names, count, NOW, &certificate, &error) !=
        STATUS_OK)
        fail_msg("%s", error.text);
    return certificate;
}

static X509 *issue_client(const char *name)
{
    X509 *certificate = NULL;
    struct error error = {0};
    if (pki_issue_client(&common.authority, common.ecdsa, name, NOW, &certificate, &error) !=
        STATUS_OK)
        fail_msg("%s", error.text);
    return certificate;
}

/* Whether the authority's signature, the dates at `when` and the purpose hold. */
static bool verifies(X509 *certificate, int purpose, int64_t when)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_add_cert(store, common.authority_certificate), 1);
    assert_int_equal(X509_STORE_CTX_init(context, store, certificate, NULL), 1);
    X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_time(parameters, (time_t)(when / 1000));
    assert_int_equal(X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT), 1);
    assert_int_equal(X509_STORE_CTX_set_purpose(context, purpose), 1);
    bool good = X509_verify_cert(context) == 1;
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    ERR_clear_error();
    return good;
}

static struct pki_description describe(const X509 *certificate)
{
    struct pki_description description;
    assert_int_equal(pki_describe(certificate, &description), STATUS_OK);
    return description;
}

static void pem_of(X509 *certificate, struct buffer *pem)
{
    buffer_init(pem, 65536);
    assert_int_equal(pki_certificate_pem(certificate, pem), STATUS_OK);
}

/* ---- Issuing ---- */

static void test_authority(void **state)
{
    (void)state;
    X509 *certificate = common.authority_certificate;
    struct pki_description description = describe(certificate);
    assert_string_equal(description.subject, "CN=kmipd authority");
    assert_string_equal(description.issuer, description.subject);
    assert_string_equal(description.key, "P-256");
    assert_true(description.not_before == NOW - DAY);
    assert_true(description.not_after > NOW + 20 * YEAR);
    assert_true(verifies(certificate, X509_PURPOSE_ANY, NOW));
    assert_int_equal(X509_check_ca(certificate), 1);
    assert_int_equal(X509_get_pathlen(certificate), 0);
    assert_int_equal(X509_get_key_usage(certificate), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    assert_int_equal(X509_get_version(certificate), X509_VERSION_3);
    assert_non_null(X509_get0_subject_key_id(certificate));
}

static void test_authority_rsa(void **state)
{
    (void)state;
    X509 *certificate = NULL;
    X509 *leaf = NULL;
    struct error error = {0};
    assert_int_equal(pki_make_authority(common.rsa, "R", NOW, &certificate, &error), STATUS_OK);
    assert_string_equal(describe(certificate).key, "RSA 3072");
    const struct pki_authority authority = {certificate, common.rsa, 0};
    assert_int_equal(pki_issue_client(&authority, common.ecdsa, "c", NOW, &leaf, &error),
                     STATUS_OK);
    assert_int_equal(X509_verify(leaf, common.rsa), 1);
    X509_free(leaf);
    X509_free(certificate);
}

static void test_server(void **state)
{
    (void)state;
    static const char *const names[] = {"kms.example.com", "kms2", "192.0.2.7", "2001:db8::7",
                                        "*.kms.example.com"};
    EVP_PKEY *const keys[] = {common.rsa, common.ecdsa};
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        X509 *certificate = issue_server(keys[i], names, ARRAY_COUNT(names));
        struct pki_description description = describe(certificate);
        assert_string_equal(description.subject, "CN=kms.example.com");
        assert_string_equal(description.issuer, "CN=kmipd authority");
        assert_true(description.not_before == NOW - DAY);
        assert_true(description.not_after > NOW + 10 * YEAR);
        assert_true(description.not_after < NOW + 10 * YEAR + 3 * DAY);
        assert_true(verifies(certificate, X509_PURPOSE_SSL_SERVER, NOW));
        assert_true(verifies(certificate, X509_PURPOSE_SSL_CLIENT, NOW));
        assert_false(verifies(certificate, X509_PURPOSE_SSL_SERVER, NOW - 2 * DAY));
        assert_false(verifies(certificate, X509_PURPOSE_SSL_SERVER, NOW + 11 * YEAR));
        assert_int_equal(X509_check_host(certificate, "kms.example.com", 0, 0, NULL), 1);
        assert_int_equal(X509_check_host(certificate, "kms2", 0, 0, NULL), 1);
        assert_int_equal(X509_check_host(certificate, "a.kms.example.com", 0, 0, NULL), 1);
        assert_int_equal(X509_check_host(certificate, "other.example.com", 0, 0, NULL), 0);
        assert_int_equal(X509_check_ip_asc(certificate, "192.0.2.7", 0), 1);
        assert_int_equal(X509_check_ip_asc(certificate, "2001:db8::7", 0), 1);
        assert_int_equal(X509_check_ip_asc(certificate, "192.0.2.8", 0), 0);
        assert_int_equal(X509_get_extended_key_usage(certificate), XKU_SSL_SERVER | XKU_SSL_CLIENT);
        assert_int_equal(X509_get_key_usage(certificate),
                         i == 0 ? KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT
                                : KU_DIGITAL_SIGNATURE);
        assert_int_equal(X509_check_ca(certificate), 0);
        assert_int_equal(X509_check_private_key(certificate, keys[i]), 1);
        X509_free(certificate);
    }
}

/* A name that is too long for a Common Name is still a Subject Alternative Name. */
static void test_server_long_name(void **state)
{
    (void)state;
    static const char long_name[] = "a-very-long-label-for-a-server-of-keys.in-a-very-deep-domain."
                                    "of-a-very-large-company.example.com";
    const char *const names[] = {long_name, "10.0.0.1"};
    X509 *certificate = issue_server(common.ecdsa, names, 2);
    assert_string_equal(describe(certificate).subject, "CN=10.0.0.1");
    assert_int_equal(X509_check_host(certificate, long_name, 0, 0, NULL), 1);
    X509_free(certificate);
    certificate = issue_server(common.ecdsa, names, 1);
    assert_string_equal(describe(certificate).subject, "CN=kmipd");
    X509_free(certificate);
}

static void test_server_names_refused(void **state)
{
    (void)state;
    char too_long[300] = {0};
    for (size_t i = 0; i < 256; i++)
        too_long[i] = i % 10 == 9 ? '.' : 'a';
    const char *const refused[] = {
        "",
        "a b",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a-",
        "a,b",
        "DNS:a",
        "a/b",
        "ümlaut",
        "10.0.0",
        "1.2.3.4.5",
        "*",
        "a.*.b",
        "*a.b",
        "fe80::1%eth0",
        "[::1]",
        "10.0.0.1:5696",
        too_long,
        "0123456789012345678901234567890123456789012345678901234567890123.com",
    };
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        const char *const names[] = {"good.example.com", refused[i]};
        X509 *certificate = NULL;
        struct error error = {0};
        enum status status =
            pki_issue_server(&common.authority, common.ecdsa, names, 2, NOW, &certificate, &error);
        if (status != STATUS_INVALID_ARGUMENT)
            fail_msg("\"%s\": %s", refused[i], status_name(status));
        assert_null(certificate);
        assert_text(&error, "neither a DNS name nor an IP address");
    }
    X509 *certificate = NULL;
    struct error error = {0};
    assert_int_equal(
        pki_issue_server(&common.authority, common.ecdsa, NULL, 0, NOW, &certificate, &error),
        STATUS_INVALID_ARGUMENT);
}

static void test_client(void **state)
{
    (void)state;
    X509 *certificate = issue_client("vcenter.example.com");
    X509 *second = issue_client("vcenter.example.com");
    struct pki_description description = describe(certificate);
    assert_string_equal(description.subject, "CN=vcenter.example.com");
    assert_true(description.not_after > NOW + 10 * YEAR);
    assert_true(verifies(certificate, X509_PURPOSE_SSL_CLIENT, NOW));
    assert_false(verifies(certificate, X509_PURPOSE_SSL_SERVER, NOW));
    assert_int_equal(X509_get_extended_key_usage(certificate), XKU_SSL_CLIENT);
    assert_int_equal(strlen(description.serial), 32);
    assert_string_not_equal(description.serial, describe(second).serial);
    X509_free(second);
    X509_free(certificate);
}

static void test_common_names(void **state)
{
    (void)state;
    X509 *certificate = issue_client("Gr\xC3\xBC\xC3\x9F Gott, \"x\"\n");
    assert_string_equal(describe(certificate).subject,
                        "CN=Gr\xC3\xBC\xC3\x9F Gott\\, \\\"x\\\"\\0A");
    X509_free(certificate);
    char long_name[66];
    memset(long_name, 'x', sizeof(long_name));
    long_name[65] = '\0';
    const char *const refused[] = {"", long_name, "\xFF\xFE"};
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        struct error error = {0};
        certificate = NULL;
        assert_int_equal(pki_issue_client(&common.authority, common.ecdsa, refused[i], NOW,
                                          &certificate, &error),
                         STATUS_INVALID_ARGUMENT);
        assert_null(certificate);
        assert_text(&error, "1 to 64 characters");
    }
    long_name[64] = '\0';
    X509_free(issue_client(long_name));
}

/* What is issued does not outlive the authority, and an expired one issues nothing. */
static void test_authority_expires(void **state)
{
    (void)state;
    X509 *certificate = NULL;
    struct error error = {0};
    int64_t end = describe(common.authority_certificate).not_after;
    assert_int_equal(pki_issue_client(&common.authority, common.ecdsa, "c", end - 2 * YEAR,
                                      &certificate, &error),
                     STATUS_OK);
    assert_true(describe(certificate).not_after == end);
    X509_free(certificate);
    certificate = NULL;
    assert_int_equal(
        pki_issue_client(&common.authority, common.ecdsa, "c", end + DAY, &certificate, &error),
        STATUS_INVALID_ARGUMENT);
    assert_text(&error, "expired");
    assert_null(certificate);
}

/* Dates from 2050 on are written in another form (RFC 5280 §4.1.2.5). */
static void test_after_2050(void **state)
{
    (void)state;
    X509 *certificate = NULL;
    struct error error = {0};
    int64_t later = INT64_C(2524608000000) - 5 * YEAR;
    assert_int_equal(pki_make_authority(common.ecdsa, "later", later, &certificate, &error),
                     STATUS_OK);
    struct pki_description description = describe(certificate);
    assert_int_equal(X509_get0_notBefore(certificate)->type, V_ASN1_UTCTIME);
    assert_int_equal(X509_get0_notAfter(certificate)->type, V_ASN1_GENERALIZEDTIME);
    assert_true(description.not_before == later - DAY);
    assert_true(description.not_after > later + 25 * YEAR);
    X509_free(certificate);
}

static void test_authority_wrong(void **state)
{
    (void)state;
    X509 *leaf = issue_client("not an authority");
    X509 *certificate = NULL;
    struct error error = {0};
    const struct pki_authority mixed = {common.authority_certificate, common.ecdsa, 0};
    assert_int_equal(pki_issue_client(&mixed, common.ecdsa, "c", NOW, &certificate, &error),
                     STATUS_INVALID_ARGUMENT);
    assert_text(&error, "do not belong together");
    const struct pki_authority a_leaf = {leaf, common.ecdsa, 0};
    assert_int_equal(pki_issue_client(&a_leaf, common.ecdsa, "c", NOW, &certificate, &error),
                     STATUS_INVALID_ARGUMENT);
    assert_text(&error, "may not sign");
    assert_null(certificate);
    X509_free(leaf);
}

/* ---- Keys that are refused ---- */

static void test_keys(void **state)
{
    (void)state;
    const struct {
        EVP_PKEY *key;
        const char *refusal; /* NULL: accepted */
    } cases[] = {
        {EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024), "1024 bits"},
        {EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2040), "2040 bits"},
        {EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048), NULL},
        {EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384"), NULL},
        {EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-521"), NULL},
        {EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-224"), "curve is not accepted"},
        {EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1"), "curve is not accepted"},
        {EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL},
        {EVP_PKEY_Q_keygen(NULL, NULL, "ED448"), NULL},
        {EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), "kind of key is not accepted"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct error error = {0};
        X509 *certificate = NULL;
        assert_non_null(cases[i].key);
        enum status expected = cases[i].refusal == NULL ? STATUS_OK : STATUS_INVALID_ARGUMENT;
        assert_int_equal(pki_key_check(cases[i].key, &error), expected);
        assert_int_equal(
            pki_issue_client(&common.authority, cases[i].key, "c", NOW, &certificate, &error),
            expected);
        if (cases[i].refusal != NULL)
            assert_text(&error, cases[i].refusal);
        X509_free(certificate);
        EVP_PKEY_free(cases[i].key);
    }
}

/* ---- Requests ---- */

static void write_request(X509_REQ *request, struct buffer *pem)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    assert_int_equal(PEM_write_bio_X509_REQ(bio, request), 1);
    long size = BIO_get_mem_data(bio, &text);
    buffer_init(pem, 65536);
    buffer_append(pem, text, (size_t)size);
    BIO_free(bio);
}

/* A request signed with `signer`, as vCenter makes them: asking for more than it gets. */
static void make_request(EVP_PKEY *key, EVP_PKEY *signer, const char *name, struct buffer *pem)
{
    X509_REQ *request = X509_REQ_new();
    X509_NAME *subject = X509_NAME_new();
    STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
    X509_EXTENSION *authority =
        X509V3_EXT_nconf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    sk_X509_EXTENSION_push(extensions, authority);
    if (name != NULL) {
        X509_NAME_add_entry_by_txt(subject, "C", MBSTRING_ASC, (const uint8_t *)"US", -1, -1, 0);
        X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const uint8_t *)"VMware", -1, -1,
                                   0);
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    }
    assert_int_equal(X509_REQ_set_subject_name(request, subject), 1);
    assert_int_equal(X509_REQ_set_pubkey(request, key), 1);
    assert_int_equal(X509_REQ_add_extensions(request, extensions), 1);
    assert_true(X509_REQ_sign(request, signer, EVP_sha256()) > 0);
    write_request(request, pem);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    X509_NAME_free(subject);
    X509_REQ_free(request);
}

static void test_request(void **state)
{
    (void)state;
    struct buffer pem;
    X509 *certificate = NULL;
    struct error error = {0};
    make_request(common.rsa, common.rsa, "vcenter", &pem);
    assert_int_equal(
        pki_sign_request(&common.authority, buffer_bytes(&pem), NOW, &certificate, &error),
        STATUS_OK);
    assert_string_equal(describe(certificate).subject, "CN=vcenter,O=VMware,C=US");
    assert_int_equal(X509_check_private_key(certificate, common.rsa), 1);
    assert_int_equal(X509_check_ca(certificate), 0);
    assert_int_equal(X509_get_extended_key_usage(certificate), XKU_SSL_CLIENT);
    assert_true(verifies(certificate, X509_PURPOSE_SSL_CLIENT, NOW));
    X509_free(certificate);
    buffer_free(&pem);
}

static void assert_request_refused(const struct buffer *pem, const char *expected)
{
    X509 *certificate = NULL;
    struct error error = {0};
    assert_int_equal(
        pki_sign_request(&common.authority, buffer_bytes(pem), NOW, &certificate, &error),
        STATUS_INVALID_ARGUMENT);
    assert_null(certificate);
    assert_text(&error, expected);
}

static void test_requests_refused(void **state)
{
    (void)state;
    struct buffer pem;
    make_request(common.ecdsa, common.authority_key, "liar", &pem);
    assert_request_refused(&pem, "signature of the certificate request is wrong");
    buffer_free(&pem);
    make_request(common.ecdsa, common.ecdsa, NULL, &pem);
    assert_request_refused(&pem, "no subject");
    buffer_free(&pem);
    EVP_PKEY *weak = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    make_request(weak, weak, "weak", &pem);
    assert_request_refused(&pem, "1024 bits");
    buffer_free(&pem);
    EVP_PKEY_free(weak);
    X509 *certificate = issue_client("c");
    pem_of(certificate, &pem);
    assert_request_refused(&pem, "this is a certificate, not a certificate signing request");
    X509_free(certificate);
    buffer_reset(&pem);
    assert_request_refused(&pem, "not a certificate request in PEM form");
    buffer_free(&pem);
}

/* ---- Parsing ---- */

static void assert_parses(struct bytes text, const X509 *expected)
{
    X509 *parsed = NULL;
    struct error error = {0};
    if (pki_certificate_parse(text, &parsed, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    assert_int_equal(X509_cmp(parsed, expected), 0);
    X509_free(parsed);
}

static void assert_not_parsed(struct bytes text, const char *expected)
{
    X509 *parsed = NULL;
    struct error error = {0};
    assert_int_equal(pki_certificate_parse(text, &parsed, &error), STATUS_INVALID_ARGUMENT);
    assert_null(parsed);
    assert_text(&error, expected);
}

/* `text` with every newline replaced by `end`, and `begin` before every line. */
static void relined(struct bytes text, const char *begin, const char *end, struct buffer *ret_text)
{
    buffer_reset(ret_text);
    buffer_append_text(ret_text, begin);
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] != '\n') {
            buffer_append(ret_text, text.data + i, 1);
            continue;
        }
        buffer_append_text(ret_text, end);
        buffer_append_text(ret_text, begin);
    }
    assert_int_equal(buffer_status(ret_text), STATUS_OK);
}

static void test_parse_forms(void **state)
{
    (void)state;
    X509 *certificate = issue_client("c");
    struct buffer pem;
    struct buffer text;
    pem_of(certificate, &pem);
    buffer_init(&text, 65536);
    assert_parses(buffer_bytes(&pem), certificate);
    assert_parses(bytes_of(pem.data, pem.size - 1), certificate); /* no newline at the end */
    static const struct {
        const char *begin;
        const char *end;
    } forms[] = {{"", "\r\n"}, {"", "\r"}, {"    ", "\n"}, {"\t", "   \r\n"}, {"", "\n\n"}};
    for (size_t i = 0; i < ARRAY_COUNT(forms); i++) {
        relined(buffer_bytes(&pem), forms[i].begin, forms[i].end, &text);
        assert_parses(buffer_bytes(&text), certificate);
    }
    buffer_reset(&text);
    buffer_append_text(&text, "\xEF\xBB\xBF");
    buffer_append_bytes(&text, buffer_bytes(&pem));
    assert_parses(buffer_bytes(&text), certificate);
    buffer_reset(&text);
    buffer_append_text(&text, "\n\n  Bag Attributes\n    friendlyName: x\n\n");
    buffer_append_bytes(&text, buffer_bytes(&pem));
    buffer_append_text(&text, "\n \t\r\n thank you\n");
    assert_parses(buffer_bytes(&text), certificate);
    buffer_free(&text);
    buffer_free(&pem);
    X509_free(certificate);
}

static void test_parse_wrong_things(void **state)
{
    (void)state;
    X509 *certificate = issue_client("c");
    struct buffer pem;
    struct buffer text;
    char path[128];
    struct error error = {0};
    pem_of(certificate, &pem);
    assert_not_parsed((struct bytes){0}, "not a certificate in PEM form");
    assert_not_parsed(BYTES_LITERAL("hello"), "-----BEGIN");
    assert_not_parsed(BYTES_LITERAL("-----BEGIN CERTIFICATE-----\n"), "cut off or damaged");
    assert_not_parsed(bytes_of(pem.data, pem.size / 2), "cut off or damaged");
    assert_not_parsed(
        BYTES_LITERAL("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "no valid certificate");
    assert_not_parsed(BYTES_LITERAL("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
                      "cut off or damaged");
    assert_not_parsed(BYTES_LITERAL("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
                      "this is not a certificate");
    buffer_init(&text, 1 << 20);
    buffer_append_bytes(&text, buffer_bytes(&pem));
    buffer_append_bytes(&text, buffer_bytes(&pem));
    assert_not_parsed(buffer_bytes(&text), "2 blocks");
    buffer_free(&text);
    make_request(common.ecdsa, common.ecdsa, "r", &text);
    assert_not_parsed(buffer_bytes(&text), "certificate signing request (CSR), not a certificate");
    buffer_free(&text);
    buffer_init(&text, 1 << 20);
    assert_int_equal(pki_certificate_der(certificate, &text), STATUS_OK);
    assert_not_parsed(buffer_bytes(&text), "DER");
    /* A private key, alone and behind the certificate. */
    snprintf(path, sizeof(path), "%s/pasted.pem", common.directory);
    assert_int_equal(pki_key_write(path, common.ecdsa, 0, &error), STATUS_OK);
    buffer_reset(&text);
    assert_int_equal(file_read(path, FILE_PUBLIC, &text, &error), STATUS_OK);
    assert_not_parsed(buffer_bytes(&text), "private key");
    buffer_append_bytes(&pem, buffer_bytes(&text));
    assert_not_parsed(buffer_bytes(&pem), "private key");
    buffer_reset(&text);
    while (text.size <= 65536)
        buffer_append_text(&text, "0123456789abcdef\n");
    assert_not_parsed(buffer_bytes(&text), "too long");
    buffer_free(&text);
    buffer_free(&pem);
    X509_free(certificate);
}

/* No byte of a certificate's text can be changed so that parsing does anything but answer. */
static void test_parse_damaged(void **state)
{
    (void)state;
    X509 *certificate = issue_client("c");
    struct buffer pem;
    pem_of(certificate, &pem);
    int refused = 0;
    for (size_t i = 0; i < pem.size; i++) {
        X509 *parsed = NULL;
        struct error error = {0};
        pem.data[i] ^= 0x02;
        if (pki_certificate_parse(buffer_bytes(&pem), &parsed, &error) == STATUS_OK) {
            assert_non_null(parsed);
        } else {
            refused++;
            assert_text(&error, "this");
        }
        X509_free(parsed);
        pem.data[i] ^= 0x02;
    }
    assert_true(refused > 0);
    for (size_t size = 0; size + 1 < pem.size; size++) {
        X509 *parsed = NULL;
        struct error error = {0};
        assert_int_equal(pki_certificate_parse(bytes_of(pem.data, size), &parsed, &error),
                         STATUS_INVALID_ARGUMENT);
    }
    buffer_free(&pem);
    X509_free(certificate);
}

static void test_der(void **state)
{
    (void)state;
    X509 *certificate = issue_client("c");
    X509 *parsed = NULL;
    struct buffer der;
    buffer_init(&der, 65536);
    assert_int_equal(pki_certificate_der(certificate, &der), STATUS_OK);
    assert_int_equal(pki_certificate_from_der(buffer_bytes(&der), &parsed), STATUS_OK);
    assert_int_equal(X509_cmp(parsed, certificate), 0);
    X509_free(parsed);
    parsed = NULL;
    for (size_t size = 0; size < der.size; size++)
        assert_int_equal(pki_certificate_from_der(bytes_of(der.data, size), &parsed),
                         STATUS_INVALID_ARGUMENT);
    buffer_append(&der, "", 1);
    assert_int_equal(pki_certificate_from_der(buffer_bytes(&der), &parsed),
                     STATUS_INVALID_ARGUMENT);
    assert_null(parsed);
    assert_int_equal(ERR_peek_error(), 0);
    struct buffer small;
    buffer_init(&small, 10);
    assert_int_equal(pki_certificate_der(certificate, &small), STATUS_TOO_LARGE);
    buffer_free(&small);
    buffer_free(&der);
    X509_free(certificate);
}

/* ---- Describing ---- */

/* Made with openssl req -x509, described with openssl x509. */
static const char known[] = "-----BEGIN CERTIFICATE-----\n"
                            "MIIB2DCCAX+gAwIBAgIUYevuPPKNk7vLFxxzPvHaQffj1y4wCgYIKoZIzj0EAwIw\n"
                            "QjELMAkGA1UEBhMCREUxFzAVBgNVBAoMDkV4YW1wbGUgKyBTb25zMRowGAYDVQQD\n"
                            "DBFrbm93bi5leGFtcGxlLmNvbTAeFw0yNjExMjIwMTU3MzBaFw0zNjExMTkwMTU3\n"
                            "MzBaMEIxCzAJBgNVBAYTAkRFMRcwFQYDVQQKDA5FeGFtcGxlICsgU29uczEaMBgG\n"
                            "A1UEAwwRa25vd24uZXhhbXBsZS5jb20wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n"
                            "AAQXR9YNJvHcEEmOAp4UH6dOzvBuLhc+0naf34ntkPsGB8b8pTJONYM9qLLYCL8n\n"
                            "yppra9v+ekTPi8OdeWqpN8vBo1MwUTAdBgNVHQ4EFgQUqdoVxOSsgy2k2PgrgZg/\n"
                            "JxaJBWcwHwYDVR0jBBgwFoAUqdoVxOSsgy2k2PgrgZg/JxaJBWcwDwYDVR0TAQH/\n"
                            "BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAELaNzB7GHOqwimyrm143YofR1JW2w\n"
                            "z7oc30KC1QG37wIgebVV79zxg0OAJe3wKFVnxB+Gi+BDl9O3R3wAflVJeCU=\n"
                            "-----END CERTIFICATE-----\n";

static void test_describe_known(void **state)
{
    (void)state;
    X509 *certificate = NULL;
    struct error error = {0};
    char text[PKI_FINGERPRINT_TEXT_MAX];
    uint8_t fingerprint[SHA256_SIZE];
    assert_int_equal(pki_certificate_parse(bytes_of_text(known), &certificate, &error), STATUS_OK);
    struct pki_description description = describe(certificate);
    assert_string_equal(description.subject, "CN=known.example.com,O=Example \\+ Sons,C=DE");
    assert_string_equal(description.issuer, description.subject);
    assert_string_equal(description.serial, "61EBEE3CF28D93BBCB171C733EF1DA41F7E3D72E");
    assert_string_equal(description.key, "P-256");
    pki_fingerprint_text(bytes_of(description.sha256, SHA256_SIZE), text);
    assert_string_equal(text, "1A:59:FA:A3:8C:57:5C:2F:D6:0C:E6:68:25:49:F5:19:EB:B9:C8:00:26:15:"
                              "4A:7A:A0:F0:24:F8:F0:A8:36:DB");
    pki_fingerprint_text(bytes_of(description.sha1, SHA1_SIZE), text);
    assert_string_equal(text, "07:29:A2:74:1B:C3:5F:35:30:93:4F:6C:57:0D:99:5A:AF:7D:15:B5");
    assert_int_equal(pki_fingerprint(certificate, fingerprint), STATUS_OK);
    assert_memory_equal(fingerprint, description.sha256, SHA256_SIZE);
    pki_time_text(description.not_before, text);
    assert_string_equal(text, "2026-11-22T01:57:30Z");
    pki_time_text(description.not_after, text);
    assert_string_equal(text, "2036-11-19T01:57:30Z");
    X509_free(certificate);
}

/* A subject that is too long is cut between characters. */
static void test_describe_long_name(void **state)
{
    (void)state;
    X509_NAME *subject = X509_NAME_new();
    X509 *certificate = issue_client("c");
    for (int i = 0; i < 10; i++)
        assert_int_equal(
            X509_NAME_add_entry_by_txt(
                subject, "OU", MBSTRING_UTF8,
                (const uint8_t *)"\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC"
                                 "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC",
                -1, -1, 0),
            1);
    assert_int_equal(X509_set_subject_name(certificate, subject), 1);
    struct pki_description description = describe(certificate);
    size_t length = strlen(description.subject);
    assert_in_range(length, PKI_NAME_MAX - 5, PKI_NAME_MAX - 1);
    /* Where it ends there is no half of a character. */
    const char *last = description.subject + length - 1;
    if ((uint8_t)*last >= 0x80)
        assert_int_equal((uint8_t)*last, 0xAC);
    X509_NAME_free(subject);
    X509_free(certificate);
}

static void test_time_text(void **state)
{
    (void)state;
    char text[PKI_TIME_TEXT_MAX];
    pki_time_text(NOW, text);
    assert_string_equal(text, "2026-01-01T00:00:00Z");
    pki_time_text(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    pki_time_text(INT64_MAX, text);
    assert_string_equal(text, "");
}

/* ---- Files ---- */

static void test_key_file(void **state)
{
    (void)state;
    char path[128];
    struct stat stat_of;
    struct error error = {0};
    EVP_PKEY *const keys[] = {common.rsa, common.ecdsa};
    snprintf(path, sizeof(path), "%s/server.key", common.directory);
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        EVP_PKEY *read = NULL;
        mode_t before = umask(0);
        assert_int_equal(pki_key_write(path, keys[i], 0, &error), STATUS_OK);
        (void)umask(before);
        assert_int_equal(stat(path, &stat_of), 0);
        assert_int_equal(stat_of.st_mode & 07777, 0600);
        assert_int_equal(pki_key_read(path, &read, &error), STATUS_OK);
        assert_int_equal(EVP_PKEY_eq(read, keys[i]), 1);
        EVP_PKEY_free(read);
    }
    assert_int_equal(pki_key_write(path, common.rsa, FILE_MUST_BE_NEW, &error), STATUS_EXISTS);
    assert_text(&error, "server.key");
    EVP_PKEY *none = NULL;
    static const mode_t wide[] = {0640, 0604, 0644, 0666};
    for (size_t i = 0; i < ARRAY_COUNT(wide); i++) {
        assert_int_equal(chmod(path, wide[i]), 0);
        assert_int_equal(pki_key_read(path, &none, &error), STATUS_IO);
        assert_text(&error, "chmod 600");
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(pki_key_read(path, &none, &error), STATUS_NOT_FOUND);
    assert_null(none);
    assert_int_equal(pki_key_write("/nonexistent/x/key", common.rsa, 0, &error), STATUS_IO);
}

static void write_text(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), strlen(text));
    assert_int_equal(close(file), 0);
}

static void test_key_file_wrong(void **state)
{
    (void)state;
    char path[128];
    struct error error = {0};
    EVP_PKEY *none = NULL;
    snprintf(path, sizeof(path), "%s/wrong.key", common.directory);
    write_text(path, "");
    assert_int_equal(pki_key_read(path, &none, &error), STATUS_INVALID_ARGUMENT);
    assert_text(&error, "does not hold a private key");
    write_text(path, known);
    assert_int_equal(pki_key_read(path, &none, &error), STATUS_INVALID_ARGUMENT);
    assert_text(&error, "does not hold a private key");
    BIO *bio = BIO_new_file(path, "w");
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, common.ecdsa, EVP_aes_128_cbc(), "secret",
                                                   6, NULL, NULL),
                     1);
    BIO_free(bio);
    assert_int_equal(pki_key_read(path, &none, &error), STATUS_INVALID_ARGUMENT);
    assert_text(&error, "encrypted");
    EVP_PKEY *weak = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    assert_int_equal(pki_key_write(path, weak, 0, &error), STATUS_OK);
    assert_int_equal(pki_key_read(path, &none, &error), STATUS_INVALID_ARGUMENT);
    assert_text(&error, "1024 bits");
    assert_null(none);
    EVP_PKEY_free(weak);
}

static void test_certificate_file(void **state)
{
    (void)state;
    char path[128];
    struct stat stat_of;
    struct error error = {0};
    X509 *leaf = issue_client("c");
    X509 *read = NULL;
    X509 *const chain[] = {leaf, common.authority_certificate};
    snprintf(path, sizeof(path), "%s/server.pem", common.directory);
    assert_int_equal(pki_certificate_write(path, chain, 1, 0, &error), STATUS_OK);
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 07777, 0644);
    assert_int_equal(pki_certificate_read(path, &read, &error), STATUS_OK);
    assert_int_equal(X509_cmp(read, leaf), 0);
    X509_free(read);
    read = NULL;
    assert_int_equal(pki_certificate_write(path, chain, 2, FILE_KEEP_PREVIOUS, &error), STATUS_OK);
    assert_int_equal(pki_certificate_read(path, &read, &error), STATUS_INVALID_ARGUMENT);
    assert_text(&error, "server.pem: this holds 2 blocks");
    strcat(path, ".previous");
    assert_int_equal(pki_certificate_read(path, &read, &error), STATUS_OK);
    assert_int_equal(X509_cmp(read, leaf), 0);
    X509_free(read);
    X509_free(leaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_authority),
        cmocka_unit_test(test_authority_rsa),
        cmocka_unit_test(test_server),
        cmocka_unit_test(test_server_long_name),
        cmocka_unit_test(test_server_names_refused),
        cmocka_unit_test(test_client),
        cmocka_unit_test(test_common_names),
        cmocka_unit_test(test_authority_expires),
        cmocka_unit_test(test_after_2050),
        cmocka_unit_test(test_authority_wrong),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_requests_refused),
        cmocka_unit_test(test_parse_forms),
        cmocka_unit_test(test_parse_wrong_things),
        cmocka_unit_test(test_parse_damaged),
        cmocka_unit_test(test_der),
        cmocka_unit_test(test_describe_known),
        cmocka_unit_test(test_describe_long_name),
        cmocka_unit_test(test_time_text),
        cmocka_unit_test(test_key_file),
        cmocka_unit_test(test_key_file_wrong),
        cmocka_unit_test(test_certificate_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
