/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside src/kms/: root keys as they stand in the database, so that a wrap or an unwrap reads
 * nothing. All of it is dropped when any root key, version, policy or alias changes: that is rare,
 * and filling it again is cheap. Any thread.
 */
#ifndef KMIPD_KMS_CACHE_H
#define KMIPD_KMS_CACHE_H

#include "kms/keys.h"

struct kms_cache;

struct kms_cache *kms_cache_new(void);        /* NULL without memory */
void kms_cache_free(struct kms_cache *cache); /* NULL is fine */

/* Around a commit that changes what is kept: nothing read before its end is put in after. */
void kms_cache_change_begin(struct kms_cache *cache);
void kms_cache_change_end(struct kms_cache *cache);

/* By the text that it was put under. */
bool kms_cache_get(struct kms_cache *cache, const char *text, struct kms_key *ret_key);

/* To be taken before a row is read that is to be put. */
uint64_t kms_cache_mark(struct kms_cache *cache);
/* Does nothing if something has changed since the mark. */
void kms_cache_put(struct kms_cache *cache, uint64_t mark, const char *text,
                   const struct kms_key *key);

#endif
