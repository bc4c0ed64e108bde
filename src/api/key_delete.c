/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting, restoring and purging keys; deleting with the authorizations of two. */
#include <stdio.h>

#include "api/keys.h"
#include "api/root_keys.h"

#define DELETABLE                                                                                  \
    (KMS_STATE_BIT(KMS_KEY_ACTIVE) | KMS_STATE_BIT(KMS_KEY_SUSPENDED) |                            \
     KMS_STATE_BIT(KMS_KEY_DEACTIVATED))

/* A key of a state that another call has changed meanwhile. */
static void answer_failure(struct api_call *call, enum status status, const struct error *error)
{
    if (status == STATUS_NOT_FOUND)
        api_fail(call, API_KEY_NOT_FOUND_ERR, NULL, NULL);
    else if (status == STATUS_CONFLICT)
        api_fail(call, API_KEY_ACTION_INVALID_STATE_ERR, NULL, NULL);
    else
        api_fail_status(call, status, error);
}

/* With what it has become; 204 where the client does not want to see it. */
static void answer_with(struct api_call *call, unsigned status, const struct kms_key *key)
{
    if (api_prefers_representation(call))
        api_reply_resource(call, status, "key", keys_json(call, key));
    else
        api_reply_empty(call, 204);
}

/* ---- Deleting ---- */

/* Whether the first authorization, of somebody else, is there and still valid. */
static bool check_authorizations(struct api_call *call, const struct kms_key *key)
{
    if (!key->dual_set || !key->dual_enabled)
        return true;
    bool valid = key->set_for_deletion > 0 &&
                 call->now < key->set_for_deletion + KEYS_DUAL_AUTH_TIME &&
                 strcmp(key->set_for_deletion_by, call->identity.iam_id) != 0;
    if (!valid)
        api_fail_text(call, API_AUTHORIZATIONS_NOT_MET, NULL, NULL,
                      "Number of authorizations required to delete is not met: another user must "
                      "set the key for deletion first");
    return valid;
}

static bool check_unused(struct api_call *call, const struct kms_key *key, bool force)
{
    char adapter[STORE_NAME_MAX + 1];
    enum status status = STATUS_OK;
    if (force || key->extractable)
        return true;
    bool used = api_root_key_in_use(call->context, call->session, &key->id, adapter, &status);
    if (status != STATUS_OK)
        api_fail_status(call, status, NULL);
    else if (used && adapter[0] != '\0')
        api_fail_text(call, API_PROTECTED_RESOURCE_ERR, "query_param", "force",
                      "Key is protecting one or more cloud resources: the KMIP adapter %s uses it",
                      adapter);
    else if (used)
        api_fail_text(call, API_PROTECTED_RESOURCE_ERR, "query_param", "force",
                      "Key is protecting one or more cloud resources: keys of a KMIP adapter are "
                      "still wrapped with it");
    return status == STATUS_OK && !used;
}

struct deletion {
    const char *actor;
    int64_t now;
};

static enum status destroy(struct kms_key *key, void *context)
{
    const struct deletion *deletion = context;
    if (key->state == KMS_KEY_DESTROYED)
        return STATUS_CONFLICT;
    key->state = KMS_KEY_DESTROYED;
    key->reason = KEYS_REASON_NONE;
    key->updated = deletion->now;
    key->deleted = deletion->now;
    key->set_for_deletion = 0;
    key->set_for_deletion_by[0] = '\0';
    (void)snprintf(key->deleted_by, sizeof(key->deleted_by), "%s", deletion->actor);
    return STATUS_OK;
}

static enum status delete_key(struct api_call *call, struct kms_key *key, struct error *error)
{
    struct deletion deletion = {call->identity.iam_id, call->now};
    if (key->extractable)
        return kms_key_change(call->context->kms, &key->id, destroy, &deletion, key);
    enum status status =
        api_root_key_delete(call->context, &key->id, deletion.actor, deletion.now, error);
    return status == STATUS_OK ? kms_key_get(call->context->kms, &key->id, key) : status;
}

void api_keys_delete(struct api_call *call)
{
    struct kms_key key;
    struct error error = {0};
    bool force;
    if (!api_query_flag(call, "force", false, &force) || !keys_find(call, call->roles, &key) ||
        !keys_require_state(call, &key, DELETABLE) || !check_authorizations(call, &key) ||
        !check_unused(call, &key, force))
        return;
    enum status status = delete_key(call, &key, &error);
    if (status != STATUS_OK)
        answer_failure(call, status, &error);
    else
        answer_with(call, 200, &key);
}

/* ---- Restoring ---- */

static enum status revive(struct kms_key *key, void *context)
{
    if (key->state != KMS_KEY_DESTROYED)
        return STATUS_CONFLICT;
    key->state = KMS_KEY_ACTIVE;
    key->updated = *(const int64_t *)context;
    key->deleted = 0;
    key->deleted_by[0] = '\0';
    return STATUS_OK;
}

static enum status restore_key(struct api_call *call, struct kms_key *key, struct error *error)
{
    if (key->extractable)
        return kms_key_change(call->context->kms, &key->id, revive, &call->now, key);
    enum status status = api_root_key_restore(call->context, &key->id, call->now, error);
    return status == STATUS_OK ? kms_key_get(call->context->kms, &key->id, key) : status;
}

void keys_restore(struct api_call *call, struct kms_key *key)
{
    struct error error = {0};
    if (key->state != KMS_KEY_DESTROYED) {
        api_fail(call, API_KEY_ACTION_INVALID_STATE_ERR, NULL, NULL);
        return;
    }
    if (call->now >= key->deleted + KEYS_RESTORE_TIME) {
        api_fail(call, API_KEY_RESTORE_EXPIRED, NULL, NULL);
        return;
    }
    if (key->expiration > 0 && key->expiration <= call->now) {
        api_fail(call, API_KEY_EXPIRED_ERR, NULL, NULL);
        return;
    }
    enum status status = restore_key(call, key, &error);
    if (status != STATUS_OK) {
        answer_failure(call, status, &error);
        return;
    }
    if (api_prefers_minimal(call))
        keys_reply(call, 201, key);
    else
        api_reply_resource(call, 201, "key", keys_json(call, key));
}

void api_keys_restore(struct api_call *call)
{
    struct kms_key key;
    if (keys_find(call, call->roles, &key))
        keys_restore(call, &key);
}

/* ---- Purging ---- */

static bool check_purgeable(struct api_call *call, const struct kms_key *key)
{
    if (key->state != KMS_KEY_DESTROYED) {
        api_fail_text(call, API_KEY_ACTION_INVALID_STATE_ERR, NULL, NULL,
                      "Key is not in a valid state: it must be deleted before it is purged");
        return false;
    }
    if (call->now < key->deleted + KEYS_PURGE_DELAY) {
        api_fail_text(call, API_REQ_TOO_EARLY_ERR, NULL, NULL,
                      "The key was deleted less than four hours ago: purge it later");
        return false;
    }
    return true;
}

void api_keys_purge(struct api_call *call)
{
    struct kms_key key;
    struct error error = {0};
    if (!keys_find(call, call->roles, &key) || !check_purgeable(call, &key))
        return;
    enum status status = key.extractable ? kms_key_purge(call->context->kms, &key.id)
                                         : api_root_key_purge(call->context, &key.id, &error);
    if (status != STATUS_OK)
        answer_failure(call, status, &error);
    else
        answer_with(call, 200, &key);
}

/* ---- The first of two authorizations ---- */

static bool require_dual(struct api_call *call, const struct kms_key *key)
{
    if (!keys_require_state(call, key, DELETABLE))
        return false;
    if (key->dual_set && key->dual_enabled)
        return true;
    api_fail(call, API_NOT_DUAL_AUTH_ERR, NULL, NULL);
    return false;
}

/* One that is still valid stays whose it is. */
static enum status set_for_deletion(struct kms_key *key, void *context)
{
    const struct deletion *deletion = context;
    if (key->state == KMS_KEY_DESTROYED)
        return STATUS_CONFLICT;
    if (key->set_for_deletion > 0 && deletion->now < key->set_for_deletion + KEYS_DUAL_AUTH_TIME)
        return STATUS_OK;
    key->set_for_deletion = deletion->now;
    (void)snprintf(key->set_for_deletion_by, sizeof(key->set_for_deletion_by), "%s",
                   deletion->actor);
    key->updated = deletion->now;
    return STATUS_OK;
}

static enum status unset_for_deletion(struct kms_key *key, void *context)
{
    const struct deletion *deletion = context;
    key->set_for_deletion = 0;
    key->set_for_deletion_by[0] = '\0';
    key->updated = deletion->now;
    return STATUS_OK;
}

static void authorize(struct api_call *call, struct kms_key *key, kms_change_key *change)
{
    struct deletion deletion = {call->identity.iam_id, call->now};
    if (!require_dual(call, key))
        return;
    enum status status = kms_key_change(call->context->kms, &key->id, change, &deletion, NULL);
    if (status != STATUS_OK)
        answer_failure(call, status, NULL);
    else
        api_reply_empty(call, 204);
}

void keys_set_for_deletion(struct api_call *call, struct kms_key *key)
{
    authorize(call, key, set_for_deletion);
}

void keys_unset_for_deletion(struct api_call *call, struct kms_key *key)
{
    authorize(call, key, unset_for_deletion);
}
