/* SPDX-License-Identifier: Apache-2.0 */
#include "api/identities.h"

#include <stdio.h>

#include "api/permission.h"
#include "api/state.h"
#include "base/base64.h"
#include "base/utf8.h"
#include "crypto/digest.h"

#define API_KEY_PREFIX "kmipd_"
#define API_KEY_BYTES  32
#define FIRST_NAME     "admin"

/* Tokens that were verified before have to be looked at again. */
static void changed(struct api *api)
{
    atomic_fetch_add(&api->identities, 1);
}

/* ---- Checks ---- */

static enum status check_text(const char *text, const char *what, struct error *error)
{
    uint32_t code;
    struct bytes rest = bytes_of_text(text);
    if (rest.size > KMS_NAME_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "the %s is longer than %d bytes", what,
                         KMS_NAME_MAX);
    while (rest.size > 0) {
        size_t size = utf8_character(rest, &code);
        if (size == 0 || code < 0x20 || code == 0x7F)
            return error_set(error, STATUS_INVALID_ARGUMENT,
                             "the %s is not UTF-8, or has control characters", what);
        rest = bytes_of(rest.data + size, rest.size - size);
    }
    return STATUS_OK;
}

static enum status check_name(const char *name, struct error *error)
{
    struct uuid uuid;
    if (name == NULL || name[0] == '\0')
        return error_set(error, STATUS_INVALID_ARGUMENT, "a name is needed");
    if (uuid_parse(bytes_of_text(name), &uuid))
        return error_set(error, STATUS_INVALID_ARGUMENT, "a name must not look like an identifier");
    return check_text(name, "name", error);
}

static enum status fail_about(struct error *error, enum status status, const char *what,
                              const char *name)
{
    if (status == STATUS_NOT_FOUND)
        return error_set(error, status, "there is no %s \"%s\"", what, name);
    if (status == STATUS_EXISTS)
        return error_set(error, status, "there is a %s \"%s\" already", what, name);
    return error_set(error, status, "%s", status_text(status));
}

/* ---- Service IDs ---- */

static enum status fill_service_id(const struct service_id_wish *wish,
                                   struct kms_service_id *ret_service_id, struct error *error)
{
    const char *description = wish->description != NULL ? wish->description : "";
    enum status status = check_name(wish->name, error);
    if (status == STATUS_OK)
        status = check_text(description, "description", error);
    if (status != STATUS_OK)
        return status;
    if (wish->grant_count > KMS_GRANTS_MAX)
        return error_set(error, STATUS_TOO_LARGE, "a service ID has %d grants at most",
                         KMS_GRANTS_MAX);
    *ret_service_id =
        (struct kms_service_id){.created = wish->now, .grant_count = wish->grant_count};
    (void)snprintf(ret_service_id->name, sizeof(ret_service_id->name), "%s", wish->name);
    (void)snprintf(ret_service_id->description, sizeof(ret_service_id->description), "%s",
                   description);
    if (wish->grant_count > 0)
        memcpy(ret_service_id->grants, wish->grants, wish->grant_count * sizeof(wish->grants[0]));
    status = uuid_make(wish->now, &ret_service_id->id);
    return status == STATUS_OK ? STATUS_OK : error_set(error, status, "%s", status_text(status));
}

enum status service_id_create(struct api *api, const struct service_id_wish *wish,
                              struct kms_service_id *ret_service_id, struct error *error)
{
    struct kms_service_id service_id;
    enum status status = fill_service_id(wish, &service_id, error);
    if (status != STATUS_OK)
        return status;
    status = kms_service_id_insert(api->context.kms, &service_id);
    if (status != STATUS_OK)
        return fail_about(error, status, "service ID", wish->name);
    *ret_service_id = service_id;
    return STATUS_OK;
}

static enum status find_service_id(struct api *api, const char *name,
                                   struct kms_service_id *ret_service_id, struct error *error)
{
    enum status status = kms_service_id_find(api->context.kms, bytes_of_text(name), ret_service_id);
    return status == STATUS_OK ? STATUS_OK : fail_about(error, status, "service ID", name);
}

enum status service_id_delete(struct api *api, const char *service_id, struct error *error)
{
    struct kms_service_id found;
    enum status status = find_service_id(api, service_id, &found, error);
    if (status != STATUS_OK)
        return status;
    status = kms_service_id_delete(api->context.kms, &found.id);
    changed(api);
    return status == STATUS_OK ? STATUS_OK : fail_about(error, status, "service ID", service_id);
}

enum status service_id_set_grants(struct api *api, const char *service_id,
                                  const struct kms_grant *grants, size_t count,
                                  struct kms_service_id *ret_service_id, struct error *error)
{
    struct kms_service_id found;
    enum status status = find_service_id(api, service_id, &found, error);
    if (status != STATUS_OK)
        return status;
    status = kms_service_id_set_grants(api->context.kms, &found.id, grants, count);
    changed(api);
    if (status != STATUS_OK)
        return fail_about(error, status, "service ID", service_id);
    return find_service_id(api, service_id, ret_service_id, error);
}

/* ---- API keys ---- */

/* A new key: what the client gets, and the digest that is kept. */
static enum status make_key(struct secret *ret_text, uint8_t ret_hash[static SHA256_SIZE])
{
    struct secret bytes;
    struct secret text;
    struct buffer buffer;
    enum status status = secret_random(&bytes, API_KEY_BYTES);
    if (status != STATUS_OK)
        return status;
    status = secret_allocate(&text, API_KEY_TEXT_LENGTH);
    if (status == STATUS_OK) {
        buffer_over(&buffer, text.data, text.size);
        buffer_append_text(&buffer, API_KEY_PREFIX);
        base64_encode(BASE64_URL, secret_bytes(&bytes), &buffer);
        status = buffer_status(&buffer);
        if (status == STATUS_OK)
            status = digest_sha256(secret_bytes(&text), ret_hash);
        if (status != STATUS_OK)
            secret_free(&text);
        else
            *ret_text = text;
    }
    secret_free(&bytes);
    return status;
}

enum status api_key_create(struct api *api, const char *service_id, const char *name, int64_t now,
                           struct secret *ret_text, struct kms_api_key *ret_api_key,
                           struct error *error)
{
    struct kms_service_id owner;
    struct kms_api_key api_key = {.created = now};
    struct secret text;
    uint8_t hash[SHA256_SIZE];
    enum status status = check_name(name, error);
    if (status == STATUS_OK)
        status = find_service_id(api, service_id, &owner, error);
    if (status != STATUS_OK)
        return status;
    api_key.service_id = owner.id;
    (void)snprintf(api_key.name, sizeof(api_key.name), "%s", name);
    status = uuid_make(now, &api_key.id);
    if (status == STATUS_OK)
        status = make_key(&text, hash);
    if (status != STATUS_OK)
        return error_set(error, status, "%s", status_text(status));
    status = kms_api_key_insert(api->context.kms, &api_key, hash);
    if (status != STATUS_OK) {
        secret_free(&text);
        return fail_about(error, status, "API key", name);
    }
    *ret_text = text;
    *ret_api_key = api_key;
    return STATUS_OK;
}

enum status api_key_delete(struct api *api, const char *service_id, const char *api_key,
                           struct error *error)
{
    struct kms_service_id owner;
    enum status status = find_service_id(api, service_id, &owner, error);
    if (status != STATUS_OK)
        return status;
    status = kms_api_key_delete(api->context.kms, &owner.id, bytes_of_text(api_key));
    changed(api);
    return status == STATUS_OK ? STATUS_OK : fail_about(error, status, "API key", api_key);
}

enum status api_first_key(struct api *api, struct secret *ret_key, struct error *error)
{
    static const struct kms_grant grants[] = {{.role = API_ROLE_MANAGER},
                                              {.role = API_ROLE_KEY_PURGE},
                                              {.role = API_ROLE_ADMINISTRATOR}};
    struct kms_service_id service_id;
    struct kms_api_key api_key;
    const struct service_id_wish wish = {.name = FIRST_NAME,
                                         .description = "Made when the server was first started",
                                         .grants = grants,
                                         .grant_count = ARRAY_COUNT(grants),
                                         .now = clock_now(api->context.clock)};
    enum status status = service_id_create(api, &wish, &service_id, error);
    return status == STATUS_OK
               ? api_key_create(api, FIRST_NAME, "first", wish.now, ret_key, &api_key, error)
               : status;
}

/* ---- JSON ---- */

static json_t *grant_json(const struct kms_grant *grant)
{
    const char *name = role_name(grant->role);
    json_t *json = json_pack("{s:s}", "role", name != NULL ? name : "unknown");
    if (json != NULL && grant->key_ring[0] != '\0')
        (void)json_object_set_new(json, "key_ring", json_string(grant->key_ring));
    if (json != NULL && grant->adapter[0] != '\0')
        (void)json_object_set_new(json, "adapter", json_string(grant->adapter));
    return json;
}

json_t *service_id_json(const struct kms_service_id *service_id)
{
    json_t *grants = json_array();
    for (size_t i = 0; i < service_id->grant_count; i++)
        (void)json_array_append_new(grants, grant_json(&service_id->grants[i]));
    return json_pack("{s:o,s:s,s:s,s:o,s:o}", "id", api_json_uuid(&service_id->id), "name",
                     service_id->name, "description", service_id->description, "created_at",
                     api_json_time(service_id->created), "grants", grants);
}

json_t *api_key_json(const struct kms_api_key *api_key)
{
    json_t *json = json_pack("{s:o,s:s,s:o}", "id", api_json_uuid(&api_key->id), "name",
                             api_key->name, "created_at", api_json_time(api_key->created));
    if (json != NULL && api_key->used != 0)
        (void)json_object_set_new(json, "last_used_at", api_json_time(api_key->used));
    return json;
}

/* A member that may be absent, into `ret_text`. */
static bool take_text(const json_t *object, const char *name, char *ret_text, size_t size)
{
    const json_t *value = api_member(object, name);
    ret_text[0] = '\0';
    if (value == NULL || json_is_null(value))
        return true;
    if (!json_is_string(value) || json_string_length(value) >= size)
        return false;
    memcpy(ret_text, json_string_value(value), json_string_length(value) + 1);
    return true;
}

static enum status parse_grant(const json_t *json, struct kms_grant *ret_grant, struct error *error)
{
    char role[32];
    struct kms_grant grant = {0};
    if (!json_is_object(json) || !take_text(json, "role", role, sizeof(role)) ||
        !role_find(role, &grant.role))
        return error_set(error, STATUS_INVALID_ARGUMENT, "a grant needs a role that there is");
    if (!take_text(json, "key_ring", grant.key_ring, sizeof(grant.key_ring)) ||
        !take_text(json, "adapter", grant.adapter, sizeof(grant.adapter)))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "the key ring and the adapter of a grant are names");
    if (grant.key_ring[0] != '\0' && grant.adapter[0] != '\0')
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "a grant is for a key ring or for an adapter, not for both");
    *ret_grant = grant;
    return STATUS_OK;
}

enum status grants_parse(const json_t *array, struct kms_grant *ret_grants, size_t maximum,
                         size_t *ret_count, struct error *error)
{
    if (!json_is_array(array))
        return error_set(error, STATUS_INVALID_ARGUMENT, "grants must be an array");
    if (json_array_size(array) > maximum)
        return error_set(error, STATUS_TOO_LARGE, "there can be %zu grants at most", maximum);
    for (size_t i = 0; i < json_array_size(array); i++) {
        enum status status = parse_grant(json_array_get(array, i), &ret_grants[i], error);
        if (status != STATUS_OK)
            return status;
    }
    *ret_count = json_array_size(array);
    return STATUS_OK;
}
