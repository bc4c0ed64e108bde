/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/digest.h"

#include <endian.h>
#include <openssl/evp.h>

#include "crypto/context.h"

static bool digest(EVP_MD_CTX *context, const EVP_MD *algorithm, const struct bytes *pieces,
                   size_t count, uint8_t *ret_digest)
{
    if (EVP_DigestInit_ex2(context, algorithm, NULL) != 1)
        return false;
    for (size_t i = 0; i < count; i++)
        if (EVP_DigestUpdate(context, pieces[i].data, pieces[i].size) != 1)
            return false;
    return EVP_DigestFinal_ex(context, ret_digest, NULL) == 1;
}

enum status digest_sha256_pieces(const struct bytes *pieces, size_t count,
                                 uint8_t ret_digest[static SHA256_SIZE])
{
    struct crypto_context *context = crypto_context();
    if (context == NULL)
        return STATUS_NO_MEMORY;
    return digest(context->digest, context->sha256, pieces, count, ret_digest)
               ? STATUS_OK
               : STATUS_CRYPTO_FAILED;
}

enum status digest_sha256(struct bytes bytes, uint8_t ret_digest[static SHA256_SIZE])
{
    return digest_sha256_pieces(&bytes, 1, ret_digest);
}

enum status digest_term(const struct bytes *pieces, size_t count, uint64_t *ret_term)
{
    uint8_t whole[SHA256_SIZE];
    enum status status = digest_sha256_pieces(pieces, count, whole);
    if (status != STATUS_OK)
        return status;
    uint64_t term;
    memcpy(&term, whole, sizeof(term));
    *ret_term = be64toh(term);
    return STATUS_OK;
}

enum status digest_sha1(struct bytes bytes, uint8_t ret_digest[static SHA1_SIZE])
{
    struct crypto_context *context = crypto_context();
    if (context == NULL)
        return STATUS_NO_MEMORY;
    if (context->sha1 == NULL || !digest(context->digest, context->sha1, &bytes, 1, ret_digest))
        return STATUS_CRYPTO_FAILED;
    return STATUS_OK;
}
