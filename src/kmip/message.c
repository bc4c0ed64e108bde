/* SPDX-License-Identifier: Apache-2.0 */
#include "kmip/message.h"

static const struct kmip_field protocol_version_fields[] = {
    KMIP_FIELD(kmip_protocol_version, PROTOCOL_VERSION_MAJOR, INTEGER, KMIP_REQUIRED, 0, major),
    KMIP_FIELD(kmip_protocol_version, PROTOCOL_VERSION_MINOR, INTEGER, KMIP_REQUIRED, 0, minor),
};
const struct kmip_shape kmip_protocol_version_shape =
    KMIP_SHAPE(kmip_protocol_version, protocol_version_fields);

static const struct kmip_field credential_fields[] = {
    KMIP_FIELD(kmip_credential, CREDENTIAL_TYPE, ENUMERATION, KMIP_REQUIRED, 0, type),
    KMIP_FIELD(kmip_credential, CREDENTIAL_VALUE, ANY, KMIP_REQUIRED, 0, value),
};
static const struct kmip_shape credential_shape = KMIP_SHAPE(kmip_credential, credential_fields);

static const struct kmip_field username_password_fields[] = {
    KMIP_FIELD(kmip_username_password, USERNAME, TEXT_STRING, KMIP_REQUIRED, 0, username),
    KMIP_FIELD(kmip_username_password, PASSWORD, TEXT_STRING, 0, 0, password),
};
const struct kmip_shape kmip_username_password_shape =
    KMIP_SHAPE(kmip_username_password, username_password_fields);

static const struct kmip_field authentication_fields[] = {
    KMIP_NESTED(kmip_authentication, CREDENTIAL, KMIP_REQUIRED | KMIP_REPEATED, 0, credentials,
                credential_shape),
};
static const struct kmip_shape authentication_shape =
    KMIP_SHAPE(kmip_authentication, authentication_fields);

static const struct kmip_field request_header_fields[] = {
    KMIP_NESTED(kmip_request_header, PROTOCOL_VERSION, KMIP_REQUIRED, 0, version,
                kmip_protocol_version_shape),
    KMIP_FIELD(kmip_request_header, MAXIMUM_RESPONSE_SIZE, INTEGER, 0, 0, maximum_response_size),
    KMIP_FIELD(kmip_request_header, CLIENT_CORRELATION_VALUE, TEXT_STRING, 0, KMIP_VERSION_1_4,
               client_correlation_value),
    KMIP_FIELD(kmip_request_header, SERVER_CORRELATION_VALUE, TEXT_STRING, 0, KMIP_VERSION_1_4,
               server_correlation_value),
    KMIP_FIELD(kmip_request_header, ASYNCHRONOUS_INDICATOR, BOOLEAN, 0, 0, asynchronous_indicator),
    KMIP_FIELD(kmip_request_header, ATTESTATION_CAPABLE_INDICATOR, BOOLEAN, 0, KMIP_VERSION_1_2,
               attestation_capable_indicator),
    KMIP_FIELD(kmip_request_header, ATTESTATION_TYPE, ENUMERATION, KMIP_REPEATED, KMIP_VERSION_1_2,
               attestation_types),
    KMIP_NESTED(kmip_request_header, AUTHENTICATION, 0, 0, authentication, authentication_shape),
    KMIP_FIELD(kmip_request_header, BATCH_ERROR_CONTINUATION_OPTION, ENUMERATION, 0, 0,
               batch_error_continuation_option),
    KMIP_FIELD(kmip_request_header, BATCH_ORDER_OPTION, BOOLEAN, 0, 0, batch_order_option),
    KMIP_FIELD(kmip_request_header, TIME_STAMP, DATE_TIME, 0, 0, time_stamp),
    KMIP_FIELD(kmip_request_header, BATCH_COUNT, INTEGER, KMIP_REQUIRED, 0, batch_count),
};
const struct kmip_shape kmip_request_header_shape =
    KMIP_SHAPE(kmip_request_header, request_header_fields);

static const struct kmip_field message_extension_fields[] = {
    KMIP_FIELD(kmip_message_extension, VENDOR_IDENTIFICATION, TEXT_STRING, KMIP_REQUIRED, 0,
               vendor_identification),
    KMIP_FIELD(kmip_message_extension, CRITICALITY_INDICATOR, BOOLEAN, KMIP_REQUIRED, 0,
               criticality_indicator),
    KMIP_FIELD(kmip_message_extension, VENDOR_EXTENSION, ANY, KMIP_REQUIRED, 0, vendor_extension),
};
static const struct kmip_shape message_extension_shape =
    KMIP_SHAPE(kmip_message_extension, message_extension_fields);

static const struct kmip_field request_item_fields[] = {
    KMIP_FIELD(kmip_request_item, OPERATION, ENUMERATION, KMIP_REQUIRED, 0, operation),
    KMIP_FIELD(kmip_request_item, UNIQUE_BATCH_ITEM_ID, BYTE_STRING, 0, 0, unique_batch_item_id),
    KMIP_FIELD(kmip_request_item, REQUEST_PAYLOAD, ANY, KMIP_REQUIRED, 0, payload),
    KMIP_NESTED(kmip_request_item, MESSAGE_EXTENSION, 0, 0, extension, message_extension_shape),
};
const struct kmip_shape kmip_request_item_shape =
    KMIP_SHAPE(kmip_request_item, request_item_fields);

static const struct kmip_field response_header_fields[] = {
    KMIP_NESTED(kmip_response_header, PROTOCOL_VERSION, KMIP_REQUIRED, 0, version,
                kmip_protocol_version_shape),
    KMIP_FIELD(kmip_response_header, TIME_STAMP, DATE_TIME, KMIP_REQUIRED, 0, time_stamp),
    KMIP_FIELD(kmip_response_header, CLIENT_CORRELATION_VALUE, TEXT_STRING, 0, KMIP_VERSION_1_4,
               client_correlation_value),
    KMIP_FIELD(kmip_response_header, SERVER_CORRELATION_VALUE, TEXT_STRING, 0, KMIP_VERSION_1_4,
               server_correlation_value),
    KMIP_FIELD(kmip_response_header, BATCH_COUNT, INTEGER, KMIP_REQUIRED, 0, batch_count),
};
const struct kmip_shape kmip_response_header_shape =
    KMIP_SHAPE(kmip_response_header, response_header_fields);

static const struct kmip_field response_item_fields[] = {
    KMIP_FIELD(kmip_response_item, OPERATION, ENUMERATION, 0, 0, operation),
    KMIP_FIELD(kmip_response_item, UNIQUE_BATCH_ITEM_ID, BYTE_STRING, 0, 0, unique_batch_item_id),
    KMIP_FIELD(kmip_response_item, RESULT_STATUS, ENUMERATION, KMIP_REQUIRED, 0, result_status),
    KMIP_FIELD(kmip_response_item, RESULT_REASON, ENUMERATION, 0, 0, result_reason),
    KMIP_FIELD(kmip_response_item, RESULT_MESSAGE, TEXT_STRING, 0, 0, result_message),
    KMIP_FIELD(kmip_response_item, RESPONSE_PAYLOAD, ANY, 0, 0, payload),
};
const struct kmip_shape kmip_response_item_shape =
    KMIP_SHAPE(kmip_response_item, response_item_fields);

uint16_t kmip_version_of(const struct kmip_protocol_version *version)
{
    if ((uint64_t)version->major.value > 0xFF || (uint64_t)version->minor.value > 0xFF)
        return 0;
    return (uint16_t)(version->major.value << 8 | version->minor.value);
}

struct kmip_protocol_version kmip_version_structure(uint16_t version)
{
    return (struct kmip_protocol_version){kmip_number(version >> 8), kmip_number(version & 0xFF)};
}

/* Anything wrong in a header or a batch item's frame is an Invalid Message (KMIP 1.4 §11.1). */
static enum status as_malformed(enum status status)
{
    return status == STATUS_MISSING_DATA ? STATUS_MALFORMED : status;
}

/* Opens the message: one Structure with this tag and nothing behind it, well-formed throughout. */
static enum status open_message(struct bytes frame, uint32_t tag, struct ttlv_reader *ret_body)
{
    struct ttlv_reader outer = ttlv_reader_over(frame);
    struct ttlv_item message;
    if (ttlv_next(&outer, &message) != STATUS_OK || !ttlv_at_end(&outer) || message.tag != tag ||
        message.type != TTLV_STRUCTURE)
        return STATUS_MALFORMED;
    *ret_body = ttlv_enter(&message);
    return STATUS_OK;
}

static enum status next_structure(struct ttlv_reader *reader, uint32_t tag,
                                  struct ttlv_item *ret_item)
{
    if (ttlv_peek_tag(reader) != tag || ttlv_next(reader, ret_item) != STATUS_OK ||
        ret_item->type != TTLV_STRUCTURE)
        return STATUS_MALFORMED;
    return STATUS_OK;
}

/* Moves into a Structure with this tag, whatever its length says. */
static bool enter_beginning(struct ttlv_reader *reader, uint32_t tag)
{
    if (ttlv_peek_tag(reader) != tag || reader->at[3] != TTLV_STRUCTURE)
        return false;
    reader->at += TTLV_HEADER_SIZE;
    return true;
}

static bool next_number(struct ttlv_reader *reader, uint32_t tag, struct kmip_number *ret_number)
{
    struct ttlv_item item;
    if (ttlv_peek_tag(reader) != tag || ttlv_next(reader, &item) != STATUS_OK ||
        item.type != TTLV_INTEGER)
        return false;
    *ret_number = kmip_number(ttlv_integer(&item));
    return true;
}

uint16_t kmip_peek_version(struct bytes beginning)
{
    struct ttlv_reader reader = ttlv_reader_over(beginning);
    struct kmip_protocol_version version;
    if (!enter_beginning(&reader, KMIP_TAG_REQUEST_MESSAGE) ||
        !enter_beginning(&reader, KMIP_TAG_REQUEST_HEADER) ||
        !enter_beginning(&reader, KMIP_TAG_PROTOCOL_VERSION) ||
        !next_number(&reader, KMIP_TAG_PROTOCOL_VERSION_MAJOR, &version.major) ||
        !next_number(&reader, KMIP_TAG_PROTOCOL_VERSION_MINOR, &version.minor))
        return 0;
    return kmip_version_of(&version);
}

/* Batch items are counted by decoding a wrapper shape of one repeated field. */
struct batch {
    struct kmip_list items;
};

static const struct kmip_field request_batch_fields[] = {
    KMIP_NESTED(batch, BATCH_ITEM, KMIP_REPEATED, 0, items, kmip_request_item_shape)};
static const struct kmip_shape request_batch_shape = KMIP_SHAPE(batch, request_batch_fields);
static const struct kmip_field response_batch_fields[] = {
    KMIP_NESTED(batch, BATCH_ITEM, KMIP_REPEATED, 0, items, kmip_response_item_shape)};
static const struct kmip_shape response_batch_shape = KMIP_SHAPE(batch, response_batch_fields);

static bool payloads_are_structures(const struct kmip_list *items)
{
    const struct kmip_request_item *item = items->items;
    for (size_t i = 0; i < items->count; i++)
        if (item[i].payload.type != TTLV_STRUCTURE)
            return false;
    return true;
}

enum status kmip_decode_request(struct bytes frame, struct arena *arena, uint16_t *ret_version,
                                struct kmip_request *ret_request)
{
    struct ttlv_reader body;
    struct ttlv_item header;
    struct batch batch;
    *ret_version = kmip_peek_version(frame);
    if (ttlv_check(frame) != STATUS_OK ||
        open_message(frame, KMIP_TAG_REQUEST_MESSAGE, &body) != STATUS_OK ||
        next_structure(&body, KMIP_TAG_REQUEST_HEADER, &header) != STATUS_OK)
        return STATUS_MALFORMED;
    enum status status =
        kmip_decode(&kmip_request_header_shape, ttlv_enter(&header), arena, &ret_request->header);
    if (status == STATUS_OK)
        status = kmip_decode(&request_batch_shape, body, arena, &batch);
    if (status != STATUS_OK)
        return as_malformed(status);
    if (batch.items.count == 0 || !payloads_are_structures(&batch.items) ||
        ret_request->header.batch_count.value != (int64_t)batch.items.count)
        return STATUS_MALFORMED;
    ret_request->items = batch.items;
    return STATUS_OK;
}

enum status kmip_decode_response(struct bytes frame, struct arena *arena,
                                 struct kmip_response *ret_response)
{
    struct ttlv_reader body;
    struct ttlv_item header;
    struct batch batch;
    if (ttlv_check(frame) != STATUS_OK ||
        open_message(frame, KMIP_TAG_RESPONSE_MESSAGE, &body) != STATUS_OK ||
        next_structure(&body, KMIP_TAG_RESPONSE_HEADER, &header) != STATUS_OK)
        return STATUS_MALFORMED;
    enum status status =
        kmip_decode(&kmip_response_header_shape, ttlv_enter(&header), arena, &ret_response->header);
    if (status == STATUS_OK)
        status = kmip_decode(&response_batch_shape, body, arena, &batch);
    if (status != STATUS_OK)
        return as_malformed(status);
    ret_response->items = batch.items;
    return STATUS_OK;
}

static const uint32_t reasons[STATUS_COUNT] = {
#define ERROR(code, reason, level, text) [STATUS_##code] = KMIP_RESULT_REASON_##reason,
#include "errors.def"
#undef ERROR
};

uint32_t kmip_result_reason(enum status status, uint16_t version)
{
    uint32_t reason = (unsigned)status < STATUS_COUNT ? reasons[status] : 0;
    const struct kmip_value_info *value = kmip_value_by_number(KMIP_TAG_RESULT_REASON, reason);
    if (value == NULL || value->since > version)
        return KMIP_RESULT_REASON_GENERAL_FAILURE;
    return reason;
}
