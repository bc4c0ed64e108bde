/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutations of TTLV that keep it TTLV: random bytes seldom get past the first length. The input is
 * read leniently, one item is changed, and all is written again with lengths that fit. Half of the
 * mutations are left to those that know nothing, so that what is not TTLV is tried as well.
 */
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "ttlv/ttlv.h"

#define DEPTH_MAX 40

enum change {
    CHANGE_DROP,
    CHANGE_REPEAT,
    CHANGE_VALUE,
    CHANGE_TYPE,
    CHANGE_TAG,        /* takes another item's tag */
    CHANGE_TRANSPLANT, /* becomes another item */
    CHANGE_INSERT,     /* another item before it */
    CHANGE_NEST,       /* inside itself */
    CHANGE_COUNT
};

struct mutation {
    uint64_t random;
    enum change change;
    size_t target;        /* the item to change, counted in the order of the input */
    size_t at;            /* items passed */
    struct bytes other;   /* another item, header included */
    struct buffer output; /* its status tells when it is too large */
};

static size_t random_below(struct mutation *mutation, size_t limit)
{
    mutation->random ^= mutation->random << 13;
    mutation->random ^= mutation->random >> 7;
    mutation->random ^= mutation->random << 17;
    return limit == 0 ? 0 : (size_t)(mutation->random % limit);
}

/* As ttlv_next(), but takes whatever has a header and as many bytes. */
static bool next_item(struct ttlv_reader *reader, struct ttlv_item *item, struct bytes *whole)
{
    size_t left = (size_t)(reader->end - reader->at);
    if (left < TTLV_HEADER_SIZE)
        return false;
    const uint8_t *at = reader->at;
    size_t length = (size_t)at[4] << 24 | (size_t)at[5] << 16 | (size_t)at[6] << 8 | at[7];
    size_t padded = (length + 7) / 8 * 8;
    if (padded > left - TTLV_HEADER_SIZE)
        return false;
    item->tag = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
    item->type = (enum ttlv_type)at[3];
    item->value = bytes_of(at + TTLV_HEADER_SIZE, length);
    *whole = bytes_of(at, TTLV_HEADER_SIZE + padded);
    reader->at += whole->size;
    return true;
}

/* Counts the items, and keeps the one with the number `wanted` in *found. */
static size_t count_items(struct bytes bytes, int depth, size_t before, size_t wanted,
                          struct bytes *found)
{
    struct ttlv_reader reader = ttlv_reader_over(bytes);
    struct ttlv_item item;
    struct bytes whole;
    size_t count = before;
    while (next_item(&reader, &item, &whole)) {
        if (count++ == wanted)
            *found = whole;
        if (item.type == TTLV_STRUCTURE && depth < DEPTH_MAX)
            count = count_items(item.value, depth + 1, count, wanted, found);
    }
    return count;
}

/* The ends of what a number can be, and what stands beside them. */
static void write_extreme(struct mutation *mutation, const struct ttlv_item *item, uint8_t *value,
                          size_t size)
{
    static const uint8_t first[] = {0x00, 0x7F, 0x80, 0xFF};
    static const uint8_t rest[] = {0x00, 0xFF};
    memset(value, rest[random_below(mutation, sizeof(rest))], size);
    value[0] = first[random_below(mutation, sizeof(first))];
    value[size - 1] = (uint8_t)(value[size - 1] + random_below(mutation, 3) - 1);
    ttlv_write_raw(&mutation->output, item->tag, item->type, bytes_of(value, size));
}

static void write_changed_value(struct mutation *mutation, const struct ttlv_item *item)
{
    static const uint8_t bytes[] = {0x00, 0x01, 0x02, 0x7F, 0x80, 0xFF, '-', 'x'};
    uint8_t value[512];
    size_t size = item->value.size < sizeof(value) ? item->value.size : sizeof(value);
    memcpy(value, item->value.data, size);
    if (size > 0 && random_below(mutation, 3) == 0) {
        write_extreme(mutation, item, value, size);
        return;
    }
    bool variable = item->type == TTLV_TEXT_STRING || item->type == TTLV_BYTE_STRING;
    if (variable && random_below(mutation, 3) == 0)
        size = random_below(mutation, size + 1);
    else if (size > 0 && random_below(mutation, 3) == 0)
        memset(value, bytes[random_below(mutation, sizeof(bytes))], size);
    else if (size > 0)
        value[random_below(mutation, 2) == 0 ? size - 1 : random_below(mutation, size)] =
            (uint8_t)random_below(mutation, 256);
    ttlv_write_raw(&mutation->output, item->tag, item->type, bytes_of(value, size));
}

static void write_nested(struct mutation *mutation, uint32_t tag, struct bytes whole)
{
    size_t marks[DEPTH_MAX];
    size_t depth = 1 + random_below(mutation, DEPTH_MAX - 1);
    for (size_t i = 0; i < depth; i++)
        marks[i] = ttlv_begin(&mutation->output, tag);
    buffer_append_bytes(&mutation->output, whole);
    while (depth > 0)
        ttlv_end(&mutation->output, marks[--depth]);
}

static void write_change(struct mutation *mutation, struct ttlv_item item, struct bytes whole)
{
    struct buffer *output = &mutation->output;
    switch (mutation->change) {
    case CHANGE_DROP:
        break;
    case CHANGE_REPEAT:
        buffer_append_bytes(output, whole);
        buffer_append_bytes(output, whole);
        break;
    case CHANGE_VALUE:
        write_changed_value(mutation, &item);
        break;
    case CHANGE_TYPE:
        item.type = (enum ttlv_type)random_below(mutation, TTLV_DATE_TIME_EXTENDED + 2);
        ttlv_write_raw(output, item.tag, item.type, item.value);
        break;
    case CHANGE_TAG:
        memcpy(&item.tag, mutation->other.data, 3);
        item.tag = __builtin_bswap32(item.tag) >> 8;
        ttlv_write_raw(output, item.tag, item.type, item.value);
        break;
    case CHANGE_TRANSPLANT:
    case CHANGE_INSERT:
        buffer_append_bytes(output, mutation->other);
        if (mutation->change == CHANGE_INSERT)
            buffer_append_bytes(output, whole);
        break;
    case CHANGE_NEST:
    case CHANGE_COUNT:
        write_nested(mutation, item.tag, whole);
        break;
    }
}

static void rewrite(struct mutation *mutation, struct bytes bytes, int depth)
{
    struct ttlv_reader reader = ttlv_reader_over(bytes);
    struct ttlv_item item;
    struct bytes whole;
    while (next_item(&reader, &item, &whole)) {
        if (mutation->at++ == mutation->target) {
            write_change(mutation, item, whole);
            if (item.type == TTLV_STRUCTURE)
                mutation->at = SIZE_MAX / 2; /* what is inside has been written */
        } else if (item.type == TTLV_STRUCTURE && depth < DEPTH_MAX) {
            size_t mark = ttlv_begin(&mutation->output, item.tag);
            rewrite(mutation, item.value, depth + 1);
            ttlv_end(&mutation->output, mark);
        } else {
            buffer_append_bytes(&mutation->output, whole);
        }
    }
    buffer_append(&mutation->output, reader.at, (size_t)(reader.end - reader.at));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maximum, unsigned seed)
{
    struct mutation mutation = {.random = ((uint64_t)seed + 1) * 0x9E3779B97F4A7C15};
    struct bytes input = bytes_of(data, size);
    size_t count = count_items(input, 0, 0, SIZE_MAX, &mutation.other);
    if (count == 0 || random_below(&mutation, 2) == 0)
        return LLVMFuzzerMutate(data, size, maximum);
    (void)count_items(input, 0, 0, random_below(&mutation, count), &mutation.other);
    mutation.target = random_below(&mutation, count);
    mutation.change = (enum change)random_below(&mutation, CHANGE_COUNT);
    buffer_init(&mutation.output, maximum);
    rewrite(&mutation, input, 0);
    size_t written = size;
    if (buffer_status(&mutation.output) == STATUS_OK) {
        written = mutation.output.size;
        if (written > 0)
            memcpy(data, mutation.output.data, written);
    }
    buffer_free(&mutation.output);
    return written;
}
