/* SPDX-License-Identifier: Apache-2.0 */
/* What a call is given: query, body. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "api/call.h"
#include "api/router.h"
#include "base/base64.h"

#define QUERY_NAME_MAX 128

/* ---- Query ---- */

/* The bytes up to `end`, or all; *rest is what stands behind it. */
static struct bytes take_until(struct bytes *rest, char end)
{
    const uint8_t *found = rest->size == 0 ? NULL : memchr(rest->data, end, rest->size);
    size_t size = found == NULL ? rest->size : (size_t)(found - rest->data);
    struct bytes taken = bytes_of(rest->data, size);
    size_t used = found == NULL ? size : size + 1;
    *rest = bytes_of(rest->data + used, rest->size - used);
    return taken;
}

/* The next parameter of this name, encoded. False: there is no other. */
static bool next_value(struct bytes *rest, const char *name, struct bytes *ret_value)
{
    char decoded[QUERY_NAME_MAX];
    while (rest->size > 0) {
        struct bytes value = take_until(rest, '&');
        struct bytes key = take_until(&value, '=');
        if (!percent_decode(key, true, decoded, sizeof(decoded)) || strcmp(decoded, name) != 0)
            continue;
        *ret_value = value;
        return true;
    }
    return false;
}

static bool refuse_parameter(struct api_call *call, const char *name)
{
    api_fail(call, API_INVALID_QUERY_PARAM_ERR, "query_param", name);
    return false;
}

bool api_query(struct api_call *call, const char *name, char *value, size_t size)
{
    struct bytes rest = call->request->query;
    struct bytes encoded;
    size_t length = 0;
    value[0] = '\0';
    while (next_value(&rest, name, &encoded)) {
        if (encoded.size == 0)
            continue;
        if (length > 0 && length + 1 < size)
            value[length++] = ',';
        if (!percent_decode(encoded, true, value + length, size - length)) {
            value[0] = '\0';
            return refuse_parameter(call, name);
        }
        length += strlen(value + length);
    }
    return length > 0;
}

bool api_query_number(struct api_call *call, const char *name, int64_t minimum, int64_t maximum,
                      int64_t otherwise, int64_t *ret_number)
{
    char text[24];
    char *end;
    if (!api_query(call, name, text, sizeof(text))) {
        *ret_number = otherwise;
        return call->error == API_OK;
    }
    errno = 0;
    intmax_t number = strtoimax(text, &end, 10);
    bool digits = (text[0] >= '0' && text[0] <= '9') || text[0] == '-';
    if (!digits || errno != 0 || *end != '\0' || number < minimum || number > maximum)
        return refuse_parameter(call, name);
    *ret_number = number;
    return true;
}

bool api_query_flag(struct api_call *call, const char *name, bool otherwise, bool *ret_flag)
{
    char text[8];
    if (!api_query(call, name, text, sizeof(text))) {
        *ret_flag = otherwise;
        return call->error == API_OK;
    }
    if (strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0)
        return refuse_parameter(call, name);
    *ret_flag = strcasecmp(text, "true") == 0;
    return true;
}

/* ---- Body ---- */

json_t *api_member(const json_t *object, const char *name)
{
    const char *key;
    json_t *value;
    json_t *exact = json_object_get(object, name);
    if (exact != NULL || !json_is_object(object))
        return exact;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
        if (strcasecmp(key, name) == 0)
            return value;
    return NULL;
}

json_t *api_body_object(struct api_call *call)
{
    if (call->body == NULL) {
        api_fail(call, API_NO_BODY_ERR, NULL, NULL);
        return NULL;
    }
    if (json_is_object(call->body))
        return call->body;
    api_fail_text(call, API_BAD_BODY_ERR, NULL, NULL, "The body must be a JSON object");
    return NULL;
}

json_t *api_body_resource(struct api_call *call)
{
    const json_t *body = api_body_object(call);
    if (body == NULL)
        return NULL;
    const json_t *metadata = api_member(body, "metadata");
    json_t *resources = api_member(body, "resources");
    if (!json_is_object(metadata) || json_object_size(metadata) == 0)
        api_fail_text(call, API_BAD_BODY_ERR, "field", "metadata", "CollectionMetadata is empty");
    else if (!json_is_array(resources) || json_array_size(resources) != 1 ||
             !json_is_object(json_array_get(resources, 0)))
        api_fail_text(call, API_BAD_BODY_ERR, "field", "resources",
                      "There must be exactly one resource");
    else
        return json_array_get(resources, 0);
    return NULL;
}

static bool refuse_secret(struct api_call *call, const char *name, size_t maximum)
{
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", name,
                  "It must be base64 of at most %zu bytes", maximum);
    return false;
}

bool api_member_secret(struct api_call *call, const json_t *object, const char *name,
                       size_t maximum, struct secret *ret_secret, bool *ret_present)
{
    struct secret secret;
    const json_t *value = api_member(object, name);
    struct bytes text = bytes_of(json_string_value(value), json_string_length(value));
    *ret_present = false;
    if (value == NULL || json_is_null(value) || (json_is_string(value) && text.size == 0))
        return true;
    size_t size = base64_decoded_size(BASE64_STANDARD, text);
    if (!json_is_string(value) || size > maximum)
        return refuse_secret(call, name, maximum);
    enum status status = secret_allocate(&secret, size);
    if (status != STATUS_OK) {
        api_fail_status(call, status, NULL);
        return false;
    }
    if (!base64_decode(BASE64_STANDARD, text, secret.data)) {
        secret_free(&secret);
        return refuse_secret(call, name, maximum);
    }
    *ret_secret = secret;
    *ret_present = true;
    return true;
}
