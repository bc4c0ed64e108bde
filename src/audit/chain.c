/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/chain.h"

enum status chain_init(struct chain *chain)
{
    *chain = (struct chain){0};
    chain->digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    chain->context = EVP_MD_CTX_new();
    if (chain->digest != NULL && chain->context != NULL)
        return STATUS_OK;
    chain_free(chain);
    return STATUS_CRYPTO_FAILED;
}

void chain_free(struct chain *chain)
{
    EVP_MD_CTX_free(chain->context);
    EVP_MD_free(chain->digest);
    chain->context = NULL;
    chain->digest = NULL;
}

enum status chain_next(struct chain *chain, struct bytes body)
{
    uint8_t value[AUDIT_HASH_SIZE];
    if (EVP_DigestInit_ex2(chain->context, chain->digest, NULL) != 1 ||
        EVP_DigestUpdate(chain->context, chain->position.value, AUDIT_HASH_SIZE) != 1 ||
        EVP_DigestUpdate(chain->context, body.data, body.size) != 1 ||
        EVP_DigestFinal_ex(chain->context, value, NULL) != 1)
        return STATUS_CRYPTO_FAILED;
    memcpy(chain->position.value, value, AUDIT_HASH_SIZE);
    chain->position.sequence++;
    return STATUS_OK;
}
