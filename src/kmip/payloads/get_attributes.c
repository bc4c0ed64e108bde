/* SPDX-License-Identifier: Apache-2.0 */
/* Get Attributes (KMIP 1.4 §4.12). */
#include "kmip/payloads.h"

static const struct kmip_field request_fields[] = {
    KMIP_FIELD(kmip_get_attributes_request, UNIQUE_IDENTIFIER, TEXT_STRING, 0, 0,
               unique_identifier),
    KMIP_FIELD(kmip_get_attributes_request, ATTRIBUTE_NAME, TEXT_STRING, KMIP_REPEATED, 0,
               attribute_names),
};
const struct kmip_shape kmip_get_attributes_request_shape =
    KMIP_SHAPE(kmip_get_attributes_request, request_fields);

static const struct kmip_field response_fields[] = {
    KMIP_FIELD(kmip_get_attributes_response, UNIQUE_IDENTIFIER, TEXT_STRING, KMIP_REQUIRED, 0,
               unique_identifier),
    KMIP_NESTED(kmip_get_attributes_response, ATTRIBUTE, KMIP_REPEATED, 0, attributes,
                kmip_named_attribute_shape),
};
const struct kmip_shape kmip_get_attributes_response_shape =
    KMIP_SHAPE(kmip_get_attributes_response, response_fields);
