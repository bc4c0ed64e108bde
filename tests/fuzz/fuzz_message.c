/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder of messages and payloads takes any bytes. Fields come in one order and nothing may
 * stand beside them, so what it accepts is encoded to the same bytes again.
 */
#include <string.h>

#include "fuzz.h"
#include "kmip/payloads.h"

#define STRUCTURES_MAX 64 /* of one input that are tried */

static const struct kmip_shape *const shapes[] = {
    &kmip_protocol_version_shape,
    &kmip_username_password_shape,
    &kmip_request_header_shape,
    &kmip_request_item_shape,
    &kmip_response_header_shape,
    &kmip_response_item_shape,
    &kmip_named_attribute_shape,
    &kmip_template_attribute_shape,
    &kmip_key_block_shape,
    &kmip_key_value_shape,
    &kmip_symmetric_key_shape,
    &kmip_secret_data_shape,
    &kmip_opaque_object_shape,
    &kmip_create_request_shape,
    &kmip_create_response_shape,
    &kmip_get_request_shape,
    &kmip_get_response_shape,
    &kmip_get_attributes_request_shape,
    &kmip_get_attributes_response_shape,
    &kmip_get_attribute_list_response_shape,
    &kmip_attribute_change_shape,
    &kmip_delete_attribute_request_shape,
    &kmip_locate_request_shape,
    &kmip_locate_response_shape,
    &kmip_identifier_shape,
    &kmip_revocation_reason_shape,
    &kmip_revoke_request_shape,
    &kmip_check_shape,
    &kmip_rekey_request_shape,
    &kmip_rekey_response_shape,
    &kmip_rng_parameters_shape,
    &kmip_query_request_shape,
    &kmip_query_response_shape,
    &kmip_discover_versions_shape,
};

/* Large enough for any of them. */
union decoded {
    max_align_t aligned;
    uint8_t bytes[1024];
};

static struct arena arena;
static struct buffer encoded;

static void expect_encoded(struct bytes original)
{
    REQUIRE(buffer_status(&encoded) == STATUS_OK);
    REQUIRE(bytes_equal(buffer_bytes(&encoded), original));
}

static void try_shape(const struct kmip_shape *shape, struct bytes body)
{
    union decoded decoded;
    REQUIRE(shape->size <= sizeof(decoded));
    arena_reset(&arena);
    buffer_reset(&encoded);
    if (kmip_decode(shape, ttlv_reader_over(body), &arena, &decoded) != STATUS_OK)
        return;
    kmip_encode(shape, &decoded, KMIP_VERSION_LATEST, &encoded);
    expect_encoded(body);
    /* For an older version: less, and never more than that. */
    buffer_reset(&encoded);
    kmip_encode(shape, &decoded, KMIP_VERSION_1_0, &encoded);
    REQUIRE(buffer_status(&encoded) == STATUS_OK && encoded.size <= body.size);
}

static void try_register(struct bytes body)
{
    struct kmip_register_request decoded;
    arena_reset(&arena);
    buffer_reset(&encoded);
    if (kmip_decode_register_request(ttlv_reader_over(body), &arena, &decoded) != STATUS_OK)
        return;
    kmip_encode_register_request(&decoded, KMIP_VERSION_LATEST, &encoded);
    expect_encoded(body);
}

/* Every structure in the message, as everything that it might be. */
static size_t try_structures(struct bytes body, size_t left)
{
    struct ttlv_reader reader = ttlv_reader_over(body);
    struct ttlv_item item;
    while (left > 0 && !ttlv_at_end(&reader) && ttlv_next(&reader, &item) == STATUS_OK) {
        if (item.type != TTLV_STRUCTURE)
            continue;
        for (size_t i = 0; i < ARRAY_COUNT(shapes); i++)
            try_shape(shapes[i], item.value);
        try_register(item.value);
        left = try_structures(item.value, left - 1);
    }
    return left;
}

static void write_items(const struct kmip_list *items, const struct kmip_shape *shape)
{
    for (size_t i = 0; i < items->count; i++)
        kmip_encode_structure(KMIP_TAG_BATCH_ITEM, shape,
                              (const uint8_t *)items->items + i * shape->size, KMIP_VERSION_LATEST,
                              &encoded);
}

static void try_request(struct bytes frame)
{
    struct kmip_request request;
    uint16_t version;
    arena_reset(&arena);
    buffer_reset(&encoded);
    if (kmip_decode_request(frame, &arena, &version, &request) != STATUS_OK)
        return;
    REQUIRE(version == kmip_version_of(request.header.version));
    REQUIRE(ttlv_check(frame) == STATUS_OK);
    size_t mark = ttlv_begin(&encoded, KMIP_TAG_REQUEST_MESSAGE);
    kmip_encode_structure(KMIP_TAG_REQUEST_HEADER, &kmip_request_header_shape, &request.header,
                          KMIP_VERSION_LATEST, &encoded);
    write_items(&request.items, &kmip_request_item_shape);
    ttlv_end(&encoded, mark);
    expect_encoded(frame);
}

static void try_response(struct bytes frame)
{
    struct kmip_response response;
    arena_reset(&arena);
    buffer_reset(&encoded);
    if (kmip_decode_response(frame, &arena, &response) != STATUS_OK)
        return;
    size_t mark = ttlv_begin(&encoded, KMIP_TAG_RESPONSE_MESSAGE);
    kmip_encode_structure(KMIP_TAG_RESPONSE_HEADER, &kmip_response_header_shape, &response.header,
                          KMIP_VERSION_LATEST, &encoded);
    write_items(&response.items, &kmip_response_item_shape);
    ttlv_end(&encoded, mark);
    expect_encoded(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    if (encoded.maximum == 0) {
        arena_init(&arena, 1u << 20);
        buffer_init(&encoded, 1u << 20);
    }
    try_request(input);
    try_response(input);
    (void)try_structures(input, STRUCTURES_MAX);
    arena_reset(&arena);
    return 0;
}
