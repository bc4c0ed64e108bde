/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One codec for all KMIP structures: a shape is a table of a structure's fields in the order of
 * the standard, and the same table reads and writes it. Structures in memory are plain structs of
 * the four member types below; nothing is copied on reading (text and bytes borrow the message),
 * nested structures and repeated fields are in the arena.
 */
#ifndef KMIPD_KMIP_CODEC_H
#define KMIPD_KMIP_CODEC_H

#include "base/arena.h"
#include "base/buffer.h"
#include "kmip/vocabulary.h"
#include "ttlv/ttlv.h"

/* Integer, Long Integer, Enumeration, Boolean, Date Time, Interval. */
struct kmip_number {
    bool present;
    int64_t value;
};

/* Any one value with its type; type 0: absent. `value` are the bytes as on the wire, without
 * padding; of a Structure, its encoded fields. */
struct kmip_any {
    uint8_t type; /* enum ttlv_type */
    struct bytes value;
};

/* A repeated field: `count` elements of the field's member type (or structs). */
struct kmip_list {
    size_t count;
    void *items;
};

/* Text String and Byte String are struct bytes: absent when data is NULL. Structures are pointers:
 * absent when NULL. */

enum kmip_field_kind {
    KMIP_FIELD_INTEGER,
    KMIP_FIELD_LONG_INTEGER,
    KMIP_FIELD_ENUMERATION,
    KMIP_FIELD_BOOLEAN,
    KMIP_FIELD_DATE_TIME,
    KMIP_FIELD_INTERVAL,
    KMIP_FIELD_TEXT_STRING,
    KMIP_FIELD_BYTE_STRING,
    KMIP_FIELD_STRUCTURE, /* with a shape */
    KMIP_FIELD_ANY,       /* struct kmip_any */
};

enum kmip_field_flags {
    KMIP_REQUIRED = 1,
    KMIP_REPEATED = 2, /* the member is a struct kmip_list; REQUIRED: at least one */
};

struct kmip_shape;

struct kmip_field {
    uint32_t tag;
    uint8_t kind;
    uint8_t flags;
    uint16_t since; /* not written for older versions; read whatever the version (libkmip) */
    uint16_t offset;
    const struct kmip_shape *shape;
};

struct kmip_shape {
    size_t size; /* of the struct */
    const struct kmip_field *fields;
    size_t count;
};

/* For the tables: one field, as TAG, KIND, flags, since, member. */
#define KMIP_FIELD(type, tag_name, kind_name, flag_bits, since_version, member)                    \
    {                                                                                              \
        KMIP_TAG_##tag_name, KMIP_FIELD_##kind_name, flag_bits, since_version,                     \
            offsetof(struct type, member), NULL                                                    \
    }
#define KMIP_NESTED(type, tag_name, flag_bits, since_version, member, nested_shape)                \
    {                                                                                              \
        KMIP_TAG_##tag_name, KMIP_FIELD_STRUCTURE, flag_bits, since_version,                       \
            offsetof(struct type, member), &(nested_shape)                                         \
    }
#define KMIP_SHAPE(type, field_table)                                                              \
    {                                                                                              \
        sizeof(struct type), field_table, ARRAY_COUNT(field_table)                                 \
    }

/*
 * Reads all that is left of `reader` as the fields of `shape` into `ret_struct` (zeroed first).
 * Fields must come in the table's order.
 * STATUS_MALFORMED: a field out of order, twice, of the wrong type, or unknown, however deep;
 * MISSING_DATA: nothing of that, but a required field is not there; TOO_LARGE: the arena is at its
 * maximum.
 */
enum status kmip_decode(const struct kmip_shape *shape, struct ttlv_reader reader,
                        struct arena *arena, void *ret_struct) MUST_USE;

/* Appends the fields that are present and exist in `version`. The buffer's status tells the
 * outcome. */
void kmip_encode(const struct kmip_shape *shape, const void *structure, uint16_t version,
                 struct buffer *buffer);

/* As kmip_encode(), inside a Structure with this tag. */
void kmip_encode_structure(uint32_t tag, const struct kmip_shape *shape, const void *structure,
                           uint16_t version, struct buffer *buffer);

static inline struct kmip_number kmip_number(int64_t value)
{
    return (struct kmip_number){true, value};
}

#endif
