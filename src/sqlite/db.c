/* SPDX-License-Identifier: Apache-2.0 */
#include "sqlite/db.h"

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

enum status db_status(int code)
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

bool db_failed(enum status status)
{
    switch (status) {
    case STATUS_STORE_FULL:
    case STATUS_STORE_READ_ONLY:
    case STATUS_STORE_CORRUPT:
    case STATUS_STORE_FAILED:
    case STATUS_NO_MEMORY:
        return true;
    default:
        return false;
    }
}

enum status db_run(struct db *db, const char *sql)
{
    errno = 0;
    return db_status(sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

/*
 * Full sync: a commit is on disk when it returns. Secure delete: what is deleted is
 * overwritten. No memory map: an I/O error shall be a status, not a SIGBUS. No temporary files: a
 * sandbox may forbid them.
 */
static enum status configure(struct db *db, const char *pragmas)
{
    (void)sqlite3_extended_result_codes(db->handle, 1);
    (void)sqlite3_busy_timeout(db->handle, BUSY_MILLISECONDS);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    enum status status = db_run(db, "PRAGMA synchronous = FULL;"
                                    "PRAGMA foreign_keys = ON;"
                                    "PRAGMA secure_delete = ON;"
                                    "PRAGMA cell_size_check = ON;"
                                    "PRAGMA temp_store = MEMORY;"
                                    "PRAGMA mmap_size = 0");
    return status != STATUS_OK ? status : db_run(db, pragmas);
}

enum status db_open(const char *path, const char *pragmas, struct db *ret_db)
{
    struct db db = {0};
    int code =
        sqlite3_open_v2(path, &db.handle,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    enum status status = db.handle == NULL ? STATUS_NO_MEMORY : db_status(code);
    if (status == STATUS_OK)
        status = configure(&db, pragmas);
    if (status != STATUS_OK)
        db_close(&db);
    else
        *ret_db = db;
    return status;
}

void db_close(struct db *db)
{
    for (size_t i = 0; i < DB_PREPARED_MAX; i++)
        (void)sqlite3_finalize(db->prepared[i].statement);
    (void)sqlite3_close(db->handle);
    *db = (struct db){0};
}

enum status db_number(struct db *db, const char *sql, int64_t *ret_number)
{
    struct db_query query = db_query_passing(db, sql);
    bool found = db_next(&query);
    int64_t number = found ? db_column(&query) : 0;
    enum status status = db_end(&query);
    if (status == STATUS_OK && !found)
        status = STATUS_STORE_CORRUPT;
    if (status == STATUS_OK)
        *ret_number = number;
    return status;
}

/* ---- Migrations ---- */

enum status db_check_kind(struct db *db, int application)
{
    int64_t found = 0;
    int64_t tables = 0;
    enum status status = db_number(db, "PRAGMA application_id", &found);
    if (status == STATUS_OK)
        status = db_number(db, "SELECT count(*) FROM sqlite_master", &tables);
    return status == STATUS_OK && tables > 0 && found != application ? STATUS_STORE_CORRUPT
                                                                     : status;
}

static enum status migrate_once(struct db *db, int application, const char *migration, int version)
{
    char mark[96];
    (void)sqlite3_snprintf(sizeof(mark), mark,
                           "PRAGMA application_id = %d; PRAGMA user_version = %d", application,
                           version);
    enum status status = db_run(db, "BEGIN IMMEDIATE");
    if (status == STATUS_OK)
        status = db_run(db, migration);
    if (status == STATUS_OK)
        status = db_run(db, mark);
    if (status == STATUS_OK)
        status = db_run(db, "COMMIT");
    if (!sqlite3_get_autocommit(db->handle))
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

enum status db_migrate(struct db *db, int application, const char *const *migrations, int count)
{
    int64_t version = 0;
    enum status status = db_number(db, "PRAGMA user_version", &version);
    if (status == STATUS_OK && version > count)
        return STATUS_STORE_NEWER;
    for (; status == STATUS_OK && version < count; version++)
        status = migrate_once(db, application, migrations[version], (int)version + 1);
    return status;
}

/* ---- Queries ---- */

static struct db_query start(struct db *db, sqlite3_stmt *statement, int code)
{
    return (struct db_query){.db = db, .statement = statement, .code = code};
}

struct db_query db_query_passing(struct db *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    errno = 0;
    int code = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL);
    struct db_query query = start(db, statement, code);
    query.passing = true;
    return query;
}

struct db_query db_query(struct db *db, const char *sql)
{
    size_t place = (size_t)((uintptr_t)sql >> 3) % DB_PREPARED_MAX;
    for (size_t i = 0; i < DB_PREPARED_MAX; i++, place = (place + 1) % DB_PREPARED_MAX) {
        if (db->prepared[place].sql == sql)
            return start(db, db->prepared[place].statement, SQLITE_OK);
        if (db->prepared[place].sql != NULL)
            continue;
        errno = 0;
        sqlite3_stmt *statement = NULL;
        int code =
            sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
        if (code == SQLITE_OK) {
            db->prepared[place].sql = sql;
            db->prepared[place].statement = statement;
        }
        return start(db, statement, code);
    }
    return db_query_passing(db, sql);
}

enum status db_prepare(struct db *db, const char *const *sql, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct db_query query = db_query(db, sql[i]);
        enum status status = db_end(&query);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

void db_bind(struct db_query *query, int64_t value)
{
    if (query->code == SQLITE_OK)
        query->code = sqlite3_bind_int64(query->statement, ++query->column, value);
}

void db_bind_blob(struct db_query *query, struct bytes value)
{
    /* A NULL pointer would bind NULL instead of an empty BLOB. */
    const void *data = value.size > 0 ? (const void *)value.data : "";
    if (query->code == SQLITE_OK)
        query->code =
            sqlite3_bind_blob64(query->statement, ++query->column, data, value.size, SQLITE_STATIC);
}

void db_bind_uuid(struct db_query *query, const struct uuid *uuid)
{
    db_bind_blob(query, uuid_bytes(uuid));
}

void db_bind_text(struct db_query *query, const char *text)
{
    if (query->code == SQLITE_OK)
        query->code = sqlite3_bind_text(query->statement, ++query->column, text, -1, SQLITE_STATIC);
}

void db_bind_null(struct db_query *query)
{
    if (query->code == SQLITE_OK)
        query->code = sqlite3_bind_null(query->statement, ++query->column);
}

bool db_next(struct db_query *query)
{
    if (query->code != SQLITE_OK && query->code != SQLITE_ROW)
        return false;
    errno = 0;
    query->code = sqlite3_step(query->statement);
    query->column = -1;
    return query->code == SQLITE_ROW;
}

int64_t db_column(struct db_query *query)
{
    return sqlite3_column_int64(query->statement, ++query->column);
}

struct bytes db_column_blob(struct db_query *query)
{
    query->column++;
    const void *data = sqlite3_column_blob(query->statement, query->column);
    return bytes_of(data, (size_t)sqlite3_column_bytes(query->statement, query->column));
}

void db_column_text(struct db_query *query, char *ret_text, size_t size)
{
    struct bytes value = db_column_blob(query);
    if (value.size >= size) {
        query->code = SQLITE_CORRUPT;
        return;
    }
    if (value.size > 0)
        memcpy(ret_text, value.data, value.size);
    ret_text[value.size] = '\0';
}

void db_column_exactly(struct db_query *query, void *ret_value, size_t size)
{
    struct bytes value = db_column_blob(query);
    if (value.size == size)
        memcpy(ret_value, value.data, size);
    else
        query->code = SQLITE_CORRUPT;
}

void db_column_uuid(struct db_query *query, struct uuid *ret_uuid)
{
    struct bytes value = db_column_blob(query);
    *ret_uuid = (struct uuid){0};
    if (value.size == UUID_SIZE)
        memcpy(ret_uuid->bytes, value.data, UUID_SIZE);
    else if (value.size > 0)
        query->code = SQLITE_CORRUPT;
}

enum status db_end(struct db_query *query)
{
    enum status status = db_status(query->code);
    if (query->passing)
        (void)sqlite3_finalize(query->statement);
    else
        (void)sqlite3_reset(query->statement); /* tells again what step has told */
    return status;
}

enum status db_end_row(struct db_query *query, bool found)
{
    enum status status = db_end(query);
    return status == STATUS_OK && !found ? STATUS_NOT_FOUND : status;
}

enum status db_finish(struct db_query *query)
{
    while (db_next(query))
        continue;
    int code = query->code;
    enum status status = db_end(query);
    if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
        code == SQLITE_CONSTRAINT_ROWID)
        return STATUS_EXISTS;
    return code == SQLITE_CONSTRAINT_FOREIGNKEY ? STATUS_NOT_FOUND : status;
}

enum status db_finish_row(struct db_query *query)
{
    enum status status = db_finish(query);
    return status == STATUS_OK && sqlite3_changes(query->db->handle) == 0 ? STATUS_NOT_FOUND
                                                                          : status;
}
