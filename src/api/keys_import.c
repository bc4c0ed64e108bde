/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key material that a request brings. With an import token the material of a root key comes under
 * the token's public key (RSAES-OAEP, RFC 8017 §7.1), and the token's nonce encrypted with that
 * material: whoever sends it has held both. AES-GCM with an IV of 12 bytes and the tag behind the
 * ciphertext is Key Protect's way, AES-CBC with one of 16 bytes that of Hyper Protect.
 */
#include "api/keys_import.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define GCM_IV_SIZE    12
#define CBC_IV_SIZE    16
#define GCM_TAG_LENGTH 16
#define NONCE_TEXT_MAX 64
#define KEY_DER_MAX    4096

/* In the place of an adapter: the private keys of import tokens. */
static const struct uuid tokens = {{0x2C, 0xF1, 0x74, 0x0B, 0x9E, 0x35, 0x4A, 0xD8, 0x87, 0x5A,
                                    0x16, 0xC3, 0xEE, 0x0D, 0x71, 0xA9}};

static bool refuse(struct api_call *call, const char *field, const char *text)
{
    api_fail_text(call, API_INVALID_FIELD_ERR, "field", field, "The field `%s` must be: %s", field,
                  text);
    return false;
}

static bool is_root_key_size(size_t size)
{
    return size == 16 || size == 24 || size == 32;
}

/* ---- The token's key ---- */

static struct wrap_binding binding_of(const struct api_context *context, const struct uuid *token)
{
    return (struct wrap_binding){*token, tokens, context->payload_root_key};
}

static enum status key_to_der(EVP_PKEY *key, struct secret *ret_der)
{
    int size = i2d_PrivateKey(key, NULL);
    if (size <= 0)
        return STATUS_CRYPTO_FAILED;
    enum status status = secret_allocate(ret_der, (size_t)size);
    if (status != STATUS_OK)
        return status;
    unsigned char *at = ret_der->data;
    return i2d_PrivateKey(key, &at) == size ? STATUS_OK : STATUS_CRYPTO_FAILED;
}

enum status import_key_wrap(const struct api_context *context, EVP_PKEY *key,
                            struct kms_import_token *token)
{
    struct keymanager *keymanager = keymanagers_get(context->keymanagers, context->local);
    const struct wrap_binding binding = binding_of(context, &token->id);
    struct secret der = {0};
    struct buffer wrapped;
    if (keymanager == NULL)
        return STATUS_KEY_MANAGER_UNAVAILABLE;
    buffer_over(&wrapped, token->private_key, sizeof(token->private_key));
    enum status status = key_to_der(key, &der);
    if (status == STATUS_OK)
        status = keymanager_wrap(keymanager, &binding, &der, &wrapped);
    token->private_key_size = wrapped.size;
    secret_free(&der);
    return status;
}

static enum status open_key(const struct api_context *context, const struct kms_import_token *token,
                            EVP_PKEY **ret_key)
{
    struct keymanager *keymanager = keymanagers_get(context->keymanagers, context->local);
    const struct wrap_binding binding = binding_of(context, &token->id);
    const struct wrapped wrapped = {bytes_of(token->private_key, token->private_key_size)};
    struct secret der = {0};
    if (keymanager == NULL)
        return STATUS_KEY_MANAGER_UNAVAILABLE;
    enum status status = keymanager_unwrap(keymanager, &binding, wrapped, &der, NULL);
    if (status != STATUS_OK)
        return status;
    const unsigned char *at = der.data;
    *ret_key = d2i_AutoPrivateKey(NULL, &at, (long)der.size);
    secret_free(&der);
    return *ret_key == NULL ? STATUS_CRYPTO_FAILED : STATUS_OK;
}

static bool set_padding(EVP_PKEY_CTX *context, const EVP_MD *digest)
{
    return EVP_PKEY_decrypt_init(context) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(context, digest) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(context, digest) == 1;
}

/* STATUS_UNWRAP_FAILED: it was not encrypted for this key in this way. */
static enum status decrypt(EVP_PKEY *key, const EVP_MD *digest, const struct secret *encrypted,
                           struct secret *ret_material)
{
    struct secret room = {0};
    size_t size = (size_t)EVP_PKEY_get_size(key);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    enum status status = context == NULL || !set_padding(context, digest)
                             ? STATUS_CRYPTO_FAILED
                             : secret_allocate(&room, size);
    if (status == STATUS_OK &&
        EVP_PKEY_decrypt(context, room.data, &size, encrypted->data, encrypted->size) != 1)
        status = STATUS_UNWRAP_FAILED;
    if (status == STATUS_OK)
        status =
            size == 0 ? STATUS_UNWRAP_FAILED : secret_copy(ret_material, bytes_of(room.data, size));
    secret_free(&room);
    EVP_PKEY_CTX_free(context);
    return status;
}

/* ---- The nonce ---- */

struct encrypted_nonce {
    struct secret text;
    struct secret iv;
};

static const EVP_CIPHER *cipher_of(size_t key_size, bool gcm)
{
    switch (key_size) {
    case 16:
        return gcm ? EVP_aes_128_gcm() : EVP_aes_128_cbc();
    case 24:
        return gcm ? EVP_aes_192_gcm() : EVP_aes_192_cbc();
    default:
        return gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc();
    }
}

static bool decrypt_nonce(EVP_CIPHER_CTX *context, const struct secret *key,
                          const struct encrypted_nonce *nonce, uint8_t *ret_nonce, int *ret_size)
{
    bool gcm = nonce->iv.size == GCM_IV_SIZE;
    int tail = 0;
    size_t size = nonce->text.size;
    if (gcm && size < GCM_TAG_LENGTH)
        return false;
    if (EVP_DecryptInit_ex2(context, cipher_of(key->size, gcm), key->data, nonce->iv.data, NULL) !=
        1)
        return false;
    size -= gcm ? GCM_TAG_LENGTH : 0;
    if (gcm && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, GCM_TAG_LENGTH,
                                   nonce->text.data + size) != 1)
        return false;
    if (EVP_DecryptUpdate(context, ret_nonce, ret_size, nonce->text.data, (int)size) != 1 ||
        EVP_DecryptFinal_ex(context, ret_nonce + *ret_size, &tail) != 1)
        return false;
    *ret_size += tail;
    return true;
}

static bool is_nonce(const struct secret *key, const struct encrypted_nonce *encrypted,
                     const struct kms_import_token *token)
{
    uint8_t nonce[2 * NONCE_TEXT_MAX];
    int size = 0;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool good = context != NULL && decrypt_nonce(context, key, encrypted, nonce, &size) &&
                size == KMS_NONCE_SIZE && CRYPTO_memcmp(nonce, token->nonce, KMS_NONCE_SIZE) == 0;
    EVP_CIPHER_CTX_free(context);
    OPENSSL_cleanse(nonce, sizeof(nonce));
    return good;
}

static bool read_nonce(struct api_call *call, const json_t *resource, struct encrypted_nonce *nonce)
{
    bool present = false;
    if (!api_member_secret(call, resource, "encryptedNonce", NONCE_TEXT_MAX, &nonce->text,
                           &present))
        return false;
    if (!present) {
        api_fail(call, API_INCORRECT_NONCE_ERR, "field", "encryptedNonce");
        return false;
    }
    if (!api_member_secret(call, resource, "iv", NONCE_TEXT_MAX, &nonce->iv, &present))
        return false;
    if (present && (nonce->iv.size == GCM_IV_SIZE || nonce->iv.size == CBC_IV_SIZE))
        return true;
    api_fail(call, API_INCORRECT_NONCE_IV_ERR, "field", "iv");
    return false;
}

/* ---- Material under the token ---- */

static bool find_token(struct api_call *call, struct kms_import_token *ret_token)
{
    enum status status = kms_import_token_get(call->context->kms, ret_token);
    if (status == STATUS_NOT_FOUND)
        api_fail(call, API_IMPORT_TOKEN_NOT_FOUND_ERR, NULL, NULL);
    else if (status != STATUS_OK)
        api_fail_status(call, status, NULL);
    else if (ret_token->expires <= call->now)
        api_fail(call, API_IMPORT_TOKEN_EXPIRED_ERR, NULL, NULL);
    else
        return true;
    return false;
}

static const EVP_MD *find_digest(struct api_call *call, const json_t *resource)
{
    static const struct {
        const char *name;
        const EVP_MD *(*digest)(void);
    } algorithms[] = {{"RSAES_OAEP_SHA_256", EVP_sha256}, {"RSAES_OAEP_SHA_1", EVP_sha1}};
    const char *name = json_string_value(api_member(resource, "encryptionAlgorithm"));
    for (size_t i = 0; i < ARRAY_COUNT(algorithms); i++)
        if (name == NULL || strcmp(name, algorithms[i].name) == 0)
            return algorithms[i].digest();
    (void)refuse(call, "encryptionAlgorithm", "RSAES_OAEP_SHA_256 or RSAES_OAEP_SHA_1");
    return NULL;
}

static bool open_material(struct api_call *call, const struct kms_import_token *token,
                          const EVP_MD *digest, const struct secret *encrypted,
                          struct secret *ret_material)
{
    EVP_PKEY *key = NULL;
    enum status status = open_key(call->context, token, &key);
    if (status == STATUS_OK)
        status = decrypt(key, digest, encrypted, ret_material);
    EVP_PKEY_free(key);
    if (status == STATUS_UNWRAP_FAILED)
        return refuse(call, "payload", "encrypted with the public key of the import token");
    if (status != STATUS_OK)
        api_fail_status(call, status, NULL);
    else if (!is_root_key_size(ret_material->size))
        return refuse(call, "payload", "16, 24 or 32 bytes, encrypted with the import token");
    return status == STATUS_OK;
}

static bool read_secure(struct api_call *call, const json_t *resource, struct secret *ret_material,
                        bool *ret_present)
{
    struct kms_import_token token;
    struct encrypted_nonce nonce = {0};
    struct secret encrypted = {0};
    const EVP_MD *digest = find_digest(call, resource);
    bool good =
        digest != NULL &&
        api_member_secret(call, resource, "payload", KEYS_SECURE_MAX, &encrypted, ret_present) &&
        read_nonce(call, resource, &nonce) && find_token(call, &token);
    if (good && !*ret_present)
        good = refuse(call, "payload", "base64 of the encrypted key");
    if (good)
        good = open_material(call, &token, digest, &encrypted, ret_material);
    if (good && !is_nonce(ret_material, &nonce, &token)) {
        api_fail(call, API_INCORRECT_NONCE_ERR, "field", "encryptedNonce");
        good = false;
    }
    secret_free(&encrypted);
    secret_free(&nonce.text);
    secret_free(&nonce.iv);
    return good;
}

/* ---- All material ---- */

static bool is_given(const json_t *resource, const char *name)
{
    const json_t *value = api_member(resource, name);
    return value != NULL && !json_is_null(value) &&
           !(json_is_string(value) && json_string_length(value) == 0);
}

bool keys_read_material(struct api_call *call, const json_t *resource, bool extractable,
                        struct secret *ret_material, bool *ret_present)
{
    *ret_present = false;
    bool secure = is_given(resource, "encryptedNonce") || is_given(resource, "iv") ||
                  is_given(resource, "encryptionAlgorithm");
    if (secure && extractable)
        return refuse(call, "encryptedNonce", "absent: only root keys are imported with a token");
    if (secure)
        return read_secure(call, resource, ret_material, ret_present);
    if (!api_member_secret(call, resource, "payload", KEYS_PAYLOAD_MAX, ret_material, ret_present))
        return false;
    if (*ret_present && !extractable && !is_root_key_size(ret_material->size))
        return refuse(call, "payload", "base64 of 16, 24 or 32 bytes for a root key");
    return true;
}
