/* SPDX-License-Identifier: Apache-2.0 */
/* /identity/token and what belongs to it, as IBM Cloud IAM has them. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>

#include "api/auth.h"
#include "api/jwt.h"
#include "api/router.h"
#include "api/state.h"
#include "base/log.h"
#include "crypto/digest.h"
#include "kms/identities.h"

#define GRANT_API_KEY     "urn:ibm:params:oauth:grant-type:apikey"
#define GRANT_REFRESH     "refresh_token"
#define REFRESH_TOKEN     "not_supported" /* as IAM says for API keys */
#define FIELD_MAX         512
#define USED_MILLISECONDS INT64_C(3600000) /* how often the use of an API key is noted */

/* ---- Forms (application/x-www-form-urlencoded) ---- */

struct form {
    char grant_type[FIELD_MAX];
    char api_key[FIELD_MAX];
};

static bool take_field(struct bytes field, struct form *form)
{
    char name[32];
    const uint8_t *equals = field.size == 0 ? NULL : memchr(field.data, '=', field.size);
    if (equals == NULL)
        return true;
    size_t length = (size_t)(equals - field.data);
    struct bytes value = bytes_of(equals + 1, field.size - length - 1);
    if (!percent_decode(bytes_of(field.data, length), true, name, sizeof(name)))
        return true; /* none of ours is so long */
    if (strcmp(name, "grant_type") == 0)
        return percent_decode(value, true, form->grant_type, sizeof(form->grant_type));
    if (strcmp(name, "apikey") == 0)
        return percent_decode(value, true, form->api_key, sizeof(form->api_key));
    return true;
}

/* False: a field that counts is not well encoded, or too long. */
static bool parse_form(struct bytes body, struct form *ret_form)
{
    bool good = true;
    *ret_form = (struct form){0};
    while (good && body.size > 0) {
        const uint8_t *end = memchr(body.data, '&', body.size);
        size_t length = end == NULL ? body.size : (size_t)(end - body.data);
        size_t used = end == NULL ? length : length + 1;
        good = take_field(bytes_of(body.data, length), ret_form);
        body = bytes_of(body.data + used, body.size - used);
    }
    return good;
}

/* ---- Errors ---- */

enum token_error {
    TOKEN_OK,
    TOKEN_MISSING,
    TOKEN_GRANT_TYPE,
    TOKEN_REFRESH,
    TOKEN_API_KEY,
    TOKEN_TOO_MANY,
    TOKEN_UNAVAILABLE,
};

static const struct {
    unsigned status;
    enum api_error error; /* for the audit record */
    const char *code;
    const char *message;
    const char *details;
} token_errors[] = {
    [TOKEN_MISSING] = {400, API_BAD_BODY_ERR, "BXNIM0109E", "Property missing or empty",
                       "grant_type and apikey are needed"},
    [TOKEN_GRANT_TYPE] = {400, API_BAD_BODY_ERR, "BXNIM0137E", "The grant type is not supported",
                          "Use " GRANT_API_KEY},
    [TOKEN_REFRESH] = {400, API_UNAUTHORIZED_ERR, "BXNIM0407E", "Provided refresh_token is invalid",
                       "There are no refresh tokens for API keys: ask for a new access token"},
    [TOKEN_API_KEY] = {400, API_UNAUTHORIZED_ERR, "BXNIM0415E",
                       "Provided API key could not be found.", NULL},
    [TOKEN_TOO_MANY] = {429, API_TOO_MANY_REQUESTS_ERR, "BXNIM0429E", "Too many requests",
                        "Too many API keys that do not exist came from this address"},
    [TOKEN_UNAVAILABLE] = {503, API_UNAVAILABLE_ERR, "BXNIM0503E",
                           "The server cannot issue tokens now", NULL},
};

/* "21.11.2026 10:15:30:123 UTC" */
static void time_text(int64_t milliseconds, char *ret_text, size_t size)
{
    struct tm parts;
    char text[32] = "";
    time_t seconds = (time_t)(milliseconds / 1000);
    if (gmtime_r(&seconds, &parts) != NULL)
        (void)strftime(text, sizeof(text), "%d.%m.%Y %H:%M:%S", &parts);
    (void)snprintf(ret_text, size, "%s:%03d UTC", text, (int)(milliseconds % 1000));
}

static const char *host_of(const char *issuer)
{
    const char *slashes = strstr(issuer, "://");
    return slashes == NULL ? issuer : slashes + 3;
}

/* All values are strings, as IAM's are. */
static json_t *error_context(const struct api_call *call)
{
    char start[64];
    char url[512];
    char client[64];
    struct bytes peer = call->request->peer;
    time_text(call->now, start, sizeof(start));
    (void)snprintf(url, sizeof(url), "%s/identity/token", call->context->issuer);
    (void)snprintf(client, sizeof(client), "%.*s", (int)peer.size, (const char *)peer.data);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "requestId",
                     call->response->correlation, "requestType", "incoming.Identity_Token",
                     "userAgent", "", "url", url, "instanceId", "kmipd", "threadId", "0", "host",
                     host_of(call->context->issuer), "startTime", start, "endTime", start,
                     "elapsedTime", "0", "locale", "en_US", "clusterName", call->context->region,
                     "clientIp", client);
}

static void fail_token(struct api_call *call, enum token_error error)
{
    json_t *body = json_pack("{s:s,s:s,s:o}", "errorCode", token_errors[error].code, "errorMessage",
                             token_errors[error].message, "context", error_context(call));
    if (body != NULL && token_errors[error].details != NULL)
        (void)json_object_set_new(body, "errorDetails", json_string(token_errors[error].details));
    call->error = token_errors[error].error;
    if (token_errors[error].status >= 429)
        call->response->retry_after = 5;
    (void)snprintf(call->detail, sizeof(call->detail), "%s", token_errors[error].code);
    api_reply_json(call, token_errors[error].status, body);
}

/* ---- Issuing ---- */

static enum token_error from_status(struct api_call *call, enum status status)
{
    if (status == STATUS_OK)
        return TOKEN_OK;
    if (status == STATUS_NOT_FOUND) {
        strangers_failed(&call->api->strangers, call->request->peer);
        return TOKEN_API_KEY;
    }
    log_write(status_level(status), "api token status=%s: %s", status_name(status),
              status_text(status));
    return TOKEN_UNAVAILABLE;
}

static void note_use(struct api_call *call, const struct kms_api_key *api_key)
{
    if (call->now - api_key->used < USED_MILLISECONDS)
        return;
    enum status status = kms_api_key_used(call->context->kms, &api_key->id, call->now);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        log_warning("api the use of an API key cannot be noted status=%s: %s", status_name(status),
                    status_text(status));
}

/* Finds whose the API key is. */
static enum token_error find_owner(struct api_call *call, const char *text,
                                   struct kms_api_key *ret_api_key,
                                   struct kms_service_id *ret_service_id)
{
    uint8_t hash[SHA256_SIZE];
    struct kms *kms = call->context->kms;
    if (!strangers_may_try(&call->api->strangers, call->request->peer))
        return TOKEN_TOO_MANY;
    enum status status = digest_sha256(bytes_of_text(text), hash);
    if (status == STATUS_OK)
        status = kms_api_key_find(kms, hash, ret_api_key);
    if (status == STATUS_OK)
        status = kms_service_id_get(kms, &ret_api_key->service_id, ret_service_id);
    return from_status(call, status);
}

static json_t *token_json(const struct api_call *call, struct bytes token, int64_t expires)
{
    json_t *text = json_stringn((const char *)token.data, token.size);
    return json_pack("{s:o,s:s,s:s,s:I,s:I,s:s}", "access_token", text, "refresh_token",
                     REFRESH_TOKEN, "token_type", "Bearer", "expires_in",
                     (json_int_t)call->context->token_seconds, "expiration", (json_int_t)expires,
                     "scope", "ibm openid");
}

static enum token_error issue(struct api_call *call, const struct form *form)
{
    struct kms_api_key api_key;
    struct kms_service_id service_id;
    struct buffer token;
    enum token_error error = find_owner(call, form->api_key, &api_key, &service_id);
    if (error != TOKEN_OK)
        return error;
    auth_assume(call, &service_id);
    (void)snprintf(call->subject, sizeof(call->subject), "%s", api_key.name);
    struct jwt_claims claims = {.service_id = service_id.id,
                                .api_key = api_key.id,
                                .issued = call->now / 1000,
                                .expires = call->now / 1000 + call->context->token_seconds};
    (void)snprintf(claims.name, sizeof(claims.name), "%s", service_id.name);
    buffer_init(&token, JWT_TEXT_MAX);
    error = from_status(call, jwt_issue(call->api->jwt, &claims, &token));
    if (error == TOKEN_OK) {
        note_use(call, &api_key);
        api_reply_json(call, 200, token_json(call, buffer_bytes(&token), claims.expires));
    }
    buffer_free(&token);
    return error;
}

static enum token_error answer_form(struct api_call *call, const struct form *form)
{
    if (strcmp(form->grant_type, GRANT_REFRESH) == 0)
        return TOKEN_REFRESH;
    if (form->grant_type[0] != '\0' && strcmp(form->grant_type, GRANT_API_KEY) != 0)
        return TOKEN_GRANT_TYPE;
    if (form->grant_type[0] == '\0' || form->api_key[0] == '\0')
        return TOKEN_MISSING;
    return issue(call, form);
}

/* POST /identity/token. Basic authorization and fields that are not known do not matter. */
void api_token_issue(struct api_call *call)
{
    struct form form;
    enum token_error error =
        parse_form(call->request->body, &form) ? answer_form(call, &form) : TOKEN_MISSING;
    OPENSSL_cleanse(&form, sizeof(form));
    if (error != TOKEN_OK)
        fail_token(call, error);
}

/* GET /identity/keys */
void api_token_keys(struct api_call *call)
{
    api_reply_json(call, 200, jwt_keys(call->api->jwt));
}

/* GET /identity/.well-known/openid-configuration (OpenID Connect Discovery 1.0 §3) */
void api_token_configuration(struct api_call *call)
{
    const char *issuer = jwt_issuer(call->api->jwt);
    char token[640];
    char keys[640];
    (void)snprintf(token, sizeof(token), "%s/token", issuer);
    (void)snprintf(keys, sizeof(keys), "%s/keys", issuer);
    api_reply_json(
        call, 200,
        json_pack("{s:s,s:s,s:s,s:[s],s:[s],s:[s]}", "issuer", issuer, "token_endpoint", token,
                  "jwks_uri", keys, "grant_types_supported", GRANT_API_KEY,
                  "id_token_signing_alg_values_supported", "RS256", "subject_types_supported",
                  "public"));
}
