/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/gcm.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#define SIZE_MAX_ONE ((size_t)1 << 30) /* EVP counts in int */

static const uint8_t no_key[GCM_KEY_SIZE];
static const uint8_t no_nonce[GCM_NONCE_SIZE];

/* Takes the key out. A failure may not stay in the thread's error queue, where TLS would find it. */
static enum status finish(EVP_CIPHER_CTX *gcm, bool good)
{
    if (EVP_EncryptInit_ex2(gcm, NULL, no_key, no_nonce, NULL) == 1 && good)
        return STATUS_OK;
    ERR_clear_error();
    return STATUS_CRYPTO_FAILED;
}

/* EVP takes an empty update for a call of another meaning: none is made. */
static bool update(EVP_CIPHER_CTX *gcm, uint8_t *to, struct bytes from)
{
    int length;
    return from.size == 0 || EVP_CipherUpdate(gcm, to, &length, from.data, (int)from.size) == 1;
}

static bool encrypt(EVP_CIPHER_CTX *gcm, struct bytes associated, struct bytes input, uint8_t *to)
{
    int length;
    uint8_t *tag = to + input.size;
    return update(gcm, NULL, associated) && update(gcm, to, input) &&
           EVP_EncryptFinal_ex(gcm, tag, &length) == 1 &&
           EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_SIZE, tag) == 1;
}

enum status gcm_seal(struct crypto_context *context, const uint8_t key[static GCM_KEY_SIZE],
                     const uint8_t nonce[static GCM_NONCE_SIZE], struct bytes associated,
                     struct bytes input, uint8_t *ret_sealed)
{
    if (input.size > SIZE_MAX_ONE || associated.size > SIZE_MAX_ONE)
        return STATUS_TOO_LARGE;
    bool good = EVP_EncryptInit_ex2(context->gcm, NULL, key, nonce, NULL) == 1 &&
                encrypt(context->gcm, associated, input, ret_sealed);
    return finish(context->gcm, good);
}

static bool decrypt(EVP_CIPHER_CTX *gcm, struct bytes associated, struct bytes ciphertext,
                    uint8_t *to)
{
    int length;
    uint8_t tag[GCM_TAG_SIZE]; /* a copy: EVP wants it writable */
    uint8_t nothing[GCM_TAG_SIZE];
    memcpy(tag, ciphertext.data + ciphertext.size, GCM_TAG_SIZE);
    return update(gcm, NULL, associated) && update(gcm, to, ciphertext) &&
           EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_SIZE, tag) == 1 &&
           EVP_DecryptFinal_ex(gcm, nothing, &length) == 1;
}

enum status gcm_open(struct crypto_context *context, const uint8_t key[static GCM_KEY_SIZE],
                     const uint8_t nonce[static GCM_NONCE_SIZE], struct bytes associated,
                     struct bytes sealed, uint8_t *ret_plaintext)
{
    if (sealed.size < GCM_TAG_SIZE)
        return STATUS_CRYPTO_FAILED;
    if (sealed.size > SIZE_MAX_ONE || associated.size > SIZE_MAX_ONE)
        return STATUS_TOO_LARGE;
    struct bytes ciphertext = bytes_of(sealed.data, sealed.size - GCM_TAG_SIZE);
    bool good = EVP_DecryptInit_ex2(context->gcm, NULL, key, nonce, NULL) == 1 &&
                decrypt(context->gcm, associated, ciphertext, ret_plaintext);
    enum status status = finish(context->gcm, good);
    if (status != STATUS_OK && ciphertext.size > 0)
        explicit_bzero(ret_plaintext, ciphertext.size);
    return status;
}
