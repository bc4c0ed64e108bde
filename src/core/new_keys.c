/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of objects that a request makes: wrapped at once, or between execution and commit; and
 * recorded. */
#include "core/keys.h"

#include <stdlib.h>

/* ---- Keeping ---- */

static void free_records(struct new_record *record)
{
    while (record != NULL) {
        struct new_record *next = record->next;
        request_job_free(&record->put);
        buffer_free(&record->bytes);
        free(record);
        record = next;
    }
}

void new_key_free(struct new_key *key)
{
    request_job_free(&key->wrap);
    free_records(key->records);
    free(key);
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
    struct wrap_binding binding = request_binding(request, &object->row.id);
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
        core_cache_item(core, keymanager->code, &binding, object->row.wrapped.blob);
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
    struct wrap_binding binding = request_binding(request, &object->row.id);
    /* A key manager that does not answer must not fill the heap that all keys go through. */
    if (secret_heap_is_crowded())
        return STATUS_BUSY;
    if (key == NULL)
        key = add_key(request, &object->row.id);
    if (key == NULL)
        return STATUS_NO_MEMORY;
    object->key = key;
    if (is_same_wrap(&key->wrap, keymanager, &binding, plaintext))
        return STATUS_OK;
    request_job_free(&key->wrap);
    key->wrap = request_job_make(request, KEYMANAGER_WRAP, keymanager);
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
    if (keymanager->provider->immediate && !request_keeps_records(request, keymanager)) {
        object->key = NULL;
        return wrap_now(request, object, keymanager, plaintext);
    }
    return wrap_later(request, object, keymanager, plaintext);
}

/* ---- Completing changes ---- */

static bool is_of_session(const struct request *request, const struct new_key *key)
{
    struct wrap_binding binding = request_binding(request, &key->object);
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
    enum status status = keymanagers_of(request->core->keymanagers, wrapped, &key->object,
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
    struct key_cache_item item = core_cache_item(
        core, key->wrap.keymanager->code, &key->wrap.job.binding, key->change->row.wrapped.blob);
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
    request_job_want(&key->wrap);
}

static enum status take_wraps(struct request *request)
{
    for (struct new_key *key = request->keys.made; key != NULL; key = key->next) {
        if (key->change == NULL)
            continue;
        if (!is_of_session(request, key))
            return STATUS_CONFLICT;
        enum status status = key->wrap.state == JOB_DONE ? check_wrapped(request, key) : STATUS_OK;
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
        .key_manager = core_session_code(session),
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
    record->put = request_job_make(request, KEYMANAGER_RECORD, key->wrap.keymanager);
    record->put.job.binding = key->wrap.job.binding;
    core_record_name(&key->object, record->name);
    buffer_init(&record->bytes, KEYMANAGER_RECORD_MAX);
    return record;
}

/* The record with these bytes, which the last execution may have had made; takes over `record`. */
static struct new_record *find_record(struct new_key *key, struct new_record *record)
{
    struct new_record *former = key->records;
    if (former != NULL && bytes_equal(buffer_bytes(&former->bytes), buffer_bytes(&record->bytes))) {
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
    key->change->record_key_manager = core_session_code(request->session);
    if (record->put.state == JOB_DONE)
        return record->put.job.status;
    request_job_want(&record->put);
    return STATUS_OK;
}

static enum status take_records(struct request *request)
{
    for (struct new_key *key = request->keys.made; key != NULL; key = key->next) {
        if (key->change == NULL || !request_keeps_records(request, key->wrap.keymanager))
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
