/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/root_key_change.h"

#include <stdlib.h>

#include "crypto/kdf.h"

/* ---- Material ---- */

static bool material_size_fits(size_t size)
{
    return size == 16 || size == 24 || size == AEAD_KEY_SIZE;
}

/* The 256 bits that XAES-256-GCM needs, out of a shorter key (docs/formats.md, "Sealed file"). */
static enum status extend(const struct secret *material, struct secret *ret_key)
{
    struct secret key;
    enum status status = secret_allocate(&key, AEAD_KEY_SIZE);
    if (status != STATUS_OK)
        return status;
    status = kdf_hkdf(secret_bytes(material), bytes_of("", 0),
                      BYTES_LITERAL("kmipd imported root key"), key.data, key.size);
    if (status == STATUS_OK)
        *ret_key = secret_take(&key);
    secret_free(&key);
    return status;
}

static enum status key_of(const struct secret *material, struct secret *ret_key)
{
    if (material == NULL)
        return secret_random(ret_key, AEAD_KEY_SIZE);
    if (!material_size_fits(material->size))
        return STATUS_INVALID_ARGUMENT;
    if (material->size == AEAD_KEY_SIZE)
        return secret_copy(ret_key, secret_bytes(material));
    return extend(material, ret_key);
}

static enum status add_version(struct root_key *root_key, const struct root_key_change *change,
                               struct error *error)
{
    struct secret key;
    enum status status = key_of(change->material, &key);
    if (status == STATUS_INVALID_ARGUMENT)
        return error_set(error, status,
                         "a root key of %zu bytes: it must be " KEYMANAGER_ROOT_KEY_SIZES,
                         change->material->size);
    if (status == STATUS_OK)
        status = root_key_add_version(root_key, root_key->newest + 1, change->now, &key);
    return status == STATUS_OK ? STATUS_OK
                               : error_set(error, status, "cannot make a root key: %s",
                                           status_text(status));
}

/* ---- Create ---- */

static bool is_material_of(const struct root_key *root_key, const struct secret *material)
{
    struct secret key = {0};
    if (material == NULL)
        return true;
    bool same = key_of(material, &key) == STATUS_OK &&
                secret_equal(&key, &root_key->versions[0].key);
    secret_free(&key);
    return same;
}

/* Whether `root_key` is what this very wish made before. */
static bool is_wish_of(const struct root_key *root_key, const struct root_key_change *change)
{
    return root_key->state != ROOT_KEY_DESTROYED && root_key->version_count > 0 &&
           root_key->created == change->now &&
           root_key->imported == (change->material != NULL) &&
           is_material_of(root_key, change->material);
}

static enum status make(const struct root_key_change *change, struct root_key **ret_root_key,
                        struct error *error)
{
    struct root_key *root_key = root_key_new(&change->id, change->now);
    if (root_key == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for one more root key");
    root_key->imported = change->material != NULL;
    enum status status = add_version(root_key, change, error);
    if (status == STATUS_OK)
        *ret_root_key = root_key;
    else
        root_key_free(root_key);
    return status;
}

static enum status create(struct root_keys *set, const struct root_key_change *change,
                          struct root_key **ret_changed, struct error *error)
{
    struct root_key *held = NULL;
    enum status status = root_keys_copy(set, &change->id, &held);
    if (status == STATUS_NOT_FOUND)
        return make(change, ret_changed, error);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot look for a root key: %s", status_text(status));
    bool same = is_wish_of(held, change);
    root_key_free(held);
    if (!same)
        return error_set(error, STATUS_EXISTS, "another root key has this identifier");
    *ret_changed = NULL;
    return STATUS_OK;
}

/* ---- Changes of one that is there ---- */

static enum status conflict(struct error *error, const char *text)
{
    return error_set(error, STATUS_CONFLICT, "%s", text);
}

static enum status rotate(struct root_key *root_key, const struct root_key_change *change,
                          bool *ret_changed, struct error *error)
{
    if (root_key->state != ROOT_KEY_ACTIVE)
        return error_set(error, STATUS_ROOT_KEY_UNAVAILABLE,
                         "the root key is disabled or deleted: only an enabled one is rotated");
    if (root_key->newest != change->from)
        return error_set(error, STATUS_CONFLICT,
                         "the newest version of the root key is %u, not %u: it was rotated already",
                         root_key->newest, change->from);
    if (root_key->imported != (change->material != NULL))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         root_key->imported ? "an imported root key is rotated with new material"
                                            : "a generated root key is rotated without material");
    root_key->rotated = change->now;
    *ret_changed = true;
    return add_version(root_key, change, error);
}

static enum status set_state(struct root_key *root_key, const struct root_key_change *change,
                             bool *ret_changed, struct error *error)
{
    if (root_key->state == ROOT_KEY_DESTROYED)
        return conflict(error, "the root key is deleted: restore it first");
    *ret_changed = root_key->state != change->state;
    root_key->state = change->state;
    return STATUS_OK;
}

static enum status delete(struct root_key *root_key, const struct root_key_change *change,
                          bool *ret_changed, struct error *error)
{
    *ret_changed = root_key->state != ROOT_KEY_DESTROYED;
    if (*ret_changed)
        root_key->deleted = change->now;
    root_key->state = ROOT_KEY_DESTROYED;
    return STATUS_OK;
}

static enum status restore(struct root_key *root_key, const struct root_key_change *change,
                           bool *ret_changed, struct error *error)
{
    if (root_key->state != ROOT_KEY_DESTROYED)
        return conflict(error, "the root key is not deleted");
    if (root_key->version_count == 0)
        return error_set(error, STATUS_NOT_FOUND, "the root key was purged: its material is gone");
    root_key->state = ROOT_KEY_ACTIVE;
    root_key->deleted = 0;
    *ret_changed = true;
    return STATUS_OK;
}

static enum status purge(struct root_key *root_key, const struct root_key_change *change,
                         bool *ret_changed, struct error *error)
{
    if (root_key->state != ROOT_KEY_DESTROYED)
        return conflict(error, "the root key is not deleted: only a deleted one is purged");
    *ret_changed = root_key->version_count > 0;
    root_key_erase(root_key);
    return STATUS_OK;
}

typedef enum status change_one(struct root_key *root_key, const struct root_key_change *change,
                               bool *ret_changed, struct error *error);

static change_one *const changes[] = {
    [ROOT_KEY_ROTATE] = rotate, [ROOT_KEY_SET_STATE] = set_state, [ROOT_KEY_DELETE] = delete,
    [ROOT_KEY_RESTORE] = restore, [ROOT_KEY_PURGE] = purge,
};

static enum status not_there(const struct root_key_change *change, struct error *error)
{
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(&change->id, text);
    return error_set(error,
                     change->task == ROOT_KEY_RESTORE ? STATUS_NOT_FOUND
                                                      : STATUS_ROOT_KEY_UNAVAILABLE,
                     "there is no root key %s", text);
}

enum status root_key_change(struct root_keys *set, const struct root_key_change *change,
                            struct root_key **ret_changed, struct error *error)
{
    struct root_key *copy = NULL;
    bool changed = false;
    if (change->task == ROOT_KEY_CREATE)
        return create(set, change, ret_changed, error);
    enum status status = root_keys_copy(set, &change->id, &copy);
    if (status == STATUS_NOT_FOUND)
        return not_there(change, error);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot change the root key: %s", status_text(status));
    status = changes[change->task](copy, change, &changed, error);
    if (status == STATUS_OK) {
        *ret_changed = changed ? copy : NULL;
        copy = changed ? NULL : copy;
    }
    root_key_free(copy);
    return status;
}
