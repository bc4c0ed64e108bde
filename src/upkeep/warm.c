/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that are to be held ready are fetched after a start, and again when half of their time has
 * passed: a walk through all objects four times in that time, in which core passes over what is
 * fresh. Behind what clients wait for, and with no more in flight than the policy says.
 */
#include "upkeep/inside.h"

#define WALKS_IN_TIME 4
#define JOBS_DEFAULT  32

static const struct upkeep_policy *policy_of(const struct upkeep *upkeep, uint32_t key_manager)
{
    const struct keymanager *keymanager =
        keymanagers_get(upkeep->keymanagers, (enum keymanager_code)key_manager);
    if (keymanager == NULL || keymanager->provider->immediate)
        return NULL;
    const struct upkeep_policy *policy = &upkeep->options.policies[key_manager];
    return policy->warm ? policy : NULL;
}

static void fetched(void *context, enum status status)
{
    struct upkeep *upkeep = context;
    (void)pthread_mutex_lock(&upkeep->lock);
    upkeep->warm.in_flight--;
    upkeep->warm.failed = upkeep->warm.failed || status == STATUS_KEY_MANAGER_UNAVAILABLE;
    upkeep->walking.wakes++;
    (void)pthread_cond_signal(&upkeep->walking.wake);
    (void)pthread_mutex_unlock(&upkeep->lock);
}

static void drop_page(struct warm *warm)
{
    while (warm->page_count > warm->page_next)
        stored_object_release(warm->page[--warm->page_count]);
    warm->page_count = 0;
    warm->page_next = 0;
}

static bool gather(void *context, struct stored_object *object)
{
    struct warm *warm = context;
    stored_object_hold(object);
    warm->page[warm->page_count++] = object;
    return true;
}

/* Goes to the next adapter whose keys are held ready; false behind the last. */
static bool next_adapter(struct upkeep *upkeep)
{
    struct warm *warm = &upkeep->warm;
    const struct adapter_row *next = NULL;
    for (size_t i = 0; i < upkeep->adapters.count; i++) {
        const struct adapter_row *row = &upkeep->adapters.rows[i];
        if (row->id > warm->adapter && (next == NULL || row->id < next->id) &&
            policy_of(upkeep, row->key_manager) != NULL)
            next = row;
    }
    if (next == NULL)
        return false;
    const struct upkeep_policy *policy = policy_of(upkeep, next->key_manager);
    warm->adapter = next->id;
    warm->adapter_uuid = next->uuid;
    warm->most = policy->jobs_max > 0 ? policy->jobs_max : JOBS_DEFAULT;
    if (policy->cache_time / WALKS_IN_TIME < warm->interval)
        warm->interval = policy->cache_time / WALKS_IN_TIME;
    warm->after = 0;
    warm->at_end = false;
    return true;
}

static enum status next_page(struct upkeep *upkeep)
{
    struct warm *warm = &upkeep->warm;
    drop_page(warm);
    const struct store_query query = {
        .adapter = warm->adapter, .after = warm->after, .limit = ARRAY_COUNT(warm->page)};
    enum status status = store_find(upkeep->walker, &query, gather, warm, &warm->after);
    warm->at_end = status != STATUS_OK || warm->after == 0;
    return status;
}

/* Fetches the next key. False when the walk is at its end, or better waits. */
static bool fetch_next(struct upkeep *upkeep)
{
    struct warm *warm = &upkeep->warm;
    while (warm->page_next == warm->page_count) {
        if (warm->at_end && !next_adapter(upkeep)) {
            warm->walking = false;
            return false;
        }
        if (next_page(upkeep) != STATUS_OK)
            return false; /* the rest of the adapter comes with the next walk */
    }
    struct stored_object *object = warm->page[warm->page_next++];
    (void)pthread_mutex_lock(&upkeep->lock);
    warm->in_flight++;
    (void)pthread_mutex_unlock(&upkeep->lock);
    enum status status =
        core_fetch_key(upkeep->core, &warm->adapter_uuid, object, fetched, upkeep);
    stored_object_release(object);
    (void)pthread_mutex_lock(&upkeep->lock);
    if (status != STATUS_PENDING)
        warm->in_flight--;
    warm->failed = warm->failed || status == STATUS_KEY_MANAGER_UNAVAILABLE;
    (void)pthread_mutex_unlock(&upkeep->lock);
    return true;
}

static bool has_room(struct upkeep *upkeep)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    bool room = upkeep->warm.in_flight < upkeep->warm.most && !upkeep->warm.failed;
    (void)pthread_mutex_unlock(&upkeep->lock);
    return room && !atomic_load(&upkeep->stopping);
}

/* A key manager that does not answer is left alone for a while, longer each time. */
static bool back_off(struct upkeep *upkeep, int64_t now)
{
    struct warm *warm = &upkeep->warm;
    (void)pthread_mutex_lock(&upkeep->lock);
    bool failed = warm->failed;
    warm->failed = false;
    (void)pthread_mutex_unlock(&upkeep->lock);
    if (!failed)
        return false;
    warm->incomplete = true;
    warm->back_off = warm->back_off == 0 ? upkeep->times.retry_first : warm->back_off * 2;
    if (warm->back_off > upkeep->times.retry_most)
        warm->back_off = upkeep->times.retry_most;
    warm->at = now + warm->back_off;
    return true;
}

static void begin_walk(struct warm *warm, int64_t now)
{
    warm->walking = true;
    warm->incomplete = false;
    warm->begun = now;
    warm->interval = UPKEEP_NEVER;
    warm->adapter = 0;
    warm->at_end = true; /* of no adapter */
    warm->most = 1;
}

/* Without an adapter whose keys are held ready: it is looked whether there is one. */
static void end_walk(struct upkeep *upkeep)
{
    struct warm *warm = &upkeep->warm;
    int64_t interval = warm->interval < 60000 ? warm->interval : 60000;
    if (!warm->incomplete) {
        warm->back_off = 0;
        interval = warm->interval != UPKEEP_NEVER ? warm->interval : interval;
    } else if (interval > warm->back_off) {
        interval = warm->back_off;
    }
    warm->at = warm->begun + (interval > upkeep->times.tick ? interval : upkeep->times.tick);
}

int64_t warm_step(struct upkeep *upkeep, int64_t now)
{
    struct warm *warm = &upkeep->warm;
    if (back_off(upkeep, now) || warm->at > now)
        return warm->at;
    if (!warm->walking)
        begin_walk(warm, now);
    while (warm->walking && has_room(upkeep))
        if (!fetch_next(upkeep))
            break;
    if (!warm->walking) {
        end_walk(upkeep);
        return warm->at;
    }
    return now + upkeep->times.tick;
}

void warm_end(struct upkeep *upkeep)
{
    (void)pthread_mutex_lock(&upkeep->lock);
    while (upkeep->warm.in_flight > 0)
        (void)pthread_cond_wait(&upkeep->walking.wake, &upkeep->lock);
    (void)pthread_mutex_unlock(&upkeep->lock);
    drop_page(&upkeep->warm);
}
