/* SPDX-License-Identifier: Apache-2.0 */
/* Delete Attribute (KMIP 1.4 §4.16); its answer is kmip_attribute_change. */
#include "kmip/payloads.h"

static const struct kmip_field request_fields[] = {
    KMIP_FIELD(kmip_delete_attribute_request, UNIQUE_IDENTIFIER, TEXT_STRING, 0, 0,
               unique_identifier),
    KMIP_FIELD(kmip_delete_attribute_request, ATTRIBUTE_NAME, TEXT_STRING, KMIP_REQUIRED, 0,
               attribute_name),
    KMIP_FIELD(kmip_delete_attribute_request, ATTRIBUTE_INDEX, INTEGER, 0, 0, attribute_index),
};
const struct kmip_shape kmip_delete_attribute_request_shape =
    KMIP_SHAPE(kmip_delete_attribute_request, request_fields);
