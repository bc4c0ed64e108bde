/* SPDX-License-Identifier: Apache-2.0 */
#include "api/record.h"

#include <inttypes.h>
#include <stdio.h>

#define UNKNOWN_ACTION "api.unknown"

/* Who asks: what kmipctl's user is known by, or a service ID. */
static void write_who(const struct api_call *call, char *ret_who)
{
    const struct api_identity *identity = &call->identity;
    if (call->request->local)
        (void)snprintf(ret_who, RECORD_TEXT_MAX, "%s", identity->name);
    else if (identity->iam_id[0] != '\0')
        (void)snprintf(ret_who, RECORD_TEXT_MAX, "%s (%s)", identity->name, identity->iam_id);
}

static void write_detail(const struct api_call *call, uint64_t left_out, char *ret_detail)
{
    char more[64] = "";
    if (left_out > 0)
        (void)snprintf(more, sizeof(more), "; %" PRIu64 " calls of strangers were not recorded",
                       left_out);
    (void)snprintf(ret_detail, RECORD_TEXT_MAX, "correlation=%s%s%s%s", call->response->correlation,
                   call->detail[0] != '\0' ? "; " : "", call->detail, more);
}

void record_make(const struct api_call *call, uint64_t left_out, struct record *ret_record)
{
    const struct api_request *request = call->request;
    bool success = call->error == API_OK;
    struct record *record = ret_record;
    record->who[0] = '\0';
    write_who(call, record->who);
    write_detail(call, left_out, record->detail);
    record->entry = (struct audit_entry){
        .time = call->now,
        .event = request->local ? "admin" : "api",
        .adapter = bytes_of_text(call->adapter),
        .certificate = bytes_of_text(record->who),
        .peer = request->local ? bytes_of(NULL, 0) : request->peer,
        .operation = bytes_of_text(call->action != NULL ? call->action : UNKNOWN_ACTION),
        .object = bytes_of_text(call->subject),
        .result = success ? BYTES_LITERAL("Success") : BYTES_LITERAL("Operation Failed"),
        .reason = bytes_of_text(api_error_code(call->error)),
        .detail = bytes_of_text(record->detail),
    };
}

void record_failed(struct api_response *response)
{
    static const char body[] =
        "{\"metadata\":{\"collectionType\":\"application/vnd.ibm.kms.error+json\","
        "\"collectionTotal\":1},\"resources\":[{\"errorMsg\":\"Service Unavailable: The server "
        "cannot write its audit log: Please see `reasons` for more details (AUDIT_ERR)\","
        "\"reasons\":[{\"code\":\"AUDIT_ERR\",\"message\":\"The server cannot write its audit "
        "log\",\"status\":503,\"moreInfo\":\"https://cloud.ibm.com/apidocs/key-protect\"}]}]}";
    buffer_free(&response->body);
    buffer_append_text(&response->body, body);
    response->status = api_error_status(API_AUDIT_ERR);
    response->content_type =
        buffer_status(&response->body) == STATUS_OK ? "application/json" : NULL;
    response->key_total = -1;
    response->retry_after = 30;
}
