/* SPDX-License-Identifier: Apache-2.0 */
/* Get Attribute List (KMIP 1.4 §4.13); its request is kmip_identifier. */
#include "kmip/payloads.h"

static const struct kmip_field response_fields[] = {
    KMIP_FIELD(kmip_get_attribute_list_response, UNIQUE_IDENTIFIER, TEXT_STRING, KMIP_REQUIRED, 0,
               unique_identifier),
    KMIP_FIELD(kmip_get_attribute_list_response, ATTRIBUTE_NAME, TEXT_STRING, KMIP_REPEATED, 0,
               attribute_names),
};
const struct kmip_shape kmip_get_attribute_list_response_shape =
    KMIP_SHAPE(kmip_get_attribute_list_response, response_fields);
