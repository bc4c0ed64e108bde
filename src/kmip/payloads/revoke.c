/* SPDX-License-Identifier: Apache-2.0 */
/* Revoke (KMIP 1.4 §4.20) and Revocation Reason (§3.31). */
#include "kmip/payloads.h"

static const struct kmip_field revocation_reason_fields[] = {
    KMIP_FIELD(kmip_revocation_reason, REVOCATION_REASON_CODE, ENUMERATION, KMIP_REQUIRED, 0, code),
    KMIP_FIELD(kmip_revocation_reason, REVOCATION_MESSAGE, TEXT_STRING, 0, 0, message),
};
const struct kmip_shape kmip_revocation_reason_shape =
    KMIP_SHAPE(kmip_revocation_reason, revocation_reason_fields);

static const struct kmip_field request_fields[] = {
    KMIP_FIELD(kmip_revoke_request, UNIQUE_IDENTIFIER, TEXT_STRING, 0, 0, unique_identifier),
    KMIP_NESTED(kmip_revoke_request, REVOCATION_REASON, KMIP_REQUIRED, 0, revocation_reason,
                kmip_revocation_reason_shape),
    KMIP_FIELD(kmip_revoke_request, COMPROMISE_OCCURRENCE_DATE, DATE_TIME, 0, 0,
               compromise_occurrence_date),
};
const struct kmip_shape kmip_revoke_request_shape = KMIP_SHAPE(kmip_revoke_request, request_fields);
