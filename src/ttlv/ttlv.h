/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TTLV, the encoding of KMIP (KMIP 1.4 §9.1; unchanged in 2.x): Tag (3 bytes), Type (1), Length
 * (4), Value padded to 8 bytes, big-endian. This layer knows no tag. It never allocates: the
 * reader borrows the frame, the writer appends to a bounded buffer.
 */
#ifndef KMIPD_TTLV_TTLV_H
#define KMIPD_TTLV_TTLV_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/status.h"

#define TTLV_HEADER_SIZE 8
#define TTLV_DEPTH_MAX   32 /* nesting that ttlv_check() accepts; KMIP itself needs under 16 */

/* Item types (KMIP 2.1 §10.1.2 "Item Type"; 0x0B is new in 2.0). */
enum ttlv_type {
    TTLV_STRUCTURE = 0x01,
    TTLV_INTEGER = 0x02,
    TTLV_LONG_INTEGER = 0x03,
    TTLV_BIG_INTEGER = 0x04,
    TTLV_ENUMERATION = 0x05,
    TTLV_BOOLEAN = 0x06,
    TTLV_TEXT_STRING = 0x07,
    TTLV_BYTE_STRING = 0x08,
    TTLV_DATE_TIME = 0x09,
    TTLV_INTERVAL = 0x0A,
    TTLV_DATE_TIME_EXTENDED = 0x0B,
};

/* One item. `value` borrows the bytes between header and padding from what was read. */
struct ttlv_item {
    uint32_t tag; /* 0x420000-0x42FFFF or 0x540000-0x54FFFF */
    enum ttlv_type type;
    struct bytes value;
};

/* A cursor over the items of one structure (or of a whole message). Freely copied. */
struct ttlv_reader {
    const uint8_t *at;
    const uint8_t *end;
};

/* A cursor over `bytes`, which must outlive it and everything read through it. */
struct ttlv_reader ttlv_reader_over(struct bytes bytes);

static inline bool ttlv_at_end(const struct ttlv_reader *reader)
{
    return reader->at == reader->end;
}

/*
 * Reads the next item and moves behind it, padding included. STATUS_MALFORMED, and the cursor
 * stays, when: header or value or padding reach beyond the end; the tag's first byte is neither
 * 0x42 nor 0x54; the type is unknown; the length does not fit the type (Integer 4, Long 8, ...,
 * Big Integer a multiple of 8 and not 0, Structure a multiple of 8); padding is not zero; a
 * Boolean is neither 0 nor 1 (§9.1.1). Text is not checked for UTF-8 here: see ttlv_text_valid().
 */
enum status ttlv_next(struct ttlv_reader *reader, struct ttlv_item *ret_item) MUST_USE;

/* The tag of the next item, 0 at the end or when fewer than eight bytes are left. */
uint32_t ttlv_peek_tag(const struct ttlv_reader *reader);

/* A cursor over the items inside a Structure. The item's type must be TTLV_STRUCTURE. */
static inline struct ttlv_reader ttlv_enter(const struct ttlv_item *item)
{
    return ttlv_reader_over(item->value);
}

/*
 * Values. The item must have the type named (a caller checks item->type first); ttlv_next() has
 * checked the length.
 */
int32_t ttlv_integer(const struct ttlv_item *item);
int64_t ttlv_long_integer(const struct ttlv_item *item); /* also Date Time: seconds since 1970 */
uint32_t ttlv_enumeration(const struct ttlv_item *item); /* also Interval: seconds */
bool ttlv_boolean(const struct ttlv_item *item);

/* Text String values must be UTF-8 (KMIP 1.4 §9.1.1.4): true for well-formed UTF-8 without NUL. */
bool ttlv_text_valid(struct bytes text);

/*
 * Checks that `bytes` hold exactly well-formed items, nested at most TTLV_DEPTH_MAX deep, text
 * valid. After STATUS_OK no ttlv_next() inside can fail. STATUS_MALFORMED otherwise.
 */
enum status ttlv_check(struct bytes bytes) MUST_USE;

/*
 * The total size of the message that begins with these eight bytes, header included: a Structure
 * whose tag begins with 0x42. STATUS_MALFORMED if it is no such header; STATUS_TOO_LARGE if the
 * size is above `maximum`.
 */
enum status ttlv_frame_size(const uint8_t header[static TTLV_HEADER_SIZE], size_t maximum,
                            size_t *ret_size) MUST_USE;

/*
 * Writing. Each call appends one item. A failed buffer stays failed (see base/buffer.h): check
 * buffer_status() once at the end.
 */
void ttlv_write_integer(struct buffer *buffer, uint32_t tag, int32_t value);
void ttlv_write_long_integer(struct buffer *buffer, uint32_t tag, int64_t value);
void ttlv_write_big_integer(struct buffer *buffer, uint32_t tag, struct bytes value);
void ttlv_write_enumeration(struct buffer *buffer, uint32_t tag, uint32_t value);
void ttlv_write_boolean(struct buffer *buffer, uint32_t tag, bool value);
void ttlv_write_text(struct buffer *buffer, uint32_t tag, struct bytes value);
void ttlv_write_byte_string(struct buffer *buffer, uint32_t tag, struct bytes value);
void ttlv_write_date_time(struct buffer *buffer, uint32_t tag, int64_t seconds);
void ttlv_write_interval(struct buffer *buffer, uint32_t tag, uint32_t seconds);
/* Any type by its value bytes as they stand on the wire, padding added. */
void ttlv_write_raw(struct buffer *buffer, uint32_t tag, enum ttlv_type type, struct bytes value);

/*
 * Opens a Structure and returns the mark to close it with. ttlv_end() writes the length: everything
 * appended since. Structures close in the reverse order of opening.
 */
size_t ttlv_begin(struct buffer *buffer, uint32_t tag);
void ttlv_end(struct buffer *buffer, size_t mark);

#endif
