/* SPDX-License-Identifier: Apache-2.0 */
#include "core/request.h"
#include "core/structures.h"

static int64_t usage_left(const struct request *request, const struct object *object)
{
    const struct attribute *attribute = object_find(object, KMIP_ATTRIBUTE_USAGE_LIMITS, 0);
    struct structure_usage_limits limits;
    struct arena *arena = &((struct request *)request)->arena;
    if (attribute == NULL ||
        kmip_decode(&structure_usage_limits_shape, ttlv_reader_over(attribute->value.value), arena,
                    &limits) != STATUS_OK)
        return INT64_MAX;
    return limits.count.present ? limits.count.value : limits.total.value;
}

/*
 * KMIP 1.4 §4.10: may the client use the object so? What it may not is what the standard wants
 * named in the answer; but a failed item has no payload (§7.2), so the reason alone says it, and
 * the ID Placeholder is emptied.
 */
enum status operation_check(struct request *request, struct ttlv_reader payload)
{
    struct kmip_check asked;
    struct object *object;
    int64_t mask = 0;
    enum status status = kmip_decode(&kmip_check_shape, payload, &request->arena, &asked);
    if (status == STATUS_OK)
        status = request_decoded_object(request, asked.unique_identifier, &object);
    if (status != STATUS_OK)
        return status;
    (void)object_number(object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK, &mask);
    bool permitted = (asked.cryptographic_usage_mask.value & ~mask) == 0 &&
                     asked.usage_limits_count.value <= usage_left(request, object) &&
                     asked.lease_time.value <= request->core->options.lease_seconds;
    if (!permitted) {
        request->has_placeholder = false;
        return STATUS_PERMISSION_DENIED;
    }
    ttlv_write_text(&request->reply, KMIP_TAG_UNIQUE_IDENTIFIER,
                    request_identifier(request, object));
    return STATUS_OK;
}
