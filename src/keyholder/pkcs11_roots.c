/* SPDX-License-Identifier: Apache-2.0 */
#include "keyholder/pkcs11_roots.h"

#include <stdlib.h>

#include "base/clock.h"

enum status pkcs11_roots_init(struct pkcs11_roots *roots)
{
    *roots = (struct pkcs11_roots){.count = 0};
    return pthread_mutex_init(&roots->lock, NULL) == 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

static void root_free(struct pkcs11_root *root)
{
    if (root != NULL)
        free(root->keys);
    free(root);
}

void pkcs11_roots_free(struct pkcs11_roots *roots)
{
    for (size_t i = 0; i < roots->count; i++)
        root_free(roots->roots[i]);
    free(roots->roots);
    (void)pthread_mutex_destroy(&roots->lock);
}

/* ---- The set; with its lock ---- */

static size_t position(const struct pkcs11_roots *roots, const struct uuid *id)
{
    size_t low = 0, high = roots->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(roots->roots[middle]->info.id.bytes, id->bytes, UUID_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct pkcs11_root *lookup(const struct pkcs11_roots *roots, const struct uuid *id)
{
    size_t place = position(roots, id);
    bool there = place < roots->count && uuid_equal(&roots->roots[place]->info.id, id);
    return there ? roots->roots[place] : NULL;
}

static bool put(struct pkcs11_roots *roots, struct pkcs11_root *root)
{
    size_t place = position(roots, &root->info.id);
    if (lookup(roots, &root->info.id) != NULL) {
        root_free(roots->roots[place]);
        roots->roots[place] = root;
        return true;
    }
    if (roots->count == roots->capacity) {
        size_t capacity = roots->capacity == 0 ? 16 : 2 * roots->capacity;
        struct pkcs11_root **more = reallocarray(roots->roots, capacity, sizeof(root));
        if (more == NULL)
            return false;
        roots->roots = more;
        roots->capacity = capacity;
    }
    memmove(roots->roots + place + 1, roots->roots + place,
            (roots->count - place) * sizeof(root));
    roots->roots[place] = root;
    roots->count++;
    return true;
}

static void drop(struct pkcs11_roots *roots, const struct uuid *id)
{
    size_t place = position(roots, id);
    if (lookup(roots, id) == NULL)
        return;
    root_free(roots->roots[place]);
    roots->count--;
    memmove(roots->roots + place, roots->roots + place + 1,
            (roots->count - place) * sizeof(roots->roots[0]));
}

void pkcs11_roots_forget(struct pkcs11_roots *roots, const struct uuid *id)
{
    (void)pthread_mutex_lock(&roots->lock);
    drop(roots, id);
    (void)pthread_mutex_unlock(&roots->lock);
}

/* ---- Reading ---- */

static bool add_keys(struct pkcs11_root *root, const struct pkcs11_key *keys, size_t count)
{
    if (count == 0)
        return true;
    struct pkcs11_key *more = reallocarray(root->keys, root->count + count, sizeof(*keys));
    if (more == NULL)
        return false;
    root->keys = more;
    memcpy(more + root->count, keys, count * sizeof(*keys));
    root->count += count;
    return true;
}

/* The versions before the newest are what they were, so long as the connection is the same. */
static bool take_known(struct pkcs11_roots *roots, const struct pkcs11_session *session,
                       struct pkcs11_root *root)
{
    (void)pthread_mutex_lock(&roots->lock);
    const struct pkcs11_root *known = lookup(roots, &root->info.id);
    bool good = true;
    if (known != NULL && known->connection == session->connection) {
        size_t count = 0;
        while (count < known->count && known->keys[count].version < known->info.version)
            count++;
        good = add_keys(root, known->keys, count);
    }
    (void)pthread_mutex_unlock(&roots->lock);
    return good;
}

static uint32_t newest(const struct pkcs11_root *root)
{
    return root->count == 0 ? 0 : root->keys[root->count - 1].version;
}

static ck_rv_t read_keys(const struct pkcs11_session *session, struct pkcs11_root *root)
{
    for (;;) {
        struct pkcs11_key keys[PKCS11_SAME_MAX];
        size_t count;
        ck_rv_t value =
            pkcs11_keys_find(session, &root->info.id, newest(root) + 1, keys, &count);
        if (value != CKR_OK || count == 0)
            return value;
        if (!add_keys(root, keys, count))
            return CKR_HOST_MEMORY;
    }
}

/* Newest first, so that what a crash leaves is found again: versions are looked for from 1. */
static ck_rv_t destroy_keys(const struct pkcs11_session *session, struct pkcs11_root *root)
{
    ck_rv_t value = CKR_OK;
    while (root->count > 0 && value == CKR_OK)
        value = pkcs11_object_destroy(session, root->keys[--root->count].handle);
    return value;
}

/* A root key without keys is gone, whoever has destroyed them. */
static void conclude(struct pkcs11_root *root, const struct pkcs11_note *note)
{
    struct uuid id = root->info.id;
    root->generation = note->generation;
    if (note->generation > 0)
        root->info = note->info;
    else
        root->info = (struct root_key_info){.id = id, .state = ROOT_KEY_ACTIVE};
    if (root->count == 0) {
        root->info.state = ROOT_KEY_DESTROYED;
        root->info.purged = true;
        return;
    }
    const struct pkcs11_key *first = &root->keys[0], *last = &root->keys[root->count - 1];
    root->info.version = last->version;
    root->info.imported = first->imported;
    root->info.created = first->created;
    root->info.rotated = last->version > 1 ? last->created : 0;
}

static ck_rv_t read_root(const struct pkcs11_session *session, struct pkcs11_root *root)
{
    struct pkcs11_note note;
    root->connection = session->connection;
    root->read_at = clock_monotonic();
    ck_rv_t value = pkcs11_note_read(session, &root->info.id, &note);
    if (value == CKR_OK)
        value = read_keys(session, root);
    if (value == CKR_OK && note.info.purged)
        value = destroy_keys(session, root);
    if (value == CKR_OK)
        conclude(root, &note);
    return value;
}

ck_rv_t pkcs11_roots_read(struct pkcs11_roots *roots, const struct pkcs11_session *session,
                          const struct uuid *id, enum pkcs11_extent extent)
{
    struct pkcs11_root *root = calloc(1, sizeof(*root));
    if (root == NULL)
        return CKR_HOST_MEMORY;
    root->info.id = *id;
    bool good = extent == PKCS11_WHOLE || take_known(roots, session, root);
    ck_rv_t value = good ? read_root(session, root) : CKR_HOST_MEMORY;
    bool exists = value == CKR_OK && (root->count > 0 || root->generation > 0);
    (void)pthread_mutex_lock(&roots->lock);
    if (value == CKR_OK && !exists)
        drop(roots, id);
    if (exists && !put(roots, root)) {
        value = CKR_HOST_MEMORY;
        exists = false;
    }
    (void)pthread_mutex_unlock(&roots->lock);
    if (!exists)
        root_free(root);
    return value;
}

/* ---- Asking ---- */

bool pkcs11_roots_info(struct pkcs11_roots *roots, const struct uuid *id,
                       struct root_key_info *ret_info, uint64_t *ret_generation)
{
    (void)pthread_mutex_lock(&roots->lock);
    const struct pkcs11_root *root = lookup(roots, id);
    if (root != NULL) {
        *ret_info = root->info;
        if (ret_generation != NULL)
            *ret_generation = root->generation;
    }
    (void)pthread_mutex_unlock(&roots->lock);
    return root != NULL;
}

static const struct pkcs11_key *pick(const struct pkcs11_root *root, uint32_t version,
                                     const struct pkcs11_tag *tag)
{
    for (size_t i = root->count; i-- > 0;)
        if (tag == NULL || (root->keys[i].version == version &&
                            memcmp(&root->keys[i].tag, tag, sizeof(*tag)) == 0))
            return &root->keys[i];
    return NULL;
}

bool pkcs11_roots_has(struct pkcs11_roots *roots, const struct uuid *id, uint32_t version,
                      const struct pkcs11_tag *tag)
{
    (void)pthread_mutex_lock(&roots->lock);
    const struct pkcs11_root *root = lookup(roots, id);
    bool has = root != NULL && pick(root, version, tag) != NULL;
    (void)pthread_mutex_unlock(&roots->lock);
    return has;
}

/* False: what is known is too old, of another connection, or not enough. */
static bool known_key(struct pkcs11_roots *roots, const struct pkcs11_session *session,
                      const struct uuid *id, uint32_t version, const struct pkcs11_tag *tag,
                      struct pkcs11_key *ret_key, enum status *ret_status)
{
    (void)pthread_mutex_lock(&roots->lock);
    const struct pkcs11_root *root = lookup(roots, id);
    const struct pkcs11_key *key = NULL;
    bool fresh = root != NULL && root->connection == session->connection &&
                 clock_monotonic() - root->read_at <= PKCS11_FRESH_MS;
    bool active = fresh && root->info.state == ROOT_KEY_ACTIVE;
    if (active)
        key = pick(root, version, tag);
    if (key != NULL)
        *ret_key = *key;
    (void)pthread_mutex_unlock(&roots->lock);
    *ret_status = key != NULL ? STATUS_OK : STATUS_ROOT_KEY_UNAVAILABLE;
    return key != NULL || (fresh && !active);
}

ck_rv_t pkcs11_roots_key(struct pkcs11_roots *roots, const struct pkcs11_session *session,
                         const struct uuid *id, uint32_t version, const struct pkcs11_tag *tag,
                         struct pkcs11_key *ret_key, enum status *ret_status)
{
    if (known_key(roots, session, id, version, tag, ret_key, ret_status))
        return CKR_OK;
    ck_rv_t value = pkcs11_roots_read(roots, session, id, PKCS11_CHANGES);
    if (value == CKR_OK)
        (void)known_key(roots, session, id, version, tag, ret_key, ret_status);
    return value;
}
