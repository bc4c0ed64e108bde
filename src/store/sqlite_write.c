/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite.h"

#include <endian.h>
#include <stdlib.h>

const char *const sqlite_write_sql[WRITE_STATEMENT_COUNT] = {
    [WRITE_BEGIN] = "BEGIN IMMEDIATE",
    [WRITE_COMMIT] = "COMMIT",
    [WRITE_MARK] = "SAVEPOINT mark",
    [WRITE_RELEASE] = "RELEASE mark",
    [WRITE_UNDO] = "ROLLBACK TO mark",
    [WRITE_LAST_SEQUENCE] = "SELECT coalesce(max(sequence), 0) FROM object",
    [WRITE_OBJECT_INSERT] = "INSERT INTO object (sequence, id, adapter, version, object_type,"
                            " state, attributes, wrapped, terms, names)"
                            " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10"
                            " WHERE NOT EXISTS (SELECT 1 FROM object WHERE id = ?2)",
    [WRITE_OBJECT_FIND] = "SELECT sequence, version, object_type, state, terms, names FROM object"
                          " WHERE id = ?1 AND adapter = ?2",
    [WRITE_OBJECT_UPDATE] = "UPDATE object SET version = ?2, state = ?3, attributes = ?4,"
                            " wrapped = ?5, terms = ?6, names = ?7 WHERE sequence = ?1",
    [WRITE_OBJECT_OF_ADAPTER] = "SELECT id FROM object WHERE adapter = ?1 LIMIT 1",
    [WRITE_OBJECT_DELETE] = "DELETE FROM object WHERE sequence = ?1",
    [WRITE_TERM_INSERT] = "INSERT INTO object_term (adapter, term, sequence) VALUES (?1, ?2, ?3)",
    [WRITE_TERM_DELETE] = "DELETE FROM object_term"
                          " WHERE adapter = ?1 AND term = ?2 AND sequence = ?3",
    [WRITE_NAME_FIND] = "SELECT 1 FROM object_name WHERE adapter = ?1 AND term = ?2",
    [WRITE_NAME_INSERT] = "INSERT INTO object_name (adapter, term, sequence) VALUES (?1, ?2, ?3)",
    [WRITE_NAME_DELETE] = "DELETE FROM object_name"
                          " WHERE adapter = ?1 AND term = ?2 AND sequence = ?3",
    [WRITE_CLASS_ADD] = "INSERT INTO object_class (adapter, object_type, state, count)"
                        " VALUES (?1, ?2, ?3, ?4)"
                        " ON CONFLICT (adapter, object_type, state)"
                        " DO UPDATE SET count = count + excluded.count",
    [WRITE_ADAPTER_INSERT] = "INSERT INTO adapter (uuid, name, description, root_key, created,"
                             " username, password_hash, key_manager, created_by, updated,"
                             " updated_by)"
                             " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [WRITE_ADAPTER_UPDATE] = "UPDATE adapter SET name = ?2, description = ?3, username = ?4,"
                             " password_hash = ?5, updated = ?6, updated_by = ?7 WHERE id = ?1",
    [WRITE_ADAPTER_MOVE] = "UPDATE adapter SET key_manager = ?2, root_key = ?3 WHERE id = ?1",
    [WRITE_ADAPTER_FIND] = "SELECT 1 FROM adapter WHERE id = ?1",
    [WRITE_ADAPTER_KEY_MANAGER] = "SELECT key_manager FROM adapter WHERE id = ?1",
    [WRITE_ADAPTER_LIVE] = "SELECT coalesce(sum(count), 0) FROM object_class"
                           " WHERE adapter = ?1 AND state NOT IN (5, 6)",
    [WRITE_ADAPTER_DELETE_CLASSES] = "DELETE FROM object_class WHERE adapter = ?1",
    [WRITE_ADAPTER_DELETE_CERTIFICATES] = "DELETE FROM certificate WHERE adapter = ?1",
    [WRITE_ADAPTER_DELETE] = "DELETE FROM adapter WHERE id = ?1",
    [WRITE_CERTIFICATE_INSERT] = "INSERT INTO certificate (id, adapter, name, fingerprint, der,"
                                 " created, created_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [WRITE_CERTIFICATE_DELETE_NAME] = "DELETE FROM certificate"
                                      " WHERE adapter = ?1 AND name = CAST(?2 AS TEXT)",
    [WRITE_CERTIFICATE_DELETE_ID] = "DELETE FROM certificate WHERE adapter = ?1 AND id = ?2",
    [WRITE_CERTIFICATE_DELETE_FINGERPRINT] = "DELETE FROM certificate"
                                             " WHERE adapter = ?1 AND fingerprint = ?2",
    [WRITE_VALUE_PUT] = "INSERT INTO value (name, value) VALUES (?1, ?2)"
                        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    [WRITE_RECORD_PUT] = "INSERT OR REPLACE INTO record (object, adapter, sequence, key_manager,"
                         " record, version, withdrawn, due)"
                         " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [WRITE_RECORD_DUE] = "UPDATE record SET due = 1 WHERE object = ?1",
    [WRITE_RECORD_REMOVE] = "DELETE FROM record WHERE object = ?1",
    [WRITE_RECORD_LEAVE] = "INSERT OR IGNORE INTO record_left (key_manager, record)"
                           " SELECT key_manager, record FROM record WHERE object = ?1",
    [WRITE_RECORD_LEFT_REMOVE] = "DELETE FROM record_left"
                                 " WHERE key_manager = ?1 AND record = ?2",
};

static enum status run_plain(struct sqlite_store *store, enum write_statement statement)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[statement]);
    return db_finish(&call);
}

/* ---- Lists of terms: sorted, each once ---- */

struct term_list {
    int64_t *values; /* big-endian in memory as in the row, so that a list is its own BLOB */
    size_t count;
};

struct term_lists {
    struct term_list terms;
    struct term_list names;
};

static void free_lists(struct term_lists *lists)
{
    free(lists->terms.values);
    free(lists->names.values);
    *lists = (struct term_lists){0};
}

static struct bytes list_bytes(const struct term_list *list)
{
    return bytes_of(list->values, list->count * sizeof(*list->values));
}

static int64_t list_at(const struct term_list *list, size_t i)
{
    return (int64_t)be64toh((uint64_t)list->values[i]);
}

static int compare_values(const void *left, const void *right)
{
    return memcmp(left, right, sizeof(int64_t));
}

static void sort_once(struct term_list *list)
{
    if (list->count < 2)
        return;
    qsort(list->values, list->count, sizeof(*list->values), compare_values);
    size_t kept = 1;
    for (size_t i = 1; i < list->count; i++)
        if (list->values[i] != list->values[kept - 1])
            list->values[kept++] = list->values[i];
    list->count = kept;
}

static bool allocate_lists(struct term_lists *lists, size_t count)
{
    *lists = (struct term_lists){0};
    if (count == 0)
        return true;
    lists->terms.values = calloc(count, sizeof(int64_t));
    lists->names.values = calloc(count, sizeof(int64_t));
    if (lists->terms.values != NULL && lists->names.values != NULL)
        return true;
    free_lists(lists);
    return false;
}

/* The terms an object has, and of them those it keeps others from having. */
static enum status make_lists(const struct store_term *terms, size_t count, bool live,
                              struct term_lists *ret_lists)
{
    if (!allocate_lists(ret_lists, count))
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        int64_t value = (int64_t)htobe64(terms[i].term);
        ret_lists->terms.values[ret_lists->terms.count++] = value;
        if (terms[i].unique && live)
            ret_lists->names.values[ret_lists->names.count++] = value;
    }
    sort_once(&ret_lists->terms);
    sort_once(&ret_lists->names);
    return STATUS_OK;
}

static enum status copy_list(struct bytes bytes, struct term_list *ret_list)
{
    size_t size = sizeof(*ret_list->values);
    if (bytes.size % size != 0)
        return STATUS_STORE_CORRUPT;
    *ret_list = (struct term_list){.count = bytes.size / size};
    if (ret_list->count == 0)
        return STATUS_OK;
    ret_list->values = malloc(bytes.size);
    if (ret_list->values == NULL)
        return STATUS_NO_MEMORY;
    memcpy(ret_list->values, bytes.data, bytes.size);
    return STATUS_OK;
}

/* Where an object's terms or names are kept. */
struct term_table {
    enum write_statement insert;
    enum write_statement delete;
};

static const struct term_table term_table = {WRITE_TERM_INSERT, WRITE_TERM_DELETE};
static const struct term_table name_table = {WRITE_NAME_INSERT, WRITE_NAME_DELETE};

static enum status write_term(struct sqlite_store *store, enum write_statement statement,
                              const struct object_row *row, int64_t term)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[statement]);
    db_bind(&call, row->adapter);
    db_bind(&call, term);
    db_bind(&call, row->sequence);
    enum status status = db_finish(&call);
    /* It was looked up before: only a table that contradicts itself has it now. */
    return status == STATUS_EXISTS ? STATUS_STORE_CORRUPT : status;
}

/* Removes what is in `old` only and adds what is in `new` only. */
static enum status replace_terms(struct sqlite_store *store, const struct term_table *table,
                                 const struct object_row *row, const struct term_list *old,
                                 const struct term_list *new)
{
    size_t i = 0;
    size_t j = 0;
    while (i < old->count || j < new->count) {
        int order = i == old->count   ? 1
                    : j == new->count ? -1
                                      : compare_values(&old->values[i], &new->values[j]);
        enum status status = STATUS_OK;
        if (order < 0)
            status = write_term(store, table->delete, row, list_at(old, i));
        else if (order > 0)
            status = write_term(store, table->insert, row, list_at(new, j));
        if (status != STATUS_OK)
            return status;
        i += order <= 0;
        j += order >= 0;
    }
    return STATUS_OK;
}

static enum status replace_lists(struct sqlite_store *store, const struct object_row *row,
                                 const struct term_lists *old, const struct term_lists *new)
{
    enum status status = replace_terms(store, &term_table, row, &old->terms, &new->terms);
    return status != STATUS_OK ? status
                               : replace_terms(store, &name_table, row, &old->names, &new->names);
}

static bool list_has(const struct term_list *list, const int64_t *value)
{
    return list->count > 0 &&
           bsearch(value, list->values, list->count, sizeof(*list->values), compare_values) != NULL;
}

/* NAME_EXISTS when a name that the object does not have yet is another's. */
static enum status check_names(struct sqlite_store *store, int64_t adapter,
                               const struct term_list *old, const struct term_list *new)
{
    for (size_t i = 0; i < new->count; i++) {
        if (list_has(old, &new->values[i]))
            continue;
        struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_NAME_FIND]);
        db_bind(&call, adapter);
        db_bind(&call, list_at(new, i));
        bool taken = db_next(&call);
        enum status status = db_end(&call);
        if (status != STATUS_OK)
            return status;
        if (taken)
            return STATUS_NAME_EXISTS;
    }
    return STATUS_OK;
}

/* ---- Classes ---- */

static enum status write_class(struct sqlite_store *store, const struct class_change *change)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_CLASS_ADD]);
    db_bind(&call, change->adapter);
    db_bind(&call, change->object_type);
    db_bind(&call, change->state);
    db_bind(&call, change->difference);
    return db_finish(&call);
}

enum status sqlite_write_classes(struct sqlite_store *store)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < store->class_change_count; i++)
        if (store->class_changes[i].difference != 0)
            status = write_class(store, &store->class_changes[i]);
    store->class_change_count = 0;
    return status;
}

/* Gathered in memory and written once a group: most groups change one or two classes. */
static enum status change_class(struct sqlite_store *store, const struct object_row *row,
                                uint32_t state, int64_t difference)
{
    for (size_t i = 0; i < store->class_change_count; i++) {
        struct class_change *change = &store->class_changes[i];
        if (change->adapter == row->adapter && change->object_type == row->object_type &&
            change->state == state) {
            change->difference += difference;
            return STATUS_OK;
        }
    }
    if (store->class_change_count == CLASS_CHANGE_MAX) {
        enum status status = sqlite_write_classes(store);
        if (status != STATUS_OK)
            return status;
    }
    store->class_changes[store->class_change_count++] =
        (struct class_change){row->adapter, row->object_type, state, difference};
    return STATUS_OK;
}

/* ---- Objects ---- */

static enum status insert_row(struct sqlite_store *store, const struct object_row *row,
                              const struct term_lists *lists)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_OBJECT_INSERT]);
    db_bind(&call, row->sequence);
    db_bind_uuid(&call, &row->id);
    db_bind(&call, row->adapter);
    db_bind(&call, row->version);
    db_bind(&call, row->object_type);
    db_bind(&call, row->state);
    db_bind_blob(&call, row->attributes);
    db_bind_blob(&call, row->wrapped.blob);
    db_bind_blob(&call, list_bytes(&lists->terms));
    db_bind_blob(&call, list_bytes(&lists->names));
    enum status status = db_finish(&call);
    bool inserted = sqlite3_changes(store->writer.handle) > 0;
    return status == STATUS_OK && !inserted ? STATUS_EXISTS : status;
}

static enum status insert_with(struct sqlite_store *store, struct object_row *row,
                               const struct term_lists *lists)
{
    const struct term_lists none = {0};
    enum status status = check_names(store, row->adapter, &none.names, &lists->names);
    if (status != STATUS_OK)
        return status;
    row->sequence = store->next_sequence;
    status = insert_row(store, row, lists);
    if (status != STATUS_OK)
        return status;
    store->next_sequence++;
    status = replace_lists(store, row, &none, lists);
    return status != STATUS_OK ? status : change_class(store, row, row->state, 1);
}

enum status sqlite_insert(struct backend *backend, struct stored_object *object,
                          const struct store_change *change)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    struct term_lists lists;
    bool live = !object_state_destroyed(object->row.state);
    enum status status = make_lists(change->terms, change->term_count, live, &lists);
    if (status != STATUS_OK)
        return status;
    status = insert_with(store, &object->row, &lists);
    free_lists(&lists);
    if (status != STATUS_OK || change->record == NULL)
        return status;
    return sqlite_record_of_change(store, &object->row, change);
}

struct former {
    int64_t version;
    uint32_t state;
    struct term_lists lists;
};

/* Reads what an update replaces, and completes the row by what stays. */
static enum status find_former(struct sqlite_store *store, struct object_row *row,
                               struct former *former)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_OBJECT_FIND]);
    db_bind_uuid(&call, &row->id);
    db_bind(&call, row->adapter);
    enum status copied = STATUS_OBJECT_NOT_FOUND;
    if (db_next(&call)) {
        row->sequence = db_column(&call);
        former->version = db_column(&call);
        row->object_type = (uint32_t)db_column(&call);
        former->state = (uint32_t)db_column(&call);
        copied = copy_list(db_column_blob(&call), &former->lists.terms);
        if (copied == STATUS_OK)
            copied = copy_list(db_column_blob(&call), &former->lists.names);
    }
    enum status status = db_end(&call);
    return status != STATUS_OK ? status : copied;
}

static enum status update_row(struct sqlite_store *store, const struct object_row *row,
                              const struct term_lists *lists)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_OBJECT_UPDATE]);
    db_bind(&call, row->sequence);
    db_bind(&call, row->version);
    db_bind(&call, row->state);
    db_bind_blob(&call, row->attributes);
    db_bind_blob(&call, row->wrapped.blob);
    db_bind_blob(&call, list_bytes(&lists->terms));
    db_bind_blob(&call, list_bytes(&lists->names));
    return db_finish(&call);
}

static enum status update_with(struct sqlite_store *store, struct object_row *row,
                               const struct former *former, const struct term_lists *lists)
{
    if (former->version != row->version - 1)
        return STATUS_CONFLICT;
    enum status status = check_names(store, row->adapter, &former->lists.names, &lists->names);
    if (status == STATUS_OK)
        status = update_row(store, row, lists);
    if (status == STATUS_OK)
        status = replace_lists(store, row, &former->lists, lists);
    if (status != STATUS_OK || former->state == row->state)
        return status;
    status = change_class(store, row, former->state, -1);
    return status != STATUS_OK ? status : change_class(store, row, row->state, 1);
}

/* An update as the change says. */
static enum status update_terms(struct sqlite_store *store, struct object_row *row,
                                const struct former *former, const struct store_change *change)
{
    struct term_lists lists = {0};
    bool live = !object_state_destroyed(row->state);
    enum status status = make_lists(change->terms, change->term_count, live, &lists);
    if (status == STATUS_OK)
        status = update_with(store, row, former, &lists);
    free_lists(&lists);
    return status;
}

enum status sqlite_update(struct backend *backend, struct stored_object *object,
                          const struct store_change *change)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    struct former former = {0};
    enum status status = find_former(store, &object->row, &former);
    if (status == STATUS_OK)
        status = change->kind == STORE_REWRAP
                     ? update_with(store, &object->row, &former, &former.lists)
                     : update_terms(store, &object->row, &former, change);
    free_lists(&former.lists);
    return status != STATUS_OK ? status : sqlite_record_of_change(store, &object->row, change);
}

static enum status find_any(struct sqlite_store *store, int64_t adapter, struct object_row *row)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_OBJECT_OF_ADAPTER]);
    db_bind(&call, adapter);
    *row = (struct object_row){.adapter = adapter};
    bool found = db_next(&call);
    if (found)
        db_column_exactly(&call, row->id.bytes, sizeof(row->id.bytes));
    enum status status = db_end(&call);
    return status == STATUS_OK && !found ? STATUS_OBJECT_NOT_FOUND : status;
}

static enum status delete_former(struct sqlite_store *store, const struct object_row *row,
                                 const struct former *former)
{
    const struct term_lists none = {0};
    enum status status = replace_lists(store, row, &former->lists, &none);
    if (status == STATUS_OK)
        status = sqlite_record_leave(store, &row->id);
    if (status != STATUS_OK)
        return status;
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_OBJECT_DELETE]);
    db_bind(&call, row->sequence);
    status = db_finish(&call);
    return status != STATUS_OK ? status : change_class(store, row, former->state, -1);
}

enum status sqlite_delete_any(struct sqlite_store *store, int64_t adapter)
{
    struct object_row row;
    struct former former = {0};
    enum status status = find_any(store, adapter, &row);
    if (status != STATUS_OK)
        return status;
    status = find_former(store, &row, &former);
    if (status == STATUS_OK)
        status = delete_former(store, &row, &former);
    free_lists(&former.lists);
    return status;
}

/* ---- Transactions ---- */

enum status sqlite_begin(struct backend *backend)
{
    return run_plain(sqlite_store_of(backend), WRITE_BEGIN);
}

void sqlite_rollback(struct backend *backend)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    store->class_change_count = 0;
    /* SQLite may have rolled back by itself (disk full, I/O error). */
    if (!sqlite3_get_autocommit(store->writer.handle))
        (void)sqlite3_exec(store->writer.handle, "ROLLBACK", NULL, NULL, NULL);
}

enum status sqlite_commit(struct backend *backend)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    enum status status = sqlite_write_classes(store);
    if (status == STATUS_OK)
        status = run_plain(store, WRITE_COMMIT);
    if (status != STATUS_OK)
        sqlite_rollback(backend);
    return status;
}

enum status sqlite_mark(struct backend *backend)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    enum status status = sqlite_write_classes(store); /* so that undo() may forget the later ones */
    return status != STATUS_OK ? status : run_plain(store, WRITE_MARK);
}

enum status sqlite_release(struct backend *backend)
{
    return run_plain(sqlite_store_of(backend), WRITE_RELEASE);
}

enum status sqlite_undo(struct backend *backend)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    store->class_change_count = 0;
    enum status status = run_plain(store, WRITE_UNDO);
    return status != STATUS_OK ? status : run_plain(store, WRITE_RELEASE);
}
