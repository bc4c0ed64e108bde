/* SPDX-License-Identifier: Apache-2.0 */
#include "net/clients.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    REMEMBERED = 1024,   /* certificates without a connection */
    OFFERS_TO_NEW = 4,   /* tickets for a certificate that never used one */
    OFFERS_TO_USER = 64, /* and after each use */
    OFFER_RARELY = 256,  /* beyond that: one in so many connections */
};

/* Links are indices into entries[]; 0 is the end of the list of unused entries. */
struct entry {
    uint8_t fingerprint[NET_FINGERPRINT_SIZE];
    uint32_t chain; /* next of the same bucket, 0 none */
    uint32_t older; /* neighbours in the list of unused entries, when connections is 0 */
    uint32_t younger;
    uint32_t connections;
    uint32_t offers; /* tickets left to offer */
    uint32_t passed; /* connections without an offer since the last one */
    bool known;      /* has a fingerprint, is in a bucket */
};

struct clients {
    pthread_mutex_t lock;
    uint32_t per_certificate;
    uint64_t seed; /* so that nobody can choose certificates that share a bucket */
    uint32_t bucket_mask;
    uint32_t *buckets;
    struct entry *entries;
};

static uint32_t *bucket_of(const struct clients *clients, const uint8_t *fingerprint)
{
    uint64_t words[2];
    memcpy(words, fingerprint, sizeof(words));
    uint64_t mixed = (words[0] ^ clients->seed) * (words[1] | 1) + clients->seed;
    mixed = (mixed ^ (mixed >> 29)) * (clients->seed | 1);
    return &clients->buckets[(uint32_t)(mixed >> 32) & clients->bucket_mask];
}

static void unused_remove(struct clients *clients, struct entry *entry)
{
    clients->entries[entry->older].younger = entry->younger;
    clients->entries[entry->younger].older = entry->older;
}

static void unused_add(struct clients *clients, struct entry *entry)
{
    struct entry *ends = &clients->entries[0];
    uint32_t index = (uint32_t)(entry - ends);
    entry->older = ends->older;
    entry->younger = 0;
    clients->entries[entry->older].younger = index;
    ends->older = index;
}

enum status clients_make(size_t connections_max, unsigned per_certificate,
                         struct clients **ret_clients)
{
    size_t count = connections_max + REMEMBERED + 1;
    size_t buckets = 1024;
    while (buckets < count)
        buckets *= 2;
    struct clients *clients = calloc(1, sizeof(*clients));
    if (clients == NULL)
        return STATUS_NO_MEMORY;
    clients->buckets = calloc(buckets, sizeof(*clients->buckets));
    clients->entries = calloc(count, sizeof(*clients->entries));
    clients->bucket_mask = (uint32_t)(buckets - 1);
    clients->per_certificate = per_certificate;
    enum status status = STATUS_OK;
    if (clients->buckets == NULL || clients->entries == NULL)
        status = STATUS_NO_MEMORY;
    else if (RAND_bytes((uint8_t *)&clients->seed, sizeof(clients->seed)) != 1)
        status = STATUS_CRYPTO_FAILED;
    (void)pthread_mutex_init(&clients->lock, NULL);
    if (status != STATUS_OK) {
        clients_free(clients);
        return status;
    }
    for (size_t i = 1; i < count; ++i)
        unused_add(clients, &clients->entries[i]);
    *ret_clients = clients;
    return STATUS_OK;
}

void clients_free(struct clients *clients)
{
    if (clients == NULL)
        return;
    (void)pthread_mutex_destroy(&clients->lock);
    free(clients->buckets);
    free(clients->entries);
    free(clients);
}

static struct entry *find(struct clients *clients, const uint8_t *fingerprint)
{
    for (uint32_t i = *bucket_of(clients, fingerprint); i != 0; i = clients->entries[i].chain)
        if (memcmp(clients->entries[i].fingerprint, fingerprint, NET_FINGERPRINT_SIZE) == 0)
            return &clients->entries[i];
    return NULL;
}

static void forget(struct clients *clients, struct entry *entry)
{
    uint32_t index = (uint32_t)(entry - clients->entries);
    uint32_t *link = bucket_of(clients, entry->fingerprint);
    while (*link != index)
        link = &clients->entries[*link].chain;
    *link = entry->chain;
    entry->known = false;
}

/* There is always an unused entry: there are more entries than connections. */
static struct entry *remember(struct clients *clients, const uint8_t *fingerprint)
{
    struct entry *entry = &clients->entries[clients->entries[0].younger];
    if (entry->known)
        forget(clients, entry);
    uint32_t *bucket = bucket_of(clients, fingerprint);
    memcpy(entry->fingerprint, fingerprint, NET_FINGERPRINT_SIZE);
    entry->chain = *bucket;
    *bucket = (uint32_t)(entry - clients->entries);
    entry->known = true;
    entry->offers = OFFERS_TO_NEW;
    entry->passed = 0;
    return entry;
}

static bool offer_ticket(struct entry *entry, bool resumed)
{
    if (resumed)
        entry->offers = OFFERS_TO_USER;
    if (entry->offers > 0) {
        --entry->offers;
        return true;
    }
    entry->passed = (entry->passed + 1) % OFFER_RARELY;
    return entry->passed == 0;
}

enum status clients_enter(struct clients *clients, const uint8_t fingerprint[NET_FINGERPRINT_SIZE],
                          bool resumed, bool *ret_offer_ticket)
{
    enum status status = STATUS_BUSY;
    (void)pthread_mutex_lock(&clients->lock);
    struct entry *entry = find(clients, fingerprint);
    if (entry == NULL)
        entry = remember(clients, fingerprint);
    if (entry->connections < clients->per_certificate) {
        if (entry->connections++ == 0)
            unused_remove(clients, entry);
        *ret_offer_ticket = offer_ticket(entry, resumed);
        status = STATUS_OK;
    }
    (void)pthread_mutex_unlock(&clients->lock);
    return status;
}

void clients_leave(struct clients *clients, const uint8_t fingerprint[NET_FINGERPRINT_SIZE])
{
    (void)pthread_mutex_lock(&clients->lock);
    struct entry *entry = find(clients, fingerprint);
    if (--entry->connections == 0)
        unused_add(clients, entry);
    (void)pthread_mutex_unlock(&clients->lock);
}
