/* SPDX-License-Identifier: Apache-2.0 */
/* Discover Versions (KMIP 1.4 §4.26); request and answer have the same fields. */
#include "kmip/payloads.h"

static const struct kmip_field versions_fields[] = {
    KMIP_NESTED(kmip_discover_versions, PROTOCOL_VERSION, KMIP_REPEATED, 0, versions,
                kmip_protocol_version_shape),
};
const struct kmip_shape kmip_discover_versions_shape =
    KMIP_SHAPE(kmip_discover_versions, versions_fields);
