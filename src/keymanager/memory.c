/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/memory.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "keymanager/root_keys.h"

struct memory_keymanager {
    struct keymanager keymanager; /* first */
    struct root_keys keys;
    _Atomic enum status failure;
};

static struct memory_keymanager *memory_of(struct keymanager *keymanager)
{
    return CONTAINER_OF(keymanager, struct memory_keymanager, keymanager);
}

static enum status memory_wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                               const struct secret *plaintext, struct buffer *ret_wrapped)
{
    struct memory_keymanager *self = memory_of(keymanager);
    enum status failure = atomic_load(&self->failure);
    return failure != STATUS_OK ? failure
                                : root_keys_wrap(&self->keys, binding, plaintext, ret_wrapped);
}

static enum status memory_unwrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                                 struct wrapped wrapped, struct secret *ret_plaintext,
                                 struct buffer *ret_rewrapped)
{
    struct memory_keymanager *self = memory_of(keymanager);
    enum status failure = atomic_load(&self->failure);
    return failure != STATUS_OK ? failure
                                : root_keys_unwrap(&self->keys, binding, wrapped, ret_plaintext);
}

static enum status memory_create_root_key(struct keymanager *keymanager,
                                          const struct root_key_wish *wish,
                                          struct uuid *ret_root_key, struct error *error)
{
    struct memory_keymanager *self = memory_of(keymanager);
    struct root_key *root_key = NULL;
    struct uuid id;
    enum status status = atomic_load(&self->failure);
    if (status == STATUS_OK)
        status = root_key_make(wish->now, &root_key);
    if (status == STATUS_OK) {
        id = root_key->id;
        status = root_keys_put(&self->keys, root_key);
    }
    if (status != STATUS_OK) {
        root_key_free(root_key);
        return error_set(error, status, "cannot make a root key: %s", status_text(status));
    }
    *ret_root_key = id;
    return STATUS_OK;
}

static enum status memory_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                                        struct root_key_info *ret_info)
{
    struct memory_keymanager *self = memory_of(keymanager);
    enum status failure = atomic_load(&self->failure);
    return failure != STATUS_OK ? failure : root_keys_info(&self->keys, root_key, ret_info);
}

static void memory_close(struct keymanager *keymanager)
{
    struct memory_keymanager *self = memory_of(keymanager);
    root_keys_free(&self->keys);
    free(self);
}

static const struct keymanager_provider provider = {
    .name = "memory",
    .immediate = true,
    .wrap = memory_wrap,
    .unwrap = memory_unwrap,
    .create_root_key = memory_create_root_key,
    .root_key_info = memory_root_key_info,
    .close = memory_close,
};

enum status keymanager_open_memory(struct keymanager **ret_keymanager)
{
    struct memory_keymanager *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return STATUS_NO_MEMORY;
    if (root_keys_init(&self->keys) != STATUS_OK) {
        free(self);
        return STATUS_NO_MEMORY;
    }
    self->keymanager.provider = &provider;
    atomic_init(&self->failure, STATUS_OK);
    *ret_keymanager = &self->keymanager;
    return STATUS_OK;
}

enum status keymanager_memory_set_state(struct keymanager *keymanager, const struct uuid *root_key,
                                        enum root_key_state state)
{
    return root_keys_set_state(&memory_of(keymanager)->keys, root_key, state);
}

void keymanager_memory_fail(struct keymanager *keymanager, enum status status)
{
    atomic_store(&memory_of(keymanager)->failure, status);
}
