/* SPDX-License-Identifier: Apache-2.0 */
/* Answers. */
#include "api/call.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/router.h"
#include "base/log.h"

#define MORE_INFO       "https://cloud.ibm.com/apidocs/key-protect"
#define MESSAGE_MAX     640
#define RETRY_SECONDS   5
#define FIRST_BODY_SIZE 1024

/* ---- The table of errors ---- */

static const struct {
    unsigned status;
    const char *code;
    const char *text;
} errors[API_ERROR_COUNT] = {
    [API_OK] = {200, "", ""},
#define API_ERROR(code, status, text) [API_##code] = {status, #code, text},
#include "api_errors.def"
#undef API_ERROR
};

unsigned api_error_status(enum api_error error)
{
    return errors[error].status;
}

const char *api_error_code(enum api_error error)
{
    return errors[error].code;
}

const char *api_error_text(enum api_error error)
{
    return errors[error].text;
}

/* The texts that errorMsg begins with (RFC 9110 §15, but for 401: see write_envelope()). */
static const struct {
    unsigned status;
    const char *text;
} status_texts[] = {
    {400, "Bad Request"},          {403, "Forbidden"},
    {404, "Not Found"},            {405, "Method Not Allowed"},
    {409, "Conflict"},             {410, "Gone"},
    {413, "Payload Too Large"},    {422, "Unprocessable Entity"},
    {429, "Too Many Requests"},    {500, "Internal Server Error"},
    {502, "Bad Gateway"},          {503, "Service Unavailable"},
};

static const char *status_word(unsigned status)
{
    for (size_t i = 0; i < ARRAY_COUNT(status_texts); i++)
        if (status_texts[i].status == status)
            return status_texts[i].text;
    return "Error";
}

/* ---- Content types ---- */

#define VENDOR(type)      {type, "application/vnd.ibm.kms." type "+json"}
#define PLAIN_JSON        "application/json"
#define COLLECTION(type)  "application/vnd.ibm.kms." type "+json"

static const struct {
    const char *type;
    const char *content_type;
} types[] = {
    VENDOR("key"),
    VENDOR("key_action"),
    VENDOR("key.version"),
    VENDOR("alias"),
    VENDOR("key_ring"),
    VENDOR("policy"),
    VENDOR("registration"),
    VENDOR("import_token"),
    VENDOR("error"),
    VENDOR("crn"),
    VENDOR("resource_crn"),
    VENDOR("event_acknowledge"),
    VENDOR("allowed_ip_metadata"),
    VENDOR("kmip_adapter"),
    VENDOR("kmip_client_certificate"),
    VENDOR("kmip_object"),
    VENDOR("service_id"),
    VENDOR("api_key"),
};

/* The vendor type; plain JSON for a client that takes nothing else, where that is configured. */
const char *api_content_type(const struct api_call *call, const char *type)
{
    if (call->context->plain_json && bytes_equal_text(call->request->accept, PLAIN_JSON))
        return PLAIN_JSON;
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        if (strcmp(types[i].type, type) == 0)
            return types[i].content_type;
    return PLAIN_JSON;
}

/* ---- Bodies ---- */

static int append(const char *text, size_t size, void *buffer)
{
    buffer_append(buffer, text, size);
    return buffer_status(buffer) == STATUS_OK ? 0 : -1;
}

/* Whether there is an answer already: the first one counts. */
static bool is_answered(const struct api_call *call)
{
    return call->response->status != 0;
}

/* What is said when there is no memory for anything else. */
static void answer_without_memory(struct api_call *call)
{
    static const char body[] =
        "{\"metadata\":{\"collectionType\":\"" COLLECTION("error") "\",\"collectionTotal\":1},"
        "\"resources\":[{\"errorMsg\":\"Service Unavailable: The server is out of memory\"}]}";
    struct api_response *response = call->response;
    buffer_free(&response->body);
    buffer_append_text(&response->body, body);
    response->status = 503;
    response->retry_after = RETRY_SECONDS;
    response->content_type = buffer_status(&response->body) == STATUS_OK ? PLAIN_JSON : NULL;
    call->error = API_UNAVAILABLE_ERR;
}

/* Takes over `value`; NULL: it could not be made. */
static void reply(struct api_call *call, unsigned status, const char *type, json_t *value)
{
    struct api_response *response = call->response;
    if (is_answered(call)) {
        json_decref(value);
        return;
    }
    response->status = status;
    response->content_type = type;
    if (value == NULL ||
        json_dump_callback(value, append, &response->body, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        answer_without_memory(call);
    json_decref(value);
}

void api_reply_empty(struct api_call *call, unsigned status)
{
    if (!is_answered(call))
        call->response->status = status;
}

void api_reply_json(struct api_call *call, unsigned status, json_t *value)
{
    reply(call, status, PLAIN_JSON, value);
}

void api_reply_value(struct api_call *call, unsigned status, const char *type, json_t *value)
{
    reply(call, status, api_content_type(call, type), value);
}

/* Takes over `resources`. */
static json_t *envelope(const char *type, json_t *resources, int64_t total)
{
    char collection[96];
    (void)snprintf(collection, sizeof(collection), COLLECTION("%s"), type);
    json_int_t count = (json_int_t)json_array_size(resources);
    json_t *value = json_pack("{s:{s:s,s:I},s:o}", "metadata", "collectionType", collection,
                              "collectionTotal", count, "resources", resources);
    if (value != NULL && total >= 0 &&
        json_object_set_new(json_object_get(value, "metadata"), "totalCount",
                            json_integer(total)) != 0) {
        json_decref(value);
        return NULL;
    }
    return value;
}

void api_reply_resources(struct api_call *call, unsigned status, const char *type,
                         json_t *resources, int64_t total)
{
    json_t *value = resources == NULL ? NULL : envelope(type, resources, total);
    reply(call, status, api_content_type(call, type), value);
}

void api_reply_resource(struct api_call *call, unsigned status, const char *type, json_t *resource)
{
    api_reply_resources(call, status, type, resource == NULL ? NULL : json_pack("[o]", resource),
                        -1);
}

/* ---- Failures ---- */

/* Appends "target" to a reason. */
static bool add_target(json_t *reason, const char *type, const char *name)
{
    if (type == NULL || name == NULL)
        return true;
    return json_object_set_new(reason, "target",
                               json_pack("{s:s,s:s}", "type", type, "name", name)) == 0;
}

static json_t *reason_of(enum api_error error, const char *message, const char *target_type,
                         const char *target)
{
    json_t *reason = json_pack("{s:s,s:s,s:i,s:s}", "code", errors[error].code, "message", message,
                               "status", (int)errors[error].status, "moreInfo", MORE_INFO);
    if (reason == NULL || add_target(reason, target_type, target))
        return reason;
    json_decref(reason);
    return NULL;
}

static const char *what_failed(const struct api_call *call)
{
    return call->route == NULL ? "The request could not be carried out" : call->route->failure;
}

/* 401 has no reasons, so that it tells nothing. */
static json_t *error_resource(const struct api_call *call, enum api_error error,
                              const char *message, const char *target_type, const char *target)
{
    if (errors[error].status == 401)
        return json_pack("{s:s}", "errorMsg",
                         "Unauthorized: The user does not have access to the specified resource");
    char text[MESSAGE_MAX];
    (void)snprintf(text, sizeof(text), "%s: %s: Please see `reasons` for more details (%s)",
                   status_word(errors[error].status), what_failed(call), errors[error].code);
    json_t *reason = reason_of(error, message, target_type, target);
    return reason == NULL ? NULL : json_pack("{s:s,s:[o]}", "errorMsg", text, "reasons", reason);
}

static void note_failure(struct api_call *call, enum api_error error)
{
    call->error = error;
    if (errors[error].status == 503 || errors[error].status == 429)
        call->response->retry_after = RETRY_SECONDS;
}

static json_t *error_envelope(const struct api_call *call, enum api_error error,
                              const char *message, const char *target_type, const char *target)
{
    json_t *resource = error_resource(call, error, message, target_type, target);
    return resource == NULL ? NULL : envelope("error", json_pack("[o]", resource), -1);
}

static void fail(struct api_call *call, enum api_error error, const char *message,
                 const char *target_type, const char *target)
{
    if (is_answered(call))
        return;
    note_failure(call, error);
    reply(call, errors[error].status, PLAIN_JSON,
          error_envelope(call, error, message, target_type, target));
}

void api_fail(struct api_call *call, enum api_error error, const char *target_type,
              const char *target)
{
    fail(call, error, errors[error].text, target_type, target);
}

/* Text from outside may have been cut in the middle of a character: jansson takes UTF-8 only. */
static void cut_to_utf8(char *text)
{
    size_t length = strlen(text);
    json_t *value = json_stringn(text, length);
    for (int i = 0; value == NULL && i < 4 && length > 0; i++)
        value = json_stringn(text, --length);
    text[value == NULL ? 0 : length] = '\0';
    json_decref(value);
}

/* For the audit record; what does not fit is cut. */
static void note_detail(struct api_call *call, const char *text)
{
    size_t length = strnlen(text, sizeof(call->detail) - 1);
    memcpy(call->detail, text, length);
    call->detail[length] = '\0';
}

void api_fail_text(struct api_call *call, enum api_error error, const char *target_type,
                   const char *target, const char *format, ...)
{
    char text[MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    cut_to_utf8(text);
    note_detail(call, text);
    fail(call, error, text[0] != '\0' ? text : errors[error].text, target_type, target);
}

/* What a status of the layers below is here; everything else is INTERNAL_ERR. */
static const struct {
    enum status status;
    enum api_error error;
} status_errors[] = {
    {STATUS_NOT_FOUND, API_NOT_FOUND_ERR},
    {STATUS_OBJECT_NOT_FOUND, API_NOT_FOUND_ERR},
    {STATUS_EXISTS, API_DUPLICATE_ERR},
    {STATUS_NAME_EXISTS, API_DUPLICATE_ERR},
    {STATUS_CONFLICT, API_CONFLICT_ERR},
    {STATUS_INVALID_ARGUMENT, API_INVALID_FIELD_ERR},
    {STATUS_INVALID_FIELD, API_INVALID_FIELD_ERR},
    {STATUS_TOO_LARGE, API_INVALID_FIELD_ERR},
    {STATUS_PERMISSION_DENIED, API_KEY_ACTION_INVALID_STATE_ERR},
    {STATUS_ILLEGAL_OPERATION, API_KEY_ACTION_INVALID_STATE_ERR},
    {STATUS_ROOT_KEY_UNAVAILABLE, API_KEY_ACTION_INVALID_STATE_ERR},
    {STATUS_UNWRAP_FAILED, API_UNPROCESSABLE_CIPHERTEXT_ERR},
    {STATUS_FEATURE_NOT_SUPPORTED, API_FEATURE_RESTRICTED_ERR},
    {STATUS_BUSY, API_UNAVAILABLE_ERR},
    {STATUS_TIMED_OUT, API_UNAVAILABLE_ERR},
    {STATUS_CLOSED, API_UNAVAILABLE_ERR},
    {STATUS_NO_MEMORY, API_UNAVAILABLE_ERR},
    {STATUS_PENDING, API_UNAVAILABLE_ERR},
    {STATUS_KEY_MANAGER_UNAVAILABLE, API_UNAVAILABLE_ERR},
    {STATUS_STORE_FULL, API_UNAVAILABLE_ERR},
    {STATUS_STORE_READ_ONLY, API_UNAVAILABLE_ERR},
    {STATUS_STORE_FAILED, API_UNAVAILABLE_ERR},
    {STATUS_AUDIT_FAILED, API_AUDIT_ERR},
};

static enum api_error error_of_status(enum status status)
{
    for (size_t i = 0; i < ARRAY_COUNT(status_errors); i++)
        if (status_errors[i].status == status)
            return status_errors[i].error;
    return API_INTERNAL_ERR;
}

void api_fail_status(struct api_call *call, enum status status, const struct error *error)
{
    const char *text = error != NULL && error->text[0] != '\0' ? error->text : status_text(status);
    enum api_error code = error_of_status(status);
    bool fault = errors[code].status >= 500;
    if (fault)
        log_write(status_level(status), "api action=\"%s\" status=%s correlation=%s: %s",
                  call->action != NULL ? call->action : "", status_name(status),
                  call->response->correlation, text);
    note_detail(call, text);
    /* Texts about this machine's files and devices are for its administrators. */
    fail(call, code, fault && !call->identity.everything ? status_text(status) : text, NULL, NULL);
}

/* Whoever may run a command is told what the command says. A text may repeat bytes of a client's that
 * are not UTF-8: the general one takes its place. */
void api_fail_command(struct api_call *call, enum status status, const struct error *error)
{
    char text[sizeof(error->text)];
    enum api_error code = error_of_status(status);
    if (is_answered(call))
        return;
    (void)snprintf(text, sizeof(text), "%s",
                   error->text[0] != '\0' ? error->text : status_text(status));
    cut_to_utf8(text);
    if (text[0] == '\0')
        (void)snprintf(text, sizeof(text), "%s", status_text(status));
    note_failure(call, code);
    note_detail(call, text);
    json_t *value = error_envelope(call, code, text, NULL, NULL);
    if (value != NULL) {
        (void)json_object_set_new(value, "status", json_string(status_name(status)));
        (void)json_object_set_new(value, "text", json_string(text));
    }
    reply(call, errors[code].status, PLAIN_JSON, value);
}

/* ---- Prefer (RFC 7240) ---- */

static bool prefers(const struct api_call *call, const char *what)
{
    const struct bytes prefer = call->request->prefer;
    size_t length = strlen(what);
    for (size_t i = 0; i + length <= prefer.size; i++)
        if (strncasecmp((const char *)prefer.data + i, what, length) == 0)
            return true;
    return false;
}

bool api_prefers_representation(const struct api_call *call)
{
    return prefers(call, "return=representation");
}

bool api_prefers_minimal(const struct api_call *call)
{
    return prefers(call, "return=minimal");
}
