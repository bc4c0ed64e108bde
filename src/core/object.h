/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A managed object in memory for the time of a request, and the form in which its attributes are
 * stored.
 *
 * Stored form: TTLV items. An attribute of the standard with index 0 is an item with its own tag;
 * any other instance is an Attribute structure (name, index, value) as in KMIP 1.4 §2.1.1. Tags
 * are the standard's and never change, so the form lasts. Some items have no 1.x attribute (Key
 * Format Type, Secret Data Type, Opaque Data Type): they have an empty name here.
 *
 * Not stored, but derived whenever asked for: Unique Identifier, Object Type, State, Lease Time,
 * and the 1.4 flags while they have their defaults.
 */
#ifndef KMIPD_CORE_OBJECT_H
#define KMIPD_CORE_OBJECT_H

#include "base/uuid.h"
#include "kmip/value.h"
#include "store/store.h"

struct new_key;

/* One attribute instance. `info` is NULL for a custom attribute, and together with an empty name
 * for an item that no attribute describes. */
struct attribute {
    const struct kmip_attribute_info *info;
    uint32_t tag;
    struct bytes name;
    int32_t index;
    struct kmip_any value;
};

struct object {
    struct object_row row;                 /* state is the effective one: see lifecycle.h */
    char identifier[UUID_TEXT_LENGTH + 1]; /* row.id as text */
    struct attribute *attributes;
    size_t count;
    size_t capacity;
    struct stored_object *stored; /* what it was read from, held; NULL for a new one */
    bool decoded;                 /* attributes stand for row.attributes */
    bool changed;
    bool inserted;
    bool optional;           /* its change may be left out when the store cannot write (Fresh) */
    struct bytes newer;      /* the same key under a newer root key version: see core/keys.h */
    struct new_key *key;     /* of a new object whose key is not wrapped at once */
    struct object *original; /* of an edit: see request_edit() */
    struct object *next;
};

/* Makes `object` from what the store gave; takes over the caller's hold. Attributes are decoded
 * on first use. */
void object_from_stored(struct object *object, struct stored_object *stored);

/* The Unique Identifier; valid as long as the object stands where it is. */
static inline struct bytes object_identifier(const struct object *object)
{
    return bytes_of(object->identifier, UUID_TEXT_LENGTH);
}

/* Decodes the attributes if that was not done. STORE_CORRUPT; TOO_LARGE (arena). */
enum status object_decode(struct object *object, struct arena *arena) MUST_USE;

/* Encodes the attributes into row.attributes, in the arena. TOO_LARGE. */
enum status object_encode(struct object *object, struct arena *arena) MUST_USE;

/* The instance of an attribute of the standard with this index, or NULL. Decoded objects only. */
struct attribute *object_find(const struct object *object, enum kmip_attribute id, int32_t index);

/* The same by name, custom attributes included. */
struct attribute *object_find_named(const struct object *object, struct bytes name, int32_t index);

/* The number in the first instance; false if there is none. Works on undecoded objects, without
 * decoding them. */
bool object_number(const struct object *object, enum kmip_attribute id, int64_t *ret_number);

/* The same for an item that is no attribute in 1.x. */
bool object_item_number(const struct object *object, uint32_t tag, int64_t *ret_number);

/* Sets the single instance (index 0) of an attribute. TOO_LARGE if value.type is 0 or the arena
 * is full. */
enum status object_set(struct object *object, struct arena *arena, enum kmip_attribute id,
                       struct kmip_any value) MUST_USE;

/* Sets an item that no attribute describes. */
enum status object_set_item(struct object *object, struct arena *arena, uint32_t tag,
                            struct kmip_any value) MUST_USE;

/* Appends an instance as it is. */
enum status object_append(struct object *object, struct arena *arena,
                          struct attribute attribute) MUST_USE;

/* Removes an instance that object_find() gave. */
void object_remove(struct object *object, struct attribute *attribute);

/* The smallest index that is greater than all of this name's. */
int32_t object_next_index(const struct object *object, struct bytes name);

#endif
