/* SPDX-License-Identifier: Apache-2.0 */
/* POST /keys, POST /keys_with_policy_overrides, PATCH /keys/{id}. */
#include <stdio.h>
#include <stdlib.h>

#include "api/keys.h"
#include "api/root_keys.h"

#define GENERATED_SIZE 32

/* A creation at work. */
struct creation {
    struct kms_key key;
    struct secret material;
    bool imported;
    struct kms_policy policies[KMS_POLICY_KINDS];
    size_t policy_count;
};

static void answer_failure(struct api_call *call, enum status status, const struct error *error)
{
    switch (status) {
    case STATUS_NOT_FOUND:
        api_fail(call, API_KEY_RING_NOT_FOUND_ERR, "header", "X-Kms-Key-Ring");
        return;
    case STATUS_NAME_EXISTS:
        api_fail(call, API_KEY_ALIAS_NOT_UNIQUE_ERR, "field", "aliases");
        return;
    case STATUS_INDEX_OUT_OF_BOUNDS:
        api_fail(call, API_KEY_ALIAS_QUOTA_ERR, "field", "aliases");
        return;
    default:
        api_fail_status(call, status, error);
        return;
    }
}

/* ---- Standard keys ---- */

static enum status insert_standard(struct api_call *call, struct creation *creation)
{
    struct buffer wrapped;
    buffer_init(&wrapped, KEYS_PAYLOAD_MAX + WRAPPED_OVERHEAD_MAX);
    enum status status =
        keys_payload_wrap(call->context, &creation->key.id, &creation->material, &wrapped);
    const struct kms_key_parts parts = {.payload = {buffer_bytes(&wrapped)},
                                        .policies = creation->policies,
                                        .policy_count = creation->policy_count};
    creation->key.state = KMS_KEY_ACTIVE;
    if (status == STATUS_OK)
        status = kms_key_insert(call->context->kms, &creation->key, &parts);
    buffer_free(&wrapped);
    if (status == STATUS_OK && creation->key.aliases[0] != '\0') /* they have an order there */
        status = kms_key_get(call->context->kms, &creation->key.id, &creation->key);
    return status;
}

static void create_standard(struct api_call *call, struct creation *creation)
{
    enum status status = STATUS_OK;
    if (!creation->imported)
        status = secret_random(&creation->material, GENERATED_SIZE);
    creation->key.bits = (unsigned)creation->material.size * 8;
    if (status == STATUS_OK)
        status = insert_standard(call, creation);
    if (status != STATUS_OK)
        answer_failure(call, status, NULL);
    else if (api_prefers_representation(call))
        keys_reply_secret(call, 201, "key", keys_json(call, &creation->key), "payload",
                          &creation->material, true);
    else
        keys_reply(call, 201, &creation->key);
}

/* ---- Root keys ---- */

static void create_root(struct api_call *call, struct creation *creation)
{
    struct error error = {0};
    const struct kms_key_parts parts = {.policies = creation->policies,
                                        .policy_count = creation->policy_count};
    creation->key.bits = creation->imported ? (unsigned)creation->material.size * 8 : 256;
    enum status status =
        api_root_key_create(call->context, &creation->key, &parts,
                            creation->imported ? &creation->material : NULL, &error);
    if (status != STATUS_OK)
        answer_failure(call, status, &error);
    else
        keys_reply(call, 201, &creation->key);
}

/* ---- Both ---- */

/* So that the answer is what a later GET answers. */
static void note_policies(struct creation *creation)
{
    for (size_t i = 0; i < creation->policy_count; i++) {
        const struct kms_policy *policy = &creation->policies[i];
        if (policy->kind == KMS_POLICY_ROTATION) {
            creation->key.rotation_set = true;
            creation->key.rotation_enabled = policy->enabled;
            creation->key.rotation_months = policy->months;
        } else {
            creation->key.dual_set = true;
            creation->key.dual_enabled = policy->enabled;
        }
    }
}

/* A policy in the request goes before the instance's of the same kind. */
static bool add_policies(struct api_call *call, const json_t *resource, bool overrides,
                         struct creation *creation)
{
    struct kms_policy defaults[KMS_POLICY_KINDS];
    size_t count = 0;
    if (overrides &&
        !keys_read_policies(call, resource, creation->policies, &creation->policy_count))
        return false;
    for (size_t i = 0; i < creation->policy_count; i++)
        if (creation->policies[i].kind == KMS_POLICY_ROTATION && creation->key.extractable) {
            api_fail(call, API_KEY_ROOT_REQ_ERR, "field", "rotation");
            return false;
        }
    if (!keys_default_policies(call, &creation->key, defaults, &count))
        return false;
    size_t asked = creation->policy_count;
    for (size_t i = 0; i < count; i++)
        if (asked == 0 || creation->policies[0].kind != defaults[i].kind)
            if (asked < 2)
                creation->policies[creation->policy_count++] = defaults[i];
    note_policies(creation);
    return true;
}

static bool read_creation(struct api_call *call, bool overrides, struct creation *creation)
{
    struct kms_key *key = &creation->key;
    const json_t *resource = api_body_resource(call);
    if (resource == NULL || !keys_read_fields(call, resource, key) ||
        !keys_ring_header(call, KMS_RING_DEFAULT, key->ring) ||
        !api_require(call, call->roles, key->ring, NULL) ||
        !keys_read_material(call, resource, key->extractable, &creation->material,
                            &creation->imported))
        return false;
    key->imported = creation->imported;
    bool by_token = api_member(resource, "encryptedNonce") != NULL;
    return keys_check_access(call, key->extractable, key->imported, by_token) &&
           add_policies(call, resource, overrides, creation);
}

static bool identify(struct api_call *call, struct kms_key *key)
{
    enum status status = uuid_make_random(&key->id);
    if (status != STATUS_OK) {
        api_fail_status(call, status, NULL);
        return false;
    }
    key->created = call->now;
    key->updated = call->now;
    key->version = key->id;
    key->version_number = 1;
    key->version_created = call->now;
    (void)snprintf(key->created_by, sizeof(key->created_by), "%s", call->identity.iam_id);
    uuid_text(&key->id, call->subject);
    return true;
}

static void create(struct api_call *call, bool overrides)
{
    struct creation *creation = calloc(1, sizeof(*creation));
    if (creation == NULL) {
        api_fail_status(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    if (read_creation(call, overrides, creation) && identify(call, &creation->key)) {
        if (creation->key.extractable)
            create_standard(call, creation);
        else
            create_root(call, creation);
    }
    secret_free(&creation->material);
    free(creation);
}

void api_keys_create(struct api_call *call)
{
    create(call, false);
}

void api_keys_create_with_policies(struct api_call *call)
{
    create(call, true);
}

/* ---- Moving to another key ring ---- */

struct move {
    const char *ring;
    int64_t now;
};

static enum status move(struct kms_key *key, void *context)
{
    const struct move *to = context;
    if (key->state == KMS_KEY_PLANNED)
        return STATUS_OBJECT_NOT_FOUND;
    (void)snprintf(key->ring, sizeof(key->ring), "%s", to->ring);
    key->updated = to->now;
    return STATUS_OK;
}

void api_keys_patch(struct api_call *call)
{
    struct kms_key key;
    const json_t *body = api_body_object(call);
    if (body == NULL)
        return;
    const char *ring = json_string_value(api_member(body, "keyRingID"));
    if (ring == NULL || ring[0] == '\0' || strlen(ring) > KMS_KEY_RING_MAX) {
        api_fail_text(call, API_INVALID_FIELD_ERR, "field", "keyRingID",
                      "The field `keyRingID` must be: the identifier of a key ring");
        return;
    }
    if (!keys_find(call, call->roles, &key) || !api_require(call, call->roles, ring, NULL))
        return;
    struct move to = {ring, call->now};
    enum status status = kms_key_change(call->context->kms, &key.id, move, &to, &key);
    if (status == STATUS_NOT_FOUND) {
        api_fail(call, API_KEY_RING_NOT_FOUND_ERR, "field", "keyRingID");
        return;
    }
    if (status != STATUS_OK) {
        api_fail_status(call, status, NULL);
        return;
    }
    keys_settle(&key, call->now);
    api_reply_resource(call, 200, "key", keys_json(call, &key));
}
