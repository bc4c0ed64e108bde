/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper of one key manager: the thread that asks it what can only be asked by waiting. */
#include "upkeep/keeper.h"

#include <stdlib.h>

/* ---- Which root keys are in use ---- */

/* The lock is held. */
static void use(struct keeper *keeper, uint32_t key_manager, const struct uuid *root_key)
{
    if (key_manager != (uint32_t)keeper->code)
        return;
    struct watched *watched = upkeep_watch(keeper->upkeep, keeper->code, root_key);
    if (watched != NULL)
        watched->used = true;
}

static void find_used(struct keeper *keeper)
{
    struct upkeep *upkeep = keeper->upkeep;
    (void)pthread_mutex_lock(&upkeep->lock);
    for (struct watched *watched = upkeep->watched; watched != NULL; watched = watched->next)
        if (watched->code == keeper->code)
            watched->used = false;
    for (size_t i = 0; i < keeper->adapters.count; i++)
        use(keeper, keeper->adapters.rows[i].key_manager, &keeper->adapters.rows[i].root_key);
    for (const struct rewrap *rewrap = upkeep->rewraps; rewrap != NULL; rewrap = rewrap->next)
        for (unsigned i = 0; !rewrap->gone && i < rewrap->state.from_count; i++)
            use(keeper, rewrap->state.from[i].key_manager, &rewrap->state.from[i].root_key);
    (void)pthread_mutex_unlock(&upkeep->lock);
}

/* One that is due; false when there is none, and *ret_next says when there will be. */
static bool find_due(struct keeper *keeper, struct uuid *ret_root_key, int64_t *ret_next)
{
    struct upkeep *upkeep = keeper->upkeep;
    int64_t now = clock_monotonic();
    bool due = false;
    *ret_next = UPKEEP_NEVER;
    (void)pthread_mutex_lock(&upkeep->lock);
    for (const struct watched *watched = upkeep->watched; watched != NULL && !due;
         watched = watched->next) {
        if (watched->code != keeper->code || !watched->used)
            continue;
        due = watched->due <= now;
        *ret_root_key = watched->root_key;
        *ret_next = watched->due < *ret_next ? watched->due : *ret_next;
    }
    (void)pthread_mutex_unlock(&upkeep->lock);
    return due;
}

int64_t keeper_look(struct keeper *keeper)
{
    struct uuid root_key;
    int64_t next = UPKEEP_NEVER;
    bool looked = false;
    find_used(keeper);
    while (!atomic_load(&keeper->upkeep->stopping) && find_due(keeper, &root_key, &next)) {
        upkeep_look(keeper->upkeep, keeper->code, &root_key);
        looked = true;
    }
    if (looked) {
        rewrap_after_rotations(keeper->upkeep, &keeper->adapters);
        upkeep_wake_walker(keeper->upkeep);
    }
    return next;
}

/* ---- The thread ---- */

static void *run(void *argument)
{
    struct keeper *keeper = argument;
    struct upkeep *upkeep = keeper->upkeep;
    uint64_t wakes = 0;
    while (!atomic_load(&upkeep->stopping)) {
        int64_t tick = clock_monotonic() + upkeep->times.tick;
        /* If they cannot be read now: those that were, and again at the next occasion. */
        (void)upkeep_read_adapters(upkeep, keeper->session, &keeper->adapters);
        int64_t next = keeper_look(keeper);
        int64_t records = keeper_records(keeper);
        next = records < next ? records : next;
        upkeep_wait(upkeep, &upkeep->keeping, &wakes, next < tick ? next : tick);
    }
    return NULL;
}

static void keeper_free(struct keeper *keeper)
{
    store_session_close(keeper->session);
    free(keeper->adapters.rows);
    free(keeper->replaced);
    free(keeper);
}

static enum status keeper_start(struct upkeep *upkeep, enum keymanager_code code)
{
    struct keeper *keeper = calloc(1, sizeof(*keeper));
    if (keeper == NULL)
        return STATUS_NO_MEMORY;
    keeper->upkeep = upkeep;
    keeper->code = code;
    keeper->keymanager = keymanagers_get(upkeep->keymanagers, code);
    enum status status = store_session_open(upkeep->store, &keeper->session);
    if (status == STATUS_OK && !upkeep_thread(&keeper->thread, "upkeep-keeper", run, keeper))
        status = STATUS_NO_MEMORY;
    if (status != STATUS_OK)
        keeper_free(keeper);
    else
        upkeep->keepers[code] = keeper;
    return status;
}

enum status keepers_start(struct upkeep *upkeep, struct error *error)
{
    for (int code = 1; code <= KEYMANAGER_CODE_MAX; code++) {
        if (keymanagers_get(upkeep->keymanagers, (enum keymanager_code)code) == NULL)
            continue;
        enum status status = keeper_start(upkeep, (enum keymanager_code)code);
        if (status != STATUS_OK)
            return error_set(error, status, "no thread for the upkeep of keys: %s",
                             status_text(status));
    }
    return STATUS_OK;
}

void keepers_stop(struct upkeep *upkeep)
{
    for (int code = 1; code <= KEYMANAGER_CODE_MAX; code++) {
        if (upkeep->keepers[code] == NULL)
            continue;
        (void)pthread_join(upkeep->keepers[code]->thread, NULL);
        keeper_free(upkeep->keepers[code]);
        upkeep->keepers[code] = NULL;
    }
}
