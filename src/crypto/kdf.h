/* SPDX-License-Identifier: Apache-2.0 */
/* Keys from passphrases and from other keys. Any thread. */
#ifndef KMIPD_CRYPTO_KDF_H
#define KMIPD_CRYPTO_KDF_H

#include "base/bytes.h"
#include "base/status.h"

/* scrypt's cost (RFC 7914 §2): 2^log2_n rounds of 128 * r bytes, p times. */
struct scrypt_cost {
    uint8_t log2_n;
    uint16_t r;
    uint16_t p;
};

/* Whether a cost read from a file makes sense and takes at most `memory` bytes and `p` at most 16,
 * so that no file can make this process take hours or all memory. */
bool scrypt_cost_allowed(const struct scrypt_cost *cost, size_t memory);

/* scrypt (RFC 7914). STATUS_INVALID_ARGUMENT: a cost that scrypt_cost_allowed() refuses for 1 GiB;
 * STATUS_CRYPTO_FAILED, also when there is not enough memory. */
enum status kdf_scrypt(struct bytes password, struct bytes salt, const struct scrypt_cost *cost,
                       uint8_t *ret_key, size_t size) MUST_USE;

/* HKDF with SHA-256 (RFC 5869), extract and expand. `material` must have the entropy of a key. */
enum status kdf_hkdf(struct bytes material, struct bytes salt, struct bytes info, uint8_t *ret_key,
                     size_t size) MUST_USE;

#endif
