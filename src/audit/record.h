/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing one audit record as a line of JSON. No JSON library stands on this path: it is on the
 * way of every reply. See line.h for reading.
 */
#ifndef KMIPD_AUDIT_RECORD_H
#define KMIPD_AUDIT_RECORD_H

#include "audit/audit.h"

/* Text of an entry beyond this is cut, and ends in U+2026 then. */
#define RECORD_TEXT_MAX 1024
/* No line is longer, newline included. */
#define RECORD_SIZE_MAX 65536

#define RECORD_CHAIN_MEMBER    ",\"chain\":\""
#define RECORD_PREVIOUS_MEMBER ",\"previous\":\""
#define RECORD_DIGITS          (2 * AUDIT_HASH_SIZE)
/* `,"chain":"<64 digits>"}` and a newline: what follows the bytes that are hashed. */
#define RECORD_SUFFIX_SIZE   (sizeof(RECORD_CHAIN_MEMBER) - 1 + RECORD_DIGITS + 3)
#define RECORD_PREVIOUS_SIZE (sizeof(RECORD_PREVIOUS_MEMBER) - 1 + RECORD_DIGITS + 1)

/* The text of a second, kept from one record to the next. Zeroed at first. */
struct record_clock {
    bool set;
    int64_t second;
    char text[32];
};

/*
 * Writes the record at `to`, which has room for RECORD_SIZE_MAX bytes, and returns its size. It
 * ends in the suffix with zeros for the chain value, and a newline. `note` (may be empty) is added
 * to the detail. Control characters (U+0000-001F, U+007F-009F) are escaped, and every byte that
 * is not UTF-8 becomes U+FFFD. A time before 1970 or after 9999 is written as the nearest one.
 */
size_t record_write(struct record_clock *clock, const struct audit_entry *entry, uint64_t sequence,
                    const char *note, uint8_t *to);

#endif
