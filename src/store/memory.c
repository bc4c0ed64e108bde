/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store in memory: sorted tables of immutable rows, and a list of what each change replaced,
 * by which a transaction is taken back. A transaction holds the lock for writing from begin() to
 * its end, so that readers see whole transactions only.
 */
#include "store/backend.h"

#include <pthread.h>
#include <stdlib.h>

/* Sorted pointers to rows. */
struct table {
    int (*compare)(const void *left, const void *right);
    void (*free_row)(void *row); /* NULL: the rows are another table's */
    void **rows;
    size_t count;
    size_t capacity;
};

struct object_record {
    struct stored_object *object;
    size_t term_count;
    struct store_term terms[];
};

struct name_record {
    int64_t adapter;
    uint64_t term;
    struct uuid holder;
};

struct certificate_record {
    struct certificate_row row;
    uint8_t der[];
};

struct value_record {
    char name[STORE_NAME_MAX + 1];
    size_t size;
    uint8_t value[];
};

/* A row that a change put in place of another; either may be NULL. */
struct replacement {
    struct table *table;
    void *old;
    void *new;
};

struct memory {
    struct backend backend;
    pthread_rwlock_t lock;
    struct table objects;   /* struct object_record by id */
    struct table sequences; /* the same by sequence */
    struct table names;     /* struct name_record */
    struct table adapters;  /* struct adapter_row by id */
    struct table certificates;
    struct table values;
    struct table records; /* struct record_row by object */
    struct table left;    /* struct record_left */
    int64_t last_sequence;
    int64_t last_adapter;
    struct replacement *log; /* of the transaction */
    size_t log_count;
    size_t log_capacity;
    size_t mark;
};

struct backend_reader {
    struct memory *memory;
};

static struct memory *memory_of(struct backend *backend)
{
    return CONTAINER_OF(backend, struct memory, backend);
}

/* ---- Orders ---- */

static int compare_numbers(int64_t left, int64_t right)
{
    return (left > right) - (left < right);
}

static int compare_objects(const void *left, const void *right)
{
    const struct object_record *a = left;
    const struct object_record *b = right;
    return memcmp(a->object->row.id.bytes, b->object->row.id.bytes, UUID_SIZE);
}

static int compare_sequences(const void *left, const void *right)
{
    const struct object_record *a = left;
    const struct object_record *b = right;
    return compare_numbers(a->object->row.sequence, b->object->row.sequence);
}

static int compare_names(const void *left, const void *right)
{
    const struct name_record *a = left;
    const struct name_record *b = right;
    int order = compare_numbers(a->adapter, b->adapter);
    return order != 0 ? order : (a->term > b->term) - (a->term < b->term);
}

static int compare_adapters(const void *left, const void *right)
{
    const struct adapter_row *a = left;
    const struct adapter_row *b = right;
    return compare_numbers(a->id, b->id);
}

static int compare_certificates(const void *left, const void *right)
{
    const struct certificate_record *a = left;
    const struct certificate_record *b = right;
    return memcmp(a->row.id.bytes, b->row.id.bytes, UUID_SIZE);
}

static int compare_values(const void *left, const void *right)
{
    const struct value_record *a = left;
    const struct value_record *b = right;
    return strcmp(a->name, b->name);
}

static int compare_records(const void *left, const void *right)
{
    const struct record_row *a = left;
    const struct record_row *b = right;
    return memcmp(a->object.bytes, b->object.bytes, UUID_SIZE);
}

static int compare_left(const void *left, const void *right)
{
    const struct record_left *a = left;
    const struct record_left *b = right;
    int order = compare_numbers(a->key_manager, b->key_manager);
    return order != 0 ? order : memcmp(a->record.bytes, b->record.bytes, UUID_SIZE);
}

static void free_object_record(void *row)
{
    struct object_record *record = row;
    stored_object_release(record->object);
    free(record);
}

/* ---- Tables ---- */

/* Where a row is, or would be. */
static size_t position(const struct table *table, const void *row)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->compare(table->rows[middle], row) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void *find_row(const struct table *table, const void *row)
{
    size_t at = position(table, row);
    bool found = at < table->count && table->compare(table->rows[at], row) == 0;
    return found ? table->rows[at] : NULL;
}

static bool reserve(void **array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return true;
    size_t grown_capacity = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = reallocarray(*array, grown_capacity, size);
    if (grown == NULL)
        return false;
    *array = grown;
    *capacity = grown_capacity;
    return true;
}

static void put_in(struct table *table, void *old, void *new)
{
    size_t at = position(table, old != NULL ? old : new);
    void **place = &table->rows[at];
    size_t behind = table->count - at;
    if (old != NULL && new != NULL) {
        *place = new;
    } else if (new != NULL) {
        memmove(place + 1, place, behind * sizeof(*place));
        *place = new;
        table->count++;
    } else {
        memmove(place, place + 1, (behind - 1) * sizeof(*place));
        table->count--;
    }
}

static void free_row(const struct table *table, void *row)
{
    if (row != NULL && table->free_row != NULL)
        table->free_row(row);
}

/*
 * Puts `new` in the place of `old`, which have the same key when both are there, and notes it in
 * the transaction's log. Takes `new` over, also when it fails. NO_MEMORY.
 */
static enum status replace(struct memory *memory, struct table *table, void *old, void *new)
{
    void *log = memory->log;
    bool room = reserve(&log, &memory->log_capacity, memory->log_count, sizeof(*memory->log));
    memory->log = log;
    void *rows = table->rows;
    if (room && new != NULL && old == NULL) {
        room = reserve(&rows, &table->capacity, table->count, sizeof(*table->rows));
        table->rows = rows;
    }
    if (!room) {
        free_row(table, new);
        return STATUS_NO_MEMORY;
    }
    put_in(table, old, new);
    memory->log[memory->log_count++] = (struct replacement){table, old, new};
    return STATUS_OK;
}

static void take_back(struct memory *memory, size_t keep)
{
    while (memory->log_count > keep) {
        struct replacement *last = &memory->log[--memory->log_count];
        put_in(last->table, last->new, last->old);
        free_row(last->table, last->new);
    }
}

/* ---- Transactions ---- */

static enum status memory_begin(struct backend *backend)
{
    (void)pthread_rwlock_wrlock(&memory_of(backend)->lock);
    return STATUS_OK;
}

static enum status memory_commit(struct backend *backend)
{
    struct memory *memory = memory_of(backend);
    for (size_t i = 0; i < memory->log_count; i++)
        free_row(memory->log[i].table, memory->log[i].old);
    memory->log_count = 0;
    (void)pthread_rwlock_unlock(&memory->lock);
    return STATUS_OK;
}

static void memory_rollback(struct backend *backend)
{
    struct memory *memory = memory_of(backend);
    take_back(memory, 0);
    (void)pthread_rwlock_unlock(&memory->lock);
}

static enum status memory_mark(struct backend *backend)
{
    struct memory *memory = memory_of(backend);
    memory->mark = memory->log_count;
    return STATUS_OK;
}

static enum status memory_release(struct backend *backend)
{
    return STATUS_OK;
}

static enum status memory_undo(struct backend *backend)
{
    struct memory *memory = memory_of(backend);
    take_back(memory, memory->mark);
    return STATUS_OK;
}

static enum status memory_maintain(struct backend *backend)
{
    return STATUS_OK;
}

/* ---- Objects ---- */

static struct object_record *find_object(const struct memory *memory, const struct uuid *id)
{
    struct stored_object object = {.row.id = *id};
    const struct object_record key = {.object = &object};
    return find_row(&memory->objects, &key);
}

static struct object_record *make_record(struct stored_object *object,
                                         const struct store_term *terms, size_t term_count)
{
    struct object_record *record = malloc(sizeof(*record) + term_count * sizeof(*terms));
    if (record == NULL)
        return NULL;
    stored_object_hold(object);
    record->object = object;
    record->term_count = term_count;
    if (term_count > 0)
        memcpy(record->terms, terms, term_count * sizeof(*terms));
    return record;
}

static struct name_record *find_name(const struct memory *memory, int64_t adapter, uint64_t term)
{
    const struct name_record key = {.adapter = adapter, .term = term};
    return find_row(&memory->names, &key);
}

static bool name_taken(const struct memory *memory, const struct object_record *record)
{
    const struct object_row *row = &record->object->row;
    for (size_t i = 0; i < record->term_count && !object_state_destroyed(row->state); i++) {
        const struct name_record *name = find_name(memory, row->adapter, record->terms[i].term);
        if (record->terms[i].unique && name != NULL && !uuid_equal(&name->holder, &row->id))
            return true;
    }
    return false;
}

static enum status add_name(struct memory *memory, const struct object_row *row, uint64_t term)
{
    if (find_name(memory, row->adapter, term) != NULL)
        return STATUS_OK; /* name_taken() was false: it is the object's own */
    struct name_record *name = malloc(sizeof(*name));
    if (name == NULL)
        return STATUS_NO_MEMORY;
    *name = (struct name_record){row->adapter, term, row->id};
    return replace(memory, &memory->names, NULL, name);
}

static enum status remove_name(struct memory *memory, const struct object_row *row, uint64_t term)
{
    struct name_record *name = find_name(memory, row->adapter, term);
    if (name == NULL || !uuid_equal(&name->holder, &row->id))
        return STATUS_OK;
    return replace(memory, &memory->names, name, NULL);
}

typedef enum status name_change(struct memory *memory, const struct object_row *row, uint64_t term);

static enum status for_each_name(struct memory *memory, const struct object_record *record,
                                 name_change *change)
{
    enum status status = STATUS_OK;
    const struct object_row *row = &record->object->row;
    for (size_t i = 0; status == STATUS_OK && i < record->term_count; i++)
        if (record->terms[i].unique && !object_state_destroyed(row->state))
            status = change(memory, row, record->terms[i].term);
    return status;
}

/* Takes `record` over. The table that owns it is first in the log, so that a record taken back
 * is freed last. */
static enum status replace_object(struct memory *memory, struct object_record *old,
                                  struct object_record *record)
{
    enum status status = replace(memory, &memory->objects, old, record);
    if (status == STATUS_OK)
        status = replace(memory, &memory->sequences, old, record);
    if (status == STATUS_OK && old != NULL)
        status = for_each_name(memory, old, remove_name);
    return status != STATUS_OK ? status : for_each_name(memory, record, add_name);
}

static struct adapter_row *find_adapter(const struct memory *memory, int64_t adapter)
{
    const struct adapter_row key = {.id = adapter};
    return find_row(&memory->adapters, &key);
}

/* ---- Records ---- */

static struct record_row *find_record(const struct memory *memory, const struct uuid *object)
{
    const struct record_row key = {.object = *object};
    return find_row(&memory->records, &key);
}

static void *copy_row(const void *row, size_t size)
{
    void *copy = malloc(size);
    if (copy != NULL)
        memcpy(copy, row, size);
    return copy;
}

static enum status remove_left(struct memory *memory, const struct record_left *left)
{
    struct record_left *old = find_row(&memory->left, left);
    return old == NULL ? STATUS_OK : replace(memory, &memory->left, old, NULL);
}

static enum status leave_record(struct memory *memory, const struct record_row *row)
{
    const struct record_left left = {row->key_manager, row->record};
    if (find_row(&memory->left, &left) != NULL)
        return STATUS_OK;
    struct record_left *copy = copy_row(&left, sizeof(left));
    return copy == NULL ? STATUS_NO_MEMORY : replace(memory, &memory->left, NULL, copy);
}

static bool same_record(const struct record_row *a, const struct record_row *b)
{
    return a->key_manager == b->key_manager && uuid_equal(&a->record, &b->record);
}

static enum status put_record(struct memory *memory, struct record_row row)
{
    if (row.key_manager == 0)
        row.key_manager = find_adapter(memory, row.adapter)->key_manager;
    const struct record_left left = {row.key_manager, row.record};
    struct record_row *old = find_record(memory, &row.object);
    enum status status = STATUS_OK;
    if (old != NULL && !same_record(old, &row))
        status = leave_record(memory, old);
    if (status == STATUS_OK)
        status = remove_left(memory, &left);
    if (status != STATUS_OK)
        return status;
    struct record_row *copy = copy_row(&row, sizeof(row));
    return copy == NULL ? STATUS_NO_MEMORY : replace(memory, &memory->records, old, copy);
}

static enum status put_record_of(struct memory *memory, const struct object_row *object,
                                 const struct store_change *change)
{
    if (change->record == NULL)
        return STATUS_OK;
    return put_record(memory, (struct record_row){.object = object->id,
                                                  .adapter = object->adapter,
                                                  .key_manager = change->record_key_manager,
                                                  .record = *change->record,
                                                  .version = object->version});
}

static enum status memory_record_put(struct backend *backend, const struct record_row *row)
{
    struct memory *memory = memory_of(backend);
    const struct object_record *object = find_object(memory, &row->object);
    if (object == NULL || object->object->row.adapter != row->adapter)
        return STATUS_OBJECT_NOT_FOUND;
    return put_record(memory, *row);
}

static enum status memory_record_remove(struct backend *backend, const struct uuid *object)
{
    struct memory *memory = memory_of(backend);
    struct record_row *old = find_record(memory, object);
    return old == NULL ? STATUS_OK : replace(memory, &memory->records, old, NULL);
}

static enum status memory_record_left_remove(struct backend *backend,
                                             const struct record_left *left)
{
    return remove_left(memory_of(backend), left);
}

static bool is_due(const struct object_row *object, const struct record_row *record)
{
    if (object_state_destroyed(object->state))
        return record != NULL;
    return record == NULL ? object->wrapped.blob.size > 0 : record->version != object->version;
}

/* ---- Writing objects ---- */

static enum status memory_insert(struct backend *backend, struct stored_object *object,
                                 const struct store_change *change)
{
    struct memory *memory = memory_of(backend);
    if (find_object(memory, &object->row.id) != NULL)
        return STATUS_EXISTS;
    if (find_adapter(memory, object->row.adapter) == NULL)
        return STATUS_NOT_FOUND;
    struct object_record *record = make_record(object, change->terms, change->term_count);
    if (record == NULL)
        return STATUS_NO_MEMORY;
    if (name_taken(memory, record)) {
        free_object_record(record);
        return STATUS_NAME_EXISTS;
    }
    object->row.sequence = ++memory->last_sequence;
    enum status status = replace_object(memory, NULL, record);
    return status != STATUS_OK ? status : put_record_of(memory, &object->row, change);
}

static enum status memory_update(struct backend *backend, struct stored_object *object,
                                 const struct store_change *change)
{
    struct memory *memory = memory_of(backend);
    struct object_record *old = find_object(memory, &object->row.id);
    if (old == NULL || old->object->row.adapter != object->row.adapter)
        return STATUS_OBJECT_NOT_FOUND;
    if (old->object->row.version != object->row.version - 1)
        return STATUS_CONFLICT;
    object->row.sequence = old->object->row.sequence;
    object->row.object_type = old->object->row.object_type;
    bool keeps = change->kind == STORE_REWRAP;
    struct object_record *record = make_record(object, keeps ? old->terms : change->terms,
                                               keeps ? old->term_count : change->term_count);
    if (record == NULL)
        return STATUS_NO_MEMORY;
    if (name_taken(memory, record)) {
        free_object_record(record);
        return STATUS_NAME_EXISTS;
    }
    enum status status = replace_object(memory, old, record);
    return status != STATUS_OK ? status : put_record_of(memory, &object->row, change);
}

/* ---- Adapters, certificates, values ---- */

static bool adapter_taken(const struct memory *memory, const struct adapter_row *row)
{
    for (size_t i = 0; i < memory->adapters.count; i++) {
        const struct adapter_row *other = memory->adapters.rows[i];
        if (other->id != row->id &&
            (strcmp(other->name, row->name) == 0 || uuid_equal(&other->uuid, &row->uuid)))
            return true;
    }
    return false;
}

static struct adapter_row *copy_adapter(const struct adapter_row *row)
{
    struct adapter_row *copy = malloc(sizeof(*copy));
    if (copy != NULL)
        *copy = *row;
    return copy;
}

static enum status memory_adapter_insert(struct backend *backend, struct adapter_row *row)
{
    struct memory *memory = memory_of(backend);
    row->id = 0;
    if (adapter_taken(memory, row))
        return STATUS_EXISTS;
    row->id = ++memory->last_adapter;
    struct adapter_row *copy = copy_adapter(row);
    return copy == NULL ? STATUS_NO_MEMORY : replace(memory, &memory->adapters, NULL, copy);
}

static enum status memory_adapter_update(struct backend *backend, const struct adapter_row *row)
{
    struct memory *memory = memory_of(backend);
    struct adapter_row *old = find_adapter(memory, row->id);
    if (old == NULL)
        return STATUS_NOT_FOUND;
    struct adapter_row changed = *row;
    changed.uuid = old->uuid;
    changed.key_manager = old->key_manager;
    changed.root_key = old->root_key;
    changed.created = old->created;
    memcpy(changed.created_by, old->created_by, sizeof(changed.created_by));
    if (adapter_taken(memory, &changed))
        return STATUS_EXISTS;
    struct adapter_row *copy = copy_adapter(&changed);
    return copy == NULL ? STATUS_NO_MEMORY : replace(memory, &memory->adapters, old, copy);
}

static enum status memory_adapter_move(struct backend *backend, const struct adapter_row *row)
{
    struct memory *memory = memory_of(backend);
    struct adapter_row *old = find_adapter(memory, row->id);
    if (old == NULL)
        return STATUS_NOT_FOUND;
    struct adapter_row *copy = copy_adapter(old);
    if (copy == NULL)
        return STATUS_NO_MEMORY;
    copy->key_manager = row->key_manager;
    copy->root_key = row->root_key;
    return replace(memory, &memory->adapters, old, copy);
}

static bool has_live_objects(const struct memory *memory, int64_t adapter)
{
    for (size_t i = 0; i < memory->objects.count; i++) {
        const struct object_record *record = memory->objects.rows[i];
        const struct object_row *row = &record->object->row;
        if (row->adapter == adapter && !object_state_destroyed(row->state))
            return true;
    }
    return false;
}

static enum status delete_record(struct memory *memory, const struct uuid *object)
{
    struct record_row *row = find_record(memory, object);
    if (row == NULL)
        return STATUS_OK;
    enum status status = leave_record(memory, row);
    return status != STATUS_OK ? status : replace(memory, &memory->records, row, NULL);
}

static enum status delete_objects(struct memory *memory, int64_t adapter)
{
    enum status status = STATUS_OK;
    for (size_t i = memory->objects.count; status == STATUS_OK && i-- > 0;) {
        struct object_record *record = memory->objects.rows[i];
        if (record->object->row.adapter != adapter)
            continue;
        status = delete_record(memory, &record->object->row.id);
        if (status == STATUS_OK)
            status = replace(memory, &memory->objects, record, NULL);
        if (status == STATUS_OK)
            status = replace(memory, &memory->sequences, record, NULL);
    }
    return status;
}

static enum status delete_certificates(struct memory *memory, int64_t adapter)
{
    enum status status = STATUS_OK;
    for (size_t i = memory->certificates.count; status == STATUS_OK && i-- > 0;) {
        struct certificate_record *record = memory->certificates.rows[i];
        if (record->row.adapter == adapter)
            status = replace(memory, &memory->certificates, record, NULL);
    }
    return status;
}

static enum status memory_adapter_delete(struct backend *backend, int64_t adapter, bool *ret_more)
{
    struct memory *memory = memory_of(backend);
    struct adapter_row *row = find_adapter(memory, adapter);
    if (row == NULL)
        return STATUS_NOT_FOUND;
    if (has_live_objects(memory, adapter))
        return STATUS_PERMISSION_DENIED;
    *ret_more = false;
    enum status status = delete_objects(memory, adapter);
    if (status == STATUS_OK)
        status = delete_certificates(memory, adapter);
    return status != STATUS_OK ? status : replace(memory, &memory->adapters, row, NULL);
}

static bool certificate_taken(const struct memory *memory, const struct certificate_row *row)
{
    for (size_t i = 0; i < memory->certificates.count; i++) {
        const struct certificate_record *record = memory->certificates.rows[i];
        const struct certificate_row *other = &record->row;
        if (uuid_equal(&other->id, &row->id) ||
            memcmp(other->fingerprint, row->fingerprint, STORE_FINGERPRINT_SIZE) == 0 ||
            (other->adapter == row->adapter && strcmp(other->name, row->name) == 0))
            return true;
    }
    return false;
}

static enum status memory_certificate_insert(struct backend *backend,
                                             const struct certificate_row *row)
{
    struct memory *memory = memory_of(backend);
    if (find_adapter(memory, row->adapter) == NULL)
        return STATUS_NOT_FOUND;
    if (certificate_taken(memory, row))
        return STATUS_EXISTS;
    struct certificate_record *record = malloc(sizeof(*record) + row->der.size);
    if (record == NULL)
        return STATUS_NO_MEMORY;
    record->row = *row;
    if (row->der.size > 0)
        memcpy(record->der, row->der.data, row->der.size);
    record->row.der.data = record->der;
    return replace(memory, &memory->certificates, NULL, record);
}

static bool certificate_matches(const struct certificate_row *row, enum backend_certificate_key key,
                                struct bytes value)
{
    switch (key) {
    case BACKEND_CERTIFICATE_NAME:
        return bytes_equal_text(value, row->name);
    case BACKEND_CERTIFICATE_ID:
        return bytes_equal(value, uuid_bytes(&row->id));
    case BACKEND_CERTIFICATE_FINGERPRINT:
        return bytes_equal(value, bytes_of(row->fingerprint, sizeof(row->fingerprint)));
    }
    return false;
}

static enum status memory_certificate_delete(struct backend *backend, int64_t adapter,
                                             enum backend_certificate_key key, struct bytes value)
{
    struct memory *memory = memory_of(backend);
    for (size_t i = 0; i < memory->certificates.count; i++) {
        struct certificate_record *record = memory->certificates.rows[i];
        if (record->row.adapter == adapter && certificate_matches(&record->row, key, value))
            return replace(memory, &memory->certificates, record, NULL);
    }
    return STATUS_NOT_FOUND;
}

static void name_value(struct value_record *record, const char *name)
{
    size_t length = strnlen(name, sizeof(record->name) - 1);
    memcpy(record->name, name, length);
    record->name[length] = '\0';
}

static enum status memory_value_put(struct backend *backend, const char *name, struct bytes value)
{
    struct memory *memory = memory_of(backend);
    struct value_record *record = malloc(sizeof(*record) + value.size);
    if (record == NULL)
        return STATUS_NO_MEMORY;
    name_value(record, name);
    record->size = value.size;
    if (value.size > 0)
        memcpy(record->value, value.data, value.size);
    return replace(memory, &memory->values, find_row(&memory->values, record), record);
}

/* ---- Reading ---- */

static enum status memory_reader_open(struct backend *backend, struct backend_reader **ret_reader)
{
    struct backend_reader *reader = malloc(sizeof(*reader));
    if (reader == NULL)
        return STATUS_NO_MEMORY;
    reader->memory = memory_of(backend);
    *ret_reader = reader;
    return STATUS_OK;
}

static void memory_reader_close(struct backend_reader *reader)
{
    free(reader);
}

static void read_lock(struct backend_reader *reader)
{
    (void)pthread_rwlock_rdlock(&reader->memory->lock);
}

static void read_unlock(struct backend_reader *reader)
{
    (void)pthread_rwlock_unlock(&reader->memory->lock);
}

static enum status memory_get(struct backend_reader *reader, int64_t adapter, const struct uuid *id,
                              struct stored_object **ret_object)
{
    enum status status = STATUS_OBJECT_NOT_FOUND;
    read_lock(reader);
    struct object_record *record = find_object(reader->memory, id);
    if (record != NULL && record->object->row.adapter == adapter) {
        stored_object_hold(record->object);
        *ret_object = record->object;
        status = STATUS_OK;
    }
    read_unlock(reader);
    return status;
}

static bool has_term(const struct object_record *record, uint64_t term)
{
    for (size_t i = 0; i < record->term_count; i++)
        if (record->terms[i].term == term)
            return true;
    return false;
}

static bool matches(const struct object_record *record, const struct store_query *query)
{
    const struct object_row *row = &record->object->row;
    if (row->adapter != query->adapter ||
        (query->object_type != 0 && query->object_type != row->object_type) ||
        (query->states != 0 && (query->states & STORE_STATE_BIT(row->state)) == 0))
        return false;
    for (size_t i = 0; i < query->term_count; i++)
        if (!has_term(record, query->terms[i]))
            return false;
    return true;
}

static enum status memory_find(struct backend_reader *reader, const struct store_query *query,
                               struct backend_page *ret_page)
{
    struct backend_page page = {0};
    read_lock(reader);
    const struct table *table = &reader->memory->sequences;
    struct stored_object after = {.row.sequence = query->after + 1};
    const struct object_record key = {.object = &after};
    for (size_t i = position(table, &key); i < table->count; i++) {
        struct object_record *record = table->rows[i];
        if (!matches(record, query))
            continue;
        if (page.count == query->limit) {
            page.next = page.objects[page.count - 1]->row.sequence;
            break;
        }
        stored_object_hold(record->object);
        page.objects[page.count++] = record->object;
    }
    read_unlock(reader);
    *ret_page = page;
    return STATUS_OK;
}

static enum status memory_count(struct backend_reader *reader, int64_t adapter,
                                int64_t ret_counts[static OBJECT_STATE_COUNT])
{
    memset(ret_counts, 0, OBJECT_STATE_COUNT * sizeof(*ret_counts));
    read_lock(reader);
    const struct table *table = &reader->memory->objects;
    for (size_t i = 0; i < table->count; i++) {
        const struct object_record *record = table->rows[i];
        const struct object_row *row = &record->object->row;
        if (row->adapter == adapter && row->state < OBJECT_STATE_COUNT)
            ret_counts[row->state]++;
    }
    read_unlock(reader);
    return STATUS_OK;
}

/* The rows of a table in another order, as an array to be freed; NULL without memory. */
static void **sorted_rows(const struct table *table, int (*compare)(const void *, const void *))
{
    void **rows = calloc(table->count + 1, sizeof(*rows));
    if (rows == NULL)
        return NULL;
    if (table->count > 0)
        memcpy(rows, table->rows, table->count * sizeof(*rows));
    qsort(rows, table->count, sizeof(*rows), compare);
    return rows;
}

static int compare_adapter_names(const void *left, const void *right)
{
    const struct adapter_row *const *a = left;
    const struct adapter_row *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static enum status memory_adapters(struct backend_reader *reader, store_visit_adapter *visit,
                                   void *context)
{
    read_lock(reader);
    const struct table *table = &reader->memory->adapters;
    void **rows = sorted_rows(table, compare_adapter_names);
    for (size_t i = 0; rows != NULL && i < table->count; i++)
        if (!visit(context, rows[i]))
            break;
    read_unlock(reader);
    free(rows);
    return rows != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

static int compare_certificate_names(const void *left, const void *right)
{
    const struct certificate_record *const *a = left;
    const struct certificate_record *const *b = right;
    int order = strcmp((*a)->row.name, (*b)->row.name);
    return order != 0 ? order : compare_numbers((*a)->row.adapter, (*b)->row.adapter);
}

static enum status memory_certificates(struct backend_reader *reader, int64_t adapter,
                                       store_visit_certificate *visit, void *context)
{
    read_lock(reader);
    const struct table *table = &reader->memory->certificates;
    void **rows = sorted_rows(table, compare_certificate_names);
    for (size_t i = 0; rows != NULL && i < table->count; i++) {
        const struct certificate_record *record = rows[i];
        if ((adapter == 0 || record->row.adapter == adapter) && !visit(context, &record->row))
            break;
    }
    read_unlock(reader);
    free(rows);
    return rows != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status memory_value_get(struct backend_reader *reader, const char *name,
                                    void *ret_value, size_t capacity, size_t *ret_size)
{
    struct value_record key;
    name_value(&key, name);
    enum status status = STATUS_NOT_FOUND;
    read_lock(reader);
    const struct value_record *record = find_row(&reader->memory->values, &key);
    if (record != NULL && record->size > capacity) {
        status = STATUS_TOO_LARGE;
    } else if (record != NULL) {
        if (record->size > 0)
            memcpy(ret_value, record->value, record->size);
        *ret_size = record->size;
        status = STATUS_OK;
    }
    read_unlock(reader);
    return status;
}

static enum status memory_record_get(struct backend_reader *reader, const struct uuid *object,
                                     struct record_row *ret_row)
{
    read_lock(reader);
    const struct record_row *row = find_record(reader->memory, object);
    if (row != NULL)
        *ret_row = *row;
    read_unlock(reader);
    return row != NULL ? STATUS_OK : STATUS_NOT_FOUND;
}

static enum status memory_records(struct backend_reader *reader, int64_t adapter,
                                  const struct uuid *after, size_t limit,
                                  store_visit_record *visit, void *context)
{
    read_lock(reader);
    const struct table *table = &reader->memory->records;
    size_t i = 0;
    if (after != NULL) {
        const struct record_row key = {.object = *after};
        i = position(table, &key);
        i += find_row(table, &key) != NULL;
    }
    for (; limit > 0 && i < table->count; i++) {
        const struct record_row *row = table->rows[i];
        if (adapter != 0 && row->adapter != adapter)
            continue;
        if (!visit(context, row))
            break;
        limit--;
    }
    read_unlock(reader);
    return STATUS_OK;
}

static enum status memory_records_due(struct backend_reader *reader, int64_t adapter,
                                      int64_t after, size_t limit, struct backend_due *ret_due)
{
    read_lock(reader);
    const struct table *table = &reader->memory->sequences;
    struct backend_page *page = &ret_due->page;
    struct stored_object first = {.row.sequence = after + 1};
    const struct object_record key = {.object = &first};
    for (size_t i = position(table, &key); i < table->count; i++) {
        const struct object_record *record = table->rows[i];
        const struct object_row *object = &record->object->row;
        const struct record_row *row = find_record(reader->memory, &object->id);
        if (object->adapter != adapter || !is_due(object, row))
            continue;
        if (page->count == limit) {
            page->next = page->objects[page->count - 1]->row.sequence;
            break;
        }
        ret_due->rows[page->count] =
            row != NULL ? *row : (struct record_row){.object = object->id, .adapter = adapter};
        stored_object_hold(record->object);
        page->objects[page->count++] = record->object;
    }
    read_unlock(reader);
    return STATUS_OK;
}

static enum status memory_records_left(struct backend_reader *reader,
                                       const struct record_left *after, size_t limit,
                                       struct record_left *ret_left, size_t *ret_count)
{
    read_lock(reader);
    const struct table *table = &reader->memory->left;
    size_t count = 0;
    size_t i = position(table, after);
    for (i += find_row(table, after) != NULL; i < table->count && count < limit; i++)
        memcpy(&ret_left[count++], table->rows[i], sizeof(*ret_left));
    read_unlock(reader);
    *ret_count = count;
    return STATUS_OK;
}

/* ---- Opening ---- */

static void free_table(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free_row(table, table->rows[i]);
    free(table->rows);
}

static void memory_close(struct backend *backend)
{
    struct memory *memory = memory_of(backend);
    free_table(&memory->sequences);
    free_table(&memory->objects);
    free_table(&memory->names);
    free_table(&memory->adapters);
    free_table(&memory->certificates);
    free_table(&memory->values);
    free_table(&memory->records);
    free_table(&memory->left);
    free(memory->log);
    (void)pthread_rwlock_destroy(&memory->lock);
    free(memory);
}

static const struct backend_type memory_type = {
    .close = memory_close,
    .reader_open = memory_reader_open,
    .reader_close = memory_reader_close,
    .get = memory_get,
    .find = memory_find,
    .count = memory_count,
    .adapters = memory_adapters,
    .certificates = memory_certificates,
    .value_get = memory_value_get,
    .record_get = memory_record_get,
    .records = memory_records,
    .records_due = memory_records_due,
    .records_left = memory_records_left,
    .begin = memory_begin,
    .commit = memory_commit,
    .rollback = memory_rollback,
    .mark = memory_mark,
    .release = memory_release,
    .undo = memory_undo,
    .insert = memory_insert,
    .update = memory_update,
    .record_put = memory_record_put,
    .record_remove = memory_record_remove,
    .record_left_remove = memory_record_left_remove,
    .adapter_insert = memory_adapter_insert,
    .adapter_update = memory_adapter_update,
    .adapter_move = memory_adapter_move,
    .adapter_delete = memory_adapter_delete,
    .certificate_insert = memory_certificate_insert,
    .certificate_delete = memory_certificate_delete,
    .value_put = memory_value_put,
    .maintain = memory_maintain,
};

enum status store_open_memory(struct store **ret_store, struct error *error)
{
    struct memory *memory = calloc(1, sizeof(*memory));
    if (memory == NULL || pthread_rwlock_init(&memory->lock, NULL) != 0) {
        free(memory);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the store");
    }
    memory->backend.type = &memory_type;
    memory->objects = (struct table){.compare = compare_objects, .free_row = free_object_record};
    memory->sequences = (struct table){.compare = compare_sequences};
    memory->names = (struct table){.compare = compare_names, .free_row = free};
    memory->adapters = (struct table){.compare = compare_adapters, .free_row = free};
    memory->certificates = (struct table){.compare = compare_certificates, .free_row = free};
    memory->values = (struct table){.compare = compare_values, .free_row = free};
    memory->records = (struct table){.compare = compare_records, .free_row = free};
    memory->left = (struct table){.compare = compare_left, .free_row = free};
    const struct store_options options = {.cache_bytes = 0};
    return store_open_backend(&memory->backend, &options, ret_store, error);
}
