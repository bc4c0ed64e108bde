/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shielding: plaintext keys that a process keeps for a while (the cache of unwrapped keys) stand in
 * its memory sealed under a key that lives and dies with the process, as ssh-agent shields its
 * keys. A piece of memory that leaks then gives away nothing, unless it is the 32 bytes of the
 * secret heap where the process key stands.
 *
 * AES-256-GCM with a counted nonce: 2^48 sealings are allowed in a process's life, a million a
 * second for nine years; then it refuses. No nonce is ever used twice, since the key is never used
 * by another process. ssh-agent derives its key from 16 KiB at each use, so that a leak must get
 * all of them right; that takes tens of microseconds, and here half of one is allowed.
 *
 * All functions may be called from any thread. A child made by fork() without exec must not seal:
 * it would count from the same place; it is refused.
 */
#ifndef KMIPD_CRYPTO_SHIELD_H
#define KMIPD_CRYPTO_SHIELD_H

#include "base/secret.h"

#define SHIELD_OVERHEAD 24 /* counter (8), tag (16) */

/* Makes the process key; after secret_heap_init(), before threads start. Does nothing the second
 * time. STATUS_NO_MEMORY, STATUS_CRYPTO_FAILED. */
enum status shield_init(void) MUST_USE;

/* Wipes the process key: nothing sealed before opens after. For the end of a process, and for
 * tests; no other thread may be using the shield. */
void shield_close(void);

/*
 * Writes plaintext.size + SHIELD_OVERHEAD bytes. `context` says what the plaintext belongs to (an
 * object's identifier): opening needs the same. STATUS_CRYPTO_FAILED also without shield_init().
 */
enum status shield_seal(struct bytes context, struct bytes plaintext, uint8_t *ret_sealed) MUST_USE;

/* Opens into a new secret. STATUS_CRYPTO_FAILED: changed, or another context; STATUS_NO_MEMORY. */
enum status shield_open(struct bytes context, struct bytes sealed,
                        struct secret *ret_plaintext) MUST_USE;

/* Opens into the caller's locked memory of sealed.size - SHIELD_OVERHEAD bytes, which is wiped
 * after a failure. Saves the allocation, which is a third of shield_open()'s time. */
enum status shield_open_into(struct bytes context, struct bytes sealed,
                             uint8_t *ret_plaintext) MUST_USE;

#endif
