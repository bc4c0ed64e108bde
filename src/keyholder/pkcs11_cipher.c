/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/pkcs11_cipher.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "keymanager/envelope.h"

#define IV_SIZE    12
#define TAG_SIZE   16
#define HALF_BLOCK 8
#define BLOCK      16
#define ROUNDS     6 /* RFC 3394 §2.2.1 */
#define PARTS_MAX  4 /* half blocks of 32 bytes */
#define KW_SIZE    (ENVELOPE_KEY_SIZE + HALF_BLOCK)
#define SCRATCH    64

/* The first byte of what is wrapped. */
enum form { FORM_GCM = 1, FORM_KEY_WRAP = 2 };

enum way { WAY_UNKNOWN, WAY_GCM, WAY_GCM_TOKEN_IV, WAY_KEY_WRAP, WAY_BLOCKS };

/* ---- One call of the token ---- */

static ck_rv_t encrypt(const struct pkcs11_session *session, struct ck_mechanism *mechanism,
                       ck_object_handle_t key, struct bytes input, uint8_t *ret_output,
                       unsigned long *size)
{
    ck_rv_t value = session->functions->C_EncryptInit(session->handle, mechanism, key);
    if (value != CKR_OK)
        return value;
    return session->functions->C_Encrypt(session->handle, (unsigned char *)(uintptr_t)input.data,
                                         input.size, ret_output, size);
}

static ck_rv_t decrypt(const struct pkcs11_session *session, struct ck_mechanism *mechanism,
                       ck_object_handle_t key, struct bytes input, uint8_t *ret_output,
                       unsigned long *size)
{
    ck_rv_t value = session->functions->C_DecryptInit(session->handle, mechanism, key);
    if (value != CKR_OK)
        return value;
    return session->functions->C_Decrypt(session->handle, (unsigned char *)(uintptr_t)input.data,
                                         input.size, ret_output, size);
}

/* ---- AES-GCM: form, IV, ciphertext, tag ---- */

static struct ck_gcm_params gcm_params(uint8_t iv[static IV_SIZE], struct bytes associated)
{
    return (struct ck_gcm_params){
        .iv_ptr = iv,
        .iv_len = IV_SIZE,
        .iv_bits = IV_SIZE * 8,
        .aad_ptr = (unsigned char *)(uintptr_t)associated.data,
        .aad_len = associated.size,
        .tag_bits = TAG_SIZE * 8,
    };
}

/* `token_iv`: the token makes the IV and writes it where ours would stand, as some do in FIPS
 * mode; they want zeros there. */
static ck_rv_t gcm_wrap(const struct pkcs11_session *session, ck_object_handle_t key, bool token_iv,
                        struct bytes associated, struct bytes plaintext,
                        struct pkcs11_wrapped *ret_wrapped)
{
    static const uint8_t zeros[IV_SIZE];
    uint8_t iv[IV_SIZE] = {0};
    unsigned long size = PKCS11_WRAPPED_MAX - 1 - IV_SIZE;
    if (!token_iv && RAND_bytes(iv, sizeof(iv)) != 1)
        return CKR_HOST_MEMORY;
    struct ck_gcm_params params = gcm_params(iv, associated);
    struct ck_mechanism mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    ck_rv_t value = encrypt(session, &mechanism, key, plaintext, ret_wrapped->bytes + 1 + IV_SIZE,
                            &size);
    if (value != CKR_OK)
        return value;
    /* Another length means another format than the standard's; a constant IV, none at all. */
    if (size != plaintext.size + TAG_SIZE || memcmp(iv, zeros, sizeof(iv)) == 0)
        return CKR_MECHANISM_PARAM_INVALID;
    ret_wrapped->bytes[0] = FORM_GCM;
    memcpy(ret_wrapped->bytes + 1, iv, IV_SIZE);
    ret_wrapped->size = 1 + IV_SIZE + size;
    return CKR_OK;
}

static ck_rv_t gcm_unwrap(const struct pkcs11_session *session, ck_object_handle_t key,
                          struct bytes associated, struct bytes wrapped, uint8_t *ret_output,
                          unsigned long *size)
{
    uint8_t iv[IV_SIZE];
    if (wrapped.size < IV_SIZE + TAG_SIZE)
        return CKR_ENCRYPTED_DATA_INVALID;
    memcpy(iv, wrapped.data, IV_SIZE);
    struct ck_gcm_params params = gcm_params(iv, associated);
    struct ck_mechanism mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    return decrypt(session, &mechanism, key, bytes_of(wrapped.data + IV_SIZE, wrapped.size - IV_SIZE),
                   ret_output, size);
}

/* ---- AES key wrap (RFC 3394) ---- */

static const uint8_t key_wrap_iv[HALF_BLOCK] = {0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6};

/* The step of either direction: `halves` are the register A, then R[1] to R[n]. */
static void mix(uint8_t *a, uint64_t t)
{
    for (int i = 0; i < HALF_BLOCK; i++)
        a[i] ^= (uint8_t)(t >> (56 - 8 * i));
}

static ck_rv_t block(const struct pkcs11_session *session, ck_object_handle_t key, bool forward,
                     uint8_t *a, uint8_t *r)
{
    struct ck_mechanism ecb = {CKM_AES_ECB, NULL, 0};
    uint8_t in[BLOCK], out[BLOCK + BLOCK];
    unsigned long size = sizeof(out);
    memcpy(in, a, HALF_BLOCK);
    memcpy(in + HALF_BLOCK, r, HALF_BLOCK);
    ck_rv_t value = forward ? encrypt(session, &ecb, key, bytes_of(in, BLOCK), out, &size)
                            : decrypt(session, &ecb, key, bytes_of(in, BLOCK), out, &size);
    if (value == CKR_OK && size != BLOCK)
        value = CKR_DEVICE_ERROR;
    if (value == CKR_OK) {
        memcpy(a, out, HALF_BLOCK);
        memcpy(r, out + HALF_BLOCK, HALF_BLOCK);
    }
    OPENSSL_cleanse(in, sizeof(in));
    OPENSSL_cleanse(out, sizeof(out));
    return value;
}

/* In place: `halves` has room for the register in front. */
static ck_rv_t blocks_wrap(const struct pkcs11_session *session, ck_object_handle_t key,
                           uint8_t *halves, unsigned parts)
{
    ck_rv_t value = CKR_OK;
    memcpy(halves, key_wrap_iv, HALF_BLOCK);
    for (unsigned t = 1; t <= ROUNDS * parts && value == CKR_OK; t++) {
        value = block(session, key, true, halves, halves + HALF_BLOCK * (1 + (t - 1) % parts));
        mix(halves, t);
    }
    return value;
}

static ck_rv_t blocks_unwrap(const struct pkcs11_session *session, ck_object_handle_t key,
                             uint8_t *halves, unsigned parts)
{
    ck_rv_t value = CKR_OK;
    for (unsigned t = ROUNDS * parts; t >= 1 && value == CKR_OK; t--) {
        mix(halves, t);
        value = block(session, key, false, halves, halves + HALF_BLOCK * (1 + (t - 1) % parts));
    }
    if (value == CKR_OK && CRYPTO_memcmp(halves, key_wrap_iv, HALF_BLOCK) != 0)
        value = CKR_ENCRYPTED_DATA_INVALID;
    return value;
}

/* Plaintext to register and ciphertext, which is HALF_BLOCK longer, block by block. */
static ck_rv_t key_wrap_blocks(const struct pkcs11_session *session, ck_object_handle_t key,
                               struct bytes plaintext, uint8_t *ret_wrapped)
{
    struct secret halves;
    if (plaintext.size % HALF_BLOCK != 0 || plaintext.size > PARTS_MAX * HALF_BLOCK)
        return CKR_DATA_LEN_RANGE;
    if (secret_allocate(&halves, HALF_BLOCK + plaintext.size) != STATUS_OK)
        return CKR_HOST_MEMORY;
    memcpy(halves.data + HALF_BLOCK, plaintext.data, plaintext.size);
    ck_rv_t value =
        blocks_wrap(session, key, halves.data, (unsigned)(plaintext.size / HALF_BLOCK));
    if (value == CKR_OK)
        memcpy(ret_wrapped, halves.data, halves.size);
    secret_free(&halves);
    return value;
}

static ck_rv_t key_wrap(const struct pkcs11_session *session, ck_object_handle_t key, bool blocks,
                        struct bytes plaintext, struct pkcs11_wrapped *ret_wrapped)
{
    struct ck_mechanism mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
    unsigned long size = PKCS11_WRAPPED_MAX - 1;
    ck_rv_t value = blocks ? key_wrap_blocks(session, key, plaintext, ret_wrapped->bytes + 1)
                           : encrypt(session, &mechanism, key, plaintext, ret_wrapped->bytes + 1,
                                     &size);
    if (value != CKR_OK)
        return value;
    if (!blocks && size != plaintext.size + HALF_BLOCK)
        return CKR_MECHANISM_PARAM_INVALID;
    ret_wrapped->bytes[0] = FORM_KEY_WRAP;
    ret_wrapped->size = 1 + plaintext.size + HALF_BLOCK;
    return CKR_OK;
}

static bool can(const struct pkcs11_session *session, ck_mechanism_type_t mechanism)
{
    struct ck_mechanism_info info;
    return session->functions->C_GetMechanismInfo(session->slot, mechanism, &info) == CKR_OK &&
           (info.flags & (CKF_ENCRYPT | CKF_DECRYPT)) == (CKF_ENCRYPT | CKF_DECRYPT);
}

static ck_rv_t key_unwrap(const struct pkcs11_session *session, ck_object_handle_t key, bool blocks,
                          struct bytes wrapped, uint8_t *ret_output, unsigned long *size)
{
    struct ck_mechanism mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
    uint8_t halves[KW_SIZE];
    if (wrapped.size != KW_SIZE)
        return CKR_ENCRYPTED_DATA_INVALID;
    if (!blocks)
        return decrypt(session, &mechanism, key, wrapped, ret_output, size);
    memcpy(halves, wrapped.data, sizeof(halves));
    ck_rv_t value = blocks_unwrap(session, key, halves, ENVELOPE_KEY_SIZE / HALF_BLOCK);
    if (value == CKR_OK) {
        memcpy(ret_output, halves + HALF_BLOCK, ENVELOPE_KEY_SIZE);
        *size = ENVELOPE_KEY_SIZE;
    }
    OPENSSL_cleanse(halves, sizeof(halves));
    return value;
}

/* ---- Choosing ---- */

/* Best first. */
static const struct {
    enum way way;
    ck_mechanism_type_t mechanism;
    const char *name;
} ways[] = {
    {WAY_GCM, CKM_AES_GCM, "AES-GCM"},
    {WAY_GCM_TOKEN_IV, CKM_AES_GCM, "AES-GCM with IVs of the token"},
    {WAY_KEY_WRAP, CKM_AES_KEY_WRAP, "AES key wrap"},
    {WAY_BLOCKS, CKM_AES_ECB, "AES key wrap, block by block"},
};

static ck_rv_t wrap_by(const struct pkcs11_session *session, enum way way, ck_object_handle_t key,
                       struct bytes associated, struct bytes plaintext,
                       struct pkcs11_wrapped *ret_wrapped)
{
    if (way == WAY_GCM || way == WAY_GCM_TOKEN_IV)
        return gcm_wrap(session, key, way == WAY_GCM_TOKEN_IV, associated, plaintext, ret_wrapped);
    return key_wrap(session, key, way == WAY_BLOCKS, plaintext, ret_wrapped);
}

static ck_rv_t unwrap_by(const struct pkcs11_session *session, bool blocks, ck_object_handle_t key,
                         struct bytes associated, struct bytes wrapped, struct secret *ret_plaintext)
{
    struct secret scratch;
    unsigned long size = SCRATCH;
    if (secret_allocate(&scratch, SCRATCH) != STATUS_OK)
        return CKR_HOST_MEMORY;
    struct bytes rest = bytes_of(wrapped.data + 1, wrapped.size - 1);
    ck_rv_t value = wrapped.data[0] == FORM_GCM
                        ? gcm_unwrap(session, key, associated, rest, scratch.data, &size)
                        : key_unwrap(session, key, blocks, rest, scratch.data, &size);
    if (value == CKR_OK && size != ENVELOPE_KEY_SIZE)
        value = CKR_ENCRYPTED_DATA_INVALID;
    if (value == CKR_OK &&
        secret_copy(ret_plaintext, bytes_of(scratch.data, ENVELOPE_KEY_SIZE)) != STATUS_OK)
        value = CKR_HOST_MEMORY;
    secret_free(&scratch);
    return value;
}

/* Whether the token opens what it wraps in this way. */
static ck_rv_t try_way(const struct pkcs11_session *session, enum way way, ck_object_handle_t key)
{
    struct secret probe, back = {0};
    struct pkcs11_wrapped wrapped;
    if (envelope_key_make(&probe) != STATUS_OK)
        return CKR_HOST_MEMORY;
    ck_rv_t value = wrap_by(session, way, key, BYTES_LITERAL("probe"), secret_bytes(&probe),
                            &wrapped);
    if (value == CKR_OK)
        value = unwrap_by(session, way == WAY_BLOCKS, key, BYTES_LITERAL("probe"),
                          bytes_of(wrapped.bytes, wrapped.size), &back);
    if (value == CKR_OK && !secret_equal(&probe, &back))
        value = CKR_MECHANISM_INVALID;
    secret_free(&probe);
    secret_free(&back);
    return value;
}

/* What tokens say that are broken, but also of what they do not like. */
static bool says_nothing(ck_rv_t value)
{
    return value == CKR_GENERAL_ERROR || value == CKR_FUNCTION_FAILED;
}

/* A loss of the token is reported as such; anything else is a way that does not work. */
static ck_rv_t choose(const struct pkcs11_session *session, struct pkcs11_cipher *cipher,
                      ck_object_handle_t key, enum way *ret_way)
{
    ck_rv_t value = CKR_MECHANISM_INVALID;
    *ret_way = atomic_load(&cipher->way);
    if (*ret_way != WAY_UNKNOWN && atomic_load(&cipher->connection) == session->connection)
        return CKR_OK;
    for (size_t i = 0; i < ARRAY_COUNT(ways); i++) {
        if (!can(session, ways[i].mechanism))
            continue;
        value = try_way(session, ways[i].way, key);
        if (says_nothing(value))
            value = try_way(session, ways[i].way, key);
        if (value == CKR_OK) {
            *ret_way = ways[i].way;
            atomic_store(&cipher->way, ways[i].way);
            atomic_store(&cipher->connection, session->connection);
            return CKR_OK;
        }
        enum pkcs11_fault fault = pkcs11_fault(value);
        if (fault == PKCS11_STALE || (fault == PKCS11_LOST && !says_nothing(value)) ||
            value == CKR_HOST_MEMORY)
            return value;
    }
    return value;
}

ck_rv_t pkcs11_wrap(const struct pkcs11_session *session, struct pkcs11_cipher *cipher,
                    ck_object_handle_t key, struct bytes associated, const struct secret *plaintext,
                    struct pkcs11_wrapped *ret_wrapped)
{
    enum way way;
    ck_rv_t value = choose(session, cipher, key, &way);
    if (value != CKR_OK)
        return value;
    return wrap_by(session, way, key, associated, secret_bytes(plaintext), ret_wrapped);
}

/* Some tokens call a wrong tag a general error. One that wraps and unwraps something else with the
 * same key is not broken. */
static bool works(const struct pkcs11_session *session, struct pkcs11_cipher *cipher,
                  ck_object_handle_t key)
{
    enum way way;
    return choose(session, cipher, key, &way) == CKR_OK && try_way(session, way, key) == CKR_OK;
}

ck_rv_t pkcs11_unwrap(const struct pkcs11_session *session, struct pkcs11_cipher *cipher,
                      ck_object_handle_t key, struct bytes associated, struct bytes wrapped,
                      struct secret *ret_plaintext)
{
    if (wrapped.size == 0 || wrapped.size > PKCS11_WRAPPED_MAX ||
        (wrapped.data[0] != FORM_GCM && wrapped.data[0] != FORM_KEY_WRAP))
        return CKR_ENCRYPTED_DATA_INVALID;
    bool blocks = wrapped.data[0] == FORM_KEY_WRAP && !can(session, CKM_AES_KEY_WRAP);
    ck_rv_t value = unwrap_by(session, blocks, key, associated, wrapped, ret_plaintext);
    if (!says_nothing(value) || !works(session, cipher, key))
        return value;
    value = unwrap_by(session, blocks, key, associated, wrapped, ret_plaintext);
    return says_nothing(value) ? CKR_ENCRYPTED_DATA_INVALID : value;
}

/* ---- Bringing a key in ---- */

static ck_rv_t make_transport_key(const struct pkcs11_session *session, ck_object_handle_t *ret_key)
{
    unsigned char yes = 1, no = 0;
    unsigned long size = 32;
    struct ck_mechanism generate = {CKM_AES_KEY_GEN, NULL, 0};
    struct ck_attribute template[] = {
        {CKA_TOKEN, &no, 1},   {CKA_PRIVATE, &yes, 1}, {CKA_SENSITIVE, &yes, 1},
        {CKA_EXTRACTABLE, &no, 1}, {CKA_ENCRYPT, &yes, 1}, {CKA_DECRYPT, &no, 1},
        {CKA_WRAP, &no, 1},    {CKA_UNWRAP, &yes, 1},  {CKA_VALUE_LEN, &size, sizeof(size)},
    };
    return session->functions->C_GenerateKey(session->handle, &generate, template,
                                             ARRAY_COUNT(template), ret_key);
}

ck_rv_t pkcs11_unwrap_in(const struct pkcs11_session *session, const struct secret *material,
                         struct ck_attribute *template, unsigned long template_count,
                         ck_object_handle_t *ret_key)
{
    struct ck_mechanism mechanism = {CKM_AES_KEY_WRAP, NULL, 0};
    uint8_t wrapped[KW_SIZE];
    ck_object_handle_t transport;
    ck_rv_t value = make_transport_key(session, &transport);
    if (value != CKR_OK)
        return value;
    value = key_wrap_blocks(session, transport, secret_bytes(material), wrapped);
    if (value == CKR_OK)
        value = session->functions->C_UnwrapKey(session->handle, &mechanism, transport, wrapped,
                                                material->size + HALF_BLOCK, template,
                                                template_count, ret_key);
    (void)session->functions->C_DestroyObject(session->handle, transport);
    return value;
}

/* ---- Comparing ---- */

static bool local_block(const struct secret *material, uint8_t ret_block[static BLOCK])
{
    static const uint8_t zeros[BLOCK];
    const EVP_CIPHER *cipher = material->size == 16   ? EVP_aes_128_ecb()
                               : material->size == 24 ? EVP_aes_192_ecb()
                                                      : EVP_aes_256_ecb();
    uint8_t out[BLOCK + BLOCK];
    int size = 0;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool good = context != NULL &&
                EVP_EncryptInit_ex(context, cipher, NULL, material->data, NULL) == 1 &&
                EVP_CIPHER_CTX_set_padding(context, 0) == 1 &&
                EVP_EncryptUpdate(context, out, &size, zeros, BLOCK) == 1 && size == BLOCK;
    EVP_CIPHER_CTX_free(context);
    if (good)
        memcpy(ret_block, out, BLOCK);
    return good;
}

ck_rv_t pkcs11_is_same(const struct pkcs11_session *session, ck_object_handle_t key,
                       const struct secret *material, bool *ret_same)
{
    static const uint8_t zeros[BLOCK];
    struct ck_mechanism ecb = {CKM_AES_ECB, NULL, 0};
    uint8_t here[BLOCK], there[BLOCK + BLOCK];
    unsigned long size = sizeof(there);
    if (!local_block(material, here))
        return CKR_HOST_MEMORY;
    ck_rv_t value = encrypt(session, &ecb, key, bytes_of(zeros, BLOCK), there, &size);
    bool refused = pkcs11_fault(value) == PKCS11_REFUSED;
    *ret_same = refused || CRYPTO_memcmp(here, there, BLOCK) == 0;
    return refused ? CKR_OK : value;
}

const char *pkcs11_cipher_name(const struct pkcs11_session *session,
                               const struct pkcs11_cipher *cipher)
{
    enum way chosen = (enum way)atomic_load(&cipher->way);
    for (size_t i = 0; i < ARRAY_COUNT(ways); i++)
        if (chosen == WAY_UNKNOWN ? can(session, ways[i].mechanism) : ways[i].way == chosen)
            return ways[i].name;
    return NULL;
}
