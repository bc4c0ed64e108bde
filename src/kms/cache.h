/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside src/kms/: root keys with their versions as they stand in the database, so that a wrap or
 * an unwrap reads nothing. All of it is dropped when any root key, version or alias changes: that
 * is rare, and filling it again is cheap. Any thread.
 */
#ifndef KMIPD_KMS_CACHE_H
#define KMIPD_KMS_CACHE_H

#include "kms/kms.h"

struct kms_cache;

struct kms_cache *kms_cache_new(void);        /* NULL without memory */
void kms_cache_free(struct kms_cache *cache); /* NULL is fine */

/* Around a commit that changes what is kept: nothing is put in between. */
void kms_cache_change_begin(struct kms_cache *cache);
void kms_cache_change_end(struct kms_cache *cache);

#endif
