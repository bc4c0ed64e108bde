/* SPDX-License-Identifier: Apache-2.0 */
#include "client/answer.h"

#include <inttypes.h>
#include <stdio.h>

#define MESSAGE_SHOWN_MAX 200 /* of a Result Message, in an error's text */

static const struct {
    uint32_t reason;
    enum status status;
    const char *advice; /* what the administrator can do */
} reasons[] = {
    {KMIP_RESULT_REASON_ITEM_NOT_FOUND, STATUS_OBJECT_NOT_FOUND, ""},
    {KMIP_RESULT_REASON_RESPONSE_TOO_LARGE, STATUS_RESPONSE_TOO_LARGE, ""},
    {KMIP_RESULT_REASON_AUTHENTICATION_NOT_SUCCESSFUL, STATUS_NOT_AUTHENTICATED,
     "; `kmipctl cert add` lets this client's certificate in"},
    {KMIP_RESULT_REASON_INVALID_MESSAGE, STATUS_MALFORMED, ""},
    {KMIP_RESULT_REASON_OPERATION_NOT_SUPPORTED, STATUS_OPERATION_NOT_SUPPORTED, ""},
    {KMIP_RESULT_REASON_MISSING_DATA, STATUS_MISSING_DATA, ""},
    {KMIP_RESULT_REASON_INVALID_FIELD, STATUS_INVALID_FIELD, ""},
    {KMIP_RESULT_REASON_FEATURE_NOT_SUPPORTED, STATUS_FEATURE_NOT_SUPPORTED, ""},
    {KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE, STATUS_CRYPTO_FAILED,
     "; the server's log tells more"},
    {KMIP_RESULT_REASON_ILLEGAL_OPERATION, STATUS_ILLEGAL_OPERATION, ""},
    {KMIP_RESULT_REASON_PERMISSION_DENIED, STATUS_PERMISSION_DENIED, ""},
    {KMIP_RESULT_REASON_INDEX_OUT_OF_BOUNDS, STATUS_INDEX_OUT_OF_BOUNDS, ""},
    {KMIP_RESULT_REASON_APPLICATION_NAMESPACE_NOT_SUPPORTED, STATUS_NAMESPACE_NOT_SUPPORTED, ""},
    {KMIP_RESULT_REASON_KEY_FORMAT_TYPE_NOT_SUPPORTED, STATUS_KEY_FORMAT_NOT_SUPPORTED, ""},
    {KMIP_RESULT_REASON_KEY_COMPRESSION_TYPE_NOT_SUPPORTED, STATUS_KEY_COMPRESSION_NOT_SUPPORTED,
     ""},
    {KMIP_RESULT_REASON_ENCODING_OPTION_ERROR, STATUS_ENCODING_OPTION_NOT_SUPPORTED, ""},
    {KMIP_RESULT_REASON_GENERAL_FAILURE, STATUS_INTERNAL, "; the server's log tells more"},
};

enum status client_status_of_reason(uint32_t reason)
{
    for (size_t i = 0; i < ARRAY_COUNT(reasons); i++)
        if (reasons[i].reason == reason)
            return reasons[i].status;
    return STATUS_INTERNAL;
}

static const char *advice_for(uint32_t reason)
{
    for (size_t i = 0; i < ARRAY_COUNT(reasons); i++)
        if (reasons[i].reason == reason)
            return reasons[i].advice;
    return "";
}

/* ---- Checking ---- */

static enum status malformed(struct error *error, const char *what)
{
    return error_set(error, STATUS_MALFORMED, "the answer is not sound KMIP: %s", what);
}

/* A failure of the whole message: the server did not come as far as an operation. */
static bool is_message_failure(const struct kmip_response *response)
{
    const struct kmip_response_item *item = response->items.items;
    return response->items.count == 1 && !item->operation.present &&
           item->result_status.value == KMIP_RESULT_STATUS_OPERATION_FAILED;
}

static enum status check_header(const struct kmip_response *response,
                                const struct client_request *request, struct error *error)
{
    uint16_t version = kmip_version_of(response->header.version);
    if (response->header.batch_count.value != (int64_t)response->items.count)
        return malformed(error, "its Batch Count is not the number of its batch items");
    if (response->items.count == 0)
        return malformed(error, "it has no batch item");
    if (response->items.count > request->count)
        return malformed(error, "it has more batch items than the request");
    if (version != request->version && !is_message_failure(response))
        return error_set(error, STATUS_MALFORMED,
                         "the answer is in KMIP %u.%u, but the request was in %u.%u", version >> 8,
                         version & 0xFFu, request->version >> 8, request->version & 0xFFu);
    return STATUS_OK;
}

/* The request's item that an answer's item belongs to: by its id, else by its place. */
static bool find_request_item(const struct client_request *request, size_t place,
                              struct bytes answered_id, size_t *ret_index)
{
    for (size_t i = 0; i < request->count; i++) {
        uint8_t memory[CLIENT_ITEM_ID_SIZE];
        struct bytes id = client_item_id(request, i, memory);
        bool own = id.size > 0 ? bytes_equal(id, answered_id) : i == place && answered_id.size == 0;
        if (own) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static enum status read_failure(const struct kmip_response_item *item, struct client_result *result,
                                struct error *error)
{
    if (!item->result_reason.present)
        return malformed(error, "a batch item failed without a Result Reason");
    result->failed = true;
    result->reason = (uint32_t)item->result_reason.value;
    result->message = item->result_message;
    return STATUS_OK;
}

static enum status read_item(const struct kmip_response_item *item, struct client_result *result,
                             struct error *error)
{
    if (result->answered)
        return malformed(error, "two batch items have the same Unique Batch Item ID");
    result->answered = true;
    if (item->operation.present && item->operation.value != result->operation)
        return malformed(error, "a batch item answers another operation than was asked for");
    if (item->result_status.value == KMIP_RESULT_STATUS_OPERATION_FAILED)
        return read_failure(item, result, error);
    if (item->result_status.value != KMIP_RESULT_STATUS_SUCCESS)
        return malformed(error, "a batch item is pending or undone, which was not asked for");
    if (!item->operation.present)
        return malformed(error, "a batch item that succeeded does not say its Operation");
    if (item->payload.type != 0 && item->payload.type != TTLV_STRUCTURE)
        return malformed(error, "a Response Payload is not a Structure");
    result->payload = item->payload.value;
    return STATUS_OK;
}

/* Items may be missing only where one has failed and the batch was to end there. */
static enum status check_completeness(const struct client_answer *answer,
                                      const struct client_request *request, struct error *error)
{
    bool failed = false;
    bool missing = false;
    for (size_t i = 0; i < answer->count; i++) {
        failed |= answer->results[i].failed;
        missing |= !answer->results[i].answered;
    }
    if (missing && (!failed || request->carry_on))
        return malformed(error, "a batch item has no answer");
    return STATUS_OK;
}

static enum status read_items(const struct kmip_response *response,
                              const struct client_request *request, struct client_answer *answer,
                              struct error *error)
{
    const struct kmip_response_item *items = response->items.items;
    for (size_t i = 0; i < response->items.count; i++) {
        size_t index = 0;
        if (!is_message_failure(response) &&
            !find_request_item(request, i, items[i].unique_batch_item_id, &index))
            return malformed(error, "a batch item has a Unique Batch Item ID that was not sent");
        enum status status = read_item(&items[i], &answer->results[index], error);
        if (status != STATUS_OK)
            return status;
    }
    return is_message_failure(response) ? STATUS_OK : check_completeness(answer, request, error);
}

enum status client_read_answer(struct bytes frame, const struct client_request *request,
                               struct arena *arena, struct client_answer *ret_answer,
                               struct error *error)
{
    struct kmip_response response;
    enum status status = kmip_decode_response(frame, arena, &response);
    if (status == STATUS_TOO_LARGE)
        return error_set(error, status, "the answer needs more memory than one answer may have");
    if (status != STATUS_OK)
        return malformed(error, "it is no Response Message of KMIP 1.x");
    status = check_header(&response, request, error);
    if (status != STATUS_OK)
        return status;
    struct client_answer answer = {request->count, NULL};
    answer.results = arena_allocate_array(arena, request->count, sizeof(*answer.results));
    if (answer.results == NULL)
        return error_set(error, STATUS_TOO_LARGE,
                         "the answer needs more memory than one answer may have");
    for (size_t i = 0; i < request->count; i++)
        answer.results[i].operation = request->items[i].operation;
    status = read_items(&response, request, &answer, error);
    if (status == STATUS_OK)
        *ret_answer = answer;
    return status;
}

/* ---- Results ---- */

/* The server's message with what a terminal or a log must not see taken out. */
static void printable_message(struct bytes message, char ret_text[static MESSAGE_SHOWN_MAX + 1])
{
    size_t size = message.size < MESSAGE_SHOWN_MAX ? message.size : MESSAGE_SHOWN_MAX;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = message.data[i];
        ret_text[i] = byte < 0x20 || byte >= 0x7F ? '?' : (char)byte;
    }
    ret_text[size] = '\0';
}

enum status client_result_check(const struct client_result *result, const char *server,
                                struct error *error)
{
    char message[MESSAGE_SHOWN_MAX + 1];
    const char *operation = kmip_value_text(KMIP_TAG_OPERATION, result->operation);
    if (result->answered && !result->failed)
        return STATUS_OK;
    if (!result->answered)
        return error_set(error, STATUS_INTERNAL,
                         "%s did not come to %s: an earlier item of the batch failed", server,
                         operation);
    printable_message(result->message, message);
    return error_set(error, client_status_of_reason(result->reason), "%s refused %s: %s%s%s%s%s",
                     server, operation, kmip_value_text(KMIP_TAG_RESULT_REASON, result->reason),
                     message[0] != '\0' ? " (" : "", message, message[0] != '\0' ? ")" : "",
                     advice_for(result->reason));
}

enum status client_result_payload(const struct client_result *result, struct arena *arena,
                                  void *ret_payload)
{
    const struct client_shapes *shapes = client_shapes_of(result->operation);
    if (shapes == NULL)
        return STATUS_OPERATION_NOT_SUPPORTED;
    return kmip_decode(shapes->response, ttlv_reader_over(result->payload), arena, ret_payload);
}
