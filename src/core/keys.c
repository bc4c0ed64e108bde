/* SPDX-License-Identifier: Apache-2.0 */
#include "core/keys.h"

#include <stdlib.h>

#include "crypto/shield.h"

/* Fetches of one request, one after the other. One is the rule; another is needed when somebody has
 * wrapped a key anew meanwhile. */
#define ROUNDS_MAX 8

/* ---- What the request keeps ---- */

struct request_job request_job_make(struct request *request, enum keymanager_task task,
                                    struct keymanager *keymanager)
{
    return (struct request_job){
        .job = {.task = task}, .request = request, .keymanager = keymanager};
}

void request_job_free(struct request_job *job)
{
    secret_free(&job->job.plaintext);
    buffer_free(&job->job.ret_wrapped);
}

void request_keys_free(struct request *request)
{
    struct request_keys *keys = &request->keys;
    while (keys->fetched != NULL) {
        struct fetched_key *fetched = keys->fetched;
        keys->fetched = fetched->next;
        request_job_free(&fetched->unwrap);
        buffer_free(&fetched->sealed);
        stored_object_release(fetched->stored);
        free(fetched);
    }
    while (keys->made != NULL) {
        struct new_key *key = keys->made;
        keys->made = key->next;
        new_key_free(key);
    }
    keys->wanted = NULL;
    keys->rounds = 0;
    keys->unrecorded = 0;
}

void request_keys_rewind(struct request *request)
{
    struct request_keys *keys = &request->keys;
    for (struct request_job *job = keys->wanted; job != NULL; job = job->next)
        job->state = JOB_OPEN;
    keys->wanted = NULL;
    for (struct new_key *key = keys->made; key != NULL; key = key->next) {
        key->taken = false;
        key->change = NULL;
    }
}

void request_job_want(struct request_job *job)
{
    job->state = JOB_WANTED;
    job->next = job->request->keys.wanted;
    job->request->keys.wanted = job;
}

/* ---- Key managers and what is blocked ---- */

unsigned core_cache_seconds(const struct core *core, enum keymanager_code code)
{
    if (code == KEYMANAGER_NONE)
        code = KEYMANAGER_SEALED_FILE;
    return code <= KEYMANAGER_CODE_MAX ? core->options.key_cache_seconds[code] : 0;
}

enum keymanager_code core_session_code(const struct core_session *session)
{
    return session->key_manager == 0 ? KEYMANAGER_SEALED_FILE
                                     : (enum keymanager_code)session->key_manager;
}

enum status request_key_manager(const struct request *request, struct keymanager **ret_keymanager)
{
    struct keymanager *keymanager =
        keymanagers_get(request->core->keymanagers, core_session_code(request->session));
    if (keymanager == NULL)
        return STATUS_KEY_MANAGER_UNAVAILABLE;
    *ret_keymanager = keymanager;
    return STATUS_OK;
}

bool request_keeps_records(const struct request *request, const struct keymanager *keymanager)
{
    return request->core->options.store_wrapped_keys[core_session_code(request->session)] &&
           keymanager_keeps_records(keymanager);
}

struct wrap_binding request_binding(const struct request *request, const struct uuid *object)
{
    return (struct wrap_binding){.object = *object,
                                 .adapter = request->session->adapter_uuid,
                                 .root_key = request->session->root_key};
}

bool core_is_blocked(struct core *core, const struct uuid *object, struct wrapped wrapped,
                     enum status *ret_status)
{
    struct wrapped_origin origin;
    if (uuid_set_has(&core->withdrawn, object)) {
        *ret_status = STATUS_KEY_WITHDRAWN;
        return true;
    }
    if (uuid_set_is_empty(&core->blocked))
        return false;
    *ret_status = wrapped_origin(wrapped, &origin);
    if (*ret_status == STATUS_OK && uuid_set_has(&core->blocked, &origin.binding.root_key))
        *ret_status = STATUS_ROOT_KEY_UNAVAILABLE;
    return *ret_status != STATUS_OK;
}

struct key_cache_item core_cache_item(const struct core *core, enum keymanager_code code,
                                      const struct wrap_binding *binding, struct bytes wrapped)
{
    return (struct key_cache_item){.object = binding->object,
                                   .root_key = binding->root_key,
                                   .wrapped = wrapped,
                                   .seconds = core_cache_seconds(core, code)};
}

/* ---- Unwrapping ---- */

static struct fetched_key *find_fetched(const struct request *request, const struct object *object)
{
    struct bytes blob = object->row.wrapped.blob;
    for (struct fetched_key *fetched = request->keys.fetched; fetched != NULL;
         fetched = fetched->next)
        if (uuid_equal(&fetched->stored->row.id, &object->row.id) &&
            bytes_equal(fetched->stored->row.wrapped.blob, blob))
            return fetched;
    return NULL;
}

static enum status use_fetched(struct object *object, struct fetched_key *fetched,
                               struct secret *ret_plaintext)
{
    struct keymanager_job *job = &fetched->unwrap.job;
    if (fetched->unwrap.state == JOB_OPEN)
        request_job_want(&fetched->unwrap);
    if (fetched->unwrap.state != JOB_DONE)
        return STATUS_PENDING;
    if (job->status != STATUS_OK)
        return job->status;
    object->newer = buffer_bytes(&job->ret_wrapped);
    return shield_open(uuid_bytes(&object->row.id), buffer_bytes(&fetched->sealed), ret_plaintext);
}

static enum status note_fetch(struct request *request, struct object *object,
                              struct keymanager *keymanager, const struct wrap_binding *binding)
{
    if (request->keys.rounds >= ROUNDS_MAX)
        return STATUS_CONFLICT;
    struct fetched_key *fetched = calloc(1, sizeof(*fetched));
    if (fetched == NULL)
        return STATUS_NO_MEMORY;
    fetched->unwrap = request_job_make(request, KEYMANAGER_UNWRAP, keymanager);
    fetched->unwrap.job.binding = *binding;
    fetched->unwrap.job.wrapped = object->row.wrapped;
    buffer_init(&fetched->unwrap.job.ret_wrapped,
                object->row.wrapped.blob.size + WRAPPED_OVERHEAD_MAX);
    fetched->epoch = key_cache_epoch(request->core->keys, &binding->root_key);
    fetched->stored = object->stored;
    stored_object_hold(fetched->stored);
    fetched->next = request->keys.fetched;
    request->keys.fetched = fetched;
    request_job_want(&fetched->unwrap);
    return STATUS_PENDING;
}

static enum status unwrap_now(struct request *request, struct keymanager *keymanager,
                              const struct wrap_binding *binding, struct wrapped wrapped,
                              struct secret *ret_plaintext)
{
    struct core *core = request->core;
    uint64_t epoch = key_cache_epoch(core->keys, &binding->root_key);
    enum status status = keymanager_unwrap(keymanager, binding, wrapped, ret_plaintext, NULL);
    if (status != STATUS_OK)
        return status;
    struct key_cache_item item = core_cache_item(core, keymanager->code, binding, wrapped.blob);
    key_cache_put(core->keys, &item, epoch, request->now, ret_plaintext);
    return STATUS_OK;
}

static enum status unwrap_stored(struct request *request, struct object *object,
                                 struct secret *ret_plaintext)
{
    struct keymanager *keymanager;
    struct wrap_binding binding;
    enum status status =
        keymanagers_of(request->core->keymanagers, object->row.wrapped, &object->row.id,
                       &request->session->adapter_uuid, &keymanager, &binding);
    if (status != STATUS_OK)
        return status;
    if (keymanager->provider->immediate || object->stored == NULL)
        return unwrap_now(request, keymanager, &binding, object->row.wrapped, ret_plaintext);
    return note_fetch(request, object, keymanager, &binding);
}

enum status request_unwrap(struct request *request, struct object *object,
                           struct secret *ret_plaintext)
{
    struct core *core = request->core;
    enum status status;
    if (object->key != NULL)
        return secret_copy(ret_plaintext, secret_bytes(&object->key->wrap.job.plaintext));
    if (core_is_blocked(core, &object->row.id, object->row.wrapped, &status))
        return status;
    /* Before the cache, where it is too by now: a newer blob may have come with it. */
    struct fetched_key *fetched = find_fetched(request, object);
    if (fetched != NULL)
        return use_fetched(object, fetched, ret_plaintext);
    if (key_cache_get(core->keys, &object->row.id, object->row.wrapped.blob, request->now,
                      ret_plaintext))
        return STATUS_OK;
    return unwrap_stored(request, object, ret_plaintext);
}

/* ---- Jobs on their way ---- */

static void one_is_back(struct request *request)
{
    if (atomic_fetch_sub(&request->keys.outstanding, 1) == 1)
        request->keys.done(request);
}

enum status core_check_plaintext(const struct keymanager_job *job)
{
    if (job->status != STATUS_OK)
        return job->status;
    bool possible = job->plaintext.data != NULL && job->plaintext.size <= job->wrapped.blob.size;
    return possible ? STATUS_OK : STATUS_UNWRAP_FAILED;
}

static void job_done(struct keymanager_job *job)
{
    struct request_job *done = CONTAINER_OF(job, struct request_job, job);
    done->state = JOB_DONE;
    one_is_back(done->request);
}

/* It may be a while until it is used, and the secret heap is small. */
static enum status seal(struct fetched_key *fetched, const struct secret *plaintext)
{
    size_t size = plaintext->size + SHIELD_OVERHEAD;
    buffer_init(&fetched->sealed, size);
    uint8_t *sealed = buffer_reserve(&fetched->sealed, size);
    if (sealed == NULL)
        return STATUS_NO_MEMORY;
    return shield_seal(uuid_bytes(&fetched->stored->row.id), secret_bytes(plaintext), sealed);
}

static void key_fetched(struct keymanager_job *job)
{
    struct request_job *done = CONTAINER_OF(job, struct request_job, job);
    struct fetched_key *fetched = CONTAINER_OF(done, struct fetched_key, unwrap);
    struct core *core = done->request->core;
    job->status = core_check_plaintext(job);
    if (job->status == STATUS_OK)
        job->status = seal(fetched, &job->plaintext);
    if (job->status == STATUS_OK) {
        struct key_cache_item item =
            core_cache_item(core, done->keymanager->code, &job->binding, job->wrapped.blob);
        key_cache_put(core->keys, &item, fetched->epoch, clock_now(core->clock), &job->plaintext);
    }
    secret_free(&job->plaintext);
    job_done(job);
}

/* Takes the jobs for one key manager, the first one's, out of the wanted ones. */
static struct keymanager_job *take_group(struct request *request, struct keymanager *keymanager)
{
    struct keymanager_job *group = NULL;
    struct request_job **place = &request->keys.wanted;
    while (*place != NULL) {
        struct request_job *job = *place;
        if (job->keymanager != keymanager) {
            place = &job->next;
            continue;
        }
        *place = job->next;
        job->job.next = group;
        group = &job->job;
    }
    return group;
}

void core_fetch(struct request *request, void (*done)(struct request *request))
{
    struct request_keys *keys = &request->keys;
    unsigned seconds = request->core->options.key_manager_seconds;
    int64_t deadline = seconds > 0 ? clock_monotonic() + (int64_t)seconds * 1000 : 0;
    size_t count = 0;
    bool unwraps = false;
    for (struct request_job *job = keys->wanted; job != NULL; job = job->next) {
        bool unwrap = job->job.task == KEYMANAGER_UNWRAP;
        job->job.deadline = deadline;
        job->job.done = unwrap ? key_fetched : job_done;
        unwraps |= unwrap;
        count++;
    }
    keys->rounds += unwraps;
    keys->done = done;
    /* One more than there are, so that none of them ends it before all are handed over. */
    atomic_store(&keys->outstanding, count + 1);
    while (keys->wanted != NULL) {
        struct keymanager *keymanager = keys->wanted->keymanager;
        keymanager_submit(keymanager, take_group(request, keymanager));
    }
    one_is_back(request);
}
