/* SPDX-License-Identifier: Apache-2.0 */
#include "api/reconcile.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/keys.h"
#include "api/upkeep.h"

/* ---- One root key ---- */

struct observation {
    const struct root_key_info *info; /* NULL: the key manager has no such root key */
    int64_t now;
};

static enum kms_key_state state_of(const struct kms_key *key, const struct root_key_info *info)
{
    switch (info->state) {
    case ROOT_KEY_DESTROYED:
        return KMS_KEY_DESTROYED;
    case ROOT_KEY_SUSPENDED:
        return key->state == KMS_KEY_DEACTIVATED ? KMS_KEY_DEACTIVATED : KMS_KEY_SUSPENDED;
    default:
        return key->state == KMS_KEY_DEACTIVATED || key->state == KMS_KEY_PRE_ACTIVE
                   ? key->state
                   : KMS_KEY_ACTIVE;
    }
}

static enum status follow(struct kms_key *key, void *context)
{
    const struct observation *seen = context;
    enum kms_key_state state = seen->info == NULL ? KMS_KEY_DESTROYED : state_of(key, seen->info);
    if (state == key->state)
        return STATUS_OK;
    key->state = state;
    key->reason = state == KMS_KEY_SUSPENDED ? KEYS_REASON_SUSPENDED : KEYS_REASON_NONE;
    key->updated = seen->now;
    key->deleted = 0;
    if (state == KMS_KEY_DESTROYED)
        key->deleted =
            seen->info != NULL && seen->info->deleted > 0 ? seen->info->deleted : seen->now;
    key->deleted_by[0] = '\0';
    return STATUS_OK;
}

/* Versions that the row does not know; the one that was noted counts if it has been made. */
static enum status follow_versions(const struct api_context *context, const struct kms_key *key,
                                   const struct root_key_info *info, int64_t now)
{
    struct kms_version planned = {0};
    enum status status = kms_version_planned(context->kms, &key->id, &planned);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    bool noted = status == STATUS_OK;
    if (noted && info->version < planned.number)
        return kms_version_forget(context->kms, &key->id);
    status = STATUS_OK;
    for (uint32_t number = key->version_number + 1; number <= info->version; number++) {
        struct kms_version version = {.number = number,
                                      .created = info->rotated > 0 ? info->rotated : now};
        if (noted && planned.number == number)
            version.id = planned.id;
        else
            status = uuid_make_random(&version.id);
        if (status == STATUS_OK)
            status = kms_version_plan(context->kms, &key->id, &version);
        if (status == STATUS_OK)
            status = kms_version_confirm(context->kms, &key->id, number);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* Reads a row whether it is planned or not. */
static enum status leave_as_it_is(struct kms_key *key, void *context)
{
    return STATUS_OK;
}

static enum status follow_loss(const struct api_context *context, const struct kms_key *key,
                               int64_t now)
{
    struct observation seen = {.now = now};
    enum status status = STATUS_OK;
    if (key->state == KMS_KEY_PLANNED)
        status = kms_key_purge(context->kms, &key->id);
    else if (key->state != KMS_KEY_DESTROYED)
        status = kms_key_change(context->kms, &key->id, follow, &seen, NULL);
    return status == STATUS_OK ? STATUS_NOT_FOUND : status;
}

enum status reconcile_root_key(const struct api_context *context, struct keymanager *keymanager,
                               const struct uuid *id, int64_t now, struct root_key_info *ret_info)
{
    struct kms_key key;
    struct root_key_info info = {0};
    enum status found = keymanager_root_key_info(keymanager, id, &info);
    if (found != STATUS_OK && found != STATUS_NOT_FOUND)
        return found;
    enum status status = kms_key_change(context->kms, id, leave_as_it_is, NULL, &key);
    if (status != STATUS_OK)
        return status;
    if (found == STATUS_NOT_FOUND || info.purged)
        return follow_loss(context, &key, now);
    struct observation seen = {.info = &info, .now = now};
    status = follow_versions(context, &key, &info, now);
    if (status == STATUS_OK && state_of(&key, &info) != key.state)
        status = kms_key_change(context->kms, id, follow, &seen, NULL);
    if (status == STATUS_OK && ret_info != NULL)
        *ret_info = info;
    return status;
}

/* ---- All of them ---- */

struct list {
    struct root_key_info *infos;
    size_t count;
    size_t capacity;
    bool full;
};

static bool add(struct list *list, const struct root_key_info *info)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        struct root_key_info *infos = reallocarray(list->infos, capacity, sizeof(*list->infos));
        if (infos == NULL) {
            list->full = true;
            return false;
        }
        list->infos = infos;
        list->capacity = capacity;
    }
    list->infos[list->count++] = *info;
    return true;
}

static bool add_root_key(void *context, const struct root_key_info *info)
{
    return add(context, info);
}

static bool add_row(void *context, const struct kms_key *key)
{
    const struct root_key_info info = {.id = key->id};
    return add(context, &info);
}

struct naming {
    const struct api_context *context;
    struct kms_key *key;
};

/* As much of a name as fits, cut between characters. */
static void copy_name(const char *name, struct kms_key *key)
{
    size_t length = strlen(name);
    if (length > 90)
        length = 90;
    while (length > 0 && ((uint8_t)name[length] & 0xC0) == 0x80)
        length--;
    memcpy(key->name, name, length);
    key->name[length] = '\0';
}

static bool take_adapter_name(void *context, const struct adapter_row *row)
{
    struct naming *naming = context;
    if (row->key_manager != naming->context->local ||
        !uuid_equal(&row->root_key, &naming->key->id) || strlen(row->name) < 2)
        return true;
    copy_name(row->name, naming->key);
    return false;
}

static enum status give_name(const struct api_context *context, struct kms_key *key)
{
    struct naming naming = {context, key};
    struct store_session *session;
    char id[UUID_TEXT_LENGTH + 1];
    uuid_text(&key->id, id);
    (void)snprintf(key->name, sizeof(key->name), "kmipd-%.8s", id);
    enum status status = store_session_open(context->store, &session);
    if (status != STATUS_OK)
        return status;
    status = store_adapters(session, take_adapter_name, &naming);
    store_session_close(session);
    return status;
}

static enum status make_row(const struct api_context *context, const struct root_key_info *info)
{
    const struct kms_key_parts parts = {0};
    struct kms_key *key = calloc(1, sizeof(*key));
    if (key == NULL)
        return STATUS_NO_MEMORY;
    key->id = info->id;
    key->state = KMS_KEY_PLANNED; /* the rest is followed as that of any other row */
    key->imported = info->imported;
    key->bits = 256;
    key->created = info->created;
    key->updated = info->created;
    (void)snprintf(key->ring, sizeof(key->ring), "%s", KMS_RING_DEFAULT);
    enum status status = give_name(context, key);
    if (status == STATUS_OK)
        status = kms_key_insert(context->kms, key, &parts);
    free(key);
    return status;
}

static enum status follow_root_key(const struct api_context *context, struct keymanager *keymanager,
                                   const struct root_key_info *info, int64_t now)
{
    if (uuid_equal(&info->id, &context->payload_root_key))
        return STATUS_OK;
    enum status status = reconcile_root_key(context, keymanager, &info->id, now, NULL);
    if (status != STATUS_NOT_FOUND || info->purged)
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    status = make_row(context, info);
    return status == STATUS_OK ? reconcile_root_key(context, keymanager, &info->id, now, NULL)
                               : status;
}

static enum status reconcile_all(const struct api_context *context, struct keymanager *keymanager,
                                 struct list *root_keys, struct list *rows, int64_t now)
{
    enum status status = keymanager_root_keys(keymanager, add_root_key, root_keys);
    for (size_t i = 0; status == STATUS_OK && i < root_keys->count; i++)
        status = follow_root_key(context, keymanager, &root_keys->infos[i], now);
    if (status == STATUS_OK)
        status = kms_root_keys(context->kms, add_row, rows);
    for (size_t i = 0; status == STATUS_OK && i < rows->count; i++) {
        status = reconcile_root_key(context, keymanager, &rows->infos[i].id, now, NULL);
        if (status == STATUS_NOT_FOUND)
            status = STATUS_OK;
    }
    return status == STATUS_OK && (root_keys->full || rows->full) ? STATUS_NO_MEMORY : status;
}

enum status api_reconcile_root_keys(const struct api_context *context, int64_t now,
                                    struct error *error)
{
    struct keymanager *keymanager = keymanagers_get(context->keymanagers, context->local);
    if (keymanager == NULL)
        return error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                         "the key manager of the served root keys is not configured");
    struct list root_keys = {0};
    struct list rows = {0};
    enum status status = reconcile_all(context, keymanager, &root_keys, &rows, now);
    free(root_keys.infos);
    free(rows.infos);
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(error, status, "cannot compare the root keys with their metadata: %s",
                           status_text(status));
}
