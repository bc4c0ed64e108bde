/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with root keys themselves: seldom, and one call after another. */
#include <stdio.h>

#include "base/base64.h"
#include "base/clock.h"
#include "keymanager/keyprotect_client.h"

#define CREATIONS_MAX    3
#define DESCRIPTION_SIZE 64

static void init_for(struct kp *kp, const char *method, const struct uuid *root_key,
                     const char *behind, struct error *error, struct kp_call *call)
{
    char id[UUID_TEXT_LENGTH + 1];
    uuid_text(root_key, id);
    kp_call_init(call, method, "/keys/%s%s", id, behind);
    call->key_ring = kp->options.key_ring;
    call->error = error;
}

/* A call whose answer does not matter. */
static enum status run(struct kp *kp, struct kp_call *call)
{
    enum status status = kp_run(kp, call);
    buffer_free(&call->answer);
    return status;
}

/* ---- What there is to know ---- */

static enum root_key_state state_of(int64_t state)
{
    switch (state) {
    case 1:
        return ROOT_KEY_ACTIVE;
    case 5:
        return ROOT_KEY_DESTROYED;
    default: /* not yet active, suspended, expired: it does not wrap */
        return ROOT_KEY_SUSPENDED;
    }
}

static enum status read_metadata(struct kp *kp, const struct uuid *root_key, struct kp_key *ret_key,
                                 struct error *error)
{
    struct kp_call call;
    init_for(kp, "GET", root_key, "/metadata", error, &call);
    enum status status = kp_run(kp, &call);
    if (status == STATUS_OK && (!kp_answer_key(buffer_bytes(&call.answer), ret_key) ||
                                !uuid_equal(&ret_key->id, root_key)))
        status = error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                           "%s: the answer is not about this key", kp->options.url);
    buffer_free(&call.answer);
    ret_key->whole = (struct kp_json){0};
    if (status == STATUS_OK && ret_key->extractable)
        status =
            error_set(error, STATUS_ROOT_KEY_UNAVAILABLE, "it is a standard key, not a root key");
    return call.http == 410 ? STATUS_NOT_FOUND : status;
}

static enum status count_versions(struct kp *kp, const struct uuid *root_key, uint32_t *ret_count,
                                  struct uuid *ret_newest, struct error *error)
{
    struct kp_call call;
    init_for(kp, "GET", root_key, "/versions?limit=1&totalCount=true&allKeyStates=true", error,
             &call);
    enum status status = kp_run(kp, &call);
    if (status == STATUS_OK &&
        !kp_answer_versions(buffer_bytes(&call.answer), ret_count, ret_newest))
        status = error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                           "%s: the answer is no list of versions", kp->options.url);
    buffer_free(&call.answer);
    return status;
}

/* How many versions a key has. That is asked for only where it was rotated (the first version has
 * the key's identifier) and is not known for this version. */
static enum status find_version(struct kp *kp, const struct kp_key *key, uint32_t *ret_count,
                                struct error *error)
{
    int64_t now = clock_monotonic();
    struct uuid newest = key->version, known;
    uint32_t count = 0;
    enum status status = STATUS_OK;
    if (key->has_version && uuid_equal(&key->version, &key->id))
        count = 1;
    else if (!key->has_version || !kp_versions_get(&kp->versions, &key->id, now, &known, &count) ||
             !uuid_equal(&known, &newest) || count == 0)
        status = count_versions(kp, &key->id, &count, &newest, error);
    if (status != STATUS_OK)
        return status;
    kp_versions_put(&kp->versions, &key->id, &newest, count, now);
    *ret_count = count;
    return STATUS_OK;
}

/* A key out of service may not be asked for its versions everywhere: 0 then. */
static enum status info_of(struct kp *kp, const struct kp_key *key, struct root_key_info *ret_info,
                           struct error *error)
{
    struct root_key_info info = {
        .id = key->id,
        .state = state_of(key->state),
        .imported = key->imported,
        .purged = key->purged,
        .created = key->created,
        .rotated = key->rotated,
        .deleted = key->deleted,
    };
    enum status status = find_version(kp, key, &info.version, error);
    if (status != STATUS_OK &&
        (status == STATUS_KEY_MANAGER_UNAVAILABLE || info.state == ROOT_KEY_ACTIVE))
        return status;
    *ret_info = info;
    return STATUS_OK;
}

static enum status find_info(struct kp *kp, const struct uuid *root_key,
                             struct root_key_info *ret_info, struct error *error)
{
    struct kp_key key;
    enum status status = read_metadata(kp, root_key, &key, error);
    return status == STATUS_OK ? info_of(kp, &key, ret_info, error) : status;
}

enum status kp_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                             struct root_key_info *ret_info)
{
    enum status status = find_info(kp_of(keymanager), root_key, ret_info, NULL);
    return status == STATUS_CONFLICT || status == STATUS_INVALID_ARGUMENT
               ? STATUS_ROOT_KEY_UNAVAILABLE
               : status;
}

struct root_key_walk {
    struct kp *kp;
    keymanager_visit_root_key *visit;
    void *context;
    enum status status;
};

static bool visit_root_key(void *context, const struct kp_key *key)
{
    struct root_key_walk *walk = context;
    struct root_key_info info;
    if (key->extractable)
        return true;
    walk->status = info_of(walk->kp, key, &info, NULL);
    return walk->status == STATUS_OK && walk->visit(walk->context, &info);
}

enum status kp_root_keys(struct keymanager *keymanager, keymanager_visit_root_key *visit,
                         void *context)
{
    struct kp *kp = kp_of(keymanager);
    struct root_key_walk walk = {kp, visit, context, STATUS_OK};
    const struct kp_list list = {.extractable = false, .key_ring = kp->options.key_ring};
    enum status status = kp_list_keys(kp, &list, visit_root_key, &walk, NULL);
    return status == STATUS_OK ? walk.status : status;
}

static bool is_nil(const struct uuid *uuid)
{
    static const struct uuid nil;
    return uuid_equal(uuid, &nil);
}

enum status kp_is_newest(struct keymanager *keymanager, struct wrapped wrapped, bool *ret_newest)
{
    struct kp *kp = kp_of(keymanager);
    struct envelope envelope;
    struct kp_wrapped_key key;
    struct root_key_info info;
    struct uuid newest;
    uint32_t count;
    enum status status = envelope_read(wrapped.blob, NULL, &envelope);
    if (status == STATUS_OK)
        status = kp_wrapped_key_read(envelope.wrapped_key, &key);
    if (status != STATUS_OK)
        return status;
    const struct uuid *root_key = &envelope.binding.root_key;
    /* Without versions in its answers the service must be believed. */
    if (is_nil(&key.version)) {
        *ret_newest = true;
        return STATUS_OK;
    }
    if (!kp_versions_get(&kp->versions, root_key, clock_monotonic(), &newest, &count)) {
        status = kp_root_key_info(keymanager, root_key, &info);
        if (status != STATUS_OK)
            return status == STATUS_NOT_FOUND ? STATUS_ROOT_KEY_UNAVAILABLE : status;
        if (!kp_versions_get(&kp->versions, root_key, clock_monotonic(), &newest, &count))
            return STATUS_ROOT_KEY_UNAVAILABLE;
    }
    *ret_newest = uuid_equal(&newest, &key.version);
    return STATUS_OK;
}

/* ---- Making one ---- */

struct creation {
    struct kp_call call;
    const struct root_key_wish *wish;
    char name[KP_NAME_MAX + 1];
    char description[DESCRIPTION_SIZE]; /* by which it is found again */
    bool found;
    struct uuid id;
};

static enum status write_root_key(struct kp_call *call, struct buffer *body)
{
    const struct creation *creation = CONTAINER_OF(call, struct creation, call);
    const struct secret *material = creation->wish->material;
    kp_write_key(body, creation->name, creation->description, false,
                 material != NULL ? secret_bytes(material) : bytes_of(NULL, 0));
    return buffer_status(body);
}

static bool find_creation(void *context, const struct kp_key *key)
{
    struct creation *creation = context;
    bool same =
        !key->extractable && key->state != 5 && kp_key_is_described(key, creation->description);
    if (same) {
        creation->found = true;
        creation->id = key->id;
    }
    return !same;
}

static enum status look_for_creation(struct kp *kp, struct creation *creation, struct error *error)
{
    const struct kp_list list = {
        .extractable = false, .search = creation->name, .key_ring = kp->options.key_ring};
    return kp_list_keys(kp, &list, find_creation, creation, error);
}

/* One try to make it. *ret_again: nobody knows whether it is there now. */
static enum status make(struct kp *kp, struct creation *creation, bool *ret_again,
                        struct error *error)
{
    struct kp_key key;
    struct kp_call *call = &creation->call;
    kp_call_init(call, "POST", "/keys");
    call->key_ring = kp->options.key_ring;
    call->once = true;
    call->minimal = true;
    call->secret = true;
    call->write = write_root_key;
    call->error = error;
    enum status status = kp_run(kp, call);
    if (status == STATUS_OK && kp_answer_key(buffer_bytes(&call->answer), &key)) {
        creation->found = true;
        creation->id = key.id;
    }
    buffer_free(&call->answer);
    *ret_again = call->ambiguous || (status == STATUS_OK && !creation->found);
    return status;
}

static void describe(struct creation *creation)
{
    char id[UUID_TEXT_LENGTH + 1];
    const struct root_key_wish *wish = creation->wish;
    uuid_text(&wish->id, id);
    (void)snprintf(creation->description, sizeof(creation->description), "kmipd root key %s", id);
    if (wish->name != NULL)
        (void)snprintf(creation->name, sizeof(creation->name), "%s", wish->name);
    else
        (void)snprintf(creation->name, sizeof(creation->name), "kmipd-%s", id);
}

enum status kp_create_root_key(struct keymanager *keymanager, const struct root_key_wish *wish,
                               struct uuid *ret_root_key, struct error *error)
{
    struct kp *kp = kp_of(keymanager);
    struct root_key_wish complete = *wish;
    struct creation creation = {.wish = &complete};
    bool again = true;
    enum status status = STATUS_OK;
    if (is_nil(&complete.id))
        status = uuid_make(wish->now, &complete.id);
    if (wish->name != NULL && (strlen(wish->name) < 2 || strlen(wish->name) > KP_NAME_MAX))
        status =
            error_set(error, STATUS_INVALID_ARGUMENT, "a name has 2 to %d characters", KP_NAME_MAX);
    if (status != STATUS_OK)
        return status;
    describe(&creation);
    for (int i = 0; i < CREATIONS_MAX && again; i++) {
        status = look_for_creation(kp, &creation, error);
        if (status != STATUS_OK || creation.found)
            break;
        status = make(kp, &creation, &again, error);
    }
    if (status == STATUS_OK && !creation.found)
        status = error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                           "%s: the key was made, but is not in the list of keys", kp->options.url);
    if (status == STATUS_OK)
        *ret_root_key = creation.id;
    return status;
}

/* ---- Changing one ---- */

struct rotation {
    struct kp_call call;
    const struct secret *material;
};

static enum status write_rotation(struct kp_call *call, struct buffer *body)
{
    const struct rotation *rotation = CONTAINER_OF(call, struct rotation, call);
    if (rotation->material == NULL) {
        buffer_append_text(body, "{}"); /* see kp_call.once */
        return buffer_status(body);
    }
    buffer_append_text(body, "{\"payload\":\"");
    base64_encode(BASE64_STANDARD, secret_bytes(rotation->material), body);
    buffer_append_text(body, "\"}");
    return buffer_status(body);
}

static enum status check_rotation(struct kp *kp, const struct uuid *root_key, uint32_t from,
                                  const struct secret *material, struct error *error)
{
    struct root_key_info info = {0};
    enum status status = find_info(kp, root_key, &info, error);
    if (status != STATUS_OK)
        return status == STATUS_NOT_FOUND ? STATUS_ROOT_KEY_UNAVAILABLE : status;
    if (info.state != ROOT_KEY_ACTIVE)
        return error_set(error, STATUS_ROOT_KEY_UNAVAILABLE, "the root key is not active");
    if (info.version != from)
        return error_set(error, STATUS_CONFLICT,
                         "the root key has %u versions, not %u: it was rotated meanwhile",
                         info.version, from);
    if (info.imported != (material != NULL))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         info.imported ? "the root key was imported: rotating needs new material"
                                       : "the service makes the new version itself");
    return STATUS_OK;
}

static enum status rotate(struct kp *kp, const struct uuid *root_key, uint32_t from,
                          const struct secret *material, struct error *error)
{
    struct rotation rotation = {.material = material};
    struct uuid newest;
    uint32_t count;
    enum status status = check_rotation(kp, root_key, from, material, error);
    if (status != STATUS_OK)
        return status;
    init_for(kp, "POST", root_key, "/actions/rotate", error, &rotation.call);
    rotation.call.type = "key_action";
    rotation.call.once = true;
    rotation.call.secret = true;
    rotation.call.write = write_rotation;
    status = run(kp, &rotation.call);
    kp_versions_forget(&kp->versions, root_key);
    if (strcmp(rotation.call.refusal.code, "KEY_ROTATION_NOT_PERMITTED") == 0)
        return error_set(error, STATUS_CONFLICT,
                         "it was rotated less than an hour ago: the service allows one rotation "
                         "of a key in an hour");
    if (rotation.call.ambiguous &&
        count_versions(kp, root_key, &count, &newest, NULL) == STATUS_OK && count == from + 1)
        return STATUS_OK;
    return status;
}

enum status kp_rotate(struct keymanager *keymanager, const struct uuid *root_key, uint32_t from,
                      const struct secret *material, int64_t now, struct error *error)
{
    struct kp *kp = kp_of(keymanager);
    (void)now;
    /* Or two at once would both find the version that they know. */
    (void)pthread_mutex_lock(&kp->rotating);
    enum status status = rotate(kp, root_key, from, material, error);
    (void)pthread_mutex_unlock(&kp->rotating);
    return status;
}

/* What 409 means depends on the state it is in: fine if that is the one that is wanted. */
static enum status settle(struct kp *kp, const struct uuid *root_key, const struct kp_call *call,
                          enum root_key_state wanted, struct error *error)
{
    struct kp_key key;
    if (call->status == STATUS_NOT_FOUND)
        return STATUS_ROOT_KEY_UNAVAILABLE;
    if (call->status != STATUS_CONFLICT)
        return call->status;
    if (strcmp(call->refusal.code, "REQ_TOO_EARLY_ERR") == 0)
        return error_set(error, STATUS_CONFLICT,
                         "too early: the service wants a pause of 30 seconds between two changes "
                         "of a key's state");
    if (read_metadata(kp, root_key, &key, NULL) == STATUS_OK && state_of(key.state) == wanted &&
        key.state == (int64_t)wanted)
        return STATUS_OK;
    return STATUS_CONFLICT;
}

enum status kp_set_state(struct keymanager *keymanager, const struct uuid *root_key,
                         enum root_key_state state, struct error *error)
{
    struct kp *kp = kp_of(keymanager);
    struct kp_call call;
    init_for(kp, "POST", root_key,
             state == ROOT_KEY_ACTIVE ? "/actions/enable" : "/actions/disable", error, &call);
    call.type = "key_action";
    (void)run(kp, &call);
    return settle(kp, root_key, &call, state, error);
}

enum status kp_delete(struct keymanager *keymanager, const struct uuid *root_key, int64_t now,
                      struct error *error)
{
    struct kp *kp = kp_of(keymanager);
    struct kp_call call;
    (void)now;
    init_for(kp, "DELETE", root_key, "", error, &call);
    call.minimal = true;
    (void)run(kp, &call);
    if (call.http == 410)
        return STATUS_OK;
    if (strcmp(call.refusal.code, "PROTECTED_RESOURCE_ERR") == 0)
        return error_set(error, STATUS_CONFLICT,
                         "other resources are protected by this key (registrations): take them "
                         "off it, or delete it by force in the service itself");
    return settle(kp, root_key, &call, ROOT_KEY_DESTROYED, error);
}

enum status kp_restore(struct keymanager *keymanager, const struct uuid *root_key,
                       struct error *error)
{
    struct kp *kp = kp_of(keymanager);
    struct kp_call call;
    init_for(kp, "POST", root_key, "/restore", error, &call);
    enum status status = run(kp, &call);
    if (strcmp(call.refusal.code, "REQ_TOO_EARLY_ERR") == 0)
        return error_set(error, STATUS_CONFLICT,
                         "too early: the service wants a pause of 30 seconds after the deletion");
    return call.http == 410 ? STATUS_NOT_FOUND : status;
}

enum status kp_purge(struct keymanager *keymanager, const struct uuid *root_key,
                     struct error *error)
{
    struct kp *kp = kp_of(keymanager);
    struct kp_call call;
    init_for(kp, "DELETE", root_key, "/purge", error, &call);
    enum status status = run(kp, &call);
    if (call.http == 404 && strcmp(call.refusal.code, "KEY_NOT_FOUND_ERR") == 0)
        return STATUS_OK;
    if (call.http == 401 || call.http == 403 || call.http == 404 || call.http == 405)
        return error_set(error, STATUS_FEATURE_NOT_SUPPORTED,
                         "the service purges deleted keys by itself, 90 days after; earlier only "
                         "for who has the service role KeyPurge");
    if (strcmp(call.refusal.code, "REQ_TOO_EARLY_ERR") == 0)
        return error_set(error, STATUS_CONFLICT,
                         "too early: the service purges a key 4 hours after its deletion at the "
                         "soonest");
    return status;
}

/* ---- Whether it could work ---- */

enum status kp_check(struct keymanager *keymanager, struct error *error)
{
    struct kp *kp = kp_of(keymanager);
    struct kp_call call;
    size_t count;
    kp_call_init(&call, "GET", "/keys?limit=1&extractable=false");
    call.key_ring = kp->options.key_ring;
    call.error = error;
    enum status status = kp_run(kp, &call);
    if (status == STATUS_OK &&
        !kp_answer_keys(buffer_bytes(&call.answer), (kp_visit_key *)NULL, NULL, &count))
        status = error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                           "%s: the answer is no list of keys; check url", kp->options.url);
    buffer_free(&call.answer);
    return status;
}
