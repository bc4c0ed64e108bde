/* SPDX-License-Identifier: Apache-2.0 */
/* KMIP adapters: /kmip_adapters. */
#include "api/adapters.h"

#include <pthread.h>
#include <stdio.h>

#include "api/keys.h"
#include "base/hex.h"

#define PROFILE           "native_1.0"
#define NAME_MIN          2
#define DESCRIPTION_MIN   2
#define DESCRIPTION_CHARS 240
#define RANDOM_SIZE       6 /* bytes in a name that is made here */
#define UNKNOWN_ACTOR     "kmipd"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void adapters_lock(void)
{
    (void)pthread_mutex_lock(&lock);
}

void adapters_unlock(void)
{
    (void)pthread_mutex_unlock(&lock);
}

/* ---- Pages ---- */

bool adapters_page_read(struct api_call *call, int64_t maximum, struct adapters_page *ret_page)
{
    struct adapters_page page = {0};
    if (!api_query_number(call, "limit", 1, maximum, ADAPTERS_LIST_DEFAULT, &page.limit) ||
        !api_query_number(call, "offset", 0, INT32_MAX, 0, &page.offset) ||
        !api_query_flag(call, "totalCount", false, &page.total_wanted))
        return false;
    page.array = json_array();
    if (page.array == NULL)
        api_fail_status(call, STATUS_NO_MEMORY, NULL);
    *ret_page = page;
    return page.array != NULL;
}

bool adapters_page_has(struct adapters_page *page)
{
    int64_t place = page->total++;
    return place >= page->offset && place - page->offset < page->limit;
}

bool adapters_page_append(struct adapters_page *page, json_t *value)
{
    page->full = json_array_append_new(page->array, value) != 0;
    return !page->full;
}

void adapters_page_reply(struct api_call *call, struct adapters_page *page, const char *type,
                         enum status status)
{
    if (status == STATUS_OK && page->full)
        status = STATUS_NO_MEMORY;
    if (status == STATUS_OK) {
        api_reply_resources(call, 200, type, page->array, page->total_wanted ? page->total : -1);
        return;
    }
    json_decref(page->array);
    api_fail_status(call, status, NULL);
}

/* ---- Finding ---- */

static void note_adapter(struct api_call *call, const char *name)
{
    (void)snprintf(call->adapter, sizeof(call->adapter), "%.240s", name);
    (void)snprintf(call->subject, sizeof(call->subject), "%.240s", name);
}

/* Whoever may not see all adapters is not told which there are. */
bool adapters_find(struct api_call *call, struct adapter_row *ret_row)
{
    char uuid[UUID_TEXT_LENGTH + 1];
    const char *name = call->parameters[0];
    note_adapter(call, name);
    enum status status = store_adapter_find(call->session, bytes_of_text(name), ret_row);
    if (status == STATUS_NOT_FOUND) {
        if (api_require(call, call->roles, NULL, NULL))
            api_fail(call, API_KMIP_ADAPTER_NOT_FOUND_ERR, NULL, NULL);
        return false;
    }
    if (status != STATUS_OK) {
        api_fail_status(call, status, NULL);
        return false;
    }
    note_adapter(call, ret_row->name);
    uuid_text(&ret_row->uuid, uuid);
    return api_require(call, call->roles, NULL, uuid);
}

/* ---- Telling ---- */

json_t *adapters_json_name(const char *name)
{
    json_t *value = json_string(name);
    return value != NULL ? value : json_string("");
}

json_t *adapters_json_actor(const char *actor, const char *otherwise)
{
    if (actor[0] == '\0')
        actor = otherwise;
    return json_string(actor[0] == '\0' ? UNKNOWN_ACTOR : actor);
}

static json_t *profile_json(const struct adapter_row *row)
{
    json_t *object = json_object();
    (void)keys_set(&object, "crk_id", api_json_uuid(&row->root_key));
    const char *key_manager = keymanager_code_name(row->key_manager);
    (void)keys_set(&object, "key_manager", json_string(key_manager != NULL ? key_manager : ""));
    return object;
}

/* Adapters that were not made, or not changed, through the API do not tell by whom. */
static json_t *adapter_json(const struct adapter_row *row)
{
    json_t *object = json_object();
    (void)keys_set(&object, "id", api_json_uuid(&row->uuid));
    (void)keys_set(&object, "name", adapters_json_name(row->name));
    (void)keys_set(&object, "description", adapters_json_name(row->description));
    (void)keys_set(&object, "profile", json_string(PROFILE));
    (void)keys_set(&object, "profile_data", profile_json(row));
    (void)keys_set(&object, "created_by", adapters_json_actor(row->created_by, ""));
    (void)keys_set(&object, "created_at", api_json_time(row->created));
    (void)keys_set(&object, "updated_by", adapters_json_actor(row->updated_by, row->created_by));
    (void)keys_set(&object, "updated_at",
                   api_json_time(row->updated > 0 ? row->updated : row->created));
    return object;
}

/* ---- List and get ---- */

struct listing {
    const struct api_call *call;
    struct adapters_page page;
    bool only; /* those of this root key */
    struct uuid root_key;
};

static bool list_adapter(void *context, const struct adapter_row *row)
{
    struct listing *listing = context;
    char uuid[UUID_TEXT_LENGTH + 1];
    uuid_text(&row->uuid, uuid);
    if ((listing->only && !uuid_equal(&row->root_key, &listing->root_key)) ||
        !api_may(listing->call, listing->call->roles, NULL, uuid) ||
        !adapters_page_has(&listing->page))
        return true;
    return adapters_page_append(&listing->page, adapter_json(row));
}

/* What names no key is no adapter's: the list is empty then, as the root key is all zeros. */
static bool read_root_key_filter(struct api_call *call, struct listing *listing)
{
    struct kms_key key;
    char text[API_PARAMETER_SIZE];
    listing->only = api_query(call, "crk_id", text, sizeof(text));
    if (!listing->only || uuid_parse(bytes_of_text(text), &listing->root_key))
        return call->error == API_OK;
    enum status status = kms_key_find(call->context->kms, text, &key);
    if (status == STATUS_OK)
        listing->root_key = key.id;
    else if (status != STATUS_NOT_FOUND)
        api_fail_status(call, status, NULL);
    return call->error == API_OK;
}

void api_adapters_list(struct api_call *call)
{
    struct listing listing = {.call = call};
    if (!read_root_key_filter(call, &listing) ||
        !adapters_page_read(call, ADAPTERS_MAX, &listing.page))
        return;
    enum status status = store_adapters(call->session, list_adapter, &listing);
    adapters_page_reply(call, &listing.page, "kmip_adapter", status);
}

void api_adapters_get(struct api_call *call)
{
    struct adapter_row row;
    if (adapters_find(call, &row))
        api_reply_resource(call, 200, "kmip_adapter", adapter_json(&row));
}

/* ---- Fields ---- */

/* Absent, null and empty are the same: "". NULL: it is no text, and the call has failed. */
static const char *read_text(struct api_call *call, const json_t *object, const char *field)
{
    const json_t *value = api_member(object, field);
    const char *text = json_string_value(value);
    if (value == NULL || json_is_null(value))
        return "";
    if (text != NULL && strlen(text) == json_string_length(value))
        return text;
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", field, "The field `%s` must be: a text",
                  field);
    return NULL;
}

static bool is_name(const char *name)
{
    static const char characters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    struct uuid uuid;
    size_t length = strlen(name);
    return length >= NAME_MIN && length <= ADAPTERS_NAME_MAX &&
           strspn(name, characters) == length && !uuid_parse(bytes_of_text(name), &uuid);
}

static bool make_name(struct api_call *call, const char *prefix,
                      char ret_name[static ADAPTERS_NAME_MAX + 1])
{
    struct uuid random;
    char digits[2 * RANDOM_SIZE + 1];
    enum status status = uuid_make_random(&random);
    if (status != STATUS_OK) {
        api_fail_status(call, status, NULL);
        return false;
    }
    hex_text(bytes_of(random.bytes, RANDOM_SIZE), digits);
    (void)snprintf(ret_name, ADAPTERS_NAME_MAX + 1, "%s%s", prefix, digits);
    return true;
}

bool adapters_read_name(struct api_call *call, const json_t *resource, const char *prefix,
                        char ret_name[static ADAPTERS_NAME_MAX + 1])
{
    const char *name = read_text(call, resource, "name");
    if (name == NULL)
        return false;
    if (name[0] == '\0')
        return make_name(call, prefix, ret_name);
    if (is_name(name)) {
        (void)snprintf(ret_name, ADAPTERS_NAME_MAX + 1, "%s", name);
        return true;
    }
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", "name",
                  "The field `name` must be: %d to %d letters, digits, `_` and `-`, and no UUID",
                  NAME_MIN, ADAPTERS_NAME_MAX);
    return false;
}

static bool read_description(struct api_call *call, const json_t *resource, struct adapter_row *row)
{
    const char *text = read_text(call, resource, "description");
    if (text == NULL)
        return false;
    int count = keys_count_characters(text);
    if (count == 0 || (count >= DESCRIPTION_MIN && count <= DESCRIPTION_CHARS)) {
        (void)snprintf(row->description, sizeof(row->description), "%s", text);
        return true;
    }
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", "description",
                  "The field `description` must be: a text of %d to %d characters", DESCRIPTION_MIN,
                  DESCRIPTION_CHARS);
    return false;
}

/* ---- Root keys ---- */

static bool refuse_root_key(struct api_call *call, enum api_error error)
{
    api_fail(call, error, "field", "crk_id");
    return false;
}

/* A root key that is served here. */
static bool choose_served(struct api_call *call, const char *text, bool expiring,
                          struct adapter_row *row)
{
    struct kms_key key;
    enum status status = kms_key_find(call->context->kms, text, &key);
    if (status == STATUS_NOT_FOUND)
        return refuse_root_key(call, API_NATIVE_CRK_ID_NOT_FOUND_ERR);
    if (status != STATUS_OK) {
        api_fail_status(call, status, NULL);
        return false;
    }
    keys_settle(&key, call->now);
    if (key.extractable || key.state != KMS_KEY_ACTIVE || (key.expiration != 0 && !expiring))
        return refuse_root_key(call, API_NATIVE_INVALID_CRK_ERR);
    row->root_key = key.id;
    return true;
}

/* One of another key manager, which is asked for it. */
static bool choose_elsewhere(struct api_call *call, const char *text, struct adapter_row *row)
{
    struct root_key_info info;
    struct keymanager *keymanager = keymanagers_get(call->context->keymanagers, row->key_manager);
    if (keymanager == NULL) {
        api_fail_text(call, API_INVALID_FIELD_ERR, "field", "key_manager",
                      "The key manager `%s` is not configured here",
                      keymanager_code_name(row->key_manager));
        return false;
    }
    if (!uuid_parse(bytes_of_text(text), &row->root_key))
        return refuse_root_key(call, API_NATIVE_CRK_ID_NOT_FOUND_ERR);
    enum status status = keymanager_root_key_info(keymanager, &row->root_key, &info);
    if (status == STATUS_NOT_FOUND)
        return refuse_root_key(call, API_NATIVE_CRK_ID_NOT_FOUND_ERR);
    if (status == STATUS_ROOT_KEY_UNAVAILABLE ||
        (status == STATUS_OK && info.state != ROOT_KEY_ACTIVE))
        return refuse_root_key(call, API_NATIVE_INVALID_CRK_ERR);
    if (status != STATUS_OK)
        api_fail_status(call, status, NULL);
    return status == STATUS_OK;
}

static bool read_key_manager(struct api_call *call, const json_t *data, struct adapter_row *row)
{
    const char *name = read_text(call, data, "key_manager");
    if (name == NULL)
        return false;
    row->key_manager = name[0] == '\0' ? call->context->local : keymanager_code_by_name(name);
    if (row->key_manager != KEYMANAGER_NONE)
        return true;
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", "key_manager",
                  "There is no kind of key manager of this name");
    return false;
}

static bool read_profile(struct api_call *call, const json_t *resource, struct adapter_row *row)
{
    bool expiring;
    const json_t *data = api_member(resource, "profile_data");
    const char *profile = read_text(call, resource, "profile");
    if (profile == NULL || !api_query_flag(call, "allowExpiringKey", false, &expiring))
        return false;
    if (strcmp(profile, PROFILE) != 0) {
        api_fail_text(call, API_INVALID_FIELD_ERR, "field", "profile",
                      "The field `profile` must be: " PROFILE);
        return false;
    }
    const char *root_key = read_text(call, data, "crk_id");
    if (root_key == NULL)
        return false;
    if (root_key[0] == '\0') {
        api_fail_text(call, API_INVALID_FIELD_ERR, "field", "crk_id",
                      "The field `profile_data` must have: `crk_id`, of the adapter's root key");
        return false;
    }
    return read_key_manager(call, data, row) &&
           (row->key_manager == call->context->local ? choose_served(call, root_key, expiring, row)
                                                     : choose_elsewhere(call, root_key, row));
}

/* ---- Create ---- */

static bool read_adapter(struct api_call *call, struct adapter_row *row)
{
    const json_t *resource = api_body_resource(call);
    if (resource == NULL || !adapters_read_name(call, resource, "kmip_adapter_", row->name))
        return false;
    note_adapter(call, row->name);
    if (!read_description(call, resource, row) || !read_profile(call, resource, row))
        return false;
    row->created = call->now;
    row->updated = call->now;
    (void)snprintf(row->created_by, sizeof(row->created_by), "%s", call->identity.iam_id);
    (void)snprintf(row->updated_by, sizeof(row->updated_by), "%s", call->identity.iam_id);
    return true;
}

static bool count_adapter(void *context, const struct adapter_row *row)
{
    size_t *count = context;
    (void)row;
    (*count)++;
    return true;
}

/* INDEX_OUT_OF_BOUNDS: there are as many as there may be. */
static enum status insert(struct api_call *call, struct adapter_row *row)
{
    size_t count = 0;
    enum status status = store_adapters(call->session, count_adapter, &count);
    if (status == STATUS_OK && count >= ADAPTERS_MAX)
        status = STATUS_INDEX_OUT_OF_BOUNDS;
    if (status == STATUS_OK)
        status = uuid_make_random(&row->uuid);
    return status == STATUS_OK ? store_adapter_insert(call->context->store, row) : status;
}

void api_adapters_create(struct api_call *call)
{
    struct adapter_row row = {0};
    if (!api_require(call, call->roles, NULL, NULL) || !read_adapter(call, &row))
        return;
    adapters_lock();
    enum status status = insert(call, &row);
    adapters_unlock();
    if (status == STATUS_OK)
        api_reply_resource(call, 201, "kmip_adapter", adapter_json(&row));
    else if (status == STATUS_EXISTS)
        api_fail(call, API_KMIP_ADAPTER_DUPLICATE_NAME_ERR, "field", "name");
    else if (status == STATUS_INDEX_OUT_OF_BOUNDS)
        api_fail(call, API_KMIP_ADAPTER_QUOTA_ERR, NULL, NULL);
    else
        api_fail_status(call, status, NULL);
}

/* ---- Delete ---- */

void api_adapters_delete(struct api_call *call)
{
    struct adapter_row row;
    if (!adapters_find(call, &row))
        return;
    enum status status = store_adapter_delete(call->context->store, row.id);
    if (status == STATUS_OK)
        api_reply_empty(call, 204);
    else if (status == STATUS_PERMISSION_DENIED)
        api_fail(call, API_KMIP_ADAPTER_NOT_EMPTY_ERR, NULL, NULL);
    else if (status == STATUS_NOT_FOUND)
        api_fail(call, API_KMIP_ADAPTER_NOT_FOUND_ERR, NULL, NULL);
    else
        api_fail_status(call, status, NULL);
}
