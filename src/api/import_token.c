/* SPDX-License-Identifier: Apache-2.0 */
/* POST and GET /import_token. */
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "api/keys_import.h"

#define KEY_BITS           4096
#define EXPIRATION_MIN     300
#define EXPIRATION_MAX     86400
#define EXPIRATION_DEFAULT 600
#define RETRIEVALS_MAX     500
#define RETRIEVALS_DEFAULT 1

/* ---- Making ---- */

static bool read_number(struct api_call *call, const char *field, int64_t minimum, int64_t maximum,
                        int64_t otherwise, int64_t *ret_number)
{
    const json_t *value = api_member(call->body, field);
    *ret_number = otherwise;
    if (value == NULL || json_is_null(value))
        return true;
    *ret_number = json_integer_value(value);
    if (json_is_integer(value) && *ret_number >= minimum && *ret_number <= maximum)
        return true;
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", field,
                  "The field `%s` must be: a number from %lld to %lld", field, (long long)minimum,
                  (long long)maximum);
    return false;
}

static bool read_wishes(struct api_call *call, struct kms_import_token *token)
{
    int64_t seconds;
    if (call->body != NULL && api_body_object(call) == NULL)
        return false;
    if (!read_number(call, "expiration", EXPIRATION_MIN, EXPIRATION_MAX, EXPIRATION_DEFAULT,
                     &seconds) ||
        !read_number(call, "maxAllowedRetrievals", 1, RETRIEVALS_MAX, RETRIEVALS_DEFAULT,
                     &token->retrievals))
        return false;
    token->created = call->now;
    token->expires = call->now + seconds * 1000;
    token->remaining = token->retrievals;
    return true;
}

static bool write_public_key(EVP_PKEY *key, char *ret_pem, size_t size)
{
    BIO *memory = BIO_new(BIO_s_mem());
    bool written = memory != NULL && PEM_write_bio_PUBKEY(memory, key) == 1;
    int length = written ? BIO_read(memory, ret_pem, (int)size - 1) : -1;
    bool whole = length > 0 && BIO_pending(memory) == 0;
    ret_pem[whole ? length : 0] = '\0';
    BIO_free(memory);
    return whole;
}

static enum status make_token(const struct api_context *context, struct kms_import_token *token)
{
    EVP_PKEY *key = EVP_RSA_gen(KEY_BITS);
    enum status status =
        key == NULL || RAND_bytes(token->nonce, sizeof(token->nonce)) != 1 ||
                !write_public_key(key, token->public_key, sizeof(token->public_key))
            ? STATUS_CRYPTO_FAILED
            : uuid_make_random(&token->id);
    if (status == STATUS_OK)
        status = import_key_wrap(context, key, token);
    EVP_PKEY_free(key);
    if (status == STATUS_OK)
        status = kms_import_token_put(context->kms, token);
    return status;
}

static json_t *token_json(const struct kms_import_token *token)
{
    json_t *object = json_object();
    (void)keys_set(&object, "creationDate", api_json_time(token->created));
    (void)keys_set(&object, "expirationDate", api_json_time(token->expires));
    (void)keys_set(&object, "maxAllowedRetrievals", json_integer(token->retrievals));
    (void)keys_set(&object, "remainingRetrievals", json_integer(token->remaining));
    return object;
}

void api_import_token_create(struct api_call *call)
{
    struct kms_import_token token = {0};
    if (!read_wishes(call, &token))
        return;
    enum status status = make_token(call->context, &token);
    if (status != STATUS_OK)
        api_fail_status(call, status, NULL);
    else
        api_reply_value(call, 200, "import_token", token_json(&token));
}

/* ---- Retrieving ---- */

void api_import_token_get(struct api_call *call)
{
    struct kms_import_token token = {0};
    enum status status = kms_import_token_retrieve(call->context->kms, call->now, &token);
    if (status == STATUS_NOT_FOUND) {
        api_fail(call, API_IMPORT_TOKEN_NOT_FOUND_ERR, NULL, NULL);
        return;
    }
    if (status != STATUS_OK) {
        if (status == STATUS_CONFLICT)
            api_fail(call, API_IMPORT_TOKEN_EXPIRED_ERR, NULL, NULL);
        else
            api_fail_status(call, status, NULL);
        return;
    }
    json_t *object = token_json(&token);
    (void)keys_set(&object, "payload", api_json_base64(bytes_of_text(token.public_key)));
    (void)keys_set(&object, "nonce", api_json_base64(bytes_of(token.nonce, sizeof(token.nonce))));
    api_reply_value(call, 200, "import_token", object);
}
