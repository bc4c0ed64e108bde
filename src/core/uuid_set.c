/* SPDX-License-Identifier: Apache-2.0 */
#include "core/uuid_set.h"

#include <stdlib.h>

void uuid_set_init(struct uuid_set *set)
{
    *set = (struct uuid_set){0};
    pthread_rwlock_init(&set->lock, NULL);
}

void uuid_set_free(struct uuid_set *set)
{
    pthread_rwlock_destroy(&set->lock);
    free(set->sorted);
    set->sorted = NULL;
}

/* The place of the first that is not smaller. Under the lock. */
static size_t place_of(const struct uuid_set *set, const struct uuid *uuid)
{
    size_t low = 0;
    size_t high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(set->sorted[middle].bytes, uuid->bytes, UUID_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool stands_at(const struct uuid_set *set, size_t place, const struct uuid *uuid)
{
    return place < set->count && uuid_equal(&set->sorted[place], uuid);
}

static bool make_room(struct uuid_set *set)
{
    if (set->count < set->capacity)
        return true;
    size_t capacity = set->capacity == 0 ? 16 : set->capacity * 2;
    struct uuid *grown = reallocarray(set->sorted, capacity, sizeof(*grown));
    if (grown == NULL)
        return false;
    set->sorted = grown;
    set->capacity = capacity;
    return true;
}

enum status uuid_set_add(struct uuid_set *set, const struct uuid *uuid)
{
    enum status status = STATUS_OK;
    pthread_rwlock_wrlock(&set->lock);
    size_t place = place_of(set, uuid);
    if (!stands_at(set, place, uuid)) {
        if (make_room(set)) {
            memmove(set->sorted + place + 1, set->sorted + place,
                    (set->count - place) * sizeof(*set->sorted));
            set->sorted[place] = *uuid;
            set->count++;
        } else {
            status = STATUS_NO_MEMORY;
        }
    }
    pthread_rwlock_unlock(&set->lock);
    return status;
}

void uuid_set_remove(struct uuid_set *set, const struct uuid *uuid)
{
    pthread_rwlock_wrlock(&set->lock);
    size_t place = place_of(set, uuid);
    if (stands_at(set, place, uuid)) {
        set->count--;
        memmove(set->sorted + place, set->sorted + place + 1,
                (set->count - place) * sizeof(*set->sorted));
    }
    pthread_rwlock_unlock(&set->lock);
}

bool uuid_set_has_locked(struct uuid_set *set, const struct uuid *uuid)
{
    pthread_rwlock_rdlock(&set->lock);
    bool found = stands_at(set, place_of(set, uuid), uuid);
    pthread_rwlock_unlock(&set->lock);
    return found;
}
