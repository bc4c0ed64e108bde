/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XAES-256-GCM (C2SP, c2sp.org/XAES-256-GCM): AES-256-GCM under a key derived for each message
 * from a 256-bit key and the first half of a 192-bit nonce (NIST SP 800-108r1 KDF with CMAC). The
 * nonce is random: 2^80 messages under one key before a collision has a chance of 2^-32, so there
 * is no count to keep, none to lose in a restored backup, and none to share between endpoints.
 * The sealed form is nonce, ciphertext, tag. It does not commit to its key: whoever may choose
 * keys needs a check of their own (keymanager/sealed_format.h has one).
 */
#ifndef KMIPD_CRYPTO_AEAD_H
#define KMIPD_CRYPTO_AEAD_H

#include "base/secret.h"

#define AEAD_KEY_SIZE   32
#define AEAD_NONCE_SIZE 24
#define AEAD_TAG_SIZE   16
#define AEAD_OVERHEAD   (AEAD_NONCE_SIZE + AEAD_TAG_SIZE)

/* A key ready for use, wholly in the secret heap. Any number of threads may use one at once. */
struct aead_key;

/* Copies `key` (AEAD_KEY_SIZE bytes). STATUS_INVALID_ARGUMENT: another size; STATUS_NO_MEMORY;
 * STATUS_CRYPTO_FAILED. End: aead_key_close(). */
enum status aead_key_open(struct bytes key, struct aead_key **ret_key) MUST_USE;

/* Wipes and frees; no thread may be using the key. NULL is fine. */
void aead_key_close(struct aead_key *key);

/*
 * Writes plaintext.size + AEAD_OVERHEAD bytes to `ret_sealed`, under a fresh random nonce.
 * STATUS_CRYPTO_FAILED (no randomness among the causes); STATUS_TOO_LARGE above 1 GiB;
 * STATUS_NO_MEMORY. What is at `ret_sealed` after a failure means nothing.
 */
enum status aead_seal(const struct aead_key *key, struct bytes associated, struct bytes plaintext,
                      uint8_t *ret_sealed) MUST_USE;

/* As aead_seal() with the caller's nonce, which must be random and new. For test vectors. */
enum status aead_seal_with(const struct aead_key *key, const uint8_t nonce[static AEAD_NONCE_SIZE],
                           struct bytes associated, struct bytes plaintext,
                           uint8_t *ret_sealed) MUST_USE;

/*
 * Writes sealed.size - AEAD_OVERHEAD bytes to `ret_plaintext`, which should be locked memory.
 * STATUS_CRYPTO_FAILED: changed, too short, another key or other associated bytes; what is at
 * `ret_plaintext` is then wiped.
 */
enum status aead_open(const struct aead_key *key, struct bytes associated, struct bytes sealed,
                      uint8_t *ret_plaintext) MUST_USE;

#endif
