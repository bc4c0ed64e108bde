/* SPDX-License-Identifier: Apache-2.0 */
/* GET /keys/{id}, its metadata, its versions. */
#include "api/keys.h"

#define LIST_MAX     5000
#define LIST_DEFAULT 200

/* A destroyed key's payload is not given out: it may still be restored. */
static void read_payload(struct api_call *call, const struct kms_key *key)
{
    struct buffer wrapped;
    struct secret payload = {0};
    buffer_init(&wrapped, KEYS_PAYLOAD_MAX + WRAPPED_OVERHEAD_MAX);
    enum status status = kms_key_payload(call->context->kms, &key->id, &wrapped);
    if (status == STATUS_OK)
        status = keys_payload_unwrap(call->context, &key->id,
                                     (struct wrapped){buffer_bytes(&wrapped)}, &payload);
    buffer_free(&wrapped);
    if (status == STATUS_OK)
        keys_reply_secret(call, 200, "key", keys_json(call, key), "payload", &payload, true);
    else if (status == STATUS_NOT_FOUND)
        api_fail(call, API_KEY_NOT_FOUND_ERR, NULL, NULL); /* purged meanwhile */
    else
        api_fail_status(call, status == STATUS_UNWRAP_FAILED ? STATUS_STORE_CORRUPT : status, NULL);
    secret_free(&payload);
}

void api_keys_get(struct api_call *call)
{
    struct kms_key key;
    if (!keys_find(call, call->roles, &key))
        return;
    if (!key.extractable || key.state == KMS_KEY_DESTROYED)
        api_reply_resource(call, 200, "key", keys_json(call, &key));
    else if (api_require(call, API_ROLE_READER_PLUS, key.ring, NULL))
        read_payload(call, &key);
}

void api_keys_metadata(struct api_call *call)
{
    struct kms_key key;
    if (keys_find(call, call->roles, &key))
        api_reply_resource(call, 200, "key", keys_json(call, &key));
}

/* ---- Versions ---- */

struct version_page {
    json_t *versions;
    bool full; /* no memory for another one */
};

static bool add_version(void *context, const struct kms_version *version)
{
    struct version_page *page = context;
    json_t *object = json_object();
    (void)keys_set(&object, "id", api_json_uuid(&version->id));
    (void)keys_set(&object, "creationDate", api_json_time(version->created));
    page->full = json_array_append_new(page->versions, object) != 0;
    return !page->full;
}

static void list_versions(struct api_call *call, const struct kms_key *key, int64_t limit,
                          int64_t offset, bool total_wanted)
{
    int64_t total = 0;
    struct version_page page = {.versions = json_array()};
    enum status status = page.versions == NULL ? STATUS_NO_MEMORY
                                               : kms_versions(call->context->kms, &key->id, limit,
                                                              offset, add_version, &page, &total);
    if (status == STATUS_OK && page.full)
        status = STATUS_NO_MEMORY;
    if (status == STATUS_OK) {
        api_reply_resources(call, 200, "key.version", page.versions, total_wanted ? total : -1);
        return;
    }
    json_decref(page.versions);
    api_fail_status(call, status, NULL);
}

void api_keys_versions(struct api_call *call)
{
    struct kms_key key;
    int64_t limit;
    int64_t offset;
    bool total;
    bool all_states;
    if (!api_query_number(call, "limit", 1, LIST_MAX, LIST_DEFAULT, &limit) ||
        !api_query_number(call, "offset", 0, INT64_MAX, 0, &offset) ||
        !api_query_flag(call, "totalCount", false, &total) ||
        !api_query_flag(call, "allKeyStates", false, &all_states) ||
        !keys_find(call, call->roles, &key) || !keys_require_root(call, &key))
        return;
    if (!all_states && key.state != KMS_KEY_ACTIVE) {
        api_fail_text(call, API_KEY_ACTION_INVALID_STATE_ERR, "query_param", "allKeyStates",
                      "The key is not active: ask with allKeyStates=true");
        return;
    }
    list_versions(call, &key, limit, offset, total);
}
