/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vocabulary of KMIP 1.0 to 2.1: tags, enumerations, masks, operations, attributes, object
 * types and the life cycle. Everything here is made from the tables in def/, which document their
 * columns and cite their clauses; docs/vocabulary.md tells how to change them.
 *
 * All functions are pure lookups in constant tables: any thread, no allocation, results have static
 * storage. A lookup that finds nothing gives NULL. No lookup judges versions: whether a word belongs
 * to the protocol version of a request is for the caller to ask, with kmip_in_version().
 */
#ifndef KMIPD_KMIP_VOCABULARY_H
#define KMIPD_KMIP_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Protocol versions: major << 8 | minor, so that they compare as numbers. */
#define KMIP_VERSION_1_0    0x0100
#define KMIP_VERSION_1_1    0x0101
#define KMIP_VERSION_1_2    0x0102
#define KMIP_VERSION_1_3    0x0103
#define KMIP_VERSION_1_4    0x0104
#define KMIP_VERSION_2_0    0x0200
#define KMIP_VERSION_2_1    0x0201
#define KMIP_VERSION_LATEST 0xFFFF /* as `until`: KMIP 2.1 still defines it */

/* True if what `since` brought in and `until` had last is part of `version`. */
static inline bool kmip_in_version(uint16_t since, uint16_t until, uint16_t version)
{
    return since <= version && version <= until;
}

/* Tags (def/tags.def) */

enum kmip_tag {
#define TAG(NAME, number, text, xml_name, type, since, until) KMIP_TAG_##NAME = number,
#include "tags.def"
};

#define KMIP_TAG_FIRST        0x420001 /* of the standard's tags */
#define KMIP_TAG_LAST         KMIP_TAG_ASYNCHRONOUS_CORRELATION_VALUES
#define KMIP_TAG_VENDOR_FIRST 0x540000
#define KMIP_TAG_VENDOR_LAST  0x54FFFF

/* Enumerations (def/enums.def): enum kmip_operation { KMIP_OPERATION_CREATE = 1, ... } and so on. */
/* clang-format off */
#define ENUM_BEGIN(NAME, name, text, TAG) enum kmip_##name {
#define ENUM_VALUE(NAME, VALUE, number, text, xml_name, since, until) \
    KMIP_##NAME##_##VALUE = number,
#define ENUM_END(NAME) };
/* clang-format on */
#include "enums.def"

/* Not an item type: the type varies (with enum kmip_item_type, whose numbers TTLV uses). */
#define KMIP_ITEM_TYPE_ANY 0

/* The bits of all masks (def/masks.def): KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT = 4 and so on. */
enum kmip_mask {
#define MASK_BIT(TAG, BIT, bit, text, xml_name, since, until) KMIP_##TAG##_##BIT = bit,
#include "masks.def"
};

struct kmip_tag_info {
    uint32_t number; /* enum kmip_tag */
    uint16_t since;
    uint16_t until;
    uint8_t type;         /* enum kmip_item_type, or KMIP_ITEM_TYPE_ANY; see kmip_tag_type() */
    const char *text;     /* the standard's name, "Unique Identifier" */
    const char *xml_name; /* "UniqueIdentifier" */
};

/* One value of an enumeration or one bit of a mask. */
struct kmip_value_info {
    uint32_t number;
    uint16_t since;
    uint16_t until;
    const char *text;     /* "Pre-Active" */
    const char *xml_name; /* "PreActive" */
};

struct kmip_enumeration {
    const char *text;                     /* "Cryptographic Algorithm" */
    uint32_t tag;                         /* the tag that holds its values */
    uint32_t count;                       /* 0 where only vendors have values (Opaque Data Type) */
    const struct kmip_value_info *values; /* `count` of them, ascending */
};

/* The tag with this number. */
const struct kmip_tag_info *kmip_tag_by_number(uint32_t number);

/* The tag with this XML name, `length` bytes, exact. For tools and tests: a linear search. */
const struct kmip_tag_info *kmip_tag_by_name(const char *xml_name, size_t length);

/*
 * The item type (enum kmip_item_type) that a tag's value must have in a protocol version.
 * KMIP_ITEM_TYPE_ANY where several are possible and for tags that are not the standard's.
 */
uint8_t kmip_tag_type(uint32_t number, uint16_t version);

/* The enumeration whose values a tag holds. */
const struct kmip_enumeration *kmip_enumeration_by_tag(uint32_t tag);

/* A value of the enumeration of `tag`. */
const struct kmip_value_info *kmip_value_by_number(uint32_t tag, uint32_t number);

/*
 * A value of the enumeration of `tag` by its XML name, `length` bytes, exact; older and later
 * wordings (ENUM_ALIAS) are found too. For tools and tests: a linear search.
 */
const struct kmip_value_info *kmip_value_by_name(uint32_t tag, const char *xml_name, size_t length);

/*
 * The standard's name of a value, for logs and listings: "AES". "unknown" where the tag holds no
 * enumeration or the number is not one of the standard's; never NULL.
 */
const char *kmip_value_text(uint32_t tag, uint32_t number);

/* A bit of the mask that `tag` holds. `bit` has exactly one bit set. */
const struct kmip_value_info *kmip_mask_by_bit(uint32_t tag, uint32_t bit);

/* The same by its XML name, `length` bytes, exact. */
const struct kmip_value_info *kmip_mask_by_name(uint32_t tag, const char *xml_name, size_t length);

/* All bits of the mask of `tag` that a protocol version defines; 0 if the tag holds no mask. */
uint32_t kmip_mask_bits(uint32_t tag, uint16_t version);

/* Operations (def/operations.def) */

enum kmip_operation_flag {
    KMIP_OPERATION_FLAG__ = 0,
    KMIP_OPERATION_FLAG_WRITES = 1 << 0,   /* success changes state that must last */
    KMIP_OPERATION_FLAG_EXPORTS = 1 << 1,  /* key material leaves the server */
    KMIP_OPERATION_FLAG_TAKES_ID = 1 << 2, /* the ID Placeholder stands in for a missing id */
    KMIP_OPERATION_FLAG_SETS_ID = 1 << 3,  /* success sets the ID Placeholder */
};

/* Who may send a request, or may set an attribute. */
enum kmip_side {
    KMIP_SIDE_CLIENT = 1,
    KMIP_SIDE_SERVER = 2,
    KMIP_SIDE_BOTH = 3,
};

struct kmip_operation_info {
    const struct kmip_value_info *value; /* number, versions and names */
    uint8_t flags;                       /* enum kmip_operation_flag */
    uint8_t side;                        /* enum kmip_side */
    const char *clause_1;                /* section of KMIP 1.4, "" if it came later */
    const char *clause_2;                /* section of KMIP 2.1 */
};

/* The operation with this code. */
const struct kmip_operation_info *kmip_operation_by_code(uint32_t code);

/* Object types (def/object_types.def) */

enum kmip_object_class {
    KMIP_OBJECT_CLASS__ = 0,
    KMIP_OBJECT_CLASS_ALL = 1 << 0,
    KMIP_OBJECT_CLASS_CRYPTOGRAPHIC = 1 << 1,
    KMIP_OBJECT_CLASS_KEY = 1 << 2,
    KMIP_OBJECT_CLASS_SYMMETRIC_KEY = 1 << 3,
    KMIP_OBJECT_CLASS_ASYMMETRIC_KEY = 1 << 4,
    KMIP_OBJECT_CLASS_CERTIFICATE = 1 << 5,
    KMIP_OBJECT_CLASS_SIGNED = 1 << 6,
    KMIP_OBJECT_CLASS_SECRET = 1 << 7,
    KMIP_OBJECT_CLASS_TEMPLATE = 1 << 8,
    KMIP_OBJECT_CLASS_OPAQUE = 1 << 9,
    KMIP_OBJECT_CLASS_KEY_BLOCK = 1 << 10, /* the value is a Key Block */
};

struct kmip_object_type_info {
    const struct kmip_value_info *value; /* number, versions and names */
    uint32_t tag;                        /* the structure that carries such an object */
    uint16_t classes;                    /* enum kmip_object_class */
};

/* The object type with this code (enum kmip_object_type). */
const struct kmip_object_type_info *kmip_object_type_by_code(uint32_t code);

/* Attributes (def/attributes.def) */

enum kmip_attribute {
#define ATTRIBUTE(NAME, ...) KMIP_ATTRIBUTE_##NAME,
#include "attributes.def"
    KMIP_ATTRIBUTE_COUNT
};

/* The values of the rule columns; def/attributes.def says what they mean. */
enum kmip_rule {
    KMIP_RULE_NO = 0,
    KMIP_RULE_YES,
    KMIP_RULE_PRE_ACTIVE,
    KMIP_RULE_PRE_ACTIVE_OR_ACTIVE,
    KMIP_RULE_UNTIL_REACHED,
    KMIP_RULE_UNUSED,
    KMIP_RULE_IF_ABSENT,
    KMIP_RULE_IF_KNOWN,
    KMIP_RULE_OWN,
    KMIP_RULE_PGP_ONLY,
};

/* Sets of operations, for "When implicitly set". */
#define KMIP_OPERATION_BIT(NAME) (UINT64_C(1) << KMIP_OPERATION_##NAME)
#define KMIP_IMPLICIT_NEVER      UINT64_C(0)
#define KMIP_IMPLICIT_REGISTER   KMIP_OPERATION_BIT(REGISTER)
#define KMIP_IMPLICIT_REVOKE     KMIP_OPERATION_BIT(REVOKE)
#define KMIP_IMPLICIT_DESTROY    KMIP_OPERATION_BIT(DESTROY)
#define KMIP_IMPLICIT_ARCHIVE    KMIP_OPERATION_BIT(ARCHIVE)
/* a key was replaced by a new one */
#define KMIP_IMPLICIT_REKEYED (KMIP_OPERATION_BIT(RE_KEY) | KMIP_OPERATION_BIT(RE_KEY_KEY_PAIR))
/* an object was replaced by a new one */
#define KMIP_IMPLICIT_REPLACED (KMIP_IMPLICIT_REKEYED | KMIP_OPERATION_BIT(RE_CERTIFY))
/* the server generated key material */
#define KMIP_IMPLICIT_GENERATED                                                                    \
    (KMIP_OPERATION_BIT(CREATE) | KMIP_OPERATION_BIT(CREATE_KEY_PAIR) |                            \
     KMIP_OPERATION_BIT(DERIVE_KEY) | KMIP_IMPLICIT_REKEYED)
/* a certificate came to be */
#define KMIP_IMPLICIT_CERTIFIED                                                                    \
    (KMIP_OPERATION_BIT(REGISTER) | KMIP_OPERATION_BIT(CERTIFY) | KMIP_OPERATION_BIT(RE_CERTIFY))
/* an object came to be */
#define KMIP_IMPLICIT_MADE (KMIP_IMPLICIT_GENERATED | KMIP_IMPLICIT_CERTIFIED)
/* an object came to be, or its value changed afterwards */
#define KMIP_IMPLICIT_MADE_CHANGED                                                                 \
    (KMIP_IMPLICIT_MADE | KMIP_OPERATION_BIT(ADD_ATTRIBUTE) |                                      \
     KMIP_OPERATION_BIT(MODIFY_ATTRIBUTE) | KMIP_OPERATION_BIT(DELETE_ATTRIBUTE))
/* a symmetric key came to be */
#define KMIP_IMPLICIT_SYMMETRIC_MADE                                                               \
    (KMIP_OPERATION_BIT(CREATE) | KMIP_OPERATION_BIT(REGISTER) | KMIP_OPERATION_BIT(DERIVE_KEY) |  \
     KMIP_OPERATION_BIT(RE_KEY))
/* an object came to be that has a close relation */
#define KMIP_IMPLICIT_LINKED                                                                       \
    (KMIP_OPERATION_BIT(CREATE_KEY_PAIR) | KMIP_OPERATION_BIT(DERIVE_KEY) |                        \
     KMIP_OPERATION_BIT(CERTIFY) | KMIP_IMPLICIT_REPLACED)
/* a key came to be, or was used */
#define KMIP_IMPLICIT_KEY_MADE_USED                                                                \
    (KMIP_IMPLICIT_GENERATED | KMIP_OPERATION_BIT(REGISTER) |                                      \
     KMIP_OPERATION_BIT(GET_USAGE_ALLOCATION))
#define KMIP_IMPLICIT_MADE_ACTIVATE (KMIP_IMPLICIT_MADE | KMIP_OPERATION_BIT(ACTIVATE))
#define KMIP_IMPLICIT_MADE_REVOKE   (KMIP_IMPLICIT_MADE | KMIP_OPERATION_BIT(REVOKE))
/* every step of an object's life */
#define KMIP_IMPLICIT_LIFE_CYCLE                                                                   \
    (KMIP_IMPLICIT_MADE_ACTIVATE | KMIP_OPERATION_BIT(REVOKE) | KMIP_OPERATION_BIT(DESTROY))
/* every change */
#define KMIP_IMPLICIT_CHANGED                                                                      \
    (KMIP_IMPLICIT_LIFE_CYCLE | KMIP_IMPLICIT_MADE_CHANGED | KMIP_OPERATION_BIT(ARCHIVE) |         \
     KMIP_OPERATION_BIT(RECOVER) | KMIP_OPERATION_BIT(GET_USAGE_ALLOCATION))

struct kmip_attribute_info {
    uint8_t id;             /* enum kmip_attribute */
    uint8_t always;         /* enum kmip_rule: SHALL always have a value */
    uint8_t set_by;         /* enum kmip_side: initially set by */
    uint8_t server_may;     /* enum kmip_rule: modifiable by server */
    uint8_t client_may;     /* enum kmip_rule: modifiable by client */
    uint8_t client_deletes; /* enum kmip_rule: deletable by client */
    uint8_t multiple;       /* enum kmip_rule: multiple instances permitted */
    uint16_t since;         /* versions in which it is an attribute */
    uint16_t until;
    uint16_t deprecated;             /* version that deprecated it, 0 if none did */
    uint16_t applies_1;              /* enum kmip_object_class, 1.x */
    uint16_t applies_2;              /* enum kmip_object_class, 2.x */
    uint64_t implicit;               /* KMIP_OPERATION_BIT: when implicitly set */
    const struct kmip_tag_info *tag; /* number, names and value type */
    const char *name;                /* Attribute Name in 1.x, "" if it has no fixed one */
    const char *clause_1;            /* section of KMIP 1.4, "" if it came later */
    const char *clause_2;            /* section of KMIP 2.1, "" if it was removed */
};

/* The attribute with this id. */
const struct kmip_attribute_info *kmip_attribute_by_id(enum kmip_attribute id);

/*
 * The attribute with this 1.x Attribute Name, `length` bytes, exact to the case (KMIP 1.4 §2.1.1).
 * Custom attributes and those that only 2.x has are not found. Fast: every attribute of every
 * request comes through here.
 */
const struct kmip_attribute_info *kmip_attribute_by_name(const char *name, size_t length);

/* The attribute with this tag, as 2.x names attributes. */
const struct kmip_attribute_info *kmip_attribute_by_tag(uint32_t tag);

/* True if objects of a type may have the attribute in a protocol version that defines it. */
bool kmip_attribute_applies(const struct kmip_attribute_info *attribute,
                            enum kmip_object_type object_type, uint16_t version);

/* The life cycle (def/states.def) */

enum kmip_cause {
    KMIP_CAUSE_ACTIVATE,
    KMIP_CAUSE_ACTIVATION_DATE,
    KMIP_CAUSE_DEACTIVATION_DATE,
    KMIP_CAUSE_REVOKE,
    KMIP_CAUSE_COMPROMISE,
    KMIP_CAUSE_DESTROY,
};

/*
 * True if `cause` moves an object out of state `from`; then *ret_to is the state it moves to.
 * False, and *ret_to untouched, where the standard permits no such transition.
 */
bool kmip_state_after(enum kmip_state from, enum kmip_cause cause, enum kmip_state *ret_to);

#endif
