/* SPDX-License-Identifier: Apache-2.0 */
#include "core/material.h"

/* What a Register brings: plain bytes to wrap, and what describes them. All borrowed. */
struct incoming {
    struct bytes material;
    struct kmip_number key_format_type;
    struct kmip_number algorithm;
    struct kmip_number length;
    struct kmip_template_attribute inner; /* attributes inside the Key Value */
};

/* Transparent Symmetric Key (KMIP 1.4 §2.1.7.1): a structure of one field, Key. */
struct transparent_key {
    struct bytes key;
};
static const struct kmip_field transparent_key_fields[] = {
    KMIP_FIELD(transparent_key, KEY, BYTE_STRING, KMIP_REQUIRED, 0, key),
};
static const struct kmip_shape transparent_key_shape =
    KMIP_SHAPE(transparent_key, transparent_key_fields);

static enum status material_of_value(struct request *request, const struct kmip_any *value,
                                     int64_t format, struct bytes *ret_material)
{
    struct transparent_key transparent;
    switch (format) {
    case KMIP_KEY_FORMAT_TYPE_RAW:
    case KMIP_KEY_FORMAT_TYPE_OPAQUE:
        if (value->type != TTLV_BYTE_STRING)
            return STATUS_INVALID_FIELD;
        *ret_material = value->value;
        return STATUS_OK;
    case KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY:
        if (value->type != TTLV_STRUCTURE ||
            kmip_decode(&transparent_key_shape, ttlv_reader_over(value->value), &request->arena,
                        &transparent) != STATUS_OK)
            return STATUS_INVALID_FIELD;
        *ret_material = transparent.key;
        return STATUS_OK;
    default:
        return STATUS_KEY_FORMAT_NOT_SUPPORTED;
    }
}

/* Keys that the client has wrapped itself are refused: nobody here could open them. */
static enum status read_key_block(struct request *request, const struct kmip_key_block *block,
                                  struct incoming *incoming)
{
    struct kmip_key_value value;
    if (block->key_wrapping_data.type != 0)
        return STATUS_FEATURE_NOT_SUPPORTED;
    if (block->key_compression_type.present)
        return STATUS_KEY_COMPRESSION_NOT_SUPPORTED;
    if (block->key_value.type != TTLV_STRUCTURE)
        return block->key_value.type == 0 ? STATUS_MISSING_DATA : STATUS_INVALID_FIELD;
    enum status status = kmip_decode(
        &kmip_key_value_shape, ttlv_reader_over(block->key_value.value), &request->arena, &value);
    if (status != STATUS_OK)
        return status;
    incoming->key_format_type = block->key_format_type;
    incoming->algorithm = block->cryptographic_algorithm;
    incoming->length = block->cryptographic_length;
    incoming->inner.attributes = value.attributes;
    return material_of_value(request, &value.key_material, block->key_format_type.value,
                             &incoming->material);
}

static enum status read_symmetric_key(struct request *request, struct object *object,
                                      const struct kmip_any *encoded, struct incoming *incoming)
{
    struct kmip_symmetric_key key;
    (void)object;
    enum status status = kmip_decode(&kmip_symmetric_key_shape, ttlv_reader_over(encoded->value),
                                     &request->arena, &key);
    return status == STATUS_OK ? read_key_block(request, key.key_block, incoming) : status;
}

static enum status read_secret_data(struct request *request, struct object *object,
                                    const struct kmip_any *encoded, struct incoming *incoming)
{
    struct kmip_secret_data secret;
    enum status status = kmip_decode(&kmip_secret_data_shape, ttlv_reader_over(encoded->value),
                                     &request->arena, &secret);
    if (status == STATUS_OK &&
        secret.key_block->key_format_type.value == KMIP_KEY_FORMAT_TYPE_TRANSPARENT_SYMMETRIC_KEY)
        return STATUS_KEY_FORMAT_NOT_SUPPORTED;
    if (status == STATUS_OK)
        status = read_key_block(request, secret.key_block, incoming);
    if (status != STATUS_OK)
        return status;
    return object_set_item(
        object, &request->arena, KMIP_TAG_SECRET_DATA_TYPE,
        value_enumeration(&request->arena, (uint32_t)secret.secret_data_type.value));
}

static enum status read_opaque_object(struct request *request, struct object *object,
                                      const struct kmip_any *encoded, struct incoming *incoming)
{
    struct kmip_opaque_object opaque;
    enum status status = kmip_decode(&kmip_opaque_object_shape, ttlv_reader_over(encoded->value),
                                     &request->arena, &opaque);
    if (status != STATUS_OK)
        return status;
    incoming->material = opaque.opaque_data_value;
    return object_set_item(
        object, &request->arena, KMIP_TAG_OPAQUE_DATA_TYPE,
        value_enumeration(&request->arena, (uint32_t)opaque.opaque_data_type.value));
}

/* The object types that can be registered. */
static const struct kind {
    uint32_t object_type;
    uint32_t tag;
    enum status (*read)(struct request *request, struct object *object,
                        const struct kmip_any *encoded, struct incoming *incoming);
} kinds[] = {
    {KMIP_OBJECT_TYPE_SYMMETRIC_KEY, KMIP_TAG_SYMMETRIC_KEY, read_symmetric_key},
    {KMIP_OBJECT_TYPE_SECRET_DATA, KMIP_TAG_SECRET_DATA, read_secret_data},
    {KMIP_OBJECT_TYPE_OPAQUE_OBJECT, KMIP_TAG_OPAQUE_OBJECT, read_opaque_object},
};

static const struct kind *kind_of(int64_t object_type)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
        if (kinds[i].object_type == object_type)
            return &kinds[i];
    return NULL;
}

/* An attribute that the key block states too must not say something else. */
static enum status agree(struct request *request, struct object *object, enum kmip_attribute id,
                         const struct kmip_number *stated, struct kmip_any value)
{
    int64_t present;
    if (!stated->present)
        return STATUS_OK;
    if (object_number(object, id, &present))
        return present == stated->value ? STATUS_OK : STATUS_INVALID_FIELD;
    return object_set(object, &request->arena, id, value);
}

static enum status describe_key(struct request *request, struct object *object,
                                const struct incoming *incoming)
{
    struct arena *arena = &request->arena;
    enum status status =
        agree(request, object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM, &incoming->algorithm,
              value_enumeration(arena, (uint32_t)incoming->algorithm.value));
    if (status == STATUS_OK)
        status = agree(request, object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH, &incoming->length,
                       value_integer(arena, (int32_t)incoming->length.value));
    if (status == STATUS_OK && incoming->key_format_type.present &&
        incoming->key_format_type.value != KMIP_KEY_FORMAT_TYPE_RAW)
        status =
            object_set_item(object, arena, KMIP_TAG_KEY_FORMAT_TYPE,
                            value_enumeration(arena, (uint32_t)incoming->key_format_type.value));
    return status;
}

/* A symmetric key has an algorithm, and a length that its bytes have too. */
static enum status check_symmetric_key(struct request *request, struct object *object,
                                       const struct incoming *incoming)
{
    int64_t algorithm;
    int64_t bits;
    if (!object_number(object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM, &algorithm))
        return STATUS_MISSING_DATA;
    if (incoming->material.size == 0)
        return STATUS_INVALID_FIELD;
    if (!object_number(object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH, &bits)) {
        bits = material_bits((uint32_t)algorithm, incoming->material.size);
        return object_set(object, &request->arena, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH,
                          value_integer(&request->arena, (int32_t)bits));
    }
    return material_bytes((uint32_t)algorithm, bits) == incoming->material.size
               ? STATUS_OK
               : STATUS_INVALID_FIELD;
}

/* "SHALL always have a value" (§3.19): a client that states none permits nothing. */
static enum status default_mask(struct request *request, struct object *object)
{
    int64_t mask;
    if (object->row.object_type == KMIP_OBJECT_TYPE_OPAQUE_OBJECT ||
        object_number(object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK, &mask))
        return STATUS_OK;
    return object_set(object, &request->arena, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK,
                      value_integer(&request->arena, 0));
}

static enum status build(struct request *request, struct object *object, const struct kind *kind,
                         const struct kmip_register_request *asked, struct incoming *incoming)
{
    enum status status = attributes_from_template(request, object, asked->template_attribute);
    if (status == STATUS_OK)
        status = kind->read(request, object, &asked->object, incoming);
    if (status == STATUS_OK)
        status = attributes_from_template(request, object, &incoming->inner);
    if (status == STATUS_OK)
        status = describe_key(request, object, incoming);
    if (status == STATUS_OK && kind->object_type == KMIP_OBJECT_TYPE_SYMMETRIC_KEY)
        status = check_symmetric_key(request, object, incoming);
    if (status == STATUS_OK)
        status = default_mask(request, object);
    if (status == STATUS_OK && incoming->material.size > request->core->options.object_max)
        status = STATUS_INVALID_FIELD;
    return status;
}

/* KMIP 1.4 §4.3 */
enum status operation_register(struct request *request, struct ttlv_reader payload)
{
    struct kmip_register_request asked;
    struct object *object;
    struct secret material = {0};
    struct incoming incoming = {0};
    enum status status = kmip_decode_register_request(payload, &request->arena, &asked);
    if (status != STATUS_OK)
        return status;
    const struct kind *kind = kind_of(asked.object_type.value);
    if (kind == NULL || kind->tag != asked.object_tag)
        return STATUS_INVALID_FIELD;
    status = request_new_object(request, kind->object_type, &object);
    if (status == STATUS_OK)
        status = build(request, object, kind, &asked, &incoming);
    if (status == STATUS_OK)
        status = secret_copy(&material, incoming.material);
    if (status == STATUS_OK)
        status = material_complete(request, object, &material, false);
    secret_free(&material);
    if (status != STATUS_OK)
        return status;
    struct kmip_create_response response = {.unique_identifier = object_identifier(object)};
    request_set_placeholder(request, object);
    kmip_encode(&kmip_create_response_shape, &response, request->version, &request->reply);
    return STATUS_OK;
}
