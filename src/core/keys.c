/* SPDX-License-Identifier: Apache-2.0 */
#include "core/keys.h"

#include <stdlib.h>

#include "core/keycache.h"

/* Fetches of one request, one after the other. One is the rule; another is needed when somebody has
 * wrapped a key anew meanwhile. */
#define ROUNDS_MAX 8

/* ---- What the request keeps ---- */

static struct request_job new_job(struct request *request, enum keymanager_task task,
                                  struct keymanager *keymanager)
{
    return (struct request_job){
        .job = {.task = task}, .request = request, .keymanager = keymanager};
}

static void free_job(struct request_job *job)
{
    secret_free(&job->job.plaintext);
    buffer_free(&job->job.ret_wrapped);
}

static void free_records(struct new_record *record)
{
    while (record != NULL) {
        struct new_record *next = record->next;
        free_job(&record->put);
        buffer_free(&record->bytes);
        free(record);
        record = next;
    }
}

void request_keys_free(struct request *request)
{
    struct request_keys *keys = &request->keys;
    while (keys->fetched != NULL) {
        struct fetched_key *fetched = keys->fetched;
        keys->fetched = fetched->next;
        free_job(&fetched->unwrap);
        stored_object_release(fetched->stored);
        free(fetched);
    }
    while (keys->made != NULL) {
        struct new_key *key = keys->made;
        keys->made = key->next;
        free_job(&key->wrap);
        free_records(key->records);
        free(key);
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

struct new_key *request_next_key(struct request *request)
{
    for (struct new_key *key = request->keys.made; key != NULL; key = key->next)
        if (!key->taken && !key->abandoned) {
            key->taken = true;
            return key;
        }
    return NULL;
}

static void want(struct request_job *job)
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

static enum keymanager_code code_of(const struct core_session *session)
{
    return session->key_manager == 0 ? KEYMANAGER_SEALED_FILE
                                     : (enum keymanager_code)session->key_manager;
}

enum status request_key_manager(const struct request *request, struct keymanager **ret_keymanager)
{
    struct keymanager *keymanager =
        keymanagers_get(request->core->keymanagers, code_of(request->session));
    if (keymanager == NULL)
        return STATUS_KEY_MANAGER_UNAVAILABLE;
    *ret_keymanager = keymanager;
    return STATUS_OK;
}

static bool keeps_records(const struct request *request, const struct keymanager *keymanager)
{
    return request->core->options.store_wrapped_keys[code_of(request->session)] &&
           keymanager_keeps_records(keymanager);
}

static struct wrap_binding binding_of(const struct request *request, const struct uuid *object)
{
    return (struct wrap_binding){.object = *object,
                                 .adapter = request->session->adapter_uuid,
                                 .root_key = request->session->root_key};
}

static bool is_blocked(struct core *core, const struct uuid *object, struct wrapped wrapped,
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

static struct key_cache_item item_of(const struct core *core, enum keymanager_code code,
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
        want(&fetched->unwrap);
    if (fetched->unwrap.state != JOB_DONE)
        return STATUS_PENDING;
    if (job->status != STATUS_OK)
        return job->status;
    object->newer = buffer_bytes(&job->ret_wrapped);
    return secret_copy(ret_plaintext, secret_bytes(&job->plaintext));
}

static enum status note_fetch(struct request *request, struct object *object,
                              struct keymanager *keymanager, const struct wrap_binding *binding)
{
    if (request->keys.rounds >= ROUNDS_MAX)
        return STATUS_CONFLICT;
    struct fetched_key *fetched = calloc(1, sizeof(*fetched));
    if (fetched == NULL)
        return STATUS_NO_MEMORY;
    fetched->unwrap = new_job(request, KEYMANAGER_UNWRAP, keymanager);
    fetched->unwrap.job.binding = *binding;
    fetched->unwrap.job.wrapped = object->row.wrapped;
    buffer_init(&fetched->unwrap.job.ret_wrapped,
                object->row.wrapped.blob.size + WRAPPED_OVERHEAD_MAX);
    fetched->epoch = key_cache_epoch(request->core->keys, &binding->root_key);
    fetched->stored = object->stored;
    stored_object_hold(fetched->stored);
    fetched->next = request->keys.fetched;
    request->keys.fetched = fetched;
    want(&fetched->unwrap);
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
    struct key_cache_item item = item_of(core, keymanager->code, binding, wrapped.blob);
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
    if (is_blocked(core, &object->row.id, object->row.wrapped, &status))
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

/* ---- Wrapping ---- */

enum status request_random(const struct object *object, size_t size, struct secret *ret_material)
{
    if (object->key != NULL && object->key->wrap.job.plaintext.size == size)
        return secret_copy(ret_material, secret_bytes(&object->key->wrap.job.plaintext));
    return secret_random(ret_material, size);
}

static enum status wrap_now(struct request *request, struct object *object,
                            struct keymanager *keymanager, const struct secret *plaintext)
{
    struct core *core = request->core;
    struct buffer wrapped;
    struct wrap_binding binding = binding_of(request, &object->row.id);
    uint64_t epoch = key_cache_epoch(core->keys, &binding.root_key);
    buffer_init(&wrapped, plaintext->size + WRAPPED_OVERHEAD_MAX);
    enum status status = keymanager_wrap(keymanager, &binding, plaintext, &wrapped);
    if (status == STATUS_OK &&
        !arena_copy(&request->arena, buffer_bytes(&wrapped), &object->row.wrapped.blob))
        status = STATUS_TOO_LARGE;
    buffer_free(&wrapped);
    if (status != STATUS_OK)
        return status;
    struct key_cache_item item =
        item_of(core, keymanager->code, &binding, object->row.wrapped.blob);
    key_cache_put(core->keys, &item, epoch, request->now, plaintext);
    return STATUS_OK;
}

/* A key for an object that has none, behind those that there are. */
static struct new_key *add_key(struct request *request, const struct uuid *object)
{
    struct new_key *key = calloc(1, sizeof(*key));
    if (key == NULL)
        return NULL;
    struct new_key **last = &request->keys.made;
    while (*last != NULL)
        last = &(*last)->next;
    *last = key;
    key->object = *object;
    key->taken = true;
    return key;
}

static bool is_same_wrap(const struct request_job *wrap, const struct keymanager *keymanager,
                         const struct wrap_binding *binding, const struct secret *plaintext)
{
    return wrap->keymanager == keymanager &&
           memcmp(&wrap->job.binding, binding, sizeof(*binding)) == 0 &&
           secret_equal(&wrap->job.plaintext, plaintext) &&
           !(wrap->state == JOB_DONE && wrap->job.status != STATUS_OK);
}

/* Leaves the row open, unless the last execution has had the same key wrapped. */
static enum status wrap_later(struct request *request, struct object *object,
                              struct keymanager *keymanager, const struct secret *plaintext)
{
    struct new_key *key = object->key;
    struct wrap_binding binding = binding_of(request, &object->row.id);
    if (key == NULL)
        key = add_key(request, &object->row.id);
    if (key == NULL)
        return STATUS_NO_MEMORY;
    object->key = key;
    if (is_same_wrap(&key->wrap, keymanager, &binding, plaintext))
        return STATUS_OK;
    free_job(&key->wrap);
    key->wrap = new_job(request, KEYMANAGER_WRAP, keymanager);
    key->wrap.job.binding = binding;
    key->cached = false;
    buffer_init(&key->wrap.job.ret_wrapped, plaintext->size + WRAPPED_OVERHEAD_MAX);
    return secret_copy(&key->wrap.job.plaintext, secret_bytes(plaintext));
}

enum status request_wrap(struct request *request, struct object *object,
                         const struct secret *plaintext)
{
    struct keymanager *keymanager;
    enum status status = request_key_manager(request, &keymanager);
    if (status != STATUS_OK)
        return status;
    if (uuid_set_has(&request->core->blocked, &request->session->root_key))
        return STATUS_ROOT_KEY_UNAVAILABLE;
    if (keymanager->provider->immediate && !keeps_records(request, keymanager)) {
        object->key = NULL;
        return wrap_now(request, object, keymanager, plaintext);
    }
    return wrap_later(request, object, keymanager, plaintext);
}

/* ---- Jobs on their way ---- */

static void one_is_back(struct request *request)
{
    if (atomic_fetch_sub(&request->keys.outstanding, 1) == 1)
        request->keys.done(request);
}

/* What cannot be is not taken for a key: a provider's answer crosses a socket or a network. */
static enum status check_plaintext(const struct keymanager_job *job)
{
    if (job->status != STATUS_OK)
        return job->status;
    bool possible =
        job->plaintext.data != NULL && job->plaintext.size <= job->wrapped.blob.size;
    return possible ? STATUS_OK : STATUS_UNWRAP_FAILED;
}

static void job_done(struct keymanager_job *job)
{
    struct request_job *done = CONTAINER_OF(job, struct request_job, job);
    done->state = JOB_DONE;
    one_is_back(done->request);
}

static void key_fetched(struct keymanager_job *job)
{
    struct request_job *done = CONTAINER_OF(job, struct request_job, job);
    struct fetched_key *fetched = CONTAINER_OF(done, struct fetched_key, unwrap);
    struct core *core = done->request->core;
    job->status = check_plaintext(job);
    if (job->status == STATUS_OK) {
        struct key_cache_item item =
            item_of(core, done->keymanager->code, &job->binding, job->wrapped.blob);
        key_cache_put(core->keys, &item, fetched->epoch, clock_now(core->clock), &job->plaintext);
    }
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

/* ---- Completing changes ---- */

static bool is_of_session(const struct request *request, const struct new_key *key)
{
    struct wrap_binding binding = binding_of(request, &key->object);
    struct keymanager *keymanager;
    return request->session->adapter != 0 &&
           request_key_manager(request, &keymanager) == STATUS_OK &&
           keymanager == key->wrap.keymanager &&
           memcmp(&key->wrap.job.binding, &binding, sizeof(binding)) == 0;
}

static enum status check_wrapped(const struct request *request, const struct new_key *key)
{
    struct keymanager *keymanager;
    struct wrap_binding binding;
    const struct request_job *wrap = &key->wrap;
    if (wrap->job.status != STATUS_OK)
        return wrap->job.status;
    struct wrapped wrapped = {buffer_bytes(&wrap->job.ret_wrapped)};
    enum status status =
        keymanagers_of(request->core->keymanagers, wrapped, &key->object,
                       &request->session->adapter_uuid, &keymanager, &binding);
    bool right = status == STATUS_OK && keymanager == wrap->keymanager &&
                 uuid_equal(&binding.root_key, &wrap->job.binding.root_key);
    return right ? STATUS_OK : STATUS_WRAP_FAILED;
}

static void cache_key(struct request *request, struct new_key *key)
{
    struct core *core = request->core;
    if (key->cached)
        return;
    struct key_cache_item item = item_of(core, key->wrap.keymanager->code, &key->wrap.job.binding,
                                         key->change->row.wrapped.blob);
    key_cache_put(core->keys, &item, key->epoch, request->now, &key->wrap.job.plaintext);
    key->cached = true;
}

static void take_wrap(struct request *request, struct new_key *key)
{
    if (key->wrap.state == JOB_DONE) {
        key->change->row.wrapped.blob = buffer_bytes(&key->wrap.job.ret_wrapped);
        cache_key(request, key);
        return;
    }
    key->epoch = key_cache_epoch(request->core->keys, &key->wrap.job.binding.root_key);
    want(&key->wrap);
}

static enum status take_wraps(struct request *request)
{
    for (struct new_key *key = request->keys.made; key != NULL; key = key->next) {
        if (key->change == NULL)
            continue;
        if (!is_of_session(request, key))
            return STATUS_CONFLICT;
        enum status status =
            key->wrap.state == JOB_DONE ? check_wrapped(request, key) : STATUS_OK;
        if (status != STATUS_OK)
            return status;
    }
    for (struct new_key *key = request->keys.made; key != NULL; key = key->next)
        if (key->change != NULL)
            take_wrap(request, key);
    return request->keys.wanted == NULL ? STATUS_OK : STATUS_PENDING;
}

/* ---- Records ---- */

static struct core_record describe(const struct request *request, const struct object_row *row)
{
    const struct core_session *session = request->session;
    return (struct core_record){
        .object = row->id,
        .version = row->version,
        .object_type = row->object_type,
        .state = row->state,
        .adapter = session->adapter_uuid,
        .adapter_name = bytes_of_text(session->adapter_name),
        .key_manager = code_of(session),
        .root_key = session->root_key,
        .attributes = row->attributes,
        .wrapped = row->wrapped,
    };
}

static struct new_record *new_record(struct request *request, struct new_key *key)
{
    struct new_record *record = calloc(1, sizeof(*record));
    if (record == NULL)
        return NULL;
    record->put = new_job(request, KEYMANAGER_RECORD, key->wrap.keymanager);
    record->put.job.binding = key->wrap.job.binding;
    core_record_name(&key->object, record->name);
    buffer_init(&record->bytes, KEYMANAGER_RECORD_MAX);
    return record;
}

/* The record with these bytes, which the last execution may have had made; takes over `record`. */
static struct new_record *find_record(struct new_key *key, struct new_record *record)
{
    struct new_record *former = key->records;
    if (former != NULL &&
        bytes_equal(buffer_bytes(&former->bytes), buffer_bytes(&record->bytes))) {
        free_records(record);
        return former;
    }
    record->put.job.record_name = record->name;
    record->put.job.record = buffer_bytes(&record->bytes);
    record->next = former;
    key->records = record;
    return record;
}

/* Has the record that it needs, or wants it. */
static enum status take_record(struct request *request, struct new_key *key)
{
    struct core_record content = describe(request, &key->change->row);
    struct new_record *record = new_record(request, key);
    if (record == NULL)
        return STATUS_NO_MEMORY;
    enum status status = core_record_encode(&content, &record->bytes);
    if (status != STATUS_OK) {
        free_records(record);
        if (status != STATUS_TOO_LARGE)
            return status;
        request->keys.unrecorded += !key->too_large;
        key->too_large = true;
        return STATUS_OK;
    }
    record = find_record(key, record);
    key->change->record = &record->put.job.record_id;
    key->change->record_key_manager = code_of(request->session);
    if (record->put.state == JOB_DONE)
        return record->put.job.status;
    want(&record->put);
    return STATUS_OK;
}

static enum status take_records(struct request *request)
{
    for (struct new_key *key = request->keys.made; key != NULL; key = key->next) {
        if (key->change == NULL || !keeps_records(request, key->wrap.keymanager))
            continue;
        enum status status = take_record(request, key);
        if (status != STATUS_OK)
            return status;
    }
    return request->keys.wanted == NULL ? STATUS_OK : STATUS_PENDING;
}

enum status core_prepare(struct request *request)
{
    if (request->keys.made == NULL)
        return STATUS_OK;
    enum status status = take_wraps(request);
    return status == STATUS_OK ? take_records(request) : status;
}

/* ---- After the commit ---- */

static void settle_record(struct new_key *key)
{
    for (struct new_record *record = key->records; record != NULL; record = record->next)
        if (key->change != NULL && key->change->record == &record->put.job.record_id)
            record->settled = true;
}

static void note_rewrapped(struct request *request)
{
    for (struct object *object = request->objects; object != NULL; object = object->next)
        if (object->newer.size > 0 && object->changed &&
            object->row.wrapped.blob.data == object->newer.data)
            core_key_rewrapped(request->core, &object->row.id, object->stored->row.wrapped,
                               object->row.wrapped);
}

void core_committed(struct request *request, enum status status)
{
    if (status == STATUS_OK)
        note_rewrapped(request);
    for (struct new_key *key = request->keys.made; key != NULL; key = key->next) {
        /* After a failed sync it may yet be found, and its record with it. */
        if (status == STATUS_OK || status == STATUS_STORE_FAILED)
            settle_record(key);
        key->abandoned |= status == STATUS_EXISTS;
    }
}

bool core_take_stray(struct request *request, struct keymanager **ret_keymanager,
                     struct uuid *ret_record)
{
    for (struct new_key *key = request->keys.made; key != NULL; key = key->next)
        for (struct new_record *record = key->records; record != NULL; record = record->next) {
            if (record->settled || record->put.state != JOB_DONE ||
                record->put.job.status != STATUS_OK)
                continue;
            record->settled = true;
            *ret_keymanager = record->put.keymanager;
            *ret_record = record->put.job.record_id;
            return true;
        }
    return false;
}

/* ---- In the background ---- */

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
    enum status status = check_plaintext(job);
    if (status == STATUS_OK) {
        struct key_cache_item item =
            item_of(core, key->keymanager->code, &job->binding, job->wrapped.blob);
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
    if (row->wrapped.blob.size == 0 || is_blocked(core, &row->id, row->wrapped, &status))
        return status;
    int age = key_cache_age(core->keys, &row->id, row->wrapped.blob, clock_now(core->clock));
    if (age >= 0 && age < 500)
        return STATUS_OK;
    status = keymanagers_of(core->keymanagers, row->wrapped, &row->id, adapter, &keymanager,
                            &binding);
    if (status != STATUS_OK || keymanager->provider->immediate)
        return status;
    return fetch_in_background(core, object, keymanager, &binding, fetched, context);
}
