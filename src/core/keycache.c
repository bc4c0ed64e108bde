/* SPDX-License-Identifier: Apache-2.0 */
#include "core/keycache.h"

#include <pthread.h>
#include <stdlib.h>

#include "crypto/shield.h"

/* A set-associative cache: an object's key may stand in one of four places, and the oldest of
 * these makes room. No lists to keep in order, and one lock for a group of sets. */
#define WAYS    4
#define LOCKS   64
#define KEY_MAX 4096 /* longer secrets are not kept */
#define MARK    16   /* the end of a wrapped blob is its tag: no two blobs share it */

struct entry {
    struct uuid object;
    uint8_t mark[MARK];
    int64_t made; /* milliseconds; 0: free */
    uint32_t size;
    uint8_t *sealed; /* size + SHIELD_OVERHEAD bytes */
};

struct key_cache {
    size_t sets;
    int64_t lifetime;
    struct entry *entries;
    pthread_mutex_t locks[LOCKS];
};

enum status key_cache_open(unsigned entries, unsigned seconds, struct key_cache **ret_cache)
{
    struct key_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return STATUS_NO_MEMORY;
    cache->sets = (entries + WAYS - 1) / WAYS;
    cache->lifetime = (int64_t)seconds * 1000;
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

/* The random end of a version 7 UUID spreads well as it is. */
static size_t set_of(const struct key_cache *cache, const struct uuid *object)
{
    uint64_t random;
    memcpy(&random, object->bytes + 8, sizeof(random));
    return random % cache->sets;
}

static bool mark_of(struct bytes wrapped, const uint8_t **ret_mark)
{
    if (wrapped.size < MARK)
        return false;
    *ret_mark = wrapped.data + wrapped.size - MARK;
    return true;
}

static bool is_hit(const struct key_cache *cache, const struct entry *entry,
                   const struct uuid *object, const uint8_t *mark, int64_t now)
{
    return entry->made != 0 && uuid_equal(&entry->object, object) &&
           memcmp(entry->mark, mark, MARK) == 0 && now - entry->made < cache->lifetime;
}

bool key_cache_get(struct key_cache *cache, const struct uuid *object, struct bytes wrapped,
                   int64_t now, struct secret *ret_key)
{
    const uint8_t *mark;
    if (cache->sets == 0 || !mark_of(wrapped, &mark))
        return false;
    size_t set = set_of(cache, object);
    bool found = false;
    pthread_mutex_lock(&cache->locks[set % LOCKS]);
    for (size_t i = set * WAYS; i < set * WAYS + WAYS && !found; i++) {
        const struct entry *entry = &cache->entries[i];
        if (!is_hit(cache, entry, object, mark, now))
            continue;
        struct bytes sealed = bytes_of(entry->sealed, entry->size + SHIELD_OVERHEAD);
        found = shield_open(uuid_bytes(object), sealed, ret_key) == STATUS_OK;
    }
    pthread_mutex_unlock(&cache->locks[set % LOCKS]);
    return found;
}

/* The place of this object, or the oldest one of its set. */
static struct entry *place_for(struct key_cache *cache, size_t set, const struct uuid *object)
{
    struct entry *best = &cache->entries[set * WAYS];
    for (size_t i = set * WAYS; i < set * WAYS + WAYS; i++) {
        struct entry *entry = &cache->entries[i];
        if (uuid_equal(&entry->object, object))
            return entry;
        if (entry->made < best->made)
            best = entry;
    }
    return best;
}

void key_cache_put(struct key_cache *cache, const struct uuid *object, struct bytes wrapped,
                   int64_t now, const struct secret *key)
{
    const uint8_t *mark;
    if (cache->sets == 0 || key->size > KEY_MAX || !mark_of(wrapped, &mark))
        return;
    uint8_t *sealed = malloc(key->size + SHIELD_OVERHEAD);
    if (sealed == NULL)
        return;
    if (shield_seal(uuid_bytes(object), secret_bytes(key), sealed) != STATUS_OK) {
        free(sealed);
        return;
    }
    size_t set = set_of(cache, object);
    pthread_mutex_lock(&cache->locks[set % LOCKS]);
    struct entry *entry = place_for(cache, set, object);
    drop(entry);
    *entry = (struct entry){
        .object = *object, .made = now, .size = (uint32_t)key->size, .sealed = sealed};
    memcpy(entry->mark, mark, MARK);
    pthread_mutex_unlock(&cache->locks[set % LOCKS]);
}

void key_cache_clear(struct key_cache *cache)
{
    for (size_t set = 0; set < cache->sets; set++) {
        pthread_mutex_lock(&cache->locks[set % LOCKS]);
        for (size_t i = set * WAYS; i < set * WAYS + WAYS; i++)
            drop(&cache->entries[i]);
        pthread_mutex_unlock(&cache->locks[set % LOCKS]);
    }
}
