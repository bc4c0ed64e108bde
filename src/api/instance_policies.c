/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET and PUT /instance/policies, GET /instance/allowed_ip_port. Policies that say which keys may
 * be made, what they begin with, and from where requests may come are carried out; metrics are
 * kept as set. "private-only" is refused: on which networks the API listens is said in the
 * configuration, and a policy that nobody carries out must not seem to be one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api/admission.h"
#include "api/keys.h"

#define MONTHS_MAX 12

/* Bits of the number of KEY_CREATE_IMPORT_ACCESS; a set bit forbids, so that none is the default. */
enum access {
    NO_CREATE_ROOT = 1,
    NO_CREATE_STANDARD = 2,
    NO_IMPORT_ROOT = 4,
    NO_IMPORT_STANDARD = 8,
    ONLY_BY_TOKEN = 16,
};

static const struct {
    const char *name;
    unsigned bit;
    bool set_by; /* the value that sets the bit */
} accesses[] = {
    {"create_root_key", NO_CREATE_ROOT, false}, {"create_standard_key", NO_CREATE_STANDARD, false},
    {"import_root_key", NO_IMPORT_ROOT, false}, {"import_standard_key", NO_IMPORT_STANDARD, false},
    {"enforce_token", ONLY_BY_TOKEN, true},
};

static bool refuse(struct api_call *call, const char *field, const char *text)
{
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", field, "The field `%s` must be: %s", field,
                  text);
    return false;
}

/* ---- Attributes ---- */

/* json: unknown field "x", as Key Protect says it. */
static bool refuse_unknown(struct api_call *call, const char *field)
{
    api_fail_text(call, API_BAD_BODY_ERR, "field", field, "json: unknown field \"%s\"", field);
    return false;
}

static bool only_has(struct api_call *call, const json_t *object, const char *name)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key,
                        value) if (name == NULL ||
                                   strcasecmp(key, name) != 0) return refuse_unknown(call, key);
    return true;
}

static bool read_network(struct api_call *call, const json_t *attributes,
                         struct kms_instance_policy *policy)
{
    const char *network = json_string_value(api_member(attributes, "allowed_network"));
    if (!only_has(call, attributes, "allowed_network"))
        return false;
    if (network == NULL ||
        (strcmp(network, "public-and-private") != 0 && strcmp(network, "private-only") != 0))
        return refuse(call, "allowed_network", "public-and-private or private-only");
    if (policy->enabled && strcmp(network, "private-only") == 0) {
        api_fail_text(call, API_FEATURE_RESTRICTED_ERR, "field", "allowed_network",
                      "Which addresses the API listens on is set in the server's configuration");
        return false;
    }
    (void)snprintf(policy->text, sizeof(policy->text), "%s", network);
    return true;
}

/* In a line for each network. */
static bool read_addresses(struct api_call *call, const json_t *attributes,
                           struct kms_instance_policy *policy)
{
    const json_t *list = api_member(attributes, "allowed_ip");
    struct admission_network network;
    size_t used = 0;
    if (!only_has(call, attributes, "allowed_ip"))
        return false;
    bool good = json_array_size(list) > 0 && json_array_size(list) <= ADMISSION_NETWORKS_MAX;
    for (size_t i = 0; good && i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        good = text != NULL && admission_parse(text, &network) &&
               used + strlen(text) + 1 < sizeof(policy->text);
        if (good)
            used += (size_t)snprintf(policy->text + used, sizeof(policy->text) - used, "%s%s",
                                     i > 0 ? "\n" : "", text);
    }
    return good || refuse(call, "allowed_ip", "a list of IP addresses or networks");
}

static bool read_access(struct api_call *call, const json_t *attributes,
                        struct kms_instance_policy *policy)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)attributes, key, value)
    {
        size_t i = 0;
        while (i < ARRAY_COUNT(accesses) && strcasecmp(accesses[i].name, key) != 0)
            i++;
        if (i == ARRAY_COUNT(accesses))
            return refuse_unknown(call, key);
        if (!json_is_boolean(value))
            return refuse(call, accesses[i].name, "true or false");
        if (json_is_true(value) == accesses[i].set_by)
            policy->number |= accesses[i].bit;
    }
    return true;
}

static bool read_nothing(struct api_call *call, const json_t *attributes,
                         struct kms_instance_policy *policy)
{
    return only_has(call, attributes, NULL);
}

static bool read_rotation(struct api_call *call, const json_t *attributes,
                          struct kms_instance_policy *policy)
{
    const json_t *months = api_member(attributes, "interval_month");
    if (!only_has(call, attributes, "interval_month"))
        return false;
    policy->number = json_integer_value(months);
    if (policy->enabled &&
        (!json_is_integer(months) || policy->number < 1 || policy->number > MONTHS_MAX))
        return refuse(call, "interval_month", "a number from 1 to 12");
    return true;
}

/* ---- What is told ---- */

static json_t *network_json(const struct kms_instance_policy *policy)
{
    return json_pack("{s:s}", "allowed_network", policy->text);
}

static json_t *addresses_json(const struct kms_instance_policy *policy)
{
    json_t *list = json_array();
    for (const char *text = policy->text; list != NULL && *text != '\0';) {
        size_t size = strcspn(text, "\n");
        if (json_array_append_new(list, json_stringn(text, size)) != 0) {
            json_decref(list);
            return NULL;
        }
        text += size + (text[size] == '\n');
    }
    return list == NULL ? NULL : json_pack("{s:o}", "allowed_ip", list);
}

static json_t *access_json(const struct kms_instance_policy *policy)
{
    json_t *object = json_object();
    for (size_t i = 0; i < ARRAY_COUNT(accesses); i++) {
        bool set = (policy->number & accesses[i].bit) != 0;
        (void)keys_set(&object, accesses[i].name, json_boolean(set == accesses[i].set_by));
    }
    return object;
}

static json_t *rotation_json(const struct kms_instance_policy *policy)
{
    return json_pack("{s:I}", "interval_month", (json_int_t)policy->number);
}

static const struct {
    enum kms_instance_policy_kind kind;
    const char *name;
    bool always; /* attributes are told, and needed, also when it is not enabled */
    bool needed; /* when it is enabled */
    bool (*read)(struct api_call *call, const json_t *attributes,
                 struct kms_instance_policy *policy);
    json_t *(*json)(const struct kms_instance_policy *policy); /* NULL: it has none */
} kinds[] = {
    {KMS_INSTANCE_ALLOWED_NETWORK, "allowedNetwork", true, true, read_network, network_json},
    {KMS_INSTANCE_DUAL_AUTH_DELETE, "dualAuthDelete", false, false, read_nothing, NULL},
    {KMS_INSTANCE_ALLOWED_IP, "allowedIP", false, true, read_addresses, addresses_json},
    {KMS_INSTANCE_KEY_CREATE_IMPORT_ACCESS, "keyCreateImportAccess", false, false, read_access,
     access_json},
    {KMS_INSTANCE_METRICS, "metrics", false, false, read_nothing, NULL},
    {KMS_INSTANCE_ROTATION, "rotation", false, true, read_rotation, rotation_json},
};

/* The place in the table; -1: there is none of this name. */
static int find_kind(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
        if (name != NULL && strcmp(kinds[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* *ret_place: -1 without the parameter. False: the call has failed. */
static bool read_kind(struct api_call *call, int *ret_place)
{
    char name[32];
    *ret_place = -1;
    if (!api_query(call, "policy", name, sizeof(name)))
        return call->error == API_OK;
    *ret_place = find_kind(name);
    if (*ret_place < 0)
        api_fail(call, API_INVALID_QUERY_PARAM_ERR, "query_param", "policy");
    return *ret_place >= 0;
}

static json_t *policy_json(size_t place, const struct kms_instance_policy *policy)
{
    json_t *data = json_pack("{s:b}", "enabled", policy->enabled);
    json_t *object = json_object();
    if (kinds[place].json != NULL && (policy->enabled || kinds[place].always))
        (void)keys_set(&data, "attributes", kinds[place].json(policy));
    (void)keys_set(&object, "policy_type", json_string(kinds[place].name));
    (void)keys_set(&object, "policy_data", data);
    (void)keys_set(&object, "createdBy", json_string(policy->created_by));
    (void)keys_set(&object, "creationDate", api_json_time(policy->created));
    (void)keys_set(&object, "updatedBy", json_string(policy->updated_by));
    (void)keys_set(&object, "lastUpdated", api_json_time(policy->updated));
    return object;
}

static enum status collect(struct api_call *call, int only, struct kms_instance_policy *policy,
                           json_t *list)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (only >= 0 && (size_t)only != i)
            continue;
        enum status status = kms_instance_policy(call->context->kms, kinds[i].kind, policy);
        if (status == STATUS_NOT_FOUND)
            continue;
        if (status != STATUS_OK)
            return status;
        if (json_array_append_new(list, policy_json(i, policy)) != 0)
            return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

void api_instance_policies_get(struct api_call *call)
{
    int only;
    if (!read_kind(call, &only))
        return;
    struct kms_instance_policy *policy = calloc(1, sizeof(*policy));
    json_t *list = json_array();
    enum status status =
        policy == NULL || list == NULL ? STATUS_NO_MEMORY : collect(call, only, policy, list);
    free(policy);
    if (status == STATUS_OK) {
        api_reply_resources(call, 200, "policy", list, -1);
        return;
    }
    json_decref(list);
    api_fail_status(call, status, NULL);
}

/* ---- Setting ---- */

static bool read_data(struct api_call *call, size_t place, const json_t *data,
                      struct kms_instance_policy *policy)
{
    const json_t *enabled = api_member(data, "enabled");
    const json_t *attributes = api_member(data, "attributes");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)data, key,
                        value) if (strcasecmp(key, "enabled") != 0 &&
                                   strcasecmp(key, "attributes") != 0) return refuse_unknown(call,
                                                                                             key);
    if (!json_is_boolean(enabled))
        return refuse(call, "enabled", "true or false");
    policy->enabled = json_is_true(enabled);
    bool given = attributes != NULL && !json_is_null(attributes);
    if (given && !json_is_object(attributes))
        return refuse(call, "attributes", "an object");
    if (given && !policy->enabled && !kinds[place].always)
        return refuse(call, "attributes", "absent: the policy is not enabled");
    if (!given && (kinds[place].always || (policy->enabled && kinds[place].needed)))
        return refuse(call, "attributes", "an object");
    return !given || kinds[place].read(call, attributes, policy);
}

static bool read_resource(struct api_call *call, const json_t *resource, int only,
                          struct kms_instance_policy *policy)
{
    const json_t *data = api_member(resource, "policy_data");
    int place = find_kind(json_string_value(api_member(resource, "policy_type")));
    if (place < 0)
        return refuse(call, "policy_type", "the name of a policy");
    if (only >= 0 && only != place) {
        api_fail(call, API_BODY_QUERY_PARAM_MISMATCH_ERR, "query_param", "policy");
        return false;
    }
    if (!json_is_object(data))
        return refuse(call, "policy_data", "an object");
    policy->kind = kinds[place].kind;
    policy->created = call->now;
    policy->updated = call->now;
    (void)snprintf(policy->created_by, sizeof(policy->created_by), "%s", call->identity.iam_id);
    (void)snprintf(policy->updated_by, sizeof(policy->updated_by), "%s", call->identity.iam_id);
    return read_data(call, (size_t)place, data, policy);
}

static bool check_collection(struct api_call *call, const json_t *body, int only)
{
    const json_t *resources = api_member(body, "resources");
    const json_t *total = api_member(api_member(body, "metadata"), "collectionTotal");
    size_t count = json_array_size(resources);
    if (!json_is_object(api_member(body, "metadata")) || !json_is_array(resources))
        api_fail_text(call, API_BAD_BODY_ERR, NULL, NULL, "There must be metadata and resources");
    else if (json_is_integer(total) && (size_t)json_integer_value(total) != count)
        api_fail(call, API_COLLECTION_TOTAL_MISMATCH_ERR, "field", "collectionTotal");
    else if (count == 0 || count > ARRAY_COUNT(kinds) || (only >= 0 && count != 1))
        api_fail(call, API_NUM_COLLECTION_RESOURCE_ERR, "field", "resources");
    else
        return true;
    return false;
}

static bool read_all(struct api_call *call, const json_t *resources, int only,
                     struct kms_instance_policy *policies)
{
    for (size_t i = 0; i < json_array_size(resources); i++) {
        if (!read_resource(call, json_array_get(resources, i), only, &policies[i]))
            return false;
        for (size_t j = 0; j < i; j++)
            if (policies[i].kind == policies[j].kind)
                return refuse(call, "policy_type", "another one for each resource");
    }
    return true;
}

void api_instance_policies_put(struct api_call *call)
{
    int only;
    const json_t *body = api_body_object(call);
    if (body == NULL || !read_kind(call, &only) || !check_collection(call, body, only))
        return;
    const json_t *resources = api_member(body, "resources");
    size_t count = json_array_size(resources);
    struct kms_instance_policy *policies = calloc(count, sizeof(*policies));
    if (policies == NULL) {
        api_fail_status(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    if (read_all(call, resources, only, policies)) {
        enum status status = kms_instance_policies_put(call->context->kms, policies, count);
        if (status == STATUS_OK)
            api_reply_empty(call, 204);
        else
            api_fail_status(call, status, NULL);
    }
    free(policies);
}

/* Where Key Protect's private endpoint listens under a policy of addresses: here, where it always
 * does. */
void api_allowed_ip_port(struct api_call *call)
{
    const char *issuer = call->context->issuer;
    const char *colon = strrchr(issuer, ':');
    long port =
        colon == NULL || colon[1] < '0' || colon[1] > '9' ? 443 : strtol(colon + 1, NULL, 10);
    api_reply_resource(call, 200, "allowed_ip_metadata",
                       json_pack("{s:i}", "private_endpoint_port", (int)port));
}

/* ---- What they mean for a new key ---- */

/* *ret_set: it is there and enabled. False: the call has failed. */
static bool look_up(struct api_call *call, enum kms_instance_policy_kind kind, bool *ret_set,
                    int64_t *ret_number)
{
    struct kms_instance_policy *policy = calloc(1, sizeof(*policy));
    enum status status =
        policy == NULL ? STATUS_NO_MEMORY : kms_instance_policy(call->context->kms, kind, policy);
    *ret_set = status == STATUS_OK && policy->enabled;
    *ret_number = *ret_set ? policy->number : 0;
    free(policy);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        return true;
    api_fail_status(call, status, NULL);
    return false;
}

bool keys_check_access(struct api_call *call, bool extractable, bool imported, bool by_token)
{
    bool set;
    int64_t forbidden;
    if (!look_up(call, KMS_INSTANCE_KEY_CREATE_IMPORT_ACCESS, &set, &forbidden))
        return false;
    int64_t way = imported ? (extractable ? NO_IMPORT_STANDARD : NO_IMPORT_ROOT)
                           : (extractable ? NO_CREATE_STANDARD : NO_CREATE_ROOT);
    bool token = imported && !by_token && (forbidden & ONLY_BY_TOKEN) != 0;
    if ((forbidden & way) == 0 && !token)
        return true;
    api_fail(call, API_KEY_CREATE_IMPORT_ACCESS_ERR, NULL, NULL);
    return false;
}

static void add_default(const struct api_call *call, enum kms_policy_kind kind, unsigned months,
                        struct kms_policy *ret_policy)
{
    *ret_policy = (struct kms_policy){.kind = kind,
                                      .enabled = true,
                                      .months = months,
                                      .created = call->now,
                                      .updated = call->now};
    (void)snprintf(ret_policy->created_by, sizeof(ret_policy->created_by), "%s",
                   call->identity.iam_id);
    (void)snprintf(ret_policy->updated_by, sizeof(ret_policy->updated_by), "%s",
                   call->identity.iam_id);
}

bool keys_default_policies(struct api_call *call, const struct kms_key *key,
                           struct kms_policy ret_policies[static KMS_POLICY_KINDS],
                           size_t *ret_count)
{
    bool rotation = false;
    bool dual = false;
    int64_t months = 0;
    int64_t unused;
    bool may_rotate = !key->extractable && !key->imported;
    if ((may_rotate && !look_up(call, KMS_INSTANCE_ROTATION, &rotation, &months)) ||
        !look_up(call, KMS_INSTANCE_DUAL_AUTH_DELETE, &dual, &unused))
        return false;
    *ret_count = 0;
    if (rotation)
        add_default(call, KMS_POLICY_ROTATION, (unsigned)months, &ret_policies[(*ret_count)++]);
    if (dual)
        add_default(call, KMS_POLICY_DUAL_AUTH_DELETE, 0, &ret_policies[(*ret_count)++]);
    return true;
}
