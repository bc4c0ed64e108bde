/* SPDX-License-Identifier: Apache-2.0 */
#include "ttlv/ttlv.h"

#include <endian.h>

static void store32(uint8_t *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, sizeof(value));
}

static void store64(uint8_t *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof(value));
}

static void write_header(uint8_t *at, uint32_t tag, enum ttlv_type type, size_t length)
{
    store32(at, tag << 8 | type);
    store32(at + 4, (uint32_t)length);
}

/* Header and room for `length` value bytes, padding already zero. NULL when it does not fit. */
static uint8_t *add(struct buffer *buffer, uint32_t tag, enum ttlv_type type, size_t length)
{
    if (length > UINT32_MAX - 7) {
        buffer->status = STATUS_TOO_LARGE;
        return NULL;
    }
    size_t padded = (length + 7) & ~(size_t)7;
    uint8_t *at = buffer_reserve(buffer, TTLV_HEADER_SIZE + padded);
    if (at == NULL)
        return NULL;
    write_header(at, tag, type, length);
    if (padded > 0)
        memset(at + TTLV_HEADER_SIZE + padded - 8, 0, 8);
    return at + TTLV_HEADER_SIZE;
}

static void write32(struct buffer *buffer, uint32_t tag, enum ttlv_type type, uint32_t value)
{
    uint8_t *at = add(buffer, tag, type, 4);
    if (at != NULL)
        store32(at, value);
}

static void write64(struct buffer *buffer, uint32_t tag, enum ttlv_type type, uint64_t value)
{
    uint8_t *at = add(buffer, tag, type, 8);
    if (at != NULL)
        store64(at, value);
}

void ttlv_write_raw(struct buffer *buffer, uint32_t tag, enum ttlv_type type, struct bytes value)
{
    uint8_t *at = add(buffer, tag, type, value.size);
    if (at != NULL && value.size > 0)
        memcpy(at, value.data, value.size);
}

void ttlv_write_integer(struct buffer *buffer, uint32_t tag, int32_t value)
{
    write32(buffer, tag, TTLV_INTEGER, (uint32_t)value);
}

void ttlv_write_long_integer(struct buffer *buffer, uint32_t tag, int64_t value)
{
    write64(buffer, tag, TTLV_LONG_INTEGER, (uint64_t)value);
}

void ttlv_write_big_integer(struct buffer *buffer, uint32_t tag, struct bytes value)
{
    ttlv_write_raw(buffer, tag, TTLV_BIG_INTEGER, value);
}

void ttlv_write_enumeration(struct buffer *buffer, uint32_t tag, uint32_t value)
{
    write32(buffer, tag, TTLV_ENUMERATION, value);
}

void ttlv_write_boolean(struct buffer *buffer, uint32_t tag, bool value)
{
    write64(buffer, tag, TTLV_BOOLEAN, value ? 1 : 0);
}

void ttlv_write_text(struct buffer *buffer, uint32_t tag, struct bytes value)
{
    ttlv_write_raw(buffer, tag, TTLV_TEXT_STRING, value);
}

void ttlv_write_byte_string(struct buffer *buffer, uint32_t tag, struct bytes value)
{
    ttlv_write_raw(buffer, tag, TTLV_BYTE_STRING, value);
}

void ttlv_write_date_time(struct buffer *buffer, uint32_t tag, int64_t seconds)
{
    write64(buffer, tag, TTLV_DATE_TIME, (uint64_t)seconds);
}

void ttlv_write_interval(struct buffer *buffer, uint32_t tag, uint32_t seconds)
{
    write32(buffer, tag, TTLV_INTERVAL, seconds);
}

size_t ttlv_begin(struct buffer *buffer, uint32_t tag)
{
    size_t mark = buffer->size;
    (void)add(buffer, tag, TTLV_STRUCTURE, 0);
    return mark;
}

void ttlv_end(struct buffer *buffer, size_t mark)
{
    if (buffer->status != STATUS_OK)
        return;
    store32(buffer->data + mark + 4, (uint32_t)(buffer->size - mark - TTLV_HEADER_SIZE));
}
