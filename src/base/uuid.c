/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"

#include <openssl/rand.h>

#include "base/hex.h"

/* The bytes after which the text form has a hyphen (RFC 9562 §4). */
static const uint8_t group_sizes[] = {4, 2, 2, 2, 6};

enum status uuid_make_random(struct uuid *ret_uuid)
{
    struct uuid uuid;
    if (RAND_bytes(uuid.bytes, UUID_SIZE) != 1)
        return STATUS_CRYPTO_FAILED;
    uuid.bytes[6] = (uint8_t)(0x40 | (uuid.bytes[6] & 0x0F));
    uuid.bytes[8] = (uint8_t)(0x80 | (uuid.bytes[8] & 0x3F));
    *ret_uuid = uuid;
    return STATUS_OK;
}

enum status uuid_make(int64_t milliseconds, struct uuid *ret_uuid)
{
    struct uuid uuid;
    if (RAND_bytes(uuid.bytes + 6, UUID_SIZE - 6) != 1)
        return STATUS_CRYPTO_FAILED;
    for (int i = 0; i < 6; i++)
        uuid.bytes[i] = (uint8_t)((uint64_t)milliseconds >> (40 - 8 * i));
    uuid.bytes[6] = (uint8_t)(0x70 | (uuid.bytes[6] & 0x0F));
    uuid.bytes[8] = (uint8_t)(0x80 | (uuid.bytes[8] & 0x3F));
    *ret_uuid = uuid;
    return STATUS_OK;
}

void uuid_text(const struct uuid *uuid, char ret_text[static UUID_TEXT_LENGTH + 1])
{
    const uint8_t *at = uuid->bytes;
    char *text = ret_text;
    for (size_t i = 0; i < ARRAY_COUNT(group_sizes); i++) {
        if (i > 0)
            *text++ = '-';
        hex_encode(bytes_of(at, group_sizes[i]), text);
        text += 2 * group_sizes[i];
        at += group_sizes[i];
    }
    *text = '\0';
}

bool uuid_parse(struct bytes text, struct uuid *ret_uuid)
{
    if (text.size != UUID_TEXT_LENGTH)
        return false;
    struct uuid uuid;
    uint8_t *to = uuid.bytes;
    const uint8_t *at = text.data;
    for (size_t i = 0; i < ARRAY_COUNT(group_sizes); i++) {
        if (i > 0 && *at++ != '-')
            return false;
        if (!hex_decode(bytes_of(at, 2 * (size_t)group_sizes[i]), to, group_sizes[i]))
            return false;
        at += 2 * group_sizes[i];
        to += group_sizes[i];
    }
    *ret_uuid = uuid;
    return true;
}
