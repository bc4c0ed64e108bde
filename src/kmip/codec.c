/* SPDX-License-Identifier: Apache-2.0 */
#include "kmip/codec.h"

static const uint8_t wire_types[] = {
    [KMIP_FIELD_INTEGER] = TTLV_INTEGER,         [KMIP_FIELD_LONG_INTEGER] = TTLV_LONG_INTEGER,
    [KMIP_FIELD_ENUMERATION] = TTLV_ENUMERATION, [KMIP_FIELD_BOOLEAN] = TTLV_BOOLEAN,
    [KMIP_FIELD_DATE_TIME] = TTLV_DATE_TIME,     [KMIP_FIELD_INTERVAL] = TTLV_INTERVAL,
    [KMIP_FIELD_TEXT_STRING] = TTLV_TEXT_STRING, [KMIP_FIELD_BYTE_STRING] = TTLV_BYTE_STRING,
    [KMIP_FIELD_STRUCTURE] = TTLV_STRUCTURE,     [KMIP_FIELD_ANY] = 0,
};

static size_t element_size(const struct kmip_field *field)
{
    switch ((enum kmip_field_kind)field->kind) {
    case KMIP_FIELD_TEXT_STRING:
    case KMIP_FIELD_BYTE_STRING:
        return sizeof(struct bytes);
    case KMIP_FIELD_STRUCTURE:
        return field->shape->size;
    case KMIP_FIELD_ANY:
        return sizeof(struct kmip_any);
    case KMIP_FIELD_INTEGER:
    case KMIP_FIELD_LONG_INTEGER:
    case KMIP_FIELD_ENUMERATION:
    case KMIP_FIELD_BOOLEAN:
    case KMIP_FIELD_DATE_TIME:
    case KMIP_FIELD_INTERVAL:
        break;
    }
    return sizeof(struct kmip_number);
}

static int64_t number_of(const struct ttlv_item *item)
{
    switch (item->type) {
    case TTLV_INTEGER:
        return ttlv_integer(item);
    case TTLV_ENUMERATION:
    case TTLV_INTERVAL:
        return ttlv_enumeration(item);
    case TTLV_BOOLEAN:
        return ttlv_boolean(item);
    default:
        return ttlv_long_integer(item);
    }
}

/* Puts one item's value where an element of the field's member type stands. */
static enum status decode_element(const struct kmip_field *field, const struct ttlv_item *item,
                                  struct arena *arena, void *element)
{
    switch ((enum kmip_field_kind)field->kind) {
    case KMIP_FIELD_TEXT_STRING:
    case KMIP_FIELD_BYTE_STRING:
        *(struct bytes *)element = item->value;
        return STATUS_OK;
    case KMIP_FIELD_STRUCTURE:
        return kmip_decode(field->shape, ttlv_enter(item), arena, element);
    case KMIP_FIELD_ANY:
        *(struct kmip_any *)element = (struct kmip_any){(uint8_t)item->type, item->value};
        return STATUS_OK;
    default:
        *(struct kmip_number *)element = kmip_number(number_of(item));
        return STATUS_OK;
    }
}

static bool type_fits(const struct kmip_field *field, const struct ttlv_item *item)
{
    return field->kind == KMIP_FIELD_ANY || item->type == wire_types[field->kind];
}

static enum status next_of_field(const struct kmip_field *field, struct ttlv_reader *reader,
                                 struct ttlv_item *ret_item)
{
    if (ttlv_next(reader, ret_item) != STATUS_OK || !type_fits(field, ret_item))
        return STATUS_MALFORMED;
    return STATUS_OK;
}

static enum status decode_one(const struct kmip_field *field, struct ttlv_reader *reader,
                              struct arena *arena, void *member)
{
    struct ttlv_item item;
    if (next_of_field(field, reader, &item) != STATUS_OK)
        return STATUS_MALFORMED;
    if (field->kind != KMIP_FIELD_STRUCTURE)
        return decode_element(field, &item, arena, member);
    void *nested = arena_allocate(arena, field->shape->size);
    if (nested == NULL)
        return STATUS_TOO_LARGE;
    *(void **)member = nested;
    return decode_element(field, &item, arena, nested);
}

static size_t count_items(const struct kmip_field *field, struct ttlv_reader reader)
{
    size_t count = 0;
    struct ttlv_item item;
    while (ttlv_peek_tag(&reader) == field->tag && ttlv_next(&reader, &item) == STATUS_OK)
        count++;
    return count;
}

/* Something missing does not end the reading: what stands behind it may be worse. */
static bool goes_on(enum status status, bool *missing)
{
    *missing |= status == STATUS_MISSING_DATA;
    return status == STATUS_OK || status == STATUS_MISSING_DATA;
}

static enum status decode_list(const struct kmip_field *field, struct ttlv_reader *reader,
                               struct arena *arena, struct kmip_list *list)
{
    size_t size = element_size(field);
    bool missing = false;
    list->count = count_items(field, *reader);
    list->items = arena_allocate_array(arena, list->count, size);
    if (list->items == NULL)
        return STATUS_TOO_LARGE;
    for (size_t i = 0; i < list->count; i++) {
        struct ttlv_item item;
        enum status status = next_of_field(field, reader, &item);
        if (status == STATUS_OK)
            status = decode_element(field, &item, arena, (uint8_t *)list->items + i * size);
        if (!goes_on(status, &missing))
            return status;
    }
    return missing ? STATUS_MISSING_DATA : STATUS_OK;
}

enum status kmip_decode(const struct kmip_shape *shape, struct ttlv_reader reader,
                        struct arena *arena, void *ret_struct)
{
    memset(ret_struct, 0, shape->size);
    bool missing = false;
    for (size_t i = 0; i < shape->count; i++) {
        const struct kmip_field *field = &shape->fields[i];
        void *member = (uint8_t *)ret_struct + field->offset;
        if (ttlv_peek_tag(&reader) != field->tag) {
            missing |= (field->flags & KMIP_REQUIRED) != 0;
            continue;
        }
        enum status status = (field->flags & KMIP_REPEATED) != 0
                                 ? decode_list(field, &reader, arena, member)
                                 : decode_one(field, &reader, arena, member);
        if (!goes_on(status, &missing))
            return status;
    }
    /* What is left over is unknown, repeated or out of order: worse than something missing. */
    if (!ttlv_at_end(&reader))
        return STATUS_MALFORMED;
    return missing ? STATUS_MISSING_DATA : STATUS_OK;
}

static void encode_number(const struct kmip_field *field, const struct kmip_number *number,
                          struct buffer *buffer)
{
    if (!number->present)
        return;
    switch ((enum kmip_field_kind)field->kind) {
    case KMIP_FIELD_INTEGER:
        ttlv_write_integer(buffer, field->tag, (int32_t)number->value);
        break;
    case KMIP_FIELD_ENUMERATION:
        ttlv_write_enumeration(buffer, field->tag, (uint32_t)number->value);
        break;
    case KMIP_FIELD_INTERVAL:
        ttlv_write_interval(buffer, field->tag, (uint32_t)number->value);
        break;
    case KMIP_FIELD_BOOLEAN:
        ttlv_write_boolean(buffer, field->tag, number->value != 0);
        break;
    case KMIP_FIELD_DATE_TIME:
        ttlv_write_date_time(buffer, field->tag, number->value);
        break;
    default:
        ttlv_write_long_integer(buffer, field->tag, number->value);
        break;
    }
}

static void encode_element(const struct kmip_field *field, const void *element, uint16_t version,
                           struct buffer *buffer)
{
    const struct bytes *bytes = element;
    const struct kmip_any *any = element;
    switch ((enum kmip_field_kind)field->kind) {
    case KMIP_FIELD_TEXT_STRING:
    case KMIP_FIELD_BYTE_STRING:
        if (bytes->data != NULL)
            ttlv_write_raw(buffer, field->tag, wire_types[field->kind], *bytes);
        break;
    case KMIP_FIELD_STRUCTURE:
        kmip_encode_structure(field->tag, field->shape, element, version, buffer);
        break;
    case KMIP_FIELD_ANY:
        if (any->type != 0)
            ttlv_write_raw(buffer, field->tag, any->type, any->value);
        break;
    default:
        encode_number(field, element, buffer);
        break;
    }
}

static void encode_list(const struct kmip_field *field, const struct kmip_list *list,
                        uint16_t version, struct buffer *buffer)
{
    size_t size = element_size(field);
    for (size_t i = 0; i < list->count; i++)
        encode_element(field, (const uint8_t *)list->items + i * size, version, buffer);
}

void kmip_encode(const struct kmip_shape *shape, const void *structure, uint16_t version,
                 struct buffer *buffer)
{
    for (size_t i = 0; i < shape->count; i++) {
        const struct kmip_field *field = &shape->fields[i];
        const void *member = (const uint8_t *)structure + field->offset;
        if (field->since > version)
            continue;
        if ((field->flags & KMIP_REPEATED) != 0)
            encode_list(field, member, version, buffer);
        else if (field->kind != KMIP_FIELD_STRUCTURE)
            encode_element(field, member, version, buffer);
        else if (*(void *const *)member != NULL)
            encode_element(field, *(void *const *)member, version, buffer);
    }
}

void kmip_encode_structure(uint32_t tag, const struct kmip_shape *shape, const void *structure,
                           uint16_t version, struct buffer *buffer)
{
    size_t mark = ttlv_begin(buffer, tag);
    kmip_encode(shape, structure, version, buffer);
    ttlv_end(buffer, mark);
}
