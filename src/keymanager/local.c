/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/local.h"

#include "keymanager/root_key_change.h"

static struct local_keymanager *local_of(struct keymanager *keymanager)
{
    return CONTAINER_OF(keymanager, struct local_keymanager, keymanager);
}

enum status local_init(struct local_keymanager *self, const struct keymanager_provider *provider,
                       local_save *save)
{
    self->keymanager = (struct keymanager){provider, KEYMANAGER_SEALED_FILE};
    self->save = save;
    atomic_init(&self->failure, STATUS_OK);
    if (pthread_mutex_init(&self->change, NULL) != 0)
        return STATUS_NO_MEMORY;
    enum status status = root_keys_init(&self->keys);
    if (status != STATUS_OK)
        (void)pthread_mutex_destroy(&self->change);
    return status;
}

void local_end(struct local_keymanager *self)
{
    root_keys_free(&self->keys);
    (void)pthread_mutex_destroy(&self->change);
}

static enum status failure_of(struct local_keymanager *self)
{
    return atomic_load_explicit(&self->failure, memory_order_relaxed);
}

/* ---- Wrapping ---- */

enum status local_wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                       const struct secret *plaintext, struct buffer *ret_wrapped)
{
    struct local_keymanager *self = local_of(keymanager);
    enum status failure = failure_of(self);
    return failure != STATUS_OK ? failure
                                : root_keys_wrap(&self->keys, binding, plaintext, ret_wrapped);
}

enum status local_unwrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                         struct wrapped wrapped, struct secret *ret_plaintext,
                         struct buffer *ret_rewrapped)
{
    struct local_keymanager *self = local_of(keymanager);
    enum status failure = failure_of(self);
    return failure != STATUS_OK ? failure
                                : root_keys_unwrap(&self->keys, binding, wrapped, ret_plaintext);
}

enum status local_rewrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                         struct wrapped wrapped, struct buffer *ret_wrapped)
{
    struct local_keymanager *self = local_of(keymanager);
    enum status failure = failure_of(self);
    return failure != STATUS_OK ? failure
                                : root_keys_rewrap(&self->keys, binding, wrapped, ret_wrapped);
}

/* ---- Changes ---- */

/* Durable first, in use after; the room reserved before, so that nothing can fail between. */
static enum status put(struct local_keymanager *self, struct root_key *changed,
                       struct error *error)
{
    enum status status = root_keys_reserve(&self->keys);
    if (status != STATUS_OK)
        return error_set(error, status, "no memory for one more root key");
    if (self->save != NULL)
        status = self->save(self, changed, error);
    return status == STATUS_OK ? root_keys_put(&self->keys, changed) : status;
}

static enum status change_locked(struct local_keymanager *self,
                                 const struct root_key_change *change, struct error *error)
{
    struct root_key *changed = NULL;
    enum status status = root_key_change(&self->keys, change, &changed, error);
    if (status != STATUS_OK || changed == NULL)
        return status;
    status = put(self, changed, error);
    if (status != STATUS_OK)
        root_key_free(changed);
    return status;
}

static enum status change(struct keymanager *keymanager, const struct root_key_change *change,
                          struct error *error)
{
    struct local_keymanager *self = local_of(keymanager);
    enum status status = failure_of(self);
    if (status != STATUS_OK)
        return error_set(error, status, "%s", status_text(status));
    (void)pthread_mutex_lock(&self->change);
    status = change_locked(self, change, error);
    /* The generation before still has the material, and after a crash may have had it all along. */
    if (status == STATUS_OK && change->task == ROOT_KEY_PURGE && self->save != NULL)
        status = self->save(self, NULL, error);
    (void)pthread_mutex_unlock(&self->change);
    return status;
}

static enum status wanted_id(const struct root_key_wish *wish, struct uuid *ret_id)
{
    static const struct uuid none;
    if (uuid_equal(&wish->id, &none))
        return uuid_make(wish->now, ret_id);
    *ret_id = wish->id;
    return STATUS_OK;
}

enum status local_create_root_key(struct keymanager *keymanager, const struct root_key_wish *wish,
                                  struct uuid *ret_root_key, struct error *error)
{
    struct root_key_change creation = {
        .task = ROOT_KEY_CREATE, .material = wish->material, .now = wish->now};
    enum status status = wanted_id(wish, &creation.id);
    if (status != STATUS_OK)
        return error_set(error, status, "cannot make an identifier: %s", status_text(status));
    status = change(keymanager, &creation, error);
    if (status == STATUS_OK)
        *ret_root_key = creation.id;
    return status;
}

enum status local_rotate(struct keymanager *keymanager, const struct uuid *root_key, uint32_t from,
                         const struct secret *material, int64_t now, struct error *error)
{
    const struct root_key_change rotation = {.task = ROOT_KEY_ROTATE,
                                             .id = *root_key,
                                             .from = from,
                                             .material = material,
                                             .now = now};
    return change(keymanager, &rotation, error);
}

enum status local_set_state(struct keymanager *keymanager, const struct uuid *root_key,
                            enum root_key_state state, struct error *error)
{
    const struct root_key_change setting = {
        .task = ROOT_KEY_SET_STATE, .id = *root_key, .state = state};
    return change(keymanager, &setting, error);
}

enum status local_delete(struct keymanager *keymanager, const struct uuid *root_key, int64_t now,
                         struct error *error)
{
    const struct root_key_change deletion = {.task = ROOT_KEY_DELETE, .id = *root_key, .now = now};
    return change(keymanager, &deletion, error);
}

enum status local_restore(struct keymanager *keymanager, const struct uuid *root_key,
                          struct error *error)
{
    const struct root_key_change restoration = {.task = ROOT_KEY_RESTORE, .id = *root_key};
    return change(keymanager, &restoration, error);
}

enum status local_purge(struct keymanager *keymanager, const struct uuid *root_key,
                        struct error *error)
{
    const struct root_key_change purge = {.task = ROOT_KEY_PURGE, .id = *root_key};
    return change(keymanager, &purge, error);
}

/* ---- Questions ---- */

enum status local_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                                struct root_key_info *ret_info)
{
    struct local_keymanager *self = local_of(keymanager);
    enum status failure = failure_of(self);
    return failure != STATUS_OK ? failure : root_keys_info(&self->keys, root_key, ret_info);
}

enum status local_root_keys(struct keymanager *keymanager, keymanager_visit_root_key *visit,
                            void *context)
{
    struct local_keymanager *self = local_of(keymanager);
    enum status failure = failure_of(self);
    return failure != STATUS_OK ? failure : root_keys_visit(&self->keys, visit, context);
}

enum status local_is_newest(struct keymanager *keymanager, struct wrapped wrapped, bool *ret_newest)
{
    struct local_keymanager *self = local_of(keymanager);
    enum status failure = failure_of(self);
    return failure != STATUS_OK ? failure : root_keys_is_newest(&self->keys, wrapped, ret_newest);
}
