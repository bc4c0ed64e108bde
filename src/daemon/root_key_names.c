/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/root_key_names.h"

#include <stdlib.h>

#include "api/upkeep.h"
#include "upkeep/upkeep.h"

/* ---- Finding ---- */

enum status root_key_manager(struct control_call *call, enum keymanager_code otherwise,
                             enum keymanager_code *ret_code)
{
    const char *name = control_text(call, "key_manager");
    enum keymanager_code code = name != NULL ? keymanager_code_by_name(name) : otherwise;
    if (code == KEYMANAGER_NONE)
        return error_set(call->error, STATUS_INVALID_ARGUMENT,
                         "'%.40s' is no key manager; there are sealed-file, pkcs11, key-protect and "
                         "key-protect-2",
                         name != NULL ? name : "");
    if (keymanagers_get(&call->daemon->keymanagers, code) == NULL)
        return error_set(call->error, STATUS_NOT_FOUND,
                         "the key manager %s is not configured here: see [%s] in kmipd.conf(5)",
                         keymanager_code_name(code), keymanager_code_name(code));
    *ret_code = code;
    return STATUS_OK;
}

static void fill(struct control_call *call, const struct kms_key *row, struct root_key *ret_key)
{
    enum keymanager_code local = call->daemon->api_context.local;
    *ret_key = (struct root_key){.code = local,
                                 .keymanager = keymanagers_get(&call->daemon->keymanagers, local),
                                 .own = true,
                                 .id = row->id};
    (void)snprintf(ret_key->name, sizeof(ret_key->name), "%s", row->name);
}

struct naming {
    const char *name;
    size_t count;
    struct kms_key key;
};

static bool compare_name(void *context, const struct kms_key *key)
{
    struct naming *naming = context;
    if (key->state == KMS_KEY_PLANNED || strcmp(key->name, naming->name) != 0)
        return true;
    naming->count++;
    naming->key = *key;
    return naming->count < 2;
}

static enum status find_row(struct control_call *call, const char *name, struct kms_key *ret_key)
{
    struct naming naming = {.name = name};
    enum status status = kms_key_find(call->daemon->kms, name, ret_key);
    if (status == STATUS_OK && ret_key->extractable)
        status = STATUS_NOT_FOUND;
    if (status != STATUS_NOT_FOUND)
        return status;
    status = kms_root_keys(call->daemon->kms, compare_name, &naming);
    if (status == STATUS_OK && naming.count > 1)
        return error_set(call->error, STATUS_CONFLICT,
                         "several root keys are called '%.90s': name one by its identifier, which "
                         "kmipctl root-key list shows",
                         name);
    if (status == STATUS_OK && naming.count == 0)
        status = STATUS_NOT_FOUND;
    if (status == STATUS_OK)
        *ret_key = naming.key;
    return status;
}

enum status root_key_find_own(struct control_call *call, const char *name,
                              struct root_key *ret_key)
{
    struct kms_key row;
    enum status status = find_row(call, name, &row);
    if (status == STATUS_NOT_FOUND) { /* adapters' own root keys are made in the key manager alone */
        enum status reconciled =
            api_reconcile_root_keys(&call->daemon->api_context, call->now, call->error);
        status = reconciled == STATUS_OK ? find_row(call, name, &row) : reconciled;
    }
    if (status == STATUS_OK)
        fill(call, &row, ret_key);
    return status;
}

static enum status find_in(struct control_call *call, enum keymanager_code code, const char *name,
                           struct root_key *ret_key)
{
    struct root_key_info info;
    struct root_key key = {.code = code,
                           .keymanager = keymanagers_get(&call->daemon->keymanagers, code)};
    if (code == call->daemon->api_context.local)
        return root_key_find_own(call, name, ret_key);
    if (key.keymanager == NULL || !uuid_parse(bytes_of_text(name), &key.id))
        return STATUS_NOT_FOUND;
    enum status status = keymanager_root_key_info(key.keymanager, &key.id, &info);
    if (status != STATUS_OK)
        return status;
    uuid_text(&key.id, key.name);
    *ret_key = key;
    return STATUS_OK;
}

/* The server's own first; a key manager that does not answer hides no other. */
static enum status find_anywhere(struct control_call *call, const char *name,
                                 struct root_key *ret_key)
{
    enum status outcome = root_key_find_own(call, name, ret_key);
    for (int code = 1; code <= KEYMANAGER_CODE_MAX && outcome == STATUS_NOT_FOUND; code++)
        if (find_in(call, (enum keymanager_code)code, name, ret_key) == STATUS_OK)
            outcome = STATUS_OK;
    return outcome;
}

void root_key_note(struct control_call *call, const struct root_key *key)
{
    char id[UUID_TEXT_LENGTH + 1];
    uuid_text(&key->id, id);
    (void)snprintf(call->subject, sizeof(call->subject), "%s", id);
    (void)snprintf(call->detail, sizeof(call->detail), "key-manager=%s name=%.90s",
                   keymanager_code_name(key->code), key->name);
}

enum status root_key_find(struct control_call *call, const char *argument,
                          struct root_key *ret_key)
{
    enum keymanager_code code = KEYMANAGER_NONE;
    const char *name = control_text(call, argument);
    (void)snprintf(call->subject, sizeof(call->subject), "%.200s", name);
    enum status status = STATUS_OK;
    if (control_text(call, "key_manager") != NULL)
        status = root_key_manager(call, KEYMANAGER_NONE, &code);
    if (status != STATUS_OK)
        return status;
    status = code != KEYMANAGER_NONE ? find_in(call, code, name, ret_key)
                                     : find_anywhere(call, name, ret_key);
    if (status == STATUS_NOT_FOUND)
        return error_set(call->error, status,
                         "there is no root key '%.90s'; kmipctl root-key list shows which there "
                         "are, and --key-manager says where to look",
                         name);
    if (status == STATUS_OK)
        root_key_note(call, ret_key);
    return status;
}

/* ---- Adapters that use it ---- */

struct users {
    struct control_call *call;
    const struct uuid *root_key;
    json_t *names;
    bool rewrap;
    enum status status;
};

static bool note_user(void *context, const struct adapter_row *row)
{
    struct users *users = context;
    if (!uuid_equal(&row->root_key, users->root_key))
        return true;
    if (users->names != NULL)
        (void)json_array_append_new(users->names, json_string(row->name));
    if (users->rewrap)
        users->status = upkeep_rewrap(users->call->daemon->upkeep, &row->uuid);
    return users->status == STATUS_OK;
}

enum status root_key_rewrap(struct control_call *call, const struct root_key *key)
{
    struct users users = {.call = call, .root_key = &key->id, .rewrap = true};
    enum status status = store_adapters(call->session, note_user, &users);
    return status == STATUS_OK ? users.status : status;
}

/* ---- Showing ---- */

static const char *state_text(enum root_key_state state, bool purged)
{
    switch (state) {
    case ROOT_KEY_ACTIVE:
        return "active";
    case ROOT_KEY_SUSPENDED:
        return "disabled";
    case ROOT_KEY_DESTROYED:
        return purged ? "erased" : "deleted";
    }
    return "unknown";
}

static void put_time(json_t *object, const char *name, int64_t time)
{
    if (time > 0)
        control_put_time(object, name, time);
}

static void put_info(json_t *object, const struct root_key_info *info)
{
    control_put_text(object, "state", state_text(info->state, info->purged));
    control_put_number(object, "version", info->version);
    (void)json_object_set_new(object, "imported", json_boolean(info->imported));
    put_time(object, "created", info->created);
    put_time(object, "rotated", info->rotated);
    put_time(object, "deleted", info->deleted);
}

enum status root_key_put(struct control_call *call, const struct root_key *key, json_t *object)
{
    struct root_key_info info;
    struct users users = {.call = call, .root_key = &key->id, .names = json_array()};
    struct keymanager *keymanager = keymanagers_get(&call->daemon->keymanagers, key->code);
    control_put_text(object, "name", key->name);
    control_put_uuid(object, "id", &key->id);
    control_put_text(object, "key_manager", keymanager_code_name(key->code));
    enum status status = keymanager_root_key_info(keymanager, &key->id, &info);
    if (status == STATUS_OK)
        put_info(object, &info);
    else
        control_put_text(object, "state", status_text(status));
    (void)json_object_set_new(object, "adapters", users.names);
    return store_adapters(call->session, note_user, &users);
}

struct listing {
    struct control_call *call;
    enum keymanager_code code;
    struct root_key *keys;
    size_t count;
    size_t capacity;
};

static bool append(struct listing *listing, const struct root_key *key)
{
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity * 2 + 16;
        struct root_key *keys = realloc(listing->keys, capacity * sizeof(*keys));
        if (keys == NULL)
            return false;
        listing->keys = keys;
        listing->capacity = capacity;
    }
    listing->keys[listing->count++] = *key;
    return true;
}

static bool list_row(void *context, const struct kms_key *row)
{
    struct listing *listing = context;
    struct root_key key;
    if (row->state == KMS_KEY_PLANNED)
        return true;
    fill(listing->call, row, &key);
    return append(listing, &key);
}

static bool list_info(void *context, const struct root_key_info *info)
{
    struct listing *listing = context;
    struct root_key key = {.code = listing->code, .id = info->id};
    uuid_text(&info->id, key.name);
    return append(listing, &key);
}

static enum status list_one(struct control_call *call, struct listing *listing)
{
    const struct api_context *context = &call->daemon->api_context;
    if (listing->code != context->local)
        return keymanager_root_keys(keymanagers_get(&call->daemon->keymanagers, listing->code),
                                    list_info, listing);
    enum status status = api_reconcile_root_keys(context, call->now, call->error);
    return status == STATUS_OK ? kms_root_keys(call->daemon->kms, list_row, listing) : status;
}

/* One that does not answer has a row that says so, and does not hide the others. */
static enum status put_one(struct control_call *call, enum keymanager_code code, json_t *array)
{
    struct listing listing = {.call = call, .code = code};
    enum status status = list_one(call, &listing);
    if (status != STATUS_OK) {
        json_t *entry = json_object();
        control_put_text(entry, "key_manager", keymanager_code_name(code));
        control_put_text(entry, "state", status_text(status));
        (void)json_array_append_new(array, entry);
        status = STATUS_OK;
    }
    for (size_t i = 0; i < listing.count && status == STATUS_OK; i++) {
        json_t *entry = json_object();
        status = root_key_put(call, &listing.keys[i], entry);
        (void)json_array_append_new(array, entry);
    }
    free(listing.keys);
    return status;
}

enum status root_key_put_all(struct control_call *call, enum keymanager_code only)
{
    json_t *array = json_array();
    enum status status = STATUS_OK;
    (void)json_object_set_new(call->result, "root_keys", array);
    for (int code = 1; code <= KEYMANAGER_CODE_MAX && status == STATUS_OK; code++)
        if ((only == KEYMANAGER_NONE || only == (enum keymanager_code)code) &&
            keymanagers_get(&call->daemon->keymanagers, (enum keymanager_code)code) != NULL)
            status = put_one(call, (enum keymanager_code)code, array);
    return status;
}
