/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/aead.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "crypto/gcm.h"

#define BLOCK_SIZE 16

struct aead_key {
    uint8_t key[AEAD_KEY_SIZE];
    uint8_t subkey[BLOCK_SIZE]; /* K1 of CMAC (NIST SP 800-38B §6.1) */
};

static const uint8_t no_key[AEAD_KEY_SIZE];

/* Encrypts `size` bytes, whole blocks, each alone. */
static bool encrypt_blocks(struct crypto_context *context, const uint8_t key[static AEAD_KEY_SIZE],
                           const uint8_t *input, size_t size, uint8_t *ret_output)
{
    int length;
    bool good = EVP_EncryptInit_ex2(context->ecb, NULL, key, NULL, NULL) == 1 &&
                EVP_EncryptUpdate(context->ecb, ret_output, &length, input, (int)size) == 1 &&
                (size_t)length == size;
    return EVP_EncryptInit_ex2(context->ecb, NULL, no_key, NULL, NULL) == 1 && good;
}

/* Multiplies by x in GF(2^128), without a branch on the secret (NIST SP 800-38B §6.1). */
static void double_block(uint8_t block[static BLOCK_SIZE])
{
    uint8_t carry = 0;
    for (int i = BLOCK_SIZE - 1; i >= 0; i--) {
        uint8_t high = block[i] >> 7;
        block[i] = (uint8_t)(block[i] << 1 | carry);
        carry = high;
    }
    block[BLOCK_SIZE - 1] ^= (uint8_t)(0x87 & -carry);
}

enum status aead_key_open(struct bytes key, struct aead_key **ret_key)
{
    static const uint8_t zeros[BLOCK_SIZE];
    if (key.size != AEAD_KEY_SIZE)
        return STATUS_INVALID_ARGUMENT;
    struct crypto_context *context = crypto_context();
    struct secret memory;
    if (context == NULL || secret_allocate(&memory, sizeof(struct aead_key)) != STATUS_OK)
        return STATUS_NO_MEMORY;
    struct aead_key *made = (struct aead_key *)memory.data;
    memcpy(made->key, key.data, AEAD_KEY_SIZE);
    if (!encrypt_blocks(context, made->key, zeros, BLOCK_SIZE, made->subkey)) {
        aead_key_close(made);
        return STATUS_CRYPTO_FAILED;
    }
    double_block(made->subkey);
    *ret_key = made;
    return STATUS_OK;
}

void aead_key_close(struct aead_key *key)
{
    struct secret memory = {(uint8_t *)key, sizeof(*key)};
    secret_free(&memory);
}

/* The key of the message: CMAC in counter mode over 00 01 58 00 || nonce[0..12] and 00 02 ... */
static bool derive(struct crypto_context *context, const struct aead_key *key,
                   const uint8_t nonce[static AEAD_NONCE_SIZE],
                   uint8_t ret_derived[static GCM_KEY_SIZE])
{
    uint8_t blocks[2 * BLOCK_SIZE];
    for (size_t i = 0; i < 2; i++) {
        uint8_t *block = blocks + i * BLOCK_SIZE;
        const uint8_t prefix[] = {0, (uint8_t)(i + 1), 'X', 0};
        memcpy(block, prefix, sizeof(prefix));
        memcpy(block + sizeof(prefix), nonce, AEAD_NONCE_SIZE - GCM_NONCE_SIZE);
        for (size_t j = 0; j < BLOCK_SIZE; j++)
            block[j] ^= key->subkey[j];
    }
    bool good = encrypt_blocks(context, key->key, blocks, sizeof(blocks), ret_derived);
    explicit_bzero(blocks, sizeof(blocks));
    return good;
}

enum status aead_seal_with(const struct aead_key *key, const uint8_t nonce[static AEAD_NONCE_SIZE],
                           struct bytes associated, struct bytes plaintext, uint8_t *ret_sealed)
{
    struct crypto_context *context = crypto_context();
    if (context == NULL)
        return STATUS_NO_MEMORY;
    uint8_t derived[GCM_KEY_SIZE];
    enum status status = STATUS_CRYPTO_FAILED;
    memmove(ret_sealed, nonce, AEAD_NONCE_SIZE);
    if (derive(context, key, nonce, derived))
        status = gcm_seal(context, derived, nonce + AEAD_NONCE_SIZE - GCM_NONCE_SIZE, associated,
                          plaintext, ret_sealed + AEAD_NONCE_SIZE);
    explicit_bzero(derived, sizeof(derived));
    return status;
}

enum status aead_seal(const struct aead_key *key, struct bytes associated, struct bytes plaintext,
                      uint8_t *ret_sealed)
{
    uint8_t nonce[AEAD_NONCE_SIZE];
    if (RAND_bytes(nonce, sizeof(nonce)) != 1)
        return STATUS_CRYPTO_FAILED;
    return aead_seal_with(key, nonce, associated, plaintext, ret_sealed);
}

enum status aead_open(const struct aead_key *key, struct bytes associated, struct bytes sealed,
                      uint8_t *ret_plaintext)
{
    if (sealed.size < AEAD_OVERHEAD)
        return STATUS_CRYPTO_FAILED;
    struct crypto_context *context = crypto_context();
    if (context == NULL)
        return STATUS_NO_MEMORY;
    const uint8_t *nonce = sealed.data;
    struct bytes rest = bytes_of(sealed.data + AEAD_NONCE_SIZE, sealed.size - AEAD_NONCE_SIZE);
    uint8_t derived[GCM_KEY_SIZE];
    enum status status = STATUS_CRYPTO_FAILED;
    if (derive(context, key, nonce, derived))
        status = gcm_open(context, derived, nonce + AEAD_NONCE_SIZE - GCM_NONCE_SIZE, associated,
                          rest, ret_plaintext);
    explicit_bzero(derived, sizeof(derived));
    return status;
}
