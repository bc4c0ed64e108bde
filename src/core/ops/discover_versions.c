/* SPDX-License-Identifier: Apache-2.0 */
#include "core/request.h"

static bool wanted(const struct kmip_discover_versions *asked, uint16_t version)
{
    const struct kmip_protocol_version *versions = asked->versions.items;
    for (size_t i = 0; i < asked->versions.count; i++)
        if (kmip_version_of(&versions[i]) == version)
            return true;
    return asked->versions.count == 0;
}

/* KMIP 1.4 §4.26: the versions that both sides have, highest first. */
enum status operation_discover_versions(struct request *request, struct ttlv_reader payload)
{
    struct kmip_discover_versions asked;
    enum status status =
        kmip_decode(&kmip_discover_versions_shape, payload, &request->arena, &asked);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < core_version_count; i++) {
        if (!wanted(&asked, core_versions[i]))
            continue;
        struct kmip_protocol_version version = kmip_version_structure(core_versions[i]);
        kmip_encode_structure(KMIP_TAG_PROTOCOL_VERSION, &kmip_protocol_version_shape, &version,
                              request->version, &request->reply);
    }
    return STATUS_OK;
}
