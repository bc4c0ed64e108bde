/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/shield.h"

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>

#include "crypto/gcm.h"

#define COUNTER_SIZE  8
#define COUNTER_LIMIT (UINT64_C(1) << 48)

static struct secret process_key;
static _Atomic uint64_t next_counter;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A forked child would repeat the parent's nonces: it may open, but no more seal. */
static void exhaust(void)
{
    atomic_store(&next_counter, COUNTER_LIMIT);
}

static void watch_forks(void)
{
    if (pthread_atfork(NULL, NULL, exhaust) != 0)
        exhaust();
}

enum status shield_init(void)
{
    if (process_key.data != NULL)
        return STATUS_OK;
    enum status status = secret_random(&process_key, GCM_KEY_SIZE);
    if (status != STATUS_OK)
        return status;
    atomic_store(&next_counter, 0);
    if (pthread_once(&once, watch_forks) != 0)
        exhaust();
    return STATUS_OK;
}

void shield_close(void)
{
    secret_free(&process_key);
}

/* 32 zero bits and the counter (NIST SP 800-38D §8.2.1, deterministic construction). */
static void nonce_of(const uint8_t counter[static COUNTER_SIZE],
                     uint8_t ret_nonce[static GCM_NONCE_SIZE])
{
    memset(ret_nonce, 0, GCM_NONCE_SIZE - COUNTER_SIZE);
    memcpy(ret_nonce + GCM_NONCE_SIZE - COUNTER_SIZE, counter, COUNTER_SIZE);
}

enum status shield_seal(struct bytes context, struct bytes plaintext, uint8_t *ret_sealed)
{
    struct crypto_context *own = crypto_context();
    if (own == NULL)
        return STATUS_NO_MEMORY;
    uint64_t counter = atomic_fetch_add_explicit(&next_counter, 1, memory_order_relaxed);
    if (process_key.data == NULL || counter >= COUNTER_LIMIT)
        return STATUS_CRYPTO_FAILED;
    counter = htobe64(counter);
    memcpy(ret_sealed, &counter, COUNTER_SIZE);
    uint8_t nonce[GCM_NONCE_SIZE];
    nonce_of(ret_sealed, nonce);
    return gcm_seal(own, process_key.data, nonce, context, plaintext, ret_sealed + COUNTER_SIZE);
}

enum status shield_open_into(struct bytes context, struct bytes sealed, uint8_t *ret_plaintext)
{
    if (process_key.data == NULL || sealed.size < SHIELD_OVERHEAD)
        return STATUS_CRYPTO_FAILED;
    struct crypto_context *own = crypto_context();
    if (own == NULL)
        return STATUS_NO_MEMORY;
    uint8_t nonce[GCM_NONCE_SIZE];
    nonce_of(sealed.data, nonce);
    return gcm_open(own, process_key.data, nonce, context,
                    bytes_of(sealed.data + COUNTER_SIZE, sealed.size - COUNTER_SIZE),
                    ret_plaintext);
}

enum status shield_open(struct bytes context, struct bytes sealed, struct secret *ret_plaintext)
{
    if (sealed.size < SHIELD_OVERHEAD)
        return STATUS_CRYPTO_FAILED;
    struct secret plaintext;
    enum status status = secret_allocate(&plaintext, sealed.size - SHIELD_OVERHEAD);
    if (status != STATUS_OK)
        return status;
    status = shield_open_into(context, sealed, plaintext.data);
    if (status == STATUS_OK)
        *ret_plaintext = secret_take(&plaintext);
    secret_free(&plaintext);
    return status;
}
