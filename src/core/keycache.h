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

/* Whose key it is, and for how long it is kept. */
struct key_cache_item {
    struct uuid object;
    struct uuid root_key; /* that the blob is under */
    struct bytes wrapped; /* the blob; borrowed. An entry made from another one is no hit */
    unsigned seconds;
};

/* At most `entries` keys. */
enum status key_cache_open(unsigned entries, struct key_cache **ret_cache) MUST_USE;
void key_cache_close(struct key_cache *cache); /* NULL is fine */

/* How often keys under this root key were wiped. Read before a key is asked for, and given to
 * key_cache_put() with what came: then nothing gets in that was opened before the wiping. */
uint64_t key_cache_epoch(const struct key_cache *cache, const struct uuid *root_key);

/*
 * Finds the key of an object whose wrapped blob is `wrapped`. False if it is not there or too old.
 * The caller frees *ret_key.
 */
bool key_cache_get(struct key_cache *cache, const struct uuid *object, struct bytes wrapped,
                   int64_t now, struct secret *ret_key);

/* Keeps a copy; the time begins anew for one that is there. Quietly does nothing when keys were
 * wiped since `epoch`, or when there is no memory for it. */
void key_cache_put(struct key_cache *cache, const struct key_cache_item *item, uint64_t epoch,
                   int64_t now, const struct secret *key);

/* How old the entry of this blob is, in thousandths of its time; -1: not there, or too old. */
int key_cache_age(struct key_cache *cache, const struct uuid *object, struct bytes wrapped,
                  int64_t now);

/* The same key stands in another blob now: an entry of the former one is `after`'s, for what is
 * left of its time. */
void key_cache_rewrapped(struct key_cache *cache, struct bytes before,
                         const struct key_cache_item *after);

/* Wipes all keys under a root key (and perhaps others). */
void key_cache_forget(struct key_cache *cache, const struct uuid *root_key);

/* Wipes what is too old. Takes locks for a few entries at a time. */
void key_cache_sweep(struct key_cache *cache, int64_t now);

/* Wipes everything. */
void key_cache_clear(struct key_cache *cache);

#endif
