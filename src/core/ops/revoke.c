/* SPDX-License-Identifier: Apache-2.0 */
#include "core/lifecycle.h"
#include "core/request.h"

static bool is_compromise(int64_t code)
{
    return code == KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE ||
           code == KMIP_REVOCATION_REASON_CODE_CA_COMPROMISE;
}

static enum status set_reason(struct request *request, struct object *object,
                              const struct kmip_revocation_reason *reason)
{
    return object_set(object, &request->arena, KMIP_ATTRIBUTE_REVOCATION_REASON,
                      value_structure(&request->arena, &kmip_revocation_reason_shape, reason));
}

/* Compromise: when it was noticed, and since when it may have been so (§3.29, §3.30). */
static enum status set_occurrence(struct request *request, struct object *object,
                                  const struct kmip_revoke_request *asked)
{
    int64_t occurred = asked->compromise_occurrence_date.present
                           ? asked->compromise_occurrence_date.value
                           : request_seconds(request);
    return object_set(object, &request->arena, KMIP_ATTRIBUTE_COMPROMISE_OCCURRENCE_DATE,
                      value_date_time(&request->arena, occurred));
}

/* An object that was destroyed before keeps no key to compromise, but its state tells of it. */
static enum status move(struct request *request, struct object *object,
                        const struct kmip_revoke_request *asked)
{
    bool compromise = is_compromise(asked->revocation_reason->code.value);
    enum status status = lifecycle_move(object, &request->arena,
                                        compromise ? KMIP_CAUSE_COMPROMISE : KMIP_CAUSE_REVOKE,
                                        request_seconds(request));
    /* The standard names one reason only for objects that cannot be revoked (§11.21). */
    if (status == STATUS_PERMISSION_DENIED)
        return STATUS_ILLEGAL_OPERATION;
    if (status == STATUS_OK && compromise)
        status = set_occurrence(request, object, asked);
    return status;
}

/* KMIP 1.4 §4.20: a compromise makes an object Compromised, any other reason Deactivated. */
enum status operation_revoke(struct request *request, struct ttlv_reader payload)
{
    struct kmip_revoke_request asked;
    struct object *object;
    enum status status = kmip_decode(&kmip_revoke_request_shape, payload, &request->arena, &asked);
    if (status != STATUS_OK)
        return status;
    if (kmip_value_by_number(KMIP_TAG_REVOCATION_REASON_CODE,
                             (uint32_t)asked.revocation_reason->code.value) == NULL)
        return STATUS_INVALID_FIELD;
    status = request_edit_object(request, asked.unique_identifier, &object);
    if (status == STATUS_OK)
        status = move(request, object, &asked);
    if (status == STATUS_OK)
        status = set_reason(request, object, asked.revocation_reason);
    if (status == STATUS_OK)
        status = request_changed(request, object);
    if (status == STATUS_OK)
        ttlv_write_text(&request->reply, KMIP_TAG_UNIQUE_IDENTIFIER, object_identifier(object));
    return status;
}
