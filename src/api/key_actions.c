/* SPDX-License-Identifier: Apache-2.0 */
/* POST /keys/{id}/actions/{action}, and POST /keys/{id}?action={action}. */
#include <stdio.h>

#include "api/keys.h"
#include "api/root_keys.h"

#define HOUR ((int64_t)3600000)

/* ---- Rotating ---- */

static bool check_interval(struct api_call *call, const struct kms_key *key)
{
    int64_t interval = call->context->rotate_interval;
    if (interval == 0)
        interval = HOUR;
    bool lately = key->rotated > 0 && call->now < key->rotated + interval;
    if (call->identity.everything || interval < 0 || !lately)
        return true;
    api_fail(call, API_KEY_ROTATION_NOT_PERMITTED, NULL, NULL);
    return false;
}

/* An imported key is rotated to imported material, a generated one to generated. */
static bool check_material(struct api_call *call, const struct kms_key *key, bool present)
{
    if (key->imported && !present)
        api_fail(call, API_KEY_PAYLOAD_REQ_ERR, "field", "payload");
    else if (!key->imported && present)
        api_fail_text(call, API_INVALID_QUERY_PARAM_ERR, "field", "payload",
                      "Payload must be provided only if key is imported");
    return key->imported == present;
}

static void rotate(struct api_call *call, const struct kms_key *key, const struct secret *material)
{
    struct error error = {0};
    enum status status = api_root_key_rotate(call->context, &key->id, material, call->now, &error);
    if (status == STATUS_NOT_FOUND)
        api_fail(call, API_KEY_NOT_FOUND_ERR, NULL, NULL);
    else if (status != STATUS_OK)
        api_fail_status(call, status, &error);
    else
        api_reply_empty(call, 204);
}

static void keys_rotate(struct api_call *call, struct kms_key *key)
{
    struct secret material = {0};
    bool present = false;
    if (check_interval(call, key) &&
        (call->body == NULL || keys_read_material(call, call->body, false, &material, &present)) &&
        check_material(call, key, present))
        rotate(call, key, present ? &material : NULL);
    secret_free(&material);
}

/* ---- Disabling and enabling ---- */

static void set_state(struct api_call *call, const struct kms_key *key, enum root_key_state state)
{
    struct error error = {0};
    enum status status = api_root_key_set_state(call->context, &key->id, state, call->now, &error);
    if (status == STATUS_NOT_FOUND)
        api_fail(call, API_KEY_NOT_FOUND_ERR, NULL, NULL);
    else if (status == STATUS_CONFLICT)
        api_fail(call, API_KEY_ACTION_INVALID_STATE_ERR, NULL, NULL);
    else if (status != STATUS_OK)
        api_fail_status(call, status, &error);
    else
        api_reply_empty(call, 204);
}

static void keys_disable(struct api_call *call, struct kms_key *key)
{
    set_state(call, key, ROOT_KEY_SUSPENDED);
}

static void keys_enable(struct api_call *call, struct kms_key *key)
{
    set_state(call, key, ROOT_KEY_ACTIVE);
}

/* ---- Telling services that a key has changed ---- */

/* There are none but the adapters here, which learn it at once: so there is nothing to send. */
static void keys_sync(struct api_call *call, struct kms_key *key)
{
    if (call->now < key->updated + HOUR)
        api_fail_text(call, API_REQ_TOO_EARLY_ERR, NULL, NULL,
                      "The key was changed less than an hour ago: that is on its way");
    else
        api_reply_empty(call, 204);
}

/* ---- The table ---- */

#define IN(state) KMS_STATE_BIT(KMS_KEY_##state)
#define IN_ANY    0xFFFFFFFFu
#define LIVING    (IN(PRE_ACTIVE) | IN(ACTIVE) | IN(SUSPENDED) | IN(DEACTIVATED))

struct action {
    const char *name;
    void (*run)(struct api_call *call, struct kms_key *key);
    unsigned states; /* in which it may be done */
    bool root;       /* root keys only */
    bool old_form;   /* also as ?action= */
    enum api_role role;
    const char *audit;
};

static const struct action actions[] = {
    {"wrap", keys_wrap, IN(ACTIVE), true, true, API_ROLE_READER, "kms.secrets.wrap"},
    {"unwrap", keys_unwrap, IN(ACTIVE) | IN(DEACTIVATED), true, true, API_ROLE_READER,
     "kms.secrets.unwrap"},
    {"rewrap", keys_rewrap, IN(ACTIVE) | IN(DEACTIVATED), true, true, API_ROLE_READER,
     "kms.secrets.rewrap"},
    {"rotate", keys_rotate, IN(ACTIVE) | IN(DEACTIVATED), true, true, API_ROLE_WRITER,
     "kms.secrets.rotate"},
    {"disable", keys_disable, IN(ACTIVE), true, true, API_ROLE_MANAGER, "kms.secrets.disable"},
    {"enable", keys_enable, IN(SUSPENDED), true, true, API_ROLE_MANAGER, "kms.secrets.enable"},
    {"restore", keys_restore, IN_ANY, false, true, API_ROLE_MANAGER, "kms.secrets.restore"},
    {"setKeyForDeletion", keys_set_for_deletion, LIVING, false, true, API_ROLE_MANAGER,
     "kms.secrets.setkeyfordeletion"},
    {"unsetKeyForDeletion", keys_unset_for_deletion, LIVING, false, true, API_ROLE_MANAGER,
     "kms.secrets.unsetkeyfordeletion"},
    {"sync", keys_sync, IN_ANY, true, false, API_ROLE_MANAGER, "kms.secrets.sync"},
};

static const struct action *find_action(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

static void run_action(struct api_call *call, const struct action *action)
{
    struct kms_key key;
    call->action = action->audit;
    if (keys_find(call, action->role, &key) && (!action->root || keys_require_root(call, &key)) &&
        keys_require_state(call, &key, action->states))
        action->run(call, &key);
}

void api_keys_action(struct api_call *call)
{
    const struct action *action = find_action(call->parameters[1]);
    if (action == NULL)
        api_fail_text(call, API_NOT_FOUND_ERR, NULL, NULL, "There is no action of this name");
    else
        run_action(call, action);
}

void api_keys_action_by_query(struct api_call *call)
{
    char name[32];
    const struct action *action =
        api_query(call, "action", name, sizeof(name)) ? find_action(name) : NULL;
    if (action == NULL || !action->old_form)
        api_fail(call, API_INVALID_QUERY_PARAM_ERR, "query_param", "action");
    else
        run_action(call, action);
}
