/* SPDX-License-Identifier: Apache-2.0 */
/* Create (KMIP 1.4 §4.1); its answer is also that of Register (§4.3), without the object type. */
#include "kmip/payloads.h"

static const struct kmip_field request_fields[] = {
    KMIP_FIELD(kmip_create_request, OBJECT_TYPE, ENUMERATION, KMIP_REQUIRED, 0, object_type),
    KMIP_NESTED(kmip_create_request, TEMPLATE_ATTRIBUTE, KMIP_REQUIRED, 0, template_attribute,
                kmip_template_attribute_shape),
};
const struct kmip_shape kmip_create_request_shape = KMIP_SHAPE(kmip_create_request, request_fields);

static const struct kmip_field response_fields[] = {
    KMIP_FIELD(kmip_create_response, OBJECT_TYPE, ENUMERATION, 0, 0, object_type),
    KMIP_FIELD(kmip_create_response, UNIQUE_IDENTIFIER, TEXT_STRING, KMIP_REQUIRED, 0,
               unique_identifier),
    KMIP_NESTED(kmip_create_response, TEMPLATE_ATTRIBUTE, 0, 0, template_attribute,
                kmip_template_attribute_shape),
};
const struct kmip_shape kmip_create_response_shape =
    KMIP_SHAPE(kmip_create_response, response_fields);
