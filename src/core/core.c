/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core.h"

#include <stdlib.h>

#include "core/credential.h"
#include "core/keys.h"
#include "crypto/shield.h"

enum status core_open(struct store *store, const struct keymanagers *keymanagers,
                      struct clock *clock, const struct core_options *options,
                      struct core **ret_core)
{
    struct core *core = calloc(1, sizeof(*core));
    if (core == NULL)
        return STATUS_NO_MEMORY;
    core->store = store;
    core->keymanagers = keymanagers;
    core->clock = clock;
    core->options = *options;
    uuid_set_init(&core->blocked);
    uuid_set_init(&core->withdrawn);
    pthread_mutex_init(&core->lock, NULL);
    pthread_cond_init(&core->idle, NULL);
    enum status status = shield_init();
    if (status == STATUS_OK)
        status = key_cache_open(options->key_cache_entries, &core->keys);
    if (status == STATUS_OK)
        status = credential_cache_open(&core->credentials);
    if (status != STATUS_OK) {
        core_close(core);
        return status;
    }
    *ret_core = core;
    return STATUS_OK;
}

void core_close(struct core *core)
{
    if (core == NULL)
        return;
    pthread_mutex_lock(&core->lock);
    while (core->in_background > 0)
        pthread_cond_wait(&core->idle, &core->lock);
    pthread_mutex_unlock(&core->lock);
    key_cache_close(core->keys);
    credential_cache_close(core->credentials);
    uuid_set_free(&core->blocked);
    uuid_set_free(&core->withdrawn);
    pthread_mutex_destroy(&core->lock);
    pthread_cond_destroy(&core->idle);
    free(core);
}

void core_forget_keys(struct core *core)
{
    key_cache_clear(core->keys);
}

void core_sweep_keys(struct core *core)
{
    key_cache_sweep(core->keys, clock_now(core->clock));
}

enum status core_root_key_blocked(struct core *core, const struct uuid *root_key, bool blocked)
{
    enum status status = STATUS_OK;
    if (!blocked) {
        uuid_set_remove(&core->blocked, root_key);
        return STATUS_OK;
    }
    /* First the refusal, then the wiping: nothing is served from what is put in between. */
    status = uuid_set_add(&core->blocked, root_key);
    key_cache_forget(core->keys, root_key);
    return status;
}

enum status core_withdraw(struct core *core, const struct uuid *object)
{
    return uuid_set_add(&core->withdrawn, object);
}

void core_reinstate(struct core *core, const struct uuid *object)
{
    uuid_set_remove(&core->withdrawn, object);
}

void core_key_rewrapped(struct core *core, const struct uuid *object, struct wrapped before,
                        struct wrapped after)
{
    struct wrapped_origin origin;
    if (wrapped_origin(after, &origin) != STATUS_OK)
        return;
    origin.binding.object = *object;
    const struct key_cache_item item =
        core_cache_item(core, origin.code, &origin.binding, after.blob);
    key_cache_rewrapped(core->keys, before.blob, &item);
}
