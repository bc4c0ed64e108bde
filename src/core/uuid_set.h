/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of UUIDs that is asked far more often than changed, and mostly empty: asking an empty one
 * takes no lock. Any thread.
 */
#ifndef KMIPD_CORE_UUID_SET_H
#define KMIPD_CORE_UUID_SET_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/uuid.h"

struct uuid_set {
    _Atomic size_t count;
    pthread_rwlock_t lock;
    struct uuid *sorted; /* ascending */
    size_t capacity;
};

void uuid_set_init(struct uuid_set *set);
void uuid_set_free(struct uuid_set *set);

/* Fine when it is in the set already. NO_MEMORY. */
enum status uuid_set_add(struct uuid_set *set, const struct uuid *uuid) MUST_USE;

/* Fine when it is not in the set. */
void uuid_set_remove(struct uuid_set *set, const struct uuid *uuid);

bool uuid_set_has_locked(struct uuid_set *set, const struct uuid *uuid);

static inline bool uuid_set_is_empty(struct uuid_set *set)
{
    return atomic_load_explicit(&set->count, memory_order_acquire) == 0;
}

static inline bool uuid_set_has(struct uuid_set *set, const struct uuid *uuid)
{
    return !uuid_set_is_empty(set) && uuid_set_has_locked(set, uuid);
}

#endif
