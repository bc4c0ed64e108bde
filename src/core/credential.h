/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials in request headers (KMIP 1.4 §6.6). Checking one takes tens of milliseconds (scrypt),
 * and vCenter sends it with many requests on short connections: what was right once is remembered
 * by a digest under a random key of this process. Any thread.
 */
#ifndef KMIPD_CORE_CREDENTIAL_H
#define KMIPD_CORE_CREDENTIAL_H

#include "base/bytes.h"
#include "base/status.h"

struct credential_cache;

enum status credential_cache_open(struct credential_cache **ret_cache) MUST_USE;
void credential_cache_close(struct credential_cache *cache); /* NULL is fine */

/* Whether `password` is the one of `password_hash` (crypto/password.h). OK, NOT_AUTHENTICATED,
 * CRYPTO_FAILED; STORE_CORRUPT if that is no hash. */
enum status credential_check(struct credential_cache *cache, struct bytes password,
                             const char *password_hash) MUST_USE;

#endif
