/* SPDX-License-Identifier: Apache-2.0 */
#include "core/request.h"
#include "core/structures.h"

static int64_t usage_left(struct request *request, const struct object *object)
{
    const struct attribute *attribute = object_find(object, KMIP_ATTRIBUTE_USAGE_LIMITS, 0);
    struct structure_usage_limits limits;
    if (attribute == NULL ||
        kmip_decode(&structure_usage_limits_shape, ttlv_reader_over(attribute->value.value),
                    &request->arena, &limits) != STATUS_OK)
        return INT64_MAX;
    return limits.count.present ? limits.count.value : limits.total.value;
}

/* Of what was asked for, that which is refused; the rest is left out. */
static struct kmip_check refused(struct request *request, const struct object *object,
                                 const struct kmip_check *asked)
{
    int64_t mask = 0;
    struct kmip_check refused = {0};
    (void)object_number(object, KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK, &mask);
    if ((asked->cryptographic_usage_mask.value & ~mask) != 0)
        refused.cryptographic_usage_mask = asked->cryptographic_usage_mask;
    if (asked->usage_limits_count.value > usage_left(request, object))
        refused.usage_limits_count = asked->usage_limits_count;
    if (asked->lease_time.value > request->core->options.lease_seconds)
        refused.lease_time = asked->lease_time;
    return refused;
}

/*
 * KMIP 1.4 §4.10: may the client use the object so? Where it may not, the failed item has a payload
 * of what is refused, without the Unique Identifier, and the ID Placeholder is emptied.
 */
enum status operation_check(struct request *request, struct ttlv_reader payload)
{
    struct kmip_check asked;
    struct object *object;
    enum status status = kmip_decode(&kmip_check_shape, payload, &request->arena, &asked);
    if (status == STATUS_OK)
        status = request_decoded_object(request, asked.unique_identifier, &object);
    if (status != STATUS_OK)
        return status;
    struct kmip_check denial = refused(request, object, &asked);
    if (denial.cryptographic_usage_mask.present || denial.usage_limits_count.present ||
        denial.lease_time.present) {
        request->has_placeholder = false;
        request->failure_payload = value_structure(&request->arena, &kmip_check_shape, &denial);
        return STATUS_PERMISSION_DENIED;
    }
    ttlv_write_text(&request->reply, KMIP_TAG_UNIQUE_IDENTIFIER, object_identifier(object));
    return STATUS_OK;
}
