/* SPDX-License-Identifier: Apache-2.0 */
#include "store/cache.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>

#define SHARDS_MAX        256
#define SHARD_BYTES_MIN   65536
#define FIRST_BUCKETS     64
#define HASH_MULTIPLIER_1 0x9E3779B97F4A7C15u
#define HASH_MULTIPLIER_2 0xC2B2AE3D27D4EB4Fu

struct entry {
    struct entry *next;  /* in the bucket */
    struct entry *newer; /* by use */
    struct entry *older;
    uint64_t hash;
    struct stored_object *object;
};

struct shard {
    alignas(64) pthread_mutex_t lock;
    uint64_t generation; /* of tickets: one more with each write */
    unsigned writing;    /* commits under way: nothing is put in */
    struct entry **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
    size_t bytes;
    size_t bytes_max;
    struct entry *newest;
    struct entry *oldest;
};

struct store_cache {
    unsigned shard_bits;
    size_t shard_count;
    struct shard shards[];
};

/* Identifiers are random enough in themselves, but nothing holds tests and imports to that. */
static uint64_t hash_id(const struct uuid *id)
{
    uint64_t high;
    uint64_t low;
    memcpy(&high, id->bytes, sizeof(high));
    memcpy(&low, id->bytes + sizeof(high), sizeof(low));
    uint64_t hash = (high * HASH_MULTIPLIER_1) ^ low;
    hash ^= hash >> 32;
    hash *= HASH_MULTIPLIER_2;
    return hash ^ (hash >> 29);
}

static struct shard *shard_of(struct store_cache *cache, uint64_t hash)
{
    return &cache->shards[hash & (cache->shard_count - 1)];
}

static size_t bucket_of(const struct store_cache *cache, const struct shard *shard, uint64_t hash)
{
    return (hash >> cache->shard_bits) & (shard->bucket_count - 1);
}

static void lock(struct shard *shard)
{
    (void)pthread_mutex_lock(&shard->lock); /* a default mutex, unlocked by its owner: no failure */
}

static void unlock(struct shard *shard)
{
    (void)pthread_mutex_unlock(&shard->lock);
}

/* ---- Order of use ---- */

static void unlink_use(struct shard *shard, struct entry *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &shard->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &shard->oldest) = entry->newer;
}

static void link_newest(struct shard *shard, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = shard->newest;
    *(shard->newest != NULL ? &shard->newest->newer : &shard->oldest) = entry;
    shard->newest = entry;
}

/* ---- Entries of one shard, which is locked ---- */

static struct entry **find(struct store_cache *cache, struct shard *shard, uint64_t hash,
                           const struct uuid *id)
{
    struct entry **at = &shard->buckets[bucket_of(cache, shard, hash)];
    while (*at != NULL && !uuid_equal(&(*at)->object->row.id, id))
        at = &(*at)->next;
    return at;
}

static size_t entry_bytes(const struct stored_object *object)
{
    return sizeof(struct entry) + sizeof(struct entry *) + stored_object_size(object);
}

static void drop(struct shard *shard, struct entry **at)
{
    struct entry *entry = *at;
    *at = entry->next;
    unlink_use(shard, entry);
    shard->count--;
    shard->bytes -= entry_bytes(entry->object);
    stored_object_release(entry->object);
    free(entry);
}

static void drop_id(struct store_cache *cache, struct shard *shard, uint64_t hash,
                    const struct uuid *id)
{
    struct entry **at = find(cache, shard, hash, id);
    if (*at != NULL)
        drop(shard, at);
}

static void drop_all(struct store_cache *cache, struct shard *shard)
{
    while (shard->oldest != NULL)
        drop_id(cache, shard, shard->oldest->hash, &shard->oldest->object->row.id);
}

static void grow(struct store_cache *cache, struct shard *shard)
{
    size_t old_count = shard->bucket_count;
    struct entry **old = shard->buckets;
    struct entry **buckets = calloc(old_count * 2, sizeof(struct entry *));
    if (buckets == NULL)
        return; /* longer chains, that is all */
    shard->buckets = buckets;
    shard->bucket_count = old_count * 2;
    for (size_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            struct entry *entry = old[i];
            old[i] = entry->next;
            struct entry **head = &buckets[bucket_of(cache, shard, entry->hash)];
            entry->next = *head;
            *head = entry;
        }
    }
    free(old);
}

/* Puts an object in, unless this version or a newer is there. One that is too large stays out. */
static void put(struct store_cache *cache, struct shard *shard, uint64_t hash,
                struct stored_object *object)
{
    struct entry **at = find(cache, shard, hash, &object->row.id);
    if (*at != NULL && (*at)->object->row.version >= object->row.version)
        return;
    if (*at != NULL)
        drop(shard, at);
    size_t bytes = entry_bytes(object);
    struct entry *entry = bytes <= shard->bytes_max ? malloc(sizeof(*entry)) : NULL;
    if (entry == NULL)
        return;
    while (shard->bytes > shard->bytes_max - bytes)
        drop_id(cache, shard, shard->oldest->hash, &shard->oldest->object->row.id);
    if (shard->count >= shard->bucket_count)
        grow(cache, shard);
    struct entry **head = &shard->buckets[bucket_of(cache, shard, hash)];
    stored_object_hold(object);
    *entry = (struct entry){.next = *head, .hash = hash, .object = object};
    *head = entry;
    link_newest(shard, entry);
    shard->count++;
    shard->bytes += bytes;
}

/* ---- For readers ---- */

struct stored_object *store_cache_get(struct store_cache *cache, int64_t adapter,
                                      const struct uuid *id, uint64_t *ret_ticket)
{
    if (cache == NULL)
        return NULL;
    uint64_t hash = hash_id(id);
    struct shard *shard = shard_of(cache, hash);
    struct stored_object *object = NULL;
    lock(shard);
    struct entry *entry = *find(cache, shard, hash, id);
    if (entry != NULL && entry->object->row.adapter == adapter) {
        object = entry->object;
        stored_object_hold(object);
        if (entry != shard->newest) {
            unlink_use(shard, entry);
            link_newest(shard, entry);
        }
    } else {
        *ret_ticket = shard->generation;
    }
    unlock(shard);
    return object;
}

void store_cache_offer(struct store_cache *cache, struct stored_object *object, uint64_t ticket)
{
    if (cache == NULL)
        return;
    uint64_t hash = hash_id(&object->row.id);
    struct shard *shard = shard_of(cache, hash);
    lock(shard);
    if (shard->writing == 0 && shard->generation == ticket)
        put(cache, shard, hash, object);
    unlock(shard);
}

/* ---- For the committer ---- */

void store_cache_write_begin(struct store_cache *cache, const struct uuid *id)
{
    if (cache == NULL)
        return;
    uint64_t hash = hash_id(id);
    struct shard *shard = shard_of(cache, hash);
    lock(shard);
    shard->writing++;
    shard->generation++;
    drop_id(cache, shard, hash, id);
    unlock(shard);
}

void store_cache_write_end(struct store_cache *cache, const struct uuid *id,
                           struct stored_object *object)
{
    if (cache == NULL)
        return;
    uint64_t hash = hash_id(id);
    struct shard *shard = shard_of(cache, hash);
    lock(shard);
    shard->writing--;
    shard->generation++;
    if (object != NULL && shard->writing == 0)
        put(cache, shard, hash, object);
    unlock(shard);
}

void store_cache_add(struct store_cache *cache, struct stored_object *object)
{
    if (cache == NULL)
        return;
    uint64_t hash = hash_id(&object->row.id);
    struct shard *shard = shard_of(cache, hash);
    lock(shard);
    if (shard->writing == 0)
        put(cache, shard, hash, object);
    unlock(shard);
}

void store_cache_clear_begin(struct store_cache *cache)
{
    for (size_t i = 0; cache != NULL && i < cache->shard_count; i++) {
        struct shard *shard = &cache->shards[i];
        lock(shard);
        shard->writing++;
        shard->generation++;
        drop_all(cache, shard);
        unlock(shard);
    }
}

void store_cache_clear_end(struct store_cache *cache)
{
    for (size_t i = 0; cache != NULL && i < cache->shard_count; i++) {
        struct shard *shard = &cache->shards[i];
        lock(shard);
        shard->writing--;
        shard->generation++;
        unlock(shard);
    }
}

/* ---- Life ---- */

static bool shard_init(struct shard *shard, size_t bytes_max)
{
    *shard = (struct shard){.bytes_max = bytes_max, .bucket_count = FIRST_BUCKETS};
    shard->buckets = calloc(FIRST_BUCKETS, sizeof(struct entry *));
    if (shard->buckets == NULL)
        return false;
    if (pthread_mutex_init(&shard->lock, NULL) == 0)
        return true;
    free(shard->buckets);
    return false;
}

enum status store_cache_new(size_t bytes, struct store_cache **ret_cache)
{
    unsigned bits = 0;
    while ((1u << bits) < SHARDS_MAX && (bytes >> (bits + 1)) >= SHARD_BYTES_MIN)
        bits++;
    size_t count = (size_t)1 << bits;
    size_t size = sizeof(struct store_cache) + count * sizeof(struct shard);
    struct store_cache *cache = aligned_alloc(alignof(struct store_cache), size);
    if (cache == NULL)
        return STATUS_NO_MEMORY;
    cache->shard_bits = bits;
    cache->shard_count = 0;
    while (cache->shard_count < count) {
        if (!shard_init(&cache->shards[cache->shard_count], bytes / count)) {
            store_cache_free(cache);
            return STATUS_NO_MEMORY;
        }
        cache->shard_count++;
    }
    *ret_cache = cache;
    return STATUS_OK;
}

void store_cache_free(struct store_cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i < cache->shard_count; i++) {
        struct shard *shard = &cache->shards[i];
        for (struct entry *entry = shard->newest; entry != NULL;) {
            struct entry *older = entry->older;
            stored_object_release(entry->object);
            free(entry);
            entry = older;
        }
        free(shard->buckets);
        (void)pthread_mutex_destroy(&shard->lock);
    }
    free(cache);
}

size_t store_cache_bytes(struct store_cache *cache)
{
    size_t bytes = 0;
    for (size_t i = 0; cache != NULL && i < cache->shard_count; i++) {
        lock(&cache->shards[i]);
        bytes += cache->shards[i].bytes;
        unlock(&cache->shards[i]);
    }
    return bytes;
}
