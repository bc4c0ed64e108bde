/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that are unwrapped into the cache before anybody asks for them. */
#include "core/keys.h"

#include <stdlib.h>

struct background_key {
    struct keymanager_job job;
    struct core *core;
    struct keymanager *keymanager;
    struct stored_object *stored;
    uint64_t epoch;
    core_key_fetched *fetched;
    void *context;
};

static void count_background(struct core *core, int change)
{
    pthread_mutex_lock(&core->lock);
    core->in_background += (size_t)change;
    if (core->in_background == 0)
        pthread_cond_broadcast(&core->idle);
    pthread_mutex_unlock(&core->lock);
}

static void background_done(struct keymanager_job *job)
{
    struct background_key *key = CONTAINER_OF(job, struct background_key, job);
    struct core *core = key->core;
    enum status status = core_check_plaintext(job);
    if (status == STATUS_OK) {
        struct key_cache_item item =
            core_cache_item(core, key->keymanager->code, &job->binding, job->wrapped.blob);
        key_cache_put(core->keys, &item, key->epoch, clock_now(core->clock), &job->plaintext);
    }
    secret_free(&job->plaintext);
    buffer_free(&job->ret_wrapped);
    stored_object_release(key->stored);
    key->fetched(key->context, status);
    free(key);
    count_background(core, -1);
}

static enum status fetch_in_background(struct core *core, struct stored_object *object,
                                       struct keymanager *keymanager,
                                       const struct wrap_binding *binding,
                                       core_key_fetched *fetched, void *context)
{
    struct background_key *key = calloc(1, sizeof(*key));
    if (key == NULL)
        return STATUS_NO_MEMORY;
    *key = (struct background_key){
        .job = {.task = KEYMANAGER_UNWRAP,
                .background = true,
                .binding = *binding,
                .wrapped = object->row.wrapped,
                .done = background_done},
        .core = core,
        .keymanager = keymanager,
        .stored = object,
        .epoch = key_cache_epoch(core->keys, &binding->root_key),
        .fetched = fetched,
        .context = context,
    };
    buffer_init(&key->job.ret_wrapped, object->row.wrapped.blob.size + WRAPPED_OVERHEAD_MAX);
    stored_object_hold(object);
    count_background(core, 1);
    keymanager_submit(keymanager, &key->job);
    return STATUS_PENDING;
}

enum status core_fetch_key(struct core *core, const struct uuid *adapter,
                           struct stored_object *object, core_key_fetched *fetched, void *context)
{
    struct keymanager *keymanager;
    struct wrap_binding binding;
    const struct object_row *row = &object->row;
    enum status status = STATUS_OK;
    if (row->wrapped.blob.size == 0 || core_is_blocked(core, &row->id, row->wrapped, &status))
        return status;
    int age = key_cache_age(core->keys, &row->id, row->wrapped.blob, clock_now(core->clock));
    if (age >= 0 && age < 500)
        return STATUS_OK;
    status =
        keymanagers_of(core->keymanagers, row->wrapped, &row->id, adapter, &keymanager, &binding);
    if (status != STATUS_OK || keymanager->provider->immediate)
        return status;
    return fetch_in_background(core, object, keymanager, &binding, fetched, context);
}
