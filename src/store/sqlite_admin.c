/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite.h"

/* The outcome for a statement that must have found its row. */
static enum status run_on_row(struct call *call)
{
    enum status status = call_run(call);
    if (status == STATUS_OK && sqlite3_changes(call->connection->db) == 0)
        return STATUS_NOT_FOUND;
    return status;
}

enum status sqlite_adapter_insert(struct backend *backend, struct adapter_row *row)
{
    struct connection *writer = &sqlite_store_of(backend)->writer;
    struct call call = call_begin(writer, WRITE_ADAPTER_INSERT);
    call_bind_bytes(&call, uuid_bytes(&row->uuid));
    call_bind_text(&call, row->name);
    call_bind_text(&call, row->description);
    call_bind_bytes(&call, uuid_bytes(&row->root_key));
    call_bind(&call, row->created);
    call_bind_text(&call, row->username);
    call_bind_text(&call, row->password_hash);
    enum status status = call_run(&call);
    if (status == STATUS_OK)
        row->id = sqlite3_last_insert_rowid(writer->db);
    return status;
}

enum status sqlite_adapter_update(struct backend *backend, const struct adapter_row *row)
{
    struct call call = call_begin(&sqlite_store_of(backend)->writer, WRITE_ADAPTER_UPDATE);
    call_bind(&call, row->id);
    call_bind_text(&call, row->name);
    call_bind_text(&call, row->description);
    call_bind_text(&call, row->username);
    call_bind_text(&call, row->password_hash);
    return run_on_row(&call);
}

static enum status count_live(struct sqlite_store *store, int64_t adapter, int64_t *ret_count)
{
    struct call call = call_begin(&store->writer, WRITE_ADAPTER_LIVE);
    call_bind(&call, adapter);
    int64_t count = call_next(&call) ? call_column(&call) : 0;
    enum status status = call_end(&call);
    if (status == STATUS_OK)
        *ret_count = count;
    return status;
}

/* What refers to an adapter goes before it. */
static const enum write_statement adapter_deletions[] = {
    WRITE_ADAPTER_DELETE_TERMS,        WRITE_ADAPTER_DELETE_OBJECTS, WRITE_ADAPTER_DELETE_CLASSES,
    WRITE_ADAPTER_DELETE_CERTIFICATES, WRITE_ADAPTER_DELETE,
};

enum status sqlite_adapter_delete(struct backend *backend, int64_t adapter)
{
    struct sqlite_store *store = sqlite_store_of(backend);
    int64_t live = 0;
    enum status status = sqlite_write_classes(store);
    if (status == STATUS_OK)
        status = count_live(store, adapter, &live);
    if (status == STATUS_OK && live > 0)
        return STATUS_PERMISSION_DENIED;
    for (size_t i = 0; status == STATUS_OK && i < ARRAY_COUNT(adapter_deletions); i++) {
        struct call call = call_begin(&store->writer, adapter_deletions[i]);
        call_bind(&call, adapter);
        bool last = i + 1 == ARRAY_COUNT(adapter_deletions);
        status = last ? run_on_row(&call) : call_run(&call);
    }
    return status;
}

enum status sqlite_certificate_insert(struct backend *backend, const struct certificate_row *row)
{
    struct call call = call_begin(&sqlite_store_of(backend)->writer, WRITE_CERTIFICATE_INSERT);
    call_bind_bytes(&call, uuid_bytes(&row->id));
    call_bind(&call, row->adapter);
    call_bind_text(&call, row->name);
    call_bind_bytes(&call, bytes_of(row->fingerprint, sizeof(row->fingerprint)));
    call_bind_bytes(&call, row->der);
    call_bind(&call, row->created);
    return call_run(&call);
}

static const enum write_statement certificate_deletions[] = {
    [BACKEND_CERTIFICATE_NAME] = WRITE_CERTIFICATE_DELETE_NAME,
    [BACKEND_CERTIFICATE_ID] = WRITE_CERTIFICATE_DELETE_ID,
    [BACKEND_CERTIFICATE_FINGERPRINT] = WRITE_CERTIFICATE_DELETE_FINGERPRINT,
};

enum status sqlite_certificate_delete(struct backend *backend, int64_t adapter,
                                      enum backend_certificate_key key, struct bytes value)
{
    struct call call = call_begin(&sqlite_store_of(backend)->writer, certificate_deletions[key]);
    call_bind(&call, adapter);
    call_bind_bytes(&call, value);
    return run_on_row(&call);
}

enum status sqlite_value_put(struct backend *backend, const char *name, struct bytes value)
{
    struct call call = call_begin(&sqlite_store_of(backend)->writer, WRITE_VALUE_PUT);
    call_bind_text(&call, name);
    call_bind_bytes(&call, value);
    return call_run(&call);
}
