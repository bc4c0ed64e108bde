/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tickets.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"

enum {
    ROTATE_SECONDS = 60 * 60,
    KEYS = TICKET_LIFE_SECONDS / ROTATE_SECONDS + 1,
    NAME_SIZE = 16,
    KEY_SIZE = 32,
};

struct ticket_key {
    uint8_t name[NAME_SIZE]; /* in the ticket, in the clear */
    uint8_t cipher[KEY_SIZE];
    uint8_t mac[KEY_SIZE];
};

struct tickets {
    pthread_mutex_t lock;
    struct ticket_key *keys; /* a ring of KEYS, in locked memory */
    unsigned newest;
    unsigned count;
    int64_t made; /* when the newest was, monotonic milliseconds */
    EVP_CIPHER *cipher;
};

static enum status add_key(struct tickets *tickets, int64_t now)
{
    unsigned at = (tickets->newest + 1) % KEYS;
    struct ticket_key *key = &tickets->keys[at];
    if (tickets->count == KEYS)
        --tickets->count; /* the oldest, whose place this is, is overwritten */
    if (RAND_bytes(key->name, sizeof(key->name)) != 1 ||
        RAND_priv_bytes(key->cipher, sizeof(key->cipher)) != 1 ||
        RAND_priv_bytes(key->mac, sizeof(key->mac)) != 1)
        return STATUS_CRYPTO_FAILED;
    tickets->newest = at;
    ++tickets->count;
    tickets->made = now;
    return STATUS_OK;
}

/* Hours without a handshake age the keys as well: a day after the last, none is left that would
 * open a ticket. */
static void rotate(struct tickets *tickets, int64_t now)
{
    int64_t age = (now - tickets->made) / 1000;
    if (age < ROTATE_SECONDS)
        return;
    int64_t expired = age / ROTATE_SECONDS - 1;
    while (expired-- > 0 && tickets->count > 0)
        --tickets->count;
    (void)add_key(tickets, now); /* without randomness the older key stays in use */
}

void tickets_rotate(struct tickets *tickets, int64_t now)
{
    (void)pthread_mutex_lock(&tickets->lock);
    rotate(tickets, now);
    (void)pthread_mutex_unlock(&tickets->lock);
}

enum status tickets_make(struct tickets **ret_tickets, struct error *error)
{
    struct tickets *tickets = calloc(1, sizeof(*tickets));
    if (tickets == NULL)
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    (void)pthread_mutex_init(&tickets->lock, NULL);
    tickets->keys = locked_allocate(KEYS * sizeof(*tickets->keys));
    tickets->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    enum status status = STATUS_OK;
    if (tickets->keys == NULL)
        status = error_set(error, STATUS_NO_MEMORY,
                           "cannot lock memory for session ticket keys: raise RLIMIT_MEMLOCK");
    else if (tickets->cipher == NULL || add_key(tickets, clock_monotonic()) != STATUS_OK)
        status = error_set(error, STATUS_CRYPTO_FAILED, "cannot make session ticket keys");
    if (status != STATUS_OK) {
        tickets_free(tickets);
        return status;
    }
    *ret_tickets = tickets;
    return STATUS_OK;
}

void tickets_free(struct tickets *tickets)
{
    if (tickets == NULL)
        return;
    locked_free(tickets->keys, KEYS * sizeof(*tickets->keys));
    EVP_CIPHER_free(tickets->cipher);
    (void)pthread_mutex_destroy(&tickets->lock);
    free(tickets);
}

/* The key of that name, NULL when it is not ours or too old. *ret_age: 0 for the newest. */
static const struct ticket_key *find(const struct tickets *tickets, const uint8_t *name,
                                     unsigned *ret_age)
{
    for (unsigned age = 0; age < tickets->count; ++age) {
        const struct ticket_key *key = &tickets->keys[(tickets->newest + KEYS - age) % KEYS];
        *ret_age = age;
        if (memcmp(key->name, name, NAME_SIZE) == 0)
            return key;
    }
    return NULL;
}

static bool init_mac(EVP_MAC_CTX *context, const struct ticket_key *key)
{
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, sizeof(digest) - 1), OSSL_PARAM_END};
    return EVP_MAC_init(context, key->mac, sizeof(key->mac), parameters) == 1;
}

/* Both as tls_ticket_key_cb(3) wants: -1 failure, 0 unknown key, 1 done, 2 done and renew. */
static int seal(const struct tickets *tickets, uint8_t *ret_name, uint8_t *ret_iv,
                EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    const struct ticket_key *key = &tickets->keys[tickets->newest];
    memcpy(ret_name, key->name, NAME_SIZE);
    if (RAND_bytes(ret_iv, EVP_CIPHER_get_iv_length(tickets->cipher)) != 1 ||
        EVP_EncryptInit_ex2(cipher, tickets->cipher, key->cipher, ret_iv, NULL) != 1 ||
        !init_mac(mac, key))
        return -1;
    return 1;
}

static int open(const struct tickets *tickets, const uint8_t *name, const uint8_t *iv,
                EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    unsigned age;
    const struct ticket_key *key = find(tickets, name, &age);
    if (key == NULL)
        return 0;
    if (EVP_DecryptInit_ex2(cipher, tickets->cipher, key->cipher, iv, NULL) != 1 ||
        !init_mac(mac, key))
        return -1;
    return age == 0 ? 1 : 2;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int sealing)
{
    struct tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    (void)pthread_mutex_lock(&tickets->lock);
    rotate(tickets, clock_monotonic());
    int result =
        sealing ? seal(tickets, name, iv, cipher, mac) : open(tickets, name, iv, cipher, mac);
    (void)pthread_mutex_unlock(&tickets->lock);
    return result;
}

void tickets_use(struct tickets *tickets, SSL_CTX *context)
{
    (void)SSL_CTX_set_app_data(context, tickets);
    (void)SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
}
