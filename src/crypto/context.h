/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL contexts that each thread keeps, so that an operation allocates nothing. Inside
 * src/crypto/ only.
 *
 * A context's key schedule stands in OpenSSL's ordinary heap, which is neither locked nor
 * shielded. So keys stay in the secret heap, each operation loads its key into the context, and
 * takes it out again by loading a key of zeros (OpenSSL then writes over the schedule, the GHASH
 * table and the counter block). That costs a quarter of a microsecond. What remains: while an
 * operation runs its key is in ordinary memory and in registers, and OpenSSL's functions may
 * leave traces on the stack. secret_protect_process() keeps both out of core files.
 */
#ifndef KMIPD_CRYPTO_CONTEXT_H
#define KMIPD_CRYPTO_CONTEXT_H

#include <openssl/types.h>

struct crypto_context {
    EVP_CIPHER_CTX *ecb; /* AES-256-ECB, no padding */
    EVP_CIPHER_CTX *gcm; /* AES-256-GCM */
    EVP_MD_CTX *digest;
    EVP_MD *sha256;
    EVP_MD *sha1; /* NULL where OpenSSL's configuration has none */
};

/* This thread's contexts, made at first use and freed when the thread ends. NULL without memory,
 * or when OpenSSL has no such algorithm. */
struct crypto_context *crypto_context(void);

#endif
