/* SPDX-License-Identifier: Apache-2.0 */
#include "kmip/value.h"

#include <endian.h>

#define STRUCTURE_MAX 4096 /* the structures the server itself makes are far smaller */

static struct kmip_any value32(struct arena *arena, enum ttlv_type type, uint32_t number)
{
    uint8_t *bytes = arena_allocate(arena, sizeof(number));
    if (bytes == NULL)
        return (struct kmip_any){0};
    number = htobe32(number);
    memcpy(bytes, &number, sizeof(number));
    return (struct kmip_any){(uint8_t)type, bytes_of(bytes, sizeof(number))};
}

static struct kmip_any value64(struct arena *arena, enum ttlv_type type, uint64_t number)
{
    uint8_t *bytes = arena_allocate(arena, sizeof(number));
    if (bytes == NULL)
        return (struct kmip_any){0};
    number = htobe64(number);
    memcpy(bytes, &number, sizeof(number));
    return (struct kmip_any){(uint8_t)type, bytes_of(bytes, sizeof(number))};
}

struct kmip_any value_integer(struct arena *arena, int32_t value)
{
    return value32(arena, TTLV_INTEGER, (uint32_t)value);
}

struct kmip_any value_enumeration(struct arena *arena, uint32_t value)
{
    return value32(arena, TTLV_ENUMERATION, value);
}

struct kmip_any value_boolean(struct arena *arena, bool value)
{
    return value64(arena, TTLV_BOOLEAN, value);
}

struct kmip_any value_date_time(struct arena *arena, int64_t seconds)
{
    return value64(arena, TTLV_DATE_TIME, (uint64_t)seconds);
}

struct kmip_any value_interval(struct arena *arena, uint32_t seconds)
{
    return value32(arena, TTLV_INTERVAL, seconds);
}

struct kmip_any value_text(struct bytes text)
{
    return (struct kmip_any){TTLV_TEXT_STRING, text};
}

struct kmip_any value_structure(struct arena *arena, const struct kmip_shape *shape,
                                const void *structure)
{
    struct buffer buffer;
    struct bytes copy;
    buffer_init(&buffer, STRUCTURE_MAX);
    kmip_encode(shape, structure, KMIP_VERSION_LATEST, &buffer);
    bool made =
        buffer_status(&buffer) == STATUS_OK && arena_copy(arena, buffer_bytes(&buffer), &copy);
    buffer_free(&buffer);
    return made ? (struct kmip_any){TTLV_STRUCTURE, copy} : (struct kmip_any){0};
}

int64_t value_number(const struct kmip_any *value)
{
    struct ttlv_item item = {0, (enum ttlv_type)value->type, value->value};
    switch (item.type) {
    case TTLV_INTEGER:
        return ttlv_integer(&item);
    case TTLV_ENUMERATION:
    case TTLV_INTERVAL:
        return ttlv_enumeration(&item);
    case TTLV_BOOLEAN:
        return ttlv_boolean(&item);
    case TTLV_LONG_INTEGER:
    case TTLV_DATE_TIME:
    case TTLV_DATE_TIME_EXTENDED:
        return ttlv_long_integer(&item);
    case TTLV_STRUCTURE:
    case TTLV_BIG_INTEGER:
    case TTLV_TEXT_STRING:
    case TTLV_BYTE_STRING:
        break;
    }
    return 0;
}

bool value_equal(const struct kmip_any *a, const struct kmip_any *b)
{
    return a->type == b->type && bytes_equal(a->value, b->value);
}
