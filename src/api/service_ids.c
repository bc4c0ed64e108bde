/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of service IDs and their API keys (kmipd's own; Key Protect has them elsewhere). */
#include <stdio.h>

#include "api/identities.h"

/* What a status is about: for each kind of thing another code. */
static void fail(struct api_call *call, enum status status, const struct error *error,
                 enum api_error not_found, enum api_error exists)
{
    if (status == STATUS_NOT_FOUND)
        api_fail_text(call, not_found, NULL, NULL, "%s", error->text);
    else if (status == STATUS_EXISTS)
        api_fail_text(call, exists, NULL, NULL, "%s", error->text);
    else
        api_fail_status(call, status, error);
}

static void fail_service_id(struct api_call *call, enum status status, const struct error *error)
{
    fail(call, status, error, API_SERVICE_ID_NOT_FOUND_ERR, API_SERVICE_ID_DUPLICATE_ERR);
}

static void note_subject(struct api_call *call, const char *name)
{
    (void)snprintf(call->subject, sizeof(call->subject), "%.240s", name);
}

/* ---- Service IDs ---- */

static bool append_service_id(void *context, const struct kms_service_id *service_id)
{
    return json_array_append_new(context, service_id_json(service_id)) == 0;
}

/* GET /api/v2/kmipd/service_ids */
void api_service_ids_list(struct api_call *call)
{
    json_t *list = json_array();
    enum status status = kms_service_ids(call->context->kms, append_service_id, list);
    if (status == STATUS_OK) {
        api_reply_json(call, 200, json_pack("{s:o}", "service_ids", list));
        return;
    }
    json_decref(list);
    api_fail_status(call, status, NULL);
}

/* The grants of a body; none where it has no such member. */
static bool take_grants(struct api_call *call, const json_t *body, struct kms_grant *ret_grants,
                        size_t *ret_count)
{
    struct error error = {0};
    const json_t *grants = api_member(body, "grants");
    *ret_count = 0;
    if (grants == NULL)
        return true;
    if (grants_parse(grants, ret_grants, KMS_GRANTS_MAX, ret_count, &error) == STATUS_OK)
        return true;
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", "grants", "%s", error.text);
    return false;
}

/* POST /api/v2/kmipd/service_ids {"name","description"?,"grants"?} */
void api_service_ids_create(struct api_call *call)
{
    struct kms_grant grants[KMS_GRANTS_MAX];
    struct kms_service_id service_id;
    struct error error = {0};
    const json_t *body = api_body_object(call);
    struct service_id_wish wish = {.grants = grants, .now = call->now};
    if (body == NULL || !take_grants(call, body, grants, &wish.grant_count))
        return;
    wish.name = json_string_value(api_member(body, "name"));
    wish.description = json_string_value(api_member(body, "description"));
    note_subject(call, wish.name != NULL ? wish.name : "");
    enum status status = service_id_create(call->api, &wish, &service_id, &error);
    if (status == STATUS_OK)
        api_reply_json(call, 201, service_id_json(&service_id));
    else
        fail_service_id(call, status, &error);
}

/* Finds the route's {service_id}. */
static bool find(struct api_call *call, struct kms_service_id *ret_service_id)
{
    const char *name = call->parameters[0];
    struct error error = {0};
    note_subject(call, name);
    enum status status =
        kms_service_id_find(call->context->kms, bytes_of_text(name), ret_service_id);
    if (status == STATUS_OK)
        return true;
    (void)error_set(&error, status, "there is no service ID \"%s\"", name);
    fail_service_id(call, status, status == STATUS_NOT_FOUND ? &error : NULL);
    return false;
}

/* GET /api/v2/kmipd/service_ids/{service_id} */
void api_service_ids_show(struct api_call *call)
{
    struct kms_service_id service_id;
    if (find(call, &service_id))
        api_reply_json(call, 200, service_id_json(&service_id));
}

/* DELETE /api/v2/kmipd/service_ids/{service_id} */
void api_service_ids_delete(struct api_call *call)
{
    struct error error = {0};
    note_subject(call, call->parameters[0]);
    enum status status = service_id_delete(call->api, call->parameters[0], &error);
    if (status == STATUS_OK)
        api_reply_empty(call, 204);
    else
        fail_service_id(call, status, &error);
}

/* PUT /api/v2/kmipd/service_ids/{service_id}/grants {"grants":[...]} */
void api_service_ids_set_grants(struct api_call *call)
{
    struct kms_grant grants[KMS_GRANTS_MAX];
    size_t count;
    struct kms_service_id service_id;
    struct error error = {0};
    const json_t *body = api_body_object(call);
    note_subject(call, call->parameters[0]);
    if (body == NULL || !take_grants(call, body, grants, &count))
        return;
    if (api_member(body, "grants") == NULL) {
        api_fail_text(call, API_INVALID_FIELD_ERR, "field", "grants", "grants must be an array");
        return;
    }
    enum status status =
        service_id_set_grants(call->api, call->parameters[0], grants, count, &service_id, &error);
    if (status == STATUS_OK)
        api_reply_json(call, 200, service_id_json(&service_id));
    else
        fail_service_id(call, status, &error);
}

/* ---- API keys ---- */

static bool append_api_key(void *context, const struct kms_api_key *api_key)
{
    return json_array_append_new(context, api_key_json(api_key)) == 0;
}

/* GET /api/v2/kmipd/service_ids/{service_id}/api_keys */
void api_api_keys_list(struct api_call *call)
{
    struct kms_service_id service_id;
    if (!find(call, &service_id))
        return;
    json_t *list = json_array();
    enum status status =
        kms_api_keys(call->context->kms, &service_id.id, append_api_key, list);
    if (status == STATUS_OK) {
        api_reply_json(call, 200, json_pack("{s:o}", "api_keys", list));
        return;
    }
    json_decref(list);
    api_fail_status(call, status, NULL);
}

/* POST /api/v2/kmipd/service_ids/{service_id}/api_keys {"name"}: the only answer with the key. */
void api_api_keys_create(struct api_call *call)
{
    struct kms_service_id service_id;
    struct kms_api_key api_key;
    struct secret text;
    struct error error = {0};
    const json_t *body = api_body_object(call);
    if (body == NULL || !find(call, &service_id))
        return;
    enum status status =
        api_key_create(call->api, call->parameters[0], json_string_value(api_member(body, "name")),
                       call->now, &text, &api_key, &error);
    if (status != STATUS_OK) {
        fail(call, status, &error, API_SERVICE_ID_NOT_FOUND_ERR, API_API_KEY_DUPLICATE_ERR);
        return;
    }
    (void)snprintf(call->detail, sizeof(call->detail), "API key \"%.200s\"", api_key.name);
    json_t *answer = api_key_json(&api_key);
    if (answer != NULL)
        (void)json_object_set_new(answer, "apikey",
                                  json_stringn((const char *)text.data, text.size));
    secret_free(&text);
    api_reply_json(call, 201, answer);
}

/* DELETE /api/v2/kmipd/service_ids/{service_id}/api_keys/{api_key} */
void api_api_keys_delete(struct api_call *call)
{
    struct kms_service_id service_id;
    struct error error = {0};
    if (!find(call, &service_id))
        return;
    (void)snprintf(call->detail, sizeof(call->detail), "API key \"%.200s\"", call->parameters[1]);
    enum status status =
        api_key_delete(call->api, call->parameters[0], call->parameters[1], &error);
    if (status == STATUS_OK)
        api_reply_empty(call, 204);
    else
        fail(call, status, &error, API_API_KEY_NOT_FOUND_ERR, API_API_KEY_DUPLICATE_ERR);
}
