/* SPDX-License-Identifier: Apache-2.0 */
/* One AES-256-GCM operation with a key that is loaded for it and taken out after (context.h). For
 * aead.c and shield.c, which choose nonces. Inside src/crypto/ only. */
#ifndef KMIPD_CRYPTO_GCM_H
#define KMIPD_CRYPTO_GCM_H

#include "base/bytes.h"
#include "base/status.h"
#include "crypto/context.h"

#define GCM_KEY_SIZE   32
#define GCM_NONCE_SIZE 12
#define GCM_TAG_SIZE   16

/* Writes input.size bytes of ciphertext, and the tag behind them. STATUS_TOO_LARGE above 1 GiB;
 * STATUS_CRYPTO_FAILED. The output is undefined, but no plaintext, after a failure. */
enum status gcm_seal(struct crypto_context *context, const uint8_t key[static GCM_KEY_SIZE],
                     const uint8_t nonce[static GCM_NONCE_SIZE], struct bytes associated,
                     struct bytes input, uint8_t *ret_sealed) MUST_USE;

/* The reverse: `sealed` is ciphertext and tag; writes sealed.size - GCM_TAG_SIZE bytes, and wipes
 * them unless the tag is right. STATUS_CRYPTO_FAILED if it is not. */
enum status gcm_open(struct crypto_context *context, const uint8_t key[static GCM_KEY_SIZE],
                     const uint8_t nonce[static GCM_NONCE_SIZE], struct bytes associated,
                     struct bytes sealed, uint8_t *ret_plaintext) MUST_USE;

#endif
