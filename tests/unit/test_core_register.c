/* SPDX-License-Identifier: Apache-2.0 */
/* Making, registering and getting objects (KMIP 1.4 §2.1.3, §2.2, §4.1, §4.3, §4.11): lengths of
 * every algorithm, every key format, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core_talk.h"
#include "crypto/digest.h"

/* ---- Create ---- */

static const struct kmip_response_item *create_with_length(struct talk *talk, uint32_t algorithm,
                                                           int64_t bits)
{
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_CREATE);
    const struct kmip_named_attribute attributes[] = {
        named("Cryptographic Algorithm", enumeration(algorithm)),
        named("Cryptographic Usage Mask", integer(0)),
        named("Cryptographic Length", integer((int32_t)bits))};
    ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
    put_template(payload, (struct kmip_list){bits < 0 ? 2 : 3, (void *)(uintptr_t)attributes});
    return talk_send(talk, 1);
}

/* Bits as a client asks for them, and the bytes that the key has; 0: refused. */
static void keys_have_the_lengths_of_their_algorithm(void **state)
{
    struct talk *talk = *state;
    static const struct {
        uint32_t algorithm;
        int32_t bits;
        size_t bytes;
    } lengths[] = {
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 128, 16},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 192, 24},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 256, 32},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 0, 0},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 64, 0},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 257, 0},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 320, 0},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, INT32_MAX, 0},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_DES, 56, 8}, /* parity is not counted, or is */
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_DES, 64, 8},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_DES, 128, 0},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_3DES, 112, 16},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_3DES, 168, 24},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_3DES, 192, 24},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_3DES, 56, 0},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA256, 8, 1},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA256, 512, 64},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA256, 4096, 512},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA256, 7, 0},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA256, 4104, 0},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_IDEA, 128, 16},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_IDEA, 256, 0},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_SKIPJACK, 80, 10},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_BLOWFISH, 448, 56},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_RC4, 40, 5},
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA, 2048, 0}, /* no symmetric key */
        {KMIP_CRYPTOGRAPHIC_ALGORITHM_EC, 256, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        const struct kmip_response_item *item =
            create_with_length(talk, lengths[i].algorithm, lengths[i].bits);
        if (lengths[i].bytes == 0) {
            assert_reason(item, KMIP_RESULT_REASON_INVALID_FIELD);
            continue;
        }
        struct bytes id = created_id(talk, item);
        assert_int_equal(key_of(talk, id).size, lengths[i].bytes);
        assert_int_equal(number_of(talk, id, "Cryptographic Length"), lengths[i].bits);
    }
}

static void a_create_without_length_gets_the_usual_one(void **state)
{
    struct talk *talk = *state;
    static const struct {
        uint32_t algorithm;
        int64_t bits;
        size_t bytes;
    } usual[] = {{KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 256, 32},
                 {KMIP_CRYPTOGRAPHIC_ALGORITHM_3DES, 168, 24},
                 {KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA512, 512, 64},
                 {KMIP_CRYPTOGRAPHIC_ALGORITHM_SKIPJACK, 80, 10}};
    for (size_t i = 0; i < ARRAY_COUNT(usual); i++) {
        struct bytes id = created_id(talk, create_with_length(talk, usual[i].algorithm, -1));
        assert_int_equal(number_of(talk, id, "Cryptographic Length"), usual[i].bits);
        assert_int_equal(key_of(talk, id).size, usual[i].bytes);
    }
    assert_reason(create_with_length(talk, KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA, -1),
                  KMIP_RESULT_REASON_INVALID_FIELD);
}

static void a_create_needs_algorithm_and_mask(void **state)
{
    struct talk *talk = *state;
    const struct kmip_list parts[] = {
        WITH(named("Cryptographic Algorithm", enumeration(KMIP_CRYPTOGRAPHIC_ALGORITHM_AES))),
        WITH(named("Cryptographic Usage Mask", integer(12))), WITHOUT};
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        struct buffer *payload = talk_item(talk, KMIP_OPERATION_CREATE);
        ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
        put_template(payload, parts[i]);
        assert_reason(talk_send(talk, 1), KMIP_RESULT_REASON_MISSING_DATA);
    }
}

static void only_symmetric_keys_are_created(void **state)
{
    struct talk *talk = *state;
    for (uint32_t type = 0; type < 12; type++) {
        if (type == KMIP_OBJECT_TYPE_SYMMETRIC_KEY)
            continue;
        struct buffer *payload = talk_item(talk, KMIP_OPERATION_CREATE);
        ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, type);
        put_template(payload, WITHOUT);
        assert_reason(talk_send(talk, 1), KMIP_RESULT_REASON_INVALID_FIELD);
    }
}

static void no_two_keys_are_the_same(void **state)
{
    struct talk *talk = *state;
    struct bytes keys[16];
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        keys[i] = key_of(talk, create_key(talk));
        for (size_t j = 0; j < i; j++)
            assert_false(bytes_equal(keys[i], keys[j]));
    }
}

/* What is answered, and in which order its fields stand, is what clients have been seen to read. */
static void a_create_answers_type_and_identifier(void **state)
{
    struct talk *talk = *state;
    struct kmip_create_response response;
    talk_payload(talk, try_create(talk, WITHOUT), &kmip_create_response_shape, &response);
    assert_int_equal(response.object_type.value, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
    assert_null(response.template_attribute);
}

/* ---- Register ---- */

/* A symmetric key to be registered, and what is unusual about it. */
struct key {
    struct kmip_key_block block;
    struct kmip_any material;
    struct kmip_list inner; /* attributes in the Key Value */
    struct kmip_list attributes;
    uint32_t object_type; /* 0: Symmetric Key */
    uint32_t tag;         /* 0: Symmetric Key */
    bool no_value;
};

static struct key aes_key(const char *material)
{
    return (struct key){
        .block = {.key_format_type = kmip_number(KMIP_KEY_FORMAT_TYPE_RAW),
                  .cryptographic_algorithm = kmip_number(KMIP_CRYPTOGRAPHIC_ALGORITHM_AES),
                  .cryptographic_length = kmip_number((int64_t)strlen(material) * 8)},
        .material = byte_string(material)};
}

static const char material16[] = "0123456789abcdef";
static const char material32[] = "0123456789abcdefFEDCBA9876543210";

static void put_key(struct talk *talk, struct buffer *payload, struct key key)
{
    struct kmip_key_value value = {.key_material = key.material, .attributes = key.inner};
    if (!key.no_value && key.block.key_value.type == 0)
        key.block.key_value = value_structure(talk_arena(talk), &kmip_key_value_shape, &value);
    const struct kmip_symmetric_key symmetric = {.key_block = &key.block};
    ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE,
                           key.object_type != 0 ? key.object_type : KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
    put_template(payload, key.attributes);
    kmip_encode_structure(key.tag != 0 ? key.tag : KMIP_TAG_SYMMETRIC_KEY,
                          &kmip_symmetric_key_shape, &symmetric, KMIP_VERSION_LATEST, payload);
}

static const struct kmip_response_item *try_register(struct talk *talk, struct key key)
{
    put_key(talk, talk_item(talk, KMIP_OPERATION_REGISTER), key);
    return talk_send(talk, 1);
}

static struct bytes registered(struct talk *talk, struct key key)
{
    return created_id(talk, try_register(talk, key));
}

static void a_registered_key_comes_back(void **state)
{
    struct talk *talk = *state;
    struct kmip_create_response response;
    struct key key = aes_key(material32);
    key.attributes = WITH(named("Cryptographic Usage Mask", integer(12)),
                          named("Name", name_value("registered")));
    const struct kmip_response_item *item = try_register(talk, key);
    talk_payload(talk, item, &kmip_create_response_shape, &response);
    assert_false(response.object_type.present); /* clients break on one here */
    struct bytes id = response.unique_identifier;
    assert_true(bytes_equal_text(key_of(talk, id), material32));
    assert_int_equal(number_of(talk, id, "Cryptographic Usage Mask"), 12);
    assert_int_equal(number_of(talk, id, "Cryptographic Length"), 256);
    assert_int_equal(number_of(talk, id, "Cryptographic Algorithm"),
                     KMIP_CRYPTOGRAPHIC_ALGORITHM_AES);
    assert_int_equal(state_of(talk, id), KMIP_STATE_PRE_ACTIVE);
    assert_null(attribute_of(talk, id, "Random Number Generator", 0)); /* not made here */
}

/* The key block and the attributes may both say what the key is; they must agree. */
static void what_is_said_twice_must_agree(void **state)
{
    struct talk *talk = *state;
    struct key key = aes_key(material16);
    key.attributes =
        WITH(named("Cryptographic Algorithm", enumeration(KMIP_CRYPTOGRAPHIC_ALGORITHM_AES)),
             named("Cryptographic Length", integer(128)));
    assert_success(try_register(talk, key));
    key.attributes = WITH(named("Cryptographic Length", integer(256)));
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
    key.attributes =
        WITH(named("Cryptographic Algorithm", enumeration(KMIP_CRYPTOGRAPHIC_ALGORITHM_3DES)));
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
    key = aes_key(material16);
    key.block.cryptographic_length = kmip_number(136);
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
    key.block.cryptographic_length = kmip_number(-128);
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
    key.block.cryptographic_length = kmip_number(INT32_MIN);
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
}

static void what_is_not_said_is_found_out_or_missing(void **state)
{
    struct talk *talk = *state;
    struct key key = aes_key(material16);
    key.block.cryptographic_length.present = false;
    struct bytes id = registered(talk, key);
    assert_int_equal(number_of(talk, id, "Cryptographic Length"), 128);
    assert_int_equal(number_of(talk, id, "Cryptographic Usage Mask"), 0);
    key.block.cryptographic_algorithm.present = false;
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_MISSING_DATA);
    key.attributes =
        WITH(named("Cryptographic Algorithm", enumeration(KMIP_CRYPTOGRAPHIC_ALGORITHM_AES)));
    assert_success(try_register(talk, key));
    key.attributes =
        WITH(named("Cryptographic Algorithm", enumeration(KMIP_CRYPTOGRAPHIC_ALGORITHM_3DES)));
    id = registered(talk, key);
    assert_int_equal(number_of(talk, id, "Cryptographic Length"), 112); /* without parity */
    key.material = byte_string("");
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
    key.no_value = true;
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_MISSING_DATA);
}

/* Attributes may stand in the Key Value too; they never come back there. */
static void attributes_in_the_key_value_are_taken(void **state)
{
    struct talk *talk = *state;
    struct key key = aes_key(material16);
    key.inner = WITH(named("Cryptographic Usage Mask", integer(4)), named("x-a", integer(1)));
    struct bytes id = registered(talk, key);
    assert_int_equal(number_of(talk, id, "Cryptographic Usage Mask"), 4);
    assert_int_equal(number_of(talk, id, "x-a"), 1);
    struct kmip_get_response got;
    struct kmip_key_value value;
    talk_payload(talk, by_id(talk, KMIP_OPERATION_GET, id), &kmip_get_response_shape, &got);
    assert_int_equal(kmip_decode(&kmip_key_value_shape,
                                 ttlv_reader_over(got.symmetric_key->key_block->key_value.value),
                                 talk_arena(talk), &value),
                     STATUS_OK);
    assert_int_equal(value.attributes.count, 0);
    key.attributes = WITH(named("Cryptographic Usage Mask", integer(4)));
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INDEX_OUT_OF_BOUNDS);
}

/* Nobody here could open it. */
static void wrapped_keys_are_refused(void **state)
{
    struct talk *talk = *state;
    struct key key = aes_key(material16);
    key.block.key_wrapping_data = (struct kmip_any){TTLV_STRUCTURE, BYTES_LITERAL("")};
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_FEATURE_NOT_SUPPORTED);
    key.block.key_value = byte_string("wrapped material");
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_FEATURE_NOT_SUPPORTED);
    key.block.key_wrapping_data.type = 0; /* wrapped, and does not say how */
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
    key = aes_key(material16);
    key.block.key_compression_type = kmip_number(1);
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_KEY_COMPRESSION_TYPE_NOT_SUPPORTED);
}

static void material_must_be_of_its_format(void **state)
{
    struct talk *talk = *state;
    struct key key = aes_key(material16);
    key.material = text(material16);
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
    key.material = (struct kmip_any){TTLV_STRUCTURE, BYTES_LITERAL("")};
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
    key.block.key_format_type = kmip_number(KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY);
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD); /* no Key in it */
    key.material = byte_string(material16);
    assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
}

static void the_object_must_be_of_its_type(void **state)
{
    struct talk *talk = *state;
    static const uint32_t types[] = {0,
                                     KMIP_OBJECT_TYPE_CERTIFICATE,
                                     KMIP_OBJECT_TYPE_PUBLIC_KEY,
                                     KMIP_OBJECT_TYPE_PRIVATE_KEY,
                                     KMIP_OBJECT_TYPE_SPLIT_KEY,
                                     KMIP_OBJECT_TYPE_TEMPLATE,
                                     KMIP_OBJECT_TYPE_SECRET_DATA,
                                     KMIP_OBJECT_TYPE_OPAQUE_OBJECT,
                                     KMIP_OBJECT_TYPE_PGP_KEY,
                                     99};
    for (size_t i = 1; i < ARRAY_COUNT(types); i++) {
        struct key key = aes_key(material16);
        key.object_type = types[i];
        assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
        key.tag = KMIP_TAG_PRIVATE_KEY;
        assert_reason(try_register(talk, key), KMIP_RESULT_REASON_INVALID_FIELD);
    }
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_REGISTER);
    ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
    put_template(payload, WITHOUT);
    assert_reason(talk_send(talk, 1), KMIP_RESULT_REASON_MISSING_DATA);
}

/* ---- Formats ---- */

static const struct kmip_response_item *get_as(struct talk *talk, struct bytes id, uint32_t format)
{
    const struct kmip_get_request request = {.unique_identifier = id,
                                             .key_format_type = kmip_number(format)};
    kmip_encode(&kmip_get_request_shape, &request, talk->version,
                talk_item(talk, KMIP_OPERATION_GET));
    return talk_send(talk, 1);
}

/* The material in an answer, whichever format it has. */
static struct bytes material_in(struct talk *talk, const struct kmip_response_item *item,
                                uint32_t format)
{
    struct kmip_get_response got;
    struct kmip_key_value value;
    talk_payload(talk, item, &kmip_get_response_shape, &got);
    const struct kmip_key_block *block = got.symmetric_key->key_block;
    assert_int_equal(block->key_format_type.value, format);
    assert_int_equal(block->cryptographic_algorithm.value, KMIP_CRYPTOGRAPHIC_ALGORITHM_AES);
    assert_int_equal(block->cryptographic_length.value, 128);
    assert_int_equal(block->key_wrapping_data.type, 0);
    assert_false(block->key_compression_type.present);
    assert_int_equal(kmip_decode(&kmip_key_value_shape, ttlv_reader_over(block->key_value.value),
                                 talk_arena(talk), &value),
                     STATUS_OK);
    if (format != KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY) {
        assert_int_equal(value.key_material.type, TTLV_BYTE_STRING);
        return value.key_material.value;
    }
    struct ttlv_item key;
    struct ttlv_reader reader = ttlv_reader_over(value.key_material.value);
    assert_int_equal(value.key_material.type, TTLV_STRUCTURE);
    assert_int_equal(ttlv_next(&reader, &key), STATUS_OK);
    assert_int_equal(key.tag, KMIP_TAG_KEY);
    return key.value;
}

static struct key key_in_format(struct talk *talk, uint32_t format)
{
    struct key key = aes_key(material16);
    key.block.key_format_type = kmip_number(format);
    if (format == KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY) {
        struct buffer buffer;
        buffer_init(&buffer, 64);
        ttlv_write_byte_string(&buffer, KMIP_TAG_KEY, bytes_of_text(material16));
        key.material.type = TTLV_STRUCTURE;
        assert_true(arena_copy(talk_arena(talk), buffer_bytes(&buffer), &key.material.value));
        buffer_free(&buffer);
    }
    return key;
}

/* §4.11: in the format in which it was registered, and in those that can be made of it. */
static void keys_come_back_in_their_format_and_in_others(void **state)
{
    struct talk *talk = *state;
    static const uint32_t formats[] = {KMIP_KEY_FORMAT_TYPE_RAW, KMIP_KEY_FORMAT_TYPE_OPAQUE,
                                       KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY};
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++) {
        struct bytes id = registered(talk, key_in_format(talk, formats[i]));
        assert_true(bytes_equal_text(
            material_in(talk, by_id(talk, KMIP_OPERATION_GET, id), formats[i]), material16));
        for (size_t j = 0; j < ARRAY_COUNT(formats); j++) {
            bool possible = i == j || formats[j] != KMIP_KEY_FORMAT_TYPE_OPAQUE;
            const struct kmip_response_item *item = get_as(talk, id, formats[j]);
            if (possible)
                assert_true(bytes_equal_text(material_in(talk, item, formats[j]), material16));
            else
                assert_reason(item, KMIP_RESULT_REASON_KEY_FORMAT_TYPE_NOT_SUPPORTED);
        }
    }
}

static void other_formats_are_refused(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    const struct kmip_enumeration *formats = kmip_enumeration_by_tag(KMIP_TAG_KEY_FORMAT_TYPE);
    for (uint32_t i = 0; i < formats->count; i++) {
        uint32_t format = formats->values[i].number;
        if (format == KMIP_KEY_FORMAT_TYPE_RAW || format == KMIP_KEY_FORMAT_TYPE_OPAQUE ||
            format == KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY)
            continue;
        struct key key = aes_key(material16);
        key.block.key_format_type = kmip_number(format);
        assert_reason(try_register(talk, key), KMIP_RESULT_REASON_KEY_FORMAT_TYPE_NOT_SUPPORTED);
        assert_reason(get_as(talk, id, format), KMIP_RESULT_REASON_KEY_FORMAT_TYPE_NOT_SUPPORTED);
    }
    assert_reason(get_as(talk, id, 0), KMIP_RESULT_REASON_KEY_FORMAT_TYPE_NOT_SUPPORTED);
}

/* §3.17: over the material as it comes back in its own format. */
static void the_digest_is_of_the_material_in_its_format(void **state)
{
    struct talk *talk = *state;
    static const uint32_t formats[] = {KMIP_KEY_FORMAT_TYPE_RAW, KMIP_KEY_FORMAT_TYPE_OPAQUE,
                                       KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY};
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++) {
        struct structure_digest digest;
        uint8_t hash[SHA256_SIZE];
        struct key key = key_in_format(talk, formats[i]);
        struct bytes id = registered(talk, key);
        struct buffer encoded;
        struct bytes digested = key.material.value;
        buffer_init(&encoded, 256);
        if (key.material.type == TTLV_STRUCTURE) {
            ttlv_write_raw(&encoded, KMIP_TAG_KEY_MATERIAL, TTLV_STRUCTURE, key.material.value);
            digested = buffer_bytes(&encoded);
        }
        assert_int_equal(digest_sha256(digested, hash), STATUS_OK);
        const struct kmip_any *value = attribute_of(talk, id, "Digest", 0);
        assert_int_equal(kmip_decode(&structure_digest_shape, ttlv_reader_over(value->value),
                                     talk_arena(talk), &digest),
                         STATUS_OK);
        assert_int_equal(digest.key_format_type.value, formats[i]);
        assert_memory_equal(digest.value.data, hash, sizeof(hash));
        buffer_free(&encoded);
    }
}

/* ---- Wishes of Get ---- */

static void wishes_that_cannot_be_met_are_refused(void **state)
{
    struct talk *talk = *state;
    struct bytes id = create_key(talk);
    const struct {
        struct kmip_get_request request;
        uint32_t reason;
    } wishes[] = {
        {{.key_compression_type = kmip_number(1)},
         KMIP_RESULT_REASON_KEY_COMPRESSION_TYPE_NOT_SUPPORTED},
        {{.key_wrapping_specification = {TTLV_STRUCTURE, BYTES_LITERAL("")}},
         KMIP_RESULT_REASON_FEATURE_NOT_SUPPORTED},
        {{.key_wrap_type = kmip_number(KMIP_KEY_WRAP_TYPE_AS_REGISTERED)},
         KMIP_RESULT_REASON_FEATURE_NOT_SUPPORTED},
        {{.key_wrap_type = kmip_number(77)}, KMIP_RESULT_REASON_FEATURE_NOT_SUPPORTED},
        {{.key_wrap_type = kmip_number(KMIP_KEY_WRAP_TYPE_NOT_WRAPPED)}, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(wishes); i++) {
        struct kmip_get_request request = wishes[i].request;
        request.unique_identifier = id;
        kmip_encode(&kmip_get_request_shape, &request, talk->version,
                    talk_item(talk, KMIP_OPERATION_GET));
        const struct kmip_response_item *item = talk_send(talk, 1);
        if (wishes[i].reason == 0)
            assert_success(item);
        else
            assert_reason(item, wishes[i].reason);
    }
}

/* Registered by one connection in 1.4, read by another in 1.0: libkmip does so. */
static void every_version_reads_what_another_registered(void **state)
{
    struct talk *talk = *state;
    struct bytes id = registered(talk, aes_key(material16));
    for (talk->version = KMIP_VERSION_1_0; talk->version <= KMIP_VERSION_1_4; talk->version++)
        assert_true(bytes_equal_text(key_of(talk, id), material16));
}

/* ---- Secret Data ---- */

static const struct kmip_response_item *try_secret(struct talk *talk, uint32_t type,
                                                   uint32_t format, const char *secret)
{
    struct kmip_key_value value = {.key_material = byte_string(secret)};
    struct kmip_key_block block = {.key_format_type = kmip_number(format)};
    block.key_value = value_structure(talk_arena(talk), &kmip_key_value_shape, &value);
    const struct kmip_secret_data data = {.secret_data_type = kmip_number(type),
                                          .key_block = &block};
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_REGISTER);
    ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_SECRET_DATA);
    put_template(payload, WITHOUT);
    kmip_encode_structure(KMIP_TAG_SECRET_DATA, &kmip_secret_data_shape, &data, talk->version,
                          payload);
    return talk_send(talk, 1);
}

static void secrets_come_back_as_they_were(void **state)
{
    struct talk *talk = *state;
    static const uint32_t formats[] = {KMIP_KEY_FORMAT_TYPE_RAW, KMIP_KEY_FORMAT_TYPE_OPAQUE};
    static const uint32_t types[] = {KMIP_SECRET_DATA_TYPE_PASSWORD, KMIP_SECRET_DATA_TYPE_SEED,
                                     0x80000001};
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++)
        for (size_t j = 0; j < ARRAY_COUNT(types); j++) {
            struct kmip_get_response got;
            struct kmip_key_value value;
            struct bytes id =
                created_id(talk, try_secret(talk, types[j], formats[i], "correct horse"));
            talk_payload(talk, by_id(talk, KMIP_OPERATION_GET, id), &kmip_get_response_shape, &got);
            assert_int_equal(got.object_type.value, KMIP_OBJECT_TYPE_SECRET_DATA);
            assert_int_equal(got.secret_data->secret_data_type.value, types[j]);
            const struct kmip_key_block *block = got.secret_data->key_block;
            assert_int_equal(block->key_format_type.value, formats[i]);
            assert_false(block->cryptographic_algorithm.present);
            assert_false(block->cryptographic_length.present);
            assert_int_equal(kmip_decode(&kmip_key_value_shape,
                                         ttlv_reader_over(block->key_value.value), talk_arena(talk),
                                         &value),
                             STATUS_OK);
            assert_true(bytes_equal_text(value.key_material.value, "correct horse"));
            assert_int_equal(number_of(talk, id, "Cryptographic Usage Mask"), 0);
        }
    assert_success(try_secret(talk, 1, KMIP_KEY_FORMAT_TYPE_RAW, "")); /* an empty password */
    assert_reason(try_secret(talk, 1, KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY, "x"),
                  KMIP_RESULT_REASON_KEY_FORMAT_TYPE_NOT_SUPPORTED);
}

/* ---- Opaque Objects ---- */

static const struct kmip_response_item *try_opaque(struct talk *talk, uint32_t type, size_t size)
{
    uint8_t *data = arena_allocate(talk_arena(talk), size + 1);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7);
    const struct kmip_opaque_object opaque = {.opaque_data_type = kmip_number(type),
                                              .opaque_data_value = bytes_of(data, size)};
    struct buffer *payload = talk_item(talk, KMIP_OPERATION_REGISTER);
    ttlv_write_enumeration(payload, KMIP_TAG_OBJECT_TYPE, KMIP_OBJECT_TYPE_OPAQUE_OBJECT);
    put_template(payload, WITHOUT);
    kmip_encode_structure(KMIP_TAG_OPAQUE_OBJECT, &kmip_opaque_object_shape, &opaque, talk->version,
                          payload);
    return talk_send(talk, 1);
}

static void opaque_objects_come_back_as_they_were(void **state)
{
    struct talk *talk = *state;
    const size_t maximum = core_bench_options.object_max;
    const size_t sizes[] = {0, 1, 7, 8, 9, 4096, 5000, maximum};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct kmip_get_response got;
        struct bytes id = created_id(talk, try_opaque(talk, 0x80000002, sizes[i]));
        talk_payload(talk, by_id(talk, KMIP_OPERATION_GET, id), &kmip_get_response_shape, &got);
        assert_int_equal(got.object_type.value, KMIP_OBJECT_TYPE_OPAQUE_OBJECT);
        assert_int_equal(got.opaque_object->opaque_data_type.value, 0x80000002);
        assert_int_equal(got.opaque_object->opaque_data_value.size, sizes[i]);
        for (size_t at = 0; at < sizes[i]; at++)
            assert_int_equal(got.opaque_object->opaque_data_value.data[at], (uint8_t)(at * 7));
        talk_forget(talk);
    }
    assert_reason(try_opaque(talk, 0x80000002, maximum + 1), KMIP_RESULT_REASON_INVALID_FIELD);
}

/* ---- At rest ---- */

static bool contains(struct bytes haystack, const char *needle)
{
    return haystack.size > 0 &&
           memmem(haystack.data, haystack.size, needle, strlen(needle)) != NULL;
}

/* What the store gets to see: wrapped, and nowhere else. */
static void no_plaintext_goes_to_the_store(void **state)
{
    struct talk *talk = *state;
    struct uuid uuid;
    struct stored_object *stored;
    struct key key = aes_key(material32);
    key.attributes = WITH(named("Name", name_value("secret")));
    struct bytes id = registered(talk, key);
    assert_true(uuid_parse(id, &uuid));
    assert_int_equal(store_get(talk->bench.session_store, talk->session->adapter, &uuid, &stored),
                     STATUS_OK);
    assert_true(stored->row.wrapped.blob.size > 32);
    assert_false(contains(stored->row.wrapped.blob, material32));
    assert_false(contains(stored->row.wrapped.blob, "0123456789abcdef"));
    assert_false(contains(stored->row.attributes, "0123456789abcdef"));
    stored_object_release(stored);
}

/* Another adapter's wrapped key does not open, even if the store mixes them up. */
static void a_key_of_another_adapter_does_not_open(void **state)
{
    struct talk *talk = *state;
    struct core_session other;
    struct core_session forged = talk->bench.session;
    struct bytes id = create_key(talk);
    core_bench_adapter(&talk->bench, "other", &other);
    forged.adapter_uuid = other.adapter_uuid;
    core_forget_keys(talk->bench.core);
    talk->session = &forged;
    assert_reason(by_id(talk, KMIP_OPERATION_GET, id), KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE);
}

/* A wrapped key says itself which root key it is under: an adapter that moves to another is read
 * all the while. */
static void an_adapters_root_key_may_change(void **state)
{
    struct talk *talk = *state;
    struct core_session other;
    struct core_session moved = talk->bench.session;
    struct bytes id = create_key(talk);
    struct bytes key = key_of(talk, id);
    core_bench_adapter(&talk->bench, "other", &other);
    moved.root_key = other.root_key;
    core_forget_keys(talk->bench.core);
    talk->session = &moved;
    assert_true(bytes_equal(key_of(talk, id), key));
    assert_int_equal(key_of(talk, create_key(talk)).size, 32);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, talk_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(keys_have_the_lengths_of_their_algorithm),
        CASE(a_create_without_length_gets_the_usual_one),
        CASE(a_create_needs_algorithm_and_mask),
        CASE(only_symmetric_keys_are_created),
        CASE(no_two_keys_are_the_same),
        CASE(a_create_answers_type_and_identifier),
        CASE(a_registered_key_comes_back),
        CASE(what_is_said_twice_must_agree),
        CASE(what_is_not_said_is_found_out_or_missing),
        CASE(attributes_in_the_key_value_are_taken),
        CASE(wrapped_keys_are_refused),
        CASE(material_must_be_of_its_format),
        CASE(the_object_must_be_of_its_type),
        CASE(keys_come_back_in_their_format_and_in_others),
        CASE(other_formats_are_refused),
        CASE(the_digest_is_of_the_material_in_its_format),
        CASE(wishes_that_cannot_be_met_are_refused),
        CASE(every_version_reads_what_another_registered),
        CASE(secrets_come_back_as_they_were),
        CASE(opaque_objects_come_back_as_they_were),
        CASE(no_plaintext_goes_to_the_store),
        CASE(a_key_of_another_adapter_does_not_open),
        CASE(an_adapters_root_key_may_change),
    };
    return cmocka_run_group_tests_name("core_register", tests, NULL, NULL);
}
