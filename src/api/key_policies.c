/* SPDX-License-Identifier: Apache-2.0 */
/* GET and PUT /keys/{id}/policies. */
#include <stdio.h>

#include "api/keys.h"

#define MONTHS_MAX  12
#define POLICY_TYPE "application/vnd.ibm.kms.policy+json"

static const struct {
    enum kms_policy_kind kind;
    const char *name;
} kinds[] = {
    {KMS_POLICY_ROTATION, "rotation"},
    {KMS_POLICY_DUAL_AUTH_DELETE, "dualAuthDelete"},
};

/* ---- Reading ---- */

static bool refuse(struct api_call *call, const char *field, const char *text)
{
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", field, "The field `%s` must be: %s", field,
                  text);
    return false;
}

/* `enabled` may be absent where there is an interval, which is then what is meant. */
static bool read_enabled(struct api_call *call, const json_t *policy, bool needed,
                         bool *ret_enabled)
{
    const json_t *value = api_member(policy, "enabled");
    *ret_enabled = value == NULL || json_is_true(value);
    if (json_is_boolean(value) || (value == NULL && !needed))
        return true;
    return refuse(call, "enabled", "true or false");
}

static bool read_months(struct api_call *call, const json_t *policy, bool needed,
                        unsigned *ret_months)
{
    const json_t *value = api_member(policy, "interval_month");
    json_int_t months = json_integer_value(value);
    *ret_months = 0;
    if (value == NULL && !needed)
        return true;
    if (!json_is_integer(value) || months < 1 || months > MONTHS_MAX)
        return refuse(call, "interval_month", "a number from 1 to 12");
    *ret_months = (unsigned)months;
    return true;
}

static bool read_policy(struct api_call *call, const json_t *value, struct kms_policy *policy)
{
    bool rotation = policy->kind == KMS_POLICY_ROTATION;
    if (!json_is_object(value))
        return refuse(call, rotation ? "rotation" : "dualAuthDelete", "an object");
    if (!read_enabled(call, value, !rotation, &policy->enabled) ||
        (rotation && !read_months(call, value, policy->enabled, &policy->months)))
        return false;
    policy->created = call->now;
    policy->updated = call->now;
    (void)snprintf(policy->created_by, sizeof(policy->created_by), "%s", call->identity.iam_id);
    (void)snprintf(policy->updated_by, sizeof(policy->updated_by), "%s", call->identity.iam_id);
    return true;
}

bool keys_read_policies(struct api_call *call, const json_t *resource,
                        struct kms_policy ret_policies[static KMS_POLICY_KINDS], size_t *ret_count)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        const json_t *value = api_member(resource, kinds[i].name);
        if (value == NULL || json_is_null(value))
            continue;
        struct kms_policy *policy = &ret_policies[*ret_count];
        *policy = (struct kms_policy){.kind = kinds[i].kind};
        if (!read_policy(call, value, policy))
            return false;
        ++*ret_count;
    }
    return true;
}

/* 0: all; -1: the call has failed. */
static int read_kind(struct api_call *call)
{
    char name[32];
    if (!api_query(call, "policy", name, sizeof(name)))
        return call->error == API_OK ? 0 : -1;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
        if (strcmp(name, kinds[i].name) == 0)
            return (int)kinds[i].kind;
    api_fail(call, API_INVALID_QUERY_PARAM_ERR, "query_param", "policy");
    return -1;
}

/* ---- Answers ---- */

static void set_crn(json_t **object, const struct api_call *call, const struct kms_key *key)
{
    json_t *all = keys_json(call, key);
    json_t *crn = json_object_get(all, "crn");
    (void)keys_set(object, "crn", json_incref(crn));
    json_decref(all);
}

static json_t *policy_json(const struct api_call *call, const struct kms_key *key,
                           const struct kms_policy *policy)
{
    json_t *object = json_object();
    json_t *content = json_pack("{s:b}", "enabled", policy->enabled);
    bool rotation = policy->kind == KMS_POLICY_ROTATION;
    if (rotation && policy->months > 0)
        (void)keys_set(&content, "interval_month", json_integer(policy->months));
    (void)keys_set(&object, "id", api_json_uuid(&key->id));
    set_crn(&object, call, key);
    (void)keys_set(&object, "type", json_string(POLICY_TYPE));
    (void)keys_set(&object, "creationDate", api_json_time(policy->created));
    (void)keys_set(&object, "createdBy", json_string(policy->created_by));
    (void)keys_set(&object, "lastUpdateDate", api_json_time(policy->updated));
    (void)keys_set(&object, "updatedBy", json_string(policy->updated_by));
    (void)keys_set(&object, rotation ? "rotation" : "dualAuthDelete", content);
    return object;
}

/* Those of a kind (0: all) as they stand. */
static void answer(struct api_call *call, const struct kms_key *key, int kind)
{
    struct kms_policy policies[KMS_POLICY_KINDS];
    size_t count = 0;
    enum status status = kms_policies(call->context->kms, &key->id, policies, &count);
    if (status != STATUS_OK) {
        api_fail_status(call, status, NULL);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        if (kind == 0 || (int)policies[i].kind == kind)
            if (json_array_append_new(list, policy_json(call, key, &policies[i])) != 0) {
                json_decref(list);
                list = NULL;
            }
    api_reply_resources(call, 200, "policy", list, -1);
}

void api_keys_policies_get(struct api_call *call)
{
    struct kms_key key;
    int kind = read_kind(call);
    if (kind >= 0 && keys_find(call, call->roles, &key))
        answer(call, &key, kind);
}

/* ---- Setting ---- */

/* One resource with both, or one for each. */
static bool read_resources(struct api_call *call, struct kms_policy *policies, size_t *ret_count)
{
    const json_t *body = api_body_object(call);
    const json_t *resources = body == NULL ? NULL : api_member(body, "resources");
    if (body == NULL)
        return false;
    if (!json_is_object(api_member(body, "metadata")) || json_array_size(resources) == 0 ||
        json_array_size(resources) > KMS_POLICY_KINDS) {
        api_fail_text(call, API_BAD_BODY_ERR, NULL, NULL,
                      "There must be metadata, and one or two policies");
        return false;
    }
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(resources); i++) {
        struct kms_policy some[KMS_POLICY_KINDS];
        size_t more = 0;
        if (!keys_read_policies(call, json_array_get(resources, i), some, &more))
            return false;
        for (size_t j = 0; j < more && count < KMS_POLICY_KINDS; j++)
            policies[count++] = some[j];
    }
    *ret_count = count;
    return true;
}

static bool check_kinds(struct api_call *call, const struct kms_policy *policies, size_t count,
                        int kind)
{
    bool twice = count == 2 && policies[0].kind == policies[1].kind;
    if (count == 0 || twice) {
        api_fail_text(call, API_BAD_BODY_ERR, "field", "resources",
                      "There must be one of `rotation` and `dualAuthDelete`, or both");
        return false;
    }
    if (kind != 0 && (count != 1 || (int)policies[0].kind != kind)) {
        api_fail(call, API_BODY_QUERY_PARAM_MISMATCH_ERR, "query_param", "policy");
        return false;
    }
    return true;
}

/* Rotation is for generated root keys; who has asked for two to delete cannot do with one. */
static bool check_policy(struct api_call *call, const struct kms_key *key,
                         const struct kms_policy *policy)
{
    if (policy->kind == KMS_POLICY_DUAL_AUTH_DELETE) {
        if (policy->enabled || !key->dual_set || !key->dual_enabled)
            return true;
        return refuse(call, "enabled", "true: a dual authorization policy of a key is for good");
    }
    if (!keys_require_root(call, key))
        return false;
    if (!key->imported)
        return true;
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", "rotation",
                  "An imported key is not rotated by a policy");
    return false;
}

void api_keys_policies_put(struct api_call *call)
{
    struct kms_key key;
    struct kms_policy policies[KMS_POLICY_KINDS];
    size_t count = 0;
    int kind = read_kind(call);
    if (kind < 0 || !keys_find(call, call->roles, &key) ||
        !keys_require_state(call, &key, ~KMS_STATE_BIT(KMS_KEY_DESTROYED)) ||
        !read_resources(call, policies, &count) || !check_kinds(call, policies, count, kind))
        return;
    for (size_t i = 0; i < count; i++)
        if (!check_policy(call, &key, &policies[i]))
            return;
    enum status status = kms_policies_put(call->context->kms, &key.id, policies, count);
    if (status == STATUS_OK)
        answer(call, &key, kind);
    else if (status == STATUS_NOT_FOUND)
        api_fail(call, API_KEY_NOT_FOUND_ERR, NULL, NULL);
    else
        api_fail_status(call, status, NULL);
}
