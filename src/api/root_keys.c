/* SPDX-License-Identifier: Apache-2.0 */
#include "api/root_keys.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/keys.h"
#include "api/reconcile.h"
#include "upkeep/upkeep.h"

/* One step at a time: a version that is noted for a rotation must not be taken for another's. */
static pthread_mutex_t step = PTHREAD_MUTEX_INITIALIZER;

static enum status begin(const struct api_context *context, struct keymanager **ret_keymanager,
                         struct error *error)
{
    struct keymanager *keymanager = keymanagers_get(context->keymanagers, context->local);
    if (keymanager == NULL)
        return error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                         "the key manager of the served root keys is not configured");
    (void)pthread_mutex_lock(&step);
    *ret_keymanager = keymanager;
    return STATUS_OK;
}

static void end(void)
{
    (void)pthread_mutex_unlock(&step);
}

static void tell_upkeep(const struct api_context *context, const struct uuid *id)
{
    if (context->upkeep != NULL)
        upkeep_root_key_changed(context->upkeep, context->local, id);
}

/* ---- Making ---- */

static enum status become_active(struct kms_key *key, void *context)
{
    key->state = KMS_KEY_ACTIVE;
    return STATUS_OK;
}

static enum status make(const struct api_context *context, struct keymanager *keymanager,
                        struct kms_key *key, const struct secret *material, struct error *error)
{
    const struct root_key_wish wish = {
        .id = key->id, .name = key->name, .material = material, .now = key->created};
    struct uuid made = {0};
    enum status status = keymanager_create_root_key(keymanager, &wish, &made, error);
    if (status == STATUS_OK && !uuid_equal(&made, &key->id))
        status = error_set(error, STATUS_FEATURE_NOT_SUPPORTED,
                           "the key manager chooses identifiers by itself: it cannot have the "
                           "served root keys");
    if (status != STATUS_OK && status != STATUS_KEY_MANAGER_UNAVAILABLE) {
        enum status undone = kms_key_purge(context->kms, &key->id);
        (void)undone; /* else it goes when the two are compared */
    }
    if (status != STATUS_OK)
        return status;
    return kms_key_change(context->kms, &key->id, become_active, NULL, key);
}

enum status api_root_key_create(const struct api_context *context, struct kms_key *key,
                                const struct kms_key_parts *parts, const struct secret *material,
                                struct error *error)
{
    struct keymanager *keymanager;
    enum status status = begin(context, &keymanager, error);
    if (status != STATUS_OK)
        return status;
    key->state = KMS_KEY_PLANNED;
    status = kms_key_insert(context->kms, key, parts);
    if (status == STATUS_OK)
        status = make(context, keymanager, key, material, error);
    end();
    return status;
}

/* ---- Rotating ---- */

struct users {
    const struct api_context *context;
    const struct uuid *root_key;
    char name[STORE_NAME_MAX + 1];
    bool found;
    enum status status;
};

static bool rewrap_if_user(void *context, const struct adapter_row *row)
{
    struct users *users = context;
    if (row->key_manager != users->context->local || !uuid_equal(&row->root_key, users->root_key))
        return true;
    enum status status = upkeep_rewrap(users->context->upkeep, &row->uuid);
    if (status != STATUS_OK)
        users->status = status;
    return true;
}

/* What cannot be begun now is found by upkeep at the next start: the rotation itself stands. */
static void rewrap_users(const struct api_context *context, const struct uuid *id)
{
    struct users users = {.context = context, .root_key = id};
    struct store_session *session;
    if (context->upkeep == NULL || store_session_open(context->store, &session) != STATUS_OK)
        return;
    if (store_adapters(session, rewrap_if_user, &users) != STATUS_OK)
        users.status = STATUS_STORE_FAILED;
    store_session_close(session);
}

static enum status rotate(const struct api_context *context, struct keymanager *keymanager,
                          const struct uuid *id, const struct secret *material, int64_t now,
                          struct error *error)
{
    struct root_key_info info = {0};
    struct kms_version version = {.created = now};
    enum status status = reconcile_root_key(context, keymanager, id, now, &info);
    if (status == STATUS_OK)
        status = uuid_make_random(&version.id);
    version.number = info.version + 1;
    if (status == STATUS_OK)
        status = kms_version_plan(context->kms, id, &version);
    if (status != STATUS_OK)
        return status;
    status = keymanager_rotate(keymanager, id, info.version, material, now, error);
    if (status == STATUS_OK)
        return kms_version_confirm(context->kms, id, version.number);
    if (status != STATUS_KEY_MANAGER_UNAVAILABLE) {
        enum status undone = kms_version_forget(context->kms, id);
        (void)undone; /* else it goes with the next rotation */
    }
    return status;
}

enum status api_root_key_rotate(const struct api_context *context, const struct uuid *id,
                                const struct secret *material, int64_t now, struct error *error)
{
    struct keymanager *keymanager;
    enum status status = begin(context, &keymanager, error);
    if (status != STATUS_OK)
        return status;
    status = rotate(context, keymanager, id, material, now, error);
    end();
    if (status == STATUS_OK)
        rewrap_users(context, id);
    return status;
}

/* ---- States ---- */

struct transition {
    enum kms_key_state state;
    int reason;
    const char *actor;
    int64_t now;
};

static enum status enter(struct kms_key *key, void *context)
{
    const struct transition *transition = context;
    bool destroyed = transition->state == KMS_KEY_DESTROYED;
    key->state = transition->state;
    key->reason = transition->reason;
    key->updated = transition->now;
    key->deleted = destroyed ? transition->now : 0;
    (void)snprintf(key->deleted_by, sizeof(key->deleted_by), "%s",
                   destroyed ? transition->actor : "");
    if (destroyed) {
        key->set_for_deletion = 0;
        key->set_for_deletion_by[0] = '\0';
    }
    return STATUS_OK;
}

enum status api_root_key_set_state(const struct api_context *context, const struct uuid *id,
                                   enum root_key_state state, int64_t now, struct error *error)
{
    struct keymanager *keymanager;
    struct transition transition = {
        .now = now,
        .state = state == ROOT_KEY_ACTIVE ? KMS_KEY_ACTIVE : KMS_KEY_SUSPENDED,
        .reason = state == ROOT_KEY_ACTIVE ? KEYS_REASON_NONE : KEYS_REASON_SUSPENDED};
    enum status status = begin(context, &keymanager, error);
    if (status != STATUS_OK)
        return status;
    status = keymanager_set_state(keymanager, id, state, error);
    if (status == STATUS_OK)
        status = kms_key_change(context->kms, id, enter, &transition, NULL);
    end();
    tell_upkeep(context, id);
    return status;
}

enum status api_root_key_delete(const struct api_context *context, const struct uuid *id,
                                const char *actor, int64_t now, struct error *error)
{
    struct keymanager *keymanager;
    struct transition transition = {.now = now, .state = KMS_KEY_DESTROYED, .actor = actor};
    enum status status = begin(context, &keymanager, error);
    if (status != STATUS_OK)
        return status;
    status = keymanager_delete(keymanager, id, now, error);
    if (status == STATUS_OK)
        status = kms_key_change(context->kms, id, enter, &transition, NULL);
    end();
    tell_upkeep(context, id);
    return status;
}

enum status api_root_key_restore(const struct api_context *context, const struct uuid *id,
                                 int64_t now, struct error *error)
{
    struct keymanager *keymanager;
    struct transition transition = {.now = now, .state = KMS_KEY_ACTIVE};
    enum status status = begin(context, &keymanager, error);
    if (status != STATUS_OK)
        return status;
    status = keymanager_restore(keymanager, id, error);
    if (status == STATUS_OK)
        status = kms_key_change(context->kms, id, enter, &transition, NULL);
    end();
    tell_upkeep(context, id);
    return status;
}

enum status api_root_key_purge(const struct api_context *context, const struct uuid *id,
                               struct error *error)
{
    struct keymanager *keymanager;
    enum status status = begin(context, &keymanager, error);
    if (status != STATUS_OK)
        return status;
    status = keymanager_purge(keymanager, id, error);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        status = kms_key_purge(context->kms, id);
    end();
    return status;
}

/* ---- Who uses it ---- */

static bool note_user(void *context, const struct adapter_row *row)
{
    struct users *users = context;
    if (row->key_manager != users->context->local || !uuid_equal(&row->root_key, users->root_key))
        return true;
    users->found = true;
    (void)snprintf(users->name, sizeof(users->name), "%s", row->name);
    return false;
}

bool api_root_key_in_use(const struct api_context *context, struct store_session *session,
                         const struct uuid *id, char *ret_name, enum status *ret_status)
{
    struct users users = {.context = context, .root_key = id};
    *ret_status = store_adapters(session, note_user, &users);
    if (*ret_status != STATUS_OK)
        return false;
    (void)snprintf(ret_name, STORE_NAME_MAX + 1, "%s", users.name);
    return users.found || (context->upkeep != NULL && upkeep_uses_root_key(context->upkeep, id));
}
