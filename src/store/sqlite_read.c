/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite.h"

#include <stdlib.h>

const char *const sqlite_read_sql[READ_STATEMENT_COUNT] = {
    [READ_BEGIN] = "BEGIN",
    [READ_END] = "COMMIT",
    [READ_OBJECT] = "SELECT sequence, version, object_type, state, attributes, wrapped"
                    " FROM object WHERE id = ?1 AND adapter = ?2",
    [READ_OBJECT_AT] = "SELECT id, version, object_type, state, attributes, wrapped"
                       " FROM object WHERE sequence = ?1",
    [READ_NEXT_WITH_TERM] = "SELECT sequence FROM object_term"
                            " WHERE adapter = ?1 AND term = ?2 AND sequence >= ?3"
                            " ORDER BY sequence LIMIT 1",
    [READ_NEXT_OF_CLASS] = "SELECT sequence FROM object INDEXED BY object_by_class"
                           " WHERE adapter = ?1 AND object_type = ?2 AND state = ?3"
                           " AND sequence >= ?4 ORDER BY sequence LIMIT 1",
    [READ_CLASSES] = "SELECT object_type, state FROM object_class"
                     " WHERE adapter = ?1 AND count > 0",
    [READ_COUNTS] = "SELECT state, count FROM object_class WHERE adapter = ?1",
    [READ_ADAPTERS] = "SELECT id, uuid, name, description, root_key, created, username,"
                      " password_hash, key_manager, created_by, updated, updated_by"
                      " FROM adapter ORDER BY name",
    [READ_CERTIFICATES] = "SELECT id, adapter, name, fingerprint, der, created, created_by"
                          " FROM certificate WHERE ?1 IN (0, adapter) ORDER BY name, adapter",
    [READ_VALUE] = "SELECT value FROM value WHERE name = ?1",
    [READ_RECORD] = "SELECT object, adapter, key_manager, record, version, withdrawn FROM record"
                    " WHERE object = ?1",
    [READ_RECORDS] = "SELECT object, adapter, key_manager, record, version, withdrawn FROM record"
                     " WHERE object > ?2 AND ?1 IN (0, adapter) ORDER BY object LIMIT ?3",
    [READ_RECORDS_DUE] =
        "SELECT o.sequence FROM object o INDEXED BY object_by_class"
        " LEFT JOIN record r INDEXED BY record_by_sequence"
        " ON r.adapter = ?1 AND r.sequence = o.sequence"
        " WHERE o.adapter = ?1 AND o.object_type = ?2 AND o.state = ?3"
        " AND o.sequence >= ?4 AND o.sequence < ?5"
        " AND (r.due = 1 OR (r.due IS NULL AND ?3 NOT IN (5, 6) AND length(o.wrapped) > 0))"
        " ORDER BY o.sequence LIMIT ?6",
    [READ_RECORDS_LEFT] = "SELECT key_manager, record FROM record_left"
                          " WHERE (key_manager, record) > (?1, ?2)"
                          " ORDER BY key_manager, record LIMIT ?3",
};

enum status sqlite_reader_open(struct backend *backend, struct backend_reader **ret_reader)
{
    struct backend_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return STATUS_NO_MEMORY;
    enum status status = db_open(sqlite_store_of(backend)->path, SQLITE_PRAGMAS, &reader->db);
    if (status == STATUS_OK)
        status = db_prepare(&reader->db, sqlite_read_sql, READ_STATEMENT_COUNT);
    if (status != STATUS_OK)
        sqlite_reader_close(reader);
    else
        *ret_reader = reader;
    return status;
}

void sqlite_reader_close(struct backend_reader *reader)
{
    db_close(&reader->db);
    free(reader);
}

enum status sqlite_get(struct backend_reader *reader, int64_t adapter, const struct uuid *id,
                       struct stored_object **ret_object)
{
    struct db_query call = db_query(&reader->db, sqlite_read_sql[READ_OBJECT]);
    db_bind_uuid(&call, id);
    db_bind(&call, adapter);
    enum status copied = STATUS_OBJECT_NOT_FOUND;
    struct stored_object *object = NULL;
    if (db_next(&call)) {
        struct object_row row = {.id = *id, .adapter = adapter};
        row.sequence = db_column(&call);
        row.version = db_column(&call);
        row.object_type = (uint32_t)db_column(&call);
        row.state = (uint32_t)db_column(&call);
        row.attributes = db_column_blob(&call);
        row.wrapped.blob = db_column_blob(&call);
        copied = stored_object_copy(&row, &object);
    }
    enum status status = db_end(&call);
    if (status != STATUS_OK) {
        stored_object_release(object);
        return status;
    }
    if (copied == STATUS_OK)
        *ret_object = object;
    return copied;
}

enum status sqlite_count(struct backend_reader *reader, int64_t adapter,
                         int64_t ret_counts[static OBJECT_STATE_COUNT])
{
    int64_t counts[OBJECT_STATE_COUNT] = {0};
    struct db_query call = db_query(&reader->db, sqlite_read_sql[READ_COUNTS]);
    db_bind(&call, adapter);
    while (db_next(&call)) {
        uint64_t state = (uint64_t)db_column(&call);
        int64_t count = db_column(&call);
        if (state < OBJECT_STATE_COUNT)
            counts[state] += count;
    }
    enum status status = db_end(&call);
    if (status == STATUS_OK)
        memcpy(ret_counts, counts, sizeof(counts));
    return status;
}

static void read_adapter(struct db_query *call, struct adapter_row *row)
{
    row->id = db_column(call);
    db_column_exactly(call, row->uuid.bytes, sizeof(row->uuid.bytes));
    db_column_text(call, row->name, sizeof(row->name));
    db_column_text(call, row->description, sizeof(row->description));
    db_column_exactly(call, row->root_key.bytes, sizeof(row->root_key.bytes));
    row->created = db_column(call);
    db_column_text(call, row->username, sizeof(row->username));
    db_column_text(call, row->password_hash, sizeof(row->password_hash));
    row->key_manager = (uint32_t)db_column(call);
    db_column_text(call, row->created_by, sizeof(row->created_by));
    row->updated = db_column(call);
    db_column_text(call, row->updated_by, sizeof(row->updated_by));
}

enum status sqlite_adapters(struct backend_reader *reader, store_visit_adapter *visit,
                            void *context)
{
    struct db_query call = db_query(&reader->db, sqlite_read_sql[READ_ADAPTERS]);
    while (db_next(&call)) {
        struct adapter_row row = {0};
        read_adapter(&call, &row);
        if (call.code != SQLITE_ROW || !visit(context, &row))
            break;
    }
    return db_end(&call);
}

static void read_certificate(struct db_query *call, struct certificate_row *row)
{
    db_column_exactly(call, row->id.bytes, sizeof(row->id.bytes));
    row->adapter = db_column(call);
    db_column_text(call, row->name, sizeof(row->name));
    db_column_exactly(call, row->fingerprint, sizeof(row->fingerprint));
    row->der = db_column_blob(call);
    row->created = db_column(call);
    db_column_text(call, row->created_by, sizeof(row->created_by));
}

enum status sqlite_certificates(struct backend_reader *reader, int64_t adapter,
                                store_visit_certificate *visit, void *context)
{
    struct db_query call = db_query(&reader->db, sqlite_read_sql[READ_CERTIFICATES]);
    db_bind(&call, adapter);
    while (db_next(&call)) {
        struct certificate_row row = {0};
        read_certificate(&call, &row);
        if (call.code != SQLITE_ROW || !visit(context, &row))
            break;
    }
    return db_end(&call);
}

enum status sqlite_value_get(struct backend_reader *reader, const char *name, void *ret_value,
                             size_t capacity, size_t *ret_size)
{
    struct db_query call = db_query(&reader->db, sqlite_read_sql[READ_VALUE]);
    db_bind_text(&call, name);
    enum status found = STATUS_NOT_FOUND;
    if (db_next(&call)) {
        struct bytes value = db_column_blob(&call);
        found = value.size <= capacity ? STATUS_OK : STATUS_TOO_LARGE;
        if (found == STATUS_OK) {
            if (value.size > 0)
                memcpy(ret_value, value.data, value.size);
            *ret_size = value.size;
        }
    }
    enum status status = db_end(&call);
    return status != STATUS_OK ? status : found;
}
