/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl root-key ...: root keys in all key managers. Those of this server's own have a row in
 * keys.db, with a name and aliases; those of others are known by their identifiers. */
#include "api/root_keys.h"
#include "base/base64.h"
#include "daemon/control_root_key.h"
#include "daemon/root_key_names.h"
#include "upkeep/upkeep.h"

/* ---- Material ---- */

static enum status take_material(struct control_call *call, struct secret *ret_material)
{
    const char *text = control_text(call, "material");
    if (text == NULL)
        return STATUS_OK;
    struct bytes encoded = bytes_of_text(text);
    size_t size = base64_decoded_size(BASE64_STANDARD, encoded);
    enum status status = STATUS_INVALID_ARGUMENT;
    if (size == 16 || size == 24 || size == 32)
        status = secret_allocate(ret_material, size);
    if (status == STATUS_OK && !base64_decode(BASE64_STANDARD, encoded, ret_material->data)) {
        secret_free(ret_material);
        status = STATUS_INVALID_ARGUMENT;
    }
    if (status != STATUS_INVALID_ARGUMENT)
        return status;
    return error_set(call->error, status,
                     "the material of a root key is " KEYMANAGER_ROOT_KEY_SIZES
                     " bytes in base64, such as `openssl rand -base64 32` makes it");
}

/* ---- create and import ---- */

static void choose_name(struct control_call *call, const struct uuid *id, char *name, size_t size)
{
    char text[UUID_TEXT_LENGTH + 1];
    const char *wanted = control_text(call, "name");
    uuid_text(id, text);
    (void)snprintf(name, size, "%.*s", (int)size - 1, wanted != NULL ? wanted : "root-key-");
    if (wanted == NULL)
        (void)snprintf(name, size, "root-key-%.8s", text);
}

static enum status check_name(struct control_call *call)
{
    struct root_key found;
    const char *name = control_text(call, "name");
    if (name == NULL)
        return STATUS_OK;
    if (strlen(name) < 2 || strlen(name) > 90)
        return error_set(call->error, STATUS_INVALID_ARGUMENT,
                         "the name of a root key has 2 to 90 bytes");
    enum status status = root_key_find_own(call, name, &found);
    if (status == STATUS_OK)
        return error_set(call->error, STATUS_EXISTS,
                         "there is a root key '%.90s' already; choose another name", name);
    call->error->text[0] = '\0';
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status control_make_root_key(struct control_call *call, const struct secret *material,
                                 struct root_key *ret_key)
{
    const struct kms_key_parts parts = {0};
    struct kms_key key = {.bits = material->size > 0 ? (unsigned)material->size * 8 : 256,
                          .imported = material->size > 0,
                          .created = call->now,
                          .updated = call->now};
    enum status status = uuid_make_random(&key.id);
    if (status != STATUS_OK)
        return status;
    choose_name(call, &key.id, key.name, sizeof(key.name));
    (void)snprintf(key.ring, sizeof(key.ring), "%s", KMS_RING_DEFAULT);
    (void)snprintf(key.created_by, sizeof(key.created_by), "%.63s", call->actor);
    status = api_root_key_create(&call->daemon->api_context, &key, &parts,
                                 material->size > 0 ? material : NULL, call->error);
    *ret_key = (struct root_key){.code = call->daemon->api_context.local, .own = true, .id = key.id};
    (void)snprintf(ret_key->name, sizeof(ret_key->name), "%s", key.name);
    return status;
}

static enum status create_elsewhere(struct control_call *call, enum keymanager_code code,
                                    const struct secret *material, struct root_key *ret_key)
{
    struct uuid id;
    enum status status = uuid_make_random(&id);
    if (status != STATUS_OK)
        return status;
    *ret_key = (struct root_key){.code = code, .id = id};
    choose_name(call, &id, ret_key->name, sizeof(ret_key->name));
    const struct root_key_wish wish = {.id = id,
                                       .name = ret_key->name,
                                       .material = material->size > 0 ? material : NULL,
                                       .now = call->now};
    return keymanager_create_root_key(keymanagers_get(&call->daemon->keymanagers, code), &wish,
                                      &ret_key->id, call->error);
}

static enum status create(struct control_call *call, const struct secret *material)
{
    struct root_key key;
    enum keymanager_code code;
    enum status status = check_name(call);
    if (status == STATUS_OK)
        status = root_key_manager(call, call->daemon->api_context.local, &code);
    if (status == STATUS_OK)
        status = code == call->daemon->api_context.local
                     ? control_make_root_key(call, material, &key)
                     : create_elsewhere(call, code, material, &key);
    if (status != STATUS_OK)
        return status;
    root_key_note(call, &key);
    return root_key_put(call, &key, call->result);
}

enum status control_root_key_create(struct control_call *call)
{
    const struct secret none = {0};
    return create(call, &none);
}

enum status control_root_key_import(struct control_call *call)
{
    struct secret material = {0};
    if (control_text(call, "material") == NULL)
        return error_set(call->error, STATUS_INVALID_ARGUMENT,
                         "root-key import needs the material; kmipctl reads it from a FILE");
    enum status status = take_material(call, &material);
    if (status == STATUS_OK)
        status = create(call, &material);
    secret_free(&material);
    return status;
}

/* ---- list and show ---- */

enum status control_root_key_list(struct control_call *call)
{
    enum keymanager_code only = KEYMANAGER_NONE;
    enum status status = control_text(call, "key_manager") != NULL
                             ? root_key_manager(call, KEYMANAGER_NONE, &only)
                             : STATUS_OK;
    return status == STATUS_OK ? root_key_put_all(call, only) : status;
}

enum status control_root_key_show(struct control_call *call)
{
    struct root_key key;
    enum status status = root_key_find(call, "name", &key);
    return status == STATUS_OK ? root_key_put(call, &key, call->result) : status;
}

/* ---- rotate ---- */

static enum status rotate_elsewhere(struct control_call *call, const struct root_key *key,
                                    const struct secret *material)
{
    struct root_key_info info;
    enum status status = keymanager_root_key_info(key->keymanager, &key->id, &info);
    if (status == STATUS_OK)
        status = keymanager_rotate(key->keymanager, &key->id, info.version, material, call->now,
                                   call->error);
    return status == STATUS_OK ? root_key_rewrap(call, key) : status;
}

enum status control_root_key_rotate(struct control_call *call)
{
    struct root_key key;
    struct secret material = {0};
    enum status status = root_key_find(call, "name", &key);
    if (status == STATUS_OK)
        status = take_material(call, &material);
    const struct secret *given = material.size > 0 ? &material : NULL;
    if (status == STATUS_OK)
        status = key.own ? api_root_key_rotate(&call->daemon->api_context, &key.id, given,
                                               call->now, call->error)
                         : rotate_elsewhere(call, &key, given);
    secret_free(&material);
    if (status == STATUS_CONFLICT)
        return error_set(call->error, status,
                         "somebody else rotates '%.90s' at the same time", key.name);
    return status == STATUS_OK ? root_key_put(call, &key, call->result) : status;
}

/* ---- disable, enable, restore ---- */

static enum status set_state(struct control_call *call, enum root_key_state state)
{
    struct root_key key;
    enum status status = root_key_find(call, "name", &key);
    if (status != STATUS_OK)
        return status;
    status = key.own ? api_root_key_set_state(&call->daemon->api_context, &key.id, state, call->now,
                                              call->error)
                     : keymanager_set_state(key.keymanager, &key.id, state, call->error);
    if (status == STATUS_CONFLICT)
        return error_set(call->error, status,
                         "'%.90s' is deleted: kmipctl root-key restore takes that back", key.name);
    if (status != STATUS_OK)
        return status;
    upkeep_root_key_changed(call->daemon->upkeep, key.code, &key.id);
    return root_key_put(call, &key, call->result);
}

enum status control_root_key_disable(struct control_call *call)
{
    return set_state(call, ROOT_KEY_SUSPENDED);
}

enum status control_root_key_enable(struct control_call *call)
{
    return set_state(call, ROOT_KEY_ACTIVE);
}

enum status control_root_key_restore(struct control_call *call)
{
    struct root_key key;
    enum status status = root_key_find(call, "name", &key);
    if (status != STATUS_OK)
        return status;
    status = key.own ? api_root_key_restore(&call->daemon->api_context, &key.id, call->now,
                                            call->error)
                     : keymanager_restore(key.keymanager, &key.id, call->error);
    if (status == STATUS_CONFLICT)
        return error_set(call->error, status, "'%.90s' is not deleted", key.name);
    if (status == STATUS_NOT_FOUND)
        return error_set(call->error, status,
                         "'%.90s' is erased: there is nothing left to restore", key.name);
    if (status != STATUS_OK)
        return status;
    upkeep_root_key_changed(call->daemon->upkeep, key.code, &key.id);
    return root_key_put(call, &key, call->result);
}

/* ---- delete ---- */

static enum status refuse_used(struct control_call *call, const struct root_key *key)
{
    char adapter[STORE_NAME_MAX + 1] = "";
    enum status status = STATUS_OK;
    bool used = api_root_key_in_use(&call->daemon->api_context, call->session, &key->id, adapter,
                                    &status);
    if (status != STATUS_OK || !used)
        return status;
    if (adapter[0] == '\0')
        return error_set(call->error, STATUS_PERMISSION_DENIED,
                         "keys may still be wrapped under '%.90s': an adapter moves away from it, or "
                         "did within the last minute; kmipctl adapter progress shows how far it is",
                         key->name);
    return error_set(call->error, STATUS_PERMISSION_DENIED,
                     "the adapter '%.60s' uses the root key '%.90s': kmipctl adapter move moves it "
                     "to another, and --force makes all of its keys unreadable for ever",
                     adapter, key->name);
}

static enum status check_meant(struct control_call *call, const struct root_key *key)
{
    char id[UUID_TEXT_LENGTH + 1];
    const char *meant = control_text(call, "yes_i_mean");
    uuid_text(&key->id, id);
    if (meant != NULL && (strcmp(meant, key->name) == 0 || strcmp(meant, id) == 0))
        return STATUS_OK;
    return error_set(call->error, STATUS_INVALID_ARGUMENT,
                     "not confirmed; nothing is changed: --force needs --yes-i-mean '%.90s'",
                     key->name);
}

/* After a kill between the two steps it is deleted already. */
static enum status erase(struct control_call *call, const struct root_key *key)
{
    enum status status =
        key->own ? api_root_key_purge(&call->daemon->api_context, &key->id, call->error)
                 : keymanager_purge(key->keymanager, &key->id, call->error);
    if (status == STATUS_FEATURE_NOT_SUPPORTED)
        return error_set(call->error, status,
                         "'%.90s' is deleted, but its key manager erases keys by itself only: it "
                         "can be restored there until then",
                         key->name);
    return status;
}

static enum status delete(struct control_call *call, const struct root_key *key)
{
    enum status status =
        key->own ? api_root_key_delete(&call->daemon->api_context, &key->id, call->actor, call->now,
                                       call->error)
                 : keymanager_delete(key->keymanager, &key->id, call->now, call->error);
    upkeep_root_key_changed(call->daemon->upkeep, key->code, &key->id);
    return status;
}

enum status control_root_key_delete(struct control_call *call)
{
    struct root_key key;
    bool force = json_is_true(json_object_get(call->arguments, "force"));
    enum status status = root_key_find(call, "name", &key);
    if (status == STATUS_OK)
        status = force ? check_meant(call, &key) : refuse_used(call, &key);
    if (status != STATUS_OK)
        return status;
    status = delete(call, &key);
    if (status == STATUS_CONFLICT && !force)
        return error_set(call->error, status, "'%.90s' is deleted already", key.name);
    if (force && (status == STATUS_OK || status == STATUS_CONFLICT))
        status = erase(call, &key);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(call->detail, sizeof(call->detail), "%s", force ? "erased, by force" : "");
    control_put_text(call->result, "name", key.name);
    control_put_uuid(call->result, "id", &key.id);
    (void)json_object_set_new(call->result, "erased", json_boolean(force));
    return STATUS_OK;
}
