/* SPDX-License-Identifier: Apache-2.0 */
/* kmipctl object ...: keys and other managed objects. */
#include <ctype.h>

#include "core/admin.h"
#include "daemon/commands.h"
#include "kmip/vocabulary.h"

#define PAGE        500 /* objects in one answer; kmipctl asks for the next */
#define FILTERS_MAX 16
#define VALUE_MAX   (16u << 10) /* bytes of one attribute as shown */

/* ---- Objects as JSON ---- */

/* Bytes of clients that are not UTF-8 cannot be shown. */
static json_t *make_value(const struct kmip_named_attribute *attribute)
{
    struct buffer text;
    buffer_init(&text, VALUE_MAX);
    core_admin_value_text(attribute, &text);
    json_t *value = buffer_status(&text) == STATUS_OK
                        ? json_stringn((const char *)text.data, text.size)
                        : json_string("(too long to be shown)");
    buffer_free(&text);
    return value != NULL ? value : json_string("(not UTF-8)");
}

static void put_value(json_t *object, const char *key, const struct core_admin_object *shown,
                      const char *name)
{
    const struct kmip_named_attribute *attributes = shown->attributes.items;
    for (size_t i = 0; i < shown->attributes.count; i++) {
        if (bytes_equal_text(attributes[i].name, name)) {
            (void)json_object_set_new(object, key, make_value(&attributes[i]));
            return;
        }
    }
}

static json_t *make_object(const struct core_admin_object *shown)
{
    static const struct {
        const char *key;
        const char *attribute;
    } members[] = {
        {"created", "Initial Date"},
        {"algorithm", "Cryptographic Algorithm"},
        {"length", "Cryptographic Length"},
        {"name", "Name"},
        {"x_name", "x-Name"},
        {"x_component", "x-Component"},
        {"x_product", "x-Product"},
    };
    char id[UUID_TEXT_LENGTH + 1];
    json_t *object = json_object();
    uuid_text(&shown->id, id);
    control_put_text(object, "id", id);
    control_put_text(object, "type", kmip_value_text(KMIP_TAG_OBJECT_TYPE, shown->object_type));
    control_put_text(object, "state",
                     shown->state != 0 ? kmip_value_text(KMIP_TAG_STATE, shown->state) : "");
    for (size_t i = 0; i < ARRAY_COUNT(members); i++)
        put_value(object, members[i].key, shown, members[i].attribute);
    return object;
}

/* An attribute that stands several times becomes an array. */
static void add_attribute(json_t *attributes, const struct kmip_named_attribute *attribute)
{
    json_t *value = make_value(attribute);
    json_t *name = json_stringn((const char *)attribute->name.data, attribute->name.size);
    const char *key = name != NULL ? json_string_value(name) : "(not UTF-8)";
    json_t *before = json_object_get(attributes, key);
    if (json_is_array(before)) {
        (void)json_array_append_new(before, value);
    } else if (before != NULL) {
        json_t *both = json_array();
        (void)json_array_append(both, before);
        (void)json_array_append_new(both, value);
        (void)json_object_set_new(attributes, key, both);
    } else {
        (void)json_object_set_new(attributes, key, value);
    }
    json_decref(name);
}

/* ---- list and find ---- */

struct finding {
    json_t *array;
    int64_t last; /* sequence */
};

static bool take_object(void *context, const struct core_admin_object *shown)
{
    struct finding *finding = context;
    finding->last = shown->sequence;
    return json_array_append_new(finding->array, make_object(shown)) == 0;
}

/* "pre-active" is "Pre-Active", "destroyed-compromised" is "Destroyed Compromised". */
static bool is_state_word(const char *word, const char *text)
{
    for (; *word != '\0' && *text != '\0'; word++, text++) {
        char expected = *text == ' ' ? '-' : (char)tolower((unsigned char)*text);
        if (tolower((unsigned char)*word) != expected)
            return false;
    }
    return *word == *text;
}

static enum status take_state(struct control_call *call, uint32_t *ret_states)
{
    const char *word = control_text(call, "only");
    const struct kmip_enumeration *states = kmip_enumeration_by_tag(KMIP_TAG_STATE);
    if (word == NULL)
        return STATUS_OK;
    for (uint32_t i = 0; i < states->count; i++) {
        if (is_state_word(word, states->values[i].text)) {
            *ret_states = STORE_STATE_BIT(states->values[i].number);
            return STATUS_OK;
        }
    }
    return error_set(call->error, STATUS_INVALID_ARGUMENT,
                     "'%.40s' is no state; states are pre-active, active, deactivated, "
                     "compromised, destroyed and destroyed-compromised",
                     word);
}

static enum status run_query(struct control_call *call, struct core_admin_query *query)
{
    struct adapter_row adapter;
    struct finding finding = {.array = json_array()};
    (void)json_object_set_new(call->result, "objects", finding.array);
    int64_t wanted = control_number(call, "limit", PAGE);
    query->after = control_number(call, "after", 0);
    query->limit = wanted < PAGE ? (size_t)wanted : PAGE;
    enum status status = control_find_adapter(call, "adapter", &adapter);
    if (status == STATUS_OK)
        status = core_admin_find(call->daemon->core, call->session, &adapter, query, take_object,
                                 &finding);
    if (status == STATUS_OK && json_array_size(finding.array) == PAGE)
        control_put_number(call->result, "next", finding.last);
    return status;
}

enum status control_object_list(struct control_call *call)
{
    struct core_admin_query query = {0};
    enum status status = take_state(call, &query.states);
    return status == STATUS_OK ? run_query(call, &query) : status;
}

struct filters {
    struct core_admin_filter list[FILTERS_MAX];
    size_t count;
};

static bool add_filter(struct filters *filters, struct bytes name, struct bytes value)
{
    if (filters->count == FILTERS_MAX)
        return false;
    filters->list[filters->count++] = (struct core_admin_filter){name, value};
    return true;
}

/* What vSphere 7.0 and newer write at a key, by the options that ask for it. */
static void take_vsphere(struct control_call *call, struct filters *filters)
{
    static const struct {
        const char *argument;
        const char *attribute;
        const char *component; /* what x-Component must be as well */
    } options[] = {
        {"vm", "x-Name", "Virtual Machine"},
        {"host", "x-Name", "ESXi Server"},
        {"product", "x-Product", NULL},
        {"name", "Name", NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
        const char *value = control_text(call, options[i].argument);
        if (value == NULL)
            continue;
        (void)add_filter(filters, bytes_of_text(options[i].attribute), bytes_of_text(value));
        if (options[i].component != NULL)
            (void)add_filter(filters, BYTES_LITERAL("x-Component"),
                             bytes_of_text(options[i].component));
    }
}

static enum status take_attributes(struct control_call *call, struct filters *filters)
{
    const json_t *list = json_object_get(call->arguments, "attribute");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        const char *equals = strchr(text, '=');
        if (equals == NULL || equals == text)
            return error_set(call->error, STATUS_INVALID_ARGUMENT,
                             "'%.80s' is not NAME=VALUE, such as x-Identifier=5021...", text);
        if (!add_filter(filters, bytes_of(text, (size_t)(equals - text)),
                        bytes_of_text(equals + 1)))
            return error_set(call->error, STATUS_TOO_LARGE, "that is too much to look for");
    }
    return STATUS_OK;
}

enum status control_object_find(struct control_call *call)
{
    struct filters filters = {.count = 0};
    take_vsphere(call, &filters);
    enum status status = take_attributes(call, &filters);
    if (status != STATUS_OK)
        return status;
    if (filters.count == 0)
        return error_set(call->error, STATUS_INVALID_ARGUMENT,
                         "say what to look for: --vm, --host, --product, --name or --attribute");
    struct core_admin_query query = {.filters = filters.list, .filter_count = filters.count};
    return run_query(call, &query);
}

/* ---- One object ---- */

static enum status find_object(struct control_call *call, struct adapter_row *ret_adapter,
                               struct uuid *ret_id)
{
    const char *text = control_text(call, "id");
    (void)snprintf(call->subject, sizeof(call->subject), "%.100s", text);
    enum status status = control_find_adapter(call, "adapter", ret_adapter);
    if (status == STATUS_OK && !uuid_parse(bytes_of_text(text), ret_id))
        return error_set(call->error, STATUS_INVALID_ARGUMENT,
                         "'%.60s' is no Unique Identifier of this server: they look like "
                         "01890a5d-ac96-774b-bcce-b302099a8057",
                         text);
    return status;
}

static enum status explain(struct control_call *call, enum status status)
{
    if (status != STATUS_OBJECT_NOT_FOUND)
        return status;
    return error_set(call->error, status,
                     "the adapter '%.60s' has no object %.60s; --adapter names another adapter",
                     call->adapter, call->subject);
}

static bool show_object(void *context, const struct core_admin_object *shown)
{
    struct control_call *call = context;
    const struct kmip_named_attribute *attributes = shown->attributes.items;
    json_t *object = make_object(shown), *all = json_object();
    for (size_t i = 0; i < shown->attributes.count; i++)
        add_attribute(all, &attributes[i]);
    (void)json_object_set(call->result, "id", json_object_get(object, "id"));
    (void)json_object_set(call->result, "type", json_object_get(object, "type"));
    (void)json_object_set(call->result, "state", json_object_get(object, "state"));
    (void)json_object_set_new(call->result, "attributes", all);
    json_decref(object);
    return true;
}

/* What its key is wrapped under; nothing, where it has none. */
static enum status put_wrapping(struct control_call *call, const struct adapter_row *adapter,
                                const struct uuid *id)
{
    struct wrapped_origin origin;
    struct stored_object *stored;
    enum status status = store_get(call->session, adapter->id, id, &stored);
    if (status != STATUS_OK)
        return status;
    if (stored->row.wrapped.blob.size > 0 &&
        wrapped_origin(stored->row.wrapped, &origin) == STATUS_OK) {
        control_put_text(call->result, "key_manager", keymanager_code_name(origin.code));
        control_put_uuid(call->result, "root_key", &origin.binding.root_key);
        if (origin.version > 0) /* else only the key manager knows */
            control_put_number(call->result, "root_key_version", origin.version);
    }
    stored_object_release(stored);
    return STATUS_OK;
}

/* What the key manager keeps of it. */
static enum status put_record(struct control_call *call, const struct uuid *id)
{
    struct record_row record;
    enum status status = store_record_get(call->session, id, &record);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (status != STATUS_OK)
        return status;
    control_put_uuid(call->result, "record", &record.record);
    control_put_text(call->result, "record_state",
                     record.withdrawn ? "out of service: the key is not given out" : "in service");
    return STATUS_OK;
}

enum status control_object_show(struct control_call *call)
{
    struct adapter_row adapter;
    struct uuid id;
    enum status status = find_object(call, &adapter, &id);
    if (status == STATUS_OK)
        status = core_admin_show(call->daemon->core, call->session, &adapter, &id, show_object,
                                 call);
    if (status == STATUS_OK)
        status = put_wrapping(call, &adapter, &id);
    if (status == STATUS_OK)
        status = put_record(call, &id);
    return explain(call, status);
}

enum status control_object_restore(struct control_call *call)
{
    struct adapter_row adapter;
    struct uuid id;
    enum status status = find_object(call, &adapter, &id);
    if (status == STATUS_OK)
        status = core_admin_restore(call->daemon->core, call->session, &adapter, &id);
    if (status == STATUS_PERMISSION_DENIED)
        return error_set(call->error, status,
                         "%.60s is not deactivated, and only deactivated objects can be restored; "
                         "kmipctl object show %.60s tells its state",
                         call->subject, call->subject);
    control_put_text(call->result, "id", call->subject);
    return explain(call, status);
}

enum status control_object_destroy(struct control_call *call)
{
    struct adapter_row adapter;
    struct uuid id;
    enum status status = find_object(call, &adapter, &id);
    if (status == STATUS_OK)
        status = core_admin_destroy(call->daemon->core, call->session, &adapter, &id, true);
    if (status == STATUS_PERMISSION_DENIED)
        return error_set(call->error, status, "%.60s was destroyed before", call->subject);
    control_put_text(call->result, "id", call->subject);
    return explain(call, status);
}

enum status control_object_create(struct control_call *call)
{
    struct adapter_row adapter;
    struct uuid id;
    const char *name = control_text(call, "name");
    enum status status = control_find_adapter(call, "adapter", &adapter);
    if (status == STATUS_OK)
        status = core_admin_create_key(call->daemon->core, call->session, &adapter,
                                       bytes_of_text(name != NULL ? name : ""), &id);
    if (status == STATUS_NAME_EXISTS)
        return error_set(call->error, status,
                         "an object of the adapter '%.60s' has this name already: choose another",
                         adapter.name);
    if (status != STATUS_OK)
        return status;
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(&id, text);
    (void)snprintf(call->subject, sizeof(call->subject), "%s", text);
    control_put_text(call->result, "id", text);
    return STATUS_OK;
}
