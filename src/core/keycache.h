/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unwrapped key material of the last objects served, so that a Get need not go to the key manager:
 * bounded in count and time, and never in the clear: each entry is sealed under an ephemeral key of
 * this process (crypto/shield.h). Any thread.
 */
#ifndef KMIPD_CORE_KEYCACHE_H
#define KMIPD_CORE_KEYCACHE_H

#include "base/secret.h"
#include "base/uuid.h"

struct key_cache;

/* At most `entries` keys, each for at most `seconds`. */
enum status key_cache_open(unsigned entries, unsigned seconds,
                           struct key_cache **ret_cache) MUST_USE;
void key_cache_close(struct key_cache *cache); /* NULL is fine */

/*
 * Finds the key of an object whose wrapped blob is `wrapped` (an entry made from another blob is
 * no hit). False if it is not there or too old. The caller frees *ret_key.
 */
bool key_cache_get(struct key_cache *cache, const struct uuid *object, struct bytes wrapped,
                   int64_t now, struct secret *ret_key);

/* Keeps a copy. Quietly does nothing when there is no memory for it. */
void key_cache_put(struct key_cache *cache, const struct uuid *object, struct bytes wrapped,
                   int64_t now, const struct secret *key);

/* Wipes everything. */
void key_cache_clear(struct key_cache *cache);

#endif
