/* SPDX-License-Identifier: Apache-2.0 */
/* The hash chain: value(n) = SHA-256(value(n-1) || body(n)), value(0) = 32 zero bytes. */
#ifndef KMIPD_AUDIT_CHAIN_H
#define KMIPD_AUDIT_CHAIN_H

#include <openssl/evp.h>

#include "audit/audit.h"

/* Where in the log: a record and its chain value. */
struct chain_position {
    uint64_t sequence; /* 0: before the first record */
    uint8_t value[AUDIT_HASH_SIZE];
};

struct chain {
    EVP_MD *digest;
    EVP_MD_CTX *context;
    struct chain_position position;
};

/* Position 0. CRYPTO_FAILED. One thread at a time. End: chain_free(); a zeroed chain is fine. */
enum status chain_init(struct chain *chain) MUST_USE;
void chain_free(struct chain *chain);

/* Moves to the next record, of which `body` is what is hashed. CRYPTO_FAILED: it has not moved. */
enum status chain_next(struct chain *chain, struct bytes body) MUST_USE;

#endif
