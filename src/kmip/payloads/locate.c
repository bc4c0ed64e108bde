/* SPDX-License-Identifier: Apache-2.0 */
/* Locate (KMIP 1.4 §4.9). */
#include "kmip/payloads.h"

static const struct kmip_field request_fields[] = {
    KMIP_FIELD(kmip_locate_request, MAXIMUM_ITEMS, INTEGER, 0, 0, maximum_items),
    KMIP_FIELD(kmip_locate_request, OFFSET_ITEMS, INTEGER, 0, KMIP_VERSION_1_3, offset_items),
    KMIP_FIELD(kmip_locate_request, STORAGE_STATUS_MASK, INTEGER, 0, 0, storage_status_mask),
    KMIP_FIELD(kmip_locate_request, OBJECT_GROUP_MEMBER, ENUMERATION, 0, KMIP_VERSION_1_1,
               object_group_member),
    KMIP_NESTED(kmip_locate_request, TEMPLATE_ATTRIBUTE, 0, 0, template_attribute,
                kmip_template_attribute_shape),
    KMIP_NESTED(kmip_locate_request, ATTRIBUTE, KMIP_REPEATED, 0, attributes,
                kmip_named_attribute_shape),
};
const struct kmip_shape kmip_locate_request_shape = KMIP_SHAPE(kmip_locate_request, request_fields);

static const struct kmip_field response_fields[] = {
    KMIP_FIELD(kmip_locate_response, LOCATED_ITEMS, INTEGER, 0, KMIP_VERSION_1_3, located_items),
    KMIP_FIELD(kmip_locate_response, UNIQUE_IDENTIFIER, TEXT_STRING, KMIP_REPEATED, 0,
               unique_identifiers),
};
const struct kmip_shape kmip_locate_response_shape =
    KMIP_SHAPE(kmip_locate_response, response_fields);
