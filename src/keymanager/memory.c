/* SPDX-License-Identifier: Apache-2.0 */
#include "keymanager/memory.h"

#include <stdlib.h>

#include "keymanager/local.h"

static struct local_keymanager *memory_of(struct keymanager *keymanager)
{
    return CONTAINER_OF(keymanager, struct local_keymanager, keymanager);
}

static enum status memory_check(struct keymanager *keymanager, struct error *error)
{
    enum status failure = atomic_load(&memory_of(keymanager)->failure);
    return failure == STATUS_OK ? STATUS_OK
                                : error_set(error, failure, "%s", status_text(failure));
}

static void memory_close(struct keymanager *keymanager)
{
    struct local_keymanager *self = memory_of(keymanager);
    local_end(self);
    free(self);
}

static const struct keymanager_provider provider = {
    .name = "memory",
    .immediate = true,
    .wrap = local_wrap,
    .unwrap = local_unwrap,
    .rewrap = local_rewrap,
    .create_root_key = local_create_root_key,
    .rotate = local_rotate,
    .set_state = local_set_state,
    .delete = local_delete,
    .restore = local_restore,
    .purge = local_purge,
    .root_key_info = local_root_key_info,
    .root_keys = local_root_keys,
    .is_newest = local_is_newest,
    .check = memory_check,
    .close = memory_close,
};

enum status keymanager_open_memory(struct keymanager **ret_keymanager)
{
    struct local_keymanager *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return STATUS_NO_MEMORY;
    enum status status = local_init(self, &provider, NULL);
    if (status == STATUS_OK)
        *ret_keymanager = &self->keymanager;
    else
        free(self);
    return status;
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
