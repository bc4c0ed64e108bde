/* SPDX-License-Identifier: Apache-2.0 */
#include "core/object.h"

#include "kmip/payloads.h"

#define FIRST_CAPACITY 24
#define ENCODED_MAX    (256u * 1024)

void object_from_stored(struct object *object, struct stored_object *stored)
{
    *object = (struct object){.row = stored->row, .stored = stored};
    uuid_text(&object->row.id, object->identifier);
}

static enum status decode_named(const struct ttlv_item *item, struct arena *arena,
                                struct attribute *ret_attribute)
{
    struct kmip_named_attribute named;
    enum status status = kmip_decode(&kmip_named_attribute_shape, ttlv_enter(item), arena, &named);
    if (status != STATUS_OK)
        return STATUS_STORE_CORRUPT;
    const struct kmip_attribute_info *info =
        kmip_attribute_by_name((const char *)named.name.data, named.name.size);
    *ret_attribute = (struct attribute){.info = info,
                                        .tag = info != NULL ? info->tag->number : item->tag,
                                        .name = named.name,
                                        .index = (int32_t)named.index.value,
                                        .value = named.value};
    return STATUS_OK;
}

static enum status decode_item(const struct ttlv_item *item, struct arena *arena,
                               struct attribute *ret_attribute)
{
    if (item->tag == KMIP_TAG_ATTRIBUTE)
        return decode_named(item, arena, ret_attribute);
    const struct kmip_attribute_info *info = kmip_attribute_by_tag(item->tag);
    *ret_attribute = (struct attribute){
        .info = info, .tag = item->tag, .value = {(uint8_t)item->type, item->value}};
    if (info != NULL)
        ret_attribute->name = bytes_of_text(info->name);
    return STATUS_OK;
}

enum status object_decode(struct object *object, struct arena *arena)
{
    if (object->decoded)
        return STATUS_OK;
    struct ttlv_reader reader = ttlv_reader_over(object->row.attributes);
    object->decoded = true;
    while (!ttlv_at_end(&reader)) {
        struct ttlv_item item;
        struct attribute attribute;
        if (ttlv_next(&reader, &item) != STATUS_OK)
            return STATUS_STORE_CORRUPT;
        enum status status = decode_item(&item, arena, &attribute);
        if (status == STATUS_OK)
            status = object_append(object, arena, attribute);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static void encode_attribute(const struct attribute *attribute, struct buffer *buffer)
{
    bool plain = attribute->index == 0 && attribute->tag != KMIP_TAG_ATTRIBUTE;
    if (plain) {
        ttlv_write_raw(buffer, attribute->tag, attribute->value.type, attribute->value.value);
        return;
    }
    struct kmip_named_attribute named = {.name = attribute->name, .value = attribute->value};
    if (attribute->index != 0)
        named.index = kmip_number(attribute->index);
    kmip_encode_structure(KMIP_TAG_ATTRIBUTE, &kmip_named_attribute_shape, &named, KMIP_VERSION_1_4,
                          buffer);
}

enum status object_encode(struct object *object, struct arena *arena)
{
    struct buffer buffer;
    buffer_init(&buffer, ENCODED_MAX);
    for (size_t i = 0; i < object->count; i++)
        encode_attribute(&object->attributes[i], &buffer);
    enum status status = buffer_status(&buffer);
    struct bytes encoded;
    if (status == STATUS_OK && !arena_copy(arena, buffer_bytes(&buffer), &encoded))
        status = STATUS_TOO_LARGE;
    buffer_free(&buffer);
    if (status == STATUS_OK)
        object->row.attributes = encoded;
    return status;
}

struct attribute *object_find(const struct object *object, enum kmip_attribute id, int32_t index)
{
    for (size_t i = 0; i < object->count; i++) {
        struct attribute *attribute = &object->attributes[i];
        if (attribute->info != NULL && attribute->info->id == id && attribute->index == index)
            return attribute;
    }
    return NULL;
}

struct attribute *object_find_named(const struct object *object, struct bytes name, int32_t index)
{
    for (size_t i = 0; i < object->count; i++) {
        struct attribute *attribute = &object->attributes[i];
        if (attribute->name.size > 0 && attribute->index == index &&
            bytes_equal(attribute->name, name))
            return attribute;
    }
    return NULL;
}

static bool scan_encoded(struct bytes attributes, uint32_t tag, int64_t *ret_number)
{
    struct ttlv_reader reader = ttlv_reader_over(attributes);
    struct ttlv_item item;
    while (!ttlv_at_end(&reader) && ttlv_next(&reader, &item) == STATUS_OK) {
        if (item.tag != tag)
            continue;
        struct kmip_any value = {(uint8_t)item.type, item.value};
        *ret_number = value_number(&value);
        return true;
    }
    return false;
}

bool object_item_number(const struct object *object, uint32_t tag, int64_t *ret_number)
{
    if (!object->decoded)
        return scan_encoded(object->row.attributes, tag, ret_number);
    for (size_t i = 0; i < object->count; i++) {
        if (object->attributes[i].tag != tag || object->attributes[i].index != 0)
            continue;
        *ret_number = value_number(&object->attributes[i].value);
        return true;
    }
    return false;
}

bool object_number(const struct object *object, enum kmip_attribute id, int64_t *ret_number)
{
    return object_item_number(object, kmip_attribute_by_id(id)->tag->number, ret_number);
}

enum status object_append(struct object *object, struct arena *arena, struct attribute attribute)
{
    if (attribute.value.type == 0)
        return STATUS_TOO_LARGE;
    if (object->count == object->capacity) {
        size_t capacity = object->capacity == 0 ? FIRST_CAPACITY : object->capacity * 2;
        struct attribute *grown =
            arena_allocate_array(arena, capacity, sizeof(*object->attributes));
        if (grown == NULL)
            return STATUS_TOO_LARGE;
        if (object->count > 0)
            memcpy(grown, object->attributes, object->count * sizeof(*grown));
        object->attributes = grown;
        object->capacity = capacity;
    }
    object->attributes[object->count++] = attribute;
    return STATUS_OK;
}

enum status object_set(struct object *object, struct arena *arena, enum kmip_attribute id,
                       struct kmip_any value)
{
    struct attribute *present = object_find(object, id, 0);
    if (present != NULL && value.type != 0) {
        present->value = value;
        return STATUS_OK;
    }
    const struct kmip_attribute_info *info = kmip_attribute_by_id(id);
    return object_append(object, arena,
                         (struct attribute){.info = info,
                                            .tag = info->tag->number,
                                            .name = bytes_of_text(info->name),
                                            .value = value});
}

enum status object_set_item(struct object *object, struct arena *arena, uint32_t tag,
                            struct kmip_any value)
{
    return object_append(
        object, arena,
        (struct attribute){.info = kmip_attribute_by_tag(tag), .tag = tag, .value = value});
}

void object_remove(struct object *object, struct attribute *attribute)
{
    size_t behind = object->count - (size_t)(attribute - object->attributes) - 1;
    memmove(attribute, attribute + 1, behind * sizeof(*attribute));
    object->count--;
}

int32_t object_next_index(const struct object *object, struct bytes name)
{
    int32_t next = 0;
    for (size_t i = 0; i < object->count; i++)
        if (object->attributes[i].index >= next && object->attributes[i].name.size > 0 &&
            bytes_equal(object->attributes[i].name, name))
            next = object->attributes[i].index + 1;
    return next;
}
