/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite.h"

#define DELETE_MAX 500 /* objects deleted in one step: some milliseconds */

enum status sqlite_adapter_insert(struct backend *backend, struct adapter_row *row)
{
    struct db *writer = &sqlite_store_of(backend)->writer;
    struct db_query call = db_query(writer, sqlite_write_sql[WRITE_ADAPTER_INSERT]);
    db_bind_uuid(&call, &row->uuid);
    db_bind_text(&call, row->name);
    db_bind_text(&call, row->description);
    db_bind_uuid(&call, &row->root_key);
    db_bind(&call, row->created);
    db_bind_text(&call, row->username);
    db_bind_text(&call, row->password_hash);
    db_bind(&call, row->key_manager);
    db_bind_text(&call, row->created_by);
    db_bind(&call, row->updated);
    db_bind_text(&call, row->updated_by);
    enum status status = db_finish(&call);
    if (status == STATUS_OK)
        row->id = sqlite3_last_insert_rowid(writer->handle);
    return status;
}

enum status sqlite_adapter_update(struct backend *backend, const struct adapter_row *row)
{
    struct db_query call =
        db_query(&sqlite_store_of(backend)->writer, sqlite_write_sql[WRITE_ADAPTER_UPDATE]);
    db_bind(&call, row->id);
    db_bind_text(&call, row->name);
    db_bind_text(&call, row->description);
    db_bind_text(&call, row->username);
    db_bind_text(&call, row->password_hash);
    db_bind(&call, row->updated);
    db_bind_text(&call, row->updated_by);
    return db_finish_row(&call);
}

enum status sqlite_adapter_move(struct backend *backend, const struct adapter_row *row)
{
    struct db_query call =
        db_query(&sqlite_store_of(backend)->writer, sqlite_write_sql[WRITE_ADAPTER_MOVE]);
    db_bind(&call, row->id);
    db_bind(&call, row->key_manager);
    db_bind_uuid(&call, &row->root_key);
    return db_finish_row(&call);
}

static enum status count_live(struct sqlite_store *store, int64_t adapter, int64_t *ret_count)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_ADAPTER_LIVE]);
    db_bind(&call, adapter);
    int64_t count = db_next(&call) ? db_column(&call) : 0;
    enum status status = db_end(&call);
    if (status == STATUS_OK)
        *ret_count = count;
    return status;
}

static enum status run_for(struct sqlite_store *store, enum write_statement statement,
                           int64_t adapter)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[statement]);
    db_bind(&call, adapter);
    return db_finish(&call);
}

/* NOT_FOUND, PERMISSION_DENIED. */
static enum status check_deletable(struct sqlite_store *store, int64_t adapter)
{
    struct db_query call = db_query(&store->writer, sqlite_write_sql[WRITE_ADAPTER_FIND]);
    db_bind(&call, adapter);
    bool found = db_next(&call);
    enum status status = db_end(&call);
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
    struct db_query call =
        db_query(&sqlite_store_of(backend)->writer, sqlite_write_sql[WRITE_CERTIFICATE_INSERT]);
    db_bind_uuid(&call, &row->id);
    db_bind(&call, row->adapter);
    db_bind_text(&call, row->name);
    db_bind_blob(&call, bytes_of(row->fingerprint, sizeof(row->fingerprint)));
    db_bind_blob(&call, row->der);
    db_bind(&call, row->created);
    db_bind_text(&call, row->created_by);
    return db_finish(&call);
}

static const enum write_statement certificate_deletions[] = {
    [BACKEND_CERTIFICATE_NAME] = WRITE_CERTIFICATE_DELETE_NAME,
    [BACKEND_CERTIFICATE_ID] = WRITE_CERTIFICATE_DELETE_ID,
    [BACKEND_CERTIFICATE_FINGERPRINT] = WRITE_CERTIFICATE_DELETE_FINGERPRINT,
};

enum status sqlite_certificate_delete(struct backend *backend, int64_t adapter,
                                      enum backend_certificate_key key, struct bytes value)
{
    struct db_query call =
        db_query(&sqlite_store_of(backend)->writer, sqlite_write_sql[certificate_deletions[key]]);
    db_bind(&call, adapter);
    db_bind_blob(&call, value);
    return db_finish_row(&call);
}

enum status sqlite_value_put(struct backend *backend, const char *name, struct bytes value)
{
    struct db_query call =
        db_query(&sqlite_store_of(backend)->writer, sqlite_write_sql[WRITE_VALUE_PUT]);
    db_bind_text(&call, name);
    db_bind_blob(&call, value);
    return db_finish(&call);
}
