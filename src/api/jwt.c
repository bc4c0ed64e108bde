/* SPDX-License-Identifier: Apache-2.0 */
#include "api/jwt.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/file.h"
#include "crypto/digest.h"
#include "crypto/pki.h"

#define ISSUER_MAX     512
#define HEADER_MAX     256
#define NUMBER_MAX     2048 /* base64 of a modulus of 8,192 bits */
#define SIGNATURE_MAX  1024
#define KEY_ID_MAX     48
#define IDENTIFIER     "ServiceId-"

struct jwt {
    EVP_PKEY *key;
    char issuer[ISSUER_MAX];
    char account[UUID_TEXT_LENGTH + 1];
    char modulus[NUMBER_MAX]; /* base64url, as in JWKS */
    char exponent[32];
    char key_id[KEY_ID_MAX]; /* RFC 7638 */
    char header[HEADER_MAX]; /* base64url of the JOSE header */
};

/* ---- The key ---- */

/* base64url of `bytes` with a NUL. */
static enum status to_text(struct bytes bytes, char *ret_text, size_t size)
{
    struct buffer text;
    if (size == 0)
        return STATUS_TOO_LARGE;
    buffer_over(&text, ret_text, size - 1);
    base64_encode(BASE64_URL, bytes, &text);
    ret_text[text.size] = '\0';
    return buffer_status(&text);
}

/* A number of the public key, big-endian without leading zeros (RFC 7518 §6.3.1). */
static enum status number_text(const EVP_PKEY *key, const char *name, char *ret_text, size_t size)
{
    uint8_t bytes[SIGNATURE_MAX];
    BIGNUM *number = NULL;
    enum status status = STATUS_CRYPTO_FAILED;
    if (EVP_PKEY_get_bn_param(key, name, &number) == 1 &&
        BN_num_bytes(number) <= (int)sizeof(bytes)) {
        int length = BN_bn2bin(number, bytes);
        status = to_text(bytes_of(bytes, (size_t)length), ret_text, size);
    }
    BN_free(number);
    ERR_clear_error();
    return status;
}

/* The key's thumbprint, which is its name, and the header that names it. */
static enum status describe_key(struct jwt *jwt)
{
    char text[NUMBER_MAX + 128];
    uint8_t thumbprint[SHA256_SIZE];
    enum status status =
        number_text(jwt->key, OSSL_PKEY_PARAM_RSA_N, jwt->modulus, sizeof(jwt->modulus));
    if (status == STATUS_OK)
        status = number_text(jwt->key, OSSL_PKEY_PARAM_RSA_E, jwt->exponent, sizeof(jwt->exponent));
    if (status != STATUS_OK)
        return status;
    (void)snprintf(text, sizeof(text), "{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}", jwt->exponent,
                   jwt->modulus);
    status = digest_sha256(bytes_of_text(text), thumbprint);
    if (status == STATUS_OK)
        status = to_text(bytes_of(thumbprint, sizeof(thumbprint)), jwt->key_id, KEY_ID_MAX);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(text, sizeof(text), "{\"kid\":\"%s\",\"typ\":\"JWT\",\"alg\":\"RS256\"}",
                   jwt->key_id);
    return to_text(bytes_of_text(text), jwt->header, sizeof(jwt->header));
}

static enum status make_key(const char *path, EVP_PKEY **ret_key, struct error *error)
{
    EVP_PKEY *key = NULL;
    enum status status = pki_key_make(PKI_KEY_RSA_3072, &key);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot make the key that signs access tokens");
    status = pki_key_write(path, key, FILE_MUST_BE_NEW, error);
    if (status != STATUS_OK)
        EVP_PKEY_free(key);
    else
        *ret_key = key;
    return status;
}

static enum status load_key(const char *path, EVP_PKEY **ret_key, struct error *error)
{
    enum status status = file_exists(path) ? pki_key_read(path, ret_key, error)
                                           : make_key(path, ret_key, error);
    if (status != STATUS_OK || EVP_PKEY_is_a(*ret_key, "RSA"))
        return status;
    EVP_PKEY_free(*ret_key);
    *ret_key = NULL;
    return error_set(error, STATUS_INVALID_ARGUMENT,
                     "%s does not hold an RSA key: access tokens are signed with RS256", path);
}

enum status jwt_open(const struct api_context *context, struct jwt **ret_jwt, struct error *error)
{
    struct jwt *jwt = calloc(1, sizeof(*jwt));
    if (jwt == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s", status_text(STATUS_NO_MEMORY));
    int length = snprintf(jwt->issuer, sizeof(jwt->issuer), "%s/identity", context->issuer);
    uuid_text(&context->account, jwt->account);
    enum status status =
        length < (int)sizeof(jwt->issuer)
            ? load_key(context->token_key_file, &jwt->key, error)
            : error_set(error, STATUS_TOO_LARGE, "the address of the API is too long");
    if (status == STATUS_OK && (status = describe_key(jwt)) != STATUS_OK)
        (void)error_set(error, status, "cannot use the key that signs access tokens: %s",
                        status_text(status));
    if (status != STATUS_OK)
        jwt_close(jwt);
    else
        *ret_jwt = jwt;
    return status;
}

void jwt_close(struct jwt *jwt)
{
    if (jwt == NULL)
        return;
    EVP_PKEY_free(jwt->key);
    free(jwt);
}

json_t *jwt_keys(struct jwt *jwt)
{
    return json_pack("{s:[{s:s,s:s,s:s,s:s,s:s,s:s}]}", "keys", "kty", "RSA", "use", "sig", "alg",
                     "RS256", "kid", jwt->key_id, "n", jwt->modulus, "e", jwt->exponent);
}

const char *jwt_issuer(const struct jwt *jwt)
{
    return jwt->issuer;
}

/* ---- Issuing ---- */

void jwt_identifier(const struct uuid *service_id, char ret_text[static JWT_IDENTIFIER_MAX])
{
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(service_id, text);
    (void)snprintf(ret_text, JWT_IDENTIFIER_MAX, IDENTIFIER "%s", text);
}

void jwt_iam_id(const struct uuid *service_id, char ret_text[static JWT_IDENTIFIER_MAX])
{
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(service_id, text);
    (void)snprintf(ret_text, JWT_IDENTIFIER_MAX, "iam-" IDENTIFIER "%s", text);
}

static json_t *claims_json(const struct jwt *jwt, const struct jwt_claims *claims)
{
    char identifier[JWT_IDENTIFIER_MAX];
    char iam_id[JWT_IDENTIFIER_MAX];
    char api_key[UUID_TEXT_LENGTH + 1];
    struct uuid unique;
    char jti[UUID_TEXT_LENGTH + 1];
    if (uuid_make(claims->issued * 1000, &unique) != STATUS_OK)
        return NULL;
    jwt_identifier(&claims->service_id, identifier);
    jwt_iam_id(&claims->service_id, iam_id);
    uuid_text(&claims->api_key, api_key);
    uuid_text(&unique, jti);
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:{s:s,s:s,s:s,s:s},s:{s:b,s:s,s:b},"
        "s:I,s:I,s:s,s:s,s:s,s:s,s:i,s:[s],s:s}",
        "iam_id", iam_id, "id", iam_id, "realmid", "iam", "jti", jti, "identifier", identifier,
        "name", claims->name, "sub", identifier, "sub_type", "ServiceId", "authn", "sub",
        identifier, "iam_id", iam_id, "sub_type", "ServiceId", "name", claims->name, "account",
        "valid", 1, "bss", jwt->account, "frozen", 1, "iat", (json_int_t)claims->issued, "exp",
        (json_int_t)claims->expires, "iss", jwt->issuer, "grant_type",
        "urn:ibm:params:oauth:grant-type:apikey", "scope", "ibm openid", "client_id", "default",
        "acr", 1, "amr", "pwd", "kmipd_api_key", api_key);
}

static enum status sign(struct jwt *jwt, struct bytes text, struct buffer *token)
{
    uint8_t signature[SIGNATURE_MAX];
    size_t size = sizeof(signature);
    enum status status = STATUS_CRYPTO_FAILED;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context != NULL &&
        EVP_DigestSignInit_ex(context, NULL, "SHA256", NULL, NULL, jwt->key, NULL) == 1 &&
        EVP_DigestSign(context, signature, &size, text.data, text.size) == 1) {
        buffer_append_text(token, ".");
        base64_encode(BASE64_URL, bytes_of(signature, size), token);
        status = buffer_status(token);
    }
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return status;
}

enum status jwt_issue(struct jwt *jwt, const struct jwt_claims *claims, struct buffer *ret_token)
{
    json_t *json = claims_json(jwt, claims);
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL)
        return STATUS_NO_MEMORY;
    buffer_append_text(ret_token, jwt->header);
    buffer_append_text(ret_token, ".");
    base64_encode(BASE64_URL, bytes_of_text(text), ret_token);
    free(text);
    enum status status = buffer_status(ret_token);
    return status == STATUS_OK ? sign(jwt, buffer_bytes(ret_token), ret_token) : status;
}

/* ---- Verifying ---- */

/* What stands before the last dot, and behind it. */
static bool split_last(struct bytes text, struct bytes *ret_before, struct bytes *ret_behind)
{
    const uint8_t *dot = text.size == 0 ? NULL : memrchr(text.data, '.', text.size);
    if (dot == NULL)
        return false;
    size_t before = (size_t)(dot - text.data);
    *ret_before = bytes_of(text.data, before);
    *ret_behind = bytes_of(dot + 1, text.size - before - 1);
    return true;
}

static bool is_signed(struct jwt *jwt, struct bytes text, struct bytes signature_text)
{
    uint8_t signature[SIGNATURE_MAX];
    size_t size = base64_decoded_size(BASE64_URL, signature_text);
    if (size != (size_t)EVP_PKEY_get_size(jwt->key) || size > sizeof(signature) ||
        !base64_decode(BASE64_URL, signature_text, signature))
        return false;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL &&
                EVP_DigestVerifyInit_ex(context, NULL, "SHA256", NULL, NULL, jwt->key, NULL) == 1 &&
                EVP_DigestVerify(context, signature, size, text.data, text.size) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good;
}

static json_t *parse_payload(struct bytes payload)
{
    uint8_t text[JWT_TEXT_MAX];
    size_t size = base64_decoded_size(BASE64_URL, payload);
    if (size > sizeof(text) || !base64_decode(BASE64_URL, payload, text))
        return NULL;
    return json_loadb((const char *)text, size, 0, NULL);
}

static bool get_uuid(const json_t *json, const char *name, const char *prefix,
                     struct uuid *ret_uuid)
{
    const char *text = json_string_value(json_object_get(json, name));
    size_t length = strlen(prefix);
    return text != NULL && strncmp(text, prefix, length) == 0 &&
           uuid_parse(bytes_of_text(text + length), ret_uuid);
}

static enum status read_claims(const struct jwt *jwt, const json_t *json, int64_t now,
                               struct jwt_claims *ret_claims)
{
    struct jwt_claims claims = {0};
    const char *issuer = json_string_value(json_object_get(json, "iss"));
    const json_t *issued = json_object_get(json, "iat");
    const json_t *expires = json_object_get(json, "exp");
    if (issuer == NULL || strcmp(issuer, jwt->issuer) != 0 || !json_is_integer(issued) ||
        !json_is_integer(expires) || !get_uuid(json, "sub", IDENTIFIER, &claims.service_id) ||
        !get_uuid(json, "kmipd_api_key", "", &claims.api_key))
        return STATUS_NOT_AUTHENTICATED;
    claims.issued = json_integer_value(issued);
    claims.expires = json_integer_value(expires);
    if (now > claims.expires + JWT_LEEWAY_SECONDS || now < claims.issued - JWT_LEEWAY_SECONDS)
        return STATUS_TIMED_OUT;
    *ret_claims = claims;
    return STATUS_OK;
}

enum status jwt_verify(struct jwt *jwt, struct bytes token, int64_t now_seconds,
                       struct jwt_claims *ret_claims)
{
    struct bytes text;
    struct bytes signature;
    struct bytes header;
    struct bytes payload;
    if (token.size > JWT_TEXT_MAX || !split_last(token, &text, &signature) ||
        !split_last(text, &header, &payload) || !bytes_equal_text(header, jwt->header) ||
        !is_signed(jwt, text, signature))
        return STATUS_NOT_AUTHENTICATED;
    json_t *json = parse_payload(payload);
    enum status status = read_claims(jwt, json, now_seconds, ret_claims);
    json_decref(json);
    return status;
}
