/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite.h"

#include <errno.h>

#define BUSY_MILLISECONDS 10000

/*
 * Where SQLite only says that input or output failed, errno tells more. (sqlite3_system_errno()
 * would be the way, but knows nothing of a failed COMMIT.)
 */
static enum status io_status(int code)
{
    switch (code) {
    case SQLITE_IOERR_NOMEM:
        return STATUS_NO_MEMORY;
    case SQLITE_IOERR_DATA:
        return STATUS_STORE_CORRUPT;
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
        return STATUS_STORE_FAILED; /* whatever the reason: what is on disk is unknown */
    default:
        break;
    }
    switch (errno) {
    case ENOSPC:
    case EDQUOT:
        return STATUS_STORE_FULL;
    case EROFS:
        return STATUS_STORE_READ_ONLY;
    default:
        return STATUS_STORE_FAILED;
    }
}

/* A disk that cannot read is called a damaged file by SQLite (SQLITE_IOERR_CORRUPTFS). */
static enum status corrupt_status(void)
{
    return errno == EIO || errno == ENXIO ? STATUS_STORE_FAILED : STATUS_STORE_CORRUPT;
}

enum status sqlite_status(int code)
{
    switch (code & 0xFF) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return STATUS_OK;
    case SQLITE_NOMEM:
        return STATUS_NO_MEMORY;
    case SQLITE_FULL:
        return STATUS_STORE_FULL;
    case SQLITE_READONLY:
        return STATUS_STORE_READ_ONLY;
    case SQLITE_CORRUPT:
        return corrupt_status();
    case SQLITE_NOTADB:
        return STATUS_STORE_CORRUPT;
    case SQLITE_IOERR:
        return io_status(code);
    default:
        return STATUS_STORE_FAILED;
    }
}

enum status sqlite_connection_run(struct connection *connection, const char *sql)
{
    errno = 0;
    return sqlite_status(sqlite3_exec(connection->db, sql, NULL, NULL, NULL));
}

/*
 * Full sync: a commit is on disk when it returns. Secure delete: what a destroyed object leaves is
 * overwritten. No memory map: an I/O error shall be a status, not a SIGBUS. No temporary files: a
 * sandbox may forbid them. The page cache holds the inner pages of ten million objects.
 */
static enum status configure(struct connection *connection)
{
    (void)sqlite3_extended_result_codes(connection->db, 1);
    (void)sqlite3_busy_timeout(connection->db, BUSY_MILLISECONDS);
    (void)sqlite3_db_config(connection->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(connection->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return sqlite_connection_run(connection, "PRAGMA synchronous = FULL;"
                                             "PRAGMA foreign_keys = ON;"
                                             "PRAGMA secure_delete = ON;"
                                             "PRAGMA cell_size_check = ON;"
                                             "PRAGMA temp_store = MEMORY;"
                                             "PRAGMA mmap_size = 0;"
                                             "PRAGMA cache_size = -32768;"
                                             "PRAGMA wal_autocheckpoint = 0");
}

enum status sqlite_connection_open(const char *path, struct connection *ret_connection)
{
    struct connection connection = {0};
    int code =
        sqlite3_open_v2(path, &connection.db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    enum status status = connection.db == NULL ? STATUS_NO_MEMORY : sqlite_status(code);
    if (status == STATUS_OK)
        status = configure(&connection);
    if (status != STATUS_OK)
        sqlite_connection_close(&connection);
    else
        *ret_connection = connection;
    return status;
}

enum status sqlite_connection_prepare(struct connection *connection, const char *const *sql,
                                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int code = sqlite3_prepare_v3(connection->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &connection->statements[i], NULL);
        if (code != SQLITE_OK)
            return sqlite_status(code);
    }
    return STATUS_OK;
}

void sqlite_connection_close(struct connection *connection)
{
    for (size_t i = 0; i < SQLITE_STATEMENT_MAX; i++)
        (void)sqlite3_finalize(connection->statements[i]);
    (void)sqlite3_close(connection->db);
    *connection = (struct connection){0};
}

/* ---- Calls ---- */

struct sql_call sql_start(struct connection *connection, unsigned statement)
{
    return (struct sql_call){.connection = connection,
                             .statement = connection->statements[statement],
                             .code = SQLITE_OK};
}

void sql_bind(struct sql_call *call, int64_t value)
{
    if (call->code == SQLITE_OK)
        call->code = sqlite3_bind_int64(call->statement, ++call->column, value);
}

void sql_bind_bytes(struct sql_call *call, struct bytes value)
{
    /* A NULL pointer would bind NULL instead of an empty BLOB. */
    const void *data = value.size > 0 ? (const void *)value.data : "";
    if (call->code == SQLITE_OK)
        call->code =
            sqlite3_bind_blob64(call->statement, ++call->column, data, value.size, SQLITE_STATIC);
}

void sql_bind_text(struct sql_call *call, const char *text)
{
    if (call->code == SQLITE_OK)
        call->code = sqlite3_bind_text(call->statement, ++call->column, text, -1, SQLITE_STATIC);
}

bool sql_next(struct sql_call *call)
{
    if (call->code != SQLITE_OK && call->code != SQLITE_ROW)
        return false;
    errno = 0;
    call->code = sqlite3_step(call->statement);
    call->column = -1;
    return call->code == SQLITE_ROW;
}

int64_t sql_column(struct sql_call *call)
{
    return sqlite3_column_int64(call->statement, ++call->column);
}

struct bytes sql_column_bytes(struct sql_call *call)
{
    call->column++;
    const void *data = sqlite3_column_blob(call->statement, call->column);
    return bytes_of(data, (size_t)sqlite3_column_bytes(call->statement, call->column));
}

void sql_column_exactly(struct sql_call *call, void *ret_value, size_t size)
{
    struct bytes value = sql_column_bytes(call);
    if (value.size == size)
        memcpy(ret_value, value.data, size);
    else
        call->code = SQLITE_CORRUPT;
}

void sql_column_text(struct sql_call *call, char *ret_text, size_t size)
{
    struct bytes value = sql_column_bytes(call);
    if (value.size >= size) {
        call->code = SQLITE_CORRUPT;
        return;
    }
    if (value.size > 0)
        memcpy(ret_text, value.data, value.size);
    ret_text[value.size] = '\0';
}

enum status sql_end(struct sql_call *call)
{
    enum status status = sqlite_status(call->code);
    (void)sqlite3_reset(call->statement); /* tells again what step has told */
    return status;
}

enum status sql_run(struct sql_call *call)
{
    while (sql_next(call))
        continue;
    int code = call->code;
    enum status status = sql_end(call);
    if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
        code == SQLITE_CONSTRAINT_ROWID)
        return STATUS_EXISTS;
    return code == SQLITE_CONSTRAINT_FOREIGNKEY ? STATUS_NOT_FOUND : status;
}
