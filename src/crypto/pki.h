/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates (X.509 v3, RFC 5280) and their private keys: the server's own authority, what it
 * issues, and what administrators paste. Texts of errors are for them.
 *
 * Private keys here are those of TLS, not managed objects: on disk they stand in files of mode
 * 0600, in memory where OpenSSL keeps them (its ordinary heap). Times are milliseconds since 1970.
 * All functions may be called from any thread, on objects that no other thread changes.
 */
#ifndef KMIPD_CRYPTO_PKI_H
#define KMIPD_CRYPTO_PKI_H

#include <openssl/types.h>

#include "base/buffer.h"
#include "base/error.h"
#include "crypto/digest.h"

/* ---- Keys ---- */

enum pki_key_kind {
    PKI_KEY_RSA_3072,
    PKI_KEY_ECDSA_P256,
};

/* A new key pair. STATUS_CRYPTO_FAILED. End: EVP_PKEY_free(). */
enum status pki_key_make(enum pki_key_kind kind, EVP_PKEY **ret_key) MUST_USE;

/* Writes a private key as PEM (PKCS #8, not encrypted), mode 0600, in one step. `flags`: enum
 * file_replace_flags. STATUS_EXISTS, STATUS_IO, STATUS_NO_MEMORY, STATUS_CRYPTO_FAILED. */
enum status pki_key_write(const char *path, const EVP_PKEY *key, unsigned flags,
                          struct error *error) MUST_USE;

/* Reads a private key. Refused: a file that others may read, an encrypted key, a weak one.
 * STATUS_NOT_FOUND, STATUS_IO, STATUS_INVALID_ARGUMENT, STATUS_NO_MEMORY. */
enum status pki_key_read(const char *path, EVP_PKEY **ret_key, struct error *error) MUST_USE;

/* STATUS_INVALID_ARGUMENT with a text unless the key is RSA of 2,048 to 8,192 bits, ECDSA on
 * P-256, P-384 or P-521, Ed25519 or Ed448, and sound in itself. */
enum status pki_key_check(const EVP_PKEY *key, struct error *error) MUST_USE;

/* ---- Issuing ---- */

/* Who signs. Both borrowed; the key must be the certificate's. */
struct pki_authority {
    X509 *certificate;
    EVP_PKEY *key;
    unsigned days; /* for how long what it issues is valid; 0: ten years */
};

/*
 * All that is issued is valid from one day before `now`, for clients whose clocks are behind, with
 * a random serial number of 126 bits, signed with SHA-256. What an authority issues does not
 * outlive it. End of every *ret_certificate: X509_free(). Errors: STATUS_INVALID_ARGUMENT with a
 * text; STATUS_CRYPTO_FAILED.
 */

/* A self-signed authority for 25 years, which may sign leaves only (path length 0). `common_name`:
 * 1 to 64 characters of UTF-8, as everywhere below. */
enum status pki_make_authority(EVP_PKEY *key, const char *common_name, int64_t now,
                               X509 **ret_certificate, struct error *error) MUST_USE;

/* A server certificate, for TLS in both roles. `names`: at least one DNS name or IP
 * address; all become Subject Alternative Names, the first that is short enough the Common Name. */
enum status pki_issue_server(const struct pki_authority *authority, EVP_PKEY *key,
                             const char *const *names, size_t name_count, int64_t now,
                             X509 **ret_certificate, struct error *error) MUST_USE;

/* A client certificate. Only the public half of `key` is used. */
enum status pki_issue_client(const struct pki_authority *authority, EVP_PKEY *key,
                             const char *common_name, int64_t now, X509 **ret_certificate,
                             struct error *error) MUST_USE;

/* A client certificate for who made the request (PKCS #10, PEM): its subject and public key, none
 * of its extensions. The request's own signature proves that they have the private key. */
enum status pki_sign_request(const struct pki_authority *authority, struct bytes request,
                             int64_t now, X509 **ret_certificate, struct error *error) MUST_USE;

/* Appends a request (PKCS #10, PEM) for a certificate of this common name, signed with `key`.
 * STATUS_INVALID_ARGUMENT with a text, STATUS_CRYPTO_FAILED, STATUS_NO_MEMORY. */
enum status pki_make_request(EVP_PKEY *key, const char *common_name, struct buffer *ret_pem,
                             struct error *error) MUST_USE;

/* ---- Reading and writing certificates ---- */

/*
 * The one certificate in a PEM text. Text around it, white space and CRLF do not matter.
 * STATUS_INVALID_ARGUMENT with a text that says what it is instead: no PEM, DER, a private key, a
 * request, several certificates, damaged, more than 64 KiB.
 */
enum status pki_certificate_parse(struct bytes pem, X509 **ret_certificate,
                                  struct error *error) MUST_USE;

/* As pki_certificate_parse(), of a file (any permissions). Also STATUS_NOT_FOUND, STATUS_IO. */
enum status pki_certificate_read(const char *path, X509 **ret_certificate,
                                 struct error *error) MUST_USE;

/* As pki_certificate_read(), the first of a file that may hold a chain. */
enum status pki_certificate_read_first(const char *path, X509 **ret_certificate,
                                       struct error *error) MUST_USE;

/* Writes certificates as PEM, in their order, mode 0644, in one step. `flags`: enum
 * file_replace_flags. */
enum status pki_certificate_write(const char *path, X509 *const *certificates, size_t count,
                                  unsigned flags, struct error *error) MUST_USE;

/* DER with nothing behind it. STATUS_INVALID_ARGUMENT, STATUS_NO_MEMORY. */
enum status pki_certificate_from_der(struct bytes der, X509 **ret_certificate) MUST_USE;

/* Appends. STATUS_NO_MEMORY, STATUS_TOO_LARGE (the buffer's maximum), STATUS_CRYPTO_FAILED. */
enum status pki_certificate_der(const X509 *certificate, struct buffer *ret_der) MUST_USE;
enum status pki_certificate_pem(X509 *certificate, struct buffer *ret_pem) MUST_USE;

/* ---- Describing certificates ---- */

#define PKI_NAME_MAX             256
#define PKI_TIME_TEXT_MAX        24
#define PKI_FINGERPRINT_TEXT_MAX (3 * SHA256_SIZE)

struct pki_description {
    char subject[PKI_NAME_MAX]; /* RFC 2253, UTF-8, control characters escaped; cut if longer */
    char issuer[PKI_NAME_MAX];
    char common_name[PKI_NAME_MAX]; /* of the subject, UTF-8, as it is; empty if there is none */
    char serial[64]; /* hexadecimal; empty if longer */
    char key[32];    /* "RSA 3072", "P-256", "ED25519" */
    int64_t not_before;
    int64_t not_after;
    uint8_t sha256[SHA256_SIZE]; /* of the DER */
    uint8_t sha1[SHA1_SIZE];     /* for comparison by eye; zeros where SHA-1 is not to be had */
};

/* STATUS_NO_MEMORY; STATUS_INVALID_ARGUMENT: its names or dates make no sense. */
enum status pki_describe(const X509 *certificate, struct pki_description *ret_description) MUST_USE;

/* The SHA-256 of the DER: what a client is known by. */
enum status pki_fingerprint(const X509 *certificate,
                            uint8_t ret_fingerprint[static SHA256_SIZE]) MUST_USE;

/* "AB:CD:..." of at most SHA256_SIZE bytes, as other tools show fingerprints. */
void pki_fingerprint_text(struct bytes fingerprint, char ret_text[static PKI_FINGERPRINT_TEXT_MAX]);

/* "2031-05-01T12:00:00Z" */
void pki_time_text(int64_t milliseconds, char ret_text[static PKI_TIME_TEXT_MAX]);

#endif
