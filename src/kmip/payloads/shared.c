/* SPDX-License-Identifier: Apache-2.0 */
/* Structures that several payloads share (KMIP 1.4 §2). */
#include "kmip/payloads.h"

static const struct kmip_field attribute_fields[] = {
    KMIP_FIELD(kmip_named_attribute, ATTRIBUTE_NAME, TEXT_STRING, KMIP_REQUIRED, 0, name),
    KMIP_FIELD(kmip_named_attribute, ATTRIBUTE_INDEX, INTEGER, 0, 0, index),
    KMIP_FIELD(kmip_named_attribute, ATTRIBUTE_VALUE, ANY, 0, 0, value),
};
const struct kmip_shape kmip_named_attribute_shape =
    KMIP_SHAPE(kmip_named_attribute, attribute_fields);

static const struct kmip_field template_attribute_fields[] = {
    KMIP_FIELD(kmip_template_attribute, NAME, ANY, KMIP_REPEATED, 0, names),
    KMIP_NESTED(kmip_template_attribute, ATTRIBUTE, KMIP_REPEATED, 0, attributes,
                kmip_named_attribute_shape),
};
const struct kmip_shape kmip_template_attribute_shape =
    KMIP_SHAPE(kmip_template_attribute, template_attribute_fields);

static const struct kmip_field key_block_fields[] = {
    KMIP_FIELD(kmip_key_block, KEY_FORMAT_TYPE, ENUMERATION, KMIP_REQUIRED, 0, key_format_type),
    KMIP_FIELD(kmip_key_block, KEY_COMPRESSION_TYPE, ENUMERATION, 0, 0, key_compression_type),
    KMIP_FIELD(kmip_key_block, KEY_VALUE, ANY, 0, 0, key_value),
    KMIP_FIELD(kmip_key_block, CRYPTOGRAPHIC_ALGORITHM, ENUMERATION, 0, 0, cryptographic_algorithm),
    KMIP_FIELD(kmip_key_block, CRYPTOGRAPHIC_LENGTH, INTEGER, 0, 0, cryptographic_length),
    KMIP_FIELD(kmip_key_block, KEY_WRAPPING_DATA, ANY, 0, 0, key_wrapping_data),
};
const struct kmip_shape kmip_key_block_shape = KMIP_SHAPE(kmip_key_block, key_block_fields);

static const struct kmip_field key_value_fields[] = {
    KMIP_FIELD(kmip_key_value, KEY_MATERIAL, ANY, KMIP_REQUIRED, 0, key_material),
    KMIP_NESTED(kmip_key_value, ATTRIBUTE, KMIP_REPEATED, 0, attributes,
                kmip_named_attribute_shape),
};
const struct kmip_shape kmip_key_value_shape = KMIP_SHAPE(kmip_key_value, key_value_fields);

static const struct kmip_field symmetric_key_fields[] = {
    KMIP_NESTED(kmip_symmetric_key, KEY_BLOCK, KMIP_REQUIRED, 0, key_block, kmip_key_block_shape),
};
const struct kmip_shape kmip_symmetric_key_shape =
    KMIP_SHAPE(kmip_symmetric_key, symmetric_key_fields);

static const struct kmip_field secret_data_fields[] = {
    KMIP_FIELD(kmip_secret_data, SECRET_DATA_TYPE, ENUMERATION, KMIP_REQUIRED, 0, secret_data_type),
    KMIP_NESTED(kmip_secret_data, KEY_BLOCK, KMIP_REQUIRED, 0, key_block, kmip_key_block_shape),
};
const struct kmip_shape kmip_secret_data_shape = KMIP_SHAPE(kmip_secret_data, secret_data_fields);

static const struct kmip_field opaque_object_fields[] = {
    KMIP_FIELD(kmip_opaque_object, OPAQUE_DATA_TYPE, ENUMERATION, KMIP_REQUIRED, 0,
               opaque_data_type),
    KMIP_FIELD(kmip_opaque_object, OPAQUE_DATA_VALUE, BYTE_STRING, KMIP_REQUIRED, 0,
               opaque_data_value),
};
const struct kmip_shape kmip_opaque_object_shape =
    KMIP_SHAPE(kmip_opaque_object, opaque_object_fields);

static const struct kmip_field identifier_fields[] = {
    KMIP_FIELD(kmip_identifier, UNIQUE_IDENTIFIER, TEXT_STRING, 0, 0, unique_identifier),
};
const struct kmip_shape kmip_identifier_shape = KMIP_SHAPE(kmip_identifier, identifier_fields);

static const struct kmip_field attribute_change_fields[] = {
    KMIP_FIELD(kmip_attribute_change, UNIQUE_IDENTIFIER, TEXT_STRING, 0, 0, unique_identifier),
    KMIP_NESTED(kmip_attribute_change, ATTRIBUTE, KMIP_REQUIRED, 0, attribute,
                kmip_named_attribute_shape),
};
const struct kmip_shape kmip_attribute_change_shape =
    KMIP_SHAPE(kmip_attribute_change, attribute_change_fields);
