/* SPDX-License-Identifier: Apache-2.0 */
/* What a request has in its hands: its objects, its memory, its keys. Batches are in batch.c. */
#include "core/request.h"

#include "core/attributes.h"
#include "core/keys.h"
#include "core/lifecycle.h"

void request_init(struct request *request, struct core *core, void *reply_memory, size_t reply_size)
{
    *request = (struct request){.core = core};
    buffer_over(&request->reply, reply_memory, reply_size);
    arena_init(&request->arena, core->options.request_memory);
}

void request_set_reply(struct request *request, void *memory, size_t size)
{
    buffer_reset(&request->reply);
    buffer_over(&request->reply, memory, size);
}

static void release_objects(struct request *request)
{
    for (struct object *object = request->objects; object != NULL; object = object->next)
        stored_object_release(object->stored);
    request->objects = NULL;
    request->edits = NULL;
}

void request_reset(struct request *request)
{
    release_objects(request);
    buffer_reset(&request->reply);
    arena_reset(&request->arena);
    request->changes = NULL;
    request->change_count = 0;
    request->records = NULL;
    request->record_count = 0;
    request->worst = STATUS_OK;
    request->has_placeholder = false;
    request->close = false;
    request->skip_optional = false;
    request->refusal = STATUS_OK;
    request->version = 0;
}

void request_finish(struct request *request)
{
    request_reset(request);
    if (request->keys.fetched != NULL || request->keys.made != NULL)
        request_keys_free(request);
}

void request_free(struct request *request)
{
    request_finish(request);
    arena_free(&request->arena);
}

static struct object *find_loaded(const struct request *request, const struct uuid *id)
{
    for (struct object *object = request->objects; object != NULL; object = object->next)
        if (uuid_equal(&object->row.id, id))
            return object;
    return NULL;
}

static enum status load_object(struct request *request, const struct uuid *id,
                               struct object **ret_object)
{
    struct object *object = arena_allocate(&request->arena, sizeof(*object));
    if (object == NULL)
        return STATUS_TOO_LARGE;
    struct stored_object *stored;
    enum status status = store_get(request->store, request->session->adapter, id, &stored);
    if (status != STATUS_OK)
        return status;
    object_from_stored(object, stored);
    object->next = request->objects;
    request->objects = object;
    lifecycle_advance(object, request_seconds(request));
    *ret_object = object;
    return STATUS_OK;
}

static enum status resolve(struct request *request, struct bytes unique_identifier,
                           struct uuid *ret_id)
{
    if (unique_identifier.data != NULL) {
        request->subject = unique_identifier;
        return uuid_parse(unique_identifier, ret_id) ? STATUS_OK : STATUS_OBJECT_NOT_FOUND;
    }
    if (!request->has_placeholder)
        return STATUS_OBJECT_NOT_FOUND;
    *ret_id = request->placeholder;
    return STATUS_OK;
}

enum status request_object(struct request *request, struct bytes unique_identifier,
                           struct object **ret_object)
{
    struct uuid id;
    enum status status = resolve(request, unique_identifier, &id);
    if (status != STATUS_OK)
        return status;
    struct object *object = find_loaded(request, &id);
    if (object == NULL)
        status = load_object(request, &id, &object);
    if (status != STATUS_OK)
        return status;
    request->subject = object_identifier(object);
    request_note_product(request, object);
    *ret_object = object;
    return STATUS_OK;
}

enum status request_decoded_object(struct request *request, struct bytes unique_identifier,
                                   struct object **ret_object)
{
    enum status status = request_object(request, unique_identifier, ret_object);
    return status == STATUS_OK ? object_decode(*ret_object, &request->arena) : status;
}

enum status request_edit(struct request *request, struct object *object, struct object **ret_object)
{
    enum status status = object_decode(object, &request->arena);
    if (status != STATUS_OK)
        return status;
    struct object *edit = arena_allocate(&request->arena, sizeof(*edit));
    struct attribute *attributes =
        arena_allocate_array(&request->arena, object->count + 4, sizeof(*attributes));
    if (edit == NULL || attributes == NULL)
        return STATUS_TOO_LARGE;
    *edit = *object;
    if (object->count > 0)
        memcpy(attributes, object->attributes, object->count * sizeof(*attributes));
    edit->attributes = attributes;
    edit->capacity = object->count + 4;
    edit->changed = true;
    edit->optional = false;
    edit->original = object;
    edit->next = request->edits;
    request->edits = edit;
    *ret_object = edit;
    return STATUS_OK;
}

enum status request_edit_object(struct request *request, struct bytes unique_identifier,
                                struct object **ret_object)
{
    struct object *object;
    enum status status = request_object(request, unique_identifier, &object);
    return status == STATUS_OK ? request_edit(request, object, ret_object) : status;
}

enum status request_new_object(struct request *request, uint32_t object_type,
                               struct object **ret_object)
{
    struct object *object = arena_allocate(&request->arena, sizeof(*object));
    if (object == NULL)
        return STATUS_TOO_LARGE;
    struct new_key *key = request_next_key(request);
    enum status status = key == NULL ? uuid_make(request->now, &object->row.id) : STATUS_OK;
    if (status != STATUS_OK)
        return status;
    if (key != NULL)
        object->row.id = key->object;
    object->key = key;
    uuid_text(&object->row.id, object->identifier);
    object->row.adapter = request->session->adapter;
    object->row.version = 1;
    object->row.object_type = object_type;
    object->row.state = lifecycle_has_state(object_type) ? KMIP_STATE_PRE_ACTIVE : 0;
    object->decoded = object->changed = object->inserted = true;
    object->next = request->edits;
    request->edits = object;
    *ret_object = object;
    return STATUS_OK;
}

enum status request_changed(struct request *request, struct object *object)
{
    return object_set(object, &request->arena, KMIP_ATTRIBUTE_LAST_CHANGE_DATE,
                      value_date_time(&request->arena, request_seconds(request)));
}

void request_set_placeholder(struct request *request, const struct object *object)
{
    request->placeholder = object->row.id;
    request->has_placeholder = true;
    request->subject = object_identifier(object);
}

void request_keep_edits(struct request *request)
{
    while (request->edits != NULL) {
        struct object *edit = request->edits;
        request->edits = edit->next;
        struct object *original = edit->original;
        if (original == NULL) {
            edit->next = request->objects;
            request->objects = edit;
            continue;
        }
        struct object *next = original->next;
        bool optional = edit->optional && (!original->changed || original->optional);
        *original = *edit;
        original->optional = optional;
        original->original = NULL;
        original->next = next;
    }
}

static enum status make_change(struct request *request, struct object *object,
                               struct store_change *change)
{
    enum status status = object_encode(object, &request->arena);
    change->kind = object->inserted ? STORE_INSERT : STORE_UPDATE;
    if (status == STATUS_OK)
        status = attributes_terms(request, object, &change->terms, &change->term_count);
    change->row = object->row;
    if (object->key != NULL)
        object->key->change = change;
    return status;
}

/* A key that came back under a newer root key version is stored so when nothing is in the way. */
static void take_newer(struct request *request)
{
    if (request->skip_optional || store_health(request->core->store) != STATUS_OK)
        return;
    for (struct object *object = request->objects; object != NULL; object = object->next) {
        if (object->newer.size == 0 || object->row.wrapped.blob.size == 0)
            continue;
        object->row.wrapped.blob = object->newer;
        object->optional = !object->changed || object->optional;
        object->changed = true;
    }
}

enum status request_collect_changes(struct request *request)
{
    size_t count = 0;
    if (request->keys.fetched != NULL)
        take_newer(request);
    for (struct object *object = request->objects; object != NULL; object = object->next)
        count += object->changed;
    if (count == 0)
        return STATUS_OK;
    request->changes = arena_allocate_array(&request->arena, count, sizeof(*request->changes));
    if (request->changes == NULL)
        return STATUS_TOO_LARGE;
    /* In the order in which they were first touched (the list is newest first): the store checks
     * names change by change, and Re-key hands a name from the old key to the new one. */
    size_t at = count;
    for (struct object *object = request->objects; object != NULL; object = object->next) {
        if (!object->changed)
            continue;
        enum status status = make_change(request, object, &request->changes[--at]);
        if (status != STATUS_OK)
            return status;
    }
    request->change_count = count;
    return STATUS_OK;
}

/* What vCenter 7.0 and later write on each key (recorded), in the order of a sentence. */
static const char *const product_attributes[] = {"x-Product", "x-Product_Version", "x-Component",
                                                 "x-Name"};

#define PRODUCT_MAX 256

/* The text of one custom attribute in the stored form, without decoding the rest. */
static struct bytes find_custom_text(struct bytes attributes, struct bytes wanted)
{
    struct ttlv_reader reader = ttlv_reader_over(attributes);
    struct ttlv_item item;
    while (!ttlv_at_end(&reader) && ttlv_next(&reader, &item) == STATUS_OK) {
        struct ttlv_item name;
        struct ttlv_item value;
        struct ttlv_reader fields = ttlv_enter(&item);
        if (item.tag != KMIP_TAG_ATTRIBUTE || ttlv_next(&fields, &name) != STATUS_OK ||
            !bytes_equal(name.value, wanted))
            continue;
        while (!ttlv_at_end(&fields) && ttlv_next(&fields, &value) == STATUS_OK)
            if (value.tag == KMIP_TAG_ATTRIBUTE_VALUE && value.type == TTLV_TEXT_STRING)
                return value.value;
    }
    return (struct bytes){0};
}

static bool has_custom(struct bytes attributes)
{
    struct ttlv_reader reader = ttlv_reader_over(attributes);
    struct ttlv_item item;
    while (!ttlv_at_end(&reader) && ttlv_next(&reader, &item) == STATUS_OK)
        if (item.tag == KMIP_TAG_ATTRIBUTE)
            return true;
    return false;
}

void request_note_product(struct request *request, const struct object *object)
{
    struct bytes attributes = object->row.attributes;
    if (!has_custom(attributes))
        return;
    uint8_t *memory = arena_allocate(&request->arena, PRODUCT_MAX);
    struct buffer text;
    if (memory == NULL)
        return;
    buffer_over(&text, memory, PRODUCT_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(product_attributes); i++) {
        struct bytes value = find_custom_text(attributes, bytes_of_text(product_attributes[i]));
        if (value.size == 0 || value.size + 1 > PRODUCT_MAX - text.size)
            continue;
        buffer_append(&text, " ", text.size > 0);
        buffer_append_bytes(&text, value);
    }
    request->product = buffer_bytes(&text);
}
