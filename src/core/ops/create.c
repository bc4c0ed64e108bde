/* SPDX-License-Identifier: Apache-2.0 */
#include "core/material.h"

/* The length that the template asks for, or the algorithm's usual one. */
static enum status key_length(struct request *request, struct object *object, uint32_t algorithm,
                              int64_t *ret_bits)
{
    int64_t bits;
    if (!object_number(object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH, &bits)) {
        bits = material_default_bits(algorithm);
        enum status status =
            object_set(object, &request->arena, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH,
                       value_integer(&request->arena, (int32_t)bits));
        if (status != STATUS_OK)
            return status;
    }
    if (!material_length_valid(algorithm, bits))
        return STATUS_INVALID_FIELD;
    *ret_bits = bits;
    return STATUS_OK;
}

static enum status generate(struct request *request, struct object *object,
                            struct secret *ret_material)
{
    int64_t algorithm;
    int64_t mask;
    int64_t bits;
    if (!object_number(object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM, &algorithm) ||
        !object_number(object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK, &mask))
        return STATUS_MISSING_DATA;
    enum status status = key_length(request, object, (uint32_t)algorithm, &bits);
    if (status != STATUS_OK)
        return status;
    return request_random(object, material_bytes((uint32_t)algorithm, bits), ret_material);
}

/* KMIP 1.4 §4.1. Keys are made Pre-Active, unless an Activation Date says otherwise. */
enum status operation_create(struct request *request, struct ttlv_reader payload)
{
    struct kmip_create_request asked;
    struct object *object;
    struct secret material = {0};
    enum status status = kmip_decode(&kmip_create_request_shape, payload, &request->arena, &asked);
    if (status != STATUS_OK)
        return status;
    if (asked.object_type.value != KMIP_OBJECT_TYPE_SYMMETRIC_KEY)
        return STATUS_INVALID_FIELD;
    status = request_new_object(request, (uint32_t)asked.object_type.value, &object);
    if (status == STATUS_OK)
        status = attributes_from_template(request, object, asked.template_attribute);
    if (status == STATUS_OK)
        status = generate(request, object, &material);
    if (status == STATUS_OK)
        status = material_complete(request, object, &material, true);
    secret_free(&material);
    if (status != STATUS_OK)
        return status;
    struct kmip_create_response response = {
        .object_type = asked.object_type,
        .unique_identifier = object_identifier(object),
    };
    request_set_placeholder(request, object);
    kmip_encode(&kmip_create_response_shape, &response, request->version, &request->reply);
    return STATUS_OK;
}
