/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/root_keys.h"

#include <stdlib.h>

#include "keymanager/blob.h"

/* ---- One root key ---- */

struct root_key *root_key_new(const struct uuid *id, int64_t created)
{
    struct root_key *root_key = calloc(1, sizeof(*root_key));
    if (root_key != NULL)
        *root_key = (struct root_key){.id = *id, .state = ROOT_KEY_ACTIVE, .created = created};
    return root_key;
}

static const struct root_key_version *newest(const struct root_key *root_key)
{
    return root_key->version_count == 0 ? NULL : &root_key->versions[root_key->version_count - 1];
}

static enum status append_version(struct root_key *root_key, uint32_t number, int64_t created,
                                  struct secret *key)
{
    const struct root_key_version *last = newest(root_key);
    if (number <= (last == NULL ? 0 : last->number))
        return STATUS_INVALID_ARGUMENT;
    struct root_key_version *versions =
        reallocarray(root_key->versions, root_key->version_count + 1, sizeof(*root_key->versions));
    if (versions == NULL)
        return STATUS_NO_MEMORY;
    root_key->versions = versions;
    struct aead_key *aead;
    enum status status = aead_key_open(secret_bytes(key), &aead);
    if (status != STATUS_OK)
        return status;
    versions[root_key->version_count++] = (struct root_key_version){
        .number = number, .created = created, .key = secret_take(key), .aead = aead};
    root_key->newest = number;
    return STATUS_OK;
}

enum status root_key_add_version(struct root_key *root_key, uint32_t number, int64_t created,
                                 struct secret *key)
{
    enum status status = append_version(root_key, number, created, key);
    secret_free(key);
    return status;
}

static enum status copy_versions(const struct root_key *from, struct root_key *to)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < from->version_count && status == STATUS_OK; i++) {
        const struct root_key_version *version = &from->versions[i];
        struct secret key;
        status = secret_copy(&key, secret_bytes(&version->key));
        if (status == STATUS_OK)
            status = root_key_add_version(to, version->number, version->created, &key);
    }
    return status;
}

enum status root_key_copy(const struct root_key *root_key, struct root_key **ret_copy)
{
    struct root_key *copy = calloc(1, sizeof(*copy));
    if (copy == NULL)
        return STATUS_NO_MEMORY;
    *copy = *root_key;
    copy->versions = NULL;
    copy->version_count = 0;
    enum status status = copy_versions(root_key, copy);
    if (status == STATUS_OK)
        *ret_copy = copy;
    else
        root_key_free(copy);
    return status;
}

void root_key_erase(struct root_key *root_key)
{
    for (size_t i = 0; i < root_key->version_count; i++) {
        aead_key_close(root_key->versions[i].aead);
        secret_free(&root_key->versions[i].key);
    }
    free(root_key->versions);
    root_key->versions = NULL;
    root_key->version_count = 0;
}

void root_key_free(struct root_key *root_key)
{
    if (root_key == NULL)
        return;
    root_key_erase(root_key);
    free(root_key);
}

/* ---- The set ---- */

enum status root_keys_init(struct root_keys *set)
{
    pthread_rwlockattr_t attributes;
    *set = (struct root_keys){0};
    if (pthread_rwlockattr_init(&attributes) != 0)
        return STATUS_NO_MEMORY;
    /* Wraps and unwraps that overlap without end must not keep a change out for ever. */
    int result =
        pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    if (result == 0)
        result = pthread_rwlock_init(&set->lock, &attributes);
    (void)pthread_rwlockattr_destroy(&attributes);
    return result == 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

void root_keys_free(struct root_keys *set)
{
    for (size_t i = 0; i < set->count; i++)
        root_key_free(set->keys[i]);
    free(set->keys);
    (void)pthread_rwlock_destroy(&set->lock);
    *set = (struct root_keys){0};
}

static void lock_shared(struct root_keys *set)
{
    (void)pthread_rwlock_rdlock(&set->lock);
}

static void lock_alone(struct root_keys *set)
{
    (void)pthread_rwlock_wrlock(&set->lock);
}

static void unlock(struct root_keys *set)
{
    (void)pthread_rwlock_unlock(&set->lock);
}

/* Where `id` is, or would be. */
static size_t position(const struct root_keys *set, const struct uuid *id)
{
    size_t low = 0;
    size_t high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(set->keys[middle]->id.bytes, id->bytes, UUID_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const struct root_keys *set, size_t place, const struct uuid *id)
{
    return place < set->count && uuid_equal(&set->keys[place]->id, id);
}

static struct root_key *find(const struct root_keys *set, const struct uuid *id)
{
    size_t place = position(set, id);
    return is_at(set, place, id) ? set->keys[place] : NULL;
}

static enum status reserve(struct root_keys *set)
{
    if (set->count < set->capacity)
        return STATUS_OK;
    size_t capacity = set->capacity == 0 ? 8 : 2 * set->capacity;
    struct root_key **keys = reallocarray(set->keys, capacity, sizeof(struct root_key *));
    if (keys == NULL)
        return STATUS_NO_MEMORY;
    set->keys = keys;
    set->capacity = capacity;
    return STATUS_OK;
}

enum status root_keys_reserve(struct root_keys *set)
{
    lock_alone(set);
    enum status status = reserve(set);
    unlock(set);
    return status;
}

static enum status put(struct root_keys *set, struct root_key *root_key)
{
    size_t place = position(set, &root_key->id);
    if (is_at(set, place, &root_key->id)) {
        root_key_free(set->keys[place]);
    } else {
        enum status status = reserve(set);
        if (status != STATUS_OK)
            return status;
        memmove(set->keys + place + 1, set->keys + place,
                (set->count - place) * sizeof(struct root_key *));
        set->count++;
    }
    set->keys[place] = root_key;
    return STATUS_OK;
}

enum status root_keys_put(struct root_keys *set, struct root_key *root_key)
{
    lock_alone(set);
    enum status status = put(set, root_key);
    unlock(set);
    return status;
}

enum status root_keys_copy(struct root_keys *set, const struct uuid *id, struct root_key **ret_copy)
{
    lock_shared(set);
    const struct root_key *root_key = find(set, id);
    enum status status = root_key == NULL ? STATUS_NOT_FOUND : root_key_copy(root_key, ret_copy);
    unlock(set);
    return status;
}

/* ---- Use ---- */

/* Version `number`, or the newest for 0. NULL if there is none or it may not be used. */
static const struct root_key_version *usable(const struct root_keys *set, const struct uuid *id,
                                             uint32_t number)
{
    const struct root_key *root_key = find(set, id);
    if (root_key == NULL || root_key->state != ROOT_KEY_ACTIVE)
        return NULL;
    for (size_t i = root_key->version_count; i-- > 0;)
        if (number == 0 || number == root_key->versions[i].number)
            return &root_key->versions[i];
    return NULL;
}

enum status root_keys_wrap(struct root_keys *set, const struct wrap_binding *binding,
                           const struct secret *plaintext, struct buffer *ret_wrapped)
{
    lock_shared(set);
    const struct root_key_version *version = usable(set, &binding->root_key, 0);
    enum status status = STATUS_ROOT_KEY_UNAVAILABLE;
    if (version != NULL)
        status = blob_seal(version->aead, version->number, binding, plaintext, ret_wrapped);
    unlock(set);
    return status;
}

enum status root_keys_unwrap(struct root_keys *set, const struct wrap_binding *binding,
                             struct wrapped wrapped, struct secret *ret_plaintext)
{
    uint32_t number;
    enum status status = blob_version(wrapped.blob, binding, &number);
    if (status != STATUS_OK)
        return status;
    lock_shared(set);
    const struct root_key_version *version = usable(set, &binding->root_key, number);
    status = STATUS_ROOT_KEY_UNAVAILABLE;
    if (version != NULL)
        status = blob_open(version->aead, wrapped.blob, ret_plaintext);
    unlock(set);
    return status;
}

/* The blob under version `number`, opened and sealed under the newest. The set is locked. */
static enum status rewrap_from(const struct root_keys *set, const struct wrap_binding *binding,
                               struct bytes blob, uint32_t number, struct buffer *ret_wrapped)
{
    const struct root_key_version *old = usable(set, &binding->root_key, number);
    const struct root_key_version *last = usable(set, &binding->root_key, 0);
    struct secret plaintext = {0};
    if (old == NULL || last == NULL)
        return STATUS_ROOT_KEY_UNAVAILABLE;
    if (old == last)
        return STATUS_OK;
    enum status status = blob_open(old->aead, blob, &plaintext);
    if (status == STATUS_OK)
        status = blob_seal(last->aead, last->number, binding, &plaintext, ret_wrapped);
    secret_free(&plaintext);
    return status;
}

enum status root_keys_rewrap(struct root_keys *set, const struct wrap_binding *binding,
                             struct wrapped wrapped, struct buffer *ret_wrapped)
{
    uint32_t number;
    enum status status = blob_version(wrapped.blob, binding, &number);
    if (status != STATUS_OK)
        return status;
    lock_shared(set);
    status = rewrap_from(set, binding, wrapped.blob, number, ret_wrapped);
    unlock(set);
    return status;
}

enum status root_keys_is_newest(struct root_keys *set, struct wrapped wrapped, bool *ret_newest)
{
    uint32_t number;
    struct wrap_binding binding;
    enum status status = blob_origin(wrapped.blob, &number, &binding);
    if (status != STATUS_OK)
        return status;
    lock_shared(set);
    const struct root_key *root_key = find(set, &binding.root_key);
    if (root_key == NULL || root_key->version_count == 0 || number > root_key->newest)
        status = STATUS_ROOT_KEY_UNAVAILABLE;
    else
        *ret_newest = number == root_key->newest;
    unlock(set);
    return status;
}

static struct root_key_info info_of(const struct root_key *root_key)
{
    return (struct root_key_info){
        .id = root_key->id,
        .state = root_key->state,
        .version = root_key->newest,
        .imported = root_key->imported,
        .purged = root_key->version_count == 0,
        .created = root_key->created,
        .rotated = root_key->rotated,
        .deleted = root_key->deleted,
    };
}

enum status root_keys_info(struct root_keys *set, const struct uuid *id,
                           struct root_key_info *ret_info)
{
    lock_shared(set);
    const struct root_key *root_key = find(set, id);
    if (root_key != NULL)
        *ret_info = info_of(root_key);
    unlock(set);
    return root_key != NULL ? STATUS_OK : STATUS_NOT_FOUND;
}

enum status root_keys_visit(struct root_keys *set, keymanager_visit_root_key *visit, void *context)
{
    lock_shared(set);
    size_t count = set->count;
    struct root_key_info *infos = calloc(count > 0 ? count : 1, sizeof(*infos));
    for (size_t i = 0; i < count && infos != NULL; i++)
        infos[i] = info_of(set->keys[i]);
    unlock(set);
    if (infos == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < count && visit(context, &infos[i]); i++)
        ;
    free(infos);
    return STATUS_OK;
}

enum status root_keys_set_state(struct root_keys *set, const struct uuid *id,
                                enum root_key_state state)
{
    lock_alone(set);
    struct root_key *root_key = find(set, id);
    if (root_key != NULL)
        root_key->state = state;
    unlock(set);
    return root_key != NULL ? STATUS_OK : STATUS_NOT_FOUND;
}
