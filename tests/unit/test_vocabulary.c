/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of def/ against themselves (no duplicates, everything found again) and against figures
 * that were counted in the specifications by other means than those that made the tables: the rows
 * of a plain-text rendering of each of the seven documents.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "kmip/vocabulary.h"
#include "ttlv/ttlv.h"

static const uint16_t versions[] = {
    KMIP_VERSION_1_0, KMIP_VERSION_1_1, KMIP_VERSION_1_2, KMIP_VERSION_1_3,
    KMIP_VERSION_1_4, KMIP_VERSION_2_0, KMIP_VERSION_2_1,
};

static const uint32_t tag_rows[] = {
#define TAG(NAME, number, text, xml_name, type, since, until) KMIP_TAG_##NAME,
#include "tags.def"
};

/* The tags of all enumerations that have a table, and how many values it has. */
static const struct {
    uint32_t tag;
    uint32_t count;
} enumeration_rows[] = {
/* clang-format off */
#define ENUM_BEGIN(NAME, name, text, TAG) {KMIP_TAG_##TAG, 0
#define ENUM_VALUE(NAME, VALUE, number, text, xml_name, since, until) +1
#define ENUM_END(NAME) },
#define ENUM_EMPTY(NAME, text, TAG) {KMIP_TAG_##TAG, 0},
/* clang-format on */
#include "enums.def"
};

static const struct {
    uint32_t tag;
    uint32_t bit;
    uint16_t since;
    uint16_t until;
    const char *xml_name;
} mask_rows[] = {
#define MASK_BIT(TAG, BIT, bit, text, xml_name, since, until)                                      \
    {KMIP_TAG_##TAG, bit, since, until, xml_name},
#include "masks.def"
};

/* A span of versions is one of the standard's, begins before it ends, and has no gap at 1.5. */
static void assert_span(uint16_t since, uint16_t until)
{
    size_t found = until == KMIP_VERSION_LATEST;
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++)
        found += (since == versions[i]) + (until == versions[i]);
    assert_int_equal(found, 2);
    assert_true(since <= until);
    assert_true(until != KMIP_VERSION_2_1); /* written as LATEST */
}

static void versions_compare_as_numbers(void **state)
{
    assert_true(kmip_in_version(0x0102, 0x0104, KMIP_VERSION_1_2));
    assert_true(kmip_in_version(0x0102, 0x0104, KMIP_VERSION_1_4));
    assert_false(kmip_in_version(0x0102, 0x0104, KMIP_VERSION_1_1));
    assert_false(kmip_in_version(0x0102, 0x0104, KMIP_VERSION_2_0));
    assert_true(kmip_in_version(0x0100, KMIP_VERSION_LATEST, KMIP_VERSION_2_1));
}

/* Tags */

static void tags_are_unique_and_found_again(void **state)
{
    uint32_t last = 0;
    for (size_t i = 0; i < ARRAY_COUNT(tag_rows); i++) {
        const struct kmip_tag_info *tag = kmip_tag_by_number(tag_rows[i]);
        assert_non_null(tag);
        assert_int_equal(tag->number, tag_rows[i]);
        assert_true(tag->number > last); /* ascending: none twice */
        last = tag->number;
        assert_span(tag->since, tag->until);
        /* The first tag of a name is found, so a name that is there twice fails here. */
        assert_ptr_equal(kmip_tag_by_name(tag->xml_name, strlen(tag->xml_name)), tag);
    }
    assert_int_equal(last, KMIP_TAG_LAST);
}

static void tags_of_each_version_are_complete(void **state)
{
    static const size_t expected[] = {161, 183, 211, 247, 292, 337, 354};
    for (size_t v = 0; v < ARRAY_COUNT(versions); v++) {
        size_t count = 0;
        for (size_t i = 0; i < ARRAY_COUNT(tag_rows); i++) {
            const struct kmip_tag_info *tag = kmip_tag_by_number(tag_rows[i]);
            count += kmip_in_version(tag->since, tag->until, versions[v]);
        }
        assert_int_equal(count, expected[v]);
    }
}

static void tags_that_do_not_exist_are_not_found(void **state)
{
    static const uint32_t numbers[] = {0,        1,        0x41FFFF, 0x420000, 0x420137,  0x42013E,
                                       0x42013F, 0x420177, 0x42FFFF, 0x540001, 0xFFFFFFFF};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        assert_null(kmip_tag_by_number(numbers[i]));
        assert_null(kmip_enumeration_by_tag(numbers[i]));
        assert_null(kmip_attribute_by_tag(numbers[i]));
        assert_null(kmip_value_by_number(numbers[i], 1));
        assert_int_equal(kmip_tag_type(numbers[i], KMIP_VERSION_1_4), KMIP_ITEM_TYPE_ANY);
    }
    static const char *const names[] = {
        "",         "activationDate", "ActivationDat", "ActivationDate ", "Activation Date",
        "Reserved", "ActivationDatf"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        assert_null(kmip_tag_by_name(names[i], strlen(names[i])));
}

static void tag_types_follow_the_version(void **state)
{
    static const struct {
        uint32_t tag;
        uint8_t in_1_4;
        uint8_t in_2_1;
    } expected[] = {
        {KMIP_TAG_BATCH_COUNT, KMIP_ITEM_TYPE_INTEGER, KMIP_ITEM_TYPE_INTEGER},
        {KMIP_TAG_ATTRIBUTE_VALUE, KMIP_ITEM_TYPE_ANY, KMIP_ITEM_TYPE_ANY},
        {KMIP_TAG_KEY_MATERIAL, KMIP_ITEM_TYPE_ANY, KMIP_ITEM_TYPE_ANY},
        {KMIP_TAG_UNIQUE_IDENTIFIER, KMIP_ITEM_TYPE_TEXT_STRING, KMIP_ITEM_TYPE_ANY},
        {KMIP_TAG_ASYNCHRONOUS_INDICATOR, KMIP_ITEM_TYPE_BOOLEAN, KMIP_ITEM_TYPE_ENUMERATION},
        {KMIP_TAG_CERTIFICATE_REQUEST, KMIP_ITEM_TYPE_BYTE_STRING, KMIP_ITEM_TYPE_STRUCTURE},
        {KMIP_TAG_EXTENSION_TYPE, KMIP_ITEM_TYPE_INTEGER, KMIP_ITEM_TYPE_ENUMERATION},
        {KMIP_TAG_TIME_STAMP, KMIP_ITEM_TYPE_DATE_TIME, KMIP_ITEM_TYPE_ANY},
        {KMIP_TAG_USAGE_LIMITS_TOTAL, KMIP_ITEM_TYPE_LONG_INTEGER, KMIP_ITEM_TYPE_LONG_INTEGER},
        {KMIP_TAG_MODULUS, KMIP_ITEM_TYPE_BIG_INTEGER, KMIP_ITEM_TYPE_BIG_INTEGER},
        {KMIP_TAG_LEASE_TIME, KMIP_ITEM_TYPE_INTERVAL, KMIP_ITEM_TYPE_INTERVAL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        assert_int_equal(kmip_tag_type(expected[i].tag, KMIP_VERSION_1_4), expected[i].in_1_4);
        assert_int_equal(kmip_tag_type(expected[i].tag, KMIP_VERSION_2_1), expected[i].in_2_1);
    }
    /* Extension Type came with 1.1. */
    assert_int_equal(kmip_tag_type(KMIP_TAG_EXTENSION_TYPE, KMIP_VERSION_1_0), KMIP_ITEM_TYPE_ANY);
}

static void item_types_are_those_of_ttlv(void **state)
{
    assert_int_equal(KMIP_ITEM_TYPE_STRUCTURE, TTLV_STRUCTURE);
    assert_int_equal(KMIP_ITEM_TYPE_INTEGER, TTLV_INTEGER);
    assert_int_equal(KMIP_ITEM_TYPE_LONG_INTEGER, TTLV_LONG_INTEGER);
    assert_int_equal(KMIP_ITEM_TYPE_BIG_INTEGER, TTLV_BIG_INTEGER);
    assert_int_equal(KMIP_ITEM_TYPE_ENUMERATION, TTLV_ENUMERATION);
    assert_int_equal(KMIP_ITEM_TYPE_BOOLEAN, TTLV_BOOLEAN);
    assert_int_equal(KMIP_ITEM_TYPE_TEXT_STRING, TTLV_TEXT_STRING);
    assert_int_equal(KMIP_ITEM_TYPE_BYTE_STRING, TTLV_BYTE_STRING);
    assert_int_equal(KMIP_ITEM_TYPE_DATE_TIME, TTLV_DATE_TIME);
    assert_int_equal(KMIP_ITEM_TYPE_INTERVAL, TTLV_INTERVAL);
    assert_int_equal(KMIP_ITEM_TYPE_DATE_TIME_EXTENDED, TTLV_DATE_TIME_EXTENDED);
}

/* Enumerations */

static void enumeration_tags_have_enumerations(void **state)
{
    for (size_t i = 0; i < ARRAY_COUNT(tag_rows); i++) {
        for (size_t v = 0; v < ARRAY_COUNT(versions); v++) {
            if (kmip_tag_type(tag_rows[i], versions[v]) == KMIP_ITEM_TYPE_ENUMERATION)
                assert_non_null(kmip_enumeration_by_tag(tag_rows[i]));
        }
        uint8_t type = kmip_tag_by_number(tag_rows[i])->type;
        if (type != KMIP_ITEM_TYPE_ENUMERATION && type != KMIP_ITEM_TYPE_ANY)
            assert_null(kmip_enumeration_by_tag(tag_rows[i]));
    }
}

static void enumerations_are_found_by_their_tag(void **state)
{
    for (size_t i = 0; i < ARRAY_COUNT(enumeration_rows); i++) {
        const struct kmip_enumeration *enumeration =
            kmip_enumeration_by_tag(enumeration_rows[i].tag);
        assert_non_null(enumeration);
        assert_int_equal(enumeration->tag, enumeration_rows[i].tag);
        assert_int_equal(enumeration->count, enumeration_rows[i].count);
    }
    assert_ptr_equal(kmip_enumeration_by_tag(KMIP_TAG_MASK_GENERATOR_HASHING_ALGORITHM),
                     kmip_enumeration_by_tag(KMIP_TAG_HASHING_ALGORITHM));
    assert_ptr_equal(kmip_enumeration_by_tag(KMIP_TAG_LINKED_OBJECT_IDENTIFIER),
                     kmip_enumeration_by_tag(KMIP_TAG_UNIQUE_IDENTIFIER));
}

static void check_values(const struct kmip_enumeration *enumeration)
{
    for (uint32_t i = 0; i < enumeration->count; i++) {
        const struct kmip_value_info *value = &enumeration->values[i];
        assert_true(i == 0 || value->number > value[-1].number); /* ascending: none twice */
        assert_span(value->since, value->until);
        assert_ptr_equal(kmip_value_by_number(enumeration->tag, value->number), value);
        assert_ptr_equal(
            kmip_value_by_name(enumeration->tag, value->xml_name, strlen(value->xml_name)), value);
        assert_string_equal(kmip_value_text(enumeration->tag, value->number), value->text);
    }
}

static void values_are_unique_and_found_again(void **state)
{
    for (size_t i = 0; i < ARRAY_COUNT(enumeration_rows); i++)
        check_values(kmip_enumeration_by_tag(enumeration_rows[i].tag));
    check_values(kmip_enumeration_by_tag(KMIP_TAG_TAG));
}

static size_t count_values(uint32_t tag, uint16_t version)
{
    const struct kmip_enumeration *enumeration = kmip_enumeration_by_tag(tag);
    size_t count = 0;
    for (uint32_t i = 0; i < enumeration->count; i++) {
        const struct kmip_value_info *value = &enumeration->values[i];
        count += kmip_in_version(value->since, value->until, version);
    }
    return count;
}

/* Without those of PKCS#11, which KMIP does not list. */
static void values_of_each_version_are_complete(void **state)
{
    static const size_t expected[] = {245, 271, 361, 536, 608, 630, 644};
    for (size_t v = 0; v < ARRAY_COUNT(versions); v++) {
        size_t count = 0;
        for (size_t i = 0; i < ARRAY_COUNT(enumeration_rows); i++) {
            uint32_t tag = enumeration_rows[i].tag;
            if (tag != KMIP_TAG_PKCS_11_FUNCTION && tag != KMIP_TAG_PKCS_11_RETURN_CODE)
                count += count_values(tag, versions[v]);
        }
        assert_int_equal(count, expected[v]);
    }
}

static void well_known_values(void **state)
{
    assert_int_equal(KMIP_TAG_ACTIVATION_DATE, 0x420001);
    assert_int_equal(KMIP_TAG_REQUEST_MESSAGE, 0x420078);
    assert_int_equal(KMIP_TAG_STATE, 0x42008D);
    assert_int_equal(KMIP_TAG_UNIQUE_IDENTIFIER, 0x420094);
    assert_int_equal(KMIP_TAG_NEVER_EXTRACTABLE, 0x420123);
    assert_int_equal(KMIP_TAG_ROTATE_LATEST, 0x420172);
    assert_int_equal(KMIP_OPERATION_CREATE, 1);
    assert_int_equal(KMIP_OPERATION_GET, 0x0A);
    assert_int_equal(KMIP_OPERATION_ACTIVATE, 0x12);
    assert_int_equal(KMIP_OPERATION_QUERY, 0x18);
    assert_int_equal(KMIP_OPERATION_DISCOVER_VERSIONS, 0x1E);
    assert_int_equal(KMIP_OPERATION_PING, 0x3B);
    assert_int_equal(KMIP_CRYPTOGRAPHIC_ALGORITHM_3DES, 2);
    assert_int_equal(KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 3);
    assert_int_equal(KMIP_RESULT_STATUS_SUCCESS, 0);
    assert_int_equal(KMIP_RESULT_REASON_ITEM_NOT_FOUND, 1);
    assert_int_equal(KMIP_RESULT_REASON_INDEX_OUT_OF_BOUNDS, 0x0E);
    assert_int_equal(KMIP_RESULT_REASON_GENERAL_FAILURE, 0x100);
    assert_int_equal(KMIP_OBJECT_TYPE_SYMMETRIC_KEY, 2);
    assert_int_equal(KMIP_STATE_PRE_ACTIVE, 1);
    assert_int_equal(KMIP_STATE_DESTROYED_COMPROMISED, 6);
    assert_int_equal(KMIP_KEY_FORMAT_TYPE_RAW, 1);
    assert_int_equal(KMIP_QUERY_FUNCTION_QUERY_SERVER_INFORMATION, 3);
    assert_int_equal(KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE, 2);
    assert_int_equal(KMIP_BATCH_ERROR_CONTINUATION_OPTION_UNDO, 3);
    assert_int_equal(KMIP_HASHING_ALGORITHM_SHA_256, 6);
    assert_int_equal(KMIP_PKCS_11_FUNCTION_C_INITIALIZE, 1);
    assert_int_equal(KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT | KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT,
                     12);
}

static const struct kmip_value_info *named(uint32_t tag, const char *xml_name)
{
    return kmip_value_by_name(tag, xml_name, strlen(xml_name));
}

static void xml_names_follow_the_profiles(void **state)
{
    static const struct {
        uint32_t tag;
        const char *xml_name;
        uint32_t number;
    } expected[] = {
        {KMIP_TAG_CRYPTOGRAPHIC_ALGORITHM, "DES3", KMIP_CRYPTOGRAPHIC_ALGORITHM_3DES},
        {KMIP_TAG_CRYPTOGRAPHIC_ALGORITHM, "HMAC_SHA256", KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA256},
        {KMIP_TAG_KEY_FORMAT_TYPE, "PKCS_1", KMIP_KEY_FORMAT_TYPE_PKCS_1},
        {KMIP_TAG_KEY_FORMAT_TYPE, "X_509", KMIP_KEY_FORMAT_TYPE_X_509},
        {KMIP_TAG_OPERATION, "ReKeyKeyPair", KMIP_OPERATION_RE_KEY_KEY_PAIR},
        {KMIP_TAG_WRAPPING_METHOD, "EncryptThenMACSign",
         KMIP_WRAPPING_METHOD_ENCRYPT_THEN_MAC_SIGN},
        {KMIP_TAG_RNG_ALGORITHM, "ANSIX9_31", KMIP_RNG_ALGORITHM_ANSI_X9_31},
        {KMIP_TAG_DIGITAL_SIGNATURE_ALGORITHM, "SHA_256WithRSAEncryption", 5},
        {KMIP_TAG_SPLIT_KEY_METHOD, "PolynomialSharingGF2_8", 4},
        {KMIP_TAG_ATTRIBUTE_REFERENCE, "CryptographicUsageMask", KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK},
    };
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        const struct kmip_value_info *value = named(expected[i].tag, expected[i].xml_name);
        assert_non_null(value);
        assert_int_equal(value->number, expected[i].number);
    }
}

static void other_wordings_are_found(void **state)
{
    const struct kmip_value_info *value = named(KMIP_TAG_HASHING_ALGORITHM, "SHA_3_256");
    assert_non_null(value);
    assert_ptr_equal(value, named(KMIP_TAG_HASHING_ALGORITHM, "SHA3_256"));
    assert_ptr_equal(value, named(KMIP_TAG_MASK_GENERATOR_HASHING_ALGORITHM, "SHA_3_256"));
    assert_non_null(named(KMIP_TAG_MASK_GENERATOR, "MFG1")); /* as 2.x misspells it */
    assert_ptr_equal(named(KMIP_TAG_MASK_GENERATOR, "MFG1"),
                     named(KMIP_TAG_MASK_GENERATOR, "MGF1"));
    assert_null(named(KMIP_TAG_CRYPTOGRAPHIC_ALGORITHM, "SHA_3_256"));
}

static void values_that_do_not_exist_are_not_found(void **state)
{
    assert_null(kmip_value_by_number(KMIP_TAG_OPERATION, 0));
    assert_null(kmip_value_by_number(KMIP_TAG_OPERATION, 0x3C));
    assert_null(kmip_value_by_number(KMIP_TAG_OPERATION, 0x80000001));
    assert_null(kmip_value_by_number(KMIP_TAG_RESULT_REASON, 0x27)); /* reserved in between */
    assert_null(kmip_value_by_number(KMIP_TAG_OPAQUE_DATA_TYPE, 1));
    assert_null(kmip_value_by_number(KMIP_TAG_BATCH_COUNT, 1));
    assert_null(named(KMIP_TAG_OPAQUE_DATA_TYPE, "Anything"));
    assert_null(named(KMIP_TAG_BATCH_COUNT, "Create"));
    assert_null(named(KMIP_TAG_OPERATION, "create"));
    assert_null(named(KMIP_TAG_OPERATION, "Creat"));
    assert_null(named(KMIP_TAG_OPERATION, ""));
    assert_null(named(KMIP_TAG_STATE, "Create")); /* the neighbour's */
    assert_null(named(KMIP_TAG_OPERATION, "PreActive"));
    assert_string_equal(kmip_value_text(KMIP_TAG_OPERATION, 0x80000001), "unknown");
}

/* Masks */

static void masks_are_unique_and_found_again(void **state)
{
    for (size_t i = 0; i < ARRAY_COUNT(mask_rows); i++) {
        uint32_t tag = mask_rows[i].tag;
        uint32_t bit = mask_rows[i].bit;
        assert_true(bit != 0 && (bit & (bit - 1)) == 0);
        assert_span(mask_rows[i].since, mask_rows[i].until);
        assert_int_equal(kmip_tag_by_number(tag)->type, KMIP_ITEM_TYPE_INTEGER);
        const struct kmip_value_info *info = kmip_mask_by_bit(tag, bit);
        assert_non_null(info);
        assert_string_equal(info->xml_name, mask_rows[i].xml_name);
        assert_ptr_equal(kmip_mask_by_name(tag, info->xml_name, strlen(info->xml_name)), info);
    }
    assert_null(kmip_mask_by_bit(KMIP_TAG_STORAGE_STATUS_MASK, 8));
    assert_null(kmip_mask_by_bit(KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK, 3));
    assert_null(kmip_mask_by_bit(KMIP_TAG_BATCH_COUNT, 1));
    assert_null(kmip_mask_by_name(KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK, "Encryp", 6));
}

static void masks_follow_the_version(void **state)
{
    assert_int_equal(kmip_mask_bits(KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK, KMIP_VERSION_1_0), 0xFFFFF);
    assert_int_equal(kmip_mask_bits(KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK, KMIP_VERSION_1_4), 0xFFFFF);
    assert_int_equal(kmip_mask_bits(KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK, KMIP_VERSION_2_1), 0xF03BBF);
    assert_int_equal(kmip_mask_bits(KMIP_TAG_STORAGE_STATUS_MASK, KMIP_VERSION_1_4), 3);
    assert_int_equal(kmip_mask_bits(KMIP_TAG_STORAGE_STATUS_MASK, KMIP_VERSION_2_0), 7);
    assert_int_equal(kmip_mask_bits(KMIP_TAG_PROTECTION_STORAGE_MASK, KMIP_VERSION_1_4), 0);
    assert_int_equal(kmip_mask_bits(KMIP_TAG_PROTECTION_STORAGE_MASK, KMIP_VERSION_2_1), 0x3FFF);
    assert_int_equal(kmip_mask_bits(KMIP_TAG_BATCH_COUNT, KMIP_VERSION_2_1), 0);
}

/* Operations and object types */

static void operations_have_rules_and_numbers(void **state)
{
    static const size_t expected[] = {28, 30, 41, 41, 43, 53, 59};
    const struct kmip_enumeration *all = kmip_enumeration_by_tag(KMIP_TAG_OPERATION);
    for (uint32_t i = 0; i < all->count; i++) {
        const struct kmip_operation_info *operation = kmip_operation_by_code(all->values[i].number);
        assert_non_null(operation);
        assert_ptr_equal(operation->value, &all->values[i]);
        assert_true(operation->side >= KMIP_SIDE_CLIENT && operation->side <= KMIP_SIDE_BOTH);
        assert_int_equal(operation->clause_1[0] == 0, operation->value->since >= KMIP_VERSION_2_0);
        assert_true(operation->clause_2[0] == '6');
    }
    for (size_t v = 0; v < ARRAY_COUNT(versions); v++)
        assert_int_equal(count_values(KMIP_TAG_OPERATION, versions[v]), expected[v]);
    assert_null(kmip_operation_by_code(0));
    assert_null(kmip_operation_by_code(all->count + 1));
    assert_null(kmip_operation_by_code(0x80000001));
}

static void operations_tell_what_they_do(void **state)
{
    static const struct {
        uint32_t code;
        uint8_t flags;
    } expected[] = {
        {KMIP_OPERATION_CREATE, KMIP_OPERATION_FLAG_WRITES | KMIP_OPERATION_FLAG_SETS_ID},
        {KMIP_OPERATION_GET, KMIP_OPERATION_FLAG_EXPORTS | KMIP_OPERATION_FLAG_TAKES_ID},
        {KMIP_OPERATION_GET_ATTRIBUTES, KMIP_OPERATION_FLAG_TAKES_ID},
        {KMIP_OPERATION_LOCATE, KMIP_OPERATION_FLAG_SETS_ID},
        {KMIP_OPERATION_DESTROY, KMIP_OPERATION_FLAG_WRITES | KMIP_OPERATION_FLAG_TAKES_ID},
        {KMIP_OPERATION_QUERY, 0},
        {KMIP_OPERATION_DISCOVER_VERSIONS, 0},
        {KMIP_OPERATION_RE_KEY,
         KMIP_OPERATION_FLAG_WRITES | KMIP_OPERATION_FLAG_TAKES_ID | KMIP_OPERATION_FLAG_SETS_ID},
        {KMIP_OPERATION_EXPORT,
         KMIP_OPERATION_FLAG_EXPORTS | KMIP_OPERATION_FLAG_TAKES_ID | KMIP_OPERATION_FLAG_SETS_ID},
    };
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
        assert_int_equal(kmip_operation_by_code(expected[i].code)->flags, expected[i].flags);
    assert_int_equal(kmip_operation_by_code(KMIP_OPERATION_NOTIFY)->side, KMIP_SIDE_SERVER);
    assert_int_equal(kmip_operation_by_code(KMIP_OPERATION_GET)->side, KMIP_SIDE_CLIENT);
    assert_int_equal(kmip_operation_by_code(KMIP_OPERATION_QUERY)->side, KMIP_SIDE_BOTH);
}

static void object_types_have_classes_and_a_tag(void **state)
{
    const struct kmip_enumeration *all = kmip_enumeration_by_tag(KMIP_TAG_OBJECT_TYPE);
    assert_int_equal(all->count, 10);
    for (uint32_t i = 0; i < all->count; i++) {
        const struct kmip_object_type_info *type = kmip_object_type_by_code(all->values[i].number);
        assert_non_null(type);
        assert_ptr_equal(type->value, &all->values[i]);
        assert_true(type->classes & KMIP_OBJECT_CLASS_ALL);
        assert_string_equal(kmip_tag_by_number(type->tag)->text, type->value->text);
    }
    assert_null(kmip_object_type_by_code(0));
    assert_null(kmip_object_type_by_code(11));
    uint16_t symmetric = kmip_object_type_by_code(KMIP_OBJECT_TYPE_SYMMETRIC_KEY)->classes;
    assert_true(symmetric & KMIP_OBJECT_CLASS_KEY_BLOCK);
    uint16_t opaque = kmip_object_type_by_code(KMIP_OBJECT_TYPE_OPAQUE_OBJECT)->classes;
    assert_false(opaque & (KMIP_OBJECT_CLASS_KEY_BLOCK | KMIP_OBJECT_CLASS_CRYPTOGRAPHIC));
}

/* Attributes */

static const struct kmip_attribute_info *attribute_named(const char *name)
{
    return kmip_attribute_by_name(name, strlen(name));
}

static void attributes_are_found_again(void **state)
{
    for (int id = 0; id < KMIP_ATTRIBUTE_COUNT; id++) {
        const struct kmip_attribute_info *attribute = kmip_attribute_by_id((enum kmip_attribute)id);
        assert_non_null(attribute);
        assert_int_equal(attribute->id, id);
        assert_ptr_equal(kmip_attribute_by_tag(attribute->tag->number), attribute);
        assert_span(attribute->since, attribute->until);
        assert_true(attribute->since >= attribute->tag->since);
        assert_true(attribute->until <= attribute->tag->until);
        if (attribute->name[0] == 0)
            continue;
        assert_string_equal(attribute->name, attribute->tag->text);
        assert_ptr_equal(attribute_named(attribute->name), attribute);
        assert_true(attribute->since < KMIP_VERSION_2_0);
    }
    assert_null(kmip_attribute_by_id(KMIP_ATTRIBUTE_COUNT));
    assert_null(kmip_attribute_by_tag(KMIP_TAG_BATCH_COUNT));
}

/* Sections with a rule table; 2.x counts each of the 24 Certificate Attributes of its §4.6. */
static void attributes_of_each_version_are_complete(void **state)
{
    static const size_t expected[] = {33, 39, 43, 44, 51, 79, 86};
    for (size_t v = 0; v < ARRAY_COUNT(versions); v++) {
        size_t count = 0;
        for (int id = 0; id < KMIP_ATTRIBUTE_COUNT; id++) {
            const struct kmip_attribute_info *attribute =
                kmip_attribute_by_id((enum kmip_attribute)id);
            count += kmip_in_version(attribute->since, attribute->until, versions[v]);
        }
        assert_int_equal(count, expected[v]);
    }
}

/* A name that is nearly one of the standard's is not: each row, changed in every likely way. */
static void attribute_names_are_exact(void **state)
{
    for (int id = 0; id < KMIP_ATTRIBUTE_COUNT; id++) {
        const char *name = kmip_attribute_by_id((enum kmip_attribute)id)->name;
        size_t length = strlen(name);
        char near[64];
        if (length == 0)
            continue;
        assert_true(length < sizeof(near) - 1);
        memcpy(near, name, length + 1);
        assert_null(kmip_attribute_by_name(near, length - 1));
        assert_null(kmip_attribute_by_name(near, length + 1)); /* with the NUL */
        near[0] ^= 0x20;                                       /* case */
        assert_null(kmip_attribute_by_name(near, length));
        near[0] ^= 0x20;
        near[length - 1] ^= 1;
        assert_null(kmip_attribute_by_name(near, length));
    }
    static const char *const others[] = {"x-Name",
                                         " Name",
                                         "Name ",
                                         "",
                                         "State\n",
                                         "UniqueIdentifier",
                                         "Unique  Identifier",
                                         "Custom Attribute",
                                         "Vendor Attribute",
                                         "Protection Level",
                                         "Batch Count"};
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        assert_null(attribute_named(others[i]));
}

static void long_attribute_names_are_refused(void **state)
{
    char name[600];
    memset(name, 'N', sizeof(name));
    memcpy(name, "Name", 4);
    assert_null(kmip_attribute_by_name(name, sizeof(name)));
    assert_null(kmip_attribute_by_name(name, 256 + 4)); /* 4 if cut to a byte */
    assert_ptr_equal(kmip_attribute_by_name(name, 4), kmip_attribute_by_id(KMIP_ATTRIBUTE_NAME));
}

static void attribute_rules_are_those_of_the_standard(void **state)
{
    static const struct {
        enum kmip_attribute id;
        uint8_t always, set_by, server_may, client_may, client_deletes, multiple;
    } expected[] = {
        {KMIP_ATTRIBUTE_UNIQUE_IDENTIFIER, KMIP_RULE_YES, KMIP_SIDE_SERVER, KMIP_RULE_NO,
         KMIP_RULE_NO, KMIP_RULE_NO, KMIP_RULE_NO},
        {KMIP_ATTRIBUTE_NAME, KMIP_RULE_NO, KMIP_SIDE_CLIENT, KMIP_RULE_YES, KMIP_RULE_YES,
         KMIP_RULE_YES, KMIP_RULE_YES},
        {KMIP_ATTRIBUTE_CRYPTOGRAPHIC_PARAMETERS, KMIP_RULE_NO, KMIP_SIDE_CLIENT, KMIP_RULE_NO,
         KMIP_RULE_YES, KMIP_RULE_YES, KMIP_RULE_YES},
        {KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK, KMIP_RULE_YES, KMIP_SIDE_BOTH, KMIP_RULE_YES,
         KMIP_RULE_NO, KMIP_RULE_NO, KMIP_RULE_NO},
        {KMIP_ATTRIBUTE_STATE, KMIP_RULE_YES, KMIP_SIDE_SERVER, KMIP_RULE_YES, KMIP_RULE_NO,
         KMIP_RULE_NO, KMIP_RULE_NO},
        {KMIP_ATTRIBUTE_ACTIVATION_DATE, KMIP_RULE_NO, KMIP_SIDE_BOTH, KMIP_RULE_PRE_ACTIVE,
         KMIP_RULE_PRE_ACTIVE, KMIP_RULE_NO, KMIP_RULE_NO},
        {KMIP_ATTRIBUTE_DEACTIVATION_DATE, KMIP_RULE_NO, KMIP_SIDE_BOTH,
         KMIP_RULE_PRE_ACTIVE_OR_ACTIVE, KMIP_RULE_PRE_ACTIVE_OR_ACTIVE, KMIP_RULE_NO,
         KMIP_RULE_NO},
        {KMIP_ATTRIBUTE_PROTECT_STOP_DATE, KMIP_RULE_NO, KMIP_SIDE_BOTH, KMIP_RULE_UNTIL_REACHED,
         KMIP_RULE_UNTIL_REACHED, KMIP_RULE_NO, KMIP_RULE_NO},
        {KMIP_ATTRIBUTE_USAGE_LIMITS, KMIP_RULE_NO, KMIP_SIDE_BOTH, KMIP_RULE_YES, KMIP_RULE_UNUSED,
         KMIP_RULE_UNUSED, KMIP_RULE_NO},
        {KMIP_ATTRIBUTE_CONTACT_INFORMATION, KMIP_RULE_NO, KMIP_SIDE_BOTH, KMIP_RULE_YES,
         KMIP_RULE_YES, KMIP_RULE_YES, KMIP_RULE_NO},
        {KMIP_ATTRIBUTE_OBJECT_GROUP, KMIP_RULE_NO, KMIP_SIDE_BOTH, KMIP_RULE_YES, KMIP_RULE_YES,
         KMIP_RULE_YES, KMIP_RULE_YES},
        {KMIP_ATTRIBUTE_SENSITIVE, KMIP_RULE_YES, KMIP_SIDE_BOTH, KMIP_RULE_YES, KMIP_RULE_YES,
         KMIP_RULE_NO, KMIP_RULE_NO},
    };
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        const struct kmip_attribute_info *attribute = kmip_attribute_by_id(expected[i].id);
        assert_int_equal(attribute->always, expected[i].always);
        assert_int_equal(attribute->set_by, expected[i].set_by);
        assert_int_equal(attribute->server_may, expected[i].server_may);
        assert_int_equal(attribute->client_may, expected[i].client_may);
        assert_int_equal(attribute->client_deletes, expected[i].client_deletes);
        assert_int_equal(attribute->multiple, expected[i].multiple);
    }
}

static void implicit_sets_are_those_of_the_standard(void **state)
{
    uint64_t made = KMIP_OPERATION_BIT(CREATE) | KMIP_OPERATION_BIT(CREATE_KEY_PAIR) |
                    KMIP_OPERATION_BIT(REGISTER) | KMIP_OPERATION_BIT(DERIVE_KEY) |
                    KMIP_OPERATION_BIT(CERTIFY) | KMIP_OPERATION_BIT(RE_CERTIFY) |
                    KMIP_OPERATION_BIT(RE_KEY) | KMIP_OPERATION_BIT(RE_KEY_KEY_PAIR);
    uint64_t changed = made | KMIP_OPERATION_BIT(ACTIVATE) | KMIP_OPERATION_BIT(REVOKE) |
                       KMIP_OPERATION_BIT(DESTROY) | KMIP_OPERATION_BIT(ARCHIVE) |
                       KMIP_OPERATION_BIT(RECOVER) | KMIP_OPERATION_BIT(ADD_ATTRIBUTE) |
                       KMIP_OPERATION_BIT(MODIFY_ATTRIBUTE) | KMIP_OPERATION_BIT(DELETE_ATTRIBUTE) |
                       KMIP_OPERATION_BIT(GET_USAGE_ALLOCATION);
    assert_true(kmip_attribute_by_id(KMIP_ATTRIBUTE_UNIQUE_IDENTIFIER)->implicit == made);
    assert_true(kmip_attribute_by_id(KMIP_ATTRIBUTE_LAST_CHANGE_DATE)->implicit == changed);
    assert_true(kmip_attribute_by_id(KMIP_ATTRIBUTE_ORIGINAL_CREATION_DATE)->implicit ==
                (made & ~KMIP_OPERATION_BIT(REGISTER) & ~KMIP_OPERATION_BIT(CERTIFY) &
                 ~KMIP_OPERATION_BIT(RE_CERTIFY)));
    assert_true(kmip_attribute_by_id(KMIP_ATTRIBUTE_LINK)->implicit ==
                (made & ~KMIP_OPERATION_BIT(CREATE) & ~KMIP_OPERATION_BIT(REGISTER)));
    assert_true(kmip_attribute_by_id(KMIP_ATTRIBUTE_COMMENT)->implicit == 0);
}

static bool applies(enum kmip_attribute id, enum kmip_object_type type, uint16_t version)
{
    return kmip_attribute_applies(kmip_attribute_by_id(id), type, version);
}

static void attributes_apply_to_the_types_of_the_version(void **state)
{
    assert_true(applies(KMIP_ATTRIBUTE_STATE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY, KMIP_VERSION_1_0));
    assert_true(applies(KMIP_ATTRIBUTE_STATE, KMIP_OBJECT_TYPE_SECRET_DATA, KMIP_VERSION_1_4));
    assert_false(applies(KMIP_ATTRIBUTE_STATE, KMIP_OBJECT_TYPE_TEMPLATE, KMIP_VERSION_1_0));
    assert_false(applies(KMIP_ATTRIBUTE_STATE, KMIP_OBJECT_TYPE_OPAQUE_OBJECT, KMIP_VERSION_1_4));
    assert_true(applies(KMIP_ATTRIBUTE_STATE, KMIP_OBJECT_TYPE_OPAQUE_OBJECT, KMIP_VERSION_2_1));
    assert_true(applies(KMIP_ATTRIBUTE_DIGEST, KMIP_OBJECT_TYPE_OPAQUE_OBJECT, KMIP_VERSION_1_4));
    assert_true(
        applies(KMIP_ATTRIBUTE_DESTROY_DATE, KMIP_OBJECT_TYPE_OPAQUE_OBJECT, KMIP_VERSION_1_4));
    assert_true(applies(KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM, KMIP_OBJECT_TYPE_TEMPLATE,
                        KMIP_VERSION_1_2));
    assert_false(applies(KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM, KMIP_OBJECT_TYPE_SECRET_DATA,
                         KMIP_VERSION_1_4));
    assert_true(applies(KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK, KMIP_OBJECT_TYPE_SECRET_DATA,
                        KMIP_VERSION_1_4));
    assert_false(
        applies(KMIP_ATTRIBUTE_PROCESS_START_DATE, KMIP_OBJECT_TYPE_PRIVATE_KEY, KMIP_VERSION_1_4));
    assert_false(
        applies(KMIP_ATTRIBUTE_CERTIFICATE_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY, KMIP_VERSION_2_1));
    assert_true(applies(KMIP_ATTRIBUTE_NAME, KMIP_OBJECT_TYPE_OPAQUE_OBJECT, KMIP_VERSION_1_0));
    /* Not an attribute in that version at all. */
    assert_false(applies(KMIP_ATTRIBUTE_FRESH, KMIP_OBJECT_TYPE_SYMMETRIC_KEY, KMIP_VERSION_1_0));
    assert_false(applies(KMIP_ATTRIBUTE_OPERATION_POLICY_NAME, KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                         KMIP_VERSION_2_0));
    assert_false(applies(KMIP_ATTRIBUTE_NAME, (enum kmip_object_type)77, KMIP_VERSION_1_4));
}

/* The life cycle */

static void only_the_transitions_of_the_figure_exist(void **state)
{
    /* [from][cause], 0 for none */
    static const enum kmip_state expected[7][6] = {
        [KMIP_STATE_PRE_ACTIVE] = {[KMIP_CAUSE_ACTIVATE] = KMIP_STATE_ACTIVE,
                                   [KMIP_CAUSE_ACTIVATION_DATE] = KMIP_STATE_ACTIVE,
                                   [KMIP_CAUSE_COMPROMISE] = KMIP_STATE_COMPROMISED,
                                   [KMIP_CAUSE_DESTROY] = KMIP_STATE_DESTROYED},
        [KMIP_STATE_ACTIVE] = {[KMIP_CAUSE_DEACTIVATION_DATE] = KMIP_STATE_DEACTIVATED,
                               [KMIP_CAUSE_REVOKE] = KMIP_STATE_DEACTIVATED,
                               [KMIP_CAUSE_COMPROMISE] = KMIP_STATE_COMPROMISED},
        [KMIP_STATE_DEACTIVATED] = {[KMIP_CAUSE_COMPROMISE] = KMIP_STATE_COMPROMISED,
                                    [KMIP_CAUSE_DESTROY] = KMIP_STATE_DESTROYED},
        [KMIP_STATE_COMPROMISED] = {[KMIP_CAUSE_DESTROY] = KMIP_STATE_DESTROYED_COMPROMISED},
        [KMIP_STATE_DESTROYED] = {[KMIP_CAUSE_COMPROMISE] = KMIP_STATE_DESTROYED_COMPROMISED},
    };
    for (int from = 0; from < 7; from++) {
        for (int cause = 0; cause < 6; cause++) {
            enum kmip_state to = (enum kmip_state)99;
            bool moves = kmip_state_after((enum kmip_state)from, (enum kmip_cause)cause, &to);
            assert_int_equal(moves, expected[from][cause] != 0);
            assert_int_equal(to, moves ? (int)expected[from][cause] : 99);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_compare_as_numbers),
        cmocka_unit_test(tags_are_unique_and_found_again),
        cmocka_unit_test(tags_of_each_version_are_complete),
        cmocka_unit_test(tags_that_do_not_exist_are_not_found),
        cmocka_unit_test(tag_types_follow_the_version),
        cmocka_unit_test(item_types_are_those_of_ttlv),
        cmocka_unit_test(enumeration_tags_have_enumerations),
        cmocka_unit_test(enumerations_are_found_by_their_tag),
        cmocka_unit_test(values_are_unique_and_found_again),
        cmocka_unit_test(values_of_each_version_are_complete),
        cmocka_unit_test(well_known_values),
        cmocka_unit_test(xml_names_follow_the_profiles),
        cmocka_unit_test(other_wordings_are_found),
        cmocka_unit_test(values_that_do_not_exist_are_not_found),
        cmocka_unit_test(masks_are_unique_and_found_again),
        cmocka_unit_test(masks_follow_the_version),
        cmocka_unit_test(operations_have_rules_and_numbers),
        cmocka_unit_test(operations_tell_what_they_do),
        cmocka_unit_test(object_types_have_classes_and_a_tag),
        cmocka_unit_test(attributes_are_found_again),
        cmocka_unit_test(attributes_of_each_version_are_complete),
        cmocka_unit_test(attribute_names_are_exact),
        cmocka_unit_test(long_attribute_names_are_refused),
        cmocka_unit_test(attribute_rules_are_those_of_the_standard),
        cmocka_unit_test(implicit_sets_are_those_of_the_standard),
        cmocka_unit_test(attributes_apply_to_the_types_of_the_version),
        cmocka_unit_test(only_the_transitions_of_the_figure_exist),
    };
    return cmocka_run_group_tests_name("vocabulary", tests, NULL, NULL);
}
