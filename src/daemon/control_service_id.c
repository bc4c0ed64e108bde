/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl service-id ... and api-key ...: who may use the administration API over HTTPS. */
#include <stdlib.h>

#include "api/identities.h"
#include "api/permission.h"
#include "daemon/commands.h"

/* ---- Service IDs ---- */

static void note(struct control_call *call, const char *argument)
{
    (void)snprintf(call->subject, sizeof(call->subject), "%.200s", control_text(call, argument));
}

static enum status find(struct control_call *call, const char *argument,
                        struct kms_service_id *ret_service_id)
{
    const char *name = control_text(call, argument);
    note(call, argument);
    enum status status =
        kms_service_id_find(call->daemon->kms, bytes_of_text(name), ret_service_id);
    if (status == STATUS_NOT_FOUND)
        return error_set(call->error, status,
                         "there is no service ID '%.100s'; kmipctl service-id list shows which "
                         "there are",
                         name);
    return status;
}

/* Grants name an adapter by its UUID, so that another one of the same name is not meant. */
static void name_adapter(struct control_call *call, json_t *grant)
{
    struct adapter_row row;
    const char *uuid = json_string_value(json_object_get(grant, "adapter"));
    if (uuid != NULL && store_adapter_find(call->session, bytes_of_text(uuid), &row) == STATUS_OK)
        control_put_text(grant, "adapter", row.name);
}

static json_t *make_roles(struct control_call *call, const struct kms_service_id *service_id)
{
    json_t *shown = service_id_json(service_id), *roles = json_array(), *grant;
    size_t index;
    json_array_foreach(json_object_get(shown, "grants"), index, grant)
    {
        char text[3 * KMS_NAME_MAX];
        name_adapter(call, grant);
        const char *ring = json_string_value(json_object_get(grant, "key_ring"));
        const char *adapter = json_string_value(json_object_get(grant, "adapter"));
        (void)snprintf(text, sizeof(text), "%s%s%.100s%s%.240s",
                       json_string_value(json_object_get(grant, "role")),
                       ring != NULL ? " for key ring " : "", ring != NULL ? ring : "",
                       adapter != NULL ? " for adapter " : "", adapter != NULL ? adapter : "");
        (void)json_array_append_new(roles, json_string(text));
    }
    json_decref(shown);
    return roles;
}

static void put(struct control_call *call, json_t *object, const struct kms_service_id *service_id)
{
    control_put_text(object, "name", service_id->name);
    control_put_uuid(object, "id", &service_id->id);
    control_put_text(object, "description", service_id->description);
    control_put_time(object, "created", service_id->created);
    (void)json_object_set_new(object, "roles", make_roles(call, service_id));
}

enum status control_service_id_create(struct control_call *call)
{
    struct kms_service_id made;
    const struct service_id_wish wish = {.name = control_text(call, "name"),
                                         .description = control_text(call, "description"),
                                         .now = call->now};
    note(call, "name");
    enum status status = service_id_create(call->daemon->api, &wish, &made, call->error);
    if (status == STATUS_OK)
        put(call, call->result, &made);
    return status;
}

/* The visitor must not ask the database anything: it keeps what is shown afterwards. */
struct listing {
    struct kms_service_id *list;
    size_t count;
    size_t capacity;
};

static bool keep(void *context, const struct kms_service_id *service_id)
{
    struct listing *listing = context;
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity * 2 + 8;
        struct kms_service_id *list = realloc(listing->list, capacity * sizeof(*list));
        if (list == NULL)
            return false;
        listing->list = list;
        listing->capacity = capacity;
    }
    listing->list[listing->count++] = *service_id;
    return true;
}

enum status control_service_id_list(struct control_call *call)
{
    struct listing listing = {0};
    json_t *array = json_array();
    (void)json_object_set_new(call->result, "service_ids", array);
    enum status status = kms_service_ids(call->daemon->kms, keep, &listing);
    for (size_t i = 0; i < listing.count && status == STATUS_OK; i++) {
        json_t *entry = json_object();
        put(call, entry, &listing.list[i]);
        (void)json_array_append_new(array, entry);
    }
    free(listing.list);
    return status;
}

static bool list_key(void *context, const struct kms_api_key *api_key)
{
    json_t *entry = json_object();
    control_put_text(entry, "name", api_key->name);
    control_put_uuid(entry, "id", &api_key->id);
    control_put_time(entry, "created", api_key->created);
    if (api_key->used > 0)
        control_put_time(entry, "used", api_key->used);
    return json_array_append_new(context, entry) == 0;
}

static bool list_key_name(void *context, const struct kms_api_key *api_key)
{
    return json_array_append_new(context, json_string(api_key->name)) == 0;
}

enum status control_service_id_show(struct control_call *call)
{
    struct kms_service_id found;
    json_t *names = json_array();
    enum status status = find(call, "name", &found);
    if (status == STATUS_OK) {
        put(call, call->result, &found);
        status = kms_api_keys(call->daemon->kms, &found.id, list_key_name, names);
    }
    (void)json_object_set_new(call->result, "api_keys", names);
    return status;
}

enum status control_service_id_delete(struct control_call *call)
{
    struct kms_service_id found;
    enum status status = find(call, "name", &found);
    if (status == STATUS_OK)
        status = service_id_delete(call->daemon->api, control_text(call, "name"), call->error);
    control_put_text(call->result, "name", status == STATUS_OK ? found.name : "");
    return status;
}

/* ---- Roles ---- */

static enum status take_scope(struct control_call *call, struct kms_grant *grant)
{
    struct adapter_row row;
    const char *ring = control_text(call, "key_ring");
    const char *adapter = control_text(call, "for_adapter");
    if (ring != NULL && strlen(ring) > KMS_KEY_RING_MAX)
        return error_set(call->error, STATUS_TOO_LARGE, "a key ring has at most %d characters",
                         KMS_KEY_RING_MAX);
    (void)snprintf(grant->key_ring, sizeof(grant->key_ring), "%s", ring != NULL ? ring : "");
    if (adapter == NULL)
        return STATUS_OK;
    enum status status = store_adapter_find(call->session, bytes_of_text(adapter), &row);
    if (status == STATUS_NOT_FOUND)
        return error_set(call->error, status, "there is no adapter '%.100s'", adapter);
    if (status == STATUS_OK)
        uuid_text(&row.uuid, grant->adapter);
    return status;
}

static enum status take_grant(struct control_call *call, struct kms_grant *ret_grant)
{
    const char *role = control_text(call, "role");
    *ret_grant = (struct kms_grant){0};
    if (!role_find(role, &ret_grant->role))
        return error_set(call->error, STATUS_INVALID_ARGUMENT,
                         "'%.40s' is no role; there are Reader, ReaderPlus, Writer, Manager, "
                         "KeyPurge, KmipAdapterManager and Administrator",
                         role);
    (void)snprintf(call->detail, sizeof(call->detail), "role=%.40s key-ring=%.80s adapter=%.80s",
                   role_name(ret_grant->role),
                   control_text(call, "key_ring") != NULL ? control_text(call, "key_ring") : "",
                   control_text(call, "for_adapter") != NULL ? control_text(call, "for_adapter")
                                                             : "");
    return take_scope(call, ret_grant);
}

static bool is_same(const struct kms_grant *a, const struct kms_grant *b)
{
    return a->role == b->role && strcmp(a->key_ring, b->key_ring) == 0 &&
           strcmp(a->adapter, b->adapter) == 0;
}

static size_t position(const struct kms_service_id *service_id, const struct kms_grant *grant)
{
    size_t at = 0;
    while (at < service_id->grant_count && !is_same(&service_id->grants[at], grant))
        at++;
    return at;
}

static enum status set_grants(struct control_call *call, const struct kms_service_id *service_id)
{
    struct kms_service_id changed;
    enum status status =
        service_id_set_grants(call->daemon->api, control_text(call, "name"), service_id->grants,
                              service_id->grant_count, &changed, call->error);
    if (status == STATUS_OK)
        put(call, call->result, &changed);
    return status;
}

enum status control_service_id_grant(struct control_call *call)
{
    struct kms_service_id found;
    struct kms_grant grant;
    enum status status = find(call, "name", &found);
    if (status == STATUS_OK)
        status = take_grant(call, &grant);
    if (status != STATUS_OK)
        return status;
    if (position(&found, &grant) < found.grant_count)
        return error_set(call->error, STATUS_EXISTS, "'%.100s' has this role already", found.name);
    if (found.grant_count == KMS_GRANTS_MAX)
        return error_set(call->error, STATUS_TOO_LARGE, "a service ID has at most %d roles",
                         KMS_GRANTS_MAX);
    found.grants[found.grant_count++] = grant;
    return set_grants(call, &found);
}

enum status control_service_id_revoke(struct control_call *call)
{
    struct kms_service_id found;
    struct kms_grant grant;
    enum status status = find(call, "name", &found);
    if (status == STATUS_OK)
        status = take_grant(call, &grant);
    if (status != STATUS_OK)
        return status;
    size_t at = position(&found, &grant);
    if (at == found.grant_count)
        return error_set(call->error, STATUS_NOT_FOUND,
                         "'%.100s' has no such role; kmipctl service-id show tells those it has",
                         found.name);
    found.grants[at] = found.grants[--found.grant_count];
    return set_grants(call, &found);
}

/* ---- API keys ---- */

enum status control_api_key_create(struct control_call *call)
{
    struct kms_service_id found;
    struct kms_api_key made;
    struct secret text = {0};
    enum status status = find(call, "service_id", &found);
    if (status == STATUS_OK)
        status = api_key_create(call->daemon->api, control_text(call, "service_id"),
                                control_text(call, "name"), call->now, &text, &made, call->error);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(call->detail, sizeof(call->detail), "api-key=%.200s", made.name);
    control_put_text(call->result, "name", made.name);
    control_put_uuid(call->result, "id", &made.id);
    control_put_text(call->result, "service_id", found.name);
    (void)json_object_set_new(call->result, "api_key",
                              json_stringn((const char *)text.data, text.size));
    secret_free(&text);
    return STATUS_OK;
}

enum status control_api_key_list(struct control_call *call)
{
    struct kms_service_id found;
    json_t *array = json_array();
    (void)json_object_set_new(call->result, "api_keys", array);
    enum status status = find(call, "service_id", &found);
    return status == STATUS_OK ? kms_api_keys(call->daemon->kms, &found.id, list_key, array)
                               : status;
}

enum status control_api_key_delete(struct control_call *call)
{
    struct kms_service_id found;
    enum status status = find(call, "service_id", &found);
    if (status == STATUS_OK)
        status = api_key_delete(call->daemon->api, control_text(call, "service_id"),
                                control_text(call, "name"), call->error);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(call->detail, sizeof(call->detail), "api-key=%.200s",
                   control_text(call, "name"));
    control_put_text(call->result, "name", control_text(call, "name"));
    control_put_text(call->result, "service_id", found.name);
    return STATUS_OK;
}
