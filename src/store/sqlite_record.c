/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records. What is due is found class by class (adapter, object type, state), in windows of the
 * sequence: an object's entry in the index of the class meets the record's in its own, and only
 * where there is none, or one that is due, the object's row is read.
 */
#include "store/sqlite.h"

#define WINDOW    20000 /* sequences looked at in one call: some ten milliseconds */
#define CLASS_MAX 64    /* object types by states */

/* ---- Reading ---- */

static void read_record(struct db_query *call, struct record_row *row)
{
    db_column_exactly(call, row->object.bytes, sizeof(row->object.bytes));
    row->adapter = db_column(call);
    row->key_manager = (uint32_t)db_column(call);
    db_column_exactly(call, row->record.bytes, sizeof(row->record.bytes));
    row->version = db_column(call);
    row->withdrawn = db_column(call) != 0;
}

enum status sqlite_record_get(struct backend_reader *reader, const struct uuid *object,
                              struct record_row *ret_row)
{
    struct record_row row = {0};
    struct db_query call = db_query(&reader->db, sqlite_read_sql[READ_RECORD]);
    db_bind_uuid(&call, object);
    bool found = db_next(&call);
    if (found)
        read_record(&call, &row);
    enum status status = db_end(&call);
    if (status == STATUS_OK && found)
        *ret_row = row;
    return status == STATUS_OK && !found ? STATUS_NOT_FOUND : status;
}

enum status sqlite_records(struct backend_reader *reader, int64_t adapter, const struct uuid *after,
                           size_t limit, store_visit_record *visit, void *context)
{
    struct db_query call = db_query(&reader->db, sqlite_read_sql[READ_RECORDS]);
    db_bind(&call, adapter);
    db_bind_blob(&call, after != NULL ? uuid_bytes(after) : bytes_of(NULL, 0));
    db_bind(&call, (int64_t)limit);
    while (db_next(&call)) {
        struct record_row row = {0};
        read_record(&call, &row);
        if (call.code != SQLITE_ROW || !visit(context, &row))
            break;
    }
    return db_end(&call);
}

enum status sqlite_records_left(struct backend_reader *reader, const struct record_left *after,
                                size_t limit, struct record_left *ret_left, size_t *ret_count)
{
    size_t count = 0;
    struct db_query call = db_query(&reader->db, sqlite_read_sql[READ_RECORDS_LEFT]);
    db_bind(&call, after->key_manager);
    db_bind_uuid(&call, &after->record);
    db_bind(&call, (int64_t)limit);
    while (count < limit && db_next(&call)) {
        struct record_left *left = &ret_left[count++];
        left->key_manager = (uint32_t)db_column(&call);
        db_column_exactly(&call, left->record.bytes, sizeof(left->record.bytes));
    }
    enum status status = db_end(&call);
    if (status == STATUS_OK)
        *ret_count = count;
    return status;
}

/* ---- What is due ---- */

struct due_search {
    struct db *db;
    int64_t adapter;
    size_t limit;
    struct {
        uint32_t object_type;
        uint32_t state;
    } classes[CLASS_MAX];
    size_t class_count;
    int64_t found[BACKEND_PAGE_MAX]; /* sequences, ascending */
    size_t count;
};

static enum status find_classes(struct due_search *search)
{
    struct db_query call = db_query(search->db, sqlite_read_sql[READ_CLASSES]);
    db_bind(&call, search->adapter);
    while (search->class_count < CLASS_MAX && db_next(&call)) {
        search->classes[search->class_count].object_type = (uint32_t)db_column(&call);
        search->classes[search->class_count++].state = (uint32_t)db_column(&call);
    }
    return db_end(&call);
}

/* Keeps the first `limit` of what is found in all classes. */
static void note_found(struct due_search *search, int64_t sequence)
{
    size_t at = search->count;
    if (at == search->limit && sequence > search->found[at - 1])
        return;
    if (at == search->limit)
        at--;
    else
        search->count++;
    for (; at > 0 && search->found[at - 1] > sequence; at--)
        search->found[at] = search->found[at - 1];
    search->found[at] = sequence;
}

static enum status search_class(struct due_search *search, size_t class, int64_t from, int64_t to)
{
    struct db_query call = db_query(search->db, sqlite_read_sql[READ_RECORDS_DUE]);
    db_bind(&call, search->adapter);
    db_bind(&call, search->classes[class].object_type);
    db_bind(&call, search->classes[class].state);
    db_bind(&call, from);
    db_bind(&call, to);
    db_bind(&call, (int64_t)search->limit);
    while (db_next(&call))
        note_found(search, db_column(&call));
    return db_end(&call);
}

/* The first sequence of any class not before `from`; 0 when there is none. */
static enum status first_of_classes(struct due_search *search, int64_t from, int64_t *ret_first)
{
    int64_t first = 0;
    for (size_t i = 0; i < search->class_count; i++) {
        struct db_query call = db_query(search->db, sqlite_read_sql[READ_NEXT_OF_CLASS]);
        db_bind(&call, search->adapter);
        db_bind(&call, search->classes[i].object_type);
        db_bind(&call, search->classes[i].state);
        db_bind(&call, from);
        int64_t sequence = db_next(&call) ? db_column(&call) : 0;
        enum status status = db_end(&call);
        if (status != STATUS_OK)
            return status;
        if (sequence != 0 && (first == 0 || sequence < first))
            first = sequence;
    }
    *ret_first = first;
    return STATUS_OK;
}

/* Looks through one window, and says where the next begins. */
static enum status search_window(struct due_search *search, int64_t after, int64_t *ret_next)
{
    int64_t first = 0;
    enum status status = first_of_classes(search, after + 1, &first);
    int64_t end = first + WINDOW;
    for (size_t i = 0; status == STATUS_OK && first != 0 && i < search->class_count; i++)
        status = search_class(search, i, first, end);
    if (status == STATUS_OK && search->count == search->limit)
        end = search->found[search->count - 1] + 1;
    if (status == STATUS_OK && first != 0)
        status = first_of_classes(search, end, &first);
    if (status == STATUS_OK)
        *ret_next = first != 0 ? first - 1 : 0;
    return status;
}

static enum status read_due(struct due_search *search, struct backend_reader *reader,
                            struct backend_due *due)
{
    for (size_t i = 0; i < search->count; i++) {
        struct stored_object **object = &due->page.objects[i];
        enum status status = sqlite_read_at(search->db, search->adapter, search->found[i], object);
        if (status != STATUS_OK)
            return status;
        due->page.count++;
        const struct uuid *id = &(*object)->row.id;
        due->rows[i] = (struct record_row){.object = *id, .adapter = search->adapter};
        status = sqlite_record_get(reader, id, &due->rows[i]);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND)
            return status;
    }
    return STATUS_OK;
}

static enum status run_plain(struct db *db, enum read_statement statement)
{
    struct db_query call = db_query(db, sqlite_read_sql[statement]);
    return db_finish(&call);
}

enum status sqlite_records_due(struct backend_reader *reader, int64_t adapter, int64_t after,
                               size_t limit, struct backend_due *ret_due)
{
    struct due_search search = {.db = &reader->db, .adapter = adapter, .limit = limit};
    struct backend_page *page = &ret_due->page;
    enum status status = run_plain(search.db, READ_BEGIN);
    if (status != STATUS_OK)
        return status;
    status = find_classes(&search);
    if (status == STATUS_OK)
        status = search_window(&search, after, &page->next);
    if (status == STATUS_OK)
        status = read_due(&search, reader, ret_due);
    enum status ended = run_plain(search.db, READ_END);
    status = status != STATUS_OK ? status : ended;
    while (status != STATUS_OK && page->count > 0)
        stored_object_release(page->objects[--page->count]);
    return status;
}

/* ---- Writing ---- */

static enum status run_for(struct sqlite_store *store, enum write_statement statement,
                           const struct uuid *object)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[statement]);
    db_bind_uuid(&call, object);
    return db_finish(&call);
}

static enum status remove_left(struct sqlite_store *store, uint32_t key_manager,
                               const struct uuid *record)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_RECORD_LEFT_REMOVE]);
    db_bind(&call, key_manager);
    db_bind_uuid(&call, record);
    return db_finish(&call);
}

static enum status put(struct sqlite_store *store, const struct record_row *row, int64_t sequence,
                       bool due)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_RECORD_PUT]);
    db_bind_uuid(&call, &row->object);
    db_bind(&call, row->adapter);
    db_bind(&call, sequence);
    db_bind(&call, row->key_manager);
    db_bind_uuid(&call, &row->record);
    db_bind(&call, row->version);
    db_bind(&call, row->withdrawn);
    db_bind(&call, due);
    return db_finish(&call);
}

/* `row->key_manager` is known. The record that had the place is left behind, if it is another. */
static enum status replace(struct sqlite_store *store, const struct record_row *row,
                           int64_t sequence, bool due)
{
    enum status status = sqlite_record_leave(store, &row->object);
    if (status == STATUS_OK)
        status = put(store, row, sequence, due);
    return status != STATUS_OK ? status : remove_left(store, row->key_manager, &row->record);
}

static enum status find_key_manager(struct sqlite_store *store, struct record_row *row)
{
    if (row->key_manager != 0)
        return STATUS_OK;
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_ADAPTER_KEY_MANAGER]);
    db_bind(&call, row->adapter);
    if (db_next(&call))
        row->key_manager = (uint32_t)db_column(&call);
    return db_end(&call);
}

enum status sqlite_record_of_change(struct sqlite_store *store, const struct object_row *row,
                                    const struct store_change *change)
{
    if (change->record == NULL)
        return run_for(store, WRITE_RECORD_DUE, &row->id);
    struct record_row record = {.object = row->id,
                                .adapter = row->adapter,
                                .key_manager = change->record_key_manager,
                                .record = *change->record,
                                .version = row->version};
    enum status status = find_key_manager(store, &record);
    bool due = object_state_destroyed(row->state);
    return status != STATUS_OK ? status : replace(store, &record, row->sequence, due);
}

enum status sqlite_record_put(struct backend *backend, const struct record_row *row)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    struct record_row record = *row;
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_OBJECT_FIND]);
    db_bind_uuid(&call, &row->object);
    db_bind(&call, row->adapter);
    bool found = db_next(&call);
    int64_t sequence = found ? db_column(&call) : 0;
    int64_t version = found ? db_column(&call) : 0;
    (void)(found ? db_column(&call) : 0); /* the object type */
    uint32_t state = found ? (uint32_t)db_column(&call) : 0;
    enum status status = db_end(&call);
    if (status == STATUS_OK)
        status = found ? find_key_manager(store, &record) : STATUS_OBJECT_NOT_FOUND;
    if (status != STATUS_OK)
        return status;
    return replace(store, &record, sequence,
                   version != row->version || object_state_destroyed(state));
}

enum status sqlite_record_remove(struct backend *backend, const struct uuid *object)
{
    return run_for(sqlite_store_of(backend), WRITE_RECORD_REMOVE, object);
}

enum status sqlite_record_leave(struct sqlite_store *store, const struct uuid *object)
{
    enum status status = run_for(store, WRITE_RECORD_LEAVE, object);
    return status != STATUS_OK ? status : run_for(store, WRITE_RECORD_REMOVE, object);
}

enum status sqlite_record_left_remove(struct backend *backend, const struct record_left *left)
{
    return remove_left(sqlite_store_of(backend), left->key_manager, &left->record);
}
