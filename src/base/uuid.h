/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs (RFC 9562). Identifiers of managed objects are version 7: they ascend with time, so that
 * the store appends instead of inserting at random, and no identifier is ever used twice. */
#ifndef KMIPD_BASE_UUID_H
#define KMIPD_BASE_UUID_H

#include "base/bytes.h"
#include "base/status.h"

#define UUID_SIZE        16
#define UUID_TEXT_LENGTH 36

struct uuid {
    uint8_t bytes[UUID_SIZE];
};

/* A new version 7 UUID for a time in milliseconds since 1970. STATUS_CRYPTO_FAILED without
 * randomness. Any thread. */
enum status uuid_make(int64_t milliseconds, struct uuid *ret_uuid) MUST_USE;

/* A new version 4 UUID: random, and telling nothing. As uuid_make(). */
enum status uuid_make_random(struct uuid *ret_uuid) MUST_USE;

/* The 36 lower-case characters of RFC 9562 §4 and a NUL. */
void uuid_text(const struct uuid *uuid, char ret_text[static UUID_TEXT_LENGTH + 1]);

/* Parses exactly the form that uuid_text() writes (either case). False for anything else. */
bool uuid_parse(struct bytes text, struct uuid *ret_uuid) MUST_USE;

static inline bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, UUID_SIZE) == 0;
}

static inline struct bytes uuid_bytes(const struct uuid *uuid)
{
    return (struct bytes){uuid->bytes, UUID_SIZE};
}

#endif
