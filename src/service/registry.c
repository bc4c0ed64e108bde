/* SPDX-License-Identifier: Apache-2.0 */
#include "service/registry.h"

#include <pthread.h>
#include <stdlib.h>

struct known_certificate {
    uint8_t fingerprint[STORE_FINGERPRINT_SIZE];
    int64_t adapter;
};

struct registry {
    struct store *store;
    pthread_mutex_t lock;
    uint64_t generation; /* of the store when the copy was made */
    bool loaded;
    struct adapter_row *adapters; /* ascending by id */
    size_t adapter_count;
    struct known_certificate *certificates; /* ascending by fingerprint */
    size_t certificate_count;
};

enum status registry_open(struct store *store, struct registry **ret_registry)
{
    struct registry *registry = calloc(1, sizeof(*registry));
    if (registry == NULL)
        return STATUS_NO_MEMORY;
    registry->store = store;
    pthread_mutex_init(&registry->lock, NULL);
    *ret_registry = registry;
    return STATUS_OK;
}

void registry_close(struct registry *registry)
{
    if (registry == NULL)
        return;
    pthread_mutex_destroy(&registry->lock);
    free(registry->adapters);
    free(registry->certificates);
    free(registry);
}

/* A growing copy of what the store visits. */
struct copy {
    struct registry *registry;
    size_t capacity;
    bool full; /* no memory */
};

static void *next_place(struct copy *copy, void **array, size_t *count, size_t size)
{
    if (*count == copy->capacity) {
        size_t capacity = copy->capacity == 0 ? 16 : copy->capacity * 2;
        void *grown = reallocarray(*array, capacity, size);
        if (grown == NULL) {
            copy->full = true;
            return NULL;
        }
        *array = grown;
        copy->capacity = capacity;
    }
    return (uint8_t *)*array + size * (*count)++;
}

static bool copy_adapter(void *context, const struct adapter_row *row)
{
    struct copy *copy = context;
    struct registry *registry = copy->registry;
    struct adapter_row *place =
        next_place(copy, (void **)&registry->adapters, &registry->adapter_count, sizeof(*row));
    if (place != NULL)
        *place = *row;
    return place != NULL;
}

static bool copy_certificate(void *context, const struct certificate_row *row)
{
    struct copy *copy = context;
    struct registry *registry = copy->registry;
    struct known_certificate *place = next_place(copy, (void **)&registry->certificates,
                                                 &registry->certificate_count, sizeof(*place));
    if (place == NULL)
        return false;
    memcpy(place->fingerprint, row->fingerprint, sizeof(place->fingerprint));
    place->adapter = row->adapter;
    return true;
}

static int by_fingerprint(const void *a, const void *b)
{
    return memcmp(((const struct known_certificate *)a)->fingerprint,
                  ((const struct known_certificate *)b)->fingerprint, STORE_FINGERPRINT_SIZE);
}

static int by_id(const void *a, const void *b)
{
    int64_t first = ((const struct adapter_row *)a)->id;
    int64_t second = ((const struct adapter_row *)b)->id;
    return (first > second) - (first < second);
}

static void empty(struct registry *registry)
{
    free(registry->adapters);
    free(registry->certificates);
    registry->adapters = NULL;
    registry->certificates = NULL;
    registry->adapter_count = registry->certificate_count = 0;
    registry->loaded = false;
}

/* Reads everything anew. Under the lock. */
static enum status load(struct registry *registry, struct store_session *store)
{
    struct copy adapters = {.registry = registry};
    struct copy certificates = {.registry = registry};
    /* Read first: what changes while we read makes the next request read again. */
    uint64_t generation = store_generation(registry->store);
    empty(registry);
    enum status status = store_adapters(store, copy_adapter, &adapters);
    if (status == STATUS_OK)
        status = store_certificates(store, 0, copy_certificate, &certificates);
    if (status == STATUS_OK && (adapters.full || certificates.full))
        status = STATUS_NO_MEMORY;
    if (status != STATUS_OK) {
        empty(registry);
        return status;
    }
    if (registry->adapter_count > 0)
        qsort(registry->adapters, registry->adapter_count, sizeof(*registry->adapters), by_id);
    if (registry->certificate_count > 0)
        qsort(registry->certificates, registry->certificate_count, sizeof(*registry->certificates),
              by_fingerprint);
    registry->generation = generation;
    registry->loaded = true;
    return STATUS_OK;
}

static const struct adapter_row *find_adapter(const struct registry *registry,
                                              const uint8_t *fingerprint)
{
    struct known_certificate wanted;
    struct adapter_row adapter;
    if (fingerprint == NULL || registry->certificate_count == 0)
        return NULL;
    memcpy(wanted.fingerprint, fingerprint, sizeof(wanted.fingerprint));
    const struct known_certificate *known =
        bsearch(&wanted, registry->certificates, registry->certificate_count, sizeof(wanted),
                by_fingerprint);
    if (known == NULL || registry->adapter_count == 0)
        return NULL;
    adapter.id = known->adapter;
    return bsearch(&adapter, registry->adapters, registry->adapter_count, sizeof(adapter), by_id);
}

static void bind_to(struct core_session *session, const struct adapter_row *adapter)
{
    session->adapter = 0;
    session->failure = STATUS_OK;
    session->adapter_name[0] = '\0';
    if (adapter == NULL)
        return;
    session->adapter = adapter->id;
    session->adapter_uuid = adapter->uuid;
    session->key_manager = adapter->key_manager;
    session->root_key = adapter->root_key;
    memcpy(session->adapter_name, adapter->name, sizeof(session->adapter_name));
    memcpy(session->username, adapter->username, sizeof(session->username));
    memcpy(session->password_hash, adapter->password_hash, sizeof(session->password_hash));
}

/* Under the lock. */
static enum status refresh(struct registry *registry, struct store_session *store)
{
    if (registry->loaded && registry->generation == store_generation(registry->store))
        return STATUS_OK;
    return load(registry, store);
}

void registry_bind(struct registry *registry, struct store_session *store,
                   const uint8_t *fingerprint, struct core_session *session, uint64_t *generation)
{
    /* Generation 0 is never a session's: a new one is always bound. */
    if (*generation != 0 && *generation == store_generation(registry->store) + 1)
        return;
    /* One lock for both: between reading and looking, another's reading might fail. */
    pthread_mutex_lock(&registry->lock);
    enum status status = refresh(registry, store);
    bind_to(session, status == STATUS_OK ? find_adapter(registry, fingerprint) : NULL);
    session->failure = status;
    *generation = status == STATUS_OK ? registry->generation + 1 : 0;
    pthread_mutex_unlock(&registry->lock);
}
