/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of public bytes, with contexts kept per thread. Any thread. */
#ifndef KMIPD_CRYPTO_DIGEST_H
#define KMIPD_CRYPTO_DIGEST_H

#include "base/bytes.h"
#include "base/status.h"

#define SHA256_SIZE 32
#define SHA1_SIZE   20

/* All functions: STATUS_NO_MEMORY or STATUS_CRYPTO_FAILED, the output then untouched. */

/* SHA-256 (FIPS 180-4). */
enum status digest_sha256(struct bytes bytes, uint8_t ret_digest[static SHA256_SIZE]) MUST_USE;

/* SHA-256 of `count` pieces, one behind the other. Where they end is not part of the digest: the
 * caller makes that unambiguous. */
enum status digest_sha256_pieces(const struct bytes *pieces, size_t count,
                                 uint8_t ret_digest[static SHA256_SIZE]) MUST_USE;

/* The first eight bytes of digest_sha256_pieces(), as a big-endian number: a search term of the
 * store. No proof of equality. */
enum status digest_term(const struct bytes *pieces, size_t count, uint64_t *ret_term) MUST_USE;

/* SHA-1, for fingerprints that an administrator compares with what other tools show. Nothing is
 * trusted by it. */
enum status digest_sha1(struct bytes bytes, uint8_t ret_digest[static SHA1_SIZE]) MUST_USE;

#endif
