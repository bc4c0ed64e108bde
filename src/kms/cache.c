/* SPDX-License-Identifier: Apache-2.0 */
#include "kms/cache.h"

#include <pthread.h>
#include <stdlib.h>

#define PLACES   512 /* a power of two; a root key has one for each text that it was asked for by */
#define TEXT_MAX KMS_ALIAS_MAX

struct place {
    char text[TEXT_MAX + 1]; /* empty: free */
    struct kms_key *key;
};

struct kms_cache {
    pthread_rwlock_t lock; /* guards all below */
    uint64_t changes;      /* odd: one is under way */
    struct place places[PLACES];
};

struct kms_cache *kms_cache_new(void)
{
    struct kms_cache *cache = calloc(1, sizeof(*cache));
    if (cache != NULL)
        (void)pthread_rwlock_init(&cache->lock, NULL);
    return cache;
}

static void clear(struct kms_cache *cache)
{
    for (size_t i = 0; i < PLACES; i++) {
        free(cache->places[i].key);
        cache->places[i] = (struct place){0};
    }
}

void kms_cache_free(struct kms_cache *cache)
{
    if (cache == NULL)
        return;
    clear(cache);
    (void)pthread_rwlock_destroy(&cache->lock);
    free(cache);
}

void kms_cache_change_begin(struct kms_cache *cache)
{
    (void)pthread_rwlock_wrlock(&cache->lock);
    cache->changes++;
    clear(cache);
    (void)pthread_rwlock_unlock(&cache->lock);
}

void kms_cache_change_end(struct kms_cache *cache)
{
    (void)pthread_rwlock_wrlock(&cache->lock);
    cache->changes++;
    (void)pthread_rwlock_unlock(&cache->lock);
}

/* FNV-1a. Who may choose texts can only make entries displace each other. */
static size_t place_of(const char *text)
{
    uint64_t hash = 0xCBF29CE484222325;
    for (; *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001B3;
    return (size_t)(hash >> 32) % PLACES;
}

bool kms_cache_get(struct kms_cache *cache, const char *text, struct kms_key *ret_key)
{
    const struct place *place = &cache->places[place_of(text)];
    (void)pthread_rwlock_rdlock(&cache->lock);
    bool found = place->key != NULL && strcmp(place->text, text) == 0;
    if (found)
        *ret_key = *place->key;
    (void)pthread_rwlock_unlock(&cache->lock);
    return found;
}

uint64_t kms_cache_mark(struct kms_cache *cache)
{
    (void)pthread_rwlock_rdlock(&cache->lock);
    uint64_t mark = cache->changes;
    (void)pthread_rwlock_unlock(&cache->lock);
    return mark;
}

void kms_cache_put(struct kms_cache *cache, uint64_t mark, const char *text,
                   const struct kms_key *key)
{
    size_t size = strlen(text) + 1;
    struct kms_key *copy = size <= sizeof(cache->places[0].text) ? malloc(sizeof(*copy)) : NULL;
    if (copy == NULL)
        return;
    *copy = *key;
    struct place *place = &cache->places[place_of(text)];
    (void)pthread_rwlock_wrlock(&cache->lock);
    if (mark == cache->changes && mark % 2 == 0) {
        struct kms_key *former = place->key;
        memcpy(place->text, text, size);
        place->key = copy;
        copy = former;
    }
    (void)pthread_rwlock_unlock(&cache->lock);
    free(copy);
}
