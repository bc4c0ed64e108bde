/* SPDX-License-Identifier: Apache-2.0 */
#include "core/credential.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/request.h"
#include "crypto/digest.h"
#include "crypto/password.h"

#define REMEMBERED 256

struct credential_cache {
    pthread_mutex_t lock;
    struct secret key;
    uint8_t digests[REMEMBERED][SHA256_SIZE];
    unsigned next; /* the place that is overwritten next */
};

enum status credential_cache_open(struct credential_cache **ret_cache)
{
    struct credential_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return STATUS_NO_MEMORY;
    enum status status = secret_random(&cache->key, SHA256_SIZE);
    /* Places that were never filled must match nothing that anybody can compute. */
    if (status == STATUS_OK && RAND_bytes(&cache->digests[0][0], (int)sizeof(cache->digests)) != 1)
        status = STATUS_CRYPTO_FAILED;
    if (status != STATUS_OK) {
        secret_free(&cache->key);
        free(cache);
        return status;
    }
    pthread_mutex_init(&cache->lock, NULL);
    *ret_cache = cache;
    return STATUS_OK;
}

void credential_cache_close(struct credential_cache *cache)
{
    if (cache == NULL)
        return;
    secret_free(&cache->key);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

/* The key's and the digest's sizes are fixed and the stored hash has no NUL, so that the pieces
 * cannot run into each other. */
static enum status digest_of(const struct credential_cache *cache, struct bytes password,
                             const char *password_hash, uint8_t ret_digest[static SHA256_SIZE])
{
    const struct bytes pieces[] = {secret_bytes(&cache->key),
                                   bytes_of(password_hash, strlen(password_hash) + 1), password};
    return digest_sha256_pieces(pieces, ARRAY_COUNT(pieces), ret_digest);
}

static bool is_remembered(struct credential_cache *cache, const uint8_t digest[static SHA256_SIZE])
{
    bool found = false;
    pthread_mutex_lock(&cache->lock);
    for (unsigned i = 0; i < REMEMBERED && !found; i++)
        found = memcmp(cache->digests[i], digest, SHA256_SIZE) == 0;
    pthread_mutex_unlock(&cache->lock);
    return found;
}

static void remember(struct credential_cache *cache, const uint8_t digest[static SHA256_SIZE])
{
    pthread_mutex_lock(&cache->lock);
    memcpy(cache->digests[cache->next], digest, SHA256_SIZE);
    cache->next = (cache->next + 1) % REMEMBERED;
    pthread_mutex_unlock(&cache->lock);
}

enum status credential_check(struct credential_cache *cache, struct bytes password,
                             const char *password_hash)
{
    uint8_t digest[SHA256_SIZE];
    enum status status = digest_of(cache, password, password_hash, digest);
    if (status != STATUS_OK || is_remembered(cache, digest))
        return status;
    status = password_verify(password, password_hash);
    if (status == STATUS_OK)
        remember(cache, digest);
    /* What the administrator set came from the store: no fault of the client's. */
    return status == STATUS_INVALID_ARGUMENT ? STATUS_STORE_CORRUPT : status;
}

static enum status check_username_password(struct request *request,
                                           const struct kmip_credential *credential)
{
    struct kmip_username_password given;
    const struct core_session *session = request->session;
    if (credential->value.type != TTLV_STRUCTURE ||
        kmip_decode(&kmip_username_password_shape, ttlv_reader_over(credential->value.value),
                    &request->arena, &given) != STATUS_OK)
        return STATUS_INVALID_FIELD;
    /* Nothing configured: the certificate alone decides, whatever the client was told to send. */
    if (session->username[0] == '\0')
        return STATUS_OK;
    if (!bytes_equal_text(given.username, session->username))
        return STATUS_NOT_AUTHENTICATED;
    return credential_check(request->core->credentials, given.password, session->password_hash);
}

enum status request_authenticate(struct request *request,
                                 const struct kmip_authentication *authentication)
{
    if (authentication == NULL)
        return STATUS_OK;
    const struct kmip_credential *credentials = authentication->credentials.items;
    for (size_t i = 0; i < authentication->credentials.count; i++) {
        if (credentials[i].type.value != KMIP_CREDENTIAL_TYPE_USERNAME_AND_PASSWORD)
            continue;
        enum status status = check_username_password(request, &credentials[i]);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}
