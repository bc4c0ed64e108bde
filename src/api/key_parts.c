/* SPDX-License-Identifier: Apache-2.0 */
/* Aliases, key rings, registrations. */
#include <stdio.h>

#include "api/keys.h"

#define RINGS_DEFAULT 100
#define LIST_MAX      5000
#define LIST_DEFAULT  200

/* ---- Aliases ---- */

static void answer_alias(struct api_call *call, const struct kms_key *key, const char *alias)
{
    json_t *object = json_object();
    (void)keys_set(&object, "keyId", api_json_uuid(&key->id));
    (void)keys_set(&object, "alias", json_string(alias));
    (void)keys_set(&object, "createdBy", json_string(call->identity.iam_id));
    (void)keys_set(&object, "creationDate", api_json_time(call->now));
    api_reply_resource(call, 201, "alias", object);
}

void api_alias_create(struct api_call *call)
{
    struct kms_key key;
    const char *alias = call->parameters[1];
    if (!keys_check_alias(call, alias) || !keys_find(call, call->roles, &key) ||
        !keys_require_state(call, &key, ~KMS_STATE_BIT(KMS_KEY_DESTROYED)))
        return;
    (void)snprintf(call->detail, sizeof(call->detail), "alias %.90s", alias);
    enum status status =
        kms_alias_insert(call->context->kms, &key.id, alias, call->now, call->identity.iam_id);
    if (status == STATUS_OK)
        answer_alias(call, &key, alias);
    else if (status == STATUS_NAME_EXISTS)
        api_fail(call, API_KEY_ALIAS_NOT_UNIQUE_ERR, "field", "alias");
    else if (status == STATUS_INDEX_OUT_OF_BOUNDS)
        api_fail(call, API_KEY_ALIAS_QUOTA_ERR, "field", "alias");
    else
        api_fail_status(call, status, NULL);
}

void api_alias_delete(struct api_call *call)
{
    struct kms_key key;
    const char *alias = call->parameters[1];
    if (!keys_find(call, call->roles, &key))
        return;
    (void)snprintf(call->detail, sizeof(call->detail), "alias %.90s", alias);
    enum status status = kms_alias_delete(call->context->kms, &key.id, alias);
    if (status == STATUS_OK)
        api_reply_empty(call, 204);
    else if (status == STATUS_NOT_FOUND)
        api_fail(call, API_KEY_ALIAS_NOT_FOUND_ERR, NULL, NULL);
    else
        api_fail_status(call, status, NULL);
}

/* ---- Key rings ---- */

struct ring_page {
    const struct api_call *call;
    int64_t limit;
    int64_t offset;
    int64_t total; /* of those that the caller may see */
    json_t *rings;
    bool full; /* no memory for another one */
};

static bool add_ring(void *context, const struct kms_ring *ring)
{
    struct ring_page *page = context;
    if (!api_may(page->call, page->call->roles, ring->id, NULL))
        return true;
    int64_t place = page->total++;
    if (place < page->offset || place >= page->offset + page->limit)
        return true;
    json_t *object = json_object();
    (void)keys_set(&object, "id", json_string(ring->id));
    if (ring->created > 0) {
        (void)keys_set(&object, "creationDate", api_json_time(ring->created));
        (void)keys_set(&object, "createdBy", json_string(ring->created_by));
    }
    page->full = json_array_append_new(page->rings, object) != 0;
    return !page->full;
}

void api_rings_list(struct api_call *call)
{
    struct ring_page page = {.call = call};
    bool total;
    if (!api_query_number(call, "limit", 1, LIST_MAX, RINGS_DEFAULT, &page.limit) ||
        !api_query_number(call, "offset", 0, INT32_MAX, 0, &page.offset) ||
        !api_query_flag(call, "totalCount", false, &total))
        return;
    page.rings = json_array();
    enum status status =
        page.rings == NULL ? STATUS_NO_MEMORY : kms_rings(call->context->kms, add_ring, &page);
    if (status == STATUS_OK && page.full)
        status = STATUS_NO_MEMORY;
    if (status == STATUS_OK) {
        api_reply_resources(call, 200, "key_ring", page.rings, total ? page.total : -1);
        return;
    }
    json_decref(page.rings);
    api_fail_status(call, status, NULL);
}

static bool is_ring_name(const char *name)
{
    size_t length = strlen(name);
    return length >= 2 && length <= KMS_KEY_RING_MAX &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") ==
               length;
}

/* False: the call has failed. */
static bool read_ring(struct api_call *call, struct kms_ring *ring)
{
    const char *name = call->parameters[0];
    (void)snprintf(call->subject, sizeof(call->subject), "%.100s", name);
    if (!is_ring_name(name))
        api_fail_text(call, API_INVALID_FIELD_ERR, "field", "key_ring_id",
                      "A key ring's identifier must be: 2 to 100 letters, digits and `-`");
    else if (strcmp(name, KMS_RING_DEFAULT) == 0)
        api_fail(call, API_KEY_RING_RESERVED_ERR, NULL, NULL);
    else if (api_require(call, call->roles, name, NULL)) {
        (void)snprintf(ring->id, sizeof(ring->id), "%.100s", name);
        return true;
    }
    return false;
}

void api_rings_create(struct api_call *call)
{
    struct kms_ring ring = {.created = call->now};
    if (!read_ring(call, &ring))
        return;
    (void)snprintf(ring.created_by, sizeof(ring.created_by), "%s", call->identity.iam_id);
    enum status status = kms_ring_insert(call->context->kms, &ring);
    if (status == STATUS_OK)
        api_reply_empty(call, 201);
    else if (status == STATUS_EXISTS)
        api_fail(call, API_KEY_RING_DUPLICATE_ERR, NULL, NULL);
    else if (status == STATUS_INDEX_OUT_OF_BOUNDS)
        api_fail(call, API_KEY_RING_QUOTA_ERR, NULL, NULL);
    else
        api_fail_status(call, status, NULL);
}

void api_rings_delete(struct api_call *call)
{
    struct kms_ring ring = {0};
    bool force;
    if (!api_query_flag(call, "force", false, &force) || !read_ring(call, &ring))
        return;
    enum status status = kms_ring_delete(call->context->kms, ring.id, force);
    if (status == STATUS_OK)
        api_reply_empty(call, 204);
    else if (status == STATUS_NOT_FOUND)
        api_fail(call, API_KEY_RING_NOT_FOUND_ERR, NULL, NULL);
    else if (status == STATUS_CONFLICT)
        api_fail(call, API_KEY_RING_NOT_EMPTY_ERR, force ? NULL : "query_param",
                 force ? NULL : "force");
    else
        api_fail_status(call, status, NULL);
}

/* ---- Registrations: of services of a cloud, so there are none ---- */

static bool read_page(struct api_call *call, bool *ret_total)
{
    int64_t number;
    bool prevents;
    return api_query_number(call, "limit", 1, LIST_MAX, LIST_DEFAULT, &number) &&
           api_query_number(call, "offset", 0, INT64_MAX, 0, &number) &&
           api_query_flag(call, "preventKeyDeletion", false, &prevents) &&
           api_query_flag(call, "totalCount", false, ret_total);
}

void api_registrations(struct api_call *call)
{
    bool total;
    if (read_page(call, &total))
        api_reply_resources(call, 200, "registration", json_array(), total ? 0 : -1);
}

void api_keys_registrations(struct api_call *call)
{
    struct kms_key key;
    if (keys_find(call, call->roles, &key))
        api_registrations(call);
}

void api_registration_write(struct api_call *call)
{
    api_fail(call, API_SERVICE_ONLY_ERR, NULL, NULL);
}
