/* SPDX-License-Identifier: Apache-2.0 */
/* Check (KMIP 1.4 §4.10); request and answer have the same fields. */
#include "kmip/payloads.h"

static const struct kmip_field check_fields[] = {
    KMIP_FIELD(kmip_check, UNIQUE_IDENTIFIER, TEXT_STRING, 0, 0, unique_identifier),
    KMIP_FIELD(kmip_check, USAGE_LIMITS_COUNT, LONG_INTEGER, 0, 0, usage_limits_count),
    KMIP_FIELD(kmip_check, CRYPTOGRAPHIC_USAGE_MASK, INTEGER, 0, 0, cryptographic_usage_mask),
    KMIP_FIELD(kmip_check, LEASE_TIME, INTERVAL, 0, 0, lease_time),
};
const struct kmip_shape kmip_check_shape = KMIP_SHAPE(kmip_check, check_fields);
