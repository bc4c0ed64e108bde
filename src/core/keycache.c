/* SPDX-License-Identifier: Apache-2.0 */
#include "core/keycache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "crypto/shield.h"

/* A set-associative cache: an object's key may stand in one of the four places of four sets, a
 * fuller one before the next, and the oldest of these makes room. With one set alone 400 of 100,000
 * keys would have no place in a cache for 400,000, and be fetched again and again; with four, none.
 * A key is nearly always in its first. No lists to keep in order, and one lock for a group of sets,
 * which all four are in. */
#define WAYS    4
#define CHOICES 4
#define LOCKS   64
#define EPOCHS  64
#define KEY_MAX 4096 /* longer secrets are not kept */
#define MARK    16   /* the end of a wrapped blob is its tag: no two keys share it */

struct entry {
    struct uuid object;
    uint8_t mark[MARK];
    int64_t made;      /* milliseconds; 0: free */
    uint8_t *sealed;   /* size + SHIELD_OVERHEAD bytes */
    uint64_t root_key; /* a part of its identifier */
    uint32_t size;
    uint32_t seconds;
};
_Static_assert(sizeof(struct entry) == 64, "one cache line");

struct key_cache {
    size_t sets;   /* a multiple of the groups */
    size_t groups; /* that have a lock each: a set is in the group of its number, modulo these */
    struct entry *entries;
    pthread_mutex_t locks[LOCKS];
    _Atomic uint64_t epochs[EPOCHS]; /* by root key; two of them may share one */
};

enum status key_cache_open(unsigned entries, struct key_cache **ret_cache)
{
    struct key_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return STATUS_NO_MEMORY;
    cache->sets = ((size_t)entries + WAYS - 1) / WAYS;
    cache->groups = cache->sets < LOCKS ? cache->sets : LOCKS;
    if (cache->sets > LOCKS)
        cache->sets -= cache->sets % LOCKS;
    cache->entries = calloc(cache->sets * WAYS + 1, sizeof(*cache->entries));
    if (cache->entries == NULL) {
        free(cache);
        return STATUS_NO_MEMORY;
    }
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_init(&cache->locks[i], NULL);
    *ret_cache = cache;
    return STATUS_OK;
}

static void drop(struct entry *entry)
{
    if (entry->sealed != NULL)
        explicit_bzero(entry->sealed, entry->size + SHIELD_OVERHEAD);
    free(entry->sealed);
    *entry = (struct entry){0};
}

void key_cache_close(struct key_cache *cache)
{
    if (cache == NULL)
        return;
    key_cache_clear(cache);
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&cache->locks[i]);
    free(cache->entries);
    free(cache);
}

/* The random end of a version 4 or 7 UUID spreads well as it is. */
static uint64_t random_part(const struct uuid *uuid)
{
    uint64_t random;
    memcpy(&random, uuid->bytes + 8, sizeof(random));
    return random;
}

static size_t set_of(const struct key_cache *cache, const struct uuid *object)
{
    return random_part(object) % cache->sets;
}

/* Another set of an object, in the same group; choice: 1 and up. */
static size_t other_set(const struct key_cache *cache, const struct uuid *object, size_t set,
                        unsigned choice)
{
    uint64_t mixed = (random_part(object) + choice) * UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    size_t sets_in_group = cache->sets / cache->groups;
    return set % cache->groups + (size_t)(mixed >> 32) % sets_in_group * cache->groups;
}

static pthread_mutex_t *lock_of(struct key_cache *cache, size_t set)
{
    return &cache->locks[set % cache->groups];
}

static const _Atomic uint64_t *epoch_of(const struct key_cache *cache, const struct uuid *root_key)
{
    return &cache->epochs[random_part(root_key) % EPOCHS];
}

uint64_t key_cache_epoch(const struct key_cache *cache, const struct uuid *root_key)
{
    return atomic_load(epoch_of(cache, root_key));
}

static bool mark_of(struct bytes wrapped, const uint8_t **ret_mark)
{
    if (wrapped.size < MARK)
        return false;
    *ret_mark = wrapped.data + wrapped.size - MARK;
    return true;
}

static bool is_too_old(const struct entry *entry, int64_t now)
{
    return now - entry->made >= (int64_t)entry->seconds * 1000;
}

static bool is_hit(const struct entry *entry, const struct uuid *object, const uint8_t *mark,
                   int64_t now)
{
    return entry->made != 0 && uuid_equal(&entry->object, object) &&
           memcmp(entry->mark, mark, MARK) == 0 && !is_too_old(entry, now);
}

/* Under the lock of `set`, the first one of the object. */
static struct entry *find(struct key_cache *cache, size_t set, const struct uuid *object,
                          const uint8_t *mark, int64_t now)
{
    for (unsigned choice = 1; choice <= CHOICES; choice++) {
        for (size_t i = set * WAYS; i < set * WAYS + WAYS; i++)
            if (is_hit(&cache->entries[i], object, mark, now))
                return &cache->entries[i];
        set = other_set(cache, object, set, choice);
    }
    return NULL;
}

bool key_cache_get(struct key_cache *cache, const struct uuid *object, struct bytes wrapped,
                   int64_t now, struct secret *ret_key)
{
    const uint8_t *mark;
    if (cache->sets == 0 || !mark_of(wrapped, &mark))
        return false;
    size_t set = set_of(cache, object);
    bool found = false;
    pthread_mutex_lock(lock_of(cache, set));
    const struct entry *entry = find(cache, set, object, mark, now);
    if (entry != NULL) {
        struct bytes sealed = bytes_of(entry->sealed, entry->size + SHIELD_OVERHEAD);
        found = shield_open(uuid_bytes(object), sealed, ret_key) == STATUS_OK;
    }
    pthread_mutex_unlock(lock_of(cache, set));
    return found;
}

int key_cache_age(struct key_cache *cache, const struct uuid *object, struct bytes wrapped,
                  int64_t now)
{
    const uint8_t *mark;
    int age = -1;
    if (cache->sets == 0 || !mark_of(wrapped, &mark))
        return age;
    size_t set = set_of(cache, object);
    pthread_mutex_lock(lock_of(cache, set));
    const struct entry *entry = find(cache, set, object, mark, now);
    if (entry != NULL)
        age = (int)((now - entry->made) / entry->seconds);
    pthread_mutex_unlock(lock_of(cache, set));
    return age;
}

/* The place of this object, or the first free one or else the oldest one of its sets. */
static struct entry *place_for(struct key_cache *cache, size_t set, const struct uuid *object)
{
    struct entry *best = &cache->entries[set * WAYS];
    for (unsigned choice = 1; choice <= CHOICES; choice++) {
        for (size_t i = set * WAYS; i < set * WAYS + WAYS; i++) {
            struct entry *entry = &cache->entries[i];
            if (uuid_equal(&entry->object, object))
                return entry;
            if (entry->made < best->made)
                best = entry;
        }
        set = other_set(cache, object, set, choice);
    }
    return best;
}

/* Gives `sealed` to the cache, unless keys were wiped meanwhile. Under the lock: whoever wipes
 * counts first and takes each lock after. */
static bool place(struct key_cache *cache, const struct key_cache_item *item, uint64_t epoch,
                  const struct entry *made)
{
    size_t set = set_of(cache, &item->object);
    pthread_mutex_lock(lock_of(cache, set));
    bool current = key_cache_epoch(cache, &item->root_key) == epoch;
    if (current) {
        struct entry *entry = place_for(cache, set, &item->object);
        drop(entry);
        *entry = *made;
    }
    pthread_mutex_unlock(lock_of(cache, set));
    return current;
}

void key_cache_put(struct key_cache *cache, const struct key_cache_item *item, uint64_t epoch,
                   int64_t now, const struct secret *key)
{
    const uint8_t *mark;
    if (cache->sets == 0 || item->seconds == 0 || key->size > KEY_MAX ||
        !mark_of(item->wrapped, &mark))
        return;
    struct entry made = {
        .object = item->object,
        .made = now,
        .sealed = malloc(key->size + SHIELD_OVERHEAD),
        .root_key = random_part(&item->root_key),
        .size = (uint32_t)key->size,
        .seconds = item->seconds,
    };
    if (made.sealed == NULL)
        return;
    memcpy(made.mark, mark, MARK);
    if (shield_seal(uuid_bytes(&item->object), secret_bytes(key), made.sealed) != STATUS_OK ||
        !place(cache, item, epoch, &made))
        free(made.sealed);
}

void key_cache_rewrapped(struct key_cache *cache, struct bytes before,
                         const struct key_cache_item *after)
{
    const uint8_t *old_mark;
    const uint8_t *new_mark;
    if (cache->sets == 0 || !mark_of(before, &old_mark) || !mark_of(after->wrapped, &new_mark))
        return;
    size_t set = set_of(cache, &after->object);
    pthread_mutex_lock(lock_of(cache, set));
    struct entry *entry = find(cache, set, &after->object, old_mark, 0);
    if (entry != NULL) {
        memcpy(entry->mark, new_mark, MARK);
        entry->root_key = random_part(&after->root_key);
        /* Never longer than it would have been kept. */
        if (after->seconds < entry->seconds)
            entry->seconds = after->seconds;
    }
    pthread_mutex_unlock(lock_of(cache, set));
}

/* Wipes the entries of which `is_bad` says so. */
static void wipe(struct key_cache *cache, bool (*is_bad)(const struct entry *entry, uint64_t what),
                 uint64_t what)
{
    for (size_t set = 0; set < cache->sets; set++) {
        pthread_mutex_lock(lock_of(cache, set));
        for (size_t i = set * WAYS; i < set * WAYS + WAYS; i++)
            if (cache->entries[i].made != 0 && is_bad(&cache->entries[i], what))
                drop(&cache->entries[i]);
        pthread_mutex_unlock(lock_of(cache, set));
    }
}

static bool is_any(const struct entry *entry, uint64_t unused)
{
    (void)entry;
    (void)unused;
    return true;
}

static bool is_under(const struct entry *entry, uint64_t root_key)
{
    return entry->root_key == root_key;
}

static bool is_over(const struct entry *entry, uint64_t now)
{
    return is_too_old(entry, (int64_t)now);
}

void key_cache_forget(struct key_cache *cache, const struct uuid *root_key)
{
    atomic_fetch_add(&cache->epochs[random_part(root_key) % EPOCHS], 1);
    wipe(cache, is_under, random_part(root_key));
}

void key_cache_sweep(struct key_cache *cache, int64_t now)
{
    wipe(cache, is_over, (uint64_t)now);
}

void key_cache_clear(struct key_cache *cache)
{
    for (size_t i = 0; i < EPOCHS; i++)
        atomic_fetch_add(&cache->epochs[i], 1);
    wipe(cache, is_any, 0);
}
