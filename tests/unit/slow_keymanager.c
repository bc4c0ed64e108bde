/* SPDX-License-Identifier: Apache-2.0 */
#include "slow_keymanager.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "keymanager/envelope.h"
#include "keymanager/memory.h"

struct slow_job {
    struct keymanager_job *job;
    int64_t due;
    struct slow_job *next;
};

struct slow_keymanager {
    struct keymanager keymanager; /* first */
    struct keymanager *inner;
    struct slow_script script;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct slow_job *jobs;
    unsigned in_flight;
    bool stopping;
    struct slow_record records[SLOW_RECORDS];
    size_t record_count;
};

static struct slow_keymanager *slow_of(struct keymanager *keymanager)
{
    return CONTAINER_OF(keymanager, struct slow_keymanager, keymanager);
}

static void must(bool good)
{
    if (!good)
        abort();
}

/* True for those of the calls that are to fail. */
static bool fails(struct slow_script *script, enum keymanager_task task, enum status *ret_status)
{
    int left = atomic_load(&script->fail_left[task]);
    while (left > 0)
        if (atomic_compare_exchange_weak(&script->fail_left[task], &left, left - 1))
            break;
    *ret_status = atomic_load(&script->fail[task]);
    return left != 0 && *ret_status != STATUS_OK;
}

/* ---- Wrapping ---- */

static enum status slow_wrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                             const struct secret *plaintext, struct buffer *ret_wrapped)
{
    struct slow_keymanager *slow = slow_of(keymanager);
    struct secret key = {0};
    struct buffer wrapped_key;
    struct wrap_binding bound = *binding;
    if (atomic_load(&slow->script.another))
        bound.object.bytes[0] ^= 1;
    buffer_init(&wrapped_key, ENVELOPE_WRAPPED_MAX);
    enum status status = envelope_key_make(&key);
    if (status == STATUS_OK)
        status = keymanager_wrap(slow->inner, binding, &key, &wrapped_key);
    const struct envelope envelope = {.code = keymanager->code,
                                      .version = 1,
                                      .binding = bound,
                                      .wrapped_key = buffer_bytes(&wrapped_key)};
    if (status == STATUS_OK && !atomic_load(&slow->script.empty))
        status = envelope_seal(&envelope, &key, plaintext, ret_wrapped);
    secret_free(&key);
    buffer_free(&wrapped_key);
    return status;
}

static enum status newer_blob(struct slow_keymanager *slow, const struct wrap_binding *binding,
                              struct wrapped wrapped, const struct secret *key,
                              struct buffer *ret_rewrapped)
{
    struct buffer wrapped_key;
    buffer_init(&wrapped_key, ENVELOPE_WRAPPED_MAX);
    enum status status = keymanager_wrap(slow->inner, binding, key, &wrapped_key);
    if (status == STATUS_OK)
        status = envelope_rewrap(wrapped.blob, 2, buffer_bytes(&wrapped_key), ret_rewrapped);
    buffer_free(&wrapped_key);
    return status;
}

static enum status slow_unwrap(struct keymanager *keymanager, const struct wrap_binding *binding,
                               struct wrapped wrapped, struct secret *ret_plaintext,
                               struct buffer *ret_rewrapped)
{
    struct slow_keymanager *slow = slow_of(keymanager);
    struct envelope envelope;
    struct secret key = {0};
    enum status status = envelope_read(wrapped.blob, binding, &envelope);
    if (status == STATUS_OK)
        status = keymanager_unwrap(slow->inner, binding, (struct wrapped){envelope.wrapped_key},
                                   &key, NULL);
    if (status == STATUS_OK && atomic_load(&slow->script.empty)) {
        secret_free(&key);
        return STATUS_OK;
    }
    if (status == STATUS_OK && ret_rewrapped != NULL && envelope.version == 1 &&
        atomic_load(&slow->script.newer))
        status = newer_blob(slow, binding, wrapped, &key, ret_rewrapped);
    if (status == STATUS_OK)
        status = envelope_open(wrapped.blob, &key, ret_plaintext);
    secret_free(&key);
    return status;
}

/* ---- Records ---- */

static enum status slow_record_put(struct keymanager *keymanager, const char *name,
                                   struct bytes record, struct uuid *ret_id, struct error *error)
{
    struct slow_keymanager *slow = slow_of(keymanager);
    (void)error;
    pthread_mutex_lock(&slow->lock);
    must(slow->record_count < SLOW_RECORDS);
    struct slow_record *place = &slow->records[slow->record_count++];
    must(uuid_make(1, &place->id) == STATUS_OK);
    (void)snprintf(place->name, sizeof(place->name), "%s", name);
    buffer_init(&place->bytes, KEYMANAGER_RECORD_MAX);
    buffer_append_bytes(&place->bytes, record);
    *ret_id = place->id;
    pthread_mutex_unlock(&slow->lock);
    return STATUS_OK;
}

static enum status slow_record_delete(struct keymanager *keymanager, const struct uuid *id,
                                      struct error *error)
{
    struct slow_keymanager *slow = slow_of(keymanager);
    enum status status = atomic_load(&slow->script.delete_fails);
    (void)error;
    atomic_fetch_add(&slow->script.deletes, 1);
    pthread_mutex_lock(&slow->lock);
    for (size_t i = 0; i < slow->record_count && status == STATUS_OK; i++)
        slow->records[i].deleted |= uuid_equal(&slow->records[i].id, id);
    pthread_mutex_unlock(&slow->lock);
    return status;
}

bool slow_record(struct slow_keymanager *slow, size_t index, struct slow_record *ret_record)
{
    pthread_mutex_lock(&slow->lock);
    bool there = index < slow->record_count;
    if (there)
        *ret_record = slow->records[slow->record_count - 1 - index];
    pthread_mutex_unlock(&slow->lock);
    return there;
}

size_t slow_records(struct slow_keymanager *slow)
{
    size_t count = 0;
    pthread_mutex_lock(&slow->lock);
    for (size_t i = 0; i < slow->record_count; i++)
        count += !slow->records[i].deleted;
    pthread_mutex_unlock(&slow->lock);
    return count;
}

/* ---- Jobs ---- */

/* Under the lock. */
static bool take_job(struct slow_keymanager *slow, struct keymanager_job *job)
{
    struct slow_job *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return false;
    entry->job = job;
    entry->due = clock_monotonic() + (int64_t)atomic_load(&slow->script.delay);
    entry->next = slow->jobs;
    slow->jobs = entry;
    slow->in_flight++;
    if (slow->in_flight > atomic_load(&slow->script.most))
        atomic_store(&slow->script.most, slow->in_flight);
    return true;
}

static void slow_submit(struct keymanager *keymanager, struct keymanager_job *jobs)
{
    struct slow_keymanager *slow = slow_of(keymanager);
    while (jobs != NULL) {
        struct keymanager_job *job = jobs;
        jobs = job->next;
        job->next = NULL;
        atomic_fetch_add(&slow->script.background, job->background);
        atomic_fetch_add(&slow->script.asked[job->task], 1);
        pthread_mutex_lock(&slow->lock);
        bool taken = take_job(slow, job);
        pthread_cond_signal(&slow->wake);
        pthread_mutex_unlock(&slow->lock);
        if (!taken) {
            job->status = STATUS_NO_MEMORY;
            job->done(job);
        }
    }
}

static enum status work_on(struct slow_keymanager *slow, struct keymanager_job *job)
{
    enum status status;
    struct keymanager *keymanager = &slow->keymanager;
    if (fails(&slow->script, job->task, &status))
        return status;
    switch (job->task) {
    case KEYMANAGER_WRAP:
        return keymanager_wrap(keymanager, &job->binding, &job->plaintext, &job->ret_wrapped);
    case KEYMANAGER_UNWRAP:
        return keymanager_unwrap(keymanager, &job->binding, job->wrapped, &job->plaintext,
                                 &job->ret_wrapped);
    case KEYMANAGER_RECORD:
        return keymanager_record_put(keymanager, job->record_name, job->record, &job->record_id,
                                     NULL);
    case KEYMANAGER_REWRAP:
        break;
    }
    return STATUS_INTERNAL;
}

/* Takes one that is due, or whose deadline has come. Under the lock. */
static struct slow_job *take_due(struct slow_keymanager *slow, bool *ret_late)
{
    int64_t now = clock_monotonic();
    bool holding = atomic_load(&slow->script.holding);
    for (struct slow_job **place = &slow->jobs; *place != NULL; place = &(*place)->next) {
        struct slow_job *entry = *place;
        *ret_late = entry->job->deadline != 0 && now >= entry->job->deadline;
        if (!*ret_late && (holding || now < entry->due))
            continue;
        *place = entry->next;
        slow->in_flight--;
        return entry;
    }
    return NULL;
}

static void finish(struct slow_keymanager *slow, struct slow_job *entry, bool late)
{
    struct keymanager_job *job = entry->job;
    free(entry);
    job->next = NULL;
    job->status = late ? STATUS_KEY_MANAGER_UNAVAILABLE : work_on(slow, job);
    job->done(job);
}

static void *run(void *argument)
{
    struct slow_keymanager *slow = argument;
    pthread_mutex_lock(&slow->lock);
    while (!slow->stopping || slow->jobs != NULL) {
        bool late;
        struct slow_job *entry = take_due(slow, &late);
        if (entry != NULL) {
            pthread_mutex_unlock(&slow->lock);
            finish(slow, entry, late);
            pthread_mutex_lock(&slow->lock);
        } else if (slow->jobs == NULL) {
            pthread_cond_wait(&slow->wake, &slow->lock);
        } else {
            struct timespec soon;
            (void)clock_gettime(CLOCK_REALTIME, &soon);
            soon.tv_nsec += 500000;
            soon.tv_sec += soon.tv_nsec / 1000000000;
            soon.tv_nsec %= 1000000000;
            pthread_cond_timedwait(&slow->wake, &slow->lock, &soon);
        }
    }
    pthread_mutex_unlock(&slow->lock);
    return NULL;
}

/* ---- Opening ---- */

static enum status slow_root_key_info(struct keymanager *keymanager, const struct uuid *root_key,
                                      struct root_key_info *ret_info)
{
    return keymanager_root_key_info(slow_of(keymanager)->inner, root_key, ret_info);
}

static void slow_provider_close(struct keymanager *keymanager)
{
    slow_close(slow_of(keymanager));
}

static const struct keymanager_provider provider = {
    .name = "slow",
    .wrap = slow_wrap,
    .unwrap = slow_unwrap,
    .submit = slow_submit,
    .root_key_info = slow_root_key_info,
    .record_put = slow_record_put,
    .record_delete = slow_record_delete,
    .close = slow_provider_close,
};

struct slow_keymanager *slow_open(enum keymanager_code code)
{
    struct slow_keymanager *slow = calloc(1, sizeof(*slow));
    must(slow != NULL);
    slow->keymanager = (struct keymanager){.provider = &provider, .code = code};
    must(keymanager_open_memory(&slow->inner) == STATUS_OK);
    must(pthread_mutex_init(&slow->lock, NULL) == 0 && pthread_cond_init(&slow->wake, NULL) == 0);
    must(pthread_create(&slow->thread, NULL, run, slow) == 0);
    return slow;
}

void slow_close(struct slow_keymanager *slow)
{
    pthread_mutex_lock(&slow->lock);
    slow->stopping = true;
    pthread_cond_signal(&slow->wake);
    pthread_mutex_unlock(&slow->lock);
    must(pthread_join(slow->thread, NULL) == 0);
    for (size_t i = 0; i < slow->record_count; i++)
        buffer_free(&slow->records[i].bytes);
    keymanager_close(slow->inner);
    pthread_mutex_destroy(&slow->lock);
    pthread_cond_destroy(&slow->wake);
    free(slow);
}

struct keymanager *slow_keymanager(struct slow_keymanager *slow)
{
    return &slow->keymanager;
}

struct slow_script *slow_script(struct slow_keymanager *slow)
{
    return &slow->script;
}

struct uuid slow_root_key(struct slow_keymanager *slow)
{
    struct uuid root_key;
    const struct root_key_wish wish = {.now = 1700000000000};
    must(keymanager_create_root_key(slow->inner, &wish, &root_key, NULL) == STATUS_OK);
    return root_key;
}

void slow_set_state(struct slow_keymanager *slow, const struct uuid *root_key,
                    enum root_key_state state)
{
    must(keymanager_memory_set_state(slow->inner, root_key, state) == STATUS_OK);
}

void slow_release(struct slow_keymanager *slow)
{
    atomic_store(&slow->script.holding, false);
    pthread_mutex_lock(&slow->lock);
    pthread_cond_signal(&slow->wake);
    pthread_mutex_unlock(&slow->lock);
}
