/* SPDX-License-Identifier: Apache-2.0 */
/* Re-key (KMIP 1.4 §4.4). */
#include "kmip/payloads.h"

static const struct kmip_field request_fields[] = {
    KMIP_FIELD(kmip_rekey_request, UNIQUE_IDENTIFIER, TEXT_STRING, 0, 0, unique_identifier),
    KMIP_FIELD(kmip_rekey_request, OFFSET, INTERVAL, 0, 0, offset),
    KMIP_NESTED(kmip_rekey_request, TEMPLATE_ATTRIBUTE, 0, 0, template_attribute,
                kmip_template_attribute_shape),
};
const struct kmip_shape kmip_rekey_request_shape = KMIP_SHAPE(kmip_rekey_request, request_fields);

static const struct kmip_field response_fields[] = {
    KMIP_FIELD(kmip_rekey_response, UNIQUE_IDENTIFIER, TEXT_STRING, KMIP_REQUIRED, 0,
               unique_identifier),
    KMIP_NESTED(kmip_rekey_response, TEMPLATE_ATTRIBUTE, 0, 0, template_attribute,
                kmip_template_attribute_shape),
};
const struct kmip_shape kmip_rekey_response_shape =
    KMIP_SHAPE(kmip_rekey_response, response_fields);
