/* SPDX-License-Identifier: Apache-2.0 */
#include "ttlv/ttlv.h"

#include <endian.h>

#include "base/utf8.h"

static uint32_t load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return be32toh(value);
}

static uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return be64toh(value);
}

struct ttlv_reader ttlv_reader_over(struct bytes bytes)
{
    /* Arithmetic on NULL is undefined, even with 0. */
    return (struct ttlv_reader){bytes.data, bytes.size == 0 ? bytes.data : bytes.data + bytes.size};
}

static uint32_t tag_of(const uint8_t *header)
{
    return load32(header) >> 8;
}

uint32_t ttlv_peek_tag(const struct ttlv_reader *reader)
{
    return reader->end - reader->at < TTLV_HEADER_SIZE ? 0 : tag_of(reader->at);
}

/* What lengths each type may have (KMIP 1.4 §9.1.1.3): exact, or a multiple. */
static const struct {
    uint8_t exact;
    uint8_t multiple;
    bool empty_allowed;
} length_rules[] = {
    [TTLV_STRUCTURE] = {0, 8, true},     [TTLV_INTEGER] = {4, 0, false},
    [TTLV_LONG_INTEGER] = {8, 0, false}, [TTLV_BIG_INTEGER] = {0, 8, false},
    [TTLV_ENUMERATION] = {4, 0, false},  [TTLV_BOOLEAN] = {8, 0, false},
    [TTLV_TEXT_STRING] = {0, 1, true},   [TTLV_BYTE_STRING] = {0, 1, true},
    [TTLV_DATE_TIME] = {8, 0, false},    [TTLV_INTERVAL] = {4, 0, false},
    [TTLV_DATE_TIME_EXTENDED] = {8, 0, false},
};

static bool length_fits(uint8_t type, uint32_t length)
{
    if (type < TTLV_STRUCTURE || type > TTLV_DATE_TIME_EXTENDED)
        return false;
    if (length_rules[type].exact != 0)
        return length == length_rules[type].exact;
    if (length == 0)
        return length_rules[type].empty_allowed;
    return length % length_rules[type].multiple == 0;
}

static bool is_zero(const uint8_t *at, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++)
        any |= at[i];
    return any == 0;
}

static bool tag_fits(const uint8_t *header)
{
    return header[0] == 0x42 || header[0] == 0x54;
}

enum status ttlv_next(struct ttlv_reader *reader, struct ttlv_item *ret_item)
{
    size_t left = (size_t)(reader->end - reader->at);
    if (left < TTLV_HEADER_SIZE || !tag_fits(reader->at))
        return STATUS_MALFORMED;
    uint8_t type = reader->at[3];
    uint32_t length = load32(reader->at + 4);
    /* 64-bit arithmetic: a length of 0xFFFFFFFF with its padding must not wrap. */
    uint64_t padded = ((uint64_t)length + 7) & ~UINT64_C(7);
    if (!length_fits(type, length) || padded > left - TTLV_HEADER_SIZE)
        return STATUS_MALFORMED;
    const uint8_t *value = reader->at + TTLV_HEADER_SIZE;
    if (!is_zero(value + length, (size_t)(padded - length)))
        return STATUS_MALFORMED;
    if (type == TTLV_BOOLEAN && load64(value) > 1)
        return STATUS_MALFORMED;
    *ret_item = (struct ttlv_item){tag_of(reader->at), (enum ttlv_type)type, {value, length}};
    reader->at = value + padded;
    return STATUS_OK;
}

int32_t ttlv_integer(const struct ttlv_item *item)
{
    return (int32_t)load32(item->value.data);
}

int64_t ttlv_long_integer(const struct ttlv_item *item)
{
    return (int64_t)load64(item->value.data);
}

uint32_t ttlv_enumeration(const struct ttlv_item *item)
{
    return load32(item->value.data);
}

bool ttlv_boolean(const struct ttlv_item *item)
{
    return load64(item->value.data) == 1;
}

bool ttlv_text_valid(struct bytes text)
{
    for (size_t i = 0; i < text.size;) {
        uint32_t code;
        size_t size = utf8_character(bytes_of(text.data + i, text.size - i), &code);
        if (size == 0 || code == 0)
            return false;
        i += size;
    }
    return true;
}

enum status ttlv_check(struct bytes bytes)
{
    struct ttlv_reader levels[TTLV_DEPTH_MAX];
    int depth = 0;
    levels[0] = ttlv_reader_over(bytes);
    for (;;) {
        while (ttlv_at_end(&levels[depth]))
            if (depth-- == 0)
                return STATUS_OK;
        struct ttlv_item item;
        if (ttlv_next(&levels[depth], &item) != STATUS_OK)
            return STATUS_MALFORMED;
        if (item.type == TTLV_TEXT_STRING && !ttlv_text_valid(item.value))
            return STATUS_MALFORMED;
        if (item.type != TTLV_STRUCTURE || item.value.size == 0)
            continue;
        if (++depth == TTLV_DEPTH_MAX)
            return STATUS_MALFORMED;
        levels[depth] = ttlv_enter(&item);
    }
}

enum status ttlv_frame_size(const uint8_t header[static TTLV_HEADER_SIZE], size_t maximum,
                            size_t *ret_size)
{
    uint32_t length = load32(header + 4);
    if (header[0] != 0x42 || header[3] != TTLV_STRUCTURE || length % 8 != 0)
        return STATUS_MALFORMED;
    if (maximum < TTLV_HEADER_SIZE || length > maximum - TTLV_HEADER_SIZE)
        return STATUS_TOO_LARGE;
    *ret_size = TTLV_HEADER_SIZE + (size_t)length;
    return STATUS_OK;
}
