/* SPDX-License-Identifier: Apache-2.0 */
/* Finding keys, and telling of them. */
#include "api/keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"

/* ---- Finding ---- */

bool keys_ring_header(struct api_call *call, const char *otherwise,
                      char ret_ring[static KMS_KEY_RING_MAX + 1])
{
    struct bytes ring = call->request->key_ring;
    if (ring.size == 0)
        ring = bytes_of_text(otherwise);
    if (ring.size > KMS_KEY_RING_MAX) {
        api_fail(call, API_INVALID_HEADER_ERR, "header", "X-Kms-Key-Ring");
        return false;
    }
    memcpy(ret_ring, ring.data, ring.size);
    ret_ring[ring.size] = '\0';
    return true;
}

void keys_settle(struct kms_key *key, int64_t now)
{
    bool open = key->state == KMS_KEY_PRE_ACTIVE || key->state == KMS_KEY_ACTIVE ||
                key->state == KMS_KEY_SUSPENDED;
    if (!open || key->expiration == 0 || key->expiration > now)
        return;
    key->state = KMS_KEY_DEACTIVATED;
    key->reason = KEYS_REASON_EXPIRED;
}

bool keys_find(struct api_call *call, unsigned roles, struct kms_key *ret_key)
{
    const char *name = call->parameters[0];
    (void)snprintf(call->subject, sizeof(call->subject), "%.100s", name);
    enum status status = kms_key_find(call->context->kms, name, ret_key);
    struct bytes ring = call->request->key_ring;
    if (status == STATUS_OK && ring.size > 0 && !bytes_equal_text(ring, ret_key->ring))
        status = STATUS_NOT_FOUND; /* in this key ring */
    if (status == STATUS_NOT_FOUND) {
        api_fail_text(call, API_KEY_NOT_FOUND_ERR, NULL, NULL,
                      "Key does not exist: check the identifier, the alias and the key ring");
        return false;
    }
    if (status != STATUS_OK) {
        api_fail_status(call, status, NULL);
        return false;
    }
    uuid_text(&ret_key->id, call->subject);
    keys_settle(ret_key, call->now);
    return api_require(call, roles, ret_key->ring, NULL);
}

bool keys_require_state(struct api_call *call, const struct kms_key *key, unsigned states)
{
    if ((KMS_STATE_BIT(key->state) & states) != 0)
        return true;
    if (key->state == KMS_KEY_DESTROYED)
        api_fail(call, API_KEY_DELETED_ERR, NULL, NULL);
    else
        api_fail_text(call, API_KEY_ACTION_INVALID_STATE_ERR, NULL, NULL,
                      "Key is not in a valid state: it is in state %d", (int)key->state);
    return false;
}

bool keys_require_root(struct api_call *call, const struct kms_key *key)
{
    if (key->extractable)
        api_fail(call, API_KEY_ROOT_REQ_ERR, NULL, NULL);
    return !key->extractable;
}

struct keymanager *keys_keymanager(struct api_call *call)
{
    struct keymanager *keymanager =
        keymanagers_get(call->context->keymanagers, call->context->local);
    if (keymanager == NULL)
        api_fail_status(call, STATUS_KEY_MANAGER_UNAVAILABLE, NULL);
    return keymanager;
}

/* ---- Telling ---- */

bool keys_set(json_t **object, const char *name, json_t *value)
{
    if (*object != NULL && value != NULL && json_object_set_new_nocheck(*object, name, value) == 0)
        return true;
    if (*object == NULL)
        json_decref(value);
    json_decref(*object);
    *object = NULL;
    return false;
}

static void set_text(json_t **object, const char *name, const char *text)
{
    if (text[0] != '\0')
        (void)keys_set(object, name, json_string(text));
}

static void set_time(json_t **object, const char *name, int64_t time)
{
    if (time > 0)
        (void)keys_set(object, name, api_json_time(time));
}

/* The parts between newlines. */
static void set_list(json_t **object, const char *name, const char *text)
{
    if (text[0] == '\0')
        return;
    json_t *list = json_array();
    while (list != NULL && *text != '\0') {
        size_t size = strcspn(text, "\n");
        if (json_array_append_new(list, json_stringn(text, size)) != 0) {
            json_decref(list);
            list = NULL;
        }
        text += size + (text[size] == '\n');
    }
    (void)keys_set(object, name, list);
}

static void set_crn(json_t **object, const struct api_call *call, const struct kms_key *key)
{
    char crn[384];
    char account[UUID_TEXT_LENGTH + 1];
    char instance[UUID_TEXT_LENGTH + 1];
    char id[UUID_TEXT_LENGTH + 1];
    uuid_text(&call->context->account, account);
    uuid_text(&call->context->instance, instance);
    uuid_text(&key->id, id);
    (void)snprintf(crn, sizeof(crn), "crn:v1:bluemix:public:kms:%s:a/%s:%s:key:%s",
                   call->context->region, account, instance, id);
    (void)keys_set(object, "crn", json_string(crn));
}

static void set_algorithm(json_t **object, const struct kms_key *key)
{
    char bits[12];
    const char *mode = key->extractable ? "Deprecated" : "CBC_PAD";
    (void)snprintf(bits, sizeof(bits), "%u", key->bits);
    (void)keys_set(object, "algorithmType",
                   json_string(key->extractable && key->imported ? "Deprecated" : "AES"));
    (void)keys_set(object, "algorithmMetadata",
                   json_pack("{s:s,s:s}", "bitLength", bits, "mode", mode));
    (void)keys_set(object, "algorithmBitSize", json_integer(key->bits));
    (void)keys_set(object, "algorithmMode", json_string(mode));
}

static void set_policies(json_t **object, const struct kms_key *key)
{
    json_t *dual = json_pack("{s:b}", "enabled", key->dual_set && key->dual_enabled);
    if (key->set_for_deletion > 0) {
        (void)keys_set(&dual, "keySetForDeletion", json_true());
        (void)keys_set(&dual, "authExpiration",
                       api_json_time(key->set_for_deletion + KEYS_DUAL_AUTH_TIME));
    }
    (void)keys_set(object, "dualAuthDelete", dual);
    if (key->extractable || !key->rotation_set)
        return;
    json_t *rotation = json_pack("{s:b}", "enabled", key->rotation_enabled);
    if (key->rotation_months > 0)
        (void)keys_set(&rotation, "interval_month", json_integer(key->rotation_months));
    (void)keys_set(object, "rotation", rotation);
}

static void set_deletion(json_t **object, const struct api_call *call, const struct kms_key *key)
{
    bool deleted = key->state == KMS_KEY_DESTROYED;
    (void)keys_set(object, "deleted", json_boolean(deleted));
    if (!deleted)
        return;
    set_time(object, "deletionDate", key->deleted);
    set_text(object, "deletedBy", key->deleted_by);
    set_time(object, "restoreExpirationDate", key->deleted + KEYS_RESTORE_TIME);
    (void)keys_set(object, "restoreAllowed",
                   json_boolean(call->now < key->deleted + KEYS_RESTORE_TIME));
    (void)keys_set(object, "purgeAllowed",
                   json_boolean(call->now >= key->deleted + KEYS_PURGE_DELAY));
    set_time(object, "purgeAllowedFrom", key->deleted + KEYS_PURGE_DELAY);
    set_time(object, "purgeScheduledOn", key->deleted + KEYS_RESTORE_TIME);
}

/* What stands in every answer but the minimal one. */
static json_t *common_json(const struct api_call *call, const struct kms_key *key)
{
    json_t *object = json_object();
    (void)keys_set(&object, "type", json_string(KEYS_TYPE));
    (void)keys_set(&object, "id", api_json_uuid(&key->id));
    (void)keys_set(&object, "name", json_string(key->name));
    set_list(&object, "aliases", key->aliases);
    set_text(&object, "description", key->description);
    set_list(&object, "tags", key->tags);
    (void)keys_set(&object, "state", json_integer(key->state));
    if (key->reason != KEYS_REASON_NONE)
        (void)keys_set(&object, "nonactiveStateReason", json_integer(key->reason));
    set_time(&object, "expirationDate", key->expiration);
    (void)keys_set(&object, "extractable", json_boolean(key->extractable));
    set_crn(&object, call, key);
    (void)keys_set(&object, "imported", json_boolean(key->imported));
    return object;
}

json_t *keys_json(const struct api_call *call, const struct kms_key *key)
{
    json_t *object = common_json(call, key);
    (void)keys_set(&object, "keyRingID", json_string(key->ring));
    set_time(&object, "creationDate", key->created);
    set_text(&object, "createdBy", key->created_by);
    set_algorithm(&object, key);
    set_time(&object, "lastUpdateDate", key->updated);
    set_time(&object, "lastRotateDate", key->rotated);
    if (!key->extractable) {
        json_t *version = json_object();
        (void)keys_set(&version, "id", api_json_uuid(&key->version));
        set_time(&version, "creationDate", key->version_created);
        (void)keys_set(&object, "keyVersion", version);
    }
    set_policies(&object, key);
    set_deletion(&object, call, key);
    return object;
}

void keys_reply(struct api_call *call, unsigned status, const struct kms_key *key)
{
    json_t *object;
    if (api_prefers_representation(call)) {
        object = keys_json(call, key);
    } else if (api_prefers_minimal(call)) {
        object = json_object();
        (void)keys_set(&object, "id", api_json_uuid(&key->id));
        (void)keys_set(&object, "type", json_string(KEYS_TYPE));
        set_crn(&object, call, key);
    } else {
        object = common_json(call, key);
        (void)keys_set(&object, "deleted", json_boolean(key->state == KMS_KEY_DESTROYED));
    }
    api_reply_resource(call, status, "key", object);
}

/* ---- Secrets in answers ---- */

static void no_memory(struct api_call *call)
{
    api_fail_status(call, STATUS_NO_MEMORY, NULL);
}

/* `rest` is the object as text: "{}" or "{...}". */
static void write_secret(struct api_call *call, unsigned status, const char *type, const char *rest,
                         const char *member, const struct secret *secret, bool in_collection)
{
    struct api_response *response = call->response;
    struct buffer *body = &response->body;
    size_t room = strlen(rest) + strlen(member) + strlen(type) + 256 +
                  base64_length(BASE64_STANDARD, secret->size);
    /* At once, so that it does not grow, and be copied, with the secret in it. */
    bool made = buffer_reserve(body, room) != NULL;
    buffer_reset(body);
    if (!made) {
        no_memory(call);
        return;
    }
    if (in_collection)
        buffer_append_format(body,
                             "{\"metadata\":{\"collectionType\":\"application/vnd.ibm.kms.%s"
                             "+json\",\"collectionTotal\":1},\"resources\":[",
                             type);
    buffer_append_format(body, "{\"%s\":\"", member);
    base64_encode(BASE64_STANDARD, secret_bytes(secret), body);
    buffer_append_text(body, strcmp(rest, "{}") == 0 ? "\"" : "\",");
    buffer_append_text(body, rest + 1);
    if (in_collection)
        buffer_append_text(body, "]}");
    response->status = status;
    response->content_type = api_content_type(call, type);
}

void keys_reply_secret(struct api_call *call, unsigned status, const char *type, json_t *object,
                       const char *member, const struct secret *secret, bool in_collection)
{
    char *rest = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (rest == NULL)
        no_memory(call);
    else
        write_secret(call, status, type, rest, member, secret, in_collection);
    free(rest);
}
