/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/kdf.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#define MEMORY_MAX ((size_t)1 << 30)
#define LOG2_N_MAX 24
#define R_MAX      64
#define P_MAX      16

static uint64_t memory_of(const struct scrypt_cost *cost)
{
    return 128 * (uint64_t)cost->r * ((UINT64_C(1) << cost->log2_n) + cost->p + 2);
}

bool scrypt_cost_allowed(const struct scrypt_cost *cost, size_t memory)
{
    return cost->log2_n >= 1 && cost->log2_n <= LOG2_N_MAX && cost->r >= 1 && cost->r <= R_MAX &&
           cost->p >= 1 && cost->p <= P_MAX && memory_of(cost) <= memory;
}

static OSSL_PARAM octets(const char *name, struct bytes bytes)
{
    /* OSSL_PARAM has no const; a KDF only reads these. A NULL would mean "not given". */
    const uint8_t *data = bytes.data != NULL ? bytes.data : (const uint8_t *)"";
    return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)data, bytes.size);
}

static enum status run(const char *name, const OSSL_PARAM *parameters, uint8_t *ret_key,
                       size_t size)
{
    EVP_KDF *algorithm = EVP_KDF_fetch(NULL, name, NULL);
    EVP_KDF_CTX *context = algorithm == NULL ? NULL : EVP_KDF_CTX_new(algorithm);
    bool good = context != NULL && EVP_KDF_derive(context, ret_key, size, parameters) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(algorithm);
    if (!good)
        ERR_clear_error();
    return good ? STATUS_OK : STATUS_CRYPTO_FAILED;
}

enum status kdf_scrypt(struct bytes password, struct bytes salt, const struct scrypt_cost *cost,
                       uint8_t *ret_key, size_t size)
{
    if (!scrypt_cost_allowed(cost, MEMORY_MAX))
        return STATUS_INVALID_ARGUMENT;
    uint64_t n = UINT64_C(1) << cost->log2_n;
    uint32_t r = cost->r;
    uint32_t p = cost->p;
    uint64_t memory = memory_of(cost);
    const OSSL_PARAM parameters[] = {
        octets(OSSL_KDF_PARAM_PASSWORD, password),
        octets(OSSL_KDF_PARAM_SALT, salt),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory),
        OSSL_PARAM_construct_end(),
    };
    return run("SCRYPT", parameters, ret_key, size);
}

enum status kdf_hkdf(struct bytes material, struct bytes salt, struct bytes info, uint8_t *ret_key,
                     size_t size)
{
    char sha256[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha256, 0),
        octets(OSSL_KDF_PARAM_KEY, material),
        octets(OSSL_KDF_PARAM_SALT, salt),
        octets(OSSL_KDF_PARAM_INFO, info),
        OSSL_PARAM_construct_end(),
    };
    return run("HKDF", parameters, ret_key, size);
}
