/* SPDX-License-Identifier: Apache-2.0 */
#include "kmip/vocabulary.h"

#include <string.h>

#include "base/compiler.h"

/*
 * Names are found by their length first: the lengths of a list stand side by side as bytes, so that
 * memchr() rules out nearly everything, and what is left is compared. No order of rows to maintain.
 */
struct name_list {
    const char *const *names;
    const uint8_t *lengths;
    size_t count;
};

/* The index of a name at or after `from`; the count if it is not there. */
static size_t find_name(const struct name_list *list, size_t from, const char *name, size_t length)
{
    if (length == 0 || length > UINT8_MAX)
        return list->count;
    while (from < list->count) {
        const uint8_t *hit = memchr(list->lengths + from, (int)length, list->count - from);
        if (hit == NULL)
            break;
        from = (size_t)(hit - list->lengths);
        if (memcmp(list->names[from], name, length) == 0)
            return from;
        from++;
    }
    return list->count;
}

/* Tags: a row for each number of the standard, empty (text NULL) where it is reserved. */

#define TAG_INDEX(number) ((number)-KMIP_TAG_FIRST)
#define TAG_SPAN          (TAG_INDEX(KMIP_TAG_LAST) + 1)

static const struct kmip_tag_info tags[TAG_SPAN] = {
#define TAG(NAME, number, text, xml_name, type, since, until)                                      \
    [TAG_INDEX(number)] = {number, since, until, KMIP_ITEM_TYPE_##type, text, xml_name},
#include "tags.def"
};

static const char *const tag_names[TAG_SPAN] = {
#define TAG(NAME, number, text, xml_name, type, since, until) [TAG_INDEX(number)] = xml_name,
#include "tags.def"
};

static const uint8_t tag_name_lengths[TAG_SPAN] = {
#define TAG(NAME, number, text, xml_name, type, since, until)                                      \
    [TAG_INDEX(number)] = sizeof(xml_name) - 1,
#include "tags.def"
};

/* The types of tags whose type depends on the version. */
static const struct tag_type {
    uint32_t tag;
    uint16_t since;
    uint16_t until;
    uint8_t type;
} tag_types[] = {
#define TAG_TYPE(NAME, type, since, until) {KMIP_TAG_##NAME, since, until, KMIP_ITEM_TYPE_##type},
#include "tags.def"
};

const struct kmip_tag_info *kmip_tag_by_number(uint32_t number)
{
    if (number < KMIP_TAG_FIRST || number > KMIP_TAG_LAST)
        return NULL;
    const struct kmip_tag_info *tag = &tags[TAG_INDEX(number)];
    return tag->text == NULL ? NULL : tag;
}

const struct kmip_tag_info *kmip_tag_by_name(const char *xml_name, size_t length)
{
    static const struct name_list list = {tag_names, tag_name_lengths, TAG_SPAN};
    size_t index = find_name(&list, 0, xml_name, length);
    return index < TAG_SPAN ? &tags[index] : NULL;
}

uint8_t kmip_tag_type(uint32_t number, uint16_t version)
{
    const struct kmip_tag_info *tag = kmip_tag_by_number(number);
    if (tag == NULL)
        return KMIP_ITEM_TYPE_ANY;
    if (tag->type != KMIP_ITEM_TYPE_ANY)
        return tag->type;
    for (size_t i = 0; i < ARRAY_COUNT(tag_types); i++) {
        const struct tag_type *row = &tag_types[i];
        if (row->tag == number && kmip_in_version(row->since, row->until, version))
            return row->type;
    }
    return KMIP_ITEM_TYPE_ANY;
}

/*
 * Enumerations: all values in one array, a stretch for each enumeration. The tags come first, being
 * the values of Tag and Attribute Reference. FIRST_X takes the index that the first value of X gets
 * too, and LAST_X gives back the one it used.
 */
enum value_index {
#define TAG(NAME, number, text, xml_name, type, since, until) VALUE_TAG_##NAME,
#include "tags.def"
    VALUE_TAG_COUNT,
    VALUE_TAG_REWIND = VALUE_TAG_COUNT - 1,
/* clang-format off */
#define ENUM_BEGIN(NAME, name, text, TAG) FIRST_##NAME, REWIND_FIRST_##NAME = FIRST_##NAME - 1,
#define ENUM_VALUE(NAME, VALUE, number, text, xml_name, since, until) VALUE_##NAME##_##VALUE,
#define ENUM_END(NAME) LAST_##NAME, REWIND_LAST_##NAME = LAST_##NAME - 1,
/* clang-format on */
#include "enums.def"
    VALUE_COUNT
};

static const struct kmip_value_info values[VALUE_COUNT] = {
#define TAG(NAME, number, text, xml_name, type, since, until)                                      \
    {number, since, until, text, xml_name},
#include "tags.def"
#define ENUM_VALUE(NAME, VALUE, number, text, xml_name, since, until)                              \
    {number, since, until, text, xml_name},
#include "enums.def"
};

static const char *const value_names[VALUE_COUNT] = {
#define TAG(NAME, number, text, xml_name, type, since, until) xml_name,
#include "tags.def"
#define ENUM_VALUE(NAME, VALUE, number, text, xml_name, since, until) xml_name,
#include "enums.def"
};

static const uint8_t value_name_lengths[VALUE_COUNT] = {
#define TAG(NAME, number, text, xml_name, type, since, until) sizeof(xml_name) - 1,
#include "tags.def"
#define ENUM_VALUE(NAME, VALUE, number, text, xml_name, since, until) sizeof(xml_name) - 1,
#include "enums.def"
};

/* The enumerations, Tag first; 0 in enumeration_of_tag means none, i means enumerations[i - 1]. */
enum enumeration_index {
    ENUMERATION_TAG,
#define ENUM_BEGIN(NAME, name, text, TAG) ENUMERATION_##NAME,
#define ENUM_EMPTY(NAME, text, TAG)       ENUMERATION_##NAME,
#include "enums.def"
    ENUMERATION_COUNT
};

static const struct kmip_enumeration enumerations[ENUMERATION_COUNT] = {
    {"Tag", KMIP_TAG_TAG, VALUE_TAG_COUNT, values},
#define ENUM_BEGIN(NAME, name, text, TAG)                                                          \
    {text, KMIP_TAG_##TAG, LAST_##NAME - FIRST_##NAME, &values[FIRST_##NAME]},
#define ENUM_EMPTY(NAME, text, TAG) {text, KMIP_TAG_##TAG, 0, NULL},
#include "enums.def"
};

static const uint8_t enumeration_of_tag[TAG_SPAN] = {
    [TAG_INDEX(KMIP_TAG_TAG)] = ENUMERATION_TAG + 1,
    [TAG_INDEX(KMIP_TAG_ATTRIBUTE_REFERENCE)] = ENUMERATION_TAG + 1,
#define ENUM_BEGIN(NAME, name, text, TAG) [TAG_INDEX(KMIP_TAG_##TAG)] = ENUMERATION_##NAME + 1,
#define ENUM_EMPTY(NAME, text, TAG)       [TAG_INDEX(KMIP_TAG_##TAG)] = ENUMERATION_##NAME + 1,
#define ENUM_USED_BY(NAME, TAG)           [TAG_INDEX(KMIP_TAG_##TAG)] = ENUMERATION_##NAME + 1,
#include "enums.def"
};

static const struct value_alias {
    uint8_t enumeration;
    uint16_t value;
    const char *xml_name;
} value_aliases[] = {
#define ENUM_ALIAS(NAME, VALUE, text, xml_name, since, until)                                      \
    {ENUMERATION_##NAME, VALUE_##NAME##_##VALUE, xml_name},
#include "enums.def"
};

const struct kmip_enumeration *kmip_enumeration_by_tag(uint32_t tag)
{
    if (tag < KMIP_TAG_FIRST || tag > KMIP_TAG_LAST)
        return NULL;
    uint8_t index = enumeration_of_tag[TAG_INDEX(tag)];
    return index == 0 ? NULL : &enumerations[index - 1];
}

const struct kmip_value_info *kmip_value_by_number(uint32_t tag, uint32_t number)
{
    const struct kmip_enumeration *enumeration = kmip_enumeration_by_tag(tag);
    size_t low = 0;
    size_t high = enumeration == NULL ? 0 : enumeration->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct kmip_value_info *value = &enumeration->values[middle];
        if (value->number == number)
            return value;
        if (value->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The value of an enumeration that some versions call otherwise. */
static const struct kmip_value_info *value_by_alias(size_t enumeration, const char *xml_name,
                                                    size_t length)
{
    for (size_t i = 0; i < ARRAY_COUNT(value_aliases); i++) {
        const struct value_alias *alias = &value_aliases[i];
        if (alias->enumeration == enumeration && strlen(alias->xml_name) == length &&
            memcmp(alias->xml_name, xml_name, length) == 0)
            return &values[alias->value];
    }
    return NULL;
}

const struct kmip_value_info *kmip_value_by_name(uint32_t tag, const char *xml_name, size_t length)
{
    const struct kmip_enumeration *enumeration = kmip_enumeration_by_tag(tag);
    if (enumeration == NULL || enumeration->count == 0)
        return NULL;
    size_t first = (size_t)(enumeration->values - values);
    const struct name_list list = {value_names, value_name_lengths, first + enumeration->count};
    size_t index = find_name(&list, first, xml_name, length);
    if (index < list.count)
        return &values[index];
    return value_by_alias((size_t)(enumeration - enumerations), xml_name, length);
}

const char *kmip_value_text(uint32_t tag, uint32_t number)
{
    const struct kmip_value_info *value = kmip_value_by_number(tag, number);
    return value == NULL ? "unknown" : value->text;
}

/* Masks */

static const struct mask_bit {
    uint32_t tag;
    struct kmip_value_info info;
} mask_bits[] = {
#define MASK_BIT(TAG, BIT, bit, text, xml_name, since, until)                                      \
    {KMIP_TAG_##TAG, {bit, since, until, text, xml_name}},
#include "masks.def"
};

const struct kmip_value_info *kmip_mask_by_bit(uint32_t tag, uint32_t bit)
{
    for (size_t i = 0; i < ARRAY_COUNT(mask_bits); i++) {
        if (mask_bits[i].tag == tag && mask_bits[i].info.number == bit)
            return &mask_bits[i].info;
    }
    return NULL;
}

const struct kmip_value_info *kmip_mask_by_name(uint32_t tag, const char *xml_name, size_t length)
{
    for (size_t i = 0; i < ARRAY_COUNT(mask_bits); i++) {
        const char *name = mask_bits[i].info.xml_name;
        if (mask_bits[i].tag == tag && strlen(name) == length &&
            memcmp(name, xml_name, length) == 0)
            return &mask_bits[i].info;
    }
    return NULL;
}

uint32_t kmip_mask_bits(uint32_t tag, uint16_t version)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < ARRAY_COUNT(mask_bits); i++) {
        const struct kmip_value_info *info = &mask_bits[i].info;
        if (mask_bits[i].tag == tag && kmip_in_version(info->since, info->until, version))
            bits |= info->number;
    }
    return bits;
}

/* Operations and object types: by code, which is small. A code without a row has value NULL. */

static const struct kmip_operation_info operations[] = {
#define OPERATION(NAME, writes, exports, takes_id, sets_id, sent_by, clause_1, clause_2)           \
    [KMIP_OPERATION_##NAME] = {&values[VALUE_OPERATION_##NAME],                                    \
                               KMIP_OPERATION_FLAG_##writes | KMIP_OPERATION_FLAG_##exports |      \
                                   KMIP_OPERATION_FLAG_##takes_id | KMIP_OPERATION_FLAG_##sets_id, \
                               KMIP_SIDE_##sent_by, clause_1, clause_2},
#include "operations.def"
};

static const struct kmip_object_type_info object_types[] = {
#define OBJECT_TYPE(NAME, key_block, class_1, class_2, class_3, class_4)                           \
    [KMIP_OBJECT_TYPE_##NAME] = {&values[VALUE_OBJECT_TYPE_##NAME], KMIP_TAG_##NAME,               \
                                 KMIP_OBJECT_CLASS_ALL | KMIP_OBJECT_CLASS_##key_block |           \
                                     KMIP_OBJECT_CLASS_##class_1 | KMIP_OBJECT_CLASS_##class_2 |   \
                                     KMIP_OBJECT_CLASS_##class_3 | KMIP_OBJECT_CLASS_##class_4},
#include "object_types.def"
};

const struct kmip_operation_info *kmip_operation_by_code(uint32_t code)
{
    if (code >= ARRAY_COUNT(operations) || operations[code].value == NULL)
        return NULL;
    return &operations[code];
}

const struct kmip_object_type_info *kmip_object_type_by_code(uint32_t code)
{
    if (code >= ARRAY_COUNT(object_types) || object_types[code].value == NULL)
        return NULL;
    return &object_types[code];
}

/* Attributes */

static const struct kmip_attribute_info attributes[KMIP_ATTRIBUTE_COUNT] = {
#define ATTRIBUTE(NAME, name_, TAG, since_, until_, deprecated_, always_, set_by_, server_may_,    \
                  client_may_, client_deletes_, multiple_, implicit_, class_1, class_2, class_3,   \
                  class_4, clause_1_, clause_2_)                                                   \
    [KMIP_ATTRIBUTE_##NAME] = {                                                                    \
        .id = KMIP_ATTRIBUTE_##NAME,                                                               \
        .always = KMIP_RULE_##always_,                                                             \
        .set_by = KMIP_SIDE_##set_by_,                                                             \
        .server_may = KMIP_RULE_##server_may_,                                                     \
        .client_may = KMIP_RULE_##client_may_,                                                     \
        .client_deletes = KMIP_RULE_##client_deletes_,                                             \
        .multiple = KMIP_RULE_##multiple_,                                                         \
        .since = since_,                                                                           \
        .until = until_,                                                                           \
        .deprecated = deprecated_,                                                                 \
        .applies_1 = KMIP_OBJECT_CLASS_##class_1 | KMIP_OBJECT_CLASS_##class_2 |                   \
                     KMIP_OBJECT_CLASS_##class_3,                                                  \
        .applies_2 = KMIP_OBJECT_CLASS_##class_4,                                                  \
        .implicit = KMIP_IMPLICIT_##implicit_,                                                     \
        .tag = &tags[TAG_INDEX(KMIP_TAG_##TAG)],                                                   \
        .name = name_,                                                                             \
        .clause_1 = clause_1_,                                                                     \
        .clause_2 = clause_2_,                                                                     \
    },
#include "attributes.def"
};

static const char *const attribute_names[KMIP_ATTRIBUTE_COUNT] = {
#define ATTRIBUTE(NAME, name, ...) name,
#include "attributes.def"
};

static const uint8_t attribute_name_lengths[KMIP_ATTRIBUTE_COUNT] = {
#define ATTRIBUTE(NAME, name, ...) sizeof(name) - 1,
#include "attributes.def"
};

/* 0 means none, i means attributes[i - 1]. */
static const uint8_t attribute_of_tag[TAG_SPAN] = {
#define ATTRIBUTE(NAME, name, TAG, ...) [TAG_INDEX(KMIP_TAG_##TAG)] = KMIP_ATTRIBUTE_##NAME + 1,
#include "attributes.def"
};

const struct kmip_attribute_info *kmip_attribute_by_id(enum kmip_attribute id)
{
    return (unsigned int)id < KMIP_ATTRIBUTE_COUNT ? &attributes[id] : NULL;
}

const struct kmip_attribute_info *kmip_attribute_by_name(const char *name, size_t length)
{
    static const struct name_list list = {attribute_names, attribute_name_lengths,
                                          KMIP_ATTRIBUTE_COUNT};
    size_t index = find_name(&list, 0, name, length);
    return index < KMIP_ATTRIBUTE_COUNT ? &attributes[index] : NULL;
}

const struct kmip_attribute_info *kmip_attribute_by_tag(uint32_t tag)
{
    if (tag < KMIP_TAG_FIRST || tag > KMIP_TAG_LAST)
        return NULL;
    uint8_t index = attribute_of_tag[TAG_INDEX(tag)];
    return index == 0 ? NULL : &attributes[index - 1];
}

bool kmip_attribute_applies(const struct kmip_attribute_info *attribute,
                            enum kmip_object_type object_type, uint16_t version)
{
    const struct kmip_object_type_info *type = kmip_object_type_by_code(object_type);
    if (type == NULL || !kmip_in_version(attribute->since, attribute->until, version))
        return false;
    uint16_t applies = version < KMIP_VERSION_2_0 ? attribute->applies_1 : attribute->applies_2;
    return (applies & type->classes) != 0;
}

/* The life cycle */

bool kmip_state_after(enum kmip_state from, enum kmip_cause cause, enum kmip_state *ret_to)
{
    static const struct {
        enum kmip_state from;
        enum kmip_cause cause;
        enum kmip_state to;
    } transitions[] = {
#define TRANSITION(number, FROM, TO, CAUSE)                                                        \
    {KMIP_STATE_##FROM, KMIP_CAUSE_##CAUSE, KMIP_STATE_##TO},
#include "states.def"
    };
    for (size_t i = 0; i < ARRAY_COUNT(transitions); i++) {
        if (transitions[i].from == from && transitions[i].cause == cause) {
            *ret_to = transitions[i].to;
            return true;
        }
    }
    return false;
}
