/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Managed objects of an adapter: /kmip_adapters/{adapter}/kmip_objects. They are looked at and
 * deleted here; made, read and used they are by KMIP alone.
 */
#include <stdio.h>

#include "api/adapters.h"
#include "api/keys.h"
#include "core/admin.h"
#include "kmip/value.h"
#include "kmip/vocabulary.h"

#define LIST_MAX 5000
#define STATES_LISTED                                                                              \
    (STORE_STATE_BIT(KMIP_STATE_PRE_ACTIVE) | STORE_STATE_BIT(KMIP_STATE_ACTIVE) |                 \
     STORE_STATE_BIT(KMIP_STATE_DEACTIVATED) | STORE_STATE_BIT(KMIP_STATE_COMPROMISED))

/* ---- Telling ---- */

/* An object of a type that has no state (Opaque Object) is in use until it is destroyed. */
static uint32_t state_of(const struct core_admin_object *object)
{
    return object->state == 0 ? KMIP_STATE_ACTIVE : object->state;
}

static bool is_destroyed(uint32_t state)
{
    return state == KMIP_STATE_DESTROYED || state == KMIP_STATE_DESTROYED_COMPROMISED;
}

static void set_time(json_t **json, const char *name, const struct core_admin_object *object,
                     const char *attribute)
{
    const struct kmip_named_attribute *attributes = object->attributes.items;
    for (size_t i = 0; i < object->attributes.count; i++) {
        if (!bytes_equal_text(attributes[i].name, attribute))
            continue;
        (void)keys_set(json, name, api_json_time(1000 * value_number(&attributes[i].value)));
        return;
    }
}

/*
 * Which client has done something stands in the audit log; here the members are empty, as clients
 * need them to be there.
 */
static json_t *object_json(const struct core_admin_object *object)
{
    uint32_t state = state_of(object);
    json_t *json = json_object();
    (void)keys_set(&json, "id", api_json_uuid(&object->id));
    (void)keys_set(&json, "kmip_object_type", json_integer(object->object_type));
    (void)keys_set(&json, "state", json_integer(state));
    (void)keys_set(&json, "created_by_kmip_client_cert_id", json_string(""));
    (void)keys_set(&json, "created_by", json_string(""));
    set_time(&json, "created_at", object, "Initial Date");
    (void)keys_set(&json, "updated_by_kmip_client_cert_id", json_string(""));
    (void)keys_set(&json, "updated_by", json_string(""));
    set_time(&json, "updated_at", object, "Last Change Date");
    if (is_destroyed(state)) {
        (void)keys_set(&json, "destroyed_by_kmip_client_cert_id", json_string(""));
        (void)keys_set(&json, "destroyed_by", json_string(""));
        set_time(&json, "destroyed_at", object, "Destroy Date");
    }
    (void)keys_set(&json, "recoverable", json_false());
    return json;
}

/* ---- List ---- */

/* "2,3" as bits; false unless it is that. */
static bool parse_states(const char *text, uint32_t *ret_states)
{
    uint32_t states = 0;
    for (;; text += 2) {
        if (text[0] < '1' || text[0] > '6' || (text[1] != ',' && text[1] != '\0'))
            return false;
        states |= STORE_STATE_BIT((unsigned)(text[0] - '0'));
        if (text[1] == '\0')
            break;
    }
    *ret_states = states;
    return true;
}

static bool read_states(struct api_call *call, uint32_t *ret_states)
{
    char text[64];
    *ret_states = STATES_LISTED;
    if (api_query(call, "state", text, sizeof(text)) && !parse_states(text, ret_states))
        api_fail(call, API_INVALID_QUERY_PARAM_ERR, "query_param", "state");
    if ((*ret_states & STORE_STATE_BIT(KMIP_STATE_ACTIVE)) != 0)
        *ret_states |= STORE_STATE_BIT(0); /* see state_of() */
    return call->error == API_OK;
}

static bool list_object(void *context, const struct core_admin_object *object)
{
    struct adapters_page *page = context;
    return adapters_page_append(page, object_json(object));
}

/*
 * How many there are: the store has counted them by the states it knows. Time may have moved some
 * on from Pre-Active to Active and Deactivated: so of these three all are counted, or they are
 * looked at one by one.
 */
static enum status count_objects(struct api_call *call, const struct adapter_row *adapter,
                                 uint32_t states, int64_t *ret_total)
{
    static const uint32_t moving = STORE_STATE_BIT(KMIP_STATE_PRE_ACTIVE) |
                                   STORE_STATE_BIT(KMIP_STATE_ACTIVE) |
                                   STORE_STATE_BIT(KMIP_STATE_DEACTIVATED);
    int64_t counts[8];
    int64_t total = 0;
    if ((states & moving) != moving && (states & moving) != 0)
        return core_admin_count(call->context->core, call->session, adapter, states, ret_total);
    enum status status = store_count(call->session, adapter->id, counts);
    for (unsigned i = 0; i < ARRAY_COUNT(counts) && status == STATUS_OK; i++)
        if ((states & STORE_STATE_BIT(i)) != 0)
            total += counts[i];
    if (status == STATUS_OK)
        *ret_total = total;
    return status;
}

void api_adapter_objects_list(struct api_call *call)
{
    struct adapter_row adapter;
    struct adapters_page page;
    struct core_admin_query query = {0};
    if (!adapters_find(call, &adapter) || !read_states(call, &query.states) ||
        !adapters_page_read(call, LIST_MAX, &page))
        return;
    query.limit = (size_t)page.limit;
    query.skip = (size_t)page.offset;
    enum status status =
        core_admin_find(call->context->core, call->session, &adapter, &query, list_object, &page);
    if (status == STATUS_OK && page.total_wanted)
        status = count_objects(call, &adapter, query.states, &page.total);
    adapters_page_reply(call, &page, "kmip_object", status);
}

/* ---- One object ---- */

static bool take_object(void *context, const struct core_admin_object *object)
{
    struct core_admin_object *taken = context;
    *taken = *object;
    taken->attributes = (struct kmip_list){0};
    return true;
}

static bool describe_object(void *context, const struct core_admin_object *object)
{
    json_t **json = context;
    *json = object_json(object);
    return true;
}

/* The adapter of the first parameter and the identifier in the second. */
static bool find(struct api_call *call, struct adapter_row *ret_adapter, struct uuid *ret_id)
{
    const char *text = call->parameters[1];
    if (!adapters_find(call, ret_adapter))
        return false;
    (void)snprintf(call->subject, sizeof(call->subject), "%.100s", text);
    if (uuid_parse(bytes_of_text(text), ret_id))
        return true;
    api_fail(call, API_KMIP_OBJECT_NOT_FOUND_ERR, NULL, NULL);
    return false;
}

static void fail(struct api_call *call, enum status status)
{
    if (status == STATUS_OBJECT_NOT_FOUND)
        api_fail(call, API_KMIP_OBJECT_NOT_FOUND_ERR, NULL, NULL);
    else
        api_fail_status(call, status, NULL);
}

void api_adapter_objects_get(struct api_call *call)
{
    struct adapter_row adapter;
    struct uuid id;
    json_t *json = NULL;
    if (!find(call, &adapter, &id))
        return;
    enum status status =
        core_admin_show(call->context->core, call->session, &adapter, &id, describe_object, &json);
    if (status == STATUS_OK)
        api_reply_resource(call, 200, "kmip_object", json);
    else
        fail(call, status);
}

/* ---- Delete ---- */

/* With `force` nothing but that it was destroyed before is refused. */
static void explain_refusal(struct api_call *call, uint32_t state, bool force)
{
    if (force || is_destroyed(state))
        api_fail(call, API_KMIP_OBJECT_DELETED_ERR, NULL, NULL);
    else
        api_fail(call, API_KMIP_OBJECT_ACTIVE_ERR, "query_param", "force");
}

static void delete_object(struct api_call *call, const struct adapter_row *adapter,
                          const struct uuid *id, bool force)
{
    const struct api_context *context = call->context;
    struct core_admin_object object = {0};
    enum status status =
        core_admin_show(context->core, call->session, adapter, id, take_object, &object);
    bool allowed = force || state_of(&object) != KMIP_STATE_ACTIVE;
    if (status == STATUS_OK && allowed)
        status = core_admin_destroy(context->core, call->session, adapter, id, force);
    if (status == STATUS_PERMISSION_DENIED || (status == STATUS_OK && !allowed))
        explain_refusal(call, state_of(&object), force);
    else if (status == STATUS_OK)
        api_reply_empty(call, 204);
    else
        fail(call, status);
}

void api_adapter_objects_delete(struct api_call *call)
{
    struct adapter_row adapter;
    struct uuid id;
    bool force;
    if (api_query_flag(call, "force", false, &force) && find(call, &adapter, &id))
        delete_object(call, &adapter, &id, force);
}
