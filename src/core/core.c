/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core.h"

#include <stdlib.h>

#include "core/credential.h"
#include "core/keycache.h"
#include "core/request.h"
#include "crypto/shield.h"

enum status core_open(struct store *store, struct keymanager *keymanager, struct clock *clock,
                      const struct core_options *options, struct core **ret_core)
{
    struct core *core = calloc(1, sizeof(*core));
    if (core == NULL)
        return STATUS_NO_MEMORY;
    core->store = store;
    core->keymanager = keymanager;
    core->clock = clock;
    core->options = *options;
    enum status status = shield_init();
    if (status == STATUS_OK)
        status =
            key_cache_open(options->key_cache_entries, options->key_cache_seconds, &core->keys);
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
    key_cache_close(core->keys);
    credential_cache_close(core->credentials);
    free(core);
}

void core_forget_keys(struct core *core)
{
    key_cache_clear(core->keys);
}
