/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/control_message.h"

#include <string.h>

static const struct {
    const char *name;
    enum api_method method;
} methods[] = {
    {"HEAD", API_HEAD}, {"GET", API_GET},     {"POST", API_POST},
    {"PUT", API_PUT},   {"PATCH", API_PATCH}, {"DELETE", API_DELETE},
};

static enum api_method method_of(const json_t *message)
{
    const char *name = json_string_value(json_object_get(message, "method"));
    for (size_t i = 0; i < ARRAY_COUNT(methods) && name != NULL; i++)
        if (strcmp(methods[i].name, name) == 0)
            return methods[i].method;
    return API_OTHER;
}

static struct bytes text_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? bytes_of(json_string_value(value), json_string_length(value))
                                 : bytes_of(NULL, 0);
}

/* Headers are sent in lower case by kmipctl; people who write them by hand are told so. */
static bool read_request(const char *who, const json_t *message, struct api_request *ret_request)
{
    const json_t *headers = json_object_get(message, "headers");
    struct bytes path = text_of(message, "path");
    const uint8_t *mark = path.size > 0 ? memchr(path.data, '?', path.size) : NULL;
    size_t length = mark != NULL ? (size_t)(mark - path.data) : path.size;
    *ret_request = (struct api_request){
        .method = method_of(message),
        .path = bytes_of(path.data, length),
        .query = mark != NULL ? bytes_of(mark + 1, path.size - length - 1) : bytes_of(NULL, 0),
        .instance = text_of(headers, "bluemix-instance"),
        .correlation = text_of(headers, "correlation-id"),
        .key_ring = text_of(headers, "x-kms-key-ring"),
        .prefer = text_of(headers, "prefer"),
        .accept = text_of(headers, "accept"),
        .content_type = text_of(headers, "content-type"),
        .body = text_of(message, "body"),
        .peer = bytes_of_text(who),
        .local = true,
    };
    return path.size > 0 && ret_request->method != API_OTHER;
}

static json_t *make_answer(const struct api_response *response)
{
    json_t *answer = json_object(), *headers = json_object();
    (void)json_object_set_new(answer, "status", json_integer(response->status));
    (void)json_object_set_new(answer, "headers", headers);
    if (response->content_type != NULL) {
        (void)json_object_set_new(headers, "content-type", json_string(response->content_type));
        (void)json_object_set_new(
            answer, "body",
            json_stringn((const char *)response->body.data, response->body.size));
    }
    if (response->correlation[0] != '\0')
        (void)json_object_set_new(headers, "correlation-id", json_string(response->correlation));
    if (response->key_total >= 0)
        (void)json_object_set_new(headers, "key-total", json_integer(response->key_total));
    if (response->retry_after > 0)
        (void)json_object_set_new(headers, "retry-after", json_integer(response->retry_after));
    return answer;
}

enum status control_answer(struct api *api, const char *who, const json_t *message,
                           json_t **ret_answer)
{
    struct api_request request;
    struct api_response response = {.key_total = -1};
    if (!read_request(who, message, &request))
        return STATUS_MALFORMED;
    buffer_init(&response.body, API_RESPONSE_MAX);
    api_handle(api, &request, &response);
    *ret_answer = make_answer(&response);
    buffer_free(&response.body);
    return STATUS_OK;
}
