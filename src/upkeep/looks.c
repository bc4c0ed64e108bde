/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root keys: whether each is active. Looks overlap (a keeper's, and that of whoever has just
 * changed the root key), so each has a number, and what an older one has seen changes nothing once
 * a newer one was carried out.
 */
#include <stdio.h>
#include <stdlib.h>

#include "upkeep/inside.h"

struct watched *upkeep_watched(struct upkeep *upkeep, enum keymanager_code code,
                               const struct uuid *root_key)
{
    struct watched *watched = upkeep->watched;
    while (watched != NULL &&
           (watched->code != code || !uuid_equal(&watched->root_key, root_key)))
        watched = watched->next;
    return watched;
}

struct watched *upkeep_watch(struct upkeep *upkeep, enum keymanager_code code,
                             const struct uuid *root_key)
{
    struct watched *watched = upkeep_watched(upkeep, code, root_key);
    if (watched != NULL)
        return watched;
    watched = calloc(1, sizeof(*watched));
    if (watched == NULL)
        return NULL;
    watched->code = code;
    watched->root_key = *root_key;
    watched->shown.status = STATUS_KEY_MANAGER_UNAVAILABLE;
    (void)snprintf(watched->shown.text, sizeof(watched->shown.text), "not looked at yet");
    watched->next = upkeep->watched;
    upkeep->watched = watched;
    return watched;
}

/* What was seen. */
struct sight {
    uint64_t look;
    bool answered;
    bool active;
    uint32_t version;
    const char *text;
};

static struct sight sight_of(enum status status, const struct root_key_info *info)
{
    struct sight sight = {.answered = true, .version = info->version};
    if (status == STATUS_NOT_FOUND) {
        sight.text = "the key manager has no such root key";
    } else if (status == STATUS_ROOT_KEY_UNAVAILABLE) {
        sight.text = "the key manager refuses it";
    } else if (status != STATUS_OK) { /* that something failed says nothing of the root key */
        sight.answered = false;
        sight.text = status_text(status);
    } else if (info->state == ROOT_KEY_ACTIVE) {
        sight.active = true;
        sight.text = "active";
    } else {
        sight.text = info->state == ROOT_KEY_SUSPENDED ? "disabled" : "deleted";
    }
    return sight;
}

static void show(struct watched *watched, const struct sight *sight, int64_t now)
{
    watched->look = sight->look;
    watched->shown.status = !sight->answered ? STATUS_KEY_MANAGER_UNAVAILABLE
                            : sight->active  ? STATUS_OK
                                             : STATUS_ROOT_KEY_UNAVAILABLE;
    (void)snprintf(watched->shown.text, sizeof(watched->shown.text), "%s", sight->text);
    if (sight->answered)
        watched->shown.checked = now;
    if (sight->active)
        watched->version = sight->version;
}

/* *ret_changed: the service was told something new. */
static enum status carry_out(struct upkeep *upkeep, enum keymanager_code code,
                             const struct uuid *root_key, const struct sight *sight,
                             bool *ret_changed)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    struct watched *watched = upkeep_watch(upkeep, code, root_key);
    bool old = watched != NULL && watched->look > sight->look;
    bool blocked = watched != NULL && watched->blocked;
    if (watched != NULL && !old)
        show(watched, sight, clock_now(upkeep->clock));
    (void)pthread_mutex_unlock(&upkeep->lock);
    *ret_changed = sight->answered && !old && blocked == sight->active;
    if (!*ret_changed)
        return watched == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    enum status status = core_root_key_blocked(upkeep->core, root_key, !sight->active);
    (void)pthread_mutex_lock(&upkeep->lock);
    if (watched != NULL && status == STATUS_OK)
        watched->blocked = !sight->active;
    (void)pthread_mutex_unlock(&upkeep->lock);
    return status;
}

/* One that was asked for while this look was under way is still to come. */
static void plan(struct upkeep *upkeep, enum keymanager_code code, const struct uuid *root_key,
                 uint64_t look, enum status status)
{
    int64_t interval = upkeep->options.policies[code].check_interval;
    if (status != STATUS_OK || interval <= 0)
        interval = upkeep->times.tick;
    (void)pthread_mutex_lock(&upkeep->lock);
    struct watched *watched = upkeep_watched(upkeep, code, root_key);
    if (watched != NULL && look > watched->wanted)
        watched->due = clock_monotonic() + interval;
    (void)pthread_mutex_unlock(&upkeep->lock);
}

void upkeep_look(struct upkeep *upkeep, enum keymanager_code code, const struct uuid *root_key)
{
    struct keymanager *keymanager = keymanagers_get(upkeep->keymanagers, code);
    struct root_key_info info = {0};
    (void)pthread_mutex_lock(&upkeep->lock);
    uint64_t look = ++upkeep->looks;
    (void)pthread_mutex_unlock(&upkeep->lock);
    enum status status = keymanager == NULL
                             ? STATUS_KEY_MANAGER_UNAVAILABLE
                             : keymanager_root_key_info(keymanager, root_key, &info);
    struct sight sight = sight_of(status, &info);
    sight.look = look;
    bool changed = false;
    (void)pthread_mutex_lock(&upkeep->looking);
    status = carry_out(upkeep, code, root_key, &sight, &changed);
    (void)pthread_mutex_unlock(&upkeep->looking);
    plan(upkeep, code, root_key, look, status);
    if (changed && sight.active)
        upkeep_report(upkeep, STATUS_OK, "root key back", "", root_key, "active again in %s",
                      keymanager_code_name(code));
    else if (changed)
        upkeep_report(upkeep, STATUS_ROOT_KEY_UNAVAILABLE, "root key lost", "", root_key,
                      "%s (%s): its keys are out of service", sight.text,
                      keymanager_code_name(code));
}

void upkeep_root_key_changed(struct upkeep *upkeep, enum keymanager_code code,
                             const struct uuid *root_key)
{
    upkeep_look(upkeep, code, root_key);
    upkeep_wake(upkeep);
}

enum status upkeep_root_key(struct upkeep *upkeep, const struct uuid *root_key,
                            struct upkeep_root_key *ret_root_key)
{
    enum status status = STATUS_NOT_FOUND;
    (void)pthread_mutex_lock(&upkeep->lock);
    for (const struct watched *watched = upkeep->watched; watched != NULL; watched = watched->next)
        if (watched->used && uuid_equal(&watched->root_key, root_key)) {
            *ret_root_key = watched->shown;
            status = STATUS_OK;
        }
    (void)pthread_mutex_unlock(&upkeep->lock);
    return status;
}
