/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite.h"

#define DELETE_MAX 500 /* objects deleted in one step: some milliseconds */

/* The outcome for a statement that must have found its row. */
static enum status run_on_row(struct sql_call *call)
{
    enum status status = sql_run(call);
    if (status == STATUS_OK && sqlite3_changes(call->connection->db) == 0)
        return STATUS_NOT_FOUND;
    return status;
}

enum status sqlite_adapter_insert(struct backend *backend, struct adapter_row *row)
{
    struct connection *writer = &sqlite_store_of(backend)->writer;
    struct sql_call call = sql_start(writer, WRITE_ADAPTER_INSERT);
    sql_bind_bytes(&call, uuid_bytes(&row->uuid));
    sql_bind_text(&call, row->name);
    sql_bind_text(&call, row->description);
    sql_bind_bytes(&call, uuid_bytes(&row->root_key));
    sql_bind(&call, row->created);
    sql_bind_text(&call, row->username);
    sql_bind_text(&call, row->password_hash);
    sql_bind(&call, row->key_manager);
    sql_bind_text(&call, row->created_by);
    sql_bind(&call, row->updated);
    sql_bind_text(&call, row->updated_by);
    enum status status = sql_run(&call);
    if (status == STATUS_OK)
        row->id = sqlite3_last_insert_rowid(writer->db);
    return status;
}

enum status sqlite_adapter_update(struct backend *backend, const struct adapter_row *row)
{
    struct sql_call call = sql_start(&sqlite_store_of(backend)->writer, WRITE_ADAPTER_UPDATE);
    sql_bind(&call, row->id);
    sql_bind_text(&call, row->name);
    sql_bind_text(&call, row->description);
    sql_bind_text(&call, row->username);
    sql_bind_text(&call, row->password_hash);
    sql_bind(&call, row->updated);
    sql_bind_text(&call, row->updated_by);
    return run_on_row(&call);
}

enum status sqlite_adapter_move(struct backend *backend, const struct adapter_row *row)
{
    struct sql_call call = sql_start(&sqlite_store_of(backend)->writer, WRITE_ADAPTER_MOVE);
    sql_bind(&call, row->id);
    sql_bind(&call, row->key_manager);
    sql_bind_bytes(&call, uuid_bytes(&row->root_key));
    return run_on_row(&call);
}

static enum status count_live(struct sqlite_store *store, int64_t adapter, int64_t *ret_count)
{
    struct sql_call call = sql_start(&store->writer, WRITE_ADAPTER_LIVE);
    sql_bind(&call, adapter);
    int64_t count = sql_next(&call) ? sql_column(&call) : 0;
    enum status status = sql_end(&call);
    if (status == STATUS_OK)
        *ret_count = count;
    return status;
}

static enum status run_for(struct sqlite_store *store, enum write_statement statement,
                           int64_t adapter)
{
    struct sql_call call = sql_start(&store->writer, statement);
    sql_bind(&call, adapter);
    return sql_run(&call);
}

/* NOT_FOUND, PERMISSION_DENIED. */
static enum status check_deletable(struct sqlite_store *store, int64_t adapter)
{
    struct sql_call call = sql_start(&store->writer, WRITE_ADAPTER_FIND);
    sql_bind(&call, adapter);
    bool found = sql_next(&call);
    enum status status = sql_end(&call);
    if (status != STATUS_OK)
        return status;
    if (!found)
        return STATUS_NOT_FOUND;
    int64_t live = 0;
    status = sqlite_write_classes(store);
    if (status == STATUS_OK)
        status = count_live(store, adapter, &live);
    return status == STATUS_OK && live > 0 ? STATUS_PERMISSION_DENIED : status;
}

static enum status delete_rest(struct sqlite_store *store, int64_t adapter)
{
    enum status status = sqlite_write_classes(store);
    if (status == STATUS_OK)
        status = run_for(store, WRITE_ADAPTER_DELETE_CLASSES, adapter);
    return status != STATUS_OK ? status : run_for(store, WRITE_ADAPTER_DELETE, adapter);
}

/* Its clients lose access first, so that they make nothing new while the objects go. */
enum status sqlite_adapter_delete(struct backend *backend, int64_t adapter, bool *ret_more)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    enum status status = check_deletable(store, adapter);
    if (status == STATUS_OK)
        status = run_for(store, WRITE_ADAPTER_DELETE_CERTIFICATES, adapter);
    size_t deleted = 0;
    while (status == STATUS_OK && deleted++ < DELETE_MAX)
        status = sqlite_delete_any(store, adapter);
    *ret_more = status == STATUS_OK;
    return status == STATUS_OBJECT_NOT_FOUND ? delete_rest(store, adapter) : status;
}

enum status sqlite_certificate_insert(struct backend *backend, const struct certificate_row *row)
{
    struct sql_call call = sql_start(&sqlite_store_of(backend)->writer, WRITE_CERTIFICATE_INSERT);
    sql_bind_bytes(&call, uuid_bytes(&row->id));
    sql_bind(&call, row->adapter);
    sql_bind_text(&call, row->name);
    sql_bind_bytes(&call, bytes_of(row->fingerprint, sizeof(row->fingerprint)));
    sql_bind_bytes(&call, row->der);
    sql_bind(&call, row->created);
    sql_bind_text(&call, row->created_by);
    return sql_run(&call);
}

static const enum write_statement certificate_deletions[] = {
    [BACKEND_CERTIFICATE_NAME] = WRITE_CERTIFICATE_DELETE_NAME,
    [BACKEND_CERTIFICATE_ID] = WRITE_CERTIFICATE_DELETE_ID,
    [BACKEND_CERTIFICATE_FINGERPRINT] = WRITE_CERTIFICATE_DELETE_FINGERPRINT,
};

enum status sqlite_certificate_delete(struct backend *backend, int64_t adapter,
                                      enum backend_certificate_key key, struct bytes value)
{
    struct sql_call call = sql_start(&sqlite_store_of(backend)->writer, certificate_deletions[key]);
    sql_bind(&call, adapter);
    sql_bind_bytes(&call, value);
    return run_on_row(&call);
}

enum status sqlite_value_put(struct backend *backend, const char *name, struct bytes value)
{
    struct sql_call call = sql_start(&sqlite_store_of(backend)->writer, WRITE_VALUE_PUT);
    sql_bind_text(&call, name);
    sql_bind_bytes(&call, value);
    return sql_run(&call);
}
