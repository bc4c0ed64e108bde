/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/password.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>

#include "crypto/kdf.h"

#define SALT_SIZE  16
#define HASH_SIZE  32
#define SALT_TEXT  22 /* base64 without padding */
#define HASH_TEXT  43
#define MEMORY_MAX ((size_t)65 << 20)

static const struct scrypt_cost usual_cost = {.log2_n = 15, .r = 8, .p = 1};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Base64 (RFC 4648 §4) without padding, and a NUL. */
static void base64_encode(struct bytes bytes, char *ret_text)
{
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        bits = bits << 8 | bytes.data[i];
        for (count += 8; count >= 6; count -= 6)
            *ret_text++ = alphabet[bits >> (count - 6) & 63];
    }
    if (count > 0)
        *ret_text++ = alphabet[bits << (6 - count) & 63];
    *ret_text = '\0';
}

static bool base64_decode(const char *text, uint8_t *ret_bytes, size_t size)
{
    uint32_t bits = 0;
    int count = 0;
    for (size_t done = 0; done < size;) {
        const char *place = *text == '\0' ? NULL : strchr(alphabet, *text++);
        if (place == NULL)
            return false;
        bits = bits << 6 | (uint32_t)(place - alphabet);
        count += 6;
        if (count >= 8) {
            count -= 8;
            ret_bytes[done++] = (uint8_t)(bits >> count);
        }
    }
    return true;
}

static enum status hash_with(struct bytes password, const struct scrypt_cost *cost,
                             const uint8_t salt[static SALT_SIZE],
                             char ret_hash[static PASSWORD_HASH_MAX])
{
    uint8_t hash[HASH_SIZE];
    enum status status = kdf_scrypt(password, bytes_of(salt, SALT_SIZE), cost, hash, HASH_SIZE);
    if (status != STATUS_OK)
        return status;
    char salt_text[SALT_TEXT + 1];
    char hash_text[HASH_TEXT + 1];
    base64_encode(bytes_of(salt, SALT_SIZE), salt_text);
    base64_encode(bytes_of(hash, HASH_SIZE), hash_text);
    int length = snprintf(ret_hash, PASSWORD_HASH_MAX, "$scrypt$ln=%u,r=%u,p=%u$%s$%s",
                          cost->log2_n, cost->r, cost->p, salt_text, hash_text);
    explicit_bzero(hash, sizeof(hash));
    explicit_bzero(hash_text, sizeof(hash_text));
    return length > 0 && length < PASSWORD_HASH_MAX ? STATUS_OK : STATUS_INTERNAL;
}

enum status password_hash(struct bytes password, char ret_hash[static PASSWORD_HASH_MAX])
{
    uint8_t salt[SALT_SIZE];
    if (RAND_bytes(salt, sizeof(salt)) != 1)
        return STATUS_CRYPTO_FAILED;
    return hash_with(password, &usual_cost, salt, ret_hash);
}

static bool parse(const char *hash, struct scrypt_cost *ret_cost,
                  uint8_t ret_salt[static SALT_SIZE])
{
    unsigned log2_n, r, p;
    char salt_text[SALT_TEXT + 1];
    int end = 0; /* set only if the dollar behind the salt is there */
    if (strlen(hash) >= PASSWORD_HASH_MAX ||
        sscanf(hash, "$scrypt$ln=%2u,r=%4u,p=%4u$%22[^$]$%n", &log2_n, &r, &p, salt_text, &end) !=
            4 ||
        end == 0)
        return false;
    *ret_cost = (struct scrypt_cost){(uint8_t)log2_n, (uint16_t)r, (uint16_t)p};
    return scrypt_cost_allowed(ret_cost, MEMORY_MAX) &&
           base64_decode(salt_text, ret_salt, SALT_SIZE);
}

enum status password_verify(struct bytes password, const char *hash)
{
    struct scrypt_cost cost = usual_cost;
    uint8_t salt[SALT_SIZE] = {0};
    if (hash != NULL && !parse(hash, &cost, salt))
        return STATUS_INVALID_ARGUMENT;
    char right[PASSWORD_HASH_MAX] = {0};
    enum status status = hash_with(password, &cost, salt, right);
    if (status != STATUS_OK)
        return status;
    /* The whole text is made anew and compared: a hash in another spelling does not verify. */
    size_t length = strlen(right);
    bool equal = hash != NULL && strlen(hash) == length && CRYPTO_memcmp(hash, right, length) == 0;
    explicit_bzero(right, sizeof(right));
    return equal ? STATUS_OK : STATUS_NOT_AUTHENTICATED;
}
