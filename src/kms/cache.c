/* SPDX-License-Identifier: Apache-2.0 */
#include "kms/cache.h"

#include <pthread.h>
#include <stdlib.h>

struct kms_cache {
    pthread_mutex_t lock;
};

struct kms_cache *kms_cache_new(void)
{
    struct kms_cache *cache = calloc(1, sizeof(*cache));
    if (cache != NULL)
        (void)pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void kms_cache_free(struct kms_cache *cache)
{
    if (cache == NULL)
        return;
    (void)pthread_mutex_destroy(&cache->lock);
    free(cache);
}

void kms_cache_change_begin(struct kms_cache *cache)
{
}

void kms_cache_change_end(struct kms_cache *cache)
{
}
