/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adapters and objects from the records of a key manager, for a store that was lost. Many workers,
 * because each record is a question and an answer; a worker takes all records of one object, of which
 * the newest that can be read counts.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/record.h"
#include "upkeep/inside.h"

#define WORKERS    16
#define SUFFIX_MAX 1000

struct found {
    struct uuid object;
    struct uuid record;
    enum root_key_state state;
};

struct rebuild {
    struct upkeep *upkeep;
    enum keymanager_code from;
    struct keymanager *keymanager;
    const struct uuid *only;
    struct found *found; /* ascending by object */
    size_t count;
    size_t capacity;
    bool no_memory;

    pthread_mutex_t lock; /* guards the rest */
    size_t next;
    enum status status; /* what ends it before its end */
    upkeep_fail *fail;
    void *context;
    struct upkeep_rebuilt result;
};

/* ---- Outcomes ---- */

static void count(struct rebuild *rebuild, int64_t *counter)
{
    (void)pthread_mutex_lock(&rebuild->lock);
    ++*counter;
    (void)pthread_mutex_unlock(&rebuild->lock);
}

static void tell(struct rebuild *rebuild, const struct uuid *object, const char *why)
{
    char name[CORE_RECORD_NAME_SIZE];
    core_record_name(object, name);
    (void)pthread_mutex_lock(&rebuild->lock);
    rebuild->result.failed++;
    if (rebuild->fail != NULL)
        rebuild->fail(rebuild->context, name, why);
    (void)pthread_mutex_unlock(&rebuild->lock);
}

static void stop(struct rebuild *rebuild, enum status status)
{
    (void)pthread_mutex_lock(&rebuild->lock);
    if (rebuild->status == STATUS_OK)
        rebuild->status = status;
    (void)pthread_mutex_unlock(&rebuild->lock);
}

/* Failures that all others will meet as well. */
static bool ends_all(enum status status)
{
    return status == STATUS_KEY_MANAGER_UNAVAILABLE || status == STATUS_NO_MEMORY ||
           status == STATUS_STORE_FULL || status == STATUS_STORE_READ_ONLY ||
           status == STATUS_STORE_FAILED || status == STATUS_STORE_CORRUPT;
}

/* ---- Adapters ---- */

static enum status insert_adapter(struct rebuild *rebuild, const struct core_record *record,
                                  struct adapter_row *row)
{
    struct upkeep *upkeep = rebuild->upkeep;
    int length = (int)record->adapter_name.size;
    const char *name = (const char *)record->adapter_name.data;
    enum status status = STATUS_EXISTS;
    for (int i = 1; status == STATUS_EXISTS && i < SUFFIX_MAX; i++) {
        if (i == 1)
            (void)snprintf(row->name, sizeof(row->name), "%.*s", length, name);
        else
            (void)snprintf(row->name, sizeof(row->name), "%.*s-%d",
                           length < STORE_NAME_MAX - 5 ? length : STORE_NAME_MAX - 5, name, i);
        status = store_adapter_insert(upkeep->store, row);
    }
    return status;
}

/* The adapter of a record, made when there is none. One worker at a time. */
static enum status find_or_make_adapter(struct rebuild *rebuild, struct store_session *session,
                                        const struct core_record *record,
                                        struct adapter_row *ret_row)
{
    char text[UUID_TEXT_LENGTH + 1];
    uuid_text(&record->adapter, text);
    enum status status = store_adapter_find(session, bytes_of_text(text), ret_row);
    if (status != STATUS_NOT_FOUND)
        return status;
    *ret_row = (struct adapter_row){.uuid = record->adapter,
                                    .description = "rebuilt from its records",
                                    .key_manager = record->key_manager,
                                    .root_key = record->root_key,
                                    .created = clock_now(rebuild->upkeep->clock)};
    status = insert_adapter(rebuild, record, ret_row);
    if (status != STATUS_OK)
        return status;
    rebuild->result.adapters++;
    upkeep_report(rebuild->upkeep, STATUS_OK, "adapter rebuilt", ret_row->name, &ret_row->uuid,
                  "from records in %s", keymanager_code_name(rebuild->from));
    /* Its keys may be under several root keys, if it was on its way. */
    return rewrap_order(rebuild->upkeep, &ret_row->uuid);
}

static enum status adapter_of(struct rebuild *rebuild, struct store_session *session,
                              const struct core_record *record, struct adapter_row *ret_row)
{
    (void)pthread_mutex_lock(&rebuild->lock);
    enum status status = find_or_make_adapter(rebuild, session, record, ret_row);
    (void)pthread_mutex_unlock(&rebuild->lock);
    return status;
}

/* ---- One object ---- */

/* Whether the key can be opened. */
static enum status try_key(struct rebuild *rebuild, const struct core_record *record)
{
    struct keymanager *keymanager;
    struct wrap_binding binding;
    struct secret key = {0};
    if (record->wrapped.blob.size == 0)
        return STATUS_OK;
    enum status status =
        keymanagers_of(rebuild->upkeep->keymanagers, record->wrapped, &record->object,
                       &record->adapter, &keymanager, &binding);
    if (status == STATUS_OK)
        status = keymanager_unwrap(keymanager, &binding, record->wrapped, &key, NULL);
    secret_free(&key);
    return status;
}

static bool is_present(struct store_session *session, const struct adapter_row *adapter,
                       const struct uuid *object)
{
    struct stored_object *stored = NULL;
    bool present = store_get(session, adapter->id, object, &stored) == STATUS_OK;
    stored_object_release(stored);
    return present;
}

/* An object whose record is out of service is out of service from the first moment. */
static enum status restore(struct rebuild *rebuild, struct store_session *session,
                           const struct adapter_row *adapter, const struct core_record *record,
                           const struct found *found)
{
    struct upkeep *upkeep = rebuild->upkeep;
    const struct record_left where = {(uint32_t)rebuild->from, found->record};
    bool disabled = found->state != ROOT_KEY_ACTIVE;
    enum status status = disabled ? core_withdraw(upkeep->core, &record->object) : STATUS_OK;
    if (status != STATUS_OK)
        return status;
    status = core_record_restore(upkeep->core, session, adapter, record, &where);
    if (status != STATUS_OK || !disabled) {
        if (disabled)
            core_reinstate(upkeep->core, &record->object);
        return status;
    }
    const struct record_row row = {.object = record->object,
                                   .adapter = adapter->id,
                                   .key_manager = where.key_manager,
                                   .record = where.record,
                                   .version = record->version,
                                   .withdrawn = true};
    return store_record_put(upkeep->store, &row);
}

static void note_restored(struct rebuild *rebuild, const struct core_record *record,
                          const struct found *found, enum status opened)
{
    char why[UPKEEP_TEXT_SIZE];
    count(rebuild, &rebuild->result.objects);
    if (found->state != ROOT_KEY_ACTIVE)
        count(rebuild, &rebuild->result.disabled);
    if (opened == STATUS_OK)
        return;
    (void)snprintf(why, sizeof(why), "made, but its key cannot be opened now: %s",
                   status_text(opened));
    tell(rebuild, &record->object, why);
}

static void restore_record(struct rebuild *rebuild, struct store_session *session,
                           const struct core_record *record, const struct found *found)
{
    struct adapter_row adapter;
    if (rebuild->only != NULL && !uuid_equal(rebuild->only, &record->adapter))
        return;
    enum status opened = try_key(rebuild, record);
    if (opened == STATUS_UNWRAP_FAILED) {
        tell(rebuild, &record->object, "its key does not open: the record was changed, or is "
                                       "another server's under the same root key");
        return;
    }
    enum status status = adapter_of(rebuild, session, record, &adapter);
    if (status == STATUS_OK && is_present(session, &adapter, &record->object))
        status = STATUS_EXISTS;
    if (status == STATUS_OK)
        status = restore(rebuild, session, &adapter, record, found);
    if (status == STATUS_OK) {
        note_restored(rebuild, record, found, opened);
    } else if (status == STATUS_EXISTS) {
        count(rebuild, &rebuild->result.present);
    } else {
        tell(rebuild, &record->object, status_text(status));
        if (ends_all(status))
            stop(rebuild, status);
    }
}

/* Reads a record into an empty buffer; tells when it cannot be read. */
static bool read_record(struct rebuild *rebuild, const struct found *found, struct buffer *bytes,
                        struct core_record *ret_record)
{
    enum status status = keymanager_record_get(rebuild->keymanager, &found->record, bytes, NULL);
    if (status == STATUS_KEY_MANAGER_UNAVAILABLE) {
        stop(rebuild, status);
        return false;
    }
    if (status == STATUS_OK)
        status = core_record_decode(buffer_bytes(bytes), ret_record);
    if (status == STATUS_OK && !uuid_equal(&ret_record->object, &found->object))
        status = STATUS_STORE_CORRUPT;
    if (status == STATUS_OK)
        return true;
    tell(rebuild, &found->object,
         status == STATUS_STORE_CORRUPT ? "the record is damaged, or none of kmipd's"
         : status == STATUS_STORE_NEWER ? "the record was written by a newer version of kmipd"
                                        : status_text(status));
    return false;
}

/* Restores from the newest of the records [first, end). */
static void restore_object(struct rebuild *rebuild, struct store_session *session, size_t first,
                           size_t end)
{
    struct buffer newest;
    struct core_record record = {.version = -1};
    const struct found *found = NULL;
    buffer_init(&newest, KEYMANAGER_RECORD_MAX);
    for (size_t i = first; i < end; i++) {
        struct buffer bytes;
        struct core_record other;
        if (rebuild->found[i].state == ROOT_KEY_DESTROYED)
            continue;
        buffer_init(&bytes, KEYMANAGER_RECORD_MAX);
        if (read_record(rebuild, &rebuild->found[i], &bytes, &other) &&
            other.version > record.version) {
            struct buffer former = newest;
            newest = bytes;
            bytes = former;
            record = other;
            found = &rebuild->found[i];
        }
        buffer_free(&bytes);
    }
    if (found != NULL)
        restore_record(rebuild, session, &record, found);
    buffer_free(&newest);
}

/* ---- Workers ---- */

/* The next object's records; false when there are no more. */
static bool take_group(struct rebuild *rebuild, size_t *ret_first, size_t *ret_end)
{
    (void)pthread_mutex_lock(&rebuild->lock);
    size_t first = rebuild->next;
    size_t end = first;
    bool more = rebuild->status == STATUS_OK && first < rebuild->count;
    while (more && end < rebuild->count &&
           uuid_equal(&rebuild->found[end].object, &rebuild->found[first].object))
        end++;
    rebuild->next = end;
    (void)pthread_mutex_unlock(&rebuild->lock);
    *ret_first = first;
    *ret_end = end;
    return more;
}

static void *work(void *argument)
{
    struct rebuild *rebuild = argument;
    struct store_session *session;
    size_t first;
    size_t end;
    enum status status = store_session_open(rebuild->upkeep->store, &session);
    if (status != STATUS_OK) {
        stop(rebuild, status);
        return NULL;
    }
    while (take_group(rebuild, &first, &end))
        restore_object(rebuild, session, first, end);
    store_session_close(session);
    return NULL;
}

/* The caller's thread is one of them, so that it is done with any number of others. */
static void work_together(struct rebuild *rebuild)
{
    pthread_t threads[WORKERS - 1];
    size_t started = 0;
    size_t wanted = rebuild->keymanager->provider->immediate ? 0 : WORKERS - 1;
    while (started < wanted && started < rebuild->count &&
           upkeep_thread(&threads[started], "rebuild", work, rebuild))
        started++;
    (void)work(rebuild);
    while (started > 0)
        (void)pthread_join(threads[--started], NULL);
}

/* ---- The whole ---- */

static bool gather(void *context, const struct keymanager_record *record)
{
    struct rebuild *rebuild = context;
    struct found found = {.record = record->id, .state = record->state};
    if (!core_record_object(record->name, &found.object))
        return true; /* the prefix alone does not make it ours */
    if (rebuild->count == rebuild->capacity) {
        size_t capacity = rebuild->capacity == 0 ? 256 : rebuild->capacity * 2;
        struct found *grown = reallocarray(rebuild->found, capacity, sizeof(*grown));
        rebuild->no_memory = grown == NULL;
        if (grown == NULL)
            return false;
        rebuild->found = grown;
        rebuild->capacity = capacity;
    }
    rebuild->found[rebuild->count++] = found;
    return true;
}

static int compare_found(const void *left, const void *right)
{
    const struct found *a = left;
    const struct found *b = right;
    return memcmp(a->object.bytes, b->object.bytes, UUID_SIZE);
}

static enum status list(struct rebuild *rebuild, struct error *error)
{
    if (rebuild->keymanager == NULL)
        return error_set(error, STATUS_KEY_MANAGER_UNAVAILABLE,
                         "the key manager is not configured on this server");
    if (!keymanager_keeps_records(rebuild->keymanager))
        return error_set(error, STATUS_FEATURE_NOT_SUPPORTED,
                         "%s keeps no records: restore the store from a backup",
                         keymanager_code_name(rebuild->from));
    struct error reason = {0};
    enum status status = keymanager_records(rebuild->keymanager, CORE_RECORD_PREFIX, gather,
                                            rebuild, &reason);
    if (status == STATUS_OK && rebuild->no_memory)
        status = STATUS_NO_MEMORY;
    if (status != STATUS_OK)
        return error_set(error, status, "the records cannot be listed: %s",
                         reason.text[0] != '\0' ? reason.text : status_text(status));
    if (rebuild->count > 0)
        qsort(rebuild->found, rebuild->count, sizeof(*rebuild->found), compare_found);
    return STATUS_OK;
}

enum status upkeep_rebuild(struct upkeep *upkeep, enum keymanager_code from,
                           const struct uuid *only, upkeep_fail *fail, void *context,
                           struct upkeep_rebuilt *ret_rebuilt, struct error *error)
{
    struct rebuild rebuild = {.upkeep = upkeep,
                              .from = from,
                              .keymanager = keymanagers_get(upkeep->keymanagers, from),
                              .only = only,
                              .fail = fail,
                              .context = context};
    if (pthread_mutex_init(&rebuild.lock, NULL) != 0)
        return error_set(error, STATUS_NO_MEMORY, "no memory");
    enum status status = list(&rebuild, error);
    if (status == STATUS_OK) {
        work_together(&rebuild);
        *ret_rebuilt = rebuild.result;
        status = rebuild.status;
        if (status != STATUS_OK)
            (void)error_set(error, status, "ended before all was done: %s; repeat it",
                            status_text(status));
    }
    (void)pthread_mutex_destroy(&rebuild.lock);
    free(rebuild.found);
    return status;
}
