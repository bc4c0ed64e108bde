/* SPDX-License-Identifier: Apache-2.0 */
/* The TTLV reader takes any bytes; what it accepts, the writer writes back byte for byte. */
#include <string.h>

#include "fuzz.h"
#include "ttlv/ttlv.h"

static void write_value(struct buffer *buffer, const struct ttlv_item *item)
{
    switch (item->type) {
    case TTLV_INTEGER:
        ttlv_write_integer(buffer, item->tag, ttlv_integer(item));
        break;
    case TTLV_LONG_INTEGER:
        ttlv_write_long_integer(buffer, item->tag, ttlv_long_integer(item));
        break;
    case TTLV_BIG_INTEGER:
        ttlv_write_big_integer(buffer, item->tag, item->value);
        break;
    case TTLV_ENUMERATION:
        ttlv_write_enumeration(buffer, item->tag, ttlv_enumeration(item));
        break;
    case TTLV_BOOLEAN:
        ttlv_write_boolean(buffer, item->tag, ttlv_boolean(item));
        break;
    case TTLV_TEXT_STRING:
        REQUIRE(ttlv_text_valid(item->value));
        ttlv_write_text(buffer, item->tag, item->value);
        break;
    case TTLV_BYTE_STRING:
        ttlv_write_byte_string(buffer, item->tag, item->value);
        break;
    case TTLV_DATE_TIME:
        ttlv_write_date_time(buffer, item->tag, ttlv_long_integer(item));
        break;
    case TTLV_INTERVAL:
        ttlv_write_interval(buffer, item->tag, ttlv_enumeration(item));
        break;
    case TTLV_STRUCTURE:
    case TTLV_DATE_TIME_EXTENDED:
        ttlv_write_raw(buffer, item->tag, item->type, item->value);
        break;
    }
}

/* After ttlv_check() nothing inside can fail. */
static void copy(struct ttlv_reader reader, struct buffer *buffer)
{
    while (!ttlv_at_end(&reader)) {
        struct ttlv_item item;
        uint32_t tag = ttlv_peek_tag(&reader);
        REQUIRE(ttlv_next(&reader, &item) == STATUS_OK);
        REQUIRE(item.tag == tag);
        if (item.type != TTLV_STRUCTURE) {
            write_value(buffer, &item);
            continue;
        }
        size_t mark = ttlv_begin(buffer, item.tag);
        copy(ttlv_enter(&item), buffer);
        ttlv_end(buffer, mark);
    }
}

/* The frame's size is that of its only item. */
static void check_frame(struct bytes input)
{
    size_t size;
    struct ttlv_item item;
    struct ttlv_reader reader = ttlv_reader_over(input);
    if (input.size < TTLV_HEADER_SIZE ||
        ttlv_frame_size(input.data, input.size, &size) != STATUS_OK)
        return;
    REQUIRE(size >= TTLV_HEADER_SIZE && size <= input.size);
    if (ttlv_next(&reader, &item) == STATUS_OK)
        REQUIRE(item.type == TTLV_STRUCTURE && reader.at == input.data + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    struct ttlv_reader reader = ttlv_reader_over(input);
    struct ttlv_item item;
    check_frame(input);
    (void)ttlv_text_valid(input);
    while (!ttlv_at_end(&reader) && ttlv_next(&reader, &item) == STATUS_OK)
        REQUIRE(item.value.data + item.value.size <= data + size);
    if (ttlv_check(input) != STATUS_OK)
        return 0;
    REQUIRE(ttlv_at_end(&reader));
    struct buffer buffer;
    buffer_init(&buffer, size + 1);
    copy(ttlv_reader_over(input), &buffer);
    REQUIRE(buffer_status(&buffer) == STATUS_OK);
    REQUIRE(buffer.size == size && (size == 0 || memcmp(buffer.data, data, size) == 0));
    buffer_free(&buffer);
    return 0;
}
