/* SPDX-License-Identifier: Apache-2.0 */
/* Get (KMIP 1.4 §4.11). */
#include "kmip/payloads.h"

static const struct kmip_field request_fields[] = {
    KMIP_FIELD(kmip_get_request, UNIQUE_IDENTIFIER, TEXT_STRING, 0, 0, unique_identifier),
    KMIP_FIELD(kmip_get_request, KEY_FORMAT_TYPE, ENUMERATION, 0, 0, key_format_type),
    KMIP_FIELD(kmip_get_request, KEY_WRAP_TYPE, ENUMERATION, 0, KMIP_VERSION_1_4, key_wrap_type),
    KMIP_FIELD(kmip_get_request, KEY_COMPRESSION_TYPE, ENUMERATION, 0, 0, key_compression_type),
    KMIP_FIELD(kmip_get_request, KEY_WRAPPING_SPECIFICATION, ANY, 0, 0, key_wrapping_specification),
};
const struct kmip_shape kmip_get_request_shape = KMIP_SHAPE(kmip_get_request, request_fields);

static const struct kmip_field response_fields[] = {
    KMIP_FIELD(kmip_get_response, OBJECT_TYPE, ENUMERATION, KMIP_REQUIRED, 0, object_type),
    KMIP_FIELD(kmip_get_response, UNIQUE_IDENTIFIER, TEXT_STRING, KMIP_REQUIRED, 0,
               unique_identifier),
    KMIP_NESTED(kmip_get_response, SYMMETRIC_KEY, 0, 0, symmetric_key, kmip_symmetric_key_shape),
    KMIP_NESTED(kmip_get_response, SECRET_DATA, 0, 0, secret_data, kmip_secret_data_shape),
    KMIP_NESTED(kmip_get_response, OPAQUE_OBJECT, 0, 0, opaque_object, kmip_opaque_object_shape),
};
const struct kmip_shape kmip_get_response_shape = KMIP_SHAPE(kmip_get_response, response_fields);
