/* SPDX-License-Identifier: Apache-2.0 */
/* Messages and batches: header in, items in order, header out (KMIP 1.4 §6, §7). */
#include <endian.h>

#include "core/attributes.h"
#include "core/keys.h"

const uint16_t core_versions[] = {KMIP_VERSION_1_4, KMIP_VERSION_1_3, KMIP_VERSION_1_2,
                                  KMIP_VERSION_1_1, KMIP_VERSION_1_0};
const size_t core_version_count = ARRAY_COUNT(core_versions);

/* Where the Batch Count stands in the reply: it is known only when the last item is done. */
struct reply_header {
    size_t batch_count_at;
    uint32_t items;
    size_t message;
};

static bool version_served(uint16_t version)
{
    for (size_t i = 0; i < core_version_count; i++)
        if (core_versions[i] == version)
            return true;
    return false;
}

/* The version to answer in: the request's, or the nearest one that exists here. */
static uint16_t answer_version(uint16_t version)
{
    if (version_served(version))
        return version;
    return version > core_versions[0] ? core_versions[0] : KMIP_VERSION_1_0;
}

static void begin_reply(struct request *request, struct bytes client_correlation_value,
                        struct reply_header *header)
{
    uint16_t version = answer_version(request->version);
    struct kmip_protocol_version protocol = kmip_version_structure(version);
    struct kmip_response_header fields = {
        .version = &protocol,
        .time_stamp = kmip_number(request_seconds(request)),
        .client_correlation_value = client_correlation_value,
        .batch_count = kmip_number(0),
    };
    buffer_reset(&request->reply);
    header->items = 0;
    header->message = ttlv_begin(&request->reply, KMIP_TAG_RESPONSE_MESSAGE);
    kmip_encode_structure(KMIP_TAG_RESPONSE_HEADER, &kmip_response_header_shape, &fields, version,
                          &request->reply);
    header->batch_count_at = request->reply.size - 8;
}

static enum status end_reply(struct request *request, const struct reply_header *header)
{
    ttlv_end(&request->reply, header->message);
    if (buffer_status(&request->reply) != STATUS_OK)
        return STATUS_TOO_LARGE;
    uint32_t count = htobe32(header->items);
    memcpy(request->reply.data + header->batch_count_at, &count, sizeof(count));
    return STATUS_OK;
}

static void note_failure(struct request *request, enum status status)
{
    if (request->worst != STATUS_OK && status_level(status) >= status_level(request->worst))
        return;
    request->worst = status;
    request->worst_record = request->record_count;
}

static void record(struct request *request, enum status status, struct bytes detail)
{
    if (status != STATUS_OK)
        note_failure(request, status);
    struct audit_entry *entry = &request->records[request->record_count++];
    const struct core_session *session = request->session;
    *entry = (struct audit_entry){
        .time = request->now,
        .event = "kmip",
        .adapter = bytes_of_text(session->adapter_name),
        .certificate = bytes_of_text(session->certificate),
        .peer = bytes_of_text(session->peer),
        .object = request->subject,
        .result = bytes_of_text(status == STATUS_OK ? "Success" : "Operation Failed"),
        .product = request->product,
        .detail = detail,
    };
    if (request->operation != 0)
        entry->operation = bytes_of_text(kmip_value_text(KMIP_TAG_OPERATION, request->operation));
    if (status != STATUS_OK)
        entry->reason = bytes_of_text(kmip_value_text(
            KMIP_TAG_RESULT_REASON, kmip_result_reason(status, answer_version(request->version))));
}

/* A failed item. Without an operation it answers a message that could not be parsed (§11.1). */
static void write_failure(struct request *request, const struct kmip_request_item *item,
                          enum status status)
{
    uint16_t version = answer_version(request->version);
    struct kmip_response_item failure = {
        .operation = item->operation,
        .unique_batch_item_id = item->unique_batch_item_id,
        .result_status = kmip_number(KMIP_RESULT_STATUS_OPERATION_FAILED),
        .result_reason = kmip_number(kmip_result_reason(status, version)),
        .result_message = bytes_of_text(status_text(status)),
        .payload = request->failure_payload,
    };
    kmip_encode_structure(KMIP_TAG_BATCH_ITEM, &kmip_response_item_shape, &failure, version,
                          &request->reply);
}

/* Takes back what an item has written: it may have been part of a key. */
static void truncate_reply(struct request *request, size_t size)
{
    struct buffer *reply = &request->reply;
    if (reply->size > size)
        explicit_bzero(reply->data + size, reply->size - size);
    reply->size = size;
}

/* Discover Versions came with 1.1, but it is how a client finds out, and clients ask it in a 1.0
 * header (PyKMIP). */
static bool known_in_version(const struct kmip_operation_info *info, uint16_t version)
{
    return info->value->since <= version || info->value->number == KMIP_OPERATION_DISCOVER_VERSIONS;
}

static enum status run_operation(struct request *request, const struct kmip_request_item *item)
{
    const struct operation *operation = operation_by_code((uint32_t)item->operation.value);
    const struct kmip_operation_info *info =
        kmip_operation_by_code((uint32_t)item->operation.value);
    if (request->refusal != STATUS_OK)
        return request->refusal;
    if (operation == NULL || info == NULL || !known_in_version(info, request->version))
        return STATUS_OPERATION_NOT_SUPPORTED;
    return operation->run(request, ttlv_reader_over(item->payload.value));
}

/* The item ends in its midst, and is run again when the key is there. No answer, no record. */
static enum status leave_item(struct request *request, size_t start)
{
    truncate_reply(request, start);
    request->edits = NULL;
    return STATUS_PENDING;
}

static enum status run_item(struct request *request, const struct kmip_request_item *item)
{
    struct buffer *reply = &request->reply;
    size_t start = reply->size;
    request->operation = (uint32_t)item->operation.value;
    request->subject = (struct bytes){0};
    request->product = (struct bytes){0};
    request->failure_payload = (struct kmip_any){0};
    request->edits = NULL;
    size_t mark = ttlv_begin(reply, KMIP_TAG_BATCH_ITEM);
    ttlv_write_enumeration(reply, KMIP_TAG_OPERATION, request->operation);
    if (item->unique_batch_item_id.data != NULL)
        ttlv_write_byte_string(reply, KMIP_TAG_UNIQUE_BATCH_ITEM_ID, item->unique_batch_item_id);
    ttlv_write_enumeration(reply, KMIP_TAG_RESULT_STATUS, KMIP_RESULT_STATUS_SUCCESS);
    size_t payload = ttlv_begin(reply, KMIP_TAG_RESPONSE_PAYLOAD);
    enum status status = run_operation(request, item);
    if (status == STATUS_PENDING)
        return leave_item(request, start);
    if (status == STATUS_OK) {
        ttlv_end(reply, payload);
        ttlv_end(reply, mark);
        request_keep_edits(request);
    } else if (buffer_status(reply) == STATUS_OK) {
        truncate_reply(request, start);
        write_failure(request, item, status);
    }
    record(request, status, (struct bytes){0});
    /* Whoever sends such a payload cannot be trusted with the next one. */
    request->close |= status == STATUS_MALFORMED;
    return status;
}

static enum status run_items(struct request *request, const struct kmip_request *message)
{
    struct reply_header header;
    const struct kmip_request_item *items = message->items.items;
    bool go_on = message->header.batch_error_continuation_option.value ==
                     KMIP_BATCH_ERROR_CONTINUATION_OPTION_CONTINUE ||
                 request->refusal != STATUS_OK;
    begin_reply(request, message->header.client_correlation_value, &header);
    for (size_t i = 0; i < message->items.count; i++) {
        enum status status = run_item(request, &items[i]);
        header.items++;
        /* Behind an item whose key is not there yet the others run to find what they need: keys are
         * fetched together, and nothing of this execution happens. */
        bool failed = status != STATUS_OK && status != STATUS_PENDING;
        if ((failed && !go_on) || request->out_of_patience)
            break;
    }
    return end_reply(request, &header);
}

/* Answers a message that is no message: one item without an operation; then the connection goes. */
static enum status reject(struct request *request, enum status status)
{
    struct reply_header header;
    const struct kmip_request_item none = {0};
    request->close = true;
    request->operation = 0;
    request->subject = request->product = (struct bytes){0};
    request->failure_payload = (struct kmip_any){0};
    arena_reset(&request->arena); /* what was read of the message may have filled it */
    request->records = arena_allocate_array(&request->arena, 1, sizeof(*request->records));
    if (request->records == NULL)
        return STATUS_TOO_LARGE;
    begin_reply(request, (struct bytes){0}, &header);
    write_failure(request, &none, status);
    header.items = 1;
    record(request, status, bytes_of_text(status_text(status)));
    return end_reply(request, &header);
}

/* A critical extension that is not understood rejects the entire message (KMIP 1.4 §6.16); none is
 * understood. */
static bool has_critical_extension(const struct kmip_request *message)
{
    const struct kmip_request_item *items = message->items.items;
    for (size_t i = 0; i < message->items.count; i++)
        if (items[i].extension != NULL && items[i].extension->criticality_indicator.value != 0)
            return true;
    return false;
}

/* What refuses a message as a whole. */
static enum status check_message(struct request *request, const struct kmip_request *message)
{
    const struct kmip_request_header *header = &message->header;
    int64_t option = header->batch_error_continuation_option.value;
    if (request->session->adapter == 0)
        return request->session->failure != STATUS_OK ? request->session->failure
                                                      : STATUS_NOT_AUTHENTICATED;
    if (header->batch_error_continuation_option.present &&
        kmip_value_by_number(KMIP_TAG_BATCH_ERROR_CONTINUATION_OPTION, (uint32_t)option) == NULL)
        return STATUS_INVALID_FIELD;
    if (option == KMIP_BATCH_ERROR_CONTINUATION_OPTION_UNDO || has_critical_extension(message))
        return STATUS_FEATURE_NOT_SUPPORTED;
    return request_authenticate(request, header->authentication);
}

/* One pass over a decoded message, from clean hands. */
static enum status pass(struct request *request, const struct kmip_request *message)
{
    request->record_count = 0;
    request->worst = STATUS_OK;
    request->change_count = 0;
    request->records =
        arena_allocate_array(&request->arena, message->items.count, sizeof(*request->records));
    if (request->records == NULL)
        return STATUS_TOO_LARGE;
    enum status status = run_items(request, message);
    return status == STATUS_OK ? request_collect_changes(request) : status;
}

static bool too_large_for_client(const struct request *request,
                                 const struct kmip_request_header *header)
{
    return header->maximum_response_size.present &&
           (int64_t)request->reply.size > header->maximum_response_size.value;
}

static void forget(struct request *request)
{
    enum status refusal = request->refusal;
    bool skip_optional = request->skip_optional;
    request_reset(request);
    request_keys_rewind(request);
    request->refusal = refusal;
    request->skip_optional = skip_optional;
}

/* More room for the answer would not help: the request has used up its memory, or its changes
 * could not be made. */
static bool is_stuck(const struct request *request, enum status status)
{
    return status != STATUS_OK && buffer_status(&request->reply) == STATUS_OK;
}

static enum status run_message(struct request *request)
{
    struct kmip_request message;
    uint16_t version;
    enum status status = kmip_decode_request(request->frame, &request->arena, &version, &message);
    request->version = version;
    if (status != STATUS_OK)
        return reject(request, status);
    if (!version_served(version))
        return reject(request, STATUS_VERSION_NOT_SUPPORTED);
    if (request->refusal == STATUS_OK)
        request->refusal = check_message(request, &message);
    status = pass(request, &message);
    if (request->refusal != STATUS_OK && is_stuck(request, status))
        return reject(request, status); /* not even each item can be refused */
    if (status == STATUS_OK && request->refusal == STATUS_OK &&
        too_large_for_client(request, &message.header))
        request->refusal = STATUS_RESPONSE_TOO_LARGE;
    return status;
}

static enum status run(struct request *request)
{
    request->now = clock_now(request->core->clock);
    forget(request);
    bool refused = request->refusal != STATUS_OK;
    enum status status = run_message(request);
    if (request->keys.wanted != NULL)
        return STATUS_PENDING;
    if (!refused && is_stuck(request, status))
        request->refusal = status;
    else if (refused || status != STATUS_OK || request->refusal != STATUS_RESPONSE_TOO_LARGE)
        return status;
    /* The answer as a whole is too long, or what it takes: nothing of it happens, and each item
     * says why. */
    forget(request);
    return run_message(request);
}

enum status core_execute(struct request *request, const struct core_session *session,
                         struct store_session *store, struct bytes frame, size_t patience)
{
    request_finish(request);
    request->session = session;
    request->patience = patience;
    request->out_of_patience = false;
    request->store = store;
    request->frame = frame;
    request->refusal = STATUS_OK;
    request->skip_optional = false;
    enum status status = run(request);
    return request->out_of_patience ? STATUS_BUSY : status;
}

enum status core_execute_again(struct request *request, bool skip_optional)
{
    request->patience = SIZE_MAX;
    request->refusal = STATUS_OK;
    request->skip_optional = skip_optional;
    return run(request);
}

enum status core_execute_fetched(struct request *request)
{
    request->patience = SIZE_MAX;
    request->refusal = STATUS_OK;
    return run(request);
}

bool request_only_optional(const struct request *request)
{
    for (const struct object *object = request->objects; object != NULL; object = object->next)
        if (object->changed && !object->optional)
            return false;
    return true;
}

enum status core_refuse(struct request *request, enum status status)
{
    request->refusal = status;
    return run(request);
}

enum status core_reject_frame(struct request *request, const struct core_session *session,
                              struct bytes header, enum status status)
{
    request_finish(request);
    request->session = session;
    request->frame = header;
    request->refusal = STATUS_OK;
    request->now = clock_now(request->core->clock);
    forget(request);
    request->version = kmip_peek_version(header);
    return reject(request, status == STATUS_TOO_LARGE ? STATUS_MALFORMED : status);
}
