/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Password hashes for credentials of adapters: `$scrypt$ln=15,r=8,p=1$salt$hash` (the PHC text
 * form: base64 without padding, 16 bytes of salt, 32 of hash; 32 MiB and some 60 ms each).
 */
#ifndef KMIPD_CRYPTO_PASSWORD_H
#define KMIPD_CRYPTO_PASSWORD_H

#include "base/bytes.h"
#include "base/status.h"

#define PASSWORD_HASH_MAX 128 /* with the NUL */

/* A hash under a new random salt. STATUS_CRYPTO_FAILED. Any thread. */
enum status password_hash(struct bytes password, char ret_hash[static PASSWORD_HASH_MAX]) MUST_USE;

/*
 * Whether `password` is the one that `hash` was made of, compared in constant time.
 * STATUS_NOT_AUTHENTICATED: it is not. STATUS_INVALID_ARGUMENT: `hash` is no such text, or costs
 * more than 64 MiB. With `hash` NULL (no such user) it takes the usual time and answers
 * STATUS_NOT_AUTHENTICATED, so that the time does not tell who exists. Any thread.
 */
enum status password_verify(struct bytes password, const char *hash) MUST_USE;

#endif
