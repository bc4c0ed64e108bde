/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object cache: bounded in bytes, sharded, and coherent, because the committer is the only
 * writer and tells it of each change. What it gives is never older than what the back end shows:
 *
 *  - Before a commit that changes an object, store_cache_write_begin() takes it out. Until
 *    store_cache_write_end() nothing is put into its shard, so that reads go to the back end and see
 *    the commit the moment it stands. Of several versions in one commit only the last can get in.
 *  - A reader that missed offers what it then read, with the ticket of its miss. The ticket is
 *    void as soon as a write touched the shard: what was read may be old.
 *
 * That there is no such object is never remembered. Any thread. A NULL cache keeps nothing.
 */
#ifndef KMIPD_STORE_CACHE_H
#define KMIPD_STORE_CACHE_H

#include "store/object.h"

struct store_cache;

/* A cache of at most `bytes` bytes. NO_MEMORY. */
enum status store_cache_new(size_t bytes, struct store_cache **ret_cache) MUST_USE;
void store_cache_free(struct store_cache *cache); /* NULL is fine */

/* The object, held for the caller; or NULL and a ticket for store_cache_offer(). Another adapter's
 * object is a miss like any other, so that it takes the time of one. */
struct stored_object *store_cache_get(struct store_cache *cache, int64_t adapter,
                                      const struct uuid *id, uint64_t *ret_ticket);
/* Keeps what a reader has read, if the ticket still stands. */
void store_cache_offer(struct store_cache *cache, struct stored_object *object, uint64_t ticket);

/* The committer's, around the commit of an update. `object`: as it stands now, or NULL when the
 * commit failed. Several of one commit end in the order of their versions. */
void store_cache_write_begin(struct store_cache *cache, const struct uuid *id);
void store_cache_write_end(struct store_cache *cache, const struct uuid *id,
                           struct stored_object *object);
/* The committer's, after the commit of an insertion: nobody can have read an older version. */
void store_cache_add(struct store_cache *cache, struct stored_object *object);

/* The committer's, around the commit of a deletion: empties the cache and keeps it so until the
 * end. */
void store_cache_clear_begin(struct store_cache *cache);
void store_cache_clear_end(struct store_cache *cache);

/* Bytes in use, for tests and status. */
size_t store_cache_bytes(struct store_cache *cache);

#endif
