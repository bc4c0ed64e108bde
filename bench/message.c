/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include <stdlib.h>
#include <string.h>

enum {
    TYPE_STRUCTURE = 1,
    TYPE_INTEGER = 2,
    TYPE_ENUMERATION = 5,
    TYPE_TEXT = 7,
    TYPE_BYTES = 8,
};

enum {
    TAG_ATTRIBUTE = 0x420008,
    TAG_ATTRIBUTE_NAME = 0x42000a,
    TAG_ATTRIBUTE_VALUE = 0x42000b,
    TAG_BATCH_COUNT = 0x42000d,
    TAG_BATCH_ITEM = 0x42000f,
    TAG_KEY_MATERIAL = 0x420043,
    TAG_OBJECT_TYPE = 0x420057,
    TAG_OPERATION = 0x42005c,
    TAG_PROTOCOL_VERSION = 0x420069,
    TAG_VERSION_MAJOR = 0x42006a,
    TAG_VERSION_MINOR = 0x42006b,
    TAG_REQUEST_HEADER = 0x420077,
    TAG_REQUEST_MESSAGE = 0x420078,
    TAG_REQUEST_PAYLOAD = 0x420079,
    TAG_RESPONSE_HEADER = 0x42007a,
    TAG_RESPONSE_MESSAGE = 0x42007b,
    TAG_RESPONSE_PAYLOAD = 0x42007c,
    TAG_RESULT_STATUS = 0x42007f,
    TAG_TEMPLATE_ATTRIBUTE = 0x420091,
    TAG_UNIQUE_BATCH_ITEM_ID = 0x420093,
};

static const uint8_t batch_item_id[8] = {'B', 'E', 'N', 'C', 0, 0, 0, 1};

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_u32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

static size_t padded(size_t length)
{
    return (length + 7) & ~(size_t)7;
}

size_t message_length(const uint8_t *header)
{
    return MESSAGE_HEADER_SIZE + (size_t)get_u32(header + 4);
}

/* A cursor over a buffer that the callers in this file size beforehand. */
struct writer {
    uint8_t *bytes;
    size_t length;
};

static void put_header(struct writer *w, uint32_t tag, uint8_t type, size_t length)
{
    put_u32(w->bytes + w->length, tag << 8 | type);
    put_u32(w->bytes + w->length + 4, (uint32_t)length);
    w->length += MESSAGE_HEADER_SIZE;
}

static size_t begin(struct writer *w, uint32_t tag)
{
    size_t start = w->length;

    put_header(w, tag, TYPE_STRUCTURE, 0);
    return start;
}

static void end(struct writer *w, size_t start)
{
    put_u32(w->bytes + start + 4, (uint32_t)(w->length - start - MESSAGE_HEADER_SIZE));
}

static void put_number(struct writer *w, uint32_t tag, uint8_t type, uint32_t value)
{
    put_header(w, tag, type, 4);
    put_u32(w->bytes + w->length, value);
    put_u32(w->bytes + w->length + 4, 0);
    w->length += 8;
}

static void put_string(struct writer *w, uint32_t tag, uint8_t type, const void *value,
                       size_t length)
{
    put_header(w, tag, type, length);
    memset(w->bytes + w->length, 0, padded(length));
    if (value != NULL)
        memcpy(w->bytes + w->length, value, length);
    w->length += padded(length);
}

static void put_version(struct writer *w)
{
    size_t version = begin(w, TAG_PROTOCOL_VERSION);

    put_number(w, TAG_VERSION_MAJOR, TYPE_INTEGER, 1);
    put_number(w, TAG_VERSION_MINOR, TYPE_INTEGER, 1);
    end(w, version);
}

static void put_message_header(struct writer *w, uint32_t tag)
{
    size_t header = begin(w, tag);

    put_version(w);
    put_number(w, TAG_BATCH_COUNT, TYPE_INTEGER, 1);
    end(w, header);
}

static void put_attribute(struct writer *w, const char *name, uint8_t type, uint32_t value)
{
    size_t attribute = begin(w, TAG_ATTRIBUTE);

    put_string(w, TAG_ATTRIBUTE_NAME, TYPE_TEXT, name, strlen(name));
    put_number(w, TAG_ATTRIBUTE_VALUE, type, value);
    end(w, attribute);
}

/* What vCenter sends: AES, Encrypt | Decrypt, 256 bits, no name. */
static void put_create_payload(struct writer *w)
{
    size_t attributes;

    put_number(w, TAG_OBJECT_TYPE, TYPE_ENUMERATION, 2);
    attributes = begin(w, TAG_TEMPLATE_ATTRIBUTE);
    put_attribute(w, "Cryptographic Algorithm", TYPE_ENUMERATION, 3);
    put_attribute(w, "Cryptographic Usage Mask", TYPE_INTEGER, 12);
    put_attribute(w, "Cryptographic Length", TYPE_INTEGER, 256);
    end(w, attributes);
}

static void put_payload(struct writer *w, struct message_request *request,
                        enum message_operation operation, size_t id_length)
{
    size_t payload = begin(w, TAG_REQUEST_PAYLOAD);

    if (operation == MESSAGE_CREATE)
        put_create_payload(w);
    if (operation == MESSAGE_GET) {
        request->id_offset = w->length + MESSAGE_HEADER_SIZE;
        put_string(w, MESSAGE_TAG_UNIQUE_IDENTIFIER, TYPE_TEXT, NULL, id_length);
    }
    end(w, payload);
}

void message_request(struct message_request *ret_request, enum message_operation operation,
                     size_t id_length)
{
    struct writer w = {.bytes = ret_request->bytes, .length = 0};
    size_t message = begin(&w, TAG_REQUEST_MESSAGE);
    size_t item;

    ret_request->id_offset = 0;
    put_message_header(&w, TAG_REQUEST_HEADER);
    item = begin(&w, TAG_BATCH_ITEM);
    put_number(&w, TAG_OPERATION, TYPE_ENUMERATION, operation);
    put_string(&w, TAG_UNIQUE_BATCH_ITEM_ID, TYPE_BYTES, batch_item_id, sizeof batch_item_id);
    put_payload(&w, ret_request, operation, id_length);
    end(&w, item);
    end(&w, message);
    ret_request->length = w.length;
}

/* The answer without its filling, which is a byte string of `filling` bytes. */
static size_t put_answer(uint8_t *out, size_t filling)
{
    struct writer w = {.bytes = out, .length = 0};
    size_t message = begin(&w, TAG_RESPONSE_MESSAGE);
    size_t item;
    size_t payload;

    put_message_header(&w, TAG_RESPONSE_HEADER);
    item = begin(&w, TAG_BATCH_ITEM);
    put_number(&w, TAG_RESULT_STATUS, TYPE_ENUMERATION, 0);
    payload = begin(&w, TAG_RESPONSE_PAYLOAD);
    put_string(&w, TAG_KEY_MATERIAL, TYPE_BYTES, NULL, filling);
    end(&w, payload);
    end(&w, item);
    end(&w, message);
    return w.length;
}

size_t message_answer_min(void)
{
    uint8_t scratch[MESSAGE_REQUEST_MAX];

    return put_answer(scratch, 0);
}

bool message_answer(uint8_t *out, size_t size)
{
    size_t least = message_answer_min();

    if (size < least || size > MESSAGE_SIZE_MAX || size % 8 != 0)
        return false;
    put_answer(out, size - least);
    return true;
}

/* Steps to the next item of a list that ends at `end`; false if the item at `at` is not whole. */
static bool item_fits(const uint8_t *frame, size_t at, size_t limit)
{
    return limit - at >= MESSAGE_HEADER_SIZE &&
           padded(get_u32(frame + at + 4)) <= limit - at - MESSAGE_HEADER_SIZE;
}

static uint32_t item_tag(const uint8_t *frame, size_t at)
{
    return get_u32(frame + at) >> 8;
}

/* Finds `tag` among the items from `at` on, without looking into them. */
static bool find_sibling(const uint8_t *frame, size_t at, size_t limit, uint32_t tag,
                         size_t *ret_at)
{
    for (; at < limit && item_fits(frame, at, limit);
         at += MESSAGE_HEADER_SIZE + padded(get_u32(frame + at + 4))) {
        if (item_tag(frame, at) == tag) {
            *ret_at = at;
            return true;
        }
    }
    return false;
}

bool message_succeeded(const uint8_t *frame, size_t length)
{
    size_t item;
    size_t status;

    if (!item_fits(frame, 0, length) || item_tag(frame, 0) != TAG_RESPONSE_MESSAGE)
        return false;
    if (!find_sibling(frame, MESSAGE_HEADER_SIZE, length, TAG_BATCH_ITEM, &item))
        return false;
    if (!find_sibling(frame, item + MESSAGE_HEADER_SIZE, item + message_length(frame + item),
                      TAG_RESULT_STATUS, &status))
        return false;
    return get_u32(frame + status + 4) == 4 && get_u32(frame + status + MESSAGE_HEADER_SIZE) == 0;
}

bool message_find(const uint8_t *frame, size_t length, uint32_t tag, const uint8_t **ret_value,
                  size_t *ret_length)
{
    size_t at = 0;

    while (at < length && item_fits(frame, at, length)) {
        size_t value_length = get_u32(frame + at + 4);

        if (item_tag(frame, at) == tag) {
            *ret_value = frame + at + MESSAGE_HEADER_SIZE;
            *ret_length = value_length;
            return true;
        }
        /* Structures are entered: the walk is over the whole tree, in the order of its bytes. */
        at += MESSAGE_HEADER_SIZE + (frame[at + 3] == TYPE_STRUCTURE ? 0 : padded(value_length));
    }
    return false;
}

size_t message_carry_take(struct message_carry *carry, uint8_t *buffer)
{
    size_t length = carry->length;

    if (carry->bytes == NULL)
        return 0;
    memcpy(buffer, carry->bytes, length);
    message_carry_free(carry);
    return length;
}

bool message_carry_keep(struct message_carry *carry, const uint8_t *rest, size_t length)
{
    carry->bytes = malloc(length);
    if (carry->bytes == NULL)
        return false;
    memcpy(carry->bytes, rest, length);
    carry->length = length;
    return true;
}

void message_carry_free(struct message_carry *carry)
{
    free(carry->bytes);
    *carry = (struct message_carry){0};
}
