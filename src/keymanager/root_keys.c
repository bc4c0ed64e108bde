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
    return STATUS_OK;
}

enum status root_key_add_version(struct root_key *root_key, uint32_t number, int64_t created,
                                 struct secret *key)
{
    enum status status = append_version(root_key, number, created, key);
    secret_free(key);
    return status;
}

enum status root_key_make(int64_t now, struct root_key **ret_root_key)
{
    struct uuid id;
    struct secret key;
    enum status status = uuid_make(now, &id);
    if (status != STATUS_OK)
        return status;
    status = secret_random(&key, AEAD_KEY_SIZE);
    if (status != STATUS_OK)
        return status;
    struct root_key *root_key = root_key_new(&id, now);
    if (root_key == NULL) {
        secret_free(&key);
        return STATUS_NO_MEMORY;
    }
    status = root_key_add_version(root_key, 1, now, &key);
    if (status == STATUS_OK)
        *ret_root_key = root_key;
    else
        root_key_free(root_key);
    return status;
}

void root_key_free(struct root_key *root_key)
{
    if (root_key == NULL)
        return;
    for (size_t i = 0; i < root_key->version_count; i++) {
        aead_key_close(root_key->versions[i].aead);
        secret_free(&root_key->versions[i].key);
    }
    free(root_key->versions);
    free(root_key);
}

/* ---- The set ---- */

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

enum status root_keys_reserve(struct root_keys *set)
{
    if (set->count < set->capacity)
        return STATUS_OK;
    size_t capacity = set->capacity == 0 ? 8 : 2 * set->capacity;
    struct root_key **keys = reallocarray(set->keys, capacity, sizeof(*keys));
    if (keys == NULL)
        return STATUS_NO_MEMORY;
    set->keys = keys;
    set->capacity = capacity;
    return STATUS_OK;
}

void root_keys_put(struct root_keys *set, struct root_key *root_key)
{
    size_t place = position(set, &root_key->id);
    if (is_at(set, place, &root_key->id)) {
        root_key_free(set->keys[place]);
    } else {
        memmove(set->keys + place + 1, set->keys + place,
                (set->count - place) * sizeof(*set->keys));
        set->count++;
    }
    set->keys[place] = root_key;
}

struct root_key *root_keys_find(const struct root_keys *set, const struct uuid *id)
{
    size_t place = position(set, id);
    return is_at(set, place, id) ? set->keys[place] : NULL;
}

void root_keys_free(struct root_keys *set)
{
    for (size_t i = 0; i < set->count; i++)
        root_key_free(set->keys[i]);
    free(set->keys);
    *set = (struct root_keys){0};
}

/* ---- Use ---- */

/* Version `number`, or the newest for 0. NULL if there is none or it may not be used. */
static const struct aead_key *usable_key(const struct root_keys *set, const struct uuid *id,
                                         uint32_t *number)
{
    const struct root_key *root_key = root_keys_find(set, id);
    if (root_key == NULL || root_key->state != ROOT_KEY_ACTIVE)
        return NULL;
    for (size_t i = root_key->version_count; i-- > 0;) {
        if (*number != 0 && *number != root_key->versions[i].number)
            continue;
        *number = root_key->versions[i].number;
        return root_key->versions[i].aead;
    }
    return NULL;
}

enum status root_keys_wrap(const struct root_keys *set, const struct wrap_binding *binding,
                           const struct secret *plaintext, struct buffer *ret_wrapped)
{
    uint32_t version = 0;
    const struct aead_key *key = usable_key(set, &binding->root_key, &version);
    if (key == NULL)
        return STATUS_ROOT_KEY_UNAVAILABLE;
    return blob_seal(key, version, binding, plaintext, ret_wrapped);
}

enum status root_keys_unwrap(const struct root_keys *set, const struct wrap_binding *binding,
                             struct wrapped wrapped, struct secret *ret_plaintext)
{
    uint32_t version;
    enum status status = blob_version(wrapped.blob, binding, &version);
    if (status != STATUS_OK)
        return status;
    const struct aead_key *key = usable_key(set, &binding->root_key, &version);
    if (key == NULL)
        return STATUS_ROOT_KEY_UNAVAILABLE;
    return blob_open(key, wrapped.blob, ret_plaintext);
}

enum status root_keys_info(const struct root_keys *set, const struct uuid *id,
                           struct root_key_info *ret_info)
{
    const struct root_key *root_key = root_keys_find(set, id);
    if (root_key == NULL)
        return STATUS_NOT_FOUND;
    const struct root_key_version *last = newest(root_key);
    *ret_info = (struct root_key_info){
        .id = root_key->id,
        .state = root_key->state,
        .version = last == NULL ? 0 : last->number,
        .created = root_key->created,
    };
    return STATUS_OK;
}
