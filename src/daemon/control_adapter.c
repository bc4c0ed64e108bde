/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl adapter ...: tenants. */
#include <ctype.h>
#include <inttypes.h>

#include "daemon/commands.h"
#include "daemon/control_root_key.h"
#include "daemon/key_managers.h"
#include "daemon/root_key_names.h"
#include "upkeep/upkeep.h"

#define ADAPTER_NAME_MIN 2
#define ADAPTER_NAME_MAX 40

static enum status check_name(struct control_call *call, const char *name)
{
    size_t length = strlen(name);
    bool good = length >= ADAPTER_NAME_MIN && length <= ADAPTER_NAME_MAX;
    for (size_t i = 0; i < length && good; i++)
        good = isalnum((unsigned char)name[i]) || strchr("-_.", name[i]) != NULL;
    if (good)
        return STATUS_OK;
    return error_set(call->error, STATUS_INVALID_ARGUMENT,
                     "'%.60s' cannot be the name of an adapter: use %d to %d letters, digits, '-', "
                     "'_' and '.'",
                     name, ADAPTER_NAME_MIN, ADAPTER_NAME_MAX);
}

/* Copies a text argument, where it is given, into a field of the row. */
static enum status take_text(struct control_call *call, const char *argument, char *field,
                             size_t size)
{
    const char *text = control_text(call, argument);
    if (text == NULL)
        return STATUS_OK;
    if (strlen(text) >= size)
        return error_set(call->error, STATUS_TOO_LARGE, "the %s is longer than %zu bytes",
                         argument, size - 1);
    (void)snprintf(field, size, "%s", text);
    return STATUS_OK;
}

/* A user name and the hash of its password come together. */
static enum status take_credential(struct control_call *call, struct adapter_row *row)
{
    if ((control_text(call, "username") == NULL) != (control_text(call, "password_hash") == NULL))
        return error_set(call->error, STATUS_INVALID_ARGUMENT,
                         "a user name and a password go together: give --username, and the "
                         "password when asked or with --password-file");
    enum status status = take_text(call, "username", row->username, sizeof(row->username));
    if (status == STATUS_OK)
        status = take_text(call, "password_hash", row->password_hash, sizeof(row->password_hash));
    if (status == STATUS_OK && json_is_true(json_object_get(call->arguments, "no_credential")))
        row->username[0] = row->password_hash[0] = '\0';
    return status;
}

static void put_adapter(json_t *object, const struct adapter_row *row)
{
    control_put_text(object, "name", row->name);
    control_put_text(object, "description", row->description);
    control_put_uuid(object, "uuid", &row->uuid);
    control_put_text(object, "key_manager", keymanager_code_name(row->key_manager));
    control_put_uuid(object, "root_key", &row->root_key);
    control_put_time(object, "created", row->created);
    if (row->username[0] != '\0')
        control_put_text(object, "username", row->username);
}

/* ---- create ---- */

static enum status require_active(struct control_call *call, const struct root_key *key)
{
    struct root_key_info info;
    enum status status = keymanager_root_key_info(key->keymanager, &key->id, &info);
    if (status == STATUS_OK && info.state != ROOT_KEY_ACTIVE)
        return error_set(call->error, STATUS_ROOT_KEY_UNAVAILABLE,
                         "the root key '%.90s' is not active: kmipctl root-key show tells its state",
                         key->name);
    return status;
}

static enum status check_new_name(struct control_call *call, const char *name)
{
    struct adapter_row taken;
    enum status status = check_name(call, name);
    if (status != STATUS_OK)
        return status;
    status = store_adapter_find(call->session, bytes_of_text(name), &taken);
    if (status == STATUS_OK)
        return error_set(call->error, STATUS_EXISTS,
                         "there is an adapter '%s' already; choose another name", name);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* One of its own, unless the administrator names one. */
static enum status choose_root_key(struct control_call *call, struct adapter_row *row)
{
    struct root_key key;
    enum keymanager_code code = key_managers_default(&call->daemon->config);
    enum status status = STATUS_OK;
    if (control_text(call, "root_key") != NULL) {
        status = root_key_find(call, "root_key", &key);
        call->subject[0] = '\0';
        row->key_manager = key.code;
        row->root_key = key.id;
        return status == STATUS_OK ? require_active(call, &key) : status;
    }
    status = root_key_manager(call, code, &code);
    row->key_manager = code;
    if (status == STATUS_OK && code == call->daemon->api_context.local) {
        const struct secret none = {0};
        status = control_make_root_key(call, &none, &key);
        row->root_key = key.id;
    } else if (status == STATUS_OK) {
        status = key_managers_root_key_for(call->daemon, code, row->name, &row->root_key,
                                           call->error);
    }
    return status;
}

static void note_change(const struct control_call *call, struct adapter_row *row)
{
    row->updated = call->now;
    (void)snprintf(row->updated_by, sizeof(row->updated_by), "%s", call->actor);
}

static enum status fill_row(struct control_call *call, const char *name, struct adapter_row *row)
{
    row->created = call->now;
    (void)snprintf(row->created_by, sizeof(row->created_by), "%s", call->actor);
    note_change(call, row);
    (void)snprintf(row->name, sizeof(row->name), "%s", name);
    enum status status =
        take_text(call, "description", row->description, sizeof(row->description));
    if (status == STATUS_OK)
        status = take_credential(call, row);
    if (status == STATUS_OK)
        status = uuid_make(row->created, &row->uuid);
    return status == STATUS_OK ? choose_root_key(call, row) : status;
}

enum status control_adapter_create(struct control_call *call)
{
    struct adapter_row row = {0};
    const char *name = control_text(call, "name");
    (void)snprintf(call->adapter, sizeof(call->adapter), "%s", name);
    enum status status = check_new_name(call, name);
    if (status == STATUS_OK)
        status = fill_row(call, name, &row);
    if (status == STATUS_OK)
        status = store_adapter_insert(call->daemon->store, &row);
    if (status == STATUS_OK)
        put_adapter(call->result, &row);
    return status;
}

/* ---- list and show ---- */

struct listing {
    json_t *array;
    int64_t id; /* of the adapter that is counted */
    size_t count;
};

static bool list_adapter(void *context, const struct adapter_row *row)
{
    struct listing *listing = context;
    json_t *entry = json_object();
    put_adapter(entry, row);
    control_put_number(entry, "id", row->id); /* taken out again by count_all() */
    return json_array_append_new(listing->array, entry) == 0;
}

static bool count_certificate(void *context, const struct certificate_row *row)
{
    struct listing *listing = context;
    listing->count++;
    if (listing->array != NULL)
        (void)json_array_append_new(listing->array, json_string(row->name));
    return true;
}

/* The objects that can still be used or restored: not the destroyed ones. */
static int64_t living(const int64_t counts[static 8])
{
    return counts[0] + counts[1] + counts[2] + counts[3] + counts[4];
}

static enum status count_one(struct control_call *call, json_t *entry)
{
    int64_t counts[8];
    struct listing listing = {.id = json_integer_value(json_object_get(entry, "id"))};
    (void)json_object_del(entry, "id");
    enum status status = store_certificates(call->session, listing.id, count_certificate, &listing);
    if (status == STATUS_OK)
        status = store_count(call->session, listing.id, counts);
    if (status != STATUS_OK)
        return status;
    control_put_number(entry, "certificates", (int64_t)listing.count);
    control_put_number(entry, "objects", living(counts));
    control_put_number(entry, "active", counts[2]);
    return STATUS_OK;
}

enum status control_adapter_list(struct control_call *call)
{
    struct listing listing = {.array = json_array()};
    (void)json_object_set_new(call->result, "adapters", listing.array);
    enum status status = store_adapters(call->session, list_adapter, &listing);
    for (size_t i = 0; i < json_array_size(listing.array) && status == STATUS_OK; i++)
        status = count_one(call, json_array_get(listing.array, i));
    return status;
}

static enum status put_certificates(struct control_call *call, int64_t adapter)
{
    struct listing listing = {.array = json_array()};
    (void)json_object_set_new(call->result, "certificates", listing.array);
    return store_certificates(call->session, adapter, count_certificate, &listing);
}

static enum status put_counts(struct control_call *call, int64_t adapter)
{
    static const char *const names[8] = {"without_state", "pre_active", "active",
                                         "deactivated",   "compromised", "destroyed",
                                         "destroyed_compromised", NULL};
    int64_t counts[8];
    enum status status = store_count(call->session, adapter, counts);
    json_t *objects = json_object();
    for (size_t i = 0; i < ARRAY_COUNT(counts) && status == STATUS_OK; i++)
        if (names[i] != NULL && (counts[i] != 0 || i == 2))
            control_put_number(objects, names[i], counts[i]);
    (void)json_object_set_new(call->result, "objects", objects);
    return status;
}

static const char *root_key_state(enum status status, const struct root_key_info *info)
{
    if (status == STATUS_NOT_FOUND)
        return "missing: no key of this adapter can be used; restore keyholder/root-keys.sealed from a backup";
    if (status != STATUS_OK)
        return status_text(status);
    switch (info->state) {
    case ROOT_KEY_ACTIVE:
        return "active";
    case ROOT_KEY_SUSPENDED:
        return "suspended";
    case ROOT_KEY_DESTROYED:
        return "destroyed";
    }
    return "unknown";
}

static enum status root_key_info(struct daemon *daemon, const struct adapter_row *row,
                                 struct root_key_info *ret_info)
{
    struct keymanager *keymanager = keymanagers_get(&daemon->keymanagers, row->key_manager);
    return keymanager == NULL ? STATUS_KEY_MANAGER_UNAVAILABLE
                              : keymanager_root_key_info(keymanager, &row->root_key, ret_info);
}

enum status control_adapter_show(struct control_call *call)
{
    struct adapter_row row;
    struct root_key_info info = {0};
    enum status status = control_find_adapter(call, "name", &row);
    if (status != STATUS_OK)
        return status;
    put_adapter(call->result, &row);
    status = root_key_info(call->daemon, &row, &info);
    control_put_text(call->result, "root_key_state", root_key_state(status, &info));
    if (status == STATUS_OK)
        control_put_number(call->result, "root_key_version", info.version);
    status = put_certificates(call, row.id);
    return status == STATUS_OK ? put_counts(call, row.id) : status;
}

/* ---- move, progress and rebuild ---- */

enum status control_adapter_move(struct control_call *call)
{
    struct adapter_row row;
    struct root_key key;
    if (control_text(call, "root_key") == NULL)
        return error_set(call->error, STATUS_INVALID_ARGUMENT,
                         "say where to: --root-key names the root key, --key-manager where it is");
    enum status status = control_find_adapter(call, "name", &row);
    if (status == STATUS_OK)
        status = root_key_find(call, "root_key", &key);
    if (status == STATUS_OK)
        status = require_active(call, &key);
    if (status != STATUS_OK)
        return status;
    status = upkeep_move(call->daemon->upkeep, &row.uuid, key.code, &key.id, call->error);
    if (status != STATUS_OK)
        return status;
    row.key_manager = key.code;
    row.root_key = key.id;
    put_adapter(call->result, &row);
    return STATUS_OK;
}

static void put_progress(json_t *object, const struct upkeep_progress *progress)
{
    control_put_text(object, "state", progress->running ? "running" : "done");
    control_put_number(object, "total", progress->total);
    control_put_number(object, "done", progress->done);
    control_put_number(object, "rewrapped", progress->rewrapped);
    control_put_number(object, "failed", progress->failed);
    control_put_number(object, "rate", (int64_t)progress->rate);
    if (progress->running && progress->remaining >= 0)
        control_put_number(object, "seconds_left", (progress->remaining + 999) / 1000);
    if (progress->failure[0] != '\0')
        control_put_text(object, "failure", progress->failure);
}

enum status control_adapter_progress(struct control_call *call)
{
    struct adapter_row row;
    struct upkeep_progress progress = {0};
    enum status status = control_find_adapter(call, "name", &row);
    if (status != STATUS_OK)
        return status;
    control_put_text(call->result, "name", row.name);
    status = upkeep_rewrap_progress(call->daemon->upkeep, &row.uuid, &progress);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) /* nothing was ever to do: done */
        return status;
    put_progress(call->result, &progress);
    return STATUS_OK;
}

#define FAILURES_MAX 1000 /* that are told one by one */

static void note_failure(void *context, const char *record, const char *why)
{
    json_t *failures = context;
    if (json_array_size(failures) < FAILURES_MAX)
        (void)json_array_append_new(failures,
                                    json_pack("{s:s, s:s}", "record", record, "why", why));
}

static void put_rebuilt(struct control_call *call, const struct upkeep_rebuilt *rebuilt)
{
    control_put_number(call->result, "adapters", rebuilt->adapters);
    control_put_number(call->result, "objects", rebuilt->objects);
    control_put_number(call->result, "present", rebuilt->present);
    control_put_number(call->result, "disabled", rebuilt->disabled);
    control_put_number(call->result, "failed", rebuilt->failed);
    (void)snprintf(call->detail, sizeof(call->detail),
                   "adapters=%" PRId64 " objects=%" PRId64 " failed=%" PRId64, rebuilt->adapters,
                   rebuilt->objects, rebuilt->failed);
}

enum status control_adapter_rebuild(struct control_call *call)
{
    struct uuid only;
    enum keymanager_code code;
    struct upkeep_rebuilt rebuilt = {0};
    const char *adapter = control_text(call, "adapter");
    enum status status = root_key_manager(call, KEYMANAGER_NONE, &code);
    if (status != STATUS_OK)
        return status;
    if (adapter != NULL && !uuid_parse(bytes_of_text(adapter), &only))
        return error_set(call->error, STATUS_INVALID_ARGUMENT,
                         "'%.60s' is no UUID of an adapter", adapter);
    (void)snprintf(call->subject, sizeof(call->subject), "%s", keymanager_code_name(code));
    json_t *failures = json_array();
    status = upkeep_rebuild(call->daemon->upkeep, code, adapter != NULL ? &only : NULL,
                            note_failure, failures, &rebuilt, call->error);
    put_rebuilt(call, &rebuilt);
    (void)json_object_set_new(call->result, "failures", failures);
    if (status == STATUS_FEATURE_NOT_SUPPORTED)
        return error_set(call->error, status, "%s keeps no records of wrapped keys",
                         keymanager_code_name(code));
    return status;
}

/* ---- set and delete ---- */

static enum status take_changes(struct control_call *call, struct adapter_row *row)
{
    const char *new_name = control_text(call, "new_name");
    enum status status = new_name != NULL && strcmp(new_name, row->name) != 0
                             ? check_new_name(call, new_name)
                             : STATUS_OK;
    if (status == STATUS_OK)
        status = take_text(call, "new_name", row->name, sizeof(row->name));
    if (status == STATUS_OK)
        status = take_text(call, "description", row->description, sizeof(row->description));
    return status == STATUS_OK ? take_credential(call, row) : status;
}

enum status control_adapter_set(struct control_call *call)
{
    struct adapter_row row;
    enum status status = control_find_adapter(call, "name", &row);
    if (status == STATUS_OK)
        status = take_changes(call, &row);
    if (status == STATUS_OK)
        note_change(call, &row);
    if (status == STATUS_OK)
        status = store_adapter_update(call->daemon->store, &row);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(call->detail, sizeof(call->detail), "name=%.60s username=%.60s", row.name,
                   row.username);
    put_adapter(call->result, &row);
    return STATUS_OK;
}

enum status control_adapter_delete(struct control_call *call)
{
    struct adapter_row row;
    enum status status = control_find_adapter(call, "name", &row);
    if (status != STATUS_OK)
        return status;
    status = store_adapter_delete(call->daemon->store, row.id);
    if (status == STATUS_PERMISSION_DENIED) {
        int64_t counts[8] = {0};
        if (store_count(call->session, row.id, counts) != STATUS_OK)
            return status;
        return error_set(call->error, status,
                         "adapter '%s' still has objects that are not destroyed (%" PRId64 "): "
                         "kmipctl object list --adapter %s shows them, kmipctl object destroy "
                         "destroys one",
                         row.name, living(counts), row.name);
    }
    if (status == STATUS_OK)
        put_adapter(call->result, &row);
    return status;
}
